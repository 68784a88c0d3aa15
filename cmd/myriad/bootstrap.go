package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"myriad/bootstrap"
	"myriad/daemon"
	"myriad/program"
	"myriad/trust"
)

const bootstrapLong = `Put an agent onto each machine, over SSH, and have it join: copy this binary, stop
what an earlier run left there, start the agent, and wait until the coordinator
has taken it in. Machines that are reached help to reach the others, with the
keys of your SSH agent, which is forwarded to them for as long as that takes:
whoever is root there can use them meanwhile (--arity -1 does without).

Machines are named by a node set, or a file with one on each line; in a job of OAR
or Slurm they are those of the job. ~/.ssh/config, your keys and known hosts
count, as for ssh. Who logs in is root, or may use sudo without a password.

All is put into one directory on each machine. --undo takes it away again, with
the agent and its vnodes, and leaves nothing.`

// bootstrapFlags are what the command is given.
type bootstrapFlags struct {
	o     bootstrap.Options
	hosts string
	join  joinFlags
	relay bool
}

func (a *app) bootstrapCmd() *cobra.Command {
	var f bootstrapFlags
	cmd := &cobra.Command{
		Use:   "bootstrap [--hosts NODESET|FILE] [flags] [-- AGENT-FLAG…]",
		Short: "Put agents onto machines over SSH",
		Long:  bootstrapLong,
		Example: `  sudo myriad bootstrap --hosts 'node[1-20]' --join head
  sudo myriad bootstrap --hosts machines.txt --join tls://10.0.0.1:4222 --user admin --accept-new
  sudo myriad bootstrap --join head                   # in a job of OAR or Slurm
  sudo myriad bootstrap --hosts 'node[1-20]' --undo`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.relay {
				return bootstrap.Relay(cmd.Context(), a.stdin, a.stdout)
			}
			f.o.Args = args
			return a.bootstrap(cmd, &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.hosts, "hosts", "", "machines: a node set, or a file with one on each line")
	f.join.addURL(cmd, "join", "MYRIAD_JOIN", "where agents join: the coordinator's machine, as the others reach it: HOST, or tls://HOST:PORT")
	f.join.addToken(cmd)
	flags.StringVar(&f.o.Site, "site", "", "site that the machines are at")
	flags.StringVar(&f.o.User, "user", "", "user there (default: of ~/.ssh/config, else root)")
	flags.StringSliceVar(&f.o.SSH.Identities, "identity", nil, "private keys (default: those of the SSH agent, else ~/.ssh/id_*)")
	flags.StringVar(&f.o.SSH.Config, "ssh-config", "", "configuration of SSH (default ~/.ssh/config)")
	flags.BoolVar(&f.o.AcceptNew, "accept-new", false, "trust machines that are not among the known hosts, and note their keys")
	flags.StringVar(&f.o.Dir, "dir", bootstrap.DefaultDir, "directory there for all that is put onto a machine")
	flags.StringVar(&f.o.RunDir, "remote-run-dir", bootstrap.DefaultRunDir, "run directory of the agents there")
	flags.StringVar(&f.o.Binary, "binary", "", "binary to copy (default: this one)")
	flags.IntVar(&f.o.Arity, "arity", bootstrap.DefaultArity, "how many machines each machine helps to reach; -1: none does")
	flags.BoolVar(&f.o.Keep, "keep", false, "leave vnodes of an earlier run alone: the agent finds them")
	flags.BoolVar(&f.o.Undo, "undo", false, "take agents, vnodes and files away")
	flags.BoolVar(&f.relay, strings.TrimPrefix(bootstrap.RelayCommand, "--"), false, "")
	if err := flags.MarkHidden(strings.TrimPrefix(bootstrap.RelayCommand, "--")); err != nil {
		panic(err) // it was added just above
	}
	return cmd
}

func (a *app) bootstrap(cmd *cobra.Command, f *bootstrapFlags) error {
	var err error
	if f.o.Hosts, err = bootstrap.Hosts(f.hosts, os.Getenv); err != nil {
		return err
	}
	if !f.o.Undo {
		var faults faultList
		if f.join.url == "" {
			faults.add("say where agents join, with --join HOST, where HOST is what the machines know this one by")
		} else {
			f.o.Join, _ = joinURLs(f.join.url, "join", daemon.BusPort, &faults)
		}
		if f.o.Token, err = a.joinToken(&f.join, &faults); err != nil {
			return err
		}
		if err := faults.err(cmd); err != nil {
			return err
		}
	}
	what := "bootstrap"
	if f.o.Undo {
		what = "undo bootstrap"
	}
	bar := a.newProgress(what, "machines")
	bar.set(0, len(f.o.Hosts))
	ended := map[string]bool{}
	f.o.Tell = func(e bootstrap.Event) {
		a.tellBootstrap(e)
		if e.State != bootstrap.StateWorking && !ended[e.Host] {
			ended[e.Host] = true
			bar.set(len(ended), len(f.o.Hosts))
		}
	}
	begun := time.Now()
	events, err := bootstrap.Run(cmd.Context(), f.o)
	bar.finish()
	if err != nil && len(events) == 0 {
		return err
	}
	return joined([]error{a.bootstrapped(cmd.Context(), &f.o, events, time.Since(begun)), f.o.SSH.Remember(acceptedKeys(events)), err})
}

// joinToken is what agents are to join with: as for agent, else the token of
// this machine's authority.
func (a *app) joinToken(j *joinFlags, faults *faultList) (string, error) {
	text, from := j.findToken(a, faults)
	if text == "" && from == "" {
		own, err := trust.Load(daemon.TrustDir(a.stateDir))
		if err != nil {
			return "", err
		}
		return own.Token().String(), nil
	}
	if _, err := trust.ParseToken(text); err != nil && text != "" {
		faults.add("%s: %s", from, describe(err).Message)
	}
	return text, nil
}

// tellBootstrap shows progress to programs; people see a bar.
func (a *app) tellBootstrap(e bootstrap.Event) {
	if a.json() {
		_ = json.NewEncoder(a.stdout).Encode(e)
	}
}

func acceptedKeys(events []bootstrap.Event) []string {
	var keys []string
	for _, e := range events {
		if e.Key != "" {
			keys = append(keys, e.Key)
		}
	}
	return keys
}

// bootstrapped says what came of it: one line if all is well, and else a line
// for each machine that failed.
func (a *app) bootstrapped(ctx context.Context, o *bootstrap.Options, events []bootstrap.Event, took time.Duration) error {
	var failed []bootstrap.Event
	for _, e := range events {
		if e.State == bootstrap.StateFailed {
			failed = append(failed, e)
		}
	}
	done := "have joined " + o.Join
	if o.Undo {
		done = "are as they were"
	}
	a.note("%d of %d machines %s, in %v", len(events)-len(failed), len(events), done, took.Round(100*time.Millisecond))
	if len(failed) == 0 {
		return nil
	}
	if !a.json() {
		w := tabwriter.NewWriter(a.stderr, 0, 0, 2, ' ', 0)
		for _, e := range failed {
			fmt.Fprintf(w, "%s\t%s\t%s\n", e.Host, e.Err.Cause, e.Err.Remedy)
		}
		w.Flush()
	}
	if ctx.Err() != nil {
		return nil // it was interrupted, which is said anyhow
	}
	return fail(program.KindUnavailable, "mend that, and give the same command again: machines that are up stay up with --keep", "%d of %d machines failed", len(failed), len(events))
}

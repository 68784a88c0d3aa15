package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"myriad/bus"
	"myriad/daemon"
	"myriad/program"
)

const agentLong = `Make this machine a pnode of a coordinator elsewhere: it carries the vnodes that
are placed here, by "myriad up" there. Ctrl-C or SIGTERM ends the agent; vnodes
and what runs in them live on, and the next agent finds them. A coordinator that
cannot be reached is waited for, at first and ever after.

The token is what "myriad token" prints on the coordinator's machine. It is read
from --token-file, from MYRIAD_TOKEN, or from token in the state directory; a file
must be for its owner alone (0600).

The name of a pnode is this machine's host name, and must be nobody else's. Other
pnodes reach it at --address: by default, that by which it reaches the coordinator.
Pnodes of one site are near each other; how far sites are apart, the topology file
may say.

packaging/myriad-agent.service is a unit for systemd.`

// agentOptions are the flags of agent.
type agentOptions struct {
	join       joinFlags
	name       string
	site       string
	address    string
	takeOver   bool
	background bool
	stop       bool
	readyFD    string
}

func (a *app) agentCmd() *cobra.Command {
	var o agentOptions
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Carry vnodes for a coordinator on another machine",
		Long:  agentLong,
		Example: `  sudo myriad agent --join host1
  sudo myriad agent --join tls://host1:4222 --token-file /etc/myriad/token --site paris
  ssh host1 sudo myriad token | sudo myriad agent --join host1 --token-file -
  sudo myriad agent --stop`,
		Args: args(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.stop {
				return a.stopAgent(cmd.Context())
			}
			return a.agent(cmd, &o)
		},
	}
	flags := cmd.Flags()
	o.join.add(cmd, "URL of the coordinator's bus, or of a relay's: tls://HOST:4222")
	flags.StringVar(&o.name, "name", "", "name of the pnode (default: the host name)")
	flags.StringVar(&o.site, "site", "", "where it is")
	flags.StringVar(&o.address, "address", "", "IPv4 address by which other pnodes reach it (default: that by which it reaches the bus)")
	flags.BoolVar(&o.takeOver, "take-over", false, "let go of what it carries for another coordinator")
	flags.BoolVar(&o.background, "background", false, "return when it has been taken in; it goes on, and logs to agent.log in the state directory")
	flags.BoolVar(&o.stop, "stop", false, "end the agent of this machine, and wait until it has ended")
	flags.StringVar(&o.readyFD, readyFlag, "", "descriptor on which to say that it has joined")
	if err := flags.MarkHidden(readyFlag); err != nil {
		panic(err) // it was added just above
	}
	for _, f := range []string{"name", "site", "address"} {
		mustComplete(cmd, f)
	}
	return cmd
}

// agent checks what was asked, all of it, and does it.
func (a *app) agent(cmd *cobra.Command, o *agentOptions) error {
	var faults faultList
	remote := o.join.remote(a, "join", &faults)
	checkName(o.name, &faults)
	checkSite(o.site, &faults)
	address := underlayAddress(o.address, &faults)
	announce, err := newAnnouncer(o.readyFD)
	if err != nil {
		faults.add("%v", err)
	}
	if err := faults.err(cmd); err != nil {
		announce.say(readiness{Error: describe(err)})
		return err
	}
	if err := needRoot("agent"); err != nil {
		return err
	}
	if o.background {
		return a.agentBehind(cmd.Context(), o, remote)
	}
	err = a.runAgent(cmd.Context(), o, remote, address, announce)
	if err != nil {
		announce.say(readiness{Error: describe(err)})
	}
	return err
}

func (a *app) runAgent(ctx context.Context, o *agentOptions, remote bus.Remote, address netip.Addr, announce *announcer) error {
	on, err := carriers.open(a.runDir, a.stateDir)
	if err != nil {
		return err
	}
	logger := newLogger(a.stderr)
	logger.Printf("myriad %s begins as an agent, process %d, run directory %s", versionOf(), os.Getpid(), a.runDir)
	defer logger.Printf("myriad ends")
	return daemon.RunAgent(ctx, daemon.AgentConfig{
		RunDir:    a.runDir,
		StateDir:  a.stateDir,
		Pnode:     on.pnode,
		Racks:     on.racks,
		Calibrate: on.calibrate,
		Key:       on.key,
		Join:      remote,
		Name:      o.name,
		Site:      o.site,
		Address:   address,
		TakeOver:  o.takeOver,
		Version:   versionOf(),
		Logf:      logger.Printf,
		Ready: func() {
			announce.say(readiness{Ready: true})
			notifySystemd("READY=1")
		},
	})
}

// agentLog is where an agent in the background writes.
func (a *app) agentLog() string { return filepath.Join(a.stateDir, "agent.log") }

// joinPatience is how long it is waited for an agent in the background to be
// taken in.
const joinPatience = 30 * time.Second

// agentBehind starts an agent in the background, and waits until it is taken
// in or says why not. It gets its token by its standard input.
func (a *app) agentBehind(ctx context.Context, o *agentOptions, remote bus.Remote) error {
	if h := daemon.HolderOf(a.runDir); h.Role == daemon.RoleAgent {
		return fail(program.KindConflict, "\"myriad agent --stop\" ends it", "an agent runs already, process %d, for the coordinator at %s", h.Pid, h.Bus)
	}
	token, _ := o.join.text()
	words := []string{"agent", "--run-dir", a.runDir, "--state-dir", a.stateDir, "--" + readyFlag, "3"}
	for flag, value := range map[string]string{"name": o.name, "site": o.site, "address": o.address} {
		if value != "" {
			words = append(words, "--"+flag, value)
		}
	}
	if o.takeOver {
		words = append(words, "--take-over")
	}
	if token != "" {
		words = append(words, "--token-file", "-")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, joinPatience, errSlowJoin)
	defer cancel()
	err := a.launch(ctx, launch{args: words, env: []string{"MYRIAD_JOIN=" + remote.URL}, log: a.agentLog(), input: token})
	if context.Cause(ctx) == errSlowJoin && err != nil {
		return fail(program.KindUnavailable, "\"myriad agent --stop\" ends it; its log is "+a.agentLog(), "the agent has not been taken in within %s, and goes on trying: %s", span(joinPatience), lastLine(a.agentLog()))
	}
	if err != nil {
		return err
	}
	pid, at := daemon.HolderOf(a.runDir).Pid, daemon.Redacted(remote.URL)
	if a.json() {
		return a.printJSON(struct {
			Joined string `json:"joined"`
			Pid    int    `json:"pid"`
		}{at, pid})
	}
	_, err = fmt.Fprintf(a.stdout, "agent: joined %s, process %d\n", at, pid)
	return err
}

var errSlowJoin = fmt.Errorf("not taken in within %s", joinPatience)

// lastLine is the end of a log.
func lastLine(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return lines[len(lines)-1]
}

// stopAgent ends the agent that has this instance's directories, and returns
// when they are free. That there is none is no error.
func (a *app) stopAgent(ctx context.Context) error {
	for asked := 0; ; {
		h := daemon.HolderOf(a.runDir)
		if h.Role != daemon.RoleAgent {
			if other := daemon.StateHolderOf(a.stateDir); other.Role == daemon.RoleAgent {
				h = other // it has another run directory
			}
		}
		switch {
		case h.Role == daemon.RoleDaemon && h.Pid > 0 && h.Pid != asked:
			return fail(program.KindConflict, "end it where it was started, or with systemctl stop myriad", "a daemon runs here, process %d, and no agent", h.Pid)
		case h.Role != daemon.RoleAgent && asked == 0 && !daemon.Held(a.runDir):
			a.note("no agent runs")
			return a.stopped(0)
		case h.Pid == 0 && !daemon.Held(a.runDir):
			return a.stopped(asked)
		case h.Pid != 0 && h.Pid != asked:
			if err := syscall.Kill(h.Pid, syscall.SIGTERM); err != nil && err != syscall.ESRCH {
				return fmt.Errorf("end the agent, process %d: %w", h.Pid, err)
			}
			asked = h.Pid
		}
		select {
		case <-ctx.Done():
			return fail(program.KindUnavailable, "removals under way are finished first; \"myriad agent --stop\" waits again", "interrupted: the agent, process %d, was told to end", asked)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stopped tells programs which process has ended; 0: there was none.
func (a *app) stopped(pid int) error {
	if !a.json() {
		return nil
	}
	return a.printJSON(map[string]int{"stopped": pid})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/daemon"
	"myriad/program"
	"myriad/topo"
)

const upLong = `Make a platform as its file says. What is there already and right is not touched:
after an edit, up costs the difference; after a crash, it makes what is missing.
Where a running platform of the same name has vnodes that the file does not,
they are removed.

The file is checked first, and nothing is done if anything is wrong with it.
Conditions of links become what the file says: those that were set while the
platform ran are dropped, which is said. The file's schedule begins when all is
up. If no daemon runs, one is started in the background; it ends with its last
platform, and logs to daemon.log in the state directory. Ctrl-C stops: what is
made stays made, "up" goes on from there and "down" removes it.

It needs root (CAP_SYS_ADMIN, CAP_NET_ADMIN, CAP_BPF). With -o json each event is
an object on a line of its own; the last has the platform, or the error.`

func (a *app) upCmd() *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:   "up FILE",
		Short: "Make a platform as its file says",
		Long:  upLong,
		Example: `  sudo myriad up examples/quickstart.yaml
  generate-platform | sudo myriad up -
  sudo myriad up platform.yaml -o json | jq 'select(.type == "progress")'`,
		Args:              args(1, 1, "a FILE (- is standard input)"),
		ValidArgsFunction: completeFiles(1),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.up(cmd.Context(), args[0], force) },
	}
	cmd.Flags().BoolVar(&force, "force", false, "begin even if the forecast says that it does not fit")
	return cmd
}

func (a *app) up(ctx context.Context, file string, force bool) error {
	source, files, t, err := a.wellFormed(file)
	if err != nil {
		return err
	}
	bar := a.newProgress("up "+t.Name, "vnodes")
	begin := time.Now()
	var result *api.Platform
	for range 3 { // a daemon without platforms may end before it is asked
		if err = a.ensureDaemon(ctx, "up"); err != nil {
			return err
		}
		err = a.client().Up(ctx, &api.UpRequest{File: fileName(file), Source: string(source), Files: files, Force: force}, func(e *api.Event) error {
			if e.Result != nil {
				result = e.Result
			}
			return a.followEvent(bar, e)
		})
		if !daemonless(err) {
			break
		}
	}
	bar.finish()
	switch {
	case ctx.Err() != nil:
		return a.upInterrupted(ctx, t, file)
	case err != nil:
		return a.upFailed(err, result, file)
	case result == nil:
		return fail(program.KindUnavailable, "see "+a.logPath(), "the daemon ended the request without a result")
	}
	return a.upDone(result, file, time.Since(begin))
}

// followEvent shows an event of a request under way.
func (a *app) followEvent(bar *progress, e *api.Event) error {
	if a.json() {
		return a.printJSON(e)
	}
	if e.Total > 0 {
		bar.set(e.Done, e.Total)
		return nil
	}
	if e.Message != "" && e.Error == nil && e.Result == nil {
		bar.finish()
		a.note("%s", e.Message)
	}
	return nil
}

// upDone tells what is there at the end. A platform of which something is
// missing is a failure.
func (a *app) upDone(p *api.Platform, file string, took time.Duration) error {
	if !a.json() {
		rate := ""
		if p.Writes > 0 && took > 0 {
			rate = fmt.Sprintf(", %s written", plural(p.Writes, "kernel object", "kernel objects"))
		}
		fmt.Fprintf(a.stdout, "platform %s: %s, %s of %s vnodes up in %s%s\n", p.Name, p.State, count(p.Up), count(p.Vnodes), span(took), rate)
	}
	if p.Up >= p.Vnodes && len(p.Problems) == 0 {
		return nil
	}
	wrong := fmt.Sprintf("%s of %s vnodes are not up", count(p.Vnodes-p.Up), count(p.Vnodes))
	if p.Up >= p.Vnodes {
		wrong = "all vnodes are up, but not all is as it should be"
	}
	return &api.Error{
		Kind:     firstKind(p.Problems),
		Message:  fmt.Sprintf("platform %s: %s", p.Name, wrong),
		Remedy:   a.goOn(p.Name, file),
		Problems: p.Problems,
	}
}

// firstKind is the class of the first of some problems.
func firstKind(problems []program.Problem) program.Kind {
	if len(problems) == 0 {
		return program.KindInternal
	}
	return problems[0].Kind
}

// upFailed adds what is there, if anything is, to an error that ended up.
func (a *app) upFailed(err error, p *api.Platform, file string) error {
	err = a.reach(err)
	if p == nil || p.Up == 0 {
		return err
	}
	e := *describe(err)
	e.Message += fmt.Sprintf("\n%s of %s vnodes are up", count(p.Up), count(p.Vnodes))
	if e.Remedy != "" {
		e.Remedy += "\n"
	}
	e.Remedy += a.goOn(p.Name, file)
	return &e
}

// upInterrupted says what is made, and how to go on or back.
func (a *app) upInterrupted(ctx context.Context, t *topo.Topology, file string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	made := "it is not known how much is made"
	switch p, err := a.settled(ctx, t.Name); {
	case err == nil:
		made = fmt.Sprintf("%s of %s vnodes are up", count(p.Up), count(p.Vnodes))
	case describe(err).Kind == program.KindNotFound:
		made = "nothing is made"
	}
	return fail(program.KindUnavailable, a.goOn(t.Name, file), "interrupted: %s", made)
}

// settled looks at a platform when the daemon has stopped working on it,
// which takes a moment after it is told to.
func (a *app) settled(ctx context.Context, name string) (*api.Platform, error) {
	for {
		p, err := a.client().Platform(ctx, name)
		if err != nil || p.State != "applying" {
			return p, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// goOn says how to finish what is half done, or to undo it.
func (a *app) goOn(platform, file string) string {
	if file == "-" {
		file = "with the same file"
	}
	return fmt.Sprintf("\"myriad up %s\" goes on from there, \"myriad down %s\" removes it", file, platform)
}

// ensureDaemon sees to it that a daemon answers.
func (a *app) ensureDaemon(ctx context.Context, verb string) error {
	err := a.greet(ctx)
	if err := a.carriesForOthers(err); err != nil {
		return err
	}
	if !daemonless(err) {
		return a.reach(err)
	}
	if err := needRoot(verb); err != nil {
		return err
	}
	if _, err := os.Stat(daemon.TrustDir(a.stateDir)); err == nil {
		a.note("the daemon that is started now listens to no other machine; \"myriad serve --listen\" does")
	}
	err = a.startDaemon(ctx)
	if e := (*api.Error)(nil); errors.As(err, &e) && e.Kind == program.KindConflict {
		if a.greet(ctx) == nil {
			return nil // somebody else has just started it
		}
		if err := a.notYet(); err != nil {
			return err
		}
	}
	return err
}

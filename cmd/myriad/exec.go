package main

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"myriad/api"
	"myriad/nodeset"
	"myriad/program"
	"myriad/rack"
)

// session is an exec under way: the client's side of a connection upgraded
// to rack frames.
type session interface {
	Send(*rack.Input) error
	Recv() (*rack.Reply, error)
	Close() error
}

// execOptions are the flags of exec.
type execOptions struct {
	gather  bool
	stdin   bool
	stream  bool
	timeout time.Duration
	window  int
	env     []string
	dir     string
}

const execLong = `Run a command in every vnode of NODESET, and give back what it writes.

Lines come as they are written, each after the name of its vnode; with -b they
are held back, and equal outputs are written once under the folded names of
the vnodes they come from. Standard error stays on standard error in both. The
command is run as it is, without a shell: for pipes and variables of the vnode,
run sh -c '…'. What it leaves behind in the background lives until down.

In each rack a few commands run at a time, and the next begins when one has
ended; while none ends, more are begun, until all run or the machine has little
memory or few processes left. --window sets how many run at a time instead.

NODESET is ClusterShell's language: peer[1-40], a,b, @group, * for all, and the
operators , (or) ! (but not) & (and) ^ (in one only). Quote it from your shell.

The exit code is the largest of all: 126 and 127 stand for a command that could
not be started, 128 + N for one killed by signal N, 255 for a vnode that was
lost. What failed where is told at the end. Ctrl-C kills what was started and
names the vnodes that had not finished; what arrived before is kept.

With -o json there is one object for each vnode, on a line of its own, as it
ends; with --stream an object for each piece of output before it.`

const execExample = `  myriad exec peer1 -- ip -br address
  myriad exec 'peer[1-1000]' -b -- uname -r
  myriad exec '*!gw[1-2]' --timeout 10s -- ping -c1 gw1
  myriad exec @clients -- sh -c 'echo $(hostname) $(cat /proc/loadavg)'
  tar c conf | myriad exec '*' --stdin -- tar x -C /tmp
  myriad exec '*' -o json -- true | jq -s 'map(.took) | add / length / 1e6'`

func (a *app) execCmd() *cobra.Command {
	var opts execOptions
	cmd := &cobra.Command{
		Use:               "exec NODESET [flags] -- COMMAND [ARGUMENT…]",
		Short:             "Run a command in vnodes",
		Long:              execLong,
		Example:           execExample,
		Args:              args(2, -1, "a NODESET or the COMMAND"),
		ValidArgsFunction: a.completeNodes(true),
		RunE: func(cmd *cobra.Command, args []string) error {
			if args[1] == "" {
				return usageError(cmd, "exec: the COMMAND is missing")
			}
			return a.exec(cmd.Context(), args[0], args[1:], opts)
		},
	}
	flags := cmd.Flags()
	flags.BoolVarP(&opts.gather, "gather", "b", false, "write equal outputs once, under folded names")
	flags.BoolVar(&opts.stdin, "stdin", false, "give standard input to every command (otherwise it is empty)")
	flags.BoolVar(&opts.stream, "stream", false, "with -o json: write output as it comes")
	flags.DurationVar(&opts.timeout, "timeout", 0, "end each command after this time (0: never)")
	flags.IntVar(&opts.window, "window", 0, "commands at a time in each rack (0: as many as is good)")
	flags.StringArrayVarP(&opts.env, "env", "e", nil, "NAME=VALUE for the command's environment (may be repeated)")
	flags.StringVar(&opts.dir, "dir", "/", "working directory of the command")
	a.platformFlag(cmd)
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fail(program.KindInvalid, "write -- before the COMMAND, so that its flags are its own\n\"myriad exec --help\" shows how it is used", "%v", err)
	})
	return cmd
}

// exec runs argv in nodes and gives the largest exit code.
func (a *app) exec(ctx context.Context, nodes string, argv []string, opts execOptions) error {
	if err := opts.check(a.json()); err != nil {
		return err
	}
	platform, err := a.onePlatform(ctx)
	if err != nil {
		return err
	}
	x := &execution{tally: newTally()}
	x.asked = sync.OnceValues(func() (*nodeset.Set, error) { return a.resolve(platform, nodes) })
	if err := a.present(x, opts); err != nil {
		return err
	}
	s, err := a.client().Exec(ctx, platform, opts.request(nodes, argv))
	if err != nil {
		return a.reach(err)
	}
	defer s.Close()
	if opts.stdin {
		go func() { // ends with its input, at the latest with the process
			if err := feed(s, a.stdin); err != nil {
				a.note("read standard input: %v", err)
				s.Close()
			}
		}()
	}
	return a.execEnd(ctx, x, x.run(ctx, s))
}

// check refuses what cannot be meant.
func (o *execOptions) check(json bool) error {
	switch {
	case o.stream && !json:
		return fail(program.KindInvalid, "lines are streamed without it", "--stream goes with -o json")
	case o.gather && json:
		return fail(program.KindInvalid, "-o json has one object for each vnode", "--gather is for people, -o json for programs")
	case o.timeout < 0 || o.window < 0:
		return fail(program.KindInvalid, "", "--timeout and --window are positive, or 0")
	case !path.IsAbs(o.dir):
		return fail(program.KindInvalid, "a command in a vnode does not begin in your directory", "--dir is an absolute path, not %q", o.dir)
	}
	for _, e := range o.env {
		if strings.Index(e, "=") <= 0 {
			return fail(program.KindInvalid, "", "--env is NAME=VALUE, not %q", e)
		}
	}
	return nil
}

// present chooses how the outputs of x are shown.
func (a *app) present(x *execution, opts execOptions) error {
	if a.json() {
		x.sink = newResults(a.printJSON, opts.stream)
		return nil
	}
	_, outTTY := isTerminal(a.stdout)
	_, errTTY := isTerminal(a.stderr)
	width := 0
	if outTTY || opts.gather && errTTY {
		asked, err := x.asked()
		if err != nil {
			return err
		}
		for name := range asked.All() {
			width = max(width, len(name))
		}
		x.total = asked.Len()
	}
	if !opts.gather {
		x.sink = newLines(a.stdout, a.stderr, width)
		return nil
	}
	x.sink = newGather(a.stdout, a.stderr)
	if errTTY {
		x.progress = a.newProgress("exec", "vnodes")
	}
	return nil
}

// resolve asks the daemon which vnodes a node set means. It has its own
// time, because it is also asked after an interruption.
func (a *app) resolve(platform, nodes string) (*nodeset.Set, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	n, err := a.client().Nodes(ctx, platform, nodes)
	if err != nil {
		return nil, a.reach(err)
	}
	return nodeset.Parse(n.Nodes, nil)
}

// execEnd tells what did not go well, and gives the exit code as an error.
// cause is what ended the exec early, if anything did.
func (a *app) execEnd(ctx context.Context, x *execution, cause error) error {
	x.tally.summary(a.note)
	if cause == nil {
		if x.tally.worst != 0 {
			return exitError(x.tally.worst)
		}
		return nil
	}
	if refused(cause) && x.tally.ended == 0 {
		return cause // nothing was started
	}
	unfinished := x.unfinished()
	if a.json() {
		for name := range unfinished.All() {
			x.sink.exit(rack.Exit{Vnode: name, Code: codeUnfinished, Err: "did not finish"})
		}
	}
	if n := unfinished.Len(); n > 0 {
		a.note("did not finish: %s", briefly(slices.Collect(unfinished.All())))
	}
	if ctx.Err() != nil {
		a.note("interrupted; what was started is killed")
		return exitError(interruptCode(ctx))
	}
	if unfinished.Len() == 0 {
		return cause
	}
	a.printError(describe(cause))
	return exitError(max(codeUnfinished, x.tally.worst))
}

// refused says whether err is about the request, not about what came of it.
func refused(err error) bool {
	kind := describe(err).Kind
	return kind == program.KindInvalid || kind == program.KindNotFound
}

// execution is one exec: who is asked, who has ended, where output goes.
type execution struct {
	asked    func() (*nodeset.Set, error)
	total    int // of asked, if it was asked for
	sink     sink
	tally    *tally
	progress *progress // nil: none
}

// unfinished is the set of the vnodes whose end was not seen.
func (x *execution) unfinished() *nodeset.Set {
	asked, err := x.asked()
	if err != nil {
		return nodeset.Of() // nobody is left who knows
	}
	return x.tally.unfinished(asked)
}

// run reads a session to its end, or to the end of ctx. It gives what kept
// the commands from ending: nil if every one ended, with whatever code.
func (x *execution) run(ctx context.Context, s session) error {
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	err := x.receive(s)
	if x.progress != nil {
		x.progress.finish()
	}
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return errors.Join(err, x.sink.close())
}

// receive hands replies to the sink until the last one.
func (x *execution) receive(s session) error {
	for {
		reply, err := s.Recv()
		if errors.Is(err, io.EOF) {
			return fail(program.KindUnavailable, "look at what is left with \"myriad status\"", "the daemon went away before the commands ended")
		}
		if err != nil {
			return err
		}
		for _, o := range reply.Outputs {
			x.sink.output(o)
		}
		for _, e := range reply.Exits {
			x.sink.exit(e)
			x.tally.exit(e)
		}
		if x.progress != nil {
			x.progress.set(x.tally.ended, x.total)
		}
		if err := x.sink.flush(); err != nil {
			return err
		}
		if reply.Err != nil {
			return reply.Err
		}
		if reply.Done {
			return nil
		}
	}
}

// feed sends standard input to a session: every command gets all of it. Its
// error is one of reading. A session that takes no more has ended, or ends
// with an error of its own, which receiving finds.
func feed(s session, stdin io.Reader) error {
	buf := make([]byte, 1<<16)
	for {
		n, err := stdin.Read(buf)
		if n > 0 {
			if s.Send(&rack.Input{Data: buf[:n]}) != nil {
				return nil
			}
		}
		if err != nil {
			_ = s.Send(&rack.Input{EOF: true})
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// request is what the daemon is asked.
func (o *execOptions) request(nodes string, argv []string) *api.ExecRequest {
	return &api.ExecRequest{Nodes: nodes, Exec: &rack.ExecRequest{
		Argv:    argv,
		Env:     o.env,
		Dir:     o.dir,
		Stdin:   o.stdin,
		Timeout: int64(o.timeout),
		Window:  o.window,
	}}
}

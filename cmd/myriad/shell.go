package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"myriad/api"
	"myriad/rack"
)

const shellLong = `Open a terminal in one vnode, with your shell or with COMMAND. The vnode has its
own network and host name and the file system of this machine. The exit code is
the shell's. Ctrl-] three times within a second leaves a shell that hangs, and
kills it.

Where standard input is no terminal, its lines are the shell's commands.`

func (a *app) shellCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shell NODE [-- COMMAND [ARGUMENT…]]",
		Short: "Open a terminal in a vnode",
		Long:  shellLong,
		Example: `  myriad shell peer1
  myriad shell gw1 -- tcpdump -ni eth0
  echo 'ip route' | myriad shell peer1`,
		Args:              args(1, -1, "the name of a vnode"),
		ValidArgsFunction: a.completeNodes(true),
		RunE:              func(cmd *cobra.Command, args []string) error { return a.shell(cmd.Context(), args[0], args[1:]) },
	}
	a.platformFlag(cmd)
	return cmd
}

func (a *app) shell(ctx context.Context, node string, argv []string) error {
	platform, v, err := a.oneVnode(ctx, node)
	if err != nil {
		return err
	}
	if len(argv) == 0 {
		argv = []string{userShell()}
	}
	req := &rack.ExecRequest{Argv: argv, Stdin: true, Dir: "/"}
	fd, tty := isTerminal(a.stdin)
	if tty {
		req.Tty = true
		req.Env = []string{"TERM=" + envOr("TERM", "dumb")}
		if columns, rows, err := term.GetSize(fd); err == nil {
			req.Rows, req.Columns = uint16(rows), uint16(columns)
		}
	}
	s, err := a.client().Exec(ctx, platform, &api.ExecRequest{Nodes: v.Name, Exec: req})
	if err != nil {
		return a.reach(err)
	}
	defer s.Close()
	x := &execution{sink: &through{stdout: a.stdout, stderr: a.stderr}, tally: newTally()}
	if tty {
		err = a.terminal(ctx, x, s, fd)
	} else {
		err = converse(ctx, x, s, a.stdin)
	}
	for f := range x.tally.failures {
		if f.err != "" {
			a.note("%s", f)
		}
	}
	if err == nil && x.tally.worst != 0 {
		return exitError(x.tally.worst)
	}
	return err
}

// terminal joins this terminal to the one in the vnode.
func (a *app) terminal(ctx context.Context, x *execution, s session, fd int) error {
	was, err := term.MakeRaw(fd)
	if err != nil {
		return fmt.Errorf("set the terminal to raw mode: %w", err)
	}
	winch := make(chan os.Signal, 1)
	signal.Notify(winch, syscall.SIGWINCH)
	go func() { // ends when winch is closed
		for range winch {
			if columns, rows, err := term.GetSize(fd); err == nil {
				_ = s.Send(&rack.Input{Resize: &[2]uint16{uint16(rows), uint16(columns)}}) // if it is gone, receiving says so
			}
		}
	}()
	err = converse(ctx, x, s, &escape{r: a.stdin})
	signal.Stop(winch)
	close(winch)
	if e := term.Restore(fd, was); e != nil && err == nil {
		err = fmt.Errorf("restore the terminal: %w", e)
	}
	return err
}

// converse passes input to the command of a session and its output back,
// until the command ends.
func converse(ctx context.Context, x *execution, s session, stdin io.Reader) error {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	go func() { // ends with its input, at the latest with the process
		if err := feed(s, stdin); errors.Is(err, errLeft) {
			leave(errLeft)
		}
	}()
	return x.run(ctx, s)
}

// through is a sink for one vnode: what it writes is written as it is.
type through struct {
	stdout, stderr io.Writer
	err            error
}

func (t *through) output(o rack.Output) {
	w := t.stdout
	if o.Stderr {
		w = t.stderr
	}
	if _, err := w.Write(o.Data); err != nil && t.err == nil {
		t.err = err
	}
}

func (t *through) exit(rack.Exit) {}
func (t *through) flush() error   { return t.err }
func (t *through) close() error   { return t.err }

// errLeft says that the user left a shell that did not end.
var errLeft = errors.New("left the shell by Ctrl-], and killed it")

// escape is a terminal's input that ends when Ctrl-] is typed three times
// within a second.
type escape struct {
	r     io.Reader
	count int
	since time.Time
}

const ctrlBracket = 0x1d

func (e *escape) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	for _, b := range p[:n] {
		switch {
		case b != ctrlBracket:
			e.count = 0
		case e.count == 0 || time.Since(e.since) > time.Second:
			e.count, e.since = 1, time.Now()
		default:
			e.count++
		}
		if e.count == 3 {
			return 0, errLeft
		}
	}
	return n, err
}

// userShell is the shell of the user, if it is one of this machine's.
func userShell() string {
	shell := os.Getenv("SHELL")
	shells, _ := os.ReadFile("/etc/shells") // without it, sh is what there is
	if shell != "" && bytes.Contains(shells, []byte(shell+"\n")) && !strings.Contains(shell, "nologin") {
		return shell
	}
	return "/bin/sh"
}

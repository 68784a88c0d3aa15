package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"myriad/program"
)

// machine is what a daemon and an agent have in common: two directories that
// are theirs alone, and a name.
type machine struct {
	RunDir   string
	StateDir string
	Name     string // empty: the host's name
	Logf     func(format string, args ...any)

	run, state *claim
	percent    int // of the garbage collector, before
}

// gcPercent trades time for memory: what the daemon holds is small beside the
// garbage of one up of 40,000 vnodes, and that is returned at its end.
const gcPercent = 50

// claim makes the directories ours, or says why that cannot be.
func (m *machine) claim(ctx context.Context, who Holder) (err error) {
	if err := m.validate(); err != nil {
		return err
	}
	if err := checkFiles(); err != nil {
		return err
	}
	if m.run, err = claimRun(ctx, m.RunDir, who); err != nil {
		return err
	}
	if m.state, err = claimState(m.StateDir, who); err != nil {
		m.run.release()
		return err
	}
	m.percent = debug.SetGCPercent(gcPercent)
	return nil
}

func (m *machine) release() {
	debug.SetGCPercent(m.percent)
	m.state.release()
	m.run.release()
}

func (m *machine) validate() error {
	if m.RunDir == "" || m.StateDir == "" {
		return errors.New("run daemon: needs a run directory and a state directory")
	}
	if n := len(Socket(m.RunDir)); n > MaxSocketPath {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "listen in " + m.RunDir,
			Cause: fmt.Sprintf("the path of the socket has %d bytes, and Linux takes %d", n, MaxSocketPath), Remedy: "choose a shorter --run-dir"}
	}
	if m.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("find the name of this machine: %w", err)
		}
		m.Name = name
	}
	if m.Logf == nil {
		m.Logf = func(string, ...any) {}
	}
	return nil
}

// MaxSocketPath is how many bytes the path of a socket can have: what a socket
// address holds, less the zero at its end (unix(7)).
const MaxSocketPath = 107

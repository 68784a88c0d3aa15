package daemon

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"myriad/bus"
	"myriad/coord"
	"myriad/program"
	"myriad/trust"
)

// coordinatorIdentity is who this machine's coordinator is: what its state
// directory says. Where that is lost while vnodes live on, it is who was
// coordinator in the run directory: they are still ours.
func coordinatorIdentity(stateDir, runDir string) (string, error) {
	kept, copied := filepath.Join(stateDir, "coordinator"), filepath.Join(runDir, "coordinator")
	if _, err := os.Stat(kept); errors.Is(err, fs.ErrNotExist) {
		if text, err := os.ReadFile(copied); err == nil {
			if err := os.WriteFile(kept, text, 0o600); err != nil {
				return "", unusable("use state directory "+stateDir, err, "choose another with --state-dir, or mend this one")
			}
		}
	}
	identity, err := trust.Identity(kept)
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(copied, []byte(identity+"\n"), 0o600); err != nil {
		return "", unusable("use run directory "+runDir, err, "choose another with --run-dir, or mend this one")
	}
	return identity, nil
}

// sharedIdentity is who the coordinators on a bus are to agents, whichever of
// them leads: the one that came first said so.
func sharedIdentity(ctx context.Context, conn *bus.Conn, own string) (string, error) {
	records, err := conn.Bucket(ctx, "identity")
	if err != nil {
		return "", err
	}
	for range 2 {
		text, _, err := records.GetRev(ctx, "coordinator")
		if err == nil {
			return string(text), nil
		}
		if kindOf(err) != program.KindNotFound {
			return "", err
		}
		_, err = records.Create(ctx, "coordinator", []byte(own))
		if err == nil {
			return own, nil
		}
		if kindOf(err) != program.KindConflict { // somebody was faster
			return "", err
		}
	}
	return "", &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "read who coordinates on the bus", Cause: "the record comes and goes"}
}

func kindOf(err error) program.Kind {
	if p := bus.ProblemOf(err); p != nil {
		return p.Kind
	}
	return program.KindInternal
}

// lease is how long the right to coordinate lasts that is not renewed, on a bus
// where others may want it.
const lease = 5 * time.Second

// awaitLead returns when the coordinator can be asked, with this machine among
// its pnodes, or stands by.
func (d *daemon) awaitLead(ctx context.Context, c *coord.Coordinator) error {
	ctx, enough := context.WithCancel(ctx)
	defer enough()
	leads := make(chan error, 1)
	go func() {
		if d.NoAgent {
			_, err := c.Pnodes(ctx)
			leads <- err
			return
		}
		leads <- c.AwaitPnode(ctx, d.Name)
	}()
	select {
	case err := <-leads:
		return err
	case <-d.stand.begun():
		enough()
		<-leads
		return nil
	}
}

// standing is who leads in place of this coordinator.
type standing struct {
	mu    sync.Mutex
	who   string
	since chan struct{} // closed when somebody does
}

// by is told who leads; empty: this one does.
func (s *standing) by(leader string) {
	since := s.begun()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.who = leader
	select {
	case <-since:
	default:
		close(since)
	}
}

func (s *standing) leader() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who
}

func (s *standing) begun() chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since == nil {
		s.since = make(chan struct{})
	}
	return s.since
}

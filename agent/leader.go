package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"myriad/bus"
	"myriad/program"
)

// joinPatience is how long a request waits until its agent has joined whoever
// asks.
const joinPatience = 2 * time.Second

// leader is what an agent knows of its coordinator.
type leader struct {
	mu       sync.Mutex
	who      claim
	kept     bool // who is journalled
	joined   bool
	takeOver bool   // whoever comes next may have the platforms of who
	answered *claim // of whoever answered a hello last, welcoming or not
	latest   uint64 // epoch of whoever was heard last
	heard    time.Time
	changed  chan struct{} // closed when joined or who changes
}

// claim is by whom a pnode's platforms are claimed. It is journalled in the
// run directory, so that an agent that comes after this one does not obey
// whoever has been superseded, nor touch what is somebody else's.
type claim struct {
	Coordinator string
	Epoch       uint64 // the greatest heard
}

func leaderPath(runDir string) string { return filepath.Join(runDir, "coordinator.cbor") }

// readLeader reads the journal. Where nothing is carried it does not count.
func (a *agent) readLeader() {
	b, err := os.ReadFile(leaderPath(a.RunDir))
	if errors.Is(err, fs.ErrNotExist) || err == nil && !a.carries() {
		return
	}
	if err == nil {
		err = bus.Decode(b, &a.leader.who)
	}
	if err != nil {
		a.Logf("agent %s: read by whom its platforms are claimed: %v", a.Name, err)
	}
}

// keepLeader journals who leads.
func (a *agent) keepLeader() error {
	a.leader.mu.Lock()
	defer a.leader.mu.Unlock()
	if a.leader.kept {
		return nil
	}
	b, err := bus.Encode(a.leader.who)
	if was, e := os.ReadFile(leaderPath(a.RunDir)); err == nil && e == nil && bytes.Equal(was, b) {
		a.leader.kept = true // by the agent before: there may be no room to say it again
		return nil
	}
	if err == nil {
		err = os.MkdirAll(a.RunDir, 0o700)
	}
	if err == nil {
		err = replace(leaderPath(a.RunDir), b)
	}
	if err != nil {
		return unwritten(fmt.Errorf("journal who coordinates: %w", err))
	}
	a.leader.kept = true
	return nil
}

// unwritten says that a journal could not be written.
func unwritten(err error) error {
	p := &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: err.Error(), Remedy: "the run directory must be writable and have room"}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		p.Kind = program.KindExhausted
	}
	return p
}

// claims gives whose the platforms of this pnode are; empty: whoever comes
// next may have them.
func (l *leader) claims() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.takeOver {
		return ""
	}
	return l.who.Coordinator
}

func (l *leader) isJoined() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.joined
}

// hear takes in that somebody leads, and tells whether that is a reason to say
// hello: it is another one, or was not heard for long.
func (l *leader) hear(lead bus.Lead) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := claim{lead.Coordinator, lead.Epoch}
	l.latest = max(l.latest, lead.Epoch)
	switch {
	case l.older(c):
		return false
	case l.joined && c == l.who:
		silent := time.Since(l.heard) > leadPatience
		l.heard = time.Now()
		return silent
	case l.joined:
		return true
	}
	return l.answered == nil || *l.answered != c
}

// minds tells whether one who calls this agent has not been superseded.
func (l *leader) minds(lead bus.Lead) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latest = max(l.latest, lead.Epoch)
	return !l.older(claim{lead.Coordinator, lead.Epoch})
}

// epoch gives that of whoever was heard last.
func (l *leader) epoch() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(l.latest, l.who.Epoch)
}

// older tells whether somebody has superseded c, as far as is known. mu is
// held.
func (l *leader) older(c claim) bool {
	return c.Coordinator == l.who.Coordinator && c.Epoch < l.who.Epoch && !l.takeOver
}

// silent tells whether nothing was heard of the coordinator for so long.
func (l *leader) silent(long time.Duration) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.heard.IsZero() && time.Since(l.heard) > long
}

// join makes lead the coordinator, and tells whether it was another before.
func (l *leader) join(lead bus.Lead) (anew bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := claim{lead.Coordinator, lead.Epoch}
	if l.older(c) {
		return false, superseded("join coordinator "+c.Coordinator, c.Epoch, l.who)
	}
	anew = c != l.who || !l.kept
	l.kept = l.kept && !anew
	l.who, l.joined, l.takeOver, l.answered, l.heard = c, true, false, &c, time.Now()
	l.tell()
	return anew, nil
}

// part takes in that somebody refuses this agent.
func (l *leader) part(lead bus.Lead) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined, l.answered = false, &claim{lead.Coordinator, lead.Epoch}
	l.tell()
}

func (l *leader) tell() {
	close(l.changed)
	l.changed = make(chan struct{})
}

func superseded(op string, epoch uint64, who claim) error {
	return &program.Problem{Kind: program.KindConflict, Rack: -1, Op: op,
		Cause:  fmt.Sprintf("another coordinator has taken over: it asks in epoch %d, and epoch %d of coordinator %s has begun", epoch, who.Epoch, who.Coordinator),
		Remedy: "end the one that leads no more"}
}

// allow says whether a request that makes or changes something may be carried
// out: heed does, and who asks is journalled.
func (a *agent) allow(ctx context.Context, op, platform string, o bus.Order) error {
	if err := a.heed(ctx, op, platform, o); err != nil {
		return err
	}
	return a.keepLeader()
}

// heed says whether a request comes from the one who leads, and no later one
// has overtaken it. A coordinator that has just begun may ask before its
// welcome arrives.
func (a *agent) heed(ctx context.Context, op, platform string, o bus.Order) error {
	if !program.ValidPlatformName(platform) {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: op, Cause: "no name of a platform"}
	}
	ctx, cancel := context.WithTimeout(ctx, joinPatience)
	defer cancel()
	if err := a.leader.await(ctx, op, o.Epoch); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	last := a.orders[platform]
	if o.Serial == 0 {
		return nil
	}
	if o.Epoch == last.Epoch && o.Serial < last.Serial {
		return &program.Problem{Kind: program.KindConflict, Rack: -1, Op: op,
			Cause: fmt.Sprintf("a later request has overtaken this one (%d, and it is %d)", last.Serial, o.Serial), Remedy: "none is needed: the later one counts"}
	}
	a.orders[platform] = o
	return nil
}

// await waits until the agent has joined whoever asks, and refuses those of
// before.
func (l *leader) await(ctx context.Context, op string, epoch uint64) error {
	for {
		l.mu.Lock()
		who, joined, changed := l.who, l.joined, l.changed
		l.mu.Unlock()
		switch {
		case joined && epoch < who.Epoch:
			return superseded(op, epoch, who)
		case joined && epoch <= who.Epoch:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: op, Cause: fmt.Sprintf("the agent has not joined a coordinator of epoch %d", epoch)}
		}
	}
}

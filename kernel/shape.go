package kernel

import (
	"context"
	"errors"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/fabric"
	"myriad/program"
)

// Shape puts other link conditions of a platform that is up into force, all
// at the same moment: at once, or at a time. nil are none. It writes nothing
// where nothing differs.
//
// Where the platform has conditions already, it takes one write of tables and
// waits for nobody; the first conditions need links and another program, and
// when the last ones go, so do these.
func (p *Pnode) Shape(ctx context.Context, platform string, l *program.Links, at time.Time) (*program.Shaped, error) {
	if l != nil {
		if err := l.Validate(); err != nil {
			return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "change links of " + platform, Cause: err.Error()}
		}
	}
	if !p.pinned(platform) {
		return nil, notUp(platform)
	}
	shaped, err := p.shape(ctx, platform, l, at)
	if err == nil {
		p.knowLinks(platform, l)
		if l == nil {
			err = p.lift(ctx, platform)
		}
		if cancelled(err) {
			err = nil // the conditions are gone; what held frames goes with the next change
		}
	}
	if err != nil && !cancelled(err) {
		err = problemError("change links of "+platform, err)
	}
	return shaped, err
}

// shape changes the tables of the fabric that is there, or makes one that has
// tables.
func (p *Pnode) shape(ctx context.Context, platform string, l *program.Links, at time.Time) (*program.Shaped, error) {
	k := p.linker(platform)
	armed := time.Duration(0) // how long it took to make tables that say nothing
	for try := 0; ; try++ {
		if !at.IsZero() {
			if err := sleepUntil(ctx, at.Add(-k.lead())); err != nil {
				return nil, err
			}
		}
		shaped := &program.Shaped{}
		err := k.use(ctx, false, func() error { return k.change(ctx, p, platform, l, at, shaped) })
		switch plain := errors.Is(err, fabric.ErrPlain) || errors.Is(err, errNeverShaped); {
		case plain && l == nil, err == nil:
			shaped.Took += armed
			return shaped, nil
		case plain && try == 0:
			// The tables are made of the size they need, and say nothing until
			// the moment comes.
			start := time.Now()
			_, err = p.arm(ctx, platform, muted(l))
			armed = time.Since(start)
		case errors.Is(err, fabric.ErrRoom) && try < 2:
			// Bigger tables come into force as soon as they are made: not before
			// the moment, and late by what that takes.
			if err := meet(ctx, at); err != nil {
				return nil, err
			}
			start := time.Now()
			shaped.Entries, err = p.arm(ctx, platform, l)
			shaped.Took = time.Since(start)
			if !at.IsZero() {
				shaped.Lateness = max(time.Since(at), 0)
			}
			return shaped, err
		}
		if err != nil {
			return nil, err
		}
	}
}

// A change is prepared some time before its moment; others wait no longer than
// that for their turn.
const (
	leastLead = 50 * time.Millisecond
	firstLead = 300 * time.Millisecond
)

func (k *linker) lead() time.Duration {
	took := time.Duration(k.took.Load())
	if took == 0 {
		return firstLead
	}
	return leastLead + 3*took
}

// change prepares other conditions and puts them into force at their moment.
func (k *linker) change(ctx context.Context, p *Pnode, platform string, l *program.Links, at time.Time, out *program.Shaped) error {
	start := time.Now()
	f, err := k.fabric(p, platform)
	if err == nil && f == nil {
		err = fabric.ErrPlain
	}
	if err != nil {
		return err
	}
	if l == nil {
		l = &program.Links{}
	}
	c, err := f.Prepare(l)
	if err != nil {
		return err
	}
	out.Took = time.Since(start)
	k.took.Store(int64(out.Took))
	if err := meet(ctx, at); err != nil {
		return err // it was not put into force, and the next is written over it
	}
	ready := time.Now()
	out.Entries, err = c.Commit()
	now := time.Now()
	out.Took += now.Sub(ready)
	if !at.IsZero() {
		out.Lateness = max(now.Sub(at), 0)
	}
	return err
}

// muted gives conditions that take as much room as l and change nothing.
func muted(l *program.Links) *program.Links {
	m := *l
	m.Conditions = make([]program.Condition, len(l.Conditions))
	m.Matrix = make([]program.PairWord, len(l.Matrix))
	m.Pairs = make([]program.Pair, len(l.Pairs))
	for i, x := range l.Pairs {
		x.Word = program.PairIndexed // none, for good
		m.Pairs[i] = x
	}
	return &m
}

// sleepUntil waits for a moment, a millisecond or so late at most. A clock
// that is set meanwhile is followed.
func sleepUntil(ctx context.Context, at time.Time) error {
	for {
		left := time.Until(at)
		if left <= 0 {
			return ctx.Err()
		}
		if err := sleep(ctx, min(left, clockCheck)); err != nil {
			return err
		}
	}
}

// clockCheck is how often a clock that may be set is looked at.
const clockCheck = 250 * time.Millisecond

// The last part of a wait is not slept but spun: timers are late by some tens
// of microseconds, and more where the machine is busy.
const (
	coarse = time.Millisecond
	spun   = 150 * time.Microsecond
)

// meet waits for a moment as exactly as it can.
func meet(ctx context.Context, at time.Time) error {
	if at.IsZero() {
		return ctx.Err()
	}
	if err := sleepUntil(ctx, at.Add(-coarse)); err != nil {
		return err
	}
	for {
		switch left := time.Until(at); {
		case left <= 0:
			return nil
		case left > spun:
			ts := unix.NsecToTimespec(int64(left - spun))
			_ = unix.Nanosleep(&ts, nil) // interrupted, it goes on here
		default:
			runtime.Gosched()
		}
	}
}

package agent

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"myriad/bus"
	"myriad/program"
)

// voice is by what an agent speaks: one thing after the other, each with its
// number.
type voice struct {
	session string // of this run
	pace    chan time.Duration
	off     atomic.Bool // the connection is lost: what is said now would be heard when it counts no more

	mu   sync.Mutex // from when a number is drawn until what has it is on its way
	seq  uint64
	news uint64 // how often racks have changed
}

// errUnheard says that something was not said.
var errUnheard = errors.New("the connection to the bus is lost")

// from draws the next number; mu is held.
func (a *agent) from() bus.From {
	a.voice.seq++
	return bus.From{Pnode: a.Name, Session: a.voice.session, Seq: a.voice.seq}
}

// said gives what was said last.
func (a *agent) said() *bus.From {
	a.voice.mu.Lock()
	defer a.voice.mu.Unlock()
	return &bus.From{Pnode: a.Name, Session: a.voice.session, Seq: a.voice.seq}
}

// say publishes something. What is said while the connection is lost is not
// kept for later: a hello tells all when it is back.
func say[T any](a *agent, subject string, v func(bus.From) T) error {
	a.voice.mu.Lock()
	defer a.voice.mu.Unlock()
	if a.voice.off.Load() {
		return errUnheard
	}
	return bus.Publish(a.conn, subject, v(a.from()))
}

// sayRacks tells what racks have become. Whoever was not there to hear it
// learns it from the next hello.
func (a *agent) sayRacks(r *program.Report) {
	a.voice.mu.Lock()
	a.voice.news++
	a.voice.mu.Unlock()
	if !a.leader.isJoined() {
		return
	}
	err := say(a, bus.SubjectRacks, func(f bus.From) bus.Racks { return bus.Racks{By: f, Report: *r} })
	if err != nil && err != errUnheard {
		a.complain(err)
		signal(a.again)
	}
}

// beats says again and again that the agent lives. It has a goroutine of its
// own, and waits for nothing but the connection: changes of the kernel may
// take seconds.
func (a *agent) beats() {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	tick.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return
		case every := <-a.voice.pace:
			if every > 0 {
				tick.Reset(every)
			} else {
				tick.Stop()
			}
		case <-tick.C:
			// A beat that fails is missed where it counts, and said there.
			_ = say(a, bus.SubjectBeat, func(f bus.From) bus.Beat { return bus.Beat{From: f, Now: a.Clock()} })
		}
	}
}

// setPace says how often to beat; 0 is never.
func (a *agent) setPace(every time.Duration) {
	select {
	case a.voice.pace <- every:
	case <-a.ctx.Done():
	}
}

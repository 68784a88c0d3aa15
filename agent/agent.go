// Package agent is the hands of a pnode: it takes programs off the bus,
// journals them, has them applied, and reports what is. It watches the racks
// and says which are lost, and it relays commands to them. It knows nothing
// of topologies.
//
// Vnodes outlive the agent. When it starts it adopts what is there.
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"myriad/bus"
	"myriad/program"
	"myriad/rack"
)

// Pnode is the machine as the agent sees it: kernel.Pnode, or mem.Pnode.
type Pnode interface {
	// Apply makes a platform match p, from whatever is there. It returns what
	// is, also when ctx ends it early.
	Apply(ctx context.Context, p *program.Program, progress func(up int)) (*program.Report, error)
	Observe(ctx context.Context, platform string) (*program.Program, error)
	Status(ctx context.Context, platform string) (*program.Report, error)
	Platforms() ([]string, error)
	Remove(ctx context.Context, platform string, progress func(left int)) error
	Counters(platform string) ([]program.Counter, error)
	// Shape puts other link conditions into force, all at the same moment: at
	// once, or at a time. nil are none.
	Shape(ctx context.Context, platform string, l *program.Links, at time.Time) (*program.Shaped, error)
	LinkStats(ctx context.Context, platform string) (*program.LinkStats, error)
}

// Racks reaches the rack processes of this machine.
type Racks interface {
	// Call sends a request to a rack. When ctx ends, so does the call.
	Call(ctx context.Context, platform string, index uint32, q *rack.Request) (Call, error)
}

// Call is a call to a rack that goes on. Closing it kills what it started.
type Call interface {
	Send(*rack.Input) error
	// Recv gives the next frame; the one with Done set is the last.
	Recv() (*rack.Reply, error)
	Close() error
}

// sockets reaches racks by their sockets in a run directory.
type sockets string

func (s sockets) Call(ctx context.Context, platform string, index uint32, q *rack.Request) (Call, error) {
	return rack.Open(ctx, rack.Socket(string(s), platform, index), q)
}

// Config is what an agent must know. Name, RunDir and Pnode are required.
type Config struct {
	Name    string // of the pnode
	RunDir  string // where the journals and the sockets of racks are
	Version string
	Pnode   Pnode
	Racks   Racks // nil: the sockets in RunDir
	// Calibrate is called before links get conditions: it sees to it that the
	// pnode knows what its own path costs, and says so if that takes a moment.
	// nil: the pnode knows, or goes without.
	Calibrate func(ctx context.Context, say func(doing string)) error
	Logf      func(format string, args ...any) // nil: silent
}

// pollEvery is how often the racks that have no process of their own, as
// those in memory, are asked after.
const pollEvery = 500 * time.Millisecond

// agent is an agent at work.
type agent struct {
	Config
	conn  *bus.Conn
	ctx   context.Context // of the watches
	watch sync.WaitGroup

	mu        sync.Mutex
	platforms map[string]*held

	session string        // of this run
	said    atomic.Uint64 // how often it has said something
	epoch   atomic.Uint64 // of the coordinator
}

// Run is an agent until ctx ends. It says hello once it has adopted what is
// there and answers. The connection is the agent's own: it is closed at the
// end, which waits for removals under way.
func Run(ctx context.Context, conn *bus.Conn, c Config) error {
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if c.Racks == nil {
		c.Racks = sockets(c.RunDir)
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &agent{Config: c, conn: conn, ctx: ctx, platforms: map[string]*held{}, session: rand.Text()}
	defer a.watch.Wait()
	defer cancel()
	defer conn.Close()
	if err := a.adopt(); err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	if err := errors.Join(a.serve(), conn.Flush(ctx)); err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	if err := a.hello(); bus.ProblemOf(err) != nil && bus.ProblemOf(err).Kind != program.KindUnavailable {
		return fmt.Errorf("start agent: %w", err)
	}
	a.watch.Go(a.poll)
	a.watch.Go(a.watchLinks)
	<-ctx.Done()
	return errors.Join(bus.Publish(conn, bus.SubjectBye, a.from()), conn.Flush(context.WithoutCancel(ctx)))
}

func (a *agent) serve() error {
	on := func(call string) string { return bus.SubjectOf(a.Name, call) }
	return errors.Join(
		bus.Subscribe(a.conn, bus.SubjectLead, func(l bus.Lead, err error) { a.led(l) }),
		bus.HandleStream(a.conn, on("apply"), a.apply),
		bus.HandleStream(a.conn, on("remove"), a.remove),
		bus.HandleStream(a.conn, on("observe"), a.observe),
		bus.HandleStream(a.conn, on("exec"), a.exec),
		bus.HandleStream(a.conn, on("probe"), a.probe),
		bus.HandleStream(a.conn, on("shape"), a.shape),
		bus.Handle(a.conn, on("links"), a.links),
		bus.Handle(a.conn, on("counters"), func(_ context.Context, q bus.Platform) ([]program.Counter, error) {
			return a.Pnode.Counters(q.Name)
		}),
	)
}

// helloProblems is how many problems of each platform a hello carries: it must
// fit one message.
const helloProblems = 10

// hello tells the coordinator who is here, and with what.
func (a *agent) hello() error {
	h := bus.Hello{From: a.from(), Protocol: bus.Protocol, Version: a.Version, Now: time.Now()}
	machine(&h)
	a.mu.Lock()
	for _, name := range slices.Sorted(maps.Keys(a.platforms)) {
		if last := a.platforms[name].last(); last != nil {
			r := *last
			r.Problems = r.Problems[:min(len(r.Problems), helloProblems)]
			h.Platforms = append(h.Platforms, r)
		}
	}
	a.mu.Unlock()
	_, err := bus.Request[bus.Hello, bus.Welcome](a.ctx, a.conn, bus.SubjectHello, h)
	return err
}

// from marks what the agent says.
func (a *agent) from() bus.From {
	return bus.From{Pnode: a.Name, Session: a.session, Seq: a.said.Add(1)}
}

// led says hello to a coordinator that has begun.
func (a *agent) led(l bus.Lead) {
	if a.epoch.Swap(l.Epoch) != l.Epoch {
		a.watch.Go(func() { a.complain(a.hello()) })
	}
}

func (a *agent) complain(err error) {
	if err != nil {
		a.Logf("agent %s: %v", a.Name, err)
	}
}

// adopt finds what an earlier agent left: platforms of the kernel, and
// journals of platforms of which nothing may be left.
func (a *agent) adopt() error {
	names, err := a.Pnode.Platforms()
	if err != nil {
		return err
	}
	journals, err := journals(a.RunDir)
	if err != nil {
		return err
	}
	for _, name := range append(names, journals...) {
		h := a.hold(name)
		if h.last() != nil {
			continue
		}
		if h.wanted, h.shaped, err = readJournal(a.RunDir, name); err != nil {
			a.Logf("agent %s: adopt %s: %v", a.Name, name, err)
		}
		a.look(h)
	}
	return nil
}

// look asks the pnode how a platform is, and holds that.
func (a *agent) look(h *held) {
	report, err := a.Pnode.Status(a.ctx, h.name)
	if err != nil {
		a.Logf("agent %s: status of %s: %v", a.Name, h.name, err)
		report = &program.Report{Platform: h.name, Problems: []program.Problem{*bus.ProblemOf(err)}}
	}
	a.set(h, report)
}

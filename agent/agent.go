// Package agent is the hands of a pnode: it takes programs off the bus,
// journals them, has them applied, and reports what is. It watches the racks
// and says which are lost, and it relays commands to them. It knows nothing
// of topologies.
//
// Vnodes outlive the agent, and the connection to whoever coordinates: when
// it starts it adopts what is there, and when nobody is to be heard it keeps
// all as it is.
package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
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

// Teller is a Pnode whose racks are no processes that could be watched: it
// tells by itself of which platforms racks have changed. told must not wait.
// stop returns when told is not called any more.
type Teller interface {
	Tell(told func(platform string)) (stop func())
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
	Machine string // identity of the pnode, made once and kept
	Site    string // where it is; empty: where the coordinator is
	RunDir  string // where the journals and the sockets of racks are
	Version string
	Pnode   Pnode
	Racks   Racks // nil: the sockets in RunDir
	// Address gives the address by which tunnels of other pnodes reach this
	// one, and the MTU of its interface. It is asked every second: when it
	// changes, the coordinator is told. nil: others do not reach this pnode.
	Address func() (netip.Addr, uint16)
	Key     [32]byte // public key of the pnode's WireGuard; zero: none
	// TakeOver lets a pnode go that carries platforms of another coordinator:
	// the one that answers has them, too.
	TakeOver bool
	// Cache is for many agents in one process: what pnodes share of a program
	// is fetched and decoded once. nil: not kept.
	Cache *SharedCache
	// Calibrate is called before links get conditions: it sees to it that the
	// pnode knows what its own path costs, and says so if that takes a moment.
	// nil: the pnode knows, or goes without.
	Calibrate func(ctx context.Context, say func(doing string)) error
	// Joined is called when a coordinator has taken the pnode in that had not
	// before. It may be nil.
	Joined func(bus.Lead)
	Clock  func() time.Time                 // of this machine, as others are told; nil: time.Now
	Logf   func(format string, args ...any) // nil: silent
}

// agent is an agent at work.
type agent struct {
	Config
	conn  *bus.Conn
	ctx   context.Context // of the watches
	watch sync.WaitGroup

	mu        sync.Mutex
	platforms map[string]*held
	orders    map[string]bus.Order // the last one heard of each platform

	voice   voice
	leader  leader
	again   chan struct{}                      // has something in it when hello is to be said again
	waiting atomic.Pointer[context.CancelFunc] // ends the waiting for an answer to hello
	shaped  chan struct{}                      // has something in it when links may have got conditions
	echoing atomic.Int32                       // sockets that answer echoes
}

// Run is an agent until ctx ends, or until a coordinator refuses it for what
// trying again does not mend. It says hello once it has adopted what is there
// and answers, and goes on saying so until it is taken in; a connection that
// is lost is waited for. The connection is the agent's own: it is closed at
// the end, which waits for removals under way.
func Run(ctx context.Context, conn *bus.Conn, c Config) error {
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if c.Racks == nil {
		c.Racks = sockets(c.RunDir)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	ctx, cancel := context.WithCancel(ctx)
	a := &agent{Config: c, conn: conn, ctx: ctx, platforms: map[string]*held{}, orders: map[string]bus.Order{},
		voice: voice{session: rand.Text(), pace: make(chan time.Duration)}, leader: leader{takeOver: c.TakeOver, changed: make(chan struct{})},
		again: make(chan struct{}, 1), shaped: make(chan struct{}, 1)}
	defer a.watch.Wait()
	defer cancel()
	defer conn.Close()
	if err := a.adopt(); err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	a.readLeader()
	if t, ok := c.Pnode.(Teller); ok {
		defer t.Tell(a.told)()
	}
	conn.Connected(a.connected)
	if err := a.serve(); err != nil {
		return fmt.Errorf("start agent: %w", err)
	}
	a.watch.Go(a.beats)
	a.watch.Go(a.watchLinks)
	err := a.join()
	a.leave()
	return err
}

func (a *agent) serve() error {
	calls := bus.NewCalls(a.conn)
	bus.OnStream(calls, "apply", a.apply)
	bus.OnStream(calls, "remove", a.remove)
	bus.OnStream(calls, "observe", a.observe)
	bus.OnStream(calls, "exec", a.exec)
	bus.OnStream(calls, "probe", a.probe)
	bus.OnStream(calls, "shape", a.shape)
	bus.On(calls, "links", a.links)
	bus.On(calls, "counters", func(_ context.Context, q bus.Platform) ([]program.Counter, error) {
		return a.Pnode.Counters(q.Name)
	})
	bus.On(calls, "echo", a.echo)
	bus.On(calls, "reach", a.reach)
	bus.On(calls, "hail", a.hail)
	return errors.Join(bus.Subscribe(a.conn, bus.SubjectLead, a.led), calls.Subscribe(a.Name))
}

// leave says that the agent ends, if anybody hears it. Where nothing is
// carried, it does not matter any more for whom.
func (a *agent) leave() {
	if !a.carries() {
		a.complain(removeFile(leaderPath(a.RunDir)))
	}
	if a.voice.off.Load() || !a.leader.isJoined() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), time.Second)
	defer cancel()
	a.complain(errors.Join(say(a, bus.SubjectBye, func(f bus.From) bus.From { return f }), a.conn.Flush(ctx)))
}

func (a *agent) complain(err error) {
	if err != nil {
		a.Logf("agent %s: %v", a.Name, err)
	}
}

// signal leaves word for someone who looks later, once.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
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

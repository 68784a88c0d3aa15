package coord

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"myriad/api"
	"myriad/bus"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

// Config is what a coordinator must know. Conn and Store are required; both
// are the coordinator's own.
type Config struct {
	Conn     *bus.Conn
	Store    *store.Store
	Identity string // of the coordinator, which outlives its process; empty: any
	// Holder tells coordinators apart that share an identity, as those on one bus
	// do: which of them has the lease. Empty: Identity.
	Holder  string
	Version string // that agents must have; empty: any
	VNIBase uint8  // first byte of the VNIs of its platforms; 0: from Identity
	// Lease is how long the right to coordinate is kept that is not renewed,
	// where other coordinators may be on the same bus. 0: there are none.
	Lease time.Duration
	// StandBy is called when another coordinator has the right to coordinate,
	// with its identity, and with an empty one when this one has got it. It may
	// be nil.
	StandBy func(holder string)
	Logf    func(format string, args ...any) // nil: silent
}

// tickEvery is how often askers are told how far things are.
const tickEvery = 100 * time.Millisecond

// Coordinator is a coordinator at work. Its methods may be called by several
// goroutines at once, while Run runs.
type Coordinator struct {
	Config
	events chan Event          // what happens
	asks   chan func(*Machine) // questions about what is
	over   chan struct{}       // closed when the loop has ended
	done   chan struct{}       // closed when Run has
	work   sync.WaitGroup      // effects being carried out
	writes *queue              // what the store is to do

	claim  claim         // of the right to coordinate
	shares *shares       // opened by begin
	room   chan struct{} // for calls that carry much

	mu         sync.Mutex
	askers     map[Asker]*asker
	lastAsker  Asker
	followers  map[chan api.Event]bool
	beats      []Beat // since the last pulse
	greets     map[uint64]chan *program.Problem
	lastTicket uint64
	lives      map[string]*life // of pnodes that are there
	agents     atomic.Int64     // how many they are

	// The loop's own.
	stops map[uint64]context.CancelFunc // of applies and changes of links, by call
	waits []wait

	played map[string]*Schedule // those whose sources are remembered, by platform; for writes alone
}

// wait is somebody who waits for the machine to become as cond says.
type wait struct {
	cond func(*Machine) bool
	true chan struct{}
}

// New makes a coordinator. Nothing happens before Run.
func New(c Config) *Coordinator {
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	if c.Holder == "" {
		c.Holder = c.Identity
	}
	if c.VNIBase == 0 {
		c.VNIBase = vniBase(c.Identity)
	}
	return &Coordinator{
		Config:    c,
		events:    make(chan Event, 64),
		asks:      make(chan func(*Machine)),
		over:      make(chan struct{}),
		done:      make(chan struct{}),
		writes:    newQueue(),
		askers:    map[Asker]*asker{},
		followers: map[chan api.Event]bool{},
		greets:    map[uint64]chan *program.Problem{},
		lives:     map[string]*life{},
		room:      make(chan struct{}, workAtOnce),
		stops:     map[uint64]context.CancelFunc{},
		played:    map[string]*Schedule{},
	}
}

// Run is the coordinator's loop. When ctx ends it stops what can be stopped,
// and returns when nothing is under way any more; the connection is closed
// then.
func (c *Coordinator) Run(ctx context.Context) error {
	defer close(c.done)
	defer c.Conn.Close()
	// What is carried out is ended by Stop or comes to its own end, so that
	// what is remembered is true.
	background, abandon := context.WithCancel(context.WithoutCancel(ctx))
	var writer sync.WaitGroup
	writer.Go(c.writes.run)
	defer writer.Wait()
	defer c.writes.close()
	defer c.work.Wait()
	defer abandon()
	defer close(c.over)

	if err := c.lead(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	m := NewMachine(c.Identity, c.Version)
	if err := c.begin(background, m); err != nil {
		return err
	}
	deposed := make(chan error, 1)
	leading, resign := context.WithCancel(background)
	defer resign()
	c.work.Go(func() { c.keepLead(leading, deposed) })
	ending := ctx.Done()
	tick, pulse := time.NewTicker(tickEvery), time.NewTicker(PulseEvery)
	defer tick.Stop()
	defer pulse.Stop()
	wake := time.NewTimer(0)
	defer wake.Stop()
	for ending != nil || m.Busy() {
		var ticks <-chan time.Time
		if m.Busy() {
			ticks = tick.C
		}
		wake.Stop()
		if t := m.Wake(); !t.IsZero() {
			wake.Reset(time.Until(t))
		}
		select {
		case e := <-c.events:
			c.step(background, m, e)
		case f := <-c.asks:
			f(m)
		case <-ticks:
			c.step(background, m, Tick{})
		case <-pulse.C:
			c.step(background, m, c.heard())
			c.step(background, m, Pulse{})
		case <-wake.C:
			c.step(background, m, Woken{})
		case <-ending:
			ending = nil
			c.step(background, m, Ending{})
		case err := <-deposed:
			return err
		}
	}
	return nil
}

// begin has the machine remember, and listens to agents.
func (c *Coordinator) begin(ctx context.Context, m *Machine) error {
	platforms, problems := c.Store.Platforms(ctx)
	for _, err := range problems {
		if err != nil {
			c.Logf("coordinator: %v; it is passed over", err)
		}
	}
	restored := c.restored(platforms)
	restored.Epoch = c.word().Epoch
	var err error
	if restored.Pnodes, restored.Ways, err = c.Store.Pnodes(ctx); err != nil {
		c.Logf("coordinator: %v; pnodes are not known before they come back", err)
	}
	if c.shares, err = openShares(ctx, c.Conn); err != nil {
		return err
	}
	known := map[string]bool{}
	for i := range platforms {
		known[platforms[i].Name] = true
	}
	if err := c.shares.clean(ctx, func(platform string) bool { return known[platform] }); err != nil {
		c.Logf("coordinator: %v", err) // it takes room, and does no harm
	}
	c.step(ctx, m, restored)
	c.Conn.Connected(func(is bool) { go c.post(Deaf(!is)) })
	return c.listen()
}

// post tells the loop what happened, unless it has ended.
func (c *Coordinator) post(e Event) {
	select {
	case c.events <- e:
	case <-c.over:
	}
}

// ask has f look at the machine.
func (c *Coordinator) ask(ctx context.Context, f func(*Machine)) error {
	answered := make(chan struct{})
	question := func(m *Machine) {
		defer close(answered)
		f(m)
	}
	select {
	case c.asks <- question:
		<-answered
		return nil
	case <-c.done:
		return problemEnding()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// await returns when the machine is as cond says.
func (c *Coordinator) await(ctx context.Context, cond func(*Machine) bool) error {
	w := wait{cond, make(chan struct{})}
	err := c.ask(ctx, func(m *Machine) {
		c.waits = append(c.waits, w)
		c.awake(m)
	})
	if err != nil {
		return err
	}
	select {
	case <-w.true:
		return nil
	case <-c.done:
		return problemEnding()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// awake lets those go on whose condition has come true.
func (c *Coordinator) awake(m *Machine) {
	c.waits = slices.DeleteFunc(c.waits, func(w wait) bool {
		ok := w.cond(m)
		if ok {
			close(w.true)
		}
		return ok
	})
}

// AwaitPnode returns when the agent of a pnode has said hello.
func (c *Coordinator) AwaitPnode(ctx context.Context, name string) error {
	return c.await(ctx, func(m *Machine) bool { return m.there(name) })
}

// AwaitEmpty returns when there is no platform, and nothing is under way.
func (c *Coordinator) AwaitEmpty(ctx context.Context) error {
	return c.await(ctx, func(m *Machine) bool { return len(m.platforms) == 0 })
}

// Up brings a platform up, and gives what is in the end, as far as that is
// known, also beside an error. tell is told how far it is. When ctx ends
// while nobody else waits for the same, work stops.
func (c *Coordinator) Up(ctx context.Context, q *api.UpRequest, tell func(api.Event)) (*api.Platform, error) {
	t, err := topo.ParseWith(q.File, []byte(q.Source), sent(q.Files))
	if err != nil {
		return nil, err
	}
	s := &Source{File: q.File, Text: q.Source, Files: q.Files, Digest: store.Digest(q.Source, q.Files), Force: q.Force, Topology: t}
	last, err := c.request(ctx, func(a Asker) Event { return UpAsked{a, s} }, tell)
	if err != nil {
		return nil, err
	}
	if last.Error != nil {
		return last.Result, last.Error
	}
	return last.Result, nil
}

// Down takes a platform away. When ctx ends, that goes on.
func (c *Coordinator) Down(ctx context.Context, platform string, tell func(api.Event)) error {
	return c.ends(ctx, func(a Asker) Event { return DownAsked{a, platform} }, tell)
}

// step has the machine take an event, and begins what it wants done.
func (c *Coordinator) step(ctx context.Context, m *Machine, e Event) {
	switch done := e.(type) {
	case Applied:
		delete(c.stops, done.Call)
	case LinksShaped:
		delete(c.stops, done.Call)
	}
	for _, effect := range m.Step(time.Now(), e) {
		c.carryOut(ctx, effect)
	}
	c.awake(m)
}

// complain makes known that something could not be remembered.
func (c *Coordinator) complain(platform string, err error) {
	if err != nil {
		c.Logf("coordinator: %v", err)
		c.announce(api.Event{Time: time.Now(), Type: "problem", Platform: platform, Message: fmt.Sprintf("it is not remembered: %v", err)})
	}
}

package coord

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"myriad/api"
	"myriad/bus"
	"myriad/store"
	"myriad/topo"
)

// Config is what a coordinator must know. Conn and Store are required; both
// are the coordinator's own.
type Config struct {
	Conn  *bus.Conn
	Store *store.Store
	Logf  func(format string, args ...any) // nil: silent
}

// tickEvery is how often askers are told how far things are.
const tickEvery = 100 * time.Millisecond

// Coordinator is a coordinator at work. Its methods may be called by several
// goroutines at once, while Run runs.
type Coordinator struct {
	Config
	events chan Event          // what happens
	asks   chan func(*Machine) // questions about what is
	done   chan struct{}       // closed when Run has ended
	work   sync.WaitGroup      // effects being carried out
	writes *queue              // what the store is to do

	epoch uint64 // greater after every start

	mu        sync.Mutex
	askers    map[Asker]*asker
	lastAsker Asker
	followers map[chan api.Event]bool

	// The loop's own.
	stops  map[[2]string]context.CancelFunc // of applies, by platform and pnode
	shapes map[[2]string]context.CancelFunc // of changes of links
	waits  []wait

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
	return &Coordinator{
		Config:    c,
		epoch:     uint64(time.Now().UnixNano()),
		events:    make(chan Event, 64),
		asks:      make(chan func(*Machine)),
		done:      make(chan struct{}),
		writes:    newQueue(),
		askers:    map[Asker]*asker{},
		followers: map[chan api.Event]bool{},
		stops:     map[[2]string]context.CancelFunc{},
		shapes:    map[[2]string]context.CancelFunc{},
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
	background := context.WithoutCancel(ctx)
	var writer sync.WaitGroup
	writer.Go(c.writes.run)
	defer writer.Wait()
	defer c.writes.close()
	defer c.work.Wait()

	m := NewMachine()
	if err := c.begin(background, m); err != nil {
		return err
	}
	ending := ctx.Done()
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
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
		case <-wake.C:
			c.step(background, m, Woken{})
		case <-ending:
			ending = nil
			c.step(background, m, Ending{})
		}
	}
	return nil
}

// begin has the machine remember, listens to agents, and asks who is there.
func (c *Coordinator) begin(ctx context.Context, m *Machine) error {
	platforms, problems := c.Store.Platforms(ctx)
	for _, err := range problems {
		if err != nil {
			c.Logf("coordinator: %v; it is passed over", err)
		}
	}
	c.step(ctx, m, c.restored(platforms))
	hear := func(err error, e Event) {
		if err != nil {
			c.Logf("coordinator: an agent says something unknown: %v", err)
			return
		}
		c.post(e)
	}
	if err := bus.Handle(c.Conn, bus.SubjectHello, func(_ context.Context, h bus.Hello) (bus.Welcome, error) {
		hear(nil, Came{h})
		return bus.Welcome{Lead: c.lead()}, nil
	}); err != nil {
		return err
	}
	if err := bus.Subscribe(c.Conn, bus.SubjectBye, func(f bus.From, err error) { hear(err, Went{f.Pnode}) }); err != nil {
		return err
	}
	if err := bus.Subscribe(c.Conn, bus.SubjectRacks, func(r bus.Racks, err error) { hear(err, Changed{r.Report}) }); err != nil {
		return err
	}
	if err := bus.Subscribe(c.Conn, bus.SubjectOverload, func(o bus.Overload, err error) { hear(err, Overloaded{o}) }); err != nil {
		return err
	}
	return bus.Publish(c.Conn, bus.SubjectLead, c.lead())
}

// lead says who coordinates.
func (c *Coordinator) lead() bus.Lead { return bus.Lead{Epoch: c.epoch, Now: time.Now()} }

// post tells the loop what happened, unless it has ended.
func (c *Coordinator) post(e Event) {
	select {
	case c.events <- e:
	case <-c.done:
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
	return c.await(ctx, func(m *Machine) bool { return m.pnodes[name] != nil })
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
	last, err := c.request(ctx, func(a Asker) Event { return DownAsked{a, platform} }, tell)
	if err == nil && last.Error != nil {
		return last.Error
	}
	return err
}

// step has the machine take an event, and begins what it wants done.
func (c *Coordinator) step(ctx context.Context, m *Machine, e Event) {
	if done, ok := e.(Applied); ok {
		delete(c.stops, [2]string{done.Platform, done.Pnode})
	}
	if done, ok := e.(LinksShaped); ok {
		delete(c.shapes, [2]string{done.Platform, done.Pnode})
	}
	for _, effect := range m.Step(time.Now(), e) {
		c.carryOut(ctx, effect)
	}
	c.awake(m)
}

func (c *Coordinator) carryOut(ctx context.Context, effect Effect) {
	switch e := effect.(type) {
	case MakePlan:
		c.work.Go(func() { c.post(c.makePlan(e)) })
	case SavePlan:
		c.writes.add(func() { c.post(Saved{e.Record.Name, c.Store.PutPlan(ctx, &e.Record, e.Source, e.Files, e.Plan)}) })
	case Save:
		c.writes.add(func() { c.complain(e.Record.Name, c.Store.Put(ctx, &e.Record)) })
	case Forget:
		c.writes.add(func() { c.complain(e.Platform, c.Store.Forget(ctx, e.Platform)) })
	case Apply:
		ctx, stop := context.WithCancel(ctx)
		c.stops[[2]string{e.Platform, e.Pnode}] = stop
		c.work.Go(func() {
			defer stop()
			report, err := c.apply(ctx, e)
			c.post(Applied{e.Platform, e.Pnode, report, err})
			debug.FreeOSMemory() // the program, and what it was encoded to
		})
	case Stop:
		c.stops[[2]string{e.Platform, e.Pnode}]()
	case Remove:
		c.work.Go(func() {
			report, err := c.remove(ctx, e)
			c.post(Removed{e.Platform, e.Pnode, report, err})
		})
	case MakeLinks:
		c.work.Go(func() { c.post(c.makeLinks(e)) })
	case SaveLinks:
		c.writes.add(func() {
			err := c.saveLinks(ctx, e)
			if e.Answer {
				c.post(LinksSaved{e.Platform, err})
				return
			}
			c.complain(e.Platform, err)
		})
	case ForgetLinks:
		c.writes.add(func() { c.complain(e.Platform, c.Store.ForgetLinks(ctx, e.Platform)) })
	case Shape:
		ctx, stop := context.WithCancel(ctx)
		c.shapes[[2]string{e.Platform, e.Pnode}] = stop
		c.work.Go(func() {
			defer stop()
			shaped, err := c.shape(ctx, e)
			c.post(LinksShaped{e.Platform, e.Pnode, shaped, err})
		})
	case StopShape:
		c.shapes[[2]string{e.Platform, e.Pnode}]()
	case Tell:
		c.tell(e)
	case Note:
		c.announce(e.Event)
		c.writes.add(func() { c.remember(ctx, e.Event) })
	}
}

// complain makes known that something could not be remembered.
func (c *Coordinator) complain(platform string, err error) {
	if err != nil {
		c.Logf("coordinator: %v", err)
		c.announce(api.Event{Time: time.Now(), Type: "problem", Platform: platform, Message: fmt.Sprintf("it is not remembered: %v", err)})
	}
}

// queue is a list of things to do, one after the other.
type queue struct {
	mu     sync.Mutex
	todo   []func()
	closed bool
	more   *sync.Cond
}

func newQueue() *queue {
	q := &queue{}
	q.more = sync.NewCond(&q.mu)
	return q
}

func (q *queue) add(f func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.todo = append(q.todo, f)
	q.more.Signal()
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.more.Signal()
}

// run does what is added, until the queue is closed and empty.
func (q *queue) run() {
	for {
		q.mu.Lock()
		for len(q.todo) == 0 && !q.closed {
			q.more.Wait()
		}
		if len(q.todo) == 0 {
			q.mu.Unlock()
			return
		}
		f := q.todo[0]
		q.todo = q.todo[1:]
		q.mu.Unlock()
		f()
	}
}

package agent

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"myriad/bus"
	"myriad/kernel/kerneltest"
	"myriad/program"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// fake is a coordinator of which a test says what it does.
type fake struct {
	*bus.Conn
	mu     sync.Mutex
	lead   bus.Lead
	beat   time.Duration
	refuse func(*bus.Hello) *program.Problem

	hellos chan bus.Hello
	beats  chan bus.Beat
	byes   chan bus.From
	racks  chan bus.Racks
}

// newFake begins to coordinate.
func newFake(t *testing.T, server *bus.Server, identity string, epoch uint64) *fake {
	t.Helper()
	conn, err := server.Connect("coordinator")
	must(t, err)
	t.Cleanup(conn.Close)
	f := &fake{Conn: conn, lead: bus.Lead{Coordinator: identity, Epoch: epoch, Version: "1"}, beat: 20 * time.Millisecond,
		hellos: make(chan bus.Hello, 1000), beats: make(chan bus.Beat, 10000), byes: make(chan bus.From, 10), racks: make(chan bus.Racks, 100)}
	must(t, bus.Handle(conn, bus.SubjectHello, f.hear))
	must(t, bus.Subscribe(conn, bus.SubjectBeat, func(b bus.Beat, _ error) { f.beats <- b }))
	must(t, bus.Subscribe(conn, bus.SubjectBye, func(b bus.From, _ error) { f.byes <- b }))
	must(t, bus.Subscribe(conn, bus.SubjectRacks, func(r bus.Racks, _ error) { f.racks <- r }))
	programs, err := conn.Objects(t.Context(), bus.ProgramsStore)
	must(t, err)
	must(t, programs.Serve())
	must(t, conn.Flush(t.Context()))
	f.announce(t)
	return f
}

func (f *fake) hear(_ context.Context, h bus.Hello) (bus.Welcome, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := bus.Welcome{Lead: f.lead, Beat: f.beat}
	if f.refuse != nil {
		w.Refused = f.refuse(&h)
	}
	f.hellos <- h
	return w, nil
}

// change changes what the coordinator is like.
func (f *fake) change(g func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g()
}

func (f *fake) announce(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	must(t, bus.Publish(f.Conn, bus.SubjectLead, f.lead))
}

// keepLeading announces the lead until the test ends.
func (f *fake) keepLeading(t *testing.T) (stop func()) {
	end := make(chan struct{})
	var leading sync.WaitGroup
	leading.Go(func() {
		for {
			select {
			case <-end:
				return
			case <-time.After(100 * time.Millisecond):
				f.mu.Lock()
				_ = bus.Publish(f.Conn, bus.SubjectLead, f.lead) // the connection may be lost
				f.mu.Unlock()
			}
		}
	})
	stop = sync.OnceFunc(func() { close(end); leading.Wait() })
	t.Cleanup(stop)
	return stop
}

// runs is an agent that runs.
type runs struct {
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error
	log    *journal
}

// run runs an agent, on a connection within the process unless conn is one.
func run(t *testing.T, server *bus.Server, conn *bus.Conn, c Config) *runs {
	t.Helper()
	if conn == nil {
		var err error
		conn, err = server.Connect("agent")
		must(t, err)
	}
	log := &journal{t: t}
	if c.Name == "" {
		c.Name = pnode
	}
	if c.RunDir == "" {
		c.RunDir = t.TempDir()
	}
	c.Version, c.Logf = "1", log.logf
	ctx, cancel := context.WithCancel(context.Background())
	r := &runs{t: t, cancel: cancel, ended: make(chan error, 1), log: log}
	go func() { r.ended <- Run(ctx, conn, c) }()
	t.Cleanup(r.stop)
	return r
}

// stop ends the agent, and returns when it has.
func (r *runs) stop() {
	r.cancel()
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("the agent ended: %v", err)
		}
		r.ended <- nil
	case <-time.After(20 * time.Second):
		r.t.Error("the agent does not end")
	}
}

// end waits until the agent ends by itself.
func (r *runs) end() error {
	err := wait(r.t, r.ended)
	r.ended <- nil
	return err
}

// journal is what an agent has logged.
type journal struct {
	t     *testing.T
	mu    sync.Mutex
	lines []string
}

func (j *journal) logf(format string, args ...any) {
	j.t.Logf(format, args...)
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

// count tells how many lines have a text.
func (j *journal) count(text string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, line := range j.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// none checks that nothing comes for a while.
func none[T any](t *testing.T, c <-chan T, what string) {
	t.Helper()
	select {
	case v := <-c:
		t.Errorf("%s: %+v", what, v)
	case <-time.After(100 * time.Millisecond):
	}
}

// until waits until something is so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it is never so: %s", what)
		}
	}
}

// site is the coordinator's end for calls.
func (f *fake) site() *site {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &site{Conn: f.Conn, epoch: f.lead.Epoch}
}

// applyIn has a program applied with a place among requests.
func (f *fake) applyIn(t *testing.T, o bus.Order, p *program.Program) (bus.Progress, error) {
	t.Helper()
	s := f.site()
	stream, err := bus.Open(t.Context(), f.Conn, bus.SubjectOf(pnode, "apply"), bus.Apply{Name: p.Platform, Order: o, Shared: s.share(t, p)})
	must(t, err)
	defer stream.Close()
	must(t, stream.SendBytes(program.EncodeOwn(&program.Own{Pnode: p.Pnode, Racks: p.Racks})))
	return s.last(stream)
}

package coord_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"myriad/agent"
	"myriad/api"
	"myriad/bus"
	"myriad/coord"
	"myriad/kernel/mem"
	"myriad/program"
	"myriad/rack"
	"myriad/store"
)

// house is a bus, some agents, and coordinators, in one process.
type house struct {
	t       *testing.T
	server  *bus.Server
	kernels []*mem.Pnode
	conns   []*bus.Conn
	stops   []func()
}

func newHouse(t *testing.T, pnodes int, o mem.Options) *house {
	server, err := bus.NewServer(bus.ServerOptions{Dir: t.TempDir(), Logf: t.Logf})
	must(t, err)
	t.Cleanup(server.Close)
	h := &house{t: t, server: server, kernels: make([]*mem.Pnode, pnodes), conns: make([]*bus.Conn, pnodes), stops: make([]func(), pnodes)}
	for i := range pnodes {
		h.kernels[i] = mem.New(o)
		h.agent(i)
	}
	return h
}

// agent starts the agent of a pnode.
func (h *house) agent(i int) {
	h.t.Helper()
	conn, err := h.server.Connect(name(i))
	must(h.t, err)
	dir := h.t.TempDir()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = agent.Run(ctx, conn, agent.Config{Name: name(i), Machine: name(i), Version: "v1", RunDir: dir, Pnode: h.kernels[i], Racks: deaf{},
			Address: func() (netip.Addr, uint16) { return netip.AddrFrom4([4]byte{127, 0, 2, byte(i + 1)}), 65535 }})
	}()
	h.conns[i] = conn
	h.stops[i] = sync.OnceFunc(func() {
		cancel()
		<-ended
	})
	h.t.Cleanup(h.stops[i])
}

// lose has a pnode fall silent.
func (h *house) lose(i int) {
	h.conns[i].Close()
	h.stops[i]()
}

// deaf racks never answer.
type deaf struct{}

func (deaf) Call(ctx context.Context, _ string, _ uint32, _ *rack.Request) (agent.Call, error) {
	return silence{ctx}, nil
}

type silence struct{ context.Context }

func (s silence) Send(*rack.Input) error { return nil }
func (s silence) Recv() (*rack.Reply, error) {
	<-s.Done()
	return nil, s.Err()
}
func (s silence) Close() error { return nil }

// coordinator starts one. stop ends it; what it gives is why it has ended by
// itself.
func (h *house) coordinator(c coord.Config) (started *coord.Coordinator, stop func() error, conn *bus.Conn) {
	h.t.Helper()
	var err error
	c.Conn, err = h.server.Connect("coordinator")
	must(h.t, err)
	c.Store, err = store.Open(h.t.Context(), c.Conn)
	must(h.t, err)
	c.Version, c.Logf = "v1", h.t.Logf
	started = coord.New(c)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- started.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	h.t.Cleanup(func() { _ = stop() })
	return started, stop, c.Conn
}

func source(vnodes int, loss string) *api.UpRequest {
	return &api.UpRequest{File: "x", Source: fmt.Sprintf("platform: x\nvnetworks: {lan: 10.0.0.0/8}\nvnodes: [{nodes: 'n[1-%d]', vifaces: [lan]}]\nplacement: {loss: %s}\n", vnodes, loss)}
}

func quiet(api.Event) {}

func (h *house) all(c *coord.Coordinator) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 20*time.Second)
	defer cancel()
	for i := range h.kernels {
		must(h.t, c.AwaitPnode(ctx, name(i)))
	}
}

// TestStandByAway: one that stands by does so also while the bus is away.
func TestStandByAway(t *testing.T) {
	h := newHouse(t, 0, mem.Options{})
	h.coordinator(coord.Config{Identity: "me", Holder: "first", Lease: time.Second})
	said := make(chan string, 10)
	_, stop, conn := h.coordinator(coord.Config{Identity: "me", Holder: "second", Lease: 2 * time.Second, StandBy: func(holder string) { said <- holder }})
	select {
	case <-said:
	case <-time.After(10 * time.Second):
		t.Fatal("it does not stand by")
	}
	conn.Close()
	time.Sleep(time.Second) // it asks meanwhile
	if err := stop(); err != nil {
		t.Errorf("it has ended: %v", err)
	}
}

// TestStandBy: of two coordinators on one bus, one leads and the other waits;
// when the first is gone, the other one knows all that it knew, and one that
// was only held up learns that it leads no more.
func TestStandBy(t *testing.T) {
	h := newHouse(t, 2, mem.Options{})
	first, stopFirst, _ := h.coordinator(coord.Config{Identity: "me", Holder: "first", Lease: time.Second})
	h.all(first)
	_, err := first.Up(t.Context(), source(20, "fail"), quiet)
	must(t, err)

	said := make(chan string, 10)
	second, _, _ := h.coordinator(coord.Config{Identity: "me", Holder: "second", Lease: time.Second, StandBy: func(holder string) { said <- holder }})
	if holder := <-said; holder != "first" {
		t.Errorf("the second stands by for %q", holder)
	}
	must(t, stopFirst())
	if holder := <-said; holder != "" {
		t.Errorf("the second goes on standing by, for %q", holder)
	}
	h.all(second)
	if p, err := second.Platform(t.Context(), "x"); err != nil || p.State != "up" || p.Up != 20 {
		t.Errorf("as the second has it: %+v, %v", p, err)
	}
	p, err := second.Up(t.Context(), source(30, "fail"), quiet)
	if err != nil || p.Up != 30 {
		t.Errorf("up: %+v, %v", p, err)
	}

	// The same one, started again, has not to wait.
	began := time.Now()
	again, _, _ := h.coordinator(coord.Config{Identity: "me", Holder: "second", Lease: time.Hour})
	h.all(again)
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("it took %v to begin again", d)
	}
	await(t, "its end", func() bool {
		_, err := second.Up(t.Context(), source(10, "fail"), quiet)
		return err != nil
	})
	must(t, again.Down(t.Context(), "x", quiet))
}

// TestLoss: a pnode that falls silent is lost, what is under way there ends,
// and its vnodes come up elsewhere. When it is back, it has none.
func TestLoss(t *testing.T) {
	h := newHouse(t, 3, mem.Options{})
	c, _, _ := h.coordinator(coord.Config{Identity: "me"})
	h.all(c)
	_, err := c.Up(t.Context(), source(300, "replace"), quiet)
	must(t, err)
	exits := map[string]int{}
	executed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		executed <- c.Exec(ctx, "x", &api.ExecRequest{Nodes: on(t, c, name(1)), Exec: &rack.ExecRequest{Argv: []string{"sleep"}}}, nil, func(r *rack.Reply) error {
			for _, e := range r.Exits {
				exits[e.Err]++
			}
			return nil
		})
	}()
	time.Sleep(50 * time.Millisecond)
	h.lose(1)
	began := time.Now()
	await(t, "loss", func() bool { return state(c, name(1)) == "lost" })
	t.Logf("lost after %v", time.Since(began))
	if err := <-executed; err != nil || len(exits) != 1 {
		t.Errorf("a command that ran there: %v, %v", exits, err)
	}
	for why, n := range exits {
		if why == "" || n != 100 {
			t.Errorf("%d vnodes ended with %q", n, why)
		}
	}
	await(t, "replacement", func() bool {
		p, err := c.Platform(t.Context(), "x")
		return err == nil && p.State == "up" && p.Up == 300
	})
	t.Logf("replaced after %v", time.Since(began))
	h.agent(1)
	await(t, "removal", func() bool { return state(c, name(1)) == "up" && h.kernels[1].String() == "" })
}

// on names the vnodes of a pnode.
func on(t *testing.T, c *coord.Coordinator, pnode string) string {
	var names []string
	if err := c.Vnodes(t.Context(), "x", "", func(v *api.Vnode) error {
		if v.Pnode == pnode {
			names = append(names, v.Name)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	return strings.Join(names, ",")
}

func state(c *coord.Coordinator, pnode string) string {
	list, _ := c.Pnodes(context.Background())
	for i := range list {
		if list[i].Name == pnode {
			return list[i].State
		}
	}
	return ""
}

func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s never comes", what)
		}
	}
}

// TestMessages: what is said for an up is as much as there are pnodes, however
// many vnodes there are.
func TestMessages(t *testing.T) {
	const pnodes = 8
	sent := func(vnodes int) uint64 {
		h := newHouse(t, pnodes, mem.Options{})
		c, stop, _ := h.coordinator(coord.Config{Identity: "me"})
		h.all(c)
		before, _, _, _ := h.server.Stats()
		_, err := c.Up(t.Context(), source(vnodes, "fail"), quiet)
		must(t, err)
		after, _, _, _ := h.server.Stats()
		must(t, stop())
		return after - before
	}
	few, many := sent(80), sent(8000)
	t.Logf("%d messages for 80 vnodes, %d for 8,000", few, many)
	// What is larger takes more chunks; beats and progress come as time goes by.
	if many > few+100*pnodes {
		t.Errorf("%d messages for 8,000 vnodes on %d pnodes, %d for 80", many, pnodes, few)
	}
}

// TestRefused: who is not taken in is told why, and shown.
func TestRefused(t *testing.T) {
	h := newHouse(t, 1, mem.Options{})
	c, _, _ := h.coordinator(coord.Config{Identity: "me"})
	h.all(c)
	for _, tt := range []struct {
		config agent.Config
		kind   program.Kind
		says   string
	}{
		{agent.Config{Name: "other", Version: "v2"}, program.KindUnsupported, "v2"},
		{agent.Config{Name: name(0), Version: "v1", Machine: "another"}, program.KindConflict, "another"},
	} {
		conn, err := h.server.Connect("refused")
		must(t, err)
		tt.config.RunDir, tt.config.Pnode = t.TempDir(), mem.New(mem.Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		err = agent.Run(ctx, conn, tt.config)
		cancel()
		var p *program.Problem
		if !errors.As(err, &p) || p.Kind != tt.kind || !strings.Contains(p.Error(), tt.says) {
			t.Errorf("%s of version %s: %v", tt.config.Name, tt.config.Version, err)
		}
		list, err := c.Pnodes(t.Context())
		if err != nil || !slices.ContainsFunc(list, func(n api.Pnode) bool {
			return n.Name == tt.config.Name && n.State == "refused" && strings.Contains(n.Problem, tt.says)
		}) {
			t.Errorf("pnodes: %+v, %v", list, err)
		}
	}
	if got := state(c, name(0)); got != "up" {
		t.Errorf("the one that was there is %s", got)
	}
}

package daemon_test

import (
	"context"
	"fmt"
	"net/netip"
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

// TestManyPnodes: one coordinator and twenty agents, each with a connection of
// its own, in one process.
func TestManyPnodes(t *testing.T) {
	server, err := bus.NewServer(bus.ServerOptions{Dir: t.TempDir(), Logf: t.Logf})
	must(t, err)
	t.Cleanup(server.Close)
	connect := func(name string) *bus.Conn {
		c, err := server.Connect(name)
		must(t, err)
		return c
	}
	// part runs f until stop is called.
	part := func(f func(context.Context) error) (stop func()) {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- f(ctx) }()
		stop = sync.OnceFunc(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
		t.Cleanup(stop)
		return stop
	}

	const pnodes, vnodes = 20, 5000
	kernels := make([]*mem.Pnode, pnodes)
	dirs := make([]string, pnodes)
	start := func(i int) (stop func()) {
		return part(func(ctx context.Context) error {
			return agent.Run(ctx, connect("agent"), agent.Config{Name: fmt.Sprintf("p%d.site.org", i), Machine: fmt.Sprint(i), RunDir: dirs[i], Pnode: kernels[i], Racks: echoRacks{},
				Address: func() (netip.Addr, uint16) { return netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)}), 1500 }, Logf: t.Logf})
		})
	}
	stops := make([]func(), pnodes)
	for i := range pnodes {
		kernels[i], dirs[i] = mem.New(mem.Options{}), t.TempDir()
		stops[i] = start(i)
	}
	conn := connect("coordinator")
	records, err := store.Open(t.Context(), conn)
	must(t, err)
	c := coord.New(coord.Config{Conn: conn, Store: records, Logf: t.Logf})
	part(c.Run)
	for i := range pnodes {
		must(t, c.AwaitPnode(t.Context(), fmt.Sprintf("p%d.site.org", i)))
	}

	up := func() *api.Platform {
		t.Helper()
		p, err := c.Up(t.Context(), &api.UpRequest{File: "x", Source: topology("x", vnodes)}, func(api.Event) {})
		must(t, err)
		return p
	}
	if p := up(); p.Up != vnodes || p.State != "up" || len(p.Racks) != pnodes {
		t.Fatalf("up: %s, %d vnodes in %d racks", p.State, p.Up, len(p.Racks))
	}
	ended := map[string]int{}
	must(t, c.Exec(t.Context(), "x", &api.ExecRequest{Nodes: "n[1-5000/7]", Exec: &rack.ExecRequest{Argv: []string{"hostname"}}}, nil, func(r *rack.Reply) error {
		for _, e := range r.Exits {
			ended[e.Vnode]++
		}
		return nil
	}))
	if len(ended) != 715 {
		t.Errorf("%d vnodes have run a command, want 715", len(ended))
	}
	check, err := c.Check(t.Context(), "x", &api.CheckRequest{}, func(api.Event) {})
	if err != nil || check.Pairs != 2000 || check.Answered < 1990 {
		t.Errorf("check: %+v, %v", check, err)
	}

	// One agent goes: its vnodes live on, and what needs it says so. What it still
	// carries is removed when it is back.
	stops[3]()
	await(t, func() bool { list, _ := c.Pnodes(t.Context()); return len(list) == pnodes && list[13].State == "left" })
	if _, err := c.Up(t.Context(), &api.UpRequest{File: "x", Source: topology("x", vnodes+1)}, func(api.Event) {}); kindOf(err) != program.KindUnavailable || !strings.Contains(err.Error(), "p3.site.org") {
		t.Errorf("up without an agent: %v", err)
	}
	must(t, c.Down(t.Context(), "x", func(api.Event) {}))
	if kernels[3].String() == "" {
		t.Error("what the agent that has ended carries is gone")
	}
	start(3)
	await(t, func() bool { return kernels[3].String() == "" })
	if p := up(); p.Up != vnodes {
		t.Errorf("after it is back: %d up", p.Up)
	}
	must(t, c.Down(t.Context(), "x", func(api.Event) {}))
	for i, k := range kernels {
		if k.String() != "" {
			t.Errorf("p%d has left:\n%s", i, k)
		}
	}
}

func await(t *testing.T, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never comes true")
		}
	}
}

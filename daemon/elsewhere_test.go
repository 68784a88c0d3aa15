package daemon_test

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"myriad/api"
	"myriad/bus"
	"myriad/daemon"
	"myriad/kernel/mem"
	"myriad/program"
)

// natsServer is a NATS server of the user's own, with JetStream.
func natsServer(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
	must(t, err)
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s.ClientURL()
}

// background runs f until end is called, or the test ends.
func background(t *testing.T, f func(context.Context) error) (end func() error, ended <-chan struct{}) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	var err error
	go func() {
		defer close(done)
		err = f(ctx)
	}()
	end = sync.OnceValue(func() error {
		cancel()
		<-done
		return err
	})
	t.Cleanup(func() { _ = end() })
	return end, done
}

// coordinator is a daemon without a pnode, on a bus elsewhere.
func coordinator(t *testing.T, url string) (c *api.Client, end func() error) {
	t.Helper()
	run, state, ready := t.TempDir(), t.TempDir(), make(chan struct{})
	end, ended := background(t, func(ctx context.Context) error {
		return daemon.Run(ctx, daemon.Config{RunDir: run, StateDir: state, NoAgent: true, Join: &bus.Remote{URL: url}, Version: "test", Ready: func() { close(ready) }, Logf: t.Logf})
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("the daemon ended: %v", end())
	case <-time.After(20 * time.Second):
		t.Fatal("the daemon never answers")
	}
	return api.NewClient(daemon.Socket(run)), end
}

// joined starts an agent, and returns when it is taken in.
func joined(t *testing.T, c daemon.AgentConfig) (end func() error) {
	t.Helper()
	ready := make(chan struct{})
	once := sync.OnceFunc(func() { close(ready) })
	c.Ready, c.Logf, c.Racks, c.Version = once, t.Logf, echoRacks{new(atomic.Int64)}, "test"
	end, ended := background(t, func(ctx context.Context) error { return daemon.RunAgent(ctx, c) })
	select {
	case <-ready:
	case <-ended:
		t.Fatalf("the agent ended: %v", end())
	case <-time.After(20 * time.Second):
		t.Fatal("the agent is never taken in")
	}
	return end
}

// TestBusElsewhere: two daemons on one bus of the user's own. The second stands
// by, and takes over what the first has made when that is gone.
func TestBusElsewhere(t *testing.T) {
	t.Parallel()
	url := natsServer(t)
	first, end := coordinator(t, url)
	for i, name := range []string{"p1", "p2"} {
		joined(t, daemon.AgentConfig{RunDir: t.TempDir(), StateDir: t.TempDir(), Pnode: mem.New(mem.Options{}), Name: name,
			Join: bus.Remote{URL: url}, Address: netip.AddrFrom4([4]byte{10, 9, 0, byte(i + 1)})})
	}
	up := func(c *api.Client) (*api.Platform, error) {
		var last *api.Platform
		err := c.Up(t.Context(), &api.UpRequest{File: "x", Source: topology("x", 100)}, func(e *api.Event) error {
			if e.Result != nil {
				last = e.Result
			}
			return nil
		})
		return last, err
	}
	if p, err := up(first); err != nil || p.Up != 100 || len(p.Pnodes) != 2 {
		t.Fatalf("up: %+v, %v", p, err)
	}

	second, _ := coordinator(t, url)
	v, err := second.Version(t.Context())
	if err != nil || v.StandBy == "" || v.Bus == "" {
		t.Errorf("version of one that stands by: %+v, %v", v, err)
	}
	if _, err := second.Platforms(t.Context()); kindOf(err) != program.KindUnavailable || !strings.Contains(err.Error(), "stands by") {
		t.Errorf("asked, it says %v", err)
	}

	must(t, end())
	await(t, func() bool {
		list, err := second.Pnodes(t.Context())
		return err == nil && len(list) == 2 && list[0].State == "up" && list[1].State == "up"
	})
	list, err := second.Platforms(t.Context())
	if err != nil || len(list) != 1 || list[0].State != "up" || list[0].Up != 100 {
		t.Errorf("after it has taken over: %+v, %v", list, err)
	}
	if p, err := up(second); err != nil || p.Writes != 0 {
		t.Errorf("up: %+v, %v", p, err)
	}
	must(t, second.Down(t.Context(), "x", func(*api.Event) error { return nil }))
}

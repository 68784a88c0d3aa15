package daemon_test

import (
	"context"
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"myriad/agent"
	"myriad/api"
	"myriad/daemon"
	"myriad/program"
	"myriad/rack"
)

var vnodes = flag.Int("daemon.vnodes", 1000, "vnodes that BenchmarkUp brings up")

// swift is a pnode that does everything at once and remembers only counts: what
// an up takes with it is what the control plane takes.
type swift struct{ reports map[string]*program.Report }

var _ agent.Pnode = (*swift)(nil)

func (s *swift) Apply(_ context.Context, p *program.Program, _ func(int)) (*program.Report, error) {
	r := &program.Report{Platform: p.Platform}
	for i := range p.Racks {
		n := len(p.Racks[i].Vnodes)
		r.Racks = append(r.Racks, program.RackReport{Index: p.Racks[i].Index, State: program.RackUp, Vnodes: n, Wanted: n})
	}
	s.reports[p.Platform] = r
	return r, nil
}

func (s *swift) Observe(context.Context, string) (*program.Program, error) { return nil, nil }
func (s *swift) Counters(string) ([]program.Counter, error)                { return nil, nil }

func (s *swift) Shape(context.Context, string, *program.Links, time.Time) (*program.Shaped, error) {
	return &program.Shaped{}, nil
}

func (s *swift) LinkStats(context.Context, string) (*program.LinkStats, error) {
	return &program.LinkStats{}, nil
}

func (s *swift) Status(_ context.Context, name string) (*program.Report, error) {
	if r := s.reports[name]; r != nil {
		return r, nil
	}
	return &program.Report{Platform: name}, nil
}

func (s *swift) Platforms() ([]string, error) {
	var names []string
	for name := range s.reports {
		names = append(names, name)
	}
	return names, nil
}

func (s *swift) Remove(_ context.Context, name string, _ func(int)) error {
	delete(s.reports, name)
	return nil
}

// BenchmarkUp brings a platform up with a daemon of its own: the time of one
// op is what the control plane adds to the kernel's. It also tells the parts of
// it, and what the daemon holds afterwards.
func BenchmarkUp(b *testing.B) {
	source := topology("x", *vnodes)
	var start, up, again time.Duration
	var before, after runtime.MemStats
	var resident int
	for b.Loop() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		run, state := b.TempDir(), b.TempDir()
		ctx, cancel := context.WithCancel(b.Context())
		ready, ended := make(chan struct{}), make(chan error, 1)
		begin := time.Now()
		go func() {
			ended <- daemon.Run(ctx, daemon.Config{RunDir: run, StateDir: state, Pnode: &swift{map[string]*program.Report{}}, Name: "here", Ready: func() { close(ready) }, Logf: b.Logf})
		}()
		<-ready
		start += time.Since(begin)
		client := api.NewClient(daemon.Socket(run))
		ask := func() time.Duration {
			t := time.Now()
			if err := client.Up(b.Context(), &api.UpRequest{File: "x", Source: source, Force: true}, func(*api.Event) error { return nil }); err != nil {
				b.Fatal(err)
			}
			return time.Since(t)
		}
		up += ask()
		again += ask()
		b.StopTimer()
		debug.FreeOSMemory()
		runtime.ReadMemStats(&after)
		resident = rss()
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
		b.StartTimer()
	}
	n := float64(b.N)
	b.ReportMetric(float64(start.Microseconds())/1e3/n, "start-ms")
	b.ReportMetric(float64(up.Microseconds())/1e3/n, "up-ms")
	b.ReportMetric(float64(again.Microseconds())/1e3/n, "again-ms")
	b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1e6, "heap-MB")
	b.ReportMetric(float64(resident)/1e3, "rss-MB")
}

// rss is the memory of this process in KB.
func rss() int {
	text, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.Atoi(fields[0])
	return n
}

// manyExits plays racks in which every vnode ends at once, and says so in
// frames of a hundred.
type manyExits struct{ perRack int }

type exitsCall struct {
	queue []*rack.Reply
}

func (m manyExits) Call(_ context.Context, _ string, index uint32, _ *rack.Request) (agent.Call, error) {
	c := &exitsCall{}
	for i := 0; i < m.perRack; i += 100 {
		r := &rack.Reply{}
		for j := i; j < i+100; j++ {
			r.Exits = append(r.Exits, rack.Exit{Vnode: "n" + strconv.Itoa(int(index)*m.perRack+j+1)})
		}
		c.queue = append(c.queue, r)
	}
	c.queue = append(c.queue, &rack.Reply{Done: true})
	return c, nil
}

func (c *exitsCall) Send(*rack.Input) error { return nil }
func (c *exitsCall) Close() error           { return nil }

func (c *exitsCall) Recv() (*rack.Reply, error) {
	r := c.queue[0]
	c.queue = c.queue[1:]
	return r, nil
}

// BenchmarkExec runs a command that costs nothing in every vnode: the time of
// one op is what the way from the racks to the client adds.
func BenchmarkExec(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	run := b.TempDir()
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, daemon.Config{RunDir: run, StateDir: b.TempDir(), Pnode: &swift{map[string]*program.Report{}}, Racks: manyExits{1000}, Name: "here", Ready: func() { close(ready) }})
	}()
	<-ready
	client := api.NewClient(daemon.Socket(run))
	if err := client.Up(ctx, &api.UpRequest{File: "x", Source: topology("x", *vnodes), Force: true}, func(*api.Event) error { return nil }); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		s, err := client.Exec(ctx, "x", &api.ExecRequest{Nodes: "*", Exec: &rack.ExecRequest{Argv: []string{"true"}}})
		if err != nil {
			b.Fatal(err)
		}
		exits := 0
		for done := false; !done; {
			r, err := s.Recv()
			if err != nil || r.Err != nil {
				b.Fatal(err, r)
			}
			exits += len(r.Exits)
			done = r.Done
		}
		s.Close()
		if exits != *vnodes {
			b.Fatalf("%d exits, want %d", exits, *vnodes)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

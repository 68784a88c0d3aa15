package agent

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"myriad/bus"
	"myriad/kernel/mem"
	"myriad/program"
)

// site is an agent at work, with a coordinator's end of the bus.
type site struct {
	*bus.Conn
	epoch  uint64
	runDir string
	hello  chan bus.Hello
	racks  chan program.Report
	stop   func()
}

const pnode = "node.example.org"

func newServer(t *testing.T) *bus.Server {
	t.Helper()
	s, err := bus.NewServer(bus.ServerOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// start starts an agent, and returns when it has said hello.
func start(t *testing.T, server *bus.Server, runDir string, p Pnode, racks Racks) (*site, bus.Hello) {
	t.Helper()
	connect := func(name string) *bus.Conn {
		c, err := server.Connect(name)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	s := &site{Conn: connect("coordinator"), runDir: runDir, hello: make(chan bus.Hello, 10), racks: make(chan program.Report, 100)}
	welcome(t, s.Conn, s.hello)
	must(t, bus.Subscribe(s.Conn, bus.SubjectRacks, func(r bus.Racks, err error) { s.racks <- r.Report }))
	must(t, s.Flush(t.Context()))
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- Run(ctx, connect("agent"), Config{Name: pnode, RunDir: runDir, Pnode: p, Racks: racks, Logf: t.Logf})
	}()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { s.stop(); s.Conn.Close() })
	return s, wait(t, s.hello)
}

// welcome takes agents in.
func welcome(t *testing.T, c *bus.Conn, hello chan bus.Hello) {
	must(t, bus.Handle(c, bus.SubjectHello, func(_ context.Context, h bus.Hello) (bus.Welcome, error) {
		hello <- h
		return bus.Welcome{}, nil
	}))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wait[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing comes")
		panic("unreachable")
	}
}

// sample is a program with racks of the given sizes.
func sample(platform string, racks ...int) *program.Program {
	p := &program.Program{Platform: platform, Pnode: pnode, Networks: []program.Network{
		{ID: 1, Name: "lan", Subnet: netip.MustParsePrefix("10.0.0.0/16"), MTU: 1500},
	}}
	host := uint32(0)
	for i, n := range racks {
		r := program.Rack{Index: uint32(i)}
		for slot := range uint16(n) {
			host++
			r.Vnodes = append(r.Vnodes, program.Vnode{Slot: slot, Name: fmt.Sprintf("n%d", host)})
			r.Vifaces = append(r.Vifaces, program.Viface{Slot: slot, Name: "eth0", Network: 1, Host: host})
		}
		p.Racks = append(p.Racks, r)
	}
	return p
}

func (s *site) open(t *testing.T, ctx context.Context, call, platform string) *bus.Stream {
	t.Helper()
	stream, err := bus.Open(ctx, s.Conn, bus.SubjectOf(pnode, call), bus.Platform{Name: platform, Order: bus.Order{Epoch: s.epoch}})
	must(t, err)
	return stream
}

// share puts what pnodes share of a program where they find it.
func (s *site) share(t *testing.T, p *program.Program) (name string) {
	t.Helper()
	return s.put(t, &program.Shared{Platform: p.Platform, Fabric: p.Fabric, Networks: p.Networks, Names: p.Names, Places: p.Remote, Links: p.Links})
}

func (s *site) put(t *testing.T, p *program.Shared) (name string) {
	t.Helper()
	objects, err := s.Objects(t.Context(), bus.ProgramsStore)
	must(t, err)
	encoded := program.EncodeShared(p)
	name = fmt.Sprintf("%s/%x", p.Platform, sha256.Sum256(encoded))
	must(t, objects.Put(t.Context(), name, encoded))
	return name
}

// begin begins to have a program applied.
func (s *site) begin(t *testing.T, ctx context.Context, p *program.Program) *bus.Stream {
	t.Helper()
	name := s.share(t, p)
	stream, err := bus.Open(ctx, s.Conn, bus.SubjectOf(pnode, "apply"), bus.Apply{Name: p.Platform, Shared: name, Order: bus.Order{Epoch: s.epoch}})
	must(t, err)
	must(t, stream.SendBytes(program.EncodeOwn(&program.Own{Pnode: p.Pnode, Racks: p.Racks})))
	return stream
}

// apply has a program applied, and gives the last word about it.
func (s *site) apply(t *testing.T, p *program.Program) bus.Progress {
	t.Helper()
	stream := s.begin(t, t.Context(), p)
	last, err := s.last(stream)
	must(t, err)
	return last
}

func (s *site) last(stream *bus.Stream) (last bus.Progress, err error) {
	for {
		var p bus.Progress
		switch err := stream.Recv(&p); err {
		case nil:
			last = p
		case io.EOF:
			return last, nil
		default:
			return last, err
		}
	}
}

// journalled lists what is in a run directory beside who coordinates.
func journalled(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range entries {
		if e.Name() != filepath.Base(leaderPath(dir)) {
			names = append(names, e.Name())
		}
	}
	return names
}

func (s *site) remove(t *testing.T, platform string) {
	t.Helper()
	_, err := s.last(s.open(t, t.Context(), "remove", platform))
	must(t, err)
}

func TestApplyAndRemove(t *testing.T) {
	p := mem.New(mem.Options{})
	s, hello := start(t, newServer(t), t.TempDir(), p, nil)
	if hello.Pnode != pnode || hello.CPUs == 0 || hello.Memory == 0 || len(hello.Platforms) != 0 {
		t.Errorf("hello: %+v", hello)
	}
	want := sample("x", 5, 3)
	got := s.apply(t, want)
	if got.Err != nil || got.Report == nil || got.Report.Up() != 8 || got.Report.Pnode != pnode {
		t.Fatalf("apply: %+v", got)
	}
	if again := s.apply(t, want); again.Report.Writes != 0 {
		t.Errorf("applying again wrote %d times", again.Report.Writes)
	}

	stream := s.open(t, t.Context(), "observe", "x")
	observed := *want
	observed.Racks = nil
	must(t, stream.Recv(&observed.Racks))
	if observed.String() != want.String() {
		t.Errorf("observed\n%s\nwant\n%s", &observed, want)
	}
	counters, err := bus.Request[bus.Platform, []program.Counter](t.Context(), s.Conn, bus.SubjectOf(pnode, "counters"), bus.Platform{Name: "x"})
	if err != nil || len(counters) == 0 {
		t.Errorf("counters: %v, %v", counters, err)
	}

	s.remove(t, "x")
	if left := journalled(t, s.runDir); len(left) != 0 || p.String() != "" {
		t.Errorf("after remove: %v, %s", left, p)
	}
	s.remove(t, "x") // nothing to do is no error
	s.stop()
	if left, _ := os.ReadDir(s.runDir); len(left) != 0 {
		t.Errorf("an agent that carried nothing left %v", left)
	}
}

func TestApplyRefuses(t *testing.T) {
	p := mem.New(mem.Options{})
	s, _ := start(t, newServer(t), t.TempDir(), p, nil)
	invalid := sample("x", 1)
	invalid.Racks[0].Vifaces[0].Network = 99
	own := program.EncodeOwn(&program.Own{Pnode: pnode, Racks: sample("x", 1).Racks})
	good := s.share(t, sample("x", 1))
	objects, err := s.Objects(t.Context(), bus.ProgramsStore)
	must(t, err)
	forged := "x/" + strings.Repeat("0", 64)
	must(t, objects.Put(t.Context(), forged, program.EncodeShared(&program.Shared{Platform: "x"})))
	for _, c := range []struct {
		name, shared string
		own          []byte
		want         string
	}{
		{"rubbish", good, []byte("rubbish"), "decode"},
		{"a whole program", good, sample("x", 1).Encode(), "decode"},
		{"another platform", s.share(t, sample("y", 1)), own, "was announced"},
		{"invalid", good, program.EncodeOwn(&program.Own{Pnode: pnode, Racks: invalid.Racks}), "99"},
		{"for another pnode", good, program.EncodeOwn(&program.Own{Pnode: "other", Racks: sample("x", 1).Racks}), "other"},
		{"not there", "x/" + strings.Repeat("1", 64), own, "there is none"},
		{"forged", forged, own, "digest"},
	} {
		stream, err := bus.Open(t.Context(), s.Conn, bus.SubjectOf(pnode, "apply"), bus.Apply{Name: "x", Shared: c.shared})
		must(t, err)
		must(t, stream.SendBytes(c.own))
		last, err := s.last(stream)
		if err == nil && last.Err != nil {
			err = last.Err
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want something about %q", c.name, err, c.want)
		}
	}
	if p.String() != "" {
		t.Errorf("in the kernel: %s", p)
	}
	stream := s.open(t, t.Context(), "remove", "../x")
	if _, err := s.last(stream); bus.ProblemOf(err).Kind != program.KindInvalid {
		t.Errorf("removing ../x: %v", err)
	}
}

func TestStopApply(t *testing.T) {
	p := mem.New(mem.Options{PerVnode: time.Millisecond})
	s, _ := start(t, newServer(t), t.TempDir(), p, nil)
	want := sample("x", 900)
	stream := s.begin(t, t.Context(), want)
	var first bus.Progress
	must(t, stream.Recv(&first))
	must(t, stream.Send(bus.None{})) // stop
	last, err := s.last(stream)
	must(t, err)
	if last.Err == nil || last.Report == nil || last.Report.Up() == 0 || last.Report.Up() == 900 || last.Report.Racks[0].State != program.RackPartial {
		t.Fatalf("after a stop: %+v", last)
	}

	// The one who asked goes away: so does the work, and the agent takes more.
	ctx, cancel := context.WithCancel(t.Context())
	stream = s.begin(t, ctx, want)
	must(t, stream.Recv(&first))
	cancel()
	if got := s.apply(t, sample("x", 20)); got.Report.Up() != 20 || got.Err != nil {
		t.Errorf("after a caller that left: %+v", got)
	}
}

func TestProgressIsBounded(t *testing.T) {
	p := mem.New(mem.Options{PerVnode: 500 * time.Microsecond})
	s, _ := start(t, newServer(t), t.TempDir(), p, nil)
	stream := s.begin(t, t.Context(), sample("x", 900))
	began := time.Now()
	messages := 0
	for stream.Recv(new(bus.Progress)) == nil {
		messages++
	}
	if most := int(time.Since(began)/progressEvery) + 2; messages > most || messages < 3 {
		t.Errorf("%d messages in %v, want 3 to %d", messages, time.Since(began), most)
	}
}

func TestAdopt(t *testing.T) {
	server, dir, p := newServer(t), t.TempDir(), mem.New(mem.Options{})
	s, _ := start(t, server, dir, p, nil)
	s.apply(t, sample("kept", 4, 4))
	s.apply(t, sample("gone", 2))
	s.stop()
	p.Kill("kept", 1)
	must(t, p.Remove(t.Context(), "gone", nil)) // the journal remains, as after a crash
	must(t, os.MkdirAll(filepath.Join(dir, "foreign"), 0o700))
	must(t, os.WriteFile(journalPath(dir, "foreign"), []byte("rubbish"), 0o600))

	_, hello := start(t, server, dir, p, nil)
	var got []string
	for _, r := range hello.Platforms {
		for _, k := range r.Racks {
			got = append(got, fmt.Sprintf("%s/%d %v %d/%d", r.Platform, k.Index, k.State, k.Vnodes, k.Wanted))
		}
	}
	want := []string{"gone/0 lost 0/2", "kept/0 up 4/4", "kept/1 lost 0/4"}
	if !slices.Equal(got, want) {
		t.Errorf("adopted %q, want %q", got, want)
	}
}

func TestLostRackInMemory(t *testing.T) {
	p := mem.New(mem.Options{})
	s, _ := start(t, newServer(t), t.TempDir(), p, nil)
	s.apply(t, sample("x", 5, 3))
	p.Kill("x", 0)
	got := wait(t, s.racks)
	if got.Platform != "x" || got.Racks[0].State != program.RackLost || got.Racks[0].Wanted != 5 || got.Racks[1].State != program.RackUp {
		t.Errorf("reported %+v", got)
	}
}

// processes is a pnode whose racks are processes.
type processes struct {
	*mem.Pnode
	pids map[uint32]int
}

func (p *processes) named(r *program.Report, err error) (*program.Report, error) {
	if err == nil {
		for i := range r.Racks {
			r.Racks[i].Pid = p.pids[r.Racks[i].Index]
		}
	}
	return r, err
}

func (p *processes) Apply(ctx context.Context, q *program.Program, f func(int)) (*program.Report, error) {
	return p.named(p.Pnode.Apply(ctx, q, f))
}

func (p *processes) Status(ctx context.Context, name string) (*program.Report, error) {
	return p.named(p.Pnode.Status(ctx, name))
}

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	c := exec.Command("sleep", "100")
	must(t, c.Start())
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c
}

func TestLostRackProcess(t *testing.T) {
	a, b := sleeper(t), sleeper(t)
	p := &processes{mem.New(mem.Options{}), map[uint32]int{0: a.Process.Pid, 1: b.Process.Pid}}
	s, _ := start(t, newServer(t), t.TempDir(), p, nil)
	s.apply(t, sample("x", 5, 3))
	s.apply(t, sample("x", 5, 3)) // the same processes are not watched twice
	killed := time.Now()
	must(t, b.Process.Kill()) // nobody waits for it yet: a zombie is as lost
	got := wait(t, s.racks)
	if late := time.Since(killed); late > time.Second {
		t.Errorf("noticed after %v", late)
	}
	if got.Racks[1].State != program.RackLost || got.Racks[1].Vnodes != 0 || got.Racks[0].State != program.RackUp {
		t.Errorf("reported %+v", got)
	}

	s.remove(t, "x")
	must(t, a.Process.Kill())
	select {
	case r := <-s.racks:
		t.Errorf("after its platform was removed, a rack is reported: %+v", r)
	case <-time.After(100 * time.Millisecond):
	}
}

package agent

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"myriad/bus"
	"myriad/kernel/mem"
	"myriad/program"
)

// TestJoin: an agent asks until somebody answers, and beats from then on.
func TestJoin(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	r := run(t, server, nil, Config{Machine: "m", Site: "lyon", Key: [32]byte{7}, Pnode: mem.New(mem.Options{})})
	until(t, "it says that nobody answers", func() bool { return r.log.count("nobody answers") == 1 })
	listener, err := server.Connect("listener")
	must(t, err)
	defer listener.Close()
	beats := make(chan bus.Beat, 100)
	must(t, bus.Subscribe(listener, bus.SubjectBeat, func(b bus.Beat, _ error) { beats <- b }))
	none(t, beats, "a beat of one that was not welcomed")

	f := newFake(t, server, "c", 1)
	h := wait(t, f.hellos)
	if h.Pnode != pnode || h.Protocol != bus.Protocol || h.Version != "1" || h.Machine != "m" || h.Site != "lyon" || h.Key[0] != 7 ||
		h.Coordinator != "" || h.Seq == 0 || h.Boot == "" || h.Kernel == "" || h.Session == "" || h.Now.IsZero() || h.Address.IsValid() {
		t.Errorf("hello: %+v", h)
	}
	last := h.Seq
	began := time.Now()
	for range 10 {
		b := wait(t, f.beats)
		if b.Session != h.Session || b.Seq <= last || b.Now.IsZero() {
			t.Errorf("beat %+v after %d of %s", b, last, h.Session)
		}
		last = b.Seq
	}
	if early := time.Since(began); early < 8*f.beat {
		t.Errorf("10 beats came within %v", early)
	}
	none(t, f.hellos, "another hello")
	r.stop()
	if b := wait(t, f.byes); b.Session != h.Session || b.Seq <= last {
		t.Errorf("bye: %+v", b)
	}
	if n := r.log.count("nobody answers"); n != 1 {
		t.Errorf("it said %d times that nobody answers", n)
	}
}

// TestBeatsGoOn: neither work on the kernel, nor looking at it, holds up beats.
func TestBeatsGoOn(t *testing.T) {
	server := newServer(t)
	f := newFake(t, server, "c", 1)
	slow := &stuck{Pnode: mem.New(mem.Options{}), free: make(chan struct{})}
	r := run(t, server, nil, Config{Pnode: slow})
	wait(t, f.hellos)
	s := f.site()
	stream := s.begin(t, t.Context(), sample("x", 3))
	until(t, "it applies", slow.applying.Load)
	for len(f.beats) > 0 {
		<-f.beats
	}
	for range 20 {
		wait(t, f.beats)
	}
	f.change(func() { f.lead.Epoch++ })
	f.announce(t)
	wait(t, f.hellos)
	close(slow.free)
	if _, err := s.last(stream); err != nil {
		t.Error(err)
	}
	r.stop()
}

// stuck is a pnode whose kernel does not come back until it is freed.
type stuck struct {
	*mem.Pnode
	applying atomic.Bool
	free     chan struct{}
}

func (s *stuck) Apply(ctx context.Context, p *program.Program, f func(int)) (*program.Report, error) {
	s.applying.Store(true)
	<-s.free
	return s.Pnode.Apply(ctx, p, f)
}

func (s *stuck) Status(ctx context.Context, name string) (*program.Report, error) {
	<-s.free
	return s.Pnode.Status(ctx, name)
}

// TestHelloAgain: there are reasons to say hello again, and things that are
// none.
func TestHelloAgain(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	f := newFake(t, server, "c", 5)
	var address atomic.Pointer[netip.AddrPort] // with the MTU as port
	set := func(text string) { a := netip.MustParseAddrPort(text); address.Store(&a) }
	set("10.0.0.1:1500")
	run(t, server, nil, Config{Pnode: mem.New(mem.Options{}), Address: func() (netip.Addr, uint16) {
		a := address.Load()
		return a.Addr(), a.Port()
	}})
	h := wait(t, f.hellos)
	again := func(why string) {
		t.Helper()
		h2 := wait(t, f.hellos)
		if h2.Session != h.Session || h2.Seq <= h.Seq {
			t.Errorf("%s: %+v after %+v", why, h2.From, h.From)
		}
		h = h2
	}
	if h.Address != netip.MustParseAddr("10.0.0.1") || h.MTU != 1500 {
		t.Errorf("hello with address %v, MTU %d", h.Address, h.MTU)
	}
	wait(t, f.beats)
	f.announce(t)
	f.change(func() { f.lead.Epoch = 4 })
	f.announce(t)
	none(t, f.hellos, "a hello to one that leads already, or no more")
	f.change(func() { f.lead.Epoch = 6 })
	f.announce(t)
	again("a new epoch")
	set("10.0.0.2:1500")
	again("another address")
	if h.Address != netip.MustParseAddr("10.0.0.2") {
		t.Errorf("another address: %v", h.Address)
	}
	set("10.0.0.2:1400")
	again("another MTU")
	if h.MTU != 1400 {
		t.Errorf("another MTU: %d", h.MTU)
	}
	_, err := bus.Request[bus.Lead, bus.None](t.Context(), f.Conn, bus.SubjectOf(pnode, "hail"), bus.Lead{Coordinator: "c", Epoch: 6})
	must(t, err)
	again("it was asked to")
	_, err = bus.Request[bus.Lead, bus.None](t.Context(), f.Conn, bus.SubjectOf(pnode, "hail"), bus.Lead{Coordinator: "c", Epoch: 5})
	must(t, err)
	none(t, f.hellos, "a hello for one that leads no more")
}

// TestRefused: an agent that cannot be taken in ends with the reason, unless
// it carries vnodes for the one who took it in before.
func TestRefused(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	f := newFake(t, server, "c", 1)
	older := &program.Problem{Kind: program.KindUnsupported, Rack: -1, Op: "take in", Cause: "it has version 1, and the coordinator 2", Remedy: "install the same"}
	taken := &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "take in", Cause: "another machine has that name"}
	refuse := func(p *program.Problem) {
		f.change(func() {
			f.refuse = func(*bus.Hello) *program.Problem { return p }
			f.lead.Epoch++
		})
		f.announce(t)
	}
	for _, p := range []*program.Problem{older, taken} {
		refuse(p)
		r := run(t, server, nil, Config{Pnode: mem.New(mem.Options{})})
		if err := r.end(); bus.ProblemOf(err).Cause != p.Cause {
			t.Errorf("refused: %v, want %v", err, p)
		}
	}
	none(t, f.byes, "a bye of one that was never in")

	f.change(func() { f.refuse = nil })
	kernel, dir := mem.New(mem.Options{}), t.TempDir()
	r := run(t, server, nil, Config{Pnode: kernel, RunDir: dir})
	wait(t, f.beats)
	if last, err := f.applyIn(t, bus.Order{Epoch: f.lead.Epoch, Serial: 1}, sample("x", 3)); err != nil || last.Err != nil {
		t.Fatal(err, last.Err)
	}
	refuse(taken)
	until(t, "it says that it is refused", func() bool { return r.log.count("another machine has that name") == 1 })
	for len(f.hellos) > 0 {
		<-f.hellos
	}
	time.Sleep(2 * f.beat)
	for len(f.beats) > 0 {
		<-f.beats
	}
	none(t, f.beats, "a beat of one that was refused")
	f.announce(t)
	none(t, f.hellos, "a hello to one that has refused")
	if kernel.String() == "" {
		t.Error("its vnodes are gone")
	}
	refuse(nil)
	wait(t, f.hellos)
	wait(t, f.beats)
	refuse(older)
	if err := r.end(); bus.ProblemOf(err).Cause != older.Cause || kernel.String() == "" {
		t.Errorf("of another version: %v; in the kernel %q", err, kernel)
	}
}

// TestOtherCoordinator: what is one coordinator's is not touched for another,
// unless the agent was told to let go of it.
func TestOtherCoordinator(t *testing.T) {
	t.Parallel()
	kernel, dir := mem.New(mem.Options{}), t.TempDir()
	server := newServer(t)
	f := newFake(t, server, "first", 9)
	r := run(t, server, nil, Config{Pnode: kernel, RunDir: dir})
	wait(t, f.beats)
	if last, err := f.applyIn(t, bus.Order{Epoch: 9, Serial: 1}, sample("x", 3)); err != nil || last.Err != nil {
		t.Fatal(err, last.Err)
	}
	r.stop()

	elsewhere := newServer(t)
	g := newFake(t, elsewhere, "second", 2)
	err := run(t, elsewhere, nil, Config{Pnode: kernel, RunDir: dir}).end()
	if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindConflict || !strings.Contains(p.Error(), "first") || !strings.Contains(p.Error(), "second") || !strings.Contains(p.Remedy, "--take-over") {
		t.Errorf("with platforms of the first: %v", err)
	}
	if h := wait(t, g.hellos); h.Coordinator != "first" || len(h.Platforms) != 1 {
		t.Errorf("hello: %+v", h)
	}
	r = run(t, elsewhere, nil, Config{Pnode: kernel, RunDir: dir, TakeOver: true})
	if h := wait(t, g.hellos); h.Coordinator != "" || len(h.Platforms) != 1 {
		t.Errorf("hello of one that lets go: %+v", h)
	}
	wait(t, g.beats)
	if last, err := g.applyIn(t, bus.Order{Epoch: 2, Serial: 1}, sample("x", 4)); err != nil || last.Err != nil || last.Report.Up() != 4 {
		t.Errorf("what was let go of: %+v, %v", last, err)
	}
	r.stop()
	if err := run(t, server, nil, Config{Pnode: kernel, RunDir: dir}).end(); bus.ProblemOf(err).Kind != program.KindConflict {
		t.Errorf("back at the first: %v", err)
	}

	// What carries nothing is anybody's.
	must(t, kernel.Remove(t.Context(), "x", nil))
	must(t, removeJournal(dir, "x"))
	run(t, server, nil, Config{Pnode: kernel, RunDir: dir})
	for len(f.beats) > 0 {
		<-f.beats
	}
	wait(t, f.beats)
}

// TestClocksApart: a time to come is by the agent's clock, as others are told.
func TestClocksApart(t *testing.T) {
	server := newServer(t)
	f := newFake(t, server, "c", 1)
	kernel := mem.New(mem.Options{})
	clock := func() time.Time { return time.Now().Add(-3 * time.Hour) }
	run(t, server, nil, Config{Pnode: kernel, Clock: clock})
	h := wait(t, f.hellos)
	b := wait(t, f.beats)
	for _, at := range []time.Time{h.Now, b.Now} {
		if apart := time.Since(at); apart < 2*time.Hour {
			t.Errorf("it tells a clock that is %v behind", apart)
		}
	}
	s := f.site()
	s.apply(t, sample("x", 3))
	due := time.Now().Add(200 * time.Millisecond)
	if _, err := s.shape(t, t.Context(), "x", delays(time.Millisecond), clock().Add(200*time.Millisecond)); err != nil || time.Until(due) > 0 || time.Since(due) > 5*time.Second {
		t.Errorf("shaped %v before it was due: %v", time.Until(due), err)
	}
}

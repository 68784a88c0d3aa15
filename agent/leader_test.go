package agent

import (
	"os"
	"strings"
	"testing"
	"time"

	"myriad/bus"
	"myriad/kernel/mem"
	"myriad/program"
)

// TestSuperseded: what a coordinator asks for that leads no more is refused,
// by an agent that comes later too.
func TestSuperseded(t *testing.T) {
	t.Parallel()
	server, kernel, dir := newServer(t), mem.New(mem.Options{}), t.TempDir()
	f := newFake(t, server, "c", 7)
	r := run(t, server, nil, Config{Pnode: kernel, RunDir: dir})
	wait(t, f.beats)
	must2 := func(o bus.Order, p *program.Program) {
		t.Helper()
		if last, err := f.applyIn(t, o, p); err != nil || last.Err != nil {
			t.Fatal(err, last.Err)
		}
	}
	must2(bus.Order{Epoch: 7, Serial: 1}, sample("x", 3))
	before := kernel.String()
	refused := func() {
		t.Helper()
		s, old := f.site(), bus.Order{Epoch: 6, Serial: 100}
		if _, err := f.applyIn(t, bus.Order{}, sample("x", 5)); bus.ProblemOf(err) == nil {
			t.Error("one that tells no epoch is obeyed")
		}
		_, apply := f.applyIn(t, old, sample("x", 5))
		stream, err := bus.Open(t.Context(), f.Conn, bus.SubjectOf(pnode, "remove"), bus.Platform{Name: "x", Order: old})
		must(t, err)
		_, remove := s.last(stream)
		stream, err = bus.Open(t.Context(), f.Conn, bus.SubjectOf(pnode, "shape"), bus.Shape{Name: "x", Order: old})
		must(t, err)
		must(t, stream.SendBytes(program.EncodeLinks(delays(time.Second))))
		shape := stream.Recv(new(program.Shaped))
		for call, err := range map[string]error{"apply": apply, "remove": remove, "shape": shape} {
			p := bus.ProblemOf(err)
			if p == nil || p.Kind != program.KindConflict || !strings.Contains(p.Cause, "another coordinator has taken over") || !strings.Contains(p.Cause, "epoch 6") || !strings.Contains(p.Cause, "epoch 7") {
				t.Errorf("%s: %v", call, err)
			}
		}
		if kernel.String() != before || inKernel(t, kernel, "x") != "plain" {
			t.Errorf("it was touched: %s", kernel)
		}
	}
	refused()
	r.stop()

	f.change(func() { f.lead.Epoch = 6 })
	r = run(t, server, nil, Config{Pnode: kernel, RunDir: dir})
	until(t, "the one before is not followed", func() bool { return r.log.count("epoch 7 of coordinator c has begun") > 0 })
	for len(f.beats) > 0 {
		<-f.beats
	}
	none(t, f.beats, "a beat for one that leads no more")
	f.change(func() { f.lead.Epoch = 7 })
	f.announce(t)
	wait(t, f.beats)
	refused()

	// One that has just begun may ask before its welcome is heard.
	f.change(func() { f.lead.Epoch = 8 })
	answered := make(chan error, 1)
	go func() {
		last, err := f.applyIn(t, bus.Order{Epoch: 8, Serial: 1}, sample("x", 4))
		if err == nil && last.Err != nil {
			err = last.Err
		}
		answered <- err
	}()
	none(t, answered, "an answer to one that the agent does not know")
	f.announce(t)
	if err := wait(t, answered); err != nil {
		t.Error(err)
	}
}

// TestOvertaken: of two requests for one platform, the later one counts,
// whichever arrives first; the same one twice does no harm.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	server, kernel := newServer(t), mem.New(mem.Options{})
	f := newFake(t, server, "c", 1)
	slow := &stuck{Pnode: kernel, free: make(chan struct{})}
	run(t, server, nil, Config{Pnode: slow})
	wait(t, f.beats)
	type end struct {
		last bus.Progress
		err  error
	}
	apply := func(serial uint64, p *program.Program) chan end {
		done := make(chan end, 1)
		go func() {
			last, err := f.applyIn(t, bus.Order{Epoch: 1, Serial: serial}, p)
			done <- end{last, err}
		}()
		return done
	}
	first := apply(5, sample("x", 3)) // it is in the kernel
	until(t, "it applies", slow.applying.Load)
	late := apply(6, sample("x", 4)) // it waits
	time.Sleep(100 * time.Millisecond)
	newest := apply(8, sample("x", 6)) // it arrives before 7
	time.Sleep(100 * time.Millisecond)
	_, err := f.applyIn(t, bus.Order{Epoch: 1, Serial: 7}, sample("x", 5))
	if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindConflict || !strings.Contains(p.Cause, "overtaken") {
		t.Errorf("7 after 8: %v", err)
	}
	close(slow.free)
	if e := wait(t, first); e.err != nil {
		t.Errorf("5: %v", e.err)
	}
	if e := wait(t, late); bus.ProblemOf(e.err) == nil || bus.ProblemOf(e.err).Kind != program.KindConflict {
		t.Errorf("6, which waited while 8 came: %v", e.err)
	}
	if e := wait(t, newest); e.err != nil || e.last.Report.Up() != 6 {
		t.Errorf("8: %v, %+v", e.err, e.last)
	}
	if e := wait(t, apply(8, sample("x", 6))); e.err != nil || e.last.Report.Up() != 6 || e.last.Report.Writes != 0 {
		t.Errorf("8 again: %v, %+v", e.err, e.last)
	}

	// One that was overtaken by a removal makes nothing anew.
	stream, err := bus.Open(t.Context(), f.Conn, bus.SubjectOf(pnode, "remove"), bus.Platform{Name: "x", Order: bus.Order{Epoch: 1, Serial: 10}})
	must(t, err)
	_, err = f.site().last(stream)
	must(t, err)
	if _, err := f.applyIn(t, bus.Order{Epoch: 1, Serial: 9}, sample("x", 5)); bus.ProblemOf(err) == nil || kernel.String() != "" {
		t.Errorf("9 after a removal: %v; %s", err, kernel)
	}
	if last, err := f.applyIn(t, bus.Order{Epoch: 1, Serial: 9}, sample("y", 2)); err != nil || last.Report.Up() != 2 {
		t.Errorf("9 for another platform: %v", err)
	}
	f.change(func() { f.lead.Epoch = 2 })
	f.announce(t)
	if last, err := f.applyIn(t, bus.Order{Epoch: 2, Serial: 1}, sample("x", 5)); err != nil || last.Report.Up() != 5 {
		t.Errorf("a new epoch counts anew: %v", err)
	}
}

// TestTwoCoordinators: two on one bus that both claim a pnode which carries
// vnodes of the first: it stays with the first.
func TestTwoCoordinators(t *testing.T) {
	t.Parallel()
	server, kernel := newServer(t), mem.New(mem.Options{})
	f := newFake(t, server, "first", 3)
	r := run(t, server, nil, Config{Pnode: kernel})
	wait(t, f.beats)
	if last, err := f.applyIn(t, bus.Order{Epoch: 3, Serial: 1}, sample("x", 3)); err != nil || last.Err != nil {
		t.Fatal(err, last.Err)
	}
	f.keepLeading(t)
	before := kernel.String()
	g := newFake(t, server, "second", 50)
	g.keepLeading(t)
	wait(t, g.hellos)
	if _, err := g.applyIn(t, bus.Order{Epoch: 50, Serial: 1}, sample("x", 9)); bus.ProblemOf(err) == nil {
		t.Error("the second changes a platform of the first")
	}
	if kernel.String() != before {
		t.Errorf("it was touched: %s", kernel)
	}
	if r.log.count("first") == 0 || r.log.count("second") == 0 {
		t.Error("the log does not name both")
	}
}

// TestClaimUnreadable: a damaged journal of who coordinates is said, and keeps
// nobody from work.
func TestClaimUnreadable(t *testing.T) {
	server, kernel, dir := newServer(t), mem.New(mem.Options{}), t.TempDir()
	_, err := kernel.Apply(t.Context(), sample("x", 3), nil)
	must(t, err)
	must(t, os.WriteFile(leaderPath(dir), []byte("rubbish"), 0o600))
	f := newFake(t, server, "c", 1)
	r := run(t, server, nil, Config{Pnode: kernel, RunDir: dir})
	wait(t, f.beats)
	if r.log.count("by whom its platforms are claimed") != 1 {
		t.Error("it does not say that the journal is damaged")
	}
}

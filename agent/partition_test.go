package agent

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/bus"
	"myriad/kernel/mem"
	"myriad/program"
	"myriad/trust"
)

// TestConnectionLost: an agent whose server goes keeps what it carries, says
// so once, and keeps nothing to be said later; when the server is back, a
// hello tells all.
func TestConnectionLost(t *testing.T) {
	t.Parallel()
	authority, err := trust.Init(t.TempDir(), nil)
	must(t, err)
	state, at := t.TempDir(), "127.0.0.1:0"
	open := func() *bus.Server {
		s, err := bus.NewServer(bus.ServerOptions{Dir: state, Listen: at, TLS: authority.Server(), Secret: authority.Token().Secret})
		must(t, err)
		at = s.Addr()
		return s
	}
	server := open()
	conn, err := bus.Join(t.Context(), pnode, bus.Remote{URL: "tls://" + at, TLS: authority.Token().Client(), Secret: authority.Token().Secret}, nil)
	must(t, err)
	f := newFake(t, server, "c", 1)
	stop := f.keepLeading(t)
	kernel := mem.New(mem.Options{})
	r := run(t, nil, conn, Config{Pnode: kernel})
	first := wait(t, f.hellos)
	wait(t, f.beats)
	if last, err := f.applyIn(t, bus.Order{Epoch: 1, Serial: 1}, sample("x", 3, 2)); err != nil || last.Err != nil {
		t.Fatal(err, last.Err)
	}
	stop()
	server.Close()
	until(t, "it says that the connection is lost", func() bool { return r.log.count("the connection to the bus is lost; vnodes stay as they are") == 1 })
	for range 5 {
		kernel.Kill("x", 1)
	}
	time.Sleep(100 * time.Millisecond)

	server = open()
	defer server.Close()
	g := newFake(t, server, "c", 2)
	g.keepLeading(t)
	h := wait(t, g.hellos)
	if h.Session != first.Session || h.Seq <= first.Seq || h.Coordinator != "c" {
		t.Errorf("hello %+v, the first was %+v", h.From, first.From)
	}
	var states []program.RackState
	for _, k := range h.Platforms[0].Racks {
		states = append(states, k.State)
	}
	if !slices.Equal(states, []program.RackState{program.RackUp, program.RackLost}) {
		t.Errorf("the hello says %v", states)
	}
	if b := wait(t, g.beats); b.Seq <= h.Seq {
		t.Errorf("beat %d was kept from before the hello, which is %d", b.Seq, h.Seq)
	}
	none(t, g.racks, "what racks had become, kept from before")
	until(t, "it says that all is well", func() bool { return r.log.count("the coordinator is back") == 1 })
	if last, err := g.applyIn(t, bus.Order{Epoch: 2, Serial: 1}, sample("x", 3, 2)); err != nil || last.Report.Up() != 5 {
		t.Errorf("after that: %v, %+v", err, last)
	}
	if n := r.log.count("stay as they are"); n != 1 {
		t.Errorf("it was said %d times", n)
	}
	g.Close() // before its server
	r.stop()
}

// TestCoordinatorSilent: the server is there and the coordinator is not heard.
func TestCoordinatorSilent(t *testing.T) {
	t.Parallel()
	server, kernel := newServer(t), mem.New(mem.Options{})
	f := newFake(t, server, "c", 1)
	stop := f.keepLeading(t)
	r := run(t, server, nil, Config{Pnode: kernel})
	wait(t, f.beats)
	if last, err := f.applyIn(t, bus.Order{Epoch: 1, Serial: 1}, sample("x", 3, 2)); err != nil || last.Err != nil {
		t.Fatal(err, last.Err)
	}
	for len(f.hellos) > 0 {
		<-f.hellos
	}
	stop()
	until(t, "it says that nobody is heard", func() bool { return r.log.count("the coordinator is not heard any more") == 1 })
	none(t, f.hellos, "a hello to nobody")
	f.keepLeading(t)
	if h := wait(t, f.hellos); len(h.Platforms) != 1 {
		t.Errorf("hello: %+v", h)
	}
	until(t, "it says that all is well", func() bool { return r.log.count("the coordinator is back") == 1 })
}

// TestDiskFull: what cannot be journalled is not made, nothing of it is left,
// and all works again when there is room.
func TestDiskFull(t *testing.T) {
	if !alone(t, unix.CLONE_NEWNS) {
		return
	}
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	server, kernel := newServer(t), mem.New(mem.Options{})
	f := newFake(t, server, "c", 1)
	run(t, server, nil, Config{Pnode: kernel, RunDir: dir})
	wait(t, f.beats)
	if last, err := f.applyIn(t, bus.Order{Epoch: 1, Serial: 1}, sample("x", 3)); err != nil || last.Err != nil {
		t.Fatal(err, last.Err)
	}
	before, journal := kernel.String(), readFile(t, journalPath(dir, "x"))
	filler := filepath.Join(dir, "filler")
	fill(t, filler)
	full := func(what string, err error) {
		t.Helper()
		if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindExhausted || !strings.Contains(p.Error(), "journal") || !strings.Contains(p.Remedy, "room") {
			t.Errorf("%s on a full disk: %v", what, err)
		}
	}
	_, err := f.applyIn(t, bus.Order{Epoch: 1, Serial: 2}, sample("x", 900))
	full("a change", err)
	_, err = f.applyIn(t, bus.Order{Epoch: 1, Serial: 3}, sample("y", 900))
	full("another", err)
	_, err = f.site().shape(t, t.Context(), "x", delays(time.Second), time.Time{})
	full("conditions", err)
	if kernel.String() != before || inKernel(t, kernel, "x") != "plain" || readFile(t, journalPath(dir, "x")) != journal {
		t.Errorf("something was half applied: %s", kernel)
	}
	if left := journalled(t, dir); !slices.Equal(left, []string{"filler", "x"}) {
		t.Errorf("left: %v", left)
	}
	// A new epoch cannot be journalled: nothing is changed until it can.
	f.change(func() { f.lead.Epoch = 2 })
	f.announce(t)
	_, err = f.applyIn(t, bus.Order{Epoch: 2, Serial: 1}, sample("x", 3))
	full("a new epoch", err)
	// What there is can be taken away, which makes room.
	stream, err := bus.Open(t.Context(), f.Conn, bus.SubjectOf(pnode, "remove"), bus.Platform{Name: "x", Order: bus.Order{Epoch: 2, Serial: 2}})
	must(t, err)
	if last, err := f.site().last(stream); err != nil || last.Err != nil || kernel.String() == before {
		t.Errorf("removal on a full disk: %v, %v, %s", err, last.Err, kernel)
	}

	must(t, os.Remove(filler))
	for i, want := range []*program.Program{sample("x", 900), sample("y", 900)} {
		if last, err := f.applyIn(t, bus.Order{Epoch: 2, Serial: uint64(i + 3)}, want); err != nil || last.Report.Up() != 900 {
			t.Errorf("with room: %v", err)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return string(b)
}

// fill writes until the disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	file, err := os.Create(path)
	must(t, err)
	defer file.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = file.Write(block)
	}
}

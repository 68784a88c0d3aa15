package rack

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/program"
)

// pnode is a Pnode whose racks are processes.
func pnode(tb testing.TB) (*kernel.Pnode, *Starter) {
	tb.Helper()
	kerneltest.RequireRoot(tb)
	s := &Starter{RunDir: tb.TempDir()}
	p, err := kernel.Open(kernel.Config{RunDir: s.RunDir, Racks: s})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Sweep(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return p, s
}

// TestPnode holds a Pnode with rack processes to what every Pnode is held to.
func TestPnode(t *testing.T) {
	var racks *Starter
	kerneltest.Run(t, func(t *testing.T) kerneltest.Pnode {
		var p *kernel.Pnode
		p, racks = pnode(t)
		return p
	}, kerneltest.Options{KillRack: func(t *testing.T, _ kerneltest.Pnode, platform string, index uint32) {
		found, err := racks.Find(t.Context(), platform)
		if err != nil {
			t.Fatal(err)
		}
		c := found[index].(*Client)
		if err := unix.Kill(c.Pid(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-c.Lost()
	}})
}

// TestApplyDyingRack: a rack that is killed just before an Apply, or in the
// midst of it, is replaced by it, in whatever state of its end it is met.
func TestApplyDyingRack(t *testing.T) {
	p, s := pnode(t)
	want := flat(60, 30)
	for i := range 12 {
		if i%3 == 2 {
			want = flat(60+i, 30+i/2)
		}
		want.Links = nil
		if i%4 < 2 {
			want.Links = kerneltest.Delays(want, i+1)
		}
		found, err := s.Find(t.Context(), "p")
		if err != nil {
			t.Fatal(err)
		}
		if r := found[0]; r != nil {
			kill := func() { _ = unix.Kill(r.Pid(), unix.SIGKILL) }
			if i%2 == 0 {
				kill()
			} else {
				time.AfterFunc(time.Duration(i)*time.Millisecond, kill)
			}
		}
		racks := s
		if i%4 == 0 { // a new daemon
			if p, racks, err = again(s.RunDir); err != nil {
				t.Fatal(err)
			}
		}
		s = racks
		if report, err := p.Apply(t.Context(), want, nil); err != nil || len(report.Problems) > 0 {
			t.Fatalf("round %d: %v, %v", i, err, report)
		}
	}
}

// again is what another process sees of a run directory.
func again(runDir string) (*kernel.Pnode, *Starter, error) {
	s := &Starter{RunDir: runDir}
	p, err := kernel.Open(kernel.Config{RunDir: runDir, Racks: s})
	return p, s, err
}

// flat is a program of n vnodes in one vnetwork, some in a rack.
func flat(n, inRack int) *program.Program {
	p := &program.Program{Platform: "p", Pnode: "pnode", Networks: []program.Network{
		{ID: 1, Name: "lan", Subnet: netip.MustParsePrefix("10.9.0.0/16"), MTU: 1500},
	}}
	for i := range n {
		if i%inRack == 0 {
			p.Racks = append(p.Racks, program.Rack{Index: uint32(i / inRack)})
		}
		r := &p.Racks[len(p.Racks)-1]
		slot := uint16(i % inRack)
		s := spec(n).Rack.Vnodes[i]
		s.Slot = slot
		r.Vnodes = append(r.Vnodes, s)
		r.Vifaces = append(r.Vifaces, program.Viface{Slot: slot, Name: "eth0", Network: 1, Host: uint32(i + 1)})
	}
	return p
}

// TestProbe: echoes go between vnodes of one rack and of two, many at once;
// those that nobody answers time out, and what cannot be sent says why.
func TestProbe(t *testing.T) {
	p, s := pnode(t)
	want := flat(104, 100)
	report, err := p.Apply(t.Context(), want, nil)
	if err != nil || len(report.Problems) > 0 {
		t.Fatal(err, report.Problems)
	}
	found, err := s.Find(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	c := found[0].(*Client)
	before := openFiles(t, c.Pid())
	req := &ProbeRequest{Timeout: int64(300 * time.Millisecond)}
	addr := func(i int) string { return want.Networks[0].Addr(uint32(i + 1)).String() }
	for from := range 100 {
		for _, to := range []int{from, (from + 1) % 100, (from + 50) % 100, 100 + from%4} {
			req.Probes = append(req.Probes, Probe{ID: uint32(len(req.Probes)), From: want.Racks[0].Vnodes[from].Name, To: addr(to)})
		}
	}
	good := len(req.Probes)
	req.Probes = append(req.Probes,
		Probe{ID: 1000, From: "v0", To: addr(5000)}, // in the vnetwork, but nobody's
		Probe{ID: 1001, From: "v0", To: "192.0.2.1"},
		Probe{ID: 1002, From: "v0", To: "nonsense"},
		Probe{ID: 1003, From: "v103", To: addr(1)}, // of another rack
	)
	got := map[uint32]Echo{}
	err = c.Probe(t.Context(), req, func(echoes []Echo) {
		for _, e := range echoes {
			if _, twice := got[e.ID]; twice {
				t.Errorf("two results of probe %d", e.ID)
			}
			got[e.ID] = e
		}
	})
	if err != nil || len(got) != len(req.Probes) {
		t.Fatalf("%d results, %v, want %d", len(got), err, len(req.Probes))
	}
	for id := range uint32(good) {
		if e := got[id]; e.Err != "" || e.RTT <= 0 || e.RTT > int64(100*time.Millisecond) {
			t.Errorf("probe %+v: %+v", req.Probes[id], e)
		}
	}
	if e := got[1000]; e.RTT != 0 {
		t.Errorf("nobody answered: %+v", e)
	}
	for id, text := range map[uint32]string{1001: "network is unreachable", 1002: "no IPv4 address", 1003: "no such vnode"} {
		if e := got[id]; e.RTT != 0 || !strings.Contains(e.Err, text) {
			t.Errorf("probe %d: %+v, want %q", id, e, text)
		}
	}
	waitFor(t, "sockets to be closed", func() bool { return openFiles(t, c.Pid()) <= before })
}

// openFiles counts the descriptors of a process.
func openFiles(tb testing.TB, pid int) int {
	tb.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		tb.Fatal(err)
	}
	return len(entries)
}

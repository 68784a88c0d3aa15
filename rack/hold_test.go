package rack

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/program"
)

// shaped is flat with a delay of so many milliseconds for everybody.
func shaped(n, inRack, ms int) *program.Program {
	p := flat(n, inRack)
	p.Links = kerneltest.Delays(p, ms)
	return p
}

// TestHold: a rack has a wheel for as long as its links have conditions, and
// nothing of it afterwards.
func TestHold(t *testing.T) {
	t.Setenv(kernel.HolderVariable, kernel.HolderWheel)
	p, s := pnode(t)
	if _, err := p.Apply(t.Context(), flat(20, 10), nil); err != nil {
		t.Fatal(err)
	}
	found, err := s.Find(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	c := found[1].(*Client)
	held := func(want bool) {
		t.Helper()
		if st, err := c.Held(t.Context()); err != nil || (st != nil) != want || st != nil && (st.Held != 0 || st.Failed != 0) {
			t.Errorf("held: %+v, %v; should there be a wheel: %v", st, err, want)
		}
	}
	held(false)
	before := openFiles(t, c.Pid())
	for range 2 {
		if r, err := p.Apply(t.Context(), shaped(20, 10, 5), nil); err != nil || len(r.Problems) > 0 {
			t.Fatal(r, err)
		}
		held(true)
		if err := c.Hold(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		held(false)
		if err := c.Hold(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if r, err := p.Apply(t.Context(), shaped(20, 10, 5), nil); err != nil || r.Writes != 0 {
			t.Fatal(r, err)
		}
		held(true)
		if r, err := p.Apply(t.Context(), flat(20, 10), nil); err != nil || len(r.Problems) > 0 {
			t.Fatal(r, err)
		}
		held(false)
		waitFor(t, "descriptors to be closed", func() bool { return openFiles(t, c.Pid()) <= before })
	}
	if err := c.Hold(t.Context(), &kernel.HoldSpec{}); err == nil {
		t.Error("a wheel without a device: no error")
	}
	held(false)
}

// TestHoldKilled: racks that are killed with packets that they hold are made
// again with wheels.
func TestHoldKilled(t *testing.T) {
	t.Setenv(kernel.HolderVariable, kernel.HolderWheel)
	p, s := pnode(t)
	want := shaped(20, 10, 300)
	if _, err := p.Apply(t.Context(), want, nil); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		found, err := s.Find(t.Context(), "p")
		if err != nil {
			t.Fatal(err)
		}
		c := found[1].(*Client)
		probe := &ProbeRequest{Timeout: int64(100 * time.Millisecond)}
		for i := range 10 {
			probe.Probes = append(probe.Probes, Probe{ID: uint32(i), From: want.Racks[1].Vnodes[i].Name, To: want.Networks[0].Addr(uint32(i + 1)).String()})
		}
		if err := c.Probe(t.Context(), probe, func([]Echo) {}); err != nil {
			t.Fatal(err)
		}
		if st, err := c.Held(t.Context()); err != nil || st.Held == 0 {
			t.Fatalf("nothing is held: %+v, %v", st, err)
		}
		if err := unix.Kill(found[1].Pid(), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if r, err := p.Apply(t.Context(), want, nil); err != nil || len(r.Problems) > 0 || r.Up() != 20 {
			t.Fatal(r, err)
		}
		if found, err = s.Find(t.Context(), "p"); err != nil {
			t.Fatal(err)
		}
		for index, r := range found {
			if st, err := r.Held(t.Context()); err != nil || st == nil {
				t.Errorf("rack %d: %+v, %v", index, st, err)
			}
		}
		if r, err := p.Apply(t.Context(), want, nil); err != nil || r.Writes != 0 {
			t.Errorf("again: %+v, %v", r, err)
		}
	}
}

package kernel_test

import (
	"flag"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/program"
)

var (
	vnodes = flag.Int("vnodes", 1000, "number of vnodes of TestBesideFloor")
	rounds = flag.Int("rounds", 0, "rounds of TestBesideFloor")
)

// flat is a program of n vnodes in one network.
func flat(n int) *program.Program {
	p := &program.Program{Platform: "flat", Pnode: "pnode", Networks: []program.Network{
		{ID: 1, Name: "lan", Subnet: netip.MustParsePrefix("10.0.0.0/8"), MTU: 1500}}}
	for i := range n {
		if i%program.RackVnodes == 0 {
			p.Racks = append(p.Racks, program.Rack{Index: uint32(i / program.RackVnodes)})
		}
		r, slot := &p.Racks[len(p.Racks)-1], uint16(i%program.RackVnodes)
		r.Vnodes = append(r.Vnodes, program.Vnode{Slot: slot, Name: fmt.Sprintf("n%d", i+1)})
		r.Vifaces = append(r.Vifaces, program.Viface{Slot: slot, Name: "eth0", Network: 1, Host: uint32(i + 1)})
	}
	return p
}

// cpu is the processor time that this process has used. It tells more than
// the clock does while others use the machine too.
func cpu() time.Duration {
	var r unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &r) != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// TestBesideFloor measures Apply and Remove beside the kernel floor, in alternation.
func TestBesideFloor(t *testing.T) {
	kerneltest.RequireRoot(t)
	if *rounds == 0 {
		t.Skip("a measurement: run it with -rounds 3")
	}
	for range *rounds {
		before := cpu()
		floorUp, floorDown, err := kernel.Floor(t.Context(), *vnodes)
		floorCPU := cpu() - before
		if err != nil {
			t.Fatal(err)
		}
		p, _ := open(t)
		took := func(fn func() error) time.Duration {
			start := time.Now()
			if err := fn(); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		want := flat(*vnodes)
		apply := func() error {
			r, err := p.Apply(t.Context(), want, nil)
			if err == nil && r.Up() != *vnodes {
				t.Fatalf("%d up: %v", r.Up(), r.Problems)
			}
			return err
		}
		before = cpu()
		up := took(apply)
		upCPU := cpu() - before
		again := took(apply)
		observe := took(func() error { _, err := p.Observe(t.Context(), "flat"); return err })
		down := took(func() error { return p.Remove(t.Context(), "flat", nil) })
		t.Logf("up %.3f s (floor %.3f, ratio %.2f; of processor time %.2f), down %.3f s (floor %.3f, ratio %.2f), again %.1f µs each, observe %.1f µs each",
			up.Seconds(), floorUp.Seconds(), up.Seconds()/floorUp.Seconds(),
			upCPU.Seconds()/floorCPU.Seconds(), down.Seconds(), floorDown.Seconds(), down.Seconds()/floorDown.Seconds(),
			float64(again.Microseconds())/float64(*vnodes), float64(observe.Microseconds())/float64(*vnodes))
	}
}

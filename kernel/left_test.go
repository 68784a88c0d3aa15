package kernel

import (
	"context"
	"testing"

	"myriad/program"
)

// livingRack is a rack with some vnodes.
type livingRack struct {
	Rack
	pid, vnodes int
}

func (r livingRack) Pid() int { return r.pid }

func (r livingRack) Observe(context.Context) (*program.Rack, error) {
	return &program.Rack{Vnodes: make([]program.Vnode, r.vnodes)}, nil
}

// livingRacks are those that are found.
type livingRacks struct{ racks map[uint32]Rack }

func (l livingRacks) Start(context.Context, string, uint32) (Rack, error)   { panic("not called") }
func (l livingRacks) Find(context.Context, string) (map[uint32]Rack, error) { return l.racks, nil }

// TestApplyLeaves: an Apply that ends before it comes to a rack says what the
// rack has, not that there is none.
func TestApplyLeaves(t *testing.T) {
	racks := map[uint32]Rack{0: livingRack{pid: 10, vnodes: 7}, 1: livingRack{pid: 11, vnodes: 5}}
	p := &Pnode{Config: Config{Racks: livingRacks{racks}}, known: map[string]map[uint32]program.RackReport{
		"x": {0: {Index: 0, State: program.RackUp, Pid: 10, Vnodes: 3, Wanted: 3}},
	}}
	want := &program.Program{Platform: "x"}
	for k := range uint32(3) {
		want.Racks = append(want.Racks, program.Rack{Index: k, Vnodes: make([]program.Vnode, 4)})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a := &apply{p: p, want: want}
	if err := a.run(ctx); err == nil {
		t.Error("cancelled before it began: no error")
	}
	for i, r := range []program.RackReport{
		{Index: 0, State: program.RackPartial, Pid: 10, Vnodes: 3, Wanted: 4}, // as known from its last Apply
		{Index: 1, State: program.RackPartial, Pid: 11, Vnodes: 4, Wanted: 4}, // as read from the kernel
		{Index: 2, State: program.RackDown, Wanted: 4},
	} {
		if i >= len(a.report.Racks) || a.report.Racks[i] != r {
			t.Fatalf("racks %+v, want %+v as number %d", a.report.Racks, r, i)
		}
	}
}

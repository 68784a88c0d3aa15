package program

import (
	"fmt"
	"net/netip"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestDiffApply(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := rackAt(programs().Draw(t, "have"), 0), rackAt(programs().Draw(t, "want"), 0)
		d := Diff(have, want)
		if got := Apply(have, &d); !reflect.DeepEqual(got, want) {
			t.Fatalf("applied, the difference gives\n%v\nwant\n%v", got, want)
		}
		if d.Empty() != reflect.DeepEqual(have, want) {
			t.Fatalf("the difference of\n%v\nand\n%v\nis %+v", have, want, d)
		}
		if none := Diff(want, want); !none.Empty() {
			t.Fatalf("the difference of a rack and itself is %+v", none)
		}
	})
}

func rackAt(p *Program, index uint32) *Rack {
	for i := range p.Racks {
		if p.Racks[i].Index == index {
			return &p.Racks[i]
		}
	}
	return &Rack{Index: index}
}

func TestDiffPrograms(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		have, want := programs().Draw(t, "have"), programs().Draw(t, "want")
		d := DiffPrograms(have, want)
		racks := map[uint32]*Rack{}
		for i := range have.Racks {
			racks[have.Racks[i].Index] = &have.Racks[i]
		}
		for _, k := range d.RemoveRacks {
			delete(racks, k)
		}
		for _, r := range d.Racks {
			racks[r.Index] = Apply(rackAt(have, r.Index), &r)
		}
		if len(racks) != len(want.Racks) {
			t.Fatalf("%d racks, want %d", len(racks), len(want.Racks))
		}
		for i := range want.Racks {
			if got := racks[want.Racks[i].Index]; !reflect.DeepEqual(got, &want.Racks[i]) {
				t.Fatalf("rack %d is\n%v\nwant\n%v", want.Racks[i].Index, got, &want.Racks[i])
			}
		}
		if d.Empty() != reflect.DeepEqual(have, want) {
			t.Fatalf("the difference of\n%s\nand\n%s\nis %+v", have, want, d)
		}
		if none := DiffPrograms(want, want); !none.Empty() {
			t.Fatalf("the difference of a program and itself is %+v", none)
		}
	})
}

// TestDiffChanges says which change costs what.
func TestDiffChanges(t *testing.T) {
	base := func() *Rack { return &large(3).Racks[0] }
	for _, test := range []struct {
		name   string
		change func(r *Rack)
		want   string
	}{
		{"nothing", func(r *Rack) {}, ""},
		{"forward", func(r *Rack) { r.Vnodes[1].Forward = true }, "forward 1"},
		{"name", func(r *Rack) { r.Vnodes[1].Name = "x" }, "remove 1, make 1 (2 vifaces, 2 routes)"},
		{"weight", func(r *Rack) { r.Vnodes[1].Weight = WeightLight }, "remove 1, make 1 (2 vifaces, 2 routes)"},
		{"address", func(r *Rack) { r.Vifaces[2].Host = 77 }, "-viface 1/0, +viface 1/0, +route 1, +route 1"},
		{"attach", func(r *Rack) { r.Vifaces[2].Attach = AttachVeth }, "-viface 1/0, +viface 1/0, +route 1, +route 1"},
		{"new viface", func(r *Rack) {
			r.Vifaces = append(r.Vifaces, Viface{Slot: 2, Index: 2, Name: "eth2", Network: 2, Host: 9})
		}, "+viface 2/2"},
		{"no viface", func(r *Rack) { r.Vifaces = r.Vifaces[:5] }, "-viface 2/1, +route 2, +route 2"},
		{"next hop", func(r *Rack) { r.Routes[0].Via = netip.MustParseAddr("10.0.0.2") }, "+route 0"},
		{"no route", func(r *Rack) { r.Routes = r.Routes[1:] }, "-route 0"},
		{"no vnode", func(r *Rack) { r.Vnodes, r.Vifaces, r.Routes = r.Vnodes[:2], r.Vifaces[:4], r.Routes[:4] }, "remove 2"},
	} {
		want := base()
		test.change(want)
		d := Diff(base(), want)
		if got := summary(&d); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func summary(d *RackDiff) string {
	s := ""
	add := func(format string, args ...any) {
		if s != "" {
			s += ", "
		}
		s += fmt.Sprintf(format, args...)
	}
	for _, v := range d.Remove {
		add("remove %d", v.Slot)
	}
	for _, r := range d.RemoveRoutes {
		add("-route %d", r.Slot)
	}
	for _, f := range d.RemoveVifaces {
		add("-viface %d/%d", f.Slot, f.Index)
	}
	for _, f := range d.AddVifaces {
		add("+viface %d/%d", f.Slot, f.Index)
	}
	for _, r := range d.AddRoutes {
		add("+route %d", r.Slot)
	}
	for _, v := range d.Forward {
		add("forward %d", v.Slot)
	}
	for _, v := range d.Make.Vnodes {
		add("make %d (%d vifaces, %d routes)", v.Slot, len(d.Make.VifacesOf(v.Slot)), len(d.Make.RoutesOf(v.Slot)))
	}
	return s
}

func TestDiffNetworkChange(t *testing.T) {
	have, want := large(2), large(2)
	want.Networks[1].MTU = 1400
	want.Networks[0].Broadcast = true
	d := DiffPrograms(have, want)
	if len(d.ChangeNetworks) != 2 || len(d.Racks) != 1 {
		t.Fatalf("%+v", d)
	}
	const redo = "-viface 0/1, -viface 1/1, +viface 0/1, +viface 1/1, +route 0, +route 0, +route 1, +route 1"
	if got := summary(&d.Racks[0]); got != redo {
		t.Errorf("a new MTU means %q, want %q", got, redo)
	}
}

func BenchmarkDiff(b *testing.B) {
	have, want := large(40_000), large(40_000)
	want.Racks[3].Vnodes[7].Forward = true
	b.ReportAllocs()
	for b.Loop() {
		if d := DiffPrograms(have, want); len(d.Racks) != 1 {
			b.Fatal(d)
		}
	}
}

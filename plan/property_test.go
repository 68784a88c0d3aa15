package plan

import (
	"bytes"
	"net/netip"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"myriad/program"
)

func mustMake(t *rapid.T, s *sketch, shuffle *rapid.T, pnodes []Pnode, o Options) *Plan {
	t.Helper()
	p, err := Make(s.topology(shuffle), pnodes, o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	mustBeSound(t, p)
	return p
}

// However a topology is written, its plan has the same bytes.
func TestOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, pnodes := sketches().Draw(t, "topology"), pnodeLists().Draw(t, "pnodes")
		o := Options{RackVnodes: rapid.IntRange(1, 20).Draw(t, "rack")}
		p := mustMake(t, s, nil, pnodes, o)
		q := mustMake(t, s, t, rapid.Permutation(pnodes).Draw(t, "pnode order"), o)
		if !bytes.Equal(p.Encode(), q.Encode()) || programs(p) != programs(q) {
			t.Fatalf("\n%s\nand in another order\n%s", programs(p), programs(q))
		}
	})
}

// A new plan fills racks and pnodes evenly.
func TestEven(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, pnodes := sketches().Draw(t, "topology"), pnodeLists().Draw(t, "pnodes")
		for i := range pnodes {
			pnodes[i].CPUs, pnodes[i].Memory = 2, 1<<30
		}
		rack := rapid.IntRange(1, 20).Draw(t, "rack")
		p := mustMake(t, s, nil, pnodes, Options{RackVnodes: rack})
		for i := range pnodes {
			if n, share := p.VnodesOn(i), p.Len()/len(pnodes); n < share || n > share+1 {
				t.Fatalf("pnode %d has %d of %d vnodes, want a share of %d", i, n, p.Len(), len(pnodes))
			}
			racks := p.Program(i).Racks
			if want := (p.VnodesOn(i) + rack - 1) / rack; len(racks) != want {
				t.Fatalf("%d racks for %d vnodes, want %d", len(racks), p.VnodesOn(i), want)
			}
			for _, r := range racks {
				if low := p.VnodesOn(i) / len(racks); len(r.Vnodes) > rack || len(r.Vnodes) < low || len(r.Vnodes) > low+1 {
					t.Fatalf("rack %d has %d of %d vnodes in %d racks", r.Index, len(r.Vnodes), p.VnodesOn(i), len(racks))
				}
			}
		}
	})
}

// An edited topology keeps what it can, and the difference of the programs
// leads from one to the other.
func TestEdit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := sketches().Draw(t, "before"), sketches().Draw(t, "after")
		pnodes := pnodeLists().Draw(t, "pnodes")
		o := Options{RackVnodes: rapid.IntRange(1, 20).Draw(t, "rack")}
		p := mustMake(t, before, nil, pnodes, o)
		morePnodes := pnodes
		if rapid.Bool().Draw(t, "other pnodes") {
			morePnodes = pnodeLists().Draw(t, "then")
		}
		o.Previous = p
		q := mustMake(t, after, nil, morePnodes, o)
		checkKept(t, p, q, after)
		checkDiff(t, p, q)
		if o.Previous = q; !bytes.Equal(mustMake(t, after, t, morePnodes, o).Encode(), q.Encode()) {
			t.Fatalf("planned again, it is another plan")
		}
	})
}

// checkKept checks that what is in both plans is where it was.
func checkKept(t *rapid.T, p, q *Plan, after *sketch) {
	ids := map[string]uint16{}
	for _, n := range p.Networks() {
		ids[n.Name] = n.ID
	}
	for _, n := range q.Networks() {
		if id, had := ids[n.Name]; had && id != n.ID {
			t.Fatalf("network %s had ID %d, now %d", n.Name, id, n.ID)
		}
	}
	fixed := map[netip.Addr]bool{}
	for _, a := range after.fixed {
		fixed[a] = true
	}
	for v := range q.Vnodes(nil) {
		at, had := p.Find(v.Name)
		if !had {
			continue
		}
		old := p.Vnode(at.Vnode)
		number, err := q.PnodeNumber(p.Pnodes()[at.Pnode].Name)
		if err == nil && (number != v.Pnode || number != at.Pnode || v.Rack != at.Rack || v.Slot != at.Slot) {
			t.Fatalf("%s was in %+v and is in %+v", v.Name, at, v.Placement)
		}
		for j, f := range v.Vifaces {
			for _, g := range old.Vifaces {
				wish := j == 0 && after.fixed[v.Name].IsValid()
				if f.Name == g.Name && f.Network == g.Network && !wish && !fixed[g.Address.Addr()] && f.Address != g.Address {
					t.Fatalf("%s %s was %s and is %s", v.Name, f.Name, g.Address, f.Address)
				}
			}
		}
	}
}

// checkDiff checks that the difference of two plans' programs, applied to the
// one, gives the other.
func checkDiff(t *rapid.T, p, q *Plan) {
	for i := range q.Pnodes() {
		want := q.Program(i)
		if want == nil {
			continue
		}
		have := &program.Program{}
		if i < len(p.Pnodes()) && p.Pnodes()[i].Name == want.Pnode {
			have = p.Program(i)
		}
		d := program.DiffPrograms(have, want)
		racks := map[uint32]program.Rack{}
		for _, r := range have.Racks {
			racks[r.Index] = r
		}
		for _, k := range d.RemoveRacks {
			delete(racks, k)
		}
		for _, r := range d.Racks {
			old := racks[r.Index]
			racks[r.Index] = *program.Apply(&old, &r)
		}
		var got program.Program
		for _, r := range want.Racks {
			got.Racks = append(got.Racks, racks[r.Index])
		}
		if len(racks) != len(want.Racks) || !reflect.DeepEqual(got.Racks, want.Racks) {
			t.Fatalf("applied, the difference gives\n%s\nwant\n%s", &got, want)
		}
	}
}

// With complete routes every packet to an address of the platform arrives, by
// a shortest path, and every other one is refused where it is sent.
func TestCompleteRoutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := sketches().Filter(func(s *sketch) bool { return s.complete }).Draw(t, "topology")
		p := mustMake(t, s, nil, []Pnode{{Name: "p1"}}, Options{})
		w := walker{p: p, owner: map[netip.Addr]int{}}
		var all []netip.Addr
		for v := range p.Vnodes(nil) {
			for _, f := range v.Vifaces {
				w.owner[f.Address.Addr()] = v.Vnode
				all = append(all, f.Address.Addr())
			}
		}
		for v := range p.Vnodes(nil) {
			if len(v.Vifaces) == 0 {
				continue
			}
			to := rapid.SampledFrom(all).Draw(t, "to")
			if steps, ok := w.walk(v.Vnode, to); !ok || steps > 2 { // gw is in all networks
				t.Fatalf("from %s to %s: %v after %d steps\n%s", v.Name, to, ok, steps, programs(p))
			}
			nowhere := netip.AddrFrom4([4]byte{10, 0, byte(rapid.IntRange(5, 255).Draw(t, "nowhere")), 1})
			if hop, ok := next(&v, nowhere); ok {
				t.Fatalf("%s sends what is for %s to %s", v.Name, nowhere, hop)
			}
		}
	})
}

// walker forwards packets as the kernel would.
type walker struct {
	p     *Plan
	owner map[netip.Addr]int
}

// walk gives the number of hops to an address.
func (w *walker) walk(vnode int, to netip.Addr) (int, bool) {
	for steps := range 100 {
		if w.owner[to] == vnode {
			return steps, true
		}
		v := w.p.Vnode(vnode)
		next, ok := next(&v, to)
		owner, known := w.owner[next]
		if !ok || !known || steps > 0 && !v.Gateway {
			return steps, false
		}
		vnode = owner
	}
	return 100, false
}

// next gives the address that a packet goes to next: the longest matching
// destination decides.
func next(v *Vnode, to netip.Addr) (netip.Addr, bool) {
	best, hop := -1, netip.Addr{}
	for _, f := range v.Vifaces {
		if n := f.Address.Masked(); n.Contains(to) && n.Bits() > best {
			best, hop = n.Bits(), to
		}
	}
	for _, r := range v.Routes {
		if r.To.Contains(to) && r.To.Bits() > best {
			best, hop = r.To.Bits(), r.Via
		}
	}
	return hop, best >= 0
}

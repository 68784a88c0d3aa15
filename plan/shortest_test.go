package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myriad/link"
	"myriad/nodeset"
	"myriad/topo"
)

// delayed is a mesh whose gateways delay, with vnodes that are in two networks.
func delayed(t *rapid.T) (mesh, *topo.Topology) {
	m := meshes().Draw(t, "mesh")
	out := m.topology()
	out.Metric = topo.MetricDelay
	for i := range m.networks - 1 {
		out.Vnodes = append(out.Vnodes, topo.Template{Nodes: nodeset.Of(fmt.Sprintf("both%d", i)),
			Vifaces: []topo.Viface{{Name: "eth0", Network: i}, {Name: "eth1", Network: i + 1}}})
	}
	delays := rapid.SampledFrom([]time.Duration{0, 0, 1, 2, 3, 10, 1 << 40, maxMeasured, 2 * maxMeasured})
	draw := func(label string) *link.Conditions {
		if d := delays.Draw(t, label); d != 0 {
			return &link.Conditions{Delay: d}
		}
		return nil
	}
	for i := range out.Vnodes {
		for j := range out.Vnodes[i].Vifaces {
			f := &out.Vnodes[i].Vifaces[j]
			f.Out, f.In = draw("out"), draw("in")
		}
	}
	return m, out
}

func delayOf(c *link.Conditions) time.Duration {
	if c == nil {
		return 0
	}
	return c.Delay
}

// judge finds shortest ways by trying all edges again and again (Bellman and
// Ford), from vnode to vnode.
type judge struct {
	vnodes []topo.Template // of one vnode each, as far as it matters
	to     int             // network
	at     []length        // by template, to the network
}

func add(l length, delays ...time.Duration) length {
	l.hops++
	for _, d := range delays {
		l.delay += min(d, maxMeasured)
	}
	return l
}

func (j *judge) run() {
	j.at = far(nil, len(j.vnodes))
	inside := make([]bool, len(j.vnodes))
	for i, v := range j.vnodes {
		for _, f := range v.Vifaces {
			if f.Network == j.to {
				inside[i] = true
				j.at[i] = add(length{}, delayOf(f.Out))
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for i, v := range j.vnodes {
			for k, w := range j.vnodes {
				if i == k || inside[i] || !w.Gateway || j.at[k] == unreachable {
					continue
				}
				for _, f := range v.Vifaces {
					for _, g := range w.Vifaces {
						if f.Network != g.Network {
							continue
						}
						if d := add(j.at[k], delayOf(f.Out), delayOf(g.In)); d.less(j.at[i]) {
							j.at[i], changed = d, true
						}
					}
				}
			}
		}
	}
}

// In any graph, with any delays, packets go the way of the least delay, and
// among those the one of the fewest hops.
func TestLeastDelay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, in := delayed(t)
		p, err := Make(in, []Pnode{{Name: "p1"}}, Options{})
		if err != nil {
			t.Fatalf("%v", err)
		}
		mustBeSound(t, p)
		w := newDelayWalker(p, in)
		for to := range m.networks {
			j := judge{vnodes: in.Vnodes, to: to}
			j.run()
			found, _ := p.Find(fmt.Sprintf("v%dx2", to))
			target := p.Vnode(found.Vnode)
			for i, v := range in.Vnodes {
				for name := range v.Nodes.All() {
					got := w.walk(t, name, target.Vifaces[0].Address.Addr())
					if want := j.at[i]; got != want && name != target.Name {
						t.Fatalf("from %s to network %d: %v, want %v\n%s", name, to, got, want, programs(p))
					}
				}
			}
		}
		checkNowhere(t, m, p)
	})
}

// delayWalker forwards packets as the kernel would, and adds up delays.
type delayWalker struct {
	walker
	vifaces map[netip.Addr]topo.Viface
}

func newDelayWalker(p *Plan, in *topo.Topology) *delayWalker {
	w := &delayWalker{walker: walker{p: p, owner: map[netip.Addr]int{}}, vifaces: map[netip.Addr]topo.Viface{}}
	for _, v := range in.Vnodes {
		for name := range v.Nodes.All() {
			found, _ := p.Find(name)
			at := p.Vnode(found.Vnode)
			for i, f := range at.Vifaces {
				w.owner[f.Address.Addr()] = at.Vnode
				w.vifaces[f.Address.Addr()] = v.Vifaces[i]
			}
		}
	}
	return w
}

// walk gives the delays and the hops to an address, without what the last
// viface adds.
func (w *delayWalker) walk(t *rapid.T, from string, to netip.Addr) (sum length) {
	found, _ := w.p.Find(from)
	at := w.p.Vnode(found.Vnode)
	for range 100 {
		if w.owner[to] == at.Vnode {
			return sum
		}
		hop, ok := next(&at, to)
		if !ok {
			t.Fatalf("%s has no route to %s\n%s", at.Name, to, programs(w.p))
		}
		for _, f := range at.Vifaces {
			if f.Address.Masked().Contains(hop) {
				sum = add(sum, delayOf(w.vifaces[f.Address.Addr()].Out))
			}
		}
		if hop != to {
			sum.hops--
			sum = add(sum, delayOf(w.vifaces[hop].In))
		}
		at = w.p.Vnode(w.owner[hop])
	}
	t.Fatalf("from %s to %s goes round in circles\n%s", from, to, programs(w.p))
	return sum
}

// Networks that nothing joins have no routes between them, and no others than
// they would have alone.
func TestParts(t *testing.T) {
	story := func(parts ...string) *Plan {
		out := &topo.Topology{Name: "parts", Complete: true, Parts: true}
		for i, part := range parts {
			for j := range 2 {
				out.Networks = append(out.Networks, topo.Network{Name: fmt.Sprintf("%s%d", part, j), MTU: 1500,
					Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, part[0] - 'a', byte(16 * j)}), 28)})
				out.Vnodes = append(out.Vnodes, topo.Template{Nodes: nodeset.Of(fmt.Sprintf("%sh%d", part, j)),
					Vifaces: []topo.Viface{{Name: "eth0", Network: 2*i + j}}})
			}
			out.Vnodes = append(out.Vnodes, topo.Template{Nodes: nodeset.Of(part + "gw"), Gateway: true,
				Vifaces: []topo.Viface{{Name: "eth0", Network: 2 * i}, {Name: "eth1", Network: 2*i + 1}}})
		}
		p, err := Make(out, []Pnode{{Name: "p1"}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		q, err := Decode(p.Encode())
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	both := story("a", "q")
	for _, part := range []string{"a", "q"} {
		alone := story(part)
		for v := range alone.Vnodes(nil) {
			found, _ := both.Find(v.Name)
			got := both.Vnode(found.Vnode).Routes
			for i := range got {
				got[i].Slot = v.Routes[min(i, len(v.Routes)-1)].Slot
			}
			if !slices.Equal(got, v.Routes) {
				t.Errorf("%s has routes %v, want %v", v.Name, got, v.Routes)
			}
		}
	}
}

package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"myriad/nodeset"
	"myriad/topo"
)

// mesh is a connected graph of networks: edges are gateways, of which two may
// join the same networks.
type mesh struct {
	networks int
	edges    [][2]int
	subnets  []netip.Prefix
}

// meshes draws graphs whose subnets lie side by side, so that many can merge.
func meshes() *rapid.Generator[mesh] {
	return rapid.Custom(func(t *rapid.T) mesh {
		m := mesh{networks: rapid.IntRange(2, 12).Draw(t, "networks")}
		for n := 1; n < m.networks; n++ {
			m.edges = append(m.edges, [2]int{rapid.IntRange(0, n-1).Draw(t, "parent"), n})
		}
		for range rapid.IntRange(0, 6).Draw(t, "more") {
			m.edges = append(m.edges, [2]int{rapid.IntRange(0, m.networks-1).Draw(t, "x"), rapid.IntRange(0, m.networks-1).Draw(t, "y")})
		}
		next := 0
		for range m.networks { // in steps of /26
			size := rapid.SampledFrom([]int{1, 1, 2, 4}).Draw(t, "size")
			next = (next + size - 1) / size * size
			m.subnets = append(m.subnets, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(next / 4), byte(next % 4 * 64)}), map[int]int{1: 26, 2: 25, 4: 24}[size]))
			next += size + rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "gap")
		}
		m.subnets = rapid.Permutation(m.subnets).Draw(t, "subnets")
		return m
	})
}

func (m *mesh) topology() *topo.Topology {
	out := &topo.Topology{Name: "mesh", Complete: true}
	for n := range m.networks {
		out.Networks = append(out.Networks, topo.Network{Name: fmt.Sprintf("net%d", n), Subnet: m.subnets[n], MTU: 1500})
		set, err := nodeset.Parse(fmt.Sprintf("v%dx[1-3]", n), nil)
		if err != nil {
			panic(err)
		}
		out.Vnodes = append(out.Vnodes, topo.Template{Nodes: set, Vifaces: []topo.Viface{{Name: "eth0", Network: n}}})
	}
	for i, e := range m.edges {
		if e[0] != e[1] {
			out.Vnodes = append(out.Vnodes, topo.Template{Nodes: nodeset.Of(fmt.Sprintf("gw%d", i)), Gateway: true,
				Vifaces: []topo.Viface{{Name: "eth0", Network: e[0]}, {Name: "eth1", Network: e[1]}}})
		}
	}
	return out
}

// distances gives the number of gateways between a network and all others.
func (m *mesh) distances(from int) []int {
	d := slices.Repeat([]int{1000}, m.networks)
	d[from] = 0
	for range m.networks {
		for _, e := range m.edges {
			d[e[0]], d[e[1]] = min(d[e[0]], d[e[1]]+1), min(d[e[1]], d[e[0]]+1)
		}
	}
	return d
}

// In any graph of networks, packets take shortest paths between all of them,
// and what is for no network goes nowhere; merging changes neither.
func TestShortestPaths(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := meshes().Draw(t, "mesh")
		p, err := Make(m.topology(), []Pnode{{Name: "p1"}}, Options{})
		if err != nil {
			t.Fatalf("%v", err)
		}
		mustBeSound(t, p)
		w := walker{p: p, owner: map[netip.Addr]int{}}
		for v := range p.Vnodes(nil) {
			for _, f := range v.Vifaces {
				w.owner[f.Address.Addr()] = v.Vnode
			}
		}
		for n := range m.networks {
			from, _ := p.Find(fmt.Sprintf("v%dx%d", n, rapid.IntRange(1, 3).Draw(t, "from")))
			d := m.distances(n)
			for to := range m.networks {
				at, _ := p.Find(fmt.Sprintf("v%dx2", to))
				if at == from {
					continue
				}
				steps, ok := w.walk(from.Vnode, p.Vnode(at.Vnode).Vifaces[0].Address.Addr())
				if !ok || steps != d[to]+1 {
					t.Fatalf("from network %d to %d: %v after %d hops, want %d\n%s", n, to, ok, steps, d[to]+1, programs(p))
				}
			}
		}
		checkNowhere(t, m, p)
	})
}

// checkNowhere looks at one address of every /26 that a route could cover.
func checkNowhere(t *rapid.T, m mesh, p *Plan) {
	for v := range p.Vnodes(nil) {
		for i := range 4 * 20 {
			to := netip.AddrFrom4([4]byte{10, 0, byte(i / 4), byte(i%4*64) + 7})
			known := slices.ContainsFunc(m.subnets, func(s netip.Prefix) bool { return s.Contains(to) })
			if _, ok := next(&v, to); ok != known {
				t.Fatalf("%s has a route to %s: %v, want %v\n%s", v.Name, to, ok, known, programs(p))
			}
		}
	}
}

// A platform of many networks costs each vnode a few routes.
func TestMerge(t *testing.T) {
	m := mesh{networks: 257}
	m.subnets = append(m.subnets, netip.MustParsePrefix("192.168.0.0/16"))
	for n := range 256 {
		m.subnets = append(m.subnets, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(n), 0, 0}), 16))
		m.edges = append(m.edges, [2]int{0, n + 1})
	}
	p, err := Make(m.topology(), []Pnode{{Name: "p1"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"v7x1": 2, "gw7": 255, "v0x1": 256} {
		at, _ := p.Find(name)
		if got := len(p.Vnode(at.Vnode).Routes); got != want {
			t.Errorf("%s has %d routes, want %d", name, got, want)
		}
	}
}

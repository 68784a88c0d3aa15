package graphml_test

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"myriad/plan"
	"myriad/topo"
	"myriad/topo/graphml"
)

// zoo gives the files of the Topology Zoo, where there are some: they may not
// be part of this repository.
func zoo(t *testing.T) []string {
	dir := cmp.Or(os.Getenv("MYRIAD_TOPOLOGYZOO"), "../../../shared/data/topologyzoo")
	files, err := filepath.Glob(dir + "/*.graphml")
	if err != nil || len(files) == 0 {
		t.Skip("no networks: download some of topology-zoo.org, and set MYRIAD_TOPOLOGYZOO to their folder")
	}
	return files
}

// TestZoo imports every network of the Topology Zoo that is there, plans it,
// and sends packets between hosts along the planned routes: their delay is the
// least that the edges allow.
func TestZoo(t *testing.T) {
	for _, file := range zoo(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			g, err := graphml.Read(file, src, graphml.Names{})
			if err != nil {
				t.Fatal(err)
			}
			text, s, err := g.Topology(graphml.Options{File: file, Hosts: 1})
			if err != nil {
				t.Fatal(err)
			}
			top, err := topo.Parse(file, text)
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			p, err := plan.Make(top, []plan.Pnode{{Name: "p1"}}, plan.Options{})
			if err != nil {
				t.Fatal(err)
			}
			took := time.Since(begin)
			routes := 0
			for v := range p.Vnodes(nil) {
				routes += len(v.Routes)
			}
			t.Logf("%d nodes, %d edges: %d routers, %d links, %d hosts, %d routes, planned in %v", s.Nodes, s.Edges, s.Routers, s.Links, s.Hosts, routes, took)
			for _, note := range s.Notes {
				t.Log(note)
			}
			if took > 2*time.Second {
				t.Errorf("planning took %v, want 2 s at most", took)
			}
			if s.Unplaced > 0 {
				t.Errorf("%d nodes have no place", s.Unplaced)
			}
			checkWays(t, top, p)
		})
	}
}

// graph is routers, and the delays of the links between them, as the topology
// says.
type graph struct {
	names []string
	links map[int]map[int]time.Duration
}

// checkWays compares the ways of 500 random pairs of hosts with Dijkstra's.
func checkWays(t *testing.T, top *topo.Topology, p *plan.Plan) {
	g, at := graphOf(top), map[string]int{}
	for i, name := range g.names {
		at[name] = i
	}
	w := walker{plan: p, owner: map[netip.Addr]int{}, top: top}
	var hosts []plan.Vnode
	for v := range p.Vnodes(nil) {
		for _, f := range v.Vifaces {
			w.owner[f.Address.Addr()] = v.Placement.Vnode
		}
		if len(v.Vifaces) == 1 && !v.Gateway {
			if _, isRouter := at[v.Name]; !isRouter {
				hosts = append(hosts, v)
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 2))
	longest := 0
	for range 500 {
		a, b := hosts[r.IntN(len(hosts))], hosts[r.IntN(len(hosts))]
		if a.Name == b.Name {
			continue
		}
		// The host of a router is in the vnetwork that has the router's name.
		want := g.from(at[a.Vifaces[0].Network])[at[b.Vifaces[0].Network]]
		got, hops := w.walk(t, a, b)
		longest = max(longest, hops)
		if got != want {
			t.Fatalf("from %s to %s: %v over %d gateways, want %v", a.Name, b.Name, got, hops, want)
		}
	}
	t.Logf("the longest way has %d gateways", longest)
}

// graphOf reads the links of a topology: vnetworks of two routers.
func graphOf(top *topo.Topology) *graph {
	g := &graph{links: map[int]map[int]time.Duration{}}
	ends := make([][]int, len(top.Networks))
	for _, v := range top.Vnodes {
		if !slices.Contains(groupsOf(top, v.Nodes.Min()), "routers") {
			continue
		}
		for _, f := range v.Vifaces {
			ends[f.Network] = append(ends[f.Network], len(g.names))
			if f.Out != nil && f.Out.Delay > 0 {
				ends[f.Network] = append(ends[f.Network], int(f.Out.Delay)<<20) // beside a router
			}
		}
		g.names = append(g.names, v.Nodes.Min())
	}
	for _, e := range ends {
		var routers []int
		delay := time.Duration(0)
		for _, x := range e {
			if x >= 1<<20 {
				delay = time.Duration(x >> 20)
			} else {
				routers = append(routers, x)
			}
		}
		if len(routers) == 2 {
			g.join(routers[0], routers[1], delay)
			g.join(routers[1], routers[0], delay)
		}
	}
	return g
}

func groupsOf(top *topo.Topology, name string) (in []string) {
	for group, set := range top.Groups {
		if set.Contains(name) {
			in = append(in, group)
		}
	}
	return in
}

func (g *graph) join(a, b int, delay time.Duration) {
	if g.links[a] == nil {
		g.links[a] = map[int]time.Duration{}
	}
	if old, ok := g.links[a][b]; !ok || delay < old {
		g.links[a][b] = delay
	}
}

// from gives the least delay to every router, in the simplest of ways.
func (g *graph) from(source int) map[int]time.Duration {
	least, done := map[int]time.Duration{source: 0}, map[int]bool{}
	for {
		best := -1
		for i, d := range least {
			if !done[i] && (best < 0 || d < least[best]) {
				best = i
			}
		}
		if best < 0 {
			return least
		}
		done[best] = true
		for j, delay := range g.links[best] {
			if d, ok := least[j]; !ok || least[best]+delay < d {
				least[j] = least[best] + delay
			}
		}
	}
}

// walker sends packets as kernels would.
type walker struct {
	plan  *plan.Plan
	top   *topo.Topology
	owner map[netip.Addr]int
}

func (w *walker) walk(t *testing.T, from, to plan.Vnode) (delay time.Duration, hops int) {
	target := to.Vifaces[0].Address.Addr()
	for at := from; at.Name != to.Name; hops++ {
		best, hop := -1, netip.Addr{}
		for _, f := range at.Vifaces {
			if n := f.Address.Masked(); n.Contains(target) {
				best, hop = n.Bits(), target
			}
		}
		for _, r := range at.Routes {
			if r.To.Contains(target) && r.To.Bits() > best {
				best, hop = r.To.Bits(), r.Via
			}
		}
		if best < 0 || hops > 64 {
			t.Fatalf("no way from %s to %s beyond %s", from.Name, to.Name, at.Name)
		}
		for _, f := range at.Vifaces {
			if f.Address.Masked().Contains(hop) {
				delay += w.delayOf(f.Network)
			}
		}
		at = w.plan.Vnode(w.owner[hop])
	}
	return delay, hops - 1
}

// delayOf gives the delay of a vnetwork, the same in either direction.
func (w *walker) delayOf(network string) time.Duration {
	for _, v := range w.top.Vnodes {
		for _, f := range v.Vifaces {
			if w.top.Networks[f.Network].Name == network && f.Out != nil {
				return f.Out.Delay
			}
		}
	}
	return 0
}

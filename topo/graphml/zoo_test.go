package graphml_test

import (
	"cmp"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
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

// processorTime is what this process has used, whatever else goes on.
func processorTime(t *testing.T) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
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
			begin := processorTime(t)
			p, err := plan.Make(top, []plan.Pnode{{Name: "p1"}}, plan.Options{})
			if err != nil {
				t.Fatal(err)
			}
			took := processorTime(t) - begin
			routes := 0
			for v := range p.Vnodes(nil) {
				routes += len(v.Routes)
			}
			t.Logf("%d nodes, %d edges: %d routers, %d links, %d hosts, %d routes, planned in %v of a processor", s.Nodes, s.Edges, s.Routers, s.Links, s.Hosts, routes, took)
			for _, note := range s.Notes {
				t.Log(note)
			}
			if took > 2*time.Second {
				t.Errorf("planning took %v of a processor, want 2 s at most", took)
			}
			if s.Unplaced > 0 {
				t.Errorf("%d nodes have no place", s.Unplaced)
			}
			checkWays(t, top, p)
		})
	}
}

// checkWays compares the ways of 500 random pairs of hosts with Dijkstra's.
func checkWays(t *testing.T, top *topo.Topology, p *plan.Plan) {
	links := linksOf(top)
	w := walker{plan: p, owner: map[netip.Addr]int{}, delays: delaysOf(top)}
	var hosts []plan.Vnode
	for v := range p.Vnodes(nil) {
		for _, f := range v.Vifaces {
			w.owner[f.Address.Addr()] = v.Placement.Vnode
		}
		if top.Groups["hosts"].Contains(v.Name) {
			hosts = append(hosts, v)
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
		want := links.from(a.Vifaces[0].Network)[b.Vifaces[0].Network]
		got, hops := w.walk(t, a, b)
		longest = max(longest, hops)
		if got != want {
			t.Fatalf("from %s to %s: %v over %d gateways, want %v", a.Name, b.Name, got, hops, want)
		}
	}
	t.Logf("the longest of 500 ways has %d gateways", longest)
}

// delaysOf gives the delay of each vnetwork, which is the same both ways.
func delaysOf(top *topo.Topology) map[string]time.Duration {
	delays := map[string]time.Duration{}
	for _, v := range top.Vnodes {
		for _, f := range v.Vifaces {
			if f.Out != nil {
				delays[top.Networks[f.Network].Name] = f.Out.Delay
			}
		}
	}
	return delays
}

// links are the delays between routers.
type links map[string]map[string]time.Duration

// linksOf finds the vnetworks of two routers.
func linksOf(top *topo.Topology) links {
	ends := map[int][]string{}
	for _, v := range top.Vnodes {
		if name := v.Nodes.Min(); top.Groups["routers"].Contains(name) {
			for _, f := range v.Vifaces {
				ends[f.Network] = append(ends[f.Network], name)
			}
		}
	}
	delays, out := delaysOf(top), links{}
	for network, names := range ends {
		if len(names) == 2 {
			out.join(names[0], names[1], delays[top.Networks[network].Name])
			out.join(names[1], names[0], delays[top.Networks[network].Name])
		}
	}
	return out
}

func (l links) join(a, b string, delay time.Duration) {
	if l[a] == nil {
		l[a] = map[string]time.Duration{}
	}
	if old, ok := l[a][b]; !ok || delay < old {
		l[a][b] = delay
	}
}

// from gives the least delay to every router, in the simplest of ways: as
// long as a link makes any way shorter, take it.
func (l links) from(source string) map[string]time.Duration {
	least := map[string]time.Duration{source: 0}
	for todo := []string{source}; len(todo) > 0; todo = todo[1:] {
		for next, delay := range l[todo[0]] {
			if d, ok := least[next]; !ok || least[todo[0]]+delay < d {
				least[next] = least[todo[0]] + delay
				todo = append(todo, next)
			}
		}
	}
	return least
}

// walker sends packets as kernels would.
type walker struct {
	plan   *plan.Plan
	owner  map[netip.Addr]int
	delays map[string]time.Duration
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
		if best < 0 || hops > 255 {
			t.Fatalf("no way from %s to %s beyond %s", from.Name, to.Name, at.Name)
		}
		for _, f := range at.Vifaces {
			if f.Address.Masked().Contains(hop) {
				delay += w.delays[f.Network]
			}
		}
		at = w.plan.Vnode(w.owner[hop])
	}
	return delay, hops - 1
}

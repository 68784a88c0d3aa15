package plan

import (
	"fmt"
	"testing"
	"time"

	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// clusters is a flat topology of n vnodes in some clusters, with a delay
// between each two of them and some pairs with their own conditions.
func clusters(n, clusters, exceptions int) *topo.Topology {
	t := flat(n)
	profile := &link.Conditions{Delay: 2 * time.Millisecond, Rate: 100_000_000}
	t.Vnodes[0].Vifaces[0].Out, t.Vnodes[0].Vifaces[0].In = profile, profile
	m := matrixOf(clusters, n/clusters)
	t.Links = append(t.Links, topo.LinkRule{Matrix: m})
	for i := range exceptions {
		t.Links = append(t.Links, topo.LinkRule{
			From: nodeset.Of(fmt.Sprintf("peer%d", i*7919%n+1)), To: nodeset.Of(fmt.Sprintf("peer%d", i*104729%n+1)),
			Conditions: &link.Conditions{Delay: time.Duration(i) * time.Microsecond, Loss: float64(i%10) / 1000},
		})
	}
	return t
}

// matrixOf has a delay between each two of some groups of size vnodes.
func matrixOf(groups, size int) *topo.Matrix {
	m := &topo.Matrix{Delay: make([]time.Duration, groups*groups)}
	for i := range groups {
		m.Sets = append(m.Sets, mustParse(fmt.Sprintf("peer[%d-%d]", i*size+1, (i+1)*size)))
		for j := range groups {
			m.Delay[i*groups+j] = time.Duration(1000+(i*31+j*17)%90_000) * time.Microsecond
		}
	}
	return m
}

func mustPlan(tb testing.TB, t *topo.Topology) *Plan {
	p, err := Make(t, []Pnode{{Name: "p1"}}, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// remake makes the tables of a plan again.
func remake(tb testing.TB, p *Plan, t *topo.Topology) *program.Links {
	m := &maker{Plan: Plan{platform: p.platform, networks: p.networks, kinds: p.kinds, nodes: p.nodes, names: p.names, kind: p.kind, host: p.host},
		topo: t, template: make([]uint32, p.Len())}
	m.viface, m.members = p.viface, p.members
	m.makeLinks()
	if len(m.problems) > 0 {
		tb.Fatal(m.problems)
	}
	return m.links
}

func BenchmarkLinks(b *testing.B) {
	uniform := flat(1_000_000)
	uniform.Vnodes[0].Vifaces[0].Out = &link.Conditions{Delay: 20 * time.Millisecond, Rate: 10_000_000}
	for name, t := range map[string]*topo.Topology{
		"clusters=40x1000,exceptions=5000": clusters(40_000, 40, 5000),
		"clusters=400x100,exceptions=5000": clusters(40_000, 400, 5000),
		"matrix=490":                       clusters(490, 490, 0),
		"matrix=2700":                      clusters(2700, 2700, 0),
		"uniform=1000000":                  uniform,
	} {
		b.Run(name, func(b *testing.B) {
			p := mustPlan(b, t)
			b.ReportAllocs()
			for b.Loop() {
				l := remake(b, p, t)
				b.ReportMetric(float64(l.Classes), "classes")
				b.ReportMetric(float64(len(l.Pairs)), "pairs")
				b.ReportMetric(float64(len(program.EncodeLinks(l))), "encoded-B")
			}
		})
	}
}

func BenchmarkChange(b *testing.B) {
	delay := link.PatchOf(link.Conditions{Delay: 30 * time.Millisecond}, "delay")
	large := clusters(40_000, 400, 5000)
	all := mustParse("peer[1-40000]")
	for _, test := range []struct {
		name    string
		topo    *topo.Topology
		changes []topo.Change
	}{
		{"sides/all=40000", large, []topo.Change{{Side: topo.SideOut | topo.SideIn, Nodes: all, Patch: delay}}},
		{"sides/some=40000", large, []topo.Change{{Side: topo.SideOut, Nodes: mustParse("peer[1-39999/2]"), Patch: delay}}},
		{"sides/one", large, []topo.Change{{Side: topo.SideOut, Nodes: mustParse("peer7"), Patch: delay}}},
		{"pair/one", large, []topo.Change{{Side: topo.SidePair, Nodes: mustParse("peer7"), To: mustParse("peer8"), Patch: delay}}},
		{"pairs/clusters", large, []topo.Change{{Side: topo.SidePair, Nodes: mustParse("peer[1-10000]"), To: mustParse("peer[20001-30000]"), Patch: delay}}},
		{"pairs/reset", large, []topo.Change{{Side: topo.SidePair, Nodes: all, To: all, Reset: true}}},
		{"matrix=99x400", large, []topo.Change{{Matrix: matrixOf(99, 400)}}},
		{"matrix=2700", clusters(2700, 2700, 0), []topo.Change{{Matrix: matrixOf(2700, 1)}}},
		{"sides/matrix=2700", clusters(2700, 2700, 0), []topo.Change{{Side: topo.SideOut, Nodes: mustParse("peer[1-2700]"), Patch: delay}}},
		{"batch=1000", large, batch(1000)},
	} {
		b.Run(test.name, func(b *testing.B) {
			p := mustPlan(b, test.topo)
			b.ReportAllocs()
			for b.Loop() {
				if _, _, _, err := p.Change(p.Links(), test.changes); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// batch is n small changes of sides and pairs.
func batch(n int) (changes []topo.Change) {
	for i := range n {
		c := topo.Change{Side: topo.SideOut, Nodes: nodeset.Of(fmt.Sprintf("peer%d", i+1)), Patch: link.PatchOf(link.Conditions{Loss: float64(i%50) / 1000}, "loss")}
		if i%2 == 0 {
			c.Side, c.To = topo.SidePair, mustParse(fmt.Sprintf("peer[%d-%d]", 2*i+100, 2*i+110))
		}
		changes = append(changes, c)
	}
	return changes
}

// BenchmarkUniform plans a million vnodes of one profile, and says what that
// takes.
func BenchmarkUniform(b *testing.B) {
	t := flat(*benchVnodes)
	t.Vnodes[0].Vifaces[0].Out = &link.Conditions{Delay: 20 * time.Millisecond, Rate: 10_000_000}
	p := mustPlan(b, t)
	b.Run("forecast", func(b *testing.B) {
		for b.Loop() {
			p.Forecast()
		}
	})
	b.Run("change", func(b *testing.B) {
		changes := []topo.Change{{Side: topo.SideOut, Nodes: p.Nodes(), Patch: link.PatchOf(link.Conditions{Delay: time.Second}, "delay")}}
		for b.Loop() {
			if _, _, _, err := p.Change(p.Links(), changes); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			b.ReportMetric(float64(len(p.Encode())), "B")
		}
	})
}

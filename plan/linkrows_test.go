package plan

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// Rows have every viface, and every pair, with what goes for it.
func TestLinkRows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		defer coarse(t)()
		w := worlds().Draw(t, "world")
		p, err := Make(w.topo, []Pnode{{Name: "p1"}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		l := p.Links()
		nodes, to := drawSet(t, w.model.names), drawSet(t, w.model.names)
		checkSides(t, p, l, w.model, nodes)
		count := map[string]int{}
		for a := range nodes.All() {
			for b := range to.All() {
				if way, ok := p.Way(l, a, b); ok {
					row := rowFor(p.LinkRows(l, nodes, to), a, b, way.Network)
					if row == nil || row.Asked != way.Pair {
						t.Fatalf("from %s to %s it is %s, rows say %+v\n%s", a, b, way.Pair, row, textOf(p, l))
					}
				}
				for _, network := range w.model.in[a] {
					for _, other := range w.model.in[b] {
						if a != b && network == other {
							count[network]++
						}
					}
				}
			}
		}
		for _, r := range p.LinkRows(l, nodes, to) {
			count[r.Network] -= r.Count
			if r.Count <= 0 {
				t.Fatalf("a row of nothing: %+v", r)
			}
		}
		for network, n := range count {
			if n != 0 {
				t.Fatalf("%d pairs of %s are too few or too many\n%s", n, network, textOf(p, l))
			}
		}
	})
}

func checkSides(t *rapid.T, p *Plan, l *program.Links, model *naive, nodes *nodeset.Set) {
	total := 0
	for _, r := range p.LinkRows(l, nodes, nil) {
		total += r.Count
		if r.To != nil || r.Nodes.Len() != r.Count {
			t.Fatalf("%d vifaces of %s: %+v", r.Count, r.Nodes, r)
		}
		for name := range r.Nodes.All() {
			side := 0
			if r.Side == topo.SideIn {
				side = 1
			}
			model.same(t, p, l, name, r.Asked, model.sides[side][[2]string{name, r.Network}])
		}
	}
	for name := range nodes.All() {
		total -= 2 * len(model.in[name])
	}
	if total != 0 {
		t.Fatalf("%d sides of vifaces are too few or too many", total)
	}
}

// rowFor gives the row that holds for a pair.
func rowFor(rows []LinkRow, a, b, network string) (found *LinkRow) {
	for i := range rows {
		r := &rows[i]
		if r.Network == network && r.Nodes.Contains(a) && r.To.Contains(b) && (found == nil || r.Exception) {
			found = r
		}
	}
	return found
}

func TestLinkRowsText(t *testing.T) {
	to := flat(20)
	to.Vnodes[0].Vifaces[0].Out = &link.Conditions{Rate: 1_000_000}
	to.Links = []topo.LinkRule{{Matrix: &topo.Matrix{Sets: []*nodeset.Set{mustParse("peer[1-10]"), mustParse("peer[11-15]")},
		Delay: []time.Duration{time.Millisecond, 20 * time.Millisecond, -1, time.Millisecond}}},
		{From: mustParse("peer[2-3]"), To: mustParse("peer[12-13]"), Conditions: &link.Conditions{Delay: 5 * time.Millisecond, Loss: 0.01}}}
	p := mustPlan(t, to)
	var got string
	for _, set := range []*nodeset.Set{nil, p.Nodes()} {
		for _, r := range p.LinkRows(p.Links(), nil, set) {
			got += fmt.Sprintln(r.Network, r.Side, r.Nodes, r.To, Asked(p.Links(), r.Asked), r.Count, r.Exception)
		}
	}
	const want = `lan 1 peer[1-20]  rate=1mbit 20 false
lan 2 peer[1-20]  none 20 false
lan 4 peer[1-10] peer[1-10] delay=1ms 90 false
lan 4 peer[1-10] peer[11-15] delay=20ms 46 false
lan 4 peer[1-10] peer[16-20] none 50 false
lan 4 peer[2-3] peer[12-13] delay=5ms loss=1% 4 true
lan 4 peer[11-15] peer[1-10,16-20] none 75 false
lan 4 peer[11-15] peer[11-15] delay=1ms 20 false
lan 4 peer[16-20] peer[1-20] none 95 false
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func BenchmarkLinkRows(b *testing.B) {
	for name, t := range map[string]*topo.Topology{"clusters=400x100": clusters(40_000, 400, 5000), "matrix=2700": clusters(2700, 2700, 0)} {
		p := mustPlan(b, t)
		for which, to := range map[string]*nodeset.Set{"vifaces": nil, "pairs": p.Nodes()} {
			b.Run(name+"/"+which, func(b *testing.B) {
				for b.Loop() {
					b.ReportMetric(float64(len(p.LinkRows(p.Links(), nil, to))), "rows")
				}
			})
		}
	}
}

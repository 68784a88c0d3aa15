package graphml

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"myriad/link"
)

// How the place of a node came to be known.
type source uint8

const (
	unplaced     source = iota
	given               // by coordinates, or by the user
	known               // by its name
	fitted              // by where it is drawn
	interpolated        // between its neighbours
)

// placer finds out where nodes are.
type placer struct {
	*Graph
	at     []link.Position
	source []source
	near   [][]int // by node: its neighbours
	maybe  [][]city
	fit    fit
}

// place finds the places of all nodes that it can.
func (g *Graph) place(o *Options) *placer {
	p := &placer{Graph: g, at: make([]link.Position, len(g.Nodes)), source: make([]source, len(g.Nodes)),
		near: make([][]int, len(g.Nodes)), maybe: make([][]city, len(g.Nodes))}
	for _, e := range g.Edges {
		if e.From != e.To {
			p.near[e.From] = append(p.near[e.From], e.To)
			p.near[e.To] = append(p.near[e.To], e.From)
		}
	}
	p.takeGiven(o.Places)
	if !o.NoGuess {
		p.guess()
		p.fit = p.fitDrawing()
	}
	if o.DefaultDelay == 0 {
		p.interpolate()
	}
	return p
}

func (p *placer) set(node int, at link.Position, s source) { p.at[node], p.source[node] = at, s }

// takeGiven takes coordinates of the file, and places of the user, who knows
// better.
func (p *placer) takeGiven(places []Place) {
	byName := map[string]link.Position{}
	for _, place := range places {
		byName[place.Name], byName[strings.ToLower(place.Name)] = place.At, place.At
	}
	for i, n := range p.Nodes {
		if n.Located {
			p.set(i, n.At, given)
		}
		for _, name := range append([]string{n.ID, n.Label}, n.Hints...) {
			if at, ok := byName[name]; ok {
				p.set(i, at, given)
			} else if at, ok := byName[strings.ToLower(name)]; ok {
				p.set(i, at, given)
			}
		}
	}
}

// guess takes nodes for the cities that they are called after. Of several,
// the one nearest to the neighbours is meant.
func (p *placer) guess() {
	g := cities()
	where := p.areas(g)
	for i, n := range p.Nodes {
		if p.source[i] != unplaced || n.Joint && n.Label == "" {
			continue
		}
		var areas []string
		for _, a := range n.Areas {
			areas = append(areas, plainName(a))
		}
		names := append(append([]string{}, n.Hints...), n.Label)
		for _, a := range n.Areas {
			if n.Label != "" && len(n.Hints) == 0 && len(n.Label) <= 3 { // NO, of the country Norway
				names = append(names, a)
			}
		}
		for _, name := range names {
			if p.maybe[i] = prefer(g.find(p.bare(name), areas), where); len(p.maybe[i]) > 0 {
				break
			}
		}
		if len(p.maybe[i]) == 1 {
			p.set(i, p.maybe[i][0].at, known)
		}
	}
	centre, any := p.middle(p.placed())
	for i, all := range p.maybe {
		if len(all) < 2 {
			continue
		}
		at, ok := p.middle(p.near[i])
		if !ok {
			at, ok = centre, any
		}
		best := all[0]
		for _, c := range all[1:] {
			if ok && link.Distance(c.at, at) < link.Distance(best.at, at) {
				best = c
			}
		}
		p.set(i, best.at, known)
	}
}

// bare takes words off a label that are not of the city: that it is a POP, and
// the name of the network.
func (p *placer) bare(label string) string {
	words := strings.Fields(label)
	kept := words[:0:0]
	for _, w := range words {
		switch plain := plainName(w); {
		case plain == "pop", plain == "router", plain == "hub", plain == "core", plain == "node":
		case plain != "" && plain == plainName(p.Name):
		default:
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}

// areas gives the areas that the graph says it covers.
func (p *placer) areas(g *gazetteer) (where []string) {
	for part := range strings.SplitSeq(p.Where, ",") {
		if a := plainName(part); g.areas[a] {
			where = append(where, a)
		}
	}
	return where
}

// prefer keeps the cities of some areas, or all if none is there.
func prefer(all []city, areas []string) []city {
	for _, a := range areas {
		if kept := within(all, a); len(kept) > 0 {
			return kept
		}
	}
	return all
}

// placed lists the nodes whose place is known.
func (p *placer) placed() (nodes []int) {
	for i, s := range p.source {
		if s != unplaced {
			nodes = append(nodes, i)
		}
	}
	return nodes
}

// middle is the barycentre of those of some nodes whose places are known.
func (p *placer) middle(nodes []int) (link.Position, bool) {
	var x, y, z float64
	n := 0
	for _, i := range nodes {
		if p.source[i] == unplaced {
			continue
		}
		n++
		lat, lon := p.at[i].Latitude*math.Pi/180, p.at[i].Longitude*math.Pi/180
		x += math.Cos(lat) * math.Cos(lon)
		y += math.Cos(lat) * math.Sin(lon)
		z += math.Sin(lat)
	}
	if n == 0 || x*x+y*y+z*z < 1e-9 {
		return link.Position{}, false
	}
	return rounded(math.Atan2(z, math.Hypot(x, y))*180/math.Pi, math.Atan2(y, x)*180/math.Pi), true
}

// rounded keeps what an estimate is worth, so that it is the same on machines
// whose arithmetic differs in the last bits.
func rounded(latitude, longitude float64) link.Position {
	for longitude > 180 {
		longitude -= 360
	}
	for longitude < -180 {
		longitude += 360
	}
	round := func(v float64) float64 { return math.Round(v*1000) / 1000 }
	return link.Position{Latitude: round(max(-90, min(90, latitude))), Longitude: round(longitude)}
}

// sweeps is how often interpolated nodes move to the middle of their
// neighbours; that lets a chain of them spread out.
const sweeps = 100

// interpolate puts nodes into the middle of their neighbours, those next to
// known places first.
func (p *placer) interpolate() {
	var moved []int
	for last := p.placed(); len(last) > 0; {
		var next []int
		for _, i := range last {
			for _, j := range p.near[i] {
				if p.source[j] == unplaced {
					next = append(next, j)
				}
			}
		}
		slices.Sort(next)
		next = slices.Compact(next)
		at := make([]link.Position, len(next))
		for k, i := range next {
			at[k], _ = p.middle(p.near[i])
		}
		for k, i := range next {
			p.set(i, at[k], interpolated)
		}
		moved = append(moved, next...)
		last = next
	}
	if len(moved) > 2000 {
		return // a file that knows so little is not worth the time
	}
	for range sweeps {
		for _, i := range moved {
			if at, ok := p.middle(p.near[i]); ok {
				p.at[i] = at
			}
		}
	}
}

// count fills in the summary.
func (p *placer) count(s *Summary, nodes []int) {
	for _, i := range nodes {
		switch p.source[i] {
		case given:
			s.Given++
		case known:
			s.Known++
		case fitted:
			s.Fitted++
		case interpolated:
			s.Interpolated++
		default:
			s.Unplaced++
		}
	}
}

func (s *Summary) note(format string, args ...any) {
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

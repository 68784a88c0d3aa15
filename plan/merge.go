package plan

import (
	"net/netip"
	"slices"
)

// forest is what the destinations of complete routes can be merged into:
// prefixes that some of them fill exactly. It is the same for every kind.
type forest struct {
	nodes []prefixNode // halves before their wholes
	roots []int32      // those that are no halves, by address

	// For one kind at a time:
	ways   []way // storage of choices
	choice []span
}

// prefixNode is a destination, or the whole of two nodes that are its halves.
type prefixNode struct {
	to          netip.Prefix
	destination int32 // -1: it is a whole
	low, high   int32
}

// span is the ways that the route to a node may lead, if it is to have the
// fewest routes below: a part of forest.ways, sorted.
type span struct {
	from, to int32
	sort     spanSort
}

type spanSort uint8

const (
	spanNone  spanSort = iota // some destination below is out of reach: no route may cover it
	spanAny                   // all destinations below are on-link
	spanAgree                 // one route takes the place of several
	spanApart                 // it does not, unless a route further up leads one of these ways
)

// newForest takes destinations that are disjoint and sorted.
func newForest(destinations []netip.Prefix) *forest {
	f := &forest{}
	for i, to := range destinations {
		f.nodes = append(f.nodes, prefixNode{to: to, destination: int32(i)})
		f.roots = append(f.roots, int32(len(f.nodes)-1))
		for n := len(f.roots); n >= 2; n-- {
			low, high := f.roots[n-2], f.roots[n-1]
			whole, ok := halves(f.nodes[low].to, f.nodes[high].to)
			if !ok {
				break
			}
			f.nodes = append(f.nodes, prefixNode{to: whole, destination: -1, low: low, high: high})
			f.roots = append(f.roots[:n-2], int32(len(f.nodes)-1))
		}
	}
	return f
}

// halves gives the prefix that two make, if they are halves of one.
func halves(a, b netip.Prefix) (netip.Prefix, bool) {
	if a.Bits() != b.Bits() || a.Bits() == 0 || a == b {
		return netip.Prefix{}, false
	}
	whole := netip.PrefixFrom(a.Addr(), a.Bits()-1).Masked()
	return whole, whole.Contains(b.Addr())
}

// merged is a destination of several networks, or of one.
type merged struct {
	to  netip.Prefix
	way way
}

// merge gives the fewest routes, by destination, that send what is for each
// destination its way and cover no address beside them, where of two routes
// the longer one decides (Draves, King, Venkatachary, Zill: Constructing
// Optimal IP Routing Tables, INFOCOM 1999). Destinations that are on-link
// need no route and go with any: they are more specific than what covers them.
func (f *forest) merge(ways []way) []merged {
	f.ways = f.ways[:0]
	f.choice = slices.Grow(f.choice[:0], len(f.nodes))[:len(f.nodes)]
	for i := range f.nodes {
		f.choice[i] = f.choices(&f.nodes[i], ways)
	}
	var out []merged
	for _, root := range f.roots {
		out = f.appendMerged(out, root, noWay)
	}
	return slices.Clip(out)
}

// choices gives the span of a node: the ways that both halves may have, or
// else those of either.
func (f *forest) choices(n *prefixNode, ways []way) span {
	from := int32(len(f.ways))
	if n.destination >= 0 {
		switch w := ways[n.destination]; w {
		case noWay:
			return span{}
		case onLink:
			return span{sort: spanAny}
		default:
			f.ways = append(f.ways, w)
			return span{from, from + 1, spanAgree}
		}
	}
	low, high := f.choice[n.low], f.choice[n.high]
	switch {
	case low.sort == spanNone || high.sort == spanNone:
		return span{}
	case low.sort == spanAny:
		return high
	case high.sort == spanAny:
		return low
	}
	a, b := f.ways[low.from:low.to], f.ways[high.from:high.to]
	if f.intersect(a, b); len(f.ways) > int(from) {
		return span{from, int32(len(f.ways)), spanAgree}
	}
	f.unite(a, b)
	return span{from, int32(len(f.ways)), spanApart}
}

// intersect appends to ways what both of two sorted lists have.
func (f *forest) intersect(a, b []way) {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] < b[0]:
			a = a[1:]
		case a[0] > b[0]:
			b = b[1:]
		default:
			f.ways = append(f.ways, a[0])
			a, b = a[1:], b[1:]
		}
	}
}

// unite appends to ways two sorted lists that have nothing in common.
func (f *forest) unite(a, b []way) {
	for len(a) > 0 && len(b) > 0 {
		if a[0] < b[0] {
			f.ways = append(f.ways, a[0])
			a = a[1:]
		} else {
			f.ways = append(f.ways, b[0])
			b = b[1:]
		}
	}
	f.ways = append(append(f.ways, a...), b...)
}

// appendMerged appends the routes of a node and of what is below. inherited
// is the way of the nearest route that covers it, noWay if none does.
func (f *forest) appendMerged(out []merged, node int32, inherited way) []merged {
	n, c := &f.nodes[node], f.choice[node]
	switch c.sort {
	case spanAny:
		return out
	case spanAgree, spanApart:
		may := f.ways[c.from:c.to]
		_, fits := slices.BinarySearch(may, inherited)
		if !fits && (inherited != noWay || c.sort == spanAgree) {
			inherited = may[0]
			out = append(out, merged{n.to, inherited})
		}
	}
	if n.destination >= 0 {
		return out
	}
	return f.appendMerged(f.appendMerged(out, n.low, inherited), n.high, inherited)
}

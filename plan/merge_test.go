package plan

import (
	"net/netip"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// Merged routes lead every destination its way, cover nothing else, and are
// as few as can be.
func TestMergeFewest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var to []netip.Prefix
		var ways []way
		at := map[netip.Addr]way{} // an address of each destination and gap
		for next := 0; next < 64; {
			size := rapid.SampledFrom([]int{1, 1, 2, 4}).Draw(t, "size")
			if next = (next + size - 1) / size * size; next+size > 64 {
				break
			}
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(4 * next)}), map[int]int{1: 30, 2: 29, 4: 28}[size])
			w := rapid.SampledFrom([]way{1, 1, 2, 3, setWay + 1, onLink, noWay}).Draw(t, "way")
			for i := range size {
				at[netip.AddrFrom4([4]byte{10, 0, 0, byte(4*(next+i) + 1)})] = w
			}
			next += size
			if rapid.IntRange(0, 15).Draw(t, "gap") == 0 {
				continue
			}
			to, ways = append(to, p), append(ways, w)
		}
		f := newForest(to)
		got := f.merge(ways)
		for a, want := range at {
			gap := !slices.ContainsFunc(to, func(p netip.Prefix) bool { return p.Contains(a) })
			best := merged{way: noWay}
			for _, m := range got {
				if m.to.Contains(a) && (best.way == noWay || m.to.Bits() > best.to.Bits()) {
					best = m
				}
			}
			if gap {
				want = noWay
			}
			if best.way != want && want != onLink {
				t.Fatalf("%s goes %d, want %d\n%v", a, best.way, want, got)
			}
		}
		if !slices.IsSortedFunc(got, func(a, b merged) int { return a.to.Compare(b.to) }) {
			t.Fatalf("not sorted: %v", got)
		}
		want := 0
		for _, root := range f.roots {
			want += fewest(f, ways, root, noWay)
		}
		if len(got) != want {
			t.Fatalf("%d routes, want %d\n%v", len(got), want, got)
		}
	})
}

// fewest tries every way for every node.
func fewest(f *forest, ways []way, node int32, inherited way) int {
	n := f.nodes[node]
	if n.destination >= 0 {
		switch w := ways[n.destination]; w {
		case inherited, onLink:
			return 0
		case noWay:
			return 1000 // a route covers it
		}
		return 1
	}
	best := fewest(f, ways, n.low, inherited) + fewest(f, ways, n.high, inherited)
	for _, w := range []way{1, 2, 3, setWay + 1} {
		if w != inherited {
			best = min(best, 1+fewestBelow(f, ways, n, w))
		}
	}
	return best
}

func fewestBelow(f *forest, ways []way, n prefixNode, w way) int {
	return fewest(f, ways, n.low, w) + fewest(f, ways, n.high, w)
}

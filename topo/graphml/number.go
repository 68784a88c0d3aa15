package graphml

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"slices"
)

// number gives vnetworks their subnets: first those of hosts, then those of
// links, both in an order in which near routers are near each other, so that
// what is far away is one route, or few.
func (n *network) number() {
	pool := n.o.Pool
	if !pool.IsValid() {
		pool = netip.MustParsePrefix("10.0.0.0/8")
	}
	if !pool.Addr().Is4() || pool != pool.Masked() || pool.Bits() < 8 || pool.Bits() > 30 {
		n.report(place{}, "pool", "give one such as 10.0.0.0/8", "%s is not an IPv4 subnet from /8 to /30", pool)
		return
	}
	if n.count() > maxVnetworks {
		n.report(place{}, "", "import a part of it, or no hosts", "%d vnetworks are more than the %d of a platform", n.count(), maxVnetworks)
		return
	}
	a := allocator{at: uint64(binary.BigEndian.Uint32(pool.Addr().AsSlice()))}
	end := a.at + 1<<(32-pool.Bits())
	order := n.order()
	for _, i := range order {
		if r := &n.routers[i]; r.hosts > 0 {
			r.lan = a.take(max(2, bits.Len(uint(r.hosts+2)))) // hosts, the router, and the two addresses that are nobody's
		}
	}
	rank := make([]int, len(order))
	for at, i := range order {
		rank[i] = at
	}
	byRank := make([]int, len(n.links))
	for i := range byRank {
		byRank[i] = i
	}
	slices.SortStableFunc(byRank, func(i, j int) int {
		x, y := &n.links[i], &n.links[j]
		if c := min(rank[x.a], rank[x.b]) - min(rank[y.a], rank[y.b]); c != 0 {
			return c
		}
		return max(rank[x.a], rank[x.b]) - max(rank[y.a], rank[y.b])
	})
	for _, i := range byRank {
		n.links[i].subnet = a.take(2)
	}
	if a.at > end {
		n.report(place{}, "pool", "use a larger one, such as 10.0.0.0/8", "%s has room for %d addresses, and %d are needed", pool, uint64(1)<<(32-pool.Bits()), a.at-(end-1<<(32-pool.Bits())))
	}
}

// count is how many vnetworks there will be.
func (n *network) count() int {
	count := len(n.links)
	for _, r := range n.routers {
		if r.hosts > 0 {
			count++
		}
	}
	return count
}

// allocator gives out subnets one after the other.
type allocator struct{ at uint64 }

// take gives the next subnet of 2^size addresses.
func (a *allocator) take(size int) string {
	a.at = (a.at + 1<<size - 1) >> size << size
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], uint32(a.at))
	a.at += 1 << size
	return netip.PrefixFrom(netip.AddrFrom4(b), 32-size).String()
}

// order puts routers in an order of which every half, quarter and so on is
// as close together as breadth-first search makes it.
func (n *network) order() []int {
	near := make([][]int, len(n.routers))
	for i, r := range n.routers {
		for _, l := range r.links {
			near[i] = append(near[i], n.links[l].a+n.links[l].b-i)
		}
	}
	h := halver{near: near, in: make([]int, len(n.routers))}
	all := make([]int, len(n.routers))
	for i := range all {
		all[i] = i
	}
	h.halve(all)
	return all
}

type halver struct {
	near [][]int
	in   []int // by router: the number of the set it is in now
	sets int
}

// halve sorts a set in place.
func (h *halver) halve(set []int) {
	if len(set) < 3 {
		return
	}
	h.sweep(set)
	// What is farthest from anywhere is at an end; from there, the first half
	// is one side.
	slices.Reverse(set)
	h.sweep(set)
	h.halve(set[:len(set)/2])
	h.halve(set[len(set)/2:])
}

// sweep sorts a set breadth first from its first element. Parts that cannot be
// reached within it follow, likewise.
func (h *halver) sweep(set []int) {
	h.sets++
	todo, done := h.sets, -h.sets
	for _, i := range set {
		h.in[i] = todo
	}
	out := make([]int, 0, len(set))
	for _, first := range set {
		if h.in[first] != todo {
			continue
		}
		h.in[first] = done
		out = append(out, first)
		for at := len(out) - 1; at < len(out); at++ {
			for _, j := range h.near[out[at]] {
				if h.in[j] == todo {
					h.in[j] = done
					out = append(out, j)
				}
			}
		}
	}
	copy(set, out)
}

package plan

import (
	"cmp"
	"encoding/binary"
	"math/bits"
	"slices"

	"myriad/program"
)

// maxNear is how many groups are lined up at most: that takes time in
// proportion to its square, 0.3 s.
const maxNear = program.MaxClasses

// lineUp orders vnodes so that those that are near each other follow each
// other: a run of the line is then what one pnode gets. Groups, each of vnodes
// that differ in no link, are visited as a minimum spanning tree grows: next is
// always whoever is nearest to any that was visited (Prim), which visits all
// of a cluster before it leaves it. Near is what has the shortest delay, there and back;
// of equal delays, the higher rate. Without links, or with too many groups,
// there is no line.
func (z *placer) lineUp() {
	s := newShaper(&z.Plan, nil)
	s.whole = true
	for i := range z.topo.Links {
		if r := &z.topo.Links[i]; len(r.Sites) == 0 && s.linkRule(r) != nil {
			return // makeLinks says what is wrong
		}
	}
	if !s.opened {
		return
	}
	groups, of := z.groups(s)
	if len(groups) < 2 || len(groups) > maxNear {
		return
	}
	order, step := z.visit(s, groups)
	rank := make([]int, len(groups))
	for k, g := range order {
		rank[g] = k
	}
	from := make([]int, len(groups)+1) // by rank: its first place in line
	for _, g := range of {
		from[rank[g]+1]++
	}
	for k := range groups {
		from[k+1] += from[k]
	}
	z.line, z.gap = make([]uint32, len(of)), make([]uint64, len(of))
	for k := range groups {
		if from[k] < len(of) {
			z.gap[from[k]] = step[k]
		}
	}
	for i, g := range of {
		z.line[from[rank[g]]] = uint32(i)
		from[rank[g]]++
	}
}

// nearGroup is vnodes of which all pairs with others are alike: what one of
// them is like.
type nearGroup struct {
	networks []int // sorted as in its kind
	classes  []int // of its vifaces
}

// groups finds the groups, and gives that of each vnode.
func (z *placer) groups(s *shaper) (groups []nearGroup, of []int) {
	of = make([]int, len(z.at))
	seen := map[string]int{}
	last, lastKey := -1, []byte(nil)
	var key []byte
	for i := range of {
		vifaces := z.kinds[z.kind[i]].vifaces
		key = key[:0]
		for j, f := range vifaces {
			key = binary.AppendUvarint(binary.AppendUvarint(key, uint64(f.network)), uint64(s.classOf(z.viface[i]+uint32(j))))
		}
		if last >= 0 && string(key) == string(lastKey) {
			of[i] = last
			continue
		}
		g, ok := seen[string(key)]
		if !ok {
			g = len(groups)
			seen[string(key)] = g
			n := nearGroup{}
			for j, f := range vifaces {
				n.networks, n.classes = append(n.networks, f.network), append(n.classes, s.classOf(z.viface[i]+uint32(j)))
			}
			if groups = append(groups, n); len(groups) > maxNear {
				return groups, of
			}
		}
		of[i], last = g, g
		lastKey = append(lastKey[:0], key...)
	}
	return groups, of
}

// visit gives groups in the order in which a spanning tree reaches them, and
// how far each step is.
func (z *placer) visit(s *shaper, groups []nearGroup) (order []int, step []uint64) {
	cost := s.costs()
	left := make([]int, 0, len(groups)-1) // not visited
	near := make([]uint64, len(groups))
	for g := range groups {
		near[g] = ^uint64(0)
		if g > 0 {
			left = append(left, g)
		}
	}
	order, step = []int{0}, []uint64{0}
	for len(left) > 0 {
		last, best := &groups[order[len(order)-1]], 0
		for k, g := range left {
			if d := s.apart(last, &groups[g], cost); d < near[g] {
				near[g] = d
			}
			if b := left[best]; near[g] < near[b] || near[g] == near[b] && g < b {
				best = k
			}
		}
		g := left[best]
		order, step = append(order, g), append(step, near[g])
		left[best] = left[len(left)-1]
		left = left[:len(left)-1]
	}
	return order, step
}

// costs gives how far each condition makes those at its ends.
func (s *shaper) costs() []uint64 {
	out := make([]uint64, len(s.Conditions))
	for i := range s.Conditions {
		c := &s.Conditions[i]
		slow := uint64(0)
		if c.Rate > 0 {
			slow = uint64(bits.LeadingZeros64(c.Rate))<<8 | (255 - c.Rate<<bits.LeadingZeros64(c.Rate)>>55&255)
		}
		out[i] = uint64(c.Delay/program.DelayUnit)<<16 | slow
	}
	return out
}

func (s *shaper) cost(w program.PairWord, costs []uint64) uint64 {
	switch {
	case w == program.PairIndexed:
		return 0
	case w&program.PairIndexed != 0:
		return costs[w&^program.PairIndexed-1]
	}
	return uint64(w) << 16
}

// unreached is further than any delay: groups that share no vnetwork.
const unreached = 1 << 60

// apart says how far two groups are from each other, there and back.
func (s *shaper) apart(a, b *nearGroup, costs []uint64) uint64 {
	least := uint64(unreached)
	for i, n := range a.networks {
		for j, m := range b.networks {
			if n == m {
				least = min(least, s.cost(s.grid.at(a.classes[i], b.classes[j]), costs)+s.cost(s.grid.at(b.classes[j], a.classes[i]), costs))
			}
		}
	}
	return least
}

// inLine gives the pnodes of a choice in the order in which they get runs of
// the line: of those that carry vnodes already, by where these are in it.
func (z *placer) inLine(c uint32) []int {
	pnodes := z.choices[c].pnodes
	if z.line == nil {
		return pnodes
	}
	sum, held := make([]int, len(z.pnodes)), make([]int, len(z.pnodes))
	for k, i := range z.line {
		if p := z.at[i]; p != nowhere {
			sum[p] += k
			held[p]++
		}
	}
	mean := func(p int) int {
		if held[p] == 0 {
			return len(z.line) // behind all
		}
		return sum[p] / held[p]
	}
	pnodes = slices.Clone(pnodes)
	slices.SortStableFunc(pnodes, func(a, b int) int { return cmp.Compare(mean(a), mean(b)) })
	return pnodes
}

// slack is the part of a share by which it may be more or less, so that it ends
// where a cluster does: 1 / slack.
const slack = 8

// snap moves the ends of shares to the widest gap nearby. Shares that vnodes
// have before, or limits, stay as they are.
func (z *placer) snap(rows, pnodes, quota []int) {
	end := 0
	gaps, least := z.gapsOf(rows), z.least(rows)
	for k := 0; k+1 < len(pnodes); k++ {
		p, q := pnodes[k], pnodes[k+1]
		end += quota[p]
		reach := min(quota[p], quota[q]) / slack
		best := end
		for at := max(end-reach, 1); at <= min(end+reach, len(rows)-1); at++ {
			if gaps[at] > gaps[min(best, len(rows)-1)] || gaps[at] == gaps[min(best, len(rows)-1)] && distance(at, end) < distance(best, end) {
				best = at
			}
		}
		by := best - end
		if by > 0 && z.free(p, least) < quota[p]+by || by < 0 && z.free(q, least) < quota[q]-by {
			continue
		}
		quota[p], quota[q], end = quota[p]+by, quota[q]-by, best
	}
}

func distance(a, b int) int { return max(a-b, b-a) }

// gapsOf gives the gaps before each of some vnodes that follow each other in
// line: the widest between it and the one before.
func (z *placer) gapsOf(rows []int) []uint64 {
	out := make([]uint64, len(rows))
	widest, at := uint64(0), 0
	for k := range z.line {
		widest = max(widest, z.gap[k])
		if at < len(rows) && z.row(k) == rows[at] {
			out[at], widest = widest, 0
			at++
		}
	}
	return out
}

package plan

import (
	"cmp"
	"maps"
	"slices"

	"myriad/topo"
)

// deal places the vnodes that are nowhere and belong to no unit: those that
// have the least choice of pnodes first, in the order of the line.
func (z *placer) deal() {
	left := map[uint32][]int{}
	for k := range z.at {
		if i := z.row(k); z.at[i] == nowhere && (z.unitOf == nil || z.unitOf[i] < 0) {
			left[z.choice(i)] = append(left[z.choice(i)], i)
		}
	}
	for len(left) > 0 {
		first := slices.MinFunc(slices.Collect(maps.Keys(left)), func(a, b uint32) int {
			return cmp.Or(cmp.Compare(len(z.choices[a].pnodes), len(z.choices[b].pnodes)), cmp.Compare(a, b))
		})
		rows := left[first]
		delete(left, first)
		if z.topo.Placement.Policy == topo.PolicyPack {
			rows = z.pack(first, rows)
		}
		rows = z.dealTo(first, rows)
		for _, i := range z.squeeze(first, rows) { // they have more choice
			left[z.choice(i)] = append(left[z.choice(i)], i)
		}
	}
}

// dealTo deals vnodes to the pnodes of a choice by their shares, and gives
// those for which there is no room.
func (z *placer) dealTo(c uint32, rows []int) (rest []int) {
	if len(rows) == 0 {
		return nil
	}
	why := ruleShare
	switch {
	case c > 0:
		why = ruleAt
	case z.line != nil:
		why = ruleLinks
	case z.topo.Placement.Policy == topo.PolicyPack:
		why = ruleMore
	}
	pnodes := z.inLine(c)
	quota := z.quotas(c, rows)
	if z.gap != nil {
		z.snap(rows, pnodes, quota)
	}
	for _, p := range pnodes {
		n := min(quota[p], len(rows))
		for _, i := range rows[:n] {
			if z.over(p, &z.costs[z.kind[i]], z.most) != "" {
				rest = append(rest, i)
				continue
			}
			z.put(i, p, why)
		}
		rows = rows[n:]
	}
	return z.anywhere(c, append(rest, rows...))
}

// anywhere puts vnodes on whatever pnode of a choice has room, one after the
// other, and gives those for which there is none.
func (z *placer) anywhere(c uint32, rows []int) (rest []int) {
	pnodes := z.choices[c].pnodes
	at := 0
	full := make([]bool, len(z.kinds)) // no pnode has room for such a vnode
	for _, i := range rows {
		k := z.kind[i]
		for tried := 0; ; at, tried = (at+1)%len(pnodes), tried+1 {
			if full[k] || tried == len(pnodes) {
				full[k] = true
				rest = append(rest, i)
				break
			}
			if z.over(pnodes[at], &z.costs[k], z.most) == "" {
				z.put(i, pnodes[at], ruleMore)
				break
			}
		}
	}
	return rest
}

// squeeze puts vnodes of little choice where others have more, and gives those
// others; what finds no place then is lost.
func (z *placer) squeeze(c uint32, rows []int) (evicted []int) {
	if len(rows) == 0 {
		return nil
	}
	pnodes := z.choices[c].pnodes
	z.movable, z.evicted = nil, nil
	at := 0
	for _, i := range rows {
		for at < len(pnodes) && !z.evict(pnodes[at], c, &z.costs[z.kind[i]]) {
			at++
		}
		if at == len(pnodes) {
			z.lost = append(z.lost, i)
			continue
		}
		z.put(i, pnodes[at], ruleAt)
	}
	slices.Sort(z.evicted)
	return z.evicted
}

// quotas says how many of some vnodes each pnode of a choice gets: whoever is
// furthest from its share gets most, within what it may carry.
func (z *placer) quotas(c uint32, rows []int) []int {
	n := len(rows)
	least := z.least(rows)
	weights, free := make([]int, len(z.pnodes)), make([]int, len(z.pnodes))
	total := n
	for _, p := range z.choices[c].pnodes {
		weights[p], free[p] = z.weight[p], z.free(p, least)
		total += z.load[p].vnodes
	}
	missing, sum := shares(weights, total), 0
	for p := range missing {
		missing[p] = min(max(0, missing[p]-z.load[p].vnodes), free[p])
		sum += missing[p]
	}
	if sum >= n {
		return shares(missing, n)
	}
	// Some are full before they have their share: the others get more.
	quota := missing
	for n -= sum; n > 0; {
		some := false
		for p := range weights {
			if weights[p] > 0 && quota[p] >= free[p] {
				weights[p] = 0
			}
			some = some || weights[p] > 0
		}
		if !some {
			break
		}
		for p, more := range shares(weights, n) {
			more = min(more, free[p]-quota[p])
			quota[p] += more
			n -= more
		}
	}
	return quota
}

// least is the least of everything that any of some vnodes takes.
func (z *placer) least(rows []int) load {
	seen := make([]bool, len(z.kinds))
	out := load{1, maxRows, 1 << 62}
	for _, i := range rows {
		if k := z.kind[i]; !seen[k] {
			seen[k] = true
			out.vifaces, out.memory = min(out.vifaces, z.costs[k].vifaces), min(out.memory, z.costs[k].memory)
		}
	}
	return out
}

// free is how many more vnodes a pnode has room for, if each takes as little as
// that.
func (z *placer) free(p int, least load) int {
	have, most := &z.load[p], &z.most[p]
	n := max(most.vnodes-have.vnodes, 0)
	if least.vifaces > 0 {
		n = min(n, max(most.vifaces-have.vifaces, 0)/least.vifaces)
	}
	if each := least.memory + z.extra[p]; each > 0 {
		n = min(n, int((most.memory-min(have.memory, most.memory))/each))
	}
	return n
}

// packBefore orders pnodes for pack: those that carry vnodes, then large ones.
func (z *placer) packBefore(p, q int) int {
	a, b := &z.enough[p], &z.enough[q]
	return cmp.Or(compareBool(z.load[q].vnodes > 0, z.load[p].vnodes > 0), cmp.Compare(b.vnodes, a.vnodes), cmp.Compare(b.memory, a.memory), cmp.Compare(p, q))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// pack fills one pnode after the other with vnodes, and gives those that no
// pnode can carry in comfort.
func (z *placer) pack(c uint32, rows []int) []int {
	pnodes := slices.Clone(z.choices[c].pnodes)
	slices.SortFunc(pnodes, z.packBefore)
	for _, p := range pnodes {
		for len(rows) > 0 && z.over(p, &z.costs[z.kind[rows[0]]], z.enough) == "" && z.over(p, &z.costs[z.kind[rows[0]]], z.most) == "" {
			why := rulePack
			if c > 0 {
				why = ruleAt
			}
			z.put(rows[0], p, why)
			rows = rows[1:]
		}
	}
	return rows
}

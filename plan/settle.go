package plan

import (
	"cmp"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"myriad/nodeset"
	"myriad/topo"
)

// before gives the pnode that a vnode was on, if it is there still, and its
// slot too; else nowhere.
func (z *placer) before(row int, moved []int32) int32 {
	old := z.previously(row)
	if old < 0 || int(z.previous.slot[old]) >= z.rackVnodes {
		return nowhere
	}
	return moved[z.previous.pnode[old]]
}

// keep leaves vnodes where they were, if they may be there: units first, as
// they have less choice.
func (z *placer) keep() {
	if z.previous == nil {
		return
	}
	moved := make([]int32, len(z.previous.pnodes)) // by number then: number now
	for i, p := range z.previous.pnodes {
		moved[i] = nowhere
		if i < len(z.pnodes) && p.Name != "" && z.pnodes[i].Name == p.Name {
			moved[i] = int32(i)
		}
	}
	for u := range z.units {
		z.keepUnit(u, moved)
	}
	for i := range z.at {
		if z.unitOf != nil && z.unitOf[i] >= 0 {
			continue
		}
		if p := z.before(i, moved); p != nowhere && z.choices[z.choice(i)].has[p] && z.over(int(p), &z.costs[z.kind[i]], z.most) == "" {
			z.put(i, int(p), ruleKept)
			z.stays[i] = true
		}
	}
}

// keepUnit leaves a unit where most of it was.
func (z *placer) keepUnit(n int, moved []int32) {
	u := &z.units[n]
	on := map[int32]int{}
	for _, i := range u.rows {
		if p := z.before(i, moved); p != nowhere {
			on[p]++
		}
	}
	places := slices.SortedFunc(maps.Keys(on), func(a, b int32) int { return cmp.Or(cmp.Compare(on[b], on[a]), cmp.Compare(a, b)) })
	for _, p := range places {
		if z.stands(n, int(p)) != "" {
			continue
		}
		z.putUnit(n, int(p))
		for _, i := range u.rows {
			if z.before(i, moved) == p {
				z.stays[i], z.why[i] = true, ruleKept
			}
		}
		return
	}
}

// stands says what keeps a unit from a pnode; "" if nothing does.
func (z *placer) stands(n, p int) string {
	u := &z.units[n]
	if !z.choices[u.choice].has[p] {
		return "at"
	}
	for _, a := range u.apart {
		if _, taken := z.apart[a].at[int32(p)]; taken {
			return "apart"
		}
	}
	return z.over(p, &u.load, z.most)
}

func (z *placer) putUnit(n, p int) {
	u := &z.units[n]
	why := ruleTogether
	switch {
	case len(u.rows) > 1:
	case len(u.apart) > 0:
		why = ruleApart
	}
	if u.choice > 0 {
		why = ruleAt
	}
	for _, i := range u.rows {
		z.put(i, p, why)
	}
	for _, a := range u.apart {
		z.apart[a].at[int32(p)] = n
	}
}

// placeUnits places the units that are nowhere: those that have the least
// choice first, then those that must be apart from most, then large ones.
func (z *placer) placeUnits() {
	var left []int
	for n := range z.units {
		if z.at[z.units[n].rows[0]] == nowhere {
			left = append(left, n)
		}
	}
	crowd := func(u *unit) (most int) {
		for _, a := range u.apart {
			most = max(most, len(z.apart[a].units))
		}
		return most
	}
	slices.SortStableFunc(left, func(i, j int) int {
		a, b := &z.units[i], &z.units[j]
		return cmp.Or(cmp.Compare(len(z.choices[a.choice].pnodes), len(z.choices[b.choice].pnodes)), cmp.Compare(crowd(b), crowd(a)),
			cmp.Compare(len(b.rows), len(a.rows)), cmp.Compare(a.rows[0], b.rows[0]))
	})
	for _, n := range left {
		p := z.best(n)
		if p == nowhere {
			p = z.clear(n)
		}
		if p == nowhere {
			z.complainUnit(n)
			continue
		}
		z.putUnit(n, p)
	}
}

// best gives the pnode that suits a unit best: the one that would have least
// in proportion to its weight; with pack, the first that has room.
func (z *placer) best(n int) int {
	best := nowhere
	of := &z.units[n].load
	pack := z.topo.Placement.Policy == topo.PolicyPack
	for _, p := range z.choices[z.units[n].choice].pnodes {
		if best != nowhere && !z.sooner(p, best, of.vnodes, pack) || z.stands(n, p) != "" || pack && z.over(p, of, z.enough) != "" {
			continue
		}
		best = p
	}
	if best == nowhere && pack { // in no comfort, then
		for _, p := range z.choices[z.units[n].choice].pnodes {
			if z.stands(n, p) == "" {
				return p
			}
		}
	}
	return best
}

// sooner says whether a pnode is to get some vnodes rather than another.
func (z *placer) sooner(p, q, vnodes int, pack bool) bool {
	if pack {
		return z.packBefore(p, q) < 0
	}
	return less(z.load[p].vnodes+vnodes, z.weight[p], z.load[q].vnodes+vnodes, z.weight[q])
}

// less says whether a / b < c / d.
func less(a, b, c, d int) bool {
	hi1, lo1 := bits.Mul64(uint64(a), uint64(d))
	hi2, lo2 := bits.Mul64(uint64(c), uint64(b))
	return hi1 < hi2 || hi1 == hi2 && lo1 < lo2
}

// clear makes room for a unit where vnodes stand in its way that have more
// choice, and gives the pnode; nowhere if it cannot be. They are dealt again.
func (z *placer) clear(n int) int {
	u := &z.units[n]
	for _, p := range z.choices[u.choice].pnodes {
		if stands := z.stands(n, p); stands == "apart" || stands == "at" {
			continue
		}
		if z.evict(p, u.choice, &u.load) {
			return p
		}
	}
	return nowhere
}

// evict has vnodes of more choice go from a pnode until there is room for a
// load; nobody goes if that is not enough.
func (z *placer) evict(p int, choice uint32, l *load) bool {
	if z.movable == nil {
		z.movable = make([][]int, len(z.pnodes))
		for i := len(z.at) - 1; i >= 0; i-- {
			if z.at[i] != nowhere && (z.unitOf == nil || z.unitOf[i] < 0) {
				z.movable[z.at[i]] = append(z.movable[z.at[i]], i)
			}
		}
	}
	choices := len(z.choices[choice].pnodes)
	var gone, left []int
	var stayed []bool
	for at, i := range z.movable[p] {
		if z.over(p, l, z.most) == "" {
			left = append(left, z.movable[p][at:]...)
			break
		}
		if len(z.choices[z.choice(i)].pnodes) <= choices {
			left = append(left, i)
			continue
		}
		gone, stayed = append(gone, i), append(stayed, z.stays[i])
		z.take(i)
	}
	if z.over(p, l, z.most) == "" {
		z.movable[p], z.evicted = left, append(z.evicted, gone...)
		return true
	}
	for k, i := range gone {
		z.put(i, p, z.why[i])
		z.stays[i] = stayed[k]
	}
	return false
}

// complainUnit says why a unit is nowhere.
func (z *placer) complainUnit(n int) {
	u := &z.units[n]
	reasons := map[string][]string{}
	for _, p := range z.choices[u.choice].pnodes {
		reason := z.stands(n, p)
		switch reason {
		case "apart":
			reason = "has a vnode from which it is to be apart"
		default:
			reason = "would be over its " + z.limitText(p, reason)
		}
		reasons[reason] = append(reasons[reason], z.pnodes[p].Name)
	}
	op := "place " + z.unitName(u)
	if len(u.rows) > 1 {
		op += " together"
	}
	z.bad(op, z.because(reasons), "add pnodes, raise placement.limits, or ask for less in placement."+strings.Join(z.asks(u), " and placement."))
}

// asks names what the topology says of a unit.
func (z *placer) asks(u *unit) (fields []string) {
	if len(u.rows) > 1 {
		fields = append(fields, "together")
	}
	if len(u.apart) > 0 {
		fields = append(fields, "apart")
	}
	if u.choice > 0 {
		fields = append(fields, "at")
	}
	return fields
}

// because joins the reasons of pnodes.
func (z *placer) because(reasons map[string][]string) string {
	var parts []string
	for _, reason := range slices.Sorted(maps.Keys(reasons)) {
		parts = append(parts, fmt.Sprintf("%s %s", clip(nodeset.Of(reasons[reason]...).String()), reason))
	}
	return strings.Join(parts, "; ")
}

// complain says which vnodes of those that are dealt out have no place.
func (z *placer) complain() {
	byChoice := map[uint32][]rowRange{}
	for _, i := range z.lost {
		c := z.choice(i)
		byChoice[c] = append(byChoice[c], rowRange{i, i + 1})
	}
	for _, c := range slices.Sorted(maps.Keys(byChoice)) {
		rows := joinRows(byChoice[c])
		reasons := map[string][]string{}
		for _, p := range z.choices[c].pnodes {
			name := z.over(p, &z.costs[z.kind[rows[0].from]], z.most)
			if name == "" {
				name = "vnodes" // for the others
			}
			reason := "is at its " + z.limitText(p, name)
			reasons[reason] = append(reasons[reason], z.pnodes[p].Name)
		}
		remedy := "add pnodes, or raise placement.limits"
		if c > 0 {
			remedy += ", or name more in placement.at than " + z.choices[c].says
		}
		z.bad(fmt.Sprintf("place %s, %s", clip(z.namesOf(rows).String()), count(total(rows), "vnode")), z.because(reasons), remedy)
	}
}

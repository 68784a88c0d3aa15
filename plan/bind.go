package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// measure finds what a vnode of each kind takes, and what pnodes may carry.
func (z *placer) measure() {
	z.load, z.most, z.enough = make([]load, len(z.pnodes)), make([]load, len(z.pnodes)), make([]load, len(z.pnodes))
	z.extra = make([]uint64, len(z.pnodes))
	for k := range z.kinds {
		s := survey{}
		s.vnode(&z.kinds[k], 0, 0)
		z.costs = append(z.costs, load{1, s.Vifaces, s.KernelMemory})
	}
	l := &z.topo.Placement.Limits
	for i := range z.pnodes {
		p, most := &z.pnodes[i], &z.most[i]
		*most = load{maxRows, maxRows, 1 << 62}
		z.extra[i] = uint64(max(p.CPUs-cpusMeasured, 0)) * memoryPerCPU
		if l.Vnodes > 0 {
			most.vnodes = l.Vnodes
		}
		if l.VnodesPerCore > 0 && p.CPUs > 0 {
			most.vnodes = min(most.vnodes, l.VnodesPerCore*p.CPUs)
		}
		if l.Vifaces > 0 {
			most.vifaces = l.Vifaces
		}
		if l.Memory > 0 {
			most.memory = l.Memory
		}
		if l.MemoryShare > 0 && p.Memory > 0 {
			most.memory = min(most.memory, p.Memory/1000*uint64(l.MemoryShare))
		}
		z.enough[i] = z.comfort(p, *most)
	}
}

// comfort is up to what pack fills a pnode: nine tenths of its memory, less
// what daemon and racks take, and of its namespaces.
func (z *placer) comfort(p *Pnode, most load) load {
	if p.Memory > 0 {
		fixed := uint64(memoryDaemon + len(z.host)*memoryHostRow)
		free := p.Memory - p.Memory/10
		free -= min(fixed, free)
		// A rack for each 1,000 vnodes is their part of it.
		most.memory = min(most.memory, free-free/(memoryMacvlan*program.RackVnodes/memoryRack+1))
	}
	if p.Namespaces > 0 {
		most.vnodes = min(most.vnodes, int(min(p.Namespaces-p.Namespaces/10, maxRows)))
	}
	return most
}

// over says which limit a pnode would be over with l more of load; "" if none.
func (z *placer) over(p int, l *load, most []load) string {
	have, m := &z.load[p], &most[p]
	switch {
	case have.vnodes+l.vnodes > m.vnodes:
		return "vnodes"
	case have.vifaces+l.vifaces > m.vifaces:
		return "vifaces"
	case have.memory+l.memory+uint64(l.vnodes)*z.extra[p] > m.memory:
		return "memory"
	}
	return ""
}

// put puts a vnode on a pnode, and says why.
func (z *placer) put(row, p int, why rule) {
	z.at[row], z.why[row] = int32(p), why
	c := &z.costs[z.kind[row]]
	z.load[p].add(*c, 1)
	z.load[p].memory += z.extra[p]
}

// take takes a vnode away from its pnode.
func (z *placer) take(row int) {
	p := z.at[row]
	z.load[p].add(z.costs[z.kind[row]], -1)
	z.load[p].memory -= z.extra[p]
	z.at[row], z.stays[row] = nowhere, false
}

// bind reads what the topology says of where vnodes go.
func (z *placer) bind() {
	z.pin()
	z.join()
	z.checkChoices()
	if z.topo.Placement.Policy == topo.PolicyLinks {
		z.lineUp()
	}
}

// rowsIn gives the rows of a node set; what is wrong with it is a problem.
func (z *placer) rowsIn(set *nodeset.Set) []rowRange {
	rows, err := z.rowsOf(set)
	if err != nil && len(z.problems) < maxProblems {
		z.problems = append(z.problems, err)
	}
	return rows
}

// pin gives vnodes the choices that at leaves them.
func (z *placer) pin() {
	for i := range z.topo.Placement.At {
		pin := &z.topo.Placement.At[i]
		rows := z.rowsIn(pin.Nodes)
		to := z.choiceAt(pin)
		if to == 0 || len(rows) == 0 {
			continue
		}
		if z.choiceOf == nil {
			z.choiceOf = make([]uint32, len(z.at))
		}
		for _, r := range rows {
			for i := r.from; i < r.to; i++ {
				z.choiceOf[i] = z.meet(z.choiceOf[i], to)
			}
		}
	}
}

// choiceAt gives the choice that a pin leaves. If there is no such pnode, that
// is a problem.
func (z *placer) choiceAt(pin *topo.Pin) uint32 {
	c := choice{has: make([]bool, len(z.pnodes)), says: "site " + pin.Site}
	if pin.Pnodes != nil {
		c.says = "pnodes " + clip(pin.Pnodes.String())
	}
	for i := range z.pnodes {
		p := &z.pnodes[i]
		if p.Name != "" && (pin.Pnodes == nil && p.Site == pin.Site || pin.Pnodes.Contains(p.Name)) {
			c.pnodes, c.has[i] = append(c.pnodes, i), true
		}
	}
	if len(c.pnodes) > 0 {
		return z.intern(c)
	}
	op := "place " + clip(pin.Nodes.String())
	if pin.Pnodes != nil {
		z.bad(op, "of the pnodes "+clip(pin.Pnodes.String())+" none is there", "start an agent on one of them, or name others in placement.at; there are "+clip(z.pnodeNames()))
		return 0
	}
	sites := slices.DeleteFunc(slices.Clone(z.siteNames), func(s string) bool { return s == "" })
	known := "no pnode says its site"
	if len(sites) > 0 {
		known = "known: " + clip(strings.Join(sites, ", "))
	}
	z.bad(op, "no pnode is at site "+pin.Site, "start its agents with --site "+pin.Site+", or name another in placement.at; "+known)
	return 0
}

// pnodeNames is the names of all pnodes, as a node set.
func (z *placer) pnodeNames() string {
	var names []string
	for _, i := range z.choices[0].pnodes {
		names = append(names, z.pnodes[i].Name)
	}
	return nodeset.Of(names...).String()
}

// intern gives the number of a choice.
func (z *placer) intern(c choice) uint32 {
	for i := range z.choices {
		if slices.Equal(z.choices[i].pnodes, c.pnodes) && (len(c.pnodes) > 0 || z.choices[i].says == c.says) {
			return uint32(i)
		}
	}
	z.choices = append(z.choices, c)
	return uint32(len(z.choices) - 1)
}

// meet gives the choice of pnodes that are in both.
func (z *placer) meet(a, b uint32) uint32 {
	if a == b || b == 0 {
		return a
	}
	if a == 0 {
		return b
	}
	key := [2]uint32{a, b}
	out, ok := z.meets[key]
	if !ok {
		x, y := &z.choices[a], &z.choices[b]
		c := choice{has: make([]bool, len(z.pnodes)), says: x.says + " and " + y.says}
		for _, p := range x.pnodes {
			if y.has[p] {
				c.pnodes, c.has[p] = append(c.pnodes, p), true
			}
		}
		out = z.intern(c)
		z.meets[key] = out
	}
	return out
}

// choice gives the choice that a vnode has by itself.
func (z *placer) choice(row int) uint32 {
	if z.choiceOf == nil {
		return 0
	}
	return z.choiceOf[row]
}

// join makes units of the vnodes that are to be together, or apart.
func (z *placer) join() {
	p := &z.topo.Placement
	if len(p.Together) == 0 && len(p.Apart) == 0 {
		return
	}
	z.unitOf = make([]int32, len(z.at))
	for i := range z.unitOf {
		z.unitOf[i] = -1
	}
	parent := map[int]int{} // a disjoint-set forest over rows
	for _, set := range p.Together {
		first := -1
		for _, r := range z.rowsIn(set) {
			for i := r.from; i < r.to; i++ {
				if first < 0 {
					first = i
				}
				unite(parent, first, i)
			}
		}
	}
	for _, i := range slices.Sorted(maps.Keys(parent)) {
		top := rootOf(parent, i)
		if z.unitOf[top] < 0 {
			z.newUnit(top)
		}
		z.grow(int(z.unitOf[top]), i)
	}
	for _, set := range p.Apart {
		z.separate(set)
	}
}

// rootOf gives the lowest row of those that a row is joined with.
func rootOf(parent map[int]int, i int) int {
	for {
		up, ok := parent[i]
		if !ok || up == i {
			return i
		}
		if top, ok := parent[up]; ok {
			parent[i] = top
		}
		i = up
	}
}

func unite(parent map[int]int, i, j int) {
	i, j = rootOf(parent, i), rootOf(parent, j)
	parent[max(i, j)] = min(i, j)
	parent[min(i, j)] = min(i, j)
}

// newUnit begins a unit that a vnode is the first of.
func (z *placer) newUnit(row int) int {
	z.unitOf[row] = int32(len(z.units))
	z.units = append(z.units, unit{})
	return len(z.units) - 1
}

// grow adds a vnode to a unit.
func (z *placer) grow(u, row int) {
	of := &z.units[u]
	of.choice = z.narrow(of, row)
	z.unitOf[row] = int32(u)
	of.rows = append(of.rows, row)
	of.load.add(z.costs[z.kind[row]], 1)
}

func (z *placer) narrow(u *unit, row int) uint32 { return z.meet(u.choice, z.choice(row)) }

// separate reads a set of vnodes that are to be apart.
func (z *placer) separate(set *nodeset.Set) {
	a := apart{at: map[int32]int{}}
	members := map[int]int{} // unit → row
	n := len(z.apart)
	for _, r := range z.rowsIn(set) {
		for i := r.from; i < r.to; i++ {
			u := int(z.unitOf[i])
			if u < 0 {
				u = z.newUnit(i)
				z.grow(u, i)
			}
			if other, twice := members[u]; twice {
				z.bad("place "+z.names.at(i), "it is to be apart from "+z.names.at(other)+", and on one pnode with it", "take one of them out of placement.apart, or of placement.together")
				continue
			}
			members[u] = i
			a.units = append(a.units, u)
			z.units[u].apart = append(z.units[u].apart, n)
		}
	}
	if have := len(z.choices[0].pnodes); len(a.units) > have {
		z.bad("place "+clip(set.String())+" apart", fmt.Sprintf("they need %d pnodes, and there are %d", len(a.units), have),
			"add "+count(len(a.units)-have, "pnode")+", or take some of them out of placement.apart")
	}
	z.apart = append(z.apart, a)
}

// checkChoices reports vnodes that no pnode is left for.
func (z *placer) checkChoices() {
	var none []rowRange
	says := map[string]bool{}
	for i, c := range z.choiceOf {
		if c := &z.choices[c]; len(c.pnodes) == 0 {
			none, says[c.says] = appendRow(none, i), true
		}
	}
	const remedy = "correct placement.at, of which all entries that speak of a vnode hold"
	if len(none) > 0 {
		z.bad("place "+clip(z.namesOf(none).String()), "no pnode is at once of "+clip(strings.Join(slices.Sorted(maps.Keys(says)), "; of ")), remedy)
		return
	}
	for i := range z.units {
		if u := &z.units[i]; len(z.choices[u.choice].pnodes) == 0 {
			z.bad("place "+z.unitName(u)+" together", "no pnode is at once of "+z.choices[u.choice].says, remedy)
		}
	}
}

// unitName names the vnodes of a unit.
func (z *placer) unitName(u *unit) string {
	var rows []rowRange
	for _, i := range u.rows {
		rows = appendRow(rows, i)
	}
	return clip(z.namesOf(rows).String())
}

// limitText says a limit and how much of it a pnode has.
func (z *placer) limitText(p int, name string) string {
	most := &z.most[p]
	switch name {
	case "vnodes":
		return "limits of " + count(most.vnodes, "vnode")
	case "vifaces":
		return "limits of " + count(most.vifaces, "viface")
	}
	return "limits of " + size(most.memory) + " of memory"
}

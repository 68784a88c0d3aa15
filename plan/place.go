package plan

import (
	"cmp"
	"slices"
)

// place puts every vnode on a pnode, in a rack and in a slot.
func (m *maker) place() {
	n := m.names.len()
	m.pnode, m.rack, m.slot = make([]uint32, n), make([]uint32, n), make([]uint16, n)
	z := newPlacer(m)
	if z.bind(); len(m.problems) == 0 {
		z.keep()
		z.placeUnits()
		z.deal()
		z.complain()
	}
	if m.stop = len(m.problems) > 0; m.stop {
		return
	}
	z.fillRacks()
	m.why = z.reasons()
}

// rule is why a vnode is where it is.
type rule uint8

// The rules; ruleNames are what they are called.
const (
	ruleKept rule = iota
	ruleAt
	ruleTogether
	ruleApart
	ruleShare
	rulePack
	ruleLinks
	ruleMore
	rules
)

var ruleNames = [rules]string{"were there before", "where placement.at says", "together", "apart", "its share", "packed", "its share, by links", "more than its share"}

// nowhere is the pnode of a vnode that has none.
const nowhere = -1

// placer finds a pnode for every vnode: greedily, those that have the least
// choice first. What was placed before stays where it is as long as the rules
// allow. Vnodes that the topology has together, or apart from others, are units
// and placed one by one; all others are dealt out in bulk.
type placer struct {
	*maker
	at     []int32 // a row for each vnode: its pnode, or nowhere
	stays  []bool  // it keeps its rack and slot
	why    []rule
	load   []load // by pnode
	most   []load // by pnode: what it may carry; rules of the topology
	enough []load // by pnode: up to what pack fills it
	costs  []load // by kind
	extra  []uint64
	weight []int

	choices  []choice // the first is of all pnodes
	choiceOf []uint32 // a row for each vnode; nil: all are of the first
	meets    map[[2]uint32]uint32
	units    []unit
	unitOf   []int32 // a row for each vnode: index into units, or -1; nil: there are none
	apart    []apart
	lost     []int // rows for which there is no place

	line    []uint32 // the order in which vnodes are dealt; nil: by row
	gap     []uint64 // by place in line: how far it is from what is before
	movable [][]int  // by pnode: rows that may have to go elsewhere, last first
	evicted []int    // rows that did
}

// load is what vnodes take of a pnode.
type load struct {
	vnodes, vifaces int
	memory          uint64
}

func (l *load) add(m load, times int) {
	l.vnodes += times * m.vnodes
	l.vifaces += times * m.vifaces
	l.memory += uint64(times) * m.memory
}

// choice is a set of pnodes that some vnodes may be on.
type choice struct {
	pnodes []int // by number
	has    []bool
	says   string // why not all
}

// unit is vnodes that go to one pnode.
type unit struct {
	rows   []int
	apart  []int // indexes into placer.apart
	choice uint32
	load   load
}

// apart is a set of units that are on different pnodes.
type apart struct {
	units []int
	at    map[int32]int // by pnode: which unit is there
}

func newPlacer(m *maker) *placer {
	n := m.names.len()
	z := &placer{maker: m, at: make([]int32, n), stays: make([]bool, n), why: make([]rule, n), weight: m.weights(), meets: map[[2]uint32]uint32{}}
	for i := range z.at {
		z.at[i] = nowhere
	}
	all := choice{has: make([]bool, len(m.pnodes))}
	for i := range m.pnodes {
		if m.pnodes[i].Name != "" {
			all.pnodes, all.has[i] = append(all.pnodes, i), true
		}
	}
	z.choices = []choice{all}
	z.measure()
	return z
}

// fillRacks gives vnodes that are new on their pnodes racks and slots.
func (z *placer) fillRacks() {
	kept, fresh := make([][]int, len(z.pnodes)), make([][]int, len(z.pnodes))
	for k := range z.at {
		i := z.row(k)
		p := z.at[i]
		z.pnode[i] = uint32(p)
		if z.stays[i] {
			old := z.was[i]
			z.rack[i], z.slot[i] = z.previous.rack[old], z.previous.slot[old]
			kept[p] = append(kept[p], i)
		} else {
			fresh[p] = append(fresh[p], i)
		}
	}
	for p := range kept {
		slices.SortFunc(kept[p], z.comparePlaces)
		z.fill(p, kept[p], fresh[p])
	}
}

// row gives the vnode that is dealt at a place of the line.
func (z *placer) row(k int) int {
	if z.line == nil {
		return k
	}
	return int(z.line[k])
}

func (p *Plan) comparePlaces(i, j int) int {
	return cmp.Or(cmp.Compare(p.pnode[i], p.pnode[j]), cmp.Compare(p.rack[i], p.rack[j]), cmp.Compare(p.slot[i], p.slot[j]))
}

// weights is how much each pnode should carry in proportion to the others:
// the mean of its shares of all memory and of all CPUs, as far as known.
// Integers only: floating point may be rounded differently elsewhere.
func (m *maker) weights() []int {
	const mib, scale = 1 << 20, 1 << 20
	var memory, cpus uint64
	for _, p := range m.pnodes {
		memory += p.Memory / mib
		cpus += uint64(p.CPUs)
	}
	weights := make([]int, len(m.pnodes))
	for i, p := range m.pnodes {
		if p.Name == "" {
			continue
		}
		w := uint64(0)
		if memory > 0 {
			w += p.Memory / mib * scale / memory
		}
		if cpus > 0 {
			w += uint64(p.CPUs) * scale / cpus
		}
		weights[i] = int(max(w, 1))
	}
	return weights
}

// shares divides n in proportion to weights: the first k shares together are
// what belongs to the first k weights, rounded down.
func shares(weights []int, n int) []int {
	sum := 0
	for _, w := range weights {
		sum += w
	}
	out := make([]int, len(weights))
	if sum == 0 {
		return out
	}
	upTo, given := 0, 0
	for i, w := range weights {
		upTo += w
		out[i] = n*upTo/sum - given
		given += out[i]
	}
	return out
}

// fill places vnodes on a pnode where those of kept, by place, are already:
// in the lowest free slots of the racks that exist, then in new racks.
func (m *maker) fill(pnode int, kept, fresh []int) {
	var racks []uint32
	for len(kept) > 0 {
		rack := m.rack[kept[0]]
		racks = append(racks, rack)
		next := 0 // lowest slot that may be free
		for len(kept) > 0 && m.rack[kept[0]] == rack {
			for ; next < int(m.slot[kept[0]]) && len(fresh) > 0; next++ {
				m.put(fresh[0], pnode, rack, next)
				fresh = fresh[1:]
			}
			next = int(m.slot[kept[0]]) + 1
			kept = kept[1:]
		}
		for ; next < m.rackVnodes && len(fresh) > 0; next++ {
			m.put(fresh[0], pnode, rack, next)
			fresh = fresh[1:]
		}
	}
	rack := uint32(0)
	for left := (len(fresh) + m.rackVnodes - 1) / m.rackVnodes; left > 0; left-- {
		for ; len(racks) > 0 && racks[0] == rack; rack++ {
			racks = racks[1:]
		}
		size := (len(fresh) + left - 1) / left // equally full, the larger ones first
		for slot, i := range fresh[:size] {
			m.put(i, pnode, rack, slot)
		}
		fresh = fresh[size:]
		rack++
	}
}

func (m *maker) put(vnode, pnode int, rack uint32, slot int) {
	m.pnode[vnode], m.rack[vnode], m.slot[vnode] = uint32(pnode), rack, uint16(slot)
}

// sortPlaces fills order and from.
func (p *Plan) sortPlaces() {
	p.order = make([]uint32, len(p.kind))
	for i := range p.order {
		p.order[i] = uint32(i)
	}
	slices.SortFunc(p.order, func(i, j uint32) int { return p.comparePlaces(int(i), int(j)) })
	p.from = make([]int, len(p.pnodes)+1)
	for _, n := range p.pnode {
		p.from[n+1]++
	}
	for i := range p.pnodes {
		p.from[i+1] += p.from[i]
	}
}

package plan

import (
	"cmp"
	"slices"
)

// place puts every vnode on a pnode, in a rack and in a slot.
func (m *maker) place() {
	n := m.names.len()
	m.pnode, m.rack, m.slot = make([]uint32, n), make([]uint32, n), make([]uint16, n)
	kept, fresh := m.keepPlaces()
	held := make([]int, len(m.pnodes))
	for _, i := range kept {
		held[m.pnode[i]]++
	}
	// Whoever is furthest from its share gets most of what is new.
	missing := shares(m.weights(), n)
	for p := range missing {
		missing[p] = max(0, missing[p]-held[p])
	}
	for p, count := range shares(missing, len(fresh)) {
		m.fill(p, kept[:held[p]], fresh[:count])
		kept, fresh = kept[held[p]:], fresh[count:]
	}
}

// keepPlaces gives back the places of vnodes that had one which is still
// there. It returns the vnodes that have a place, by place, and the others by
// name.
func (m *maker) keepPlaces() (kept, fresh []int) {
	var moved []int // number of each of the previous pnodes now, or -1
	if m.previous != nil {
		for i, p := range m.previous.pnodes {
			if i < len(m.pnodes) && p.Name != "" && m.pnodes[i].Name == p.Name {
				moved = append(moved, i)
			} else {
				moved = append(moved, -1)
			}
		}
	}
	for i := range m.pnode {
		old := m.previously(i)
		if old < 0 || moved[m.previous.pnode[old]] < 0 || int(m.previous.slot[old]) >= m.rackVnodes {
			fresh = append(fresh, i)
			continue
		}
		m.pnode[i] = uint32(moved[m.previous.pnode[old]])
		m.rack[i], m.slot[i] = m.previous.rack[old], m.previous.slot[old]
		kept = append(kept, i)
	}
	slices.SortFunc(kept, m.comparePlaces)
	return kept, fresh
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

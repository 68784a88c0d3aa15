package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// numberPnodes gives each pnode its number: the one that it had, or else the
// lowest free one, in the order of names.
func (m *maker) numberPnodes(pnodes []Pnode) {
	if len(pnodes) == 0 {
		m.bad("place vnodes", "no pnode is there", "start an agent on at least one machine")
		m.stop = true
		return
	}
	sorted := slices.Clone(pnodes)
	slices.SortFunc(sorted, func(a, b Pnode) int { return compareNames(a.Name, b.Name) })
	for i, p := range sorted {
		if p.Name == "" || i > 0 && sorted[i-1].Name == p.Name {
			m.bad("number pnodes", fmt.Sprintf("two are called %q, or one has no name", p.Name), "give each machine its own host name")
			m.stop = true
			return
		}
	}
	held := map[string]int{}
	if m.previous != nil {
		for i, p := range m.previous.pnodes {
			held[p.Name] = i
		}
	}
	numberAll(sorted, 0, func(p Pnode) (int, bool) { i, ok := held[p.Name]; return i, ok }, func(p Pnode, i int) {
		for len(m.pnodes) <= i {
			m.pnodes = append(m.pnodes, Pnode{})
		}
		m.pnodes[i] = p
	})
}

// numberAll gives every item the number that it held, or else the lowest free
// one from first on.
func numberAll[T any](items []T, first int, held func(T) (int, bool), give func(T, int)) {
	taken := make(map[int]bool, len(items))
	var rest []T
	for _, item := range items {
		if i, ok := held(item); ok {
			taken[i] = true
			give(item, i)
		} else {
			rest = append(rest, item)
		}
	}
	next := first
	for _, item := range rest {
		for taken[next] {
			next++
		}
		give(item, next)
		next++
	}
}

// numberNetworks gives each network its ID: the one that it had, or else the
// lowest free one from 1 on, in the order of names.
func (m *maker) numberNetworks() {
	const most = 1<<16 - 1
	if len(m.topo.Networks) > most {
		m.bad("number vnetworks", fmt.Sprintf("there are %d", len(m.topo.Networks)), fmt.Sprintf("a platform has at most %d", most))
		m.stop = true
		return
	}
	sorted := slices.Clone(m.topo.Networks)
	slices.SortFunc(sorted, func(a, b topo.Network) int { return compareNames(a.Name, b.Name) })
	held := map[string]int{}
	if m.previous != nil {
		for _, n := range m.previous.networks {
			held[n.Name] = int(n.ID)
		}
	}
	numberAll(sorted, 1, func(n topo.Network) (int, bool) { i, ok := held[n.Name]; return i, ok }, func(n topo.Network, id int) {
		m.networks = append(m.networks, program.Network{ID: uint16(id), Name: n.Name, Subnet: n.Subnet, MTU: n.MTU})
	})
	slices.SortFunc(m.networks, func(a, b program.Network) int { return cmp.Compare(a.ID, b.ID) })

	at := make(map[string]int, len(m.networks))
	for i, n := range m.networks {
		at[n.Name] = i
	}
	for _, n := range m.topo.Networks {
		m.network = append(m.network, at[n.Name])
	}
}

// gather makes the rows of the vnodes, in the order of their names, and finds
// the row that each had in the previous plan.
func (m *maker) gather() {
	total := 0
	for i := range m.topo.Vnodes {
		if total += m.topo.Vnodes[i].Nodes.Len(); total < 0 || total > MaxVnodes {
			m.bad("count vnodes", fmt.Sprintf("there are more than %d", MaxVnodes), "divide them into several platforms")
			m.stop = true
			return
		}
	}
	m.gatherNames(total)
	for i := 1; i < m.names.len(); i++ {
		if m.names.at(i-1) == m.names.at(i) {
			m.bad("name vnodes", "two are called "+m.names.at(i), "leave it out of one of the node sets")
			m.stop = true
		}
	}
	m.gatherKinds()
	if err := m.countVifaces(); err != nil {
		m.problems, m.stop = append(m.problems, err), true
	}
	m.gatherNodes()
	if m.previous != nil {
		m.match()
	}
}

// gatherNames fills names and template. Templates mostly come in order
// already; if not, the rows are sorted afterwards.
func (m *maker) gatherNames(total int) {
	var b builder
	b.end = make([]uint32, 0, total)
	m.template = make([]uint32, 0, total)
	for i := range m.topo.Vnodes {
		for name := range m.topo.Vnodes[i].Nodes.All() {
			b.add(name)
			m.template = append(m.template, uint32(i))
		}
	}
	var order []int
	if m.names, order = b.sorted(); order != nil {
		template := make([]uint32, len(order))
		for i, row := range order {
			template[i] = m.template[row]
		}
		m.template = template
	}
}

// gatherKinds turns templates into kinds. Templates that differ in their node
// sets, or in what they fix for one vnode, are of one kind.
func (m *maker) gatherKinds() {
	seen := map[string]uint32{}
	kindOf := make([]int, len(m.topo.Vnodes))
	for i := range kindOf {
		kindOf[i] = -1
	}
	m.kind = make([]uint32, len(m.template))
	for i, t := range m.template {
		if kindOf[t] < 0 {
			k, key := m.kindOf(&m.topo.Vnodes[t])
			at, ok := seen[key]
			if !ok {
				at = uint32(len(m.kinds))
				seen[key] = at
				m.kinds = append(m.kinds, k)
			}
			kindOf[t] = int(at)
		}
		m.kind[i] = uint32(kindOf[t])
	}
}

func (m *maker) kindOf(t *topo.Template) (kind, string) {
	k := kind{weight: t.Weight, gateway: t.Gateway, attach: t.Attach}
	var key strings.Builder
	fmt.Fprint(&key, t.Weight, t.Gateway, t.Attach)
	for _, f := range t.Vifaces {
		v := kindViface{name: f.Name, network: m.network[f.Network]}
		if m.metric == topo.MetricDelay {
			v.measure(t, &f)
		}
		k.vifaces = append(k.vifaces, v)
		fmt.Fprintf(&key, "\n%d %s %d %d", f.Network, f.Name, v.out, v.in)
	}
	return k, key.String()
}

// gatherNodes fills nodes: the union of the templates' node sets, two by two
// so that many small ones cost no more than few large ones.
func (m *maker) gatherNodes() {
	sets := make([]*nodeset.Set, 0, len(m.topo.Vnodes))
	for i := range m.topo.Vnodes {
		sets = append(sets, m.topo.Vnodes[i].Nodes)
	}
	for len(sets) > 1 {
		half := sets[:0]
		for i := 0; i < len(sets); i += 2 {
			if i+1 < len(sets) {
				half = append(half, nodeset.Union(sets[i], sets[i+1]))
			} else {
				half = append(half, sets[i])
			}
		}
		sets = half
	}
	if len(sets) == 1 {
		m.nodes = sets[0]
	}
}

// match fills was. Both plans are in order, so one pass finds all.
func (m *maker) match() {
	m.was = make([]int32, m.names.len())
	old := &m.previous.names
	for i, j := 0, 0; i < len(m.was); i++ {
		m.was[i] = -1
		for ; j < old.len(); j++ {
			c := compareNames(old.at(j), m.names.at(i))
			if c == 0 {
				m.was[i] = int32(j)
			}
			if c >= 0 {
				break
			}
		}
	}
}

// previously gives the row that a vnode had, or -1.
func (m *maker) previously(vnode int) int {
	if m.was == nil {
		return -1
	}
	return int(m.was[vnode])
}

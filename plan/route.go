package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"myriad/program"
	"myriad/topo"
)

// explicitRoutes gives vnodes the routes that the topology spells out.
func (m *maker) explicitRoutes() {
	var all []vnodeHop
	for i := range m.topo.Routes {
		all = m.explicitRoute(all, &m.topo.Routes[i])
	}
	if len(all) == 0 {
		return
	}
	slices.SortFunc(all, func(a, b vnodeHop) int { return cmp.Or(cmp.Compare(a.vnode, b.vnode), compareHops(a.hop, b.hop)) })
	all = slices.Compact(all)
	for i := 1; i < len(all); i++ {
		if all[i-1].vnode == all[i].vnode && all[i-1].to == all[i].to {
			m.bad(fmt.Sprintf("route %s from %s", all[i].to, m.names.at(all[i].vnode)),
				fmt.Sprintf("both %s and %s are its next hop", all[i-1].via, all[i].via), "leave one of them out")
		}
	}
	m.storeHops(all)
}

type vnodeHop struct {
	vnode int
	hop
}

func compareHops(a, b hop) int { return cmp.Or(a.to.Compare(b.to), a.via.Compare(b.via)) }

// storeHops fills hops, hopOf and hopsUpTo.
func (m *maker) storeHops(all []vnodeHop) {
	for _, r := range all {
		m.hops = append(m.hops, r.hop)
	}
	slices.SortFunc(m.hops, compareHops)
	m.hops = slices.Clip(slices.Compact(m.hops))
	m.hopOf = make([]uint32, len(all))
	m.hopsUpTo = make([]uint32, m.names.len())
	for i, r := range all {
		at, _ := slices.BinarySearchFunc(m.hops, r.hop, compareHops)
		m.hopOf[i] = uint32(at)
		m.hopsUpTo[r.vnode] = uint32(i + 1)
	}
	for i := 1; i < len(m.hopsUpTo); i++ {
		m.hopsUpTo[i] = max(m.hopsUpTo[i], m.hopsUpTo[i-1])
	}
}

// explicitRoute appends one route of the topology for each vnode that has it.
// The next hop itself, where it is among them, needs none.
func (m *maker) explicitRoute(all []vnodeHop, r *topo.Route) []vnodeHop {
	via := -1
	if r.ViaNode != "" {
		var ok bool
		if via, ok = m.names.find(r.ViaNode); !ok {
			m.bad("route "+r.To.String(), "its next hop "+r.ViaNode+" is no vnode", "name one that is")
			return all
		}
	}
	lost := map[uint32]bool{} // kinds already complained of
	at := -1
	for name := range r.Nodes.All() {
		var ok bool
		if at, ok = m.names.findNear(name, at); !ok {
			m.bad(fmt.Sprintf("route %s from %s", r.To, name), "it is no vnode", "leave it out")
			continue
		}
		if at == via {
			continue
		}
		hop := hop{r.To, r.Via}
		if via >= 0 {
			hop.via = m.sharedAddress(at, via)
		}
		if cause, remedy := m.checkHop(at, hop); cause == "" {
			all = append(all, vnodeHop{at, hop})
		} else if !lost[m.kind[at]] {
			lost[m.kind[at]] = true
			m.bad(fmt.Sprintf("route %s from %s", r.To, name), cause, remedy)
		}
	}
	return all
}

// sharedAddress gives the address of via in the first network of vnode that
// both are in; an invalid one if there is none.
func (m *maker) sharedAddress(vnode, via int) netip.Addr {
	for _, f := range m.kinds[m.kind[vnode]].vifaces {
		for j, g := range m.kinds[m.kind[via]].vifaces {
			if f.network == g.network {
				return m.networks[f.network].Addr(m.host[m.viface[via]+uint32(j)])
			}
		}
	}
	return netip.Addr{}
}

func (m *maker) checkHop(vnode int, h hop) (cause, remedy string) {
	cause, remedy = "its next hop is in none of the vnetworks that it is in", "choose a next hop that shares a vnetwork with it"
	for _, f := range m.kinds[m.kind[vnode]].vifaces {
		subnet := m.networks[f.network].Subnet
		if subnet == h.to {
			return fmt.Sprintf("it is in vnetwork %s itself", m.networks[f.network].Name), "leave it out of the route's nodes"
		}
		if h.via.IsValid() && subnet.Contains(h.via) {
			cause, remedy = "", ""
		}
	}
	return cause, remedy
}

// appendRoutes appends the routes of a vnode, by destination: its explicit
// ones, and those between all networks. Of two with the same destination, the
// explicit one holds.
func (p *Plan) appendRoutes(out []program.Route, vnode int, slot uint16) []program.Route {
	explicit := p.explicitOf(vnode)
	if !p.complete {
		for _, h := range explicit {
			out = append(out, program.Route{Slot: slot, To: p.hops[h].to, Via: p.hops[h].via})
		}
		return out
	}
	computed := p.routes[p.kind[vnode]].merged
	if len(explicit) > 0 {
		computed = p.routes[p.kind[vnode]].plain
	}
	for len(explicit) > 0 || len(computed) > 0 {
		c := -1
		if len(explicit) == 0 {
			c = 1
		} else if len(computed) > 0 {
			c = p.hops[explicit[0]].to.Compare(computed[0].to)
		}
		if c <= 0 {
			h := p.hops[explicit[0]]
			out = append(out, program.Route{Slot: slot, To: h.to, Via: h.via})
			explicit = explicit[1:]
		} else {
			out = append(out, program.Route{Slot: slot, To: computed[0].to, Via: p.nextHop(vnode, &computed[0])})
		}
		if c >= 0 {
			computed = computed[1:]
		}
	}
	return out
}

// explicitOf gives the explicit routes of a vnode: indexes into hops.
func (p *Plan) explicitOf(vnode int) []uint32 {
	if len(p.hopsUpTo) == 0 {
		return nil
	}
	from := uint32(0)
	if vnode > 0 {
		from = p.hopsUpTo[vnode-1]
	}
	return p.hopOf[from:p.hopsUpTo[vnode]]
}

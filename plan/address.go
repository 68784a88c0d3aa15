package plan

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"myriad/program"
	"myriad/topo"
)

// address gives every viface its host number: the one that the topology
// fixes, else the one that it had, else the lowest free one that nobody had
// (see fresh), in the order of vnodes. The subnet's own address and its
// broadcast address are nobody's.
func (m *maker) address() {
	m.host = make([]uint32, m.viface[len(m.viface)-1])
	taken := m.fixedHosts()
	m.fixed = make([][]uint32, len(taken))
	for n := range taken {
		m.fixed[n] = slices.Sorted(slices.Values(taken[n]))
	}
	m.keepHosts(taken)
	for n := range taken {
		slices.Sort(taken[n])
	}
	next := m.fresh(taken) // by network, the host after which to look for free ones
	lacking := make([]int, len(m.networks))
	m.eachViface(func(row uint32, _ int, f *kindViface) {
		if m.host[row] != 0 {
			return
		}
		h, t := next[f.network]+1, taken[f.network]
		for len(t) > 0 && t[0] <= h {
			if t[0] == h {
				h++
			}
			t = t[1:]
		}
		taken[f.network] = t
		if !m.networks[f.network].HasHost(h) {
			lacking[f.network]++
			return
		}
		m.host[row], next[f.network] = h, h
	})
	m.countMembers()
	for i, n := range m.networks {
		if lacking[i] > 0 {
			m.bad(fmt.Sprintf("address %d vifaces in vnetwork %s", m.members[i], n.Name),
				fmt.Sprintf("%s has no address for %d of them", n.Subnet, lacking[i]), wider(n.Subnet, m.members[i]))
		}
	}
	for i, n := range m.topo.Networks {
		few := m.members[m.network[i]] <= topo.BroadcastMembers
		m.networks[m.network[i]].Broadcast = n.Broadcast == topo.BroadcastOn || n.Broadcast == topo.BroadcastAuto && few
	}
}

// fresh says, by network, after which host new vifaces are numbered: after all
// that the previous plan gave away, as long as there is room behind them.
// Who gets the number of a vnode that goes would have its Ethernet address,
// too, and would have to wait until the kernel has let go of the old one.
func (m *maker) fresh(taken [][]uint32) []uint32 {
	after := make([]uint32, len(m.networks))
	if m.previous == nil {
		return after
	}
	at := map[uint16]int{} // network by ID
	lacking := make([]uint32, len(m.networks))
	for i, n := range m.networks {
		at[n.ID] = i
	}
	m.eachViface(func(row uint32, _ int, f *kindViface) {
		if m.host[row] == 0 {
			lacking[f.network]++
		}
	})
	m.previous.eachViface(func(row uint32, _ int, f *kindViface) {
		i, ok := at[m.previous.networks[f.network].ID]
		if ok && !m.fixes(i, m.previous.host[row]) {
			after[i] = max(after[i], m.previous.host[row])
		}
	})
	for i, n := range m.networks {
		behind := uint32(1)<<(32-n.Subnet.Bits()) - 2 - min(after[i], uint32(1)<<(32-n.Subnet.Bits())-2)
		first, _ := slices.BinarySearch(taken[i], after[i]+1)
		if behind < lacking[i]+uint32(len(taken[i])-first) {
			after[i] = 0
		}
	}
	return after
}

// fixes says whether the topology gives a host of a network to somebody.
func (m *maker) fixes(network int, host uint32) bool {
	_, ok := slices.BinarySearch(m.fixed[network], host)
	return ok
}

// eachViface calls f for every viface, in order: with its row, its vnode and
// what its kind says of it.
func (p *Plan) eachViface(f func(row uint32, vnode int, v *kindViface)) {
	for i, k := range p.kind {
		vifaces := p.kinds[k].vifaces
		for j := range vifaces {
			f(p.viface[i]+uint32(j), i, &vifaces[j])
		}
	}
}

// fixedHosts assigns the addresses that the topology fixes. It returns the
// hosts taken, by network.
func (m *maker) fixedHosts() [][]uint32 {
	taken := make([][]uint32, len(m.networks))
	owner := map[[2]uint32]int{}
	m.eachFixed(func(row uint32, vnode int, f *topo.Viface) {
		if !f.Address.IsValid() {
			return
		}
		at := m.network[f.Network]
		n := m.networks[at]
		h, ok := hostOf(n, f.Address)
		if !ok {
			m.bad(fmt.Sprintf("give %s to %s", f.Address, m.names.at(vnode)),
				fmt.Sprintf("it is no host of vnetwork %s, %s", n.Name, n.Subnet), "choose an address within the subnet")
			return
		}
		if other, twice := owner[[2]uint32{uint32(at), h}]; twice {
			m.bad(fmt.Sprintf("give %s to %s", f.Address, m.names.at(vnode)),
				m.names.at(other)+" has it", "choose another address for one of them")
			return
		}
		owner[[2]uint32{uint32(at), h}] = vnode
		m.host[row] = h
		taken[at] = append(taken[at], h)
	})
	return taken
}

// eachFixed calls f for the vifaces of which a topology may fix something:
// those of templates of one vnode.
func (m *maker) eachFixed(f func(row uint32, vnode int, v *topo.Viface)) {
	for i, t := range m.template {
		for j := range m.topo.Vnodes[t].Vifaces {
			v := &m.topo.Vnodes[t].Vifaces[j]
			if v.Address.IsValid() || v.MAC != (program.MAC{}) {
				f(m.viface[i]+uint32(j), i, v)
			}
		}
	}
}

func hostOf(n program.Network, a netip.Addr) (uint32, bool) {
	if !a.Is4() || !n.Subnet.Contains(a) {
		return 0, false
	}
	h := n.HostOf(a)
	return h, n.HasHost(h)
}

// keepHosts gives vifaces the host numbers that they had in the same network,
// unless somebody's address is fixed there now.
func (m *maker) keepHosts(taken [][]uint32) {
	if m.previous == nil {
		return
	}
	fixed := make([]map[uint32]bool, len(taken))
	for n, hosts := range taken {
		fixed[n] = make(map[uint32]bool, len(hosts))
		for _, h := range hosts {
			fixed[n][h] = true
		}
	}
	m.eachViface(func(row uint32, vnode int, f *kindViface) {
		old := m.previously(vnode)
		if old < 0 || m.host[row] != 0 {
			return
		}
		n := m.networks[f.network]
		h := m.previous.hostOf(old, f.name, n.ID)
		if h != 0 && n.HasHost(h) && !fixed[f.network][h] {
			m.host[row] = h
			taken[f.network] = append(taken[f.network], h)
		}
	})
}

// hostOf gives the host number of a viface, 0 if there is none of that name
// in that network.
func (p *Plan) hostOf(vnode int, viface string, network uint16) uint32 {
	for j, f := range p.kinds[p.kind[vnode]].vifaces {
		if f.name == viface && p.networks[f.network].ID == network {
			return p.host[p.viface[vnode]+uint32(j)]
		}
	}
	return 0
}

// wider says which subnet would hold some vifaces.
func wider(subnet netip.Prefix, vifaces int) string {
	bits := subnet.Bits()
	for bits > 8 && vifaces > 1<<(32-bits)-2 {
		bits--
	}
	if vifaces > 1<<(32-bits)-2 {
		return "divide them over several vnetworks"
	}
	if bits == subnet.Bits() {
		return "fix fewer addresses"
	}
	return fmt.Sprintf("use a subnet of /%d, such as %s", bits, netip.PrefixFrom(subnet.Addr(), bits).Masked())
}

// checkMACs takes over the MACs that the topology gives, except where they
// are the computed ones anyway.
func (m *maker) checkMACs() {
	owner := map[program.MAC]int{}
	computed := map[uint16]bool{}
	for _, n := range m.networks {
		computed[n.ID] = true
	}
	m.eachFixed(func(row uint32, vnode int, f *topo.Viface) {
		n := m.networks[m.network[f.Network]]
		if f.MAC == (program.MAC{}) || f.MAC == program.MACOf(n.ID, m.host[row]) {
			return
		}
		op := fmt.Sprintf("give %s to %s", f.MAC, m.names.at(vnode))
		if id, _, ok := f.MAC.Computed(); ok && computed[id] {
			m.bad(op, "MACs from 02:00:01 on are computed from networks and hosts", "choose one that begins with 06")
		} else if f.MAC[0]&1 != 0 {
			m.bad(op, "it is a multicast address", "choose one whose first byte is even")
		} else if other, twice := owner[f.MAC]; twice {
			m.bad(op, m.names.at(other)+" has it", "choose another MAC for one of them")
		} else {
			m.macs = append(m.macs, givenMAC{row, f.MAC})
		}
		owner[f.MAC] = vnode
	})
}

// number is an IPv4 address as a number.
func number(a netip.Addr) uint32 {
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

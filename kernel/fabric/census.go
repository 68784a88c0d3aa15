package fabric

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"myriad/program"
)

// population is what a program says of one network.
type population struct {
	broadcast   bool
	first, size uint32   // its addresses
	hosts       []extent // who is in it
	count       uint32   // number of them
	end         uint32   // highest of them, plus one
	span        uint32   // hosts that are worth a table by number
	members     []uint64 // who gets its broadcast frames
}

// extent is a run of hosts.
type extent struct{ host, count uint32 }

// census counts the hosts of every network, by ID. Of what makes a program
// invalid, it refuses what would lead outside of the tables.
func census(p *program.Program) ([]*population, error) {
	nets := populations(p.Networks)
	for i := range p.Racks {
		rack := &p.Racks[i]
		if rack.Index > maxRack {
			return nil, fmt.Errorf("place rack %d: the highest number of a rack is %d", rack.Index, maxRack)
		}
		for _, v := range rack.Vifaces {
			n, err := enlist(nets, v.Network, v.Host, 1)
			if err != nil {
				return nil, err
			}
			if n.broadcast {
				n.members = append(n.members, memberWord(firstTrunk+rack.Index, v.Address()))
			}
		}
	}
	for _, r := range p.Remote {
		if !p.Elsewhere(&r) {
			continue
		}
		if _, err := enlist(nets, r.Network, r.Host, r.Count); err != nil {
			return nil, err
		}
	}
	eachRemote(p, func(network uint16, _ uint32, mac program.MAC, _ uint32) {
		if n := nets[network]; n.broadcast {
			n.members = append(n.members, memberWord(OverlayIndex, mac))
		}
	})
	for _, n := range nets {
		if n != nil {
			n.span = n.dense()
		}
	}
	return nets, nil
}

// eachRemote calls fn for every viface of other pnodes that matters here.
func eachRemote(p *program.Program, fn func(network uint16, host uint32, mac program.MAC, pnode uint32)) {
	given := p.MACs // those that are yet to come: both tables are sorted
	for _, r := range p.Remote {
		if !p.Elsewhere(&r) {
			continue
		}
		for host := r.Host; host < r.Host+r.Count; host++ {
			for len(given) > 0 && (given[0].Network < r.Network || given[0].Network == r.Network && given[0].Host < host) {
				given = given[1:]
			}
			mac := program.MACOf(r.Network, host)
			if len(given) > 0 && given[0].Network == r.Network && given[0].Host == host {
				mac = given[0].MAC
			}
			fn(r.Network, host, mac, r.Pnode)
		}
	}
}

func populations(networks []program.Network) []*population {
	var nets []*population
	for _, n := range networks {
		if missing := int(n.ID) + 1 - len(nets); missing > 0 {
			nets = append(nets, make([]*population, missing)...)
		}
		first := n.Addr(0).As4()
		nets[n.ID] = &population{
			broadcast: n.Broadcast,
			first:     binary.BigEndian.Uint32(first[:]),
			size:      1 << (32 - n.Subnet.Bits()),
		}
	}
	return nets
}

// enlist adds a run of hosts to the population that they belong to.
func enlist(nets []*population, id uint16, host, count uint32) (*population, error) {
	if int(id) >= len(nets) || nets[id] == nil {
		return nil, fmt.Errorf("place host %d of network %d: there is no such network", host, id)
	}
	n := nets[id]
	if uint64(host)+uint64(count) > uint64(n.size) {
		return nil, fmt.Errorf("place host %d of network %d: it has only %d addresses", host+count-1, id, n.size)
	}
	n.hosts = append(n.hosts, extent{host, count})
	n.count += count
	n.end = max(n.end, host+count)
	return n, nil
}

// A table by number may be this sparse: places for each host, and places that
// any network may have. Addresses far from all others are exceptions instead.
const (
	sparse = 16
	free   = 256
)

// dense is the number of hosts, from 0 on, that are worth a table by number.
func (n *population) dense() uint32 {
	if n.end <= free+sparse*n.count {
		return n.end
	}
	slices.SortFunc(n.hosts, func(a, b extent) int { return cmp.Compare(a.host, b.host) })
	var span, seen uint32
	for _, h := range n.hosts {
		seen += h.count
		if h.host+h.count <= free+sparse*seen {
			span = h.host + h.count
		}
	}
	return span
}

package fabric

import (
	"errors"

	"myriad/program"
)

// errRoom says that a program does not fit into the maps that there are.
var errRoom = errors.New("the maps have no room for the program")

// build computes the tables for a program. Given the tables that there are, it
// keeps what it can where it is: a network its slices for as long as it fits
// into them, a member its place among the others. With nil, it makes new
// tables with room to grow. It is pure: have is not changed. The program must be
// valid.
func build(p *program.Program, have *tables) (*tables, error) {
	nets, err := census(p)
	if err != nil {
		return nil, err
	}
	b := builder{have: have, nets: nets}
	if err := b.layout(); err != nil {
		return nil, err
	}
	b.place(p)
	b.gather()
	b.want.pnodes = underlay(p)
	if have != nil {
		missing := len(have.pnodes) - len(b.want.pnodes)
		if missing < 0 {
			return nil, errRoom
		}
		b.want.pnodes = append(b.want.pnodes, make([]uint64, missing)...)
		if b.want.room = have.room; b.union() > have.room {
			return nil, errRoom
		}
	}
	return &b.want, nil
}

// builder is the state of one build.
type builder struct {
	have *tables
	nets []*population // by ID; nil where no network is
	want tables
}

// layout gives every network its slices of places and members: those it has,
// if they suffice, else new ones behind all that are in use.
func (b *builder) layout() error {
	var places, members uint32 // ends of what is in use
	for id := range b.have.rows() {
		r := b.have.row(id)
		places, members = max(places, r.base+r.span), max(members, r.member+r.room)
	}
	b.want.nets = make([]uint64, len(b.nets)*rowWords)
	for id, n := range b.nets {
		if n == nil {
			continue
		}
		r := b.have.row(id)
		r.first, r.size = n.first, n.size
		if n.span > r.span {
			r.base, r.span = places, grown(n.span, n.size)
			places += r.span
		}
		if need := uint32(len(n.members)); need > r.room {
			r.member, r.room, r.members = members, grown(need, n.size), 0
			members += r.room
		}
		r.put(b.want.nets[id*rowWords:])
	}
	if b.have == nil {
		b.want.places, b.want.members = make([]uint64, places), make([]uint64, members)
		return nil
	}
	if len(b.want.nets) > len(b.have.nets) || int(places) > len(b.have.places) || int(members) > len(b.have.members) {
		return errRoom
	}
	b.want.nets = append(b.want.nets, make([]uint64, len(b.have.nets)-len(b.want.nets))...)
	b.want.places = make([]uint64, len(b.have.places))
	b.want.members = make([]uint64, len(b.have.members))
	return nil
}

// grown adds to what is needed now what may be needed later, within what can
// ever be.
func grown(need, limit uint32) uint32 {
	return max(need, min(need+need/4+64, limit))
}

// place says of every host where it is.
func (b *builder) place(p *program.Program) {
	b.want.others = map[uint64]other{}
	for i := range p.Racks {
		trunk := firstTrunk + p.Racks[i].Index
		for _, v := range p.Racks[i].Vifaces {
			b.settle(v.Network, v.Host, v.Address(), trunk)
		}
	}
	eachRemote(p, func(network uint16, host uint32, mac program.MAC, pnode uint32) {
		b.settle(network, host, mac, placeRemote|pnode)
	})
}

// settle enters one host: into its network's slice if its address is the
// computed one and the slice reaches so far, else among the exceptions.
func (b *builder) settle(network uint16, host uint32, mac program.MAC, trunk uint32) {
	r := b.want.row(int(network))
	near, computed := host < r.span, mac == program.MACOf(network, host)
	if near && computed {
		b.want.places[r.base+host] = uint64(trunk)
		return
	}
	if near {
		b.want.places[r.base+host] = placeOther
	}
	entry := other{MAC: macWord(mac), Network: uint32(network), Host: host, Trunk: trunk}
	b.want.others[byHost(network, host)] = entry
	if !computed {
		b.want.others[entry.MAC] = entry
	}
}

// gather lists the members of each network that delivers broadcast. Who is a
// member already stays where he is in the list, so that a frame on its way to
// all meets everyone once.
func (b *builder) gather() {
	for id, n := range b.nets {
		if n == nil {
			continue
		}
		r := b.want.row(id)
		list := b.want.members[r.member : r.member+r.room]
		missing := make(map[uint64]bool, len(n.members))
		for _, m := range n.members {
			missing[m] = true
		}
		for i := range r.members { // as it is now
			if m := b.have.members[r.member+i]; missing[m] {
				list[i] = m
				delete(missing, m)
			}
		}
		r.members = 0
		for _, m := range n.members {
			if missing[m] {
				for list[r.members] != 0 {
					r.members++
				}
				list[r.members] = m
			}
		}
		for r.members = r.room; r.members > 0 && list[r.members-1] == 0; {
			r.members--
		}
		r.put(b.want.nets[id*rowWords:])
	}
}

// union is the number of exceptions that are now or will be: during a change,
// the map holds both.
func (b *builder) union() int {
	n := len(b.have.others)
	for key := range b.want.others {
		if _, there := b.have.others[key]; !there {
			n++
		}
	}
	return n
}

package plan

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"sync"

	"myriad/program"
)

// Program gives what one pnode must have, nil for a number that is nobody's.
// Programs share their tables of names and links; nothing in one may be
// changed. Each has the conditions of all links of the platform, for each
// pnode enforces what its vnodes send to any other.
func (p *Plan) Program(pnode int) *program.Program {
	own := p.Own(pnode)
	if own == nil {
		return nil
	}
	return program.Join(p.Shared(), own)
}

// Shared gives what all pnodes of the platform have in common: always the
// same value. Nothing in it may be changed.
func (p *Plan) Shared() *program.Shared {
	p.sharing.once.Do(func() {
		s := &p.sharing.value
		*s = program.Shared{Platform: p.platform, Fabric: p.fabric, Networks: p.networks, Names: p.ranges, Places: p.places, Links: p.links, Overlay: p.underlay()}
		s.Sites, s.Ways = p.siteWays()
		if len(p.places) > 0 {
			s.MACs = p.givenMACs()
		}
	})
	return &p.sharing.value
}

// sharedOnce is what pnodes share, once somebody has asked for it.
type sharedOnce struct {
	once  sync.Once
	value program.Shared
}

// givenMACs gives the vifaces whose MAC is given, by network and host.
func (p *Plan) givenMACs() []program.GivenMAC {
	var out []program.GivenMAC
	for _, g := range p.macs {
		vnode := p.vnodeOf(g.viface).from
		n := p.networks[p.kinds[p.kind[vnode]].vifaces[g.viface-p.viface[vnode]].network]
		out = append(out, program.GivenMAC{Network: n.ID, Host: p.host[g.viface], MAC: g.mac})
	}
	slices.SortFunc(out, func(a, b program.GivenMAC) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Host, b.Host))
	})
	return out
}

// Own gives what one pnode has for itself, nil for a number that is nobody's.
func (p *Plan) Own(pnode int) *program.Own {
	if pnode < 0 || pnode >= len(p.pnodes) || p.pnodes[pnode].Name == "" {
		return nil
	}
	out := &program.Own{Pnode: p.pnodes[pnode].Name, Number: uint32(pnode)}
	rows := p.order[p.from[pnode]:p.from[pnode+1]]
	for len(rows) > 0 {
		rack := p.rack[rows[0]]
		n := 1
		for n < len(rows) && p.rack[rows[n]] == rack {
			n++
		}
		out.Racks = append(out.Racks, p.rackProgram(rack, rows[:n]))
		rows = rows[n:]
	}
	return out
}

// rackProgram makes the tables of one rack, whose vnodes are given by slot.
func (p *Plan) rackProgram(index uint32, rows []uint32) program.Rack {
	vifaces := 0
	for _, i := range rows {
		vifaces += len(p.kinds[p.kind[i]].vifaces)
	}
	r := program.Rack{Index: index, Vnodes: make([]program.Vnode, 0, len(rows)), Vifaces: slices.Grow([]program.Viface(nil), vifaces)}
	for _, i := range rows {
		k, slot := &p.kinds[p.kind[i]], p.slot[i]
		r.Vnodes = append(r.Vnodes, program.Vnode{Slot: slot, Name: p.names.at(int(i)), Weight: k.weight, Forward: k.gateway})
		for j, f := range k.vifaces {
			row := p.viface[i] + uint32(j)
			r.Vifaces = append(r.Vifaces, program.Viface{Slot: slot, Index: uint16(j), Name: f.name,
				Network: p.networks[f.network].ID, Host: p.host[row], MAC: p.macOf(row), Attach: k.attach})
		}
		r.Routes = p.appendRoutes(r.Routes, int(i), slot)
	}
	return r
}

// macOf gives the MAC that was given to a viface, zero for most.
func (p *Plan) macOf(row uint32) program.MAC {
	if i, ok := slices.BinarySearchFunc(p.macs, row, func(m givenMAC, row uint32) int { return cmp.Compare(m.viface, row) }); ok {
		return p.macs[i].mac
	}
	return program.MAC{}
}

// placeRanges says which pnode carries which hosts, by network and host; none
// is needed for a single pnode.
func (p *Plan) placeRanges() []program.PlaceRange {
	if !p.several() {
		return nil
	}
	rows := make([]program.PlaceRange, 0, len(p.host))
	p.eachViface(func(row uint32, vnode int, f *kindViface) {
		rows = append(rows, program.PlaceRange{Network: p.networks[f.network].ID, Host: p.host[row], Count: 1, Pnode: p.pnode[vnode]})
	})
	slices.SortFunc(rows, func(a, b program.PlaceRange) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Host, b.Host))
	})
	out := rows[:0]
	for _, r := range rows {
		if n := len(out); n > 0 {
			if last := &out[n-1]; last.Network == r.Network && last.Pnode == r.Pnode && last.Host+last.Count == r.Host {
				last.Count++
				continue
			}
		}
		out = append(out, r)
	}
	return slices.Clone(out)
}

// nameRanges gives the names of all vnodes with their addresses: vnodes whose
// names and addresses both count up share a range for each of their vifaces.
func (p *Plan) nameRanges() []program.NameRange {
	var out []program.NameRange
	open := 0 // ranges that the last vnode is in: the last ones of out
	for i := range p.kind {
		rows := p.host[p.viface[i]:p.viface[i+1]]
		name := p.names.at(i)
		run := out[len(out)-open:]
		if len(rows) > 0 && len(run) == len(rows) && p.follows(i, run) && extend(run, name) {
			continue
		}
		for j, h := range rows {
			n := p.networks[p.kinds[p.kind[i]].vifaces[j].network]
			out = append(out, program.NameRange{Prefix: name, Literal: true, Count: 1, Addr: n.Addr(h)})
		}
		open = len(rows)
	}
	return slices.Clip(out)
}

// follows says whether each address of a vnode comes next in the range of the
// same viface.
func (p *Plan) follows(vnode int, run []program.NameRange) bool {
	for j, f := range p.kinds[p.kind[vnode]].vifaces {
		addr := p.networks[f.network].Addr(p.host[p.viface[vnode]+uint32(j)])
		if number(run[j].Addr)+run[j].Count != number(addr) {
			return false
		}
	}
	return true
}

// extend makes name the next one of ranges that have the same names, if it
// counts on from the last.
func extend(run []program.NameRange, name string) bool {
	next := run[0]
	var buf [program.MaxVnodeName]byte
	if next.Literal {
		var ok bool
		if next, ok = countFrom(next, name); !ok {
			return false
		}
	} else if string(next.AppendName(buf[:0], next.Count)) != name {
		return false
	}
	for j := range run {
		next.Addr, next.Count = run[j].Addr, run[j].Count+1
		run[j] = next
	}
	return true
}

// countFrom turns a single name into a range that name comes next in, if they
// differ in one number, by one.
func countFrom(r program.NameRange, name string) (program.NameRange, bool) {
	first := r.Prefix
	at := 0 // where they differ
	for at < min(len(first), len(name)) && first[at] == name[at] {
		at++
	}
	for at > 0 && first[at-1]-'0' <= 9 { // the number begins there
		at--
	}
	n := digits(first[at:])
	value, err := strconv.ParseUint(first[at:at+n], 10, 63)
	if err != nil || value == math.MaxInt64 {
		return r, false
	}
	r.Prefix, r.Suffix, r.First, r.Literal = first[:at], first[at+n:], value, false
	if n > 1 && first[at] == '0' {
		r.Width = uint8(n)
	}
	return r, string(r.AppendName(nil, 1)) == name && string(r.AppendName(nil, 0)) == first
}

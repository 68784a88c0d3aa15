package fabric

import (
	"encoding/binary"
	"net/netip"

	"github.com/cilium/ebpf"

	"myriad/program"
)

// OverlayIndex is the interface index, in the spine, of the device of the
// overlay: VXLAN, external, in the namespace of the spine, made from that of the
// underlay.
const OverlayIndex = 12

// firstTrunk is the interface index, in the spine, of rack 0's trunk. A place
// is such an index, so that the programs redirect to it as it is.
const firstTrunk = 16

// maxRack is the highest number of a rack: a member's word has 16 bits for
// the trunk.
const maxRack = 1<<16 - 1 - firstTrunk

// Marks in a place that is not a trunk of this pnode (struct place).
const (
	placeRemote = 1 << 30 // with the number of the pnode
	placeOther  = 1 << 31 // only the map others knows
)

// tables are the contents of a fabric's maps. Those of arrays are in words of
// eight bytes, which are read and written whole. Tables read from maps are as
// long as these; room is the capacity of the map others.
type tables struct {
	nets    []uint64 // rowWords for each network, by ID
	places  []uint64
	members []uint64
	pnodes  []uint64 // pnodeWords for each pnode, by number
	others  map[uint64]other
	room    int
}

// other is an entry of the map others (struct other).
type other struct {
	MAC     uint64
	Network uint32
	Host    uint32
	Trunk   uint32
	Link    uint32 // its link index
}

// byHost is the key of others for a host of a network; the other keys are
// Ethernet addresses.
func byHost(network uint16, host uint32) uint64 {
	return 1<<63 | uint64(network)<<32 | uint64(host)
}

// macWord is an Ethernet address as the number that the programs use.
func macWord(m program.MAC) uint64 {
	return uint64(binary.BigEndian.Uint16(m[:]))<<32 | uint64(binary.BigEndian.Uint32(m[2:]))
}

// memberWord is an entry of the map members.
func memberWord(trunk uint32, m program.MAC) uint64 {
	return uint64(trunk)<<48 | macWord(m)
}

// row is an entry of the map nets (struct network).
type row struct {
	first, size     uint32
	base, span      uint32
	member, members uint32
	room            uint32
}

// rowWords is the size of a row in words.
const rowWords = 4

func (r row) put(w []uint64) {
	w[0] = uint64(r.first) | uint64(r.size)<<32
	w[1] = uint64(r.base) | uint64(r.span)<<32
	w[2] = uint64(r.member) | uint64(r.members)<<32
	w[3] = uint64(r.room)
}

// row gives the row of a network, empty if it has none.
func (t *tables) row(id int) row {
	if t == nil || id >= t.rows() {
		return row{}
	}
	w := t.nets[id*rowWords:]
	return row{
		first: uint32(w[0]), size: uint32(w[0] >> 32),
		base: uint32(w[1]), span: uint32(w[1] >> 32),
		member: uint32(w[2]), members: uint32(w[2] >> 32),
		room: uint32(w[3]),
	}
}

// pnodeWords is the size of an entry of the map pnodes in words (struct pnode).
const pnodeWords = 3

// underlay gives the entries of the map pnodes: the ends of the tunnel to each.
func underlay(p *program.Program) []uint64 {
	if p.Overlay == nil {
		return nil
	}
	words := make([]uint64, len(p.Overlay.Underlay)*pnodeWords)
	for i := range p.Overlay.Underlay {
		local, remote, _ := p.Overlay.Ends(p.Number, uint32(i))
		if !remote.IsValid() || uint32(i) == p.Number {
			continue
		}
		w := words[i*pnodeWords:]
		w[0] = uint64(addrNumber(remote)) | uint64(addrNumber(local))<<32
		w[1] = uint64(p.Overlay.VNI)
		if i < len(p.Ways) {
			w[2] = clamp(p.Ways[i], maxTime)
		}
	}
	return words
}

// addrNumber is an IPv4 address as a number; 0 for any other.
func addrNumber(a netip.Addr) uint32 {
	if !a.Is4() {
		return 0
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:])
}

// rows is the number of rows in nets.
func (t *tables) rows() int {
	if t == nil {
		return 0
	}
	return len(t.nets) / rowWords
}

// extend adds to new tables the room that maps are made with, and asks for
// maps of that size.
func (t *tables) extend(spec *ebpf.CollectionSpec) {
	pad := func(words []uint64, n int) []uint64 { return append(words, make([]uint64, n)...) }
	t.nets = pad(t.nets, (t.rows()/4+16)*rowWords)
	t.places = pad(t.places, len(t.places)/4+1024)
	t.members = pad(t.members, len(t.members)/4+64)
	t.pnodes = pad(t.pnodes, (len(t.pnodes)/pnodeWords/4+16)*pnodeWords)
	t.room = len(t.others)*2 + 64
	spec.Maps[trunkMapNets].MaxEntries = uint32(t.rows())
	spec.Maps[trunkMapPlaces].MaxEntries = uint32(len(t.places))
	spec.Maps[trunkMapMembers].MaxEntries = uint32(len(t.members))
	spec.Maps[trunkMapPnodes].MaxEntries = uint32(len(t.pnodes) / pnodeWords)
	spec.Maps[trunkMapOthers].MaxEntries = uint32(t.room)
}

// empty gives the tables of new maps of the same size.
func (t *tables) empty() *tables {
	return &tables{
		nets:    make([]uint64, len(t.nets)),
		places:  make([]uint64, len(t.places)),
		members: make([]uint64, len(t.members)),
		pnodes:  make([]uint64, len(t.pnodes)),
	}
}

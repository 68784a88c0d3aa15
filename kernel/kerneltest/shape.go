package kerneltest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	"myriad/program"
)

// Shape is a kind of program that the suite tries.
type Shape struct {
	Name   string
	Fabric program.Fabric
	Attach program.Attach
}

// Shapes are all kinds.
var Shapes = []Shape{
	{"ebpf-macvlan", program.FabricEBPF, program.AttachMacvlan},
	{"ebpf-veth", program.FabricEBPF, program.AttachVeth},
	{"bridge-veth", program.FabricBridge, program.AttachVeth},
}

// Program makes a small valid program: one or two racks of up to six vnodes
// in three networks, two of which have the same subnet; some vnodes have two
// vifaces and forward; some have routes; some MACs are given. Equal sources
// of randomness make equal programs.
func (s Shape) Program(platform string, rng *rand.Rand) *program.Program {
	p := &program.Program{
		Platform: platform,
		Pnode:    "pnode",
		Fabric:   s.Fabric,
		Networks: []program.Network{
			{ID: 1, Name: "lan", Subnet: netip.MustParsePrefix("10.1.0.0/16"), MTU: 1500, Broadcast: true},
			{ID: 2, Name: "wan", Subnet: netip.MustParsePrefix("10.2.0.0/24"), MTU: 1400},
			{ID: 3, Name: "twin", Subnet: netip.MustParsePrefix("10.1.0.0/16"), MTU: 9000},
		},
	}
	for k := range 1 + rng.IntN(2) {
		p.Racks = append(p.Racks, s.rack(uint32(k), p.Networks, rng))
	}
	for _, r := range p.Racks {
		p.Names = append(p.Names, names(r, p.Networks)...)
	}
	return p
}

func (s Shape) rack(index uint32, networks []program.Network, rng *rand.Rand) program.Rack {
	r := program.Rack{Index: index}
	for slot := range uint16(8) {
		if rng.IntN(4) == 0 && slot > 0 {
			continue // a gap: slots are kept when their neighbours go
		}
		two := rng.IntN(4) == 0
		r.Vnodes = append(r.Vnodes, program.Vnode{Slot: slot, Name: fmt.Sprintf("n%d-%d", index, slot), Forward: two})
		host := 1 + index*100 + uint32(slot)
		first := networks[[]int{0, 0, 2}[rng.IntN(3)]]
		r.Vifaces = append(r.Vifaces, s.viface(slot, 0, first, host, rng))
		if two {
			r.Vifaces = append(r.Vifaces, s.viface(slot, 1, networks[1], host, rng))
		}
		if rng.IntN(3) == 0 {
			r.Routes = append(r.Routes, program.Route{
				Slot: slot,
				To:   netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(20 + rng.IntN(3)), 0, 0}), 16),
				Via:  first.Addr(5000 + uint32(rng.IntN(3))),
			})
		}
	}
	return r
}

func (s Shape) viface(slot, index uint16, n program.Network, host uint32, rng *rand.Rand) program.Viface {
	v := program.Viface{Slot: slot, Index: index, Name: fmt.Sprintf("eth%d", index), Network: n.ID, Host: host, Attach: s.Attach}
	if rng.IntN(5) == 0 {
		v.MAC = program.MAC{0x0a, 0, byte(n.ID), byte(rng.IntN(2)), byte(host >> 8), byte(host)}
	}
	return v
}

func names(r program.Rack, networks []program.Network) []program.NameRange {
	var out []program.NameRange
	for _, v := range r.Vnodes {
		for _, f := range r.Vifaces {
			if f.Slot == v.Slot && f.Index == 0 {
				out = append(out, program.NameRange{Prefix: v.Name, Count: 1, Literal: true, Addr: networks[f.Network-1].Addr(f.Host)})
			}
		}
	}
	return out
}

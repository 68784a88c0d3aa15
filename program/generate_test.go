package program

import (
	"fmt"
	"net/netip"

	"pgregory.net/rapid"
)

// programs draws small valid programs of one platform: they share networks,
// slots and names often enough that their differences are of every kind.
func programs() *rapid.Generator[*Program] {
	return rapid.Custom(func(t *rapid.T) *Program {
		p := &Program{
			Platform: "demo",
			Pnode:    "p1",
			Fabric:   rapid.SampledFrom([]Fabric{FabricEBPF, FabricBridge}).Draw(t, "fabric"),
		}
		for id := range rapid.Uint16Range(1, 4).Draw(t, "networks") {
			third := rapid.SampledFrom([]byte{0, 0, 0, 64}).Draw(t, "subnet")
			p.Networks = append(p.Networks, Network{
				ID:        id + 1,
				Name:      fmt.Sprintf("net%d", id),
				Subnet:    netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(id), third, 0}), 20),
				MTU:       rapid.SampledFrom([]uint16{1500, 9000}).Draw(t, "mtu"),
				Broadcast: rapid.Bool().Draw(t, "broadcast"),
			})
		}
		for k := range rapid.Uint32Range(0, 3).Draw(t, "racks") {
			if rapid.IntRange(0, 3).Draw(t, "rack") > 0 {
				p.Racks = append(p.Racks, drawRack(t, p, k))
			}
		}
		p.Remote = drawRemote(t, p)
		return p
	})
}

func drawRack(t *rapid.T, p *Program, index uint32) Rack {
	r := Rack{Index: index}
	for slot := range rapid.Uint16Range(0, 12).Draw(t, "slots") {
		if rapid.IntRange(0, 4).Draw(t, "present") == 0 {
			continue
		}
		host := index*100 + uint32(slot) + 1
		v := Vnode{
			Slot:    slot,
			Name:    fmt.Sprintf("n%d%s", host, rapid.SampledFrom([]string{"", "", "", "b"}).Draw(t, "name")),
			Weight:  rapid.SampledFrom([]Weight{WeightNetns, WeightNetns, WeightLight}).Draw(t, "weight"),
			Forward: rapid.Bool().Draw(t, "forward"),
		}
		r.Vnodes = append(r.Vnodes, v)
		for i, n := range rapid.SliceOfNDistinct(rapid.SampledFrom(p.Networks), 0, len(p.Networks), func(n Network) uint16 { return n.ID }).Draw(t, "vifaces") {
			drawViface(t, p, &r, slot, uint16(i), n, host)
		}
	}
	return r
}

func drawViface(t *rapid.T, p *Program, r *Rack, slot, index uint16, n Network, host uint32) {
	host += 1000 * rapid.Uint32Range(0, 1).Draw(t, "elsewhere")
	f := Viface{Slot: slot, Index: index, Name: fmt.Sprintf("eth%d", index), Network: n.ID, Host: host,
		Attach: rapid.SampledFrom([]Attach{AttachMacvlan, AttachMacvlan, AttachVeth}).Draw(t, "attach")}
	if rapid.IntRange(0, 9).Draw(t, "mac") == 0 {
		f.MAC = MAC{6, byte(n.ID), 0, byte(host >> 16), byte(host >> 8), byte(host)}
	}
	r.Vifaces = append(r.Vifaces, f)
	p.Names = append(p.Names, NameRange{Prefix: fmt.Sprintf("n%d", host), Count: 1, Literal: true, Addr: n.Addr(host)})
	if index == 0 && rapid.Bool().Draw(t, "route") {
		r.Routes = append(r.Routes, Route{Slot: slot, To: netip.MustParsePrefix("0.0.0.0/0"), Via: n.Addr(3000)},
			Route{Slot: slot, To: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(rapid.IntRange(100, 101).Draw(t, "to")), 0, 0}), 16), Via: n.Addr(3001)})
	}
}

func drawRemote(t *rapid.T, p *Program) []PlaceRange {
	var out []PlaceRange
	for _, n := range p.Networks {
		if rapid.Bool().Draw(t, "remote") {
			out = append(out, PlaceRange{Network: n.ID, Host: 2000, Count: 500, Pnode: 1}, PlaceRange{Network: n.ID, Host: 2500, Count: 1, Pnode: 7})
		}
	}
	return out
}

// large is a program of n vnodes with two vifaces and two routes each, as
// plan would make it.
func large(n int) *Program {
	lan := Network{ID: 1, Name: "lan", Subnet: netip.MustParsePrefix("10.0.0.0/8"), MTU: 1500}
	wan := Network{ID: 2, Name: "wan", Subnet: netip.MustParsePrefix("172.16.0.0/12"), MTU: 1500}
	p := &Program{Platform: "large", Pnode: "p1", Networks: []Network{lan, wan}}
	for i := range n {
		if i%RackVnodes == 0 {
			p.Racks = append(p.Racks, Rack{Index: uint32(i / RackVnodes)})
		}
		r := &p.Racks[len(p.Racks)-1]
		slot, host := uint16(i%RackVnodes), uint32(i+1)
		r.Vnodes = append(r.Vnodes, Vnode{Slot: slot, Name: fmt.Sprintf("peer%d", i+1)})
		r.Vifaces = append(r.Vifaces,
			Viface{Slot: slot, Index: 0, Name: "eth0", Network: 1, Host: host},
			Viface{Slot: slot, Index: 1, Name: "eth1", Network: 2, Host: host})
		r.Routes = append(r.Routes,
			Route{Slot: slot, To: netip.MustParsePrefix("192.168.0.0/24"), Via: lan.Addr(1)},
			Route{Slot: slot, To: netip.MustParsePrefix("192.168.1.0/24"), Via: wan.Addr(1)})
	}
	p.Names = []NameRange{
		{Prefix: "peer", First: 1, Count: uint32(n), Addr: lan.Addr(1)},
		{Prefix: "peer", First: 1, Count: uint32(n), Addr: wan.Addr(1)},
	}
	return p
}

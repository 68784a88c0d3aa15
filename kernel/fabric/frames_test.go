package fabric

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"myriad/program"
)

// The platform of the tests: two networks with the same subnet, two racks, a
// third that is another pnode's.
var (
	lan = program.Network{ID: 1, Name: "lan", Subnet: netip.MustParsePrefix("10.1.0.0/16"), MTU: 1500, Broadcast: true}
	wan = program.Network{ID: 2, Name: "wan", Subnet: netip.MustParsePrefix("10.1.0.0/16"), MTU: 1500}

	givenMAC  = program.MAC{0x0a, 0, 0, 0, 0, 3}       // of lan host 3, rack 0
	dockerMAC = program.MAC{0x02, 0x42, 0xac, 0x11, 2} // of lan host 11, rack 1: has the form of a computed one
)

const farHost = 60000 // of wan, rack 1: beyond what the table by number holds

func testProgram() *program.Program {
	rack := func(index uint32, vifaces ...program.Viface) program.Rack {
		r := program.Rack{Index: index}
		for i, v := range vifaces {
			v.Slot, v.Name = uint16(i), "eth0"
			r.Vnodes = append(r.Vnodes, program.Vnode{Slot: v.Slot, Name: "n"})
			r.Vifaces = append(r.Vifaces, v)
		}
		return r
	}
	return &program.Program{
		Platform: "test",
		Networks: []program.Network{lan, wan},
		Racks: []program.Rack{
			rack(0, program.Viface{Network: 1, Host: 1}, program.Viface{Network: 1, Host: 2},
				program.Viface{Network: 1, Host: 3, MAC: givenMAC}, program.Viface{Network: 2, Host: 1}),
			rack(1, program.Viface{Network: 1, Host: 10}, program.Viface{Network: 1, Host: 11, MAC: dockerMAC},
				program.Viface{Network: 2, Host: 5}, program.Viface{Network: 2, Host: farHost}),
		},
		Remote: []program.PlaceRange{{Network: 2, Host: 100, Count: 10, Pnode: 3}},
	}
}

const (
	typeIPv4 = 0x0800
	typeIPv6 = 0x86dd
	typeARP  = 0x0806
)

var (
	broadcast = program.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}
	mdns      = program.MAC{0x01, 0, 0x5e, 0, 0, 0xfb}
	allNodes  = program.MAC{0x33, 0x33, 0, 0, 0, 1}
)

// frame makes a frame with some payload.
func frame(to, from program.MAC, typ uint16) []byte {
	f := append(to[:], from[:]...)
	f = binary.BigEndian.AppendUint16(f, typ)
	return append(f, "payload, at least forty-six bytes of it, so that nobody pads"...)
}

// arpFrame makes an ARP packet; op 1 asks, 2 answers.
func arpFrame(to, from program.MAC, op byte, mac program.MAC, ip netip.Addr, targetMAC program.MAC, target netip.Addr) []byte {
	f := append(to[:], from[:]...)
	f = append(f, 8, 6, 0, 1, 8, 0, 6, 4, 0, op)
	f = append(append(f, mac[:]...), ip.AsSlice()...)
	f = append(append(f, targetMAC[:]...), target.AsSlice()...)
	return f
}

// request asks as a vnode with a computed address does.
func request(n program.Network, host uint32, target netip.Addr) []byte {
	mac := program.MACOf(n.ID, host)
	return arpFrame(broadcast, mac, 1, mac, n.Addr(host), program.MAC{}, target)
}

// reply is what such a request must become.
func reply(n program.Network, host uint32, target netip.Addr, mac program.MAC) []byte {
	own := program.MACOf(n.ID, host)
	return arpFrame(own, mac, 2, mac, target, own, n.Addr(host))
}

// A trial is a frame and what must become of it.
type trial struct {
	name   string
	rack   uint32 // that it comes from
	frame  []byte
	reason string
	at     []uint32 // racks where it arrives, once for each copy
	reply  []byte   // what arrives, if it is not the frame
}

func trials() []trial {
	lanMAC := func(host uint32) program.MAC { return program.MACOf(1, host) }
	wanMAC := func(host uint32) program.MAC { return program.MACOf(2, host) }
	announce := func(f []byte) []byte { copy(f[28:32], f[38:42]); return f } // sender is target
	edit := func(f []byte, at int, b byte) []byte { f = slices.Clone(f); f[at] = b; return f }
	return []trial{
		{"unicast within a rack", 0, frame(lanMAC(2), lanMAC(1), typeIPv4), "unicast", []uint32{0}, nil},
		{"unicast across racks", 0, frame(lanMAC(10), lanMAC(1), typeIPv4), "unicast", []uint32{1}, nil},
		{"unicast back", 1, frame(lanMAC(1), lanMAC(10), typeIPv4), "unicast", []uint32{0}, nil},
		{"unicast IPv6", 0, frame(lanMAC(10), lanMAC(1), typeIPv6), "unicast", []uint32{1}, nil},
		{"unicast to a given address", 0, frame(givenMAC, lanMAC(1), typeIPv4), "unicast", []uint32{0}, nil},
		{"unicast to a given address across racks", 0, frame(dockerMAC, lanMAC(1), typeIPv4), "unicast", []uint32{1}, nil},
		{"unicast from a given address", 0, frame(lanMAC(10), givenMAC, typeIPv4), "unicast", []uint32{1}, nil},
		{"unicast from a given address that looks computed", 1, frame(givenMAC, dockerMAC, typeIPv4), "unicast", []uint32{0}, nil},
		{"unicast to a host far away", 0, frame(wanMAC(farHost), wanMAC(1), typeIPv4), "unicast", []uint32{1}, nil},
		{"unicast from a host far away", 1, frame(wanMAC(1), wanMAC(farHost), typeIPv4), "unicast", []uint32{0}, nil},
		{"unicast to oneself", 0, frame(lanMAC(1), lanMAC(1), typeIPv4), "unicast", []uint32{0}, nil},

		{"spoofed: of another rack", 0, frame(lanMAC(2), lanMAC(10), typeIPv4), "drop_spoofed_source", nil, nil},
		{"spoofed: given address of another rack", 0, frame(lanMAC(2), dockerMAC, typeIPv4), "drop_spoofed_source", nil, nil},
		{"spoofed: computed address of a host that has another", 0, frame(lanMAC(2), lanMAC(3), typeIPv4), "drop_spoofed_source", nil, nil},
		{"spoofed: nobody's", 0, frame(lanMAC(2), lanMAC(99), typeIPv4), "drop_spoofed_source", nil, nil},
		{"spoofed: not of the platform", 0, frame(lanMAC(2), program.MAC{0x52, 0x54, 0, 1, 2, 3}, typeIPv4), "drop_spoofed_source", nil, nil},
		{"spoofed: another pnode's", 0, frame(wanMAC(1), wanMAC(100), typeIPv4), "drop_spoofed_source", nil, nil},
		{"spoofed: no such network", 0, frame(lanMAC(2), program.MACOf(77, 1), typeIPv4), "drop_spoofed_source", nil, nil},
		{"spoofed broadcast", 0, frame(broadcast, lanMAC(10), typeIPv4), "drop_spoofed_source", nil, nil},
		{"spoofed request", 0, request(lan, 10, lan.Addr(2)), "drop_spoofed_source", nil, nil},

		{"unknown: free host", 0, frame(lanMAC(50), lanMAC(1), typeIPv4), "drop_unknown_destination", nil, nil},
		{"unknown: beyond the table", 0, frame(lanMAC(50000), lanMAC(1), typeIPv4), "drop_unknown_destination", nil, nil},
		{"unknown: computed address of a host that has another", 0, frame(lanMAC(3), lanMAC(1), typeIPv4), "drop_unknown_destination", nil, nil},
		{"unknown: not of the platform", 0, frame(program.MAC{0x52, 0x54, 0, 1, 2, 3}, lanMAC(1), typeIPv4), "drop_unknown_destination", nil, nil},
		{"other network", 0, frame(wanMAC(1), lanMAC(1), typeIPv4), "drop_other_network", nil, nil},
		{"other network, given address", 0, frame(givenMAC, wanMAC(1), typeIPv4), "drop_other_network", nil, nil},
		{"other pnode", 0, frame(wanMAC(105), wanMAC(1), typeIPv4), "drop_other_pnode", nil, nil},

		{"request", 0, request(lan, 1, lan.Addr(2)), "arp_answered", []uint32{0}, reply(lan, 1, lan.Addr(2), lanMAC(2))},
		{"request across racks", 0, request(lan, 1, lan.Addr(10)), "arp_answered", []uint32{0}, reply(lan, 1, lan.Addr(10), lanMAC(10))},
		{"request for a given address", 0, request(lan, 1, lan.Addr(3)), "arp_answered", []uint32{0}, reply(lan, 1, lan.Addr(3), givenMAC)},
		{"request for a given address that looks computed", 0, request(lan, 1, lan.Addr(11)), "arp_answered", []uint32{0}, reply(lan, 1, lan.Addr(11), dockerMAC)},
		{"request in the other network of that subnet", 0, request(wan, 1, wan.Addr(5)), "arp_answered", []uint32{0}, reply(wan, 1, wan.Addr(5), wanMAC(5))},
		{"request for a host far away", 0, request(wan, 1, wan.Addr(farHost)), "arp_answered", []uint32{0}, reply(wan, 1, wan.Addr(farHost), wanMAC(farHost))},
		{"request for another pnode's", 0, request(wan, 1, wan.Addr(105)), "arp_answered", []uint32{0}, reply(wan, 1, wan.Addr(105), wanMAC(105))},
		{"request from a given address", 0, arpFrame(broadcast, givenMAC, 1, givenMAC, lan.Addr(3), program.MAC{}, lan.Addr(1)), "arp_answered", []uint32{0},
			arpFrame(givenMAC, lanMAC(1), 2, lanMAC(1), lan.Addr(1), givenMAC, lan.Addr(3))},
		{"request sent to one", 0, edit(request(lan, 1, lan.Addr(10)), 0, 2), "arp_answered", []uint32{0}, reply(lan, 1, lan.Addr(10), lanMAC(10))},
		{"request of one that wants an address", 0, arpFrame(broadcast, lanMAC(1), 1, lanMAC(1), netip.IPv4Unspecified(), program.MAC{}, lan.Addr(2)), "arp_answered", []uint32{0},
			arpFrame(lanMAC(1), lanMAC(2), 2, lanMAC(2), lan.Addr(2), lanMAC(1), netip.IPv4Unspecified())},
		{"request for a free host", 0, request(lan, 1, lan.Addr(50)), "drop_arp_unknown", nil, nil},
		{"request for only the other network's", 0, request(lan, 1, lan.Addr(5)), "drop_arp_unknown", nil, nil},
		{"request beyond the subnet", 0, request(lan, 1, netip.MustParseAddr("10.2.0.2")), "drop_arp_unknown", nil, nil},
		{"request below the subnet", 0, request(lan, 1, netip.MustParseAddr("10.0.0.2")), "drop_arp_unknown", nil, nil},
		{"request for oneself", 0, request(lan, 1, lan.Addr(1)), "drop_arp_announcement", nil, nil},
		{"gratuitous request", 0, announce(request(lan, 1, lan.Addr(1))), "drop_arp_announcement", nil, nil},
		{"gratuitous reply", 0, arpFrame(broadcast, lanMAC(1), 2, lanMAC(1), lan.Addr(1), lanMAC(1), lan.Addr(1)), "drop_arp_announcement", nil, nil},
		{"reply to one", 0, arpFrame(lanMAC(10), lanMAC(1), 2, lanMAC(1), lan.Addr(1), lanMAC(10), lan.Addr(10)), "unicast", []uint32{1}, nil},
		{"request cut short", 0, request(lan, 1, lan.Addr(2))[:41], "drop_malformed", nil, nil},
		{"request for another hardware", 0, edit(request(lan, 1, lan.Addr(2)), 15, 6), "drop_malformed", nil, nil},
		{"request for another protocol", 0, edit(request(lan, 1, lan.Addr(2)), 16, 9), "drop_malformed", nil, nil},
		{"request with long hardware addresses", 0, edit(request(lan, 1, lan.Addr(2)), 18, 8), "drop_malformed", nil, nil},
		{"request with long addresses", 0, edit(request(lan, 1, lan.Addr(2)), 19, 16), "drop_malformed", nil, nil},

		{"broadcast", 0, frame(broadcast, lanMAC(1), typeIPv4), "broadcast", []uint32{0, 0, 1, 1}, nil},
		{"broadcast from a given address", 1, frame(broadcast, dockerMAC, typeIPv4), "broadcast", []uint32{0, 0, 0, 1}, nil},
		{"multicast", 0, frame(mdns, lanMAC(1), typeIPv4), "broadcast", []uint32{0, 0, 1, 1}, nil},
		{"multicast IPv6", 0, frame(allNodes, lanMAC(1), typeIPv6), "broadcast", []uint32{0, 0, 1, 1}, nil},
		{"broadcast where it is not delivered", 0, frame(broadcast, wanMAC(1), typeIPv4), "drop_broadcast", nil, nil},
		{"multicast where it is not delivered", 0, frame(mdns, wanMAC(1), typeIPv4), "drop_broadcast", nil, nil},
		{"multicast IPv6 where it is not delivered", 0, frame(allNodes, wanMAC(1), typeIPv6), "drop_ipv6", nil, nil},
		{"header alone", 0, frame(lanMAC(2), lanMAC(1), 0x88b5)[:14], "unicast", []uint32{0}, nil},
	}
}

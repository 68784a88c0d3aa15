// Package program is the contract between the coordinator and a pnode: the
// complete list of what one pnode must have for one platform, as plain
// tables, together with their codec, their difference, and the report that a
// pnode gives back. It holds data only: no file descriptor, pid, interface
// index of a living device or kernel version ever appears here.
package program

import (
	"fmt"
	"net/netip"
	"time"
)

// Fabric names a forwarding plane.
type Fabric uint8

// The forwarding planes.
const (
	FabricEBPF   Fabric = iota // eBPF programs on the trunks (the default)
	FabricBridge               // plain Linux bridges, for comparison
)

// Attach names how a viface is joined to its rack.
type Attach uint8

// The ways of attaching.
const (
	AttachMacvlan Attach = iota // macvlan in VEPA mode on the rack's trunk (the default)
	AttachVeth                  // veth pair with its host end in the rack's namespace
)

// Weight is what a vnode is made of. No table assumes that a vnode has a
// namespace.
type Weight uint8

// The weights of vnode.
const (
	WeightNetns Weight = iota
	WeightContainer
	WeightLight
)

// RackVnodes is the greatest number of vnodes that one rack carries: beyond
// about a thousand interfaces, the kernel's per-namespace tables become lists.
const RackVnodes = 1000

// BridgePorts is the greatest number of ports of a Linux bridge: BR_PORT_BITS
// of Linux is 10, and port 0 is not used (net/bridge/br_if.c, find_portno).
const BridgePorts = 1<<10 - 1

// Program is everything that one pnode must have for one platform. Tables
// are sorted (Networks by ID, Racks by Index, the tables of a rack as their
// own comments say), so that equal programs have equal bytes.
type Program struct {
	Platform string // name of the platform, at most 63 bytes
	Pnode    string // name of the pnode
	Number   uint32 // of the pnode: its row in Overlay.Underlay
	Fabric   Fabric
	Networks []Network
	Racks    []Rack
	Names    []NameRange     // every name of the platform, for its hosts file
	Remote   []PlaceRange    // vifaces by pnode, of all networks of the platform, sorted by network and host; Elsewhere says which count
	MACs     []GivenMAC      // of all vifaces of the platform whose Ethernet address is not the computed one, sorted by network and host
	Links    *Links          // nil: no link has conditions
	Overlay  *Overlay        // nil: there is no other pnode
	Ways     []time.Duration // by pnode: how long a packet takes to it by itself, one way; empty: not known, taken for nothing
}

// Network is one vnetwork.
type Network struct {
	ID        uint16 // number in MAC addresses and fabric tables; stable while the platform lives
	Name      string
	Subnet    netip.Prefix // IPv4, masked
	MTU       uint16       // bytes
	Broadcast bool         // broadcast and multicast frames are delivered to its members
}

// Addr gives the address of host number h of the network: the subnet's first
// address plus h.
func (n Network) Addr(h uint32) netip.Addr {
	return addr4(number(n.Subnet.Addr()) + h)
}

// HostOf gives the host number of an address in the network's subnet: the
// inverse of Addr.
func (n Network) HostOf(a netip.Addr) uint32 { return number(a) - number(n.Subnet.Addr()) }

// MAC is an Ethernet address; the zero value stands for the computed one.
type MAC [6]byte

// MACOf is the computed address of a viface: 02, the network's ID in two
// bytes, the host number in three. It depends on nothing else, which is what
// lets the fabric answer ARP without a table.
func MACOf(network uint16, host uint32) MAC {
	return MAC{2, byte(network >> 8), byte(network), byte(host >> 16), byte(host >> 8), byte(host)}
}

// String formats the address as 02:00:01:00:00:2a.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Rack is up to RackVnodes vnodes that share a trunk, a namespace and a
// process. Its tables are flat: rows refer to their vnode by its Slot.
type Rack struct {
	Index   uint32 // number of the rack on its pnode; its trunk in the spine is r<Index>
	Vnodes  []Vnode
	Vifaces []Viface // sorted by Slot, then Index
	Routes  []Route  // sorted by Slot, then To
}

// Vnode is one virtual node. Rows are sorted by Slot.
type Vnode struct {
	Slot    uint16 // place in the rack, 0 … RackVnodes-1; kept for as long as the vnode lives
	Name    string // at most 64 bytes; also its host name
	Weight  Weight
	Forward bool // forwards packets between its vifaces (gateway)
}

// Viface is one interface of a vnode in one vnetwork.
type Viface struct {
	Slot    uint16
	Index   uint16 // 0, 1, …: order within the vnode; its interface index inside is 2 + Index
	Name    string // eth0, … (at most 15 bytes)
	Network uint16 // Network.ID
	Host    uint32 // host number within the network's subnet
	MAC     MAC    // zero: MACOf(Network, Host)
	Attach  Attach
}

// Address is the Ethernet address that the viface has.
func (v Viface) Address() MAC {
	if v.MAC != (MAC{}) {
		return v.MAC
	}
	return MACOf(v.Network, v.Host)
}

// Route is one static route of a vnode.
type Route struct {
	Slot uint16
	To   netip.Prefix // masked; 0.0.0.0/0 is the default route
	Via  netip.Addr   // next hop, on-link for one of the vnode's vifaces
}

// NameRange gives addresses to Count names in arithmetic order: name i is
// Prefix, First+i in at least Width digits, Suffix; its address is Addr + i.
// Count 1 with Width 0 and Literal set names a single host: Prefix alone.
type NameRange struct {
	Prefix  string
	Suffix  string
	First   uint64
	Width   uint8
	Count   uint32
	Literal bool
	Addr    netip.Addr
}

// PlaceRange says that Count consecutive hosts of a network, from Host on,
// are carried by a pnode.
type PlaceRange struct {
	Network uint16
	Host    uint32
	Count   uint32
	Pnode   uint32 // index into the underlay table of the overlay
}

// GivenMAC is the Ethernet address that the user gave to a viface, on whatever
// pnode it is.
type GivenMAC struct {
	Network uint16
	Host    uint32
	MAC     MAC
}

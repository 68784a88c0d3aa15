// Package topo reads the file that a person writes: it parses, applies
// defaults, and checks everything that can be checked without knowing the
// machines. What comes out is a Topology, a value that is known to be sound.
//
// The package does no I/O beyond the bytes it is given.
package topo

import (
	"net/netip"

	"myriad/nodeset"
	"myriad/program"
)

// Topology is a checked platform description. Its order does not depend on
// the order of the file: Networks are sorted by name, Vnodes by their first
// name, Routes by destination.
type Topology struct {
	Name     string // [a-z0-9][a-z0-9-]*, at most 63 bytes
	Seed     uint64
	Fabric   program.Fabric
	Complete bool // routes between all vnetworks through gateway vnodes
	Networks []Network
	Vnodes   []Template
	Routes   []Route                 // before those of Complete, where both lead to one destination
	Groups   map[string]*nodeset.Set // group name → vnodes
}

// Network is one vnetwork.
type Network struct {
	Name      string
	Subnet    netip.Prefix // IPv4, masked, /8 … /30
	MTU       uint16       // bytes, 68 … 9000; default 1500
	Broadcast Broadcast
}

// Broadcast says whether broadcast and multicast frames are delivered.
type Broadcast uint8

// The broadcast modes.
const (
	BroadcastAuto Broadcast = iota // delivered in vnetworks of at most BroadcastMembers vifaces
	BroadcastOn
	BroadcastOff
)

// BroadcastMembers is the size up to which a vnetwork delivers broadcasts
// when its file leaves that open: each frame costs about 2 µs per member.
const BroadcastMembers = 256

// Template describes every vnode of a node set. No vnode is in two.
type Template struct {
	Nodes   *nodeset.Set
	Weight  program.Weight
	Gateway bool
	Attach  program.Attach
	Vifaces []Viface
}

// Viface is one interface that every vnode of a template has.
type Viface struct {
	Name    string      // eth0, eth1, … unless given
	Network int         // index into Topology.Networks
	Address netip.Addr  // fixed address; only in a template of one vnode
	MAC     program.MAC // fixed MAC, the only one in the platform; only in a template of one vnode
}

// Route is one explicit route.
type Route struct {
	Nodes *nodeset.Set
	To    netip.Prefix // masked
	Via   netip.Addr   // next hop; invalid if ViaNode is set
	// ViaNode names the vnode that is the next hop; its address is the one in
	// a vnetwork that it shares with the vnode that has the route.
	ViaNode string
}

// Package topo reads the file that a person writes: it parses, applies
// defaults, and checks everything that can be checked without knowing the
// machines. What comes out is a Topology, a value that is known to be sound.
//
// The package does no I/O beyond the bytes it is given.
package topo

import (
	"net/netip"
	"time"

	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
)

// Topology is a checked platform description. Its order does not depend on
// the order of the file: Networks are sorted by name, Vnodes by their first
// name, Routes by destination.
type Topology struct {
	Name      string // [a-z0-9][a-z0-9-]*, at most 63 bytes
	Seed      uint64
	Fabric    program.Fabric
	Complete  bool // routes between all vnetworks through gateway vnodes
	Parts     bool // with Complete: vnetworks that no gateways join stay apart
	Networks  []Network
	Vnodes    []Template
	Routes    []Route                 // before those of Complete, where both lead to one destination
	Groups    map[string]*nodeset.Set // group name → vnodes
	Metric    Metric                  // what makes a way short, under Complete
	Links     []LinkRule              // conditions of pairs, in the order of the file: the last one that speaks of a pair decides
	Schedule  []Step                  // changes of conditions, sorted by time
	Repeat    time.Duration           // the schedule begins again after this; 0: it does not
	Overlay   Overlay
	Placement Placement
	Notes     Errors // what is right and may surprise, in the order of the file
}

// Metric is what the length of a way is measured in.
type Metric uint8

// The metrics.
const (
	MetricHops  Metric = iota
	MetricDelay        // the sum of the delays of vifaces on the way, then hops
)

// LinkRule gives conditions to every pair of a vnode of From with another of
// To, in that direction; or, with Sites, to every pair of a vnode that is on a
// pnode of one of these sites with another of another of them. Exactly one of
// Conditions and Matrix is set.
type LinkRule struct {
	From, To   *nodeset.Set
	Sites      []string // From and To are nil; a single one: pairs inside of it
	Oneway     bool     // of two Sites: from the first to the second only
	Conditions *link.Conditions
	Matrix     *Matrix // From, To and Sites are nil
}

// Matrix gives a delay to pairs of node sets: what goes from a vnode of
// Sets[i] to one of Sets[j] is delayed by Delay[i*len(Sets)+j]. A negative
// entry says nothing of its pairs. Sets are disjoint.
type Matrix struct {
	Sets  []*nodeset.Set
	Delay []time.Duration // one way
}

// Side says which conditions a change is about.
type Side uint8

// The sides: as the vnode sees them, or of pairs.
const (
	SideOut Side = 1 << iota
	SideIn
	SidePair
)

// Change changes conditions of a platform that is up. With SidePair, To is
// set, and it is about what goes from Nodes to To.
type Change struct {
	Side   Side // SideOut, SideIn or both, or SidePair
	Nodes  *nodeset.Set
	To     *nodeset.Set
	Patch  link.Patch // the fields to change
	Reset  bool       // back to what the file says; Patch is empty. With Nodes nil: everything
	Matrix *Matrix    // instead of all the others
}

// Step is what changes at one moment of a schedule.
type Step struct {
	At      time.Duration // since the platform was up
	Changes []Change
}

// Network is one vnetwork.
type Network struct {
	Name      string
	Subnet    netip.Prefix // IPv4, masked, /8 … /30
	MTU       uint16       // bytes, 68 … 9000; default 1500
	MTUGiven  bool         // the file says so; else plan may lower it
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
	Name    string           // eth0, eth1, … unless given
	Network int              // index into Topology.Networks
	Address netip.Addr       // fixed address; only in a template of one vnode
	MAC     program.MAC      // fixed MAC, the only one in the platform; only in a template of one vnode
	Out, In *link.Conditions // what befalls all that the vnode sends, or gets, by this viface; nil: nothing
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

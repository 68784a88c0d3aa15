// Package graphml turns networks in GraphML, as those of the Internet Topology
// Zoo (Knight et al., IEEE JSAC 29(9), 2011), into topology files: nodes become
// routers, edges point-to-point vnetworks with the delay of their length and
// the rate that they state, and every router gets hosts.
//
// It does no I/O beyond the bytes it is given. The same file and options give
// the same text.
package graphml

import (
	"net/netip"
	"time"

	"myriad/link"
)

// Graph is what a file says, with its values read but nothing decided.
type Graph struct {
	Name  string // of the network; may be empty
	Where string // region that it covers, as the file says; may be empty
	Nodes []Node
	Edges []Edge
}

// Node is a node of a graph.
type Node struct {
	ID    string
	Label string   // may be empty, and that of another node
	Hints []string // other names of the place it is in
	Areas []string // names of its region or country
	Line  int

	At       link.Position
	Located  bool // At is known
	X, Y     float64
	Drawn    bool // X and Y, where it is drawn, are known
	External bool // it belongs to another network
	Joint    bool // no router, but where several links meet
	Group    bool // it holds other nodes
}

// Edge is a link between two nodes. That GraphML calls it directed means
// nothing: links work both ways.
type Edge struct {
	From, To int // indexes into Graph.Nodes
	Label    string
	Line     int

	Rate     uint64        // bit/s; 0: not known
	Delay    time.Duration // if HasDelay
	HasDelay bool
}

// Names says which attributes of nodes and edges mean what. An empty one
// stands for the usual names, those of the Topology Zoo among them.
type Names struct {
	Label               string // of nodes
	Latitude, Longitude string // of nodes, in degrees
	Rate                string // of edges
	RateUnit            string // of values that are bare numbers: bit, kbit, Mbit, Gbit; empty: bit
	Delay               string // of edges; empty: none, delays follow from places
	DelayUnit           string // of values that are bare numbers: us, ms, s
}

// Options are how a graph becomes a topology. The zero value works.
type Options struct {
	Platform string         // name; empty: from the graph's, or else from File
	File     string         // name of the file that the graph is from
	Hosts    int            // attached to each router
	HostsAt  map[string]int // other numbers, by label, router's name or ID of the node
	Pool     netip.Prefix   // of all addresses; invalid: 10.0.0.0/8

	Places  []Place // beside those that the package knows
	NoGuess bool    // take no place for known but from coordinates and Places

	Stretch      float64       // how much longer links are than great circles; 0: 1
	DefaultDelay time.Duration // of links whose ends have no known place; 0: places are interpolated
	DefaultRate  uint64        // bit/s of links that state none; 0: unlimited
	NoRates      bool          // links have no rate but DefaultRate

	KeepParallel bool // links between the same routers stay apart, instead of becoming one
	InternalOnly bool // leave out nodes of other networks
	Largest      bool // leave out all but the largest of several parts
}

// Place is a name, of a node or of the city it is in, and where on Earth
// that is.
type Place struct {
	Name string
	At   link.Position
}

// Summary counts what became of a graph.
type Summary struct {
	Nodes int `json:"nodes"` // of the file
	Edges int `json:"edges"`

	Routers   int `json:"routers"`
	Joints    int `json:"joints"`   // of the routers: stand for places where links meet
	External  int `json:"external"` // of the routers: belong to other networks
	Hosts     int `json:"hosts"`
	Vnetworks int `json:"vnetworks"`
	Links     int `json:"links"`
	Parts     int `json:"parts"`

	DroppedNodes int `json:"dropped_nodes"`
	DroppedEdges int `json:"dropped_edges"`
	SelfLoops    int `json:"self_loops"` // of the dropped edges
	Parallel     int `json:"parallel"`   // edges that became part of another link

	Given        int `json:"given"`        // nodes whose place the file or the user gives
	Known        int `json:"known"`        // whose name is that of a known city
	Fitted       int `json:"fitted"`       // whose place follows from where they are drawn
	Interpolated int `json:"interpolated"` // whose place is the middle of their neighbours'
	Unplaced     int `json:"unplaced"`

	FarPairs int `json:"far_pairs"` // of routers, in either direction: more gateways between their hosts than packets survive

	WithRate      int           `json:"with_rate"`      // links
	DefaultDelays int           `json:"default_delays"` // links
	LongestDelay  time.Duration `json:"longest_delay"`  // nanoseconds
	Notes         []string      `json:"notes,omitempty"`
}

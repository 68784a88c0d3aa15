// Package plan decides where every vnode goes and what it is called: it turns
// a topology and a list of pnodes into a Plan, and a Plan into one program
// for each pnode.
//
// All of it is arithmetic on sorted tables. The same topology, pnodes and
// previous plan give the same bytes on any machine: there is no I/O, no
// clock, no randomness and no map order in what comes out. With the previous
// plan, everything that stays keeps its number and its place, so that an
// edited topology costs what was edited.
package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// MaxVnodes is the greatest number of vnodes of one platform: the hosts of
// an IPv4 network of 8 bits.
const MaxVnodes = program.MaxHost - 1

// Plan is a platform with every decision made. It is never changed once
// made, so it may be shared freely.
//
// Vnodes are rows of columns, in the order of their names; vifaces too, those
// of a vnode side by side. A million vnodes take about 40 MB.
type Plan struct {
	platform string
	fabric   program.Fabric
	complete bool              // routes between all networks
	parts    bool              // but for those that no gateways join
	metric   topo.Metric       // what makes them short
	networks []program.Network // by ID
	pnodes   []Pnode           // by number; one without a name is a number that is free
	kinds    []kind
	nodes    *nodeset.Set
	groups   map[string]*nodeset.Set

	names names
	kind  []uint32 // index into kinds
	pnode []uint32 // index into pnodes
	rack  []uint32
	slot  []uint16

	host []uint32   // a row for each viface
	macs []givenMAC // by viface; few have one

	hops     []hop    // the different explicit routes, sorted
	hopOf    []uint32 // a row for each explicit route of each vnode: index into hops
	hopsUpTo []uint32 // a row for each vnode, or none at all: its rows of hopOf end here

	loss    topo.Loss
	overlay topo.Overlay
	vni     uint32
	ways    []SiteWay // between sites of pnodes, sorted
	notes   []string  // what may surprise about sites
	asked   []uint16  // a row for each network: the MTU that the topology says, where it had to be lowered; else 0

	seed     uint64
	links    *program.Links // that the topology asks for
	schedule []topo.Step
	repeat   time.Duration

	derived
}

// derived is what follows from the rest of a plan, and is computed again when
// one is read back.
type derived struct {
	viface  []uint32 // a row for each vnode, and one more: its first viface
	order   []uint32 // vnodes by pnode, rack and slot
	from    []int    // a row for each pnode, and one more: its first entry of order
	members []int    // a row for each network: its vifaces
	ranges  []program.NameRange
	places  []program.PlaceRange // empty if there is one pnode
	routes  []kindRoutes         // a row for each kind, if complete
	byHosts hosts
	sharing sharedOnce

	why       Reasons  // of a plan that was made here
	siteNames []string // sorted
	site      []uint16 // a row for each pnode: index into siteNames
}

// kind is what many vnodes have in common.
type kind struct {
	weight  program.Weight
	gateway bool
	attach  program.Attach
	vifaces []kindViface
}

type kindViface struct {
	name    string
	network int           // index into Plan.networks
	out, in time.Duration // delays by which ways are measured, where they can matter
}

// givenMAC is the MAC of a viface for which the topology gives one.
type givenMAC struct {
	viface uint32
	mac    program.MAC
}

// hop is a destination and the way to it.
type hop struct {
	to  netip.Prefix
	via netip.Addr
}

// Pnode is a machine that can carry vnodes. Zero means that a figure is not
// known, and then nothing is forecast from it.
type Pnode struct {
	Name           string
	CPUs           int
	Memory         uint64     // bytes that vnodes may use
	Files          uint64     // RLIMIT_NOFILE: descriptors of one process
	Namespaces     uint64     // user.max_net_namespaces
	Pids           uint64     // kernel.pid_max
	Site           string     // where it is; pnodes of one site are near each other
	Address        netip.Addr // where tunnels of other pnodes reach it; invalid: nowhere
	MTU            uint16     // of the way to other pnodes, bytes; 0: not known
	Key            [32]byte   // public key of its WireGuard; zero: it has none
	NeighbourLimit uint64     // net.ipv4.neigh.default.gc_thresh3, if it will not be raised
	// Calibration is what the way through it costs; a forecast is told of what
	// was measured, and a plan that is read back has none.
	Calibration *program.Calibration
}

// Options changes how a plan is made.
type Options struct {
	Previous   *Plan     // the plan that the platform follows now; nil: there is none
	RackVnodes int       // vnodes of a rack at most; 0: program.RackVnodes
	VNI        uint32    // first of the program.PlatformVNIs that are the platform's; 0: those of Previous, or DefaultVNI
	Ways       []SiteWay // what was measured between sites
}

// DefaultVNI is the first VNI of a platform that nobody has given any.
const DefaultVNI = 1 << 16

// SiteWay is how long a packet takes from one site to another by itself, one way.
type SiteWay struct {
	From, To string
	Takes    time.Duration
}

func (o *Options) validate() error {
	if o.RackVnodes == 0 {
		o.RackVnodes = program.RackVnodes
	}
	if o.RackVnodes < 1 || o.RackVnodes > program.RackVnodes {
		return problem("plan racks", fmt.Sprintf("%d vnodes in a rack", o.RackVnodes),
			fmt.Sprintf("a rack holds 1 to %d", program.RackVnodes))
	}
	return nil
}

// Make plans a platform. It refuses only what cannot be planned, and then
// says all of it; what can be planned and may not fit is for Forecast.
//
// Without a previous plan, vnodes in the order of their names are dealt to
// pnodes in the order of theirs, each pnode getting an unbroken run whose
// length follows its share of memory and CPUs; the run is cut into as few
// racks as can be, equally full, so that they come up together and each has
// room for more; and networks and hosts count from 1. With one, whatever is
// still there keeps all that, and what is new takes the lowest free places, and
// host numbers that nobody had in it, for as long as there are some.
func Make(t *topo.Topology, pnodes []Pnode, o Options) (*Plan, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	t = withPort(t)
	m := &maker{
		Plan: Plan{platform: t.Name, fabric: t.Fabric, complete: t.Complete, parts: t.Parts, metric: t.Metric, groups: t.Groups, loss: t.Placement.Loss,
			overlay: t.Overlay, vni: o.VNI, ways: o.Ways},
		topo:       t,
		rackVnodes: o.RackVnodes,
		previous:   o.Previous,
	}
	for _, step := range []func(){
		func() { m.numberPnodes(pnodes) },
		m.numberNetworks,
		m.checkUnderlay,
		m.lowerMTUs,
		m.gather,
		m.address,
		m.place,
		m.checkMACs,
		m.explicitRoutes,
		m.derive,
		m.makeLinks,
	} {
		if step(); m.stop {
			break
		}
	}
	if len(m.problems) > 0 {
		return nil, errors.Join(m.problems...)
	}
	return &m.Plan, nil
}

// withPort gives t with a port of the overlay: those that were not read from a
// file may have none.
func withPort(t *topo.Topology) *topo.Topology {
	if t.Overlay.Port != 0 {
		return t
	}
	u := *t
	u.Overlay.Port = program.VXLANPort
	return &u
}

// maker is a plan in the making.
type maker struct {
	Plan
	topo       *topo.Topology
	rackVnodes int
	previous   *Plan

	template []uint32   // a row for each vnode: index into topo.Vnodes
	was      []int32    // a row for each vnode: its row in previous, or -1; nil without one
	network  []int      // a row for each network of topo: index into networks
	fixed    [][]uint32 // by network: hosts that topo gives to vnodes by address, sorted

	problems []error
	stop     bool // what follows would make no sense
}

// maxProblems is how many problems Make lists before it stops listing.
const maxProblems = 100

func (m *maker) bad(op, cause, remedy string) {
	if len(m.problems) < maxProblems {
		m.problems = append(m.problems, problem(op, cause, remedy))
	}
}

func problem(op, cause, remedy string) *program.Problem {
	return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: op, Cause: cause, Remedy: remedy}
}

// derive computes what follows from the decisions.
func (m *maker) derive() {
	if len(m.problems) > 0 {
		return
	}
	m.problems = m.Plan.derive()
}

// derive completes a plan, and gives what is wrong with its routes.
func (p *Plan) derive() []error {
	p.setSites()
	p.countMembers()
	p.sortPlaces()
	p.ranges = p.nameRanges()
	p.places = p.placeRanges()
	if !p.complete {
		return nil
	}
	return p.completeRoutes()
}

// maxRows is how many vifaces, or explicit routes, all vnodes together have
// at most.
const maxRows = 1 << 28

// countVifaces fills Plan.viface.
func (p *Plan) countVifaces() error {
	p.viface = make([]uint32, len(p.kind)+1)
	for i, k := range p.kind {
		next := uint64(p.viface[i]) + uint64(len(p.kinds[k].vifaces))
		if next > maxRows {
			return problem("count vifaces", fmt.Sprintf("there are more than %d", maxRows), "divide the vnodes into several platforms")
		}
		p.viface[i+1] = uint32(next)
	}
	return nil
}

func (p *Plan) countMembers() {
	p.members = make([]int, len(p.networks))
	for _, k := range p.kind {
		for _, f := range p.kinds[k].vifaces {
			p.members[f.network]++
		}
	}
}

package bus

import (
	"net/netip"
	"time"

	"myriad/program"
)

// Protocol is the version of what coordinator and agents say to each other,
// as this page has it.
const Protocol = 3

// What coordinator and agents say to each other, beside program.Program,
// program.Report and the frames of racks:
//
//	lead     Lead           the coordinator is there; every LeadEvery, and at once when it
//	                        begins. An agent that sees a new epoch says hello.
//	hello          Hello    an agent is there, with what it carries; answered by Welcome
//	beat     Beat           an agent lives; every Welcome.Beat
//	bye      From           an agent ends in good order; its vnodes live on
//	racks    Racks          racks of a platform have changed by themselves
//	overload Overload       a pnode cannot keep what it promised, or can again
//	<pnode>.hail            Lead, answered by None: the coordinator wants a hello
//	<pnode>.apply    stream Apply, then the bytes of a program.Own from the
//	                        coordinator; Progress from the agent, the last with a
//	                        Report. Anything more from the coordinator stops the work.
//	<pnode>.remove   stream Platform; Progress from the agent
//	<pnode>.observe  stream Platform; []program.Rack from the agent
//	<pnode>.counters        Platform, answered by []program.Counter
//	<pnode>.exec     stream Platform, then []Share and a rack.ExecRequest, then any
//	                        rack.Inputs from the coordinator; rack.Replies from the agent
//	<pnode>.shape    stream Shape, then the bytes of a program.Links from the
//	                        coordinator, none at all for no conditions;
//	                        program.Shaped from the agent. Anything more from the
//	                        coordinator before that says that it is not wanted
//	                        any more, if it is not in force yet.
//	<pnode>.links           Platform, answered by program.LinkStats
//	<pnode>.probe    stream Platform, then for each rack a Share and a
//	                        rack.ProbeRequest; rack.Replies from the agent
//	<pnode>.echo            Echo, answered by Echoing: answers packets of a Reach for a while
//	<pnode>.reach           Reach, answered by Reached: measures the way to another pnode
//
// What an agent says without being asked has a From: it is passed
// over where something that the agent said later has been heard before.
// What a coordinator asks for, if it changes anything, carries its epoch: an
// agent that has heard of a later one refuses it.

// SubjectLead and the others are the subjects of announcements.
var (
	SubjectLead     = Subject("lead")
	SubjectHello    = Subject("hello")
	SubjectBeat     = Subject("beat")
	SubjectBye      = Subject("bye")
	SubjectRacks    = Subject("racks")
	SubjectOverload = Subject("overload")
)

// SubjectOf is the subject of a call to the agent of a pnode.
func SubjectOf(pnode, call string) string { return Subject("pnode", pnode, call) }

// ProgramsStore is the name of the Objects where what pnodes share of a program
// waits for them, by Apply.Shared.
const ProgramsStore = "programs"

// LeadEvery is how often a coordinator says that it is there.
const LeadEvery = time.Second

// Lead says who coordinates.
type Lead struct {
	Coordinator string    // its identity, which outlives its process
	Epoch       uint64    // greater after every start
	Version     string    // of its program
	Now         time.Time // by its clock
}

// From says whose word it is, and which of several is the later one.
type From struct {
	Pnode   string
	Session string // differs after every start of the agent
	Seq     uint64 // counts what the agent says in the session, from 1
}

// Platform names the platform of a call.
type Platform struct {
	Name  string
	Order // where something is changed
}

// Order is the place of a request that changes something among all such
// requests. An agent that has heard of a later epoch refuses it, and one that
// was asked for something else of the same platform with a greater Serial
// does too: it was overtaken on the way.
type Order struct {
	Epoch  uint64 // of the coordinator that asks
	Serial uint64 // grows with what that coordinator asks for, of any platform, from 1; 0: it does not count
}

// Apply asks that a pnode match a program.
type Apply struct {
	Name string // of the platform
	Order
	Shared string // name, in ProgramsStore, of the part that all pnodes share: it holds the digest of the bytes
}

// Hello tells what a pnode has.
type Hello struct {
	From
	Protocol    int
	Version     string // of the program that runs there
	Machine     string // identity of the pnode, made once and kept in its state directory
	Coordinator string // whose platforms it carries; empty: nobody's
	Epoch       uint64 // of the coordinator that it has heard of last; 0: it has heard of none
	Site        string // where it is; empty: where the coordinator is
	Boot        string // differs after every start of the machine
	Kernel      string // release
	CPUs        int
	Memory      uint64           // bytes
	Files       uint64           // RLIMIT_NOFILE
	Namespaces  uint64           // user.max_net_namespaces
	Pids        uint64           // kernel.pid_max
	Address     netip.Addr       // where tunnels of others reach it; invalid: nowhere
	MTU         uint16           // of the interface with that address
	Key         [32]byte         // public key of its WireGuard; zero: its kernel has none
	Now         time.Time        // by its clock
	Platforms   []program.Report // what it carries already
}

// Welcome answers a Hello.
type Welcome struct {
	Lead
	Beat    time.Duration    // how often the agent is to say that it lives
	Refused *program.Problem // nil: it is taken in. Else it carries nothing for this coordinator
}

// Beat says that an agent lives.
type Beat struct {
	From
	Now time.Time // by its clock
}

// Racks tells what racks of a platform have become.
type Racks struct {
	By     From
	Report program.Report
}

// Echo asks an agent to answer what a Reach sends.
type Echo struct {
	Nonce [16]byte      // with which a packet begins that is answered
	For   time.Duration // at most one minute
}

// Echoing tells where the answers come from.
type Echoing struct {
	Addr netip.AddrPort
}

// Reach asks what the way to another pnode is like.
type Reach struct {
	Nonce [16]byte
	Addr  netip.AddrPort // Echoing.Addr of the other
	Size  int            // bytes of the IPv4 packets that must arrive whole; 0: not asked
	Count int            // round trips to measure
}

// Reached is what was found.
type Reached struct {
	Answered int           // of Count
	Least    time.Duration // round trip
	Median   time.Duration
	Whole    bool // packets of Size arrive whole, both ways
}

// Shape asks that the links of a platform have other conditions.
type Shape struct {
	Name string // of the platform
	Order
	At time.Time // when, by the agent's clock; zero: at once
}

// Overload tells that a stretch in which a pnode could not keep what it
// promised has begun, or ended.
type Overload struct {
	By       From
	Platform string
	Ended    bool
	program.Overload
}

// Progress is how far an agent has come.
type Progress struct {
	Count  int              `cbor:",omitempty"` // vnodes up, or left to remove
	Doing  string           `cbor:",omitempty"` // what takes a moment, beside that
	Report *program.Report  `cbor:",omitempty"` // what is, at the end
	Err    *program.Problem `cbor:",omitempty"` // why it ended early
	Said   *From            `cbor:",omitempty"` // with Report: what the agent had said before; a hello that is no later is older
}

// Share is the part of a call that is one rack's.
type Share struct {
	Rack   uint32
	Vnodes []string `cbor:",omitempty"` // none: every vnode of the rack
}

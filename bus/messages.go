package bus

import (
	"time"

	"myriad/program"
)

// What coordinator and agents say to each other, beside program.Program,
// program.Report and the frames of racks:
//
//	who                     the coordinator asks every agent to say hello
//	hello    Hello          an agent is there, with what it carries
//	bye      string         the agent of that pnode ends; its vnodes live on
//	racks    program.Report racks of a platform have changed by themselves
//	<pnode>.apply    stream Platform, then the bytes of a program.Program from the
//	                        coordinator; Progress from the agent, the last with a
//	                        Report. Anything more from the coordinator stops the work.
//	<pnode>.remove   stream Platform; Progress from the agent
//	<pnode>.observe  stream Platform; []program.Rack from the agent
//	<pnode>.counters        Platform, answered by []program.Counter
//	<pnode>.exec     stream Platform, then []Share and a rack.ExecRequest, then any
//	                        rack.Inputs from the coordinator; rack.Replies from the agent
//	overload Overload       a pnode cannot keep what it promised, or can again
//	<pnode>.shape    stream Shape, then the bytes of a program.Links from the
//	                        coordinator, none at all for no conditions;
//	                        program.Shaped from the agent. Anything more from the
//	                        coordinator before that says that it is not wanted
//	                        any more, if it is not in force yet.
//	<pnode>.links           Platform, answered by program.LinkStats
//	<pnode>.probe    stream Platform, then for each rack a Share and a
//	                        rack.ProbeRequest; rack.Replies from the agent

// SubjectWho and the others are the subjects of announcements.
var (
	SubjectWho      = Subject("who")
	SubjectHello    = Subject("hello")
	SubjectBye      = Subject("bye")
	SubjectRacks    = Subject("racks")
	SubjectOverload = Subject("overload")
)

// SubjectOf is the subject of a call to the agent of a pnode.
func SubjectOf(pnode, call string) string { return Subject("pnode", pnode, call) }

// Platform names the platform of a call.
type Platform struct {
	Name string
}

// Hello tells what a pnode has.
type Hello struct {
	Pnode      string
	Version    string // of the program that runs there
	Boot       string // differs after every start of the machine
	CPUs       int
	Memory     uint64           // bytes
	Files      uint64           // RLIMIT_NOFILE
	Namespaces uint64           // user.max_net_namespaces
	Pids       uint64           // kernel.pid_max
	Platforms  []program.Report // what it carries already
}

// Shape asks that the links of a platform have other conditions.
type Shape struct {
	Name string    // of the platform
	At   time.Time // when; zero: at once
}

// Overload tells that a stretch in which a pnode could not keep what it
// promised has begun, or ended.
type Overload struct {
	Platform string
	Pnode    string
	Ended    bool
	program.Overload
}

// Progress is how far an agent has come.
type Progress struct {
	Count  int              `cbor:",omitempty"` // vnodes up, or left to remove
	Doing  string           `cbor:",omitempty"` // what takes a moment, beside that
	Report *program.Report  `cbor:",omitempty"` // what is, at the end
	Err    *program.Problem `cbor:",omitempty"` // why it ended early
}

// Share is the part of a call that is one rack's.
type Share struct {
	Rack   uint32
	Vnodes []string `cbor:",omitempty"` // none: every vnode of the rack
}

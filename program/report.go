package program

import "time"

// Kind classes what went wrong; it crosses the wire, so kinds are only ever
// appended.
type Kind uint8

// The kinds of problem.
const (
	KindInternal    Kind = iota
	KindInvalid          // the request cannot be meant
	KindNotFound         // what was named does not exist
	KindConflict         // it contradicts something that exists
	KindUnsupported      // this kernel or version lacks something
	KindExhausted        // a limit of the machine was met
	KindUnavailable      // something that should answer does not
	KindPermission       // privileges are missing
)

// Problem is one thing that went wrong on a pnode. Thousands of them can be
// grouped by Op and Cause.
type Problem struct {
	Kind   Kind
	Rack   int32  // -1: not of a rack
	Vnode  string // empty: not of one vnode
	Op     string // what was attempted, on what
	Cause  string // what the kernel said
	Remedy string // what to do; may be empty
}

// Error makes a Problem usable as an error: operation, cause, remedy.
func (p *Problem) Error() string {
	s := p.Op
	if p.Vnode != "" {
		s = p.Vnode + ": " + s
	}
	if p.Cause != "" {
		s += ": " + p.Cause
	}
	if p.Remedy != "" {
		s += " (" + p.Remedy + ")"
	}
	return s
}

// RackState is how a rack is.
type RackState uint8

// The states of a rack.
const (
	RackDown    RackState = iota // wanted, not made yet
	RackUp                       // every vnode is as the program says
	RackPartial                  // some vnodes are not
	RackLost                     // its process is gone, and its vnodes with it
)

// RackReport is what is true of one rack.
type RackReport struct {
	Index  uint32
	State  RackState
	Pid    int // process that holds it, 0 if none
	Vnodes int // vnodes that are up
	Wanted int // vnodes that the program wants
}

// Report is what a pnode has for a platform: what is, not what was asked.
type Report struct {
	Platform string
	Pnode    string
	Racks    []RackReport
	Problems []Problem
	Writes   uint64        // kernel objects made, changed or removed to get here
	Took     time.Duration // wall time of the whole call
}

// Up is the number of vnodes that are up.
func (r *Report) Up() int {
	n := 0
	for _, k := range r.Racks {
		n += k.Vnodes
	}
	return n
}

// Counter is one count of the fabric: packets dropped or handled, by reason.
type Counter struct {
	Name    string // arp_answered, unicast, broadcast, drop_unknown_destination, …
	Packets uint64
}

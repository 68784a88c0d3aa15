package program

import (
	"fmt"
	"slices"
	"time"
)

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

// kinds are the names of the kinds, which cross the REST interface.
var kinds = [...]string{"internal", "invalid", "not found", "conflict", "unsupported", "exhausted", "unavailable", "permission"}

// String names the kind.
func (k Kind) String() string {
	if int(k) < len(kinds) {
		return kinds[k]
	}
	return "unknown"
}

// MarshalText writes the name of the kind.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the name of a kind; one that a newer version knows is
// KindInternal here.
func (k *Kind) UnmarshalText(text []byte) error {
	*k = KindInternal
	if i := slices.Index(kinds[:], string(text)); i > 0 {
		*k = Kind(i)
	}
	return nil
}

// Problem is one thing that went wrong on a pnode. Thousands of them can be
// grouped by Op and Cause.
type Problem struct {
	Kind   Kind   `json:"kind"`
	Rack   int32  `json:"rack"`             // -1: not of a rack
	Vnode  string `json:"vnode,omitempty"`  // empty: not of one vnode
	Op     string `json:"op"`               // what was attempted, on what
	Cause  string `json:"cause,omitempty"`  // what the kernel said
	Remedy string `json:"remedy,omitempty"` // what to do; may be empty
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

// rackStates are the names of the states, which cross the REST interface.
var rackStates = [...]string{"down", "up", "partial", "lost"}

// String names the state.
func (s RackState) String() string {
	if int(s) < len(rackStates) {
		return rackStates[s]
	}
	return "unknown"
}

// MarshalText writes the name of the state.
func (s RackState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name of a state.
func (s *RackState) UnmarshalText(text []byte) error {
	i := slices.Index(rackStates[:], string(text))
	if i < 0 {
		return fmt.Errorf("no rack state is called %q", text)
	}
	*s = RackState(i)
	return nil
}

// RackReport is what is true of one rack.
type RackReport struct {
	Index  uint32    `json:"index"`
	State  RackState `json:"state"`
	Pid    int       `json:"pid"`    // process that holds it, 0 if none
	Vnodes int       `json:"vnodes"` // vnodes that are up
	Wanted int       `json:"wanted"` // vnodes that the program wants
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
	Name    string `json:"name"` // arp_answered, unicast, broadcast, drop_unknown_destination, …
	Packets uint64 `json:"packets"`
}

// Package api is what a client of the daemon needs: the types of the REST
// interface, and a client for it. Streams are newline-delimited JSON.
package api

import (
	"time"

	"myriad/program"
	"myriad/rack"
)

// The REST interface, served on <run>/api.sock (0600):
//
//	GET    /v1/version                          Version
//	GET    /v1/pnodes                           []Pnode
//	POST   /v1/pnodes/{name}/drain DrainRequest stream of Event; the last has type drained or Error
//	DELETE /v1/pnodes/{name}                    forgets a pnode that is not up
//	POST   /v1/platforms          UpRequest     stream of Event; the last has Result or Error
//	GET    /v1/platforms                        []Platform
//	GET    /v1/platforms/{name}                 Platform
//	DELETE /v1/platforms/{name}                 stream of Event
//	GET    /v1/platforms/{name}/nodes?nodes=    Nodes
//	GET    /v1/platforms/{name}/vnodes?nodes=   stream of Vnode
//	POST   /v1/platforms/{name}/exec            ExecRequest; the connection is then
//	                                            upgraded (101) to rack frames: Input from
//	                                            the client, Reply from the server
//	POST   /v1/platforms/{name}/check CheckRequest  stream of Event; the last has Check or Error
//	GET    /v1/platforms/{name}/links?nodes=&to=    Links
//	PATCH  /v1/platforms/{name}/links  LinkChange   Changed
//	POST   /v1/platforms/{name}/schedule Schedule   Changed
//	POST   /v1/platforms/{name}/fidelity FidelityRequest  stream of Event; the last has Fidelity or Error
//	GET    /v1/events?follow=&platform=         stream of Event
//	POST   /v1/shutdown                         ends the daemon; vnodes live on
//
// An error answer has a status of 4xx or 5xx and an Error as body.

// Version tells what answers.
type Version struct {
	Version string `json:"version"`
	Pid     int    `json:"pid"`
	Auto    bool   `json:"auto"`               // started by up; ends with its last platform
	Bus     string `json:"bus,omitempty"`      // URL at which agents join; empty: nowhere
	StandBy string `json:"stand_by,omitempty"` // identity of the coordinator that leads in its place; empty: none
}

// UpRequest asks that a platform be as its file says.
type UpRequest struct {
	File   string `json:"file"`            // name of the file, for messages
	Source string `json:"source"`          // its text
	Force  bool   `json:"force,omitempty"` // also if it will not fit
	// Files are what the source refers to, by the names it uses.
	Files map[string][]byte `json:"files,omitempty"`
}

// ExecRequest asks that a command be run in some vnodes.
type ExecRequest struct {
	Nodes string            `json:"nodes"` // nodeset
	Exec  *rack.ExecRequest `json:"exec"`  // Vnodes is left empty
}

// CheckRequest asks that vnodes ping each other.
type CheckRequest struct {
	Pairs   int           `json:"pairs"`   // 0: every pair up to 10,000 pairs, else 2,000 random ones
	Seed    uint64        `json:"seed"`    // of the choice of pairs; 0: the platform's
	Timeout time.Duration `json:"timeout"` // nanoseconds to wait for each answer; 0: one second
}

// Error is one failure, with its class, and the places of a file it speaks of.
type Error struct {
	Kind     program.Kind      `json:"kind"`
	Message  string            `json:"message"`
	Remedy   string            `json:"remedy,omitempty"`
	Problems []program.Problem `json:"problems,omitempty"`
}

// Error makes it usable as a Go error.
func (e *Error) Error() string {
	if e.Remedy != "" {
		return e.Message + " (" + e.Remedy + ")"
	}
	return e.Message
}

// Event is one thing that happened, or the progress or end of a request.
type Event struct {
	Time     time.Time `json:"time"`
	Type     string    `json:"type"` // progress, up, down, rack-lost, rack-up, problem, error, check, …
	Platform string    `json:"platform,omitempty"`
	Message  string    `json:"message,omitempty"`
	Done     int       `json:"done,omitempty"`  // progress: vnodes (or pairs) finished
	Total    int       `json:"total,omitempty"` // of how many
	Result   *Platform `json:"result,omitempty"`
	Check    *Check    `json:"check,omitempty"`
	Fidelity *Fidelity `json:"fidelity,omitempty"`
	Changed  *Changed  `json:"changed,omitempty"`
	Error    *Error    `json:"error,omitempty"`
}

// Platform is the state of a platform.
type Platform struct {
	Name     string               `json:"name"`
	State    string               `json:"state"`  // up, partial, lost, applying, removing, down, foreign (nothing is remembered of it)
	Vnodes   int                  `json:"vnodes"` // wanted
	Up       int                  `json:"up"`
	Networks []Network            `json:"networks"`
	Racks    []program.RackReport `json:"racks"` // pnode by pnode, in the order of Pnodes
	Pnodes   []Carried            `json:"pnodes,omitempty"`
	Problems []program.Problem    `json:"problems,omitempty"`
	Counters []program.Counter    `json:"counters,omitempty"`
	Links    *LinkState           `json:"links,omitempty"` // nil: none has conditions, nor will have
	Writes   uint64               `json:"writes"`          // kernel objects the last up changed
	Took     time.Duration        `json:"took"`            // nanoseconds, of the last up
	Since    time.Time            `json:"since"`
}

// Carried is what one pnode carries of a platform.
type Carried struct {
	Pnode   string `json:"pnode"`
	State   string `json:"state"`  // of the pnode, as in Pnode
	Vnodes  int    `json:"vnodes"` // wanted there
	Up      int    `json:"up"`
	Racks   int    `json:"racks"`
	RacksUp int    `json:"racks_up"`
}

// Network is a vnetwork in a listing.
type Network struct {
	Name    string `json:"name"`
	Subnet  string `json:"subnet"`
	Vifaces int    `json:"vifaces"`
}

// Pnode is a machine that carries vnodes.
type Pnode struct {
	Name      string `json:"name"`
	Site      string `json:"site,omitempty"`
	State     string `json:"state"`             // up, lost (it has fallen silent), left (its agent ended in good order), refused
	Drained   bool   `json:"drained,omitempty"` // no vnodes are placed there
	Version   string `json:"version"`
	Kernel    string `json:"kernel,omitempty"`
	Address   string `json:"address,omitempty"` // where tunnels of other pnodes reach it
	MTU       uint16 `json:"mtu,omitempty"`     // bytes, of the interface with that address
	CPUs      int    `json:"cpus"`
	Memory    uint64 `json:"memory"`              // bytes
	WireGuard bool   `json:"wireguard,omitempty"` // what goes to others can be encrypted
	// Limits of its kernel, as in package plan; 0: not known.
	Files      uint64        `json:"files,omitempty"`
	Namespaces uint64        `json:"namespaces,omitempty"`
	Pids       uint64        `json:"pids,omitempty"`
	Vnodes     int           `json:"vnodes"` // that are up there, of all platforms
	Platforms  []string      `json:"platforms,omitempty"`
	Clock      time.Duration `json:"clock"`             // nanoseconds by which its clock is ahead of the coordinator's
	Heard      time.Time     `json:"heard"`             // when it last said anything
	Problem    string        `json:"problem,omitempty"` // why it was refused
}

// DrainRequest asks that vnodes be moved away from a pnode, or, with Undo, that
// some may be placed there again.
type DrainRequest struct {
	Undo bool `json:"undo,omitempty"`
}

// Vnode is a vnode in a listing.
type Vnode struct {
	Name    string   `json:"name"`
	Pnode   string   `json:"pnode"`
	Rack    uint32   `json:"rack"`
	State   string   `json:"state"` // up, down, lost
	Weight  string   `json:"weight"`
	Gateway bool     `json:"gateway,omitempty"`
	Groups  []string `json:"groups,omitempty"`
	Vifaces []Viface `json:"vifaces"`
	Routes  []Route  `json:"routes,omitempty"`
}

// Viface is an interface in a listing.
type Viface struct {
	Name    string `json:"name"`
	Network string `json:"network"`
	Address string `json:"address"` // with prefix length
	MAC     string `json:"mac"`
	Attach  string `json:"attach"`
	Out     string `json:"out,omitempty"` // conditions of what the vnode sends by it: "delay=20ms"
	In      string `json:"in,omitempty"`  // and of what it gets
}

// Route is a route in a listing.
type Route struct {
	To  string `json:"to"`
	Via string `json:"via"`
}

// Check is the result of a check.
type Check struct {
	Pairs     int      `json:"pairs"`
	Answered  int      `json:"answered"`
	Failed    []string `json:"failed,omitempty"` // "a -> b: why", at most 100
	RTTMedian float64  `json:"rtt_median_us"`    // microseconds, as RTTP99, of those answered
	RTTP99    float64  `json:"rtt_p99_us"`
}

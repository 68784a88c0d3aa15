// Package rack is the data-plane process: one per up to a thousand vnodes. It
// holds their network namespaces, runs processes in them, and answers on a
// Unix socket, so that vnodes outlive the agent that asked for them.
package rack

import (
	"myriad/kernel"
	"myriad/kernel/wheel"
	"myriad/program"
)

// The wire between agent and rack: one connection per call on
// <run>/<platform>/rack-<index>.sock (0600). The client sends one Request;
// after an Exec, Input frames may follow. The server answers with any number of
// Reply frames, the last of which has Done set. Closing the connection cancels
// the call, and kills what it started; closing only its sending half does so
// too, and the answer still comes, up to Done. A frame is a big-endian uint32
// length (at most MaxFrame) and that many bytes of CBOR.

// Wire is the version of this wire. Racks outlive the program that started
// them: one that speaks the same wire serves on under any other build. Raise
// it when a rack of before could not understand what is said, or be understood.
const Wire = 2

// MaxFrame is the greatest length of a frame in bytes.
const MaxFrame = 64 << 20

// Request is the first frame of a call. Exactly one field is set.
type Request struct {
	Hello   *Hello           `cbor:",omitempty"`
	Apply   *kernel.RackSpec `cbor:",omitempty"`
	Observe *struct{}        `cbor:",omitempty"`
	Exec    *ExecRequest     `cbor:",omitempty"`
	Probe   *ProbeRequest    `cbor:",omitempty"`
	Hold    *HoldRequest     `cbor:",omitempty"`
	Held    *struct{}        `cbor:",omitempty"`
	Close   *struct{}        `cbor:",omitempty"`
}

// HoldRequest makes the rack's wheel as it is wanted.
type HoldRequest struct {
	Want *kernel.HoldSpec // nil: no wheel
}

// Hello asks who answers.
type Hello struct{}

// Input is what a client may send after an Exec request.
type Input struct {
	Data   []byte     `cbor:",omitempty"` // standard input of every process of the call
	EOF    bool       `cbor:",omitempty"`
	Resize *[2]uint16 `cbor:",omitempty"` // rows, columns of the terminal
}

// ExecRequest runs one command in some vnodes.
type ExecRequest struct {
	Vnodes  []string // names; empty: every vnode of the rack
	Argv    []string // looked up in PATH of the rack
	Env     []string // NAME=value, added to the rack's own
	Dir     string   // working directory; empty: /
	Stdin   bool     // Input frames follow; otherwise /dev/null
	Tty     bool     // a terminal (one vnode)
	Rows    uint16
	Columns uint16
	Timeout int64 // nanoseconds; 0: none. SIGTERM at the timeout, SIGKILL two seconds later
	Window  int   // processes at a time in this rack; 0: twice the cores, and more as long as none ends
}

// ProbeRequest sends ICMP echoes from vnodes of this rack.
type ProbeRequest struct {
	Probes  []Probe
	Timeout int64 // nanoseconds to wait for each answer
	Every   int64 `cbor:",omitempty"` // nanoseconds from one probe to the next; 0: as many at once as there is room for
}

// Probe is one echo from a vnode to an address.
type Probe struct {
	ID   uint32 // returned with the result
	From string // vnode
	To   string // IPv4 address
}

// Reply is one frame of an answer. Which fields are set depends on the call.
type Reply struct {
	Up       int                 `cbor:",omitempty"` // progress of Apply: vnodes up
	Info     *Info               `cbor:",omitempty"` // Hello
	Report   *program.RackReport `cbor:",omitempty"` // Apply
	Problems []program.Problem   `cbor:",omitempty"`
	Writes   uint64              `cbor:",omitempty"`
	Rack     *program.Rack       `cbor:",omitempty"` // Observe
	Outputs  []Output            `cbor:",omitempty"` // Exec
	Exits    []Exit              `cbor:",omitempty"` // Exec
	Echoes   []Echo              `cbor:",omitempty"` // Probe
	Held     *wheel.Stats        `cbor:",omitempty"`
	Err      *program.Problem    `cbor:",omitempty"` // the call did not succeed
	Done     bool                `cbor:",omitempty"` // last frame
}

// Info says who a rack is.
type Info struct {
	Platform string
	Index    uint32
	Pid      int
	Version  string // of the build
	Wire     uint32 // that it speaks; the agent uses no other than its own
	Vnodes   int
}

// Output is a piece of what a process wrote. Pieces of one stream arrive in
// order and end at line ends where the process wrote any.
type Output struct {
	Vnode  string
	Stderr bool `cbor:",omitempty"`
	Data   []byte
}

// Exit tells how a process ended.
type Exit struct {
	Vnode  string
	Code   int    // exit code; 128+signal if killed; 126/127 if it could not start
	Signal int    `cbor:",omitempty"`
	Err    string `cbor:",omitempty"` // why it could not start, or "timeout"
	Took   int64  // nanoseconds
}

// Echo is the result of one probe.
type Echo struct {
	ID  uint32
	RTT int64  // nanoseconds; 0: no answer in time
	Err string `cbor:",omitempty"`
}

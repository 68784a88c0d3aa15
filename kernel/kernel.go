// Package kernel makes one pnode match a program.Program and reports what is.
// With its subpackages it is the only Linux-specific tree.
//
// A platform on a pnode is a spine (a network namespace pinned by a bind
// mount at <run>/<platform>/spine), racks joined to it by trunks (veth pairs:
// tr0 in the rack's namespace, r<index> in the spine), and the vnodes of the
// racks. Pnode does the work that belongs to the spine and the machine; each
// rack does the work inside itself, by way of the Rack interface: in a rack
// process (package rack), or in this process (LocalRack, used by that process
// and by tests).
package kernel

import (
	"context"
	"time"

	"myriad/kernel/wheel"
	"myriad/program"
)

// RackSpec is what a rack must know to build its share of a program.
type RackSpec struct {
	Platform string
	Fabric   program.Fabric
	Networks []program.Network
	Rack     program.Rack
}

// HoldSpec says how a rack's wheel holds packets.
type HoldSpec struct {
	Memory uint64        // bytes of packets that it holds at most; 0: wheel.DefaultMemory
	Spin   time.Duration // how long before a packet is due it stops sleeping; 0: wheel.DefaultSpin
}

// Rack is one rack as Pnode sees it. Its namespaces live as long as the
// process behind it does.
type Rack interface {
	// Netns gives the path of the rack's own network namespace, which can be
	// opened while the rack lives (/proc/<pid>/ns/net).
	Netns() string
	// Pid is the process that holds the rack.
	Pid() int
	// Apply makes the vnodes of the rack match spec: it reads what is, makes,
	// changes and removes the difference, and returns what is afterwards. It
	// writes nothing when nothing differs. The trunk must exist. progress,
	// which may be nil, is told how many vnodes are up, from time to time.
	Apply(ctx context.Context, spec *RackSpec, progress func(up int)) (*program.RackReport, []program.Problem, uint64, error)
	// Observe reads the rack's vnodes back from the kernel.
	Observe(ctx context.Context) (*program.Rack, error)
	// Hold makes the rack's wheel as it is wanted: nil ends it, and drops what
	// it holds. The hold device must exist in the rack's namespace (HoldIndex).
	// It writes nothing when nothing differs.
	Hold(ctx context.Context, want *HoldSpec) error
	// Held tells what the rack's wheel has done; nil if it has none.
	Held(ctx context.Context) (*wheel.Stats, error)
	// Close ends the rack: processes in its vnodes are killed and every
	// namespace is let go.
	Close() error
}

// Racks starts and finds racks. It is implemented by package rack with
// processes, and by LocalRacks in this process.
type Racks interface {
	// Start starts an empty rack.
	Start(ctx context.Context, platform string, index uint32) (Rack, error)
	// Find gives the racks of a platform that are alive, by index: those an
	// earlier life of the caller started too.
	Find(ctx context.Context, platform string) (map[uint32]Rack, error)
}

package rack

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/cgroup"
	"myriad/kernel/netns"
	"myriad/kernel/wheel"
	"myriad/program"
)

// Local is what a rack process serves: the vnodes of one rack, held by this
// process. It is implemented by kernel.LocalRack.
type Local interface {
	Apply(ctx context.Context, spec *kernel.RackSpec, progress func(up int)) (*program.RackReport, []program.Problem, uint64, error)
	Observe(ctx context.Context) (*program.Rack, error)
	// Enter puts a thread into a vnode, and says whether there is such a one.
	Enter(t *netns.Thread, vnode string) (bool, error)
	// Hold and Held are those of kernel.Rack.
	Hold(ctx context.Context, want *kernel.HoldSpec) error
	Held(ctx context.Context) (*wheel.Stats, error)
	Close() error
}

var _ Local = (*kernel.LocalRack)(nil)

// newLocal makes an empty rack in the network namespace that this process
// was started in.
func newLocal(c Config, h *home) (Local, error) {
	if !h.ownNet {
		return nil, errors.New("the process shares the network namespace of its parent (racks are started by the daemon)")
	}
	ns, err := netns.Open("/proc/self/ns/net")
	if err != nil {
		return nil, err
	}
	defer unix.Close(ns)
	var procs func() ([]int, error)
	if tree, err := cgroup.Find(); err == nil {
		procs = groupOf(tree, c.RunDir, c.Platform, c.Index).Procs
	}
	return kernel.NewLocalRack(ns, procs)
}

// groupOf is the control group of a rack: of its process, and of all that is
// started in its vnodes. The run directory is an absolute path.
func groupOf(tree *cgroup.Tree, runDir, platform string, index uint32) cgroup.Group {
	return tree.Instance(kernel.Instance(runDir)).Child(platform).Child(fmt.Sprintf("rack-%d", index))
}

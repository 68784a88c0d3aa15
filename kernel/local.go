package kernel

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/program"
)

// LocalRack is a rack that this process holds: one descriptor for each
// vnode's network namespace. A rack process has one of them, in the namespace
// that it lives in.
type LocalRack struct {
	ns    int                   // the rack's own namespace, where its trunk is
	procs func() ([]int, error) // processes that may be in the vnodes
	ipv6  bool                  // this kernel has IPv6, which must be kept quiet

	applying sync.Mutex // held by Apply, Observe and Close
	holding  holding    // the rack's wheel, if it has one

	mu     sync.RWMutex // of what follows
	vnodes map[string]*vnode
	slots  map[uint16]*vnode
	spec   *RackSpec // what was asked last
	closed bool
}

// vnode is a vnode that lives.
type vnode struct {
	name   string
	slot   uint16
	weight program.Weight
	ns     int // descriptor of its namespace
}

// NewLocalRack makes an empty rack in the network namespace of a descriptor,
// which it copies. procs lists the processes that were started in the rack,
// so that those in a vnode end with it; it may be nil.
func NewLocalRack(ns int, procs func() ([]int, error)) (*LocalRack, error) {
	own, err := unix.FcntlInt(uintptr(ns), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("make rack: %w", err)
	}
	return &LocalRack{
		ns: own, procs: procs, ipv6: hasIPv6(),
		vnodes: map[string]*vnode{}, slots: map[uint16]*vnode{},
	}, nil
}

// hasIPv6 says whether links have IPv6 settings at all.
func hasIPv6() bool {
	var st unix.Stat_t
	return unix.Stat("/proc/net/if_inet6", &st) == nil
}

var errClosed = errors.New("the rack is closed")

// Apply makes the vnodes match spec. See Rack.
func (l *LocalRack) Apply(ctx context.Context, spec *RackSpec, progress func(up int)) (*program.RackReport, []program.Problem, uint64, error) {
	l.applying.Lock()
	defer l.applying.Unlock()
	if l.closed {
		return nil, nil, 0, errClosed
	}
	j := newJob(ctx, l, spec, progress)
	err := j.run()
	l.mu.Lock()
	l.spec = spec
	l.mu.Unlock()
	return j.report(), j.problems, j.writes, err
}

// Observe reads back what is.
func (l *LocalRack) Observe(ctx context.Context) (*program.Rack, error) {
	l.applying.Lock()
	defer l.applying.Unlock()
	if l.closed {
		return nil, errClosed
	}
	if l.spec == nil {
		return &program.Rack{}, nil
	}
	return observe(ctx, l)
}

// VnodeNetns gives the descriptor of a vnode's namespace. It remains the
// rack's; when the vnode is removed it is closed, and its number may come to
// mean another: prefer Enter.
func (l *LocalRack) VnodeNetns(name string) (fd int, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	v := l.vnodes[name]
	if v == nil {
		return -1, false
	}
	return v.ns, true
}

// Enter puts a thread into a vnode's network namespace. It says whether there
// is such a vnode.
func (l *LocalRack) Enter(t *netns.Thread, name string) (bool, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	v := l.vnodes[name]
	if v == nil {
		return false, nil
	}
	return true, t.Enter(v.ns)
}

// Close kills what runs in the vnodes and lets go of every namespace. The
// kernel takes their links down by itself.
func (l *LocalRack) Close() error {
	l.applying.Lock()
	defer l.applying.Unlock()
	if l.closed {
		return nil
	}
	var all []*vnode
	for _, v := range l.slots {
		all = append(all, v)
	}
	err := errors.Join(l.holding.end(), l.drop(all))
	unix.Close(l.ns)
	l.closed = true
	return err
}

// drop kills what runs in some vnodes and lets go of their namespaces.
func (l *LocalRack) drop(gone []*vnode) error {
	err := l.forget(gone)
	letGo(gone)
	return err
}

// forget kills what runs in some vnodes, and has them no more; their
// namespaces are still there.
func (l *LocalRack) forget(gone []*vnode) error {
	err := l.killIn(gone)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, v := range gone {
		delete(l.vnodes, v.name)
		delete(l.slots, v.slot)
	}
	return err
}

// letGo lets go of the namespaces of vnodes that were forgotten.
func letGo(gone []*vnode) {
	for _, v := range gone {
		unix.Close(v.ns)
	}
}

// at gives the vnode in a slot, nil if there is none.
func (l *LocalRack) at(slot uint16) *vnode {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.slots[slot]
}

// keep adds a vnode that has been made.
func (l *LocalRack) keep(v *vnode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.vnodes[v.name] = v
	l.slots[v.slot] = v
}

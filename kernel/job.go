package kernel

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"myriad/kernel/fabric"
	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// job is one Apply of a rack.
type job struct {
	ctx      context.Context
	l        *LocalRack
	spec     *RackSpec
	networks map[uint16]*program.Network
	before   *program.Rack            // what was asked last
	ends     map[int32]*rtnl.LinkInfo // links in the rack's namespace, by index
	veths    *fabric.Veth             // joins host ends to the trunk; nil: there are none
	next     atomic.Int64             // vnode to be looked at next

	mu       sync.Mutex // of what follows
	progress func(int)
	up       int
	writes   uint64
	problems []program.Problem
	full     int // 1 + index of the problem that says that nothing more fits; 0: there is room
}

// workers is how many threads make vnodes at one time. Much of the work is
// under one lock of the kernel, but the initialisation of a namespace mostly
// is not: two threads take about a sixth less than one; more take no less.
const workers = 2

func newJob(ctx context.Context, l *LocalRack, spec *RackSpec, progress func(int)) *job {
	j := &job{ctx: ctx, l: l, spec: spec, progress: progress, networks: networksOf(spec.Networks), before: &program.Rack{}}
	if l.spec != nil {
		j.before = &l.spec.Rack
	}
	return j
}

func networksOf(list []program.Network) map[uint16]*program.Network {
	m := make(map[uint16]*program.Network, len(list))
	for i := range list {
		m[list[i].ID] = &list[i]
	}
	return m
}

// run does it all: first what the rack's own namespace needs, then what goes,
// then what stays and what comes.
func (j *job) run() error {
	gone := j.gone()
	if err := j.prepare(gone); err != nil {
		return err
	}
	if j.veths != nil {
		defer j.veths.Close()
	}
	late, err := j.remove(gone)
	if err != nil {
		return err
	}
	defer letGo(late)
	n := min(workers, runtime.NumCPU(), len(j.spec.Rack.Vnodes))
	errs := make([]error, n)
	var wait sync.WaitGroup
	for i := range n {
		wait.Go(func() { errs[i] = j.work() })
	}
	wait.Wait()
	j.tell(0)
	return errors.Join(append(errs, j.ctx.Err())...)
}

// work is the share of one worker.
func (j *job) work() error {
	return netns.Run(func(t *netns.Thread) error {
		w, err := newWorker(j, t)
		if err != nil {
			return err
		}
		defer w.close()
		var again []*program.Vnode
		for j.ctx.Err() == nil {
			i := int(j.next.Add(1)) - 1
			if i >= len(j.spec.Rack.Vnodes) {
				break
			}
			v := &j.spec.Rack.Vnodes[i]
			if err := w.match(v); contested(err) {
				again = append(again, v) // what is in its way may be about to change
			} else {
				j.done(v, err)
			}
		}
		if len(again) > 0 && j.ctx.Err() == nil {
			// Perhaps of a vnode that was removed a moment ago.
			if err := netns.WaitCleanup(j.ctx); err != nil {
				return err
			}
		}
		for _, v := range again {
			j.done(v, w.match(v))
		}
		return nil
	})
}

// contested says whether an error means that a name, an index or an address
// is somebody else's now.
func contested(err error) bool {
	return errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EADDRINUSE)
}

// room says whether another vnode may be made.
func (j *job) room() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.full == 0
}

// errFull stands for every vnode that is not tried after one met a limit.
var errFull = errors.New("not tried")

// done enters the outcome for one vnode.
func (j *job) done(v *program.Vnode, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case err == nil:
		j.up++
		if j.up%progressEvery == 0 && j.progress != nil {
			j.progress(j.up)
		}
	case j.full > 0 && (err == errFull || exhausted(err)):
		// said already
	default:
		j.problems = append(j.problems, problemOf(int32(j.spec.Rack.Index), v.Name, "make vnode", err))
		if exhausted(err) {
			j.full = len(j.problems)
		}
	}
}

// progressEvery is after how many vnodes progress is told.
const progressEvery = 20

// tell adds to the count of writes, and tells the progress.
func (j *job) tell(writes uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.writes += writes
	if j.progress != nil {
		j.progress(j.up)
	}
}

// report sums up.
func (j *job) report() *program.RackReport {
	wanted := len(j.spec.Rack.Vnodes)
	if j.full > 0 && wanted > j.up {
		p := &j.problems[j.full-1]
		p.Cause += fmt.Sprintf("; %d of %d vnodes of the rack are up", j.up, wanted)
	}
	r := &program.RackReport{Index: j.spec.Rack.Index, State: program.RackUp, Pid: unix.Getpid(), Vnodes: j.up, Wanted: wanted}
	if j.up != wanted {
		r.State = program.RackPartial
	}
	return r
}

// gone lists the vnodes that are not wanted, or not as they are.
func (j *job) gone() []*vnode {
	wanted := make(map[uint16]*program.Vnode, len(j.spec.Rack.Vnodes))
	for i := range j.spec.Rack.Vnodes {
		wanted[j.spec.Rack.Vnodes[i].Slot] = &j.spec.Rack.Vnodes[i]
	}
	var gone []*vnode
	for slot, v := range j.l.slots {
		if w := wanted[slot]; w == nil || w.Name != v.name || w.Weight != v.weight {
			gone = append(gone, v)
		}
	}
	return gone
}

// remove takes vnodes away. Those that it returns are to be let go when the
// others are made: while the kernel takes namespaces down, it makes new ones
// ten times slower.
func (j *job) remove(gone []*vnode) (late []*vnode, err error) {
	if len(gone) == 0 {
		return nil, nil
	}
	j.writes += uint64(len(gone))
	reuses := j.reuses(gone)
	away := j.l.forget
	if reuses || !spareFiles() {
		away = j.l.drop
	} else {
		late = gone
	}
	if err := away(gone); err != nil {
		j.problems = append(j.problems, problemOf(int32(j.spec.Rack.Index), "", "remove vnodes", err))
	}
	if reuses {
		return nil, netns.WaitCleanup(j.ctx)
	}
	return late, nil
}

// spareFiles says whether a full rack may hold as many vnodes again that go.
func spareFiles() bool {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return err == nil && limit.Cur > 3*program.RackVnodes
}

// reuses says whether an address that goes comes back in another vnode: the
// trunk has room for only one macvlan with it, and the kernel takes down the
// old one when it finds the time.
func (j *job) reuses(gone []*vnode) bool {
	addresses := map[program.MAC]uint16{}
	for _, v := range gone {
		for _, f := range j.before.VifacesOf(v.slot) {
			addresses[f.Address()] = v.slot
		}
	}
	for _, f := range j.spec.Rack.Vifaces {
		if _, ok := addresses[f.Address()]; ok {
			return true
		}
	}
	return false
}

package agent

import (
	"context"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"myriad/program"
)

// held is what the agent holds of a platform.
type held struct {
	name string
	busy chan struct{} // has room while no operation changes the platform

	mu      sync.Mutex
	wanted  map[uint32]int // vnodes by rack, as journalled
	shaped  bool           // its links have conditions, as journalled
	report  *program.Report
	watched map[uint32]*watch

	asked atomic.Bool // somebody is to ask the pnode how it is
	loads overloads
}

// watch is one rack process that is watched.
type watch struct {
	pid  int
	stop context.CancelFunc
}

// hold gives what is held of a platform, from now on if need be.
func (a *agent) hold(name string) *held {
	a.mu.Lock()
	defer a.mu.Unlock()
	h := a.platforms[name]
	if h == nil {
		h = &held{name: name, busy: make(chan struct{}, 1), watched: map[uint32]*watch{}}
		a.platforms[name] = h
	}
	return h
}

// release lets go of a platform that is no more.
func (a *agent) release(h *held) {
	a.mu.Lock()
	delete(a.platforms, h.name)
	a.mu.Unlock()
	a.unwatch(h)
}

// occupy waits until nobody else changes the platform, and keeps others from
// it until vacate.
func (a *agent) occupy(ctx context.Context, name string) (*held, error) {
	for {
		h := a.hold(name)
		if err := h.occupy(ctx); err != nil {
			return nil, err
		}
		if a.hold(name) == h {
			return h, nil
		}
		h.vacate() // it was removed, and perhaps made again, meanwhile
	}
}

func (h *held) occupy(ctx context.Context) error {
	select {
	case h.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (h *held) vacate() { <-h.busy }

func (h *held) last() *program.Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.report
}

// complete adds to a report the racks that are wanted and of which nothing is
// left, and says how many vnodes each ought to have.
func complete(r *program.Report, wanted map[uint32]int) {
	missing := maps.Clone(wanted)
	for i := range r.Racks {
		k := &r.Racks[i]
		if n, ok := wanted[k.Index]; ok {
			k.Wanted = n
			delete(missing, k.Index)
		}
		if k.State == program.RackUp && k.Vnodes < k.Wanted {
			k.State = program.RackPartial
		}
	}
	for index, n := range missing {
		r.Racks = append(r.Racks, program.RackReport{Index: index, State: program.RackLost, Wanted: n})
	}
	slices.SortFunc(r.Racks, func(a, b program.RackReport) int { return int(int64(a.Index) - int64(b.Index)) })
}

// set holds a report, and watches the processes that it names and no others.
// It tells whether the racks differ from those of the report before.
func (a *agent) set(h *held, r *program.Report) (changed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.Pnode = a.Name
	complete(r, h.wanted)
	changed = h.report == nil || !slices.Equal(h.report.Racks, r.Racks)
	h.report = r
	pids := map[uint32]int{}
	for _, k := range r.Racks {
		if k.Pid > 0 && k.Pid != os.Getpid() && k.State != program.RackLost {
			pids[k.Index] = k.Pid
		}
	}
	for index, w := range h.watched {
		if pids[index] == w.pid {
			delete(pids, index)
		} else {
			w.stop()
			delete(h.watched, index)
		}
	}
	for index, pid := range pids {
		ctx, stop := context.WithCancel(a.ctx)
		w := &watch{pid: pid, stop: stop}
		h.watched[index] = w
		a.watch.Go(func() {
			defer stop()
			if processEnds(ctx, pid) {
				a.lost(h, index, w)
			}
		})
	}
	return changed
}

// unwatch stops watching a platform whose racks are about to go.
func (a *agent) unwatch(h *held) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for index, w := range h.watched {
		w.stop()
		delete(h.watched, index)
	}
}

// lost says that a rack's process has ended, unless whoever changed the
// platform meanwhile knows better.
func (a *agent) lost(h *held, index uint32, w *watch) {
	if h.occupy(a.ctx) != nil {
		return
	}
	defer h.vacate()
	h.mu.Lock()
	if h.watched[index] != w {
		h.mu.Unlock()
		return
	}
	delete(h.watched, index)
	r := *h.report
	r.Problems, r.Writes, r.Took = nil, 0, 0
	r.Racks = slices.Clone(r.Racks)
	for i := range r.Racks {
		if k := &r.Racks[i]; k.Index == index {
			k.State, k.Pid, k.Vnodes = program.RackLost, 0, 0
		}
	}
	h.report = &r
	h.mu.Unlock()
	a.sayRacks(&r)
}

// processEnds waits until a process ends, and tells whether it has; not if
// ctx ended first, or if the kernel does not tell.
func processEnds(ctx context.Context, pid int) bool {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return err == syscall.ESRCH
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	defer f.Close()
	raw, err := f.SyscallConn()
	if err != nil {
		return false
	}
	defer context.AfterFunc(ctx, func() { f.Close() })()
	// The runtime asks again when the descriptor becomes readable, which it
	// does when the process ends.
	err = raw.Read(func(fd uintptr) bool { return ended(int32(fd)) })
	return err == nil && ctx.Err() == nil
}

// ended tells whether the process of a pidfd has ended.
func ended(pidfd int32) bool {
	p := []unix.PollFd{{Fd: pidfd, Events: unix.POLLIN}}
	n, err := unix.Poll(p, 0)
	return n > 0 && err == nil
}

package kernel

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
)

// killPatience is how long killed processes may take to end.
const killPatience = 5 * time.Second

// killIn kills the processes that are in the namespaces of some vnodes, and
// waits until they have left them.
func (l *LocalRack) killIn(vnodes []*vnode) error {
	if l.procs == nil || len(vnodes) == 0 {
		return nil
	}
	ids := make(map[netns.ID]bool, len(vnodes))
	for _, v := range vnodes {
		if id, err := netns.IDOf(v.ns); err == nil {
			ids[id] = true
		}
	}
	for deadline, wait := time.Now().Add(killPatience), time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		pids, err := l.procs()
		if err != nil {
			return fmt.Errorf("list processes of the rack: %w", err)
		}
		left := 0
		for _, pid := range pids {
			if pid != os.Getpid() && killInside(pid, ids) {
				left++
			}
		}
		if left == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("kill processes in removed vnodes: %d are still there", left)
		}
		time.Sleep(wait)
	}
}

// killInside kills a process if it is in one of the namespaces, and says
// whether it was. The descriptor holds on to the process that is looked at,
// should its number become another's meanwhile.
func killInside(pid int, ids map[netns.ID]bool) bool {
	fd, err := unix.PidfdOpen(pid, 0)
	if err == unix.ESRCH {
		return false
	}
	if err == nil {
		defer unix.Close(fd)
	}
	id, e := netns.IDAt(fmt.Sprintf("/proc/%d/ns/net", pid))
	if e != nil || !ids[id] {
		return false
	}
	if err != nil { // no pidfd: before Linux 5.3
		return unix.Kill(pid, unix.SIGKILL) == nil
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}

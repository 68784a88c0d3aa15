package rack

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// window bounds the processes of a call. Short commands are fastest a few at
// a time; long ones, such as servers that wait for each other, are to run all
// at once. So a window that nobody chose begins at twice the cores, and is
// widened as long as no command ends, and the machine has room for more.
type window struct {
	tokens chan struct{} // one for each process that runs, and for each that may not yet
	closed int           // places that are not open yet
	ended  atomic.Int64
}

const (
	// widenEvery is how long nothing must have ended for the window to widen.
	widenEvery = 100 * time.Millisecond
	// widenBy is how many places are opened at once, at most: forty racks may
	// do so at the same time, and look at what is left only then.
	widenBy = 32
)

// newWindow is a window of a given number of places, 0 for one that widens,
// for n commands.
func newWindow(places, n int) *window {
	n = max(n, 1)
	if places > 0 {
		return &window{tokens: make(chan struct{}, min(places, n))}
	}
	w := &window{tokens: make(chan struct{}, n), closed: max(0, n-2*runtime.NumCPU())}
	for range w.closed {
		w.tokens <- struct{}{}
	}
	return w
}

// open is how many processes may run now.
func (w *window) open() int { return cap(w.tokens) - w.closed }

// end gives back the place of a process.
func (w *window) end() {
	w.ended.Add(1)
	<-w.tokens
}

// widen opens places until ctx ends or all are open.
func (w *window) widen(ctx context.Context) {
	tick := time.NewTicker(widenEvery)
	defer tick.Stop()
	for last := int64(0); w.closed > 0; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := w.ended.Load()
		full := len(w.tokens) == cap(w.tokens)
		if now == last && full && roomForMore() {
			more := min(widenBy, w.open(), w.closed)
			for range more {
				<-w.tokens
			}
			w.closed -= more
		}
		last = now
	}
}

// roomForMore says whether the machine has processes and memory left: of
// both, a quarter is kept for others.
func roomForMore() bool {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return false
	}
	limit, err := os.ReadFile("/proc/sys/kernel/pid_max")
	if err != nil {
		return false
	}
	pids, err := strconv.Atoi(strings.TrimSpace(string(limit)))
	return err == nil && tasks() < pids/4*3 && available() > info.Totalram*uint64(info.Unit)/4
}

// tasks is how many threads the machine has (proc_loadavg(5), the fourth
// field).
func tasks() int {
	text, err := os.ReadFile("/proc/loadavg")
	if f := strings.Fields(string(text)); err == nil && len(f) > 3 {
		_, all, _ := strings.Cut(f[3], "/")
		if n, err := strconv.Atoi(all); err == nil {
			return n
		}
	}
	return 1 << 30 // unknown: nothing more
}

// available is the memory that new processes can have, in bytes
// (proc_meminfo(5), MemAvailable).
func available() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "MemAvailable:" {
			kb, _ := strconv.ParseUint(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

package wheel

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// thread is the priority of the wheel's thread, and what it may do with it.
//
// It runs before all ordinary threads (SCHED_FIFO), but not for long: what it
// does without a pause beyond patience it does as an ordinary one, lest those
// starve that are to read the packets, and everything else of a small machine.
type thread struct {
	before *unix.SchedAttr // what it was; nil: it has never been urgent
	urgent bool
	awake  int64 // since when it has not slept
	budget int64 // nanoseconds that it may spin
	at     int64 // when the budget was counted last
	spins  bool  // since then
}

const (
	// patience is how long it may be urgent without a pause, in nanoseconds.
	patience = int64(20 * time.Millisecond)
	// spinShare is one part in so many of all time that it may spin, and
	// spinMost what it may save of that.
	spinShare = 3
	spinMost  = int64(5 * time.Millisecond)
)

// hurry makes the calling thread urgent, and says what it has to do without.
func (t *thread) hurry() (note string) {
	// Else the kernel may wake an ordinary thread 50 µs late, to save power.
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0)
	before, err := unix.SchedGetAttr(0, 0)
	if err == nil {
		t.before = before
		err = t.raise()
	}
	if err != nil {
		t.before = nil
		return fmt.Sprintf("ordinary priority (set SCHED_FIFO: %v): packets are late on a busy machine", err)
	}
	return ""
}

// raise makes the thread urgent.
func (t *thread) raise() error {
	err := unix.SchedSetAttr(0, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}, 0)
	t.urgent = err == nil
	return err
}

// lower makes the thread what it was.
func (t *thread) lower() {
	if t.before != nil && unix.SchedSetAttr(0, t.before, 0) == nil {
		t.urgent = false
	}
}

// calm undoes hurry.
func (t *thread) calm() {
	t.lower()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 0, 0, 0, 0)
}

// count counts how much of the time the thread has been spinning.
func (t *thread) count(now int64) {
	took := now - t.at
	t.at = now
	t.budget = min(t.budget+took/spinShare, spinMost)
	if t.spins {
		t.budget -= took
	}
	t.spins = false
}

// spin says whether the thread may go on without sleeping, until a packet is
// due that soon will be.
func (t *thread) spin() bool {
	t.spins = t.budget > 0
	if t.spins {
		t.yield()
	}
	return t.spins
}

// work notes that the thread goes on, as there is something to be done.
func (t *thread) work(now int64) {
	if t.urgent && now-t.awake > patience {
		t.lower()
	}
	t.yield()
}

// yield lets other wheels of the machine have a turn. An ordinary thread is
// interrupted for others anyway, and would lose its turn altogether.
func (t *thread) yield() {
	if t.urgent {
		_, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	}
}

// rested notes that the thread has slept until now.
func (t *thread) rested(now int64) {
	t.awake = now
	if !t.urgent && t.before != nil {
		_ = t.raise()
	}
}

// pause sleeps some nanoseconds.
func (t *thread) pause(ns int64) {
	ts := unix.NsecToTimespec(ns)
	_ = unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &ts, nil)
}

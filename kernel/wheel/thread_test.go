package wheel

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
)

// TestSpinShare: however often it is tempted, a thread spins no more than its
// share of the time, and what it may save.
func TestSpinShare(t *testing.T) {
	var th thread
	const step = int64(10 * time.Microsecond)
	spun := int64(0)
	end := int64(time.Second)
	for now := int64(0); now < end; now += step {
		th.count(now)
		if th.spin() {
			spun += step
		}
	}
	if most := end/spinShare + spinMost + step; spun > most || spun < end/spinShare*9/10 {
		t.Errorf("of %v, it spun %v", time.Duration(end), time.Duration(spun))
	}
	th = thread{}
	th.count(end)
	for range 3 { // long sleeps save no more than a little
		th.count(th.at + end)
	}
	if th.budget > spinMost {
		t.Errorf("it may spin for %v", time.Duration(th.budget))
	}
}

// TestPatience: a thread that goes on and on becomes an ordinary one, and is
// urgent again once it has slept; and in the end it is what it was.
func TestPatience(t *testing.T) {
	kerneltest.RequireRoot(t)
	policy := func() uint32 {
		a, err := unix.SchedGetAttr(0, 0)
		if err != nil {
			t.Error(err)
			return ^uint32(0)
		}
		return a.Policy
	}
	slack := func() int {
		v, _, _ := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_GET_TIMERSLACK, 0, 0)
		return int(v)
	}
	cannot := ""
	err := netns.Run(func(*netns.Thread) error {
		before := slack()
		var th thread
		if cannot = th.hurry(); cannot != "" {
			return nil
		}
		const ms = int64(time.Millisecond)
		steps := []struct {
			name string
			do   func()
			want uint32
		}{
			{"at first", func() { th.rested(0) }, unix.SCHED_FIFO},
			{"at work", func() { th.work(patience - ms) }, unix.SCHED_FIFO},
			{"for long", func() { th.work(patience + ms) }, unix.SCHED_NORMAL},
			{"for longer", func() { th.work(patience + 2*ms) }, unix.SCHED_NORMAL},
			{"after a rest", func() { th.rested(patience + 3*ms) }, unix.SCHED_FIFO},
			{"at the end", th.calm, unix.SCHED_NORMAL},
		}
		for _, s := range steps {
			if s.do(); policy() != s.want {
				t.Errorf("%s, its policy is %d, want %d", s.name, policy(), s.want)
			}
		}
		if after := slack(); after != before {
			t.Errorf("its timer slack is %d, was %d", after, before)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if cannot != "" {
		kerneltest.Skip(t, cannot)
	}
}

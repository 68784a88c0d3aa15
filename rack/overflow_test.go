package rack

import (
	"fmt"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/program"
)

// TestHoldOverflow: what comes while a rack's process does not get to run, and
// more than the kernel keeps for it, is counted as lost in the holder; nothing
// else is lost.
func TestHoldOverflow(t *testing.T) {
	t.Setenv(kernel.HolderVariable, kernel.HolderWheel)
	p, s := pnode(t)
	want := shaped(20, 10, 50)
	if _, err := p.Apply(t.Context(), want, nil); err != nil {
		t.Fatal(err)
	}
	found, err := s.Find(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	c := found[0].(*Client)
	const frames = 60_000
	host := want.Racks[1].Vifaces[0].Host
	flood := fmt.Sprintf("echo begins; sleep 0.3; ping -n -q -l %d -c %d -s 1400 -W 1 %s", frames, frames, want.Networks[0].Addr(host))
	begun, ended := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		ended <- c.Exec(t.Context(), &ExecRequest{Vnodes: []string{want.Racks[0].Vnodes[0].Name}, Argv: []string{"sh", "-c", flood}}, nil, func(r *Reply) error {
			if len(r.Outputs) > 0 {
				select {
				case begun <- struct{}{}:
				default:
				}
			}
			return nil
		})
	}()
	<-begun
	if err := unix.Kill(c.Pid(), unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the flood", func() bool {
		counts, err := p.Counters("p")
		return err == nil && counted(counts, "held") >= frames
	})
	if err := unix.Kill(c.Pid(), unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	var stats *program.LinkStats
	waitFor(t, "everything to leave", func() bool {
		stats, err = p.LinkStats(t.Context(), "p")
		return err == nil && stats.Held == 0 && counted(stats.Counters, "held") == counted(stats.Counters, "released")+stats.Lost
	})
	st, err := c.Held(t.Context())
	if err != nil || st.Missed == 0 || stats.Lost < st.Missed {
		t.Errorf("the rack has %+v, the platform %+v; %v", st, stats, err)
	}
	time.Sleep(50 * time.Millisecond)
	if again, err := c.Held(t.Context()); err != nil || again.Missed != st.Missed {
		t.Errorf("asked again, it has missed %d, before %d; %v", again.Missed, st.Missed, err)
	}
}

func counted(counts []program.Counter, name string) uint64 {
	for _, c := range counts {
		if c.Name == name {
			return c.Packets
		}
	}
	return 0
}

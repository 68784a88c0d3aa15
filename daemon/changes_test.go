package daemon_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myriad/api"
	"myriad/daemon"
	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/link"
)

var changing = flag.Duration("changing", 2*time.Second, "how long TestChangesInKernel makes link changes")

// TestChangesInKernel: changes come by the thousand and are made in a real
// kernel; every caller is answered, what they set last is in force, and memory
// does not grow with their number.
func TestChangesInKernel(t *testing.T) {
	kerneltest.RequireRoot(t)
	run, err := os.MkdirTemp("/dev/shm", "myriad-test-") // in memory, as /run is on most machines
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(run) })
	m := &machine{t: t, run: run, state: t.TempDir(), racks: echoRacks{new(atomic.Int64)}}
	racks := &kernel.LocalRacks{}
	p, err := kernel.Open(kernel.Config{RunDir: m.run, Racks: racks})
	must(t, err)
	m.pnode, m.Client = p, api.NewClient(daemon.Socket(m.run))
	m.start()
	const callers, vnodes, unit = 50, 500, 50 * time.Microsecond
	m.mustUp("x", vnodes)
	defer m.down("x")
	change := func(n int, delay int) error {
		_, err := m.ChangeLinks(t.Context(), "x", &api.LinkChange{Nodes: fmt.Sprintf("n%d", n), Side: "out", Set: []string{fmt.Sprintf("delay=%dus", time.Duration(delay)*unit/time.Microsecond)}})
		return err
	}
	var last [vnodes + 1]int // delay, by vnode
	var made atomic.Int64
	rush := func(lasting time.Duration) {
		var work sync.WaitGroup
		begun := time.Now()
		for c := range callers {
			work.Go(func() {
				const each = vnodes / callers
				for i := 0; time.Since(begun) < lasting; i++ {
					n := c*each + i%each + 1
					if err := change(n, last[n]+1+i%7); err != nil {
						t.Error(err)
						return
					}
					last[n] += 1 + i%7
					made.Add(1)
				}
			})
		}
		work.Wait()
	}
	heap := func() int64 {
		var now runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&now)
		return int64(now.HeapAlloc)
	}
	rush(*changing / 4) // after this, all tables are as large as they become
	before, begun := heap(), time.Now()
	made.Store(0)
	rush(*changing)
	rate := float64(made.Load()) / time.Since(begun).Minutes()
	grown := heap() - before
	t.Logf("%d changes, %.0f a minute; the heap grew by %d KB", made.Load(), rate, grown/1000)
	if rate < 20_000 { // a fifth of what it must be on a machine that does nothing else
		t.Errorf("%.0f changes a minute", rate)
	}
	if grown > 16<<20 {
		t.Errorf("the heap grew by %d MB", grown>>20)
	}
	for n := 1; n <= vnodes; n += 7 {
		want := fmt.Sprintf("delay=%s", link.FormatDelay(time.Duration(last[n])*unit))
		if last[n] == 0 {
			want = "none"
		}
		v, err := m.Links(t.Context(), "x", fmt.Sprintf("n%d", n), "")
		if err != nil || len(v.Vifaces) == 0 || v.Vifaces[0].Asked != want {
			t.Fatalf("n%d shows %+v, %v; want %s", n, v.Vifaces, err, want)
		}
	}
	found, err := racks.Find(t.Context(), "x")
	must(t, err)
	for n := 1; n < 250; n += 50 {
		want := time.Duration(last[n]+last[n+1]) * unit
		if got := pinged(t, found[0], fmt.Sprintf("n%d", n), fmt.Sprintf("10.0.0.%d", n+1)); got < want-time.Millisecond/2 || got > want+20*time.Millisecond {
			t.Errorf("a round trip of n%d takes %v, want %v", n, got, want)
		}
	}
}

// pinged is the shortest of some round trips from a vnode.
func pinged(t *testing.T, r kernel.Rack, from, to string) time.Duration {
	t.Helper()
	var out []byte
	must(t, netns.Run(func(th *netns.Thread) (err error) {
		if ok, err := r.(interface {
			Enter(*netns.Thread, string) (bool, error)
		}).Enter(th, from); !ok || err != nil {
			return fmt.Errorf("enter %s: %v, %w", from, ok, err)
		}
		out, err = exec.Command("ping", "-n", "-q", "-c", "3", "-i", "0.02", "-W", "2", to).Output()
		return err
	}))
	_, figures, _ := strings.Cut(string(out), "mdev = ")
	least, _, _ := strings.Cut(figures, "/")
	ms, err := strconv.ParseFloat(least, 64)
	must(t, err)
	return time.Duration(ms * float64(time.Millisecond))
}

package rack

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/program"
)

// joinings are the ways in which a platform of a few vnodes is alone and joined
// to other pnodes: every change between two of them is a change of devices.
func joinings() []*program.Program {
	var all []*program.Program
	for _, shape := range kerneltest.Shapes {
		alone := shape.Program("p", rand.New(rand.NewPCG(1, 1)))
		joined := kerneltest.Joined(alone)
		elsewhere := *joined
		o := *joined.Overlay
		o.VNI += program.PlatformVNIs
		elsewhere.Overlay = &o
		all = append(all, alone, joined, &elsewhere)
		if shape.Fabric == program.FabricBridge {
			many := elsewhere
			o := o
			o.Kind = program.OverlayMulticast
			many.Overlay = &o
			all = append(all, &many)
		}
	}
	return all
}

// wanderMain is a daemon that changes a platform again and again, until it is
// killed.
func wanderMain(runDir, underlay, seed string) {
	p, _, err := again(runDir)
	if err == nil {
		p.Underlay = underlay
		var n uint64
		n, err = strconv.ParseUint(seed, 10, 64)
		rng := rand.New(rand.NewPCG(n, n))
		states := joinings()
		for first := true; err == nil; first = false {
			if i := rng.IntN(len(states) + 2); i < len(states) {
				_, err = p.Apply(context.Background(), states[i], nil)
			} else {
				err = p.Remove(context.Background(), "p", nil)
			}
			if first {
				fmt.Println("wandering")
			}
		}
	}
	fmt.Println(err)
	os.Exit(1)
}

// TestKilledOverlay: a daemon that is killed at any moment while it changes what
// joins a platform to other pnodes leaves something from which the next comes
// to what is wanted, or to nothing.
func TestKilledOverlay(t *testing.T) {
	_, s := pnode(t)
	underlay, err := netns.Make(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(underlay)
	path := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), underlay)
	look := func() string {
		t.Helper()
		var out []byte
		if err := netns.Do(underlay, func() (err error) {
			out, err = exec.Command("sh", "-c", "ip link set lo up; ip -o link").CombinedOutput()
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	look()
	rng := rand.New(rand.NewPCG(5, 5))
	states := joinings()
	for round := range 20 {
		cmd := exec.Command("/proc/self/exe", "wander", s.RunDir, path, strconv.Itoa(round))
		out, err := cmd.StdoutPipe()
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		if line != "wandering\n" {
			t.Errorf("round %d: the daemon says %q", round, line)
		}
		time.Sleep(time.Duration(rng.Int64N(int64(50 * time.Millisecond))))
		_ = cmd.Process.Kill()
		_ = cmd.Wait()

		p, _, err := again(s.RunDir)
		if err != nil {
			t.Fatal(err)
		}
		p.Underlay = path
		if round%5 == 4 {
			if err := p.Sweep(t.Context()); err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			if left, err := p.Leftovers(t.Context()); err != nil || len(left) > 0 || strings.Count(look(), "\n") != 1 {
				t.Errorf("round %d: left are %v, %v, and in the underlay\n%s", round, left, err, look())
			}
		}
		mustBecome(t, p, states[rng.IntN(len(states))], round)
		if t.Failed() {
			return
		}
	}
}

// mustBecome applies a program and compares it with what is there then.
func mustBecome(t *testing.T, p *kernel.Pnode, want *program.Program, round int) {
	t.Helper()
	r, err := p.Apply(t.Context(), want, nil)
	if err != nil || len(r.Problems) > 0 {
		t.Fatalf("round %d: %v, %+v", round, err, r)
	}
	have, err := p.Observe(t.Context(), "p")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := kerneltest.Text(have), kerneltest.Text(want); got != want {
		t.Errorf("round %d: it is\n%s, want\n%s", round, got, want)
	}
	if a, b := have.Overlay, want.Overlay; (a == nil) != (b == nil) || a != nil && (a.VNI != b.VNI || a.Kind != b.Kind) {
		t.Errorf("round %d: joined by %+v, want %+v", round, a, b)
	}
	if r, err := p.Apply(t.Context(), want, nil); err != nil || r.Writes != 0 {
		t.Errorf("round %d: asked again, it writes %d times, %v", round, r.Writes, err)
	}
}

package kernel_test

import (
	"context"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
)

// elsewhere are racks that a process holds which has mounts of its own.
type elsewhere struct {
	*kernel.LocalRacks
	pid int
}

func (e elsewhere) Find(ctx context.Context, platform string) (map[uint32]kernel.Rack, error) {
	found, err := e.LocalRacks.Find(ctx, platform)
	for i, r := range found {
		found[i] = held{r, e.pid}
	}
	return found, err
}

type held struct {
	kernel.Rack
	pid int
}

func (h held) Pid() int { return h.pid }

// TestSpineElsewhere: a spine that is pinned only in the mount namespace of a
// rack is found, and none is made beside it.
func TestSpineElsewhere(t *testing.T) {
	p, racks := open(t)
	want := kerneltest.Shapes[0].Program("demo", rand.New(rand.NewPCG(1, 1)))
	mustApply(t, p, want)
	spine := filepath.Join(p.RunDir, "demo", "spine")
	before, err := netns.IDAt(spine)
	if err != nil {
		t.Fatal(err)
	}

	other := exec.Command("unshare", "-m", "sh", "-c", "echo; exec sleep 100")
	ready, err := other.StdoutPipe()
	if err == nil {
		err = other.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Process.Kill(); other.Wait() })
	if _, err := ready.Read(make([]byte, 1)); err != nil { // it has its mounts
		t.Fatal(err)
	}
	if err := unix.Unmount(spine, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}

	again, err := kernel.Open(kernel.Config{RunDir: p.RunDir, Racks: elsewhere{racks, other.Process.Pid}})
	if err != nil {
		t.Fatal(err)
	}
	if r := mustApply(t, again, want); r.Writes != 0 {
		t.Errorf("%d writes where nothing differs", r.Writes)
	}
	if after, err := netns.IDAt(spine); err != nil || after != before {
		t.Errorf("the spine is another: %v, it was %v, %v", after, before, err)
	}
}

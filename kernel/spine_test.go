package kernel_test

import (
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/cgroup"
	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
)

// TestSpineElsewhere: a spine that is pinned only in the mount namespace of a
// process of the platform is found, and none is made beside it.
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
	tree, err := cgroup.Find()
	if err != nil {
		t.Fatal(err)
	}
	g := tree.Instance(kernel.Instance(p.RunDir)).Child("demo").Child("rack-0")
	if err := g.Make(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(other.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(spine, unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}

	again, err := kernel.Open(kernel.Config{RunDir: p.RunDir, Racks: racks})
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

package cgroup

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"myriad/kernel/kerneltest"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

func TestFind(t *testing.T) {
	const v1 = "30 23 0:26 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n31 23 0:27 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n"
	const v2 = "32 23 0:28 / /sys/fs/cgroup/with\\040blank rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
	for _, test := range []struct {
		name, text, root string
		v2               bool
	}{
		{"hybrid", v1 + v2, "/sys/fs/cgroup/with blank", true},
		{"v1", v1, "/sys/fs/cgroup/freezer", false},
	} {
		tree, err := find(test.text)
		if err != nil || tree.Root != test.root || tree.V2 != test.v2 {
			t.Errorf("%s: got %+v, %v; want %s, v2 %v", test.name, tree, err, test.root, test.v2)
		}
	}
	if _, err := find("rubbish\n - \n"); !errors.Is(err, ErrNone) {
		t.Errorf("no hierarchy: got %v, want ErrNone", err)
	}
}

// TestLife makes a group, starts something in it that starts something else,
// and ends it, in each kind of hierarchy that this machine has.
func TestLife(t *testing.T) {
	kerneltest.RequireRoot(t)
	tree, err := Find()
	if err != nil {
		t.Fatal(err)
	}
	trees := []*Tree{tree}
	if tree.V2 {
		if text, err := os.ReadFile("/proc/self/mountinfo"); err == nil {
			v1 := strings.ReplaceAll(string(text), " - cgroup2 ", " - other ")
			if tree, err := find(v1); err == nil { // the loop instead of cgroup.kill
				trees = append(trees, tree)
			}
		}
	}
	for _, tree := range trees {
		testLife(t, tree)
	}
}

func testLife(t *testing.T, tree *Tree) {
	top := tree.Instance("test-cgroup")
	g := top.Child("platform").Child("rack-0")
	if err := g.Make(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", "read go; (setsid sleep 60 &) ; sleep 60")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Error(err)
	}
	stdin.Close()
	if pids, err := top.Procs(); err != nil || len(pids) == 0 {
		t.Errorf("processes below %s: %v, %v; want some", top.Path, pids, err)
	}
	if err := top.Kill(t.Context()); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // killed, as it should be
	if err := top.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if top.Exists() {
		t.Errorf("%s is still there", top.Path)
	}
	if pids, err := top.Procs(); err != nil || len(pids) != 0 {
		t.Errorf("processes of a group that is gone: %v, %v", pids, err)
	}
}

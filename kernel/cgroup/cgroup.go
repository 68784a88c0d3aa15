// Package cgroup keeps the tree of control groups that marks processes as
// Myriad's: myriad-<instance>/<platform>/rack-<k>. Every rack process is in
// its rack's group before it runs, and what it starts inherits that, so that
// ending a group ends all of it, whoever became a daemon meanwhile. No
// controllers are needed.
//
// The tree lives in the cgroup v2 hierarchy where one is mounted (kernel
// Documentation/admin-guide/cgroup-v2.rst), otherwise in a v1 hierarchy, where
// a group is ended by a loop instead of by cgroup.kill.
package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Tree is the hierarchy that our groups are in.
type Tree struct {
	Root string // mount point
	V2   bool
}

// ErrNone says that no usable hierarchy is mounted.
var ErrNone = errors.New("no cgroup hierarchy is mounted (mount -t cgroup2 none /sys/fs/cgroup)")

// v1Hierarchies are those that serve where there is no v2, best first: the
// freezer's is used by hardly anything else.
var v1Hierarchies = []string{"freezer", "pids", "name=systemd", "cpuacct", "memory", "devices"}

// Find looks up the hierarchy in /proc/self/mountinfo.
func Find() (*Tree, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find cgroups: %w", err)
	}
	return find(string(text))
}

func find(mountinfo string) (*Tree, error) {
	v1 := map[string]string{}
	for _, line := range strings.Split(mountinfo, "\n") {
		before, after, ok := strings.Cut(line, " - ")
		at, is := strings.Fields(before), strings.Fields(after)
		if !ok || len(at) < 5 || len(is) < 3 {
			continue
		}
		switch is[0] {
		case "cgroup2":
			return &Tree{Root: unescape(at[4]), V2: true}, nil
		case "cgroup":
			for _, option := range strings.Split(is[2], ",") {
				v1[option] = unescape(at[4])
			}
		}
	}
	for _, name := range v1Hierarchies {
		if root, ok := v1[name]; ok {
			return &Tree{Root: root}, nil
		}
	}
	return nil, ErrNone
}

// unescape undoes mountinfo's octal escapes of blanks and backslashes.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}

// Group is one control group, which need not exist.
type Group struct {
	tree *Tree
	Path string // of its directory
}

// Instance is the group above all platforms of an instance.
func (t *Tree) Instance(instance string) Group {
	return Group{t, filepath.Join(t.Root, "myriad-"+instance)}
}

// Child is a group below this one.
func (g Group) Child(name string) Group { return Group{g.tree, filepath.Join(g.Path, name)} }

// Children lists the groups below this one.
func (g Group) Children() ([]Group, error) {
	entries, err := os.ReadDir(g.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var out []Group
	for _, e := range entries {
		if e.IsDir() {
			out = append(out, g.Child(e.Name()))
		}
	}
	return out, err
}

// Exists says whether the group is there.
func (g Group) Exists() bool {
	_, err := os.Stat(g.Path)
	return err == nil
}

// Make makes the group, and those above it.
func (g Group) Make() error {
	if err := os.MkdirAll(g.Path, 0o755); err != nil {
		return fmt.Errorf("make cgroup: %w", err)
	}
	return nil
}

// Open gives a descriptor of the group's directory, for CLONE_INTO_CGROUP.
// Only v2 groups can be cloned into.
func (g Group) Open() (*os.File, error) {
	if !g.tree.V2 {
		return nil, errors.ErrUnsupported
	}
	return os.OpenFile(g.Path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
}

// Add moves a process into the group.
func (g Group) Add(pid int) error {
	err := os.WriteFile(filepath.Join(g.Path, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
	if err != nil {
		return fmt.Errorf("move process %d: %w", pid, err)
	}
	return nil
}

// Procs lists the processes in the group and in the groups below it.
func (g Group) Procs() ([]int, error) {
	var pids []int
	err := g.walk(func(dir string) error {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 { // 0: of another pid namespace
				pids = append(pids, pid)
			}
		}
		return err
	})
	return pids, err
}

// walk visits the directories of the group, the lower ones first. Those that
// vanish meanwhile are not missed.
func (g Group) walk(visit func(dir string) error) error {
	var dirs []string
	err := filepath.WalkDir(g.Path, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return err
	})
	slices.Reverse(dirs)
	for _, dir := range dirs {
		if e := visit(dir); e != nil && !errors.Is(e, fs.ErrNotExist) && !errors.Is(e, unix.ENODEV) && err == nil {
			err = e
		}
	}
	return err
}

// Kill sends SIGKILL to every process of the group and below, and returns
// when none is left (but perhaps as zombies), and the kernel has taken from
// them all that they held: descriptors and namespaces too.
func (g Group) Kill(ctx context.Context) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		populated, err := g.populated()
		if err != nil {
			return fmt.Errorf("kill cgroup: %w", err)
		}
		if !populated {
			return nil
		}
		pids, err := g.Procs() // none of those that are on their way out
		if err != nil {
			return fmt.Errorf("kill cgroup: %w", err)
		}
		if err := g.kill(pids); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("kill cgroup %s: %d processes left: %w", g.Path, len(pids), ctx.Err())
		case <-time.After(wait):
		}
	}
}

// populated tells whether any thread is in the group or below. A process
// leaves the list of processes when it begins to end, before it lets go of
// what it holds; its threads leave the group after that.
func (g Group) populated() (bool, error) {
	if g.tree.V2 {
		events, err := os.ReadFile(filepath.Join(g.Path, "cgroup.events"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return false, nil
		}
		return strings.Contains(string(events), "populated 1"), err
	}
	threads := false
	err := g.walk(func(dir string) error {
		text, err := os.ReadFile(filepath.Join(dir, "tasks"))
		threads = threads || len(text) > 0
		return err
	})
	return threads, err
}

// kill ends the processes by one write where the kernel can (5.14), else one
// by one: the caller repeats it until no new ones appear.
func (g Group) kill(pids []int) error {
	if len(pids) == 0 {
		return nil
	}
	if g.tree.V2 {
		err := os.WriteFile(filepath.Join(g.Path, "cgroup.kill"), []byte("1"), 0)
		if err == nil || errors.Is(err, unix.ENODEV) {
			return nil
		}
	}
	for _, pid := range pids {
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	return nil
}

// Remove removes the group and those below it. They must be empty; ones that
// the kernel is still emptying are waited for.
func (g Group) Remove(ctx context.Context) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := g.walk(func(dir string) error { return unix.Rmdir(dir) })
		if err == nil || !errors.Is(err, unix.EBUSY) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("remove cgroup %s: %w", g.Path, err)
		case <-time.After(wait):
		}
	}
}

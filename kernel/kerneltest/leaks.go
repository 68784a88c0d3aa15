package kerneltest

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Main runs a package's tests and fails the run if something of the machine
// is left changed: an open descriptor, a mount, a link, a cgroup of ours, a
// child process. Use it as
//
//	func TestMain(m *testing.M) { kerneltest.Main(m) }
//
// Privileged test binaries that use it take turns, whatever runs them: they
// look at the whole machine, and would take each other's work for leaks.
func Main(m *testing.M) {
	unlock := turn()
	defer unlock() // held by the process, too: os.Exit lets it go
	tmp := ownTemp()
	before := snapshot(tmp)
	code := m.Run()
	if left := waitLeft(before, tmp, 5*time.Second); len(left) > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "tests left behind:\n  %s\n", strings.Join(left, "\n  "))
		code = 1
	}
	if err := os.RemoveAll(tmp); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// ownTemp gives the tests a directory for temporary files of their own, by
// which what they leave behind is known from what others on the machine do.
func ownTemp() string {
	dir, err := os.MkdirTemp("", "mt-")
	if err == nil {
		err = os.Setenv("TMPDIR", dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return dir
}

// turn waits until no other privileged test binary runs.
func turn() (unlock func()) {
	if os.Geteuid() != 0 {
		return func() {}
	}
	f, err := os.OpenFile(filepath.Join(os.TempDir(), "myriad-tests.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err == nil {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tests do not take turns:", err)
		return func() {}
	}
	return func() { f.Close() }
}

// waitLeft gives what is there now and was not before, once it has had time
// to go away by itself.
func waitLeft(before map[string]bool, tmp string, patience time.Duration) []string {
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		left := diff(before, snapshot(tmp))
		if len(left) == 0 || time.Now().After(deadline) {
			return left
		}
	}
}

func diff(before, after map[string]bool) []string {
	var left []string
	for s := range after {
		if !before[s] {
			left = append(left, s)
		}
	}
	sort.Strings(left)
	return left
}

// snapshot lists what a test could leave behind, one line each.
func snapshot(tmp string) map[string]bool {
	seen := map[string]bool{}
	addDescriptors(seen)
	addChildren(seen)
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(mounts), "\n") {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], tmp) {
			seen["mount "+f[4]] = true
		}
	}
	links, _ := net.Interfaces()
	for _, l := range links {
		seen["link "+l.Name] = true
	}
	for _, pattern := range []string{"/sys/fs/cgroup/myriad-*", "/sys/fs/cgroup/*/myriad-*"} {
		groups, _ := filepath.Glob(pattern)
		for _, g := range groups {
			if !foreign(g, tmp) {
				seen["cgroup "+g] = true
			}
		}
	}
	return seen
}

// foreign says whether a group holds processes, and only such as do not know
// our directory: somebody else's platform.
func foreign(group, tmp string) bool {
	found := false
	ours := false
	err := filepath.WalkDir(group, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // it may be going away
		}
		procs, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		for _, pid := range strings.Fields(string(procs)) {
			cmd, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			found = true
			ours = ours || strings.Contains(string(cmd), tmp)
		}
		return nil
	})
	return err == nil && found && !ours
}

// addDescriptors counts descriptors by what they refer to, leaving out those
// that the Go runtime opens for itself.
func addDescriptors(seen map[string]bool) {
	entries, _ := os.ReadDir("/proc/self/fd")
	count := map[string]int{}
	for _, e := range entries {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || strings.Contains(to, "eventpoll") || strings.Contains(to, "eventfd") || strings.HasSuffix(to, "/fd") {
			continue
		}
		if i := strings.IndexByte(to, '['); i >= 0 { // socket:[123] differs each time
			to = to[:i]
		}
		count[to]++
		seen[fmt.Sprintf("descriptor %s #%d", to, count[to])] = true
	}
}

func addChildren(seen map[string]bool) {
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, t := range tasks {
		pids, _ := os.ReadFile(t)
		for _, pid := range strings.Fields(string(pids)) {
			cmd, _ := os.ReadFile("/proc/" + pid + "/cmdline")
			seen[fmt.Sprintf("child %s %s", pid, strings.ReplaceAll(string(cmd), "\x00", " "))] = true
		}
	}
}

package netns_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

func make1(t *testing.T) int {
	t.Helper()
	kerneltest.RequireRoot(t)
	fd, err := netns.Make(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func id(t *testing.T, fd int) netns.ID {
	t.Helper()
	v, err := netns.IDOf(fd)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func idAt(t *testing.T, path string) netns.ID {
	t.Helper()
	v, err := netns.IDAt(path)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestVisits: a visit is where it should be, and no thread that ordinary code
// runs on is left anywhere but at home. The main thread never moves.
func TestVisits(t *testing.T) {
	fd := make1(t)
	home, there := idAt(t, "/proc/self/ns/net"), id(t, fd)
	if home == there {
		t.Fatal("the new namespace is the old one")
	}
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			err := netns.Do(fd, func() error {
				if got := idAt(t, "/proc/thread-self/ns/net"); got != there {
					t.Errorf("visit is in %v, want %v", got, there)
				}
				if got := idAt(t, "/proc/self/ns/net"); got != home {
					t.Errorf("main thread moved to %v", got)
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			if got := idAt(t, "/proc/thread-self/ns/net"); got != home {
				t.Errorf("after a visit, an ordinary thread is in %v, want %v", got, home)
			}
		})
	}
	wait.Wait()
}

// TestVisitsThatEndBadly hand on the error, and leave no thread behind in the
// namespace.
func TestVisitsThatEndBadly(t *testing.T) {
	fd := make1(t)
	sentinel := errors.New("sentinel")
	if err := netns.Do(fd, func() error { return sentinel }); !errors.Is(err, sentinel) {
		t.Errorf("error %v, want the visit's own", err)
	}
	if err := netns.Do(fd, func() error { runtime.Goexit(); return nil }); err == nil {
		t.Error("a visit that did not return is no error")
	}
	if err := netns.Do(-1, func() error { t.Error("visited"); return nil }); err == nil {
		t.Error("a visit to nowhere is no error")
	}
	there := id(t, fd)
	tasks, _ := filepath.Glob("/proc/self/task/*/ns/net")
	for _, task := range tasks {
		if got, err := netns.IDAt(task); err == nil && got == there {
			t.Errorf("%s is still in the namespace", task)
		}
	}
}

func TestSpawn(t *testing.T) {
	fd := make1(t)
	before, _ := os.Hostname()
	var out []byte
	err := netns.Spawn(fd, "vnode-7", func() (err error) {
		out, err = exec.Command("sh", "-c", "hostname; readlink /proc/self/ns/net").Output()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	path, _ := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if want := "vnode-7\n" + path + "\n"; string(out) != want {
		t.Errorf("the process says %q, want %q", out, want)
	}
	for range 20 {
		if after, _ := os.Hostname(); after != before {
			t.Fatalf("host name is %s, was %s", after, before)
		}
	}
}

// TestOwnFiles: what is opened in such a visit is nobody else's, and gone
// after it.
func TestOwnFiles(t *testing.T) {
	kerneltest.RequireRoot(t)
	err := netns.Run(func(th *netns.Thread) error {
		if err := th.OwnFiles(); err != nil {
			return err
		}
		fd, err := th.Make()
		if err != nil {
			return err
		}
		if _, err := os.Stat("/proc/thread-self/fd/" + strconv.Itoa(fd)); err != nil {
			t.Error(err)
		}
		mine, err := netns.IDOf(fd)
		if err != nil {
			return err
		}
		fds, _ := filepath.Glob("/proc/self/fd/*")
		for _, path := range fds {
			if got, err := netns.IDAt(path); err == nil && got == mine {
				t.Errorf("%s of the process is the visit's", path)
			}
		}
		return th.Home()
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPin(t *testing.T) {
	fd := make1(t)
	path := filepath.Join(t.TempDir(), "pinned name")
	if netns.Pinned(path) {
		t.Error("pinned before")
	}
	if err := netns.Pin(fd, path); err != nil {
		t.Fatal(err)
	}
	if err := netns.Pin(fd, path); !errors.Is(err, os.ErrExist) {
		t.Errorf("pinning twice: %v, want that it exists", err)
	}
	again, err := netns.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if id(t, again) != id(t, fd) || !netns.Pinned(path) {
		t.Error("another namespace is pinned")
	}
	unix.Close(again)
	for range 2 {
		if err := netns.Unpin(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := netns.Open("/etc/passwd"); err == nil || !strings.Contains(err.Error(), "not a namespace") {
		t.Errorf("opening a file: %v, want that it is no namespace", err)
	}
}

// TestWaitCleanup: what was dropped before the call is gone after it. A
// dropped namespace is told by a veth pair with one end in it.
func TestWaitCleanup(t *testing.T) {
	watch := make1(t)
	for range 3 {
		dropped, err := netns.Make(nil)
		if err != nil {
			t.Fatal(err)
		}
		err = netns.Do(watch, func() error {
			return exec.Command("ip", "link", "add", "end", "type", "veth", "peer", "name", "other", "netns", "/proc/"+strconv.Itoa(os.Getpid())+"/fd/"+strconv.Itoa(dropped)).Run()
		})
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(dropped)
		if err := netns.WaitCleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
		out, _ := ipLinks(watch)
		if strings.Contains(out, "end@") {
			t.Errorf("after the wait, the dropped namespace's link is still there:\n%s", out)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := netns.WaitCleanup(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled wait: %v", err)
	}
}

func ipLinks(fd int) (string, error) {
	var out []byte
	err := netns.Do(fd, func() (err error) {
		out, err = exec.Command("ip", "link").Output()
		return err
	})
	return string(out), err
}

func BenchmarkVisit(b *testing.B) {
	kerneltest.RequireRoot(b)
	fd, err := netns.Make(nil)
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	for b.Loop() {
		if err := netns.Do(fd, func() error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
}

// TestWaitCleanupScarce: whichever descriptor is one too many, it is an error.
func TestWaitCleanupScarce(t *testing.T) {
	kerneltest.RequireRoot(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	lowest, err := unix.Dup(0) // the first descriptor that is free
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(lowest)
	failed := 0
	for more := range uint64(10) {
		low := limit
		low.Cur = uint64(lowest) + more
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			t.Fatal(err)
		}
		err := netns.WaitCleanup(t.Context())
		if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); e != nil {
			t.Fatal(e)
		}
		if err != nil {
			failed++
		}
		if err != nil && !errors.Is(err, unix.EMFILE) {
			t.Errorf("with %d descriptors: %v", more, err)
		}
	}
	if failed < 4 {
		t.Errorf("only %d waits met the limit", failed)
	}
}

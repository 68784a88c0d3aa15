package netns

import (
	"errors"
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// Thread is the operating system thread of a visit; it is only valid within
// the function that Run called with it, and on the goroutine that called it.
type Thread struct {
	homeNet int // descriptors of where the thread came from
	homeUTS int // -1 until the thread has left it
	ns      int // directory /proc/thread-self/ns
	moved   bool
	spoilt  bool // it cannot go home
}

// Run calls fn on a thread of its own, which fn may move through namespaces
// as it likes. Afterwards the thread is taken back to where it came from, or
// thrown away if that cannot be done. fn may start processes: they inherit
// the thread's namespaces.
func Run(fn func(*Thread) error) error {
	done := make(chan error, 1)
	go run(fn, done)
	return <-done
}

// Do calls fn in the network namespace of a descriptor.
func Do(fd int, fn func() error) error {
	return Run(func(t *Thread) error {
		if err := t.Enter(fd); err != nil {
			return err
		}
		return fn()
	})
}

// run is the life of a visit. It leaves the main thread alone: what
// /proc/<pid>/ns names must not change.
func run(fn func(*Thread) error, done chan error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// While this goroutine holds the main thread, another cannot get it.
		inner := make(chan error, 1)
		go run(fn, inner)
		err := <-inner
		runtime.UnlockOSThread()
		done <- err
		return
	}
	t, err := newThread()
	if err != nil {
		runtime.UnlockOSThread()
		done <- err
		return
	}
	err = errors.New("the function in the namespace did not return")
	defer func() { // also when fn panics, or ends its goroutine
		if t.goHome() {
			runtime.UnlockOSThread() // else the thread ends with this goroutine
		}
		done <- err
	}()
	err = fn(t)
}

func newThread() (*Thread, error) {
	t := &Thread{}
	return t, t.openAll("/proc/thread-self/ns/net")
}

// openAll opens what a visit needs, and takes the namespace at home for the
// one to go back to.
func (t *Thread) openAll(home string) (err error) {
	t.ns, t.homeNet, t.homeUTS = -1, -1, -1
	if t.ns, err = unix.Open("/proc/thread-self/ns", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
		return fmt.Errorf("open /proc/thread-self/ns: %w", err)
	}
	if t.homeNet, err = unix.Open(home, unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
		t.closeAll()
		return fmt.Errorf("open the thread's network namespace: %w", err)
	}
	return nil
}

// closeAll may be called again: a number that was closed may be another's by
// then.
func (t *Thread) closeAll() {
	for _, fd := range []*int{&t.ns, &t.homeNet, &t.homeUTS} {
		if *fd >= 0 {
			unix.Close(*fd)
		}
		*fd = -1
	}
}

func (t *Thread) open(kind string) (int, error) {
	return unix.Openat(t.ns, kind, unix.O_RDONLY|unix.O_CLOEXEC, 0)
}

// goHome undoes every move, and says whether it could.
func (t *Thread) goHome() bool {
	ok := !t.spoilt
	if t.moved {
		ok = unix.Setns(t.homeNet, unix.CLONE_NEWNET) == nil && ok
	}
	if t.homeUTS >= 0 {
		ok = unix.Setns(t.homeUTS, unix.CLONE_NEWUTS) == nil && ok
	}
	t.closeAll()
	return ok
}

// Make puts the thread into a new network namespace and opens it. The
// namespace lives as long as the descriptor, or what refers to it otherwise.
func (t *Thread) Make() (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return -1, fmt.Errorf("make network namespace: %w", err)
	}
	t.moved = true
	fd, err := t.open("net")
	if err != nil {
		return -1, fmt.Errorf("open new network namespace: %w", err)
	}
	return fd, nil
}

// Enter puts the thread into a network namespace.
func (t *Thread) Enter(fd int) error {
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("enter network namespace: %w", err)
	}
	t.moved = true
	return nil
}

// Home takes the thread's network back to where it came from.
func (t *Thread) Home() error { return t.Enter(t.homeNet) }

// Hostname gives the thread, and processes started from it, a host name of
// their own, at most 64 bytes.
func (t *Thread) Hostname(name string) error {
	if t.homeUTS < 0 {
		fd, err := t.open("uts")
		if err != nil {
			return fmt.Errorf("open the thread's UTS namespace: %w", err)
		}
		t.homeUTS = fd
	}
	if err := unix.Unshare(unix.CLONE_NEWUTS); err != nil {
		return fmt.Errorf("make UTS namespace: %w", err)
	}
	if err := unix.Sethostname([]byte(name)); err != nil {
		return fmt.Errorf("set host name %s: %w", name, err)
	}
	return nil
}

// OwnFiles gives the thread a table of descriptors of its own, a copy of the
// process's: what it opens from then on counts against a limit of its own, and
// is known to no other thread. Values of package os, and of others that poll,
// must not be made on it. The thread ends some time after the visit; what
// should be closed sooner, fn closes.
func (t *Thread) OwnFiles() error {
	t.closeAll()
	if err := unix.Unshare(unix.CLONE_FILES); err != nil {
		return fmt.Errorf("make a table of descriptors: %w", err)
	}
	t.spoilt = true
	return t.openAll("/proc/self/ns/net")
}

// Spawn calls fn where a process it starts belongs to the network namespace
// of a descriptor and has a host name of its own. To start many, use one Run
// with Enter and Hostname for each.
func Spawn(fd int, hostname string, fn func() error) error {
	return Run(func(t *Thread) error {
		if err := t.Enter(fd); err != nil {
			return err
		}
		if err := t.Hostname(hostname); err != nil {
			return err
		}
		return fn()
	})
}

// Make makes one network namespace and opens it. visit, which may be nil, is
// called in it: to open sockets there.
func Make(visit func() error) (int, error) {
	fd := -1
	err := Run(func(t *Thread) error {
		var err error
		if fd, err = t.Make(); err != nil || visit == nil {
			return err
		}
		return visit()
	})
	if err != nil && fd >= 0 {
		unix.Close(fd)
		fd = -1
	}
	return fd, err
}

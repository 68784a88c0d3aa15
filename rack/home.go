package rack

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/program"
)

// home is where a rack process lives: the namespaces that its starter made
// for it, and what is mounted there.
type home struct {
	index    uint32
	ownNet   bool
	ownMount bool
	hosts    string // the platform's hosts file
	mounted  bool   // it is mounted over /etc/hosts
}

// etcHosts is the file that the platform's names take the place of.
const etcHosts = "/etc/hosts"

// settle makes the namespaces that the process was started in fit to live
// in. Where it shares one with its parent, as in a test, it leaves it alone.
func settle(c Config) (*home, error) {
	// What was left open in whoever started us is not for vnodes' processes.
	_ = unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC)
	h := &home{
		index:    c.Index,
		ownNet:   separate("net"),
		ownMount: separate("mnt"),
		hosts:    filepath.Join(Dir(c.RunDir, c.Platform), "hosts"),
	}
	if h.ownNet {
		if err := loopbackUp(); err != nil {
			return nil, err
		}
	}
	if h.ownMount {
		// What the machine unmounts later must not be held by this copy; what
		// is mounted here must not be seen by the machine.
		if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
			h.ownMount = false
			fmt.Fprintf(os.Stderr, "rack %d: keep mounts to itself: %v\n", c.Index, err)
		}
	}
	h.bindHosts()
	return h, nil
}

// separate says whether this process is in another namespace than its parent.
func separate(kind string) bool {
	mine, err := namespaceOf(os.Getpid(), kind)
	if err != nil {
		return false
	}
	parents, err := namespaceOf(os.Getppid(), kind)
	return err == nil && mine != parents
}

func namespaceOf(pid int, kind string) (uint64, error) {
	var st unix.Stat_t
	err := unix.Stat(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), &st)
	return st.Ino, err
}

// loopbackUp brings up lo where the process is.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	defer unix.Close(fd)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	if err := unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, lo); err != nil {
		return fmt.Errorf("bring up lo: %w", err)
	}
	return nil
}

// bindHosts mounts the platform's hosts file over /etc/hosts, for every vnode
// at once, and again when another file has taken its place. What prevents it
// is a note: vnodes work without it, only names do not.
func (h *home) bindHosts() []program.Problem {
	const op = "give vnodes the platform's /etc/hosts"
	if !h.ownMount {
		return []program.Problem{{
			Kind: program.KindUnsupported, Rack: int32(h.index), Op: op,
			Cause:  "the rack has no mount namespace of its own",
			Remedy: "run as root where mount namespaces may be made; addresses work meanwhile",
		}}
	}
	err := h.bind()
	if err == nil || errors.Is(err, os.ErrNotExist) { // no names yet
		return nil
	}
	return []program.Problem{{Kind: program.KindUnsupported, Rack: int32(h.index), Op: op, Cause: err.Error()}}
}

func (h *home) bind() error {
	want, err := os.Stat(h.hosts)
	if err != nil {
		return err
	}
	have, err := os.Stat(etcHosts)
	if err != nil {
		return err
	}
	if os.SameFile(want, have) {
		return nil
	}
	if h.mounted {
		// EINVAL: a process in a vnode has unmounted it already.
		if err := unix.Unmount(etcHosts, unix.MNT_DETACH); err != nil && err != unix.EINVAL {
			return &os.PathError{Op: "unmount", Path: etcHosts, Err: err}
		}
		h.mounted = false
	}
	if err := unix.Mount(h.hosts, etcHosts, "", unix.MS_BIND, ""); err != nil {
		return &os.PathError{Op: "mount over", Path: etcHosts, Err: err}
	}
	h.mounted = true
	return nil
}

// announce tells the starter that the socket answers, and lets go of the pipe
// that the starter waits on: nothing may be written to it by others.
func announce(ready io.Writer) {
	if ready == nil {
		return
	}
	fmt.Fprintln(ready, readyLine)
	f, ok := ready.(*os.File)
	if !ok || f != os.Stdout {
		return
	}
	if null, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0); err == nil {
		_ = unix.Dup3(null, 1, 0)
		unix.Close(null)
	}
}

// readyLine is what a rack process says once it answers.
const readyLine = "ready"

// tune fits the Go runtime to a process of which there are many, that mostly
// hold still.
func tune() {
	debug.SetGCPercent(gcPercent)
	runtime.GOMAXPROCS(min(runtime.GOMAXPROCS(0), mostCores))
}

const (
	// gcPercent makes the collector run at 1 MB of garbage rather than 4. That
	// stops a wheel, too, for a quarter of a millisecond each time; but held
	// frames make no garbage, and where processes are started all the time (two
	// or three collections a second) they were as late with 200 %, in 3 MB more.
	gcPercent = 25
	// mostCores is how many cores a rack uses by itself. What it starts uses
	// all there are.
	mostCores = 4
)

// warm makes the threads that a rack needs to start processes. The Go runtime
// keeps them, and would end the process, vnodes and all, if it could not make
// one when the machine has no room for more.
func warm() {
	const threads = mostCores + 4
	var all, visits sync.WaitGroup
	all.Add(threads)
	for range threads {
		visits.Go(func() {
			_ = netns.Run(func(*netns.Thread) error {
				all.Done()
				all.Wait()
				return nil
			})
		})
	}
	visits.Wait()
}

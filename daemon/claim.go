package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"myriad/program"
)

// claim is a directory that is this daemon's until release.
type claim struct {
	lock *os.File
}

// leastRoom is what must be free where records are kept: less than that is
// full after the next plan.
const leastRoom = 16 << 20

// claimRun makes the run directory ours. A daemon that is just ending is
// waited for.
func claimRun(ctx context.Context, dir string) (*claim, error) {
	op := "use run directory " + dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unusable(op, err, "choose another with --run-dir, or become root")
	}
	const patience = 10 * time.Second
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, holder, err := tryLock(filepath.Join(dir, "daemon.pid"))
		switch {
		case err != nil:
			return nil, unusable(op, err, "choose another with --run-dir, or become root")
		case c != nil:
			return c, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		if conn, err := net.Dial("unix", Socket(dir)); err == nil || time.Since(begun) > patience {
			if err == nil {
				conn.Close()
			}
			return nil, inUse(op, holder)
		}
	}
}

// claimState makes the state directory ours, and finds out now whether records
// can be kept there.
func claimState(dir string) (*claim, error) {
	op := "use state directory " + dir
	const remedy = "choose another with --state-dir, or mend this one"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unusable(op, err, remedy)
	}
	c, holder, err := tryLock(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, unusable(op, err, remedy)
	}
	if c == nil {
		return nil, inUse(op, holder)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err == nil && fs.Bavail*uint64(fs.Bsize) < leastRoom {
		c.release()
		return nil, &program.Problem{Kind: program.KindExhausted, Rack: -1, Op: op, Cause: "its file system is full",
			Remedy: fmt.Sprintf("make %d MiB free, or choose another with --state-dir", leastRoom>>20)}
	}
	return c, nil
}

// leastFiles is how many files a daemon must be able to open: with fewer it
// would stop answering in the midst of something.
const leastFiles = 64

// checkFiles says if the limit of open files is too low for any daemon.
func checkFiles() error {
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) != nil || limit.Max >= leastFiles {
		return nil
	}
	return &program.Problem{Kind: program.KindExhausted, Rack: -1, Op: "start the daemon", Cause: fmt.Sprintf("at most %d open files are allowed", limit.Max),
		Remedy: fmt.Sprintf("raise the hard limit to %d and one per vnode (ulimit -Hn, LimitNOFILE=)", leastFiles)}
}

// tryLock locks a file, and writes there who did. If another process has it,
// there is no claim but the holder's pid.
func tryLock(path string) (c *claim, holder int, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, 0, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, 0, &os.PathError{Op: "lock", Path: path, Err: err}
		}
		text, _ := io.ReadAll(io.LimitReader(f, 20))
		holder, _ = strconv.Atoi(strings.TrimSpace(string(text)))
		return nil, holder, nil
	}
	if err = f.Truncate(0); err == nil {
		_, err = fmt.Fprintln(f, os.Getpid())
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return &claim{f}, 0, nil
}

// release gives the directory back. The file stays: it cannot be removed
// without taking it from one who has just opened it.
func (c *claim) release() {
	_ = c.lock.Truncate(0) // its pid is nobody's soon
	c.lock.Close()
}

func inUse(op string, holder int) error {
	p := &program.Problem{Kind: program.KindConflict, Rack: -1, Op: op, Cause: "another daemon uses it", Remedy: "use that one, or end it first"}
	if holder > 0 {
		p.Cause += fmt.Sprintf(", process %d", holder)
	}
	return p
}

// unusable says why a directory cannot be used.
func unusable(op string, err error, remedy string) error {
	p := &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: op, Cause: err.Error(), Remedy: remedy}
	switch {
	case errors.Is(err, os.ErrPermission):
		p.Kind = program.KindPermission
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		p.Kind = program.KindExhausted
		p.Remedy = "make room there, or choose another directory"
	}
	var path *os.PathError
	if errors.As(err, &path) {
		p.Cause = path.Err.Error()
	}
	return p
}

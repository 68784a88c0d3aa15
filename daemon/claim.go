package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"myriad/api"
	"myriad/program"
)

// claim is a directory that is this daemon's until release.
type claim struct {
	lock *os.File
}

// leastRoom is what must be free where records are kept: less than that is
// full after the next plan.
const leastRoom = 16 << 20

// claimRun makes the run directory ours. Whoever is just ending there is waited
// for.
func claimRun(ctx context.Context, dir string, who Holder) (*claim, error) {
	op := "use run directory " + dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unusable(op, err, "choose another with --run-dir, or become root")
	}
	const patience = 10 * time.Second
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		c, holder, err := tryLock(lockOf(dir), Holder{})
		switch {
		case err != nil:
			return nil, unusable(op, err, "choose another with --run-dir, or become root")
		case c != nil:
			if err := c.sign(dir, who); err != nil {
				c.release()
				return nil, unusable(op, err, "choose another with --run-dir, or become root")
			}
			return c, nil
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		}
		holder.readSign(dir)
		if holder.Pid > 0 && holder.Role == RoleAgent || answers(ctx, dir) || time.Since(begun) > patience {
			return nil, inUse(op, holder)
		}
	}
}

// answers says whether there is a daemon that can be asked. That its socket
// takes a connection says nothing: one that was killed does so until its last
// file is closed.
func answers(ctx context.Context, dir string) bool {
	ctx, enough := context.WithTimeout(ctx, 2*time.Second)
	defer enough()
	_, err := api.NewClient(Socket(dir)).Version(ctx)
	return err == nil
}

// claimState makes the state directory ours, and finds out now whether records
// can be kept there.
func claimState(dir string, who Holder) (*claim, error) {
	op := "use state directory " + dir
	const remedy = "choose another with --state-dir, or mend this one"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, unusable(op, err, remedy)
	}
	c, holder, err := tryLock(stateLockOf(dir), who)
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
// there is no claim but its holder.
func tryLock(path string, who Holder) (c *claim, holder Holder, err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, Holder{}, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, Holder{}, &os.PathError{Op: "lock", Path: path, Err: err}
		}
		return nil, readHolder(f), nil
	}
	who.Pid = os.Getpid()
	if err = f.Truncate(0); err == nil {
		_, err = fmt.Fprintln(f, who)
	}
	if err != nil {
		f.Close()
		return nil, Holder{}, err
	}
	return &claim{f}, Holder{}, nil
}

// ending tells whoever wants the directory that it is soon to be had.
func (c *claim) ending() { _ = c.lock.Truncate(0) }

// release gives the directory back. The file stays: it cannot be removed
// without taking it from one who has just opened it.
func (c *claim) release() {
	c.ending() // its pid is nobody's soon
	c.lock.Close()
}

func inUse(op string, holder Holder) error {
	p := &program.Problem{Kind: program.KindConflict, Rack: -1, Op: op, Cause: "another daemon uses it", Remedy: "use that one, or end it first"}
	if holder.Role == RoleAgent {
		p.Cause = "an agent uses it"
		p.Remedy = "a machine is one pnode of one coordinator: end the agent first, or choose another --run-dir and --state-dir"
	}
	if holder.Pid > 0 {
		p.Cause += fmt.Sprintf(", process %d", holder.Pid)
	}
	if holder.Bus != "" {
		p.Cause += ", for the coordinator at " + holder.Bus
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

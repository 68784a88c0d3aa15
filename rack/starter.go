package rack

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/cgroup"
	"myriad/program"
)

// Starter starts rack processes and finds them again. RunDir is required; its
// other fields may be left alone. Racks may be started at the same time, which
// hides how long a process takes to come up.
type Starter struct {
	RunDir string
	Exe    string // started as "myriad rack …"; empty: the program that is running

	wire  uint32 // racks that speak another are ended, but not used; 0: Wire
	once  sync.Once
	tree  *cgroup.Tree // nil: no hierarchy is mounted
	mu    sync.Mutex
	racks map[key]*Client // alive when last heard of
}

var _ kernel.Racks = (*Starter)(nil)

// key names a rack of an instance.
type key struct {
	platform string
	index    uint32
}

func (s *Starter) init() {
	s.once.Do(func() {
		s.racks = map[key]*Client{}
		if dir, err := filepath.Abs(s.RunDir); err == nil {
			s.RunDir = dir
		}
		if s.wire == 0 {
			s.wire = Wire
		}
		if s.Exe == "" {
			s.Exe = "/proc/self/exe"
		}
		s.tree, _ = cgroup.Find()
	})
}

// Start starts an empty rack.
func (s *Starter) Start(ctx context.Context, platform string, index uint32) (kernel.Rack, error) {
	s.init()
	k := key{platform, index}
	c, err := s.start(ctx, k)
	if err != nil {
		return nil, &program.Problem{
			Kind: program.KindUnavailable, Rack: int32(index),
			Op:    fmt.Sprintf("start rack %d of %s", index, platform),
			Cause: err.Error(), Remedy: remedyOf(err),
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.racks[k] = c
	return c, nil
}

// startTimeout is how long a rack process may take until it answers. It takes
// some 20 ms, on a machine that does nothing else.
const startTimeout = 20 * time.Second

// start starts one rack process and waits until it answers.
func (s *Starter) start(ctx context.Context, k key) (*Client, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	child, err := s.spawn(k)
	if err != nil {
		return nil, err
	}
	var c *Client
	if err = child.awaitReady(ctx); err == nil {
		c, err = s.dial(ctx, k)
	}
	if err != nil {
		child.end()
		return nil, err
	}
	child.release()
	return c, nil
}

func remedyOf(err error) string {
	switch {
	case errors.Is(err, unix.EPERM):
		return "run as root: namespaces are made"
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOSPC):
		return "raise the limit of processes (ulimit -u) or of namespaces (sysctl user.max_net_namespaces)"
	}
	return ""
}

// dial connects to a rack, whether it says who it is or not.
func (s *Starter) dial(ctx context.Context, k key) (*Client, error) {
	c, err := Dial(ctx, Socket(s.RunDir, k.platform, k.index))
	if err != nil {
		return nil, err
	}
	c.Platform, c.Index = k.platform, k.index
	if group, ok := s.group(k); ok {
		c.group = &group
	}
	if c.refused != nil {
		c.refused.Rack, c.refused.Op = int32(k.index), fmt.Sprintf("speak to rack %d of %s", k.index, k.platform)
	} else if c.Wire != s.wire {
		c.refused = &program.Problem{
			Kind: program.KindConflict, Rack: int32(k.index), Op: fmt.Sprintf("use rack %d of %s", k.index, k.platform),
			Cause:  fmt.Sprintf("myriad %s started it, and speaks another wire (%d, this is %d)", c.Version, c.Wire, s.wire),
			Remedy: "take the platform down and up again, or use the version that made it",
		}
	}
	return c, nil
}

// group is the control group of a rack; not ok where there are none.
func (s *Starter) group(k key) (cgroup.Group, bool) {
	if s.tree == nil {
		return cgroup.Group{}, false
	}
	return groupOf(s.tree, s.RunDir, k.platform, k.index), true
}

// child is a rack process that does not answer yet.
type child struct {
	pid   int
	ready *os.File // read end of its standard output
	log   string
	exit  *pidfd
}

// spawn starts the process: in its control group before it runs, in network
// and mount namespaces of its own.
func (s *Starter) spawn(k key) (*child, error) {
	if err := os.MkdirAll(Dir(s.RunDir, k.platform), 0o700); err != nil {
		return nil, err
	}
	c := &child{log: Log(s.RunDir, k.platform, k.index)}
	log, err := os.OpenFile(c.log, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	ready, out, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer out.Close()
	err = s.fork(k, c, []uintptr{null.Fd(), out.Fd(), log.Fd()})
	if err != nil {
		ready.Close()
		return nil, err
	}
	c.ready = ready
	return c, nil
}

// fork makes the process, with the descriptors it is to have.
func (s *Starter) fork(k key, c *child, files []uintptr) error {
	argv := []string{"myriad", "rack", "--run-dir", s.RunDir, "--platform", k.platform,
		"--index", strconv.FormatUint(uint64(k.index), 10)}
	fd := -1
	sys := &syscall.SysProcAttr{Setsid: true, Cloneflags: unix.CLONE_NEWNET | unix.CLONE_NEWNS, PidFD: &fd}
	group, grouped := s.group(k)
	var dir *os.File
	if grouped {
		if err := group.Make(); err != nil {
			return err
		}
		var err error
		if dir, err = group.Open(); err == nil {
			defer dir.Close()
			sys.UseCgroupFD, sys.CgroupFD = true, int(dir.Fd())
		} else if !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
	}
	attr := &syscall.ProcAttr{Dir: "/", Env: trimEnv(os.Environ()), Files: files, Sys: sys}
	pid, err := syscall.ForkExec(s.Exe, argv, attr)
	if err != nil { // without mounts of its own it lacks names, but works
		first := err
		sys.Cloneflags &^= unix.CLONE_NEWNS
		if pid, err = syscall.ForkExec(s.Exe, argv, attr); err != nil {
			return fmt.Errorf("start process: %w", first)
		}
	}
	c.pid = pid
	if c.exit, err = newPidfd(fd); err == nil && grouped && !sys.UseCgroupFD {
		err = group.Add(pid) // it starts nothing before it is asked to
	}
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		reap(pid, 0)
		if c.exit != nil {
			c.exit.close()
		}
	}
	return err
}

// awaitReady waits until the process says that it answers.
func (c *child) awaitReady(ctx context.Context) error {
	defer context.AfterFunc(ctx, func() { c.ready.SetReadDeadline(time.Unix(1, 0)) })()
	line, err := bufio.NewReader(io.LimitReader(c.ready, 256)).ReadString('\n')
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case strings.TrimSpace(line) == readyLine:
		return nil
	case err != nil && !errors.Is(err, io.EOF):
		return err
	}
	return fmt.Errorf("it ended before it answered: %s", lastWords(c.log))
}

// lastWords is the last line of a log, or the first of a Go program's death.
func lastWords(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return "it left no log"
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, 64<<10))
	lines := bytes.Split(bytes.TrimSpace(text), []byte("\n"))
	for _, line := range lines {
		for _, cry := range []string{"panic: ", "fatal error: ", "runtime: ", "runtime/cgo: "} {
			if bytes.HasPrefix(line, []byte(cry)) {
				return string(line)
			}
		}
	}
	if last := string(lines[len(lines)-1]); last != "" {
		return last
	}
	return "it said nothing in " + path
}

// release leaves the process alone: from now on, its Client watches it.
func (c *child) release() {
	c.ready.Close()
	c.exit.close()
}

// end ends a process that is of no use.
func (c *child) end() {
	_ = c.exit.kill(unix.SIGKILL)
	_ = c.exit.wait()
	reap(c.pid, unix.WNOHANG)
	c.release()
}

// Find gives the racks of a platform that are alive, by index. Those that
// cannot be used, because they speak another wire or do not answer, can
// still be ended.
func (s *Starter) Find(ctx context.Context, platform string) (map[uint32]kernel.Rack, error) {
	s.init()
	entries, err := os.ReadDir(Dir(s.RunDir, platform))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("find racks of %s: %w", platform, err)
	}
	found := map[uint32]kernel.Rack{}
	for _, e := range entries {
		index, ok := socketIndex(e.Name())
		if !ok {
			continue
		}
		c, err := s.find(ctx, key{platform, index})
		if err != nil {
			return nil, fmt.Errorf("find racks of %s: %w", platform, err)
		}
		if c != nil {
			found[index] = c
		}
	}
	return found, nil
}

// find gives one rack if it is alive, and removes its socket if it is not.
func (s *Starter) find(ctx context.Context, k key) (*Client, error) {
	s.mu.Lock()
	c := s.racks[k]
	s.mu.Unlock()
	if c != nil && !c.isLost() {
		return c, nil
	}
	c, err := s.dial(ctx, k)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.racks, k)
	switch {
	case err == nil:
		s.racks[k] = c
		return c, nil
	case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.ENOENT), errors.Is(err, unix.ESRCH):
		return nil, removeStale(Socket(s.RunDir, k.platform, k.index))
	}
	return nil, err
}

// Call starts a call to a rack.
func (s *Starter) Call(ctx context.Context, platform string, index uint32, req *Request) (*Call, error) {
	s.init()
	return Open(ctx, Socket(s.RunDir, platform, index), req)
}

// trimEnv keeps of an environment what says who the user is and how to speak
// to him: the processes of vnodes inherit it.
func trimEnv(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		switch name {
		case "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR":
			return false
		}
		return !strings.HasPrefix(name, "LC_")
	})
}

package rack

import (
	"context"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/program"
)

// terminal is a command at work on a terminal of its own, in one vnode.
type terminal struct {
	*session
	vnode  string
	master *os.File
	pid    int
	exit   *pidfd
	began  time.Time
}

// terminal runs a command on a terminal.
func (c *session) terminal(ctx context.Context, req *ExecRequest, cmd command, vnode string) *program.Problem {
	t := &terminal{session: c, vnode: vnode}
	if err := t.start(req, cmd); err != nil {
		return c.refuse([]string{vnode}, cmd.notStarted(c.Index, err))
	}
	defer t.exit.close()
	defer t.master.Close()
	gone, release := t.receive(ctx, t.input)
	defer release()
	silent := make(chan struct{})
	go func() { defer close(silent); t.copyOutput() }()
	ended := make(chan struct{})
	go func() { defer close(ended); _ = t.exit.wait() }()

	exit := t.attend(gone, ended, time.Duration(req.Timeout))
	select {
	case <-silent: // everybody has let go of the terminal
	case <-gone.Done():
	case <-time.After(grace):
	}
	t.master.Close()
	<-silent
	_ = c.frames.Send(&Reply{Exits: []Exit{exit}})
	return nil
}

// start opens a terminal and starts the command on it, in its vnode.
func (t *terminal) start(req *ExecRequest, cmd command) error {
	tty, err := t.open()
	if err != nil {
		return fmt.Errorf("open terminal: %w", err)
	}
	defer unix.Close(tty)
	if req.Rows > 0 && req.Columns > 0 {
		t.resize(req.Rows, req.Columns)
	}
	fd := -1
	err = netns.Run(func(th *netns.Thread) error {
		if err := t.enter(th, t.vnode); err != nil {
			return err
		}
		t.began = time.Now()
		cmd.env[len(cmd.env)-1] = envVnode + "=" + t.vnode
		std := uintptr(tty)
		t.pid, err = syscall.ForkExec(cmd.path, cmd.argv, &syscall.ProcAttr{
			Dir:   cmd.dir,
			Env:   cmd.env,
			Files: []uintptr{std, std, std},
			Sys:   &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0, PidFD: &fd},
		})
		return err
	})
	if err == nil {
		if t.exit, err = newPidfd(fd); err != nil {
			_ = unix.Kill(-t.pid, unix.SIGKILL)
			reap(t.pid, 0)
		}
	}
	if err != nil {
		t.master.Close()
	}
	return err
}

// open makes a terminal and gives the command's end of it. Ours does not
// block a thread: it may be silent for days.
func (t *terminal) open() (tty int, err error) {
	master, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err == nil {
		// By the master, not by a path: /dev/pts may be another mount.
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(master), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
		if tty = int(r); errno != 0 {
			err = errno
		}
	}
	if err != nil {
		unix.Close(master)
		return -1, err
	}
	t.master = os.NewFile(uintptr(master), "terminal")
	return tty, nil
}

// resize tells the terminal how large its window is, and so the command.
func (t *terminal) resize(rows, columns uint16) {
	size := unix.Winsize{Row: rows, Col: columns}
	if raw, err := t.master.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &size) })
	}
}

// input takes what the client's user types, and the size of its window.
func (t *terminal) input(in *Input) bool {
	if in.Resize != nil {
		t.resize(in.Resize[0], in.Resize[1])
	}
	data := in.Data
	if in.EOF {
		data = append(data, 4) // end of file, as it is typed
	}
	for len(data) > 0 {
		// A program that does not read must not keep the client's end unseen.
		t.master.SetWriteDeadline(time.Now().Add(grace))
		n, err := t.master.Write(data)
		data = data[n:]
		if err != nil && !os.IsTimeout(err) {
			return true // it has ended: the exit follows
		}
		if err != nil && hungUp(t.conn) {
			return false
		}
	}
	return true
}

// hungUp says whether the other end of a connection is closed.
func hungUp(conn syscall.Conn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	var n int
	err = raw.Control(func(fd uintptr) {
		n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}, 0)
	})
	return err != nil || n > 0
}

// copyOutput sends what the terminal shows until it is closed, at either end.
func (t *terminal) copyOutput() {
	buf := make([]byte, 16<<10)
	for {
		n, err := t.master.Read(buf)
		if n > 0 {
			if t.frames.Send(&Reply{Outputs: []Output{{Vnode: t.vnode, Data: buf[:n]}}}) != nil {
				return // the client is gone, and receive says so
			}
		}
		if err != nil {
			return
		}
	}
}

// attend waits for the command's end, and brings it about when the client has
// gone or time is over: hanging up first, as for any terminal.
func (t *terminal) attend(gone context.Context, ended <-chan struct{}, timeout time.Duration) Exit {
	p := process{vnode: t.vnode, pid: t.pid, began: t.began}
	hangup := gone.Done()
	var late, kill <-chan time.Time
	if timeout > 0 {
		late = time.After(timeout)
	}
	for {
		select {
		case <-ended:
			ws, _ := reap(t.pid, 0)
			p.ended(ws, time.Now())
			return p.exit
		case <-hangup:
			hangup = nil
		case <-late:
			late, p.timedOut = nil, true
			_ = unix.Kill(-t.pid, unix.SIGTERM)
		case <-kill:
			_ = unix.Kill(-t.pid, unix.SIGKILL)
		}
		if kill == nil {
			_ = unix.Kill(-t.pid, unix.SIGHUP)
			_ = unix.Kill(-t.pid, unix.SIGCONT)
			kill = time.After(killAfter)
		}
	}
}

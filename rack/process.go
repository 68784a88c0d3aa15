package rack

import (
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
)

// process is one running process of an Exec call. It is reused for others
// when it has ended, with the memory it has.
type process struct {
	id       uint32
	vnode    string
	pid      int
	pidfd    int
	streams  [2]stream // standard output, standard error
	stdin    int       // write end; -1 if it has none, or it is closed
	fed      int64     // bytes of the call's input written to it
	began    time.Time
	due      time.Time // of the next signal; zero: none
	termed   bool      // SIGTERM was sent
	timedOut bool
	reaped   bool // its pid may be another's by now
	exit     Exit
}

// stream is what a process writes to one of its outputs.
type stream struct {
	fd   int    // read end; -1 if closed
	held []byte // the beginning of a line that has not ended yet
}

// open says whether somebody may still write.
func (p *process) open() bool { return p.streams[0].fd >= 0 || p.streams[1].fd >= 0 }

// killAfter is how long a process has between SIGTERM and SIGKILL.
const killAfter = 2 * time.Second

// start starts the command in a vnode, from a thread that may enter it. The
// last entry of env is the vnode's.
func (j *job) start(t *netns.Thread, p *process, vnode string, env []string) error {
	if err := j.enter(t, vnode); err != nil {
		return err
	}
	var ends [3]int // the process's
	if err := j.openStreams(p, &ends); err != nil {
		return err
	}
	env[len(env)-1] = envVnode + "=" + vnode
	p.vnode, p.pidfd = vnode, -1
	p.began = time.Now()
	var err error
	p.pid, err = syscall.ForkExec(j.cmd.path, j.cmd.argv, &syscall.ProcAttr{
		Dir:   j.cmd.dir,
		Env:   env,
		Files: []uintptr{uintptr(ends[0]), uintptr(ends[1]), uintptr(ends[2])},
		Sys:   &syscall.SysProcAttr{Setsid: true, PidFD: &p.pidfd},
	})
	for _, end := range ends {
		if end != j.null {
			unix.Close(end)
		}
	}
	if err == nil && p.pidfd < 0 {
		err = j.abandon(p.pid)
	}
	if err != nil {
		p.closeStreams()
	}
	return err
}

// openStreams makes the pipes of a process, and gives its ends of them.
func (j *job) openStreams(p *process, ends *[3]int) error {
	var pipes [3][2]int
	for i := range pipes {
		if i == 0 && j.spool == nil {
			continue
		}
		if err := unix.Pipe2(pipes[i][:], unix.O_CLOEXEC); err != nil {
			for _, made := range pipes[:i] {
				if made[1] > 0 {
					unix.Close(made[0])
					unix.Close(made[1])
				}
			}
			return fmt.Errorf("make pipe: %w", err)
		}
	}
	p.stdin, p.fed = -1, 0
	ends[0] = j.null
	if j.spool != nil {
		ends[0], p.stdin = pipes[0][0], pipes[0][1]
		_ = unix.SetNonblock(p.stdin, true) // this end only: the ends are two open files
	}
	for i := range p.streams {
		p.streams[i].fd, ends[1+i] = pipes[1+i][0], pipes[1+i][1]
		_ = unix.SetNonblock(p.streams[i].fd, true)
	}
	return nil
}

// abandon ends a process that cannot be watched.
func (j *job) abandon(pid int) error {
	_ = unix.Kill(-pid, unix.SIGKILL)
	reap(pid, 0)
	return fmt.Errorf("watch process: this kernel has no pidfd (Linux 5.3 has)")
}

// reap collects a process that has ended.
func reap(pid, options int) (ws unix.WaitStatus, ended bool) {
	for {
		got, err := unix.Wait4(pid, &ws, options, nil)
		if err == unix.EINTR {
			continue
		}
		return ws, err != nil || got == pid
	}
}

func (p *process) closeStreams() {
	for i := range p.streams {
		if p.streams[i].fd >= 0 {
			unix.Close(p.streams[i].fd)
		}
		p.streams[i].fd = -1
	}
	p.closeStdin()
}

func (p *process) closeStdin() {
	if p.stdin >= 0 {
		unix.Close(p.stdin)
	}
	p.stdin = -1
}

// signal sends what is due to the whole process group, and gives the time at
// which more is. late says that it is due because time is over.
func (p *process) signal(now time.Time, late bool) time.Time {
	if p.reaped || p.due.IsZero() || now.Before(p.due) {
		return p.due
	}
	sig := unix.SIGKILL
	if !p.termed {
		sig = unix.SIGTERM
		p.timedOut = late
	}
	p.termed = true
	p.due = now.Add(killAfter)
	_ = unix.Kill(-p.pid, sig)
	return p.due
}

// ended makes an Exit of how the process ended.
func (p *process) ended(ws unix.WaitStatus, now time.Time) {
	p.reaped = true
	p.due = time.Time{}
	p.exit = Exit{Vnode: p.vnode, Code: ws.ExitStatus(), Took: int64(now.Sub(p.began))}
	if ws.Signaled() {
		p.exit.Signal = int(ws.Signal())
		p.exit.Code = 128 + p.exit.Signal
	}
	if p.timedOut {
		p.exit.Err = "timeout"
	}
}

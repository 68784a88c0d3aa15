package rack

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// pidfd watches a process, a child of this one or not, at the cost of a
// descriptor and no thread.
type pidfd struct {
	file *os.File
	raw  syscall.RawConn
}

// newPidfd takes over a descriptor of a process.
func newPidfd(fd int) (*pidfd, error) {
	if err := unix.SetNonblock(fd, true); err != nil { // the Go runtime polls only such
		unix.Close(fd)
		return nil, fmt.Errorf("watch process: %w", err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	raw, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("watch process: %w", err)
	}
	return &pidfd{f, raw}, nil
}

// openPidfd opens the process that has a pid now.
func openPidfd(pid int) (*pidfd, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return nil, fmt.Errorf("watch process %d: %w", pid, err)
	}
	return newPidfd(fd)
}

// wait waits until the process has ended or the pidfd is closed.
func (p *pidfd) wait() error {
	var err error
	if e := p.raw.Read(func(fd uintptr) bool {
		ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, e := unix.Poll(ready, 0)
		if e != nil && e != unix.EINTR {
			err = e
		}
		return n > 0 || err != nil
	}); e != nil {
		return e
	}
	return err
}

// kill sends a signal to the process itself: never to another that has its
// pid by now.
func (p *pidfd) kill(sig unix.Signal) error {
	var err error
	if e := p.raw.Control(func(fd uintptr) { err = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); e != nil {
		return e
	}
	return err
}

func (p *pidfd) close() { p.file.Close() }

package rack

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for many descriptors at once, without a goroutine or a thread
// for each: a thousand running processes have three thousand. It is an epoll
// instance that the Go runtime's own poller watches.
//
// One goroutine waits; any may add, remove and wake.
type poller struct {
	ep   *os.File
	raw  syscall.RawConn
	bell int // eventfd
	buf  [64]unix.EpollEvent
}

// source says which descriptor of which process an event is of.
type source uint8

const (
	sourceBell source = iota
	sourceExit
	sourceStdout
	sourceStderr
	sourceStdin
	sourcePeer
	sourceReply
)

// event is one thing that happened. Identities are not used again, so that an
// event of something that has gone is known for one.
type event struct {
	id   uint32
	from source
}

func newPoller() (*poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make poller: %w", err)
	}
	_ = unix.SetNonblock(ep, true) // the runtime polls only such
	p := &poller{ep: os.NewFile(uintptr(ep), "epoll"), bell: -1}
	if p.raw, err = p.ep.SyscallConn(); err == nil {
		p.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	}
	if err == nil {
		err = p.add(p.bell, 0, sourceBell, unix.EPOLLIN|unix.EPOLLET)
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("make poller: %w", err)
	}
	return p, nil
}

func (p *poller) close() {
	if p.bell >= 0 {
		unix.Close(p.bell)
	}
	p.ep.Close()
}

// add starts watching a descriptor.
func (p *poller) add(fd int, id uint32, from source, events uint32) error {
	var err error
	e := unix.EpollEvent{Events: events, Fd: int32(id), Pad: int32(from)}
	if e2 := p.raw.Control(func(ep uintptr) { err = unix.EpollCtl(int(ep), unix.EPOLL_CTL_ADD, fd, &e) }); e2 != nil {
		return e2
	}
	return err
}

// remove stops watching a descriptor. Closing it would not do: a process
// being forked at that moment holds another copy of it.
func (p *poller) remove(fd int) {
	_ = p.raw.Control(func(ep uintptr) { _ = unix.EpollCtl(int(ep), unix.EPOLL_CTL_DEL, fd, nil) })
}

// wake makes wait return.
func (p *poller) wake() {
	one := [8]byte{1} // any number but zero, in whatever order of bytes
	_, _ = unix.Write(p.bell, one[:])
}

// wait gives what has happened, at the latest at a deadline, if that is not
// zero. The result is good until the next call.
func (p *poller) wait(deadline time.Time, into []event) ([]event, error) {
	into = into[:0]
	if err := p.ep.SetReadDeadline(deadline); err != nil {
		return into, err
	}
	var n int
	var err error
	e2 := p.raw.Read(func(ep uintptr) bool {
		n, err = unix.EpollWait(int(ep), p.buf[:], 0)
		return n != 0 || err != nil && err != unix.EINTR
	})
	if os.IsTimeout(e2) {
		return into, nil
	}
	if err == nil {
		err = e2
	}
	if err != nil {
		return into, fmt.Errorf("wait for processes: %w", err)
	}
	for _, e := range p.buf[:max(n, 0)] {
		if source(e.Pad) == sourceBell {
			var drain [8]byte
			_, _ = unix.Read(p.bell, drain[:])
			continue
		}
		into = append(into, event{uint32(e.Fd), source(e.Pad)})
	}
	return into, nil
}

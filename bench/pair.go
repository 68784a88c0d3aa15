package bench

import (
	"fmt"
	"net"
	"slices"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A path is measured best by one thread that has a socket at both ends: what
// it sends is in the other socket when the call returns, because the kernel
// carries a packet through on the core that sent it. No scheduler takes part,
// so what differs between two fabrics is the fabrics.

// lend gives a bound datagram socket of this vnode to whoever connects to the
// Unix socket at p.Path.
func (p Peer) lend() (*PeerResult, error) {
	fd, err := p.socket(unix.SOCK_DGRAM, true)
	if err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: p.Path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	if err := l.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return nil, err
	}
	conn, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_, _, err = conn.WriteMsgUnix([]byte{0}, unix.UnixRights(fd), nil)
	return nil, err
}

// borrow receives the socket that a peer in another vnode lends.
func (p Peer) borrow() (int, error) {
	var conn *net.UnixConn
	err := patiently(func() (err error) {
		conn, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: p.Path, Net: "unix"})
		return err
	})
	if err != nil {
		return -1, err
	}
	defer conn.Close()
	b, rights := make([]byte, 1), make([]byte, unix.CmsgSpace(4))
	_, n, _, _, err := conn.ReadMsgUnix(b, rights)
	if err != nil {
		return -1, err
	}
	return oneRight(rights[:n])
}

// ends are the sockets of both ends, connected to each other.
func (p Peer) ends() (near, far int, err error) {
	if far, err = p.borrow(); err != nil {
		return -1, -1, err
	}
	if near, err = p.socket(unix.SOCK_DGRAM, false); err != nil {
		return -1, -1, err
	}
	if _, err = send(near, make([]byte, 18)); err != nil {
		return -1, -1, err
	}
	_, from, err := unix.Recvfrom(far, make([]byte, 64), 0) // the first packet resolves the address
	if err == nil {
		err = unix.Connect(far, from)
	}
	return near, far, err
}

// pairPing measures round trips of one thread at both ends.
func (p Peer) pairPing() (*PeerResult, error) {
	near, far, err := p.ends()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 18)
	rtts := make([]float64, 0, p.Count)
	for i := range p.Count + p.Count/10 {
		start := time.Now()
		for k, fd := range [4]int{near, far, far, near} {
			call := recv
			if k%2 == 0 {
				call = send
			}
			if _, err := call(fd, b); err != nil {
				return nil, fmt.Errorf("round trip %d: %w", i, err)
			}
		}
		if i >= p.Count/10 { // the first tenth warms up
			rtts = append(rtts, float64(time.Since(start).Nanoseconds())/1e3)
		}
	}
	slices.Sort(rtts)
	return &PeerResult{Sent: p.Count, Received: len(rtts), Median: median(rtts), P99: rtts[len(rtts)*99/100]}, nil
}

// burstBuffers are the buffers of a burst of small datagrams, as sendmmsg and
// recvmmsg take them: one system call for all, so that the path is what is
// measured.
type burstBuffers struct {
	headers [burst]struct {
		unix.Msghdr
		n uint32
		_ uint32
	}
	vectors [burst]unix.Iovec
	bytes   [burst][18]byte
}

func newBurstBuffers() *burstBuffers {
	b := &burstBuffers{}
	for i := range b.headers {
		b.vectors[i].Base = &b.bytes[i][0]
		b.vectors[i].SetLen(len(b.bytes[i]))
		b.headers[i].Iov = &b.vectors[i]
		b.headers[i].SetIovlen(1)
	}
	return b
}

// all repeats a call until it has done a whole burst.
func (b *burstBuffers) all(call uintptr, fd int) error {
	for done := 0; done < burst; {
		n, _, errno := syscall.RawSyscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&b.headers[done])), uintptr(burst-done), 0, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return errno
		}
		if errno == 0 {
			done += int(n)
		}
	}
	return nil
}

// pairSend measures packets a second, sent and received by one thread, one
// burst at a time.
func (p Peer) pairSend() (*PeerResult, error) {
	near, far, err := p.ends()
	if err != nil {
		return nil, err
	}
	b := newBurstBuffers()
	r := &PeerResult{}
	start := time.Now()
	for end := start.Add(time.Duration(p.Seconds * 1e9)); time.Now().Before(end); r.Sent += burst {
		err := b.all(unix.SYS_SENDMMSG, near)
		if err == nil {
			err = b.all(unix.SYS_RECVMMSG, far)
		}
		if err != nil {
			return nil, fmt.Errorf("after %d datagrams: %w", r.Sent, err)
		}
	}
	r.Received = r.Sent
	r.Rate = float64(r.Sent) / time.Since(start).Seconds()
	return r, nil
}

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
)

// pinger measures round trips from a vnode, one at a time, as ping does: what
// it sends is answered by the kernel, and the answer's time is that of its
// arrival at the socket. How long its reader takes to wake up is no part of the
// way: it would take as long behind a cable.
type pinger struct {
	sock int
	seq  uint16
}

const (
	icmpReply   = 0
	icmpRequest = 8
	icmpSize    = 8 + 56
	pingWait    = 200 * time.Millisecond
)

// errLost says that no answer came in time.
var errLost = errors.New("no answer")

// newPinger opens a socket in a vnode of a rack.
func newPinger(l *LocalRack, vnode string) (*pinger, error) {
	p := &pinger{sock: -1}
	err := netns.Run(func(t *netns.Thread) (err error) {
		if ok, err := l.Enter(t, vnode); !ok || err != nil {
			return errors.Join(err, fmt.Errorf("enter vnode %s", vnode))
		}
		p.sock, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMP)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open ICMP socket: %w", err)
	}
	wait := unix.NsecToTimeval(int64(pingWait))
	err = errors.Join(
		unix.SetsockoptInt(p.sock, unix.SOL_RAW, unix.ICMP_FILTER, ^(1<<icmpReply)),
		unix.SetsockoptTimeval(p.sock, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptInt(p.sock, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
	)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *pinger) close() error { return unix.Close(p.sock) }

// echo measures one round trip. It fails with errLost if no answer comes.
func (p *pinger) echo(to netip.Addr) (time.Duration, error) {
	p.seq++
	request := p.packet(icmpRequest)
	want := p.packet(icmpReply)
	start := time.Now()
	if err := unix.Sendto(p.sock, request[:], 0, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
		return 0, fmt.Errorf("send to %s: %w", to, err)
	}
	var buf [256]byte
	var oob [128]byte
	for {
		n, oobn, _, _, err := unix.Recvmsg(p.sock, buf[:], oob[:], 0)
		end := time.Now()
		took := end.Sub(start)
		switch {
		case err == unix.EINTR && took < pingWait:
			continue
		case err == unix.EAGAIN, err == unix.EINTR, err == nil && took > pingWait:
			return 0, errLost
		case err != nil:
			return 0, fmt.Errorf("wait for %s: %w", to, err)
		}
		if header := int(buf[0]&0xf) * 4; n >= header+icmpSize && [icmpSize]byte(buf[header:]) == want {
			return RoundTrip(start, end, oob[:oobn]), nil
		}
	}
}

// RoundTrip is the time between sending at start and the arrival of a packet at
// its socket, which the kernel tells with it where the socket has
// SO_TIMESTAMPNS (oob are its control messages); end is when it was read. Where
// the kernel does not tell, or the clock was set meanwhile, it is the time
// until end: that clock is read for its arrival, but trusted only as far as the
// one that nobody sets agrees with it.
func RoundTrip(start, end time.Time, oob []byte) time.Duration {
	return roundTrip(start.UnixNano(), end.UnixNano(), end.Sub(start), oob)
}

// clockSlack is how far the two clocks may disagree over a round trip. They run
// at the same speed, and are read one after the other.
const clockSlack = 20 * time.Microsecond

// roundTrip is RoundTrip with start and end by the clock that can be set, and
// what the time between them was by the one that cannot.
func roundTrip(start, end int64, took time.Duration, oob []byte) time.Duration {
	if step := time.Duration(end-start) - took; step.Abs() > clockSlack {
		return took
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return took
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			e := binary.NativeEndian
			at := int64(e.Uint64(m.Data))*1e9 + int64(e.Uint64(m.Data[8:]))
			if trip := time.Duration(at - start); trip > 0 && trip <= took {
				return trip
			}
		}
	}
	return took
}

// packet makes an echo with the number of the one that is under way.
func (p *pinger) packet(kind byte) [icmpSize]byte {
	b := [icmpSize]byte{0: kind}
	e := binary.BigEndian
	e.PutUint16(b[4:], uint16(os.Getpid()))
	e.PutUint16(b[6:], p.seq)
	var sum uint32
	for i := 0; i < len(b); i += 2 {
		sum += uint32(e.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	e.PutUint16(b[2:], ^uint16(sum))
	return b
}

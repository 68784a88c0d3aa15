package bench

import (
	"encoding/binary"
	"encoding/gob"
	"fmt"
	"io"
	"net/netip"
	"runtime/debug"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/netns"
)

// The prober is one process with one thread outside of all vnodes, which has
// sockets of many vnodes (see accuracy_give.go): it sends probes at moments
// planned ahead, and notes when they, or the answers to them, arrive. So both
// ends of a way have one clock, CLOCK_MONOTONIC, and nothing but this thread is
// woken for a probe.
//
// With ICMP, the thread sends an echo request through a raw socket; the kernel
// of the vnode that it goes to answers at once, in the context of the softirq
// that delivered it; the kernel notes when the answer arrives at the socket,
// which is what ping(8) goes by, and wakes the thread, which notes it too.
// With UDP, a datagram goes one way: from one vnode's socket into another's.
//
// Between probes the thread sleeps in epoll_pwait2 until the next one is due,
// with a timer slack of 1 ns. How late it wakes is what the machine does to
// timers, measured where the probes are, and reported beside them.

// probeJob is what a prober is told on its standard input. Its descriptors
// from 3 on are the sockets.
type probeJob struct {
	ICMP     bool
	Sockets  int
	Addrs    []netip.AddrPort // where probes go, by index
	From, To []int32          // of each probe: index of a socket, and of an address
	At       []int64          // when it is sent: nanoseconds from the beginning, in order
	Size     int              // bytes of payload
	Wait     int64            // nanoseconds to wait for the last answers
}

// probeResult is what it says on its standard output. Moments are nanoseconds
// of CLOCK_MONOTONIC.
type probeResult struct {
	Sent     []int64
	Received []int64 // when the first copy arrived at the socket; 0: none did
	Seen     []int64 // when the thread had read it
	Copies   []uint8
	Late     []int64 // how late the thread woke, each time that it slept until a probe was due
}

// probeMagic tells our packets from others, with the process number behind it.
const probeMagic = 0x6d797269

// probeHeader is the least payload: magic, process, index of the probe.
const probeHeader = 12

type prober struct {
	job      probeJob
	result   probeResult
	epoll    int
	pid      uint32
	base     time.Time // the moment that monotonic belongs to
	mono     int64
	out      []byte
	in       []byte
	oob      [64]byte
	received int
}

// RunProber is the prober's process.
func RunProber(in io.Reader, out io.Writer) error {
	p := &prober{}
	if err := gob.NewDecoder(in).Decode(&p.job); err != nil {
		return fmt.Errorf("read the job: %w", err)
	}
	err := netns.Run(func(*netns.Thread) error { // on one thread
		if err := p.open(); err != nil {
			return err
		}
		return p.run()
	})
	if err != nil {
		return err
	}
	return gob.NewEncoder(out).Encode(&p.result)
}

func (p *prober) open() error {
	debug.SetGCPercent(-1)
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("timer slack: %w", err)
	}
	var err error
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return err
	}
	for i := range p.job.Sockets {
		fd := 3 + i
		if err := unix.SetNonblock(fd, true); err != nil {
			return fmt.Errorf("socket %d: %w", i, err)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return fmt.Errorf("socket %d: %w", i, err)
		}
		event := &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
		if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, event); err != nil {
			return fmt.Errorf("socket %d: %w", i, err)
		}
	}
	n := len(p.job.At)
	p.result = probeResult{Sent: make([]int64, n), Received: make([]int64, n), Seen: make([]int64, n), Copies: make([]uint8, n), Late: make([]int64, 0, n)}
	p.pid = uint32(unix.Getpid())
	p.out, p.in = make([]byte, 8+max(p.job.Size, probeHeader)), make([]byte, 4096)
	var ts unix.Timespec
	p.base = time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return err
	}
	p.mono = ts.Nano()
	return nil
}

// now is CLOCK_MONOTONIC, by way of the vDSO.
func (p *prober) now() int64 { return p.mono + int64(time.Since(p.base)) }

// lead is the time between the prober's beginning and the first probe.
const lead = 20 * time.Millisecond

func (p *prober) run() error {
	start := p.now() + int64(lead)
	n := len(p.job.At)
	for next := 0; next < n; {
		due := start + p.job.At[next]
		if wait := due - p.now(); wait > 0 {
			came, err := p.sleep(wait)
			if err != nil {
				return err
			}
			if !came {
				p.result.Late = append(p.result.Late, p.now()-due)
			} else {
				continue
			}
		}
		if err := p.send(next); err != nil {
			return err
		}
		if next++; next%16 == 0 { // where there is no time to sleep, answers are read all the same
			if _, err := p.sleep(0); err != nil {
				return err
			}
		}
	}
	for end := p.now() + p.job.Wait; p.received < n; {
		wait := end - p.now()
		if wait <= 0 {
			break
		}
		if _, err := p.sleep(wait); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits for packets, at most wait nanoseconds, and reads them.
func (p *prober) sleep(wait int64) (came bool, err error) {
	var events [64]unix.EpollEvent
	ts := unix.NsecToTimespec(wait)
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epoll), uintptr(unsafe.Pointer(&events[0])),
		uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno == unix.EINTR {
		return true, nil
	}
	if errno != 0 {
		return false, fmt.Errorf("wait for probes: %w", errno)
	}
	for _, e := range events[:n] {
		p.drain(int(e.Fd))
	}
	return n > 0, nil
}

// drain reads what a socket has.
func (p *prober) drain(fd int) {
	for {
		piece := unix.Iovec{Base: &p.in[0], Len: uint64(len(p.in))}
		head := unix.Msghdr{Iov: &piece, Iovlen: 1, Control: &p.oob[0], Controllen: uint64(len(p.oob))}
		n, _, errno := syscall.RawSyscall(unix.SYS_RECVMSG, uintptr(fd), uintptr(unsafe.Pointer(&head)), 0)
		read := time.Now()
		if errno != 0 {
			return
		}
		now := p.mono + int64(read.Sub(p.base))
		b := p.in[:n]
		if p.job.ICMP {
			if b = echoReply(b); b == nil {
				continue
			}
		}
		if len(b) < probeHeader || binary.BigEndian.Uint32(b) != probeMagic || binary.BigEndian.Uint32(b[4:]) != p.pid {
			continue
		}
		i := binary.BigEndian.Uint32(b[8:])
		if int(i) >= len(p.result.Sent) {
			continue
		}
		if p.result.Copies[i] == 0 {
			// By the wall clock, as the kernel's moment is, and back.
			sent := read.Add(-time.Duration(now - p.result.Sent[i]))
			trip := kernel.RoundTrip(sent, read, p.oob[:head.Controllen])
			p.result.Received[i], p.result.Seen[i] = p.result.Sent[i]+int64(trip), now
			p.received++
		}
		p.result.Copies[i]++
	}
}

// echoReply gives the payload of an echo reply in an IP packet, nil if it is
// none.
func echoReply(b []byte) []byte {
	if len(b) < 20 {
		return nil
	}
	head := int(b[0]&15) * 4
	if head < 20 || len(b) < head+8 || b[9] != unix.IPPROTO_ICMP || b[head] != 0 {
		return nil
	}
	return b[head+8:]
}

func (p *prober) send(i int) error {
	to := p.job.Addrs[p.job.To[i]]
	b := p.out
	binary.BigEndian.PutUint32(b[8:], probeMagic)
	binary.BigEndian.PutUint32(b[12:], p.pid)
	binary.BigEndian.PutUint32(b[16:], uint32(i))
	if p.job.ICMP {
		b[0], b[1], b[2], b[3] = 8, 0, 0, 0 // an echo request
		binary.BigEndian.PutUint16(b[4:], uint16(p.pid))
		binary.BigEndian.PutUint16(b[6:], uint16(i))
		binary.BigEndian.PutUint16(b[2:], checksum(b))
	} else {
		b = b[8:]
	}
	addr := unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: to.Addr().As4()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&addr.Port))[:], to.Port())
	p.result.Sent[i] = p.now()
	for {
		_, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(3+p.job.From[i]), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
			0, uintptr(unsafe.Pointer(&addr)), unsafe.Sizeof(addr))
		switch errno {
		case 0, unix.ENOBUFS, unix.EAGAIN: // a packet that the kernel would not take is lost
			return nil
		case unix.EINTR:
		default:
			return fmt.Errorf("probe %d to %s: %w", i, to, errno)
		}
	}
}

// checksum is the Internet checksum (RFC 1071).
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	if len(b)%2 == 1 {
		sum += uint32(b[len(b)-1]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

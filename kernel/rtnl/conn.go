package rtnl

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Conn is a netlink socket. It may be used by one goroutine at a time.
type Conn struct {
	fd    int
	seq   uint32
	limit int // messages sent at once: their errors must fit the receive buffer
	buf   []byte
	out   Batch // requests of Read
}

// readSize is what one datagram of a dump can be: the kernel makes them no
// larger than 32 KB, and looks at the size of the first read.
const readSize = 32 << 10

// errorSize is the share of the receive buffer that one error answer takes:
// a few hundred bytes of text and headers, and the kernel's own bookkeeping.
const errorSize = 1280

// Open opens a socket in the calling thread's network namespace.
func Open() (*Conn, error) {
	c := &Conn{fd: -1}
	if err := c.Reopen(); err != nil {
		return nil, err
	}
	return c, nil
}

// Reopen closes the socket and opens another in the calling thread's present
// namespace; the connection keeps its memory.
func (c *Conn) Reopen() error {
	c.Close()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return &OpError{Op: "open netlink socket", Errno: errno(err)}
	}
	c.fd = fd
	// Both only make answers better: shorter, and with the reason.
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_EXT_ACK, 1)
	c.limit = defaultLimit
	if c.buf == nil {
		c.buf = make([]byte, readSize)
	}
	return nil
}

// defaultLimit is safe with the default receive buffer of 208 KB.
const defaultLimit = 160

// Grow asks for socket buffers of n bytes, so that a long batch needs fewer
// system calls. Without the privilege, it takes what the kernel gives.
func (c *Conn) Grow(n int) {
	for _, o := range [2][2]int{{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF}} {
		if unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, o[0], n) != nil {
			_ = unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, o[1], n)
		}
	}
	if got, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
		c.limit = max(got/errorSize, 1)
	}
}

// FD is the socket's descriptor, -1 if it is closed.
func (c *Conn) FD() int { return c.fd }

// Close closes the socket. Closing twice is no error.
func (c *Conn) Close() {
	if c.buf != nil && c.fd >= 0 { // the zero value was never open
		unix.Close(c.fd)
	}
	c.fd = -1
}

// Do sends every message of the batch, in order. The kernel goes on after a
// message that it refuses; Do returns the first such error, an *OpError.
func (c *Conn) Do(b *Batch) error {
	var first error
	err := c.DoEach(b, func(_ int, err *OpError) {
		if first == nil {
			first = err
		}
	})
	if err != nil {
		return err
	}
	return first
}

// DoEach is Do with every refused message reported by its place in the batch.
// The error it returns is of the socket, not of a message.
func (c *Conn) DoEach(b *Batch, failed func(i int, err *OpError)) error {
	for from := 0; from < len(b.msgs); {
		to := c.chunk(b, from)
		if err := c.exchange(b, from, to, failed); err != nil {
			return err
		}
		from = to
	}
	return nil
}

// maxSend keeps a chunk well below the smallest send buffer there is.
const maxSend = 96 << 10

// chunk gives the end of the longest run of messages that may be sent at once.
func (c *Conn) chunk(b *Batch, from int) int {
	to := min(from+c.limit, len(b.msgs))
	for to > from+1 {
		end := len(b.buf)
		if to < len(b.msgs) {
			end = b.msgs[to].off
		}
		if end-b.msgs[from].off <= maxSend {
			break
		}
		to = from + (to-from)/2
	}
	return to
}

// exchange sends messages from … to-1 and reads until the last is answered.
// Only the last asks for an acknowledgement: errors come back anyway, and the
// kernel works through the messages in order before it returns from the send.
func (c *Conn) exchange(b *Batch, from, to int, failed func(int, *OpError)) error {
	base := c.seq + 1
	for i := from; i < to; i++ {
		c.seq++
		binary.NativeEndian.PutUint32(b.buf[b.msgs[i].off+8:], c.seq)
	}
	last := b.message(to - 1)
	setAck(last)
	start := b.msgs[from].off
	end := b.msgs[to-1].off + len(last)
	if debug {
		debugSend(b, from, to)
	}
	if err := c.write(b.buf[start:end]); err != nil {
		return &OpError{Op: b.msgs[from].op, Name: b.msgs[from].name, Errno: errno(err)}
	}
	for done := false; !done; {
		n, err := c.read()
		if err != nil {
			return &OpError{Op: "read answer to " + b.msgs[to-1].op, Name: b.msgs[to-1].name, Errno: errno(err)}
		}
		for m, rest := next(c.buf[:n]); m.raw != nil; m, rest = next(rest) {
			i := int(m.Seq - base)
			if m.Type != unix.NLMSG_ERROR || i < 0 || i >= to-from {
				continue // of an earlier exchange that broke off
			}
			if e := m.failure(); e != nil {
				e.Op, e.Name = b.msgs[from+i].op, b.msgs[from+i].name
				if debug {
					fmt.Fprintln(os.Stderr, "rtnl:", e)
				}
				failed(from+i, e)
			}
			done = done || i == to-from-1
		}
	}
	return nil
}

func (c *Conn) write(p []byte) error {
	for {
		_, err := unix.Write(c.fd, p)
		if err != unix.EINTR {
			return err
		}
	}
}

func (c *Conn) read() (int, error) {
	for {
		n, err := unix.Read(c.fd, c.buf)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// setAck asks for an acknowledgement of a message.
func setAck(msg []byte) {
	flags := binary.NativeEndian.Uint16(msg[6:])
	binary.NativeEndian.PutUint16(msg[6:], flags|unix.NLM_F_ACK)
}

func htons(v uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], v)
	return binary.NativeEndian.Uint16(b[:])
}

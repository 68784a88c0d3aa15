package rtnl

import (
	"bytes"
	"encoding/binary"
	"iter"
	"syscall"

	"golang.org/x/sys/unix"
)

// message is one answer of the kernel.
type message struct {
	Type  uint16
	Flags uint16
	Seq   uint32
	Body  []byte
	raw   []byte
}

// next takes the first message off a datagram. Its raw is nil at the end, and
// where the rest is no whole message.
func next(p []byte) (message, []byte) {
	if len(p) < unix.SizeofNlMsghdr {
		return message{}, nil
	}
	n := int(binary.NativeEndian.Uint32(p))
	if n < unix.SizeofNlMsghdr || n > len(p) {
		return message{}, nil
	}
	m := message{
		Type:  binary.NativeEndian.Uint16(p[4:]),
		Flags: binary.NativeEndian.Uint16(p[6:]),
		Seq:   binary.NativeEndian.Uint32(p[8:]),
		Body:  p[unix.SizeofNlMsghdr:n],
		raw:   p[:n],
	}
	return m, p[min(align(n), len(p)):]
}

// failure gives the error that an NLMSG_ERROR carries; nil is an
// acknowledgement.
func (m message) failure() *OpError {
	if len(m.Body) < 4 {
		return &OpError{}
	}
	code := int32(binary.NativeEndian.Uint32(m.Body))
	if code == 0 {
		return nil
	}
	e := &OpError{Errno: syscall.Errno(-code)}
	const acked = unix.SizeofNlMsghdr // the request's header follows the code
	if m.Flags&unix.NLM_F_ACK_TLVS == 0 || len(m.Body) < 4+acked {
		return e
	}
	skip := 4 + acked
	if m.Flags&unix.NLM_F_CAPPED == 0 {
		skip = 4 + align(int(binary.NativeEndian.Uint32(m.Body[4:])))
	}
	if skip < 4+acked || skip > len(m.Body) {
		return e
	}
	for typ, v := range attrs(m.Body[skip:]) {
		if typ == unix.NLMSGERR_ATTR_MSG {
			e.Text = text(v)
		}
	}
	return e
}

// attrs walks over attributes, and stops at the first that is not whole.
func attrs(p []byte) iter.Seq2[uint16, []byte] {
	return func(yield func(uint16, []byte) bool) {
		for len(p) >= unix.SizeofRtAttr {
			n := int(binary.NativeEndian.Uint16(p))
			typ := binary.NativeEndian.Uint16(p[2:]) & attrTypeMask
			if n < unix.SizeofRtAttr || n > len(p) || !yield(typ, p[unix.SizeofRtAttr:n]) {
				return
			}
			p = p[min(align(n), len(p)):]
		}
	}
}

// u32 reads a number that may be cut short.
func u32(p []byte) uint32 {
	if len(p) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(p)
}

// text reads a string up to its zero byte.
func text(p []byte) string {
	if i := bytes.IndexByte(p, 0); i >= 0 {
		p = p[:i]
	}
	switch string(p) { // names that every vnode has
	case "lo":
		return "lo"
	case "eth0":
		return "eth0"
	case Macvlan:
		return Macvlan
	}
	return string(p)
}

func align(n int) int { return (n + unix.NLMSG_ALIGNTO - 1) &^ (unix.NLMSG_ALIGNTO - 1) }

// attrTypeMask takes NLA_F_NESTED and NLA_F_NET_BYTEORDER off a type.
const attrTypeMask = 0x3fff

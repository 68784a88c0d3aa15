// Package rtnl speaks rtnetlink: it encodes many messages into one reused
// buffer, sends them in one system call, matches the answers by sequence
// number, and reads dumps back. It knows messages, not vnodes.
//
// A Conn belongs to the network namespace that its thread was in when it was
// opened, for ever; which thread uses it later does not matter. Package netns
// has the threads.
//
// With MYRIAD_NLDEBUG=1 in the environment, every message sent and every
// answer is printed to standard error.
package rtnl

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Batch is a run of requests in one buffer. The zero value is empty and
// ready; Reset keeps the buffer for the next run.
type Batch struct {
	buf  []byte
	msgs []request
}

// request says where a message begins, and what to call it in an error.
type request struct {
	off  int
	op   string
	name string
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	b.buf = b.buf[:0]
	b.msgs = b.msgs[:0]
}

// Len is the number of messages in the batch.
func (b *Batch) Len() int { return len(b.msgs) }

// begin starts a message: its header with the length and sequence number left
// open, for end and Conn.Do to fill in.
func (b *Batch) begin(op, name string, typ, flags uint16) {
	b.msgs = append(b.msgs, request{len(b.buf), op, name})
	b.u32(0)
	b.u16(typ)
	b.u16(flags)
	b.u32(0)
	b.u32(0)
}

// end fills in the length of the message begun last.
func (b *Batch) end() {
	off := b.msgs[len(b.msgs)-1].off
	binary.NativeEndian.PutUint32(b.buf[off:], uint32(len(b.buf)-off))
}

// message gives message i as it lies in the buffer.
func (b *Batch) message(i int) []byte {
	end := len(b.buf)
	if i+1 < len(b.msgs) {
		end = b.msgs[i+1].off
	}
	return b.buf[b.msgs[i].off:end]
}

// ifinfo appends struct ifinfomsg.
func (b *Batch) ifinfo(family byte, index int32, flags, change uint32) {
	b.buf = append(b.buf, family, 0, 0, 0)
	b.u32(uint32(index))
	b.u32(flags)
	b.u32(change)
}

func (b *Batch) u16(v uint16) { b.buf = binary.NativeEndian.AppendUint16(b.buf, v) }
func (b *Batch) u32(v uint32) { b.buf = binary.NativeEndian.AppendUint32(b.buf, v) }

// attr appends the header of an attribute whose payload has n bytes.
func (b *Batch) attr(typ uint16, n int) {
	b.u16(uint16(unix.SizeofRtAttr + n))
	b.u16(typ)
}

func (b *Batch) attrU8(typ uint16, v byte) {
	b.attr(typ, 1)
	b.buf = append(b.buf, v, 0, 0, 0)
}

func (b *Batch) attrU32(typ uint16, v uint32) {
	b.attr(typ, 4)
	b.u32(v)
}

func (b *Batch) attrBytes(typ uint16, v []byte) {
	b.attr(typ, len(v))
	b.buf = append(b.buf, v...)
	b.pad()
}

// attrString appends a string with the zero byte that the kernel wants.
func (b *Batch) attrString(typ uint16, v string) {
	b.attr(typ, len(v)+1)
	b.buf = append(append(b.buf, v...), 0)
	b.pad()
}

// nest starts an attribute that holds others; its result is for unnest.
func (b *Batch) nest(typ uint16) int {
	off := len(b.buf)
	b.attr(typ, 0)
	return off
}

// unnest ends the attribute that nest began.
func (b *Batch) unnest(off int) {
	binary.NativeEndian.PutUint16(b.buf[off:], uint16(len(b.buf)-off))
}

// pad fills up to the next multiple of four.
func (b *Batch) pad() {
	for len(b.buf)%unix.NLMSG_ALIGNTO != 0 {
		b.buf = append(b.buf, 0)
	}
}

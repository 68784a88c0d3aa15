package wheel

import "encoding/binary"

// HeaderSize is the number of bytes, at the beginning of a frame in a holder,
// that say when it is due and what it was. The EtherType follows.
const HeaderSize = 12

// tickShift makes nanoseconds into ticks, the unit of departure times.
const tickShift = 10

// Tick is the unit of departure times, in nanoseconds.
const Tick = 1 << tickShift

// Header is what a frame in a holder has in the place of its Ethernet
// addresses.
type Header struct {
	Due      int64 // CLOCK_MONOTONIC, nanoseconds; to the tick
	Stage    bool  // the fabric's own bit
	Network  uint16
	From, To uint32 // hosts, of 24 bits
}

// Put writes the header into the beginning of a frame.
func (h *Header) Put(frame []byte) {
	e := binary.LittleEndian
	word := uint32(h.Due>>tickShift) << 1
	if h.Stage {
		word |= 1
	}
	e.PutUint32(frame, word)
	e.PutUint16(frame[4:], h.Network)
	e.PutUint32(frame[6:], h.From) // its upper byte is the next field's
	frame[9], frame[10], frame[11] = byte(h.To), byte(h.To>>8), byte(h.To>>16)
}

// ParseHeader reads the header of a frame that is in a holder at a time
// (CLOCK_MONOTONIC, nanoseconds). The frame has at least HeaderSize bytes.
func ParseHeader(frame []byte, now int64) Header {
	e := binary.LittleEndian
	return Header{
		Due:     Due(frame, now),
		Stage:   frame[0]&1 != 0,
		Network: e.Uint16(frame[4:]),
		From:    e.Uint32(frame[6:]) & (1<<24 - 1),
		To:      uint32(frame[9]) | uint32(frame[10])<<8 | uint32(frame[11])<<16,
	}
}

// Due gives the departure time of a frame that is in a holder at a time
// (CLOCK_MONOTONIC, nanoseconds): of all times that look the same, the one
// nearest to now. The frame has at least 4 bytes.
func Due(frame []byte, now int64) int64 {
	return dueTick(binary.LittleEndian.Uint32(frame), now>>tickShift) << tickShift
}

// dueTick is Due in ticks, of the first word of a frame. The stage bit is
// shifted out on both sides, so that the difference is one of 31 bits.
func dueTick(word uint32, now int64) int64 {
	ahead := int32(word&^1-uint32(now)<<1) >> 1
	return now + int64(ahead)
}

package wheel

import "encoding/binary"

// headerSize is the number of bytes, at the beginning of a frame in a holder,
// that say when it is due and what it was. The EtherType follows.
const headerSize = 12

// tick is the unit of departure times, in nanoseconds.
const tick = 1 << tickShift

// header is what a frame in a holder has in the place of its Ethernet
// addresses.
type header struct {
	Due      int64 // CLOCK_MONOTONIC, nanoseconds; to the tick
	Stage    bool  // the fabric's own bit
	Network  uint16
	From, To uint32 // hosts, of 24 bits
}

// put writes the header into the beginning of a frame.
func (h *header) put(frame []byte) {
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

// parseHeader reads the header of a frame that is in a holder at a time
// (CLOCK_MONOTONIC, nanoseconds). The frame has at least headerSize bytes.
func parseHeader(frame []byte, now int64) header {
	e := binary.LittleEndian
	return header{
		Due:     dueIn(frame, now),
		Stage:   frame[0]&1 != 0,
		Network: e.Uint16(frame[4:]),
		From:    e.Uint32(frame[6:]) & (1<<24 - 1),
		To:      uint32(frame[9]) | uint32(frame[10])<<8 | uint32(frame[11])<<16,
	}
}

// dueIn gives the departure time of a frame that is in a holder at a time
// (CLOCK_MONOTONIC, nanoseconds): of all times that look the same, the one
// nearest to now. The frame has at least 4 bytes.
func dueIn(frame []byte, now int64) int64 {
	return dueTick(binary.LittleEndian.Uint32(frame), now>>tickShift) << tickShift
}

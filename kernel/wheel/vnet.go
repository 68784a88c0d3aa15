package wheel

import "encoding/binary"

// vnetSize is the size of struct virtio_net_hdr, which a packet socket puts
// before each frame: flags and kind of GSO (a byte each), length of the
// headers, size of the segments, and where the checksum begins and belongs
// (16 bits each, in the machine's order).
const vnetSize = 10

// linearMost is the length of headers that a frame is sent with at most. The
// kernel tells how much of the frame it had in one piece, and would allocate as
// much in one piece again: all 64 KB of some. What it needs it pulls together
// by itself.
const linearMost = 256

// tame makes the virtio-net header that a frame came with into the one that it
// is sent with. It has vnetSize bytes.
func tame(h []byte) {
	e := binary.NativeEndian
	if n := e.Uint16(h[2:]); n > linearMost {
		e.PutUint16(h[2:], linearMost)
	}
}

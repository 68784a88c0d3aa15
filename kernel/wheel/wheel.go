// Package wheel holds packets until they are due, for kernels that have no fq.
//
// A wheel stands on one end of a veth pair in a rack's namespace, the hold
// device. What the fabric redirects there arrives on a packet socket with its
// departure time in the place of its Ethernet addresses; the wheel keeps it, and
// sends it back out of the same device when it is due, where the fabric's
// program at the other end delivers it. GSO packets travel whole, with their
// virtio-net headers (linux/virtio_net.h).
//
// The first twelve bytes of a frame on its way through a holder are, in
// little-endian order: due and stage (32 bits), network (16), sender's host
// (24), receiver's host (24). The upper 31 bits of the first word are the
// departure time, CLOCK_MONOTONIC in units of 1,024 ns, modulo 2^31; its
// lowest bit is the fabric's own.
package wheel

import "time"

// What a wheel does where its options leave that open.
const (
	DefaultMemory = 256 << 20
	DefaultSpin   = 60 * time.Microsecond
)

// Options say what a wheel does. Netns and Device are required.
type Options struct {
	Netns  int           // descriptor of the namespace that the device is in; not kept
	Device int32         // its interface index
	Memory uint64        // bytes of packets held at most; 0: DefaultMemory
	Spin   time.Duration // it stops sleeping that long before a packet is due; 0: DefaultSpin
}

// Stats are the counts of a wheel since it was started.
type Stats struct {
	Held     uint64 // frames in it now
	HeldMost uint64
	Bytes    uint64 // of frames in it now
	Frames   uint64 // that came
	Full     uint64 // that it had no memory for
	Missed   uint64 // that the kernel dropped before the wheel read them
	Failed   uint64 // that could not be sent
	Late     uint64 // sent more than 1 ms after they were due
}

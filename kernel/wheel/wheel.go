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
//
// One goroutine does everything, on a thread of its own: it reads what has
// come, sends what is due, and sleeps until either is to be done again. What it
// keeps lies outside of Go's heap, in memory that goes back to the kernel when
// it is not needed.
package wheel

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
)

// What a wheel does where its options leave that open.
const (
	DefaultMemory = 256 << 20
	DefaultSpin   = 60 * time.Microsecond
)

// ErrGone is why a wheel ends by itself: its hold device was removed.
var ErrGone = errors.New("the hold device is gone")

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
	Wakes    uint64 // times that it stopped sleeping
	Note     string // what it has to do without, or why it ended; empty if all is well
}

// Wheel is a wheel at work. Its methods may be called by several goroutines.
type Wheel struct {
	counts
	bell    int // eventfd that wakes it
	closing atomic.Bool
	done    chan struct{}

	mu     sync.Mutex // of what follows
	sock   int        // -1 once it is closed
	missed uint64
	err    error // why it ended by itself
	note   string
}

// counts are what the wheel's thread has to say.
type counts struct {
	held, heldMost, bytes, frames, full, failed, late, wakes atomic.Uint64
}

// Start starts a wheel. Whoever starts it must Close it.
func Start(o Options) (*Wheel, error) {
	if o.Memory == 0 {
		o.Memory = DefaultMemory
	}
	if o.Spin == 0 {
		o.Spin = DefaultSpin
	}
	w := &Wheel{bell: -1, sock: -1, done: make(chan struct{})}
	l, err := w.prepare(&o)
	if err != nil {
		w.release()
		return nil, fmt.Errorf("start wheel: %w", err)
	}
	go func() {
		defer close(w.done)
		moreProcs(1)
		err := netns.Run(l.run)
		moreProcs(-1)
		l.free()
		w.end(err)
	}()
	return w, nil
}

var procs sync.Mutex

// moreProcs has Go run some threads more at once. A wheel's thread that wakes
// must not wait until another goroutine is done: it may be due that moment.
func moreProcs(n int) {
	procs.Lock()
	defer procs.Unlock()
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0)+n, 1))
}

// prepare gets what a wheel needs.
func (w *Wheel) prepare(o *Options) (*loop, error) {
	var err error
	if w.bell, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return nil, fmt.Errorf("make eventfd: %w", err)
	}
	err = netns.Do(o.Netns, func() (err error) {
		w.sock, w.note, err = listen(o.Device)
		return err
	})
	if err != nil {
		return nil, err
	}
	return newLoop(w, o)
}

// Stats tells what the wheel has done.
func (w *Wheel) Stats() Stats {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.countMissed()
	return Stats{
		Held: w.held.Load(), HeldMost: w.heldMost.Load(), Bytes: w.bytes.Load(), Frames: w.frames.Load(),
		Full: w.full.Load(), Missed: w.missed, Failed: w.failed.Load(), Late: w.late.Load(), Wakes: w.wakes.Load(),
		Note: w.note,
	}
}

// countMissed adds what the kernel dropped since it was asked last.
func (w *Wheel) countMissed() {
	if w.sock < 0 {
		return
	}
	if s, err := unix.GetsockoptTpacketStats(w.sock, unix.SOL_PACKET, unix.PACKET_STATISTICS); err == nil {
		w.missed += uint64(s.Drops)
	}
}

// remark adds to what the wheel has to do without.
func (w *Wheel) remark(note string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.note != "" {
		w.note += "; "
	}
	w.note += note
}

// Done is closed when the wheel has ended: by Close, or by itself.
func (w *Wheel) Done() <-chan struct{} { return w.done }

// Err says why a wheel ended by itself; nil while it is at work, and after
// Close. Such a wheel must be closed, too.
func (w *Wheel) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// end notes how the wheel's thread ended, and lets go of the socket.
func (w *Wheel) end(err error) {
	w.mu.Lock()
	w.err = err
	w.countMissed()
	if w.sock >= 0 {
		unix.Close(w.sock)
		w.sock = -1
	}
	w.mu.Unlock()
	if err != nil {
		w.remark("ended: " + err.Error())
	}
}

// Close ends the wheel, and drops what it holds.
func (w *Wheel) Close() error {
	if err := w.ring(); err != nil {
		return fmt.Errorf("close wheel: %w", err)
	}
	<-w.done
	w.release()
	return nil
}

// ring has the wheel's thread see that it is to end.
func (w *Wheel) ring() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closing.Store(true)
	if w.bell < 0 {
		return nil
	}
	one := [8]byte{1}
	_, err := unix.Write(w.bell, one[:])
	return err
}

// release closes the descriptors that are open.
func (w *Wheel) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, fd := range []*int{&w.bell, &w.sock} {
		if *fd >= 0 {
			unix.Close(*fd)
			*fd = -1
		}
	}
}

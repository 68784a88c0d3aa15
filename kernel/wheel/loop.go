package wheel

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
)

// loop is the work of a wheel's thread, and what only that thread has.
type loop struct {
	w      *Wheel
	fd     int
	device int32
	spin   int64
	clock  clock
	store  *store
	thread thread

	in, out *messages
	buffers []byte // of in
	refs    [batch]uint32

	poll     [2]unix.PollFd
	timeout  unix.Timespec
	readable bool  // there may be something to be read
	down     bool  // the device is
	refused  int   // reads that failed, one after the other
	used     bool  // there may be memory to be given back, at
	trimAt   int64 // if that is not 0
	tally    tally
}

// tally is what becomes counts.
type tally struct {
	heldMost, frames, full, failed, late, wakes uint64
}

const (
	// minFrame is the length of an Ethernet header.
	minFrame = 14
	// bufferSize holds the largest packet, and its header.
	bufferSize = maxBlock
	// trimEvery is how long memory is kept that is not needed.
	trimEvery = int64(time.Second)
	// lookEvery is how often it looks whether a device that is down is gone.
	lookEvery = int64(100 * time.Millisecond)
	// lateBy is what Stats.Late goes by, in ticks.
	lateBy = int64(time.Millisecond) >> tickShift
	// refusals is how many reads may fail one after the other: each costs a
	// frame, unless something else is wrong.
	refusals = 10_000
	// rounds is how many batches are sent before it looks for new frames.
	rounds = 4
)

func newLoop(w *Wheel, o *Options) (*loop, error) {
	l := &loop{w: w, fd: w.sock, device: o.Device, spin: int64(o.Spin), in: newMessages(), out: newMessages(), readable: true}
	var err error
	if l.clock, err = newClock(); err != nil {
		return nil, err
	}
	if l.store, err = newStore(o.Memory); err != nil {
		return nil, err
	}
	l.buffers, err = unix.Mmap(-1, 0, batch*bufferSize, unix.PROT_READ|unix.PROT_WRITE,
		unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		l.store.free()
		return nil, err
	}
	_ = unix.Madvise(l.buffers, unix.MADV_NOHUGEPAGE)
	for i := range batch {
		l.in.set(i, unsafe.Pointer(&l.buffers[i*bufferSize]), bufferSize)
	}
	l.poll = [2]unix.PollFd{{Fd: int32(l.fd), Events: unix.POLLIN}, {Fd: int32(w.bell), Events: unix.POLLIN}}
	return l, nil
}

// free lets go of all memory.
func (l *loop) free() {
	l.store.free()
	_ = unix.Munmap(l.buffers) // it was mapped
}

// run is the life of the wheel, until it is closed or its device is gone.
func (l *loop) run(*netns.Thread) error {
	defer l.end()
	if note := l.thread.hurry(); note != "" {
		l.w.remark(note)
	}
	for !l.w.closing.Load() {
		if l.readable {
			if err := l.receive(); err != nil {
				return err
			}
		}
		if err := l.release(); err != nil {
			return err
		}
		l.publish()
		if err := l.wait(); err != nil {
			return err
		}
	}
	return nil
}

// end drops what is held.
func (l *loop) end() {
	l.thread.calm()
	l.store.reset()
	l.publish()
}

// publish makes the tally visible to others.
func (l *loop) publish() {
	w, t := l.w, &l.tally
	t.heldMost = max(t.heldMost, uint64(l.store.queue.most))
	w.held.Store(uint64(l.store.queue.n))
	w.bytes.Store(l.store.bytes)
	w.heldMost.Store(t.heldMost)
	w.frames.Store(t.frames)
	w.full.Store(t.full)
	w.failed.Store(t.failed)
	w.late.Store(t.late)
	w.wakes.Store(t.wakes)
}

// receive reads one batch, and keeps it.
func (l *loop) receive() error {
	n, errno := l.in.receive(l.fd)
	switch errno {
	case 0:
		l.refused = 0
	case unix.EAGAIN:
		l.readable, l.refused = false, 0
		return nil
	case unix.EINTR:
		return nil
	case unix.ENETDOWN:
		return l.look()
	default: // a frame that no virtio-net header can describe
		l.tally.failed++
		if l.refused++; l.refused > refusals {
			return fmt.Errorf("read packets: %w", errno)
		}
		return nil
	}
	l.readable = n == batch
	l.used = true
	now := l.clock.now() >> tickShift
	l.tally.frames += uint64(n)
	for i := range n {
		l.keep(i, now)
	}
	return nil
}

// look looks what has become of the device. The kernel tells that it goes down,
// but nothing more when it is removed thereupon.
func (l *loop) look() error {
	state := stateOf(l.fd, l.device)
	l.down = state != linkUp
	if state == linkGone {
		return ErrGone
	}
	return nil
}

// keep keeps frame i of the batch that was read.
func (l *loop) keep(i int, now int64) {
	m := &l.in.m[i]
	if m.hdr.Flags&unix.MSG_TRUNC != 0 || m.n < vnetSize+minFrame || m.n > bufferSize-lenSize {
		l.tally.failed++
		return
	}
	data := l.buffers[i*bufferSize:][:m.n]
	tame(data)
	ref, ok := l.store.put(data)
	if !ok {
		l.tally.full++
		return
	}
	l.store.queue.push(dueTick(binary.LittleEndian.Uint32(data[vnetSize:]), now), ref)
}

// release sends what is due.
func (l *loop) release() error {
	q := &l.store.queue
	for range rounds {
		now := l.clock.now() >> tickShift
		n := 0
		for n < batch && q.n > 0 && q.first() <= now {
			e := q.pop()
			if now-e.due > lateBy {
				l.tally.late++
			}
			l.refs[n] = e.ref
			at, size := l.store.data(e.ref)
			l.out.set(n, at, size)
			n++
		}
		if n == 0 {
			return nil
		}
		err := l.send(n)
		for _, ref := range l.refs[:n] {
			l.store.drop(ref)
		}
		if err != nil || n < batch {
			return err
		}
	}
	return nil
}

// attempts is how often, in one batch, it waits for the kernel to have room
// again.
const attempts = 5

// send sends the first n messages.
func (l *loop) send(n int) error {
	for i, tries := 0, 0; i < n; {
		sent, errno := l.out.send(l.fd, i, n)
		switch errno {
		case 0:
			i += sent
			continue
		case unix.EINTR:
			continue
		case unix.EAGAIN, unix.ENOBUFS, unix.ENOMEM:
			if tries++; tries <= attempts {
				l.thread.pause(int64(tries) * 20_000) // so that those who are to read can
				continue
			}
		case unix.ENETDOWN, unix.ENXIO, unix.ENODEV:
			l.tally.failed += uint64(n - i)
			return l.look()
		}
		l.tally.failed++
		i++
	}
	return nil
}

// forever is longer than any time that it sleeps.
const forever = math.MaxInt64

// wait sleeps until there is something to be done, or spins if that is soon.
func (l *loop) wait() error {
	now := l.clock.now()
	l.tidy(now)
	left := int64(forever)
	if q := &l.store.queue; q.n > 0 {
		left = q.first()<<tickShift - now
	}
	l.thread.count(now)
	switch {
	case left <= 0 || l.readable:
		l.readable = true
		l.thread.work(now)
		return nil
	case left <= l.spin && l.thread.spin():
		l.readable = true
		return nil
	case left > l.spin && left != forever:
		left -= l.spin
	}
	if l.used {
		left = min(left, l.trimAt-now)
	}
	if l.down {
		left = min(left, lookEvery)
	}
	return l.sleep(now, left)
}

// tidy gives memory back to the kernel, from time to time.
func (l *loop) tidy(now int64) {
	if l.trimAt == 0 && l.used {
		l.trimAt = now + trimEvery
	}
	if !l.used || now < l.trimAt {
		return
	}
	l.used = l.store.trim()
	l.store.giveBack(l.buffers)
	l.trimAt = 0
	if l.used {
		l.trimAt = now + trimEvery
	}
}

// rest is the shortest sleep after which the thread counts as one that lets
// others work.
const rest = int64(20 * time.Microsecond)

// sleep waits for a frame, or some nanoseconds.
func (l *loop) sleep(now, left int64) error {
	var timeout *unix.Timespec
	if left != forever {
		l.timeout = unix.NsecToTimespec(max(left, 0))
		timeout = &l.timeout
	}
	l.poll[0].Revents = 0
	_, err := unix.Ppoll(l.poll[:], timeout, nil)
	l.tally.wakes++
	if after := l.clock.now(); after-now > rest {
		l.thread.rested(after)
	}
	if err != nil && err != unix.EINTR {
		return fmt.Errorf("wait for packets: %w", err)
	}
	l.readable = l.poll[0].Revents != 0
	if l.down {
		return l.look()
	}
	return nil
}

package wheel

import (
	"encoding/binary"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

// lab is a wheel on one end of a veth pair, and a packet socket on the other,
// in the place of the fabric.
type lab struct {
	testing.TB
	rack, spine int // namespaces
	far         int // the socket
	wheel       *Wheel
	buf         []byte
}

const (
	holdIndex = 1001 // in the rack
	farIndex  = 2001 // in the spine
)

// newLab makes a lab, with a wheel unless its options are nil.
func newLab(t testing.TB, mtu uint32, o *Options) *lab {
	t.Helper()
	kerneltest.RequireRoot(t)
	l := &lab{TB: t, rack: space(t), spine: space(t), far: -1, buf: make([]byte, bufferSize)}
	l.in(l.spine, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: farIndex, Name: "h0", Kind: rtnl.Veth, MTU: mtu,
			Peer: &rtnl.Link{Index: holdIndex, Name: "hold", MTU: mtu, Netns: l.rack}})
	})
	for ns, index := range map[int]int32{l.spine: farIndex, l.rack: holdIndex} {
		l.in(ns, func(b *rtnl.Batch) {
			b.SetLink(&rtnl.Link{Index: index, IPv6: rtnl.IPv6Quiet})
			b.SetLink(&rtnl.Link{Index: index, Up: true})
		})
	}
	l.must(netns.Do(l.spine, func() (err error) {
		l.far, _, err = listen(farIndex)
		return err
	}))
	t.Cleanup(func() { unix.Close(l.far) })
	if o != nil {
		o.Netns, o.Device = l.rack, holdIndex
		l.start(o)
	}
	return l
}

func (l *lab) start(o *Options) {
	l.Helper()
	w, err := Start(*o)
	l.must(err)
	l.wheel = w
	l.Cleanup(func() { l.must(w.Close()) })
}

func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func space(t testing.TB) int {
	t.Helper()
	ns, err := netns.Make(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(ns) })
	return ns
}

// in sends a batch in a namespace.
func (l *lab) in(ns int, fill func(*rtnl.Batch)) {
	l.Helper()
	l.must(netns.Do(ns, func() error {
		c, err := rtnl.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		var b rtnl.Batch
		fill(&b)
		return c.Do(&b)
	}))
}

const etherType = 0x88b5 // for experiments

// frame makes a frame of size bytes that is due in some time, and has a number.
func frame(size int, in time.Duration, number uint32) []byte {
	return frameAt(size, monotonic()+int64(in), number)
}

// frameAt makes one that is due at a time.
func frameAt(size int, due int64, number uint32) []byte {
	p := make([]byte, max(size, minFrame+4))
	h := header{Due: due, Network: 7, From: 0x123456, To: 0xabcdef}
	h.put(p)
	binary.BigEndian.PutUint16(p[headerSize:], etherType)
	for i := minFrame + 4; i < len(p); i++ {
		p[i] = byte(i) ^ byte(number)
	}
	binary.BigEndian.PutUint32(p[minFrame:], number)
	return p
}

func number(frame []byte) uint32 { return binary.BigEndian.Uint32(frame[minFrame:]) }

func monotonic() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err)
	}
	return ts.Nano()
}

// plain is the virtio-net header of a frame about which there is nothing to
// say.
var plain [vnetSize]byte

// push sends a frame to the wheel.
func (l *lab) push(frame []byte) { l.Helper(); l.pushRaw(plain[:], frame) }

func (l *lab) pushRaw(vnet, frame []byte) {
	l.Helper()
	for range 1000 {
		_, err := unix.SendmsgBuffers(l.far, [][]byte{vnet, frame}, nil, nil, 0)
		if err != unix.ENOBUFS && err != unix.EAGAIN {
			l.must(err)
			return
		}
		time.Sleep(100 * time.Microsecond)
	}
	l.Fatal("no room to send")
}

// pull waits for the next frame from the wheel; nil if none comes in time.
func (l *lab) pull(patience time.Duration) (vnet, frame []byte) {
	l.Helper()
	deadline := time.Now().Add(patience)
	for {
		left := max(time.Until(deadline), 0)
		fds := []unix.PollFd{{Fd: int32(l.far), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(left.Milliseconds())+1)
		if err != nil && err != unix.EINTR {
			l.Fatal(err)
		}
		if n > 0 {
			n, err := unix.Read(l.far, l.buf)
			l.must(err)
			if p := l.buf[vnetSize:n]; binary.BigEndian.Uint16(p[headerSize:]) == etherType || len(p) > 60000 {
				return l.buf[:vnetSize], p
			}
			continue
		}
		if left == 0 {
			return nil, nil
		}
	}
}

// settle waits until the wheel's counts are as they should be.
func (l *lab) settle(what string, ok func(Stats) bool) Stats {
	l.Helper()
	for range 2000 {
		if s := l.wheel.Stats(); ok(s) {
			return s
		}
		time.Sleep(10 * time.Millisecond)
	}
	l.Fatalf("%s: %+v", what, l.wheel.Stats())
	panic("unreachable")
}

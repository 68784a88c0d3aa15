package wheel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
)

const mtu = 65535

// patient calls a test with more and more time, until it had enough: it says
// whether it did its part before frames were due.
func patient(t *testing.T, try func(t *testing.T, time time.Duration) bool) {
	for d := 50 * time.Millisecond; d < 15*time.Second; d *= 4 {
		if done := false; !t.Run(d.String(), func(t *testing.T) { done = try(t, d) }) || done {
			return
		}
	}
	t.Error("this machine is too slow")
}

// enough is how long a frame is waited for that is to come.
const enough = 20 * time.Second

// TestOrder: frames leave in the order in which they are due, and not before.
func TestOrder(t *testing.T) {
	order := rand.New(rand.NewPCG(1, 2)).Perm(200)
	patient(t, func(t *testing.T, base time.Duration) bool {
		l := newLab(t, mtu, &Options{})
		start := monotonic()
		due := func(i int) int64 { return start + int64(base) + int64(i)*200_000 }
		for _, i := range order {
			l.push(frameAt(60+i, due(i), uint32(i)))
		}
		l.settle("all read", func(s Stats) bool { return s.Frames == 200 })
		if time.Duration(monotonic()-start) > base {
			return false
		}
		for i := range order {
			_, f := l.pull(enough)
			now := monotonic()
			if f == nil {
				t.Fatalf("frame %d does not come: %+v", i, l.wheel.Stats())
			}
			if got := number(f); got != uint32(i) {
				t.Fatalf("frame %d comes as number %d", i, got)
			}
			if due := dueIn(f, now); now < due {
				t.Errorf("frame %d leaves %v early", i, time.Duration(due-now))
			}
			if want := frame(60+i, 0, uint32(i)); !slices.Equal(f[4:], want[4:]) {
				t.Errorf("frame %d is not what was sent", i)
			}
		}
		s := l.settle("empty", func(s Stats) bool { return s.Held == 0 })
		if s.Failed+s.Full+s.Missed != 0 || s.Bytes != 0 || s.HeldMost != 200 {
			t.Errorf("counts are %+v", s)
		}
		if s.Note != "" {
			t.Log(s.Note)
		}
		return true
	})
}

// TestEqual: frames that are due at once leave in the order in which they came.
func TestEqual(t *testing.T) {
	l := newLab(t, mtu, &Options{})
	const n = 3000
	first := frame(100, 400*time.Millisecond, 0)
	for i := range uint32(n) {
		f := frame(100, 0, i)
		copy(f, first[:4])
		l.push(f)
	}
	for i := range uint32(n) {
		_, f := l.pull(enough)
		if f == nil || number(f) != i {
			t.Fatalf("number %d: %v (%+v)", i, f, l.wheel.Stats())
		}
	}
}

// TestLate: what is due already leaves at once, however long it has been due,
// before what is still to be held.
func TestLate(t *testing.T) {
	l := newLab(t, mtu, &Options{})
	l.push(frame(100, 2*time.Second, 3))
	for i, in := range []time.Duration{-time.Microsecond, -time.Second, -10 * time.Minute} {
		l.push(frame(100, in, uint32(i)))
		if _, f := l.pull(enough); f == nil || number(f) != uint32(i) {
			t.Errorf("due %v ago: %v", -in, f)
		}
	}
	if _, f := l.pull(enough); f == nil || number(f) != 3 {
		t.Errorf("the one that was held: %v", f)
	}
	if s := l.wheel.Stats(); s.Late < 2 {
		t.Errorf("late is %d", s.Late)
	}
}

// TestSizes: frames of all sizes come back whole, up to the largest.
func TestSizes(t *testing.T) {
	l := newLab(t, mtu, &Options{})
	var sizes []int
	for _, c := range classes {
		for d := -20; d <= 2; d++ {
			sizes = append(sizes, min(max(int(c)+d, 60), mtu+minFrame))
		}
	}
	sizes = append(sizes, 1514, 9014, mtu+minFrame)
	for i, size := range sizes {
		want := frame(size, time.Millisecond, uint32(i))
		l.push(want)
		if _, f := l.pull(enough); !slices.Equal(f, want) {
			t.Fatalf("%d bytes: %d come back (%+v)", size, len(f), l.wheel.Stats())
		}
	}
}

// TestFull: a wheel holds no more than it is told to, counts what it drops,
// and works on afterwards.
func TestFull(t *testing.T) {
	const limit = 1 << 20
	l := newLab(t, mtu, &Options{Memory: limit})
	const n = 2000
	for i := range uint32(n) {
		l.push(frame(1500, time.Second, i))
	}
	s := l.settle("all read", func(s Stats) bool { return s.Frames == n })
	if s.Full == 0 || s.Held+s.Full > n || s.Bytes > limit || s.HeldMost < limit*9/10/1536 {
		t.Errorf("counts are %+v", s)
	}
	for range n - s.Full {
		if _, f := l.pull(enough); f == nil {
			t.Fatalf("a frame that was held is lost: %+v", l.wheel.Stats())
		}
	}
	l.push(frame(1500, time.Millisecond, n))
	if _, f := l.pull(enough); f == nil || number(f) != n {
		t.Errorf("afterwards comes %v", f)
	}
}

// TestClose: a wheel that holds frames is closed at once, any number of times.
func TestClose(t *testing.T) {
	l := newLab(t, mtu, &Options{})
	for i := range uint32(100) {
		l.push(frame(1500, 10*time.Minute, i))
	}
	l.settle("all held", func(s Stats) bool { return s.Held == 100 })
	done := make(chan error)
	for range 3 {
		go func() { done <- l.wheel.Close() }()
	}
	for range 3 {
		l.must(<-done)
	}
	if err := l.wheel.Err(); err != nil {
		t.Errorf("closed, and says %v", err)
	}
	if s := l.wheel.Stats(); s.Held != 0 || s.Bytes != 0 || s.Frames != 100 {
		t.Errorf("counts are %+v", s)
	}
	if _, f := l.pull(50 * time.Millisecond); f != nil {
		t.Errorf("a frame left: %v", f)
	}
}

// TestGone: a wheel ends when its device does, and says so.
func TestGone(t *testing.T) {
	for _, held := range []int{0, 10} {
		t.Run(fmt.Sprintf("%d held", held), func(t *testing.T) {
			l := newLab(t, mtu, &Options{})
			for i := range held {
				l.push(frame(100, time.Minute, uint32(i)))
			}
			l.settle("held", func(s Stats) bool { return s.Held == uint64(held) })
			l.in(l.rack, func(b *rtnl.Batch) { b.DelLink(holdIndex, "hold") })
			select {
			case <-l.wheel.Done():
			case <-time.After(enough):
				t.Fatalf("still at work: %+v", l.wheel.Stats())
			}
			if err := l.wheel.Err(); !errors.Is(err, ErrGone) {
				t.Errorf("it ended with %v", err)
			}
			if s := l.wheel.Stats(); s.Held != 0 || s.Note == "" {
				t.Errorf("counts are %+v", s)
			}
		})
	}
}

// TestDown: a device that goes down takes what is due meanwhile with it, and
// no more.
func TestDown(t *testing.T) {
	patient(t, func(t *testing.T, base time.Duration) bool {
		l := newLab(t, mtu, &Options{})
		start := time.Now()
		l.push(frame(100, base, 1))
		l.push(frame(100, 3*base, 2))
		l.settle("all read", func(s Stats) bool { return s.Frames == 2 })
		l.setUp(false)
		if time.Since(start) > base {
			return false
		}
		l.settle("one failed", func(s Stats) bool { return s.Failed > 0 })
		l.setUp(true)
		if time.Since(start) > 3*base {
			return false
		}
		if _, f := l.pull(enough); f == nil || number(f) != 2 {
			t.Errorf("after it is up again comes %v (%+v)", f, l.wheel.Stats())
		}
		l.push(frame(100, time.Millisecond, 3))
		if _, f := l.pull(enough); f == nil || number(f) != 3 {
			t.Errorf("later comes %v (%+v)", f, l.wheel.Stats())
		}
		return true
	})
}

// setUp sets the hold device up or down.
func (l *lab) setUp(up bool) {
	l.Helper()
	l.must(netns.Do(l.rack, func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		req, err := unix.NewIfreq("hold")
		if err != nil {
			return err
		}
		if up {
			req.SetUint16(unix.IFF_UP)
		}
		return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
	}))
}

// TestQuiet: a wheel that has nothing to do does nothing, also after it had;
// and one that waits for something wakes once for it.
func TestQuiet(t *testing.T) {
	l := newLab(t, mtu, &Options{})
	for i := range uint32(500) {
		l.push(frame(1500, time.Millisecond, i))
	}
	for range 500 {
		if _, f := l.pull(enough); f == nil {
			t.Fatal("a frame is lost")
		}
	}
	time.Sleep(time.Duration(trimEvery) + 300*time.Millisecond) // it tidies up
	before := l.wheel.Stats().Wakes
	time.Sleep(time.Second)
	if n := l.wheel.Stats().Wakes - before; n > 2 { // Go's runtime may interrupt it
		t.Errorf("idle for a second, it woke %d times", n)
	}
	l.push(frame(100, 700*time.Millisecond, 0))
	if _, f := l.pull(enough); f == nil {
		t.Fatal("a frame is lost")
	}
	if n := l.wheel.Stats().Wakes - before; n > 10 {
		t.Errorf("for one frame, it woke %d times", n)
	}
}

// TestRefuse: what cannot be started says why, and leaves nothing behind.
func TestRefuse(t *testing.T) {
	l := newLab(t, mtu, nil)
	for _, o := range []Options{
		{Netns: l.rack, Device: 4711},
		{Netns: -1, Device: holdIndex},
		{Netns: l.rack, Device: holdIndex, Memory: 1 << 50},
	} {
		if w, err := Start(o); err == nil {
			w.Close()
			t.Errorf("%+v starts", o)
		} else {
			t.Log(err)
		}
	}
}

// TestGSO: a packet of 64 KB that is still to be cut, with a checksum that is
// still to be made, comes back as it was; also where the kernel had much of it
// in one piece.
func TestGSO(t *testing.T) {
	l := newLab(t, mtu, &Options{})
	for _, headers := range []int{54, 8000} {
		want := tcpFrame(65500, time.Millisecond) // 65,536 with all headers is too much for any device
		var vnet [vnetSize]byte
		vnet[0], vnet[1] = 1, 1 // a checksum is needed; TCP over IPv4
		e := binary.NativeEndian
		e.PutUint16(vnet[2:], uint16(headers))
		e.PutUint16(vnet[4:], 1448)  // bytes of each segment
		e.PutUint16(vnet[6:], 14+20) // the checksum covers all from there
		e.PutUint16(vnet[8:], 16)
		l.pushRaw(vnet[:], want)
		got, f := l.pull(enough)
		if f == nil {
			t.Fatalf("it does not come back: %+v", l.wheel.Stats())
		}
		if !slices.Equal(f, want) {
			t.Errorf("%d bytes come back as %d others", len(want), len(f))
		}
		if !slices.Equal(got[:2], vnet[:2]) || !slices.Equal(got[4:], vnet[4:]) {
			t.Errorf("%x comes back as %x", vnet, got)
		}
	}
	if s := l.wheel.Stats(); s.Frames != 2 || s.Failed != 0 {
		t.Errorf("counts are %+v", s)
	}
}

// tcpFrame makes a frame of TCP over IPv4, of some bytes without its Ethernet
// header.
func tcpFrame(size int, in time.Duration) []byte {
	f := frame(minFrame+size, in, 7)
	binary.BigEndian.PutUint16(f[12:], unix.ETH_P_IP)
	ip := f[minFrame:]
	copy(ip, []byte{0x45, 0, byte(size >> 8), byte(size), 0, 1, 0x40, 0, 64, unix.IPPROTO_TCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2})
	copy(ip[20:], []byte{1, 2, 3, 4, 0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, 0x10, 1, 0, 0, 0, 0, 0})
	return f
}

// TestMTU: a device of 9,000 bytes carries frames of that size, and one that is
// larger than its device can send is counted, and harms no other.
func TestMTU(t *testing.T) {
	patient(t, func(t *testing.T, base time.Duration) bool {
		l := newLab(t, 9000, &Options{})
		want := frame(9014, time.Millisecond, 1)
		l.push(want)
		if _, f := l.pull(enough); !slices.Equal(f, want) {
			t.Errorf("%d bytes come back", len(f))
		}
		start := time.Now()
		l.push(frame(9014, base, 2))
		l.push(frame(100, base+10*time.Millisecond, 3))
		l.settle("read", func(s Stats) bool { return s.Frames == 3 })
		l.in(l.rack, func(b *rtnl.Batch) { b.SetLink(&rtnl.Link{Index: holdIndex, MTU: 1500}) })
		if time.Since(start) > base {
			return false
		}
		if _, f := l.pull(enough); f == nil || number(f) != 3 {
			t.Errorf("first comes %v", f)
		}
		l.settle("one failed", func(s Stats) bool { return s.Failed == 1 && s.Held == 0 })
		return true
	})
}

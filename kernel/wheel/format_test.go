package wheel

import (
	"bytes"
	"encoding/binary"
	"testing"
	"time"
	"unsafe"

	"pgregory.net/rapid"
)

// TestHeader: what is put in is read back, for any time within 18 minutes of
// now, wherever the 31 bits wrap.
func TestHeader(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := rapid.OneOf(
			rapid.Int64Range(0, 1<<62),
			rapid.Map(rapid.Int64Range(-2000, 2000), func(d int64) int64 { return 1<<31*tick + d }),
			rapid.Map(rapid.Int64Range(-2000, 2000), func(d int64) int64 { return 1<<30*tick*5 + d }),
		).Draw(t, "now")
		const most = int64(18 * time.Minute)
		in := rapid.OneOf(rapid.Int64Range(-most, most), rapid.Int64Range(-2000, 2000)).Draw(t, "in")
		h := header{
			Due:     max(now+in, 0) &^ (tick - 1),
			Stage:   rapid.Bool().Draw(t, "stage"),
			Network: rapid.Uint16().Draw(t, "network"),
			From:    rapid.Uint32Range(0, 1<<24-1).Draw(t, "from"),
			To:      rapid.Uint32Range(0, 1<<24-1).Draw(t, "to"),
		}
		frame := bytes.Repeat([]byte{0xee}, 14)
		h.put(frame)
		if got := parseHeader(frame, now); got != h {
			t.Fatalf("at %d, %+v reads as %+v", now, h, got)
		}
		if frame[12] != 0xee {
			t.Fatal("the EtherType is overwritten")
		}
	})
}

// TestHeaderLayout: the format is what the fabric's program has.
func TestHeaderLayout(t *testing.T) {
	var frame [headerSize]byte
	h := header{Due: 0x12345678 * tick, Stage: true, Network: 0x0203, From: 0x040506, To: 0x070809}
	h.put(frame[:])
	word := uint32(0x12345678<<1 | 1)
	want := []byte{byte(word), byte(word >> 8), byte(word >> 16), byte(word >> 24), 3, 2, 6, 5, 4, 9, 8, 7}
	if !bytes.Equal(frame[:], want) {
		t.Errorf("%x, want %x", frame, want)
	}
}

// FuzzKeep gives the wheel whatever may come from its socket: it keeps it or
// not, and goes on.
func FuzzKeep(f *testing.F) {
	f.Add(make([]byte, vnetSize+60), int64(0), uint32(0))
	f.Add(bytes.Repeat([]byte{0xff}, 1524), int64(1)<<61, uint32(0))
	f.Add(make([]byte, vnetSize), int64(5), uint32(1<<30))
	f.Add([]byte{}, int64(-5), uint32(70000))
	s, err := newStore(1 << 20)
	if err != nil {
		f.Fatal(err)
	}
	l := &loop{store: s, in: newMessages(), buffers: make([]byte, batch*bufferSize)}
	f.Fuzz(func(t *testing.T, data []byte, now int64, length uint32) {
		s.reset()
		n := copy(l.buffers, data)
		l.in.m[0].n = uint32(n)
		if length > 0 { // what the kernel said, if it lied
			l.in.m[0].n = length
		}
		l.keep(0, now>>tickShift)
		if s.queue.n == 0 {
			return
		}
		e := s.queue.pop()
		p, size := s.data(e.ref)
		got := unsafe.Slice((*byte)(p), size)
		if size != int(l.in.m[0].n) || length == 0 && !bytes.Equal(got[vnetSize:], data[vnetSize:n]) {
			t.Errorf("%d bytes became %d others", n, size)
		}
		if h := binary.NativeEndian.Uint16(got[2:]); h > linearMost {
			t.Errorf("headers of %d bytes", h)
		}
		if d := e.due - now>>tickShift; d < -1<<30 || d >= 1<<30 {
			t.Errorf("at %d, due in %d ticks", now, d)
		}
		s.drop(e.ref)
	})
}

// TestAllocations: a frame on its way through costs no allocation.
func TestAllocations(t *testing.T) {
	s, err := newStore(8 << 20)
	if err != nil {
		t.Fatal(err)
	}
	defer s.free()
	l := &loop{store: s, in: newMessages(), out: newMessages(), buffers: make([]byte, batch*bufferSize)}
	l.in.m[0].n = 1524
	if n := testing.AllocsPerRun(100, func() {
		l.keep(0, 1000)
		e := s.queue.pop()
		at, size := s.data(e.ref)
		l.out.set(0, at, size)
		s.drop(e.ref)
		l.tidy(0)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package fabric

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"myriad/program"
)

// ipv4 makes a frame with an IPv4 packet of some protocol, with options
// of so many words, of so many bytes in all.
func ipv4(to, from program.MAC, protocol, tos byte, options, length int) []byte {
	f := append(to[:], from[:]...)
	f = append(f, 8, 0, byte(0x45+options), tos)
	f = binary.BigEndian.AppendUint16(f, uint16(min(length-14, 65535)))
	f = append(f, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 1, 0, 1, 10, 1, 0, 10)
	f = append(f, make([]byte, 4*options)...)
	sum := checksum(f[14:])
	f[24], f[25] = byte(sum>>8), byte(sum)
	l4 := []byte{0, 80, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0, 0, 0, 0, 0, 0} // TCP; UDP is shorter
	f = append(f, l4...)
	return append(f, make([]byte, max(0, length-len(f)))...)
}

func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	for sum>>16 != 0 {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

const (
	tcp = 6
	udp = 17
)

func tenOf(length int) []byte {
	return ipv4(program.MACOf(1, 10), program.MACOf(1, 1), udp, 0, 0, length)
}

// TestRate: frames leave one after the other, each when its last byte has left.
func TestRate(t *testing.T) {
	const rate = 1e6
	r := newTestRig(t, &program.Links{})
	for _, leg := range legs {
		r.change(onLeg(leg, program.Condition{Rate: rate, Delay: time.Second}))
		begin := monotonic()
		ends := begin
		for n, length := range []int{1514, 60, 1514, 3014, 60, 1514, 1514, 1514} {
			x := r.send(tenOf(length), 0)
			ends += uint64(length) * 8e9 / rate
			if want := ends + uint64(time.Second); x.due+2048 < want || x.due > want+uint64(soon) {
				t.Errorf("%s, frame %d: due %v after the beginning, want %v", leg, n, time.Duration(x.due-begin), time.Duration(want-begin))
			}
		}
	}
}

// TestRateChanged: at another rate, frames come after those of before; but a
// queue of a rate that was much less does not close the link.
func TestRateChanged(t *testing.T) {
	const length = 1250
	at := func(rate uint64, queue time.Duration) *Shaping {
		return &Shaping{Links: onLeg("out", program.Condition{Rate: rate, QueueTime: queue, Delay: time.Second})}
	}
	for _, c := range []struct {
		frames int // of 100 ms each
		waits  time.Duration
	}{{2, 200 * time.Millisecond}, {30, 0}} {
		r := newRig(t, testProgram(), at(1e5, time.Minute))
		for range c.frames {
			r.send(tenOf(length), 0)
		}
		r.update(testProgram(), at(1e9, 300*time.Millisecond))
		begin := monotonic()
		x := r.send(tenOf(length), 0)
		if got := time.Duration(x.due-begin) - time.Second; got > c.waits+soon || got < c.waits/4-time.Millisecond {
			t.Errorf("after %d frames at another rate, one waits for %v, want %v", c.frames, got, c.waits)
		}
	}
}

// TestQueue: what would wait for too long is dropped, or marked.
func TestQueue(t *testing.T) {
	const rate, length = 1e4, 1250 // 1 s each
	r := newTestRig(t, &program.Links{})
	for name, c := range map[string]program.Condition{
		"time":  {Rate: rate, QueueTime: 20500 * time.Millisecond},
		"bytes": {Rate: rate, QueueBytes: 205 * rate / 80},
	} {
		for _, ecn := range []bool{false, true} {
			for _, tos := range []byte{0, 1, 2} {
				c.ECN = ecn
				r.change(onLeg("out", c))
				full := mustCount(t, r.f)["drop_queue_full"]
				f := ipv4(program.MACOf(1, 10), program.MACOf(1, 1), udp, tos, 0, length)
				passed := 0
				for range 60 {
					x := r.send(f, 0)
					if !x.passed {
						continue
					}
					marked := x.out[15]&3 == 3
					if passed != 21 && marked != (passed > 21 && ecn && tos != 0) || checksum(x.out[14:34]) != 0 {
						t.Errorf("%s, ECN %v, tos %d: frame %d is %x", name, ecn, tos, passed, x.out[12:34])
					}
					passed++
				}
				want := 21 // that wait for 0, 1, … 20 s
				if ecn && tos != 0 {
					want = 42
				}
				// While they come, one may leave.
				if got := mustCount(t, r.f); passed < want || passed > want+1 || got["drop_queue_full"]-full != uint64(60-passed) {
					t.Errorf("%s, ECN %v, tos %d: %d pass, want %d; %v", name, ecn, tos, passed, want, got)
				}
			}
		}
	}
	r.change(onLeg("out", program.Condition{Rate: 8000}))
	for range 100 {
		if x := r.send(tenOf(1514), 0); !x.passed {
			t.Fatal("a queue without limits dropped a frame")
		}
	}
	// The holder has one all the same: a quarter of an hour.
	r.change(onLeg("out", program.Condition{Rate: 8}))
	for n := range 12 {
		x := r.send(tenOf(100), 0)
		if due := time.Duration(n+1) * 100 * time.Second; x.passed != (due <= 1000*time.Second) || x.passed && x.wait < due-soon {
			t.Errorf("frame %d, due after %v: %v", n, due, x)
		}
	}
}

// TestGSO: a frame that the kernel has not cut yet takes as long as its
// packets, with all their headers.
func TestGSO(t *testing.T) {
	const rate, size, packets = 1e6, 100, 20
	r := newTestRig(t, &program.Links{})
	// There is no cut: the rate is too low to go without it otherwise.
	for name, f := range map[string]struct {
		frame []byte
		head  int
	}{
		"TCP":         {ipv4(program.MACOf(1, 10), program.MACOf(1, 1), tcp, 0, 0, 54+size*packets), 54},
		"IP options":  {ipv4(program.MACOf(1, 10), program.MACOf(1, 1), tcp, 0, 5, 74+size*packets), 74},
		"UDP":         {ipv4(program.MACOf(1, 10), program.MACOf(1, 1), udp, 0, 0, 42+size*packets), 42},
		"last is one": {ipv4(program.MACOf(1, 10), program.MACOf(1, 1), tcp, 0, 0, 54+size*(packets-1)+1), 54},
	} {
		r.change(onLeg("out", program.Condition{Rate: rate, Delay: time.Minute}))
		for range 50 {
			r.send(tenOf(3000), 0) // makes a queue
		}
		first := r.sendGSO(f.frame, 0, size)
		second := r.sendGSO(f.frame, 0, size)
		bytes := len(f.frame) + (packets-1)*f.head
		if got, want := second.due-first.due, uint64(bytes*8000); got+2048 < want || got > want+2048 {
			t.Errorf("%s: it takes %d ns, want %d", name, got, want)
		}
	}
}

// TestTrace: frames leave as from a queue that is served at the moments of the
// trace, 1,514 bytes at each.
func TestTrace(t *testing.T) {
	// The moments are so far apart that it does not matter how long a run takes.
	trace := program.Trace{Name: "steps", Period: 9000, At: []uint32{0, 0, 1000, 1000, 1000, 4000, 4000, 8000, 8000, 9000}}
	c := program.Condition{Trace: 1}
	for _, leg := range []string{"out", "pair"} {
		links := onLeg(leg, c)
		links.Traces = []program.Trace{trace}
		r := newTestRig(t, links)
		origin := r.origin()
		rng := rand.New(rand.NewPCG(1, 1))
		var frames []int
		for range 200 {
			frames = append(frames, 60+rng.IntN(3000))
		}
		want := served(&trace, frames)
		for n, length := range frames {
			x := r.send(tenOf(length), 0)
			if due := time.Duration(x.due - origin); due.Round(time.Millisecond) != want[n] {
				t.Fatalf("%s, frame %d of %d bytes: due %v after the beginning, want %v", leg, n, length, due, want[n])
			}
		}
	}
}

// origin is when the only trace began.
func (r *rig) origin() uint64 {
	r.Helper()
	mem, err := r.f.shaping.maps.open()
	if err != nil {
		r.Fatal(err)
	}
	defer mem.close()
	return mem.traces[0]
}

// served is when each frame leaves, if all come between the first moments and
// the next: chance by chance, byte by byte.
func served(t *program.Trace, frames []int) (at []time.Duration) {
	chances := func(yield func(time.Duration) bool) {
		for period := time.Duration(0); ; period += time.Duration(t.Period) * time.Millisecond {
			for _, ms := range t.At {
				if when := period + time.Duration(ms)*time.Millisecond; when > 0 && !yield(when) {
					return
				}
			}
		}
	}
	left := slices.Clone(frames)
	for when := range chances {
		for budget := program.TracePacket; budget > 0; {
			if len(left) == 0 {
				return at
			}
			takes := min(budget, left[0])
			budget -= takes
			if left[0] -= takes; left[0] == 0 {
				at, left = append(at, when), left[1:]
			}
		}
	}
	return at
}

// TestTraceIdle: a chance that nobody takes is gone, and so is what is left of
// one.
func TestTraceIdle(t *testing.T) {
	trace := program.Trace{Period: 3, At: []uint32{1, 2, 3}}
	links := onLeg("out", program.Condition{Trace: 1})
	links.Traces = []program.Trace{trace}
	r := newRig(t, testProgram(), &Shaping{Links: links})
	origin := r.origin()
	for range 50 {
		time.Sleep(2 * time.Millisecond)
		now := monotonic()
		x := r.send(tenOf(200), 0)
		after := monotonic()
		if !x.held { // it came in the last moment
			continue
		}
		const ms = 1e6
		first, last := (now-origin+ms-1)/ms*ms, (after-origin+ms-1)/ms*ms
		// It is 1,024 ns above or below.
		if due := (x.due - origin + ms/2) / ms * ms; due < first || due > last {
			t.Errorf("it came between %d and %d, and is due at %d", now-origin, after-origin, x.due-origin)
		}
	}
}

// TestTraceLong: the rate of a trace of some size comes out, over many periods.
func TestTraceLong(t *testing.T) {
	trace := program.Trace{Name: "lte"}
	rng := rand.New(rand.NewPCG(1, 1))
	for ms := uint32(0); ms < 20000; ms += rng.Uint32N(1 + rng.Uint32N(30)) {
		trace.At = append(trace.At, ms)
	}
	trace.Period = trace.At[len(trace.At)-1]
	links := onLeg("out", program.Condition{Trace: 1})
	links.Traces = []program.Trace{trace}
	r := newRig(t, testProgram(), &Shaping{Links: links})
	origin := r.origin()
	n := 3*len(trace.At) + 7
	r.skipTo(origin, uint64(n-1)*program.TracePacket)
	x := r.send(tenOf(program.TracePacket), 0)
	want := 3*time.Duration(trace.Period)*time.Millisecond + time.Duration(trace.At[6])*time.Millisecond
	if got := time.Duration(x.due - origin); got.Round(time.Millisecond) != want {
		t.Errorf("the %d. frame is due after %v, want %v", n, got, want)
	}
}

// skipTo makes host 1 have sent so many bytes of its trace.
func (r *rig) skipTo(origin, bytes uint64) {
	r.Helper()
	mem, err := r.f.shaping.maps.open()
	if err != nil {
		r.Fatal(err)
	}
	defer mem.close()
	mem.states[1][0].Position = mix(origin)<<48 | bytes
}

// TestTraceQueue: the limits of queues hold for traces, too.
func TestTraceQueue(t *testing.T) {
	trace := program.Trace{Period: 100000, At: []uint32{10000, 20000, 30000, 40000, 50000, 60000, 70000, 80000, 90000, 100000}}
	r := newTestRig(t, &program.Links{})
	for name, c := range map[string]program.Condition{
		"time":  {Trace: 1, QueueTime: 205 * time.Second},
		"bytes": {Trace: 1, QueueBytes: 19 * program.TracePacket},
	} {
		links := onLeg("out", c)
		links.Traces = []program.Trace{trace}
		r.change(links)
		passed := 0
		for range 30 {
			if r.send(tenOf(program.TracePacket), 0).passed {
				passed++
			}
		}
		if passed < 20 || passed > 21 {
			t.Errorf("%s: %d pass, want 20", name, passed)
		}
	}
}

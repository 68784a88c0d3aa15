package fabric

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"testing"
	"time"

	"myriad/program"
)

// The way of these tests: from lan host 1 in rack 0 to host 10 in rack 1.
var toTen = frame(program.MACOf(1, 10), program.MACOf(1, 1), typeIPv4)

const seed = 42

// onLeg gives one condition to one leg of that way.
func onLeg(leg string, c program.Condition) *program.Links {
	l := &program.Links{Seed: seed, Conditions: []program.Condition{c}}
	switch leg {
	case "out":
		l.Vifaces = []program.LinkRange{{Network: 1, Host: 1, Count: 1, Out: 1}}
	case "in":
		l.Vifaces = []program.LinkRange{{Network: 1, Host: 10, Count: 1, In: 1}}
	case "pair":
		l.Pairs = []program.Pair{{Network: 1, From: 1, To: 10, Word: program.PairIndexed | 1}}
	case "classes":
		l.Vifaces = []program.LinkRange{{Network: 1, Host: 1, Count: 1, Class: 1}, {Network: 1, Host: 10, Count: 1, Class: 2}}
		l.Classes = 2
		l.Matrix = []program.PairWord{0, program.PairIndexed | 1, 0, 0}
	}
	return l
}

var legs = []string{"out", "in", "pair", "classes"}

// who has the draws of a leg.
func who(leg string) uint64 {
	switch leg {
	case "out":
		return asSender(1, 1)
	case "in":
		return asReceiver(1, 10)
	}
	return asPair(1, 1, 10)
}

// onEachLeg runs a test for a condition on each leg.
func onEachLeg(t *testing.T, c program.Condition, test func(t *testing.T, r *rig, leg string)) {
	r := newTestRig(t, &program.Links{})
	for _, leg := range legs {
		t.Run(leg, func(t *testing.T) {
			r.change(onLeg(leg, c))
			test(t, r, leg)
		})
	}
}

// soon is how long a run of the program may take on a busy machine, before
// these tests call it too long.
const soon = 200 * time.Millisecond

func TestDelay(t *testing.T) {
	onEachLeg(t, program.Condition{Delay: time.Second}, func(t *testing.T, r *rig, leg string) {
		x := r.send(toTen, 0)
		if !x.held || x.stage || x.wait < time.Second-2*time.Microsecond || x.wait > time.Second+soon {
			t.Fatalf("a delay of 1 s: %+v", x)
		}
		// In place of the addresses: network 1, from 1, to 10.
		if want := []byte{1, 0, 1, 0, 0, 10, 0, 0}; !bytes.Equal(x.out[4:12], want) || !bytes.Equal(x.out[12:], toTen[12:]) {
			t.Errorf("in the holder, it is\n%x of\n%x", x.out, toTen)
		}
		for _, other := range [][]byte{
			frame(program.MACOf(1, 1), program.MACOf(1, 10), typeIPv4), // back
			frame(program.MACOf(1, 10), program.MACOf(1, 2), typeIPv4), // from another
			frame(program.MACOf(1, 2), program.MACOf(1, 1), typeIPv4),  // to another
		} {
			rack := uint32(0)
			if other[11] == 10 {
				rack = 1
			}
			want := leg == "out" && other[11] == 1 || leg == "in" && other[5] == 10
			if x := r.send(other, rack); x.held != want || !x.passed || !x.held && !bytes.Equal(x.out, other) {
				t.Errorf("from %d to %d: %+v", other[11], other[5], x)
			}
		}
	})
}

// TestDelays: those of all legs add up, given addresses and far hosts have
// them, and what the way costs by itself is subtracted.
func TestDelays(t *testing.T) {
	p := testProgram()
	l := &program.Links{
		Conditions: []program.Condition{{Delay: time.Second}, {Delay: 3 * time.Second}},
		Vifaces: []program.LinkRange{
			{Network: 1, Host: 1, Count: 3, Class: 1, Out: 1}, {Network: 1, Host: 10, Count: 2, Class: 2, In: 2},
			{Network: 2, Host: 1, Count: 60000, Class: 2, Out: 2},
		},
		Classes: 2,
		Matrix:  []program.PairWord{program.PairWord(10 * time.Second / program.DelayUnit), program.PairWord(20 * time.Second / program.DelayUnit), 0, 0},
		Pairs: []program.Pair{
			{Network: 1, From: 1, To: 3, Word: program.PairIndexed},
			{Network: 1, From: 2, To: 11, Word: program.PairIndexed | 2},
			{Network: 2, From: farHost, To: 5, Word: program.PairWord(time.Second / program.DelayUnit)},
		},
	}
	r := newRig(t, p, &Shaping{Links: l, Holder: Holder{FirstHold: labHold, Base: 500 * time.Millisecond}})
	mac := func(host uint32) program.MAC {
		switch host {
		case 3:
			return givenMAC
		case 11:
			return dockerMAC
		}
		return program.MACOf(1, host)
	}
	for _, way := range []struct {
		from, to program.MAC
		rack     uint32
		want     time.Duration
	}{
		{mac(1), mac(2), 0, 11 * time.Second},
		{mac(1), mac(3), 0, time.Second}, // an exception that says: nothing
		{mac(3), mac(1), 0, 11 * time.Second},
		{mac(1), mac(10), 0, 24 * time.Second},
		{mac(3), mac(11), 0, 24 * time.Second},
		{mac(2), mac(11), 0, 7 * time.Second},
		{mac(11), mac(3), 1, 0},
		{program.MACOf(2, farHost), program.MACOf(2, 5), 1, 4 * time.Second},
		{program.MACOf(2, 5), program.MACOf(2, farHost), 1, 3 * time.Second},
	} {
		x := r.send(frame(way.to, way.from, typeIPv6), way.rack)
		got := x.wait
		if way.want > 0 {
			got += 500 * time.Millisecond
		}
		if !x.passed || got < way.want-10*time.Microsecond || got > way.want+soon {
			t.Errorf("from %v to %v: %v, want %v", way.from, way.to, got, way.want)
		}
	}
}

// TestChance: what is left to chance is what the seed says, frame for frame.
func TestChance(t *testing.T) {
	const frames = 400
	c := program.Condition{
		Loss: share(0.1), Corrupt: share(0.3), Duplicate: share(0.2), Reorder: share(0.25),
		Delay: time.Second, Jitter: 500 * time.Millisecond,
	}
	onEachLeg(t, c, func(t *testing.T, r *rig, leg string) {
		d := draws{seed: seed, who: who(leg)}
		for n := range frames {
			x := r.send(toTen, 0)
			lost, twice := d.happens(toLose, c.Loss), false
			if !lost && d.happens(toDuplicate, c.Duplicate) {
				// There is nowhere for its twin to go in this namespace, but
				// the frame here is the twin: it is drawn for a second time.
				twice = true
				d.frame++
			}
			if lost == x.passed {
				t.Fatalf("frame %d: lost is %v, want %v", n, !x.passed, lost)
			}
			if !lost {
				checkDrawn(t, n, &d, &c, &x, twice)
			}
			d.frame++
		}
		got := mustCount(t, r.f)
		if got["corrupted"] == 0 || got["duplicated"] == 0 || got["reordered"] == 0 || got["drop_lost"] == 0 {
			t.Errorf("counters: %v", got)
		}
	})
}

func checkDrawn(t *testing.T, n int, d *draws, c *program.Condition, x *fate, twin bool) {
	t.Helper()
	want := bytes.Clone(toTen[12:])
	if d.happens(toCorrupt, c.Corrupt) {
		bit := uint64(d.draw(toTurnBit)) * uint64(len(toTen)-14) * 8 >> 31
		want[2+bit/8] ^= 1 << (bit % 8)
	}
	if !bytes.Equal(x.out[12:], want) {
		t.Errorf("frame %d (twin %v): it becomes\n%x, want\n%x", n, twin, x.out[12:], want)
	}
	if d.happens(toReorder, c.Reorder) {
		if x.wait > 0 && !twin {
			t.Errorf("frame %d: it is held for %v, and should overtake", n, x.wait)
		}
		return
	}
	delay := c.Delay + c.Jitter*(time.Duration(d.draw(toJitter)>>10)-1<<20)>>20
	if x.wait < delay-2*time.Microsecond || x.wait > delay+soon {
		t.Errorf("frame %d: it is held for %v, want %v", n, x.wait, delay)
	}
}

// TestSeed: another seed, another fate; the same, the same.
func TestSeed(t *testing.T) {
	r := newTestRig(t, &program.Links{})
	fates := func(seed uint64) (out []bool) {
		links := onLeg("out", program.Condition{Loss: share(0.5)})
		links.Seed = seed
		r.change(links)
		for range 64 {
			out = append(out, r.send(toTen, 0).passed)
		}
		return out
	}
	one, again, other := fates(1), fates(1), fates(2)
	if !slices.Equal(one, again) || slices.Equal(one, other) {
		t.Errorf("seed 1: %v, again %v; seed 2: %v", one, again, other)
	}
}

// TestLoss: a share is what it says, within what chance leaves open once in
// 10,000 times; and as the seed is fixed, it is the same every time.
func TestLoss(t *testing.T) {
	const frames = 200000
	r := newTestRig(t, &program.Links{})
	for _, p := range []float64{0, 0.001, 0.01, 0.1, 0.25, 0.5, 1} {
		r.change(onLeg("out", program.Condition{Loss: share(p)}))
		checkShare(t, r, fmt.Sprint(p), p, 1, frames)
	}
	// Bursts: the state is good for 100 frames on average, and bad for 4.
	c := program.Condition{ToBad: share(0.01), ToGood: share(0.25), LossBad: share(0.8), Loss: share(0.001)}
	bad := 0.01 / (0.01 + 0.25)
	r.change(onLeg("out", c))
	// What follows each other is alike: the spread is that of fewer frames.
	correlated := (1 + (1 - 0.26)) / (1 - (1 - 0.26))
	checkShare(t, r, "bursts", bad*0.8+(1-bad)*0.001, correlated, frames)
}

func checkShare(t *testing.T, r *rig, name string, p, correlated float64, frames uint64) {
	t.Helper()
	before := mustCount(t, r.f)
	for done := uint64(0); done < frames; done += 1000 {
		r.repeat(toTen, 0, 1000)
	}
	after := mustCount(t, r.f)
	lost := float64(after["drop_lost"] - before["drop_lost"])
	all := lost + float64(after["unicast"]-before["unicast"]) // a run that a signal interrupts begins again
	const deviations = 3.89                                   // 99.99 %
	within := deviations * math.Sqrt(p*(1-p)*all*correlated)
	if want := p * all; all < float64(frames) || math.Abs(lost-want) > within {
		t.Errorf("loss %s: %.0f of %.0f frames, want %.0f ± %.0f", name, lost, all, want, within)
	}
}

// TestBursts: the states follow each other as the seed says.
func TestBursts(t *testing.T) {
	c := program.Condition{ToBad: share(0.1), ToGood: share(0.3), LossBad: share(0.9), Loss: share(0.05)}
	onEachLeg(t, c, func(t *testing.T, r *rig, leg string) {
		d, bad := draws{seed: seed, who: who(leg)}, false
		for n := range 300 {
			change, loss := c.ToBad, c.Loss
			if bad {
				change = c.ToGood
			}
			if d.happens(toChangeState, change) {
				bad = !bad
			}
			if bad {
				loss = c.LossBad
			}
			if x := r.send(toTen, 0); x.passed == d.happens(toLose, loss) {
				t.Fatalf("frame %d, bad is %v: passed is %v", n, bad, x.passed)
			}
			d.frame++
		}
	})
}

// TestTables: jitter follows its table.
func TestTables(t *testing.T) {
	values := make([]int32, program.DistributionSize)
	for i := range values {
		values[i] = int32(i-2000) << 6
	}
	other := make([]int32, program.DistributionSize)
	c := program.Condition{Delay: 4 * time.Second, Jitter: time.Second, Distribution: 2}
	l := onLeg("out", c)
	l.Tables = []program.Distribution{{Name: "other", Values: other}, {Name: "steps", Values: values}}
	r := newTestRig(t, l)
	d := draws{seed: seed, who: who("out")}
	for n := range 200 {
		want := c.Delay + c.Jitter*time.Duration(values[d.draw(toJitter)>>19])>>16
		if x := r.send(toTen, 0); x.wait < want-2*time.Microsecond || x.wait > want+soon {
			t.Errorf("frame %d: it is held for %v, want %v", n, x.wait, want)
		}
		d.frame++
	}
}

// TestOrdered: no frame overtakes another, and none leaves later than it must
// for that.
func TestOrdered(t *testing.T) {
	c := program.Condition{Delay: 2 * time.Second, Jitter: 2 * time.Second, Ordered: true}
	r := newTestRig(t, &program.Links{})
	for _, leg := range []string{"out", "pair"} {
		r.change(onLeg(leg, c))
		d := draws{seed: seed, who: who(leg)}
		var last uint64
		for n := range 100 {
			now := monotonic()
			x := r.send(toTen, 0)
			own := now + uint64(c.Delay+c.Jitter*(time.Duration(d.draw(toJitter)>>10)-1<<20)>>20)
			want := max(last, own)
			if x.due+2048 < want || x.due > want+uint64(soon) || x.due < last {
				t.Errorf("%s, frame %d: it is due at %d, want %d", leg, n, x.due, want)
			}
			last = x.due
			d.frame++
		}
	}
}

// TestPerByte: the cost of a byte is exact to its last place, at every rate.
func TestPerByte(t *testing.T) {
	for rate := uint64(1); rate < 1<<50; rate = rate*3/2 + 1 {
		number, shift := perByte(rate)
		if bits.Len64(number) > 44 {
			t.Errorf("%d bit/s: %d needs more than 44 bits", rate, number)
		}
		got, want := math.Ldexp(float64(number), -int(shift)), 8e9/float64(rate)
		if math.Abs(got-want) > want*1e-9 {
			t.Errorf("%d bit/s: a byte takes %g ns, want %g", rate, got, want)
		}
	}
}

// repeat runs the program on a frame many times.
func (r *rig) repeat(frame []byte, rack uint32, times uint32) {
	r.Helper()
	r.repeatOn(r.f.objects.Trunk, frame, firstTrunk+rack, times)
}

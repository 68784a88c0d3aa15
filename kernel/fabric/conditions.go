package fabric

import (
	"math/bits"
	"time"

	"myriad/program"
)

// condition is an entry of the map conditions (struct condition).
type condition struct {
	Flags      uint32
	Table      uint32 // of jitter: slot + 1
	Delay      uint64 // ns, as all times
	Jitter     uint64
	Loss       uint32
	ToBad      uint32
	ToGood     uint32
	LossBad    uint32
	Corrupt    uint32
	Duplicate  uint32
	Reorder    uint32
	Shift      uint32
	PerByte    uint64 // units of 2^-Shift
	Queue      uint64
	QueueBytes uint64
	Period     uint64
	Trace      uint32 // its first element
	Moments    uint32
}

// Flags of a condition (bpf/links.h).
const (
	flagSingly = 1 << iota
	flagDraws
	flagPaced
	flagTraced
	flagECN
	flagOrdered
	flagStaged
)

// flagsState are those of conditions that remember something.
const flagsState = flagDraws | flagPaced | flagTraced | flagOrdered

// cutRate is the rate below which frames that stand for several packets are
// cut: above, such a frame takes less than 3 ms, and counts as if its packets
// followed each other.
const cutRate = 200e6

// Limits that keep the programs' arithmetic inside 64 bits.
const (
	maxTime   = 1 << 43 // ns: more than two hours
	maxJitter = 1 << 40
	maxSpread = 1 << 21 // of a distribution, in units of 2^-16: 32 times the jitter
)

// encode translates a condition; the table and trace that it refers to are
// left to be filled in.
func encode(c *program.Condition) condition {
	e := condition{
		Delay: clamp(c.Delay, maxTime), Jitter: clamp(c.Jitter, maxJitter),
		Loss: uint32(c.Loss), ToBad: uint32(c.ToBad), ToGood: uint32(c.ToGood), LossBad: uint32(c.LossBad),
		Corrupt: uint32(c.Corrupt), Duplicate: uint32(c.Duplicate), Reorder: uint32(c.Reorder),
	}
	if e.Loss|e.ToBad|e.Corrupt|e.Duplicate|e.Reorder != 0 || e.Jitter != 0 {
		e.Flags |= flagDraws | flagSingly
	}
	if c.Ordered && e.Jitter != 0 {
		e.Flags |= flagOrdered | flagStaged
	}
	switch {
	case c.Trace != 0:
		e.Flags |= flagTraced | flagStaged | flagSingly
		e.Queue, e.QueueBytes = clamp(c.QueueTime, maxTime), c.QueueBytes
		if e.Queue != 0 {
			e.QueueBytes = 0
		}
	case c.Rate != 0:
		e.Flags |= flagPaced | flagStaged
		if c.Rate < cutRate {
			e.Flags |= flagSingly
		}
		e.PerByte, e.Shift = perByte(c.Rate)
		e.Queue = clamp(c.QueueTime, maxTime)
		if e.Queue == 0 && c.QueueBytes != 0 {
			e.Queue = takes(c.QueueBytes, c.Rate)
		}
	}
	if c.ECN && e.Flags&(flagPaced|flagTraced) != 0 {
		e.Flags |= flagECN
	}
	return e
}

func clamp(d time.Duration, limit uint64) uint64 {
	return min(uint64(max(d, 0)), limit)
}

// perByte is how long a byte takes at a rate, in ns, as a number of at most 44
// bits: times the bytes of any frame, it does not overflow.
func perByte(rate uint64) (number uint64, shift uint32) {
	const byteTime = 8e9
	for shift = 63; shift > 0; shift-- {
		if hi, lo := bits.Mul64(byteTime, 1<<shift); hi < rate {
			if q, r := bits.Div64(hi, lo, rate); q < 1<<44 {
				if r > rate/2 {
					q++
				}
				return q, shift
			}
		}
	}
	return min(byteTime/rate, 1<<44-1), 0
}

// takes is how long bytes take at a rate: at least 1 ns, at most maxTime.
func takes(bytes, rate uint64) uint64 {
	hi, lo := bits.Mul64(bytes, 8e9)
	if hi >= rate {
		return maxTime
	}
	t, _ := bits.Div64(hi, lo, rate)
	return min(max(t, 1), maxTime)
}

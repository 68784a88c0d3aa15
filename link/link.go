// Package link has link conditions as people ask for them: their units and
// fields, the profiles of well-known links, and the files that matrices,
// traces and distributions come in. It is pure: it does no I/O beyond the bytes
// it is given.
package link

import "time"

// Conditions are what is asked of one leg of a way. The zero value asks for
// nothing.
type Conditions struct {
	Delay        time.Duration
	Jitter       time.Duration
	Distribution *Distribution // of the jitter; nil: uniform
	Ordered      bool          // jitter never reorders

	Loss      float64 // probabilities are 0 … 1
	Burst     *Burst
	Corrupt   float64
	Duplicate float64
	Reorder   float64

	Rate  uint64 // bit/s of Ethernet frames without FCS; 0: unlimited
	Trace *Trace // instead of Rate
	Queue Queue
	ECN   bool
}

// Burst is the Gilbert–Elliott model of loss (E. O. Elliott, Bell System
// Technical Journal 42, 1963). Conditions.Loss is the loss of the good state.
type Burst struct {
	ToBad  float64 // probability of going from the good to the bad state, at each packet
	ToGood float64 // and back
	Loss   float64 // in the bad state
}

// Queue limits what waits for a rate. At most one field is set; with none,
// the limit is DefaultQueue.
type Queue struct {
	Time    time.Duration
	Bytes   uint64
	Packets uint32 // of 1,514 bytes
}

// Distribution is a distribution of jitter: its inverse cumulative
// distribution at program.DistributionSize points, in units of 2^-16.
type Distribution struct {
	Name   string
	Values []int32
}

// Trace is a link of changing capacity: the moments, in milliseconds, at which
// one packet may leave; it repeats after Period.
type Trace struct {
	Name   string
	Period uint32
	At     []uint32
}

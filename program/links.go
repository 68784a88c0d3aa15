package program

import "time"

// Links are the conditions of all links of a platform, as the tables that its
// pnodes enforce them by. A frame from one viface to another meets, in this
// order: what goes for everything that the sender sends (Out), what goes for
// that pair, and what goes for everything that the receiver gets (In).
//
// Equal conditions have equal tables: Canonical puts them in order.
type Links struct {
	Seed       uint64         // every random draw follows from it
	Conditions []Condition    // the different ones; others refer to one by its index + 1, and by 0 to none
	Vifaces    []LinkRange    // sorted by Network and Host, disjoint; whoever is in none has no conditions
	Classes    uint32         // classes are numbered from 1; class 0 has no conditions of pairs but those in Pairs
	Matrix     []PairWord     // Classes × Classes: what goes from class i to class j is at (i-1)*Classes + j-1
	Pairs      []Pair         // exceptions from the matrix, sorted by Network, From and To; both hosts are in a range, be it an empty one
	Tables     []Distribution // of jitter
	Traces     []Trace        // of capacity
}

// LinkRange gives Count consecutive hosts of a network, from Host on, the
// same conditions. Every viface of the platform counts, also of other pnodes.
type LinkRange struct {
	Network uint16
	Host    uint32
	Count   uint32
	Class   uint32 // 0, or 1 … Links.Classes
	Out, In uint32 // 0, or index + 1 into Links.Conditions
}

// Pair is what goes from one host of a network to another, whatever the
// matrix says of their classes.
type Pair struct {
	Network  uint16
	From, To uint32
	Word     PairWord
}

// PairWord is the conditions of a pair in one word: 0 says nothing; without
// the highest bit it is a delay in units of DelayUnit; with it, the rest is an
// index + 1 into Links.Conditions, and 0 there says "none" for good.
type PairWord uint32

// DelayUnit is what the delay of a PairWord is counted in: 137 s fit.
const DelayUnit = 64 * time.Nanosecond

// PairIndexed marks a PairWord that refers to Links.Conditions, or to none.
const PairIndexed PairWord = 1 << 31

// Share is a probability: ShareOne is certainty.
type Share uint32

// ShareOne is the Share that always happens.
const ShareOne Share = 1 << 31

// Condition is what can befall frames on one leg of their way. The zero value
// changes nothing.
type Condition struct {
	Delay        time.Duration // added to every frame
	Jitter       time.Duration // scale of the distribution: half the width of a uniform one, else what Distribution says
	Distribution uint32        // 0: uniform; else index + 1 into Links.Tables
	Ordered      bool          // jitter never lets a frame overtake one of the same viface or pair

	Loss      Share // of each packet; in the good state, if there are bursts
	ToBad     Share // Gilbert–Elliott: from the good to the bad state, at each packet; 0: no bursts
	ToGood    Share // and back
	LossBad   Share // in the bad state
	Corrupt   Share // one bit of the packet is turned over
	Duplicate Share // it comes twice
	Reorder   Share // it is not delayed, and overtakes others

	Rate       uint64        // bit/s of Ethernet frames without FCS; 0: unlimited
	Trace      uint32        // instead of Rate: index + 1 into Links.Traces
	QueueTime  time.Duration // a packet that would wait longer for its turn is dropped; 0: QueueBytes counts
	QueueBytes uint64        // or one that finds more than this waiting; both 0: nothing waits in vain
	ECN        bool          // above the limit, packets that allow it are marked; above twice the limit all are dropped
	Default    bool          // the queue's size was not asked for: it follows from rate and delay
}

// Distribution is the inverse of a cumulative distribution at DistributionSize
// evenly spread points, in units of 2^-16 of Condition.Jitter.
type Distribution struct {
	Name   string
	Values []int32
}

// DistributionSize is the number of values of a Distribution.
const DistributionSize = 4096

// Trace is a link whose capacity changes: at each moment listed, TracePacket
// bytes of frames may leave. It repeats after Period.
type Trace struct {
	Name   string
	Period uint32   // milliseconds; at least the last moment, and not 0
	At     []uint32 // milliseconds from the beginning, sorted, equal ones allowed
}

// TracePacket is what may leave at one moment of a Trace: an IP packet of
// 1,500 bytes in its frame (the mahimahi format).
const TracePacket = 1514

// Shaped says how a change of conditions went.
type Shaped struct {
	Entries  int           `json:"entries"`  // of tables that were written
	Took     time.Duration `json:"took"`     // nanoseconds, from the first write to the moment it was in force
	Lateness time.Duration `json:"lateness"` // nanoseconds between the moment asked for and the moment it was in force
}

// Calibration is what the way through a pnode costs by itself, measured
// there. All times are nanoseconds.
type Calibration struct {
	Holder   string        `json:"holder"`    // wheel or fq
	Kernel   string        `json:"kernel"`    // release of the kernel it was measured on
	Boot     string        `json:"boot"`      // of the machine, which it holds for
	RTT      time.Duration `json:"rtt"`       // median round trip between two vnodes without conditions
	Hold     time.Duration `json:"hold"`      // median delay beyond the one asked for that a held frame gets
	End      time.Duration `json:"end"`       // median time for the rest of a round trip, to the arrival at the socket
	TimerP50 time.Duration `json:"timer_p50"` // how late the machine's own timers are
	TimerP99 time.Duration `json:"timer_p99"`
	When     time.Time     `json:"when"`
}

// Base is what is subtracted of the delay of each frame that is held: its own
// cost and its share of the rest of a round trip.
func (c *Calibration) Base() time.Duration {
	if c == nil {
		return 0
	}
	return c.Hold + c.End/2
}

// LinkStats is what a pnode knows of how true its links are.
type LinkStats struct {
	Holder      string       `json:"holder"` // wheel, fq, or none where nothing is held
	Calibration *Calibration `json:"calibration,omitempty"`
	Lateness    []uint64     `json:"lateness"` // frames by how late they left the holder: see LatenessBucket
	Held        uint64       `json:"held"`     // frames in the holder now
	HeldMost    uint64       `json:"held_most"`
	Bytes       uint64       `json:"bytes"`          // of frames in the holder now
	Lost        uint64       `json:"lost_in_holder"` // frames that the holder had no room for
	Counters    []Counter    `json:"counters"`       // of the fabric
	Overloads   []Overload   `json:"overloads,omitempty"`
}

// Overload is a stretch of time in which a pnode could not keep what it
// promised.
type Overload struct {
	From   time.Time `json:"from"`
	To     time.Time `json:"to"`
	What   string    `json:"what"`   // cpu, steal, backlog, holder late, holder full
	Detail string    `json:"detail"` // the figure that says so
}

// LatenessBuckets is the number of buckets of LinkStats.Lateness. Bucket b < 4
// holds latenesses of b µs (and early frames in 0); each power of two above
// is divided into 4 buckets of equal width.
const LatenessBuckets = 96

// LatenessFrom is the least lateness that a bucket holds.
func LatenessFrom(bucket int) time.Duration {
	if bucket < 4 {
		return time.Duration(bucket) * time.Microsecond
	}
	return time.Duration((4+bucket%4)<<(bucket/4-1)) * time.Microsecond
}

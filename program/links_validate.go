package program

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Limits of links. They bound what the kernel's tables take: the matrix alone
// may be 256 MB.
const (
	MaxClasses    = 8192
	MaxConditions = 1 << 20
	MaxPairs      = 1 << 22
	MaxTables     = 1 << 10 // of jitter
	MaxTraces     = 1 << 12
	MaxMoments    = 1 << 24 // of all traces together
)

// MaxDelay is the longest Delay, Jitter and QueueTime of one condition.
const MaxDelay = 15 * time.Minute

// Validate checks all that the types cannot promise: that tables are sorted and
// of the right size, and that rows refer to rows that exist. It lists what is
// wrong, up to 20 problems.
func (l *Links) Validate() error {
	if l == nil {
		return nil
	}
	c := checker{}
	for i := range l.Conditions {
		c.condition(l, i)
	}
	c.ranges(l)
	c.matrix(l)
	c.pairs(l)
	c.jitter(l)
	return errors.Join(c.problems...)
}

func (c *checker) condition(l *Links, i int) {
	k := &l.Conditions[i]
	bad := func(what string) { c.bad("condition %d: %s", i+1, what) }
	if i == MaxConditions {
		c.bad("%d conditions, at most %d can be", len(l.Conditions), MaxConditions)
	}
	if *k == (Condition{}) {
		bad("it changes nothing")
	}
	for _, d := range []time.Duration{k.Delay, k.Jitter, k.QueueTime} {
		if d < 0 || d > MaxDelay {
			bad(fmt.Sprintf("%s is not between 0 and %s", d, MaxDelay))
		}
	}
	for _, s := range []Share{k.Loss, k.ToBad, k.ToGood, k.LossBad, k.Corrupt, k.Duplicate, k.Reorder} {
		if s > ShareOne {
			bad(fmt.Sprintf("a probability of %d parts of %d", s, ShareOne))
		}
	}
	if int64(k.Distribution) > int64(len(l.Tables)) {
		bad(fmt.Sprintf("table %d of %d", k.Distribution, len(l.Tables)))
	}
	if int64(k.Trace) > int64(len(l.Traces)) {
		bad(fmt.Sprintf("trace %d of %d", k.Trace, len(l.Traces)))
	}
	if k.Rate > 0 && k.Trace > 0 || k.QueueTime > 0 && k.QueueBytes > 0 {
		bad("two rates, or two sizes of its queue")
	}
}

func (c *checker) ranges(l *Links) {
	end := uint64(0) // network << 32 | host after the last range
	for i, r := range l.Vifaces {
		first := uint64(r.Network)<<32 | uint64(r.Host)
		switch {
		case r.Network == 0 || r.Host == 0 || r.Count == 0 || uint64(r.Host)+uint64(r.Count)-1 > MaxHost:
			c.bad("links: network %d has no %d hosts from %d on", r.Network, r.Count, r.Host)
		case first < end:
			c.bad("links: host %d of network %d is not in order", r.Host, r.Network)
		case r.Class > l.Classes || !l.has(r.Out) || !l.has(r.In):
			c.bad("links: range %d refers to class %d of %d and conditions %d and %d of %d", i, r.Class, l.Classes, r.Out, r.In, len(l.Conditions))
		}
		end = first + uint64(r.Count)
	}
}

// has says whether a reference to a condition, or to none, can be.
func (l *Links) has(ref uint32) bool { return int64(ref) <= int64(len(l.Conditions)) }

func (c *checker) matrix(l *Links) {
	if l.Classes > MaxClasses || uint64(l.Classes)*uint64(l.Classes) != uint64(len(l.Matrix)) {
		c.bad("links: a matrix of %d words for %d classes, of which %d can be", len(l.Matrix), l.Classes, MaxClasses)
		return
	}
	for i, w := range l.Matrix {
		if w&PairIndexed != 0 && !l.has(uint32(w&^PairIndexed)) {
			c.bad("links: from class %d to %d, condition %d of %d", i/int(l.Classes)+1, i%int(l.Classes)+1, w&^PairIndexed, len(l.Conditions))
		}
	}
}

func (c *checker) pairs(l *Links) {
	if len(l.Pairs) > MaxPairs {
		c.bad("links: %d pairs, at most %d can be", len(l.Pairs), MaxPairs)
		return
	}
	from := finder{links: l}
	to := finder{links: l}
	for i, p := range l.Pairs {
		switch {
		case i > 0 && ComparePairs(l.Pairs[i-1], p) >= 0:
			c.bad("links: the pair of hosts %d and %d in network %d is not in order", p.From, p.To, p.Network)
		case p.From == p.To || from.find(p.Network, p.From) == nil || to.find(p.Network, p.To) == nil:
			c.bad("links: hosts %d and %d of network %d are no pair, or in no range", p.From, p.To, p.Network)
		case p.Word&PairIndexed != 0 && !l.has(uint32(p.Word&^PairIndexed)):
			c.bad("links: hosts %d and %d of network %d have condition %d of %d", p.From, p.To, p.Network, p.Word&^PairIndexed, len(l.Conditions))
		}
	}
}

func (c *checker) jitter(l *Links) {
	if len(l.Tables) > MaxTables || len(l.Traces) > MaxTraces {
		c.bad("links: %d tables and %d traces, at most %d and %d can be", len(l.Tables), len(l.Traces), MaxTables, MaxTraces)
		return
	}
	for _, t := range l.Tables {
		if len(t.Values) != DistributionSize || len(t.Name) > 255 {
			c.bad("links: table %.30q has %d values, want %d", t.Name, len(t.Values), DistributionSize)
		}
	}
	moments := 0
	for _, t := range l.Traces {
		moments += len(t.At)
		if len(t.At) == 0 || !slices.IsSorted(t.At) || t.Period == 0 || t.Period < t.At[len(t.At)-1] || len(t.Name) > 255 {
			c.bad("links: trace %.30q of %d moments in %d ms: they are sorted, and its period is at least the last", t.Name, len(t.At), t.Period)
		}
	}
	if moments > MaxMoments {
		c.bad("links: traces of %d moments, at most %d can be", moments, MaxMoments)
	}
}

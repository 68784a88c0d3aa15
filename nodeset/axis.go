package nodeset

import (
	"cmp"
	"math"
	"math/bits"
	"slices"
)

// axis is a set of index vectors, kept as ranges of the first index with, for
// each range, the set of what may follow. It is never changed once made, and
// ranges may share what follows them: a product of dimensions takes as much
// room as its dimensions one after the other.
//
// Spans are sorted and disjoint, and two that touch have different subs, so
// equal sets have equal axes. The empty set is the nil axis.
type axis struct {
	spans []span
	subs  []*axis // what follows each span; nil in the last dimension
	count int     // vectors; math.MaxInt stands for anything larger
}

// span is the ranks lo to hi, both included.
type span struct{ lo, hi rank }

func (s span) len() int { return int(s.hi - s.lo + 1) }

func newAxis(spans []span, subs []*axis) *axis {
	if len(spans) == 0 {
		return nil
	}
	a := &axis{spans: spans, subs: subs}
	for i, s := range spans {
		n := s.len()
		if subs != nil {
			n = times(n, subs[i].count)
		}
		a.count = plus(a.count, n)
	}
	return a
}

// newProduct is every vector with one rank out of each list of spans.
func newProduct(dims [][]span) *axis {
	last := len(dims) - 1
	a := newAxis(dims[last], nil)
	for _, spans := range slices.Backward(dims[:last]) {
		a = newAxis(spans, slices.Repeat([]*axis{a}, len(spans)))
	}
	return a
}

// last says whether the axis is of the last dimension.
func (a *axis) last() bool { return a.subs == nil }

// sub is what follows the span at place i, nil in the last dimension.
func (a *axis) sub(i int) *axis {
	if a.subs == nil {
		return nil
	}
	return a.subs[i]
}

// dims is the number of indexes of each vector.
func (a *axis) dims() (n int) {
	for ; a != nil; a = a.sub(0) {
		n++
	}
	return n
}

// contains says whether the vector v is in the set.
func (a *axis) contains(v []rank) bool {
	for _, r := range v {
		i, _ := slices.BinarySearchFunc(a.spans, r, func(s span, r rank) int {
			return cmp.Compare(s.hi, r)
		})
		if i == len(a.spans) || a.spans[i].lo > r {
			return false
		}
		a = a.sub(i)
	}
	return true
}

// stretch is indexes of one width: their values, lo to hi.
type stretch struct {
	width  int
	lo, hi uint64
}

// stretches yields the first indexes in ascending order of rank.
func (a *axis) stretches(yield func(stretch) bool) {
	for _, s := range a.spans {
		for lo := s.lo; lo <= s.hi; {
			w, v := lo.split()
			end := min(s.hi, rankOf(w, pow10[w]-1))
			if !yield(stretch{w, v, v + uint64(end-lo)}) {
				return
			}
			lo = end + 1
		}
	}
}

// tidy sorts spans of a last dimension and joins those that touch or overlap.
// It reuses the space of its argument.
func tidy(spans []span) []span {
	slices.SortFunc(spans, func(x, y span) int { return cmp.Compare(x.lo, y.lo) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && s.lo <= out[n-1].hi+1 {
			out[n-1].hi = max(out[n-1].hi, s.hi)
			continue
		}
		out = append(out, s)
	}
	return out
}

// times and plus stay at math.MaxInt instead of overflowing.
func times(a, b int) int {
	if hi, lo := bits.Mul64(uint64(a), uint64(b)); hi == 0 && lo <= math.MaxInt {
		return int(lo)
	}
	return math.MaxInt
}

func plus(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}

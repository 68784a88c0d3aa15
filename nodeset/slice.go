package nodeset

import (
	"math/rand/v2"
	"slices"
)

// At is the name at place i in the order of All, which must be from 0 to
// Len()-1.
func (s *Set) At(i int) string {
	for name := range s.Slice(i, i+1).All() {
		return name
	}
	panic("nodeset: index out of range")
}

// Slice is the names at places from to to-1 in the order of All, as far as
// there are any. In nodeset's command line it is -I.
func (s *Set) Slice(from, to int) *Set {
	b := newBuilder(newCalc())
	from, to = max(from, 0), min(to, s.Len())
	for _, p := range s.all() {
		if to <= 0 {
			break
		}
		if n := p.len(); from < n {
			b.cut(p, max(from, 0), min(to, n))
		}
		from, to = from-p.len(), to-p.len()
	}
	return b.finish()
}

// cut adds the names at places from to to-1 of p.
func (b *builder) cut(p part, from, to int) {
	for _, bx := range p.fold() {
		n := bx.count()
		if from < n && to > 0 {
			bx.cut(max(from, 0), min(to, n), nil, func(dims [][]span) {
				b.product([]byte(p.shape), dims)
			})
		}
		from, to = from-n, to-n
	}
}

func (b box) count() int {
	n := 1
	for _, a := range b {
		n = times(n, a.count)
	}
	return n
}

// cut calls product with boxes that together hold the vectors at places from
// to to-1, after the dimensions that are already fixed.
func (b box) cut(from, to int, fixed [][]span, product func([][]span)) {
	if from >= to {
		return
	}
	if from == 0 && to == b.count() {
		dims := slices.Clone(fixed)
		for _, a := range b {
			dims = append(dims, a.spans)
		}
		product(dims)
		return
	}
	inner := b[1:].count()
	first, last := from/inner, (to-1)/inner
	at := func(i, n int) [][]span {
		return append(slices.Clip(fixed), b[0].slice(i, i+n))
	}
	if first == last {
		b[1:].cut(from-first*inner, to-first*inner, at(first, 1), product)
		return
	}
	b[1:].cut(from-first*inner, inner, at(first, 1), product)
	if last > first+1 {
		b[1:].cut(0, inner, at(first+1, last-first-1), product)
	}
	b[1:].cut(0, to-last*inner, at(last, 1), product)
}

// slice is the spans of the indexes at places from to to-1.
func (a *axis) slice(from, to int) (out []span) {
	for _, s := range a.spans {
		if to <= 0 {
			break
		}
		n := s.len()
		if from < n {
			out = append(out, span{lo: s.lo + rank(max(from, 0)), hi: s.lo + rank(min(to, n)) - 1})
		}
		from, to = from-n, to-n
	}
	return out
}

// Split cuts s into n sets, or one for each name if there are fewer, of which
// the first ones have one name more if they cannot be even; n must be positive.
func (s *Set) Split(n int) []*Set {
	total := s.Len()
	n = min(n, total)
	sets := make([]*Set, n)
	for i, from := 0, 0; i < n; i++ {
		size := total / n
		if i < total%n {
			size++
		}
		sets[i] = s.Slice(from, from+size)
		from += size
	}
	return sets
}

// Pick is n names of s drawn by rng, or s itself if it has no more.
func (s *Set) Pick(n int, rng *rand.Rand) *Set {
	total := s.Len()
	if n >= total {
		return s
	}
	drawn := make(map[int]bool, max(n, 0))
	for top := total - n; top < total; top++ { // Floyd's algorithm
		i := rng.IntN(top + 1)
		if drawn[i] {
			i = top
		}
		drawn[i] = true
	}
	b := newBuilder(newCalc())
	for i := range drawn {
		b.set(s.Slice(i, i+1))
	}
	return b.finish()
}

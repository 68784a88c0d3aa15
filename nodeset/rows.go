package nodeset

import "slices"

// element is one index and what follows it.
type element struct {
	index rank
	sub   *axis
}

// rowReader goes through the rows of an axis in the order of their text.
type rowReader struct {
	elements map[*axis][]element
	tails    map[*axis]*side
	singles  map[rank]*side
}

// firstPass is the result of joining neighbours for the first time, when all
// boxes are single names in the order of their text.
//
// The names of a row come one after the other, so they are joined. A row of
// one name is joined to the first name of the next row instead, if the two
// differ in one dimension, and so on for as long as rows have one name; of a
// longer row, only the others are left then.
func (a *axis) firstPass() (out folds, joined bool) {
	r := &rowReader{make(map[*axis][]element), make(map[*axis]*side), make(map[rank]*side)}
	var open *folding // of one name in its last dimension, may be joined to the next
	flush := func() {
		if open != nil {
			out = append(out, *open)
			open = nil
		}
	}
	r.each(a, nil, func(sides []*side, last *axis) {
		tail := r.tail(last)
		if open != nil {
			first := r.single(textFirst(last))
			next := newFolding(append(slices.Clone(sides), first))
			if dim, one := open.differs(next); one {
				open.join(next, dim)
				joined = true
				if tail = tail.without(first.min); tail == nil {
					return
				}
			}
			flush()
		}
		f := newFolding(append(slices.Clone(sides), tail))
		if tail.count == 1 {
			open = &f
			return
		}
		joined = true
		out = append(out, f)
	})
	flush()
	return out, joined
}

// each calls row for every row of a: its indexes but the last, as sides, and
// the axis of the last.
func (r *rowReader) each(a *axis, sides []*side, row func([]*side, *axis)) {
	if a.last() {
		row(sides, a)
		return
	}
	for _, e := range r.sorted(a) {
		r.each(e.sub, append(sides, r.single(e.index)), row)
	}
}

// sorted is the first indexes of a in the order of their text.
func (r *rowReader) sorted(a *axis) []element {
	es, ok := r.elements[a]
	if ok {
		return es
	}
	for place, s := range a.spans {
		for i := s.lo; i <= s.hi; i++ {
			es = append(es, element{i, a.subs[place]})
		}
	}
	slices.SortFunc(es, func(x, y element) int { return compareText(x.index, y.index) })
	r.elements[a] = es
	return es
}

func (r *rowReader) single(i rank) *side {
	s := r.singles[i]
	if s == nil {
		s = newSide([]span{{lo: i, hi: i}})
		r.singles[i] = s
	}
	return s
}

func (r *rowReader) tail(a *axis) *side {
	s := r.tails[a]
	if s == nil {
		s = newSide(a.spans)
		if s.count == 1 {
			s = r.single(s.min)
		}
		r.tails[a] = s
	}
	return s
}

// textFirst is the index that is first as text.
func textFirst(a *axis) rank {
	first, found := rank(0), false
	for s := range a.stretches {
		if r := rankOf(s.width, s.lo); !found || compareText(r, first) < 0 {
			first, found = r, true
		}
	}
	return first
}

// without is s without one index that it has, nil if it has no other.
func (s *side) without(i rank) *side {
	var spans []span
	for _, sp := range s.spans {
		if i < sp.lo || i > sp.hi {
			spans = append(spans, sp)
			continue
		}
		if sp.lo < i {
			spans = append(spans, span{sp.lo, i - 1})
		}
		if i < sp.hi {
			spans = append(spans, span{i + 1, sp.hi})
		}
	}
	if spans == nil {
		return nil
	}
	return newSide(spans)
}

// distinct is boxes to start from when there are too many rows: at each
// dimension, one for the indexes that are followed by the same.
func (a *axis) distinct() (out folds) {
	known, h := make(map[*axis][]group), make(hasher)
	tails := &rowReader{tails: make(map[*axis]*side), singles: make(map[rank]*side)}
	var walk func(a *axis, sides []*side)
	walk = func(a *axis, sides []*side) {
		if a.last() {
			out = append(out, newFolding(append(slices.Clone(sides), tails.tail(a))))
			return
		}
		if known[a] == nil {
			known[a] = a.groups(h)
		}
		for _, g := range known[a] {
			walk(g.sub, append(sides, g.side))
		}
	}
	walk(a, nil)
	return out
}

// group is first indexes that are followed by the same.
type group struct {
	side *side
	sub  *axis
}

func (a *axis) groups(h hasher) (out []group) {
	c := newCalc()
	like := make(map[uint64][]int) // by hash of what follows
next:
	for place, s := range a.spans {
		sub := a.subs[place]
		one := newSide([]span{{lo: s.lo, hi: s.hi}})
		key := h.hash(sub)
		for _, i := range like[key] {
			if c.same(out[i].sub, sub) {
				out[i].side = out[i].side.plus(one)
				continue next
			}
		}
		like[key] = append(like[key], len(out))
		out = append(out, group{one, sub})
	}
	for _, g := range out {
		g.side.order()
		g.side.shared = true
	}
	return out
}

// blocks counts the boxes of distinct.
func (a *axis) blocks() int {
	known, h := make(map[*axis]int), make(hasher)
	var count func(a *axis) int
	count = func(a *axis) (n int) {
		if a.last() {
			return 1
		}
		if n, ok := known[a]; ok {
			return n
		}
		for _, g := range a.groups(h) {
			n = plus(n, count(g.sub))
		}
		known[a] = n
		return n
	}
	return count(a)
}

// hasher hashes axes, each once. Equal ones have equal hashes.
type hasher map[*axis]uint64

func (h hasher) hash(a *axis) (sum uint64) {
	if a == nil {
		return 0
	}
	if sum, ok := h[a]; ok {
		return sum
	}
	for i, s := range a.spans {
		sum = scramble(sum ^ scramble(uint64(s.lo)) ^ scramble(uint64(s.hi)<<1) ^ h.hash(a.sub(i)))
	}
	h[a] = sum
	return sum
}

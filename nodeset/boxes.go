package nodeset

import (
	"cmp"
	"slices"
	"sync"
)

// maxRows is up to how many rows a set of several dimensions is folded exactly
// as ClusterShell does it; a row is the names that differ in their last index
// only.
const maxRows = 1 << 18

// box is a product: one range list for each dimension, kept as an axis of one
// dimension. Its vectors are ordered with the last index running fastest.
type box []*axis

// boxes is the disjoint boxes into which an axis folds, in the order in which
// they are written.
type boxes struct {
	once sync.Once
	list []box
}

// fold is the boxes of a part. A name without index is one box of no
// dimension.
func (p part) fold() []box {
	switch {
	case p.axis == nil:
		return []box{{}}
	case p.boxes == nil:
		return []box{{p.axis}}
	}
	p.boxes.once.Do(func() { p.boxes.list = p.axis.fold() })
	return p.boxes.list
}

// fold gives the boxes that ClusterShell arrives at. It starts from single
// names in the order of their text, joins neighbours that differ in one
// dimension only, sorts, joins again until nothing changes, and then tries all
// pairs in the same manner. The result depends on this course, so it is
// followed; but it is entered where the names of each row have been joined,
// which needs no names, and pairs are found by hashing.
func (a *axis) fold() []box {
	if b := a.product(); b != nil {
		return []box{b}
	}
	var fs folds
	joined := true
	if a.rows() <= maxRows {
		fs, joined = a.firstPass()
	} else {
		fs = a.distinct()
	}
	for joined {
		fs.sort()
		fs, joined = fs.joinNeighbours()
	}
	for joined = true; joined; {
		fs.sort()
		fs, joined = fs.joinAny()
	}
	list := make([]box, len(fs))
	for i, f := range fs {
		list[i] = f.box()
	}
	return list
}

// product is the box that a is, or nil if it takes several.
func (a *axis) product() (b box) {
	c := newCalc()
	for ; a != nil; a = a.sub(0) {
		for _, sub := range a.subs {
			if !c.same(sub, a.subs[0]) {
				return nil
			}
		}
		b = append(b, newAxis(a.spans, nil))
	}
	return b
}

// rows counts the vectors without their last index.
func (a *axis) rows() int {
	known := make(map[*axis]int)
	var count func(a *axis) int
	count = func(a *axis) (n int) {
		if a.last() {
			return 1
		}
		if n, ok := known[a]; ok {
			return n
		}
		for i, s := range a.spans {
			n = plus(n, times(s.len(), count(a.subs[i])))
		}
		known[a] = n
		return n
	}
	return count(a)
}

// side is one dimension of a box that grows. Its spans are gathered as they
// come and put in order when somebody looks; until then count and sum, which
// is the sum of a hash over its members, stand for it.
type side struct {
	count    int
	sum      uint64
	min, max rank
	spans    []span
	tidy     bool
	shared   bool // by several boxes, so never changed
}

// newSide is the side with the given spans, in order, shared.
func newSide(spans []span) *side {
	s := &side{min: spans[0].lo, max: spans[len(spans)-1].hi, spans: spans, tidy: true, shared: true}
	for _, sp := range spans {
		s.count += sp.len()
		s.sum += scramble(uint64(sp.hi)+1) - scramble(uint64(sp.lo))
	}
	return s
}

// scramble is a hash of x (the finalizer of SplitMix64). Differences of it at
// the two ends of ranges add up to the same whatever ranges make up a side.
func scramble(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// plus is s and t together, which have nothing in common. It may reuse s.
func (s *side) plus(t *side) *side {
	if s.shared {
		s = &side{count: s.count, sum: s.sum, min: s.min, max: s.max, spans: slices.Clone(s.spans)}
	}
	s.count += t.count
	s.sum += t.sum
	s.min, s.max = min(s.min, t.min), max(s.max, t.max)
	s.spans = append(s.spans, t.spans...)
	s.tidy = false
	return s
}

func (s *side) order() []span {
	if !s.tidy {
		s.spans, s.tidy = tidy(s.spans), true
	}
	return s.spans
}

func (s *side) equal(t *side) bool {
	if s == t {
		return true
	}
	return s.count == t.count && s.sum == t.sum && slices.Equal(s.order(), t.order())
}

// folding is a box on its way.
type folding struct {
	sides []*side
	count int
}

type folds []folding

func newFolding(sides []*side) folding {
	f := folding{sides: sides, count: 1}
	for _, s := range sides {
		f.count = times(f.count, s.count)
	}
	return f
}

func (f folding) box() box {
	b := make(box, len(f.sides))
	for i, s := range f.sides {
		b[i] = newAxis(s.order(), nil)
	}
	return b
}

// differs is the one dimension in which two disjoint boxes differ.
func (f folding) differs(g folding) (dim int, one bool) {
	for i := range f.sides {
		if f.sides[i].equal(g.sides[i]) {
			continue
		}
		if one {
			return 0, false
		}
		dim, one = i, true
	}
	return dim, one
}

// join makes f the union of f and g, which differ in dim only.
func (f *folding) join(g folding, dim int) {
	f.sides[dim] = f.sides[dim].plus(g.sides[dim])
	f.count = plus(f.count, g.count)
}

// sort puts large boxes first, and those of one size in the order of their
// sides: longer first, then by the text of the first and the last index.
func (fs folds) sort() {
	slices.SortStableFunc(fs, func(f, g folding) int {
		if c := cmp.Compare(g.count, f.count); c != 0 {
			return c
		}
		for i, s := range f.sides {
			t := g.sides[i]
			c := cmp.Or(cmp.Compare(t.count, s.count), compareText(s.min, t.min), compareText(s.max, t.max))
			if c != 0 {
				return c
			}
		}
		return 0
	})
}

// joinNeighbours joins each box with those that come right after it, for as
// long as that can be done. It reuses the space of fs.
func (fs folds) joinNeighbours() (out folds, joined bool) {
	out = fs[:0]
	for i := 0; i < len(fs); {
		f := fs[i]
		for i++; i < len(fs); i++ {
			dim, one := f.differs(fs[i])
			if !one {
				break
			}
			f.join(fs[i], dim)
			joined = true
		}
		out = append(out, f)
	}
	return out, joined
}

// joinAny joins each box with the next one after it that differs in one
// dimension, looks on from there, and so on to the end.
func (fs folds) joinAny() (out folds, joined bool) {
	x := newIndex(fs)
	out = fs[:0]
	for i, f := range fs {
		if x.gone[i] {
			continue
		}
		for at := i; ; {
			j, dim := x.next(f, i, at)
			if j < 0 {
				break
			}
			f.join(fs[j], dim)
			x.gone[j] = true
			joined = true
			at = j
		}
		out = append(out, f)
	}
	return out, joined
}

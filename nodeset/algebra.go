package nodeset

import (
	"math"
	"slices"
)

// operation says what of two sets stays, as a mask of the three regions into
// which they part each other.
type operation uint8

const (
	leftOnly operation = 1 << iota
	inBoth
	rightOnly

	union               = leftOnly | inBoth | rightOnly
	difference          = leftOnly
	intersection        = inBoth
	symmetricDifference = leftOnly | rightOnly
)

// calc does the work of one or more operations. It remembers the pairs of
// axes that it has met, because subs are shared, and it counts the spans that
// it makes against a budget, because an expression may come from anyone.
type calc struct {
	budget int // spans that may still be made; negative when it is exceeded
	done   map[work]*axis
	equal  map[[2]*axis]bool
}

// forget makes room when an operation is over.
func (c *calc) forget() { c.done, c.equal = nil, nil }

type work struct {
	a, b *axis
	op   operation
}

func newCalc() *calc { return &calc{budget: math.MaxInt} }

// spend takes n spans out of the budget and says whether it held them.
func (c *calc) spend(n int) bool {
	if n > c.budget {
		c.budget = -1
		return false
	}
	c.budget -= n
	return true
}

func (c *calc) exceeded() bool { return c.budget < 0 }

// combine applies op to two axes of as many dimensions. Once the budget is
// exceeded its result means nothing.
func (c *calc) combine(a, b *axis, op operation) *axis {
	switch {
	case c.exceeded():
		return nil
	case a == b:
		return pick(a, op&inBoth != 0)
	case a == nil:
		return pick(b, op&rightOnly != 0)
	case b == nil:
		return pick(a, op&leftOnly != 0)
	case a.spans[0].sub == nil:
		return c.sweep(a, b, op)
	}
	key := work{a, b, op}
	if r, ok := c.done[key]; ok {
		return r
	}
	if c.done == nil {
		c.done = make(map[work]*axis)
	}
	r := c.sweep(a, b, op)
	c.done[key] = r
	return r
}

func pick(a *axis, keep bool) *axis {
	if keep {
		return a
	}
	return nil
}

// sweep goes through both lists of spans once, from low to high, cutting them
// where the other one begins or ends.
func (c *calc) sweep(a, b *axis, op operation) *axis {
	left, right := cursor{rest: a.spans}, cursor{rest: b.spans}
	left.next()
	right.next()
	var out []span
	for (left.ok || right.ok) && !c.exceeded() {
		l, r := &left.span, &right.span
		switch {
		case !right.ok || left.ok && l.hi < r.lo:
			out = c.keep(out, *l, op&leftOnly != 0)
			left.next()
		case !left.ok || r.hi < l.lo:
			out = c.keep(out, *r, op&rightOnly != 0)
			right.next()
		case l.lo < r.lo:
			out = c.keep(out, span{l.lo, r.lo - 1, l.sub}, op&leftOnly != 0)
			l.lo = r.lo
		case r.lo < l.lo:
			out = c.keep(out, span{r.lo, l.lo - 1, r.sub}, op&rightOnly != 0)
			r.lo = l.lo
		default:
			s := span{l.lo, min(l.hi, r.hi), nil}
			keep := op&inBoth != 0
			if l.sub != nil {
				s.sub = c.combine(l.sub, r.sub, op)
				keep = s.sub != nil
			}
			out = c.keep(out, s, keep)
			left.skip(s.hi)
			right.skip(s.hi)
		}
	}
	return newAxis(out)
}

// cursor is a list of spans of which the first is being consumed.
type cursor struct {
	span
	ok   bool
	rest []span
}

func (c *cursor) next() {
	if c.ok = len(c.rest) > 0; c.ok {
		c.span, c.rest = c.rest[0], c.rest[1:]
	}
}

// skip drops the ranks up to hi.
func (c *cursor) skip(hi rank) {
	if c.hi > hi {
		c.lo = hi + 1
		return
	}
	c.next()
}

// keep appends s, joined to the last span where they touch and are followed
// by the same.
func (c *calc) keep(out []span, s span, keep bool) []span {
	if !keep {
		return out
	}
	if n := len(out); n > 0 && out[n-1].hi+1 == s.lo && c.same(out[n-1].sub, s.sub) {
		out[n-1].hi = s.hi
		return out
	}
	c.spend(1)
	return append(out, s)
}

// same says whether two axes are the same set.
func (c *calc) same(a, b *axis) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.count != b.count || len(a.spans) != len(b.spans) {
		return false
	}
	leaf := a.spans[0].sub == nil
	if !leaf {
		if r, ok := c.equal[[2]*axis{a, b}]; ok {
			return r
		}
		if c.equal == nil {
			c.equal = make(map[[2]*axis]bool)
		}
	}
	n := 0
	r := slices.EqualFunc(a.spans, b.spans, func(x, y span) bool {
		n++
		return x.lo == y.lo && x.hi == y.hi && c.same(x.sub, y.sub)
	})
	c.spend(n)
	if !leaf {
		c.equal[[2]*axis{a, b}] = r
	}
	return r
}

// unite is the union of many axes, in a time that stays near linear in their
// spans however many they are.
func (c *calc) unite(axes []*axis) *axis {
	switch {
	case len(axes) == 0:
		return nil
	case len(axes) == 1:
		return axes[0]
	case axes[0].spans[0].sub != nil:
		mid := len(axes) / 2
		return c.combine(c.unite(axes[:mid]), c.unite(axes[mid:]), union)
	}
	n := 0
	for _, a := range axes {
		n += len(a.spans)
	}
	if !c.spend(n) {
		return nil
	}
	spans := make([]span, 0, n)
	for _, a := range axes {
		spans = append(spans, a.spans...)
	}
	return newAxis(tidy(spans))
}

// merge applies op to two sets, shape by shape.
func (c *calc) merge(a, b *Set, op operation) *Set {
	defer c.forget()
	left, right := a.all(), b.all()
	var out []part
	for len(left) > 0 || len(right) > 0 {
		switch {
		case len(right) == 0 || len(left) > 0 && left[0].shape < right[0].shape:
			if op&leftOnly != 0 {
				out = append(out, left[0])
			}
			left = left[1:]
		case len(left) == 0 || right[0].shape < left[0].shape:
			if op&rightOnly != 0 {
				out = append(out, right[0])
			}
			right = right[1:]
		default:
			l, r := left[0], right[0]
			if l.axis == nil {
				if op&inBoth != 0 {
					out = append(out, l)
				}
			} else if x := c.combine(l.axis, r.axis, op); x == l.axis {
				out = append(out, l)
			} else if x != nil {
				out = append(out, newPart(l.shape, x))
			}
			left, right = left[1:], right[1:]
		}
	}
	c.spend(len(out))
	return &Set{out}
}

// Union is the set of the names that are in a or in b.
func Union(a, b *Set) *Set { return newCalc().merge(a, b, union) }

// Difference is the set of the names that are in a and not in b.
func Difference(a, b *Set) *Set { return newCalc().merge(a, b, difference) }

// Intersection is the set of the names that are in both a and b.
func Intersection(a, b *Set) *Set { return newCalc().merge(a, b, intersection) }

// SymmetricDifference is the set of the names that are in a or in b but not in
// both.
func SymmetricDifference(a, b *Set) *Set { return newCalc().merge(a, b, symmetricDifference) }

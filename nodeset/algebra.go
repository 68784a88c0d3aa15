package nodeset

import (
	"math"
	"slices"
)

// operation says what of two sets stays: bit r is set if region r does. Bit 0
// of a region says whether it is in the left set, bit 1 in the right one.
type operation uint8

const (
	leftOnly  operation = 1 << 0b01
	rightOnly operation = 1 << 0b10
	inBoth    operation = 1 << 0b11

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
	case a.last():
		out := sweep(a.spans, b.spans, op)
		c.spend(len(out))
		return newAxis(out, nil)
	}
	key := work{a, b, op}
	if r, ok := c.done[key]; ok {
		return r
	}
	if c.done == nil {
		c.done = make(map[work]*axis)
	}
	r := c.sweepNested(a, b, op)
	c.done[key] = r
	return r
}

func pick(a *axis, keep bool) *axis {
	if keep {
		return a
	}
	return nil
}

// same says whether two axes are the same set.
func (c *calc) same(a, b *axis) bool {
	if a == b {
		return true
	}
	if a == nil || b == nil || a.count != b.count || len(a.spans) != len(b.spans) {
		return false
	}
	if a.last() {
		return slices.Equal(a.spans, b.spans)
	}
	pair := [2]*axis{a, b}
	if r, ok := c.equal[pair]; ok {
		return r
	}
	if c.equal == nil {
		c.equal = make(map[[2]*axis]bool)
	}
	c.spend(len(a.spans))
	r := slices.Equal(a.spans, b.spans) && slices.EqualFunc(a.subs, b.subs, c.same)
	c.equal[pair] = r
	return r
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

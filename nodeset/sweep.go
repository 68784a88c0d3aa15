package nodeset

import (
	"math"
	"slices"
)

// sweep applies op to two tidy lists of spans in one pass over their edges. An
// edge is where a span begins, or the rank after it ends; so an odd number of
// edges of a list lies behind where that list has a span.
func sweep(a, b []span, op operation) []span {
	out := make([]span, 0, len(a)+len(b))
	kept := false
	for i, j := 0, 0; i < 2*len(a) || j < 2*len(b); {
		x, y := edge(a, i), edge(b, j)
		at := min(x, y)
		if x == at {
			i++
		}
		if y == at {
			j++
		}
		keep := op>>(i&1|j&1<<1)&1 != 0
		switch {
		case keep && !kept:
			out = append(out, span{lo: at})
		case kept && !keep:
			out[len(out)-1].hi = at - 1
		}
		kept = keep
	}
	if len(out) < cap(out)/2 {
		out = slices.Clone(out)
	}
	return out
}

func edge(spans []span, i int) rank {
	switch {
	case i == 2*len(spans):
		return math.MaxUint64
	case i%2 == 0:
		return spans[i/2].lo
	}
	return spans[i/2].hi + 1
}

// sweepNested does the same to two axes that are not of the last dimension.
// What follows a range that is in both is combined in turn.
func (c *calc) sweepNested(a, b *axis, op operation) *axis {
	left, right := cursor{axis: a, at: -1}, cursor{axis: b, at: -1}
	left.next()
	right.next()
	var out layer
	for (left.ok || right.ok) && !c.exceeded() {
		l, r := &left, &right
		switch {
		case !r.ok || l.ok && l.hi < r.lo:
			c.keep(&out, l.span, pick(l.sub, op&leftOnly != 0))
			l.next()
		case !l.ok || r.hi < l.lo:
			c.keep(&out, r.span, pick(r.sub, op&rightOnly != 0))
			r.next()
		case l.lo < r.lo:
			c.keep(&out, span{l.lo, r.lo - 1}, pick(l.sub, op&leftOnly != 0))
			l.lo = r.lo
		case r.lo < l.lo:
			c.keep(&out, span{r.lo, l.lo - 1}, pick(r.sub, op&rightOnly != 0))
			r.lo = l.lo
		default:
			s := span{l.lo, min(l.hi, r.hi)}
			c.keep(&out, s, c.combine(l.sub, r.sub, op))
			l.skip(s.hi)
			r.skip(s.hi)
		}
	}
	return newAxis(out.spans, out.subs)
}

// cursor is the part of a span that is still ahead, with what follows it.
type cursor struct {
	span
	sub  *axis
	ok   bool
	axis *axis
	at   int
}

func (c *cursor) next() {
	c.at++
	if c.ok = c.at < len(c.axis.spans); c.ok {
		c.span, c.sub = c.axis.spans[c.at], c.axis.subs[c.at]
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

// layer is the spans and subs of an axis that is being made, in order.
type layer struct {
	spans []span
	subs  []*axis
}

// keep adds s followed by sub, joined to the last span where they touch and
// are followed by the same. If sub is nil, nothing follows s and it is dropped.
func (c *calc) keep(l *layer, s span, sub *axis) {
	if sub == nil {
		return
	}
	if n := len(l.spans); n > 0 && l.spans[n-1].hi+1 == s.lo && c.same(l.subs[n-1], sub) {
		l.spans[n-1].hi = s.hi
		return
	}
	c.spend(1)
	l.spans, l.subs = append(l.spans, s), append(l.subs, sub)
}

// unite is the union of many axes, in a time that stays near linear in their
// spans however many they are.
func (c *calc) unite(axes []*axis) *axis {
	switch {
	case len(axes) == 0:
		return nil
	case len(axes) == 1:
		return axes[0]
	case !axes[0].last():
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
	return newAxis(tidy(spans), nil)
}

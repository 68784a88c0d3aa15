package nodeset

import (
	"iter"
	"slices"
	"strings"
)

// Set is a set of node names. It is never changed once made, so it may be
// shared freely. The zero value and nil are empty.
type Set struct {
	parts []part // by ascending shape, each with at least one name
}

// part is the names of one shape.
type part struct {
	shape string
	axis  *axis  // nil for a name without index
	boxes *boxes // of two and more dimensions: how it is folded, computed when needed
}

func newPart(shape string, a *axis) part {
	p := part{shape: shape, axis: a}
	if a != nil && !a.last() {
		p.boxes = new(boxes)
	}
	return p
}

// Of is the set of the given names; empty ones are skipped. They are taken as
// they are: brackets and operators mean nothing here, and a set with such names
// cannot be written as an expression.
func Of(names ...string) *Set {
	b := newBuilder(newCalc())
	for _, name := range names {
		if name != "" {
			b.name(name)
		}
	}
	return b.finish()
}

func (s *Set) all() []part {
	if s == nil {
		return nil
	}
	return s.parts
}

// Len is the number of names. It is computed from ranges, and stays at
// math.MaxInt for what is larger.
func (s *Set) Len() (n int) {
	for _, p := range s.all() {
		n = plus(n, p.len())
	}
	return n
}

func (p part) len() int {
	if p.axis == nil {
		return 1
	}
	return p.axis.count
}

// String is the set folded into as few patterns as ClusterShell's nodeset -f
// makes of it: "r[1-2]n[01-04],spare7". The same names give the same text.
func (s *Set) String() string {
	var buf []byte
	for _, p := range s.all() {
		texts := literals(p.shape)
		for _, box := range p.fold() {
			if len(buf) > 0 {
				buf = append(buf, ',')
			}
			buf = append(buf, texts[0]...)
			for i, a := range box {
				buf = a.appendFolded(buf)
				buf = append(buf, texts[i+1]...)
			}
		}
	}
	return string(buf)
}

// All yields the names in ClusterShell's order, that of nodeset -e: part by
// part as String writes them, and in each with the last index running fastest.
func (s *Set) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, p := range s.all() {
			w := writer{texts: literals(p.shape), yield: yield}
			for _, box := range p.fold() {
				if !w.box(nil, box) {
					return
				}
			}
		}
	}
}

// Min is the first of All, "" if the set is empty.
func (s *Set) Min() string {
	for name := range s.All() {
		return name
	}
	return ""
}

// Contains says whether name is in the set.
func (s *Set) Contains(name string) bool {
	var sc scanner
	sc.text(name)
	i, ok := slices.BinarySearchFunc(s.all(), string(sc.shape), func(p part, shape string) int {
		return strings.Compare(p.shape, shape)
	})
	return ok && s.parts[i].axis.contains(sc.ranks)
}

// Equal says whether both sets have the same names.
func (s *Set) Equal(t *Set) bool {
	c := newCalc()
	return slices.EqualFunc(s.all(), t.all(), func(p, q part) bool {
		return p.shape == q.shape && c.same(p.axis, q.axis)
	})
}

// each calls do with every name, in any order; do may not keep its argument.
func (p part) each(do func(name []byte)) {
	texts := literals(p.shape)
	if p.axis == nil {
		do([]byte(texts[0]))
		return
	}
	var walk func(buf []byte, a *axis, texts []string)
	walk = func(buf []byte, a *axis, texts []string) {
		buf = append(buf, texts[0]...)
		n := len(buf)
		for i, s := range a.spans {
			for r := s.lo; r <= s.hi; r++ {
				buf = r.appendTo(buf[:n])
				if !a.last() {
					walk(buf, a.subs[i], texts[1:])
				} else {
					do(append(buf, texts[1]...))
				}
			}
		}
	}
	walk(nil, p.axis, texts)
}

// writer writes the names of one shape.
type writer struct {
	texts []string
	yield func(string) bool
}

// box yields the names that begin with buf and have their other indexes out of
// dims. It says whether to go on.
func (w *writer) box(buf []byte, dims box) bool {
	at := len(w.texts) - 1 - len(dims)
	buf = append(buf, w.texts[at]...)
	if len(dims) == 0 {
		return w.yield(string(buf))
	}
	last := ""
	if len(dims) == 1 {
		last = w.texts[at+1]
	}
	n := len(buf)
	for s := range dims[0].stretches {
		for v := s.lo; v <= s.hi; v++ {
			buf = appendPadded(buf[:n], s.width, v)
			if len(dims) > 1 {
				if !w.box(buf, dims[1:]) {
					return false
				}
			} else if buf = append(buf, last...); !w.yield(string(buf)) {
				return false
			}
		}
	}
	return true
}

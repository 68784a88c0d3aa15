package nodeset

import "iter"

// Run is names that differ in nothing but their last index, which counts up by
// one and has as many digits in each; or a single name.
type Run struct {
	First, Last string
	Len         int
}

// Runs yields the names as runs, in any order. There are far fewer of them
// than names in most sets.
func (s *Set) Runs() iter.Seq[Run] {
	return func(yield func(Run) bool) {
		for _, p := range s.all() {
			texts := literals(p.shape)
			if p.axis == nil {
				if !yield(Run{texts[0], texts[0], 1}) {
					return
				}
				continue
			}
			if !runs([]byte(texts[0]), p.axis, texts[1:], yield) {
				return
			}
		}
	}
}

// runs yields the runs of names that begin with buf, and says whether to go on.
func runs(buf []byte, a *axis, texts []string, yield func(Run) bool) bool {
	n := len(buf)
	if !a.last() {
		for i, s := range a.spans {
			for r := s.lo; r <= s.hi; r++ {
				buf = append(r.appendTo(buf[:n]), texts[0]...)
				if !runs(buf, a.subs[i], texts[1:], yield) {
					return false
				}
			}
		}
		return true
	}
	name := func(width int, value uint64) string {
		buf = append(appendPadded(buf[:n], width, value), texts[0]...)
		return string(buf)
	}
	for s := range a.stretches {
		if !yield(Run{name(s.width, s.lo), name(s.width, s.hi), int(s.hi - s.lo + 1)}) {
			return false
		}
	}
	return true
}

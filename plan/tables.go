package plan

import (
	"fmt"
	"maps"
	"slices"

	"myriad/program"
)

// finish gives the tables; nil if no link has conditions.
func (s *shaper) finish() (*program.Links, error) {
	if s.err != nil {
		return nil, s.err
	}
	l := s.Links // conditions and what they refer to
	if s.opened {
		l.Classes, l.Matrix = uint32(s.grid.n), s.grid.matrix()
		l.Pairs = s.pairs()
	} else if s.base != nil {
		l.Classes, l.Matrix, l.Pairs = s.base.Classes, s.base.Matrix, s.base.Pairs
	}
	l.Vifaces = s.ranges()
	if s.over {
		return nil, tooManyConditions(len(l.Conditions))
	}
	out := l.Canonical()
	if out == nil {
		return nil, nil
	}
	return out, limits(out)
}

const makeTables = "make the tables of link conditions"

func tooManyClasses() error {
	return problem(makeTables, fmt.Sprintf("more than %d vnodes or groups of vnodes differ in their pairs", maxClasses),
		"group nodes: give pairs of groups their conditions")
}

func tooManyPairs(n int) error {
	return problem(makeTables, fmt.Sprintf("%d pairs of vnodes are exceptions, at most %d can be", n, program.MaxPairs),
		"group nodes: give pairs of groups their conditions")
}

func tooManyConditions(n int) error {
	return problem(makeTables, fmt.Sprintf("there are %d different ones, at most %d can be", n, program.MaxConditions),
		"use fewer different values: plain delays of pairs do not count")
}

func limits(l *program.Links) error {
	switch {
	case int(l.Classes) > maxClasses:
		return tooManyClasses()
	case len(l.Conditions) > program.MaxConditions:
		return tooManyConditions(len(l.Conditions))
	case len(l.Pairs) > program.MaxPairs:
		return tooManyPairs(len(l.Pairs))
	}
	return nil
}

// pairs gives the exceptions that still hold, in order.
func (s *shaper) pairs() []program.Pair {
	keys := slices.Sorted(maps.Keys(s.exceptions))
	var out []program.Pair
	for _, key := range keys {
		e := s.exceptions[key]
		if e.step >= s.grid.stampAt(s.classOf(e.from), s.classOf(e.to)) {
			network, from, to := partsOf(key)
			out = append(out, program.Pair{Network: network, From: from, To: to, Word: e.word})
		}
	}
	return out
}

// ranges gives the columns as ranges. Once pairs were changed, class k is k + 1
// of the tables.
func (s *shaper) ranges() []program.LinkRange {
	p, h := s.plan, s.plan.byHost()
	var out []program.LinkRange
	for i, n := range p.networks {
		for _, row := range h.rows[h.from[i]:h.from[i+1]] {
			r := program.LinkRange{Network: n.ID, Host: p.host[row], Count: 1}
			if s.opened {
				r.Class = 1
			}
			if s.class != nil {
				r.Class += s.class[row]
			}
			if s.out != nil {
				r.Out, r.In = s.out[row], s.in[row]
			}
			if n := len(out); n > 0 {
				last := &out[n-1]
				if last.Network == r.Network && last.Host+last.Count == r.Host && last.Class == r.Class && last.Out == r.Out && last.In == r.In {
					last.Count++
					continue
				}
			}
			out = append(out, r)
		}
	}
	return out
}

package fabric

import (
	"cmp"
	"slices"
)

// settled are conditions that know where their tables and traces are, and
// what is yet to be written there.
type settled struct {
	conditions []condition
	tables     map[uint32]*distribution // by slot
	traces     []trace
}

// settle finds a place for every table and trace: the one where it is now, if
// something in force refers to it, or one that nothing in force refers to. So
// what is in force is never overwritten, and a trace that stays goes on.
func (mem *memory) settle(s *shapes) (*settled, error) {
	out := &settled{conditions: slices.Clone(s.conditions), tables: map[uint32]*distribution{}}
	usedSlots, usedTraces := mem.referred()
	slots, err := mem.settleTables(s, usedSlots, out)
	if err != nil {
		return nil, err
	}
	firsts, err := mem.settleTraces(s, usedTraces, out)
	if err != nil {
		return nil, err
	}
	for i := range out.conditions {
		c := &out.conditions[i]
		if c.Table != 0 {
			c.Table = slots[c.Table-1] + 1
		}
		if c.Flags&flagTraced != 0 {
			c.Trace = firsts[c.Trace]
		}
	}
	return out, nil
}

// referred lists the slots of tables, and the traces, that the conditions in
// force refer to.
func (mem *memory) referred() (slots map[uint32]bool, traces []trace) {
	slots = map[uint32]bool{}
	known := map[uint32]bool{}
	half := mem.half(partConditions)
	for i := range mem.conditions {
		c := &mem.conditions[i][half]
		if c.Table != 0 {
			slots[c.Table-1] = true
		}
		if c.Flags&flagTraced != 0 && !known[c.Trace] {
			known[c.Trace] = true
			traces = append(traces, trace{c.Period, mem.traces[c.Trace+1:][:c.Moments], c.Trace})
		}
	}
	return slots, traces
}

func (mem *memory) settleTables(s *shapes, used map[uint32]bool, out *settled) (slots []uint32, err error) {
	free := uint32(0)
	for i := range s.tables {
		slot, found := uint32(0), false
		for slot = range used {
			if found = mem.tables[slot] == s.tables[i]; found {
				break
			}
		}
		if !found {
			for used[free] {
				free++
			}
			if slot = free; int(slot) >= len(mem.tables) {
				return nil, ErrRoom
			}
			free++
			out.tables[slot] = &s.tables[i]
		}
		slots = append(slots, slot)
	}
	return slots, nil
}

func (mem *memory) settleTraces(s *shapes, used []trace, out *settled) (firsts []uint32, err error) {
	taken := slices.Clone(used)
	for _, t := range s.traces {
		i := slices.IndexFunc(used, func(u trace) bool { return u.period == t.period && slices.Equal(u.moments, t.moments) })
		if i >= 0 {
			firsts = append(firsts, used[i].first)
			continue
		}
		if t.first, err = gap(taken, len(t.moments)+1, len(mem.traces)); err != nil {
			return nil, err
		}
		taken, out.traces = append(taken, t), append(out.traces, t)
		firsts = append(firsts, t.first)
	}
	return firsts, nil
}

// gap finds the first n free elements.
func gap(taken []trace, n, size int) (uint32, error) {
	slices.SortFunc(taken, func(a, b trace) int { return cmp.Compare(a.first, b.first) })
	end := 0
	for _, t := range taken {
		if int(t.first)-end >= n {
			break
		}
		end = max(end, int(t.first)+1+len(t.moments))
	}
	if end+n > size {
		return 0, ErrRoom
	}
	return uint32(end), nil
}

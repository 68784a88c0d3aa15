package fabric

import (
	"fmt"
	"unsafe"

	"myriad/program"
)

// linkRow is an entry of the map links (struct link), which has two of them.
type linkRow struct {
	Out, In     uint32
	Row, Column uint32
}

// hasExceptions marks the column of a sender that the map pairs knows.
const hasExceptions = 1 << 31

// shapes are the contents of a fabric's tables of link conditions: one half of
// those that have two.
type shapes struct {
	seed       uint64
	links      []linkRow         // by link index
	conditions []condition       // 0 is none
	matrix     []uint32          // words by class
	pairs      map[uint64]uint32 // words by sender's and receiver's link index
	tables     []distribution    // by slot; nil where nothing refers to
	traces     []trace
	stateful   int // pairs that remember something, at most
}

// distribution is an entry of the map tables.
type distribution = [program.DistributionSize]int32

// trace is a trace as the programs know it.
type trace struct {
	period  uint64   // ns
	moments []uint64 // ns since it began
	first   uint32   // where it is in the map traces
}

// pairKey is the key of the map pairs, less the half.
func pairKey(from, to uint32) uint64 { return uint64(from)<<32 | uint64(to) }

// translate makes the tables for conditions, by the link indexes of t. Tables
// and traces have their place yet to be found.
func translate(l *program.Links, t *tables) (*shapes, error) {
	s := &shapes{seed: l.Seed, conditions: make([]condition, 1, 1+len(l.Conditions)), pairs: map[uint64]uint32{}}
	for i := range l.Conditions {
		c := &l.Conditions[i]
		if int(c.Distribution) > len(l.Tables) || int(c.Trace) > len(l.Traces) {
			return nil, fmt.Errorf("read condition %d: there is no such distribution or trace", i)
		}
		e := encode(c)
		if e.Jitter != 0 {
			e.Table = c.Distribution
		}
		if e.Flags&flagTraced != 0 {
			e.Trace = c.Trace
		}
		s.conditions = append(s.conditions, e)
	}
	if uint64(len(l.Matrix)) != uint64(l.Classes)*uint64(l.Classes) {
		return nil, fmt.Errorf("read the matrix: %d entries for %d classes", len(l.Matrix), l.Classes)
	}
	if len(l.Matrix) > 0 { // a PairWord is the programs' word
		s.matrix = unsafe.Slice((*uint32)(&l.Matrix[0]), len(l.Matrix))
	}
	for i, word := range s.matrix {
		if word&uint32(program.PairIndexed) != 0 && int(word&^uint32(program.PairIndexed)) >= len(s.conditions) {
			return nil, fmt.Errorf("read the matrix, entry %d: there is no such condition", i)
		}
	}
	if err := s.place(l, t); err != nil {
		return nil, err
	}
	s.count(l)
	return s, s.gather(l)
}

// place says of every viface what goes for it.
func (s *shapes) place(l *program.Links, t *tables) error {
	known := uint32(len(s.conditions))
	for i, r := range l.Vifaces {
		if r.Out >= known || r.In >= known || r.Class > l.Classes {
			return fmt.Errorf("read the conditions of vifaces, entry %d: there is no such condition or class", i)
		}
		row := linkRow{Out: r.Out, In: r.In, Column: r.Class}
		if r.Class > 0 {
			row.Row = (r.Class - 1) * l.Classes
		}
		for host := r.Host; host < r.Host+r.Count; host++ {
			if index, _ := t.label(r.Network, host); index != 0 {
				*s.link(index) = row
			}
		}
	}
	for i, p := range l.Pairs {
		if p.Word&program.PairIndexed != 0 && uint32(p.Word&^program.PairIndexed) >= known {
			return fmt.Errorf("read pair %d: there is no such condition", i)
		}
		if p.Word == 0 {
			continue
		}
		from, _ := t.label(p.Network, p.From)
		to, _ := t.label(p.Network, p.To)
		s.link(to)
		sender := s.link(from)
		if from != 0 && to != 0 { // both are there
			sender.Column |= hasExceptions
			s.pairs[pairKey(from, to)] = uint32(p.Word)
		}
	}
	return nil
}

func (s *shapes) link(index uint32) *linkRow {
	if missing := int(index) + 1 - len(s.links); missing > 0 {
		s.links = append(s.links, make([]linkRow, missing)...)
	}
	return &s.links[index]
}

// mostStateful is how many pairs may remember something at the same time.
const mostStateful = 1 << 17

// count estimates how many pairs remember something.
func (s *shapes) count(l *program.Links) {
	remembers := func(word uint32) bool {
		index := word &^ uint32(program.PairIndexed)
		return index != word && s.conditions[index].Flags&flagsState != 0
	}
	for _, word := range s.pairs {
		if remembers(word) {
			s.stateful++
		}
	}
	any := false
	for i := range s.conditions {
		any = any || s.conditions[i].Flags&flagsState != 0
	}
	if !any {
		return
	}
	members := make([]int, l.Classes+1)
	for _, row := range s.links {
		members[row.Column&^hasExceptions]++
	}
	classes := int(l.Classes)
	for i, word := range s.matrix {
		if s.stateful >= mostStateful {
			break
		}
		if remembers(word) {
			s.stateful += members[i/classes+1] * members[i%classes+1]
		}
	}
	s.stateful = min(s.stateful, mostStateful)
}

// gather takes the tables and traces that conditions refer to.
func (s *shapes) gather(l *program.Links) error {
	tables, traces := map[uint32]uint32{}, map[uint32]uint32{} // number → position + 1
	for i := range s.conditions {
		c := &s.conditions[i]
		if c.Table != 0 {
			if tables[c.Table] == 0 {
				d, err := spread(&l.Tables[c.Table-1])
				if err != nil {
					return err
				}
				s.tables = append(s.tables, d)
				tables[c.Table] = uint32(len(s.tables))
			}
			c.Table = tables[c.Table]
		}
		if c.Flags&flagTraced != 0 {
			if traces[c.Trace] == 0 {
				tr, err := unfold(&l.Traces[c.Trace-1])
				if err != nil {
					return err
				}
				s.traces = append(s.traces, tr)
				traces[c.Trace] = uint32(len(s.traces))
			}
			c.Trace = traces[c.Trace] - 1
			c.Period, c.Moments = s.traces[c.Trace].period, uint32(len(s.traces[c.Trace].moments))
		}
	}
	return nil
}

func spread(d *program.Distribution) (out distribution, err error) {
	if len(d.Values) != len(out) {
		return out, fmt.Errorf("read distribution %s: it has %d values, not %d", d.Name, len(d.Values), len(out))
	}
	for i, v := range d.Values {
		out[i] = min(max(v, -maxSpread), maxSpread)
	}
	return out, nil
}

func unfold(t *program.Trace) (trace, error) {
	const ms = 1e6
	if len(t.At) == 0 || t.Period == 0 || t.At[len(t.At)-1] > t.Period {
		return trace{}, fmt.Errorf("read trace %s: it has no moments, or some after its period", t.Name)
	}
	out := trace{period: uint64(t.Period) * ms, moments: make([]uint64, len(t.At))}
	for i, at := range t.At {
		out.moments[i] = uint64(at) * ms
	}
	return out, nil
}

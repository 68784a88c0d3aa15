package fabric

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"myriad/program"
)

// randomLinks makes conditions that lose nothing.
func randomLinks(rng *rand.Rand, size int) *program.Links {
	l := &program.Links{Seed: rng.Uint64(), Classes: uint32(1 + rng.IntN(size))}
	l.Tables = []program.Distribution{{Name: "flat", Values: make([]int32, program.DistributionSize)}}
	for i := range rng.IntN(3) {
		l.Traces = append(l.Traces, program.Trace{Period: 1, At: make([]uint32, 1000*(i+1)+rng.IntN(size*50))})
	}
	for range 1 + rng.IntN(size*10) {
		c := program.Condition{Delay: time.Duration(rng.IntN(2e6)), Rate: 1e9 + rng.Uint64N(1e9)}
		switch rng.IntN(4) {
		case 0:
			c.Jitter, c.Distribution = time.Microsecond, uint32(rng.IntN(2))
		case 1:
			if len(l.Traces) > 0 {
				c.Trace = uint32(1 + rng.IntN(len(l.Traces)))
			}
		}
		l.Conditions = append(l.Conditions, c)
	}
	index := func() uint32 { return rng.Uint32N(uint32(len(l.Conditions) + 1)) }
	for network := uint16(1); network <= 2; network++ {
		for host := uint32(1); host < 65000; {
			r := program.LinkRange{Network: network, Host: host, Count: 1 + rng.Uint32N(30), Class: rng.Uint32N(l.Classes + 1), Out: index(), In: index()}
			l.Vifaces = append(l.Vifaces, r)
			host += r.Count
			if rng.IntN(4) == 0 {
				host += rng.Uint32N(20000)
			}
		}
	}
	words := func() program.PairWord {
		if rng.IntN(2) == 0 {
			return program.PairWord(rng.Uint32N(20000))
		}
		return program.PairIndexed | program.PairWord(index())
	}
	for range l.Classes * l.Classes {
		l.Matrix = append(l.Matrix, words())
	}
	pairs := map[[2]uint32]bool{}
	for range rng.IntN(size * 40) {
		pair := [2]uint32{1 + rng.Uint32N(300), 1 + rng.Uint32N(300)}
		if !pairs[pair] {
			pairs[pair] = true
			l.Pairs = append(l.Pairs, program.Pair{Network: 1, From: pair[0], To: pair[1], Word: words()})
		}
	}
	slices.SortFunc(l.Pairs, func(a, b program.Pair) int { return int(a.From)*1000 + int(a.To) - int(b.From)*1000 - int(b.To) })
	return l
}

// linksDiffer looks everything up as the programs do.
func (f *Fabric) linksDiffer(t *testing.T, l *program.Links, have *tables) string {
	t.Helper()
	mem, err := f.shaping.maps.open()
	if err != nil {
		t.Fatal(err)
	}
	defer mem.close()
	return mem.differ(l, have)
}

// differ compares what the programs would find in memory with what links say,
// for all vifaces, and for some pairs of them.
func (mem *memory) differ(l *program.Links, have *tables) string {
	slow := newSlowLinks(l)
	var hosts [][2]uint32
	have.eachHost(func(network uint16, host uint32) { hosts = append(hosts, [2]uint32{uint32(network), host}) })
	seen := map[uint32]bool{}
	for _, h := range hosts {
		index, _ := have.label(uint16(h[0]), h[1])
		if index != 0 && seen[index] {
			return fmt.Sprintf("link index %d is there twice", index)
		}
		seen[index] = true
		row := mem.links[index][mem.half(partLinks)]
		want := slow.viface(uint16(h[0]), h[1])
		for _, c := range [][2]uint32{{row.Out, want.Out}, {row.In, want.In}} {
			if diff := mem.conditionDiffers(c[0], c[1], l); diff != "" {
				return fmt.Sprintf("host %d of network %d, index %d: %s", h[1], h[0], index, diff)
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		from, to := hosts[rng.IntN(len(hosts))], hosts[rng.IntN(len(hosts))]
		if to[0] != from[0] {
			continue
		}
		got, want := mem.word(have, uint16(from[0]), from[1], to[1]), slow.word(uint16(from[0]), from[1], to[1])
		if got != want {
			return fmt.Sprintf("from %d to %d of network %d: %x, want %x", from[1], to[1], from[0], got, want)
		}
	}
	return ""
}

// word is find_word of bpf/links.h.
func (mem *memory) word(have *tables, network uint16, from, to uint32) uint32 {
	a, _ := have.label(network, from)
	b, _ := have.label(network, to)
	half := mem.half(partLinks)
	sender, receiver := mem.links[a][half], mem.links[b][half]
	if sender.Column&hasExceptions != 0 {
		if w := mem.pairs[pairKey(a, b)|uint64(mem.half(partPairs))<<63]; w != 0 {
			return w
		}
	}
	column := receiver.Column &^ hasExceptions
	if column == 0 || sender.Column&^hasExceptions == 0 {
		return 0
	}
	return mem.matrix[sender.Row+column-1][mem.half(partMatrix)]
}

// conditionDiffers compares a condition with the one that is wanted, and its
// table and trace with those that it should have.
func (mem *memory) conditionDiffers(got, want uint32, l *program.Links) string {
	if got != want {
		return fmt.Sprintf("condition %d, want %d", got, want)
	}
	if want == 0 {
		return ""
	}
	c, w := mem.conditions[got][mem.half(partConditions)], &l.Conditions[want-1]
	if c.Delay != uint64(w.Delay) || c.Jitter != uint64(w.Jitter) {
		return fmt.Sprintf("condition %d is %+v, want %+v", got, c, *w)
	}
	if w.Jitter != 0 && w.Distribution != 0 && mem.tables[c.Table-1] != distribution(l.Tables[w.Distribution-1].Values) {
		return fmt.Sprintf("condition %d has another table", got)
	}
	if w.Trace != 0 {
		at := l.Traces[w.Trace-1].At
		if int(c.Moments) != len(at) || c.Period != uint64(l.Traces[w.Trace-1].Period)*1e6 || mem.traces[c.Trace] == 0 {
			return fmt.Sprintf("condition %d has another trace: %+v", got, c)
		}
		for i, m := range mem.traces[c.Trace+1:][:c.Moments] {
			if m != uint64(at[i])*1e6 {
				return fmt.Sprintf("condition %d, moment %d is %d", got, i, m)
			}
		}
	}
	return ""
}

// eachHost calls fn for every host.
func (t *tables) eachHost(fn func(network uint16, host uint32)) {
	for id := range t.rows() {
		r := t.row(id)
		for host := range r.span {
			if w := uint32(t.places[r.base+host]); w != 0 && w != placeOther {
				fn(uint16(id), host)
			}
		}
	}
	for key, o := range t.others {
		if key>>63 != 0 {
			fn(uint16(o.Network), o.Host)
		}
	}
}

// slowLinks answers what conditions say, by going through them.
type slowLinks struct {
	*program.Links
	pairs map[program.Pair]program.PairWord
}

func newSlowLinks(l *program.Links) *slowLinks {
	s := &slowLinks{l, map[program.Pair]program.PairWord{}}
	for _, p := range l.Pairs {
		s.pairs[program.Pair{Network: p.Network, From: p.From, To: p.To}] = p.Word
	}
	return s
}

func (s *slowLinks) viface(network uint16, host uint32) program.LinkRange {
	for _, r := range s.Vifaces {
		if r.Network == network && host >= r.Host && host < r.Host+r.Count {
			return r
		}
	}
	return program.LinkRange{}
}

func (s *slowLinks) word(network uint16, from, to uint32) uint32 {
	if w := s.pairs[program.Pair{Network: network, From: from, To: to}]; w != 0 {
		return uint32(w)
	}
	a, b := s.viface(network, from).Class, s.viface(network, to).Class
	if a == 0 || b == 0 {
		return 0
	}
	return uint32(s.Matrix[(a-1)*s.Classes+b-1])
}

// fakeMemory is memory that is no map's.
func fakeMemory(links, conditions, matrix, tables, traces int) *memory {
	return &memory{
		control: &control{}, links: make([][2]linkRow, links), conditions: make([][2]condition, conditions),
		matrix: make([][2]uint32, matrix), states: make([][2]clock, links), tables: make([]distribution, tables),
		traces: make([]uint64, traces), pairs: map[uint64]uint32{},
	}
}

// change is Prepare and Commit on memory.
func (mem *memory) change(t *testing.T, l *program.Links, have *tables) (flip uint32) {
	t.Helper()
	have.assign(l, have)
	next, err := translate(l, have)
	if err != nil {
		t.Fatal(err)
	}
	where, err := mem.settle(next)
	if err != nil {
		t.Fatal(err)
	}
	inForce := fmt.Sprint(mem.inForce())
	c := &Change{flip: mem.differs(next, where)}
	c.fill(mem, next, where)
	if c.flip&partPairs != 0 {
		half := 1 - mem.half(partPairs)
		maps.DeleteFunc(mem.pairs, func(k uint64, _ uint32) bool { return int(k>>63) == half })
		maps.Copy(mem.pairs, inHalf(half, next.pairs))
	}
	if fmt.Sprint(mem.inForce()) != inForce {
		t.Fatal("what is in force was changed before its time")
	}
	for _, first := range c.begin {
		mem.traces[first] = uint64(first) + 1
	}
	mem.control.Halves ^= c.flip
	return c.flip
}

// inForce copies all that programs can come to see.
func (mem *memory) inForce() (out []any) {
	for i := range mem.links {
		out = append(out, mem.links[i][mem.half(partLinks)])
	}
	for i := range mem.conditions {
		c := mem.conditions[i][mem.half(partConditions)]
		out = append(out, c)
		if c.Table != 0 {
			out = append(out, mem.tables[c.Table-1][:8])
		}
		if c.Flags&flagTraced != 0 {
			out = append(out, mem.traces[c.Trace:][:c.Moments+1])
		}
	}
	for i := range mem.matrix {
		out = append(out, mem.matrix[i][mem.half(partMatrix)])
	}
	return append(out, mem.pairsOf(mem.half(partPairs)))
}

// TestLinksStates goes through random conditions and hosts, each put into
// force upon the ones before: what the programs would find is always what the
// conditions say, and nothing in force is touched before its time.
func TestLinksStates(t *testing.T) {
	for seed := range uint64(8) {
		rng := rand.New(rand.NewPCG(seed, 3))
		mem := fakeMemory(1024, 256, 256, 4, 20000)
		have := mustBuild(t, testProgram(), nil)
		for step := range 12 {
			p := testProgram()
			for i := range uint32(rng.IntN(60)) {
				p.Racks[0].Vifaces = append(p.Racks[0].Vifaces, program.Viface{Network: 1, Host: 100 + i*(1+rng.Uint32N(3))%200})
			}
			p.Racks[0].Vifaces = unique(p.Racks[0].Vifaces)
			want := mustBuild(t, p, nil)
			want.carry(have)
			labelsBefore := map[[2]uint32]uint32{}
			want.labels(func(network uint16, host, index uint32) { labelsBefore[[2]uint32{uint32(network), host}] = index })
			l := randomLinks(rng, 5)
			mem.change(t, l, want)
			for h, index := range labelsBefore {
				if got, _ := want.label(uint16(h[0]), h[1]); got != index {
					t.Fatalf("seed %d, step %d: host %d had link index %d, and has %d", seed, step, h[1], index, got)
				}
			}
			if diff := mem.differ(l, want); diff != "" {
				t.Fatalf("seed %d, step %d: %s", seed, step, diff)
			}
			if flip := mem.change(t, l, want); flip != 0 {
				t.Fatalf("seed %d, step %d: the same again changes parts %b", seed, step, flip)
			}
			have = want
		}
	}
}

func unique(vifaces []program.Viface) []program.Viface {
	seen := map[program.Viface]bool{}
	return slices.DeleteFunc(vifaces, func(v program.Viface) bool {
		key := program.Viface{Network: v.Network, Host: v.Host}
		defer func() { seen[key] = true }()
		return seen[key]
	})
}

// TestLinksRefused: conditions that would lead outside of the tables.
func TestLinksRefused(t *testing.T) {
	have := mustBuild(t, testProgram(), nil)
	for name, l := range map[string]*program.Links{
		"condition":      {Vifaces: []program.LinkRange{{Network: 1, Host: 1, Count: 1, Out: 1}}},
		"class":          {Vifaces: []program.LinkRange{{Network: 1, Host: 1, Count: 1, Class: 1}}},
		"matrix":         {Classes: 2, Matrix: make([]program.PairWord, 3)},
		"pair":           {Pairs: []program.Pair{{Network: 1, From: 1, To: 2, Word: program.PairIndexed | 5}}},
		"table":          {Conditions: []program.Condition{{Jitter: 1, Distribution: 1}}},
		"table's length": {Conditions: []program.Condition{{Jitter: 1, Distribution: 1}}, Tables: make([]program.Distribution, 1)},
		"trace":          {Conditions: []program.Condition{{Trace: 1}}},
		"trace's length": {Conditions: []program.Condition{{Trace: 1}}, Traces: make([]program.Trace, 1)},
		"matrix's words": {Classes: 1, Matrix: []program.PairWord{program.PairIndexed | 3}},
	} {
		tables := have.clone()
		tables.assign(l, have)
		if _, err := translate(l, tables); err == nil {
			t.Errorf("conditions with a bad %s were taken", name)
		}
	}
}

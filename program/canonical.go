package program

import (
	"cmp"
	"slices"
	"time"
)

// Canonical gives the same conditions in the one form that equal ones have:
// what is not used or changes nothing is left out, what is alike is there
// once and sorted, classes are numbered in the order of their hosts, ranges are
// as long as they can be, and a pair for which its classes say the same is no
// exception. It is nil if nothing is left. Tables that stay as they are are
// shared with l, which must be valid.
func (l *Links) Canonical() *Links {
	if l == nil {
		return nil
	}
	c := canon{from: l, to: &Links{Seed: l.Seed}}
	c.conditions()
	c.classes()
	c.pairs()
	c.ranges()
	c.compact()
	if len(c.to.Vifaces) == 0 {
		return nil
	}
	return c.to
}

// canon is a canonical form in the making.
type canon struct {
	from, to *Links
	refs     []uint32 // by old reference to a condition: the new one
	class    []uint32 // by old class: the new one
}

// conditions orders all conditions and what they refer to, used or not.
func (c *canon) conditions() {
	var tables, traces []uint32
	c.to.Tables, tables = unique(c.from.Tables, compareTables)
	c.to.Traces, traces = unique(c.from.Traces, compareTraces)
	all := append([]Condition{{}}, c.from.Conditions...) // the first is none
	for i := range all {
		all[i].Distribution, all[i].Trace = tables[all[i].Distribution], traces[all[i].Trace]
	}
	sorted, refs := unique(all, compareConditions)
	c.to.Conditions, c.refs = sorted[1:], refs[1:]
	for i := range c.refs {
		c.refs[i]-- // the first of all is none
	}
}

// unique gives the different rows, sorted, and by old reference (index + 1)
// the new one.
func unique[T any](rows []T, compare func(a, b *T) int) (sorted []T, refs []uint32) {
	order := make([]int, len(rows))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return compare(&rows[i], &rows[j]) })
	refs = make([]uint32, len(rows)+1)
	for _, i := range order {
		if n := len(sorted); n == 0 || compare(&sorted[n-1], &rows[i]) != 0 {
			sorted = append(sorted, rows[i])
		}
		refs[i+1] = uint32(len(sorted))
	}
	return sorted, refs
}

func compareTables(a, b *Distribution) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), slices.Compare(a.Values, b.Values))
}

func compareTraces(a, b *Trace) int {
	return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Period, b.Period), slices.Compare(a.At, b.At))
}

func compareConditions(a, b *Condition) int {
	for i := range conditionColumns {
		if c := cmp.Compare(conditionColumns[i].get(a), conditionColumns[i].get(b)); c != 0 {
			return c
		}
	}
	return 0
}

// word gives the form of a word that its like have: 0 for none.
func (c *canon) word(w PairWord) PairWord {
	if w&PairIndexed == 0 {
		return w
	}
	ref := c.refs[w&^PairIndexed]
	if ref == 0 {
		return 0
	}
	if k := &c.to.Conditions[ref-1]; *k == (Condition{Delay: k.Delay}) && k.Delay%DelayUnit == 0 && k.Delay/DelayUnit < time.Duration(PairIndexed) {
		return PairWord(k.Delay / DelayUnit)
	}
	return PairIndexed | PairWord(ref)
}

// classes finds which classes there are, and renumbers them.
func (c *canon) classes() {
	used := c.from.usedClasses()
	c.class = make([]uint32, c.from.Classes+1)
	matrix := c.from.submatrix(used)
	if i := slices.IndexFunc(matrix, func(w PairWord) bool { return w&PairIndexed != 0 }); i >= 0 {
		matrix = slices.Clone(matrix)
		for ; i < len(matrix); i++ {
			matrix[i] = c.word(matrix[i])
		}
	}
	n := len(used)
	var stay []uint32 // indexes into used + 1
	for i, like := range alike(matrix, n) {
		switch {
		case like < 0: // it says nothing
		case like < i:
			c.class[used[i]] = c.class[used[like]]
		default:
			stay = append(stay, uint32(i+1))
			c.class[used[i]] = uint32(len(stay))
		}
	}
	c.to.Classes = uint32(len(stay))
	c.to.Matrix = (&Links{Classes: uint32(n), Matrix: matrix}).submatrix(stay)
}

// usedClasses gives the classes of ranges, in their order.
func (l *Links) usedClasses() []uint32 {
	seen := make([]bool, l.Classes+1)
	var used []uint32
	for i := range l.Vifaces {
		if k := l.Vifaces[i].Class; k > 0 && !seen[k] {
			seen[k] = true
			used = append(used, k)
		}
	}
	return used
}

// submatrix is the matrix of some classes only, in their order.
func (l *Links) submatrix(classes []uint32) []PairWord {
	same := len(classes) == int(l.Classes)
	for i := 0; i < len(classes) && same; i++ {
		same = classes[i] == uint32(i+1)
	}
	if len(classes) == 0 {
		return nil
	}
	if same {
		return l.Matrix
	}
	out := make([]PairWord, 0, len(classes)*len(classes))
	for _, i := range classes {
		row := l.Matrix[(i-1)*l.Classes : i*l.Classes]
		for _, j := range classes {
			out = append(out, row[j-1])
		}
	}
	return out
}

// alike gives, for each of n classes, the first whose rows and columns in the
// matrix are the same; -1 if they are all 0.
func alike(matrix []PairWord, n int) []int {
	sums := sums(matrix, n)
	first := make(map[uint64][]int, n)
	out := make([]int, n)
	for i := range out {
		if sums[i] == 0 && blank(matrix, n, i) {
			out[i] = -1
			continue
		}
		out[i] = i
		for _, j := range first[sums[i]] {
			if sameClass(matrix, n, i, j) {
				out[i] = j
				break
			}
		}
		if out[i] == i {
			first[sums[i]] = append(first[sums[i]], i)
		}
	}
	return out
}

// sums gives a checksum of each class's row and column, 0 if all is 0.
func sums(matrix []PairWord, n int) []uint64 {
	const prime = 0x9e3779b97f4a7c15
	out, columns := make([]uint64, n), make([]uint64, n)
	for i := range n {
		row, sum := matrix[i*n:(i+1)*n], uint64(0)
		for j, w := range row {
			sum = (sum + uint64(w)) * prime
			columns[j] = (columns[j] + uint64(w)) * prime
		}
		out[i] = sum
	}
	for i := range out {
		out[i] ^= columns[i]<<1 | columns[i]>>63
	}
	return out
}

func blank(matrix []PairWord, n, i int) bool {
	for k := range n {
		if matrix[i*n+k]|matrix[k*n+i] != 0 {
			return false
		}
	}
	return true
}

func sameClass(matrix []PairWord, n, i, j int) bool {
	for k := range n {
		if matrix[i*n+k] != matrix[j*n+k] || matrix[k*n+i] != matrix[k*n+j] {
			return false
		}
	}
	return true
}

// pairs leaves out the exceptions that are none.
func (c *canon) pairs() {
	out := make([]Pair, 0, len(c.from.Pairs))
	from, to := finder{links: c.from}, finder{links: c.from}
	for _, p := range c.from.Pairs {
		w := c.word(p.Word)
		f, t := from.find(p.Network, p.From), to.find(p.Network, p.To)
		if p.Word == 0 || p.From == p.To || w == c.to.Between(c.classOf(f), c.classOf(t)) {
			continue
		}
		if p.Word = w; w == 0 {
			p.Word = PairIndexed
		}
		out = append(out, p)
	}
	if len(out) > 0 {
		c.to.Pairs = slices.Clip(out)
	}
}

func (c *canon) classOf(r *LinkRange) uint32 {
	if r == nil {
		return 0
	}
	return c.class[r.Class]
}

// ranges makes the ranges of all hosts that have conditions, or exceptions.
func (c *canon) ranges() {
	var out []LinkRange
	for _, r := range c.from.Vifaces {
		r.Class, r.Out, r.In = c.class[r.Class], c.refs[r.Out], c.refs[r.In]
		if r.Class != 0 || r.Out != 0 || r.In != 0 {
			out = appendRange(out, r)
		}
	}
	rest := (&Links{Vifaces: out}).outside(c.to.Pairs)
	if len(rest) == 0 {
		c.to.Vifaces = slices.Clip(out)
		return
	}
	all := make([]LinkRange, 0, len(out)+len(rest))
	for len(out) > 0 || len(rest) > 0 {
		if len(rest) == 0 || len(out) > 0 && compareRanges(out[0], rest[0]) < 0 {
			all, out = append(all, out[0]), out[1:]
		} else {
			all, rest = appendRange(all, rest[0]), rest[1:]
		}
	}
	c.to.Vifaces = slices.Clip(all)
}

func compareRanges(a, b LinkRange) int {
	return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Host, b.Host))
}

// appendRange adds a range, to the last one if it goes on with the same.
func appendRange(out []LinkRange, r LinkRange) []LinkRange {
	if n := len(out); n > 0 {
		last := &out[n-1]
		if last.Network == r.Network && last.Host+last.Count == r.Host && last.Class == r.Class && last.Out == r.Out && last.In == r.In {
			last.Count += r.Count
			return out
		}
	}
	return append(out, r)
}

// outside gives the hosts of pairs that are in no range, in order.
func (l *Links) outside(pairs []Pair) []LinkRange {
	var keys []uint64
	from, to := finder{links: l}, finder{links: l}
	for i, p := range pairs {
		same := i > 0 && pairs[i-1].Network == p.Network && pairs[i-1].From == p.From
		if !same && from.find(p.Network, p.From) == nil {
			keys = append(keys, uint64(p.Network)<<32|uint64(p.From))
		}
		if to.find(p.Network, p.To) == nil {
			keys = append(keys, uint64(p.Network)<<32|uint64(p.To))
		}
	}
	slices.Sort(keys)
	var out []LinkRange
	for _, key := range slices.Compact(keys) {
		out = appendRange(out, LinkRange{Network: uint16(key >> 32), Host: uint32(key), Count: 1})
	}
	return out
}

// compact leaves out conditions that nobody has, and tables and traces that no
// condition has.
func (c *canon) compact() {
	l := c.to
	used := make([]bool, len(l.Conditions)+1)
	for _, r := range l.Vifaces {
		used[r.Out], used[r.In] = true, true
	}
	mark := func(w PairWord) {
		if w&PairIndexed != 0 {
			used[w&^PairIndexed] = true
		}
	}
	for _, w := range l.Matrix {
		mark(w)
	}
	for _, p := range l.Pairs {
		mark(p.Word)
	}
	var refs []uint32
	if l.Conditions, refs = keep(l.Conditions, used); refs != nil {
		l.renumber(refs)
	}
	tables, traces := make([]bool, len(l.Tables)+1), make([]bool, len(l.Traces)+1)
	for _, k := range l.Conditions {
		tables[k.Distribution], traces[k.Trace] = true, true
	}
	var tableRefs, traceRefs []uint32
	l.Tables, tableRefs = keep(l.Tables, tables)
	l.Traces, traceRefs = keep(l.Traces, traces)
	for i := range l.Conditions {
		if k := &l.Conditions[i]; tableRefs != nil {
			k.Distribution = tableRefs[k.Distribution]
		}
		if k := &l.Conditions[i]; traceRefs != nil {
			k.Trace = traceRefs[k.Trace]
		}
	}
}

// renumber changes all references to conditions. Ranges and pairs are l's own
// by now; the matrix is only if it refers to any.
func (l *Links) renumber(refs []uint32) {
	for i := range l.Vifaces {
		r := &l.Vifaces[i]
		r.Out, r.In = refs[r.Out], refs[r.In]
	}
	for i, w := range l.Matrix {
		if w&PairIndexed != 0 {
			l.Matrix[i] = PairIndexed | PairWord(refs[w&^PairIndexed])
		}
	}
	for i, p := range l.Pairs {
		if p.Word&PairIndexed != 0 {
			l.Pairs[i].Word = PairIndexed | PairWord(refs[p.Word&^PairIndexed])
		}
	}
}

// keep leaves out the rows that no reference uses, and gives the new reference
// of each old one; nil if all stay.
func keep[T any](rows []T, used []bool) ([]T, []uint32) {
	if used[0] = true; !slices.Contains(used, false) {
		if len(rows) == 0 {
			return nil, nil
		}
		return rows, nil
	}
	var out []T
	refs := make([]uint32, len(rows)+1)
	for i, row := range rows {
		if used[i+1] {
			out = append(out, row)
			refs[i+1] = uint32(len(out))
		}
	}
	return out, refs
}

// Equal says whether two links are the same, row by row.
func (l *Links) Equal(m *Links) bool {
	if l == nil || m == nil || l == m {
		return l == m
	}
	return l.Seed == m.Seed && l.Classes == m.Classes && slices.Equal(l.Conditions, m.Conditions) &&
		slices.Equal(l.Vifaces, m.Vifaces) && slices.Equal(l.Pairs, m.Pairs) && slices.Equal(l.Matrix, m.Matrix) &&
		slices.EqualFunc(l.Tables, m.Tables, func(a, b Distribution) bool { return compareTables(&a, &b) == 0 }) &&
		slices.EqualFunc(l.Traces, m.Traces, func(a, b Trace) bool { return compareTraces(&a, &b) == 0 })
}

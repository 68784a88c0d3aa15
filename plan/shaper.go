package plan

import "myriad/program"

// shaper makes tables of link conditions: those that a topology asks for, or
// those that changes make of others.
//
// Vifaces of which every pair with any other has the same conditions are of
// one class. At first all are of class 0; a rule that speaks of some members
// of a class and not of others cuts it in two. Where a rule speaks of few
// pairs, they become exceptions instead. Steps are numbered, so that of an
// exception and a rule about classes the later one decides. Classes that
// became alike are joined when it is over, by program.Links.Canonical.
type shaper struct {
	*conditions
	plan *Plan
	base *program.Links // from which it began: its pairs hold until open

	class   []uint32 // a row for each viface; nil: all are of class 0
	out, in []uint32 // references to conditions; nil: there are none

	opened     bool // the fields below hold, in place of base
	grid       grid
	members    []int // vifaces of each class
	exceptions map[uint64]exception
	step       uint32

	whole  bool  // make no exceptions of pairs: whatever differs is a class
	counts []int // scratch, by class
	err    error // what was too much: nothing is done any more
}

// exception is what goes from one viface to another, whatever their classes.
// Its key is the network's ID, and the hosts of both.
type exception struct {
	from, to uint32 // rows
	word     program.PairWord
	step     uint32
}

func keyOf(network uint16, from, to uint32) uint64 {
	return uint64(network)<<48 | uint64(from)<<24 | uint64(to)
}

// newShaper begins with some tables, or none.
func newShaper(p *Plan, l *program.Links) *shaper {
	s := &shaper{conditions: newConditions(l), plan: p, base: l}
	s.Seed = p.seed
	if l == nil {
		return s
	}
	s.Seed = l.Seed
	n := len(p.host)
	s.out, s.in = make([]uint32, n), make([]uint32, n)
	if l.Classes > 0 {
		s.class = make([]uint32, n)
	}
	p.eachRange(l, func(r *program.LinkRange, rows []uint32) {
		for _, row := range rows {
			s.out[row], s.in[row] = r.Out, r.In
			if s.class != nil {
				s.class[row] = r.Class
			}
		}
	})
	return s
}

// eachRange calls f for each range of l with its vifaces.
func (p *Plan) eachRange(l *program.Links, f func(r *program.LinkRange, rows []uint32)) {
	h := p.byHost()
	network, rows := -1, []uint32(nil)
	for i := range l.Vifaces {
		r := &l.Vifaces[i]
		if network < 0 || p.networks[network].ID != r.Network {
			if network = p.networkAt(r.Network); network < 0 {
				continue
			}
			rows = h.rows[h.from[network]:h.from[network+1]]
		}
		for len(rows) > 0 && p.host[rows[0]] < r.Host {
			rows = rows[1:]
		}
		n := 0
		for n < len(rows) && p.host[rows[n]]-r.Host < r.Count {
			n++
		}
		f(r, rows[:n])
		rows = rows[n:]
	}
}

// open makes the pairs of base ready to be changed.
func (s *shaper) open() {
	if s.opened {
		return
	}
	s.opened, s.exceptions = true, map[uint64]exception{}
	n := 1
	if s.base != nil {
		n = int(s.base.Classes) + 1
	}
	s.grid, s.members = newGrid(n), make([]int, n)
	if s.class == nil {
		s.members[0] = len(s.plan.host)
	}
	for _, k := range s.class {
		s.members[k]++
	}
	if s.base == nil {
		return
	}
	s.grid.written = n > 1
	for i := 1; i < n; i++ {
		copy(s.grid.words[i*n+1:], s.base.Matrix[(i-1)*(n-1):i*(n-1)])
	}
	network := -1
	for _, e := range s.base.Pairs {
		if network < 0 || s.plan.networks[network].ID != e.Network {
			if network = s.plan.networkAt(e.Network); network < 0 {
				continue
			}
		}
		from, ok := s.plan.rowAt(network, e.From)
		to, there := s.plan.rowAt(network, e.To)
		if ok && there {
			s.exceptions[keyOf(e.Network, e.From, e.To)] = exception{from: from, to: to, word: e.Word}
		}
	}
}

// classOf gives the class of a viface.
func (s *shaper) classOf(row uint32) int {
	if s.class == nil {
		return 0
	}
	return int(s.class[row])
}

// vifacesOf gives the rows of the vifaces of some vnodes.
func (s *shaper) vifacesOf(vnodes rowRange) rowRange {
	return rowRange{int(s.plan.viface[vnodes.from]), int(s.plan.viface[vnodes.to])}
}

// touched gives the classes of the vifaces of some vnodes, in the order in
// which they come, and leaves in counts how many of each there are: see done.
func (s *shaper) touched(vnodes []rowRange) (classes []int) {
	for len(s.counts) < len(s.members) {
		s.counts = append(s.counts, 0)
	}
	if len(vnodes) == 1 && vnodes[0].len() == s.plan.Len() {
		for k, n := range s.members {
			if s.counts[k] = n; n > 0 {
				classes = append(classes, k)
			}
		}
		return classes
	}
	for _, v := range vnodes {
		rows := s.vifacesOf(v)
		if s.class == nil {
			if s.counts[0] == 0 && rows.len() > 0 {
				classes = append(classes, 0)
			}
			s.counts[0] += rows.len()
			continue
		}
		for _, k := range s.class[rows.from:rows.to] {
			if s.counts[k] == 0 {
				classes = append(classes, int(k))
			}
			s.counts[k]++
		}
	}
	return classes
}

// done ends the use of what touched counted.
func (s *shaper) done(classes []int) {
	for _, k := range classes {
		s.counts[k] = 0
	}
}

// cuts gives the number of classes of which some vnodes have only a part.
func (s *shaper) cuts(vnodes []rowRange) (n int) {
	classes := s.touched(vnodes)
	for _, k := range classes {
		if s.counts[k] < s.members[k] {
			n++
		}
	}
	s.done(classes)
	return n
}

// cut makes sure that classes are either of some vnodes or not, and gives those
// that are.
func (s *shaper) cut(vnodes []rowRange) []int {
	classes := s.touched(vnodes)
	moved := map[uint32]uint32{}
	for i, k := range classes {
		if s.counts[k] < s.members[k] && s.room() {
			now := s.grid.split(k)
			s.members = append(s.members, s.counts[k])
			s.members[k] -= s.counts[k]
			moved[uint32(k)] = uint32(now)
			s.counts[k] = 0
			classes[i] = now
		}
	}
	for _, k := range classes {
		if k < len(s.counts) {
			s.counts[k] = 0
		}
	}
	if len(moved) == 0 {
		return classes
	}
	if s.class == nil {
		s.class = make([]uint32, len(s.plan.host))
	}
	for _, v := range vnodes {
		rows := s.vifacesOf(v)
		for i, k := range s.class[rows.from:rows.to] {
			if now, ok := moved[k]; ok {
				s.class[rows.from+i] = now
			}
		}
	}
	return classes
}

var maxClasses = program.MaxClasses // less in tests

// room says whether there can be one more class; besides class 0, which may
// turn out to be nobody's.
func (s *shaper) room() bool {
	if len(s.members) <= maxClasses {
		return true
	}
	s.err = tooManyClasses()
	return false
}

// cutBoth is cut for both sides of a rule.
func (s *shaper) cutBoth(from, to []rowRange) (fromClasses, toClasses []int) {
	s.cut(from)
	toClasses = s.cut(to)
	return s.classesOf(from), toClasses
}

// begin begins a step that writes to classes.
func (s *shaper) begin() {
	s.open()
	if s.step++; len(s.exceptions) > 0 {
		s.grid.stamp()
	}
}

// wordAt gives what goes from one viface to another.
func (s *shaper) wordAt(key uint64, from, to uint32) program.PairWord {
	i, j := s.classOf(from), s.classOf(to)
	if e, ok := s.exceptions[key]; ok && e.step >= s.grid.stampAt(i, j) {
		return e.word
	}
	return s.grid.at(i, j)
}

// except makes an exception of a pair.
func (s *shaper) except(key uint64, from, to uint32, w program.PairWord) {
	if w == 0 {
		w = program.PairIndexed
	}
	if s.err != nil {
		return
	}
	if s.exceptions[key] = (exception{from, to, w, s.step}); len(s.exceptions) > 2*program.MaxPairs {
		s.err = tooManyPairs(len(s.exceptions))
	}
}

// eachPair calls f for every pair of vifaces from some vnodes to some others
// that are in one network.
func (p *Plan) eachPair(from, to []rowRange, f func(key uint64, from, to uint32)) {
	for _, a := range from {
		for i := a.from; i < a.to; i++ {
			for _, b := range to {
				for j := b.from; j < b.to; j++ {
					if i != j {
						p.eachShared(i, j, func(network int, x, y uint32) {
							f(keyOf(p.networks[network].ID, p.host[x], p.host[y]), x, y)
						})
					}
				}
			}
		}
	}
}

// eachShared calls f for every pair of vifaces that two vnodes have in one
// network.
func (p *Plan) eachShared(a, b int, f func(network int, x, y uint32)) {
	for i, v := range p.kinds[p.kind[a]].vifaces {
		for j, w := range p.kinds[p.kind[b]].vifaces {
			if v.network == w.network {
				f(v.network, p.viface[a]+uint32(i), p.viface[b]+uint32(j))
			}
		}
	}
}

// fewPairs is up to how many pairs a rule makes exceptions rather than cutting
// classes: an exception takes about as much memory as 16 words of the matrix,
// in which a new class is a row and a column; and it takes a look-up of each
// frame's time.
func (s *shaper) fewPairs() int { return min(exceptionsOf+len(s.members)/8, 1024) }

var exceptionsOf = 4 // other in tests

// few says whether a rule is better made of exceptions: its pairs are few, and
// it would cut classes.
func (s *shaper) few(from, to []rowRange) bool {
	return !s.whole && total(from)*total(to) <= s.fewPairs() && (s.cuts(from) > 0 || s.cuts(to) > 0)
}

// rule writes one word for every pair from some vnodes to some others.
func (s *shaper) rule(from, to []rowRange, w program.PairWord) {
	s.begin()
	if s.few(from, to) {
		s.plan.eachPair(from, to, func(key uint64, x, y uint32) { s.except(key, x, y, w) })
		return
	}
	fromClasses, toClasses := s.cutBoth(from, to)
	for _, i := range fromClasses {
		for _, j := range toClasses {
			s.grid.set(i, j, w, s.step)
		}
	}
}

// change writes for every pair from some vnodes to some others what f makes
// of what it was.
func (s *shaper) change(from, to []rowRange, f func(program.PairWord) (program.PairWord, error)) {
	s.begin()
	if s.few(from, to) {
		s.plan.eachPair(from, to, func(key uint64, x, y uint32) {
			w, err := f(s.wordAt(key, x, y))
			s.fail(err)
			s.except(key, x, y, w)
		})
		return
	}
	fromClasses, toClasses := s.cutBoth(from, to)
	s.changeExceptions(fromClasses, toClasses, func(_, _ int, w program.PairWord) (program.PairWord, error) { return f(w) })
	for _, i := range fromClasses {
		for _, j := range toClasses {
			s.changeCell(i, j, f)
		}
	}
}

// changeCell writes what f makes of what went from one class to another. What
// cannot be made is an error only if there is such a pair.
func (s *shaper) changeCell(from, to int, f func(program.PairWord) (program.PairWord, error)) {
	w, err := f(s.grid.at(from, to))
	if err != nil {
		if s.err == nil && s.hasPair(from, to) {
			s.fail(err)
		}
		return
	}
	s.grid.set(from, to, w, s.step)
}

// fail keeps the first error.
func (s *shaper) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}

// hasPair says whether what goes from one class to another goes for any pair
// at all: the vnodes are in one network, and the pair is no exception.
func (s *shaper) hasPair(from, to int) bool {
	type end struct {
		row   uint32
		vnode int
	}
	froms, tos := make([][]end, len(s.plan.networks)), make([][]end, len(s.plan.networks))
	s.plan.eachViface(func(row uint32, vnode int, f *kindViface) {
		k := s.classOf(row)
		if k == from {
			froms[f.network] = append(froms[f.network], end{row, vnode})
		}
		if k == to {
			tos[f.network] = append(tos[f.network], end{row, vnode})
		}
	})
	for network, n := range s.plan.networks {
		for _, a := range froms[network] {
			for _, b := range tos[network] {
				e, ok := s.exceptions[keyOf(n.ID, s.plan.host[a.row], s.plan.host[b.row])]
				if a.vnode != b.vnode && (!ok || e.step < s.grid.stampAt(from, to)) {
					return true
				}
			}
		}
	}
	return false
}

// changeExceptions makes something else of the exceptions between classes.
func (s *shaper) changeExceptions(from, to []int, f func(from, to int, w program.PairWord) (program.PairWord, error)) {
	if len(s.exceptions) == 0 {
		return
	}
	isFrom, isTo := make([]bool, s.grid.n), make([]bool, s.grid.n)
	for _, k := range from {
		isFrom[k] = true
	}
	for _, k := range to {
		isTo[k] = true
	}
	first, failed := uint64(0), error(nil) // in an order that does not change
	for key, e := range s.exceptions {
		i, j := s.classOf(e.from), s.classOf(e.to)
		if !isFrom[i] || !isTo[j] || e.step < s.grid.stampAt(i, j) {
			continue
		}
		w, err := f(i, j, e.word)
		if err != nil && (failed == nil || key < first) {
			first, failed = key, err
		}
		s.except(key, e.from, e.to, w)
	}
	s.fail(failed)
}

// total is the number of rows.
func total(rows []rowRange) (n int) {
	for _, r := range rows {
		n += r.len()
	}
	return n
}

package plan

import (
	"fmt"
	"slices"
	"time"

	"myriad/link"
	"myriad/program"
	"myriad/topo"
)

// Links gives the tables of link conditions that the topology asks for, nil
// if it asks for none.
func (p *Plan) Links() *program.Links { return p.links }

// Schedule gives the changes that the topology asks for, and after which time
// they begin again (0: never).
func (p *Plan) Schedule() (steps []topo.Step, repeat time.Duration) { return p.schedule, p.repeat }

// makeLinks makes the tables that the topology asks for.
func (m *maker) makeLinks() {
	m.seed, m.schedule, m.repeat = m.topo.Seed, m.topo.Schedule, m.topo.Repeat
	if len(m.problems) > 0 {
		return
	}
	m.noteSites()
	s := newShaper(&m.Plan, nil)
	m.sides(s)
	for i := range m.topo.Links {
		r := &m.topo.Links[i]
		if err := s.linkRule(r); err != nil {
			m.problems = append(m.problems, err)
		}
		if s.err != nil {
			return
		}
	}
	if len(m.problems) > 0 || s.out == nil && !s.opened {
		return
	}
	l, err := s.finish()
	if err != nil {
		m.problems = append(m.problems, err)
		return
	}
	if m.links = l; l != nil && m.fabric == program.FabricBridge {
		m.bad("give links conditions", "bridges know none", "use fabric: ebpf")
	}
}

// sides gives every viface the conditions of its template.
func (m *maker) sides(s *shaper) {
	type sides struct{ out, in uint32 }
	of := make([][]sides, len(m.topo.Vnodes))
	any := false
	for i := range m.topo.Vnodes {
		vifaces := m.topo.Vnodes[i].Vifaces
		of[i] = make([]sides, len(vifaces))
		for j := range vifaces {
			f := &vifaces[j]
			of[i][j] = sides{s.ref(s.lower(f.Out)), s.ref(s.lower(f.In))}
			any = any || of[i][j] != sides{}
		}
	}
	if !any {
		return
	}
	s.out, s.in = make([]uint32, len(m.host)), make([]uint32, len(m.host))
	for i, t := range m.template {
		for j, c := range of[t] {
			row := m.viface[i] + uint32(j)
			s.out[row], s.in[row] = c.out, c.in
		}
	}
}

// linkRule does what a rule of the topology says.
func (s *shaper) linkRule(r *topo.LinkRule) error {
	if r.Matrix != nil {
		sets, err := s.plan.matrixRows(r.Matrix)
		if err != nil {
			return err
		}
		s.matrixRule(sets, r.Matrix.Delay, nil)
		return s.err
	}
	if len(r.Sites) > 0 {
		s.siteRule(r)
		return s.err
	}
	from, err := s.plan.rowsOf(r.From)
	if err != nil {
		return err
	}
	to, err := s.plan.rowsOf(r.To)
	if err != nil {
		return err
	}
	s.rule(from, to, s.word(s.lower(r.Conditions)))
	return s.err
}

// siteRule does what a rule says of the pairs between sites, by where vnodes
// are now. Sites where nobody is have no pairs.
func (s *shaper) siteRule(r *topo.LinkRule) {
	w := s.word(s.lower(r.Conditions))
	rows := make([][]rowRange, len(r.Sites))
	for i, site := range r.Sites {
		rows[i] = s.plan.rowsAt(site)
	}
	for i, from := range rows {
		for j, to := range rows {
			if (i != j || len(rows) == 1) && !(r.Oneway && i > j) && len(from) > 0 && len(to) > 0 {
				s.rule(from, to, w)
			}
		}
	}
}

// noteSites notes delays between sites that are shorter than what the way
// itself takes, and sites that rules speak of and where nobody is.
func (m *maker) noteSites() {
	asked := map[[2]string]time.Duration{}
	var absent []string
	for i := range m.topo.Links {
		r := &m.topo.Links[i]
		for j, from := range r.Sites {
			if _, there := slices.BinarySearch(m.siteNames, from); !there && !slices.Contains(absent, from) {
				absent = append(absent, from)
			}
			for k, to := range r.Sites {
				if (j != k || len(r.Sites) == 1) && !(r.Oneway && j > k) {
					asked[[2]string{from, to}] = r.Conditions.Delay
				}
			}
		}
	}
	for _, w := range m.ways {
		if d := asked[[2]string{w.From, w.To}]; d > 0 && d < w.Takes {
			m.notes = append(m.notes, fmt.Sprintf("from site %s to site %s a delay of %s is asked for, and the way itself takes %s; ask for that or more, or for none",
				w.From, w.To, link.FormatDelay(d), link.FormatDelay(w.Takes)))
		}
	}
	if len(absent) > 0 {
		m.notes = append(m.notes, "no pnode is at "+fewOf(absent, "site")+", of which links speaks; start agents with --site, or correct the name")
	}
}

// rowsAt gives the vnodes that are on pnodes of a site.
func (p *Plan) rowsAt(site string) (rows []rowRange) {
	number, ok := slices.BinarySearch(p.siteNames, site)
	if !ok {
		return nil
	}
	for i, pnode := range p.pnode {
		if p.site[pnode] == uint16(number) {
			rows = appendRow(rows, i)
		}
	}
	return rows
}

// matrixRows gives the vnodes of each set of a matrix.
func (p *Plan) matrixRows(m *topo.Matrix) ([][]rowRange, error) {
	if n := len(m.Sets); n > maxClasses || len(m.Delay) != n*n {
		return nil, problem(fmt.Sprintf("use a matrix of %d delays", len(m.Delay)), fmt.Sprintf("it is of %d groups of vnodes, at most %d can be", n, maxClasses), "group nodes")
	}
	rows := make([][]rowRange, len(m.Sets))
	for i, set := range m.Sets {
		var err error
		if rows[i], err = p.rowsOf(set); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// merge gives the word of a pair from what it was and its new delay.
type merge func(was, delay program.PairWord) (program.PairWord, error)

// matrixRule writes the delays of a matrix between disjoint sets of vnodes.
// Without merge, they are all that their pairs have, and exceptions end.
func (s *shaper) matrixRule(sets [][]rowRange, delays []time.Duration, merge merge) {
	s.begin()
	more := 0
	for _, rows := range sets {
		more += s.cuts(rows)
	}
	s.grid.reserve(min(s.grid.n+more, program.MaxClasses+1))
	classes := make([][]int, len(sets))
	for i, rows := range sets {
		classes[i] = s.cut(rows)
	}
	n := len(sets)
	setOf := make([]int, s.grid.n)
	var all []int
	for i, list := range classes {
		for _, k := range list {
			setOf[k] = i
		}
		all = append(all, list...)
	}
	if merge != nil {
		s.changeExceptions(all, all, func(i, j int, w program.PairWord) (program.PairWord, error) {
			if d := delays[setOf[i]*n+setOf[j]]; d >= 0 {
				return merge(w, s.delay(d))
			}
			return w, nil
		})
	}
	for i, list := range classes {
		row := delays[i*n : (i+1)*n]
		for _, k := range list {
			s.matrixRow(k, row, classes, merge)
		}
	}
}

func (s *shaper) matrixRow(k int, delays []time.Duration, classes [][]int, merge merge) {
	for j, d := range delays {
		if d < 0 {
			continue
		}
		w := s.delay(d)
		for _, other := range classes[j] {
			if merge == nil {
				s.grid.set(k, other, w, s.step)
			} else {
				s.changeCell(k, other, func(was program.PairWord) (program.PairWord, error) { return merge(was, w) })
			}
		}
	}
}

// delay gives the word of a delay.
func (s *shaper) delay(d time.Duration) program.PairWord {
	if w, ok := program.WordOfDelay(d); ok {
		return w
	}
	return s.word(program.Condition{Delay: bounded(d)})
}

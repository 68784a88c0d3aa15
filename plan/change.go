package plan

import (
	"fmt"
	"time"

	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// Change gives the tables that changes make of current ones (nil: there are
// no conditions), and says how many vifaces and pairs they are about. It
// leaves current as it is; tables that do not change are shared with it.
//
// Where a change names fields, the others stay as they are, as far as they mean
// something without it; so they do where a matrix changes delays.
func (p *Plan) Change(current *program.Links, changes []topo.Change) (next *program.Links, vifaces, pairs int, err error) {
	c := changer{shaper: newShaper(p, current)}
	for i := range changes {
		if err := c.apply(&changes[i]); err != nil {
			return nil, 0, 0, err
		}
	}
	if next, err = c.finish(); err != nil {
		return nil, 0, 0, err
	}
	return next, total(joinRows(c.vifaces)), c.pairs, nil
}

// changer makes changes, and counts what they are about.
type changer struct {
	*shaper
	vifaces []rowRange
	pairs   int
	file    *file
}

func (c *changer) apply(q *topo.Change) error {
	if q.Reset && q.Nodes == nil && q.Matrix == nil {
		c.shaper, c.file = newShaper(c.plan, c.plan.links), nil
		c.vifaces = append(c.vifaces, rowRange{0, len(c.plan.host)})
		c.pairs += c.plan.countAll()
		return nil
	}
	if q.Matrix != nil {
		return c.matrix(q.Matrix)
	}
	if q.Nodes == nil || q.Side == 0 || q.Side&topo.SidePair != 0 && q.To == nil {
		return problem("change link conditions", "it is not said of which vnodes", "name them")
	}
	nodes, err := c.plan.rowsOf(q.Nodes)
	if err != nil {
		return err
	}
	if q.Side&(topo.SideOut|topo.SideIn) != 0 {
		if err := c.sides(q, nodes); err != nil {
			return err
		}
	}
	if q.Side&topo.SidePair == 0 {
		return nil
	}
	to, err := c.plan.rowsOf(q.To)
	if err != nil {
		return err
	}
	c.pairs += c.plan.countPairs(nodes, to)
	if q.Reset {
		c.resetPairs(nodes, to)
		return c.err
	}
	seen := map[program.PairWord]program.PairWord{}
	c.change(nodes, to, func(was program.PairWord) (w program.PairWord, err error) {
		w, ok := seen[was]
		if !ok {
			if w, err = c.patched(&q.Patch, c.raiseWord(was)); err == nil {
				seen[was] = w
			}
		}
		return w, err
	})
	return c.err
}

// patched applies a patch to what was asked of a pair.
func (c *changer) patched(patch *link.Patch, was link.Conditions) (program.PairWord, error) {
	asked, err := patch.Apply(was)
	if err != nil {
		return 0, problem(fmt.Sprintf("set %s where it is %s", patch, was), err.Error(), "")
	}
	return c.word(c.lower(&asked)), nil
}

// sides changes what goes for all that vnodes send, or get.
func (c *changer) sides(q *topo.Change, nodes []rowRange) error {
	if c.out == nil {
		c.out, c.in = make([]uint32, len(c.plan.host)), make([]uint32, len(c.plan.host))
	}
	for _, side := range []struct {
		side topo.Side
		refs []uint32
		file func(*file) []uint32
	}{{topo.SideOut, c.out, func(f *file) []uint32 { return f.out }}, {topo.SideIn, c.in, func(f *file) []uint32 { return f.in }}} {
		if q.Side&side.side == 0 {
			continue
		}
		to := map[uint32]uint32{}
		for _, v := range nodes {
			rows := c.vifacesOf(v)
			if q.Reset {
				copy(side.refs[rows.from:rows.to], side.file(c.theFile())[rows.from:rows.to])
				continue
			}
			for i, ref := range side.refs[rows.from:rows.to] {
				next, ok := to[ref]
				if !ok {
					was := c.raise(c.Condition(ref))
					asked, err := q.Patch.Apply(was)
					if err != nil {
						return problem(fmt.Sprintf("set %s where it is %s", q.Patch, was), err.Error(), "")
					}
					next = c.ref(c.lower(&asked))
					to[ref] = next
				}
				side.refs[rows.from+i] = next
			}
		}
	}
	for _, v := range nodes {
		c.vifaces = append(c.vifaces, c.vifacesOf(v))
	}
	return c.err
}

// matrix changes the delays of pairs to those of a matrix.
func (c *changer) matrix(m *topo.Matrix) error {
	sets, err := c.plan.matrixRows(m)
	if err != nil {
		return err
	}
	c.pairs += c.plan.countMatrix(sets, m.Delay)
	type key struct{ was, delay program.PairWord }
	seen := map[key]program.PairWord{}
	c.matrixRule(sets, m.Delay, func(was, delay program.PairWord) (program.PairWord, error) {
		if was&program.PairIndexed == 0 || was == program.PairIndexed {
			return delay, nil
		}
		w, ok := seen[key{was, delay}]
		if !ok {
			var err error
			if w, err = c.patched(delayPatch(c.raiseWord(delay).Delay), c.raiseWord(was)); err != nil {
				return 0, err
			}
			seen[key{was, delay}] = w
		}
		return w, nil
	})
	return c.err
}

// delayPatch is the patch that sets a delay.
func delayPatch(d time.Duration) *link.Patch {
	p := link.PatchOf(link.Conditions{Delay: d}, "delay")
	return &p
}

// CountLinks is how many vifaces some vnodes have, and how many pairs of vifaces
// there are from them to some others. Names that there are not, count nothing.
func (p *Plan) CountLinks(from, to *nodeset.Set) (vifaces, pairs int) {
	if from == nil {
		return 0, 0
	}
	a, err := p.rowsOf(from)
	if err != nil {
		return 0, 0
	}
	for _, n := range p.countIn(a) {
		vifaces += n
	}
	if to == nil {
		return vifaces, 0
	}
	b, err := p.rowsOf(to)
	if err != nil {
		return vifaces, 0
	}
	return vifaces, p.countPairs(a, b)
}

// countAll is how many pairs of vifaces there are in all networks.
func (p *Plan) countAll() (n int) {
	for _, m := range p.members {
		n += m * (m - 1)
	}
	return n
}

// countPairs is how many pairs of vifaces there are from some vnodes to some
// others.
func (p *Plan) countPairs(from, to []rowRange) (n int) {
	a, b := p.countIn(from), p.countIn(to)
	for network, count := range a {
		n += count * b[network]
	}
	for _, count := range p.countIn(both(from, to)) {
		n -= count // with itself
	}
	return n
}

// countIn is how many vifaces of some vnodes are in each network.
func (p *Plan) countIn(vnodes []rowRange) []int {
	n := make([]int, len(p.networks))
	for _, v := range vnodes {
		for i := v.from; i < v.to; i++ {
			for _, f := range p.kinds[p.kind[i]].vifaces {
				n[f.network]++
			}
		}
	}
	return n
}

// both gives the rows that are in a and in b.
func both(a, b []rowRange) []rowRange {
	var out []rowRange
	for len(a) > 0 && len(b) > 0 {
		if s := (rowRange{max(a[0].from, b[0].from), min(a[0].to, b[0].to)}); s.from < s.to {
			out = append(out, s)
		}
		if a[0].to < b[0].to {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// countMatrix is how many pairs of vifaces a matrix speaks of.
func (p *Plan) countMatrix(sets [][]rowRange, delays []time.Duration) (n int) {
	in := make([][]int, len(sets))
	for i := range sets {
		in[i] = p.countIn(sets[i])
	}
	for i := range sets {
		for j := range sets {
			if delays[i*len(sets)+j] < 0 {
				continue
			}
			for network, count := range in[i] {
				n += count * in[j][network]
				if i == j {
					n -= count
				}
			}
		}
	}
	return n
}

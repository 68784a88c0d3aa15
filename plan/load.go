package plan

import (
	"fmt"

	"myriad/link"
	"myriad/program"
)

// load notes pnodes whose vifaces may together send and get more than a
// holder there can keep.
func (n *noter) load() {
	bits := make([]float64, len(n.pnodes))
	cores := make([]float64, len(n.pnodes))
	rates := make([]float64, len(n.l.Conditions)+1)
	costs := make([]float64, len(n.l.Conditions)+1) // cores
	for i := range n.l.Conditions {
		rates[i+1] = n.rateOf(&n.l.Conditions[i])
		costs[i+1] = rates[i+1] / holdBits
		if single(&n.l.Conditions[i]) {
			costs[i+1] = rates[i+1] / packetBits / holdPackets
		}
	}
	n.eachViface(func(row uint32, vnode int, _ *kindViface) {
		at := n.pnode[vnode]
		bits[at] += max(rates[n.out[row]], rates[n.in[row]])
		cores[at] += costs[n.out[row]] + costs[n.in[row]]
	})
	worst, over := -1, 0
	for i, p := range n.pnodes {
		if p.CPUs == 0 || cores[i] <= float64(p.CPUs) {
			continue
		}
		over++
		if worst < 0 || cores[i]/float64(p.CPUs) > cores[worst]/float64(n.pnodes[worst].CPUs) {
			worst = i
		}
	}
	if worst < 0 {
		return
	}
	p := &n.pnodes[worst]
	where := p.Name
	if over > 1 {
		where = fmt.Sprintf("%s, the worst of %d such pnodes,", p.Name, over)
	}
	share := float64(p.CPUs) / cores[worst]
	n.note(n.on(worst), "", "let fewer send at once, lower the rates, or add pnodes",
		"together their rates are %s; %s holds about %s with %s, so that about %d of them may be in full use at once",
		about(bits[worst]), where, about(bits[worst]*share), count(p.CPUs, "CPU"), int(share*float64(n.VnodesOn(worst))))
}

// rateOf is the rate of a condition, or the mean of its trace.
func (n *noter) rateOf(c *program.Condition) float64 {
	if c.Trace > 0 {
		t := &n.l.Traces[c.Trace-1]
		return float64(len(t.At)) * packetBits * 1000 / float64(t.Period)
	}
	return float64(c.Rate)
}

// single says whether packets are held one by one.
func single(c *program.Condition) bool {
	return c.Trace > 0 || c.Rate < singleRate || c.Jitter > 0 || c.Loss|c.ToBad|c.Corrupt|c.Duplicate|c.Reorder > 0
}

// about writes a rate with two digits.
func about(bits float64) string {
	unit := uint64(1)
	for bits >= 100*float64(unit) {
		unit *= 10
	}
	return link.FormatRate(max(uint64(bits/float64(unit)+0.5)*unit, 1))
}

// on gives the vnodes of a pnode.
func (p *Plan) on(pnode int) string {
	if p.VnodesOn(pnode) == p.Len() {
		return p.nodes.String()
	}
	var rows []rowRange
	for _, i := range p.order[p.from[pnode]:p.from[pnode+1]] {
		rows = append(rows, rowRange{int(i), int(i) + 1})
	}
	return p.namesOf(joinRows(rows)).String()
}

package plan

import (
	"fmt"

	"myriad/link"
	"myriad/program"
)

// load notes pnodes whose vifaces may together send and get more than a
// holder there can keep. A millionth of a core is the unit of work.
func (n *noter) load() {
	const core = 1_000_000
	bits, work := make([]uint64, len(n.pnodes)), make([]uint64, len(n.pnodes))
	rates, costs := make([]uint64, len(n.l.Conditions)+1), make([]uint64, len(n.l.Conditions)+1)
	for i := range n.l.Conditions {
		rates[i+1] = n.rateOf(&n.l.Conditions[i])
		costs[i+1] = rates[i+1] / (holdBits / core)
		if single(&n.l.Conditions[i]) {
			costs[i+1] = rates[i+1] / (packetBits * holdPackets / core)
		}
	}
	n.eachViface(func(row uint32, vnode int, _ *kindViface) {
		at := n.pnode[vnode]
		bits[at] += max(rates[n.out[row]], rates[n.in[row]])
		work[at] += costs[n.out[row]] + costs[n.in[row]]
	})
	worst, over := -1, 0
	for i, p := range n.pnodes {
		if p.CPUs == 0 || work[i] <= uint64(p.CPUs)*core {
			continue
		}
		over++
		if worst < 0 || work[i]/uint64(p.CPUs) > work[worst]/uint64(n.pnodes[worst].CPUs) {
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
	can := uint64(p.CPUs) * core
	n.note(n.on(worst), "", "let fewer send at once, lower the rates, or add pnodes",
		"together their rates are %s; %s holds about %s with %s, so that about %d of them may be in full use at once",
		about(bits[worst]), where, about(uint64(float64(bits[worst])*float64(can)/float64(work[worst]))), count(p.CPUs, "CPU"), uint64(n.VnodesOn(worst))*can/work[worst])
}

// rateOf is the rate of a condition, or the mean of its trace.
func (n *noter) rateOf(c *program.Condition) uint64 {
	if c.Trace > 0 {
		t := &n.l.Traces[c.Trace-1]
		return uint64(len(t.At)) * packetBits * 1000 / uint64(t.Period)
	}
	return c.Rate
}

// single says whether packets are held one by one.
func single(c *program.Condition) bool {
	return c.Trace > 0 || c.Rate < singleRate || c.Jitter > 0 || c.Loss|c.ToBad|c.Corrupt|c.Duplicate|c.Reorder > 0
}

// about writes a rate with two digits.
func about(bits uint64) string {
	unit := uint64(1)
	for bits/unit >= 100 {
		unit *= 10
	}
	return link.FormatRate(max((bits+unit/2)/unit*unit, 1))
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

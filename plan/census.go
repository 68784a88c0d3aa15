package plan

import (
	"cmp"
	"slices"
	"time"

	"myriad/link"
	"myriad/program"
	"myriad/topo"
)

// census counts who has which link conditions.
type census struct {
	*Plan
	l          *program.Links
	out, in    []uint32 // a row for each viface
	class      []uint32
	vifaces    int // with conditions, of one's own or of pairs
	sides      map[sideKey]int
	words      map[program.PairWord]int // pairs by word; but plain delays:
	delays     int                      // pairs with one
	least      time.Duration
	most       time.Duration
	exceptions int
}

type sideKey struct {
	side topo.Side
	ref  uint32
}

func (p *Plan) newCensus(l *program.Links) *census {
	n := len(p.host)
	c := &census{Plan: p, l: l, out: make([]uint32, n), in: make([]uint32, n), class: make([]uint32, n),
		sides: map[sideKey]int{}, words: map[program.PairWord]int{}, exceptions: len(l.Pairs)}
	p.eachRange(l, func(r *program.LinkRange, rows []uint32) {
		c.vifaces += len(rows)
		c.sides[sideKey{topo.SideOut, r.Out}] += len(rows)
		c.sides[sideKey{topo.SideIn, r.In}] += len(rows)
		for _, row := range rows {
			c.out[row], c.in[row], c.class[row] = r.Out, r.In, r.Class
		}
	})
	delete(c.sides, sideKey{topo.SideOut, 0})
	delete(c.sides, sideKey{topo.SideIn, 0})
	for network := range p.networks {
		c.pairs(network)
	}
	for _, e := range l.Pairs {
		network := p.networkAt(e.Network)
		x, _ := p.rowAt(network, e.From)
		y, _ := p.rowAt(network, e.To)
		c.count(l.Between(c.class[x], c.class[y]), -1)
		c.count(e.Word, 1)
	}
	return c
}

// pairs counts the pairs of a network by what goes for their classes.
func (c *census) pairs(network int) {
	h := c.byHost()
	members := map[uint32]int{}
	var classes []uint32
	for _, row := range h.rows[h.from[network]:h.from[network+1]] {
		if k := c.class[row]; k != 0 {
			if members[k] == 0 {
				classes = append(classes, k)
			}
			members[k]++
		}
	}
	counts := make([]int, len(classes))
	for i, k := range classes {
		counts[i] = members[k]
	}
	for i, a := range classes {
		row := c.l.Matrix[(a-1)*c.l.Classes : a*c.l.Classes]
		for j, b := range classes {
			n := counts[i] * counts[j]
			if i == j {
				n -= counts[i] // nobody is a pair with itself
			}
			if w := row[b-1]; n > 0 && w != 0 {
				c.count(w, n)
			}
		}
	}
}

// count counts n pairs.
func (c *census) count(w program.PairWord, n int) {
	switch {
	case w == 0 || w == program.PairIndexed:
	case w&program.PairIndexed != 0:
		c.words[w] += n
	default:
		d := time.Duration(w) * program.DelayUnit
		if n > 0 && (c.delays == 0 || d < c.least) {
			c.least = d
		}
		if n > 0 {
			c.most = max(c.most, d)
		}
		c.delays += n
	}
}

// LinkSummary says how many vifaces or pairs have some conditions.
type LinkSummary struct {
	Side  string `json:"side"` // out, in, pair
	Asked string `json:"asked"`
	Count int    `json:"count"`
}

// maxSummaries is how many of the most frequent conditions a forecast lists.
const maxSummaries = 8

// summaries lists what most vifaces and pairs have, and how many others there
// are.
func (c *census) summaries() (list []LinkSummary, more int) {
	type entry struct {
		side  int // index into sideNames
		count int
		ref   uint32
		asked program.Condition
	}
	var all []entry
	for key, n := range c.sides {
		side := 0
		if key.side == topo.SideIn {
			side = 1
		}
		all = append(all, entry{side, n, key.ref, c.l.Condition(key.ref)})
	}
	if c.delays > 0 {
		all = append(all, entry{2, c.delays, 0, program.Condition{Delay: c.least}})
	}
	for w, n := range c.words {
		if n > 0 {
			all = append(all, entry{2, n, uint32(w), c.l.PairCondition(w)})
		}
	}
	slices.SortFunc(all, func(a, b entry) int {
		return cmp.Or(cmp.Compare(b.count, a.count), cmp.Compare(a.side, b.side), cmp.Compare(a.ref, b.ref))
	})
	more = max(len(all)-maxSummaries, 0)
	all = all[:len(all)-more]
	slices.SortStableFunc(all, func(a, b entry) int { return cmp.Compare(a.side, b.side) })
	for _, e := range all {
		asked := Asked(c.l, e.asked)
		text := asked.String()
		if e.side == 2 && e.ref == 0 && c.least != c.most {
			text += " to " + link.FormatDelay(Asked(c.l, program.Condition{Delay: c.most}).Delay)
		}
		list = append(list, LinkSummary{sideNames[e.side], text, e.count})
	}
	return list, more
}

var sideNames = [...]string{"out", "in", "pair"}

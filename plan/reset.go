package plan

import (
	"myriad/link"
	"myriad/program"
)

// file is what the topology asks for, a row for each viface, in the terms of
// the tables that a changer makes.
type file struct {
	links   *program.Links
	own     *conditions // of links
	class   []uint32
	out, in []uint32
	words   map[program.PairWord]program.PairWord
}

// theFile gives what the topology asks for.
func (c *changer) theFile() *file {
	if c.file != nil {
		return c.file
	}
	l := c.plan.links
	if l == nil {
		l = &program.Links{}
	}
	n := len(c.plan.host)
	f := &file{links: l, own: newConditions(l), class: make([]uint32, n), out: make([]uint32, n), in: make([]uint32, n),
		words: map[program.PairWord]program.PairWord{}}
	refs := make([]uint32, len(l.Conditions)+1)
	for i := range l.Conditions {
		refs[i+1] = c.ref(c.again(f.own.raise(l.Conditions[i])))
	}
	c.plan.eachRange(l, func(r *program.LinkRange, rows []uint32) {
		for _, row := range rows {
			f.class[row], f.out[row], f.in[row] = r.Class, refs[r.Out], refs[r.In]
		}
	})
	c.file = f
	return f
}

func (c *changer) again(asked link.Conditions) program.Condition { return c.lower(&asked) }

// fileWord gives a word of the topology's tables in the terms of the changer's.
func (c *changer) fileWord(w program.PairWord) program.PairWord {
	f := c.theFile()
	if w&program.PairIndexed == 0 {
		return w
	}
	now, ok := f.words[w]
	if !ok {
		now = c.word(c.again(f.own.raiseWord(w)))
		f.words[w] = now
	}
	return now
}

// resetPairs gives pairs from some vnodes to some others what the topology
// asks for.
func (c *changer) resetPairs(from, to []rowRange) {
	f := c.theFile()
	c.begin()
	if c.few(from, to) {
		c.plan.eachPair(from, to, func(key uint64, x, y uint32) {
			network, a, b := partsOf(key)
			c.except(key, x, y, c.fileWord(f.links.Word(network, a, b)))
		})
		return
	}
	c.cutBoth(from, to)
	label := map[int]uint32{} // by class: that of the file
	for _, rows := range [][]rowRange{from, to} {
		c.refine(rows, f.class, label)
	}
	fromClasses := c.classesOf(from)
	toClasses := c.classesOf(to)
	isFrom, isTo := make([]bool, c.grid.n), make([]bool, c.grid.n)
	for _, i := range fromClasses {
		isFrom[i] = true
		for _, j := range toClasses {
			isTo[j] = true
			c.grid.set(i, j, c.fileWord(f.links.Between(label[i], label[j])), c.step)
		}
	}
	network := -1
	for _, e := range f.links.Pairs {
		if network < 0 || c.plan.networks[network].ID != e.Network {
			network = c.plan.networkAt(e.Network)
		}
		x, _ := c.plan.rowAt(network, e.From)
		y, _ := c.plan.rowAt(network, e.To)
		if isFrom[c.classOf(x)] && isTo[c.classOf(y)] {
			c.except(keyOf(e.Network, e.From, e.To), x, y, c.fileWord(e.Word))
		}
	}
}

// partsOf is the inverse of keyOf.
func partsOf(key uint64) (network uint16, from, to uint32) {
	return uint16(key >> 48), uint32(key >> 24 & program.MaxHost), uint32(key & program.MaxHost)
}

// classesOf gives the classes of some vnodes.
func (s *shaper) classesOf(vnodes []rowRange) []int {
	classes := s.touched(vnodes)
	s.done(classes)
	return classes
}

// refine cuts the classes of some vnodes, which are of no others, so that all
// of a class have one label; and says in of which.
func (s *shaper) refine(vnodes []rowRange, labels []uint32, of map[int]uint32) {
	type part struct {
		class int
		label uint32
	}
	parts := map[part]int{}
	for _, v := range vnodes {
		rows := s.vifacesOf(v)
		for row := rows.from; row < rows.to; row++ {
			k, label := s.classOf(uint32(row)), labels[row]
			first, seen := of[k]
			if !seen {
				of[k] = label
			}
			if !seen || first == label {
				continue
			}
			now, ok := parts[part{k, label}]
			if !ok {
				if !s.room() {
					return
				}
				now = s.grid.split(k)
				s.members = append(s.members, 0)
				parts[part{k, label}], of[now] = now, label
			}
			if s.class == nil {
				s.class = make([]uint32, len(s.plan.host))
			}
			s.class[row] = uint32(now)
			s.members[k]--
			s.members[now]++
		}
	}
}

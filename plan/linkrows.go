package plan

import (
	"cmp"
	"encoding/binary"
	"slices"

	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// LinkRow is one or more vifaces, or pairs, of the same conditions.
type LinkRow struct {
	Nodes   *nodeset.Set
	To      *nodeset.Set // of pairs
	Network string
	Side    topo.Side
	Asked   program.Condition
	Count   int
	// Exception says that its pairs may be among those that another row
	// names: this one holds, and counts them.
	Exception bool

	order [4]int // network, side, and the first rows of both sets
}

// MaxLinkRows is how many rows LinkRows gives at most.
const MaxLinkRows = 50_000

// LinkRows lists the conditions of the vifaces of nodes, or with to those of
// the pairs from nodes to it, with like ones in one row. Those without
// conditions are listed too. nodes may be nil for all.
func (p *Plan) LinkRows(l *program.Links, nodes, to *nodeset.Set) []LinkRow {
	if l == nil {
		l = &program.Links{}
	}
	r := rower{Plan: p, links: l, found: map[string]*group{}, sets: map[string]*nodeset.Set{}}
	r.nodes, r.from = r.known(nodes)
	if to == nil {
		r.sides()
	} else {
		r.tos, r.to = r.known(to)
		r.columns()
		for network := range p.networks {
			r.pairs(network)
		}
	}
	return r.rows()
}

// rower gathers rows.
type rower struct {
	*Plan
	links      *program.Links
	nodes, tos *nodeset.Set
	from, to   []rowRange // vnodes
	class      []uint32   // a row for each viface
	found      map[string]*group
	full       bool // there are no more groups
	sets       map[string]*nodeset.Set
}

// group is a row in the making.
type group struct {
	LinkRow
	from, to []rowRange // vnodes; may repeat
}

// known gives those vnodes of a set that there are.
func (r *rower) known(set *nodeset.Set) (*nodeset.Set, []rowRange) {
	if set == nil {
		set = r.Plan.nodes
	}
	rows, err := r.rowsOf(set)
	if err != nil {
		set = nodeset.Intersection(set, r.Plan.nodes)
		rows, _ = r.rowsOf(set)
	}
	return set, rows
}

// add adds some vifaces or pairs to the group with a key, which is made from
// row if it is new.
func (r *rower) add(key []byte, row LinkRow, from, to []rowRange) {
	g := r.found[string(key)]
	if g == nil {
		if r.full = len(r.found) == MaxLinkRows; r.full {
			return
		}
		g = &group{LinkRow: row}
		g.Count = 0
		r.found[string(key)] = g
	}
	g.Count += row.Count
	g.from = append(g.from, from...)
	if g.to == nil {
		g.to = to
	}
}

// sides adds what goes for all that vifaces send, and get.
func (r *rower) sides() {
	out, in := make([]uint32, len(r.host)), make([]uint32, len(r.host))
	r.eachRange(r.links, func(k *program.LinkRange, rows []uint32) {
		for _, row := range rows {
			out[row], in[row] = k.Out, k.In
		}
	})
	var key []byte
	for _, v := range r.from {
		for i := v.from; i < v.to; i++ {
			for j, f := range r.kinds[r.kind[i]].vifaces {
				row := r.viface[i] + uint32(j)
				for _, side := range []topo.Side{topo.SideOut, topo.SideIn} {
					ref := out[row]
					if side == topo.SideIn {
						ref = in[row]
					}
					key = binary.AppendUvarint(append(key[:0], byte(side)), uint64(f.network))
					key = binary.AppendUvarint(key, uint64(ref))
					r.one(key, f.network, side, ref, i)
				}
			}
		}
	}
}

// one adds a viface.
func (r *rower) one(key []byte, network int, side topo.Side, ref uint32, vnode int) {
	if g := r.found[string(key)]; g != nil { // mostly
		g.Count++
		if last := &g.from[len(g.from)-1]; last.to == vnode {
			last.to++
		} else if last.to < vnode {
			g.from = append(g.from, rowRange{vnode, vnode + 1})
		}
		return
	}
	r.add(key, LinkRow{Network: r.networks[network].Name, Side: side, Asked: r.links.Condition(ref), Count: 1,
		order: [4]int{network, int(side)}}, []rowRange{{vnode, vnode + 1}}, nil)
}

// columns fills class.
func (r *rower) columns() {
	r.class = make([]uint32, len(r.host))
	r.eachRange(r.links, func(k *program.LinkRange, rows []uint32) {
		for _, row := range rows {
			r.class[row] = k.Class
		}
	})
}

// ends are the vifaces at one end of pairs.
type ends struct {
	classes []uint32 // that there are, in the order of vnodes
	rows    map[uint32][]rowRange
	count   map[uint32]int
	vnodes  map[uint32]int // by host: the vnode + 1
}

func (r *rower) ends(network int, vnodes []rowRange) *ends {
	e := &ends{rows: map[uint32][]rowRange{}, count: map[uint32]int{}, vnodes: map[uint32]int{}}
	for _, v := range vnodes {
		for i := v.from; i < v.to; i++ {
			for j, f := range r.kinds[r.kind[i]].vifaces {
				if f.network != network {
					continue
				}
				row := r.viface[i] + uint32(j)
				k := r.class[row]
				if e.count[k] == 0 {
					e.classes = append(e.classes, k)
				}
				e.count[k]++
				e.vnodes[r.host[row]] = i + 1
				list := e.rows[k]
				if n := len(list); n > 0 && list[n-1].to >= i {
					list[n-1].to = i + 1
				} else {
					e.rows[k] = append(list, rowRange{i, i + 1})
				}
			}
		}
	}
	return e
}

// pairs adds the pairs of one network.
func (r *rower) pairs(network int) {
	from, to := r.ends(network, r.from), r.ends(network, r.to)
	if len(from.classes) == 0 || len(to.classes) == 0 {
		return
	}
	less := r.selves(network)
	r.exceptions(network, from, to, less)
	row := LinkRow{Network: r.networks[network].Name, Side: topo.SidePair, order: [4]int{network, int(topo.SidePair)}}
	for _, a := range from.classes {
		if r.full {
			return
		}
		var words []program.PairWord // different ones
		lists := map[program.PairWord][]uint32{}
		counts := map[program.PairWord]int{}
		for _, b := range to.classes {
			w := plain(r.links.Between(a, b))
			n := from.count[a]*to.count[b] - less[[2]uint32{a, b}]
			if n == 0 {
				continue
			}
			if lists[w] == nil {
				words = append(words, w)
			}
			lists[w] = append(lists[w], b)
			counts[w] += n
		}
		for _, w := range words {
			key := binary.AppendUvarint([]byte("class "), uint64(network))
			key = binary.AppendUvarint(key, uint64(w))
			var rows []rowRange
			for _, b := range lists[w] {
				key = binary.AppendUvarint(key, uint64(b))
				rows = append(rows, to.rows[b]...)
			}
			row.Asked, row.Count = r.links.PairCondition(w), counts[w]
			r.add(key, row, from.rows[a], rows)
		}
	}
}

// plain is the word without the difference between nothing and none.
func plain(w program.PairWord) program.PairWord {
	if w == program.PairIndexed {
		return 0
	}
	return w
}

// selves counts, by classes, the pairs of vifaces of one vnode.
func (r *rower) selves(network int) map[[2]uint32]int {
	less := map[[2]uint32]int{}
	for _, v := range both(r.from, r.to) {
		for i := v.from; i < v.to; i++ {
			r.eachShared(i, i, func(n int, x, y uint32) {
				if n == network {
					less[[2]uint32{r.class[x], r.class[y]}]++
				}
			})
		}
	}
	return less
}

// exceptions adds the pairs that are not as their classes, and counts them in
// less. Of one sender, those to whom the same goes are together, and senders
// from whom the same goes to the same.
func (r *rower) exceptions(network int, from, to *ends, less map[[2]uint32]int) {
	id := r.networks[network].ID
	first, _ := slices.BinarySearchFunc(r.links.Pairs, program.Pair{Network: id}, program.ComparePairs)
	pairs := r.links.Pairs[first:]
	row := LinkRow{Network: r.networks[network].Name, Side: topo.SidePair, Exception: true, order: [4]int{network, int(topo.SidePair)}}
	for len(pairs) > 0 && pairs[0].Network == id {
		sender := pairs[0].From
		var words []program.PairWord
		lists := map[program.PairWord][]rowRange{}
		for len(pairs) > 0 && pairs[0].Network == id && pairs[0].From == sender {
			e := pairs[0]
			pairs = pairs[1:]
			if from.vnodes[sender] == 0 || to.vnodes[e.To] == 0 {
				continue
			}
			w := plain(e.Word)
			if lists[w] == nil {
				words = append(words, w)
			}
			vnode := to.vnodes[e.To] - 1
			lists[w] = append(lists[w], rowRange{vnode, vnode + 1})
			less[[2]uint32{r.classAt(network, sender), r.classAt(network, e.To)}]++
		}
		for _, w := range words {
			rows := joinRows(slices.Clone(lists[w]))
			key := binary.AppendUvarint([]byte("pair "), uint64(network))
			key = binary.AppendUvarint(key, uint64(w))
			for _, v := range rows {
				key = binary.AppendUvarint(binary.AppendUvarint(key, uint64(v.from)), uint64(v.to))
			}
			vnode := from.vnodes[sender] - 1
			row.Asked, row.Count = r.links.PairCondition(w), len(lists[w])
			r.add(key, row, []rowRange{{vnode, vnode + 1}}, rows)
		}
	}
}

func (r *rower) classAt(network int, host uint32) uint32 {
	row, ok := r.rowAt(network, host)
	if !ok {
		return 0
	}
	return r.class[row]
}

// rows gives the rows in order.
func (r *rower) rows() []LinkRow {
	out := make([]LinkRow, 0, len(r.found))
	for _, g := range r.found {
		g.from = joinRows(slices.Clone(g.from))
		g.Nodes = r.setOf(g.from, r.nodes, r.from)
		g.order[2] = g.from[0].from
		if g.to != nil {
			g.to = joinRows(slices.Clone(g.to))
			g.To = r.setOf(g.to, r.tos, r.to)
			g.order[3] = g.to[0].from
		}
		out = append(out, g.LinkRow)
	}
	slices.SortFunc(out, func(a, b LinkRow) int {
		return cmp.Or(slices.Compare(a.order[:], b.order[:]), cmp.Compare(b.Count, a.Count))
	})
	return out
}

// setOf gives the names of some vnodes; quickly if they are a set that is
// known.
func (r *rower) setOf(rows []rowRange, known *nodeset.Set, knownRows []rowRange) *nodeset.Set {
	if slices.Equal(rows, knownRows) {
		return known
	}
	var key []byte
	for _, v := range rows {
		key = binary.AppendUvarint(binary.AppendUvarint(key, uint64(v.from)), uint64(v.to))
	}
	if set := r.sets[string(key)]; set != nil {
		return set
	}
	set := r.namesOf(rows)
	r.sets[string(key)] = set
	return set
}

// namesOf gives the names of some vnodes.
func (p *Plan) namesOf(rows []rowRange) *nodeset.Set {
	names := make([]string, 0, total(rows))
	for _, v := range rows {
		for i := v.from; i < v.to; i++ {
			names = append(names, p.names.at(i))
		}
	}
	return nodeset.Of(names...)
}

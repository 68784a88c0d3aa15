package plan

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"sync"

	"myriad/nodeset"
	"myriad/program"
)

// rowRange is consecutive rows: from … to-1.
type rowRange struct{ from, to int }

func (s rowRange) len() int { return s.to - s.from }

// rowsOf gives the rows of the vnodes of a set, in order. Names that are no
// vnode are an error.
func (p *Plan) rowsOf(set *nodeset.Set) ([]rowRange, error) {
	n := set.Len()
	if set == p.nodes || n == p.Len() && set.Equal(p.nodes) {
		if n == 0 {
			return nil, nil
		}
		return []rowRange{{0, n}}, nil
	}
	var rows []rowRange
	near := 0
	for r := range set.Runs() {
		rows = p.appendRun(rows, set, r, near)
		if len(rows) > 0 {
			near = rows[len(rows)-1].to
		}
	}
	rows = joinRows(rows)
	found := 0
	for _, s := range rows {
		found += s.len()
	}
	if found < n {
		unknown := p.Unknown(set)
		return nil, problem("look up "+clip(set.String()), fmt.Sprintf("no vnode is called %s", clip(unknown.String())), "leave it out")
	}
	return rows, nil
}

// appendRun appends the rows of a run of a set, which is perhaps not far
// behind a row.
func (p *Plan) appendRun(rows []rowRange, set *nodeset.Set, r nodeset.Run, near int) []rowRange {
	from, first := p.names.findBehind(r.First, near)
	to, last := from, first
	if r.Len > 1 {
		to, last = p.names.findBehind(r.Last, min(from+r.Len-1, p.names.len()))
	}
	if first && last && to-from == r.Len-1 && p.names.even(from, to) {
		return append(rows, rowRange{from, to + 1})
	}
	// Names are missing, or others with more or fewer zeros lie between.
	to += sort.Search(p.names.len()-to, func(i int) bool { return compareNames(p.names.at(to+i), r.Last) > 0 })
	for i := from; i < to; i++ {
		if set.Contains(p.names.at(i)) {
			rows = append(rows, rowRange{i, i + 1})
		}
	}
	return rows
}

// even says whether the names of rows from … to are of one length. If the
// first and last ones are those of a run of as many names, they are that run:
// between them there are none but those that differ from them in their last
// index.
func (n *names) even(from, to int) bool {
	length := len(n.at(from))
	for i := from + 1; i <= to; i++ {
		if int(n.end[i]-n.end[i-1]) != length {
			return false
		}
	}
	return true
}

// joinRows sorts ranges, and joins those that touch.
func joinRows(rows []rowRange) []rowRange {
	slices.SortFunc(rows, func(a, b rowRange) int { return cmp.Compare(a.from, b.from) })
	out := rows[:0]
	for _, s := range rows {
		if n := len(out); n > 0 && s.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, s.to)
			continue
		}
		out = append(out, s)
	}
	return out
}

// clip shortens the text of a set for messages.
func clip(s string) string {
	if r := []rune(s); len(r) > 60 {
		return string(r[:57]) + "..."
	}
	return s
}

// hosts is the vifaces in the order of networks and host numbers. It is made
// when it is first asked for.
type hosts struct {
	once sync.Once
	rows []uint32
	from []int // a row for each network, and one more: its first entry of rows
}

// byHost gives the rows of the vifaces of each network, by host number.
func (p *Plan) byHost() *hosts {
	h := &p.byHosts
	h.once.Do(func() {
		h.from = make([]int, len(p.networks)+1)
		for i, n := range p.members {
			h.from[i+1] = h.from[i] + n
		}
		h.rows = make([]uint32, len(p.host))
		next := slices.Clone(h.from)
		p.eachViface(func(row uint32, _ int, f *kindViface) {
			h.rows[next[f.network]] = row
			next[f.network]++
		})
		for i := range p.networks {
			rows := h.rows[h.from[i]:h.from[i+1]]
			less := func(a, b uint32) int { return cmp.Compare(p.host[a], p.host[b]) }
			if !slices.IsSortedFunc(rows, less) {
				slices.SortFunc(rows, less)
			}
		}
	})
	return h
}

// rowAt gives the viface that has a host number in a network, given by its
// index; ok is false if nobody has.
func (p *Plan) rowAt(network int, host uint32) (row uint32, ok bool) {
	h := p.byHost()
	rows := h.rows[h.from[network]:h.from[network+1]]
	if len(rows) == 0 {
		return 0, false
	}
	// Mostly, hosts are numbered without gaps.
	if at := int64(host) - int64(p.host[rows[0]]); at >= 0 && at < int64(len(rows)) && p.host[rows[at]] == host {
		return rows[at], true
	}
	at, ok := slices.BinarySearchFunc(rows, host, func(row, host uint32) int { return cmp.Compare(p.host[row], host) })
	if !ok {
		return 0, false
	}
	return rows[at], true
}

// networkAt gives the index of the network with an ID, -1 if there is none.
func (p *Plan) networkAt(id uint16) int {
	i, ok := slices.BinarySearchFunc(p.networks, id, func(n program.Network, id uint16) int { return cmp.Compare(n.ID, id) })
	if !ok {
		return -1
	}
	return i
}

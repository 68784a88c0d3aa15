package fabric

import (
	"maps"
	"slices"

	"myriad/program"
)

// A link index is what the programs know a viface with conditions by: its
// conditions and what they remember are at that index of the maps links and
// states. It stands beside the viface's place, and stays as long as the viface
// does, so that a change of conditions, or of other vifaces, loses nothing.

// label gives the link index of a host, 0 if it has none; ok says whether the
// host is there.
func (t *tables) label(network uint16, host uint32) (index uint32, ok bool) {
	if r := t.row(int(network)); host < r.span {
		switch w := t.places[r.base+host]; uint32(w) {
		case 0:
			return 0, false
		case placeOther:
		default:
			return uint32(w >> 32), true
		}
	}
	o, ok := t.others[byHost(network, host)]
	return o.Link, ok
}

// setLabel gives a host that is there a link index.
func (t *tables) setLabel(network uint16, host, index uint32) {
	if r := t.row(int(network)); host < r.span {
		if w := &t.places[r.base+host]; uint32(*w) != placeOther {
			*w = uint64(uint32(*w)) | uint64(index)<<32
			return
		}
	}
	o := t.others[byHost(network, host)]
	o.Link = index
	t.others[byHost(network, host)] = o
	if _, given := t.others[o.MAC]; given {
		t.others[o.MAC] = o
	}
}

// labels calls fn for every link index in use.
func (t *tables) labels(fn func(network uint16, host, index uint32)) {
	if t == nil {
		return
	}
	for id := range t.rows() {
		r := t.row(id)
		for host := range r.span {
			if w := t.places[r.base+host]; w>>32 != 0 {
				fn(uint16(id), host, uint32(w>>32))
			}
		}
	}
	for key, o := range t.others {
		if key>>63 != 0 && o.Link != 0 {
			fn(uint16(o.Network), o.Host, o.Link)
		}
	}
}

// carry gives the hosts of t the link indexes that they have in old tables.
func (t *tables) carry(old *tables) {
	old.labels(func(network uint16, host, index uint32) {
		if _, ok := t.label(network, host); ok {
			t.setLabel(network, host, index)
		}
	})
}

// clone copies what a change of link indexes changes.
func (t *tables) clone() *tables {
	c := *t
	c.places, c.others = slices.Clone(t.places), maps.Clone(t.others)
	return &c
}

// labelled is a host that got a link index.
type labelled struct {
	network     uint16
	host, index uint32
}

// assign gives every host of t that has conditions a link index, where it has
// none: the lowest that nobody has, in t or in the tables that are there now.
func (t *tables) assign(l *program.Links, now *tables) []labelled {
	var used []bool
	use := func(_ uint16, _, index uint32) {
		if missing := int(index) + 1 - len(used); missing > 0 {
			used = append(used, make([]bool, missing)...)
		}
		used[index] = true
	}
	use(0, 0, 0)
	t.labels(use)
	now.labels(use)

	var fresh []labelled
	next := uint32(1)
	give := func(network uint16, host uint32) {
		if index, ok := t.label(network, host); !ok || index != 0 {
			return
		}
		for int(next) < len(used) && used[next] {
			next++
		}
		t.setLabel(network, host, next)
		fresh = append(fresh, labelled{network, host, next})
		next++
	}
	for _, r := range l.Vifaces {
		if r.Class|r.Out|r.In == 0 {
			continue
		}
		for host := r.Host; host < r.Host+r.Count; host++ {
			give(r.Network, host)
		}
	}
	for _, p := range l.Pairs {
		if p.Word != 0 {
			give(p.Network, p.From)
			give(p.Network, p.To)
		}
	}
	return fresh
}

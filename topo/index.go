package topo

import (
	"slices"

	"myriad/nodeset"
)

// index finds which of many node sets share names with another one, without
// going through all of them. It is a tree over the sets, in their order, whose
// inner nodes know the union of what is below. As the unions of neighbours
// fold well, it takes little room.
type index struct {
	set         *nodeset.Set
	total       int // names of all sets, those of overlaps counted again
	item        int // place of the set in the list; of a leaf
	left, right *index
}

// newIndex makes the index of sets; nil if there are none.
func newIndex(sets []*nodeset.Set) *index { return buildIndex(sets, 0) }

func buildIndex(sets []*nodeset.Set, first int) *index {
	switch len(sets) {
	case 0:
		return nil
	case 1:
		return &index{set: sets[0], total: sets[0].Len(), item: first}
	}
	half := len(sets) / 2
	x := &index{left: buildIndex(sets[:half], first), right: buildIndex(sets[half:], first+half)}
	x.set = nodeset.Union(x.left.set, x.right.set)
	x.total = x.left.total + x.right.total
	return x
}

// all is the union of the sets.
func (x *index) all() *nodeset.Set {
	if x == nil {
		return nil
	}
	return x.set
}

// few is up to how many names are looked up one by one: that takes no time
// for each range of the sets, as an intersection does.
const few = 16

// each calls do, in order, for every set that has names of s, and says which.
// It stops when do returns false.
func (x *index) each(s *nodeset.Set, do func(item int, common *nodeset.Set) bool) {
	if n := s.Len(); n > few {
		x.eachSet(s, do)
	} else if n > 0 {
		x.eachName(slices.Collect(s.All()), do)
	}
}

func (x *index) eachSet(s *nodeset.Set, do func(item int, common *nodeset.Set) bool) bool {
	if x == nil {
		return true
	}
	common := nodeset.Intersection(x.set, s)
	switch {
	case common.Len() == 0:
		return true
	case x.left == nil:
		return do(x.item, common)
	}
	return x.left.eachSet(common, do) && x.right.eachSet(common, do)
}

func (x *index) eachName(names []string, do func(item int, common *nodeset.Set) bool) bool {
	if x == nil {
		return true
	}
	common := x.those(names)
	switch {
	case len(common) == 0:
		return true
	case x.left == nil:
		return do(x.item, nodeset.Of(common...))
	}
	return x.left.eachName(common, do) && x.right.eachName(common, do)
}

// those gives the names that are in the sets.
func (x *index) those(names []string) []string {
	in := make([]string, 0, len(names))
	for _, name := range names {
		if x.set.Contains(name) {
			in = append(in, name)
		}
	}
	return in
}

// find gives the set that has the name; -1 if none has.
func (x *index) find(name string) int {
	item := -1
	x.eachName([]string{name}, func(i int, _ *nodeset.Set) bool {
		item = i
		return false
	})
	return item
}

// others is the names of s that no set has.
func (x *index) others(s *nodeset.Set) *nodeset.Set {
	if x != nil && s.Len() <= few && len(x.those(slices.Collect(s.All()))) == s.Len() {
		return nil
	}
	return nodeset.Difference(s, x.all())
}

// overlaps calls do for every set that has names of an earlier one: with such
// names, and the first set that has any of them.
func (x *index) overlaps(do func(item, earlier int, common *nodeset.Set)) {
	x.walkOverlaps(map[int]bool{}, do)
}

func (x *index) walkOverlaps(seen map[int]bool, do func(item, earlier int, common *nodeset.Set)) {
	if x == nil || x.total == x.set.Len() {
		return
	}
	x.right.each(x.left.all(), func(item int, common *nodeset.Set) bool {
		if !seen[item] {
			seen[item] = true
			x.left.each(common, func(earlier int, _ *nodeset.Set) bool {
				do(item, earlier, common)
				return false
			})
		}
		return true
	})
	x.left.walkOverlaps(seen, do)
	x.right.walkOverlaps(seen, do)
}

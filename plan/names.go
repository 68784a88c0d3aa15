package plan

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"myriad/nodeset"
)

// names is a column of names in one piece of text. Names cut from it share
// its memory.
type names struct {
	text string
	end  []uint32 // name i ends here, and name i+1 begins
}

func (n *names) len() int { return len(n.end) }

func (n *names) at(i int) string {
	if i == 0 {
		return n.text[:n.end[0]]
	}
	return n.text[n.end[i-1]:n.end[i]]
}

// find gives the row of a name, in names that are in order.
func (n *names) find(name string) (int, bool) {
	return sort.Find(n.len(), func(i int) int { return compareNames(name, n.at(i)) })
}

// findNear is find for callers that look for names in order: it tries the row
// after the one found before.
func (n *names) findNear(name string, before int) (int, bool) {
	if next := before + 1; next < n.len() && n.at(next) == name {
		return next, true
	}
	return n.find(name)
}

// findBehind is find for callers that know a row that may be close before the
// name: the closer, the faster.
func (n *names) findBehind(name string, near int) (int, bool) {
	if near > 0 && (near >= n.len() || compareNames(n.at(near), name) > 0) {
		return n.find(name)
	}
	width := 1
	for near+width < n.len() && compareNames(n.at(near+width), name) < 0 {
		near, width = near+width, 2*width
	}
	i, ok := sort.Find(min(width+1, n.len()-near), func(i int) int { return compareNames(name, n.at(near+i)) })
	return near + i, ok
}

// namesOf gives the names of a set in order.
func namesOf(set *nodeset.Set) names {
	b := builder{end: make([]uint32, 0, set.Len())}
	for name := range set.All() {
		b.add(name)
	}
	n, _ := b.sorted()
	return n
}

// builder collects names.
type builder struct {
	text strings.Builder
	end  []uint32
}

func (b *builder) add(name string) {
	b.text.WriteString(name)
	b.end = append(b.end, uint32(b.text.Len()))
}

// sorted gives the names in order, and the row in which each was added; nil
// if that is the same.
func (b *builder) sorted() (names, []int) {
	n := names{b.text.String(), b.end}
	sorted := true
	for i := 1; i < n.len() && sorted; i++ {
		sorted = compareNames(n.at(i-1), n.at(i)) <= 0
	}
	if sorted {
		return n, nil
	}
	order := make([]int, n.len())
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(i, j int) int { return compareNames(n.at(i), n.at(j)) })
	c := builder{end: make([]uint32, 0, n.len())}
	for _, row := range order {
		c.add(n.at(row))
	}
	return names{c.text.String(), c.end}, order
}

// compareNames orders names as people count: first by their text without
// numbers, then by their numbers from left to right. So the names of one
// pattern stand together, whatever others begin alike, and n9 before n10.
// Equal numbers are in the order of their digits' count: n1, n01.
func compareNames(a, b string) int {
	if c := compareShapes(a, b); c != 0 {
		return c
	}
	for a != "" && b != "" { // alike but for the digits
		x, y := digits(a), digits(b)
		if x == 0 && y == 0 {
			a, b = a[1:], b[1:]
			continue
		}
		if c := compareNumbers(a[:x], b[:y]); c != 0 {
			return c
		}
		a, b = a[x:], b[y:]
	}
	return cmp.Compare(len(a), len(b))
}

// compareShapes compares what is between the numbers; a number stands for a
// character below all others.
func compareShapes(a, b string) int {
	for a != "" && b != "" {
		x, y := digits(a), digits(b)
		switch {
		case x > 0 && y > 0:
			a, b = a[x:], b[y:]
		case x > 0:
			return -1
		case y > 0:
			return 1
		case a[0] != b[0]:
			return cmp.Compare(a[0], b[0])
		default:
			a, b = a[1:], b[1:]
		}
	}
	return cmp.Compare(len(a), len(b))
}

// digits is the number of digits that s begins with.
func digits(s string) int {
	n := 0
	for n < len(s) && s[n]-'0' <= 9 {
		n++
	}
	return n
}

func compareNumbers(a, b string) int {
	x, y := strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
	return cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y), cmp.Compare(len(a), len(b)))
}

package topo

import (
	"math"
	"slices"
	"strconv"
	"time"

	"myriad/link"
	"myriad/nodeset"
)

// maxCells is how many entries the matrices of a file may have in all.
const maxCells = 50_000_000

var unitsOfTime = map[string]time.Duration{"s": time.Second, "ms": time.Millisecond, "us": time.Microsecond}

// matrix reads a matrix, of links or of the schedule.
func (b *builder) matrix(v value) (*Matrix, bool) {
	at, ok := v.get("matrix")
	if !ok {
		return nil, false
	}
	sets, ok := b.matrixSets(v)
	if at.items == nil && at.text != "" {
		return b.matrixFile(v, at, sets, ok)
	}
	return b.matrixRows(v, at, sets, ok)
}

// matrixSets reads what the rows of a matrix stand for.
func (b *builder) matrixSets(v value) ([]*nodeset.Set, bool) {
	nodes, hasNodes := v.get("nodes")
	groups, hasGroups := v.get("groups")
	switch {
	case hasNodes && hasGroups:
		b.report(groups.place, "leave out one of them", "beside nodes, it is not clear what the rows stand for")
		return nil, false
	case hasGroups:
		return b.groupSets(groups)
	case !hasNodes:
		if !v.broken {
			b.report(v.place, "add nodes or groups", "does not say what the rows of the matrix stand for")
		}
		return nil, false
	}
	set, ok := b.linkNodes(nodes)
	if !ok {
		return nil, false
	}
	if n := set.Len(); n > link.MaxMatrix {
		b.report(nodes.place, "use groups of vnodes", "%d vnodes are more than the %d rows that a matrix may have", n, link.MaxMatrix)
		return nil, false
	}
	var sets []*nodeset.Set
	for name := range set.All() {
		sets = append(sets, nodeset.Of(name))
	}
	return sets, b.joined(nodes, set, set)
}

// groupSets gives the vnodes of groups, which must be disjoint.
func (b *builder) groupSets(v value) ([]*nodeset.Set, bool) {
	sets := make([]*nodeset.Set, len(v.items))
	sound := !v.broken
	for i, item := range v.items {
		if item.broken {
			continue
		}
		set, ok := b.nodeset(value{place: item.place, text: "@" + item.text}, b.groups)
		if sets[i] = set; ok && set.Len() == 0 {
			b.report(item.place, "leave it out", "the group %s is empty", item.text)
		}
		sound = sound && ok && set.Len() > 0
	}
	if !sound {
		return nil, false
	}
	if len(sets) == 0 || len(sets) > link.MaxMatrix {
		b.report(v.place, "", "a matrix has from 1 to %d rows, not %d", link.MaxMatrix, len(sets))
		return nil, false
	}
	return sets, b.disjoint(sets, func(i int) *place { return v.items[i].place })
}

// disjoint reports sets that share vnodes with others.
func (b *builder) disjoint(sets []*nodeset.Set, at func(i int) *place) bool {
	sound := true
	newIndex(sets).overlaps(func(item, earlier int, common *nodeset.Set) {
		b.report(at(item), "say each vnode once", "%s: also in line %d, as row %d", clip(common.String()), at(earlier).line, earlier+1)
		sound = false
	})
	return sound
}

// matrixFile reads a matrix in a file.
func (b *builder) matrixFile(v, at value, sets []*nodeset.Set, ok bool) (*Matrix, bool) {
	o, okOptions := b.matrixOptions(v)
	data, okFile := b.open(at)
	if !okOptions || !okFile {
		return nil, false
	}
	m, err := link.ParseMatrix(at.text, data, o)
	if err != nil {
		b.reportLink(at.place, err)
		return nil, false
	}
	if !ok {
		return nil, false
	}
	if m.N != len(sets) {
		b.report(at.place, "each row is of one vnode or group, in order", "%s has %s, for %s", quote(at.text), plural(m.N, "row"), b.whose(v, len(sets)))
		return nil, false
	}
	if m.Missing > 0 {
		b.note(at.place, at.text+": "+strconv.Itoa(m.Missing)+" of "+strconv.Itoa(m.N*(m.N-1))+" entries off the diagonal are missing or 0: the matrix says nothing of such pairs")
	}
	return b.counted(at, &Matrix{Sets: sets, Delay: m.Delay})
}

// whose says what the rows of a matrix stand for.
func (b *builder) whose(v value, n int) string {
	if hasAny(v, "groups") {
		return plural(n, "group")
	}
	return plural(n, "vnode")
}

// counted is the matrix, if there is room for it.
func (b *builder) counted(at value, m *Matrix) (*Matrix, bool) {
	if b.cells += len(m.Delay); b.cells > maxCells {
		b.report(at.place, "use fewer, or matrices of groups", "the matrices up to here have more than %d entries", maxCells)
		return nil, false
	}
	return m, true
}

// matrixOptions reads what the numbers of a file mean. It is never guessed.
func (b *builder) matrixOptions(v value) (o link.MatrixOptions, ok bool) {
	unit, hasUnit := v.get("unit")
	values, hasValues := v.get("values")
	if !v.broken && !hasUnit {
		b.report(v.place, "add unit: ms, s or us", "does not say what the numbers of the file are counted in")
	}
	if !v.broken && !hasValues {
		b.report(v.place, "add values: rtt or values: delay", "does not say whether the numbers of the file are round trips, or delays of one direction")
	}
	if v.or("missing", "error") == "none" {
		o.Missing = link.MissingNone
	}
	o.Unit, o.RTT, o.Diagonal = unitsOfTime[unit.text], values.text == "rtt", hasAny(v, "groups")
	return o, hasUnit && hasValues
}

// matrixRows reads a matrix that is written in the file itself: it may say 0.
func (b *builder) matrixRows(v, at value, sets []*nodeset.Set, ok bool) (*Matrix, bool) {
	before := b.count
	if missing, found := v.get("missing"); found {
		b.report(missing.place, "leave it out, and write none for an entry that says nothing", "is for matrices in files, where a 0 may be a gap")
	}
	unit, hasUnit := v.get("unit")
	scale := float64(unitsOfTime[unit.text])
	n := len(at.items)
	if ok && n != len(sets) {
		b.report(at.place, "each row is of one vnode or group, in order", "has %s, for %s", plural(n, "row"), b.whose(v, len(sets)))
	}
	m := &Matrix{Sets: sets}
	for i, row := range at.items {
		if !row.broken && len(row.items) != n {
			b.report(row.place, "", "row %d has %s, and the matrix %s", i+1, plural(len(row.items), "column"), plural(n, "row"))
		}
		for j, c := range row.items {
			d, problem := c.delay(scale)
			if d > link.MaxDelay || problem != "" {
				if problem == "" {
					problem = "is more than 15 minutes"
				}
				b.report(c.place, "", "row %d, column %d %s", i+1, j+1, problem)
			}
			if d > 0 && v.or("values", "delay") == "rtt" {
				d = (d + 1) / 2
			}
			m.Delay = append(m.Delay, d)
		}
	}
	if !hasUnit && slices.ContainsFunc(at.items, func(row value) bool { return slices.ContainsFunc(row.items, bareNumber) }) {
		b.report(at.place, "add unit: ms, or write 20ms", "has numbers without a unit")
	}
	if !ok || at.broken || b.count != before {
		return nil, false
	}
	return b.counted(at, m)
}

// bareNumber says whether an entry of a matrix needs a unit.
func bareNumber(c value) bool { return c.real > 0 }

// delay is what an entry of a matrix says, whose numbers are counted in
// scale; negative if it says nothing.
func (v value) delay(scale float64) (d time.Duration, problem string) {
	switch {
	case v.broken || v.text == "none" || v.text == "-":
		return -1, ""
	case v.text != "":
		d, err := link.ParseDelay(v.text)
		if err != nil {
			return -1, "is out of range: " + err.Error()
		}
		return d, ""
	case v.real*scale > float64(link.MaxDelay):
		return -1, "is more than 15 minutes"
	}
	return time.Duration(math.Round(v.real * scale)), ""
}

// positions reads the positions of an entry of links, as a matrix.
func (b *builder) positions(v value) (*Matrix, bool) {
	at, _ := v.get("positions")
	var places []link.Place
	var keys []*place // of places, where the file itself has them
	sound := !at.broken
	if at.text != "" {
		data, ok := b.open(at)
		if !ok {
			return nil, false
		}
		var err error
		if places, err = link.ParsePositions(at.text, data); err != nil {
			b.reportLink(at.place, err)
			return nil, false
		}
	}
	for _, item := range at.items {
		if item.broken {
			continue
		}
		p := link.Place{Nodes: item.key, Line: item.keyAt.line}
		if len(item.items) == 2 {
			p.Position = link.Position{Latitude: item.items[0].real, Longitude: item.items[1].real}
		}
		if len(item.items) != 2 || !p.Valid() {
			b.report(item.place, "write [latitude, longitude], such as [48.85, 2.35]", "is not a position")
			sound = false
		}
		places, keys = append(places, p), append(keys, item.keyAt)
	}
	sets := make([]*nodeset.Set, len(places))
	where := func(i int) *place {
		if at.text != "" {
			return at.place
		}
		return keys[i]
	}
	for i, p := range places {
		set, ok := b.linkNodes(value{place: where(i), text: p.Nodes})
		sets[i] = set
		sound = sound && ok
	}
	if !sound || !b.disjoint(sets, where) {
		return nil, false
	}
	if len(places) < 2 {
		b.report(at.place, "give the positions of two vnodes or more", "is about no pair")
		return nil, false
	}
	return b.counted(at, &Matrix{Sets: sets, Delay: distances(places, v)})
}

// distances gives the delays between places.
func distances(places []link.Place, v value) []time.Duration {
	speed, _ := v.get("speed")
	stretch, _ := v.get("stretch")
	n := len(places)
	out := make([]time.Duration, n*n)
	for i := range n {
		out[i*n+i] = -1
		for j := range i {
			km := link.Distance(places[i].Position, places[j].Position)
			d := link.Propagation(km, speed.real, stretch.real)
			out[i*n+j], out[j*n+i] = d, d
		}
	}
	return out
}

package topo

import (
	"errors"
	"path"
	"slices"
	"strings"
	"time"

	"myriad/link"
	"myriad/nodeset"
)

// MaxChanges is how many changes a schedule may have.
const MaxChanges = 200_000

// readSchedule reads the fields schedule and repeat.
func (b *builder) readSchedule() {
	steps, found := b.file.get("schedule")
	if found {
		b.noBridge(steps.place)
	}
	s := &scheduler{builder: b}
	for _, v := range steps.items {
		s.step(v)
	}
	slices.SortStableFunc(s.steps, func(x, y Step) int { return int(min(1, max(-1, x.At-y.At))) })
	for _, one := range s.steps {
		if n := len(b.topo.Schedule); n > 0 && b.topo.Schedule[n-1].At == one.At {
			last := &b.topo.Schedule[n-1]
			last.Changes = append(last.Changes, one.Changes...)
		} else {
			b.topo.Schedule = append(b.topo.Schedule, one)
		}
	}
	repeat, ok := b.file.get("repeat")
	if !ok {
		return
	}
	b.topo.Repeat = b.moment(repeat)
	switch n := len(b.topo.Schedule); {
	case !found:
		b.report(repeat.place, "add a schedule, or leave it out", "means nothing without a schedule")
	case b.topo.Repeat == 0:
		b.report(repeat.place, "leave it out to run the schedule once", "a schedule cannot begin again after no time")
	case n > 0 && b.topo.Schedule[n-1].At >= b.topo.Repeat:
		b.report(repeat.place, "write more", "the schedule is not over by then: its last step is at %s", link.FormatDelay(b.topo.Schedule[n-1].At))
	}
}

// moment reads a time.
func (b *builder) moment(v value) time.Duration {
	d, err := link.ParseMoment(v.text)
	if err != nil {
		b.reportLink(v.place, err)
	}
	return d
}

// scheduler collects the steps of a schedule.
type scheduler struct {
	*builder
	steps   []Step
	changes int
	full    bool
}

// add adds changes at a time.
func (s *scheduler) add(at value, when time.Duration, changes ...Change) {
	if s.changes += len(changes); s.changes > MaxChanges {
		if !s.full {
			s.report(at.place, "use fewer, such as coarser series", "the schedule up to here has more than %d changes", MaxChanges)
		}
		s.full = true
		return
	}
	if len(changes) > 0 {
		s.steps = append(s.steps, Step{At: when, Changes: changes})
	}
}

// step reads an entry of the schedule.
func (s *scheduler) step(v value) {
	choices := []string{"conditions", "reset", "matrix", "matrices", "series"}
	if !hasAny(v, choices...) {
		choices = []string{"from+to", "between"}
		if !hasAny(v, "from", "to", "between") {
			if !v.broken {
				s.report(v.place, "add conditions, from and to, between, reset, matrix, matrices or series", "does not say what changes")
			}
			return
		}
	}
	about, ok := s.about(v, choices...)
	if !ok {
		return
	}
	at, hasAt := v.get("at")
	if !hasAt && about != "matrices" && about != "series" {
		if !v.broken {
			s.report(v.place, "add at: 10s", "does not say when")
		}
		return
	}
	when := time.Duration(0)
	if hasAt {
		when = s.moment(at)
	}
	switch about {
	case "conditions":
		s.stepConditions(v, when)
	case "from+to", "between":
		s.stepPairs(v, about, when)
	case "reset":
		s.stepReset(v, when)
	case "matrix":
		if s.only(v, about, append(slices.Clone(aboutMatrix), "at")...) {
			if m, ok := s.matrix(v); ok {
				s.add(v, when, Change{Side: SidePair, Matrix: m})
			}
		}
	case "matrices":
		s.stepMatrices(v, when)
	case "series":
		s.stepSeries(v, when)
	}
}

// stepNodes reads the vnodes whose interfaces a step is about.
func (s *scheduler) stepNodes(v value) (*nodeset.Set, bool) {
	nodes, ok := v.get("nodes")
	if !ok {
		if !v.broken {
			s.report(v.place, "add nodes", "does not say whose interfaces it is about")
		}
		return nil, false
	}
	return s.linkNodes(nodes)
}

// stepConditions reads a change of the conditions of interfaces.
func (s *scheduler) stepConditions(v value, when time.Duration) {
	if !s.only(v, "conditions", "at", "nodes", "conditions") {
		return
	}
	nodes, ok := s.stepNodes(v)
	c, _, okChange := s.conditions(v)
	if ok && okChange {
		s.add(v, when, sideChanges(nodes, c)...)
	}
}

// sideChanges changes the conditions of interfaces.
func sideChanges(nodes *nodeset.Set, c both) []Change {
	if c.out == c.in {
		if c.out.Empty() {
			return nil
		}
		return []Change{{Side: SideOut | SideIn, Nodes: nodes, Patch: c.out}}
	}
	var out []Change
	for _, one := range []Change{{Side: SideOut, Patch: c.out}, {Side: SideIn, Patch: c.in}} {
		if !one.Patch.Empty() {
			one.Nodes = nodes
			out = append(out, one)
		}
	}
	return out
}

// stepPairs reads a change of the conditions of pairs.
func (s *scheduler) stepPairs(v value, about string, when time.Duration) {
	ways, ok := s.pairs(v, about)
	change, given, okChange := s.pairPatch(v)
	switch {
	case !ok || !okChange || v.broken:
	case !given:
		s.report(v.place, "add a field such as delay: 20ms, or reset: true", "says no conditions")
	default:
		for _, w := range ways {
			s.add(v, when, Change{Side: SidePair, Nodes: w.from, To: w.to, Patch: change})
		}
	}
}

// stepReset reads a step that goes back to what the rest of the file says.
func (s *scheduler) stepReset(v value, when time.Duration) {
	if reset, _ := v.get("reset"); !reset.flag {
		s.report(reset.place, "leave it out", "false means nothing here")
		return
	}
	if !hasAny(v, "from", "to", "between") {
		if !s.only(v, "reset", "at", "reset", "nodes", "side") {
			return
		}
		if !hasAny(v, "nodes") {
			if sideAt, found := v.get("side"); found {
				s.report(sideAt.place, "add nodes", "means nothing without nodes")
				return
			}
			if !v.broken {
				s.add(v, when, Change{Reset: true})
			}
			return
		}
		if nodes, ok := s.stepNodes(v); ok {
			s.add(v, when, Change{Side: s.sideOf(v), Nodes: nodes, Reset: true})
		}
		return
	}
	about := "from+to"
	if hasAny(v, "between") {
		about = "between"
	}
	pairs := v
	pairs.fields = slices.DeleteFunc(slices.Clone(v.fields), func(f value) bool { return f.key == "reset" })
	if _, given, _ := s.pairPatch(pairs); given {
		s.report(v.place, "write an entry for each", "has conditions beside reset")
		return
	}
	if ways, ok := s.pairs(pairs, about); ok {
		for _, w := range ways {
			s.add(v, when, Change{Side: SidePair, Nodes: w.from, To: w.to, Reset: true})
		}
	}
}

// sideOf reads the field side.
func (s *scheduler) sideOf(v value) Side {
	return map[string]Side{"out": SideOut, "in": SideIn, "both": SideOut | SideIn}[v.or("side", "both")]
}

// stepMatrices reads matrices that follow each other.
func (s *scheduler) stepMatrices(v value, when time.Duration) {
	if !s.only(v, "matrices", append(slices.Clone(aboutMatrix), "at", "every", "matrices")...) {
		return
	}
	names, _ := v.get("matrices")
	every, ok := v.get("every")
	period := time.Duration(0)
	switch {
	case !ok && !v.broken:
		s.report(v.place, "add every: 10s", "does not say how long each of the matrices holds")
	case ok:
		if period = s.moment(every); period == 0 {
			s.report(every.place, "write a time such as 10s", "matrices cannot hold for no time")
		}
	}
	sets, sound := s.matrixSets(v)
	i := 0
	for _, item := range names.items {
		if item.broken {
			continue
		}
		for _, name := range s.fileNames(item) {
			m, ok := s.matrixFile(v, value{place: item.place, text: name}, sets, sound)
			if !ok && (s.problems.full() || s.cells > maxCells) {
				return
			}
			if ok && period > 0 {
				s.add(v, when+time.Duration(i)*period, Change{Side: SidePair, Matrix: m})
			}
			i++
		}
	}
	if len(names.items) == 0 && !names.broken {
		s.report(names.place, "name at least one file", "the list is empty")
	}
}

// fileNames expands the name of a file that has a range in brackets.
func (s *scheduler) fileNames(v value) []string {
	if !strings.Contains(v.text, "[") || strings.ContainsAny(v.text, " ,!&^") {
		return []string{v.text}
	}
	set, ok := s.nodeset(v, noGroups{})
	if !ok {
		return nil
	}
	if n := set.Len(); n > MaxChanges {
		s.report(v.place, "", "stands for %d files", n)
		return nil
	}
	return slices.Collect(set.All())
}

// noGroups is a resolver of node sets that are not of vnodes.
type noGroups struct{}

func (noGroups) Group(string, string) (*nodeset.Set, error) { return nil, errNoGroups }
func (noGroups) Groups(string) ([]string, error)            { return nil, errNoGroups }
func (noGroups) All(string) (*nodeset.Set, error)           { return nil, errNoGroups }

var errNoGroups = errors.New("a file's name has no groups")

// stepSeries reads changes that a file has.
func (s *scheduler) stepSeries(v value, when time.Duration) {
	at, _ := v.get("series")
	pairs := hasAny(v, "from", "to", "between")
	allowed := []string{"at", "series", "field", "nodes", "side"}
	if pairs {
		allowed = []string{"at", "series", "field", "from", "to", "between", "oneway"}
	}
	if !s.only(v, "series", allowed...) {
		return
	}
	data, okFile := s.open(at)
	if !okFile {
		return
	}
	moments, err := link.ParseSeries(path.Clean(at.text), v.or("field", ""), data, s.files.get)
	if err != nil {
		s.reportLink(at.place, err)
		return
	}
	var changes []Change // but for what changes
	if pairs {
		about := "from+to"
		if hasAny(v, "between") {
			about = "between"
		}
		only := v
		only.fields = slices.DeleteFunc(slices.Clone(v.fields), func(f value) bool { return f.key == "series" || f.key == "field" })
		ways, ok := s.pairs(only, about)
		if !ok {
			return
		}
		for _, w := range ways {
			changes = append(changes, Change{Side: SidePair, Nodes: w.from, To: w.to})
		}
	} else {
		nodes, ok := s.stepNodes(v)
		if !ok {
			return
		}
		if !hasAny(v, "side") && !v.broken {
			s.report(v.place, "add side: out, in or both", "does not say which direction the values are for")
			return
		}
		changes = []Change{{Side: s.sideOf(v), Nodes: nodes}}
	}
	for _, m := range moments {
		now := slices.Clone(changes)
		for i := range now {
			now[i].Patch = m.Set
		}
		s.add(v, when+m.At, now...)
	}
}

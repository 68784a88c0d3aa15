package topo

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"myriad/nodeset"
)

// maxNesting is how deep groups may be made of groups.
const maxNesting = 64

// groups evaluates the groups of a file as they are asked for. It resolves
// the names in node sets.
type groups struct {
	b      *builder
	set    map[string]*nodeset.Set // those that are known; nil: known to be unsound
	file   map[string]value        // those that are node sets
	inside []string                // groups being evaluated, each because of the one before
}

// errReported is what evaluating a group gives that was reported elsewhere.
var errReported = errors.New("the group has an error of its own")

// readGroups reads the groups of vnodes entries, then the field groups.
func (b *builder) readGroups() {
	g := &groups{b: b, set: map[string]*nodeset.Set{}, file: map[string]value{}}
	b.groups = g
	lines := g.readMembers()
	table, _ := b.file.get("groups")
	for _, v := range table.items {
		if line, twice := lines[v.key]; twice {
			b.report(v.keyAt, "choose another name, or give the vnodes entry none", "%s is also the group of a vnodes entry, in line %d", v.key, line)
			continue
		}
		if g.file[v.key] = v; v.broken {
			g.set[v.key] = nil
		}
	}
	for _, v := range table.items {
		_, _ = g.Group("", v.key) // what is wrong with it is reported there
	}
	if b.topo.Groups = g.set; len(g.set) == 0 {
		b.topo.Groups = nil
	}
}

// readMembers reads the groups that vnodes entries name, and gives the line
// in which each is named first.
func (g *groups) readMembers() map[string]int {
	lines := map[string]int{}
	members := map[string][]*nodeset.Set{}
	for _, t := range g.b.templates {
		for _, v := range t.groups {
			if v.broken {
				continue
			}
			if _, ok := lines[v.text]; !ok {
				lines[v.text] = v.line
			}
			members[v.text] = append(members[v.text], t.Nodes)
		}
	}
	for name, sets := range members {
		g.set[name] = newIndex(sets).all()
	}
	return lines
}

// Group gives the vnodes of a group. It is part of nodeset.Resolver.
func (g *groups) Group(source, name string) (*nodeset.Set, error) {
	if source != "" {
		return nil, errors.New("group sources are not supported: write @" + clip(name))
	}
	if s, ok := g.set[name]; ok {
		if s == nil {
			return nil, errReported
		}
		return s, nil
	}
	v, ok := g.file[name]
	if !ok {
		return nil, g.unknown(name)
	}
	if i := slices.Index(g.inside, name); i >= 0 {
		return nil, fmt.Errorf("the group is made of itself: %s", clip(strings.Join(append(g.inside[i:], name), " → ")))
	}
	if len(g.inside) == maxNesting {
		return nil, fmt.Errorf("groups are nested more than %d deep", maxNesting)
	}
	g.inside = append(g.inside, name)
	s, ok := g.b.nodeset(v, g)
	g.inside = g.inside[:len(g.inside)-1]
	if !ok || !g.b.known(v, s) {
		s = nil
	}
	g.set[name] = s
	return g.Group(source, name)
}

// unknown is the error of a group that the file does not have.
func (g *groups) unknown(name string) error {
	if !g.b.allKnown {
		return errReported // it may be one of an entry that could not be read
	}
	if len(g.set)+len(g.file) < manyWords {
		names, _ := g.Groups("")
		if near := nearest(name, names); near != "" {
			return errors.New("no such group; did you mean @" + near + "?")
		}
	}
	return errors.New("no such group")
}

// Groups gives the names of all groups. It is part of nodeset.Resolver.
func (g *groups) Groups(string) ([]string, error) {
	names := slices.AppendSeq(slices.Collect(maps.Keys(g.set)), maps.Keys(g.file))
	slices.Sort(names)
	return slices.Compact(names), nil
}

// All gives all vnodes. It is part of nodeset.Resolver.
func (g *groups) All(string) (*nodeset.Set, error) { return g.b.index.all(), nil }

// nodeset reads a node set, over the groups and vnodes of r if there is one.
func (b *builder) nodeset(v value, r nodeset.Resolver) (*nodeset.Set, bool) {
	if b.ranges > maxRanges {
		return nil, false // was reported
	}
	s, err := nodeset.Parse(v.text, r)
	if err != nil {
		b.badNodeset(v, err)
		return nil, false
	}
	b.ranges += 1 + strings.Count(s.String(), ",")
	if b.ranges > maxRanges {
		b.report(v.place, "number the vnodes so that few ranges hold them", "the node sets up to here have more than %d ranges", maxRanges)
		return nil, false
	}
	return s, true
}

// badNodeset reports a node set that cannot be read.
func (b *builder) badNodeset(v value, err error) {
	if errors.Is(err, errReported) {
		return
	}
	p, msg := v.place, err.Error()
	var syntax *nodeset.SyntaxError
	if errors.As(err, &syntax) {
		p, msg = v.after(v.text, syntax.Offset), syntax.Msg
	}
	msg, remedy, _ := strings.Cut(msg, "; ")
	b.report(p, remedy, "node set: %s", msg)
}

// known says whether all names of s are vnodes, and reports those that are
// not.
func (b *builder) known(v value, s *nodeset.Set) bool {
	if !b.allKnown {
		return true
	}
	if others := b.index.others(s); others.Len() > 0 {
		b.report(v.place, "describe it under vnodes, or correct the name", "no vnode is called %s", clip(others.String()))
		return false
	}
	return true
}

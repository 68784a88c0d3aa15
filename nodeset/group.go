package nodeset

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// Limits of what a Resolver is asked for by one expression.
const (
	maxGroups  = 10_000     // groups, or wildcard patterns, that one term stands for
	maxMatched = 10_000_000 // names that wildcards are compared with
)

// Resolver knows groups. Source "" is the default one.
type Resolver interface {
	// Group is the nodes of a group.
	Group(source, name string) (*Set, error)
	// Groups is the names of all groups, for @@source.
	Groups(source string) ([]string, error)
	// All is all nodes, for @* and wildcards. If its error is
	// errors.ErrUnsupported, all nodes are those of all groups.
	All(source string) (*Set, error)
}

// addGroups adds the nodes of @group, @source:group, @*, @source:*, or the
// names of groups of @@source. Brackets stand for several groups.
func (p *parser) addGroups(t term, b *builder) error {
	if p.resolver == nil {
		return p.errorf(t.offset, "no groups are known here; write node names in place of %s", t.text)
	}
	names, err := p.names(t)
	if err != nil {
		return err
	}
	for name := range names.All() {
		s, err := p.lookUp(t, name[1:])
		if err != nil {
			return err
		}
		b.set(s)
		if !p.calc.spend(len(s.all())) {
			return p.check(s, t.offset)
		}
	}
	return nil
}

// names is the set of the names that a term stands for, were it plain.
func (p *parser) names(t term) (*Set, error) {
	b := newBuilder(p.calc)
	if err := p.addPattern(t, b); err != nil {
		return nil, err
	}
	s := b.finish()
	if err := p.check(s, t.offset); err != nil {
		return nil, err
	}
	if s.Len() > maxGroups {
		return nil, p.errorf(t.offset, "%s stands for more than %d groups or patterns; use smaller ranges", t.text, maxGroups)
	}
	return s, nil
}

// lookUp resolves what follows the "@".
func (p *parser) lookUp(t term, name string) (*Set, error) {
	if source, ok := strings.CutPrefix(name, "@"); ok {
		names, err := p.resolver.Groups(source)
		if err != nil {
			return nil, p.unresolved(t, err)
		}
		return Of(names...), nil
	}
	source, group, ok := strings.Cut(name, ":")
	if !ok {
		source, group = "", name
	}
	switch {
	case group == "*":
		return p.all(t, source)
	case group == "":
		return nil, p.errorf(t.offset, "no name after %q; write @group, @source:group, or @* for all nodes", "@"+name)
	case strings.ContainsAny(name, "*?@"):
		return nil, p.errorf(t.offset, "%q is not the name of a group; wildcards are for nodes, only @* stands for all nodes", "@"+name)
	}
	s, err := p.resolver.Group(source, group)
	if err != nil {
		return nil, p.unresolved(t, err)
	}
	return s, nil
}

func (p *parser) unresolved(t term, err error) error {
	e := p.errorf(t.offset, "%s: %v", t.text, err)
	e.Err = err
	return e
}

// all is all nodes of a source.
func (p *parser) all(t term, source string) (*Set, error) {
	s, err := p.resolver.All(source)
	if err == nil {
		return s, nil
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return nil, p.unresolved(t, err)
	}
	groups, err := p.resolver.Groups(source)
	if err != nil {
		return nil, p.unresolved(t, err)
	}
	b := newBuilder(p.calc)
	for _, g := range groups {
		s, err := p.resolver.Group(source, g)
		if err != nil {
			return nil, p.unresolved(t, err)
		}
		b.set(s)
	}
	return b.finish(), nil
}

// addMatches adds the nodes whose names match a term with "*" or "?".
func (p *parser) addMatches(t term, b *builder) error {
	if p.resolver == nil {
		return p.errorf(t.offset, "\"*\" and \"?\" stand for known nodes, and none are known here; write ranges as in n[1-5]")
	}
	masks, err := p.names(t)
	if err != nil {
		return err
	}
	if p.everyone == nil {
		if p.everyone, err = p.all(t, ""); err != nil {
			return err
		}
	}
	for mask := range masks.All() {
		for _, q := range p.everyone.all() {
			none, whole := matchShape(mask, q.shape)
			p.matched++
			if !none && !whole {
				p.matched = plus(p.matched, q.len())
			}
			switch {
			case p.matched > maxMatched:
				return p.errorf(t.offset, "%s would be compared with more than %d names; write ranges as in n[1-5]", t.text, maxMatched)
			case whole:
				b.set(&Set{parts: []part{q}})
			case !none:
				q.each(func(name []byte) {
					if match(mask, string(name)) {
						b.name(string(name))
					}
				})
			}
		}
	}
	return nil
}

// anyIndex stands for the digits of an index, whatever they are, in a shape
// that is compared with a mask. It is no valid UTF-8.
const anyIndex = "\xff"

// matchShape says whether mask matches none of the names of a shape, or all of
// them. If it says neither, one must look at the digits to tell.
func matchShape(mask, shape string) (none, whole bool) {
	texts := literals(shape)
	before, after := texts[0], texts[len(texts)-1]
	head, tail := mask[:strings.IndexAny(mask, "*?")], mask[strings.LastIndexAny(mask, "*?")+1:]
	n, m := min(len(head), len(before)), min(len(tail), len(after))
	if head[:n] != before[:n] || tail[len(tail)-m:] != after[len(after)-m:] {
		return true, false
	}
	if strings.Contains(mask, anyIndex) || strings.Contains(mask, "?") {
		return false, false
	}
	return false, match(mask, strings.Join(texts, anyIndex))
}

// match says whether name is mask, in which "*" stands for any text and "?"
// for any one character.
func match(mask, name string) bool {
	restMask, restName, star := "", "", false
	for {
		switch {
		case mask != "" && mask[0] == '*':
			mask = mask[1:]
			restMask, restName, star = mask, name, true
			continue
		case mask == "" && name == "":
			return true
		case mask != "" && name != "" && mask[0] == '?':
			_, n := utf8.DecodeRuneInString(name)
			mask, name = mask[1:], name[n:]
			continue
		case mask != "" && name != "" && mask[0] == name[0]:
			mask, name = mask[1:], name[1:]
			continue
		}
		if !star || restName == "" {
			return false
		}
		// let the last star take one more character
		_, n := utf8.DecodeRuneInString(restName)
		restName = restName[n:]
		mask, name = restMask, restName
	}
}

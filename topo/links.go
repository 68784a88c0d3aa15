package topo

import (
	"slices"
	"strings"

	"myriad/link"
	"myriad/nodeset"
)

// What an entry of links or of the schedule can be about, each with the fields
// that belong to it. Conditions belong to pairs.
var (
	aboutPairs     = []string{"from", "to", "between", "oneway", "profile"}
	aboutMatrix    = []string{"matrix", "nodes", "groups", "unit", "values", "missing"}
	aboutPositions = []string{"positions", "speed", "stretch"}
)

// only reports fields of v that mean nothing beside the field that says what
// it is about.
func (b *builder) only(v value, about string, fields ...string) bool {
	sound := true
	for _, f := range v.fields {
		if !slices.Contains(fields, f.key) {
			b.report(f.place, "leave it out, or write an entry of its own for it", "means nothing beside %s", about)
			sound = false
		}
	}
	return sound
}

// about says which of the fields v has. It reports v if it has none of them or
// more than one; of those joined by + either counts.
func (b *builder) about(v value, choices ...string) (string, bool) {
	var have []string
	for _, c := range choices {
		if hasAny(v, strings.Split(c, "+")...) {
			have = append(have, c)
		}
	}
	if len(have) == 1 {
		return have[0], true
	}
	for i, c := range choices {
		choices[i] = strings.ReplaceAll(c, "+", " and ")
	}
	if len(have) == 0 {
		if !v.broken {
			b.report(v.place, "add "+orList(choices), "does not say what it is about")
		}
		return "", false
	}
	b.report(v.place, "write an entry for each", "has %s: they are different things", strings.ReplaceAll(strings.Join(have, " beside "), "+", " and "))
	return "", false
}

// readLinks reads the field links.
func (b *builder) readLinks() {
	entries, found := b.file.get("links")
	if found {
		b.noBridge(entries.place)
	}
	for _, v := range entries.items {
		about, ok := b.about(v, "from+to", "between", "sites", "matrix", "positions")
		if !ok {
			continue
		}
		switch about {
		case "sites":
			b.readSiteRule(v)
		case "matrix":
			if b.only(v, about, aboutMatrix...) {
				if m, ok := b.matrix(v); ok {
					b.topo.Links = append(b.topo.Links, LinkRule{Matrix: m})
				}
			}
		case "positions":
			if b.only(v, about, aboutPositions...) {
				if m, ok := b.positions(v); ok {
					b.topo.Links = append(b.topo.Links, LinkRule{Matrix: m})
				}
			}
		default:
			b.readPairRule(v, about)
		}
	}
}

// readPairRule reads an entry of links that says its conditions.
func (b *builder) readPairRule(v value, about string) {
	ways, ok := b.pairs(v, about)
	change, given, okChange := b.pairPatch(v)
	switch {
	case !ok || !okChange || v.broken:
		return
	case !given:
		b.report(v.place, "add a field such as delay: 20ms, or profile: none", "says no conditions")
		return
	}
	c, sound := b.settle(v.place, change)
	if !sound {
		return
	}
	for _, w := range ways {
		b.topo.Links = append(b.topo.Links, LinkRule{From: w.from, To: w.to, Conditions: &c})
	}
}

// wayOf is one direction of pairs.
type wayOf struct{ from, to *nodeset.Set }

// pairs reads which pairs an entry is about.
func (b *builder) pairs(v value, about string) ([]wayOf, bool) {
	if !b.only(v, about, append(slices.Clone(aboutPairs), append(link.FieldNames(), "at")...)...) {
		return nil, false
	}
	oneway, hasOneway := v.get("oneway")
	if about == "between" {
		between, _ := v.get("between")
		set, ok := b.linkNodes(between)
		if hasOneway {
			b.report(oneway.place, "write from and to", "means nothing beside between, which is of both directions")
			ok = false
		}
		return []wayOf{{set, set}}, ok && b.joined(between, set, set)
	}
	fromAt, hasFrom := v.get("from")
	toAt, hasTo := v.get("to")
	if !hasFrom || !hasTo {
		if !v.broken {
			b.report(v.place, "add the other, or write between", "has only one of from and to")
		}
		return nil, false
	}
	from, okFrom := b.linkNodes(fromAt)
	to, okTo := b.linkNodes(toAt)
	if !okFrom || !okTo || !b.joined(toAt, from, to) {
		return nil, false
	}
	ways := []wayOf{{from, to}}
	if !oneway.flag && !from.Equal(to) {
		ways = append(ways, wayOf{to, from})
	}
	return ways, true
}

// linkNodes reads a node set of vnodes, of which there must be one.
func (b *builder) linkNodes(v value) (*nodeset.Set, bool) {
	s, ok := b.nodeset(v, b.groups)
	switch {
	case !ok || !b.known(v, s):
		return nil, false
	case s.Len() == 0:
		b.report(v.place, "remove the entry, or correct the node set", "%s stands for no vnode", quote(v.text))
		return nil, false
	}
	return s, true
}

// joined says whether any vnode of one set shares a vnetwork with another of
// the other set; if not, conditions between them would never meet a packet.
func (b *builder) joined(at value, from, to *nodeset.Set) bool {
	if from.Len() == 1 && from.Equal(to) {
		b.report(at.place, "name two vnodes", "%s has no link to itself", from.Min())
		return false
	}
	if b.kinds == nil || !b.allKnown {
		return true
	}
	networks := map[int]bool{}
	certain := true
	b.kindIndex.each(from, func(i int, _ *nodeset.Set) bool {
		for _, f := range b.kinds[i].Vifaces {
			networks[f.Network] = true
		}
		certain = certain && b.kinds[i].sound
		return true
	})
	meet := false
	b.kindIndex.each(to, func(i int, _ *nodeset.Set) bool {
		for _, f := range b.kinds[i].Vifaces {
			meet = meet || networks[f.Network]
		}
		certain = certain && b.kinds[i].sound
		return !meet
	})
	if meet || !certain {
		return true
	}
	b.report(at.place, "give conditions to their interfaces, or to the gateways between them", "%s and %s share no vnetwork, so nothing goes from one to the other directly", clip(from.String()), clip(to.String()))
	return false
}

// pairPatch reads the conditions of pairs: profile and fields. given says
// whether there are any.
func (b *builder) pairPatch(v value) (p link.Patch, given, ok bool) {
	if name, found := v.get("profile"); found {
		base, ok := b.profile(name.text, name.place, 0)
		if ok && !base.way {
			b.report(name.place, "write it as conditions of the vnodes at its end", "%s is an access link: it belongs to a vnode, not to pairs", quote(name.text))
			ok = false
		}
		if !ok {
			return p, true, false
		}
		p, given = base.out, true
	}
	fields, ok := b.patch(v)
	return p.Then(fields), given || !fields.Empty(), ok
}

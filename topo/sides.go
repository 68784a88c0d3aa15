package topo

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"myriad/link"
)

// both is what befalls the two directions of an interface.
type both struct{ out, in link.Patch }

// then is what does b, and after it next.
func (b both) then(next both) both { return both{b.out.Then(next.out), b.in.Then(next.in)} }

// namedProfile is a profile of the file, or one that comes with Myriad.
type namedProfile struct {
	both        // all fields
	way    bool // it is of the way between two places: out and in are equal
	sound  bool
	inside bool // it is being read
	read   bool
	from   value // of the file
}

// maxProfiles is how deep profiles may be made of profiles.
const maxProfiles = 64

// readProfiles reads the field profiles.
func (b *builder) readProfiles() {
	b.profiles = map[string]*namedProfile{}
	table, _ := b.file.get("profiles")
	for _, v := range table.items {
		if v.key == "none" {
			b.report(v.keyAt, "choose another name", "none stands for no conditions")
			continue
		}
		b.profiles[v.key] = &namedProfile{from: v}
	}
	for _, v := range table.items {
		b.profile(v.key, v.keyAt, 0)
	}
}

// profile gives a profile by name. If there is none, or it is not sound, that
// was reported.
func (b *builder) profile(name string, at *place, depth int) (*namedProfile, bool) {
	if name == "none" {
		clear := link.PatchOf(link.Conditions{})
		return &namedProfile{both: both{clear, clear}, way: true}, true
	}
	p := b.profiles[name]
	switch {
	case p == nil:
		return b.builtIn(name, at)
	case depth > maxProfiles:
		b.report(at, "", "profiles are nested more than %d deep", maxProfiles)
		return nil, false
	case p.inside:
		b.report(at, "make each of fields, or of profiles that come before it", "the profile %s is made of itself", quote(name))
		return nil, false
	case !p.read:
		p.inside = true
		p.sound = !p.from.broken && b.readProfile(p, depth)
		p.inside, p.read = false, true
	}
	return p, p.sound
}

// builtIn gives a profile that comes with Myriad.
func (b *builder) builtIn(name string, at *place) (*namedProfile, bool) {
	known, ok := link.FindProfile(name)
	switch {
	case !ok:
		names := link.ProfileNames()
		if len(b.profiles) < manyWords {
			names = append(names, slices.Sorted(maps.Keys(b.profiles))...)
		}
		remedy := "known: " + strings.Join(link.ProfileNames(), ", ") + ", and those of profiles"
		if near := nearest(name, names); near != "" {
			remedy = "did you mean " + near + "?"
		}
		b.report(at, remedy, "no profile is called %s", quote(name))
		return nil, false
	case known.Access():
		return &namedProfile{both: both{link.PatchOf(*known.Out), link.PatchOf(*known.In)}}, true
	}
	way := link.PatchOf(*known.Way)
	return &namedProfile{both: both{way, way}, way: true}, true
}

// readProfile reads a profile of the file into p.
func (b *builder) readProfile(p *namedProfile, depth int) bool {
	v := p.from
	base := both{link.PatchOf(link.Conditions{}), link.PatchOf(link.Conditions{})}
	var baseOf *namedProfile
	if name, ok := v.get("profile"); ok {
		if baseOf, ok = b.profile(name.text, name.place, depth+1); !ok {
			return false
		}
		base = baseOf.both
	}
	fields, ok := b.patch(v)
	if !ok {
		return false
	}
	directions := hasAny(v, "out", "in", "both")
	const remedy = "put the fields in out, in or both"
	switch {
	case directions && !fields.Empty():
		b.report(v.keyAt, remedy, "has fields of its own beside out, in or both, so it is neither of an access link nor of a way")
		return false
	case !fields.Empty() && baseOf != nil && !baseOf.way:
		b.report(v.keyAt, remedy, "is made of an access link, which has two directions")
		return false
	case directions && baseOf != nil && baseOf.way:
		b.report(v.keyAt, "name the profile in out, in or both", "is made of a way between two places, which has no directions")
		return false
	case len(v.fields) == 0:
		b.report(v.keyAt, "give it fields such as delay: 20ms", "the profile says nothing")
		return false
	}
	p.way = !directions && (baseOf == nil || baseOf.way)
	change := both{fields, fields}
	if directions {
		if change, ok = b.directions(v, depth); !ok {
			return false
		}
	}
	out, okOut := b.settle(v.keyAt, base.out.Then(change.out))
	in, okIn := b.settle(v.keyAt, base.in.Then(change.in))
	p.both = both{link.PatchOf(out), link.PatchOf(in)}
	return okOut && okIn
}

func hasAny(v value, names ...string) bool {
	for _, name := range names {
		if _, ok := v.get(name); ok {
			return true
		}
	}
	return false
}

// settle gives the conditions that a patch makes of none, and reports at p
// what contradicts itself, each problem once.
func (b *builder) settle(p *place, patch link.Patch) (link.Conditions, bool) {
	c, err := patch.Apply(link.Conditions{})
	if err != nil && b.first(p, err.Error()) {
		b.reportLink(p, err)
	}
	for _, note := range c.Notes() {
		b.note(p, note)
	}
	return c, err == nil
}

// first says whether it is asked for the first time of a place and a text.
func (b *builder) first(p *place, text string) bool {
	key := strconv.Itoa(p.line) + ":" + strconv.Itoa(p.column) + ":" + text
	if b.said[key] {
		return false
	}
	b.said[key] = true
	return true
}

// maxNotes is how many notes are kept.
const maxNotes = 100

// note says what is right and may surprise, once.
func (b *builder) note(p *place, text string) {
	if len(b.topo.Notes) < maxNotes && b.first(p, text) {
		b.topo.Notes = append(b.topo.Notes, &Error{
			File: b.problems.file, Line: p.line, Column: p.column, Field: printable(p.field()), Msg: printable(text),
		})
	}
}

// patch reads the fields of conditions of a record, but not its profile.
func (b *builder) patch(v value) (link.Patch, bool) {
	var p link.Patch
	sound := true
	for _, f := range v.fields {
		if !isCondition[f.key] {
			continue
		}
		one, ok := b.setting(f)
		if ok {
			p = p.With(one)
		}
		sound = sound && ok
	}
	rate, hasRate := v.get("rate")
	trace, hasTrace := v.get("trace")
	if hasRate && hasTrace && !cleared(rate) && !cleared(trace) {
		b.report(trace.place, "leave out one of them", "rate and trace say the same thing in two ways")
		sound = false
	}
	return p, sound
}

func cleared(v value) bool { return v.text == "none" || v.text == "0" }

// isCondition knows the names of the fields of conditions.
var isCondition = func() map[string]bool {
	m := map[string]bool{}
	for _, name := range link.FieldNames() {
		m[name] = true
	}
	return m
}()

// setting reads one field of conditions. Those that name a file are read once,
// however often they are said.
func (b *builder) setting(f value) (link.Patch, bool) {
	text := f.text
	if text == "" {
		text = strconv.FormatBool(f.flag)
	}
	key := f.key + "=" + text
	if known, ok := b.settings[key]; ok {
		return known, true
	}
	var p link.Patch
	if err := p.Set(f.key, text, b.files.get); err != nil {
		b.reportLink(f.place, err)
		return p, false
	}
	b.settings[key] = p
	return p, true
}

// side reads the conditions of one direction: profile and fields. They differ
// by direction if the profile does.
func (b *builder) side(v value, depth int) (both, bool) {
	var base both
	sound := true
	if name, ok := v.get("profile"); ok {
		var p *namedProfile
		if p, sound = b.profile(name.text, name.place, depth+1); sound {
			base = p.both
		}
	}
	fields, ok := b.patch(v)
	return base.then(both{fields, fields}), sound && ok
}

// directions reads the fields out, in and both of a record.
func (b *builder) directions(v value, depth int) (both, bool) {
	var all both
	sound := true
	for _, name := range []string{"both", "out", "in"} {
		f, ok := v.get(name)
		if !ok {
			continue
		}
		s, ok := b.side(f, depth)
		sound = sound && ok
		switch name {
		case "out":
			s.in = link.Patch{}
		case "in":
			s.out = link.Patch{}
		}
		all = all.then(s)
	}
	return all, sound
}

// conditions reads the field conditions of v, which is whatever can have it.
func (b *builder) conditions(v value) (c both, at *place, ok bool) {
	f, found := v.get("conditions")
	if !found {
		return both{}, nil, true
	}
	b.noBridge(f.place)
	var base both
	if name, ok := f.get("profile"); ok {
		p, ok := b.profile(name.text, name.place, 0)
		switch {
		case !ok:
			return both{}, f.place, false
		case p.way && name.text != "none":
			b.report(name.place, "write both: "+name.text+", or the direction that it is for", "%s is of the way between two places, and does not say what is out and what is in", quote(name.text))
			return both{}, f.place, false
		}
		base = p.both
	} else if len(f.fields) == 0 && !f.broken {
		b.report(f.place, "write out, in or both, or a profile's name", "says nothing")
	}
	change, ok := b.directions(f, 0)
	return base.then(change), f.place, ok && !f.broken
}

// noBridge reports conditions where nothing enforces them.
func (b *builder) noBridge(p *place) {
	if b.file.or("fabric", "ebpf") == "bridge" {
		b.report(p, "leave out fabric: bridge", "plain Linux bridges enforce no link conditions")
	}
}

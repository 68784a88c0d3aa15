package topo

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"myriad/link"
)

// record is a mapping whose fields this package knows.
type record struct {
	what   string
	doc    string
	fields []field
}

// field is one field of a record.
type field struct {
	name     string
	required bool
	standard any // its default, for the schema; nil: none
	shape    shape
}

// later names what versions to come will know. A file that uses one of these
// is refused by name: to ignore it would give wrong results silently.
var later = []string{
	"capture", "command", "cpu", "cpus", "disk", "dns", "env", "events", "experiment", "failures", "files",
	"image", "include", "limits", "memory", "mounts", "pnodes", "ports", "run", "user", "volumes",
}

func (s record) read(ps *problems, n *yaml.Node, p *place) (value, bool) {
	if n.Kind != yaml.MappingNode {
		wrong(ps, n, p, s.what, "write fields such as "+s.fields[0].example())
		return value{}, false
	}
	v := value{place: p}
	given := make(map[string]bool, len(n.Content)/2)
	before := ps.count
	eachKey(ps, n, p, func(k, c *yaml.Node, at *place) {
		f := s.field(k.Value)
		if f == nil {
			given[s.unknown(ps, k.Value, at)] = true
			return
		}
		given[f.name] = true
		at = &place{up: p, step: f.name, line: c.Line, column: c.Column}
		if fv, ok := f.shape.read(ps, c, at); ok {
			fv.key = f.name
			v.fields = append(v.fields, fv)
		}
	})
	for _, f := range s.fields {
		if f.required && !given[f.name] {
			ps.report(p, "add "+f.example(), "%s is missing from %s", f.name, s.what)
		}
	}
	v.broken = ps.count != before
	return v, true
}

// field finds a field by name.
func (s record) field(name string) *field {
	i := slices.IndexFunc(s.fields, func(f field) bool { return f.name == name })
	if i < 0 {
		return nil
	}
	return &s.fields[i]
}

// unknown reports a field that the record does not have, and gives the name
// of the one that was probably meant.
func (s record) unknown(ps *problems, name string, at *place) (meant string) {
	if slices.Contains(later, name) {
		ps.report(at, "remove it: only later versions will know it", "%s is not supported yet", quote(name))
		return ""
	}
	if ps.full() {
		ps.count++
		return ""
	}
	names := make([]string, len(s.fields))
	for i, f := range s.fields {
		names[i] = f.name
	}
	remedy := "known here: " + strings.Join(names, ", ")
	if other := link.OtherName(name); slices.Contains(names, other) {
		meant, remedy = other, "write "+other
	} else if meant = nearest(name, names); meant != "" {
		remedy = "did you mean " + meant + "?"
	} else if s.what == conditions.what && isCondition[name] {
		remedy = "put it in out, in or both"
	} else if home := homeOf(name); home != "" {
		remedy = "it belongs in " + home
	}
	ps.report(at, remedy, "unknown field of %s", s.what)
	return meant
}

// records are all kinds of records; of those that have the same field, the
// one that it rather belongs in comes first.
var records = []record{platform, vnetwork, vnodes, viface, route, conditions, side, profile, linkEntry, step, placement, pin, placeLimits, overlay}

// homeOf says what kind of record has a field of that name.
func homeOf(name string) string {
	if other := link.OtherName(name); other != "" {
		name = other
	}
	for _, r := range records {
		switch {
		case r.field(name) == nil:
		case r.what == side.what:
			return "conditions, under out, in or both"
		default:
			return r.what
		}
	}
	return ""
}

// example writes the field as a file could have it.
func (f field) example() string {
	if s, ok := f.shape.(text); ok && len(s.examples) > 0 {
		return f.name + ": " + s.examples[0].(string)
	}
	return f.name + ": […]" // the other required ones are lists
}

// manyWords is more than nearest looks through.
const manyWords = 1000

// nearest gives the word that s was probably meant to be, "" if none is near.
func nearest(s string, words []string) string {
	best, at := "", max(1, len(s)/3)+1
	if len(s) > shown || len(words) > manyWords {
		return ""
	}
	for _, w := range words {
		if d := distance(strings.ToLower(s), w); d < at {
			best, at = w, d
		}
	}
	return best
}

// distance counts the letters to add, drop, change or swap with their
// neighbour to turn a into b.
func distance(a, b string) int {
	// rows of the usual table: the one before last, the last, the current
	var older, old, row []int
	for j := range len(b) + 1 {
		row = append(row, j)
	}
	for i := 1; i <= len(a); i++ {
		older, old, row = old, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := old[j-1]
			if a[i-1] != b[j-1] {
				change++
			}
			row[j] = min(old[j]+1, row[j-1]+1, change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], older[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// orList is "a", "a or b", "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

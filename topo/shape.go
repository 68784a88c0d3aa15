package topo

import (
	"regexp"
	"slices"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A shape says what a value of the file may look like. Two readers know it:
// the parser, which turns YAML nodes into values by it, and Schema, which
// prints it. So neither knows a field that the other does not.
type shape interface {
	// read turns n into a value, or reports at p why it cannot.
	read(ps *problems, n *yaml.Node, p *place) (value, bool)
	// schema describes the shape in JSON Schema.
	schema() object
}

// value is a part of the file that has the shape it should have. Fields that
// have not are left out of it, and items are marked: both are reported.
type value struct {
	*place
	broken bool // it, or something in it, was reported
	text   string
	number uint64
	real   float64
	flag   bool
	items  []value // of a list; of a table in the order of the file
	fields []value // of a record: few, so they are looked through
	key    string  // of an item of a table, or a field of a record
	keyAt  *place  // of an item of a table
}

// get gives a field of a record, if the file has it and it is sound.
func (v value) get(name string) (value, bool) {
	for _, f := range v.fields {
		if f.key == name {
			return f, true
		}
	}
	return value{}, false
}

// or gives the text of a field of a record, or what stands for it.
func (v value) or(name, otherwise string) string {
	if f, ok := v.get(name); ok {
		return f.text
	}
	return otherwise
}

// kindOf names what a YAML node is, in the words of the messages.
func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + clip(n.Value)
	case "!!bool":
		return "the truth value " + clip(n.Value)
	case "!!timestamp":
		return "the date " + clip(n.Value)
	case "!!null":
		return "nothing"
	}
	return "the text " + quote(n.Value)
}

// wrong reports a value of another kind than wanted.
func wrong(ps *problems, n *yaml.Node, p *place, wanted, remedy string) {
	if isNull(n) {
		remedy = "give it a value, or remove the line"
	}
	ps.report(p, remedy, "expected %s, found %s", wanted, kindOf(n))
}

// isText says whether n is a text, as opposed to a number or a list.
func isText(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" }

// inQuotes is the remedy for what YAML takes for something else than text.
func inQuotes(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode {
		return ""
	}
	return `put it in quotes: "` + clip(n.Value) + `"`
}

// text is a string.
type text struct {
	what     string                              // what messages call it
	doc      string                              // for the schema
	examples []any                               // for the schema
	pattern  *regexp.Regexp                      // nil: any
	longest  int                                 // in characters; 0: any
	reserved []string                            // what it cannot be although it matches
	words    []string                            // if not nil, the only values
	later    []string                            // values that a later version will know
	remedy   string                              // for what does not match
	explain  func(s string) (msg, remedy string) // better than remedy, where it says something
}

func (t text) read(ps *problems, n *yaml.Node, p *place) (value, bool) {
	if !isText(n) {
		remedy := inQuotes(n)
		if t.words != nil {
			remedy = "write " + orList(t.words)
		}
		wrong(ps, n, p, t.what, remedy)
		return value{}, false
	}
	if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
		p.quotes = 1
	}
	return value{place: p, text: n.Value}, t.check(ps, n.Value, p)
}

// check reports what is wrong with the text itself.
func (t text) check(ps *problems, s string, p *place) bool {
	switch {
	case slices.Contains(t.later, s):
		ps.report(p, "write "+orList(t.words), "%s is not supported yet", quote(s))
	case t.words != nil && !slices.Contains(t.words, s):
		remedy := "write " + orList(t.words)
		if near := nearest(s, t.words); near != "" {
			remedy = "did you mean " + near + "?"
		}
		ps.report(p, remedy, "%s is not %s", quote(s), t.what)
	case s == "":
		ps.report(p, t.remedy, "expected %s, found an empty text", t.what)
	case t.longest > 0 && utf8.RuneCountInString(s) > t.longest:
		ps.report(p, "shorten it", "%s has %d characters, more than the %d that %s may have", quote(s), utf8.RuneCountInString(s), t.longest, t.what)
	case t.pattern != nil && !t.pattern.MatchString(s):
		msg, remedy := quote(s)+" is not "+t.what, t.remedy
		if t.explain != nil {
			if m, r := t.explain(s); m != "" {
				msg, remedy = m, r
			}
		}
		ps.report(p, remedy, "%s", msg)
	case slices.Contains(t.reserved, s):
		ps.report(p, "choose another", "%s cannot be %s: it has a meaning of its own", quote(s), t.what)
	default:
		return true
	}
	return false
}

// number is a whole number.
type number struct {
	what     string
	doc      string
	examples []any
	min, max uint64
}

func (s number) read(ps *problems, n *yaml.Node, p *place) (value, bool) {
	v := value{place: p}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" {
		wrong(ps, n, p, "a whole number", "write digits only, without quotes")
		return v, false
	}
	if err := n.Decode(&v.number); err != nil || v.number < s.min || v.number > s.max {
		ps.report(p, "", "%s is not %s: it is from %d to %d", clip(n.Value), s.what, s.min, s.max)
		return v, false
	}
	return v, true
}

// boolean is true or false; left out, it is false.
type boolean struct{ doc string }

func (boolean) read(ps *problems, n *yaml.Node, p *place) (value, bool) {
	v := value{place: p}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" || n.Decode(&v.flag) != nil {
		wrong(ps, n, p, "true or false", "write it without quotes")
		return v, false
	}
	return v, true
}

// list is any number of values of one shape.
type list struct {
	what string
	doc  string
	of   shape
}

func (s list) read(ps *problems, n *yaml.Node, p *place) (value, bool) {
	if n.Kind != yaml.SequenceNode {
		remedy := "begin each item with - on a line of its own"
		if isText(n) {
			remedy = "put it in brackets: [" + clip(n.Value) + "]"
		}
		wrong(ps, n, p, s.what, remedy)
		return value{}, false
	}
	v := value{place: p, items: make([]value, 0, len(n.Content))}
	before := ps.count
	for i, c := range n.Content {
		at := &place{up: p, index: i, line: c.Line, column: c.Column}
		item, ok := s.of.read(ps, c, at)
		if !ok {
			item = value{place: at, broken: true}
		}
		v.items = append(v.items, item)
	}
	v.broken = ps.count != before
	return v, true
}

// table is a mapping whose keys the file chooses.
type table struct {
	what string
	doc  string
	key  text
	of   shape
}

func (s table) read(ps *problems, n *yaml.Node, p *place) (value, bool) {
	if n.Kind != yaml.MappingNode {
		wrong(ps, n, p, s.what, "write lines of the form name: value")
		return value{}, false
	}
	v := value{place: p}
	before := ps.count
	eachKey(ps, n, p, func(k, c *yaml.Node, at *place) {
		s.key.check(ps, k.Value, at)
		item, ok := s.of.read(ps, c, &place{up: p, step: k.Value, line: c.Line, column: c.Column})
		if !ok {
			item = value{place: at, broken: true}
		}
		item.key, item.keyAt = k.Value, at
		v.items = append(v.items, item)
	})
	v.broken = ps.count != before
	return v, true
}

// eachKey calls do for every key of a mapping and its value; it reports keys
// that are no text or come twice, and leaves them out.
func eachKey(ps *problems, n *yaml.Node, p *place, do func(k, c *yaml.Node, at *place)) {
	lines := make(map[string]int, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		at := &place{up: p, step: k.Value, line: k.Line, column: k.Column}
		if !isText(k) {
			at.up, at.step, at.index = p.up, p.step, p.index
			ps.report(at, inQuotes(k), "expected a name before the colon, found %s", kindOf(k))
			continue
		}
		if line, twice := lines[k.Value]; twice {
			ps.report(at, "keep one of them", "given twice, first in line %d", line)
			continue
		}
		lines[k.Value] = k.Line
		do(k, n.Content[i+1], at)
	}
}

// either is a record that has a short form: a text for its first field.
type either struct {
	short text
	long  record
}

func (s either) read(ps *problems, n *yaml.Node, p *place) (value, bool) {
	switch {
	case n.Kind == yaml.MappingNode:
		return s.long.read(ps, n, p)
	case isText(n):
		v, ok := s.short.read(ps, n, p)
		if !ok {
			return value{}, false
		}
		v.key = s.long.fields[0].name
		return value{place: p, fields: []value{v}}, true
	}
	wrong(ps, n, p, s.short.what+", or a mapping with "+s.long.fields[0].name, inQuotes(n))
	return value{}, false
}

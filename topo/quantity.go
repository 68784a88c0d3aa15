package topo

import (
	"math"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v3"

	"myriad/link"
)

// quantity is a text with a unit, or the number 0.
type quantity struct {
	what     string
	doc      string
	examples []any
	pattern  *regexp.Regexp
	explain  func(s string) error // says what is wrong with a text that does not match; an *link.Error
}

func (s quantity) read(ps *problems, n *yaml.Node, p *place) (value, bool) {
	text := n.Value
	switch {
	case isText(n):
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			p.quotes = 1
		}
	case isZero(n):
		text = "0"
	case n.Kind != yaml.ScalarNode || isNull(n) || n.ShortTag() != "!!int" && n.ShortTag() != "!!float":
		wrong(ps, n, p, s.what, "write it as "+s.examples[0].(string))
		return value{}, false
	}
	if s.pattern.MatchString(text) && (text != "0" || isText(n) || isZero(n)) {
		return value{place: p, text: text}, true
	}
	msg, remedy := quote(text)+" is not "+s.what, "write it as "+s.examples[0].(string)
	if err, ok := s.explain(text).(*link.Error); ok {
		msg, remedy = err.Msg, err.Remedy
	}
	ps.report(p, remedy, "%s", msg)
	return value{}, false
}

// isZero says whether n is the number 0, however it is written.
func isZero(n *yaml.Node) bool {
	var i int64
	return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" && n.Decode(&i) == nil && i == 0
}

func (s quantity) schema() object {
	return object{{"anyOf", []object{
		{{"type", "string"}, {"description", s.doc}, {"pattern", s.pattern.String()}, {"examples", s.examples}},
		{{"const", 0}},
	}}}
}

// decimal is a number that need not be whole.
type decimal struct {
	what     string
	doc      string
	examples []any
	min, max float64
}

func (s decimal) read(ps *problems, n *yaml.Node, p *place) (value, bool) {
	v := value{place: p}
	if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!int" && n.ShortTag() != "!!float" {
		wrong(ps, n, p, s.what, "write a number, without quotes")
		return v, false
	}
	if err := n.Decode(&v.real); err != nil || !(v.real >= s.min && v.real <= s.max) {
		ps.report(p, "", "%s is not %s: it is from %s to %s", clip(n.Value), s.what, plainNumber(s.min), plainNumber(s.max))
		return v, false
	}
	return v, true
}

func plainNumber(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }

func (s decimal) schema() object {
	o := object{{"type", "number"}, {"description", s.doc}, {"minimum", s.min}, {"maximum", s.max}}
	return o.with("examples", s.examples, s.examples != nil)
}

// cell is an entry of a matrix: a delay with its unit, none, or a number whose
// unit is said elsewhere.
type cell struct{}

const cellDoc = "A delay such as 20ms, or a number whose unit is given by unit; none or - says nothing of the pair."

func (cell) read(ps *problems, n *yaml.Node, p *place) (value, bool) {
	v := value{place: p, real: math.NaN()}
	if n.Kind == yaml.ScalarNode && (n.ShortTag() == "!!int" || n.ShortTag() == "!!float") {
		if err := n.Decode(&v.real); err != nil || !(v.real >= 0 && v.real <= math.MaxFloat64) {
			ps.report(p, "write - for an entry that is missing", "%s is not a delay", clip(n.Value))
			return v, false
		}
		return v, true
	}
	if !isText(n) {
		wrong(ps, n, p, "a delay", "write it as 20ms")
		return v, false
	}
	if v.text = n.Value; cellForm.MatchString(v.text) {
		return v, true
	}
	_, err := link.ParseDelay(v.text)
	if e, ok := err.(*link.Error); ok {
		ps.report(p, e.Remedy, "%s", e.Msg)
	} else {
		ps.report(p, "write it as 20ms", "%s is not a delay", quote(v.text))
	}
	return v, false
}

func (cell) schema() object {
	return object{{"anyOf", []object{
		{{"type", "string"}, {"description", cellDoc}, {"pattern", cellForm.String()}, {"examples", []any{"20ms", "none"}}},
		{{"type", "number"}, {"description", cellDoc}, {"minimum", 0}},
	}}}
}

// union is a text, or a value of another shape: a file's name, say, or what
// the file might hold.
type union struct {
	text  text
	other shape
	what  string
}

func (s union) read(ps *problems, n *yaml.Node, p *place) (value, bool) {
	_, isList := s.other.(list)
	switch {
	case isText(n):
		return s.text.read(ps, n, p)
	case isList && n.Kind == yaml.SequenceNode, !isList && n.Kind == yaml.MappingNode:
		return s.other.read(ps, n, p)
	}
	wrong(ps, n, p, s.what, inQuotes(n))
	return value{}, false
}

func (s union) schema() object {
	return object{{"anyOf", []object{s.text.schema(), s.other.schema()}}}
}

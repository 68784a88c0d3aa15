package topo

import (
	"bytes"
	"encoding/json"
)

// Schema is the file format as a JSON Schema (draft 2020-12), for editors. It
// is printed from what the parser reads by. A file that the parser accepts is
// valid; the parser also checks what a schema cannot say.
func Schema() []byte {
	s := object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "Myriad topology"},
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(append(s, platform.schema()...)); err != nil {
		panic(err) // the grammar is a constant, and a test prints it
	}
	return b.Bytes()
}

// object is a JSON object that keeps the order of its members.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in order.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		for _, part := range []any{m.name, m.value} {
			text, err := marshal(part)
			if err != nil {
				return nil, err
			}
			b = append(append(b, text...), ':')
		}
		b = b[:len(b)-1]
	}
	return append(b, '}'), nil
}

// marshal is json.Marshal that leaves < and > alone.
func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}

// with adds a member, unless there is nothing to say.
func (o object) with(name string, value any, say bool) object {
	if !say {
		return o
	}
	return append(o, member{name, value})
}

func (s text) schema() object {
	o := object{{"type", "string"}}
	o = o.with("description", s.doc, s.doc != "")
	switch {
	case s.words != nil:
		o = o.with("enum", s.words, true)
	case s.pattern != nil:
		o = o.with("pattern", s.pattern.String(), true)
	default:
		o = o.with("minLength", 1, true)
	}
	o = o.with("maxLength", s.longest, s.longest > 0)
	o = o.with("not", object{{"enum", s.reserved}}, s.reserved != nil)
	return o.with("examples", s.examples, s.examples != nil)
}

func (s number) schema() object {
	o := object{{"type", "integer"}, {"description", s.doc}, {"minimum", s.min}, {"maximum", s.max}}
	return o.with("examples", s.examples, s.examples != nil)
}

func (s boolean) schema() object { return object{{"type", "boolean"}, {"description", s.doc}} }

func (s list) schema() object {
	return object{{"type", "array"}, {"description", s.doc}, {"items", s.of.schema()}}
}

func (s table) schema() object {
	return object{{"type", "object"}, {"description", s.doc}, {"propertyNames", s.key.schema()}, {"additionalProperties", s.of.schema()}}
}

func (s either) schema() object {
	return object{{"anyOf", []object{s.short.schema(), s.long.schema()}}}
}

func (s record) schema() object {
	var fields object
	var required []string
	for _, f := range s.fields {
		o := f.shape.schema().with("default", f.standard, f.standard != nil)
		fields = append(fields, member{f.name, o})
		if f.required {
			required = append(required, f.name)
		}
	}
	o := object{{"type", "object"}, {"description", s.doc}, {"properties", fields}}
	return o.with("required", required, required != nil).with("additionalProperties", false, true)
}

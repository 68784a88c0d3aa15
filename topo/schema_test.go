package topo

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

func compile(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("topology.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("topology.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plainValue is a node as the values of JSON, which schemas are about. It
// gives false for what JSON has not.
func plainValue(n *yaml.Node) (any, bool) {
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i < len(n.Content); i += 2 {
			k := n.Content[i]
			v, ok := plainValue(n.Content[i+1])
			if _, twice := out[k.Value]; !ok || twice || !isText(k) {
				return nil, false
			}
			out[k.Value] = v
		}
		return out, true
	case yaml.SequenceNode:
		out := []any{}
		for _, c := range n.Content {
			v, ok := plainValue(c)
			if !ok {
				return nil, false
			}
			out = append(out, v)
		}
		return out, true
	}
	if isText(n) {
		return n.Value, true
	}
	var v any
	if n.Decode(&v) != nil {
		return nil, false
	}
	if f, ok := v.(float64); ok && f == math.Trunc(f) {
		return nil, false // 7.0 is whole to a schema, and no whole number to YAML
	}
	text, err := json.Marshal(v)
	if err != nil {
		return nil, false
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(text))
	return v, err == nil
}

// agree checks that schema and parser say the same of a file: what the schema
// accepts, the parser can read (whether or not it makes sense), and the other
// way round.
func agree(t *testing.T, s *jsonschema.Schema, name string, src []byte) {
	t.Helper()
	ps := &problems{file: name}
	root, ok := ps.document(src)
	if !ok {
		return
	}
	v, ok := plainValue(root)
	if !ok {
		return
	}
	platform.read(ps, root, &place{})
	read, valid := ps.err(), s.Validate(v)
	if (read == nil) != (valid == nil) {
		t.Errorf("%s: the parser says %v; the schema says %v", name, read, valid)
	}
}

func TestSchemaAgrees(t *testing.T) {
	s := compile(t)
	all := files(t)
	for name, src := range all {
		agree(t, s, name, src)
	}
	// Spoil one value of each good file after the other.
	spoils := []string{"", "~", "true", "7", "-1", "1.5", "x", "X", "a b", "[]", "{}", "[x]", "{x: 1}", "10.0.0.0/8", "default", "lo"}
	ofLinks := []string{"0", "20", "20ms", "1%", "10mbit", "10mbps", "lte", "none", "a/b", "{out: {delay: 1ms}}", "{both: lte}", "[[0, 1ms], [1, none]]", "{a: [1, 2]}", "0x0", "-0", "1e3"}
	for name, src := range all {
		if _, err := parseAny(name, src); err != nil {
			continue
		}
		spoils := spoils
		if bytes.Contains(src, []byte("links:")) {
			spoils = slices.Concat(spoils, ofLinks)
		}
		lines := strings.Split(string(src), "\n")
		for i, line := range lines {
			key, _, found := strings.Cut(line, ":")
			if !found {
				continue
			}
			for _, spoil := range spoils {
				spoiled := append([]string(nil), lines...)
				spoiled[i] = key + ": " + spoil
				agree(t, s, name+" with "+spoiled[i], []byte(strings.Join(spoiled, "\n")))
			}
		}
	}
}

// TestSchemaKnows goes through the grammar: every field has a description,
// and examples are examples.
func TestSchemaKnows(t *testing.T) {
	var visit func(path string, s shape)
	visit = func(path string, s shape) {
		if o := s.schema(); o[0].name == "type" && (o[1].name != "description" || o[1].value == "") {
			t.Errorf("%s has no description", path)
		}
		switch s := s.(type) {
		case text:
			for _, e := range s.examples {
				ps := &problems{}
				if s.check(ps, e.(string), &place{}); ps.count > 0 {
					t.Errorf("%s: example %q: %v", path, e, ps.err())
				}
			}
		case list:
			visit(path+"[]", s.of)
		case table:
			visit(path+" key", s.key)
			visit(path+".*", s.of)
		case quantity:
			if s.doc == "" {
				t.Errorf("%s has no description", path)
			}
			for _, e := range s.examples {
				if !s.pattern.MatchString(e.(string)) {
					t.Errorf("%s: example %q does not match", path, e)
				}
			}
		case union:
			visit(path, s.text)
			visit(path, s.other)
		case either:
			visit(path, s.short)
			visit(path, s.long)
		case record:
			for _, f := range s.fields {
				visit(path+"."+f.name, f.shape)
			}
		}
	}
	visit("", platform)
	if !json.Valid(Schema()) || !bytes.Contains(Schema(), []byte(`"peer[1-998]"`)) {
		t.Errorf("schema is\n%s", Schema())
	}
}

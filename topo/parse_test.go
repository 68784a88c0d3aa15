package topo

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"go.yaml.in/yaml/v3"
)

// files gives the files of the stories and the examples, by name.
func files(t testing.TB) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	stories, _ := filepath.Glob("testdata/*.txtar")
	for _, story := range stories {
		ar, err := txtar.ParseFile(story)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range ar.Files {
			if !strings.HasSuffix(f.Name, ".out") && !strings.HasPrefix(f.Name, "data/") {
				out[filepath.Base(story)+"/"+f.Name] = f.Data
			}
		}
	}
	examples, _ := filepath.Glob("../examples/*.yaml")
	for _, name := range examples {
		src, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		out[name] = src
	}
	if len(stories) == 0 || len(examples) == 0 {
		t.Fatalf("%d stories and %d examples", len(stories), len(examples))
	}
	return out
}

func TestExamples(t *testing.T) {
	counts := map[string]int{"quickstart": 1000, "flat": 40000, "campus": 285}
	for name, src := range files(t) {
		if !strings.HasPrefix(name, "..") {
			continue
		}
		topology, err := Parse(name, src)
		if err != nil {
			t.Error(err)
			continue
		}
		n := 0
		for _, v := range topology.Vnodes {
			n += v.Nodes.Len()
		}
		if want := counts[topology.Name]; n != want {
			t.Errorf("%s: %d vnodes, want %d", name, n, want)
		}
	}
}

// TestDocumented parses the example of docs/topology.md.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/topology.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(doc)
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "```yaml\n")
		if !found {
			break
		}
		block, after, _ := strings.Cut(after, "```")
		if rest = after; !strings.Contains(block, "platform:") {
			continue
		}
		if _, err := Parse("docs/topology.md", []byte(block)); err != nil {
			t.Error(err)
		}
	}
	for _, r := range []record{platform, vnetwork, vnodes, viface, route} {
		for _, f := range r.fields {
			if !strings.Contains(text, "`"+f.name+"`") {
				t.Errorf("docs/topology.md says nothing of field %s of %s", f.name, r.what)
			}
		}
	}
}

// TestOrder shuffles the keys and the lists of files: only the order of a
// vnode's vifaces means anything.
func TestOrder(t *testing.T) {
	for name, src := range files(t) {
		want, err := Parse(name, src)
		if err != nil {
			continue
		}
		for seed := range uint64(20) {
			root, err := decode(plainSlashes(src))
			if err != nil {
				t.Fatal(err)
			}
			shuffle(rand.New(rand.NewPCG(seed, 1)), root, "")
			shuffled, err := yaml.Marshal(root)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(name, shuffled)
			if err != nil {
				t.Fatalf("%v\nin\n%s", err, shuffled)
			}
			if got, want := describe(got), describe(want); got != want {
				t.Fatalf("%s, shuffled: got\n%s\nwant\n%s", name, got, want)
			}
		}
	}
}

func shuffle(rng *rand.Rand, n *yaml.Node, field string) {
	width := 1
	if n.Kind == yaml.MappingNode {
		width = 2
		for i := 0; i < len(n.Content); i += 2 {
			shuffle(rng, n.Content[i+1], n.Content[i].Value)
		}
	} else {
		for _, c := range n.Content {
			shuffle(rng, c, "")
		}
	}
	if field == "vifaces" {
		return
	}
	rng.Shuffle(len(n.Content)/width, func(i, j int) {
		for k := range width {
			x, y := &n.Content[i*width+k], &n.Content[j*width+k]
			*x, *y = *y, *x
		}
	})
}

func TestErrorsAs(t *testing.T) {
	_, err := Parse("x.yaml", []byte("platform: A\nvnodes: {}\n"))
	var one *Error
	if !errors.As(err, &one) || one.Line != 1 || one.Column != 11 || one.Field != "platform" {
		t.Errorf("first problem is %v", one)
	}
	var all Errors
	if !errors.As(err, &all) || len(all) != 2 {
		t.Errorf("got %d problems: %v", len(all), err)
	}
}

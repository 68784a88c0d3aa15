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

// beside reads files that are named relative to a file's folder.
func beside(name string) func(string) ([]byte, error) {
	return func(path string) ([]byte, error) { return os.ReadFile(filepath.Join(filepath.Dir(name), path)) }
}

// parseAny parses a file of files, with those that it refers to.
func parseAny(name string, src []byte) (*Topology, error) {
	if story, _, found := strings.Cut(name, ".txtar/"); found {
		ar, err := txtar.ParseFile("testdata/" + story + ".txtar")
		if err != nil {
			return nil, err
		}
		return ParseWith(name, src, archived(ar))
	}
	return ParseWith(name, src, beside(name))
}

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
	counts := map[string]int{"quickstart": 1000, "flat": 40000, "campus": 285, "wan": 1000, "planetlab": 490, "seattle": 99, "cellular": 21, "two-sites": 2000, "placed": 2033}
	for name, src := range files(t) {
		if !strings.HasPrefix(name, "..") {
			continue
		}
		topology, err := parseAny(name, src)
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

// TestDocumented parses the examples of the documents.
func TestDocumented(t *testing.T) {
	text := ""
	for _, name := range []string{"../docs/topology.md", "../docs/links.md"} {
		doc, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text += string(doc)
	}
	for rest := text; ; {
		_, after, found := strings.Cut(rest, "```yaml\n")
		if !found {
			break
		}
		block, after, _ := strings.Cut(after, "```")
		if rest = after; !strings.Contains(block, "platform:") {
			continue
		}
		if _, err := ParseWith("docs", []byte(block), beside("../examples/x")); err != nil {
			t.Error(err)
		}
	}
	for _, r := range records {
		for _, f := range r.fields {
			if !strings.Contains(text, "`"+f.name+"`") {
				t.Errorf("docs/topology.md says nothing of field %s of %s", f.name, r.what)
			}
		}
	}
}

// TestOrder shuffles the keys and the lists of files: only the order of a
// vnode's vifaces means anything, that of links, and what is in them.
func TestOrder(t *testing.T) {
	for name, src := range files(t) {
		want, err := parseAny(name, src)
		if err != nil {
			continue
		}
		rounds := uint64(20)
		if len(want.Schedule) > 0 || len(want.Links) > 0 {
			rounds = 3 // with large files
		}
		for seed := range rounds {
			root, err := decode(plainSlashes(src))
			if err != nil {
				t.Fatal(err)
			}
			shuffle(rand.New(rand.NewPCG(seed, 1)), root, "")
			shuffled, err := yaml.Marshal(root)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseAny(name, shuffled)
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
	if field == "links" || field == "schedule" {
		return
	}
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

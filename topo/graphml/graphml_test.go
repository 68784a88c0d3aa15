package graphml_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"myriad/plan"
	"myriad/topo"
	"myriad/topo/graphml"
)

var update = flag.Bool("update", false, "write what comes out into testdata")

// TestStories imports the networks of testdata. A story is an archive of
//
//	network.graphml
//	options, names    as JSON
//	topology.yaml     what comes out, and
//	summary.json      or else
//	errors
func TestStories(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range stories {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			story, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := &txtar.Archive{Comment: story.Comment, Files: told(t, story)}
			if *update {
				if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := txtar.Format(story); !bytes.Equal(txtar.Format(got), want) {
				t.Errorf("got\n%s\nwant\n%s\n(go test ./topo/graphml -update writes it)", txtar.Format(got), want)
			}
		})
	}
}

// told imports what a story has, and gives its files with what comes out.
func told(t *testing.T, story *txtar.Archive) (files []txtar.File) {
	var src []byte
	var o graphml.Options
	var names graphml.Names
	for _, f := range story.Files {
		var err error
		switch f.Name {
		case "network.graphml":
			src = f.Data
		case "options":
			err = json.Unmarshal(f.Data, &o)
		case "names":
			err = json.Unmarshal(f.Data, &names)
		default:
			continue
		}
		if files = append(files, f); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
	}
	o.File = "network.graphml"
	g, err := graphml.Read(o.File, src, names)
	if err != nil {
		return append(files, txtar.File{Name: "errors", Data: []byte(err.Error() + "\n")})
	}
	text, summary, err := g.Topology(o)
	if err != nil {
		return append(files, txtar.File{Name: "errors", Data: []byte(err.Error() + "\n")})
	}
	top, err := topo.Parse("topology.yaml", text)
	if err != nil {
		t.Fatalf("what comes out is not sound: %v\n%s", err, text)
	}
	if _, err := plan.Make(top, []plan.Pnode{{Name: "p1"}}, plan.Options{}); err != nil {
		t.Errorf("what comes out cannot be planned: %v\n%s", err, text)
	}
	said, err := json.MarshalIndent(summary, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return append(files, txtar.File{Name: "topology.yaml", Data: text}, txtar.File{Name: "summary.json", Data: append(said, '\n')})
}

// FuzzRead imports anything: what is not refused is sound.
func FuzzRead(f *testing.F) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range stories {
		story, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(story.Files[0].Data, 1, false)
	}
	f.Fuzz(func(t *testing.T, src []byte, hosts int, largest bool) {
		g, err := graphml.Read("fuzz", src, graphml.Names{})
		if err != nil {
			return
		}
		text, _, err := g.Topology(graphml.Options{Hosts: hosts % 100, Largest: largest})
		if err != nil {
			return
		}
		if _, err := topo.Parse("fuzz", text); err != nil {
			t.Errorf("not sound: %v\n%s", err, text)
		}
		if again, _, _ := g.Topology(graphml.Options{Hosts: hosts % 100, Largest: largest}); !bytes.Equal(again, text) {
			t.Errorf("differs the second time:\n%s\n%s", text, again)
		}
	})
}

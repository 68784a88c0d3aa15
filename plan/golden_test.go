package plan

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"myriad/program"
	"myriad/topo"
)

var update = flag.Bool("update", false, "write what comes out into testdata")

// TestStories plans the topologies of testdata and compares what comes out as
// text. A story is an archive of
//
//	pnodes, 2-pnodes …  a line each: name CPUs GiB files namespaces pids, and perhaps a site; left out: one pnode
//	options             racks of N; may be left out
//	1-NAME.yaml, …      topologies, each planned with the one before as previous
//	1-NAME.programs, …  what comes out, or 1-NAME.errors
//	1-NAME.forecast, …  only where the story has such a file
//	1-NAME.where, …     instead of programs: which vnodes are on which pnode, and why
func TestStories(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range stories {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := tell(t, archive)
			if *update {
				if err := os.WriteFile(file, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if want := txtar.Format(archive); !bytes.Equal(txtar.Format(got), want) {
				t.Errorf("got\n%s\nwant\n%s\n(go test ./plan -update writes it)", txtar.Format(got), want)
			}
		})
	}
}

// tell plans what a story has, and gives the story with what comes out.
func tell(t *testing.T, story *txtar.Archive) *txtar.Archive {
	out := &txtar.Archive{Comment: story.Comment}
	has := map[string]bool{}
	for _, f := range story.Files {
		has[f.Name] = true
	}
	pnodes, options := []Pnode{{Name: "p1"}}, Options{}
	for _, f := range story.Files {
		name, isTopology := strings.CutSuffix(f.Name, ".yaml")
		switch {
		case strings.HasSuffix(f.Name, "pnodes"):
			pnodes = readPnodes(t, f.Data)
		case f.Name == "options":
			if _, err := fmt.Sscanf(string(f.Data), "racks of %d", &options.RackVnodes); err != nil {
				t.Fatal(err)
			}
		case !isTopology:
			continue
		}
		out.Files = append(out.Files, f)
		if !isTopology {
			continue
		}
		to, err := topo.Parse(f.Name, f.Data)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Make(to, pnodes, options)
		if err != nil {
			out.Files = append(out.Files, txtar.File{Name: name + ".errors", Data: []byte(err.Error() + "\n")})
			continue
		}
		mustBeSound(t, p)
		if has[name+".where"] {
			out.Files = append(out.Files, txtar.File{Name: name + ".where", Data: []byte(where(p))})
		} else {
			out.Files = append(out.Files, txtar.File{Name: name + ".programs", Data: []byte(programs(p))})
		}
		if has[name+".forecast"] {
			out.Files = append(out.Files, txtar.File{Name: name + ".forecast", Data: []byte(p.Forecast().String())})
		}
		options.Previous = p
	}
	return out
}

func readPnodes(t *testing.T, data []byte) []Pnode {
	var out []Pnode
	for line := range strings.Lines(string(data)) {
		var p Pnode
		if n, err := fmt.Sscan(line, &p.Name, &p.CPUs, &p.Memory, &p.Files, &p.Namespaces, &p.Pids, &p.Site); n < 6 {
			t.Fatalf("%q: %v", line, err)
		}
		p.Memory <<= 30
		p.Address = addressOf(p.Name)
		out = append(out, p)
	}
	return out
}

// where says which vnodes are on which pnode, and why.
func where(p *Plan) string {
	var b strings.Builder
	for i, n := range p.Pnodes() {
		if n.Name != "" {
			fmt.Fprintf(&b, "%s %s\n", n.Name, p.on(i))
		}
	}
	b.WriteString(p.Explain().String())
	return b.String()
}

// programs is the text of all programs of a plan.
func programs(p *Plan) string {
	var b strings.Builder
	for i := range p.Pnodes() {
		if q := p.Program(i); q != nil {
			q.WriteText(&b)
		}
	}
	return b.String()
}

// mustBeSound checks what every plan promises.
func mustBeSound(t interface {
	Helper()
	Fatalf(string, ...any)
}, p *Plan) {
	t.Helper()
	vnodes, where := 0, map[uint64]string{}
	for i := range p.Pnodes() {
		q := p.Program(i)
		if q == nil {
			continue
		}
		if err := q.Validate(); err != nil {
			t.Fatalf("program of pnode %d: %v\n%s", i, err, q)
		}
		if back, err := program.Decode(q.Encode()); err != nil || back.String() != q.String() {
			t.Fatalf("program of pnode %d reads back as (%v)\n%s", i, err, back)
		}
		for _, r := range q.Racks {
			vnodes += len(r.Vnodes)
			for _, f := range r.Vifaces {
				key := uint64(f.Network)<<32 | uint64(f.Host)
				if other := where[key]; other != "" {
					t.Fatalf("host %d of network %d is on %s and %s", f.Host, f.Network, other, q.Pnode)
				}
				where[key] = q.Pnode
			}
		}
	}
	if vnodes != p.Len() {
		t.Fatalf("programs have %d vnodes, the plan has %d", vnodes, p.Len())
	}
	for i := range p.Pnodes() {
		if q := p.Program(i); q != nil {
			checkRemote(t, p, q, where)
		}
	}
	again, err := Decode(p.Encode())
	if err != nil {
		t.Fatalf("%v", err)
	}
	if programs(again) != programs(p) || again.Forecast().String() != p.Forecast().String() || !bytes.Equal(again.Encode(), p.Encode()) {
		t.Fatalf("encoded and decoded, the plan is another")
	}
}

// checkRemote checks that a program knows the place of every viface elsewhere
// in its networks.
func checkRemote(t interface {
	Helper()
	Fatalf(string, ...any)
}, p *Plan, q *program.Program, where map[uint64]string) {
	t.Helper()
	remote := map[uint64]string{}
	for _, r := range q.Remote {
		if !q.Elsewhere(&r) {
			continue
		}
		for h := range r.Count {
			remote[uint64(r.Network)<<32|uint64(r.Host+h)] = p.Pnodes()[r.Pnode].Name
		}
	}
	networks := map[uint64]bool{}
	for _, n := range q.Networks {
		networks[uint64(n.ID)] = true
	}
	for key, pnode := range where {
		if want := pnode != q.Pnode && networks[key>>32]; want != (remote[key] != "") || want && remote[key] != pnode {
			t.Fatalf("%s says that host %d of network %d is on %q; it is on %s", q.Pnode, uint32(key), key>>32, remote[key], pnode)
		}
	}
}

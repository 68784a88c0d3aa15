package topo

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"myriad/link"
	"myriad/program"
)

var update = flag.Bool("update", false, "write what the parser says into testdata")

// TestStories parses every file in testdata/*.txtar that is not called *.out,
// and compares what comes of it, errors or Topology, with the *.out after it.
func TestStories(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("stories: %v, %v", stories, err)
	}
	for _, story := range stories {
		t.Run(strings.TrimSuffix(filepath.Base(story), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(story)
			if err != nil {
				t.Fatal(err)
			}
			got := tell(ar)
			if *update {
				if err := os.WriteFile(story, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			for i, f := range got.Files {
				want := ""
				if i < len(ar.Files) {
					want = string(ar.Files[i].Data)
				}
				if string(f.Data) != want {
					t.Errorf("%s: got\n%s\nwant\n%s", f.Name, f.Data, want)
				}
			}
		})
	}
}

// tell is ar with what the parser says of its files.
func tell(ar *txtar.Archive) *txtar.Archive {
	told := &txtar.Archive{Comment: ar.Comment}
	for _, f := range ar.Files {
		if strings.HasSuffix(f.Name, ".out") {
			continue
		}
		if strings.HasPrefix(f.Name, "data/") {
			told.Files = append(told.Files, f)
			continue
		}
		out := ""
		if topology, err := ParseWith(f.Name, f.Data, archived(ar)); err != nil {
			out = err.Error() + "\n"
		} else {
			out = describe(topology)
		}
		told.Files = append(told.Files, f, txtar.File{Name: f.Name + ".out", Data: []byte(out)})
	}
	return told
}

// archived gives the files of a story to others of it.
func archived(ar *txtar.Archive) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		for _, f := range ar.Files {
			if f.Name == name {
				return f.Data, nil
			}
		}
		return nil, fmt.Errorf("read %s: no such file", name)
	}
}

// describe writes a topology as text, one thing per line.
func describe(t *Topology) string {
	var b strings.Builder
	fmt.Fprintf(&b, "platform %s seed %d fabric %s", t.Name, t.Seed, []string{"ebpf", "bridge"}[t.Fabric])
	if t.Complete {
		b.WriteString(" complete")
	}
	if t.Metric == MetricDelay {
		b.WriteString(" by delay")
	}
	b.WriteByte('\n')
	if o := t.Overlay; o != (Overlay{Port: program.VXLANPort}) {
		fmt.Fprintf(&b, "overlay %s port %d encryption %s\n", o.Kind, o.Port, o.Encryption)
	}
	describePlacement(&b, &t.Placement)
	for _, n := range t.Networks {
		fmt.Fprintf(&b, "vnetwork %s %s mtu %d broadcast %s\n", n.Name, n.Subnet, n.MTU, []string{"auto", "on", "off"}[n.Broadcast])
	}
	for _, v := range t.Vnodes {
		fmt.Fprintf(&b, "vnodes %s (%d) %s", v.Nodes, v.Nodes.Len(), []string{"macvlan", "veth"}[v.Attach])
		if v.Gateway {
			b.WriteString(" gateway")
		}
		for _, f := range v.Vifaces {
			fmt.Fprintf(&b, "; %s in %s", f.Name, t.Networks[f.Network].Name)
			if f.Address.IsValid() {
				fmt.Fprintf(&b, " address %s", f.Address)
			}
			if f.MAC != (program.MAC{}) {
				fmt.Fprintf(&b, " mac %s", f.MAC)
			}
			if f.Out != nil {
				fmt.Fprintf(&b, " out(%s)", f.Out)
			}
			if f.In != nil {
				fmt.Fprintf(&b, " in(%s)", f.In)
			}
		}
		b.WriteByte('\n')
	}
	for _, name := range slices.Sorted(maps.Keys(t.Groups)) {
		fmt.Fprintf(&b, "group %s = %s\n", name, t.Groups[name])
	}
	for _, r := range t.Routes {
		via := r.ViaNode
		if r.Via.IsValid() {
			via = r.Via.String()
		}
		fmt.Fprintf(&b, "route %s to %s via %s\n", r.Nodes, r.To, via)
	}
	for _, l := range t.Links {
		if l.Matrix != nil {
			fmt.Fprintf(&b, "link %s\n", describeMatrix(l.Matrix))
		} else if l.Sites != nil {
			fmt.Fprintf(&b, "link between sites %s", strings.Join(l.Sites, ", "))
			if l.Oneway {
				b.WriteString(" oneway")
			}
			fmt.Fprintf(&b, ": %s\n", l.Conditions)
		} else {
			fmt.Fprintf(&b, "link %s to %s: %s\n", l.From, l.To, l.Conditions)
		}
	}
	for _, s := range t.Schedule {
		for _, c := range s.Changes {
			fmt.Fprintf(&b, "at %s: %s\n", s.At, describeChange(c))
		}
	}
	if t.Repeat != 0 {
		fmt.Fprintf(&b, "repeat after %s\n", t.Repeat)
	}
	for _, n := range t.Notes {
		fmt.Fprintf(&b, "note %s: %s\n", n.Field, n.Msg)
	}
	return b.String()
}

func describePlacement(b *strings.Builder, p *Placement) {
	if p.Policy != PolicySpread || p.Loss != LossFail || p.Limits != (Limits{}) {
		fmt.Fprintf(b, "placement %s loss %s limits %+v\n", p.Policy, p.Loss, p.Limits)
	}
	for _, s := range p.Together {
		fmt.Fprintf(b, "together %s\n", s)
	}
	for _, s := range p.Apart {
		fmt.Fprintf(b, "apart %s\n", s)
	}
	for _, pin := range p.At {
		fmt.Fprintf(b, "%s at %s%s\n", pin.Nodes, pin.Pnodes, pin.Site)
	}
}

func describeMatrix(m *Matrix) string {
	var b strings.Builder
	b.WriteString("matrix")
	n := len(m.Sets)
	for i, s := range m.Sets {
		fmt.Fprintf(&b, " %s(", s)
		for j, d := range m.Delay[i*n : i*n+n] {
			if j > 0 {
				b.WriteByte(' ')
			}
			if d < 0 {
				b.WriteByte('-')
			} else {
				b.WriteString(link.FormatDelay(d))
			}
		}
		b.WriteByte(')')
	}
	return b.String()
}

func describeChange(c Change) string {
	switch {
	case c.Matrix != nil:
		return describeMatrix(c.Matrix)
	case c.Nodes == nil:
		return "reset everything"
	}
	what := c.Patch.String()
	if c.Reset {
		what = "reset"
	}
	if c.Side == SidePair {
		return fmt.Sprintf("%s to %s: %s", c.Nodes, c.To, what)
	}
	return fmt.Sprintf("%s %s: %s", c.Nodes, []string{"", "out", "in", "both"}[c.Side], what)
}

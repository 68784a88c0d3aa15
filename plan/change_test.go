package plan

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"myriad/link"
	"myriad/nodeset"
	"myriad/topo"
)

func patchOf(t testing.TB, words string) link.Patch {
	t.Helper()
	p, err := link.ParsePatch(strings.Fields(words), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A change tells how many vifaces and pairs it is about, each once.
func TestChangeCounts(t *testing.T) {
	to := lab() // a1 a2 a3 gw in lan; gw w1 in wan
	p := mustPlan(t, to)
	delay := patchOf(t, "delay=20ms")
	for _, test := range []struct {
		name           string
		changes        []topo.Change
		vifaces, pairs int
	}{
		{"nothing", nil, 0, 0},
		{"one", []topo.Change{{Side: topo.SideOut, Nodes: nodeset.Of("a1"), Patch: delay}}, 1, 0},
		{"a gateway", []topo.Change{{Side: topo.SideIn, Nodes: nodeset.Of("gw"), Patch: delay}}, 2, 0},
		{"twice the same", []topo.Change{{Side: topo.SideOut, Nodes: nodeset.Of("a1", "gw"), Patch: delay}, {Side: topo.SideIn, Nodes: nodeset.Of("gw"), Patch: delay}}, 3, 0},
		{"a pair", []topo.Change{{Side: topo.SidePair, Nodes: nodeset.Of("a1"), To: nodeset.Of("a2"), Patch: delay}}, 0, 1},
		{"apart", []topo.Change{{Side: topo.SidePair, Nodes: nodeset.Of("a1"), To: nodeset.Of("w1"), Patch: delay}}, 0, 0},
		{"all pairs", []topo.Change{{Side: topo.SidePair, Nodes: p.Nodes(), To: p.Nodes(), Patch: delay}}, 0, 4*3 + 2},
		{"matrix", []topo.Change{{Matrix: &topo.Matrix{Sets: []*nodeset.Set{nodeset.Of("a1", "a2"), nodeset.Of("gw")}, Delay: []time.Duration{1, 1, -1, 1}}}}, 0, 2 + 2},
		{"reset", []topo.Change{{Reset: true}}, 6, 4*3 + 2},
	} {
		_, vifaces, pairs, err := p.Change(p.Links(), test.changes)
		if err != nil || vifaces != test.vifaces || pairs != test.pairs {
			t.Errorf("%s: %d vifaces and %d pairs (%v), want %d and %d", test.name, vifaces, pairs, err, test.vifaces, test.pairs)
		}
	}
}

func TestChangeRefuses(t *testing.T) {
	p := mustPlan(t, lab())
	for _, test := range []struct {
		change topo.Change
		want   string
	}{
		{topo.Change{Side: topo.SideOut, Nodes: nodeset.Of("a1", "x7"), Patch: patchOf(t, "delay=1ms")}, "no vnode is called x7"},
		{topo.Change{Side: topo.SidePair, Nodes: nodeset.Of("a1"), To: nodeset.Of("y"), Patch: patchOf(t, "delay=1ms")}, "no vnode is called y"},
		{topo.Change{Side: topo.SidePair, Nodes: nodeset.Of("a1")}, "not said of which"},
		{topo.Change{Nodes: nodeset.Of("a1")}, "not said of which"},
		{topo.Change{Side: topo.SideOut, Nodes: nodeset.Of("a1"), Patch: patchOf(t, "reorder=1%")}, "set reorder=1% where it is none: reorder: means nothing without a delay"},
		{topo.Change{Side: topo.SidePair, Nodes: p.Nodes(), To: p.Nodes(), Patch: patchOf(t, "queue=5ms")}, "set queue=5ms where it is none"},
		{topo.Change{Matrix: &topo.Matrix{Sets: []*nodeset.Set{nodeset.Of("z")}, Delay: []time.Duration{1}}}, "no vnode is called z"},
		{topo.Change{Matrix: &topo.Matrix{Sets: []*nodeset.Set{nodeset.Of("a1")}}}, "a matrix of 0 delays"},
	} {
		next, _, _, err := p.Change(nil, []topo.Change{test.change})
		if err == nil || !strings.Contains(err.Error(), test.want) || next != nil {
			t.Errorf("%+v: error %v, want one that says %q", test.change, err, test.want)
		}
	}
}

// Where no change is about pairs, their tables are the same memory.
func TestChangeShares(t *testing.T) {
	p := mustPlan(t, clusters(100, 10, 3))
	next, _, _, err := p.Change(p.Links(), []topo.Change{{Side: topo.SideOut, Nodes: nodeset.Of("peer7"), Patch: patchOf(t, "delay=9ms")}})
	if err != nil || &next.Matrix[0] != &p.Links().Matrix[0] {
		t.Errorf("the matrix is copied (%v)", err)
	}
	same, _, _, err := p.Change(next, []topo.Change{{Side: topo.SideOut, Nodes: nodeset.Of("peer7"), Reset: true}})
	if err != nil || !same.Equal(p.Links()) {
		t.Errorf("reset, it is (%v)\n%s\nwas\n%s", err, textOf(p, same), textOf(p, p.Links()))
	}
}

// Tables in which too many differ are refused, with a remedy.
func TestLinkLimits(t *testing.T) {
	defer func(was int) { maxClasses = was }(maxClasses)
	maxClasses = 100
	n := maxClasses + 10
	many, matrix := flat(n), flat(n)
	matrix.Links = []topo.LinkRule{{Matrix: matrixOf(n, 1)}}
	for i := range n {
		many.Links = append(many.Links, topo.LinkRule{From: nodeset.Of(fmt.Sprintf("peer%d", i+1)), To: many.Vnodes[0].Nodes,
			Conditions: &link.Conditions{Delay: time.Duration(i+1) * time.Millisecond}})
	}
	for want, to := range map[string]*topo.Topology{
		"it is of 110 groups of vnodes, at most 100 can be (group nodes)":                                                     matrix,
		"more than 100 vnodes or groups of vnodes differ in their pairs (group nodes: give pairs of groups their conditions)": many,
	} {
		if _, err := Make(to, []Pnode{{Name: "p1"}}, Options{}); err == nil || strings.Count(err.Error(), want) != 1 {
			t.Errorf("error %v, want one that says %q", err, want)
		}
	}
}

// The examples of the project are planned, and mean what they say.
func TestExamples(t *testing.T) {
	files, _ := filepath.Glob("../examples/*.yaml")
	if len(files) == 0 {
		t.Fatal("no examples")
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		to, err := topo.ParseWith(file, data, func(path string) ([]byte, error) { return os.ReadFile(filepath.Join("../examples", path)) })
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		pnodes := atSites(named("p1", "p2", "p3"), "paris", "lyon")
		for i := range pnodes {
			pnodes[i].Key[0] = 1
		}
		if len(to.Placement.At)+len(to.Placement.Apart) == 0 {
			pnodes = pnodes[:1]
		}
		p, err := Make(to, pnodes, Options{})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if err := p.Links().Validate(); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		again, err := Decode(p.Encode())
		if err != nil || !again.Links().Equal(p.Links()) || again.Forecast().String() != p.Forecast().String() {
			t.Errorf("%s: encoded and decoded (%v), the plan is another", file, err)
		}
		l := p.Links()
		steps, _ := p.Schedule()
		if got, _ := again.Schedule(); len(got) != len(steps) {
			t.Errorf("%s: %d steps of a schedule are read back, want %d", file, len(got), len(steps))
		}
		for _, step := range steps[:min(len(steps), 3)] {
			if l, _, _, err = p.Change(l, step.Changes); err != nil {
				t.Errorf("%s: at %s: %v", file, step.At, err)
			}
		}
		if strings.HasSuffix(file, "wan.yaml") {
			way, ok := p.Way(p.Links(), "paris1", "tokyo1")
			if !ok || way.Network != "internet" || way.Pair.Delay != 112*time.Millisecond {
				t.Errorf("from paris1 to tokyo1: %+v", way)
			}
		}
	}
}

// exampleTopology reads a topology of the examples.
func exampleTopology(t *testing.T, name string) *topo.Topology {
	t.Helper()
	data, err := os.ReadFile("../examples/" + name)
	if err != nil {
		t.Fatal(err)
	}
	to, err := topo.ParseWith(name, data, func(path string) ([]byte, error) { return os.ReadFile(filepath.Join("../examples", path)) })
	if err != nil {
		t.Fatal(err)
	}
	return to
}

package plan

import (
	"fmt"
	"testing"

	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// TestChangeParts: several changes at once are the same as one after another.
func TestChangeParts(t *testing.T) {
	top, err := topo.Parse("x", []byte("platform: x\nvnetworks: {lan: 10.0.0.0/16}\nvnodes: [{nodes: 'n[1-20]', vifaces: [lan]}]\n"))
	if err != nil {
		t.Fatal(err)
	}
	p, err := Make(top, []Pnode{{Name: "here"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	change := func(nodes, to, setting string) topo.Change {
		c := topo.Change{Side: topo.SideOut, Nodes: nodeset.Of(nodes)}
		if to != "" {
			c.Side, c.To = topo.SidePair, nodeset.Of(to)
		}
		if c.Patch, err = link.ParsePatch([]string{setting}, nil); err != nil {
			t.Fatal(err)
		}
		return c
	}
	var parts [][]topo.Change
	for i := range 10 {
		n := fmt.Sprintf("n%d", i%3+1)
		parts = append(parts, []topo.Change{change(n, "", fmt.Sprintf("delay=%dms", i+1)), change(n, "n9", fmt.Sprintf("loss=%d%%", i+1))})
	}
	parts = append(parts, []topo.Change{{Side: topo.SideOut, Nodes: nodeset.Of("n2"), Reset: true}})
	got, about, err := p.ChangeParts(nil, parts)
	if err != nil {
		t.Fatal(err)
	}
	var want *program.Links
	for i, part := range parts {
		var n Changed
		if want, n.Vifaces, n.Pairs, err = p.Change(want, part); err != nil || n != about[i] {
			t.Errorf("part %d is about %+v, and as one of several about %+v (%v)", i, n, about[i], err)
		}
	}
	if string(program.EncodeLinks(got)) != string(program.EncodeLinks(want)) {
		t.Error("several changes at once make other tables than one after another")
	}
	if _, _, err := p.ChangeParts(nil, append(parts, []topo.Change{{}})); err == nil {
		t.Error("a change of nothing is made")
	}
}

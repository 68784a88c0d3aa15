package daemon_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"myriad/api"
	"myriad/kernel/mem"
	"myriad/program"
)

func TestNodes(t *testing.T) {
	m := newMachine(t, mem.New(mem.Options{}))
	m.mustUp("x", 40)
	for _, c := range []struct {
		expr string
		want api.Nodes
	}{
		{"", api.Nodes{Nodes: "n[1-40]", Count: 40, Groups: map[string]string{"all": "n[1-40]"}}},
		{"@all!n[2-40]", api.Nodes{Nodes: "n1", Count: 1, Groups: map[string]string{"all": "n1"}}},
		{"n3*", api.Nodes{Nodes: "n[3,30-39]", Count: 11, Groups: map[string]string{"all": "n[3,30-39]"}}},
	} {
		got, err := m.Nodes(t.Context(), "x", c.expr)
		must(t, err)
		if diff := cmp.Diff(&c.want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", c.expr, diff)
		}
	}
	for expr, want := range map[string]program.Kind{"n41": program.KindNotFound, "n[1": program.KindInvalid, "@none": program.KindInvalid} {
		if _, err := m.Nodes(t.Context(), "x", expr); kindOf(err) != want {
			t.Errorf("%q: %v, want kind %v", expr, err, want)
		}
	}
	if _, err := m.Nodes(t.Context(), "y", ""); kindOf(err) != program.KindNotFound {
		t.Errorf("a platform that is not there: %v", err)
	}
}

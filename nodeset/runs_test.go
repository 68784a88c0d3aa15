package nodeset_test

import (
	"maps"
	"testing"

	"myriad/nodeset"

	"pgregory.net/rapid"
)

func TestRuns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := modelOf(names(t, "names"))
		got, total := make(model), 0
		for r := range nodeset.Of(keys(m)...).Runs() {
			total += r.Len
			if !m[r.First] || !m[r.Last] || len(r.First) != len(r.Last) || (r.Len == 1) != (r.First == r.Last) {
				t.Fatalf("%+v is no run of %v", r, m)
			}
			got[r.First], got[r.Last] = true, true
		}
		for name := range got {
			delete(m, name)
		}
		if total != len(m)+len(got) {
			t.Fatalf("runs hold %d names, want %d", total, len(m)+len(got))
		}
	})
	var seen []nodeset.Run
	set, err := nodeset.Parse("r[1-2]n[8-12]x,spare", nil)
	if err != nil {
		t.Fatal(err)
	}
	for r := range set.Runs() {
		seen = append(seen, r)
	}
	want := map[nodeset.Run]bool{{"r1n8x", "r1n9x", 2}: true, {"r1n10x", "r1n12x", 3}: true, {"r2n8x", "r2n9x", 2}: true, {"r2n10x", "r2n12x", 3}: true, {"spare", "spare", 1}: true}
	for _, r := range seen {
		delete(want, r)
	}
	if len(seen) != 5 || len(want) > 0 {
		t.Errorf("runs are %v", seen)
	}
	for range set.Runs() {
		break
	}
}

func keys(m model) (names []string) {
	for name := range maps.Keys(m) {
		names = append(names, name)
	}
	return names
}

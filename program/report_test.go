package program

import (
	"encoding/json"
	"testing"
)

func TestReportJSON(t *testing.T) {
	for k := KindInternal; k <= KindPermission; k++ {
		p := Problem{Kind: k, Rack: -1, Op: "make"}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		var back Problem
		if err := json.Unmarshal(text, &back); err != nil || back != p {
			t.Errorf("%s: read back as %+v, %v", text, back, err)
		}
	}
	for s := RackDown; s <= RackLost; s++ {
		text, err := json.Marshal(RackReport{State: s})
		if err != nil {
			t.Fatal(err)
		}
		var back RackReport
		if err := json.Unmarshal(text, &back); err != nil || back.State != s {
			t.Errorf("%s: read back as %+v, %v", text, back, err)
		}
	}
	var unknown Kind = KindInvalid
	if err := unknown.UnmarshalText([]byte("out of cheese")); err != nil || unknown != KindInternal {
		t.Errorf("a kind of a newer version is %v, %v; want internal", unknown, err)
	}
}

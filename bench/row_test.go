package bench

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestNewRow(t *testing.T) {
	r := newRow("deploy", "up", 1000, "s", "kernel floor", atMost("ratio", 1.3), []sample{{1.2, 1}, {2.6, 2}, {1.1, 1}})
	if r.Ours != 1.2 || r.Reference != 1 || r.Ratio != 1.2 || !r.Met || r.Runs != 3 {
		t.Errorf("row %+v: want medians 1.2, 1, 1.2 and a bar that is met", r)
	}
	if r := newRow("deploy", "up", 1, "s", "", atMost("ratio", 1.3), []sample{{3, 2}}); r.Met {
		t.Error("a ratio of 1.5 meets a bar of 1.3")
	}
	if r := newRow("deploy", "up", 1, "s", "", atLeast("ours", 3), nil); r.Met {
		t.Error("a case without runs meets its bar")
	}
	if r := newRow("deploy", "up", 1, "s", "kernel floor", atMost("ratio", 1.3), []sample{{1, 1}, {3, 0}}); r.Met {
		t.Error("a ratio that one run could not have meets its bar")
	}
}

func TestRowJSON(t *testing.T) {
	b, err := json.Marshal(newRow("exec", "true", 10, "s", "fork", atMost("ratio", 2), []sample{{3, 2}}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"bench":"exec"`, `"case":"true"`, `"n":10`, `"ours":3`, `"reference":2`, `"reference_name":"fork"`,
		`"ratio":1.5`, `"unit":"s"`, `"bar":"ratio \u003c= 2"`, `"met":true`, `"runs":1`, `"spread":0`} {
		if !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %s", b, want)
		}
	}
}

func TestFigure(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1234.5: "1234", 123.4: "123", 12.34: "12.3", 1.234: "1.23", 0.01234: "0.0123"} {
		if got := figure(v); got != want {
			t.Errorf("figure(%v) = %q, want %q", v, got, want)
		}
	}
}

package topo

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"myriad/link"
	"myriad/nodeset"
)

func mustSet(t *testing.T, text string) *nodeset.Set {
	t.Helper()
	s, err := nodeset.Parse(text, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestParseSchedule reads schedules for a platform that is up.
func TestParseSchedule(t *testing.T) {
	scope := Scope{Nodes: mustSet(t, "a[1-10],b[1-10]"), Groups: map[string]*nodeset.Set{"left": mustSet(t, "a[1-10]")}}
	src := `
profiles: {slow: {rate: 1mbit}}
repeat: 1m
schedule:
  - {at: 1s, nodes: "@left", conditions: {out: slow}}
  - {at: 2s, from: "@left", to: "b*", profile: slow, delay: 5ms}
  - {series: data/s, nodes: "@*!@left", side: out}
`
	steps, repeat, err := ParseSchedule("s.yaml", []byte(src), scope, func(string) ([]byte, error) { return []byte("3 delay=1ms\n"), nil })
	if err != nil || len(steps) != 3 || repeat.Seconds() != 60 {
		t.Fatalf("%v, %v, %v", steps, repeat, err)
	}
	if got := describeChange(steps[2].Changes[0]); got != "b[1-10] out: delay=1ms" {
		t.Errorf("third step: %s", got)
	}
	for text, want := range map[string]string{
		"schedule: [{at: 1s, nodes: c1, conditions: lte}]":       "no vnode is called c1",
		"schedule: [{at: 1s, nodes: '@right', conditions: lte}]": "no such group",
		"platform: x": "it belongs in a platform",
		"schedule: [{at: 1s, nodes: a1, conditions: lte}]\nx: [":         "not readable as YAML",
		"schedule: [{series: data/s, nodes: a1, side: out}]":             "cannot be read here",
		"schedule: [{at: 1s, nodes: a1, conditions: {in: {rate: 10M}}}]": "bits or bytes",
	} {
		if _, _, err := ParseSchedule("s.yaml", []byte(text), scope, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", text, err, want)
		}
	}
}

// TestFileLimits refers to files that are too large, or many, or not there.
func TestFileLimits(t *testing.T) {
	const head = "platform: a\nvnetworks: {l: 10.0.0.0/8}\nvnodes: [{nodes: 'a[1-2]', vifaces: [l]}]\n"
	big := bytes.Repeat([]byte("#"), MaxFileSize)
	asked := map[string]int{}
	files := func(name string) ([]byte, error) {
		asked[name]++
		switch {
		case strings.HasPrefix(name, "big"):
			return big, nil
		case name == "../huge":
			return make([]byte, MaxFileSize+1), nil
		case name == "m/2":
			return []byte("0 1\n1 0\n"), nil
		}
		return nil, fmt.Errorf("read %s: no such file", name)
	}
	src := head + "profiles:\n  a: {trace: x/../../huge}\n  b: {trace: ./none.such}\n  c: {trace: none.such}\n"
	for i := range 5 {
		src += fmt.Sprintf("  d%d: {trace: big/%d}\n", i, i)
	}
	_, err := ParseWith("x.yaml", []byte(src), files)
	for _, want := range []string{"more than 64 MB", "read none.such: no such file", "more than 256 MB together", "big/0:1:1: profiles.d0.trace: is empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
	for name, n := range asked {
		if n != 1 {
			t.Errorf("%s was asked for %d times", name, n)
		}
	}
	if _, err := Parse("x.yaml", []byte(head+"links: [{matrix: m/2, nodes: 'a*', unit: ms, values: rtt}]\n")); err == nil || !strings.Contains(err.Error(), "cannot be read here") {
		t.Errorf("without files: %v", err)
	}
	top, err := ParseWith("x.yaml", []byte(head+"links: [{matrix: m/2, nodes: 'a*', unit: s, values: rtt}]\n"), files)
	if err != nil || top.Links[0].Matrix.Delay[1].Seconds() != 0.5 {
		t.Errorf("%v, %v", top, err)
	}
	var all Errors
	if _, err = ParseWith("x.yaml", []byte(head+"links: [{matrix: m/3, nodes: 'a*', unit: s, values: rtt}]\n"), files); !errors.As(err, &all) {
		t.Errorf("got %v", err)
	}
}

// TestMatrixFiles reads the matrices of the examples: what is asked for is
// half of what was measured.
func TestMatrixFiles(t *testing.T) {
	all := files(t)
	top, err := ParseWith("planetlab.yaml", all["../examples/planetlab.yaml"], beside("../examples/x"))
	if err != nil {
		t.Fatal(err)
	}
	m := top.Links[0].Matrix
	if len(m.Sets) != 490 || m.Sets[9].Min() != "node010" || link.FormatDelay(m.Delay[9]) != "64.065ms" || m.Delay[491] != -1 {
		t.Errorf("%d rows; row 1, column 10 is %v", len(m.Sets), m.Delay[9])
	}
	top, err = ParseWith("seattle.yaml", all["../examples/seattle.yaml"], beside("../examples/x"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(top.Schedule); n != 20 || top.Schedule[19].At.Seconds() != 190 || link.FormatDelay(top.Schedule[0].Changes[0].Matrix.Delay[1]) != "85ms" {
		t.Errorf("%d steps", n)
	}
	if len(top.Notes) != 20 || !strings.Contains(top.Notes[0].Msg, "65 of 9702 entries") {
		t.Errorf("notes: %v", top.Notes)
	}
}

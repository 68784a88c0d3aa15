package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"myriad/rack"
)

// said is a piece of standard output, cried of standard error.
func said(vnode, data string) rack.Output { return rack.Output{Vnode: vnode, Data: []byte(data)} }
func cried(vnode, data string) rack.Output {
	return rack.Output{Vnode: vnode, Stderr: true, Data: []byte(data)}
}

func TestLines(t *testing.T) {
	var out, err bytes.Buffer
	l := newLines(&out, &err, 3)
	l.output(said("n1", "one\ntw"))
	l.output(cried("n1", "oops\n"))
	l.output(said("n10", "ten\n"))
	l.output(said("n1", "o\n\nlast"))
	l.output(said("n2", "cut off"))
	l.exit(rack.Exit{Vnode: "n1"})
	if err := l.close(); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "n1:  one\nn10: ten\nn1:  two\nn1:  \nn1:  last\nn2:  cut off\n"; got != want {
		t.Errorf("output:\n%swant:\n%s", got, want)
	}
	if got, want := err.String(), "n1:  oops\n"; got != want {
		t.Errorf("error output %q, want %q", got, want)
	}
}

func TestLinesBounded(t *testing.T) {
	var out bytes.Buffer
	l := newLines(&out, &out, 0)
	for range 5 {
		l.output(said("n", strings.Repeat("x", lineMax/2)))
	}
	if held := len(l.partial[stream{"n", false}]); held > lineMax {
		t.Errorf("%d bytes of an endless line are held, want at most %d", held, lineMax)
	}
}

func TestGather(t *testing.T) {
	var out, err bytes.Buffer
	g := newGather(&out, &err)
	for i := 1; i <= 4; i++ {
		name := fmt.Sprintf("n%d", i)
		g.output(said(name, "same\n"))
		if i == 2 {
			g.output(said(name, "and more"))
		}
		if i == 3 {
			g.output(cried(name, "no such thing\n"))
		}
		g.exit(rack.Exit{Vnode: name, Code: map[int]int{3: 7}[i]})
	}
	g.exit(rack.Exit{Vnode: "silent"})
	g.output(said("n9", "half"))
	if err := g.close(); err != nil {
		t.Fatal(err)
	}
	want := `---------------
n[1,4] (2)
---------------
same
---------------
n2
---------------
same
and more
---------------
n3 exit code 7
---------------
same
---------------
n9 unfinished
---------------
half
`
	if out.String() != want {
		t.Errorf("output:\n%swant:\n%s", &out, want)
	}
	if want := "---------------\nn3 exit code 7\n---------------\nno such thing\n"; err.String() != want {
		t.Errorf("error output:\n%swant:\n%s", &err, want)
	}
}

func TestGatherKeepsEqualOutputsOnce(t *testing.T) {
	g := newGather(&bytes.Buffer{}, &bytes.Buffer{})
	line := strings.Repeat("y", 1<<10)
	for i := range 10_000 {
		name := fmt.Sprintf("peer%d", i)
		g.output(said(name, line))
		g.exit(rack.Exit{Vnode: name})
	}
	if len(g.blocks[0]) != 1 || len(g.running) != 0 {
		t.Errorf("%d blocks and %d running after equal outputs, want 1 and 0", len(g.blocks[0]), len(g.running))
	}
}

func TestResults(t *testing.T) {
	var out bytes.Buffer
	print := func(v any) error { return json.NewEncoder(&out).Encode(v) }

	r := newResults(print, false)
	r.output(said("a", "x\n"))
	r.output(cried("a", "\xff"))
	r.exit(rack.Exit{Vnode: "a", Code: 3, Took: 5})
	r.exit(rack.Exit{Vnode: "b", Code: 137, Signal: 9, Err: "timeout"})
	want := `{"vnode":"a","code":3,"took":5,"stdout":"x\n","stderr":{"base64":"/w=="}}
{"vnode":"b","code":137,"signal":9,"error":"timeout","took":0,"stdout":"","stderr":""}
`
	if out.String() != want {
		t.Errorf("results:\n%swant:\n%s", &out, want)
	}

	out.Reset()
	r = newResults(print, true)
	r.output(said("a", "x\n"))
	r.output(cried("a", "y\n"))
	r.exit(rack.Exit{Vnode: "a"})
	want = `{"vnode":"a","stdout":"x\n"}
{"vnode":"a","stderr":"y\n"}
{"vnode":"a","code":0,"took":0}
`
	if out.String() != want {
		t.Errorf("streamed results:\n%swant:\n%s", &out, want)
	}
}

func TestTally(t *testing.T) {
	y := newTally()
	for i := 1; i <= 5; i++ {
		y.exit(rack.Exit{Vnode: fmt.Sprintf("n%d", i), Code: map[int]int{2: 1, 4: 1, 5: 137}[i], Signal: map[int]int{5: 9}[i]})
	}
	y.exit(rack.Exit{Vnode: "n6", Code: 127, Err: "exec: \"frob\": not found in PATH"})
	y.exit(rack.Exit{Vnode: "n7", Code: 143, Signal: 15, Err: "timeout"})
	var lines []string
	y.summary(func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) })
	got := strings.Join(lines, "\n")
	want := `n[2,4] (2): exit code 1
n6: exit code 127: exec: "frob": not found in PATH
n5: exit code 137 (killed)
n7: killed at the timeout`
	if got != want {
		t.Errorf("summary:\n%s\nwant:\n%s", got, want)
	}
	if y.worst != 143 || y.ended != 7 {
		t.Errorf("worst %d of %d, want 143 of 7", y.worst, y.ended)
	}
}

func TestBriefly(t *testing.T) {
	var odd []string
	for i := 1; i < 1000; i += 2 {
		odd = append(odd, fmt.Sprintf("peer%d", i))
	}
	got := briefly(odd)
	if len(got) > briefLength+20 || !strings.HasPrefix(got, "peer[1,3,5,") || !strings.HasSuffix(got, ",…] (500)") {
		t.Errorf("500 names are briefly %q", got)
	}
	if got := briefly([]string{"a1", "a2"}); got != "a[1-2] (2)" {
		t.Errorf("two names are briefly %q", got)
	}
}

func BenchmarkGather(b *testing.B) {
	names := make([]string, 40_000)
	for i := range names {
		names[i] = fmt.Sprintf("peer%d", i+1)
	}
	b.ReportAllocs()
	for b.Loop() {
		g := newGather(&bytes.Buffer{}, &bytes.Buffer{})
		for _, name := range names {
			g.output(said(name, "6.18.44\n"))
			g.exit(rack.Exit{Vnode: name})
		}
		if err := g.close(); err != nil {
			b.Fatal(err)
		}
	}
}

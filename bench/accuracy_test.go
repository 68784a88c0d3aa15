package bench

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"myriad/kernel/fabric"
)

// TestShortest compares with the plain relaxation of all links.
func TestShortest(t *testing.T) {
	g := newScaleFree(120, 7)
	if len(g.links) != 40 || len(g.homes) != 80 {
		t.Fatalf("%d switches and %d end nodes of 120 elements", len(g.links), len(g.homes))
	}
	want := make([]time.Duration, len(g.links))
	for i := range want {
		want[i] = math.MaxInt64 / 2
	}
	want[3] = 0
	for range g.links {
		for i, links := range g.links {
			for _, l := range links {
				want[l.to] = min(want[l.to], want[i]+l.delay)
			}
		}
	}
	for i, d := range g.shortest(3) {
		if d != want[i] {
			t.Errorf("switch %d: %v, want %v", i, d, want[i])
		}
	}
	ways := g.ways()
	if ways[1][2] != ways[2][1] || ways[1][1] != 0 || ways[1][2] <= 0 {
		t.Errorf("ways %v and %v, %v to itself", ways[1][2], ways[2][1], ways[1][1])
	}
}

func TestParseRTTs(t *testing.T) {
	m, err := parseRTTs("# ms\n0\t1.5\n-\t0\n")
	if err != nil || m[0][1] != 1.5 || m[1][0] != 0 {
		t.Errorf("%v, %v", m, err)
	}
	if _, err := parseRTTs("0 1\n1 0 1\n"); err == nil {
		t.Error("a row with a column too many passes")
	}
}

// TestGoodput reads what iperf3 writes: omitted seconds, and a last interval
// that was cut short, do not count.
func TestGoodput(t *testing.T) {
	text := `{"intervals":[{"sum":{"seconds":1,"bytes":9000}},{"sum":{"seconds":1,"bytes":9000}},
		{"sum":{"seconds":1,"bytes":1000}},{"sum":{"seconds":1,"bytes":3000}},{"sum":{"seconds":0.1,"bytes":9}}]}`
	if got, err := goodput([]byte(text), 2); err != nil || got != 16000 {
		t.Errorf("%v, %v, want 16000", got, err)
	}
	if _, err := goodput([]byte(`{"error":"no route"}`), 2); err == nil {
		t.Error("an error passes")
	}
}

func TestBars(t *testing.T) {
	for _, c := range []struct {
		bar  Bar
		v    float64
		met  bool
		text string
	}{
		{within("ours", 50), -49, true, "ours within ±50.0"},
		{within("ours", 50), 51, false, "ours within ±50.0"},
		{inside("asked", 0.9, 1.1), 1, true, "asked in 0.900 … 1.10"},
		{inside("asked", 0.9, 1.1), 1.2, false, "asked in 0.900 … 1.10"},
		{within("ours", 1), math.NaN(), false, "ours within ±1.00"},
	} {
		if c.bar.met(c.v, 0) != c.met || c.bar.String() != c.text {
			t.Errorf("%s with %v: met %v", c.bar, c.v, c.bar.met(c.v, 0))
		}
	}
}

func TestPrintAccuracy(t *testing.T) {
	a := &accuracy{host: Host{"2 × CPU, 24 GiB", "6.18", "wheel"}}
	a.add("delay", "out 5 ms", 1000, "µs", within("ours", 50), []reading{{-12, mood{steal: 0.02, timerP50: 40, timerP99: 300, times: 3}}, {14, mood{times: 1}}, {20, mood{times: 1}}})
	var b bytes.Buffer
	if err := PrintAccuracy(&b, a.rows); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Linux 6.18, holder wheel", "out 5 ms", "14.0", "3: −12.0 … 20.0", "met", "2.0 % ! (again 2×)"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s lacks %q", b.String(), want)
		}
	}
}

// TestClassify has a change in the middle of a sequence: probes after the 40
// that resolve addresses are old, then new; one is late with the old delay, one
// lost, one neither.
func TestClassify(t *testing.T) {
	q := &shots{}
	for i := range 100 {
		took := beforeChange + time.Millisecond
		if i >= 60 {
			took = afterChange
		}
		switch i {
		case 50:
			took = 100 * time.Millisecond
		case 70:
			took = beforeChange
		}
		q.Sent, q.Received = append(q.Sent, int64(i)), append(q.Received, int64(i)+int64(took))
	}
	q.Received[0], q.Received[80] = 0, 0
	if neither, stale, lost, begun := classify(q, beforeChange, afterChange); len(neither) != 1 || stale != 1 || lost != 1 || !begun {
		t.Errorf("%v neither, %d stale, %d lost, begun %v", neither, stale, lost, begun)
	}
}

func TestDifferences(t *testing.T) {
	x := &fabric.Code{Tag: "a", Instructions: []string{"1", "2", "3"}}
	if n := differences(x, x); n != 0 {
		t.Errorf("a program differs from itself in %d instructions", n)
	}
	if n := differences(x, &fabric.Code{Tag: "b", Instructions: []string{"1", "5", "3", "4"}}); n != 2 {
		t.Errorf("%d instructions differ, want 2", n)
	}
}

func TestPlatformText(t *testing.T) {
	p := newPlatform("x")
	p.vnodes("a[1-2]", "{delay: 1ms}", "{loss: 1%}")
	p.vnodes("b", "", "")
	p.link("{nodes: %q, matrix: m.txt, %s}", "a[1-2]", matrixOf)
	want := `platform: accuracy-x
vnetworks:
  lan: 10.0.0.0/8
vnodes:
  - nodes: a[1-2]
    vifaces: [lan]
    conditions: {out: {delay: 1ms}, in: {loss: 1%}}
  - nodes: b
    vifaces: [lan]
links:
  - {nodes: "a[1-2]", matrix: m.txt, unit: us, values: delay, missing: none}
`
	if p.text() != want {
		t.Errorf("%s\nwant\n%s", p.text(), want)
	}
}

package link

import (
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func patch(t *testing.T, settings string) Patch {
	t.Helper()
	p, err := ParsePatch(strings.Fields(settings), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestApply(t *testing.T) {
	for _, test := range []struct{ before, patch, want string }{
		{"", "delay=20ms loss=1%", "delay=20ms loss=1%"},
		{"delay=20ms loss=1%", "loss=none", "delay=20ms"},
		{"delay=20ms loss=1%", "loss=0 delay=0", "none"},
		{"delay=20ms jitter=2ms distribution=normal ordered=true", "jitter=none", "delay=20ms"},
		{"delay=20ms jitter=2ms distribution=normal", "jitter=3ms distribution=uniform", "delay=20ms jitter=3ms"},
		{"rate=1mbit queue=50ms ecn=true", "rate=none", "none"},
		{"rate=1mbit queue=50ms ecn=true", "rate=2mbit", "rate=2mbit queue=50ms ecn=true"},
		{"rate=1mbit queue=50ms", "queue=10p", "rate=1mbit queue=10p"},
		{"rate=1mbit ecn=true", "ecn=false", "rate=1mbit"},
		{"burst=1%,20%,50%", "burst=2%,20%", "burst=2%,20%"},
	} {
		c, err := ParseConditions(strings.Fields(test.before), nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := patch(t, test.patch).Apply(c)
		if err != nil || got.String() != test.want {
			t.Errorf("%s, then %s: %s, %v; want %s", test.before, test.patch, got, err, test.want)
		}
	}
}

func TestContradictions(t *testing.T) {
	trace := &Trace{Name: "a/b", Period: 1, At: []uint32{1}}
	for want, c := range map[string]Conditions{
		"rate and trace":          {Rate: 1e6, Trace: trace},
		"queue: nothing waits":    {Queue: Queue{Packets: 1}},
		"queue: has more":         {Rate: 1e6, Queue: Queue{Packets: 1, Bytes: 1}},
		"ecn: no queue":           {ECN: true},
		"reorder: means nothing":  {Reorder: 0.1},
		"distribution: means":     {Distribution: Normal()},
		"ordered: means nothing":  {Ordered: true},
		"loss: is not from":       {Loss: 1.5},
		"burst: the bad state is": {Burst: &Burst{}},
		"delay: is not from":      {Delay: -1},
		"rate: is not from":       {Rate: 1},
	} {
		if err := c.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %s", c, err, want)
		}
	}
	if n := (Conditions{Delay: time.Millisecond, Jitter: time.Second}).Notes(); len(n) != 1 {
		t.Errorf("notes: %v", n)
	}
	got, err := PatchOf(Conditions{Rate: 1e6}, "rate").Apply(Conditions{Trace: trace})
	if err != nil || got.Trace != nil || got.Rate != 1e6 {
		t.Errorf("a rate for a trace: %v, %v", got, err)
	}
	got, err = PatchOf(Conditions{Trace: trace}, "trace").Apply(Conditions{Rate: 1e6, Queue: Queue{Packets: 5}})
	if err != nil || got.Trace != trace || got.Rate != 0 || got.Queue.Packets != 5 {
		t.Errorf("a trace for a rate: %v, %v", got, err)
	}
}

// drawPatch draws settings that agree with each other.
func drawPatch(t *rapid.T, label string) Patch {
	values := map[string][]string{
		"delay": {"none", "20ms", "1us"}, "jitter": {"none", "2ms"}, "distribution": {"none", "normal", "pareto"}, "ordered": {"true", "false"},
		"loss": {"none", "1%", "33.3%"}, "burst": {"none", "1%,20%", "1%,20%,30%"}, "rate": {"none", "1mbit"}, "queue": {"none", "5p", "50ms"}, "ecn": {"true", "none"},
	}
	var p Patch
	for _, name := range FieldNames() {
		if choices := values[name]; choices != nil && rapid.Bool().Draw(t, label+name) {
			if err := p.Set(name, rapid.SampledFrom(choices).Draw(t, label+name+"="), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// TestThen checks that two patches one after another are the same as both at
// once, that patches survive being written, and that they change nothing else.
func TestThen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := drawPatch(t, "a"), drawPatch(t, "b")
		start, _ := drawPatch(t, "start").Apply(Conditions{})
		first, _ := a.Apply(start)
		second, _ := b.Apply(first)
		both, _ := a.Then(b).Apply(start)
		if !reflect.DeepEqual(second, both) {
			t.Fatalf("from %s, %s and then %s: %s, at once (%s): %s", start, a, b, second, a.Then(b), both)
		}
		data, err := a.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var back Patch
		if err := back.UnmarshalBinary(data); err != nil || !reflect.DeepEqual(back, a) && back.String() != a.String() {
			t.Fatalf("%s came back as %s, %v", a, back, err)
		}
		if !a.Empty() {
			if again, err := ParsePatch(strings.Fields(a.String()), nil); err != nil || again.String() != a.String() {
				t.Fatalf("%s is read as %s, %v", a, again, err)
			}
		}
		whole, _ := PatchOf(start).Apply(second)
		if !reflect.DeepEqual(whole, start) {
			t.Fatalf("setting all fields to %s gives %s", start, whole)
		}
	})
}

func TestMarshalTrace(t *testing.T) {
	files := func(string) ([]byte, error) { return []byte("1\n5\n"), nil }
	p, err := ParsePatch([]string{"trace=a/b"}, files)
	if err != nil {
		t.Fatal(err)
	}
	data, _ := p.MarshalBinary()
	var back Patch
	if err := back.UnmarshalBinary(data); err != nil || !reflect.DeepEqual(p.to.Trace, back.to.Trace) {
		t.Errorf("%v came back as %v, %v", p.to.Trace, back.to.Trace, err)
	}
	for _, bad := range []string{"", "x", `{"Fields":["colour"]}`} {
		if back.UnmarshalBinary([]byte(bad)) == nil {
			t.Errorf("%q is a patch", bad)
		}
	}
}

func TestSides(t *testing.T) {
	out, in, err := ParseSides([]string{"profile=lte", "loss=1%"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	o, _ := out.Apply(Conditions{Corrupt: 0.5})
	i, _ := in.Apply(Conditions{})
	if o.String() != "delay=28ms jitter=5ms ordered=true loss=1% rate=6.3mbit" || i.Rate != 21_300_000 {
		t.Errorf("out %s, in %s", o, i)
	}
	if _, _, err := ParseSides([]string{"profile=ltee"}, nil); err == nil {
		t.Error("there is a profile ltee")
	}
	out, in, err = ParseSides([]string{"profile=none", "loss=1%"}, nil)
	o, _ = out.Apply(Conditions{Rate: 1000, Queue: Queue{Packets: 5}})
	if err != nil || o.String() != "loss=1%" || out != in {
		t.Errorf("profile=none loss=1%%: out %s, in %s, %v", o, in, err)
	}
	out, in, err = ParseSides([]string{"delay=3ms"}, nil)
	if err != nil || out != in || out.String() != "delay=3ms" {
		t.Errorf("out %s, in %s, %v", out, in, err)
	}
}

// TestProfiles checks that profiles are sound and say where they are from.
func TestProfiles(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Profiles() {
		if seen[p.Name] || len(p.Source) < 20 || p.Title == "" {
			t.Errorf("profile %q: twice, or from nowhere", p.Name)
		}
		seen[p.Name] = true
		for _, c := range []*Conditions{p.Out, p.In, p.Way} {
			if c != nil && (c.Check() != nil || c.Delay == 0) {
				t.Errorf("%s: %s: %v", p.Name, c, c.Check())
			}
		}
		if p.Access() != (p.Out != nil && p.In != nil) {
			t.Errorf("%s is neither of an access link nor of a way", p.Name)
		}
	}
}

// TestProfilesDocumented checks the table of profiles in docs/links.md.
func TestProfilesDocumented(t *testing.T) {
	doc, err := os.ReadFile("../docs/links.md")
	if err != nil {
		t.Fatal(err)
	}
	rate := func(c *Conditions) string {
		if c.Rate == 0 {
			return "–"
		}
		return FormatRate(c.Rate)
	}
	for _, p := range Profiles() {
		out, in := p.Out, p.In
		if !p.Access() {
			out, in = p.Way, p.Way
		}
		jitter := "–"
		if out.Jitter != 0 {
			jitter = FormatDelay(out.Jitter)
		}
		if out.Distribution != nil {
			jitter += " " + out.Distribution.Name
		}
		row := fmt.Sprintf("| `%s` | %s | %s | %s | %s | %s. %s |\n", p.Name, rate(out), rate(in), FormatDelay(out.Delay+in.Delay), jitter, p.Title, strings.TrimSuffix(p.Source, ".")+".")
		if !strings.Contains(string(doc), row) {
			t.Errorf("docs/links.md lacks\n%s", row)
		}
	}
}

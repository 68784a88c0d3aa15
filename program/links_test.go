package program

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// anyLinks draws small valid links that need not be canonical: conditions that
// are alike, classes of nobody, pairs that say what their classes say.
func anyLinks() *rapid.Generator[*Links] {
	return rapid.Custom(func(t *rapid.T) *Links {
		l := &Links{Seed: rapid.Uint64().Draw(t, "seed"), Classes: rapid.Uint32Range(0, 4).Draw(t, "classes")}
		for i := range rapid.IntRange(0, 3).Draw(t, "tables") {
			l.Tables = append(l.Tables, Distribution{Name: rapid.SampledFrom([]string{"normal", "pareto"}).Draw(t, "name"), Values: slices.Repeat([]int32{int32(i % 2)}, DistributionSize)})
		}
		for range rapid.IntRange(0, 3).Draw(t, "traces") {
			at := slices.Sorted(slices.Values(rapid.SliceOfN(rapid.Uint32Range(0, 9), 1, 3).Draw(t, "at")))
			l.Traces = append(l.Traces, Trace{Name: "lte", Period: 9, At: at})
		}
		for range rapid.IntRange(0, 5).Draw(t, "conditions") {
			c := anyCondition(t, l)
			if c != (Condition{}) {
				l.Conditions = append(l.Conditions, c)
			}
		}
		for range l.Classes * l.Classes {
			l.Matrix = append(l.Matrix, anyWord(t, l))
		}
		for network := range uint16(2) {
			host := uint32(0)
			for range rapid.IntRange(0, 5).Draw(t, "ranges") {
				r := LinkRange{Network: network + 1, Host: host + rapid.Uint32Range(1, 3).Draw(t, "gap"), Count: rapid.Uint32Range(1, 4).Draw(t, "count"),
					Class: rapid.Uint32Range(0, l.Classes).Draw(t, "class"), Out: anyRef(t, l), In: anyRef(t, l)}
				host = r.Host + r.Count - 1
				l.Vifaces = append(l.Vifaces, r)
			}
		}
		for range rapid.IntRange(0, 5).Draw(t, "pairs") {
			if len(l.Vifaces) == 0 {
				break
			}
			f, to := rapid.SampledFrom(l.Vifaces).Draw(t, "from"), rapid.SampledFrom(l.Vifaces).Draw(t, "to")
			p := Pair{Network: f.Network, From: f.Host, To: to.Host + to.Count - 1, Word: anyWord(t, l)}
			if f.Network == to.Network && p.From != p.To {
				l.Pairs = append(l.Pairs, p)
			}
		}
		slices.SortFunc(l.Pairs, ComparePairs)
		l.Pairs = slices.CompactFunc(l.Pairs, func(a, b Pair) bool { return ComparePairs(a, b) == 0 })
		return normal(l)
	})
}

// normal has nil for empty tables, as Decode gives.
func normal(l *Links) *Links {
	l.Pairs = append([]Pair(nil), l.Pairs...)
	return l
}

func anyCondition(t *rapid.T, l *Links) Condition {
	ms := time.Duration(rapid.SampledFrom([]int{0, 0, 1, 20}).Draw(t, "ms")) * time.Millisecond
	c := Condition{Delay: ms}
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		c.Loss, c.Ordered = ShareOf(rapid.SampledFrom([]float64{0.01, 1}).Draw(t, "loss")), rapid.Bool().Draw(t, "ordered")
	case 1:
		c.Jitter, c.Distribution = ms/2, rapid.Uint32Range(0, uint32(len(l.Tables))).Draw(t, "table")
	case 2:
		c.Trace, c.QueueBytes, c.Default = rapid.Uint32Range(0, uint32(len(l.Traces))).Draw(t, "trace"), 9, true
	case 3:
		c.Rate, c.QueueTime, c.ECN = rapid.Uint64().Draw(t, "rate"), ms, true
	}
	return c
}

func anyRef(t *rapid.T, l *Links) uint32 {
	return rapid.Uint32Range(0, uint32(len(l.Conditions))).Draw(t, "ref")
}

func anyWord(t *rapid.T, l *Links) PairWord {
	switch rapid.IntRange(0, 3).Draw(t, "word") {
	case 0:
		return 0
	case 1:
		w, _ := WordOfDelay(time.Duration(rapid.IntRange(1, 2).Draw(t, "delay")) * 20 * time.Millisecond)
		return w
	}
	return PairIndexed | PairWord(anyRef(t, l))
}

// meaning is what l says of one pair of hosts, written out.
func (l *Links) meaning(network uint16, from, to uint32) string {
	if l == nil {
		return "none none none"
	}
	name := func(c Condition) string {
		s := c.String()
		if c.Distribution > 0 {
			s += fmt.Sprint(l.Tables[c.Distribution-1].Name, l.Tables[c.Distribution-1].Values[0])
		}
		if c.Trace > 0 {
			s += fmt.Sprint(l.Traces[c.Trace-1])
		}
		return strings.NewReplacer(fmt.Sprintf("distribution=%d", c.Distribution), "", fmt.Sprintf("trace=%d", c.Trace), "").Replace(s)
	}
	return fmt.Sprintln(name(l.Condition(l.Of(network, from).Out)), name(l.PairCondition(l.Word(network, from, to))), name(l.Condition(l.Of(network, to).In)))
}

func TestLinksCodec(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := anyLinks().Draw(t, "links")
		if err := want.Validate(); err != nil {
			t.Fatal(err)
		}
		got, err := DecodeLinks(EncodeLinks(want))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("read back (%v) as\n%+v\nwant\n%+v", err, got, want)
		}
		p := large(1)
		p.Links = want
		back, err := Decode(p.Encode())
		if err != nil || !back.Links.Equal(want) {
			t.Fatalf("%v, read back in a program as\n%s\nwant\n%s", err, back, p)
		}
		if d := DiffPrograms(large(1), p); !d.Links || d.Empty() {
			t.Fatalf("the difference does not know of links: %+v", d)
		}
		if d := DiffPrograms(back, p); !d.Empty() {
			t.Fatalf("the difference of a program and itself is %+v", d)
		}
	})
}

func TestNoLinks(t *testing.T) {
	if l, err := DecodeLinks(EncodeLinks(nil)); l != nil || err != nil {
		t.Errorf("nil is read back as %v, %v", l, err)
	}
	var l *Links
	if !l.Equal(nil) || l.Equal(&Links{}) || l.Canonical() != nil || l.Validate() != nil || l.Word(1, 1, 2) != 0 || l.Of(1, 1) != (LinkRange{}) {
		t.Error("nil are not no links")
	}
	if (&Links{Seed: 7}).Canonical() != nil {
		t.Error("links that say nothing are links")
	}
}

func TestCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := anyLinks().Draw(t, "links")
		before := EncodeLinks(l)
		c := l.Canonical()
		if !bytes.Equal(before, EncodeLinks(l)) {
			t.Fatal("it changed what it was given")
		}
		if err := c.Validate(); err != nil {
			t.Fatalf("%v\n%s", err, text(c))
		}
		for network := range uint16(3) {
			for from := range uint32(20) {
				for to := range uint32(20) {
					if got, want := c.meaning(network, from, to), l.meaning(network, from, to); strings.TrimSpace(got) != strings.TrimSpace(want) {
						t.Fatalf("from %d to %d in %d it is %s, was %s\n%s\n%s", from, to, network, got, want, text(l), text(c))
					}
				}
			}
		}
		if again := c.Canonical(); !again.Equal(c) || !bytes.Equal(EncodeLinks(again), EncodeLinks(c)) {
			t.Fatalf("once more, it is\n%s\nwas\n%s", text(again), text(c))
		}
		if shuffled := shuffle(t, l).Canonical(); !bytes.Equal(EncodeLinks(shuffled), EncodeLinks(c)) {
			t.Fatalf("in another order, it is\n%s\nwas\n%s", text(shuffled), text(c))
		}
	})
}

func text(l *Links) string {
	p := large(1)
	p.Links = l
	return p.String()
}

// shuffle gives the same links with conditions and classes in another order,
// and ranges in pieces.
func shuffle(t *rapid.T, l *Links) *Links {
	out := &Links{Seed: l.Seed, Classes: l.Classes, Tables: l.Tables, Traces: l.Traces, Matrix: make([]PairWord, len(l.Matrix))}
	order := rapid.Permutation(indexes(len(l.Conditions))).Draw(t, "conditions")
	refs := make([]uint32, len(l.Conditions)+1)
	for at, i := range order {
		out.Conditions = append(out.Conditions, l.Conditions[i])
		refs[i+1] = uint32(at + 1)
	}
	word := func(w PairWord) PairWord {
		if w&PairIndexed != 0 {
			return PairIndexed | PairWord(refs[w&^PairIndexed])
		}
		return w
	}
	n := int(l.Classes)
	classes := rapid.Permutation(indexes(n)).Draw(t, "classes")
	for i := range n {
		for j := range n {
			out.Matrix[classes[i]*n+classes[j]] = word(l.Matrix[i*n+j])
		}
	}
	for _, r := range l.Vifaces {
		r.Out, r.In = refs[r.Out], refs[r.In]
		if r.Class > 0 {
			r.Class = uint32(classes[r.Class-1]) + 1
		}
		for h := range r.Count {
			one := r
			one.Host, one.Count = r.Host+h, 1
			out.Vifaces = append(out.Vifaces, one)
		}
	}
	for _, p := range l.Pairs {
		p.Word = word(p.Word)
		out.Pairs = append(out.Pairs, p)
	}
	return out
}

func indexes(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

func TestValidateLinks(t *testing.T) {
	good := func() *Links {
		return &Links{Conditions: []Condition{{Delay: 1}, {Loss: ShareOne}}, Classes: 1, Matrix: []PairWord{PairIndexed | 2},
			Vifaces: []LinkRange{{Network: 1, Host: 1, Count: 9, Class: 1, Out: 1}, {Network: 1, Host: 10, Count: 1}, {Network: 2, Host: 1, Count: 1, In: 2}},
			Pairs:   []Pair{{1, 1, 2, 5}, {1, 1, 10, PairIndexed}, {1, 2, 1, PairIndexed | 1}},
			Tables:  []Distribution{{"normal", make([]int32, DistributionSize)}}, Traces: []Trace{{"lte", 5, []uint32{0, 0, 5}}}}
	}
	if err := good().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name  string
		spoil func(l *Links)
		want  string
	}{
		{"nothing", func(l *Links) { l.Conditions[0] = Condition{} }, "changes nothing"},
		{"negative", func(l *Links) { l.Conditions[0].Delay = -1 }, "not between"},
		{"days", func(l *Links) { l.Conditions[0].QueueTime = 48 * time.Hour }, "not between"},
		{"probability", func(l *Links) { l.Conditions[0].Loss = ShareOne + 1 }, "probability"},
		{"no table", func(l *Links) { l.Conditions[0].Distribution = 2 }, "table 2 of 1"},
		{"no trace", func(l *Links) { l.Conditions[0].Trace = 1 << 31 }, "of 1"},
		{"two rates", func(l *Links) { l.Conditions[0].Trace, l.Conditions[0].Rate = 1, 1 }, "two rates"},
		{"no network", func(l *Links) { l.Vifaces[0].Network = 0 }, "has no"},
		{"no host", func(l *Links) { l.Vifaces[0].Host = 0 }, "has no"},
		{"too many hosts", func(l *Links) { l.Vifaces[0].Count = 1 << 31 }, "has no"},
		{"overlap", func(l *Links) { l.Vifaces[0].Count = 10 }, "not in order"},
		{"no class", func(l *Links) { l.Vifaces[0].Class = 2 }, "class 2 of 1"},
		{"no condition", func(l *Links) { l.Vifaces[0].In = 3 }, "of 2"},
		{"matrix", func(l *Links) { l.Classes = 2 }, "a matrix of 1 words for 2"},
		{"matrix of none", func(l *Links) { l.Classes, l.Matrix = 1<<16, nil }, "a matrix of 0 words"},
		{"no condition in the matrix", func(l *Links) { l.Matrix[0] = PairIndexed | 3 }, "condition 3 of 2"},
		{"pair with itself", func(l *Links) { l.Pairs[0].To = 1 }, "no pair"},
		{"pair of nobody", func(l *Links) { l.Pairs[0].To = 11 }, "no range"},
		{"pairs", func(l *Links) { l.Pairs[0].To = 10 }, "not in order"},
		{"no condition of a pair", func(l *Links) { l.Pairs[0].Word = PairIndexed | 9 }, "condition 9"},
		{"table", func(l *Links) { l.Tables[0].Values = nil }, "0 values"},
		{"trace", func(l *Links) { l.Traces[0].At[0] = 2 }, "sorted"},
		{"trace of nothing", func(l *Links) { l.Traces[0].At = nil }, "sorted"},
		{"trace without end", func(l *Links) { l.Traces[0].Period = 4 }, "sorted"},
	} {
		l := good()
		test.spoil(l)
		if err := l.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one that says %q", test.name, err, test.want)
		}
		if _, err := DecodeLinks(EncodeLinks(l)); err == nil {
			t.Errorf("%s: it decodes", test.name)
		}
	}
}

func FuzzDecodeLinks(f *testing.F) {
	for i := range 10 {
		f.Add(EncodeLinks(anyLinks().Example(i)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := DecodeLinks(data)
		if err != nil || l == nil {
			return
		}
		again, err := DecodeLinks(EncodeLinks(l))
		if err != nil || !again.Equal(l) {
			t.Fatalf("decoded, encoded and decoded, it is (%v)\n%+v\nwant\n%+v", err, again, l)
		}
		c := l.Canonical()
		if err := c.Validate(); err != nil || !c.Canonical().Equal(c) {
			t.Fatalf("the canonical form of\n%+v\nis (%v)\n%+v", l, err, c)
		}
	})
}

func TestShares(t *testing.T) {
	for p, want := range map[float64]string{0: "0%", 1e-12: "0.00000005%", 0.001: "0.1%", 0.01: "1%", 1. / 3: "33.33333335%", 0.9999999999: "99.99999995%", 1: "100%"} {
		s := ShareOf(p)
		if got := s.String(); got != want || ShareOf(s.Float()) != s {
			t.Errorf("%v is %s, want %s", p, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Share(rapid.Uint32Range(0, uint32(ShareOne)).Draw(t, "share"))
		if got := ShareOf(s.Float()); got != s {
			t.Fatalf("%d becomes %d", s, got)
		}
	})
}

func TestLinksText(t *testing.T) {
	p := large(3)
	p.Links = &Links{Seed: 7, Classes: 2, Matrix: []PairWord{312500, 312500, 0, PairIndexed | 1},
		Conditions: []Condition{{Delay: 20 * time.Millisecond, Loss: ShareOf(0.01), Rate: 1e6, QueueTime: 100 * time.Millisecond, Default: true, ECN: true}},
		Vifaces:    []LinkRange{{Network: 1, Host: 1, Count: 2, Class: 1, Out: 1}, {Network: 9, Host: 3, Count: 1, Class: 2}},
		Pairs:      []Pair{{1, 1, 2, PairIndexed}},
		Tables:     []Distribution{{"normal", make([]int32, DistributionSize)}}, Traces: []Trace{{"lte", 5, []uint32{0, 0, 5}}}}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	const want = `links seed 7
  condition #1 delay=20ms loss=1% rate=1000000bit default-queue=100ms ecn
  distribution 1 normal
  trace 1 lte 3 moments in 5 ms
  viface lan 10.0.0.1 - 10.0.0.2 out #1 in none class 1
  viface network 9 3 out none in none class 2
  class 1 to 20ms*2
  class 2 to - #1
  pair lan 10.0.0.1 to 10.0.0.2 none
`
	if _, got, _ := strings.Cut(p.String(), "links"); "links"+got != want {
		t.Errorf("got\nlinks%s\nwant\n%s", got, want)
	}
}

// matrixLinks are n hosts with a delay for each pair.
func matrixLinks(n int) *Links {
	l := &Links{Classes: uint32(n), Matrix: make([]PairWord, n*n)}
	for i := range l.Matrix {
		l.Matrix[i] = PairWord(i*7919%1_000_003 + 1)
	}
	for i := range n {
		l.Vifaces = append(l.Vifaces, LinkRange{Network: 1, Host: uint32(i + 1), Count: 1, Class: uint32(i + 1)})
	}
	return l
}

func BenchmarkLinksCodec(b *testing.B) {
	l := matrixLinks(2700)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeLinks(EncodeLinks(l)); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCanonical(b *testing.B) {
	l := matrixLinks(2700)
	b.ReportAllocs()
	for b.Loop() {
		if l.Canonical().Classes != 2700 {
			b.Fatal("classes went")
		}
	}
}

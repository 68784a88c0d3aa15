package nodeset_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"myriad/nodeset"
)

// sizes are the names of the sets that benchmarks work on.
var sizes = []int{1_000, 40_000, 1_000_000}

// sets is for each kind of set two of about n names that overlap.
var sets = []struct {
	kind string
	make func(n int) (a, b string)
}{
	{"range", func(n int) (a, b string) { // what platforms use
		return fmt.Sprintf("peer[1-%d]", n), fmt.Sprintf("peer[%d-%d]", n/2, n+n/2)
	}},
	{"step", func(n int) (a, b string) { // as many ranges as names
		return fmt.Sprintf("peer[0-%d/2]", 2*n), fmt.Sprintf("peer[0-%d/3]", 3*n)
	}},
	{"grid", func(n int) (a, b string) { // two dimensions
		return fmt.Sprintf("r[1-%d]n[1-100]!r7n7", n/100), fmt.Sprintf("r[1-%d]n[50-150]!r9n99", n/100)
	}},
	{"holes", func(n int) (a, b string) { // two dimensions, irregular
		return holes(n, 1), holes(n, 2)
	}},
}

// holes is a grid of n names without one, chosen at random, in each tenth row.
func holes(n int, seed uint64) string {
	rng := rand.New(rand.NewPCG(seed, 0))
	var b strings.Builder
	fmt.Fprintf(&b, "r[1-%d]n[1-100]", n/100)
	for r := 1; r <= n/100; r += 10 {
		fmt.Fprintf(&b, "!r%dn%d", r, 1+rng.IntN(100))
	}
	return b.String()
}

// run measures f on two sets of every kind and size.
func run(b *testing.B, f func(x, y *nodeset.Set)) {
	for _, k := range sets {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", k.kind, n), func(b *testing.B) {
				left, right := k.make(n)
				x, y := parse(b, left), parse(b, right)
				b.ReportAllocs()
				for b.Loop() {
					f(x, y)
				}
			})
		}
	}
}

// failer is what tests, benchmarks and properties have in common.
type failer interface {
	Helper()
	Fatal(args ...any)
}

func parse(tb failer, expr string) *nodeset.Set {
	tb.Helper()
	s, err := nodeset.Parse(expr, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func BenchmarkUnion(b *testing.B) {
	run(b, func(x, y *nodeset.Set) { nodeset.Union(x, y) })
}

func BenchmarkDifference(b *testing.B) {
	run(b, func(x, y *nodeset.Set) { nodeset.Difference(x, y) })
}

func BenchmarkIntersection(b *testing.B) {
	run(b, func(x, y *nodeset.Set) { nodeset.Intersection(x, y) })
}

func BenchmarkSymmetricDifference(b *testing.B) {
	run(b, func(x, y *nodeset.Set) { nodeset.SymmetricDifference(x, y) })
}

func BenchmarkLen(b *testing.B) {
	run(b, func(x, _ *nodeset.Set) { x.Len() })
}

func BenchmarkEqual(b *testing.B) {
	run(b, func(x, y *nodeset.Set) { x.Equal(y) })
}

// BenchmarkFold includes the search for boxes, which is done once for a set.
func BenchmarkFold(b *testing.B) {
	run(b, func(x, y *nodeset.Set) { _ = nodeset.Union(x, y).String() })
}

func BenchmarkAll(b *testing.B) {
	run(b, func(x, _ *nodeset.Set) {
		for range x.All() {
		}
	})
}

func BenchmarkParse(b *testing.B) {
	for _, k := range sets {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", k.kind, n), func(b *testing.B) {
				expr, _ := k.make(n)
				b.ReportAllocs()
				for b.Loop() {
					parse(b, expr)
				}
			})
		}
	}
}

// BenchmarkOf folds names that come one by one, as from a command's output.
func BenchmarkOf(b *testing.B) {
	for kind, name := range map[string]func(i int) string{
		"line": func(i int) string { return fmt.Sprintf("peer%d", i) },
		"grid": func(i int) string { return fmt.Sprintf("r%dn%d", i/100, i%100) },
	} {
		for _, n := range sizes {
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				names := make([]string, n)
				for i := range names {
					names[i] = name(i)
				}
				rand.New(rand.NewPCG(1, 1)).Shuffle(n, func(i, j int) { names[i], names[j] = names[j], names[i] })
				b.ReportAllocs()
				for b.Loop() {
					nodeset.Of(names...)
				}
			})
		}
	}
}

func BenchmarkContains(b *testing.B) {
	s := parse(b, "r[1-1000]n[1-1000]!r[7-9]n[3-5],peer[0-1000000/2]")
	for _, name := range []string{"r500n77", "peer77776"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				s.Contains(name)
			}
		})
	}
}

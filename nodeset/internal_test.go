package nodeset

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// digits is strings near the places where ranks are cut.
func digits() (all []string) {
	for _, v := range []uint64{0, 1, 8, 9, 10, 11, 99, 100, 101, 999_999_999_999_999_999} {
		for pad := 1; pad <= maxDigits; pad++ {
			if s := fmt.Sprintf("%0*d", pad, v); len(s) <= maxDigits && !slices.Contains(all, s) {
				all = append(all, s)
			}
		}
	}
	return all
}

func TestRanks(t *testing.T) {
	for _, x := range digits() {
		if got := string(parseRank(x).appendTo(nil)); got != x {
			t.Errorf("rank of %s stands for %s", x, got)
		}
		for _, y := range digits() {
			want := cmp.Or(cmp.Compare(len(x), len(y)), strings.Compare(x, y))
			if got := cmp.Compare(parseRank(x), parseRank(y)); got != want {
				t.Errorf("rank of %s against %s: got %d, want %d", x, y, got, want)
			}
			if got, want := compareText(parseRank(x), parseRank(y)), strings.Compare(x, y); got != want {
				t.Errorf("text of %s against %s: got %d, want %d", x, y, got, want)
			}
		}
	}
	if got := parseRank("00") - parseRank("9"); got != 1 {
		t.Errorf("00 comes %d after 9", got)
	}
}

func TestCountsSaturate(t *testing.T) {
	for _, tc := range []struct{ got, want int }{
		{times(3, 4), 12},
		{times(math.MaxInt, 1), math.MaxInt},
		{times(math.MaxInt, 2), math.MaxInt},
		{times(1<<40, 1<<40), math.MaxInt},
		{times(0, math.MaxInt), 0},
		{plus(math.MaxInt, 1), math.MaxInt},
		{plus(2, 2), 4},
	} {
		if tc.got != tc.want {
			t.Errorf("got %d, want %d", tc.got, tc.want)
		}
	}
	all := []span{{0, parseRank(strings.Repeat("9", maxDigits))}}
	if got := newProduct([][]span{all, all, all}).count; got != math.MaxInt {
		t.Errorf("got %d", got)
	}
}

// However a fold starts, its boxes are disjoint and hold the set.
func TestFoldsArePartitions(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		b := newBuilder(newCalc())
		for range 1 + rng.IntN(200) {
			b.name(fmt.Sprintf("a%db%dc%d", rng.IntN(5), rng.IntN(6), rng.IntN(12)))
		}
		set := b.finish().parts[0].axis
		pieces := set.distinct()
		if len(pieces) != set.blocks() {
			t.Fatalf("%d boxes, counted %d", len(pieces), set.blocks())
		}
		for start, fs := range map[string]folds{"rows": first(set.firstPass()), "distinct": pieces} {
			for joined := true; joined; {
				fs.sort()
				fs, joined = fs.joinAny()
			}
			count := 0
			var axes []*axis
			for _, f := range fs {
				count += f.box().count()
				var dims [][]span
				for _, s := range f.sides {
					dims = append(dims, s.order())
				}
				axes = append(axes, newProduct(dims))
			}
			c := newCalc()
			if got := c.unite(axes); count != set.count || !c.same(got, set) {
				t.Fatalf("from %s: boxes of %d vectors for %d", start, count, set.count)
			}
		}
	}
}

func first(fs folds, _ bool) folds { return fs }

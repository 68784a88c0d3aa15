package nodeset_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"myriad/nodeset"

	"pgregory.net/rapid"
)

// names draws a list of names that share shapes and are near each other.
func names(t *rapid.T, label string) []string {
	shape := rapid.SampledFrom([]string{"n#", "n#-ib", "r#n#", "a#b#c#", "login", "x%#"})
	index := rapid.SampledFrom(strings.Fields("0 1 2 3 4 8 9 10 11 99 100 00 01 02 09 010"))
	name := rapid.Custom(func(t *rapid.T) string {
		s := shape.Draw(t, "shape")
		for strings.Contains(s, "#") {
			s = strings.Replace(s, "#", index.Draw(t, "index"), 1)
		}
		return s
	})
	return rapid.SliceOfN(name, 0, 60).Draw(t, label)
}

// model is a set as a map, against which sets are compared.
type model map[string]bool

func modelOf(names []string) model {
	m := make(model)
	for _, n := range names {
		m[n] = true
	}
	return m
}

// matches fails t unless s has the names of m in every way.
func (m model) matches(t *rapid.T, label string, s *nodeset.Set) {
	if got := modelOf(slices.Collect(s.All())); !maps.Equal(got, m) {
		t.Fatalf("%s: got %v, want %v", label, got, m)
	}
	if s.Len() != len(m) {
		t.Fatalf("%s: got length %d, want %d", label, s.Len(), len(m))
	}
	for name := range m {
		if !s.Contains(name) {
			t.Fatalf("%s: %s lacks %s", label, s, name)
		}
	}
}

// where is the names of x and y for which keep says so.
func where(x, y model, keep func(inX, inY bool) bool) model {
	out := make(model)
	for _, m := range []model{x, y} {
		for name := range m {
			if keep(x[name], y[name]) {
				out[name] = true
			}
		}
	}
	return out
}

func TestOperationsMatchModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := names(t, "x"), names(t, "y")
		a, b := nodeset.Of(x...), nodeset.Of(y...)
		m, n := modelOf(x), modelOf(y)
		m.matches(t, "a", a)
		where(m, n, func(p, q bool) bool { return p || q }).matches(t, "union", nodeset.Union(a, b))
		where(m, n, func(p, q bool) bool { return p && !q }).matches(t, "difference", nodeset.Difference(a, b))
		where(m, n, func(p, q bool) bool { return p && q }).matches(t, "intersection", nodeset.Intersection(a, b))
		where(m, n, func(p, q bool) bool { return p != q }).matches(t, "symmetric difference", nodeset.SymmetricDifference(a, b))
		m.matches(t, "a afterwards", a)
		for name := range n {
			if a.Contains(name) != m[name] {
				t.Fatalf("contains %s: got %v", name, a.Contains(name))
			}
		}
		if a.Equal(b) != maps.Equal(m, n) {
			t.Fatalf("equal: got %v", a.Equal(b))
		}
	})
}

func TestAlgebraLaws(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := nodeset.Of(names(t, "a")...), nodeset.Of(names(t, "b")...), nodeset.Of(names(t, "c")...)
		or, minus, and, xor := nodeset.Union, nodeset.Difference, nodeset.Intersection, nodeset.SymmetricDifference
		for law, pair := range map[string][2]*nodeset.Set{
			"union commutes":        {or(a, b), or(b, a)},
			"union associates":      {or(or(a, b), c), or(a, or(b, c))},
			"intersection commutes": {and(a, b), and(b, a)},
			"intersection assoc.":   {and(and(a, b), c), and(a, and(b, c))},
			"xor commutes":          {xor(a, b), xor(b, a)},
			"xor associates":        {xor(xor(a, b), c), xor(a, xor(b, c))},
			"distribution":          {and(a, or(b, c)), or(and(a, b), and(a, c))},
			"de Morgan":             {minus(a, or(b, c)), and(minus(a, b), minus(a, c))},
			"xor as differences":    {xor(a, b), or(minus(a, b), minus(b, a))},
			"parts":                 {or(minus(a, b), and(a, b)), a},
			"absorption":            {or(a, and(a, b)), a},
			"idempotence":           {and(a, a), or(a, a)},
			"nothing":               {minus(a, a), nil},
		} {
			if !pair[0].Equal(pair[1]) {
				t.Fatalf("%s: %s is not %s", law, pair[0], pair[1])
			}
			if pair[0].String() != pair[1].String() {
				t.Fatalf("%s: equal sets written as %s and %s", law, pair[0], pair[1])
			}
		}
	})
}

// What String writes, Parse reads, and the order in which names came does not
// matter.
func TestStringIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := names(t, "x")
		s := nodeset.Of(x...)
		p, err := nodeset.Parse(s.String(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if !p.Equal(s) || p.String() != s.String() {
			t.Fatalf("%s is read as %s", s, p)
		}
		u := nodeset.Of()
		for _, name := range rapid.Permutation(x).Draw(t, "order") {
			u = nodeset.Union(u, nodeset.Of(name))
		}
		if u.String() != s.String() {
			t.Fatalf("one by one it is %s, at once %s", u, s)
		}
	})
}

func TestSlicesAndSplitsArePartsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := nodeset.Of(names(t, "x")...)
		all := slices.Collect(s.All())
		var rest []string
		sets := s.Split(rapid.IntRange(1, 10).Draw(t, "n"))
		for _, part := range sets {
			if d := sets[0].Len() - part.Len(); d < 0 || d > 1 {
				t.Fatalf("uneven parts: %v", sets)
			}
			want := all[len(rest) : len(rest)+part.Len()]
			if !part.Equal(nodeset.Of(want...)) {
				t.Fatalf("got %s, want %s", part, want)
			}
			rest = append(rest, want...)
		}
		if len(rest) != len(all) {
			t.Fatalf("%v lacks some of %s", sets, s)
		}
	})
}

// An expression means what its operators say, from left to right.
func TestExpressionsFollowOperators(t *testing.T) {
	type operator struct {
		sign  string
		apply func(a, b *nodeset.Set) *nodeset.Set
	}
	operators := rapid.SampledFrom([]operator{
		{",", nodeset.Union},
		{"!", nodeset.Difference},
		{" & ", nodeset.Intersection},
		{"^", nodeset.SymmetricDifference},
	})
	term := rapid.SampledFrom(strings.Fields(
		"n[1-9] n[5-12] n[01-12] n5 login r[1-3]n[1-3] r2n2 r[2-5]n[2-4] a[1-2]b[1-2]c[1-2] a1b1c1 a[2-3]b1c[1-2]"))
	rapid.Check(t, func(t *rapid.T) {
		expr := term.Draw(t, "first")
		want := parse(t, expr)
		for range rapid.IntRange(0, 8).Draw(t, "operators") {
			op, operand := operators.Draw(t, "operator"), term.Draw(t, "operand")
			expr += op.sign + operand
			want = op.apply(want, parse(t, operand))
		}
		if got := parse(t, expr); !got.Equal(want) || got.String() != want.String() {
			t.Fatalf("%s: got %s, want %s", expr, got, want)
		}
	})
}

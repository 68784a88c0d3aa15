package nodeset_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"myriad/nodeset"
)

func TestFold(t *testing.T) {
	for _, tc := range []struct {
		expr, want string
		count      int
	}{
		{"", "", 0},
		{"n3,n1,n2,n2", "n[1-3]", 3},
		{"b,a,n", "a,b,n", 3},
		{"n[1-3],n", "n,n[1-3]", 4},
		{"n[0-10/5]", "n[0,5,10]", 3},
		{"n[10-30/10],n20", "n[10,20,30]", 3},
		// padding is part of a name
		{"n1,n01", "n[1,01]", 2},
		{"n[08-10]", "n[08-10]", 3},
		{"n[8-10]", "n[8-10]", 3},
		{"n[98-101],n099", "n[98-99,099-101]", 5},
		{"n[08,10-100]", "n[08,10-99,100]", 92},
		// several dimensions
		{"r[1-2]n[01-04]", "r[1-2]n[01-04]", 8},
		{"r[1-3]n[1-3]!r2n2", "r[1,3]n[1-3],r2n[1,3]", 8},
		{"r1n1,r2n1,r1n2,r2n2", "r[1-2]n[1-2]", 4},
		{"r1n1,r2n2", "r1n1,r2n2", 2},
		// digits that touch brackets
		{"n1[1-3]", "n[11-13]", 3},
		{"n[1-3]0", "n[10,20,30]", 3},
		{"n1[1-3]5-ib", "n[115,125,135]-ib", 3},
		{"[1-3]", "[1-3]", 3},
		// operators, from left to right
		{"a,b!a", "b", 1},
		{"n[1-9]!n[3-5]&n[1-4]", "n[1-2]", 2},
		{"n[1-5]^n[4-8]", "n[1-3,6-8]", 6},
		{" n1 ! n1 , a ", "a", 1},
		// white space ends an expression
		{"n[1-3]!n2 n2", "n[1-3]", 3},
		{"a\tb\nc  d", "a,b,c,d", 4},
		{"n[1, 3 - 4]", "n[1,3-4]", 3},
		// text
		{"a%b[1-2]%s", "a%b[1-2]%s", 2},
		{"é[1-2]ü", "é[1-2]ü", 2},
		{"x123456789012345678901,x123456789012345678902", "x123456789012345678901,x123456789012345678902", 2},
		{"peer[1-40000]", "peer[1-40000]", 40000},
		// so many rows that they are folded from larger pieces
		{"a[1-300000]b[1-2]!a7b2", "a[1-6,8-300000]b[1-2],a7b1", 599999},
	} {
		s, err := nodeset.Parse(tc.expr, nil)
		if err != nil {
			t.Error(err)
			continue
		}
		if s.String() != tc.want || s.Len() != tc.count {
			t.Errorf("%q: got %s (%d), want %s (%d)", tc.expr, s, s.Len(), tc.want, tc.count)
		}
	}
}

func TestOrder(t *testing.T) {
	s := parse(t, "z,n[9-11,09,100],r[1-3]n[1-2]!r2n2")
	want := "n9 n09 n10 n11 n100 r2n1 r3n1 r1n1 r1n2 r3n2 z"
	if got := strings.Join(slices.Collect(s.All()), " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s.Min() != "n9" {
		t.Errorf("got %s first", s.Min())
	}
	for range s.All() {
		break // must stop quietly
	}
}

func TestEmpty(t *testing.T) {
	for _, s := range []*nodeset.Set{nil, {}, nodeset.Of(), nodeset.Of(""), parse(t, " "), parse(t, "a!a")} {
		if s.Len() != 0 || s.String() != "" || s.Min() != "" || s.Contains("") || s.Contains("a") || !s.Equal(nil) {
			t.Errorf("%#v is not empty in every way", s)
		}
		for name := range s.All() {
			t.Errorf("it has %q", name)
		}
		a := nodeset.Of("a")
		for name, got := range map[string]*nodeset.Set{
			"union":      nodeset.Union(s, a),
			"difference": nodeset.Difference(a, s),
			"xor":        nodeset.SymmetricDifference(s, a),
		} {
			if !got.Equal(a) {
				t.Errorf("%s with a: got %s", name, got)
			}
		}
		if got := nodeset.Intersection(a, s); got.Len() != 0 {
			t.Errorf("intersection with a: got %s", got)
		}
	}
}

func TestContains(t *testing.T) {
	s := parse(t, "login,n[1-5,07-12],r[1-3]n[1-2]!r2n2,a%[3]")
	for _, name := range []string{"login", "n1", "n5", "n07", "n12", "r1n2", "r2n1", "a%3"} {
		if !s.Contains(name) {
			t.Errorf("%s is missing from %s", name, s)
		}
	}
	for _, name := range []string{"", "logi", "login1", "n", "n01", "n7", "n6", "n007", "n13", "r2n2", "r4n1", "r1", "r1n1n1", "a%%3"} {
		if s.Contains(name) {
			t.Errorf("%s is in %s", name, s)
		}
	}
}

// Of takes names as they are, so a bracket is a character like any other.
func TestOfTakesNamesAsTheyAre(t *testing.T) {
	s := nodeset.Of("n[1-2]", "a,b", "@g", "x*")
	if s.Len() != 4 || !s.Contains("n[1-2]") || s.Contains("n1") || !s.Contains("a,b") {
		t.Errorf("got %d names: %s", s.Len(), s)
	}
}

func TestLongNames(t *testing.T) {
	hex := strings.Repeat("a1", 40)
	s := nodeset.Of(hex, hex+"x", strings.Repeat("9", 200))
	for name := range s.All() {
		if !s.Contains(name) || !parse(t, name).Contains(name) {
			t.Errorf("%s is lost", name)
		}
	}
	if s.Len() != 3 {
		t.Errorf("got %d names", s.Len())
	}
}

func TestSlice(t *testing.T) {
	s := parse(t, "z,n[9-11,09,100],r[1-3]n[1-3]b[01-04]!r2n2b03")
	names := slices.Collect(s.All())
	for from := -1; from <= len(names)+1; from++ {
		for to := -1; to <= len(names)+1; to++ {
			want := nodeset.Of()
			if f, t := max(from, 0), min(to, len(names)); f < t {
				want = nodeset.Of(names[f:t]...)
			}
			if got := s.Slice(from, to); !got.Equal(want) {
				t.Fatalf("Slice(%d, %d): got %s, want %s", from, to, got, want)
			}
		}
	}
	for i, name := range names {
		if got := s.At(i); got != name {
			t.Errorf("At(%d): got %s, want %s", i, got, name)
		}
	}
}

func TestSplit(t *testing.T) {
	for _, tc := range []struct {
		expr string
		n    int
		want string
	}{
		{"foo[1-5]", 3, "foo[1-2] foo[3-4] foo5"},
		{"foo[1-5]", 1, "foo[1-5]"},
		{"foo[1-2]", 5, "foo1 foo2"},
		{"", 5, ""},
		{"a,n[1-3]", 2, "a,n1 n[2-3]"},
		{"r[1-2]n[1-3]", 4, "r1n[1-2] r1n3,r2n1 r2n2 r2n3"},
	} {
		var got []string
		for _, s := range parse(t, tc.expr).Split(tc.n) {
			got = append(got, s.String())
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%s in %d: got %q, want %q", tc.expr, tc.n, got, tc.want)
		}
	}
}

func TestPick(t *testing.T) {
	s := parse(t, "r[1-100]n[1-100]!r7n7")
	draw := func() *nodeset.Set { return s.Pick(50, rand.New(rand.NewPCG(7, 7))) }
	p := draw()
	if p.Len() != 50 || nodeset.Difference(p, s).Len() != 0 {
		t.Errorf("got %d names: %s", p.Len(), p)
	}
	if !p.Equal(draw()) {
		t.Error("the same seed draws other names")
	}
	if got := s.Pick(1_000_000, nil); !got.Equal(s) {
		t.Error("more than there are is not all")
	}
	if got := s.Pick(0, nil); got.Len() != 0 {
		t.Errorf("none is %s", got)
	}
}

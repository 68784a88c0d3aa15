package nodeset_test

import (
	"slices"
	"testing"

	"myriad/nodeset"
)

// FuzzParse looks for expressions that take too long, panic, or are not read
// back as what they are written as.
func FuzzParse(f *testing.F) {
	for _, expr := range []string{
		"n[1-5,7]", "r[1-2]n[01-04]!r2n02", "n1[1-20]0", "a,b!c&d^e", "@rack[1-2],@gpu:*", "@@gpu", "n*[1-2]?",
		"n[0-10/2] n[ 1 , 3 - 5 ]", "a%b%s", "n[1-99999999999999999999]", "x[1-9]y[1-9]z[1-9]^x5y5z5", "\xff[1]\x00",
		"n[08,10-100]", "n[", "]", "!", "n[1-1000000000]", "n[1-999999/3]m[1-9999/7]",
	} {
		f.Add(expr)
	}
	r := oracleGroups()
	f.Fuzz(func(t *testing.T, expr string) {
		s, err := nodeset.Parse(expr, r)
		if err != nil {
			if s != nil || err.Error() == "" {
				t.Fatalf("error %v with set %v", err, s)
			}
			return
		}
		text := s.String()
		// names that begin with "@" or have wildcards come from @@ alone
		again, err := nodeset.Parse(text, r)
		if err != nil {
			t.Fatalf("%q is written as %q: %v", expr, text, err)
		}
		if !again.Equal(s) || again.String() != text {
			t.Fatalf("%q is written as %q and read as %q", expr, text, again)
		}
		if s.Len() > 10_000 {
			return
		}
		names := slices.Collect(s.All())
		if len(names) != s.Len() || len(names) > 0 && names[0] != s.Min() {
			t.Fatalf("%q: %d names, length %d, first %q", expr, len(names), s.Len(), s.Min())
		}
		for i, name := range names {
			if !s.Contains(name) {
				t.Fatalf("%q lacks its name %q", expr, name)
			}
			if i == len(names)/2 && s.At(i) != name {
				t.Fatalf("%q: %q at place %d, want %q", expr, s.At(i), i, name)
			}
		}
		if !nodeset.Of(names...).Equal(s) {
			t.Fatalf("%q is not the set of its names", expr)
		}
	})
}

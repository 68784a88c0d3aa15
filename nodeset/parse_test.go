package nodeset_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"myriad/nodeset"
)

func TestSyntaxErrors(t *testing.T) {
	for _, tc := range []struct {
		expr   string
		offset int
		msg    string
	}{
		{",a", 0, "nothing before ','"},
		{"a,,b", 2, "nothing before ','"},
		{"a, !b", 3, "nothing before '!'"},
		{"a ! ", 2, "nothing after '!'"},
		{"a,n[1-3", 3, "not closed"},
		{"a]", 1, "without"},
		{"n[1]]", 4, "without"},
		{"n[1-2][3]", 6, "two brackets"},
		{"n[1-2]3[4]", 7, "two brackets"},
		{"n[]", 2, "empty range"},
		{"n[1,]", 4, "empty range"},
		{"n[x]", 2, "not a range"},
		{"n[1, 2-]", 5, "not a range"},
		{"n[1-2-3]", 2, "not a range"},
		{"n[-3]", 2, "negative"},
		{"n[1--3]", 2, "negative"},
		{"n[5-1]", 2, "backwards"},
		{"n[1-010]", 2, "paddings"},
		{"n[01-100]", 2, "paddings"},
		{"n0[1-20]", 3, "paddings"},
		{"n[1-5/0]", 2, "step 0"},
		{"n[1-5/]", 2, "not a step"},
		{"n[1-5/x]", 2, "not a step"},
		{"n[5/2]", 2, "step without a range"},
		{"n[1-5/2]0", 2, "step"},
		{"@g", 0, "no groups"},
		{"a,n*", 2, "none are known"},
	} {
		_, err := nodeset.Parse(tc.expr, nil)
		var e *nodeset.SyntaxError
		if !errors.As(err, &e) {
			t.Errorf("%q: got %v", tc.expr, err)
			continue
		}
		if e.Expr != tc.expr || e.Offset != tc.offset || !strings.Contains(e.Msg, tc.msg) {
			t.Errorf("%q: got %q at %d, want %q at %d", tc.expr, e.Msg, e.Offset, tc.msg, tc.offset)
		}
	}
}

// Errors about very long expressions show the part in question.
func TestErrorsAreShort(t *testing.T) {
	_, err := nodeset.Parse(strings.Repeat("é,", 100_000)+"n[x]"+strings.Repeat(",é", 100_000), nil)
	if err == nil || len(err.Error()) > 300 || !strings.Contains(err.Error(), "n[x]") {
		t.Errorf("got %v", err)
	}
}

// TestLimits has expressions that must be refused, or done, in no time.
func TestLimits(t *testing.T) {
	steps := func(dims int, from string) string {
		var b strings.Builder
		for i := range dims {
			fmt.Fprintf(&b, "d[%s/%d]", from, i+2)
		}
		return b.String()
	}
	var xor []string
	for i := range 100 {
		xor = append(xor, fmt.Sprintf("a[%d-9999/%d]b[%d-9999/%d]c[1-9]", i, i+2, i, i+3))
	}
	for _, tc := range []struct {
		name, expr, want string // want "" if it must be accepted
	}{
		{"number", "n[1-99999999999999999999]", "digits"},
		{"step number", "n[1-9/99999999999999999999]", "digits"},
		{"glued number", "n123456789[1-9]1234567890", "digits"},
		{"range", "n[1-999999999999]", "names"},
		{"step range", "n[1-999999999999/2]", "kept apart"},
		{"steps", strings.Repeat("n[1-2000000/2],", 20) + "x", "kept apart"},
		{"product", steps(10, "1-1000"), "names"},
		{"dimensions", strings.Repeat("a[1]", 33), "indexes"},
		{"dimensions of text", strings.Repeat("a1", 100_000), ""},
		{"dimensions of one", strings.Repeat("a[1-1]", 32), ""},
		{"operations", strings.Join(xor, "^"), "too much"},
		{"names", strings.Repeat("n1,", 300_000) + "n1", ""},
		{"lists", "n[" + strings.Repeat("1,", 300_000) + "1]", ""},
		{"words", strings.Repeat("n[1-3] ", 100_000), ""},
		{"brackets", strings.Repeat("[", 300_000), "not closed"},
		{"shapes", shapes(100_000), ""},
		{"differences", "n[1-1000000]!" + strings.Repeat("n[5-6]!", 100_000) + "n7", ""},
		{"intersections", "n[1-1000000]&" + strings.Repeat("n[5-7]&", 50_000) + "n7", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			start := time.Now()
			s, err := nodeset.Parse(tc.expr, nil)
			if took := time.Since(start); took > time.Minute { // the machine may be busy
				t.Errorf("took %v", took)
			}
			switch {
			case err == nil && tc.want != "":
				t.Errorf("accepted: %d names, want error with %q", s.Len(), tc.want)
			case err != nil && (tc.want == "" || !strings.Contains(err.Error(), tc.want)):
				t.Errorf("got error %v, want one with %q", err, tc.want)
			}
			_ = s.String()
		})
	}
}

// shapes is n names that have nothing in common.
func shapes(n int) string {
	names := make([]string, n)
	for i := range names {
		names[i] = strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprint(i))
	}
	return strings.Join(names, ",")
}

func TestGroups(t *testing.T) {
	r := tableResolver{
		"":    {"a": "n[1-5]", "b": "n[4-8],login", "io1": "io1", "io2": "io2", "bad": "n["},
		"gpu": {"a": "g[1-2]"},
	}
	for expr, want := range map[string]string{
		"@a":          "n[1-5]",
		"@a,@b":       "login,n[1-8]",
		"@a&@b":       "n[4-5]",
		"x,@a!n3":     "n[1-2,4-5],x",
		"@io[1-2]":    "io[1-2]",
		"@gpu:a":      "g[1-2]",
		"@gpu:*":      "g[1-2]",
		"@@gpu":       "a",
		"@a n9":       "n[1-5,9]",
		"mail@b":      "mail@b",
		"@gpu:a,@a!a": "g[1-2],n[1-5]",
	} {
		s, err := nodeset.Parse(expr, r)
		if err != nil {
			t.Error(err)
		} else if s.String() != want {
			t.Errorf("%s: got %s, want %s", expr, s, want)
		}
	}
	for _, expr := range []string{"@", "@:", "@gpu:", "@none", "@a*", "@a:@b", "@io[1-3]", "@bad", "@io[1-20000]"} {
		if s, err := nodeset.Parse(expr, r); err == nil {
			t.Errorf("%s: got %s", expr, s)
		}
	}
	if _, err := nodeset.Parse("x,@none", r); !errors.Is(err, errNoGroup) || !strings.Contains(err.Error(), "@none") {
		t.Errorf("the resolver's error is lost: %v", err)
	}
}

// noAll cannot say what all nodes are.
type noAll struct{ tableResolver }

func (noAll) All(string) (*nodeset.Set, error) {
	return nil, fmt.Errorf("all nodes: %w", errors.ErrUnsupported)
}

func TestAllNodesFromGroups(t *testing.T) {
	r := noAll{tableResolver{"": {"a": "n[1-5]", "b": "n[4-8],login"}}}
	for expr, want := range map[string]string{"@*": "login,n[1-8]", "n*": "n[1-8]"} {
		s, err := nodeset.Parse(expr, r)
		if err != nil || s.String() != want {
			t.Errorf("%s: got %v, %v", expr, s, err)
		}
	}
}

func TestWildcards(t *testing.T) {
	r := tableResolver{"": {"all": "login,n[1-12],n[01-03]-ib,r[1-3]n[1-3]!r2n2,a%1,é"}}
	for expr, want := range map[string]string{
		"*":           "a%1,login,n[1-12],n[01-03]-ib,r[1,3]n[1-3],r2n[1,3],é",
		"**":          "a%1,login,n[1-12],n[01-03]-ib,r[1,3]n[1-3],r2n[1,3],é",
		"n*":          "n[1-12],n[01-03]-ib",
		"n?":          "n[1-9]",
		"n1*":         "n[1,10-12]",
		"*-ib":        "n[01-03]-ib",
		"r*n*":        "r[1,3]n[1-3],r2n[1,3]",
		"r?n2":        "r[1,3]n2",
		"*n[1-2]":     "n[1-2],r[2-3]n1,r1n[1-2],r3n2",
		"?":           "é",
		"a%*":         "a%1",
		"zzz*":        "",
		"n[1-3]*!n1*": "n[2-3]",
		"*o*i?":       "login",
		"n*ib*x":      "",
	} {
		s, err := nodeset.Parse(expr, r)
		if err != nil {
			t.Error(err)
		} else if s.String() != want {
			t.Errorf("%s: got %s, want %s", expr, s, want)
		}
	}
}

// A wildcard over a large platform is found in its shapes, not its names,
// where the digits do not matter.
func TestWildcardsAtScale(t *testing.T) {
	r := tableResolver{"": {"all": "peer[1-900000000],x[1-5]"}}
	if s, err := nodeset.Parse("peer*,x*", r); err != nil || s.Len() != 900_000_005 {
		t.Errorf("got %v, %v", s, err)
	}
	if _, err := nodeset.Parse("peer1*", r); err == nil || !strings.Contains(err.Error(), "compared") {
		t.Errorf("got %v", err)
	}
}

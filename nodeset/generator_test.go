package nodeset_test

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"myriad/nodeset"
)

// generator makes random expressions in which much happens: few shapes, so
// that operators meet what they apply to; numbers near where their length
// changes; padding; sets of several dimensions with holes.
type generator struct{ *rand.Rand }

// words is an expression, or several that white space separates.
func (g *generator) words() []string {
	for {
		var words []string
		if g.chance(8) {
			words = append(words, g.broken())
		} else {
			words = append(words, g.expr())
			for g.chance(10) {
				words = append(words, g.expr())
			}
		}
		if affordable(words) {
			return words
		}
	}
}

// affordable says whether the oracle, which goes through every name, and
// through every pair in several dimensions, can answer in good time.
func affordable(words []string) bool {
	names := 0
	for _, word := range words {
		for _, term := range terms.FindAllString(word, -1) {
			if s, err := nodeset.Parse(term, nil); err == nil {
				names += s.Len()
			}
		}
	}
	return names <= 2000
}

var terms = regexp.MustCompile(`([^][,!&^]|\[[^]]*\])+`)

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func (g *generator) oneOf(from ...string) string { return from[g.IntN(len(from))] }

func (g *generator) expr() string {
	if g.chance(5) {
		return g.points()
	}
	texts := g.shape()
	terms := []string{g.term(texts)}
	for g.chance(60) && len(terms) < 8 {
		if g.chance(15) {
			texts = g.shape()
		}
		terms = append(terms, g.oneOf(",", ",", ",", "!", "!", "&", "^", " , ", " ! ", " &", "^ "), g.operand(texts))
	}
	return strings.Join(terms, "")
}

// shape is the texts around the numbers of a name. Those in between are never
// empty.
func (g *generator) shape() []string {
	dims := []int{0, 1, 1, 1, 1, 2, 2, 3, 4}[g.IntN(9)]
	texts := []string{g.oneOf("n", "n", "n", "r", "node", "", "a.b-", "%", "é")}
	for range dims {
		texts = append(texts, g.oneOf("n", "-", "_", "c", "%s", ".x", "/"))
	}
	if g.chance(60) {
		texts[dims] = ""
	}
	if dims == 0 && texts[0] == "" {
		texts[0] = "login"
	}
	return texts
}

// operand is a term, or sometimes a group or a pattern.
func (g *generator) operand(texts []string) string {
	switch {
	case g.chance(5):
		return g.oneOf("@rack1", "@rack[1-2]", "@odd", "@wide", "@ib", "@*", "@gpu:all", "@gpu:*", "@nest", "@@", "@@gpu")
	case g.chance(3):
		return g.oneOf("*", "n*", "n?", "n1*", "n[1-2]*", "*-ib", "r*n*", "r?n0?", "*[1-3]")
	}
	return g.term(texts)
}

// term is texts with numbers or brackets between them, of at most some
// hundred names.
func (g *generator) term(texts []string) string {
	dims := len(texts) - 1
	largest := []int{0, 150, 9, 4, 2}[dims]
	var b strings.Builder
	b.WriteString(texts[0])
	for _, text := range texts[1:] {
		switch {
		case g.chance(35):
			b.WriteString(g.number(g.value(largest)))
		case g.chance(8) && text != "":
			// digits that touch brackets
			fmt.Fprintf(&b, "%s[%s]%s", g.oneOf("", "1", "0", "10"), g.ranges(largest/2, 2), g.oneOf("", "0", "5", "07"))
		default:
			fmt.Fprintf(&b, "[%s]", g.ranges(largest, 7/dims))
		}
		b.WriteString(text)
	}
	return b.String()
}

// value is a small number, or one near where numbers get longer.
func (g *generator) value(largest int) int {
	if g.chance(30) {
		return []int{8, 9, 10, 11, 98, 99, 100, 101, 998, 999, 1000, 1001}[g.IntN(12)]
	}
	return g.IntN(largest + 2)
}

func (g *generator) number(v int) string {
	if g.chance(25) {
		return fmt.Sprintf("%0*d", 1+g.IntN(4), v)
	}
	return fmt.Sprint(v)
}

func (g *generator) ranges(largest, most int) string {
	items := []string{g.item(largest)}
	for g.chance(45) && len(items) < most {
		items = append(items, g.item(largest))
	}
	return strings.Join(items, g.oneOf(",", ",", ",", ", "))
}

func (g *generator) item(largest int) string {
	lo := g.value(largest)
	if g.chance(40) {
		return g.number(lo)
	}
	hi := lo + g.IntN(largest+2)
	pad := 0
	if g.chance(30) {
		pad = len(fmt.Sprint(hi)) + g.IntN(2)
	}
	item := fmt.Sprintf("%0*d-%0*d", pad, lo, pad, hi)
	if g.chance(20) {
		item += fmt.Sprint("/", 1+g.IntN(4))
	}
	return item
}

// points is single names out of a grid, at random or in a pattern, whose
// folding is a puzzle.
func (g *generator) points() string {
	dims := 2 + g.IntN(3)
	side := []int{0, 0, 10, 5, 4}[dims]
	from := []int{0, 1, 7, 96}[g.IntN(4)]
	pad := 1 + g.IntN(8)/7
	m, n := 2+g.IntN(4), 2+g.IntN(4)
	keep := []func(sum, product int) bool{
		func(_, _ int) bool { return g.chance(15) },
		func(_, _ int) bool { return g.chance(75) },
		func(sum, _ int) bool { return sum%m != 0 },
		func(sum, product int) bool { return product%m != sum%n },
	}[g.IntN(4)]
	var names []string
	var walk func(name string, dim, sum, product int)
	walk = func(name string, dim, sum, product int) {
		if dim == dims {
			if keep(sum, product) {
				names = append(names, name)
			}
			return
		}
		for v := from; v < from+side; v++ {
			walk(fmt.Sprintf("%s%c%0*d", name, 'a'+dim, pad, v), dim+1, sum+v*(dim+1), product*v)
		}
	}
	walk("", 0, 0, 1)
	if names == nil {
		return "login"
	}
	g.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
	return strings.Join(names, ",")
}

// broken is an expression with a few characters too many or too few.
func (g *generator) broken() string {
	for {
		s := []rune(g.term(g.shape()) + g.oneOf(",", "!", "&", "^") + g.term(g.shape()))
		for range 1 + g.IntN(3) {
			i := g.IntN(len(s))
			if g.chance(50) {
				s = append(s[:i], s[i+1:]...)
			} else {
				c := rune("[]-,!&^/0123456789%x"[g.IntN(20)])
				s = slices.Insert(s, i, c)
			}
		}
		if !differs(string(s)) {
			return string(s)
		}
	}
}

// Where ClusterShell is known to read something else; see the package comment.
var (
	negative = regexp.MustCompile(`\[([^]]*,)?\s*-|-[^],]*-[^],]*[],]`)
	blank    = regexp.MustCompile(`[^\s,!&^]\s+[^\s,!&^]`)
	nothing  = regexp.MustCompile(`\[([^]]*,)?\s*(,[^]]*)?\][0-9]`)
	long     = regexp.MustCompile(`[0-9]{15}`)
	lax      = regexp.MustCompile(`[0-9]_[0-9]`)
)

// differs says whether the two languages differ about expr.
func differs(expr string) bool {
	for _, r := range []*regexp.Regexp{negative, blank, nothing, long, lax} {
		if r.MatchString(expr) {
			return true
		}
	}
	return false
}

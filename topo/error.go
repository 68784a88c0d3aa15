package topo

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxErrors is how many problems are kept; a file with more of them has one
// cause, and a count says as much as a list.
const maxErrors = 1000

// Error is one problem of a topology file.
type Error struct {
	File   string
	Line   int    // from 1
	Column int    // from 1, in characters
	Field  string // vnodes[2].vifaces[0].address; empty: the whole file
	Msg    string
	Remedy string // what to do; may be empty
}

// Error prints the problem as editors and compilers do:
// file:line:column: field: message (remedy).
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d:%d: ", e.File, e.Line, e.Column)
	if e.Field != "" {
		b.WriteString(e.Field + ": ")
	}
	b.WriteString(e.Msg)
	if e.Remedy != "" {
		b.WriteString(" (" + e.Remedy + ")")
	}
	return b.String()
}

// Errors is every problem of a file, in the order of the file.
type Errors []*Error

// Error prints one problem per line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// sort puts problems in the order of the file that is called main, those of
// other files after them.
func (es Errors) sort(main string) {
	slices.SortStableFunc(es, func(a, b *Error) int {
		if a.File != b.File {
			return cmp.Or(compareBool(a.File != main, b.File != main), cmp.Compare(a.File, b.File))
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// Unwrap gives the problems to errors.As.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// place is where something stands in the file: its position, and the way to
// it from the top, which becomes Error.Field.
type place struct {
	up           *place
	step         string // name of the field; empty: item number index of a list
	index        int
	line, column int
	quotes       int // characters before the text begins: 1 in quotes
}

// field spells the way to the place: vnodes[2].nodes.
func (p *place) field() string {
	if p.up == nil {
		return ""
	}
	before := p.up.field()
	switch {
	case p.step == "":
		return before + "[" + strconv.Itoa(p.index) + "]"
	case before == "":
		return clip(p.step)
	}
	return before + "." + clip(p.step)
}

// after is the place of the character that stands offset bytes into the text
// at p; the text is known to stand on one line.
func (p *place) after(text string, offset int) *place {
	q := *p
	q.column += p.quotes + utf8.RuneCountInString(text[:min(max(offset, 0), len(text))])
	return &q
}

// problems collects what is wrong with a file.
type problems struct {
	file  string
	list  Errors
	count int
}

// report adds a problem at p. remedy may be empty.
func (ps *problems) report(p *place, remedy, format string, args ...any) {
	ps.count++
	if ps.full() {
		return
	}
	ps.list = append(ps.list, &Error{
		File: ps.file, Line: p.line, Column: p.column, Field: printable(p.field()),
		Msg: printable(fmt.Sprintf(format, args...)), Remedy: printable(remedy),
	})
}

// reportIn adds a problem of another file, which the topology file refers to
// at p.
func (ps *problems) reportIn(file string, p *place, line, column int, remedy, msg string) {
	before := len(ps.list)
	if ps.report(p, remedy, "%s", msg); len(ps.list) > before {
		e := ps.list[before]
		e.File, e.Line, e.Column = printable(file), line, max(column, 1)
	}
}

// full says whether more problems would only be counted.
func (ps *problems) full() bool { return len(ps.list) == maxErrors }

// err gives the problems as an Errors value, sorted by position, those of
// other files last; nil if there are none.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	ps.list.sort(ps.file)
	if more := ps.count - len(ps.list); more > 0 {
		last := *ps.list[len(ps.list)-1]
		last.Field, last.Msg = "", fmt.Sprintf("and %d more problems", more)
		last.Remedy = "correct those above first"
		ps.list = append(ps.list, &last)
	}
	return ps.list
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// shown is how many characters of the file's own text a message repeats.
const shown = 60

// clip shortens what the file says to what a message can carry.
func clip(s string) string {
	n := 0
	for i := range s {
		if n++; n > shown {
			return s[:i] + "…"
		}
	}
	return s
}

// quote shows what the file says.
func quote(s string) string { return `"` + clip(s) + `"` }

// printable keeps what a file says from reaching a terminal as control
// characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// plural is "1 vnode", "2 vnodes".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

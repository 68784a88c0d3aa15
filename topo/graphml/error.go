package graphml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"myriad/link"
)

// maxErrors is how many problems are kept.
const maxErrors = 1000

// Errors is every problem, in the order of the file. Those of the options have
// no line; columns are bytes.
type Errors = link.Errors

// place is where something stands in the file.
type place struct{ line, column int }

// problems collects what is wrong.
type problems struct {
	file string
	list Errors
	more int
}

func (ps *problems) report(at place, field, remedy, format string, args ...any) {
	if len(ps.list) == maxErrors {
		ps.more++
		return
	}
	ps.list = append(ps.list, &link.Error{File: ps.file, Line: at.line, Column: at.column, Field: printable(field),
		Msg: printable(fmt.Sprintf(format, args...)), Remedy: printable(remedy)})
}

// err gives the problems as an Errors value; nil if there are none.
func (ps *problems) err() error {
	if len(ps.list) == 0 {
		return nil
	}
	slices.SortStableFunc(ps.list, func(a, b *link.Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if ps.more > 0 {
		last := *ps.list[len(ps.list)-1]
		last.Field, last.Msg, last.Remedy = "", fmt.Sprintf("and %d more problems", ps.more), "correct those above first"
		ps.list = append(ps.list, &last)
	}
	return ps.list
}

// quote shows what the file says, up to what a message can carry.
func quote(s string) string { return `"` + clip(s) + `"` }

func clip(s string) string {
	n := 0
	for i := range s {
		if n++; n > 60 {
			return s[:i] + "…"
		}
	}
	return s
}

// printable keeps what a file says from reaching a terminal, or a comment, as
// control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

// plural is "1 node", "2 nodes".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

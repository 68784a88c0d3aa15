package link

import (
	"fmt"
	"strings"
	"unicode"
)

// Error is what is wrong with a text about links.
type Error struct {
	Field  string // of conditions; empty: none in particular
	File   string // that a setting refers to; empty: it is not about a file
	Line   int    // of the file, from 1; 0: the file as a whole
	Column int    // from 1, in characters; 0: the line
	Msg    string
	Remedy string // what to do; may be empty
}

// Error prints place, field, message and remedy.
func (e *Error) Error() string {
	switch s := e.Text(); {
	case e.File == "":
		return s
	case e.Line == 0:
		return fmt.Sprintf("%s: %s", e.File, s)
	case e.Column == 0:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, s)
	default:
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, s)
	}
}

// Text is Error without the place.
func (e *Error) Text() string {
	s := e.Msg
	if e.Field != "" {
		s = e.Field + ": " + s
	}
	if e.Remedy != "" {
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Errors is everything that is wrong with a text, in its order.
type Errors []*Error

// Error prints one problem per line.
func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap gives the problems to errors.As.
func (es Errors) Unwrap() []error {
	out := make([]error, len(es))
	for i, e := range es {
		out[i] = e
	}
	return out
}

// problem makes an Error that is about no field yet.
func problem(remedy, format string, args ...any) *Error {
	return &Error{Msg: printable(fmt.Sprintf(format, args...)), Remedy: printable(remedy)}
}

// of is the error, said of a field.
func (e *Error) of(field string) *Error {
	e.Field = field
	return e
}

// quote shows what somebody wrote, up to what a message can carry.
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

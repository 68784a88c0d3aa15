package link

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxFindings is how many problems of a file are told one by one.
const maxFindings = 20

// findings collects what is wrong with a file.
type findings struct {
	file  string
	list  Errors
	count int
}

// at reports a problem at a line and column of the file; column 0: none.
func (f *findings) at(line, column int, remedy, format string, args ...any) {
	if f.count++; f.count > maxFindings {
		return
	}
	e := problem(remedy, format, args...)
	e.File, e.Line, e.Column = f.file, line, column
	f.list = append(f.list, e)
}

// err gives the problems, nil if there are none.
func (f *findings) err() error {
	if f.count == 0 {
		return nil
	}
	if more := f.count - len(f.list); more > 0 {
		last := f.list[len(f.list)-1]
		f.list = append(f.list, &Error{File: f.file, Line: last.Line, Msg: fmt.Sprintf("and %d more problems", more), Remedy: "correct those above first"})
	}
	return f.list
}

// eachLine calls do for every line of a text file that is neither empty nor a
// comment, with its number; it stops when do returns false. A file that is not
// text is reported.
func (f *findings) eachLine(data []byte, do func(line int, text string) bool) {
	if !utf8.Valid(data) {
		f.at(1, 0, "give a text file, in UTF-8", "is not text")
		return
	}
	rest, line := string(data), 0
	rest = strings.TrimPrefix(rest, "\ufeff")
	for more := true; more && rest != ""; {
		var text string
		text, rest, more = strings.Cut(rest, "\n")
		line++
		text = strings.TrimSuffix(text, "\r")
		if trimmed := strings.TrimSpace(text); trimmed == "" || trimmed[0] == '#' {
			continue
		}
		if !do(line, text) {
			return
		}
	}
}

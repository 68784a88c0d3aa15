package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// printJSON writes one value on one line.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// jsonList writes a JSON array element by element, one on each line, so that
// neither side needs to hold it whole.
type jsonList struct {
	w     io.Writer
	begun bool
}

func newJSONList(w io.Writer) *jsonList { return &jsonList{w: w} }

func (l *jsonList) add(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	before := ",\n"
	if !l.begun {
		before, l.begun = "[\n", true
	}
	_, err = fmt.Fprintf(l.w, "%s%s", before, text)
	return err
}

func (l *jsonList) end() error {
	after := "\n]\n"
	if !l.begun {
		after = "[]\n"
	}
	_, err := io.WriteString(l.w, after)
	return err
}

// count writes a number as people read it: 40,000.
func count[T ~int | ~int64 | ~uint32 | ~uint64](n T) string {
	s := strconv.FormatInt(int64(n), 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural is a number and what it counts.
func plural[T ~int | ~int64 | ~uint32 | ~uint64](n T, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// size writes bytes in the unit that leaves one to three digits before the point.
func size(bytes uint64) string {
	v, unit := float64(bytes), "B"
	for _, next := range []string{"KB", "MB", "GB", "TB"} {
		if v < 1000 {
			break
		}
		v, unit = v/1000, next
	}
	if unit == "B" || v >= 100 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// span writes a duration with about three digits.
func span(d time.Duration) string {
	switch {
	case d >= time.Minute:
		return d.Round(time.Second).String()
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	}
	return d.Round(100 * time.Nanosecond).String()
}

// table writes rows in aligned columns. The widths are those of the first
// rows, so that a list of a million rows needs the memory of a thousand.
type table struct {
	w      io.Writer
	rows   [][]string
	widths []int
	err    error
}

const tableLookahead = 1000

func newTable(w io.Writer, header ...string) *table {
	t := &table{w: w}
	t.add(header...)
	return t
}

func (t *table) add(cells ...string) {
	if t.widths != nil {
		t.write(cells)
		return
	}
	t.rows = append(t.rows, cells)
	if len(t.rows) > tableLookahead {
		t.err = t.flush()
	}
}

// flush writes what is held back. The table may go on.
func (t *table) flush() error {
	if t.widths == nil {
		for _, row := range t.rows {
			for i, cell := range row {
				if i == len(t.widths) {
					t.widths = append(t.widths, 0)
				}
				t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
			}
		}
		for _, row := range t.rows {
			t.write(row)
		}
		t.rows = nil
	}
	return t.err
}

func (t *table) write(cells []string) {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString("  ")
		}
		line.WriteString(cell)
		if i < len(cells)-1 && i < len(t.widths) {
			line.WriteString(strings.Repeat(" ", max(0, t.widths[i]-utf8.RuneCountInString(cell))))
		}
	}
	if _, err := io.WriteString(t.w, strings.TrimRight(line.String(), " ")+"\n"); err != nil && t.err == nil {
		t.err = err
	}
}

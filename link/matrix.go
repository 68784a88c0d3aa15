package link

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxMatrix is how many rows a matrix may have.
const MaxMatrix = 5000

// Missing says what becomes of entries that a matrix has not.
type Missing uint8

// The policies.
const (
	MissingError Missing = iota // they are problems
	MissingNone                 // the matrix says nothing of those pairs
)

// MatrixOptions say what the numbers of a matrix mean.
type MatrixOptions struct {
	Unit     time.Duration // of the numbers
	RTT      bool          // they are round trips: half of one is the delay of its direction
	Missing  Missing       // of empty entries, - and, off the diagonal, 0
	Diagonal bool          // the diagonal counts, where it is not 0: it is about pairs within one set
}

// Matrix is the delays between n places. Entry i*N+j is the delay of what
// goes from i to j, one way; negative, if nothing is said of it.
type Matrix struct {
	N       int
	Delay   []time.Duration
	Missing int // entries of which nothing is said, the diagonal apart
}

// ParseMatrix reads n lines of n numbers, with tabs, commas, semicolons or
// spaces between them. Lines that begin with # are left out. A zero off the
// diagonal is no delay that was ever measured, and so is taken for missing.
func ParseMatrix(name string, data []byte, o MatrixOptions) (*Matrix, error) {
	p := matrixParser{findings: findings{file: name}, o: o}
	p.eachLine(data, func(line int, text string) bool {
		if p.rows == MaxMatrix {
			p.at(line, 0, "use groups of vnodes for larger ones", "has more than %d rows", MaxMatrix)
			return false
		}
		p.row(line, text)
		return true
	})
	return p.finish()
}

type matrixParser struct {
	findings
	o          MatrixOptions
	separator  string // empty: not known; a space: any white space
	rows, cols int
	delay      []time.Duration
	missing    int // how many, and where the first is
	firstHole  string
	firstLine  int
	firstCol   int
}

// row reads one line.
func (p *matrixParser) row(line int, text string) {
	if p.separator == "" {
		p.separator = " "
		for _, s := range []string{"\t", ";", ","} {
			if strings.Contains(strings.TrimSpace(text), s) {
				p.separator = s
				break
			}
		}
	}
	n := 0
	p.cells(text, func(cell string, offset int) {
		if p.rows == 0 || n < p.cols {
			p.cell(line, text[:offset], n, cell)
		}
		n++
	})
	switch {
	case p.rows == 0:
		p.cols = n
		if n > MaxMatrix {
			p.at(line, 0, "use groups of vnodes for larger ones", "row 1 has %d columns, more than the limit of %d", n, MaxMatrix)
		}
	case n != p.cols:
		p.at(line, 0, "", "row %d has %d columns, where row 1 has %d", p.rows+1, n, p.cols)
	}
	p.rows++
}

// cells calls do for every cell of a line, and says where it begins.
func (p *matrixParser) cells(text string, do func(cell string, offset int)) {
	offset := 0
	if p.separator == " " {
		for offset < len(text) {
			start := offset + len(text[offset:]) - len(strings.TrimLeft(text[offset:], " \t"))
			length := strings.IndexAny(text[start:], " \t")
			if length < 0 {
				length = len(text) - start
			}
			if length > 0 {
				do(text[start:start+length], start)
			}
			offset = start + length + 1
		}
		return
	}
	for more := true; more; {
		var cell string
		cell, _, more = strings.Cut(text[offset:], p.separator)
		trimmed := strings.TrimSpace(cell)
		if more || trimmed != "" || !p.trailing(text) {
			do(trimmed, offset+strings.Index(cell, trimmed))
		}
		offset += len(cell) + len(p.separator)
	}
}

// trailing says whether the line ends in a separator too many: each row of
// some programs' matrices does.
func (p *matrixParser) trailing(text string) bool {
	return p.cols > 0 && strings.Count(text, p.separator) == p.cols || p.cols == 0 && strings.HasSuffix(text, p.separator)
}

// cell reads one entry; before is what stands before it on its line.
func (p *matrixParser) cell(line int, before string, column int, cell string) {
	diagonal := column == p.rows
	if cell == "" || cell == "-" || cell == "NA" {
		p.hole(line, before, column, diagonal)
		return
	}
	say := func(remedy, format string, args ...any) {
		if p.delay = append(p.delay, -1); p.count >= maxFindings {
			p.count++
			return
		}
		p.at(line, columnOf(before), remedy, "row %d, column %d: %s", p.rows+1, column+1, fmt.Sprintf(format, args...))
	}
	v, err := strconv.ParseFloat(cell, 64)
	switch ns := v * float64(p.o.Unit); {
	case err != nil && strings.Count(cell, ",") == 1 && p.separator != ",":
		say("write the decimal point as a point", "%s is not a number", quote(cell))
	case err != nil || strings.ContainsAny(cell, "xXpP_"):
		say("a matrix has numbers only, without units, names or a heading", "%s is not a number", quote(cell))
	case math.IsNaN(v):
		say("write - for an entry that is missing", "is NaN")
	case v < 0:
		say("write - for an entry that is missing", "%s is negative", clip(cell))
	case math.IsInf(ns, 0) || ns > math.MaxInt64/2:
		say("write - for an entry that is missing", "%s is more than 15 minutes", clip(cell))
	case ns > float64(MaxDelay):
		say("see whether the unit is right", "%s is %s, more than 15 minutes", clip(cell), clip(time.Duration(ns).String()))
	case v == 0 && !diagonal:
		p.hole(line, before, column, false)
	case diagonal && (v == 0 || !p.o.Diagonal):
		p.delay = append(p.delay, -1)
	default:
		if p.o.RTT {
			ns /= 2
		}
		p.delay = append(p.delay, time.Duration(math.Round(ns)))
	}
}

// columnOf is the column of what stands after some text on its line.
func columnOf(before string) int { return 1 + utf8.RuneCountInString(before) }

// hole notes an entry that is missing.
func (p *matrixParser) hole(line int, before string, column int, diagonal bool) {
	p.delay = append(p.delay, -1)
	if diagonal {
		return
	}
	if p.missing++; p.missing == 1 {
		p.firstHole = fmt.Sprintf("row %d, column %d", p.rows+1, column+1)
		p.firstLine, p.firstCol = line, columnOf(before)
	}
}

// finish checks what no single row shows.
func (p *matrixParser) finish() (*Matrix, error) {
	switch {
	case p.rows == 0 && p.count == 0:
		p.at(1, 0, "give n rows of n numbers", "is empty")
	case p.count == 0 && p.cols != p.rows:
		p.at(1, 0, "row i, column j is for what goes from i to j", "has %d rows of %d columns: it is not square", p.rows, p.cols)
	}
	if p.missing > 0 && p.o.Missing == MissingError {
		what := "is missing or 0"
		if p.missing > 1 {
			what = fmt.Sprintf("is missing or 0, the first of %d such entries", p.missing)
		}
		p.at(p.firstLine, p.firstCol, "say missing: none, and the matrix says nothing of such pairs", "%s %s", p.firstHole, what)
	}
	if err := p.err(); err != nil {
		return nil, err
	}
	return &Matrix{N: p.rows, Delay: p.delay, Missing: p.missing}, nil
}

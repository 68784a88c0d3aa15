package nodeset

import "strings"

// maxDims is how many runs of digits of a name are indexes; those after them
// are text. It bounds the depth of every recursion over axes.
const maxDims = 32

// A shape is what names have in common that differ in their indexes only: the
// text with "%s" for each index and "%%" for a per cent sign. Shapes are
// ordered as strings, which is how ClusterShell orders the parts of a set.

// scanner takes names apart into a shape and ranks. Text and brackets may be
// given to it piece by piece, as long as no run of digits is cut.
type scanner struct {
	shape []byte
	ranks []rank
}

func (s *scanner) reset() {
	s.shape, s.ranks = s.shape[:0], s.ranks[:0]
}

// text adds text that may have digits in it.
func (s *scanner) text(text string) {
	for i := 0; i < len(text); {
		if !isDigit(text[i]) {
			if text[i] == '%' {
				s.shape = append(s.shape, '%')
			}
			s.shape = append(s.shape, text[i])
			i++
			continue
		}
		n := leadingDigits(text[i:])
		if digits := text[i : i+n]; n <= maxDigits && len(s.ranks) < maxDims {
			s.index(parseRank(digits))
		} else {
			s.shape = append(s.shape, digits...)
		}
		i += n
	}
}

// index adds one index.
func (s *scanner) index(r rank) {
	s.shape = append(s.shape, "%s"...)
	s.ranks = append(s.ranks, r)
}

func leadingDigits(s string) (n int) {
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}

func trailingDigits(s string) (n int) {
	for n < len(s) && isDigit(s[len(s)-1-n]) {
		n++
	}
	return n
}

// literals is the text of a shape before, between and after its indexes.
func literals(shape string) (texts []string) {
	var text strings.Builder
	for i := 0; i < len(shape); i++ {
		if shape[i] != '%' {
			text.WriteByte(shape[i])
			continue
		}
		i++ // what follows tells an index from a per cent sign
		if shape[i] == '%' {
			text.WriteByte('%')
			continue
		}
		texts = append(texts, text.String())
		text.Reset()
	}
	return append(texts, text.String())
}

package nodeset

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of one expression. They leave room for platforms of millions of
// nodes, and stop what would never end.
const (
	maxNames = 1_000_000_000 // names in any set on the way
	maxWork  = 1 << 23       // ranges made on the way, see calc
	maxSpans = 1 << 21       // ranges that one range with a step stands for
)

// SyntaxError says what is wrong with an expression and what to do about it.
type SyntaxError struct {
	Expr   string
	Offset int // of the byte where the trouble begins
	Msg    string
	Err    error // what the Resolver said, if it did
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("parse node set %q at byte %d: %s", clip(e.Expr, e.Offset), e.Offset, e.Msg)
}

func (e *SyntaxError) Unwrap() error { return e.Err }

// clip is what an error shows of a long expression: the surroundings of offset.
func clip(expr string, offset int) string {
	const around = 40
	if len(expr) <= 2*around {
		return expr
	}
	from, to := max(offset-around, 0), min(offset+around, len(expr))
	text := strings.ToValidUTF8(expr[from:to], "")
	if from > 0 {
		text = "…" + text
	}
	if to < len(expr) {
		text += "…"
	}
	return text
}

// Parse reads a node set expression; the package comment has the language.
// Groups and wildcards are looked up in r, and are errors if r is nil. An
// error is always a *SyntaxError.
func Parse(expr string, r Resolver) (*Set, error) {
	p := &parser{expr: expr, resolver: r, calc: newCalc()}
	p.calc.budget = maxWork
	terms, err := p.lex()
	if err != nil {
		return nil, err
	}
	s, err := p.eval(terms)
	if err != nil {
		return nil, err
	}
	if s.irregular() {
		return nil, p.errorf(0, "the result is too irregular to be written in ranges; use fewer dimensions or fewer exceptions")
	}
	return s, nil
}

// parser holds one expression on its way.
type parser struct {
	expr     string
	resolver Resolver
	calc     *calc
	everyone *Set // the resolver's All, once asked
	matched  int  // names that wildcards have looked at
}

func (p *parser) errorf(offset int, format string, args ...any) *SyntaxError {
	return &SyntaxError{Expr: p.expr, Offset: offset, Msg: fmt.Sprintf(format, args...)}
}

// term is a piece of an expression without operators, outside of brackets.
type term struct {
	op     byte // that precedes it: one of operators, or ' ' for white space alone
	text   string
	offset int
}

const operators = ",!&^"

// operations is what the operators mean.
var operations = map[byte]operation{
	',': union,
	'!': difference,
	'&': intersection,
	'^': symmetricDifference,
}

// lex cuts the expression into terms.
func (p *parser) lex() (terms []term, err error) {
	op := byte(' ')
	for i := p.skipSpace(0); i < len(p.expr); {
		end, err := p.endOfTerm(i)
		if err != nil {
			return nil, err
		}
		if end == i {
			return nil, p.missing(i)
		}
		terms = append(terms, term{op, p.expr[i:end], i})
		i = p.skipSpace(end)
		op = ' '
		if i < len(p.expr) && strings.IndexByte(operators, p.expr[i]) >= 0 {
			op = p.expr[i]
			end := i
			if i = p.skipSpace(i + 1); i == len(p.expr) {
				return nil, p.errorf(end, "nothing after %q; remove it or write what it applies to", op)
			}
		}
	}
	return terms, nil
}

func (p *parser) missing(i int) error {
	if i == 0 || strings.TrimSpace(p.expr[:i]) == "" {
		return p.errorf(i, "nothing before %q; remove it or write what it applies to", p.expr[i])
	}
	return p.errorf(i, "nothing before %q; remove one of the two operators", p.expr[i])
}

// skipSpace is the offset of the first byte from i on that is not white space.
func (p *parser) skipSpace(i int) int {
	return len(p.expr) - len(strings.TrimLeftFunc(p.expr[i:], unicode.IsSpace))
}

// endOfTerm is the offset after the term that begins at i.
func (p *parser) endOfTerm(i int) (int, error) {
	for i < len(p.expr) {
		switch c := p.expr[i]; {
		case c == '[':
			n := strings.IndexByte(p.expr[i:], ']')
			if n < 0 {
				return 0, p.errorf(i, "\"[\" is not closed; add \"]\" after the last range")
			}
			i += n + 1
		case c == ']':
			return 0, p.errorf(i, "\"]\" without \"[\" before it; remove it or add \"[\" before the first range")
		case strings.IndexByte(operators, c) >= 0:
			return i, nil
		default:
			r, n := utf8.DecodeRuneInString(p.expr[i:])
			if unicode.IsSpace(r) {
				return i, nil
			}
			i += n
		}
	}
	return i, nil
}

// eval is the union of the words, which are what white space alone separates.
func (p *parser) eval(terms []term) (*Set, error) {
	all := newBuilder(p.calc)
	for len(terms) > 0 {
		n, plain := 1, true
		for ; n < len(terms) && terms[n].op != ' '; n++ {
			plain = plain && terms[n].op == ','
		}
		if plain {
			for _, t := range terms[:n] {
				if err := p.add(t, all); err != nil {
					return nil, err
				}
			}
		} else {
			s, err := p.word(terms[:n])
			if err != nil {
				return nil, err
			}
			all.set(s)
		}
		terms = terms[n:]
	}
	s := all.finish()
	return s, p.check(s, 0)
}

// word applies the operators of a word from left to right. What one "," or "!"
// after the other adds or takes away is put together first.
func (p *parser) word(terms []term) (*Set, error) {
	var s *Set
	operand := newBuilder(p.calc)
	for i, t := range terms {
		if err := p.add(t, operand); err != nil {
			return nil, err
		}
		op := t.op
		if op == ' ' {
			op = ','
		}
		if i+1 < len(terms) && terms[i+1].op == op && (op == ',' || op == '!') {
			continue
		}
		s = p.calc.merge(s, operand.finish(), operations[op])
		if err := p.check(s, t.offset); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// check says what limit the work so far has exceeded, if any.
func (p *parser) check(s *Set, offset int) error {
	if p.calc.exceeded() {
		return p.errorf(offset, "too much to compute: more than %d ranges on the way; use fewer ranges with steps, or fewer dimensions", maxWork)
	}
	if s.Len() > maxNames {
		return p.errorf(offset, "more than %d names; use smaller ranges", maxNames)
	}
	return nil
}

// add adds what a term stands for to b.
func (p *parser) add(t term, b *builder) error {
	switch {
	case t.text[0] == '@':
		return p.addGroups(t, b)
	case strings.ContainsAny(t.text, "*?"):
		return p.addMatches(t, b)
	}
	return p.addPattern(t, b)
}

// irregular says whether a part of s would be folded into more boxes than an
// expression may ask for.
func (s *Set) irregular() bool {
	for _, q := range s.all() {
		if q.boxes != nil && q.axis.rows() > maxRows && q.axis.blocks() > maxRows {
			return true
		}
	}
	return false
}

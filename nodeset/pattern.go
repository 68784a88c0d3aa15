package nodeset

import "strings"

// addPattern adds the names of a term such as rack[1-4]node[01-16]-ib.
func (p *parser) addPattern(t term, b *builder) error {
	if strings.IndexByte(t.text, '[') < 0 {
		b.name(t.text)
		return nil
	}
	var sc scanner
	ranges := make(map[int][]span) // by dimension
	text, offset := t.text, t.offset
	for {
		open := strings.IndexByte(text, '[')
		if open < 0 {
			break
		}
		shut := open + strings.IndexByte(text[open:], ']')
		br := bracket{
			inner:  text[open+1 : shut],
			offset: offset + open + 1,
			before: text[open-trailingDigits(text[:open]) : open],
			after:  text[shut+1:][:leadingDigits(text[shut+1:])],
		}
		sc.text(text[:open-len(br.before)])
		next := shut + 1 + len(br.after)
		if next < len(text) && text[next] == '[' {
			return p.errorf(offset+next, "two brackets with no text between them; write the numbers in one bracket")
		}
		if len(sc.ranks) == maxDims {
			return p.errorf(offset+open, "more than %d indexes in one name; use fewer brackets", maxDims)
		}
		spans, err := p.bracket(br)
		if err != nil {
			return err
		}
		ranges[len(sc.ranks)] = spans
		sc.index(0)
		text, offset = text[next:], offset+next
	}
	sc.text(text)

	dims := make([][]span, len(sc.ranks))
	names := 1
	for i, r := range sc.ranks {
		dims[i] = []span{{lo: r, hi: r}}
		if s := ranges[i]; s != nil {
			dims[i] = s
		}
		names = times(names, newAxis(dims[i], nil).count)
	}
	if names > maxNames {
		return p.errorf(t.offset, "more than %d names; use smaller ranges", maxNames)
	}
	b.product(sc.shape, dims)
	return nil
}

// bracket is the ranges of one dimension with the digits that touch them:
// before[inner]after.
type bracket struct {
	inner         string
	offset        int // of inner
	before, after string
}

// bracket computes the spans of one dimension.
//
// Digits that touch a bracket become part of the bounds, as in ClusterShell:
// n[1-3]0 is n[10-30/10], and n1[1-20] is n[11-120]. For those before it the
// bounds are those of the runs into which the ranges fold.
func (p *parser) bracket(br bracket) ([]span, error) {
	if br.after != "" && strings.Contains(br.inner, "/") {
		return nil, p.errorf(br.offset, "digits after a range with a step; write the complete numbers in the bracket")
	}
	var spans []span
	rest, offset, more := br.inner, br.offset, true
	for more {
		var item string
		item, rest, more = strings.Cut(rest, ",")
		s, err := p.item(item, offset, br.after)
		if err != nil {
			return nil, err
		}
		spans = append(spans, s...)
		offset += len(item) + 1
	}
	spans = tidy(spans)
	if br.before == "" {
		return spans, nil
	}
	var glued []span
	for _, r := range newAxis(spans, nil).runs() {
		lo := br.before + string(r.appendBound(nil, r.lo))
		hi := br.before + string(r.appendBound(nil, r.hi))
		s, err := p.span(bounds{lo, hi, 1}, br.offset)
		if err != nil {
			return nil, err
		}
		glued = append(glued, s...)
	}
	return tidy(glued), nil
}

// item reads one element of a bracket: 5, 1-5 or 1-9/2.
func (p *parser) item(item string, offset int, after string) ([]span, error) {
	text := strings.TrimSpace(item)
	offset += strings.Index(item, text)
	if text == "" {
		return nil, p.errorf(offset, "empty range; write numbers as in [1-5,7]")
	}
	base, stepText, stepped := strings.Cut(text, "/")
	lo, hi, ranged := strings.Cut(base, "-")
	if !ranged {
		hi = lo
	}
	lo, hi = strings.TrimSpace(lo), strings.TrimSpace(hi)
	if lo == "" && ranged || strings.HasPrefix(hi, "-") {
		return nil, p.errorf(offset, "negative number in %q; write the minus sign before the bracket, as in n-[1-5]", text)
	}
	if !allDigits(lo) || !allDigits(hi) {
		return nil, p.errorf(offset, "%q is not a range; write a number, or two with \"-\" between them", text)
	}
	bs := bounds{lo + after, hi + after, 1}
	if stepped {
		step := strings.TrimSpace(stepText)
		if !allDigits(step) {
			return nil, p.errorf(offset, "%q is not a step; write a number after \"/\"", step)
		}
		if step = strings.TrimLeft(step, "0"); len(step) > maxDigits {
			return nil, p.errorf(offset, "step of more than %d digits; write the numbers one by one", maxDigits)
		}
		if bs.step = decimal(step); bs.step == 0 {
			return nil, p.errorf(offset, "step 0 never arrives; write 1 or more")
		}
		if !ranged && bs.step > 1 {
			return nil, p.errorf(offset, "step without a range; write two numbers with \"-\" between them before \"/\"")
		}
	}
	if ranged && after != "" && len(bs.hi) <= maxDigits {
		bs.step = pow10[len(after)]
	}
	return p.span(bs, offset)
}

// bounds is the two ends of a range as written, of digits only, and its step.
type bounds struct {
	lo, hi string
	step   uint64
}

// span is the spans of one range. Leading zeros at either end ask for padding,
// and then both must have the same number of digits.
func (p *parser) span(b bounds, offset int) ([]span, error) {
	if len(b.lo) > maxDigits || len(b.hi) > maxDigits {
		return nil, p.errorf(offset, "number of more than %d digits; use smaller ones", maxDigits)
	}
	lo, hi := decimal(b.lo), decimal(b.hi)
	padded := len(b.lo) > 1 && b.lo[0] == '0'
	if (padded || b.hi[0] == '0' && hi > 0) && len(b.lo) != len(b.hi) {
		return nil, p.errorf(offset, "%s-%s mixes two paddings; write both ends with the same number of digits", b.lo, b.hi)
	}
	if lo > hi {
		return nil, p.errorf(offset, "%s-%s runs backwards; write the smaller number first", b.lo, b.hi)
	}
	rankAt := func(v uint64) rank {
		if padded {
			return rankOf(len(b.lo), v)
		}
		return rankOf(width(v), v)
	}
	if b.step > 1 {
		n := (hi-lo)/b.step + 1
		if n > maxSpans || !p.calc.spend(int(n)) {
			return nil, p.errorf(offset, "%s-%s/%d is more numbers than can be kept apart; use a smaller range or no step", b.lo, b.hi, b.step)
		}
		spans := make([]span, n)
		for i := range spans {
			r := rankAt(lo + uint64(i)*b.step)
			spans[i] = span{r, r}
		}
		return spans, nil
	}
	var spans []span
	for lo <= hi {
		end := hi
		if !padded {
			end = min(hi, pow10[width(lo)]-1)
		}
		spans = append(spans, span{rankAt(lo), rankAt(end)})
		lo = end + 1
	}
	p.calc.spend(len(spans))
	return spans, nil
}

func allDigits(s string) bool {
	return s != "" && leadingDigits(s) == len(s)
}

package nodeset

import (
	"cmp"
	"strconv"
)

// maxDigits is the longest string of digits that is an index. Longer ones are
// text, so that every index, and every difference of two, fits in 63 bits.
const maxDigits = 18

// rank numbers the strings of 1 to maxDigits digits in ClusterShell's order,
// shorter ones first and then by value: "0" is 0, "9" is 9, "00" is 10, "99"
// is 109, "000" is 110. One integer thus holds an index with its padding, and
// indexes of one width that follow each other have ranks that do.
type rank uint64

// pow10[n] is 10ⁿ; firstRank[n] is the rank of n zeros.
var pow10, firstRank = func() (p, f [maxDigits + 2]uint64) {
	p[0] = 1
	for n := 1; n < len(p); n++ {
		p[n] = p[n-1] * 10
		f[n] = f[n-1]
		if n > 1 {
			f[n] += p[n-1]
		}
	}
	return p, f
}()

// rankOf numbers value written with width digits.
func rankOf(width int, value uint64) rank {
	return rank(firstRank[width] + value)
}

// parseRank numbers a string of 1 to maxDigits digits.
func parseRank(digits string) rank {
	return rankOf(len(digits), decimal(digits))
}

// decimal is the value of a string of at most maxDigits digits.
func decimal(digits string) (value uint64) {
	for i := range len(digits) {
		value = value*10 + uint64(digits[i]-'0')
	}
	return value
}

// split is the inverse of rankOf.
func (r rank) split() (width int, value uint64) {
	width = 1
	for width < maxDigits && uint64(r) >= firstRank[width+1] {
		width++
	}
	return width, uint64(r) - firstRank[width]
}

// appendTo appends the digits that r stands for.
func (r rank) appendTo(buf []byte) []byte {
	width, value := r.split()
	return appendPadded(buf, width, value)
}

// appendPadded appends value with zeros in front up to width digits.
func appendPadded(buf []byte, width int, value uint64) []byte {
	for w := width; w > 1 && value < pow10[w-1]; w-- {
		buf = append(buf, '0')
	}
	return strconv.AppendUint(buf, value, 10)
}

// compareText orders ranks as the strings that they stand for, so that "10"
// comes before "9": ClusterShell orders the vectors of a fold this way.
func compareText(a, b rank) int {
	if a == b {
		return 0
	}
	wa, va := a.split()
	wb, vb := b.split()
	w := max(wa, wb)
	if c := cmp.Compare(va*pow10[w-wa], vb*pow10[w-wb]); c != 0 {
		return c
	}
	return cmp.Compare(wa, wb)
}

// width is the number of digits that value has without padding.
func width(value uint64) int {
	w := 1
	for w < maxDigits && value >= pow10[w] {
		w++
	}
	return w
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

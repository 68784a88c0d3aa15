package program

import (
	"math"
	"strconv"
)

// ShareOf gives the nearest share of a probability from 0 to 1. What can
// happen keeps a share, and what may fail to happen is not certain.
func ShareOf(p float64) Share {
	switch {
	case !(p > 0):
		return 0
	case p >= 1:
		return ShareOne
	}
	return min(max(Share(math.Round(p*float64(ShareOne))), 1), ShareOne-1)
}

// Float gives the probability with the fewest digits whose share is s.
func (s Share) Float() float64 {
	exact := float64(s) / float64(ShareOne)
	if s == 0 || s >= ShareOne {
		return exact
	}
	for digits := 1; digits < 17; digits++ {
		p, err := strconv.ParseFloat(strconv.FormatFloat(exact, 'e', digits-1, 64), 64)
		if err == nil && ShareOf(p) == s {
			return p
		}
	}
	return exact
}

// String is the share in percent.
func (s Share) String() string {
	return strconv.FormatFloat(math.Round(s.Float()*1e14)/1e12, 'f', -1, 64) + "%"
}

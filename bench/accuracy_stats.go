package bench

import (
	"math"
	"slices"
)

// quantile gives the value below which a share q of the sorted values lies.
func quantile(sorted []float64, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

// quantiles sorts v and gives its 50th and 99th percentile.
func quantiles(v []float64) (p50, p99 float64) {
	slices.Sort(v)
	return median(v), quantile(v, 0.99)
}

// meanSquare is the mean of the squares.
func meanSquare(v []float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	sum := 0.0
	for _, x := range v {
		sum += x * x
	}
	return sum / float64(len(v))
}

// interval is the exact confidence interval of a probability of which k of n
// draws came true (C. J. Clopper and E. S. Pearson, Biometrika 26, 1934).
func interval(k, n int, confidence float64) (low, high float64) {
	tail := (1 - confidence) / 2
	high = 1
	if k > 0 {
		low = bisect(func(p float64) bool { return binomialTail(k, n, p) > tail })
	}
	if k < n { // at most k successes are at least n−k failures
		high = bisect(func(p float64) bool { return binomialTail(n-k, n, 1-p) < tail })
	}
	return low, high
}

// bisect finds where in 0 … 1 above begins to hold.
func bisect(above func(float64) bool) float64 {
	low, high := 0.0, 1.0
	for range 60 {
		if mid := (low + high) / 2; above(mid) {
			high = mid
		} else {
			low = mid
		}
	}
	return (low + high) / 2
}

// binomialTail is the probability of at least k successes in n draws of
// probability p. The terms are computed from the greatest one on, by their
// ratios, and divided by their sum: nothing overflows, and no factorial or gamma
// function takes part.
func binomialTail(k, n int, p float64) float64 {
	if p <= 0 || p >= 1 {
		if p >= 1 || k <= 0 {
			return 1
		}
		return 0
	}
	const least = 1e-25 // terms below add nothing
	mode := min(int(float64(n+1)*p), n)
	all, tail := 0.0, 0.0
	add := func(i int, term float64) {
		all += term
		if i >= k {
			tail += term
		}
	}
	odds := p / (1 - p)
	for i, term := mode, 1.0; i <= n && term > least; i++ {
		add(i, term)
		term *= float64(n-i) / float64(i+1) * odds
	}
	for i, term := mode, 1.0; i > 0; {
		term *= float64(i) / float64(n-i+1) / odds
		if i--; term <= least {
			break
		}
		add(i, term)
	}
	return tail / all
}

// bursts describes losses that come together: of a sequence of packets, which
// were lost.
type bursts struct {
	packets, lost, bursts int
}

func countBursts(lost []bool) bursts {
	b := bursts{packets: len(lost)}
	for i, l := range lost {
		if l {
			b.lost++
			if i == 0 || !lost[i-1] {
				b.bursts++
			}
		}
	}
	return b
}

// share is the share of packets that were lost, with its 99 % confidence
// interval where losses follow a Gilbert–Elliott chain whose bad state loses
// all: neighbours are alike by 1 − toBad − toGood.
func (b bursts) share(toBad, toGood float64) (share, low, high float64) {
	share = float64(b.lost) / float64(b.packets)
	stationary, alike := toBad/(toBad+toGood), 1-toBad-toGood
	sd := math.Sqrt(stationary * (1 - stationary) / float64(b.packets) * (1 + alike) / (1 - alike))
	return share, share - z99*sd, share + z99*sd
}

// length is the mean length of bursts, with its 99 % confidence interval
// where lengths are geometric.
func (b bursts) length(toGood float64) (mean, low, high float64) {
	mean = float64(b.lost) / float64(b.bursts)
	sd := math.Sqrt((1-toGood)/(toGood*toGood)) / math.Sqrt(float64(b.bursts))
	return mean, mean - z99*sd, mean + z99*sd
}

// z99 bounds 99 % of a standard normal distribution.
const z99 = 2.5758293035489004

package coord

import "math"

// interval is the exact interval (Clopper and Pearson) in which a probability
// lies with the given confidence, of which happened of n times.
func interval(happened, n uint64, confidence float64) (low, high float64) {
	if n == 0 {
		return 0, 1
	}
	k, m := float64(happened), float64(n)
	tail := (1 - confidence) / 2
	high = 1
	if happened > 0 {
		low = betaQuantile(tail, k, m-k+1)
	}
	if happened < n {
		high = betaQuantile(1-tail, k+1, m-k)
	}
	return low, high
}

// betaQuantile is x with beta(x, a, b) = p.
func betaQuantile(p, a, b float64) float64 {
	low, high := 0.0, 1.0
	for range 80 { // halves the interval to less than a float64 can tell
		x := (low + high) / 2
		if beta(x, a, b) < p {
			low = x
		} else {
			high = x
		}
	}
	return (low + high) / 2
}

// beta is the regularised incomplete beta function, by its continued fraction
// (Abramowitz and Stegun, Handbook of Mathematical Functions, 26.5.8).
func beta(x, a, b float64) float64 {
	switch {
	case x <= 0:
		return 0
	case x >= 1:
		return 1
	case x > (a+1)/(a+b+2): // where the fraction converges slowly, the other tail does not
		return 1 - beta(1-x, b, a)
	}
	ga, _ := math.Lgamma(a)
	gb, _ := math.Lgamma(b)
	gab, _ := math.Lgamma(a + b)
	front := math.Exp(gab-ga-gb+a*math.Log(x)+b*math.Log1p(-x)) / a
	const tiny, enough = 1e-300, 1e-15
	// The method of Lentz: the fraction as a product of quotients.
	f, c, d := 1.0, 1.0, 0.0
	for i := range 10_000 {
		var term float64
		m := float64(i / 2)
		switch {
		case i == 0:
			term = 1
		case i%2 == 0:
			term = m * (b - m) * x / ((a + 2*m - 1) * (a + 2*m))
		default:
			term = -(a + m) * (a + b + m) * x / ((a + 2*m) * (a + 2*m + 1))
		}
		if d = 1 + term*d; math.Abs(d) < tiny {
			d = tiny
		}
		if c = 1 + term/c; math.Abs(c) < tiny {
			c = tiny
		}
		d = 1 / d
		f *= c * d
		if math.Abs(1-c*d) < enough {
			break
		}
	}
	return front * (f - 1)
}

// medianBounds are the places in n sorted values between which the median of
// what they are drawn from lies with the given confidence, whatever its
// distribution.
func medianBounds(n int, confidence float64) (low, high int) {
	tail := (1 - confidence) / 2
	// The number of values below the median is binomial, with probability 1/2.
	sum := 0.0
	for k := range n / 2 {
		ln, _ := math.Lgamma(float64(n + 1))
		lk, _ := math.Lgamma(float64(k + 1))
		lm, _ := math.Lgamma(float64(n - k + 1))
		sum += math.Exp(ln - lk - lm - float64(n)*math.Ln2)
		if sum > tail {
			k = max(k-1, 0)
			return k, n - 1 - k
		}
	}
	return n / 2, n - 1 - n/2
}

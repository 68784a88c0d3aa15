package coord

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestInterval compares with the sums of binomial terms that define it.
func TestInterval(t *testing.T) {
	tailAbove := func(k, n int, p float64) float64 { // at least k of n
		sum := 0.0
		for i := k; i <= n; i++ {
			ln, _ := math.Lgamma(float64(n + 1))
			li, _ := math.Lgamma(float64(i + 1))
			lm, _ := math.Lgamma(float64(n - i + 1))
			sum += math.Exp(ln - li - lm + float64(i)*math.Log(p) + float64(n-i)*math.Log1p(-p))
		}
		return sum
	}
	for _, c := range []struct{ k, n int }{{0, 10}, {1, 10}, {5, 10}, {10, 10}, {3, 1000}, {250, 1000}, {999, 1000}} {
		low, high := interval(uint64(c.k), uint64(c.n), 0.99)
		if c.k == 0 && low != 0 || c.k == c.n && high != 1 {
			t.Errorf("%d of %d: %g to %g", c.k, c.n, low, high)
		}
		if c.k > 0 {
			if got := tailAbove(c.k, c.n, low); math.Abs(got-0.005) > 1e-9 {
				t.Errorf("%d of %d: at %g, as many or more have probability %g", c.k, c.n, low, got)
			}
		}
		if c.k < c.n {
			if got := 1 - tailAbove(c.k+1, c.n, high); math.Abs(got-0.005) > 1e-9 {
				t.Errorf("%d of %d: at %g, as many or fewer have probability %g", c.k, c.n, high, got)
			}
		}
	}
	if low, high := interval(0, 0, 0.99); low != 0 || high != 1 {
		t.Errorf("of nothing: %g to %g", low, high)
	}
}

func TestMedianBounds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{1, 5, 12, 100} {
		low, high := medianBounds(n, 0.99)
		inside := 0
		const rounds = 4000
		for range rounds {
			v := make([]float64, n)
			for i := range v {
				v[i] = r.ExpFloat64()
			}
			slices.Sort(v)
			if v[low] <= math.Ln2 && math.Ln2 <= v[high] {
				inside++
			}
		}
		if share := float64(inside) / rounds; n >= 12 && share < 0.98 {
			t.Errorf("of %d values, the median is between the %dth and the %dth in %.3f of cases", n, low, high, share)
		}
	}
}

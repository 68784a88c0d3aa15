package bench

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestInterval(t *testing.T) {
	for _, c := range []struct {
		k, n       int
		confidence float64
		low, high  float64 // scipy.stats.binomtest(k, n).proportion_ci(confidence, "exact")
	}{
		{0, 10, 0.99, 0, 1 - math.Pow(0.005, 0.1)},
		{10, 10, 0.99, math.Pow(0.005, 0.1), 1},
		{5, 10, 0.95, 0.18708603, 0.81291397},
		{1, 10, 0.95, 0.00252858, 0.44501612},
		{10, 100, 0.95, 0.04900469, 0.17622260},
		{1, 1, 0.9, 0.05, 1},
	} {
		low, high := interval(c.k, c.n, c.confidence)
		if math.Abs(low-c.low) > 1e-7 || math.Abs(high-c.high) > 1e-7 {
			t.Errorf("interval(%d, %d, %v) = %.8f … %.8f, want %.8f … %.8f", c.k, c.n, c.confidence, low, high, c.low, c.high)
		}
	}
}

// TestIntervalLarge compares with the normal approximation, which is close
// where there are many draws.
func TestIntervalLarge(t *testing.T) {
	for _, c := range []struct{ k, n int }{{100, 100000}, {50000, 100000}, {990000, 1000000}} {
		low, high := interval(c.k, c.n, 0.99)
		p := float64(c.k) / float64(c.n)
		half := z99 * math.Sqrt(p*(1-p)/float64(c.n))
		if math.Abs(low-(p-half)) > half/5 || math.Abs(high-(p+half)) > half/5 {
			t.Errorf("interval(%d, %d) = %g … %g, far from %g ± %g", c.k, c.n, low, high, p, half)
		}
	}
}

func TestBinomialTail(t *testing.T) {
	if got, want := binomialTail(3, 5, 0.5), 0.5; math.Abs(got-want) > 1e-12 {
		t.Errorf("P(X ≥ 3 of 5 coins) = %v, want %v", got, want)
	}
	if got, want := binomialTail(1, 20, 0.01), 1-math.Pow(0.99, 20); math.Abs(got-want) > 1e-12 {
		t.Errorf("P(X ≥ 1) = %v, want %v", got, want)
	}
	if got := binomialTail(0, 5, 0.3); got != 1 {
		t.Errorf("P(X ≥ 0) = %v", got)
	}
}

// TestBursts draws losses from the chain itself: nearly always, the intervals
// hold what they were drawn from.
func TestBursts(t *testing.T) {
	const toBad, toGood = 0.01, 0.25
	random := rand.New(rand.NewPCG(1, 2))
	missed := 0
	for range 100 {
		lost := make([]bool, 50000)
		bad := false
		for i := range lost {
			if bad {
				bad = random.Float64() >= toGood
			} else {
				bad = random.Float64() < toBad
			}
			lost[i] = bad
		}
		b := countBursts(lost)
		_, low, high := b.share(toBad, toGood)
		_, short, long := b.length(toGood)
		if want := toBad / (toBad + toGood); want < low || want > high || 1/toGood < short || 1/toGood > long {
			missed++
		}
	}
	if missed > 8 {
		t.Errorf("the 99 %% intervals miss the truth %d times of 100", missed)
	}
}

func TestQuantiles(t *testing.T) {
	v := make([]float64, 1000)
	for i := range v {
		v[i] = float64(999 - i)
	}
	if p50, p99 := quantiles(v); p50 != 499.5 || p99 != 990 {
		t.Errorf("quantiles of 0 … 999: %v, %v", p50, p99)
	}
	if got := meanSquare([]float64{1, -3}); got != 5 {
		t.Errorf("mean square %v, want 5", got)
	}
}

package program

import (
	"testing"
	"time"
)

func TestLatenessBuckets(t *testing.T) {
	for b := range LatenessBuckets - 1 {
		from, to := LatenessFrom(b), LatenessFrom(b+1)
		if from >= to || LatenessBucket(from) != b || LatenessBucket(to-1) != b {
			t.Errorf("bucket %d holds %v to %v, which are in buckets %d and %d", b, from, to, LatenessBucket(from), LatenessBucket(to-1))
		}
	}
	if LatenessBucket(-time.Second) != 0 || LatenessBucket(1<<62) != LatenessBuckets-1 {
		t.Error("latenesses beyond any bucket are in none of the outer ones")
	}
}

func TestLatenessQuantile(t *testing.T) {
	counts := make([]uint64, LatenessBuckets)
	if got := LatenessQuantile(counts, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
	for us := range 1000 {
		counts[LatenessBucket(time.Duration(us)*time.Microsecond)]++
	}
	for _, q := range []float64{0.1, 0.5, 0.9, 0.99, 1} {
		got, want := LatenessQuantile(counts, q), time.Duration(q*1000)*time.Microsecond
		if d := (got - want).Abs(); d > want/50+5*time.Microsecond {
			t.Errorf("quantile %v: %v, want about %v", q, got, want)
		}
	}
}

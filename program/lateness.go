package program

import (
	"math/bits"
	"time"
)

// LatenessBucket gives the bucket of LinkStats.Lateness that a lateness is
// counted in.
func LatenessBucket(late time.Duration) int {
	us := uint64(max(late/time.Microsecond, 0))
	if us < 4 {
		return int(us)
	}
	power := bits.Len64(us) - 1
	return min(4*(power-1)+int(us>>(power-2))-4, LatenessBuckets-1)
}

// LatenessQuantile is the lateness that a share q of the counted frames does
// not exceed, as exactly as the buckets of LinkStats.Lateness tell; 0 if no
// frames were counted.
func LatenessQuantile(counts []uint64, q float64) time.Duration {
	var all uint64
	for _, n := range counts {
		all += n
	}
	if all == 0 {
		return 0
	}
	rest := q * float64(all)
	for b, n := range counts {
		if n > 0 && rest <= float64(n) {
			from, to := LatenessFrom(b), LatenessFrom(b+1)
			return from + time.Duration(float64(to-from)*rest/float64(n))
		}
		rest -= float64(n)
	}
	return LatenessFrom(len(counts))
}

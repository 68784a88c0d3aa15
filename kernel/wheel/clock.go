package wheel

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock reads CLOCK_MONOTONIC without a system call, by way of Go's own
// reading of it, which is the same clock from another beginning.
type clock struct {
	start time.Time
	at    int64 // CLOCK_MONOTONIC at start
}

func newClock() (clock, error) {
	var best clock
	least := time.Duration(1<<63 - 1)
	for range 20 { // the least interrupted counts
		var ts unix.Timespec
		before := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			return clock{}, err
		}
		if took := time.Since(before); took < least {
			least = took
			best = clock{before, ts.Nano() - int64(took/2)}
		}
	}
	return best, nil
}

// now is CLOCK_MONOTONIC in nanoseconds.
func (c *clock) now() int64 { return c.at + int64(time.Since(c.start)) }

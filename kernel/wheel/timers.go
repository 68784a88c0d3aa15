package wheel

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
)

// Timers sleeps n times for some time, on a thread like a wheel's, and says by
// how much each sleep was too long: no wheel that does not spin can be more
// exact than that.
func Timers(n int, sleep time.Duration) ([]time.Duration, error) {
	c, err := newClock()
	if err != nil {
		return nil, err
	}
	late := make([]time.Duration, n)
	err = netns.Run(func(*netns.Thread) error {
		var t thread
		t.hurry()
		defer t.calm()
		for i := range late {
			due := c.now() + int64(sleep)
			ts := unix.NsecToTimespec(due)
			for {
				err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil)
				if err == nil {
					break
				}
				if err != unix.EINTR {
					return fmt.Errorf("sleep: %w", err)
				}
			}
			late[i] = time.Duration(c.now() - due)
		}
		return nil
	})
	return late, err
}

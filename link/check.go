package link

import "math"

var bothRates = problem("leave out one of them", "rate and trace say the same thing in two ways")

// Check says what is wrong with conditions: values that cannot be, and fields
// that mean nothing without others. The error is an Errors value.
func (c Conditions) Check() error {
	var errs Errors
	say := func(wrong bool, field, remedy, msg string) {
		if wrong {
			errs = append(errs, problem(remedy, "%s", msg).of(field))
		}
	}
	say(c.Delay < 0 || c.Delay > MaxDelay, "delay", "", "is not from 0 to 15 minutes")
	say(c.Jitter < 0 || c.Jitter > MaxDelay, "jitter", "", "is not from 0 to 15 minutes")
	const share = "is not from 0 to 100%"
	say(!isShare(c.Loss), "loss", "", share)
	say(!isShare(c.Corrupt), "corrupt", "", share)
	say(!isShare(c.Duplicate), "duplicate", "", share)
	say(!isShare(c.Reorder), "reorder", "", share)
	if b := c.Burst; b != nil {
		say(!isShare(b.ToBad) || !isShare(b.ToGood) || !isShare(b.Loss), "burst", "", share)
		if err := b.check(); err != nil {
			errs = append(errs, err.of("burst"))
		}
	}
	say(c.Rate != 0 && (c.Rate < MinRate || c.Rate > MaxRate), "rate", "", "is not from 100bit to 1tbit")
	if c.Rate != 0 && c.Trace != nil {
		errs = append(errs, bothRates)
	}
	paced := c.Rate != 0 || c.Trace != nil
	const noRate = "add a rate, or leave it out"
	say(c.Queue != Queue{} && !paced, "queue", noRate, "nothing waits where there is no rate")
	say(c.Queue.count() > 1, "queue", "", "has more than one limit")
	say(c.ECN && !paced, "ecn", noRate, "no queue is ever full where there is no rate")
	const noJitter = "add a jitter, or leave it out"
	say(c.Distribution != nil && c.Jitter == 0, "distribution", noJitter, "means nothing without a jitter")
	say(c.Ordered && c.Jitter == 0, "ordered", noJitter, "means nothing without a jitter")
	say(c.Reorder != 0 && c.Delay == 0 && c.Jitter == 0, "reorder", "add a delay: packets overtake others by not being delayed", "means nothing without a delay")
	if errs == nil {
		return nil
	}
	return errs
}

func isShare(p float64) bool { return p >= 0 && p <= 1 && !math.IsNaN(p) }

// count is how many limits the queue has.
func (q Queue) count() (n int) {
	for _, set := range []bool{q.Time != 0, q.Bytes != 0, q.Packets != 0} {
		if set {
			n++
		}
	}
	return n
}

// Notes says what of sound conditions may surprise.
func (c Conditions) Notes() []string {
	var notes []string
	if c.Jitter > c.Delay {
		notes = append(notes, "jitter is larger than delay: where the delay would be below 0 it is 0, so it is more on average than asked for")
	}
	return notes
}

// Zero says whether the conditions ask for nothing.
func (c Conditions) Zero() bool { return c == (Conditions{}) }

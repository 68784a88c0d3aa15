package bench

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// delayCase is a delay on one side of one vnode.
type delayCase struct {
	name  string // as the row says it
	vnode string
	delay time.Duration
}

// delayTable measures round trips of ICMP echo from vnodes with one delay to
// one without conditions. The error is measured less asked; the 99th percentile
// is put beside that of the timers of the thread that measured it.
func delayTable(ctx context.Context, a *accuracy) error {
	cases, p := delayCases(a)
	if err := a.up(ctx, p.name, p.text()); err != nil {
		return err
	}
	if err := a.learnHolder(ctx, p.name); err != nil {
		return err
	}
	addrs, err := a.in.addresses(ctx, p.name, "far")
	if err != nil {
		return err
	}
	s, err := a.in.gather(ctx, p.name, "*!far", len(cases), true)
	if err != nil {
		return err
	}
	defer s.close()
	probes := pick(a, 1000, 100)
	errs, tails, wakes := make([][]reading, len(cases)), make([][]reading, len(cases)), []reading{}
	for run := range a.runs() {
		for i := range cases {
			i = (i + run*5) % len(cases) // no case is always the first
			middle, far, wake, err := a.delayOnce(ctx, s, cases[i], addrs["far"], probes)
			if err != nil {
				return fmt.Errorf("%s: %w", cases[i].name, err)
			}
			a.say("delay: %s: error %s µs, p99 %s µs beyond the timers", cases[i].name, signed(middle.value), signed(far.value))
			errs[i], tails[i], wakes = append(errs[i], middle), append(tails[i], far), append(wakes, wake)
		}
	}
	for i, c := range cases {
		if c.delay == 0 {
			a.add("delay", "no conditions: median RTT", probes, "µs", Bar{}, errs[i])
			continue
		}
		us := float64(c.delay.Microseconds())
		a.add("delay", c.name+": median RTT error", probes, "µs", within("ours", math.Max(us/100, 50)), errs[i])
		a.add("delay", c.name+": p99 of it beyond timers' p99", probes, "µs", atMost("ours", 300), tails[i])
	}
	a.add("delay", "besides, until the reader had woken: median", probes, "µs", Bar{}, wakes)
	return nil
}

func delayCases(a *accuracy) ([]delayCase, *platform) {
	p := newPlatform("delay")
	p.vnodes("far", "", "")
	p.vnodes("bare", "", "")
	cases := []delayCase{{"no conditions", "bare", 0}}
	for i, ms := range pick(a, []int{1, 5, 10, 20, 50, 100, 500}, []int{5, 50}) {
		d := time.Duration(ms) * time.Millisecond
		conditions := fmt.Sprintf("{delay: %dms}", ms)
		p.vnodes(fmt.Sprintf("out%d", i), conditions, "")
		p.vnodes(fmt.Sprintf("in%d", i), "", conditions)
		cases = append(cases, delayCase{fmt.Sprintf("out %d ms", ms), fmt.Sprintf("out%d", i), d},
			delayCase{fmt.Sprintf("in %d ms", ms), fmt.Sprintf("in%d", i), d})
	}
	return cases, p
}

// delayPace is the time between probes. It is no part of any delay that is
// asked for: else answers would come whenever the next probe is sent.
const delayPace = 5137 * time.Microsecond

// warmUp is how many probes of a row only resolve addresses and warm caches.
const warmUp = 10

// delayOnce probes one case.
func (a *accuracy) delayOnce(ctx context.Context, s *sockets, c delayCase, far netip.Addr, probes int) (middle, beyond, wake reading, err error) {
	q, m, err := calm(ctx, a, func() (*shots, error) {
		q := &shots{}
		for i := range probes + warmUp {
			if err := q.aim(s, c.vnode, far, time.Duration(i)*delayPace); err != nil {
				return nil, err
			}
		}
		return q, q.shoot(ctx, a.Exe, s, c.delay+time.Second)
	})
	if err != nil {
		return middle, beyond, wake, err
	}
	q.forget(warmUp)
	took, lost := q.times()
	if len(took) == 0 {
		return middle, beyond, wake, fmt.Errorf("no probe was answered")
	}
	if lost > 0 {
		m.note = fmt.Sprintf("%d of %d probes lost", lost, probes)
	}
	m.timerP50, m.timerP99 = q.lateness()
	p50, p99 := quantiles(took)
	asked := float64(c.delay.Nanoseconds()) / 1e3
	late, _ := quantiles(q.awake())
	return reading{p50 - asked, m}, reading{p99 - asked - m.timerP99, m}, reading{late, m}, nil
}

// forget leaves the first n probes out.
func (q *shots) forget(n int) {
	q.Sent, q.Received, q.Seen, q.Copies = q.Sent[n:], q.Received[n:], q.Seen[n:], q.Copies[n:]
}

package bench

import (
	"context"
	"fmt"
	"net/netip"
	"time"
)

// The bursts that are asked for: bursts of four packets, 3.85 % lost.
const (
	lossToBad, lossToGood = 0.01, 0.25
	lossPace              = 100 * time.Microsecond // between packets: far from overload
)

// lossTable counts numbered UDP packets that go one way. Those of all runs
// make one sample.
func lossTable(ctx context.Context, a *accuracy) error {
	shares := pick(a, []float64{0.1, 1, 10, 25, 50}, []float64{1, 25})
	p := newPlatform("loss")
	p.vnodes("far", "", "")
	p.vnodes("bare", "", "")
	p.vnodes("bursts", fmt.Sprintf(`{burst: "%g%%,%g%%"}`, 100*lossToBad, 100*lossToGood), "")
	for i, share := range shares {
		p.vnodes(fmt.Sprintf("out%d", i), fmt.Sprintf("{loss: %g%%}", share), "")
		p.vnodes(fmt.Sprintf("in%d", i), "", fmt.Sprintf("{loss: %g%%}", share))
	}
	if err := a.up(ctx, p.name, p.text()); err != nil {
		return err
	}
	addrs, err := a.in.addresses(ctx, p.name, "*")
	if err != nil {
		return err
	}
	s, err := a.in.gather(ctx, p.name, "*", len(addrs), false)
	if err != nil {
		return err
	}
	defer s.close()
	packets := pick(a, 100000, 10000)
	if err := a.lossRow(ctx, s, "no conditions", "bare", addrs["far"], packets, 0); err != nil {
		return err
	}
	for i, share := range shares {
		if err := a.lossRow(ctx, s, fmt.Sprintf("out %g %%", share), fmt.Sprintf("out%d", i), addrs["far"], packets, share); err != nil {
			return err
		}
		name := fmt.Sprintf("in%d", i)
		if err := a.lossRow(ctx, s, fmt.Sprintf("in %g %%", share), "far", addrs[name], packets, share); err != nil {
			return err
		}
	}
	return a.burstRows(ctx, s, addrs["far"], packets)
}

// count sends packets one way in each run, and tells of each whether it was
// lost.
func (a *accuracy) count(ctx context.Context, s *sockets, from string, to netip.Addr, packets int) (lost []bool, copies int, m mood, err error) {
	for range a.runs() {
		at := monotonic()
		q := &shots{}
		q.aimAll(s, from, to, packets+warmUp, lossPace)
		if err := q.shoot(ctx, a.Exe, s, 500*time.Millisecond); err != nil {
			return nil, 0, m, err
		}
		q.forget(warmUp) // the first packet resolves the address
		for i, r := range q.Received {
			lost = append(lost, r == 0)
			if q.Copies[i] > 1 {
				copies++
			}
		}
		steal, busy := a.meter.since(at)
		m.steal, m.busy = max(m.steal, steal), max(m.busy, busy)
		m.timerP50, m.timerP99 = q.lateness()
	}
	if copies > 0 {
		m.note = fmt.Sprintf("%d came twice", copies)
	}
	return lost, copies, m, nil
}

// aimAll plans probes from one vnode to one address at a steady pace.
func (q *shots) aimAll(s *sockets, from string, to netip.Addr, n int, pace time.Duration) {
	for i := range n {
		if err := q.aim(s, from, to, time.Duration(i)*pace); err != nil {
			panic(err) // a table that probes from a vnode whose socket it did not gather
		}
	}
}

// lossRow compares a loss with the exact 99 % interval of what was counted.
func (a *accuracy) lossRow(ctx context.Context, s *sockets, name, from string, to netip.Addr, packets int, percent float64) error {
	lost, _, m, err := a.count(ctx, s, from, to, packets)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	k := countBursts(lost).lost
	low, high := interval(k, len(lost), 0.99)
	bar := inside("asked", 100*low, 100*high)
	if percent == 0 {
		bar = atMost("ours", 0)
	}
	a.intervalRow(name, len(lost), "%", 100*float64(k)/float64(len(lost)), percent, bar, m)
	return nil
}

// intervalRow is a row whose bar is that what was asked for lies inside the
// interval of what was counted.
func (a *accuracy) intervalRow(name string, n int, unit string, counted, asked float64, bar Bar, m mood) {
	row := a.add("loss", name, n, unit, bar, []reading{{counted, m}})
	row.Runs = a.runs()
	if bar.Of == "asked" {
		row.Met = bar.met(asked, 0)
		row.Low, row.High = bar.Value, bar.High
	}
	a.say("loss: %s: %s %s", name, figure(counted), unit)
}

func (a *accuracy) burstRows(ctx context.Context, s *sockets, to netip.Addr, packets int) error {
	lost, _, m, err := a.count(ctx, s, "bursts", to, packets)
	if err != nil {
		return fmt.Errorf("bursts: %w", err)
	}
	b := countBursts(lost)
	if b.bursts == 0 {
		return fmt.Errorf("bursts: no packet was lost")
	}
	share, low, high := b.share(lossToBad, lossToGood)
	name := fmt.Sprintf("bursts, %g %% to bad, %g %% to good: ", 100*lossToBad, 100*lossToGood)
	a.intervalRow(name+"lost", b.packets, "%", 100*share, 100*lossToBad/(lossToBad+lossToGood), inside("asked", 100*low, 100*high), m)
	mean, short, long := b.length(lossToGood)
	a.intervalRow(name+"mean length", b.bursts, "packets", mean, 1/lossToGood, inside("asked", short, long), m)
	return nil
}

package bench

import (
	"context"
	"fmt"
	"time"
)

// wheelTable measures what it costs to hold packets: of a wheel, CPU time of
// the rack's process; of fq, which is part of the kernel, that of the machine.
func wheelTable(ctx context.Context, a *accuracy) error {
	p := newPlatform("wheel")
	p.vnodes("far", "", "")
	p.vnodes("near", "{delay: 5ms}", "")
	if err := a.up(ctx, p.name, p.text()); err != nil {
		return err
	}
	if err := a.learnHolder(ctx, p.name); err != nil {
		return err
	}
	if err := a.idleRow(ctx); err != nil {
		return err
	}
	addrs, err := a.in.addresses(ctx, p.name, "far")
	if err != nil {
		return err
	}
	s, err := a.in.gather(ctx, p.name, "near,far", 2, false)
	if err != nil {
		return err
	}
	defer s.close()
	for _, pace := range pick(a, []int{1000, 20000, 50000, 100000, 150000, 200000}, []int{1000, 20000}) {
		seconds := pick(a, 2, 1)
		var lost, cost, late []reading
		for range a.runs() {
			values, m, err := calm(ctx, a, func() (v [3]float64, err error) {
				q := &shots{}
				q.Size = probeHeader
				q.aimAll(s, "near", addrs["far"], pace*seconds, time.Second/time.Duration(pace))
				before, err := a.in.rackSeconds()
				if err != nil {
					return v, err
				}
				if err := q.shoot(ctx, a.Exe, s, time.Second); err != nil {
					return v, err
				}
				after, err := a.in.rackSeconds()
				if err != nil {
					return v, err
				}
				took, missing := q.times()
				if len(took) > 0 {
					v[2] = median(took) - 5000
				}
				v[0], v[1] = 100*float64(missing)/float64(len(q.At)), float64(len(q.At))/max(after-before, 0.01)
				return v, nil
			})
			if err != nil {
				return err
			}
			lost, cost, late = append(lost, reading{values[0], m}), append(cost, reading{values[1], m}), append(late, reading{values[2], m})
		}
		name := fmt.Sprintf("%d packets/s of 12 bytes, 5 ms", pace)
		a.add("wheel", name+": lost", pace*seconds, "%", Bar{}, lost)
		a.add("wheel", name+": median one-way error", pace*seconds, "µs", Bar{}, late)
		if a.host.Holder == "wheel" {
			a.add("wheel", name+": packets per CPU second of the rack", pace*seconds, "packets", Bar{}, cost)
		}
		a.say("wheel: %s: lost %s %%", name, figure(lost[0].value))
	}
	return nil
}

// idleRow measures the CPU time of racks that hold nothing.
func (a *accuracy) idleRow(ctx context.Context) error {
	seconds := pick(a, 5.0, 2.0)
	before, err := a.in.rackSeconds()
	if err != nil {
		return err
	}
	select {
	case <-time.After(time.Duration(seconds * 1e9)):
	case <-ctx.Done():
		return ctx.Err()
	}
	after, err := a.in.rackSeconds()
	if err != nil {
		return err
	}
	a.add("wheel", "idle: CPU time of the rack's process", 1, "% of a core", atMost("ours", 1), []reading{{100 * (after - before) / seconds, mood{}}})
	return nil
}

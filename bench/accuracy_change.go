package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"myriad/api"
)

// scale is the number of vnodes of the tables of many.
func (a *accuracy) scale() int {
	if a.N > 0 {
		return a.N
	}
	return pick(a, 40000, 1000)
}

// The delays between which the change goes: so far apart that a frame that is
// late under the one is not taken for one under the other.
const (
	beforeChange = 20 * time.Millisecond
	afterChange  = 120 * time.Millisecond
	changeEarly  = time.Millisecond // how early and late a probe may be
	changeLate   = 60 * time.Millisecond
)

// changeTable changes the delay of what all vnodes send, while datagrams go
// one way between a sample of them: each must have the old delay or the new
// one, and none that was sent after the first with the new one the old.
func changeTable(ctx context.Context, a *accuracy) error {
	n := a.scale()
	p := newPlatform("change")
	p.vnodes(fmt.Sprintf("v[1-%d]", n), fmt.Sprintf("{delay: %s}", beforeChange), "")
	if err := a.up(ctx, p.name, p.text()); err != nil {
		return err
	}
	if err := a.learnHolder(ctx, p.name); err != nil {
		return err
	}
	ring, err := a.ring(ctx, p.name, n)
	if err != nil {
		return err
	}
	defer ring.close()
	names := []string{"call to answer", "writing, until in force", "probes neither old nor new", "probes with the old delay after one with the new", "probes lost"}
	got := make([][]reading, len(names))
	now := beforeChange
	for range pick(a, 5, 2) {
		values, m, err := calm(ctx, a, func() ([]float64, error) {
			from, to := now, beforeChange+afterChange-now // it goes back and forth
			now = to
			return a.changeOnce(ctx, p.name, ring, from, to)
		})
		if err != nil {
			return err
		}
		for i, v := range values {
			got[i] = append(got[i], reading{v, m})
		}
	}
	for i, unit := range []string{"s", "s", "probes", "probes", "probes"} {
		bar := atMost("ours", 0)
		if i < 2 {
			bar = atMost("ours", 0.5)
		}
		a.add("change", fmt.Sprintf("%s → %s on %d vifaces: %s", beforeChange, afterChange, n, names[i]), n, unit, bar, got[i])
	}
	return nil
}

// ring is a sample of vnodes in a circle, each of which sends to the next.
type ring struct {
	*sockets
	names []string
	shots func() *shots
}

// ring chooses 40 vnodes from all over the platform.
func (a *accuracy) ring(ctx context.Context, platform string, n int) (*ring, error) {
	r := &ring{}
	random := rand.New(rand.NewPCG(40, 40))
	nodes := ""
	for i, k := range random.Perm(n)[:40] {
		if i > 0 {
			nodes += ","
		}
		r.names = append(r.names, fmt.Sprintf("v%d", k+1))
		nodes += r.names[i]
	}
	addrs, err := a.in.addresses(ctx, platform, nodes)
	if err != nil {
		return nil, err
	}
	if r.sockets, err = a.in.gather(ctx, platform, nodes, len(r.names), false); err != nil {
		return nil, err
	}
	r.shots = func() *shots { // about one a millisecond, for 3 s
		q := &shots{}
		for i := range 3000 {
			k := i % len(r.names)
			to := addrs[r.names[(k+1)%len(r.names)]]
			if err := q.aim(r.sockets, r.names[k], to, time.Duration(i)*1037*time.Microsecond); err != nil {
				panic(err) // the sockets were gathered by these names
			}
		}
		return q
	}
	return r, nil
}

// changeOnce gives the seconds until the answer and those of the writing,
// and counts probes that are neither old nor new, that came too late with the
// old delay, and that were lost.
func (a *accuracy) changeOnce(ctx context.Context, platform string, r *ring, from, to time.Duration) ([]float64, error) {
	q := r.shots()
	shot := make(chan error, 1)
	go func() { shot <- q.shoot(ctx, a.Exe, r.sockets, time.Second) }()
	time.Sleep(700 * time.Millisecond)
	start := time.Now()
	done, err := a.in.daemon().ChangeLinks(ctx, platform, &api.LinkChange{Nodes: "*", Side: "out", Set: []string{"delay=" + to.String()}})
	took := time.Since(start).Seconds()
	if e := <-shot; err == nil {
		err = e
	}
	if err != nil {
		return nil, err
	}
	a.say("change: %.3f s, of which %.3f s until in force", took, done.Took.Seconds())
	neither, stale, lost, begun := classify(q, from, to)
	if len(neither) > 0 {
		a.say("change: neither: %v", neither)
	}
	if !begun {
		return nil, fmt.Errorf("no probe had the new delay within 2 s")
	}
	return []float64{took, done.Took.Seconds(), float64(len(neither)), float64(stale), float64(lost)}, nil
}

// classify sorts one-way probes, in the order in which they were sent.
func classify(q *shots, from, to time.Duration) (neither []time.Duration, stale, lost int, begun bool) {
	near := func(took int64, d time.Duration) bool {
		return took > int64(d-changeEarly) && took < int64(d+changeLate)
	}
	for i, r := range q.Received {
		took := r - q.Sent[i]
		switch {
		case i < 40 && r == 0: // the first to each resolves its address
		case r == 0:
			lost++
		case near(took, to):
			begun = true
		case near(took, from):
			if begun {
				stale++
			}
		case i >= 40:
			neither = append(neither, time.Duration(took))
		}
	}
	return neither, stale, lost, begun
}

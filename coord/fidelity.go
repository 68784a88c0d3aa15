package coord

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"myriad/api"
	"myriad/program"
)

// How fidelity is measured where the request leaves that open, and how fast at
// most: probes must not disturb what they measure.
const (
	fidelityPairs  = 200
	fidelityTime   = 5 * time.Second
	mostFidelity   = 10 * time.Minute
	mostPairs      = 10_000
	probeRate      = 500  // a second, of all pairs together
	mostProbeRate  = 2000 // where each pair would get too few
	fewestProbes   = 3    // of a pair
	plainShare     = 10   // one of so many pairs has no conditions
	goalRelative   = 0.01
	goalAbsolute   = 100 * time.Microsecond
	goalShare      = 0.99 // of pairs are within the goal
	lossConfidence = 0.99
	lossGroups     = 20 // that are told apart
)

// Fidelity measures how true the links of a platform are.
func (c *Coordinator) Fidelity(ctx context.Context, platform string, q *api.FidelityRequest, tell func(api.Event)) (*api.Fidelity, error) {
	if q.Pairs < 0 || q.Pairs > mostPairs || q.Duration < 0 || q.Duration > mostFidelity {
		return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "measure " + platform,
			Cause: fmt.Sprintf("pairs are at most %d, and it takes at most %v", mostPairs, mostFidelity)}
	}
	f, err := c.inForce(ctx, platform)
	if err != nil {
		return nil, err
	}
	m := &measuring{checking: checking{c: c, plan: f.plan, tell: tell}, force: f, ways: newWays(f.plan, f.links)}
	m.choose(cmp.Or(q.Pairs, fidelityPairs), cmp.Or(q.Seed, f.seed))
	if len(m.pairs) == 0 {
		return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "measure " + platform, Cause: "no vnode has a way to another", Remedy: "give vnodes a vnetwork in common, or routes"}
	}
	before := c.linkStats(ctx, platform, f.pnodes)
	began := time.Now()
	m.measure(ctx, cmp.Or(q.Duration, fidelityTime))
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	after := c.linkStats(ctx, platform, f.pnodes)
	out := m.result(began, before, after)
	now, err := c.inForce(ctx, platform)
	if err == nil && now.links != f.links {
		out.Problems = append(out.Problems, "conditions were changed while they were measured: what is compared is what was asked before")
	}
	if err == nil {
		out.Schedule = now.state.Schedule
	}
	return out, err
}

// measuring is a measurement under way.
type measuring struct {
	checking // its pairs are probed again and again; results are by pair and round
	force    *inForce
	ways     *ways
	asks     []way // by pair
	rounds   int
	rtt      []int64 // by pair and round: nanoseconds; 0: none
}

// choose chooses pairs, the same for the same seed: mostly those whose ways
// have conditions, and some others beside them.
func (m *measuring) choose(count int, seed uint64) {
	random := newRandom(seed)
	shaped := m.ways.shaped()
	n := m.plan.Len()
	seen := map[[2]int]bool{}
	plain := 0
	add := func(from, to int) {
		if from == to || seen[[2]int{from, to}] {
			return
		}
		seen[[2]int{from, to}] = true
		addr := m.ways.reach.address(from, to)
		if !addr.IsValid() {
			return
		}
		w, ok := m.ways.between(from, to, addr)
		switch {
		case !ok || w.trace: // how long a trace holds a packet depends on the moment
			return
		case w.asked == 0 && w.loss == 0:
			if plain++; plain > max(count/plainShare, 1) {
				return
			}
		}
		m.pairs = append(m.pairs, pair{from, to, addr.String()})
		m.asks = append(m.asks, w)
	}
	const tries = 20 // for each pair
	for range count * tries {
		if len(m.pairs) >= count || n < 2 || len(seen) == n*(n-1) {
			return
		}
		from, to := random.IntN(n), random.IntN(n)
		if len(shaped) > 0 && random.IntN(plainShare) > 0 {
			from = shaped[random.IntN(len(shaped))]
			if random.IntN(2) == 0 {
				from, to = to, from
			}
		}
		add(from, to)
	}
}

// measure probes the pairs in rounds, evenly over a time.
func (m *measuring) measure(ctx context.Context, duration time.Duration) {
	n := len(m.pairs)
	m.rounds = max(int(float64(probeRate)*duration.Seconds())/n, fewestProbes) + 1 // the first finds the way
	total := m.rounds * n
	if least := time.Duration(float64(total) / mostProbeRate * float64(time.Second)); duration < least {
		duration = least
	}
	m.heard, m.errs = make([]bool, total), make([]string, total)
	m.rtt = make([]int64, total)
	longest := time.Duration(0)
	for _, w := range m.asks {
		longest = max(longest, w.longest)
	}
	m.over = duration
	all := make([]pair, 0, total)
	for range m.rounds {
		all = append(all, m.pairs...)
	}
	m.checking.pairs = all
	m.each = func(id uint32, rtt int64) { m.rtt[id] = rtt }
	m.run(ctx, max(time.Second, 2*longest+time.Second/2))
	m.checking.pairs = all[:n]
}

// result compares what was asked with what was measured.
func (m *measuring) result(began time.Time, before, after []*program.LinkStats) *api.Fidelity {
	out := &api.Fidelity{Pairs: len(m.pairs), Seconds: time.Since(began).Seconds(), Pnodes: during(before, after), Rows: []api.FidelityRow{}}
	var calibration *program.Calibration
	for _, s := range out.Pnodes {
		if s.Calibration != nil {
			calibration = s.Calibration
		}
		for _, o := range s.Overloads {
			if !o.To.Before(began) {
				out.Overloads = append(out.Overloads, o)
			}
		}
	}
	var errs, relative []float64
	within, judged := 0, 0
	for i := range m.pairs {
		row := m.row(i, calibration)
		out.Rows = append(out.Rows, row)
		if row.Probes > row.Lost {
			out.Answered++
		}
		if row.Asked == 0 || row.Probes == row.Lost {
			continue
		}
		judged++
		if row.Within {
			within++
		}
		if !row.Jitter {
			errs = append(errs, math.Abs(row.Measured-row.Asked))
			relative = append(relative, math.Abs(row.Measured-row.Asked)/row.Asked)
		}
	}
	slices.SortStableFunc(out.Rows, func(a, b api.FidelityRow) int { return cmp.Compare(wrong(&b), wrong(&a)) })
	out.Error, out.Relative = quantiles(errs), quantiles(relative)
	out.Loss = m.losses()
	var late []uint64
	for _, s := range out.Pnodes {
		late = added(late, s.Lateness)
	}
	out.Lateness = lateness(late, worstOf(late))
	for _, note := range m.plan.Unmet(m.force.links, calibration) {
		out.Problems = append(out.Problems, note.String())
	}
	if m.force.links != nil && calibration == nil {
		out.Problems = append(out.Problems, "what the machine's own path costs is not known, so it is not subtracted")
	}
	lossTrue := !slices.ContainsFunc(out.Loss, func(l api.LossRow) bool { return l.Asked < l.Low || l.Asked > l.High })
	out.WithinGoal = len(out.Overloads) == 0 && lossTrue && float64(within) >= goalShare*float64(judged) && out.Answered > 0
	return out
}

// wrong is how far a pair is from what was asked, in parts of the goal.
func wrong(r *api.FidelityRow) float64 {
	switch {
	case r.Probes == r.Lost:
		return math.Inf(1)
	case r.Asked == 0:
		return 0
	}
	return math.Abs(r.Measured-r.Asked) / max(goalRelative*r.Asked, float64(goalAbsolute)/1e3)
}

// row sums up the probes of a pair.
func (m *measuring) row(i int, calibration *program.Calibration) api.FidelityRow {
	w := &m.asks[i]
	p := m.pairs[i]
	row := api.FidelityRow{From: m.plan.Vnode(p.from).Name, To: m.plan.Vnode(p.to).Name, Asked: us(w.asked), Applied: us(w.applied(calibration)), Jitter: w.jitter}
	var rtts []int64
	for round := range m.rounds {
		id := round*len(m.pairs) + i
		if !m.heard[id] && m.errs[id] == "" {
			continue // it was not sent
		}
		row.Probes++
		switch rtt := m.rtt[id]; {
		case rtt == 0:
			row.Lost++
		case round > 0:
			rtts = append(rtts, rtt)
		}
	}
	if len(rtts) == 0 && m.rtt[i] > 0 {
		rtts = append(rtts, m.rtt[i])
	}
	if len(rtts) == 0 {
		return row
	}
	slices.Sort(rtts)
	row.Measured = us(time.Duration(rtts[(len(rtts)-1)/2]+rtts[len(rtts)/2]) / 2)
	row.Within = wrong(&row) <= 1
	if row.Jitter {
		low, high := medianBounds(len(rtts), lossConfidence)
		row.Low, row.High = us(time.Duration(rtts[low])), us(time.Duration(rtts[high]))
		row.Within = row.Within || row.Low <= row.Asked && row.Asked <= row.High
	}
	return row
}

func us(d time.Duration) float64 { return float64(d) / 1e3 }

// losses compares probabilities of loss with what was counted, ways of the
// same probability together.
func (m *measuring) losses() []api.LossRow {
	type group struct {
		asked      float64
		sent, lost uint64
	}
	groups := map[float64]*group{}
	for i, w := range m.asks {
		g := groups[w.loss]
		if g == nil {
			g = &group{}
			groups[w.loss] = g
		}
		for round := range m.rounds {
			id := round*len(m.pairs) + i
			if m.heard[id] {
				g.sent++
				g.asked += w.loss
				if m.rtt[id] == 0 {
					g.lost++
				}
			}
		}
	}
	if len(groups) > lossGroups { // one for all: its interval is, if anything, too wide
		all := &group{}
		for _, asked := range slices.Sorted(maps.Keys(groups)) {
			g := groups[asked]
			all.asked, all.sent, all.lost = all.asked+g.asked, all.sent+g.sent, all.lost+g.lost
		}
		groups = map[float64]*group{0: all}
	}
	var out []api.LossRow
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		g := groups[key]
		if g.sent == 0 || g.asked == 0 && g.lost == 0 {
			continue
		}
		row := api.LossRow{Asked: g.asked / float64(g.sent), Counted: float64(g.lost) / float64(g.sent), Packets: g.sent}
		row.Low, row.High = interval(g.lost, g.sent, lossConfidence)
		out = append(out, row)
	}
	return out
}

func quantiles(values []float64) (q api.Quantiles) {
	n := len(values)
	if n == 0 {
		return q
	}
	slices.Sort(values)
	at := func(share float64) float64 { return values[min(int(share*float64(n)), n-1)] }
	return api.Quantiles{P50: at(0.5), P90: at(0.9), P99: at(0.99), Max: values[n-1]}
}

// during gives what pnodes say after something, with counts of that time only.
func during(before, after []*program.LinkStats) []program.LinkStats {
	var out []program.LinkStats
	for i, s := range after {
		if s == nil {
			continue
		}
		now := *s
		if was := before[i]; was != nil {
			now.Lateness = less(s.Lateness, was.Lateness)
			now.Lost -= min(was.Lost, s.Lost)
			now.Counters = slices.Clone(s.Counters)
			for k := range now.Counters {
				if k < len(was.Counters) && was.Counters[k].Name == now.Counters[k].Name {
					now.Counters[k].Packets -= min(was.Counters[k].Packets, now.Counters[k].Packets)
				}
			}
		}
		out = append(out, now)
	}
	return out
}

func less(counts, was []uint64) []uint64 {
	out := slices.Clone(counts)
	for i := range min(len(out), len(was)) {
		out[i] -= min(was[i], out[i])
	}
	return out
}

func added(sum, more []uint64) []uint64 {
	if len(sum) < len(more) {
		sum = append(sum, make([]uint64, len(more)-len(sum))...)
	}
	for i, n := range more {
		sum[i] += n
	}
	return sum
}

// worstOf is the greatest lateness that was counted.
func worstOf(counts []uint64) time.Duration {
	for b := len(counts) - 1; b >= 0; b-- {
		if counts[b] > 0 {
			return program.LatenessFrom(b + 1)
		}
	}
	return 0
}

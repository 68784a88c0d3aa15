package bench

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"myriad/nodeset"
)

// askedPair is a pair of vnodes, and the round trip between them.
type askedPair struct {
	from, to string
	rtt      time.Duration
}

// pairPace is the time between two probes of a matrix: at less than 500 a
// second, probes seldom meet, and delays of whole milliseconds do not end when
// others begin.
const pairPace = 2137 * time.Microsecond

// probed is what was measured of pairs.
type probed struct {
	errors []float64 // µs of each probe in windows without steal: measured less asked
	middle []float64 // µs of each pair: its median, of windows without steal where there are any
	worst  []float64 // of each pair: its median as a share of what is allowed (1 % or 0.1 ms)
	stolen int       // probes in windows with steal
	lost   int
	mood
}

// probe measures each pair rounds times, in an order that differs each time.
func (a *accuracy) probe(ctx context.Context, platform string, pairs []askedPair, rounds int) (*probed, error) {
	var from, to []string
	for _, p := range pairs {
		from, to = append(from, p.from), append(to, p.to)
	}
	senders, targets := nodeset.Of(from...), nodeset.Of(to...)
	addrs, err := a.in.addresses(ctx, platform, targets.String())
	if err != nil {
		return nil, err
	}
	s, err := a.in.gather(ctx, platform, senders.String(), senders.Len(), true)
	if err != nil {
		return nil, err
	}
	defer s.close()
	order := rand.New(rand.NewPCG(1, 1))
	q, of := &shots{}, []int(nil)
	longest := time.Duration(0)
	at := time.Duration(0)
	for round := range rounds + 1 { // the first round resolves addresses
		for _, i := range order.Perm(len(pairs)) {
			if err := q.aim(s, pairs[i].from, addrs[pairs[i].to], at); err != nil {
				return nil, err
			}
			if of = append(of, i); round == 0 {
				longest = max(longest, pairs[i].rtt)
			}
			at += pairPace
		}
	}
	began := monotonic()
	if err := q.shoot(ctx, a.Exe, s, longest+time.Second); err != nil {
		return nil, err
	}
	q.forget(len(pairs))
	r := a.judge(pairs, q, of[len(pairs):])
	r.steal, r.busy = a.meter.since(began)
	r.timerP50, r.timerP99 = q.lateness()
	if len(r.errors) == 0 {
		return nil, fmt.Errorf("no probe was answered in a window without steal")
	}
	return r, nil
}

// judge sorts probes by their pair and by whether CPU time was stolen.
func (a *accuracy) judge(pairs []askedPair, q *shots, of []int) *probed {
	r := &probed{}
	clean, all := make([][]float64, len(pairs)), make([][]float64, len(pairs))
	for k, i := range of {
		if q.Received[k] == 0 {
			r.lost++
			continue
		}
		e := float64(q.Received[k]-q.Sent[k]-int64(pairs[i].rtt)) / 1e3
		all[i] = append(all[i], e)
		if a.meter.during(q.Sent[k], q.Received[k]) {
			r.stolen++
			continue
		}
		clean[i], r.errors = append(clean[i], e), append(r.errors, e)
	}
	for i, e := range clean {
		if len(e) == 0 {
			e = all[i]
		}
		if len(e) == 0 {
			r.worst = append(r.worst, math.Inf(1)) // never answered: outside of any bound
			continue
		}
		m := median(e)
		r.middle = append(r.middle, m)
		r.worst = append(r.worst, math.Abs(m)/max(float64(pairs[i].rtt.Nanoseconds())/1e5, 100))
	}
	slices.Sort(r.errors)
	r.note = fmt.Sprintf("%d probes, %d more in windows with steal, %d lost", len(r.errors), r.stolen, r.lost)
	return r
}

// outside counts the pairs whose median is off by more than 1 % and 0.1 ms.
func (r *probed) outside() int {
	n := 0
	for _, w := range r.worst {
		if w > 1 {
			n++
		}
	}
	return n
}

// squares gives µs as the mean of their squares in ms².
func squares(us []float64) float64 { return meanSquare(us) / 1e6 }

// percentiles adds rows of the distribution of errors, without a bar.
func (a *accuracy) percentiles(table, name string, n int, got []*probed) {
	for _, q := range []float64{0.01, 0.05, 0.95, 0.99} {
		a.probedRow(table, fmt.Sprintf("%s: %g. percentile of the error", name, 100*q), n, "µs", Bar{}, got,
			func(r *probed) float64 { return quantile(r.errors, q) })
	}
}

func (a *accuracy) probedRow(table, name string, n int, unit string, bar Bar, got []*probed, f func(*probed) float64) {
	var readings []reading
	for _, r := range got {
		readings = append(readings, reading{f(r), r.mood})
	}
	row := a.add(table, name, n, unit, bar, readings)
	a.say("%s: %s: %s %s", table, name, signed(row.Ours), unit)
}

func medianError(r *probed) float64  { return median(r.errors) }
func medianApart(r *probed) float64  { return median(absolute(r.errors)) }
func probesSquare(r *probed) float64 { return squares(r.errors) }
func pairsSquare(r *probed) float64  { return squares(r.middle) }

func absolute(v []float64) []float64 {
	out := make([]float64, len(v))
	for i, x := range v {
		out[i] = math.Abs(x)
	}
	return out
}

// matrixTable is Distem's own acceptance test: random delays between 50
// vnodes; all pairs are measured, not a few.
func matrixTable(ctx context.Context, a *accuracy) error {
	n := pick(a, 50, 8)
	random := rand.New(rand.NewPCG(50, 59))
	m := make([][]time.Duration, n)
	for i := range m {
		m[i] = make([]time.Duration, n)
		for j := range m[i] {
			if i != j {
				m[i][j] = time.Duration(10+random.IntN(50)) * time.Millisecond
			}
		}
	}
	p := newPlatform("matrix")
	p.vnodes(fmt.Sprintf("m[1-%d]", n), "", "")
	if err := a.in.matrix("matrix.txt", m); err != nil {
		return err
	}
	p.link("{nodes: %q, matrix: matrix.txt, %s}", fmt.Sprintf("m[1-%d]", n), matrixOf)
	if err := a.up(ctx, p.name, p.text()); err != nil {
		return err
	}
	var pairs []askedPair
	for i := range n {
		for j := range n {
			if i != j {
				pairs = append(pairs, askedPair{fmt.Sprintf("m%d", i+1), fmt.Sprintf("m%d", j+1), m[i][j] + m[j][i]})
			}
		}
	}
	var got []*probed
	for range a.runs() {
		r, err := a.probe(ctx, p.name, pairs, pick(a, 11, 5))
		if err != nil {
			return err
		}
		got = append(got, r)
	}
	name := fmt.Sprintf("%d × %d, 10–59 ms", n, n)
	a.probedRow("matrix", name+": pairs off by more than 1 % and 0.1 ms", len(pairs), "pairs", atMost("ours", 0), got, func(r *probed) float64 { return float64(r.outside()) })
	a.probedRow("matrix", name+": worst pair, of what is allowed", len(pairs), "of 1 % or 0.1 ms", Bar{}, got, func(r *probed) float64 { return slices.Max(r.worst) })
	a.probedRow("matrix", name+": median error of probes", len(pairs), "µs", Bar{}, got, medianError)
	a.percentiles("matrix", name, len(pairs), got)
	return nil
}

// planetlabTable takes the PlanetLab matrix as asked delays, and probes random
// pairs that have a delay both ways.
func planetlabTable(ctx context.Context, a *accuracy) error {
	path, err := a.planetlab()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	rtts, err := parseRTTs(string(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	n := pick(a, len(rtts), 40)
	ways := make([][]time.Duration, n)
	for i := range ways {
		ways[i] = make([]time.Duration, n)
		for j := range ways[i] {
			ways[i][j] = time.Duration(rtts[i][j] * float64(time.Millisecond) / 2).Truncate(time.Microsecond)
		}
	}
	if err := a.in.matrix("planetlab.txt", ways); err != nil {
		return err
	}
	p := newPlatform("planetlab")
	nodes := fmt.Sprintf("pl[1-%d]", n)
	p.vnodes(nodes, "", "")
	p.link("{nodes: %q, matrix: planetlab.txt, %s}", nodes, matrixOf)
	if err := a.up(ctx, p.name, p.text()); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(490, 1))
	var pairs []askedPair
	for want := pick(a, 2000, 100); len(pairs) < want; {
		i, j := random.IntN(n), random.IntN(n)
		if i != j && ways[i][j] > 0 && ways[j][i] > 0 {
			pairs = append(pairs, askedPair{fmt.Sprintf("pl%d", i+1), fmt.Sprintf("pl%d", j+1), ways[i][j] + ways[j][i]})
		}
	}
	var got []*probed
	for range a.runs() {
		r, err := a.probe(ctx, p.name, pairs, 5)
		if err != nil {
			return err
		}
		got = append(got, r)
	}
	name := fmt.Sprintf("%d × %d PlanetLab", n, n)
	a.probedRow("planetlab", name+": median RTT error", len(pairs), "µs", within("ours", 100), got, medianError)
	a.probedRow("planetlab", name+": median |error|", len(pairs), "µs", atMost("ours", 100), got, medianApart)
	a.probedRow("planetlab", name+": mean squared error of probes", len(pairs), "ms²", atMost("ours", 0.02), got, probesSquare)
	a.probedRow("planetlab", name+": mean squared error of pairs' medians", len(pairs), "ms²", atMost("ours", 0.02), got, pairsSquare)
	a.percentiles("planetlab", name, len(pairs), got)
	return nil
}

// planetlab finds the matrix: as told, or beside the sources.
func (a *accuracy) planetlab() (string, error) {
	for _, path := range []string{a.PlanetLab, "examples/data/planetlab.txt"} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no PlanetLab matrix: give its file with --planetlab")
}

// parseRTTs reads a square matrix of milliseconds.
func parseRTTs(text string) ([][]float64, error) {
	var m [][]float64
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "" {
			continue
		}
		var row []float64
		for _, f := range strings.Fields(line) {
			v, err := strconv.ParseFloat(f, 64)
			if err != nil || math.IsNaN(v) || v < 0 {
				v = 0 // a hole
			}
			row = append(row, v)
		}
		m = append(m, row)
	}
	for i, row := range m {
		if len(row) != len(m) {
			return nil, fmt.Errorf("row %d has %d columns, not %d", i+1, len(row), len(m))
		}
	}
	return m, nil
}

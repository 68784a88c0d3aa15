package bench

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
)

// reading is one figure, taken once, and what the machine was like meanwhile.
type reading struct {
	value float64
	mood
}

// mood is what a machine did while a figure was taken.
type mood struct {
	steal, busy        float64 // shares of its CPU time
	timerP50, timerP99 float64 // µs that timers of this kind were late
	times              int     // that it was measured, because CPU time was stolen
	note               string
}

// calmSteal is the steal above which a figure is taken again, calmTries how
// often at most.
const (
	calmSteal = 0.01
	calmTries = 3
)

// calm measures when little is stolen: it tries a few times, and gives the
// result of the calmest.
func calm[T any](ctx context.Context, a *accuracy, measure func() (T, error)) (best T, m mood, err error) {
	for try := 1; ; try++ {
		at := monotonic()
		got, err := measure()
		if err != nil {
			return best, m, err
		}
		steal, busy := a.meter.since(at)
		if try == 1 || steal < m.steal {
			best, m = got, mood{steal: steal, busy: busy}
		}
		m.times = try
		if m.steal <= calmSteal || try == calmTries || a.Quick || ctx.Err() != nil {
			return best, m, ctx.Err()
		}
	}
}

// add makes a row of readings.
func (a *accuracy) add(table, name string, n int, unit string, bar Bar, got []reading) *Row {
	samples := make([]sample, len(got))
	values := make([]float64, len(got))
	row := Row{}
	var p50, p99, busy []float64
	for i, g := range got {
		samples[i], values[i] = sample{g.value, 0}, g.value
		row.Steal = max(row.Steal, g.steal)
		row.Repeated += max(g.times-1, 0)
		p50, p99, busy = append(p50, g.timerP50), append(p99, g.timerP99), append(busy, g.busy)
		if g.note != "" {
			row.Note = g.note
		}
	}
	base := newRow(table, name, n, unit, "", bar, samples)
	base.Steal, base.Repeated, base.Note, base.Host = row.Steal, row.Repeated, row.Note, a.host
	base.TimerP50, base.TimerP99, base.Busy = median(p50), median(p99), median(busy)
	if len(values) > 0 {
		base.Low, base.High = slices.Min(values), slices.Max(values)
	}
	a.rows = append(a.rows, base)
	return &a.rows[len(a.rows)-1]
}

// addAgainst makes a row of pairs of figures, ours and a reference's.
func (a *accuracy) addAgainst(table, name string, n int, unit, reference string, bar Bar, got []sample, m mood) *Row {
	row := newRow(table, name, n, unit, reference, bar, got)
	row.Steal, row.Busy, row.Repeated, row.Note, row.Host = m.steal, m.busy, max(m.times-1, 0), m.note, a.host
	var of []float64
	for _, s := range got {
		v := s.ours
		if bar.Of == "ratio" && s.reference > 0 {
			v = s.ours / s.reference
		}
		of = append(of, v)
	}
	row.Low, row.High = slices.Min(of), slices.Max(of)
	a.rows = append(a.rows, row)
	return &a.rows[len(a.rows)-1]
}

// PrintAccuracy writes rows as tables for people.
func PrintAccuracy(w io.Writer, rows []Row) error {
	table := ""
	var t *tabwriter.Writer
	for _, r := range rows {
		if r.Bench != table {
			if t != nil {
				if err := t.Flush(); err != nil {
					return err
				}
				fmt.Fprintln(w)
			}
			table = r.Bench
			fmt.Fprintf(w, "%s: %s\n", table, r.Host)
			t = tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(t, "case\tn\tmeasured\tunit\tof runs\tbeside\tbar\tverdict\ttimers late p50/p99 µs\tsteal\tCPU\tnote")
		}
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%d: %s … %s\t%s\t%s\t%s\t%s\t%s\t%.0f %%\t%s\n", r.Case, r.N, signed(r.Ours), r.Unit, r.Runs, signed(r.Low),
			signed(r.High), beside(r), r.Bar, words(r), timers(r), stolen(r), 100*r.Busy, r.Note)
	}
	if t == nil {
		return nil
	}
	return t.Flush()
}

func beside(r Row) string {
	if r.ReferenceName == "" {
		return ""
	}
	if r.Ratio == 0 {
		return r.ReferenceName + " " + signed(r.Reference)
	}
	return fmt.Sprintf("%s %s, ratio %s", r.ReferenceName, signed(r.Reference), figure(r.Ratio))
}

func words(r Row) string {
	switch {
	case r.Bar.IsZero():
		return ""
	case r.Met:
		return "met"
	}
	return "NOT MET"
}

func timers(r Row) string {
	if r.TimerP99 == 0 {
		return ""
	}
	return figure(r.TimerP50) + "/" + figure(r.TimerP99)
}

func stolen(r Row) string {
	s := fmt.Sprintf("%.1f %%", 100*r.Steal)
	if r.Steal > calmSteal {
		s += " !"
	}
	if r.Repeated > 0 {
		s += fmt.Sprintf(" (again %d×)", r.Repeated)
	}
	return s
}

func signed(v float64) string {
	return strings.Replace(figure(v), "-", "−", 1)
}

// Package bench measures Myriad beside a reference that does the same work in
// the same run: the bare kernel, a Linux bridge, another tool. Each bench
// gives rows; nothing here is a test, because timings never decide one.
package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
)

// Row is one measured figure beside its reference.
type Row struct {
	Bench         string  `json:"bench"`
	Case          string  `json:"case"`
	N             int     `json:"n"`                        // scale: vnodes, packets …
	Ours          float64 `json:"ours"`                     // median of Runs
	Reference     float64 `json:"reference,omitempty"`      // median of Runs
	ReferenceName string  `json:"reference_name,omitempty"` // what was measured beside it
	Ratio         float64 `json:"ratio,omitempty"`          // median of the runs' ratios
	Unit          string  `json:"unit"`                     // of Ours and Reference
	Bar           Bar     `json:"bar,omitzero"`
	Met           bool    `json:"met"`
	Runs          int     `json:"runs"`
	Spread        float64 `json:"spread"` // (largest − smallest) ÷ median of what the bar speaks of

	// Of bench accuracy:
	Low      float64 `json:"low,omitempty"` // least and greatest of what the bar speaks of, of Runs
	High     float64 `json:"high,omitempty"`
	TimerP50 float64 `json:"timer_p50_us,omitempty"` // how late the machine's own timers were in the same run
	TimerP99 float64 `json:"timer_p99_us,omitempty"`
	Steal    float64 `json:"steal,omitempty"`    // share of CPU time that the machine did not get, greatest of Runs
	Busy     float64 `json:"cpu,omitempty"`      // share of CPU time in use
	Repeated int     `json:"repeated,omitempty"` // measured so many times more, because CPU time was stolen
	Note     string  `json:"note,omitempty"`
	Host
}

// Bar is what a figure is asked to be. The zero value asks nothing.
type Bar struct {
	Of    string // "ratio", "ours", or "asked": the value asked for
	Op    string // "<=", ">=", "within" (±Value), "in" (Value … High)
	Value float64
	High  float64
}

// String prints the bar: ratio <= 1.3.
func (b Bar) String() string {
	switch {
	case b.Of == "":
		return ""
	case b.Op == "within":
		return fmt.Sprintf("%s within ±%s", b.Of, figure(b.Value))
	case b.Op == "in":
		return fmt.Sprintf("%s in %s … %s", b.Of, figure(b.Value), figure(b.High))
	}
	return fmt.Sprintf("%s %s %.4g", b.Of, b.Op, b.Value)
}

// MarshalJSON writes the bar as its text.
func (b Bar) MarshalJSON() ([]byte, error) { return json.Marshal(b.String()) }

// IsZero tells whether nothing is asked.
func (b Bar) IsZero() bool { return b.Of == "" }

func (b Bar) met(ours, ratio float64) bool {
	v := ours
	switch b.Of {
	case "":
		return true
	case "ratio":
		v = ratio
	}
	if math.IsNaN(v) {
		return false
	}
	switch b.Op {
	case "<=":
		return v <= b.Value
	case "within":
		return math.Abs(v) <= b.Value
	case "in":
		return v >= b.Value && v <= b.High
	}
	return v >= b.Value
}

// The kinds of bar.
func atMost(of string, v float64) Bar      { return Bar{Of: of, Op: "<=", Value: v} }
func atLeast(of string, v float64) Bar     { return Bar{Of: of, Op: ">=", Value: v} }
func within(of string, v float64) Bar      { return Bar{Of: of, Op: "within", Value: v} }
func inside(of string, low, h float64) Bar { return Bar{Of: of, Op: "in", Value: low, High: h} }

// sample is one run of a case: ours, and the reference beside it (0: none).
type sample struct{ ours, reference float64 }

// newRow reduces the runs of a case to a row. The ratio is the median of the
// runs' own ratios, because each run's pair shared the machine's mood.
func newRow(bench, name string, n int, unit, referenceName string, bar Bar, samples []sample) Row {
	var ours, refs, ratios []float64
	for _, s := range samples {
		ours = append(ours, s.ours)
		refs = append(refs, s.reference)
		if s.reference > 0 {
			ratios = append(ratios, s.ours/s.reference)
		}
	}
	r := Row{Bench: bench, Case: name, N: n, Ours: median(ours), Reference: median(refs), ReferenceName: referenceName,
		Ratio: median(ratios), Unit: unit, Bar: bar, Runs: len(samples)}
	r.Spread = spread(ours)
	if bar.Of == "ratio" {
		r.Spread = spread(ratios)
	}
	beside := bar.Of != "ratio" || len(ratios) == len(samples) // each run had its reference
	r.Met = bar.met(r.Ours, r.Ratio) && len(samples) > 0 && beside
	return r
}

func median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	if n := len(s); n%2 == 0 {
		return (s[n/2-1] + s[n/2]) / 2
	}
	return s[len(s)/2]
}

func spread(v []float64) float64 {
	m := median(v)
	if m == 0 {
		return 0
	}
	return (slices.Max(v) - slices.Min(v)) / m
}

// Print writes rows as a table for people.
func Print(w io.Writer, rows []Row) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "bench\tcase\tn\tours\treference\t\tratio\tunit\tbar\tmet\truns\tspread")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%.0f %%\n", r.Bench, r.Case, r.N, figure(r.Ours), optional(r.Reference),
			r.ReferenceName, optional(r.Ratio), r.Unit, r.Bar, verdict(r), r.Runs, 100*r.Spread)
	}
	return t.Flush()
}

func verdict(r Row) string {
	switch {
	case r.Bar.IsZero():
		return ""
	case r.Met:
		return "yes"
	}
	return "NO"
}

func optional(v float64) string {
	if v == 0 {
		return ""
	}
	return figure(v)
}

// figure prints three significant digits.
func figure(v float64) string {
	if v == 0 || math.IsNaN(v) || math.Abs(v) >= 1000 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.*f", max(0, 2-int(math.Floor(math.Log10(math.Abs(v))))), v)
}

package api

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"myriad/program"
)

// LinkChange asks for other conditions of links, at once or at a moment.
type LinkChange struct {
	Nodes string    `json:"nodes,omitempty"` // nodeset; empty only for a reset of everything
	To    string    `json:"to,omitempty"`    // nodeset: what goes from Nodes to it; empty: all that Nodes send or get
	Both  bool      `json:"both,omitempty"`  // with To: also from it to Nodes
	Side  string    `json:"side,omitempty"`  // without To: out, in, or both (the default)
	Set   []string  `json:"set,omitempty"`   // "delay=20ms", as on the command line
	Reset bool      `json:"reset,omitempty"` // back to what the file says
	At    time.Time `json:"at,omitzero"`     // zero: at once
	// Files are what settings refer to, by the names they use.
	Files map[string][]byte `json:"files,omitempty"`
}

// Schedule asks that changes be made one after another: the schedule of a
// topology file, with the same syntax.
type Schedule struct {
	File   string            `json:"file"`
	Source string            `json:"source"` // empty: the schedule that is under way ends
	Files  map[string][]byte `json:"files,omitempty"`
}

// Changed says that a change is in force.
type Changed struct {
	program.Shaped
	Vifaces int `json:"vifaces"` // that it is about
	Pairs   int `json:"pairs"`
	Steps   int `json:"steps,omitempty"` // of a schedule, that are to come
}

// Links lists conditions.
type Links struct {
	Vifaces []LinkRow  `json:"vifaces,omitempty"`
	Pairs   []LinkRow  `json:"pairs,omitempty"`
	More    int        `json:"more,omitempty"`      // rows that are left out
	Step    *time.Time `json:"next_step,omitempty"` // of the schedule
	State   LinkState  `json:"state"`
}

// LinkState sums up the conditions of all links of a platform.
type LinkState struct {
	Vifaces  int                `json:"vifaces"` // that have conditions of their own
	Classes  int                `json:"classes"` // of vifaces, pairs of which have conditions
	Pairs    int                `json:"pairs"`   // that have others than their classes
	Changes  int                `json:"changes"` // made since they were what the file says
	Schedule *ScheduleState     `json:"schedule,omitempty"`
	Holder   string             `json:"holder,omitempty"`
	Overload []program.Overload `json:"overloads,omitempty"`
}

// ScheduleState is how far a schedule has come.
type ScheduleState struct {
	File       string        `json:"file"`
	Began      time.Time     `json:"began"`
	Step       int           `json:"step"` // of the next one, from 0
	Steps      int           `json:"steps"`
	Round      int           `json:"round,omitempty"` // how often it has begun again
	Next       *time.Time    `json:"next,omitempty"`
	Over       bool          `json:"over,omitempty"`
	Made       int           `json:"made"`
	Missed     int           `json:"missed,omitempty"` // made along with the step after it
	Failed     int           `json:"failed,omitempty"`
	LateMedian time.Duration `json:"late_median"` // nanoseconds
	LateMax    time.Duration `json:"late_max"`
}

// LinkRow is the conditions of one or more vifaces, or pairs, that are alike.
type LinkRow struct {
	Nodes   string `json:"nodes"` // nodeset
	To      string `json:"to,omitempty"`
	Network string `json:"network,omitempty"`
	Side    string `json:"side"`  // out, in, pair
	Asked   string `json:"asked"` // "delay=20ms loss=1%"; "none"
	Count   int    `json:"count"` // of vifaces or pairs
}

// FidelityRequest asks how true the links of a platform are.
type FidelityRequest struct {
	Pairs    int           `json:"pairs"`    // probed; 0: 200
	Duration time.Duration `json:"duration"` // nanoseconds; 0: five seconds
	Seed     uint64        `json:"seed"`     // of the choice of pairs
}

// Fidelity is what was asked of links, what is applied, and what was measured.
// Times are microseconds.
type Fidelity struct {
	Pairs      int                 `json:"pairs"`
	Answered   int                 `json:"answered"`
	Seconds    float64             `json:"seconds"`
	Error      Quantiles           `json:"error_us"` // of round trips: measured less asked
	Relative   Quantiles           `json:"error_relative"`
	Rows       []FidelityRow       `json:"rows"` // the worst first
	Loss       []LossRow           `json:"loss,omitempty"`
	Lateness   Quantiles           `json:"lateness_us"` // of frames leaving the holder
	Pnodes     []program.LinkStats `json:"pnodes"`
	Schedule   *ScheduleState      `json:"schedule,omitempty"`
	Problems   []string            `json:"problems,omitempty"` // what was asked and cannot be met, and why
	Overloads  []program.Overload  `json:"overloads,omitempty"`
	WithinGoal bool                `json:"within_goal"` // no overload, and errors within the goal
}

// Quantiles sum up a distribution.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P90 float64 `json:"p90"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// FidelityRow is one pair of vnodes.
type FidelityRow struct {
	From     string  `json:"from"`
	To       string  `json:"to"`
	Asked    float64 `json:"asked_us"`    // round trip
	Applied  float64 `json:"applied_us"`  // what the tables hold, and the way's own cost
	Measured float64 `json:"measured_us"` // median
	Probes   int     `json:"probes"`
	Lost     int     `json:"lost"`
	Jitter   bool    `json:"jitter,omitempty"` // is asked for, so Measured is less certain: Low to High
	Low      float64 `json:"low_us,omitempty"`
	High     float64 `json:"high_us,omitempty"`
	Within   bool    `json:"within_goal"`
}

// LossRow compares a probability of loss with what was counted.
type LossRow struct {
	Asked   float64 `json:"asked"`
	Counted float64 `json:"counted"`
	Packets uint64  `json:"packets"`
	Low     float64 `json:"low"` // 99 % confidence interval of Counted
	High    float64 `json:"high"`
}

// Links lists the conditions of the vifaces of vnodes (of all if nodes is
// empty), or with to those of the pairs from them to others.
func (c *Client) Links(ctx context.Context, platform, nodes, to string) (*Links, error) {
	v := url.Values{"nodes": {nodes}, "to": {to}}
	return get[Links](ctx, c, platformPath(platform)+"/links?"+v.Encode())
}

// ChangeLinks changes conditions, and returns when the change is in force.
// When ctx ends before it is begun, it is not made.
func (c *Client) ChangeLinks(ctx context.Context, platform string, q *LinkChange) (*Changed, error) {
	return call[Changed](ctx, c, http.MethodPatch, platformPath(platform)+"/links", q)
}

// Play begins a schedule, or without a source ends the one under way.
func (c *Client) Play(ctx context.Context, platform string, q *Schedule) (*Changed, error) {
	return call[Changed](ctx, c, http.MethodPost, platformPath(platform)+"/schedule", q)
}

// Fidelity measures how true the links of a platform are. each gets every
// event; the last one has the result.
func (c *Client) Fidelity(ctx context.Context, platform string, q *FidelityRequest, each func(*Event) error) error {
	return c.events(ctx, http.MethodPost, platformPath(platform)+"/fidelity", q, each, func(e *Event) bool { return e.Fidelity != nil })
}

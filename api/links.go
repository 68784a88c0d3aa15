package api

import (
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
	Step    *time.Time `json:"next_step,omitempty"` // of the schedule
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
	Error      Quantiles           `json:"error_us"` // of round trips: measured less asked
	Relative   Quantiles           `json:"error_relative"`
	Rows       []FidelityRow       `json:"rows"` // the worst first
	Loss       []LossRow           `json:"loss,omitempty"`
	Lateness   Quantiles           `json:"lateness_us"` // of frames leaving the holder
	Pnodes     []program.LinkStats `json:"pnodes"`
	Problems   []string            `json:"problems,omitempty"` // what was asked and cannot be met, and why
	Overloads  []program.Overload  `json:"overloads,omitempty"`
	WithinGoal bool                `json:"within_goal"` // no overload, and errors within the goal
}

// Quantiles sum up a distribution.
type Quantiles struct {
	P50, P90, P99, Max float64
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
}

// LossRow compares a probability of loss with what was counted.
type LossRow struct {
	Asked   float64 `json:"asked"`
	Counted float64 `json:"counted"`
	Packets uint64  `json:"packets"`
	Low     float64 `json:"low"` // 99 % confidence interval of Counted
	High    float64 `json:"high"`
}

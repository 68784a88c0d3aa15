package main

import (
	"strings"
	"testing"
	"time"

	"myriad/api"
	"myriad/program"
)

func TestMoment(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 30, 0, 500, time.Local)
	for s, want := range map[string]time.Time{
		"+10s":                 now.Add(10 * time.Second),
		"+1m30s":               now.Add(90 * time.Second),
		"13:00":                time.Date(2026, 3, 1, 13, 0, 0, 0, time.Local),
		"12:30:01.25":          time.Date(2026, 3, 1, 12, 30, 1, 25e7, time.Local),
		"2026-03-02T00:00:00Z": time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC),
	} {
		got, err := moment(s, now)
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", s, got, err, want)
		}
	}
	for s, says := range map[string]string{
		"12:29": "has passed", "10s": "is no time", "": "is no time", "+": "--at +", "+10": "--at +10", "2025-01-01T00:00:00Z": "has passed", "25:00": "is no time",
	} {
		if got, err := moment(s, now); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

func TestScheduleLine(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	next := now.Add(1500 * time.Millisecond)
	for _, tt := range []struct {
		s    api.ScheduleState
		want string
	}{
		{api.ScheduleState{File: "f", Steps: 3, Next: &next}, "f: step 0 of 3, the next at 12:00:01.500 (in 1.5s)"},
		{api.ScheduleState{File: "f", Step: 2, Steps: 3, Round: 4, Next: &next, Made: 14, Missed: 1, Failed: 2, LateMedian: 80 * time.Microsecond, LateMax: time.Millisecond},
			"f: step 2 of 3, round 5, the next at 12:00:01.500 (in 1.5s); late by 80µs (median), 1ms (at most); 1 step came together with the next; 2 steps failed"},
		{api.ScheduleState{File: "f", Step: 3, Steps: 3, Over: true, Made: 3}, "f: step 3 of 3, it is over; late by 0s (median), 0s (at most)"},
	} {
		if got := scheduleLine(&tt.s, now); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}

func TestOverloadLines(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.Local)
	var all []program.Overload
	for i := range 8 {
		from := at.Add(time.Duration(i) * time.Minute)
		all = append(all, program.Overload{From: from, To: from.Add(time.Second), What: "steal", Detail: "much"})
	}
	lines := overloadLines(all)
	if len(lines) != overloadsShown+1 || lines[0] != "overload 12:07:00.0 to 12:07:01.0: steal: much" || lines[overloadsShown] != "… and 3 overloads before" {
		t.Errorf("%q", lines)
	}
	if lines := overloadLines(all[:1]); len(lines) != 1 {
		t.Errorf("%q", lines)
	}
}

// TestPrintFidelity is the table that a person reads.
func TestPrintFidelity(t *testing.T) {
	var out strings.Builder
	a := &app{stdout: &out}
	f := &api.Fidelity{Pairs: 3, Answered: 2, Seconds: 5.02, Error: api.Quantiles{P50: 21, P90: 35, P99: 40, Max: 1200}, Relative: api.Quantiles{P50: 0.001, P90: 0.002, P99: 0.003, Max: 0.06},
		Rows: []api.FidelityRow{
			{From: "a", To: "b", Asked: 20000, Applied: 19990, Measured: 0, Probes: 13, Lost: 13},
			{From: "b", To: "c", Asked: 20000, Applied: 19990, Measured: 21200, Probes: 13, Jitter: true, Within: true},
			{From: "c", To: "d", Measured: 41, Applied: 40, Probes: 13, Lost: 1},
		},
		Loss:     []api.LossRow{{Asked: 0.01, Counted: 0.2, Packets: 39, Low: 0.07, High: 0.4}},
		Lateness: api.Quantiles{P50: 14, P90: 20, P99: 110, Max: 2000},
		Pnodes: []program.LinkStats{{Holder: "wheel", HeldMost: 12, Lost: 2, Calibration: &program.Calibration{RTT: 40e3, Hold: 15e3, End: 30e3},
			Counters: []program.Counter{{Name: "unicast", Packets: 1234}, {Name: "drop_queue"}}}},
		Problems: []string{"something cannot be met"},
	}
	if err := a.printFidelity("x", f); err != nil {
		t.Fatal(err)
	}
	want := `FROM  TO  ASKED  APPLIED  MEASURED  WRONG BY           LOST
a     b   20ms   20ms     -         -                  13/13  no answer
b     c   20ms   20ms     21.2ms    +1200 us (6.00 %)  0/13   ok, as far as jitter tells
c     d   0s     40µs     41µs      -                  1/13   nothing asked

platform x: 2 of 3 pairs answered, in 5.02s
wrong by        21µs (median), 35µs (90 %), 40µs (99 %), 1.2ms (at most)
  of the asked  0.10 % (median), 0.20 % (90 %), 0.30 % (99 %), 6.00 % (at most)
loss            asked 1.00 %, counted 20.0 % of 39 probes (99 %: 7.00 % to 40.0 %): DIFFERS
frames late by  14µs (median), 20µs (90 %), 110µs (99 %), 2ms (at most)
holder          wheel, at most 12 frames held, 2 frames lost for lack of room; the path itself takes 40µs a round trip, 30µs is subtracted of each delay
packets         unicast 1,234
problem: something cannot be met
NOT within the goal
`
	if got := out.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

package api_test

import (
	"encoding/json"
	"testing"
	"time"

	"myriad/api"
	"myriad/program"
)

// TestLinkJSON: programs know these names.
func TestLinkJSON(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	state := api.LinkState{Vifaces: 1, Classes: 2, Pairs: 3, Changes: 4, Holder: "wheel",
		Schedule: &api.ScheduleState{File: "f", Began: at, Step: 1, Steps: 2, Round: 3, Next: &at, Over: true, Made: 4, Missed: 5, Failed: 6, LateMedian: 7, LateMax: 8},
		Overload: []program.Overload{{From: at, To: at, What: "cpu", Detail: "much"}}}
	const stateJSON = `{"vifaces":1,"classes":2,"pairs":3,"changes":4,"schedule":{"file":"f","began":"2026-03-01T12:00:00Z","step":1,"steps":2,"round":3,"next":"2026-03-01T12:00:00Z","over":true,"made":4,"missed":5,"failed":6,"late_median":7,"late_max":8},"holder":"wheel","overloads":[{"from":"2026-03-01T12:00:00Z","to":"2026-03-01T12:00:00Z","what":"cpu","detail":"much"}]}`
	row := api.LinkRow{Nodes: "a", To: "b", Network: "lan", Side: "pair", Asked: "delay=1ms", Count: 1}
	for _, tt := range []struct {
		v    any
		want string
	}{
		{api.LinkChange{Nodes: "a", To: "b", Both: true, Side: "out", Set: []string{"delay=1ms"}, Reset: true, At: at, Files: map[string][]byte{"f": {1}}},
			`{"nodes":"a","to":"b","both":true,"side":"out","set":["delay=1ms"],"reset":true,"at":"2026-03-01T12:00:00Z","files":{"f":"AQ=="}}`},
		{api.LinkChange{}, `{}`},
		{api.Schedule{File: "f", Source: "s"}, `{"file":"f","source":"s"}`},
		{api.Changed{Shaped: program.Shaped{Entries: 1, Took: 2, Lateness: 3}, Vifaces: 4, Pairs: 5, Steps: 6}, `{"entries":1,"took":2,"lateness":3,"vifaces":4,"pairs":5,"steps":6}`},
		{api.Links{Vifaces: []api.LinkRow{row}, Pairs: []api.LinkRow{row}, More: 1, Step: &at, State: state},
			`{"vifaces":[{"nodes":"a","to":"b","network":"lan","side":"pair","asked":"delay=1ms","count":1}],"pairs":[{"nodes":"a","to":"b","network":"lan","side":"pair","asked":"delay=1ms","count":1}],"more":1,"next_step":"2026-03-01T12:00:00Z","state":` + stateJSON + `}`},
		{api.FidelityRequest{Pairs: 1, Duration: 2, Seed: 3}, `{"pairs":1,"duration":2,"seed":3}`},
		{api.Fidelity{Rows: []api.FidelityRow{{From: "a", To: "b", Asked: 1, Applied: 2, Measured: 3, Probes: 4, Lost: 5, Jitter: true, Low: 6, High: 7, Within: true}},
			Loss: []api.LossRow{{Asked: 0.1, Counted: 0.2, Packets: 3, Low: 0.4, High: 0.5}}, Problems: []string{"p"}, WithinGoal: true},
			`{"pairs":0,"answered":0,"seconds":0,"error_us":{"p50":0,"p90":0,"p99":0,"max":0},"error_relative":{"p50":0,"p90":0,"p99":0,"max":0},"rows":[{"from":"a","to":"b","asked_us":1,"applied_us":2,"measured_us":3,"probes":4,"lost":5,"jitter":true,"low_us":6,"high_us":7,"within_goal":true}],"loss":[{"asked":0.1,"counted":0.2,"packets":3,"low":0.4,"high":0.5}],"lateness_us":{"p50":0,"p90":0,"p99":0,"max":0},"pnodes":null,"problems":["p"],"within_goal":true}`},
	} {
		got, err := json.Marshal(tt.v)
		if err != nil || string(got) != tt.want {
			t.Errorf("%T is\n%s, want\n%s (%v)", tt.v, got, tt.want, err)
		}
	}
}

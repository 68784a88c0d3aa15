package coord

import (
	"math"
	"testing"
	"time"

	"myriad/plan"
	"myriad/program"
	"myriad/topo"
)

// TestWays: what is asked of a way is the sum of what its legs ask, there and
// back, also through gateways.
func TestWays(t *testing.T) {
	top, err := topo.ParseWith("x", []byte(`
platform: x
vnetworks: {lan: 10.1.0.0/24, wan: 10.2.0.0/24}
vnodes:
  - {nodes: "a[1-2]", vifaces: [lan], conditions: {out: {delay: 10ms}, in: {delay: 1ms, loss: 10%}}}
  - {nodes: "b[1-2]", vifaces: [lan]}
  - {nodes: gw, gateway: true, vifaces: [lan, wan], conditions: {out: {delay: 2ms}}}
  - {nodes: c, vifaces: [wan], conditions: {out: {delay: 20ms, rate: 72kbit}, in: {jitter: 3ms, distribution: pareto}}}
  - {nodes: d, vifaces: [wan], conditions: {in: {trace: t.trace}}}
  - {nodes: e, vifaces: [wan], conditions: {out: {burst: "10%,30%"}, in: {corrupt: 50%}}}
links:
  - {from: "a*", to: "b*", oneway: true, delay: 100ms}
routing: complete
`), func(string) ([]byte, error) { return []byte("1\n2\n"), nil })
	if err != nil {
		t.Fatal(err)
	}
	p, err := plan.Make(top, []plan.Pnode{{Name: "here"}}, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := newWays(p, p.Links())
	pareto := w.middle(&program.Condition{Jitter: 3 * time.Millisecond, Distribution: 1})
	if pareto >= 0 {
		t.Errorf("half of a pareto distribution is below %v", pareto)
	}
	for _, tt := range []struct {
		from, to      string
		asked         time.Duration
		loss          float64
		jitter, trace bool
	}{
		{"a1", "a2", 22 * time.Millisecond, 1 - 0.9*0.9, false, false},
		{"a1", "b1", 111 * time.Millisecond, 0.1, false, false},
		{"b1", "b2", 0, 0, false, false},
		{"b1", "c", 2*time.Millisecond + 20*time.Millisecond + 10*time.Millisecond + 2*time.Millisecond, 0, true, false},
		{"a1", "c", 10*time.Millisecond + 2*time.Millisecond + 20*time.Millisecond + 10*time.Millisecond + 2*time.Millisecond + time.Millisecond, 0.1, true, false},
		{"d", "e", 0, 1 - 0.5*0.75, false, true},
	} {
		from, _ := p.Find(tt.from)
		to, _ := p.Find(tt.to)
		addr := w.reach.address(from.Vnode, to.Vnode)
		got, ok := w.between(from.Vnode, to.Vnode, addr)
		// Jitter that would make a delay negative makes it 0: c's gets are 0 as a
		// rule.
		if !ok || (got.asked-tt.asked).Abs() > time.Microsecond || math.Abs(got.loss-tt.loss) > 1e-9 || got.jitter != tt.jitter || got.trace != tt.trace {
			t.Errorf("%s to %s: %+v, want %+v", tt.from, tt.to, got, tt)
		}
	}
	if n := len(w.shaped()); n != 8 { // b's are in pairs that have conditions
		t.Errorf("%d vnodes have conditions, want 8", n)
	}
}

// TestApplied: what the path costs is subtracted of what is held, and comes
// back on the way.
func TestApplied(t *testing.T) {
	c := &program.Calibration{RTT: 40 * time.Microsecond, Hold: 15 * time.Microsecond, End: 30 * time.Microsecond}
	one := func(d time.Duration) leg { return leg{[3]program.Condition{{Delay: d}}} }
	for _, tt := range []struct {
		there, back time.Duration
		want        time.Duration
	}{
		{0, 0, c.RTT},
		{10 * time.Millisecond, 10 * time.Millisecond, 20 * time.Millisecond},
		{10 * time.Millisecond, 0, 10*time.Millisecond + c.End/2},
		{time.Microsecond, time.Microsecond, 2*c.Hold + c.End}, // it cannot be met
	} {
		w := way{legs: []leg{one(tt.there), one(tt.back)}}
		if got := w.applied(c); got != tt.want {
			t.Errorf("%v and %v: %v is applied, want %v", tt.there, tt.back, got, tt.want)
		}
	}
}

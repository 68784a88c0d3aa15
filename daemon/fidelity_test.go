package daemon_test

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"myriad/agent"
	"myriad/api"
	"myriad/kernel/mem"
	"myriad/program"
	"myriad/rack"
)

// pingRacks play racks in which every round trip takes 20 ms and a little, and
// one probe in ten of what a vnode l sends is lost.
type pingRacks struct {
	echoRacks
	asked *atomic.Int64 // nanoseconds between probes
}

type pingCall struct {
	agent.Call
	reply *rack.Reply
}

func (p pingRacks) Call(ctx context.Context, platform string, index uint32, q *rack.Request) (agent.Call, error) {
	if q.Probe == nil {
		return p.echoRacks.Call(ctx, platform, index, q)
	}
	p.asked.Store(q.Probe.Every)
	r := &rack.Reply{Done: true}
	sent := 0
	for i, probe := range q.Probe.Probes {
		e := rack.Echo{ID: probe.ID, RTT: int64(20*time.Millisecond) + int64(i%7)*10_000}
		if probe.From[0] == 'l' {
			if sent++; sent%10 == 0 {
				e.RTT = 0
			}
		}
		r.Echoes = append(r.Echoes, e)
	}
	return pingCall{reply: r}, nil
}

func (c pingCall) Recv() (*rack.Reply, error) { return c.reply, nil }
func (c pingCall) Send(*rack.Input) error     { return nil }
func (c pingCall) Close() error               { return nil }

func TestFidelity(t *testing.T) {
	p := mem.New(mem.Options{})
	racks := pingRacks{echoRacks{new(atomic.Int64)}, new(atomic.Int64)}
	m := &machine{t: t, pnode: p, run: t.TempDir(), state: t.TempDir(), racks: racks}
	m.start()
	m.Client = api.NewClient(m.run + "/api.sock")
	m.upSource(`platform: x
vnetworks: {lan: 10.0.0.0/16, wan: 10.1.0.0/16}
vnodes:
  - {nodes: "n[1-20]", vifaces: [lan], conditions: {out: {delay: 10ms}}}
  - {nodes: "l[1-5]", vifaces: [lan], conditions: {out: {delay: 10ms, loss: 10%}}}
  - {nodes: "j[1-5]", vifaces: [lan], conditions: {out: {delay: 10ms, jitter: 1ms}}}
  - {nodes: "w[1-5]", vifaces: [wan], conditions: {out: {delay: 12ms}}}
`, nil)
	measure := func(q *api.FidelityRequest) *api.Fidelity {
		t.Helper()
		var got *api.Fidelity
		must(t, m.Fidelity(t.Context(), "x", q, func(e *api.Event) error {
			if e.Fidelity != nil {
				got = e.Fidelity
			}
			return nil
		}))
		return got
	}
	f := measure(&api.FidelityRequest{Pairs: 100, Duration: 2 * time.Second, Seed: 3})
	if f.Pairs != 100 || f.Answered != 100 || len(f.Rows) != 100 || len(f.Pnodes) != 1 {
		t.Fatalf("%d pairs, %d answered, %d rows, of %d pnodes", f.Pairs, f.Answered, len(f.Rows), len(f.Pnodes))
	}
	lossy, jittery, wrong := 0, 0, 0
	for i, r := range f.Rows {
		asked := 20000.0
		if r.From[0] == 'w' {
			asked, wrong = 24000, wrong+1
			if i > 10 || r.Within {
				t.Errorf("the worst come first, and are told: row %d is %+v", i, r)
			}
		}
		if r.Asked != asked || math.Abs(r.Measured-20030) > 30 || r.Probes != 11 {
			t.Errorf("row %d: %+v", i, r)
		}
		if r.Jitter {
			jittery++
		}
		if r.From[0] == 'l' {
			lossy++
		}
	}
	if lossy == 0 || jittery == 0 || wrong == 0 || f.WithinGoal {
		t.Errorf("%d pairs with loss, %d with jitter, %d that are wrong; within goal: %v", lossy, jittery, wrong, f.WithinGoal)
	}
	for _, l := range f.Loss {
		if l.Packets == 0 || l.Low > l.Counted || l.High < l.Counted {
			t.Errorf("loss: %+v", l)
		}
	}
	// 100 pairs, 11 probes each, in 2 s.
	if every := time.Duration(racks.asked.Load()); (every - 2*time.Second/1100).Abs() > time.Microsecond {
		t.Errorf("a probe every %v", every)
	}
	again := measure(&api.FidelityRequest{Pairs: 100, Duration: 2 * time.Second, Seed: 3})
	for i, r := range f.Rows[:wrong] {
		if a := again.Rows[i]; r.From != a.From || r.To != a.To {
			t.Errorf("the same seed chooses other pairs: %s to %s, %s to %s", r.From, r.To, a.From, a.To)
		}
	}
	for _, q := range []api.FidelityRequest{{Pairs: -1}, {Pairs: 1 << 30}, {Duration: -1}, {Duration: time.Hour}} {
		if err := m.Fidelity(t.Context(), "x", &q, func(*api.Event) error { return nil }); kindOf(err) != program.KindInvalid {
			t.Errorf("%+v: %v", q, err)
		}
	}
}

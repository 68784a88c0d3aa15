package coord

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

// crowd is a machine with very many pnodes, of which all answer at once.
type crowd struct {
	tb      testing.TB
	m       *Machine
	now     time.Time
	pnodes  int
	source  *Source
	plan    *plan.Plan
	applied []Applied
	saves   int
}

func newCrowd(tb testing.TB, pnodes, vnodes int) *crowd {
	text := fmt.Sprintf("platform: x\nvnetworks: {lan: 10.0.0.0/8}\nvnodes: [{nodes: 'n[1-%d]', vifaces: [lan]}]\nplacement: {loss: replace}\n", vnodes)
	top, err := topo.Parse("x", []byte(text))
	if err != nil {
		tb.Fatal(err)
	}
	return &crowd{tb: tb, m: NewMachine("me", "v1"), now: time.Unix(0, 0), pnodes: pnodes,
		source: &Source{File: "x", Text: text, Digest: store.Digest(text, nil), Topology: top, Force: true}}
}

func (c *crowd) hello(i int, seq uint64) bus.Hello {
	h := bus.Hello{From: bus.From{Pnode: fmt.Sprintf("p%d.site.example.org", i), Session: "0123456789abcdef0123456789", Seq: seq}, Protocol: bus.Protocol, Version: "v1",
		Machine: fmt.Sprint(i), Boot: "01234567-89ab-cdef-0123-456789abcdef", CPUs: 2, Address: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})}
	return h
}

// step has the machine take an event, and answers what it wants done.
func (c *crowd) step(e Event) {
	for _, effect := range c.m.Step(c.now, e) {
		switch e := effect.(type) {
		case MakePlan:
			p, err := plan.Make(c.source.Topology, e.Pnodes, planOptions(e, 1))
			if err != nil {
				c.tb.Fatal(err)
			}
			c.plan = p
			s := *c.source
			c.step(Planned{e.Platform, &s, p, nil})
		case SavePlan:
			c.step(Saved{e.Record.Name, nil})
		case Check:
			c.step(Checked{Platform: e.Platform})
		case Save:
			c.saves++
		case Apply:
			number, err := e.Plan.PnodeNumber(e.Pnode)
			if err != nil {
				c.tb.Fatal(err)
			}
			n := e.Plan.VnodesOn(number)
			r := &program.Report{Platform: "x", Pnode: e.Pnode, Racks: []program.RackReport{{State: program.RackUp, Vnodes: n, Wanted: n}}}
			c.applied = append(c.applied, Applied{e.Platform, e.Pnode, e.Call, nil, r, nil})
		}
	}
}

// answer gives the answers of pnodes.
func (c *crowd) answer() {
	all := c.applied
	c.applied = nil
	for _, a := range all {
		c.step(a)
	}
}

// TestCrowd has thousands of pnodes join, bring up a platform, beat, and be
// lost. It looks that nothing is remembered for each of them singly.
func TestCrowd(t *testing.T) {
	const pnodes = 4000
	c := newCrowd(t, pnodes, 40_000)
	c.step(Restored{})
	took := func(what string, f func()) {
		began := time.Now()
		f()
		t.Logf("%s: %v", what, time.Since(began))
	}
	took("hellos", func() {
		for i := range pnodes {
			c.step(Came{Hello: c.hello(i, 1)})
		}
	})
	took("up", func() {
		c.step(UpAsked{1, c.source})
		c.answer()
	})
	if v := c.m.view(c.m.platforms["x"]); v.State != "up" || v.Up != 40_000 {
		t.Fatalf("%s, %d up", v.State, v.Up)
	}
	if c.saves > 3 {
		t.Errorf("%d saves of one up", c.saves)
	}
	beats := func(from int) {
		var all Heard
		for i := from; i < pnodes; i++ {
			h := c.hello(i, uint64(2))
			all = append(all, Beat{From: h.From, At: c.now})
		}
		c.step(all)
	}
	took("beats, 20 a pnode", func() {
		for range 20 {
			c.now = c.now.Add(PulseEvery)
			beats(0)
			c.step(Pulse{})
		}
	})
	took("hellos again", func() {
		for i := range pnodes {
			h := c.hello(i, 100)
			h.Platforms = []program.Report{*c.m.platforms["x"].reports[h.Pnode]}
			c.step(Came{Hello: h})
		}
	})
	took("loss of 40", func() {
		for range 12 {
			c.now = c.now.Add(PulseEvery)
			var all Heard
			for i := 40; i < pnodes; i++ {
				h := c.hello(i, uint64(c.now.UnixMilli()))
				all = append(all, Beat{From: h.From, At: c.now})
			}
			c.step(all)
			c.step(Pulse{})
		}
		for len(c.applied) > 0 {
			c.answer()
		}
	})
	if v := c.m.view(c.m.platforms["x"]); v.State != "up" || v.Up != 40_000 {
		t.Errorf("after some were lost: %s, %d up", v.State, v.Up)
	}
}

// BenchmarkBeats is what a sign of life costs, with thousands of pnodes.
func BenchmarkBeats(b *testing.B) {
	const pnodes = 4000
	c := newCrowd(b, pnodes, pnodes)
	for i := range pnodes {
		c.step(Came{Hello: c.hello(i, 1)})
	}
	all := make(Heard, pnodes)
	for i := range all {
		all[i] = Beat{From: c.hello(i, 0).From}
	}
	b.ReportAllocs()
	b.ResetTimer()
	seq := uint64(1)
	for n := 0; n < b.N; n += pnodes {
		seq++
		for i := range all {
			all[i].Seq, all[i].At = seq, c.now
		}
		c.m.Step(c.now, all)
		c.m.Step(c.now, Pulse{})
	}
}

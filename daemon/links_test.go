package daemon_test

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myriad/api"
	"myriad/kernel/mem"
	"myriad/program"
)

var linkChanges = flag.Int("changes", 3000, "link changes that TestManyChanges makes")

// delays gives what each vnode's interface delays of what it sends, as the
// kernel has it.
func delays(t *testing.T, p *mem.Pnode, platform string) string {
	t.Helper()
	o, err := p.Observe(t.Context(), platform)
	must(t, err)
	names := map[uint32]string{}
	for _, r := range o.Racks {
		for i, v := range r.Vnodes {
			names[r.Vifaces[i].Host] = v.Name
		}
	}
	var out []string
	for _, host := range slices.Sorted(keysOf(names)) {
		if r := o.Links.Of(o.Networks[0].ID, host); r.Out > 0 {
			out = append(out, fmt.Sprintf("%s %v", names[host], o.Links.Condition(r.Out).Delay))
		}
	}
	return strings.Join(out, ", ")
}

func keysOf[K comparable, V any](m map[K]V) func(func(K) bool) {
	return func(yield func(K) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

func (m *machine) set(nodes string, settings ...string) *api.Changed {
	m.t.Helper()
	c, err := m.ChangeLinks(m.t.Context(), "x", &api.LinkChange{Nodes: nodes, Side: "out", Set: settings})
	must(m.t, err)
	return c
}

// upSource brings a platform up from a text, and gives what was said.
func (m *machine) upSource(source string, files map[string][]byte) []string {
	m.t.Helper()
	var said []string
	must(m.t, m.Up(m.t.Context(), &api.UpRequest{File: "x.yaml", Source: source, Files: files}, func(e *api.Event) error {
		if e.Message != "" {
			said = append(said, e.Message)
		}
		return nil
	}))
	return said
}

const linked = `platform: x
vnetworks: {lan: 10.0.0.0/16}
vnodes:
  - {nodes: "n[1-4]", vifaces: [lan], groups: [all]}
  - {nodes: m, vifaces: [lan], conditions: {out: {delay: 7ms}, in: {trace: data/slow.trace}}}
`

var slow = map[string][]byte{"data/slow.trace": []byte("10\n20\n")}

func TestLinks(t *testing.T) {
	p := mem.New(mem.Options{})
	m := newMachine(t, p)
	err := m.Up(t.Context(), &api.UpRequest{File: "x.yaml", Source: linked}, func(*api.Event) error { return nil })
	if kindOf(err) != program.KindInvalid || !strings.Contains(err.Error(), "slow.trace") {
		t.Errorf("without its files: %v", err)
	}
	m.upSource(linked, slow)
	if got := delays(t, p, "x"); got != "m 7ms" {
		t.Errorf("as the file says: %s", got)
	}
	again := slow
	if said := m.upSource(linked, again); len(said) != 0 {
		t.Errorf("up again: %q", said)
	}

	c := m.set("@all", "delay=20ms")
	if c.Vifaces != 4 || c.Entries == 0 || delays(t, p, "x") != "m 7ms, n1 20ms, n2 20ms, n3 20ms, n4 20ms" && delays(t, p, "x") != "n1 20ms, n2 20ms, n3 20ms, n4 20ms, m 7ms" {
		t.Errorf("set: %+v, %s", c, delays(t, p, "x"))
	}
	l, err := m.Links(t.Context(), "x", "", "")
	must(t, err)
	var rows []string
	for _, r := range l.Vifaces {
		rows = append(rows, fmt.Sprintf("%s %d %s %s", r.Nodes, r.Count, r.Side, r.Asked))
	}
	if want := "n[1-4] 4 out delay=20ms"; !slices.Contains(rows, want) || l.State.Changes != 1 || l.State.Holder != "wheel" {
		t.Errorf("show: %q, %+v", rows, l.State)
	}
	var inspected string
	must(t, m.Vnodes(t.Context(), "x", "n2,m", func(v *api.Vnode) error {
		inspected += fmt.Sprintf("%s out %s in %s\n", v.Name, v.Vifaces[0].Out, v.Vifaces[0].In)
		return nil
	}))
	if !strings.Contains(inspected, "n2 out delay=20ms in \n") || !strings.Contains(inspected, "m out delay=7ms in trace=data/slow.trace\n") {
		t.Errorf("listed: %s", inspected)
	}
	v, err := m.Platform(t.Context(), "x")
	must(t, err)
	if v.Links == nil || v.Links.Vifaces != 5 || v.Links.Changes != 1 {
		t.Errorf("status: %+v", v.Links)
	}

	// Pairs, both ways and one way.
	for _, one := range []struct {
		oneway bool
		pairs  int
	}{{false, 2}, {true, 1}} {
		c, err := m.ChangeLinks(t.Context(), "x", &api.LinkChange{Nodes: "n1", To: "n2", Both: !one.oneway, Set: []string{"delay=1ms"}})
		if err != nil || c.Pairs != one.pairs {
			t.Errorf("pairs: %+v, %v", c, err)
		}
	}
	if l, err = m.Links(t.Context(), "x", "n1", "n2"); err != nil || len(l.Pairs) != 1 || l.Pairs[0].Asked != "delay=1ms" {
		t.Errorf("show pairs: %+v, %v", l, err)
	}

	// Back to the file, by a reset and by an up, which says what it drops.
	if _, err := m.ChangeLinks(t.Context(), "x", &api.LinkChange{Reset: true}); err != nil || delays(t, p, "x") != "m 7ms" {
		t.Errorf("reset: %v, %s", err, delays(t, p, "x"))
	}
	m.set("n1", "delay=3ms")
	if said := m.upSource(linked, slow); len(said) != 1 || !strings.Contains(said[0], "drops 1 change") || delays(t, p, "x") != "m 7ms" {
		t.Errorf("up says %q: %s", said, delays(t, p, "x"))
	}
	// Another file that the topology refers to is another topology.
	if other := map[string][]byte{"data/slow.trace": []byte("10\n")}; true {
		m.upSource(linked, other)
		o, _ := p.Observe(t.Context(), "x")
		if len(o.Links.Traces) != 1 || len(o.Links.Traces[0].At) != 1 {
			t.Errorf("with another file: %+v", o.Links.Traces)
		}
	}
	m.down("x")
	if err := m.Up(t.Context(), &api.UpRequest{File: "x.yaml", Source: topology("x", 3)}, func(*api.Event) error { return nil }); err != nil || delays(t, p, "x") != "" {
		t.Errorf("after down and up: %v, %s", err, delays(t, p, "x"))
	}
}

func TestLinkRefusals(t *testing.T) {
	m := newMachine(t, mem.New(mem.Options{}))
	m.mustUp("x", 3)
	for name, tt := range map[string]struct {
		q    api.LinkChange
		kind program.Kind
		says string
	}{
		"nothing":      {api.LinkChange{Nodes: "n1"}, program.KindInvalid, "nothing is set"},
		"nobody":       {api.LinkChange{Set: []string{"delay=1ms"}}, program.KindInvalid, "no vnodes are named"},
		"unknown node": {api.LinkChange{Nodes: "n9", Set: []string{"delay=1ms"}}, program.KindNotFound, "no vnode is called n9"},
		"node set":     {api.LinkChange{Nodes: "n[", Set: []string{"delay=1ms"}}, program.KindInvalid, "parse node set"},
		"several":      {api.LinkChange{Nodes: "n1", Side: "up", Set: []string{"delay=1", "foo=2", "loss=200%"}}, program.KindInvalid, "4 problems"},
		"both":         {api.LinkChange{Nodes: "n1", Reset: true, Set: []string{"delay=1ms"}}, program.KindInvalid, "reset"},
		"side of pair": {api.LinkChange{Nodes: "n1", To: "n2", Side: "out", Set: []string{"delay=1ms"}}, program.KindInvalid, "no side"},
		"access":       {api.LinkChange{Nodes: "n1", To: "n2", Set: []string{"profile=lte"}}, program.KindInvalid, "access link"},
		"itself":       {api.LinkChange{Nodes: "n1", To: "n1", Set: []string{"delay=1ms"}}, program.KindInvalid, "no link to itself"},
		"no file":      {api.LinkChange{Nodes: "n1", Set: []string{"trace=/etc/passwd"}}, program.KindInvalid, "/etc/passwd"},
	} {
		_, err := m.ChangeLinks(t.Context(), "x", &tt.q)
		if kindOf(err) != tt.kind || err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v %v", name, kindOf(err), err)
		}
	}
	if _, err := m.ChangeLinks(t.Context(), "none", &api.LinkChange{Reset: true}); kindOf(err) != program.KindNotFound {
		t.Errorf("of no platform: %v", err)
	}
	if _, err := m.Play(t.Context(), "x", &api.Schedule{}); kindOf(err) != program.KindNotFound {
		t.Errorf("end of no schedule: %v", err)
	}
	if _, err := m.Play(t.Context(), "x", &api.Schedule{File: "s", Source: "schedule: [{at: 1s, nodes: n9, reset: true}]"}); kindOf(err) != program.KindInvalid {
		t.Errorf("a schedule of nobody: %v", err)
	}
}

// TestManyChanges: changes that come faster than they can be put into force
// one by one go together, and everybody is answered when his is in force.
func TestManyChanges(t *testing.T) {
	p := mem.New(mem.Options{})
	m := newMachine(t, p)
	const callers, vnodes = 50, 500
	m.mustUp("x", vnodes)
	began := time.Now()
	var left atomic.Int64
	left.Store(int64(*linkChanges))
	var work sync.WaitGroup
	for c := range callers {
		work.Go(func() {
			node := c * vnodes / callers
			for n := left.Add(-1); n >= 0; n = left.Add(-1) {
				node = node%(vnodes/callers) + c*vnodes/callers + 1
				q := &api.LinkChange{Nodes: fmt.Sprintf("n%d", node), Side: "out", Set: []string{fmt.Sprintf("delay=%dus", n+1)}}
				if _, err := m.ChangeLinks(t.Context(), "x", q); err != nil {
					t.Error(err)
					return
				}
				if n%97 != 0 {
					continue
				}
				// It is in force, unless this caller has set something else since.
				if got := delays(t, p, "x"); !strings.Contains(got+",", fmt.Sprintf("n%d %v,", node, time.Duration(n+1)*time.Microsecond)) {
					t.Errorf("answered, and n%d has not %d us", node, n+1)
				}
			}
		})
	}
	work.Wait()
	took := time.Since(began)
	t.Logf("%d changes in %v: %.0f a minute", *linkChanges, took, float64(*linkChanges)/took.Minutes())
	v, err := m.Platform(t.Context(), "x")
	if err != nil || v.Links.Changes != *linkChanges {
		t.Errorf("%+v, %v", v.Links, err)
	}
	before := delays(t, p, "x")
	m.restart()
	m.awaitLinks("after a restart", func() bool { return delays(t, p, "x") == before })
}

// awaitLinks waits until something is true of links.
func (m *machine) awaitLinks(what string, true func() bool) {
	m.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !true(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			m.t.Fatalf("%s: it never comes true", what)
		}
	}
}

// TestLinksSurvive: a daemon that comes after another knows the conditions in
// force, and tells a pnode that knows others.
func TestLinksSurvive(t *testing.T) {
	p := mem.New(mem.Options{})
	m := newMachine(t, p)
	m.mustUp("x", 3)
	m.set("n2", "delay=5ms", "loss=1%")
	must(t, m.end())
	if _, err := p.Shape(t.Context(), "x", nil, time.Time{}); err != nil { // as if it had ended before that
		t.Fatal(err)
	}
	m.start()
	m.awaitLinks("what was in force is so again", func() bool { return delays(t, p, "x") == "n2 5ms" })
	l, err := m.Links(t.Context(), "x", "n2", "")
	must(t, err)
	if !slices.ContainsFunc(l.Vifaces, func(r api.LinkRow) bool { return r.Asked == "delay=5ms loss=1%" }) {
		t.Errorf("listed: %+v", l.Vifaces)
	}
	m.set("n2", "loss=none")
	p.Kill("x", 0)
	m.expect("x lost 0/3")
	m.mustUp("x", 3) // the file has the last word
	if got := delays(t, p, "x"); got != "" {
		t.Errorf("after up: %s", got)
	}
}

// TestScheduleSurvives: a schedule goes on after a restart where it would be
// by then.
func TestScheduleSurvives(t *testing.T) {
	p := mem.New(mem.Options{})
	m := newMachine(t, p)
	m.mustUp("x", 3)
	began := time.Now()
	c, err := m.Play(t.Context(), "x", &api.Schedule{File: "s.yaml", Source: `
schedule:
  - {at: 100ms, nodes: n1, conditions: {out: {delay: 1ms}}}
  - {at: 500ms, nodes: n1, conditions: {out: {delay: 2ms}}}
  - {at: 600ms, nodes: n2, conditions: {out: {delay: 3ms}}}
  - {at: 2500ms, nodes: n3, conditions: {out: {delay: 4ms}}}
  - {at: 1h, nodes: n3, conditions: {out: {delay: 5ms}}}
`})
	if err != nil || c.Steps != 5 {
		t.Fatalf("play: %+v, %v", c, err)
	}
	m.awaitLinks("the first step", func() bool { return delays(t, p, "x") == "n1 1ms" })
	must(t, m.end())
	time.Sleep(time.Until(began.Add(800 * time.Millisecond)))
	m.start()
	m.awaitLinks("the steps that have passed", func() bool { return delays(t, p, "x") == "n1 2ms, n2 3ms" })
	m.awaitLinks("the next step", func() bool { return delays(t, p, "x") == "n1 2ms, n2 3ms, n3 4ms" })
	if at := time.Since(began); at < 2500*time.Millisecond || at > 3500*time.Millisecond {
		t.Errorf("the step of 2.5 s came at %v", at)
	}
	m.awaitLinks("the state", func() bool {
		l, err := m.Links(t.Context(), "x", "", "")
		return err == nil && l.State.Schedule != nil && l.State.Schedule.Step == 4 && l.Step != nil
	})
	if _, err := m.Play(t.Context(), "x", &api.Schedule{}); err != nil {
		t.Error(err)
	}
	m.restart()
	if l, err := m.Links(t.Context(), "x", "", ""); err != nil || l.State.Schedule != nil || delays(t, p, "x") != "n1 2ms, n2 3ms, n3 4ms" {
		t.Errorf("after it was ended: %+v, %v", l, err)
	}
}

// TestLater: a change at a time to come is made then, or withdrawn.
func TestLater(t *testing.T) {
	p := mem.New(mem.Options{})
	m := newMachine(t, p)
	m.mustUp("x", 3)
	at := time.Now().Add(300 * time.Millisecond)
	c, err := m.ChangeLinks(t.Context(), "x", &api.LinkChange{Nodes: "n1", Side: "out", Set: []string{"delay=1ms"}, At: at})
	if early := time.Until(at); err != nil || early > 0 || delays(t, p, "x") != "n1 1ms" {
		t.Errorf("%v before its time: %+v, %v: %s", early, c, err, delays(t, p, "x"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	go m.ChangeLinks(ctx, "x", &api.LinkChange{Nodes: "n2", Side: "out", Set: []string{"delay=2ms"}, At: time.Now().Add(600 * time.Millisecond)})
	time.Sleep(50 * time.Millisecond)
	begun := time.Now()
	m.set("n3", "delay=3ms") // does not wait for that
	if took := time.Since(begun); took > 400*time.Millisecond {
		t.Errorf("a change took %v while another one waited for its time", took)
	}
	time.Sleep(800 * time.Millisecond)
	if got := delays(t, p, "x"); got != "n1 1ms, n3 3ms" {
		t.Errorf("in the end: %s", got)
	}
}

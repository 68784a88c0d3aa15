package plan

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// naive is what link conditions mean, pair by pair.
type naive struct {
	names   []string
	in      map[string][]string              // the vnetworks of a vnode
	sides   [2]map[[2]string]link.Conditions // out and in, by vnode and vnetwork
	between map[[2]string]link.Conditions    // by vnodes
	file    *naive                           // as the topology has it
	failed  bool
}

func (n *naive) clone() *naive {
	out := *n
	for i := range n.sides {
		out.sides[i] = maps.Clone(n.sides[i])
	}
	out.between = maps.Clone(n.between)
	return &out
}

// meet says whether frames go from a straight to b.
func (n *naive) meet(a, b string) bool {
	return a != b && slices.ContainsFunc(n.in[a], func(x string) bool { return slices.Contains(n.in[b], x) })
}

func (n *naive) each(from, to *nodeset.Set, f func(pair [2]string)) {
	for a := range from.All() {
		for b := range to.All() {
			if n.meet(a, b) {
				f([2]string{a, b})
			}
		}
	}
}

func (n *naive) rule(r *topo.LinkRule) {
	if r.Matrix == nil {
		n.each(r.From, r.To, func(pair [2]string) { n.between[pair] = *r.Conditions })
		return
	}
	n.eachDelay(r.Matrix, func(pair [2]string, d time.Duration) { n.between[pair] = link.Conditions{Delay: d} })
}

func (n *naive) eachDelay(m *topo.Matrix, f func(pair [2]string, d time.Duration)) {
	for i, from := range m.Sets {
		for j, to := range m.Sets {
			if d := m.Delay[i*len(m.Sets)+j]; d >= 0 {
				n.each(from, to, func(pair [2]string) { f(pair, d) })
			}
		}
	}
}

func (n *naive) patch(p *link.Patch, c link.Conditions) link.Conditions {
	out, err := p.Apply(c)
	n.failed = n.failed || err != nil
	return out
}

func (n *naive) change(q *topo.Change) {
	switch {
	case q.Matrix != nil:
		n.eachDelay(q.Matrix, func(pair [2]string, d time.Duration) {
			p := link.PatchOf(link.Conditions{Delay: d}, "delay")
			n.between[pair] = n.patch(&p, n.between[pair])
		})
	case q.Reset && q.Nodes == nil:
		file, failed := n.file, n.failed
		*n = *file.clone()
		n.file, n.failed = file, failed
	case q.Side == topo.SidePair:
		n.each(q.Nodes, q.To, func(pair [2]string) {
			if q.Reset {
				n.between[pair] = n.file.between[pair]
			} else {
				n.between[pair] = n.patch(&q.Patch, n.between[pair])
			}
		})
	default:
		for i, side := range []topo.Side{topo.SideOut, topo.SideIn} {
			for name := range q.Nodes.All() {
				for _, network := range n.in[name] {
					at := [2]string{name, network}
					if q.Side&side == 0 {
						continue
					}
					if q.Reset {
						n.sides[i][at] = n.file.sides[i][at]
					} else {
						n.sides[i][at] = n.patch(&q.Patch, n.sides[i][at])
					}
				}
			}
		}
	}
}

// check compares tables with the model.
func (n *naive) check(t *rapid.T, p *Plan, l *program.Links) {
	if err := l.Validate(); err != nil {
		t.Fatalf("%v\n%s", err, textOf(p, l))
	}
	if !l.Canonical().Equal(l) {
		t.Fatalf("not canonical:\n%s", textOf(p, l))
	}
	for _, a := range n.names {
		for _, b := range n.names {
			way, ok := p.Way(l, a, b)
			if ok != n.meet(a, b) {
				t.Fatalf("a way from %s to %s: %v", a, b, ok)
			}
			if !ok {
				continue
			}
			n.same(t, p, l, "out of "+a, way.Out, n.sides[0][[2]string{a, way.Network}])
			n.same(t, p, l, "into "+b, way.In, n.sides[1][[2]string{b, way.Network}])
			n.same(t, p, l, "from "+a+" to "+b, way.Pair, n.between[[2]string{a, b}])
		}
	}
}

func (n *naive) same(t *rapid.T, p *Plan, l *program.Links, what string, got program.Condition, want link.Conditions) {
	tables := newConditions(nil)
	lowered := tables.lower(&want)
	if l == nil {
		l = &program.Links{}
	}
	if g, w := describe(l, got), describe(&tables.Links, lowered); g != w {
		t.Fatalf("%s it is %s, want %s (%s)\n%s", what, g, w, want, textOf(p, l))
	}
	if g, w := Asked(l, got).String(), want.String(); g != w {
		t.Fatalf("%s %s was asked, it says %s", what, w, g)
	}
}

// describe writes a condition with its tables, and a delay alone as words
// round it.
func describe(l *program.Links, c program.Condition) string {
	text := ""
	if c.Distribution > 0 {
		text += " " + l.Tables[c.Distribution-1].Name
	}
	if c.Trace > 0 {
		text += " " + l.Traces[c.Trace-1].Name
	}
	c.Distribution, c.Trace = 0, 0
	if w, ok := program.WordOfDelay(c.Delay); ok {
		c.Delay = time.Duration(w) * program.DelayUnit
	}
	return c.String() + text
}

func textOf(p *Plan, l *program.Links) string {
	q := p.Program(0)
	q.Links = l
	_, text, _ := strings.Cut(q.String(), "links")
	return text
}

var (
	testTrace = &link.Trace{Name: "./lte.down", Period: 1000, At: []uint32{1, 5, 5, 900}}
	testTable = &link.Distribution{Name: "normal", Values: make([]int32, program.DistributionSize)}
)

// asks are conditions that are asked for.
var asks = []link.Conditions{
	{}, {Delay: 20 * time.Millisecond}, {Delay: 20 * time.Millisecond}, {Delay: 33333 * time.Microsecond}, {Delay: 200 * time.Second},
	{Loss: 0.01}, {Loss: 1}, {Delay: 20 * time.Millisecond, Loss: 0.001, Burst: &link.Burst{ToBad: 0.01, ToGood: 0.2, Loss: 1}},
	{Delay: 5 * time.Millisecond, Jitter: time.Millisecond, Distribution: testTable, Ordered: true, Reorder: 0.05},
	{Rate: 10_000_000, Delay: time.Second}, {Rate: 9600}, {Rate: 1000_000, Queue: link.Queue{Packets: 3}, ECN: true},
	{Trace: testTrace, Duplicate: 0.5}, {Trace: testTrace, Queue: link.Queue{Time: 7 * time.Millisecond}, Corrupt: 1e-6},
}

var patches = func() (out []link.Patch) {
	for _, words := range []string{"delay=10ms", "delay=none", "loss=1%", "loss=none", "rate=2mbit", "rate=none", "jitter=3ms", "jitter=none", "ecn=true", "queue=50ms", "delay=20ms loss=none rate=none jitter=none", "reorder=1%", "burst=1%,10%"} {
		p, err := link.ParsePatch(strings.Fields(words), nil)
		if err != nil {
			panic(err)
		}
		out = append(out, p)
	}
	return append(out, link.PatchOf(link.Conditions{Trace: testTrace}, "trace"))
}()

// world is a topology with a model of it.
type world struct {
	topo  *topo.Topology
	model *naive
}

// worlds draws topologies of up to three networks, with gateways that are in
// several, and rules.
func worlds() *rapid.Generator[*world] {
	return rapid.Custom(func(t *rapid.T) *world {
		w := &world{topo: &topo.Topology{Name: "world", Seed: 7}, model: &naive{in: map[string][]string{}, between: map[[2]string]link.Conditions{}}}
		w.model.sides = [2]map[[2]string]link.Conditions{{}, {}}
		networks := rapid.IntRange(1, 3).Draw(t, "networks")
		for i := range networks {
			w.topo.Networks = append(w.topo.Networks, topo.Network{Name: fmt.Sprintf("net%d", i), MTU: 1500,
				Subnet: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i), 0}), 24)})
		}
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9", "n10", "n11", "n01", "n02", "n010", "r1x1", "r1x2", "r2x1", "r2x2", "x"}), 1, 14, rapid.ID).Draw(t, "names")
		for i, name := range names {
			in := rapid.SliceOfNDistinct(rapid.IntRange(0, networks-1), 0, networks, rapid.ID).Draw(t, "in")
			template := topo.Template{Nodes: nodeset.Of(name)}
			for j, k := range in {
				f := topo.Viface{Name: fmt.Sprintf("eth%d", j), Network: k}
				network := w.topo.Networks[k].Name
				w.model.in[name] = append(w.model.in[name], network)
				for side, to := range []**link.Conditions{&f.Out, &f.In} {
					if c := rapid.SampledFrom(asks).Draw(t, "side"); !c.Zero() {
						*to = &c
						w.model.sides[side][[2]string{name, network}] = c
					}
				}
				if rapid.IntRange(0, 4).Draw(t, "fixed") == 0 {
					f.Address = netip.AddrFrom4([4]byte{10, 0, byte(k), byte(200 - i)})
				}
				template.Vifaces = append(template.Vifaces, f)
			}
			w.topo.Vnodes = append(w.topo.Vnodes, template)
		}
		w.model.names = names
		for range rapid.IntRange(0, 8).Draw(t, "rules") {
			r := topo.LinkRule{}
			if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
				r.Matrix = drawMatrix(t, names)
			} else {
				r.From, r.To = drawSet(t, names), drawSet(t, names)
				c := rapid.SampledFrom(asks).Draw(t, "asked")
				r.Conditions = &c
			}
			w.topo.Links = append(w.topo.Links, r)
			w.model.rule(&r)
		}
		w.model.file = w.model.clone()
		return w
	})
}

func drawSet(t *rapid.T, names []string) *nodeset.Set {
	switch rapid.IntRange(0, 4).Draw(t, "set") {
	case 0:
		return nodeset.Of(names...)
	case 1:
		return nodeset.Of(rapid.SampledFrom(names).Draw(t, "name"))
	}
	return nodeset.Of(rapid.SliceOfNDistinct(rapid.SampledFrom(names), 1, len(names), rapid.ID).Draw(t, "names")...)
}

func drawMatrix(t *rapid.T, names []string) *topo.Matrix {
	m := &topo.Matrix{}
	rest := rapid.Permutation(names).Draw(t, "order")
	for range rapid.IntRange(1, 4).Draw(t, "sets") {
		n := rapid.IntRange(0, min(3, len(rest))).Draw(t, "size")
		m.Sets, rest = append(m.Sets, nodeset.Of(rest[:n]...)), rest[n:]
	}
	for range len(m.Sets) * len(m.Sets) {
		m.Delay = append(m.Delay, time.Duration(rapid.SampledFrom([]int{-1, 0, 20, 20, 33, 200_000}).Draw(t, "delay"))*time.Millisecond)
	}
	return m
}

func drawChange(t *rapid.T, names []string) topo.Change {
	q := topo.Change{Nodes: drawSet(t, names), Reset: rapid.IntRange(0, 3).Draw(t, "reset") == 0}
	switch rapid.IntRange(0, 9).Draw(t, "change") {
	case 0:
		return topo.Change{Reset: true}
	case 1:
		return topo.Change{Matrix: drawMatrix(t, names)}
	case 2, 3, 4:
		q.Side = rapid.SampledFrom([]topo.Side{topo.SideOut, topo.SideIn, topo.SideOut | topo.SideIn}).Draw(t, "side")
	default:
		q.Side, q.To = topo.SidePair, drawSet(t, names)
	}
	if !q.Reset {
		q.Patch = rapid.SampledFrom(patches).Draw(t, "patch")
	}
	return q
}

// coarse makes rules cut classes that would else become exceptions.
func coarse(t *rapid.T) func() {
	was := exceptionsOf
	exceptionsOf = rapid.SampledFrom([]int{0, 2, 64}).Draw(t, "exceptions")
	return func() { exceptionsOf = was }
}

// Tables say of every pair what the rules say, whatever is drawn; and after
// changes, what those say.
func TestLinksMeanWhatRulesSay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		defer coarse(t)()
		w := worlds().Draw(t, "world")
		p, err := Make(w.topo, named("p1", "p2"), Options{})
		if err != nil {
			t.Fatal(err)
		}
		w.model.check(t, p, p.Links())
		l := p.Links()
		for range rapid.IntRange(0, 8).Draw(t, "steps") {
			changes := []topo.Change{drawChange(t, w.model.names)}
			if rapid.Bool().Draw(t, "two") {
				changes = append(changes, drawChange(t, w.model.names))
			}
			before, after := program.EncodeLinks(l), w.model.clone()
			for i := range changes {
				after.change(&changes[i])
			}
			next, _, _, err := p.Change(l, changes)
			if (err != nil) != after.failed {
				t.Fatalf("%+v: error %v, want one: %v\n%s", changes, err, after.failed, textOf(p, l))
			}
			if !bytes.Equal(program.EncodeLinks(l), before) {
				t.Fatal("the tables of before are changed")
			}
			if err != nil {
				continue
			}
			after.check(t, p, next)
			l, w.model = next, after
		}
	})
}

func TestFindBehind(t *testing.T) {
	n := namesOf(mustParse("a[1-9],b,n[1-20],n[01-20]x,z"))
	for i := range n.len() {
		for near := range n.len() + 1 {
			if got, ok := n.findBehind(n.at(i), near); !ok || got != i {
				t.Fatalf("%s, sought from row %d, is in row %d (%v), want %d", n.at(i), near, got, ok, i)
			}
			for _, name := range []string{"", "a10", "n0", "n21", "zz", "n005"} {
				want, _ := n.find(name)
				if got, ok := n.findBehind(name, near); ok || got != want {
					t.Fatalf("%s, sought from row %d, would be in row %d (%v), want %d", name, near, got, ok, want)
				}
			}
		}
	}
}

package coord

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

// TestRandomLives has machines live through random requests, in a world of
// several pnodes that answer in any order and may fail, fall silent, be cut
// off, and start anew; in which what agents say comes late, twice or not at
// all; and in which the coordinator dies and is started again. Whatever
// happens, every asker hears of the end of its request once, and a platform is
// worked on by one request at a time. When all is quiet, no vnode is on two
// pnodes, no pnode has what nobody wants, and an up of what was asked for last
// has all be as planned.
func TestRandomLives(t *testing.T) {
	sources := map[string]*Source{}
	for _, name := range []string{"x", "y"} {
		for n := range 3 {
			for _, loss := range []string{"fail", "continue", "replace"} {
				text := fmt.Sprintf("platform: %s\nvnetworks: {lan: 10.0.0.0/16}\nvnodes: [{nodes: 'n[1-%d]', vifaces: [lan]}]\nplacement: {loss: %s}\n", name, 2*n+1, loss)
				top, err := topo.Parse(name, []byte(text))
				if err != nil {
					t.Fatal(err)
				}
				sources[fmt.Sprint(name, n, loss)] = &Source{File: name, Text: text, Digest: store.Digest(text, nil), Topology: top}
			}
		}
	}
	for seed := range uint64(*lives) {
		newWorld(t, seed, sources).live()
		if t.Failed() {
			return
		}
	}
}

var lives = flag.Int("lives", 400, "how many random lives are lived")

// world is what a machine lives in: pnodes, a store, some askers.
type world struct {
	t       *testing.T
	seed    uint64
	r       *rand.Rand
	m       *Machine
	now     time.Duration
	pulsed  time.Duration
	epoch   uint64
	sources map[string]*Source
	fails   bool // agents, now and then
	parts   bool // pnodes are lost, and the coordinator dies
	quiet   bool // nothing more goes wrong

	pending []Effect        // that are not answered yet
	over    map[uint64]bool // calls that ended with their pnode
	writes  []Effect        // that are not written yet, in order
	pnodes  map[string]*worldPnode
	askers  Asker
	ended   map[Asker]int
	gone    map[Asker]bool
	stored  map[string]*store.Platform
	source  map[string]*Source
	kept    map[string]*LinksRecord // conditions of links as remembered
	known   SavePnodes
	last    map[string]*Source // what was asked for last; nil: down
	log     []string
}

// worldPnode is a pnode of a world, and its agent.
type worldPnode struct {
	name    string
	boot    int
	session int
	seq     uint64
	runs    bool   // the agent
	cut     bool   // from the coordinator
	given   bool   // up, once
	joined  uint64 // epoch
	led     uint64 // epoch that it has heard of
	asked   time.Duration
	mail    []Event // that is on its way
	kernel  map[string]*worldPlatform
	serials map[string]bus.Order
}

// worldPlatform is what a pnode has of a platform.
type worldPlatform struct {
	plan   *plan.Plan
	vnodes []string
	wanted int
	links  *program.Links
}

func newWorld(t *testing.T, seed uint64, sources map[string]*Source) *world {
	w := &world{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 0)), sources: sources, fails: seed%2 == 1, parts: seed%4 >= 2,
		pnodes: map[string]*worldPnode{}, ended: map[Asker]int{}, gone: map[Asker]bool{}, stored: map[string]*store.Platform{}, source: map[string]*Source{},
		kept: map[string]*LinksRecord{}, last: map[string]*Source{}}
	for i := range 1 + w.r.IntN(4) {
		name := string(rune('a' + i))
		w.pnodes[name] = &worldPnode{name: name, runs: true, session: 1, kernel: map[string]*worldPlatform{}, serials: map[string]bus.Order{}}
	}
	w.begin()
	return w
}

func (w *world) errorf(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf("seed %d, at %v: %s\n%s", w.seed, w.now, fmt.Sprintf(format, args...), strings.Join(w.log[max(0, len(w.log)-120):], "\n"))
}

// begin starts a coordinator, which knows what is stored.
func (w *world) begin() {
	w.epoch++
	w.over = map[uint64]bool{}
	w.m = NewMachine("me", "v1")
	e := Restored{Links: map[string]*LinksRecord{}, Pnodes: w.known.Pnodes, Epoch: w.epoch}
	for _, name := range names(w.stored) {
		p := *w.stored[name]
		e.Platforms = append(e.Platforms, p)
	}
	maps.Copy(e.Links, w.kept)
	w.pulsed = w.now
	w.step(e)
}

// die ends the coordinator without a word. Of what was to be written, the
// first may have been; of what pnodes were asked, anything.
func (w *world) die() {
	for range w.r.IntN(len(w.writes) + 1) {
		w.write()
	}
	for _, e := range w.pending {
		switch n := w.pnodes[pnodeOf(e)]; {
		case n == nil || !n.runs || n.cut:
		case w.r.IntN(2) == 0:
			w.carryOut(n, e, w.r.IntN(2) == 0)
		}
	}
	w.pending, w.writes = nil, nil
	for a := Asker(1); a <= w.askers; a++ {
		w.gone[a] = true
	}
	w.logf("the coordinator dies")
	w.begin()
}

func (w *world) live() {
	for _, n := range w.sorted() { // all are there when the story begins
		w.hello(n)
		w.deliver(n, 0)
	}
	for range 150 {
		w.happen()
		w.pass(time.Duration(w.r.IntN(200)) * time.Millisecond)
	}
	w.calm()
	w.judge()
	if w.t.Failed() {
		return
	}
	for _, n := range w.sorted() {
		w.askers++
		w.step(DrainAsked{w.askers, n.name, true})
	}
	w.rest()
	for _, name := range names(w.stored) {
		w.askers++
		w.last[name] = w.source[name]
		w.step(UpAsked{w.askers, w.source[name]})
		w.rest()
	}
	w.quiet = true
	w.judge()
	w.judgePlans()
}

func (w *world) sorted() (out []*worldPnode) {
	for _, name := range names(w.pnodes) {
		out = append(out, w.pnodes[name])
	}
	return out
}

func (w *world) any() *worldPnode {
	all := w.sorted()
	return all[w.r.IntN(len(all))]
}

// happen has one thing happen.
func (w *world) happen() {
	n := w.any()
	switch k := w.r.IntN(24); {
	case k < 3:
		w.ask()
	case k < 5:
		w.askLinks()
	case k == 5:
		w.step(Woken{})
	case k == 6 && w.askers > 0 && w.fails:
		a := Asker(w.r.IntN(int(w.askers))) + 1
		w.gone[a] = true
		w.step(Gone{a})
	case k == 7:
		w.step(Tick{})
	case k == 8 && w.parts:
		w.breaks(n)
	case k == 9 && w.parts:
		w.mends(n)
	case k == 10 && w.parts && w.r.IntN(4) == 0:
		w.die()
	case k == 11 && w.parts:
		w.askers++
		if w.r.IntN(3) == 0 {
			n.given = true
			w.step(ForgetAsked{w.askers, n.name})
		} else {
			w.step(DrainAsked{w.askers, n.name, w.r.IntN(3) > 0})
		}
	case k == 12 && w.parts:
		w.pass(3 * time.Second) // long enough to be lost
	case k < 16 && len(n.mail) > 0:
		w.deliver(n, w.r.IntN(len(n.mail)))
	default:
		w.answer()
	}
}

// breaks has something go wrong with a pnode.
func (w *world) breaks(n *worldPnode) {
	switch w.r.IntN(5) {
	case 0, 1:
		w.logf("%s is cut off", n.name)
		n.cut = true
	case 2:
		w.logf("the agent of %s is killed", n.name)
		n.runs = false
	case 3:
		if n.runs && n.joined == w.epoch {
			w.logf("the agent of %s ends", n.name)
			w.say(n, func(f bus.From) Event { return Went{f} })
		}
		n.runs = false
	case 4:
		w.logf("machine %s is started anew", n.name)
		clear(n.kernel)
		n.boot++
		w.start(n)
	}
}

// mends has a pnode be as it should.
func (w *world) mends(n *worldPnode) {
	n.cut = false
	if !n.runs {
		w.start(n)
	}
}

func (w *world) start(n *worldPnode) {
	n.runs = true
	n.session++
	n.seq, n.joined = 0, 0
	clear(n.serials)
}

// say has an agent say something. Where it cannot be heard, it is lost, or
// comes very late.
func (w *world) say(n *worldPnode, what func(bus.From) Event) {
	n.seq++
	e := what(bus.From{Pnode: n.name, Session: fmt.Sprint(n.name, n.session), Seq: n.seq})
	if !n.cut || w.r.IntN(2) == 0 {
		n.mail = append(n.mail, e)
	}
}

func (n *worldPnode) said() *bus.From {
	return &bus.From{Pnode: n.name, Session: fmt.Sprint(n.name, n.session), Seq: n.seq}
}

func (w *world) hello(n *worldPnode) {
	n.asked = w.now
	w.say(n, func(f bus.From) Event {
		h := bus.Hello{From: f, Protocol: bus.Protocol, Version: "v1", Machine: n.name, Boot: fmt.Sprint(n.boot), Epoch: n.led,
			Address: netip.AddrFrom4([4]byte{192, 0, 2, n.name[0]})}
		for _, name := range names(n.kernel) {
			h.Platforms = append(h.Platforms, *n.report(name))
		}
		return Came{Hello: h, Ticket: w.epoch<<32 | uint64(n.name[0])<<24 | n.seq}
	})
}

func (n *worldPnode) report(platform string) *program.Report {
	r := &program.Report{Platform: platform, Pnode: n.name}
	if p := n.kernel[platform]; p != nil && p.wanted > 0 {
		k := program.RackReport{State: program.RackUp, Vnodes: len(p.vnodes), Wanted: p.wanted}
		if k.Vnodes < k.Wanted {
			k.State = program.RackPartial
		}
		r.Racks = append(r.Racks, k)
	}
	return r
}

// deliver has the coordinator hear something that an agent has said, now or
// long ago; it may hear it again.
func (w *world) deliver(n *worldPnode, i int) {
	e := n.mail[i]
	if n.cut || !w.quiet && w.r.IntN(8) == 0 && w.parts {
		if len(n.mail) > 20 {
			n.mail = n.mail[1:]
		}
		if n.cut {
			return
		}
	} else {
		n.mail = slices.Delete(n.mail, i, i+1)
	}
	w.step(e)
}

// pass has time go by, in which agents say that they live.
func (w *world) pass(d time.Duration) {
	for end := w.now + d; ; {
		next := w.pulsed + PulseEvery
		if next > end {
			w.now = end
			return
		}
		w.now, w.pulsed = max(w.now, next), next
		var beats Heard
		for _, n := range w.sorted() {
			switch {
			case !n.runs || n.cut:
				continue
			case n.joined == w.epoch:
				n.seq++
				beats = append(beats, Beat{From: bus.From{Pnode: n.name, Session: fmt.Sprint(n.name, n.session), Seq: n.seq}, At: w.clock()})
			case w.now-n.asked > time.Second:
				w.hello(n)
			}
			n.led = w.epoch
		}
		w.step(beats)
		w.step(Pulse{})
		if w.quiet {
			w.deliverAll()
		}
	}
}

func (w *world) deliverAll() {
	for _, n := range w.sorted() {
		for len(n.mail) > 0 {
			w.deliver(n, 0)
		}
	}
}

// calm mends everything, and lets all come to its end.
func (w *world) calm() {
	w.quiet = true
	for _, n := range w.sorted() {
		w.mends(n)
	}
	w.pass(20 * time.Second)
	w.rest()
	for _, n := range w.sorted() { // who is drained stays so
		if k := w.m.pnodes[n.name]; k == nil || k.state != pnodeUp {
			w.errorf("pnode %s is there, and is not known to be", n.name)
		}
	}
}

// rest lets what is under way come to its end.
func (w *world) rest() {
	for {
		wake := w.m.Wake()
		switch {
		case len(w.pending)+len(w.writes) > 0:
			w.answer()
		case !wake.IsZero():
			w.pass(max(wake.Sub(w.clock()), time.Millisecond))
			w.step(Woken{})
		case w.m.Busy():
			w.pass(time.Second)
			if len(w.pending)+len(w.writes) == 0 && w.m.Busy() {
				w.pass(10 * time.Second)
				if len(w.pending)+len(w.writes) == 0 && w.m.Busy() {
					w.errorf("the machine is busy, and nothing is asked for")
					return
				}
			}
		default:
			return
		}
	}
}

// ask makes a request.
func (w *world) ask() {
	w.askers++
	name := string("xy"[w.r.IntN(2)])
	if w.r.IntN(3) == 0 {
		if w.m.platforms[name] != nil {
			w.last[name] = nil
		}
		w.step(DownAsked{w.askers, name})
		return
	}
	loss := []string{"fail", "continue", "replace"}[w.r.IntN(3)]
	s := *w.sources[fmt.Sprint(name, w.r.IntN(3), loss)]
	w.step(UpAsked{w.askers, &s})
}

// askLinks asks for other conditions of links, now or later.
func (w *world) askLinks() {
	w.askers++
	name := string("xy"[w.r.IntN(2)])
	s := &story{t: w.t}
	if w.r.IntN(4) == 0 {
		w.step(PlayAsked{w.askers, name, s.schedule([]string{"1=1ms", "3=2ms", fmt.Sprint(3+w.r.IntN(4), "=3ms")})})
		return
	}
	e := LinksAsked{Asker: w.askers, Platform: name, Changes: []topo.Change{s.change("n1", fmt.Sprintf("delay=%dms", w.askers))}}
	if w.r.IntN(3) == 0 {
		e.At = w.clock().Add(time.Duration(w.r.IntN(3000)) * time.Millisecond)
	}
	w.step(e)
}

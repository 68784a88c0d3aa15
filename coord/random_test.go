package coord

import (
	"errors"
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

// judge looks at the world when nothing is under way any more.
func (w *world) judge() {
	for a := Asker(1); a <= w.askers; a++ {
		if n := w.ended[a]; n > 1 || n == 0 && !w.gone[a] {
			w.errorf("asker %d heard of %d ends", a, n)
		}
	}
	for name, p := range w.m.platforms {
		if len(p.queue) > 0 {
			w.errorf("%s has %d requests that wait", name, len(p.queue))
		}
		if (p.record == nil) != (w.stored[name] == nil) {
			w.errorf("%s is remembered: %v; as stored: %v", name, p.record != nil, w.stored[name] != nil)
		}
	}
	at := map[string]string{} // vnodes
	for _, n := range w.sorted() {
		for name, k := range n.kernel {
			p := w.m.platforms[name]
			if p != nil && p.plan == nil && (n.given || w.fails) {
				continue // it was given up with what it carries, or that could not be removed
			}
			if p == nil || p.plan == nil {
				w.errorf("%s carries %s, which nobody knows", n.name, name)
				continue
			}
			want := vnodesAt(p.plan, n.name)
			for _, v := range k.vnodes {
				if !slices.Contains(want, v) && !w.fails {
					w.errorf("%s of %s is on %s, and the plan has it elsewhere", v, name, n.name)
				}
				if other := at[name+" "+v]; other != "" && !w.fails {
					w.errorf("%s of %s is on %s and on %s", v, name, other, n.name)
				}
				at[name+" "+v] = n.name
			}
		}
	}
}

// judgePlans looks whether all is as planned, after an up of each platform.
func (w *world) judgePlans() {
	if w.fails {
		return
	}
	for name, p := range w.m.platforms {
		if p.plan == nil || w.last[name] == nil {
			continue
		}
		if p.record.Digest != w.last[name].Digest {
			w.errorf("%s is not what was asked for last", name)
		}
		for _, n := range w.sorted() {
			want, has := vnodesAt(p.plan, n.name), n.kernel[name]
			if len(want) == 0 {
				if has != nil && len(has.vnodes) > 0 {
					w.errorf("%s has %v of %s, and should have none", n.name, has.vnodes, name)
				}
				continue
			}
			if has == nil || !slices.Equal(has.vnodes, want) || has.plan != p.plan {
				w.errorf("%s has %+v of %s, want %v", n.name, has, name, want)
				continue
			}
			if force := p.links.state.force; has.links != force || p.links.state.touched && force != w.kept[name].Force {
				w.errorf("links of %s at %s: %s in the kernel, want %s", name, n.name, conditions(has.links), conditions(force))
			}
		}
	}
}

func vnodesAt(p *plan.Plan, pnode string) (out []string) {
	number, err := p.PnodeNumber(pnode)
	if err != nil {
		return nil
	}
	for _, k := range p.Own(number).Racks {
		for _, v := range k.Vnodes {
			out = append(out, v.Name)
		}
	}
	slices.Sort(out)
	return out
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

// answer answers something that was asked for, or writes something.
func (w *world) answer() {
	if len(w.writes) > 0 && (len(w.pending) == 0 || w.r.IntN(2) == 0) {
		w.write()
		return
	}
	if len(w.pending) == 0 {
		return
	}
	i := w.r.IntN(len(w.pending))
	e := w.pending[i]
	w.pending = slices.Delete(w.pending, i, i+1)
	switch e := e.(type) {
	case MakePlan:
		w.makePlan(e)
	case MakeLinks:
		w.step(makeLinks(e))
	case Check:
		w.step(Checked{Platform: e.Platform})
	default:
		w.answerPnode(e)
	}
}

func (w *world) makePlan(e MakePlan) {
	source := e.Source
	if source == nil {
		s := *w.source[e.Platform]
		source = &s
	}
	err := w.maybe()
	p, failed := plan.Make(source.Topology, e.Pnodes, planOptions(e, 1))
	w.step(Planned{e.Platform, source, p, errors.Join(err, failed)})
}

// maybe is an error now and then.
func (w *world) maybe() error {
	if w.fails && !w.quiet && w.r.IntN(4) == 0 {
		return errors.New("it fails")
	}
	return nil
}

var broken = &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "stream", Cause: "the other side has gone"}

// answerPnode has a pnode do what it was asked, if it can, and say so, if that
// is heard.
func (w *world) answerPnode(e Effect) {
	n := w.pnodes[pnodeOf(e)]
	var answer Event
	if n.cut || !n.runs || n.joined != w.epoch {
		if n.runs && w.r.IntN(8) == 0 { // it had begun before it was cut off
			w.carryOut(n, e, w.r.IntN(2) == 0)
		}
		answer = w.failed(e, broken)
	} else {
		answer = w.carryOut(n, e, w.maybe() == nil)
	}
	w.step(answer)
}

func (w *world) failed(e Effect, err error) Event {
	switch e := e.(type) {
	case Apply:
		return Applied{e.Platform, e.Pnode, e.Call, nil, nil, err}
	case Remove:
		return Removed{e.Platform, e.Pnode, e.Call, nil, nil, err}
	case Shape:
		return LinksShaped{Platform: e.Platform, Pnode: e.Pnode, Call: e.Call, Err: err}
	}
	panic(fmt.Sprintf("%T", e))
}

// carryOut changes a pnode, wholly or in part, and gives its answer.
func (w *world) carryOut(n *worldPnode, e Effect, wholly bool) Event {
	platform, call := platformOf(e), callOf(e)
	if last := n.serials[platform]; last.Epoch == w.epoch && call < last.Serial {
		return w.failed(e, &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "do it", Cause: "it was overtaken"})
	}
	n.serials[platform] = bus.Order{Epoch: w.epoch, Serial: call}
	var err error
	if !wholly {
		err = errors.New("it fails")
	}
	have := n.kernel[platform]
	switch e := e.(type) {
	case Apply:
		want := vnodesAt(e.Plan, n.name)
		k := &worldPlatform{plan: e.Plan, vnodes: want, wanted: len(want), links: e.Links}
		if err != nil {
			k.vnodes = want[:w.r.IntN(len(want)+1)]
		}
		n.kernel[platform] = k
		return Applied{platform, n.name, e.Call, n.said(), n.report(platform), err}
	case Remove:
		var left *program.Report
		if err == nil {
			delete(n.kernel, platform)
		} else {
			left = n.report(platform)
		}
		return Removed{platform, n.name, e.Call, n.said(), left, err}
	case Shape:
		if have == nil {
			err = errors.New("it is not here")
		}
		if w.stopped(platform) && w.r.IntN(3) > 0 {
			err = errors.New("cancelled")
		}
		if err == nil {
			have.links = e.Links
		}
		return LinksShaped{Platform: platform, Pnode: n.name, Call: e.Call, Err: err}
	}
	panic(fmt.Sprintf("%T", e))
}

// write writes what is next to be written.
func (w *world) write() {
	e := w.writes[0]
	w.writes = w.writes[1:]
	err := w.maybe()
	switch e := e.(type) {
	case SavePlan:
		if err == nil {
			w.stored[e.Record.Name] = &store.Platform{Record: e.Record, Plan: e.Plan}
			s := *w.sources[w.find(e.Record.Digest)]
			w.source[e.Record.Name], w.last[e.Record.Name] = &s, &s
			delete(w.kept, e.Record.Name)
		}
		w.step(Saved{e.Record.Name, err})
	case Save:
		w.stored[e.Record.Name] = &store.Platform{Record: e.Record, Plan: w.stored[e.Record.Name].Plan}
	case Forget:
		delete(w.stored, e.Platform)
		delete(w.kept, e.Platform)
		w.last[e.Platform] = nil
	case SavePnodes:
		if e.Asker == 0 || err == nil {
			w.known = e
		}
		if e.Asker != 0 {
			w.step(PnodesSaved{e.Asker, err})
		}
	case SaveLinks:
		w.kept[e.Platform] = &e.Record
		if e.Answer {
			w.step(LinksSaved{e.Platform, err})
		}
	case ForgetLinks:
		delete(w.kept, e.Platform)
	}
}

func (w *world) find(digest string) string {
	for key, s := range w.sources {
		if s.Digest == digest {
			return key
		}
	}
	panic("no such source")
}

func (w *world) clock() time.Time { return time.Unix(1000, 0).Add(w.now) }

func (w *world) logf(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf("%6dms ", w.now.Milliseconds())+fmt.Sprintf(format, args...))
}

// stopped tells whether a Shape is not wanted any more.
func (w *world) stopped(platform string) bool {
	p := w.m.platforms[platform]
	return p != nil && p.links.batch != nil && p.links.batch.stopped
}

// step has the machine take an event, and keeps what must be answered.
func (w *world) step(e Event) {
	switch e := e.(type) {
	case Heard, Pulse, Tick, Woken:
	case Came:
		w.logf("> came %s %s.%d %v", e.Hello.Pnode, e.Hello.Session, e.Hello.Seq, e.Hello.Platforms)
	default:
		w.logf("> %T %s", e, clip(fmt.Sprintf("%+v", e)))
	}
	for _, effect := range w.m.Step(w.clock(), e) {
		w.effect(effect)
	}
}

func (w *world) effect(effect Effect) {
	switch e := effect.(type) {
	case SavePlan, Save, Forget, SaveLinks, ForgetLinks, SavePnodes:
		w.logf("%T %s", e, platformOf(e))
		w.writes = append(w.writes, e)
	case MakePlan, Apply, Remove, MakeLinks, Shape, Check:
		w.logf("%T %s %s %d", e, platformOf(e), pnodeOf(e), callOf(e))
		w.mayBegin(e)
		w.pending = append(w.pending, e)
	case Stop:
		w.mustBePending(e.Call)
	case StopShape:
		w.mustBePending(e.Call)
	case Lose: // calls end, and nobody waits for their answers; what was asked may come to pass
		w.logf("lose %s", e.Pnode)
		for i, x := range w.pending {
			if pnodeOf(x) == e.Pnode {
				if n := w.pnodes[e.Pnode]; n.runs && w.r.IntN(2) == 0 {
					w.carryOut(n, x, w.r.IntN(2) == 0)
				}
				w.pending[i] = nil
				w.over[callOf(x)] = true
			}
		}
		w.pending = slices.DeleteFunc(w.pending, func(x Effect) bool { return x == nil })
	case Hail:
		if n := w.pnodes[e.Pnode]; n.runs && !n.cut {
			w.logf("hail %s", n.name)
			n.led = w.epoch
			w.hello(n)
		}
	case Greet:
		for _, n := range w.pnodes {
			if e.Ticket == w.epoch<<32|uint64(n.name[0])<<24|e.Ticket&0xffffff && n.name[0] == byte(e.Ticket>>24) && n.runs && !n.cut && e.Refused == nil {
				n.joined = w.epoch
			}
		}
	case Note:
		w.logf("note %s %s: %s", e.Event.Type, e.Event.Platform, e.Event.Message)
	case Tell:
		if e.Last {
			w.logf("tell %v %s %v", e.Askers, e.Event.Type, e.Event.Error)
			for _, a := range e.Askers {
				w.ended[a]++
			}
		}
	}
}

// mayBegin looks whether something is begun that may be: one request at a time
// works on a platform, and one call on a platform at a pnode.
func (w *world) mayBegin(e Effect) {
	_, check := e.(Check)
	for _, other := range w.pending {
		if platformOf(other) != platformOf(e) || check {
			continue
		}
		_, plans := e.(MakePlan)
		_, links := e.(MakeLinks)
		if plans || links || pnodeOf(other) == pnodeOf(e) {
			if _, check := other.(Check); !check {
				w.errorf("%T of %s while %T is under way", e, platformOf(e), other)
			}
		}
	}
}

func (w *world) mustBePending(call uint64) {
	for _, e := range w.pending {
		if callOf(e) == call {
			return
		}
	}
	if !w.over[call] { // it has ended just now
		w.errorf("call %d is not under way, and is stopped", call)
	}
}

func platformOf(e Effect) string {
	switch e := e.(type) {
	case MakePlan:
		return e.Platform
	case SavePlan:
		return e.Record.Name
	case Save:
		return e.Record.Name
	case Apply:
		return e.Platform
	case Remove:
		return e.Platform
	case MakeLinks:
		return e.Platform
	case SaveLinks:
		return e.Platform
	case Shape:
		return e.Platform
	case Check:
		return e.Platform
	}
	return ""
}

func pnodeOf(e Effect) string {
	switch e := e.(type) {
	case Apply:
		return e.Pnode
	case Remove:
		return e.Pnode
	case Shape:
		return e.Pnode
	}
	return ""
}

func callOf(e Effect) uint64 {
	switch e := e.(type) {
	case Apply:
		return e.Call
	case Remove:
		return e.Call
	case Shape:
		return e.Call
	}
	return 0
}

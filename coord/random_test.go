package coord

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

// TestRandomLives has machines live through random requests, in a world that
// answers in any order and may fail. Whatever happens, every asker hears of
// the end of its request once, and a platform is worked on by one request at
// a time; and where nothing failed, what is there in the end is what was asked
// for last.
func TestRandomLives(t *testing.T) {
	sources := map[string]*Source{}
	for _, name := range []string{"x", "y"} {
		for n := range 3 {
			text := fmt.Sprintf("platform: %s\nvnetworks: {lan: 10.0.0.0/16}\nvnodes: [{nodes: 'n[1-%d]', vifaces: [lan]}]\n", name, n+1)
			top, err := topo.Parse(name, []byte(text))
			if err != nil {
				t.Fatal(err)
			}
			sources[fmt.Sprint(name, n)] = &Source{File: name, Text: text, Digest: store.Digest(text, nil), Topology: top}
		}
	}
	for seed := range uint64(300) {
		w := &world{t: t, seed: seed, r: rand.New(rand.NewPCG(seed, 0)), m: NewMachine("", ""), sources: sources, fails: seed%2 == 1,
			ended: map[Asker]int{}, gone: map[Asker]bool{}, kernel: map[string]int{}, stored: map[string]int{}, last: map[string]int{},
			shaped: map[string]*program.Links{}, kept: map[string]*program.Links{}}
		w.live()
		if t.Failed() {
			return
		}
	}
}

// world is what a machine lives in: one pnode, one store, some askers.
type world struct {
	t       *testing.T
	seed    uint64
	r       *rand.Rand
	m       *Machine
	now     int64
	sources map[string]*Source
	fails   bool // now and then

	pending []Effect // that are not answered yet
	askers  Asker
	ended   map[Asker]int
	gone    map[Asker]bool
	kernel  map[string]int            // vnodes by platform
	stored  map[string]int            // as planned
	last    map[string]int            // what was asked for last; 0: down
	shaped  map[string]*program.Links // conditions of links in the kernel
	kept    map[string]*program.Links // as remembered
}

func (w *world) errorf(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf("seed %d, step %d: %s", w.seed, w.now, fmt.Sprintf(format, args...))
}

func (w *world) live() {
	w.step(Came{Hello: bus.Hello{From: bus.From{Pnode: "here"}, Protocol: bus.Protocol}})
	for range 100 {
		switch w.r.IntN(9) {
		case 0, 1:
			w.ask()
		case 6, 7:
			w.askLinks()
		case 8:
			w.step(Woken{})
		case 2:
			if w.askers > 0 && w.fails {
				a := Asker(w.r.IntN(int(w.askers))) + 1
				w.gone[a] = true
				w.step(Gone{a})
			}
			w.step(Tick{})
		default:
			w.answer()
		}
	}
	for {
		wake := w.m.Wake()
		switch {
		case len(w.pending) > 0:
			w.answer()
		case !wake.IsZero():
			w.now = max(w.now, wake.UnixMilli()/100)
			w.step(Woken{})
		default:
			w.judge()
			return
		}
	}
}

// judge looks at the world when nothing is under way any more.
func (w *world) judge() {
	if w.m.Busy() {
		w.errorf("the machine is busy, and nothing is asked for")
	}
	for a := Asker(1); a <= w.askers; a++ {
		if n := w.ended[a]; n > 1 || n == 0 && !w.gone[a] {
			w.errorf("asker %d heard of %d ends", a, n)
		}
	}
	if w.fails {
		return
	}
	for name, p := range w.m.platforms {
		if p.links.state.force != w.shaped[name] || p.links.state.touched && p.links.state.force != w.kept[name] {
			w.errorf("links of %s: %s in the kernel, %s as remembered, want %s", name, conditions(w.shaped[name]), conditions(w.kept[name]), conditions(p.links.state.force))
		}
	}
	for name, want := range w.last {
		if w.kernel[name] != want || w.stored[name] != want {
			w.errorf("%s has %d vnodes, %d as stored, want %d", name, w.kernel[name], w.stored[name], want)
		}
		if (w.m.platforms[name] != nil) != (want > 0) {
			w.errorf("%s, of which %d vnodes are wanted, is known: %v", name, want, w.m.platforms[name] != nil)
		}
	}
}

// ask makes a request.
func (w *world) ask() {
	w.askers++
	name := string("xy"[w.r.IntN(2)])
	if w.r.IntN(3) == 0 {
		if w.m.platforms[name] != nil {
			w.last[name] = 0
		}
		w.step(DownAsked{w.askers, name})
		return
	}
	n := w.r.IntN(3)
	w.last[name] = n + 1
	w.step(UpAsked{w.askers, w.sources[fmt.Sprint(name, n)]})
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
		e.At = w.clock(w.now + int64(w.r.IntN(30)))
	}
	w.step(e)
}

// answer answers something that was asked for.
func (w *world) answer() {
	if len(w.pending) == 0 {
		return
	}
	i := w.r.IntN(len(w.pending))
	e := w.pending[i]
	w.pending = append(w.pending[:i:i], w.pending[i+1:]...)
	var err error
	if w.fails && w.r.IntN(4) == 0 {
		err = errors.New("it fails")
	}
	switch e := e.(type) {
	case MakePlan:
		p, failed := plan.Make(e.Source.Topology, e.Pnodes, planOptions(e, 1))
		w.step(Planned{e.Platform, nil, p, errors.Join(err, failed)})
	case SavePlan:
		if err == nil {
			w.stored[e.Record.Name] = e.Plan.Len()
		}
		w.step(Saved{e.Record.Name, err})
	case Apply:
		n := e.Plan.Len()
		if err != nil {
			n = w.r.IntN(n + 1)
		}
		w.kernel[e.Platform] = n
		w.shaped[e.Platform] = e.Plan.Links()
		w.step(Applied{e.Platform, e.Pnode, e.Call, report(e.Platform, e.Pnode, []string{fmt.Sprintf("0=%d/%d", n, e.Plan.Len())}), err})
	case Remove:
		var left *program.Report
		if err == nil {
			delete(w.kernel, e.Platform)
			delete(w.shaped, e.Platform)
		} else {
			left = &program.Report{Platform: e.Platform, Pnode: e.Pnode}
		}
		w.step(Removed{e.Platform, e.Pnode, e.Call, left, err})
	case MakeLinks:
		w.step(makeLinks(e))
	case SaveLinks:
		w.step(LinksSaved{e.Platform, err})
	case Shape:
		if w.stopped(e.Platform) && w.r.IntN(3) > 0 {
			err = errors.New("cancelled")
		}
		if err == nil {
			w.shaped[e.Platform] = e.Links
		}
		w.step(LinksShaped{Platform: e.Platform, Pnode: e.Pnode, Call: e.Call, Err: err})
	}
}

// clock is the time after so many steps: a machine thinks ten times a second.
func (w *world) clock(steps int64) time.Time { return time.UnixMilli(100 * steps) }

// stopped tells whether a Shape is not wanted any more.
func (w *world) stopped(platform string) bool {
	b := w.m.platforms[platform].links.batch
	return b != nil && b.stopped
}

// step has the machine take an event, and keeps what must be answered.
func (w *world) step(e Event) {
	w.now++
	for _, effect := range w.m.Step(w.clock(w.now), e) {
		switch e := effect.(type) {
		case SaveLinks:
			w.kept[e.Platform] = e.Record.Force
			if e.Answer {
				w.pending = append(w.pending, effect)
			}
		case ForgetLinks:
			delete(w.kept, e.Platform)
		case StopShape:
			if !slices.ContainsFunc(w.pending, func(other Effect) bool {
				s, ok := other.(Shape)
				return ok && s.Platform == e.Platform
			}) {
				w.errorf("links of %s are not being changed, and that is stopped", e.Platform)
			}
		case MakePlan, SavePlan, Apply, Remove, MakeLinks, Shape:
			for _, other := range w.pending {
				if platformOf(other) == platformOf(effect) {
					w.errorf("%T of %s while %T is under way", effect, platformOf(effect), other)
				}
			}
			w.pending = append(w.pending, effect)
		case Stop:
			found := false
			for _, other := range w.pending {
				_, apply := other.(Apply)
				found = found || apply && platformOf(other) == e.Platform
			}
			if !found {
				w.errorf("stop of %s, which is not applied", e.Platform)
			}
		case Forget:
			delete(w.stored, e.Platform)
			delete(w.kept, e.Platform)
		case Tell:
			if e.Last {
				for _, a := range e.Askers {
					w.ended[a]++
				}
			}
		}
	}
}

func platformOf(e Effect) string {
	switch e := e.(type) {
	case MakePlan:
		return e.Platform
	case SavePlan:
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
	}
	return ""
}

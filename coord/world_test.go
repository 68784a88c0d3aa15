package coord

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
)

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

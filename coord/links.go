package coord

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"myriad/api"
	"myriad/program"
	"myriad/topo"
)

// Changes of link conditions go by batches: while one is put into force, those
// that are asked for wait, and then are applied to the tables one after the
// other and sent as one. What is to happen at a time to come is computed and
// sent ahead, and put into force by the pnodes at that time; whatever is asked
// for meanwhile goes before it.

const (
	ahead    = time.Second // that long before its time a change is begun
	justNow  = 20 * time.Millisecond
	mostAsks = 20_000 // that wait, of one platform
)

// links is what the machine knows of the conditions of a platform's links.
type links struct {
	state linkState
	queue []*linkAsk // to be done as soon as can be
	timed []*linkAsk // to be done at a time to come, by that time
	batch *batch     // under way
	noted time.Time  // last event about them
	quiet int        // changes since then that none was about
	again time.Time  // from when on pnodes that differ are told again
}

// linkState is what is in force, and what will be.
type linkState struct {
	force    *program.Links // nil: none
	changes  int            // made since they were those of the file
	touched  bool           // they were others than the file's meanwhile
	schedule *playing
	differ   map[string]bool // pnodes that may not have what is in force
	saved    time.Time       // schedule steps were remembered last
}

// linkAsk is a change that somebody waits for.
type linkAsk struct {
	asker   Asker
	changes []topo.Change
	at      time.Time
	gone    bool // nobody waits for it any more
}

// Made is how much a part of a change is about, or what is wrong with it.
type Made struct {
	Vifaces, Pairs int
	Err            error
}

// LinksRecord is what is remembered of the conditions of a platform's links.
type LinksRecord struct {
	Force    *program.Links
	Changes  int
	Schedule *Schedule // that is under way
	Place    Place     // in it
}

func beingTakenDown(platform string) error {
	return &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "change links of " + platform, Cause: "it is being taken down"}
}

// linksAsked takes a change. It waits for its time, or for what is under way.
func (m *Machine) linksAsked(e *LinksAsked) {
	p := m.platforms[e.Platform]
	ask := &linkAsk{asker: e.Asker, changes: e.Changes, at: m.now}
	later := e.At.After(m.now)
	if err := m.mayChangeLinks(p, e.Platform); err != nil {
		m.refuse(&platform{name: e.Platform}, []Asker{e.Asker}, err)
		return
	}
	if n := len(p.links.queue) + len(p.links.timed); n >= mostAsks {
		m.refuse(p, []Asker{e.Asker}, &program.Problem{Kind: program.KindExhausted, Rack: -1, Op: "change links of " + p.name,
			Cause: fmt.Sprintf("%d changes are waiting already", n), Remedy: "wait for the answers to some of them"})
		return
	}
	if later {
		ask.at = e.At
		i, _ := slices.BinarySearchFunc(p.links.timed, ask, func(a, b *linkAsk) int { return cmp.Or(a.at.Compare(b.at), -1) })
		p.links.timed = slices.Insert(p.links.timed, i, ask)
	} else {
		p.links.queue = append(p.links.queue, ask)
		m.giveWay(p)
	}
	m.shapeNext(p)
}

// mayChangeLinks says why links cannot be changed now, if so.
func (m *Machine) mayChangeLinks(p *platform, name string) error {
	switch {
	case p == nil:
		return notFound(name)
	case m.ending:
		return problemEnding()
	case p.last() != nil && p.last().kind == jobDown:
		return beingTakenDown(name)
	case p.record == nil && p.last() == nil:
		return &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "change links of " + name, Cause: "nothing is remembered of it here", Remedy: "bring it up with its file, or take it down"}
	}
	return nil
}

// shapeNext begins what is next to be done about a platform's links, if
// nothing else is under way.
func (m *Machine) shapeNext(p *platform) {
	l := &p.links
	if m.ending || p.record == nil || p.plan == nil || p.job != nil || len(p.queue) > 0 || l.batch != nil {
		return
	}
	b := &batch{}
	asks := l.queue
	l.queue = nil
	if len(asks) == 0 {
		b.at = m.nextMoment(p)
	}
	// What is overdue goes along, in its order.
	until := m.now
	if b.at.After(until) {
		until = b.at
	}
	for len(l.timed) > 0 && !l.timed[0].at.After(until) {
		asks = append(asks, l.timed[0])
		l.timed = l.timed[1:]
	}
	asks = slices.DeleteFunc(asks, func(a *linkAsk) bool { return a.gone })
	if l.state.schedule != nil && m.reachable(p) {
		b.resumes = l.state.schedule.clone()
		b.steps = l.state.schedule.take(until)
	}
	b.asks = asks
	if !b.at.After(m.now) {
		b.at = time.Time{}
	}
	switch {
	case len(b.asks)+len(b.steps) > 0:
		l.batch = b
		m.do(MakeLinks{Platform: p.name, Plan: p.plan, Current: l.state.force, Parts: b.parts()})
	case len(m.differing(p)) > 0 && !m.now.Before(l.again):
		l.batch = b
		b.next = l.state.force
		m.startShape(p, m.differing(p))
	}
}

// nextMoment is the time of what is to be begun now, zero if nothing is.
func (m *Machine) nextMoment(p *platform) time.Time {
	if t := m.nextTime(p); !t.IsZero() && t.Sub(m.now) <= ahead {
		return t
	}
	return time.Time{}
}

// nextTime is the time of what is to be done next, zero if nothing is. A
// schedule waits for somebody who can follow it.
func (m *Machine) nextTime(p *platform) time.Time {
	l := &p.links
	var t time.Time
	if len(l.timed) > 0 {
		t = l.timed[0].at
	}
	if s := l.state.schedule; s != nil && m.reachable(p) {
		if d, ok := s.due(); ok && (t.IsZero() || d.Before(t)) {
			t = d
		}
	}
	return t
}

// Wake is when the machine wants to be woken, zero if it does not.
func (m *Machine) Wake() time.Time {
	var wake time.Time
	for _, p := range m.platforms {
		if p.job != nil || p.links.batch != nil || p.record == nil || m.ending {
			continue
		}
		if t := m.nextTime(p); !t.IsZero() && (wake.IsZero() || t.Add(-ahead).Before(wake)) {
			wake = t.Add(-ahead)
		}
	}
	return wake
}

// giveWay has a batch whose time has not come wait for what was just asked
// for.
func (m *Machine) giveWay(p *platform) {
	if b := p.links.batch; b != nil && !b.at.IsZero() && b.at.Sub(m.now) > justNow {
		m.stopShape(p)
	}
}

// stopShape says that the batch under way is not wanted any more, if its time
// has not come.
func (m *Machine) stopShape(p *platform) {
	b := p.links.batch
	if b == nil || b.stage != shaping || b.stopped || !b.at.After(m.now) {
		return
	}
	b.stopped = true
	for _, pnode := range names(b.pending) {
		m.do(StopShape{Platform: p.name, Pnode: pnode, Call: b.pending[pnode]})
	}
}

func (a *linkAsk) askers() []Asker {
	if a.gone {
		return nil
	}
	return []Asker{a.asker}
}

// leaveLinks lets an asker go. What has not begun is not done.
func (m *Machine) leaveLinks(p *platform, asker Asker) {
	l := &p.links
	left := func(a *linkAsk) bool { return a.asker == asker }
	l.queue = slices.DeleteFunc(l.queue, left)
	l.timed = slices.DeleteFunc(l.timed, left)
	if l.batch == nil {
		return
	}
	for _, a := range l.batch.asks {
		if left(a) {
			a.gone = true
			m.stopShape(p) // it is withdrawn if its time has not come
		}
	}
}

// refuseLinks refuses the changes that wait.
func (m *Machine) refuseLinks(p *platform, err error) {
	l := &p.links
	for _, a := range append(l.queue, l.timed...) {
		m.refuse(p, a.askers(), err)
	}
	l.queue, l.timed = nil, nil
}

// record is what is to be remembered of conditions.
func (l *links) record() LinksRecord {
	r := LinksRecord{Force: l.state.force, Changes: l.state.changes}
	if s := l.state.schedule; s != nil && !s.over() {
		r.Schedule, r.Place = s.Schedule, s.Place
	}
	return r
}

// setLinks has the conditions be those of the plan that pnodes are to follow.
// What was changed since stays as it is where the platform is only moved.
func (m *Machine) setLinks(p *platform, j *job) {
	s := &p.links.state
	if j.kind == jobUp {
		m.resetLinks(p, j)
		return
	}
	if s.touched && slices.Equal(program.EncodeLinks(j.links), program.EncodeLinks(j.plan.Links())) {
		m.do(SaveLinks{Platform: p.name, Record: p.links.record()}) // beside the new plan
		return
	}
	if s.touched && s.changes > 0 {
		m.note("problem", p.name, "conditions of links are what the file says again: "+plural(s.changes, "change is", "changes are")+" dropped, as they are others where vnodes are now")
	}
	s.force, s.changes, s.touched = j.plan.Links(), 0, false
	if s.schedule != nil {
		s.touched = true
		m.do(SaveLinks{Platform: p.name, Record: p.links.record()})
	}
}

// resetLinks has the conditions be those of the plan that is brought up.
func (m *Machine) resetLinks(p *platform, j *job) {
	s := &p.links.state
	var drops []string
	if s.changes > 0 {
		drops = append(drops, plural(s.changes, "change", "changes")+" of link conditions that were made while it ran")
	}
	if s.schedule != nil && !s.schedule.over() && s.schedule.Source != nil {
		drops = append(drops, "the schedule "+s.schedule.File)
	}
	if s.schedule != nil && !s.schedule.over() && s.schedule.Source == nil {
		m.tell(j.askers, api.Event{Type: "progress", Platform: p.name, Message: "the file's schedule, which is under way, begins anew"}, false)
	}
	for _, what := range drops {
		m.tell(j.askers, api.Event{Type: "progress", Platform: p.name, Message: "drops " + what + ": conditions are what the file says"}, false)
	}
	if s.touched || s.schedule != nil {
		m.do(ForgetLinks{p.name})
	}
	*s = linkState{force: j.plan.Links()}
}

// restoreLinks takes over what the store remembers of conditions; nil: they
// are the plan's.
func (p *platform) restoreLinks(r *LinksRecord) {
	s := &p.links.state
	if r == nil {
		s.force = p.plan.Links()
		return
	}
	s.force, s.changes, s.touched = r.Force, r.Changes, true
	if r.Schedule != nil {
		s.schedule = &playing{Schedule: r.Schedule, Place: r.Place}
		s.schedule.resumed = true
	}
}

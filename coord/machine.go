// Package coord is the coordinator: it plans platforms, has agents carry the
// programs out, and knows what came of it.
//
// Its thinking is a Machine, in which events go in and effects come out: it
// has no clock and does no I/O, and so its tests are stories in testdata. A
// Coordinator is the one loop that owns the bus, the store and the timers,
// and carries the effects out.
package coord

import (
	"maps"
	"slices"
	"time"

	"myriad/api"
	"myriad/program"
)

// Machine is the coordinator's mind.
type Machine struct {
	identity string // of the coordinator; empty: any
	version  string // that agents must have; empty: any

	platforms map[string]*platform
	pnodes    map[string]*pnode
	refused   map[string]*turnedAway // by name and machine
	strangers map[string]time.Time   // pnodes that are not known, and were asked who they are
	drains    map[Asker]*drain
	ways      map[sites]*survey
	sites     map[string]bool // that pnodes have been at
	call      uint64          // the last one
	epoch     uint64          // of the coordinator; 0: not known
	ending    bool
	deaf      bool // cut off from the bus
	unsaved   bool // something about pnodes is to be remembered

	began  time.Time // from when on pnodes may take a while to come back
	pulsed time.Time // of the last pulse
	kept   time.Time // when pnodes were remembered last
	now    time.Time // of the step under way
	noted  time.Time // of the last note
	out    []Effect
}

// NewMachine makes a machine that knows of nothing. It takes in agents of its
// version, and platforms of its identity; empty ones are any.
func NewMachine(identity, version string) *Machine {
	return &Machine{identity: identity, version: version, platforms: map[string]*platform{}, pnodes: map[string]*pnode{},
		refused: map[string]*turnedAway{}, strangers: map[string]time.Time{}, drains: map[Asker]*drain{}, ways: map[sites]*survey{}, sites: map[string]bool{}}
}

// Step takes one event, at a time, and says what is to be done about it, in
// order.
func (m *Machine) Step(now time.Time, e Event) []Effect {
	m.now, m.out = now, nil
	switch e := e.(type) {
	case Restored:
		m.restore(&e)
	case UpAsked:
		m.up(e.Asker, e.Source)
	case DownAsked:
		m.down(e.Asker, e.Platform)
	case Gone:
		m.gone(e.Asker)
	case Planned:
		m.answer(e.Platform, func(p *platform) { m.planned(p, &e) })
	case Saved:
		m.answer(e.Platform, func(p *platform) { m.saved(p, e.Err) })
	case Counted:
		m.answer(e.Platform, func(p *platform) { m.counted(p, e) })
	case Applied:
		m.answer(e.Platform, func(p *platform) { m.reported(p, &e) })
	case Removed:
		m.answer(e.Platform, func(p *platform) { m.removed(p, &e) })
	case Came:
		m.came(&e)
	case Heard:
		m.heard(e)
	case Went:
		m.went(e.From)
	case Changed:
		m.changed(&e)
	case Deaf:
		m.setDeaf(bool(e))
	case DrainAsked:
		m.drainAsked(&e)
	case ForgetAsked:
		m.forgetAsked(&e)
	case PnodesSaved:
		m.pnodesSaved(&e)
	case Measured:
		m.measured(&e)
	case Checked:
		m.answer(e.Platform, func(p *platform) { m.checked(p, &e) })
	case LinksAsked:
		m.linksAsked(&e)
	case PlayAsked:
		m.playAsked(&e)
	case LinksMade:
		m.batchAnswer(e.Platform, making, func(p *platform) { m.linksMade(p, &e) })
	case LinksSaved:
		m.batchAnswer(e.Platform, remembering, func(p *platform) { m.linksSaved(p, e.Err) })
	case LinksShaped:
		m.batchAnswer(e.Platform, shaping, func(p *platform) { m.linksShaped(p, &e) })
	case Overloaded:
		m.overloaded(&e.Overload)
	case Woken:
		for _, p := range m.sorted() {
			m.shapeNext(p)
		}
	case Tick:
		m.tick()
	case Pulse:
		m.pulse()
	case Ending:
		m.end()
	}
	m.saveAll()
	return m.out
}

// answer takes an answer to what the job under way of a platform has asked
// for. One that nobody has asked for is passed over.
func (m *Machine) answer(platform string, take func(*platform)) {
	if p := m.platforms[platform]; p != nil && p.job != nil {
		take(p)
	}
}

// Busy tells whether anything is under way.
func (m *Machine) Busy() bool {
	for _, p := range m.platforms {
		if p.job != nil || p.links.batch != nil {
			return true
		}
	}
	return false
}

func (m *Machine) do(e Effect) { m.out = append(m.out, e) }

// tell tells askers something; with last, it is the end of their request.
func (m *Machine) tell(askers []Asker, e api.Event, last bool) {
	if len(askers) > 0 {
		e.Time = m.now
		m.do(Tell{Askers: slices.Clone(askers), Event: e, Last: last})
	}
}

// note makes something known. No two notes have the same time: it is what
// tells them apart.
func (m *Machine) note(typ, platform, message string) {
	at := m.now
	if !at.After(m.noted) {
		at = m.noted.Add(time.Nanosecond)
	}
	m.noted = at
	m.do(Note{api.Event{Time: at, Type: typ, Platform: platform, Message: message}})
}

// platform gives the platform of a name, from now on if need be.
func (m *Machine) platform(name string) *platform {
	p := m.platforms[name]
	if p == nil {
		p = &platform{name: name, reports: map[string]*program.Report{}}
		m.platforms[name] = p
	}
	return p
}

// sorted gives the platforms by name.
func (m *Machine) sorted() []*platform {
	var out []*platform
	for _, name := range slices.Sorted(maps.Keys(m.platforms)) {
		out = append(out, m.platforms[name])
	}
	return out
}

// restore takes over what the store remembers. What was being taken away is
// taken away.
func (m *Machine) restore(e *Restored) {
	m.began, m.epoch = m.now, e.Epoch
	for i := range e.Platforms {
		p := m.platform(e.Platforms[i].Name)
		p.record, p.plan = &e.Platforms[i].Record, e.Platforms[i].Plan
		p.where, p.owed = whereIs(p.plan), maps.Clone(p.record.Owed)
		p.restoreLinks(e.Links[p.name])
		for k := range p.record.Reports {
			p.reports[p.record.Reports[k].Pnode] = &p.record.Reports[k]
		}
		p.unfit = true
		if p.record.Down {
			p.queue = append(p.queue, &job{kind: jobDown})
		}
	}
	m.restorePnodes(e.Pnodes)
	m.restoreWays(e.Ways)
}

// end stops what can be stopped and refuses what is still to begin. Removals
// go on to their end.
func (m *Machine) end() {
	m.ending = true
	for _, p := range m.sorted() {
		for len(p.queue) > 0 {
			j := p.queue[0]
			p.queue = p.queue[1:]
			m.refuse(p, j.askers, problemEnding())
		}
		if p.job != nil && p.job.kind != jobDown {
			m.stop(p, problemEnding())
		}
		m.refuseLinks(p, problemEnding())
		m.stopShape(p)
	}
}

func problemEnding() *program.Problem {
	return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "the daemon is ending", Remedy: "ask again; what is made stays made"}
}

// refuse ends a request that comes to nothing.
func (m *Machine) refuse(p *platform, askers []Asker, err error) {
	m.tell(askers, api.Event{Type: "error", Platform: p.name, Error: ErrorOf(err)}, true)
}

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
	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

// Event is something that the machine is told.
type Event interface{ event() }

// Asker is whoever waits for the end of a request.
type Asker uint64

// Source is a topology file that was read and is sound.
type Source struct {
	File     string // its name
	Text     string
	Files    map[string][]byte // that it refers to, by the names it uses
	Digest   string            // of text and files
	Force    bool              // also if it will not fit
	Topology *topo.Topology
}

// The events.
type (
	// Restored gives what the store remembers. It comes first. Links are the
	// conditions of links, by platform, where they are not simply the plan's.
	Restored struct {
		Platforms []store.Platform
		Links     map[string]*LinksRecord
	}
	// UpAsked asks that a platform be as its file says.
	UpAsked struct {
		Asker  Asker
		Source *Source
	}
	// DownAsked asks that a platform be taken away.
	DownAsked struct {
		Asker    Asker
		Platform string
	}
	// Gone says that an asker waits no more.
	Gone struct{ Asker Asker }
	// Planned answers MakePlan.
	Planned struct {
		Platform string
		Plan     *plan.Plan
		Err      error
	}
	// Saved answers SavePlan.
	Saved struct {
		Platform string
		Err      error
	}
	// Counted is progress of Apply or Remove; with Doing, it is busy with
	// something else.
	Counted struct {
		Platform, Pnode string
		Count           int
		Doing           string
	}
	// Applied answers Apply. Report is what is, if that is known.
	Applied struct {
		Platform, Pnode string
		Report          *program.Report
		Err             error
	}
	// Removed answers Remove. Report is what is left, if Err says why.
	Removed struct {
		Platform, Pnode string
		Report          *program.Report
		Err             error
	}
	// Came says that an agent is there.
	Came struct{ Hello bus.Hello }
	// Went says that an agent has ended.
	Went struct{ Pnode string }
	// Changed says that racks have changed by themselves.
	Changed struct{ Report program.Report }
	// LinksAsked asks for other conditions of links, at once or, with At, at a
	// time to come.
	LinksAsked struct {
		Asker    Asker
		Platform string
		Changes  []topo.Change
		At       time.Time
	}
	// PlayAsked asks that a schedule begin, or, with nil, that the one under way
	// end.
	PlayAsked struct {
		Asker    Asker
		Platform string
		Schedule *Schedule
	}
	// LinksMade answers MakeLinks. There is an entry for each part: how much it
	// is about, or what is wrong with it, in which case it is not part of Next.
	LinksMade struct {
		Platform string
		Next     *program.Links
		Parts    []Made
	}
	// LinksSaved answers SaveLinks with Answer set.
	LinksSaved struct {
		Platform string
		Err      error
	}
	// LinksShaped answers Shape.
	LinksShaped struct {
		Platform, Pnode string
		Shaped          program.Shaped
		Err             error
	}
	// Overloaded says that a pnode could not keep what it promised of links.
	Overloaded struct{ bus.Overload }
	// Woken says that Wake has come.
	Woken struct{}
	// Tick says that it is time to tell askers how far things are.
	Tick struct{}
	// Ending says that the coordinator is about to end.
	Ending struct{}
)

func (Restored) event()    {}
func (UpAsked) event()     {}
func (DownAsked) event()   {}
func (Gone) event()        {}
func (Planned) event()     {}
func (Saved) event()       {}
func (Counted) event()     {}
func (Applied) event()     {}
func (Removed) event()     {}
func (Came) event()        {}
func (Went) event()        {}
func (Changed) event()     {}
func (LinksAsked) event()  {}
func (PlayAsked) event()   {}
func (LinksMade) event()   {}
func (LinksSaved) event()  {}
func (LinksShaped) event() {}
func (Overloaded) event()  {}
func (Woken) event()       {}
func (Tick) event()        {}
func (Ending) event()      {}

// Effect is something that the machine wants done.
type Effect interface{ effect() }

// The effects.
type (
	// MakePlan has a plan made; Planned answers.
	MakePlan struct {
		Platform string
		Source   *Source
		Previous *plan.Plan
		Pnodes   []plan.Pnode
		Others   []*plan.Plan // that are there too
	}
	// SavePlan has a platform remembered with its plan; Saved answers.
	SavePlan struct {
		Record store.Record
		Source string
		Files  map[string][]byte
		Plan   *plan.Plan
	}
	// Save has a platform remembered.
	Save struct{ Record store.Record }
	// Forget has a platform forgotten.
	Forget struct{ Platform string }
	// Apply has a pnode made to match its part of a plan; Applied answers.
	Apply struct {
		Platform, Pnode string
		Plan            *plan.Plan
	}
	// Stop ends an Apply early. It is answered as it would have been.
	Stop struct{ Platform, Pnode string }
	// Remove has a platform removed from a pnode; Removed answers.
	Remove struct{ Platform, Pnode string }
	// MakeLinks has tables changed; LinksMade answers.
	MakeLinks struct {
		Platform string
		Plan     *plan.Plan
		Current  *program.Links
		Parts    [][]topo.Change
	}
	// SaveLinks has the conditions of links remembered; with Answer, LinksSaved
	// answers.
	SaveLinks struct {
		Platform string
		Record   LinksRecord
		Answer   bool
	}
	// ForgetLinks has them forgotten: they are the plan's.
	ForgetLinks struct{ Platform string }
	// Shape has a pnode put conditions of links into force, at once or at a
	// time; LinksShaped answers.
	Shape struct {
		Platform, Pnode string
		Links           *program.Links
		At              time.Time
	}
	// StopShape says that a Shape is not wanted any more, if it is not in force
	// yet. It is answered as it would have been.
	StopShape struct{ Platform, Pnode string }
	// Tell tells askers something. After Last they wait no more.
	Tell struct {
		Askers []Asker
		Event  api.Event
		Last   bool
	}
	// Note makes something known to whoever follows events.
	Note struct{ Event api.Event }
)

func (MakePlan) effect()    {}
func (SavePlan) effect()    {}
func (Save) effect()        {}
func (Forget) effect()      {}
func (Apply) effect()       {}
func (Stop) effect()        {}
func (Remove) effect()      {}
func (MakeLinks) effect()   {}
func (SaveLinks) effect()   {}
func (ForgetLinks) effect() {}
func (Shape) effect()       {}
func (StopShape) effect()   {}
func (Tell) effect()        {}
func (Note) effect()        {}

// Machine is the coordinator's mind.
type Machine struct {
	platforms map[string]*platform
	pnodes    map[string]*bus.Hello // agents that are there
	ending    bool

	now   time.Time // of the step under way
	noted time.Time // of the last note
	out   []Effect
}

// NewMachine makes a machine that knows of nothing.
func NewMachine() *Machine {
	return &Machine{platforms: map[string]*platform{}, pnodes: map[string]*bus.Hello{}}
}

// Step takes one event, at a time, and says what is to be done about it, in
// order.
func (m *Machine) Step(now time.Time, e Event) []Effect {
	m.now, m.out = now, nil
	switch e := e.(type) {
	case Restored:
		m.restore(e.Platforms, e.Links)
	case UpAsked:
		m.up(e.Asker, e.Source)
	case DownAsked:
		m.down(e.Asker, e.Platform)
	case Gone:
		m.gone(e.Asker)
	case Planned:
		m.answer(e.Platform, func(p *platform) { m.planned(p, e.Plan, e.Err) })
	case Saved:
		m.answer(e.Platform, func(p *platform) { m.saved(p, e.Err) })
	case Counted:
		m.answer(e.Platform, func(p *platform) { m.counted(p, e) })
	case Applied:
		m.answer(e.Platform, func(p *platform) { m.reported(p, e.Pnode, e.Report, e.Err) })
	case Removed:
		m.answer(e.Platform, func(p *platform) { m.removed(p, e.Pnode, e.Report, e.Err) })
	case Came:
		m.came(&e.Hello)
	case Went:
		m.went(e.Pnode)
	case Changed:
		m.changed(&e.Report)
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
	case Ending:
		m.end()
	}
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

// restore takes over what the store remembers.
func (m *Machine) restore(platforms []store.Platform, links map[string]*LinksRecord) {
	for i := range platforms {
		p := m.platform(platforms[i].Name)
		p.record, p.plan = &platforms[i].Record, platforms[i].Plan
		p.restoreLinks(links[p.name])
		for k := range p.record.Reports {
			p.reports[p.record.Reports[k].Pnode] = &p.record.Reports[k]
		}
	}
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
		if p.job != nil && p.job.kind == jobUp {
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

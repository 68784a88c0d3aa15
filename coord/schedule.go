package coord

import (
	"context"
	"fmt"
	"time"

	"myriad/api"
	"myriad/plan"
	"myriad/program"
	"myriad/topo"
)

// Schedule is changes of conditions that are made one after another.
type Schedule struct {
	File   string // that it is from
	Steps  []topo.Step
	Repeat time.Duration // it begins again after this; 0: it does not
	Source *api.Schedule // nil: it is the topology file's
}

// Place is how far a schedule has come.
type Place struct {
	Began time.Time
	Round int // how often it has begun again
	Next  int // step of this round
}

// playing is a schedule under way.
type playing struct {
	*Schedule
	Place
	resumed bool // what has passed was not missed: nobody was there

	late   [program.LatenessBuckets]uint64 // steps by how late they were
	worst  time.Duration
	steps  int // that were made
	missed int // that were made along with a later one, at its time
	failed int
	noted  time.Time // last event about a step
}

// due is a step whose time has come.
type due struct {
	number int // of the step in the schedule
	step   *topo.Step
	at     time.Time
}

func (s *playing) clone() *playing {
	c := *s
	return &c
}

// same tells whether two are the same schedule, at different places.
func (s *playing) same(t *playing) bool { return s.Schedule == t.Schedule && s.Began.Equal(t.Began) }

// over tells whether nothing is to come.
func (s *playing) over() bool { return s.Next >= len(s.Steps) && s.Repeat == 0 || len(s.Steps) == 0 }

// due is when the next step is due.
func (s *playing) due() (time.Time, bool) {
	if s.over() {
		return time.Time{}, false
	}
	round, next := s.Round, s.Next
	if next >= len(s.Steps) {
		round, next = round+1, 0
	}
	return s.Began.Add(time.Duration(round)*s.Repeat + s.Steps[next].At), true
}

// take gives the steps that are due until a time, and goes on behind them. Of
// many rounds that have passed, one is enough: making it twice changes
// nothing.
func (s *playing) take(until time.Time) []due {
	var out []due
	for {
		at, ok := s.due()
		if !ok || at.After(until) {
			return out
		}
		if s.Next >= len(s.Steps) {
			s.Round, s.Next = s.Round+1, 0
			if passed := int(until.Sub(s.Began) / s.Repeat); passed > s.Round+1 {
				s.Round = passed - 1
			}
			at, _ = s.due()
		}
		out = append(out, due{s.Next, &s.Steps[s.Next], at})
		s.Next++
	}
}

// made notes that the steps of a batch are in force, and gives how late the
// last of them is.
func (s *playing) made(now time.Time, b *batch) (late time.Duration) {
	last := len(b.steps) - 1
	for i, d := range b.steps {
		if b.wrong[i] != nil {
			continue
		}
		if late = b.shaped.Lateness; !d.at.Equal(b.at) {
			late = now.Sub(d.at)
		}
		if s.resumed && b.at.IsZero() {
			late = 0
			continue // they were passed while nobody was there
		}
		s.steps++
		if i < last && !b.steps[i+1].at.Equal(d.at) {
			s.missed++
		}
		s.late[program.LatenessBucket(late)]++
		s.worst = max(s.worst, late)
	}
	s.resumed = false
	return late
}

// state is how a schedule is, for listings.
func (s *playing) state() *api.ScheduleState {
	out := &api.ScheduleState{
		File: s.File, Step: s.Next, Steps: len(s.Steps), Round: s.Round, Began: s.Began,
		Made: s.steps, Missed: s.missed, Failed: s.failed, Over: s.over(),
		LateMedian: program.LatenessQuantile(s.late[:], 0.5), LateMax: s.worst,
	}
	if at, ok := s.due(); ok {
		out.Next = &at
	}
	return out
}

// beginSchedule begins the schedule of the file that was just brought up.
func (m *Machine) beginSchedule(p *platform) {
	steps, repeat := p.plan.Schedule()
	if len(steps) == 0 {
		return
	}
	m.begin(p, &Schedule{File: p.record.File, Steps: steps, Repeat: repeat})
	m.do(SaveLinks{Platform: p.name, Record: p.links.record()})
}

func (m *Machine) begin(p *platform, s *Schedule) {
	p.links.state.schedule = &playing{Schedule: s, Place: Place{Began: m.now}}
	m.note("schedule", p.name, fmt.Sprintf("%s begins: %s", s.File, plural(len(s.Steps), "step", "steps")))
}

// playAsked begins a schedule, or ends the one under way.
func (m *Machine) playAsked(e *PlayAsked) {
	p := m.platforms[e.Platform]
	err := m.mayChangeLinks(p, e.Platform)
	if err == nil && p.job != nil {
		err = &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "play a schedule on " + p.name, Cause: "it is being brought up", Remedy: "ask again when it is up"}
	}
	if err != nil {
		m.refuse(&platform{name: e.Platform}, []Asker{e.Asker}, err)
		return
	}
	s := p.links.state.schedule
	running := s != nil && (!s.over() || p.links.batch != nil && p.links.batch.playing(&p.links) != nil)
	switch {
	case e.Schedule == nil && !running:
		err = &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: "end the schedule of " + p.name, Cause: "none is under way"}
	case e.Schedule != nil && running:
		err = &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "play a schedule on " + p.name,
			Cause: fmt.Sprintf("that of %s is under way", s.File), Remedy: "link play --stop ends it"}
	}
	if err != nil {
		m.refuse(p, []Asker{e.Asker}, err)
		return
	}
	done := &api.Changed{}
	if e.Schedule == nil {
		m.note("schedule", p.name, fmt.Sprintf("%s is ended after %s", s.File, plural(s.steps, "step", "steps")))
		p.links.state.schedule = nil
		m.stopShape(p)
	} else {
		m.begin(p, e.Schedule)
		done.Steps = len(e.Schedule.Steps)
	}
	m.do(SaveLinks{Platform: p.name, Record: p.links.record()})
	m.tell([]Asker{e.Asker}, api.Event{Type: "links", Platform: p.name, Changed: done}, true)
	m.shapeNext(p)
}

// noteWrong makes known which steps of a batch could not be made.
func (m *Machine) noteWrong(p *platform, s *playing, b *batch) {
	for i, err := range b.wrong {
		if err != nil {
			s.failed++
			m.note("problem", p.name, fmt.Sprintf("step %d of the schedule: %v", b.steps[i].number+1, err))
		}
	}
}

// noteStep makes the steps of a batch known, but not each of very many.
func (m *Machine) noteStep(p *platform, s *playing, b *batch, late time.Duration) {
	last := len(b.steps) - 1
	for last >= 0 && b.wrong[last] != nil {
		last--
	}
	if last >= 0 && (m.now.Sub(s.noted) >= noteEvery || s.over()) {
		s.noted = m.now
		d := b.steps[last]
		m.note("step", p.name, fmt.Sprintf("step %d of %d of %s is in force, %v late", d.number+1, len(s.Steps), s.File, late.Round(time.Microsecond)))
	}
	if s.over() {
		m.note("schedule", p.name, fmt.Sprintf("%s has ended: %s, at most %v late", s.File, plural(s.steps, "step", "steps"), s.worst.Round(time.Microsecond)))
	}
}

// lateness sums up how late the steps of a schedule were.
func lateness(counts []uint64, worst time.Duration) api.Quantiles {
	us := func(q float64) float64 { return float64(program.LatenessQuantile(counts, q)) / 1e3 }
	return api.Quantiles{P50: us(0.5), P90: us(0.9), P99: us(0.99), Max: float64(worst) / 1e3}
}

// Play begins a schedule, or, without a source, ends the one under way.
func (c *Coordinator) Play(ctx context.Context, platform string, q *api.Schedule) (*api.Changed, error) {
	p, err := c.planOf(ctx, platform)
	if err != nil {
		return nil, err
	}
	var s *Schedule
	if q.Source != "" {
		if s, err = scheduleOf(p, q); err != nil {
			return nil, err
		}
	}
	return c.changed(ctx, func(a Asker) Event { return PlayAsked{Asker: a, Platform: platform, Schedule: s} })
}

// scheduleOf reads a schedule for a plan.
func scheduleOf(p *plan.Plan, q *api.Schedule) (*Schedule, error) {
	steps, repeat, err := topo.ParseSchedule(q.File, []byte(q.Source), topo.Scope{Nodes: p.Nodes(), Groups: p.Groups()}, sent(q.Files))
	if err == nil && len(steps) == 0 {
		err = &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "play " + q.File, Cause: "it has no steps"}
	}
	return &Schedule{File: q.File, Steps: steps, Repeat: repeat, Source: q}, err
}

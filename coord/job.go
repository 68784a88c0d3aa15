package coord

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"myriad/api"
	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
)

// platform is what the machine knows of a platform.
type platform struct {
	name    string
	record  *store.Record // nil: it is in a kernel, and nobody here asked for it
	plan    *plan.Plan    // nil without a record
	reports map[string]*program.Report
	job     *job   // under way
	queue   []*job // what waits for its end
	links   links  // conditions of its links
}

// job is a request under way, and all who wait for its end.
type job struct {
	kind    jobKind
	stage   stage
	askers  []Asker
	source  *Source    // up
	plan    *plan.Plan // up, once it is made
	began   time.Time
	pending map[string]bool // pnodes at work
	counts  map[string]int  // how far each pnode is
	total   int             // vnodes that are to be made or removed
	told    int             // how far askers believe it is
	errs    []error
	stopped error  // why it ends early
	doing   string // what a pnode is busy with, as askers were told
}

type jobKind uint8

const (
	jobUp jobKind = iota
	jobDown
)

// stage is how far a job is.
type stage uint8

const (
	planning stage = iota
	saving
	working // pnodes are
)

// up begins to bring a platform up. Whoever asks for what was asked for last
// joins; whoever asks for something else waits for its turn.
func (m *Machine) up(a Asker, s *Source) {
	p := m.platform(s.Topology.Name)
	j := &job{kind: jobUp, askers: []Asker{a}, source: s}
	if m.ending {
		m.refuse(p, j.askers, problemEnding())
		m.dropIfEmpty(p)
		return
	}
	if last := p.last(); last != nil && last.kind == jobUp && last.stopped == nil && last.source.Digest == s.Digest {
		last.askers = append(last.askers, a)
		m.tell(j.askers, api.Event{Type: "progress", Platform: p.name, Message: "joins an up of the same file that is under way"}, false)
		return
	}
	m.enqueue(p, j)
}

// last is the job that was asked for last, of those that have not ended.
func (p *platform) last() *job {
	if n := len(p.queue); n > 0 {
		return p.queue[n-1]
	}
	return p.job
}

// down begins to take a platform away. What brings it up, or waits to do so,
// is stopped first.
func (m *Machine) down(a Asker, name string) {
	p := m.platforms[name]
	switch {
	case p == nil:
		m.refuse(&platform{name: name}, []Asker{a}, &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: "take down " + name, Cause: "there is no such platform"})
		return
	case m.ending:
		m.refuse(p, []Asker{a}, problemEnding())
		return
	}
	cancelled := &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "bring up " + name, Cause: "it is taken down by another request"}
	p.queue = slices.DeleteFunc(p.queue, func(j *job) bool {
		if j.kind == jobUp {
			m.refuse(p, j.askers, cancelled)
		}
		return j.kind == jobUp
	})
	if p.job != nil && p.job.kind == jobUp {
		m.stop(p, cancelled)
	}
	m.refuseLinks(p, beingTakenDown(name))
	if last := p.last(); last != nil && last.kind == jobDown {
		last.askers = append(last.askers, a)
		return
	}
	m.enqueue(p, &job{kind: jobDown, askers: []Asker{a}})
}

// enqueue begins a job, now or when those before it have ended.
func (m *Machine) enqueue(p *platform, j *job) {
	p.queue = append(p.queue, j)
	if p.job != nil {
		m.tell(j.askers, api.Event{Type: "progress", Platform: p.name, Message: "waits for another request about " + p.name}, false)
	}
	m.next(p)
}

// next begins the next job of a platform, if none is under way. While links
// are changed, it waits for the end of that; without jobs, links are.
func (m *Machine) next(p *platform) {
	if p.job != nil {
		return
	}
	if len(p.queue) == 0 {
		m.dropIfEmpty(p)
		m.shapeNext(p)
		return
	}
	if p.links.batch != nil {
		m.stopShape(p)
		return
	}
	p.job, p.queue = p.queue[0], p.queue[1:]
	j := p.job
	j.began, j.pending, j.counts, j.told = m.now, map[string]bool{}, map[string]int{}, -1
	switch {
	case j.kind == jobDown:
		m.startRemoval(p)
	case len(m.pnodes) == 0:
		m.finishUp(p, &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "bring up " + p.name, Cause: "no agent is there", Remedy: "start one"})
	case m.unchanged(p, j.source):
		j.plan, j.stage = p.plan, working
		m.startApply(p)
	default:
		m.do(MakePlan{Platform: p.name, Source: j.source, Previous: p.plan, Pnodes: m.pnodeList(), Others: m.plansBeside(p)})
	}
}

// unchanged tells whether the plan that a platform follows is that of s.
func (m *Machine) unchanged(p *platform, s *Source) bool {
	if p.record == nil || p.record.Digest != s.Digest {
		return false
	}
	for _, n := range p.plan.Pnodes() {
		if n.Name != "" && m.pnodes[n.Name] == nil {
			return false
		}
	}
	return true
}

// dropIfEmpty forgets a platform of which nothing is known or wanted.
func (m *Machine) dropIfEmpty(p *platform) {
	if p.record == nil && p.job == nil && len(p.queue) == 0 {
		m.refuseLinks(p, notFound(p.name))
	}
	if p.job == nil && len(p.queue) == 0 && p.record == nil && len(p.reports) == 0 {
		delete(m.platforms, p.name)
	}
}

// planned goes on with a plan: it is remembered before any kernel is touched.
func (m *Machine) planned(p *platform, made *plan.Plan, err error) {
	j := p.job
	switch {
	case j.stopped != nil:
		m.finishUp(p, j.stopped)
	case err != nil:
		m.finishUp(p, err)
	default:
		j.plan, j.stage = made, saving
		m.do(SavePlan{Record: m.newRecord(p), Source: j.source.Text, Files: j.source.Files, Plan: made})
	}
}

// newRecord is what is remembered of the platform that the job under way
// brings up.
func (m *Machine) newRecord(p *platform) store.Record {
	j := p.job
	r := store.Record{Name: p.name, File: j.source.File, Digest: j.source.Digest, Seed: j.source.Topology.Seed, Pnodes: map[string]string{}}
	if p.record != nil {
		r.Reports, r.Since, r.Took, r.Writes = p.record.Reports, p.record.Since, p.record.Took, p.record.Writes
	}
	for _, n := range j.plan.Pnodes() {
		if h := m.pnodes[n.Name]; h != nil {
			r.Pnodes[n.Name] = h.Boot
		}
	}
	return r
}

// saved goes on when the plan is remembered.
func (m *Machine) saved(p *platform, err error) {
	j := p.job
	if err != nil {
		m.finishUp(p, err)
		return
	}
	r := m.newRecord(p)
	p.record, p.plan = &r, j.plan
	j.source.Text, j.source.Files = "", nil // they may be large
	if j.stopped != nil {
		m.finishUp(p, j.stopped)
		return
	}
	j.stage = working
	m.startApply(p)
}

func (m *Machine) startApply(p *platform) {
	j := p.job
	j.total = j.plan.Len()
	m.resetLinks(p, j)
	m.tick()
	for i, n := range j.plan.Pnodes() {
		if n.Name != "" && (j.plan.VnodesOn(i) > 0 || p.reports[n.Name] != nil) {
			j.pending[n.Name] = true
			m.do(Apply{Platform: p.name, Pnode: n.Name, Plan: j.plan})
		}
	}
	m.maybeDone(p)
}

func (m *Machine) startRemoval(p *platform) {
	j := p.job
	j.stage = working
	at := maps.Clone(p.reports)
	if p.plan != nil {
		for _, n := range p.plan.Pnodes() {
			if n.Name != "" && at[n.Name] == nil {
				at[n.Name] = &program.Report{}
			}
		}
	}
	for _, pnode := range slices.Sorted(maps.Keys(at)) {
		n := at[pnode].Up()
		j.pending[pnode], j.counts[pnode] = true, n
		j.total += n
		m.do(Remove{Platform: p.name, Pnode: pnode})
	}
	m.tick()
	m.maybeDone(p)
}

// counted notes how far a pnode is.
func (m *Machine) counted(p *platform, e Counted) {
	j := p.job
	if j == nil || !j.pending[e.Pnode] {
		return
	}
	if e.Doing == "" {
		j.counts[e.Pnode] = e.Count
	} else if e.Doing != j.doing {
		j.doing = e.Doing
		m.tell(j.askers, api.Event{Type: "progress", Platform: p.name, Message: e.Doing}, false)
	}
}

// tick tells askers how far things are, if that has changed.
func (m *Machine) tick() {
	for _, p := range m.sorted() {
		j := p.job
		if j == nil || j.stage != working {
			continue
		}
		done := 0
		for _, n := range j.counts {
			done += n
		}
		if j.kind == jobDown {
			done = max(j.total-done, 0)
		}
		if done != j.told {
			j.told = done
			m.tell(j.askers, api.Event{Type: "progress", Platform: p.name, Done: done, Total: j.total}, false)
		}
	}
}

// reported takes a pnode's word about its part of an up.
func (m *Machine) reported(p *platform, pnode string, r *program.Report, err error) {
	j := p.job
	delete(j.pending, pnode)
	if r != nil {
		p.reports[pnode] = r
		j.counts[pnode] = r.Up()
	}
	if err != nil {
		j.errs = append(j.errs, m.from(pnode, err))
	}
	m.maybeDone(p)
}

// removed takes a pnode's word about its part of a down.
func (m *Machine) removed(p *platform, pnode string, left *program.Report, err error) {
	j := p.job
	delete(j.pending, pnode)
	switch {
	case err == nil:
		delete(p.reports, pnode)
		j.counts[pnode] = 0
	default:
		if left != nil {
			p.reports[pnode] = left
		}
		j.errs = append(j.errs, m.from(pnode, err))
	}
	m.maybeDone(p)
}

// from says of which pnode an error is, where there are several.
func (m *Machine) from(pnode string, err error) error {
	if len(m.pnodes) < 2 {
		return err
	}
	p := *bus.ProblemOf(err)
	p.Op = "pnode " + pnode + ": " + p.Op
	return &p
}

// maybeDone ends the job when no pnode is at work on it any more.
func (m *Machine) maybeDone(p *platform) {
	j := p.job
	if len(j.pending) > 0 {
		return
	}
	m.tick()
	var err error
	if len(j.errs) > 0 {
		err = j.errs[0]
	}
	if j.kind == jobDown {
		m.finishDown(p, err)
		return
	}
	if j.stopped != nil {
		err = j.stopped
	}
	r := m.newRecord(p)
	r.Since, r.Took, r.Writes = m.now, m.now.Sub(j.began), 0
	for _, report := range p.reports {
		r.Writes += report.Writes
	}
	p.record = &r
	m.save(p)
	m.finishUp(p, err)
}

// save remembers what the pnodes said last.
func (m *Machine) save(p *platform) {
	p.record.Reports = nil
	room := mostRemembered
	for _, pnode := range slices.Sorted(maps.Keys(p.reports)) {
		r := *p.reports[pnode]
		r.Problems = r.Problems[:min(room, len(r.Problems))]
		room -= len(r.Problems)
		p.record.Reports = append(p.record.Reports, r)
	}
	m.do(Save{Record: *p.record})
}

// mostRemembered is how many problems of a platform are remembered: a record
// is small.
const mostRemembered = 100

// finishUp ends the up under way, and begins what waits.
func (m *Machine) finishUp(p *platform, err error) {
	j := p.job
	p.job = nil
	if err == nil {
		m.beginSchedule(p)
	}
	e := api.Event{Type: "up", Platform: p.name}
	if p.record != nil {
		e.Result = m.view(p)
	}
	if err != nil {
		e.Type, e.Error = "error", ErrorOf(err)
		m.note("error", p.name, err.Error())
	} else {
		m.note("up", p.name, fmt.Sprintf("%d of %d vnodes up in %v, %d kernel objects written",
			e.Result.Up, e.Result.Vnodes, e.Result.Took.Round(time.Millisecond), e.Result.Writes))
	}
	m.tell(j.askers, e, true)
	m.next(p)
}

// finishDown ends the down under way, and begins what waits.
func (m *Machine) finishDown(p *platform, err error) {
	j := p.job
	p.job = nil
	if err != nil {
		m.note("error", p.name, err.Error())
		m.tell(j.askers, api.Event{Type: "error", Platform: p.name, Error: ErrorOf(err), Result: m.view(p)}, true)
		m.next(p)
		return
	}
	if p.record != nil {
		m.do(Forget{p.name})
		p.record, p.plan, p.links.state = nil, nil, linkState{}
	}
	took := m.now.Sub(j.began).Round(time.Millisecond)
	m.note("down", p.name, fmt.Sprintf("%d vnodes removed in %v", j.total, took))
	m.tell(j.askers, api.Event{Type: "down", Platform: p.name, Done: j.total, Total: j.total}, true)
	m.next(p)
}

// gone lets an asker go. An up that nobody waits for any more is stopped; a
// down goes on.
func (m *Machine) gone(a Asker) {
	for _, p := range m.sorted() {
		queue := p.queue[:0]
		for _, j := range p.queue {
			if j.leave(a); len(j.askers) > 0 || j.kind == jobDown {
				queue = append(queue, j)
			}
		}
		p.queue = queue
		if j := p.job; j != nil && j.leave(a) && len(j.askers) == 0 && j.kind == jobUp {
			m.stop(p, &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "bring up " + p.name, Cause: "interrupted", Remedy: "up again goes on from there"})
		}
		m.leaveLinks(p, a)
	}
}

// leave takes an asker out, and tells whether it was there.
func (j *job) leave(a Asker) bool {
	i := slices.Index(j.askers, a)
	if i >= 0 {
		j.askers = slices.Delete(j.askers, i, i+1)
	}
	return i >= 0
}

// stop ends the up under way as soon as can be.
func (m *Machine) stop(p *platform, why error) {
	j := p.job
	if j.stopped != nil {
		return
	}
	j.stopped = why
	if j.stage == working {
		for _, pnode := range slices.Sorted(maps.Keys(j.pending)) {
			m.do(Stop{Platform: p.name, Pnode: pnode})
		}
	}
}

package coord

import (
	"maps"
	"slices"
	"time"

	"myriad/api"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

// platform is what the machine knows of a platform.
type platform struct {
	name    string
	record  *store.Record // nil: it is in a kernel, and nobody here asked for it
	plan    *plan.Plan    // nil without a record
	where   where         // of the plan
	reports map[string]*program.Report
	owed    map[string]bool // pnodes that were not heard to follow the plan
	mend    map[string]bool // pnodes that are to be made to follow it
	left    []string        // pnodes whose vnodes could not be made elsewhere, as the plan has them, and so were left
	unfit   bool            // it is to be looked whether the plan suits the pnodes
	stuck   bool            // it does not, and no other one could be made
	job     *job            // under way
	queue   []*job          // what waits for its end
	links   links           // conditions of its links
	unsaved bool            // there is something to remember
	saved   time.Time       // when that was done last
}

// job is a request under way, and all who wait for its end; or something that
// the machine does by itself.
type job struct {
	kind    jobKind
	stage   stage
	askers  []Asker
	source  *Source        // up; adapt, once it is known
	plan    *plan.Plan     // once it is made
	where   where          // of that
	before  where          // of the plan before
	links   *program.Links // of that too
	slot    uint8          // of VNIs
	why     string         // adapt
	began   time.Time
	pending map[string]*part // pnodes at work
	later   []string         // pnodes that lose vnodes to others: they begin when the others are done
	mended  []string         // mend
	counts  map[string]int   // how far each pnode is
	total   int              // vnodes that are to be made or removed
	told    int              // how far askers believe it is
	failed  []failure
	stopped error  // why it ends early
	again   bool   // another plan is to be made, without pnodes that were lost meanwhile
	doing   string // what a pnode is busy with, as askers were told
	waits   bool   // askers were told that it waits for pnodes
	checks  bool   // it is being looked whether packets arrive whole
}

// part is what one pnode does of a job.
type part struct {
	call  uint64    // 0: none is under way
	tries int       // calls that were broken off
	again time.Time // when the next one is
}

// failure is why a pnode has not done its part.
type failure struct {
	pnode string
	err   error
}

type jobKind uint8

const (
	jobUp jobKind = iota
	jobDown
	jobAdapt // another plan, of the same source, for other pnodes
	jobMend  // pnodes follow the plan that the others follow
)

// stage is how far a job is.
type stage uint8

const (
	planning stage = iota
	saving
	working // pnodes are
)

// owe notes that it is not known whether a pnode follows the plan, be it that it
// is to have nothing.
func (p *platform) owe(pnode string) {
	if p.owed == nil {
		p.owed = map[string]bool{}
	}
	p.owed[pnode] = true
}

func (j *job) fail(pnode string, err error) { j.failed = append(j.failed, failure{pnode, err}) }

// forgive has the failure of a pnode count no more: it tries again.
func (j *job) forgive(pnode string) {
	j.failed = slices.DeleteFunc(j.failed, func(f failure) bool { return f.pnode == pnode })
}

// own tells whether the machine does it by itself.
func (j *job) own() bool { return j.kind == jobAdapt || j.kind == jobMend }

// say tells the askers of the job under way something.
func (m *Machine) say(p *platform, message string) {
	m.tell(p.job.askers, api.Event{Type: "progress", Platform: p.name, Message: message}, false)
}

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
		return j.kind != jobDown
	})
	p.mend, p.unfit = nil, false
	if p.job != nil && p.job.kind != jobDown {
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
	if m.deaf {
		m.sayDeaf(j.askers, p.name)
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
		m.care(p)
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
	if m.awaits(p, p.queue[0]) {
		return
	}
	p.job, p.queue = p.queue[0], p.queue[1:]
	j := p.job
	j.began, j.pending, j.counts, j.told = m.now, map[string]*part{}, map[string]int{}, -1
	switch j.kind {
	case jobDown:
		m.startRemoval(p)
	case jobMend:
		m.startMend(p)
	default:
		m.startPlanning(p)
	}
}

// awaits tells whether a job waits for pnodes that may still come back, now
// that the coordinator has begun.
func (m *Machine) awaits(p *platform, j *job) bool {
	var awaited []string
	for name, n := range m.pnodes {
		if n.state == pnodeExpected && !n.drained && j.kind != jobMend && (j.kind == jobUp || j.kind == jobAdapt || p.where.wants(name) || p.reports[name] != nil) {
			awaited = append(awaited, name)
		}
	}
	if len(awaited) > 0 && !j.waits {
		j.waits = true
		slices.Sort(awaited)
		m.tell(j.askers, api.Event{Type: "progress", Platform: p.name, Message: "waits a moment for pnodes that have not come back yet: " + few(awaited)}, false)
	}
	return len(awaited) > 0 || j.kind == jobUp && m.measures()
}

// startPlanning has a plan made for the job under way, unless the one of before
// is as good.
func (m *Machine) startPlanning(p *platform) {
	j := p.job
	j.stage, j.again, j.failed = planning, false, nil
	clear(j.counts)
	var pnodes []plan.Pnode
	var err error
	if p.record != nil {
		j.slot = p.record.Slot
	} else if j.slot, err = m.freeSlot(p); err != nil {
		m.finishUp(p, err)
		return
	}
	if pnodes, err = m.pnodesFor(p); err != nil {
		m.finishUp(p, err)
		return
	}
	if j.kind == jobUp && j.plan == nil && m.unchanged(p, j.source, pnodes) {
		j.plan, j.where, j.before = p.plan, p.where, p.where
		m.startApply(p)
		return
	}
	e := MakePlan{Platform: p.name, Previous: p.plan, Pnodes: pnodes, Others: m.plansBeside(p), Slot: j.slot, Ways: m.waysList()}
	if j.kind == jobUp && j.plan == nil {
		e.Source = j.source
	} else {
		e.Force = p.record.Force
	}
	m.do(e)
}

// loss is the policy of the platform that a job is about.
func (p *platform) loss() topo.Loss {
	if j := p.job; j != nil && j.kind == jobUp && j.source != nil {
		return j.source.Topology.Placement.Loss
	}
	return p.plan.Loss()
}

// pnodesFor gives the pnodes that the job under way plans with: those that are
// there, and others that keep what they have.
func (m *Machine) pnodesFor(p *platform) ([]plan.Pnode, error) {
	var out []plan.Pnode
	var absent []string
	drained, there := false, false
	for _, n := range m.sortedPnodes() {
		switch {
		case n.drained:
			drained = true
		case n.state == pnodeUp:
			there = true
			out = append(out, n.row())
		case !p.where.wants(n.name), n.state == pnodeLost && p.loss() == topo.LossReplace:
		default:
			absent = append(absent, n.name)
			out = append(out, p.where.rows[n.name])
		}
	}
	nobody := &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "bring up " + p.name, Cause: "no agent is there", Remedy: "start one"}
	switch {
	case !there && drained:
		nobody.Cause, nobody.Remedy = "every pnode is drained", "\"myriad drain --undo\" has vnodes be placed there again"
		return nil, nobody
	case !there:
		return nil, nobody
	case len(absent) > 0 && p.job.kind == jobUp && p.loss() == topo.LossFail:
		return nil, m.problemWithout(p, absent)
	}
	return out, nil
}

// unchanged tells whether the plan that a platform follows is that of s, and
// suits the pnodes that are to be.
func (m *Machine) unchanged(p *platform, s *Source, pnodes []plan.Pnode) bool {
	if p.record == nil || p.record.Digest != s.Digest || m.misfit(p) != "" {
		return false
	}
	usable := map[string]bool{}
	for _, n := range pnodes {
		usable[n.Name] = true
	}
	return !slices.ContainsFunc(p.where.names, func(name string) bool { return !usable[name] })
}

// freeSlot gives the lowest slot of VNIs that no platform has, nor has left
// anywhere.
func (m *Machine) freeSlot(of *platform) (uint8, error) {
	taken := map[uint8]bool{}
	for _, p := range m.platforms {
		if p.record != nil {
			taken[p.record.Slot] = true
		}
		if p != of && p.job != nil && p.job.kind == jobUp && p.job.stage != working {
			taken[p.job.slot] = true
		}
	}
	for _, n := range m.pnodes {
		for _, slot := range n.owes {
			taken[slot] = true
		}
	}
	for slot := range 256 {
		if !taken[uint8(slot)] {
			return uint8(slot), nil
		}
	}
	return 0, &program.Problem{Kind: program.KindExhausted, Rack: -1, Op: "give the platform VNIs", Cause: "there are 256 platforms", Remedy: "take some down"}
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
func (m *Machine) planned(p *platform, e *Planned) {
	j := p.job
	if j.kind == jobDown || j.stage != planning {
		return
	}
	if e.Source != nil {
		j.source = e.Source
	}
	switch {
	case j.stopped != nil:
		m.finishUp(p, j.stopped)
	case e.Err != nil:
		m.finishUp(p, e.Err)
	default:
		j.plan, j.where, j.stage = e.Plan, whereIs(e.Plan), saving
		m.do(SavePlan{Record: m.newRecord(p), Source: j.source.Text, Files: j.source.Files, Plan: e.Plan})
	}
}

// newRecord is what is remembered of the platform for which the job under way
// has a plan.
func (m *Machine) newRecord(p *platform) store.Record {
	j := p.job
	r := store.Record{Name: p.name, File: j.source.File, Digest: j.source.Digest, Seed: j.source.Topology.Seed, Force: j.source.Force, Slot: j.slot}
	r.Pnodes, r.Owed = map[string]string{}, map[string]bool{}
	if p.record != nil {
		r.Reports, r.Since, r.Took, r.Writes = p.record.Reports, p.record.Since, p.record.Took, p.record.Writes
	}
	for _, n := range j.plan.Pnodes() {
		if k := m.pnodes[n.Name]; k != nil && k.boot != "" {
			r.Pnodes[n.Name] = k.boot
		}
	}
	for name := range p.owed {
		r.Owed[name] = true
	}
	for _, name := range j.where.names {
		r.Owed[name] = true
	}
	return r
}

// saved goes on when the plan is remembered.
func (m *Machine) saved(p *platform, err error) {
	j := p.job
	if j.stage != saving {
		return
	}
	if err != nil {
		m.finishUp(p, err)
		return
	}
	r := m.newRecord(p)
	j.before = p.where
	if p.plan != nil {
		j.links = p.plan.Links()
	}
	p.record, p.plan, p.where, p.mend, p.left = &r, j.plan, j.where, nil, nil
	owed := p.owed
	p.owed = maps.Clone(r.Owed)
	for _, name := range j.before.names { // who was lost before it said anything may carry something
		if !j.where.wants(name) && p.reports[name] == nil && m.pnodes[name] != nil && !m.there(name) {
			p.reports[name] = &program.Report{Platform: p.name, Pnode: name}
		}
	}
	j.source.Text, j.source.Files = "", nil // they may be large
	if j.stopped != nil {
		if j.kind == jobUp {
			p.owed = owed // whoever asked has changed his mind
		}
		p.unsaved = true
		m.finishUp(p, j.stopped)
		return
	}
	m.startApply(p)
}

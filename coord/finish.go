package coord

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"myriad/api"
	"myriad/program"
)

// maybeDone goes on when no pnode is at work on a job any more.
func (m *Machine) maybeDone(p *platform) {
	j := p.job
	if j == nil || j.stage != working || len(j.pending) > 0 {
		return
	}
	var err error
	if len(j.failed) > 0 {
		err = j.failed[0].err
	}
	switch {
	case j.kind == jobDown:
		m.tick()
		m.finishDown(p, err)
		return
	case j.stopped != nil:
		err = j.stopped
	case len(j.later) > 0 && (err == nil || j.kind != jobAdapt): // what could not be made elsewhere stays where it was
		later := j.later
		j.later = nil
		for _, name := range later {
			m.startPart(p, name)
		}
		m.maybeDone(p)
		return
	case j.again:
		m.say(p, "plans again, without the pnodes that were lost")
		m.startPlanning(p)
		return
	case j.checks:
		return
	}
	m.tick()
	if j.kind != jobMend {
		r := m.newRecord(p)
		if j.kind == jobUp {
			r.Since, r.Took, r.Writes = m.now, m.now.Sub(j.began), 0
			for _, report := range p.reports {
				r.Writes += report.Writes
			}
		}
		p.record = &r
	} else {
		m.noteBoots(p)
	}
	m.save(p)
	m.finishUp(p, err)
}

// noteBoots remembers in which life of their machines pnodes were mended.
func (m *Machine) noteBoots(p *platform) {
	r := *p.record
	r.Pnodes = maps.Clone(r.Pnodes)
	for _, name := range p.job.mended {
		switch {
		case !p.where.wants(name):
			delete(r.Pnodes, name)
		case m.there(name):
			r.Pnodes[name] = m.pnodes[name].boot
		}
	}
	p.record = &r
}

// save remembers what the pnodes said last.
func (m *Machine) save(p *platform) {
	r := *p.record
	r.Reports, r.Owed = nil, maps.Clone(p.owed)
	room := mostRemembered
	for _, pnode := range names(p.reports) {
		said := *p.reports[pnode]
		said.Problems = said.Problems[:min(room, len(said.Problems))]
		room -= len(said.Problems)
		r.Reports = append(r.Reports, said)
	}
	p.record, p.unsaved, p.saved = &r, false, m.now
	m.do(Save{Record: r})
}

const (
	// mostRemembered is how many problems of a platform are remembered.
	mostRemembered = 100
	// saveEvery is how often what pnodes say by themselves is remembered at most.
	saveEvery = time.Second
)

// saveAll remembers what has changed, but not all the time.
func (m *Machine) saveAll() {
	for _, p := range m.platforms {
		if p.unsaved && p.record != nil && p.job == nil && m.now.Sub(p.saved) >= saveEvery {
			m.save(p)
		}
	}
	if m.unsaved && (m.now.Sub(m.kept) >= saveEvery || m.ending) {
		m.unsaved, m.kept = false, m.now
		m.do(m.pnodesRecord())
	}
}

// finishUp ends the job under way, which is no down, and begins what waits.
func (m *Machine) finishUp(p *platform, err error) {
	j := p.job
	p.job, p.left = nil, append(p.left, j.later...)
	if j.plan != nil {
		m.do(Tidy{p.name})
	}
	switch {
	case j.own():
		m.finishOwn(p, j, err)
	default:
		m.answerUp(p, j, err)
	}
	m.endDrains(p, j, err)
	m.next(p)
}

// answerUp tells those who waited for an up how it ended.
func (m *Machine) answerUp(p *platform, j *job, err error) {
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
}

// finishOwn makes known what came of something that the machine did by itself.
func (m *Machine) finishOwn(p *platform, j *job, err error) {
	took := m.now.Sub(j.began).Round(time.Millisecond)
	v := m.view(p)
	switch {
	case err != nil && j.kind == jobAdapt:
		p.stuck = true
		m.note("error", p.name, fmt.Sprintf("%s: %v", j.why, err))
	case err != nil:
		m.note("error", p.name, err.Error())
	case j.kind == jobAdapt:
		m.note("moved", p.name, fmt.Sprintf("%s: %d of %d vnodes up after %v", j.why, v.Up, v.Vnodes, took))
	default:
		for _, name := range j.mended {
			if p.where.wants(name) {
				m.note("mended", p.name, fmt.Sprintf("pnode %s follows the plan again: %d of %d vnodes up there", name, p.up(name), p.where.vnodes[name]))
			} else {
				m.note("mended", p.name, fmt.Sprintf("what pnode %s still had of it is removed: its vnodes are elsewhere", name))
			}
		}
	}
}

// finishDown ends the down under way, and begins what waits.
func (m *Machine) finishDown(p *platform, err error) {
	j := p.job
	p.job = nil
	if err != nil {
		if p.record != nil {
			p.record.Down = false // it is as it is, until somebody asks again
			m.save(p)
			p.unfit = true
		}
		m.note("error", p.name, err.Error())
		m.tell(j.askers, api.Event{Type: "error", Platform: p.name, Error: ErrorOf(err), Result: m.view(p)}, true)
		m.endDrains(p, j, err)
		m.next(p)
		return
	}
	if m.unsaved { // what is owed must not be forgotten
		m.unsaved, m.kept = false, m.now
		m.do(m.pnodesRecord())
	}
	if p.record != nil {
		m.forget(p)
	}
	took := m.now.Sub(j.began).Round(time.Millisecond)
	if j.total > 0 || len(j.askers) > 0 {
		m.note("down", p.name, fmt.Sprintf("%d vnodes removed in %v", j.total, took))
	}
	m.tell(j.askers, api.Event{Type: "down", Platform: p.name, Done: j.total, Total: j.total}, true)
	m.endDrains(p, j, nil)
	m.next(p)
}

// gone lets an asker go. An up that nobody waits for any more is stopped; a
// down goes on.
func (m *Machine) gone(a Asker) {
	for _, p := range m.sorted() {
		queue := p.queue[:0]
		for _, j := range p.queue {
			if j.leave(a); len(j.askers) > 0 || j.kind != jobUp {
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

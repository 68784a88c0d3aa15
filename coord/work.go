package coord

import (
	"maps"
	"slices"
	"strings"
	"time"

	"myriad/api"
	"myriad/bus"
	"myriad/program"
)

const (
	tryAfter = time.Second // a call that was broken off is tried again
	mostTry  = 10
)

// startApply has pnodes follow the plan of the job under way. Who loses vnodes
// to others begins when the others are done: a vnode is made at its new place
// before it is removed at the old one, so that one that cannot be made is not
// lost as well. In between it is at two places, and heard at one: frames of a
// vnode that come from another pnode than the tables say are dropped.
func (m *Machine) startApply(p *platform) {
	j := p.job
	j.stage, j.total = working, j.plan.Len()
	m.setLinks(p, j)
	m.tick()
	all := slices.Clone(j.where.names)
	for _, name := range p.mayCarry() {
		if !j.where.wants(name) {
			all = append(all, name)
		}
	}
	for _, name := range all {
		if len(all) > 1 && m.there(name) && j.where.vnodes[name] < j.before.vnodes[name] {
			j.later = append(j.later, name)
			continue
		}
		m.startPart(p, name)
	}
	m.startCheck(p)
	m.maybeDone(p)
}

func (m *Machine) startRemoval(p *platform) {
	j := p.job
	j.stage = working
	if p.record != nil && !p.record.Down {
		p.record.Down = true // whatever happens now, it is taken away
		m.save(p)
	}
	for _, name := range p.mayCarry() {
		if m.there(name) {
			j.counts[name] = p.up(name)
			j.total += j.counts[name]
		}
		m.startPart(p, name)
	}
	m.tick()
	m.maybeDone(p)
}

// mayCarry gives the pnodes that may have something of a platform: those that
// have said so, that should, or that were asked to and have not answered.
func (p *platform) mayCarry() []string {
	at := maps.Clone(p.where.vnodes)
	if at == nil {
		at = map[string]int{}
	}
	for name := range p.reports {
		at[name]++
	}
	for name := range p.owed {
		at[name]++
	}
	return names(at)
}

// up is the number of vnodes that are up on a pnode.
func (p *platform) up(pnode string) int {
	if r := p.reports[pnode]; r != nil {
		return r.Up()
	}
	return 0
}

// startPart has a pnode do its part of the job under way.
func (m *Machine) startPart(p *platform, name string) {
	j := p.job
	if !m.there(name) {
		m.absent(p, name)
		return
	}
	m.call++
	tries := 0
	if was := j.pending[name]; was != nil {
		tries = was.tries
	}
	j.pending[name] = &part{call: m.call, tries: tries}
	if j.kind != jobDown && j.where.wants(name) {
		m.do(Apply{Platform: p.name, Pnode: name, Call: m.call, Plan: j.plan, Links: p.links.state.force})
	} else {
		m.do(Remove{Platform: p.name, Pnode: name, Call: m.call})
	}
}

// part gives what a pnode is doing, if an answer is about that.
func (j *job) part(pnode string, call uint64) *part {
	if x := j.pending[pnode]; x != nil && x.call == call && call != 0 {
		return x
	}
	return nil
}

// counted notes how far a pnode is.
func (m *Machine) counted(p *platform, e Counted) {
	j := p.job
	if j.part(e.Pnode, e.Call) == nil {
		return
	}
	if e.Doing == "" {
		j.counts[e.Pnode] = e.Count
	} else if e.Doing != j.doing {
		j.doing = e.Doing
		m.say(p, e.Doing)
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

// brokenOff tells whether an error is that of a call which did not come to its
// end, rather than one that the agent has found.
func brokenOff(r *program.Report, err error) bool {
	p := bus.ProblemOf(err)
	return r == nil && p != nil && p.Kind == program.KindUnavailable && (p.Op == "stream" || p.Op == "send" || strings.HasPrefix(p.Op, "ask "))
}

// broken deals with a call that was broken off, and tells whether it was: it is
// tried again while the pnode is there.
func (m *Machine) broken(p *platform, pnode string, r *program.Report, err error) bool {
	j := p.job
	x := j.pending[pnode]
	if !brokenOff(r, err) || j.stopped != nil {
		return false
	}
	if !m.there(pnode) {
		delete(j.pending, pnode)
		m.absent(p, pnode)
		m.maybeDone(p)
		return true
	}
	if x.tries++; x.tries > mostTry {
		return false
	}
	x.call, x.again = 0, m.now.Add(tryAfter)
	return true
}

// tryAgain begins calls anew that were broken off a while ago.
func (m *Machine) tryAgain() {
	for _, p := range m.sorted() {
		if p.job == nil || p.job.stage != working {
			continue
		}
		for _, name := range names(p.job.pending) {
			switch x := p.job.pending[name]; {
			case x.call != 0:
			case !m.there(name):
				delete(p.job.pending, name)
				m.absent(p, name)
			case !x.again.After(m.now):
				m.startPart(p, name)
			}
		}
		m.maybeDone(p)
	}
}

// reported takes a pnode's word about its part of a plan.
func (m *Machine) reported(p *platform, e *Applied) {
	j := p.job
	if j.part(e.Pnode, e.Call) == nil || m.broken(p, e.Pnode, e.Report, e.Err) {
		return
	}
	delete(j.pending, e.Pnode)
	m.answered(p, e.Pnode, e.Said)
	if e.Report != nil {
		p.reports[e.Pnode] = e.Report
		j.counts[e.Pnode] = e.Report.Up()
	}
	if e.Err == nil || e.Report != nil && j.kind == jobUp {
		delete(p.owed, e.Pnode)
		m.settle(p, e.Pnode)
	}
	if e.Err == nil {
		delete(p.links.state.differ, e.Pnode)
	} else {
		j.fail(e.Pnode, m.from(e.Pnode, e.Err))
	}
	m.maybeDone(p)
}

// answered notes that what an agent had said of a platform before it answered is
// older than the answer.
func (m *Machine) answered(p *platform, pnode string, said *bus.From) {
	if n := m.pnodes[pnode]; n != nil && said != nil {
		if n.answers == nil {
			n.answers = map[string]bus.From{}
		}
		n.answers[p.name] = *said
	}
}

// removed takes a pnode's word about the removal of a platform.
func (m *Machine) removed(p *platform, e *Removed) {
	j := p.job
	if j.part(e.Pnode, e.Call) == nil || m.broken(p, e.Pnode, e.Report, e.Err) {
		return
	}
	delete(j.pending, e.Pnode)
	m.answered(p, e.Pnode, e.Said)
	if e.Err == nil {
		delete(p.reports, e.Pnode)
		delete(p.owed, e.Pnode)
		m.settle(p, e.Pnode)
		if j.kind == jobDown {
			j.counts[e.Pnode] = 0
		}
	} else {
		if e.Report != nil {
			p.reports[e.Pnode] = e.Report
		}
		j.fail(e.Pnode, m.from(e.Pnode, e.Err))
	}
	m.maybeDone(p)
}

// settle notes that nothing of before is left of a platform on a pnode.
func (m *Machine) settle(p *platform, pnode string) {
	n := m.pnodes[pnode]
	if n == nil {
		return
	}
	if _, ok := n.owes[p.name]; ok {
		delete(n.owes, p.name)
		m.unsaved = true
	}
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

// stop ends the job under way as soon as can be.
func (m *Machine) stop(p *platform, why error) {
	j := p.job
	if j.stopped != nil {
		return
	}
	j.stopped, j.later = why, nil
	if j.stage != working {
		return
	}
	for _, pnode := range names(j.pending) {
		if x := j.pending[pnode]; x.call == 0 {
			delete(j.pending, pnode)
		} else if j.where.wants(pnode) {
			m.do(Stop{Platform: p.name, Pnode: pnode, Call: x.call})
		}
	}
	m.maybeDone(p)
}

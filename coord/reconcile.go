package coord

import (
	"fmt"
	"slices"

	"myriad/program"
	"myriad/topo"
)

// reconcile compares what a pnode that has said hello carries of a platform,
// nil for nothing, with what it should. What is to be done about it is noted
// down, and begun by next; a job under way sees to it itself. returned says
// that it was away, or that its agent is another one: what it was asked before
// is not under way any more; first, that nothing was heard of it since the
// coordinator began.
func (m *Machine) reconcile(p *platform, n *pnode, r *program.Report, returned, first bool) {
	if r != nil {
		p.links.mayDiffer(n.name)
	}
	if j := p.job; j != nil {
		p.unfit = true // it may have been planned for what was
		if r != nil {
			p.reports[n.name] = r
		} else if j.stage != working || j.pending[n.name] == nil {
			delete(p.reports, n.name)
		}
		switch {
		case j.stage == working && j.stopped == nil:
			m.rejoin(p, n, returned)
		case returned && j.pending[n.name] != nil: // that call has ended with its agent
			delete(j.pending, n.name)
			p.owe(n.name)
			m.maybeDone(p)
		}
		return
	}
	was := p.reports[n.name]
	if r != nil {
		p.reports[n.name] = r
	} else {
		delete(p.reports, n.name)
	}
	news := m.noteRacks(p, was, r) // what its agent said of them meanwhile may not have been heard
	switch {
	case p.record == nil:
		return // it is foreign, or on its way out
	case !p.where.wants(n.name):
		if r != nil || p.owed[n.name] {
			p.toMend(n.name)
		}
		return
	case m.misplaced(p, n):
		p.unfit = true
	}
	switch {
	case p.owed[n.name], r != nil && r.Up() > p.where.vnodes[n.name]:
		p.toMend(n.name)
	case r == nil:
		m.missing(p, n, was, first)
	case returned && p.plan.Loss() != topo.LossFail && r.Up() < p.where.vnodes[n.name]:
		p.toMend(n.name)
	}
	p.unsaved = p.unsaved || news || was == nil || r == nil || was.Up() != r.Up()
}

// toMend notes that a pnode is to be made to follow the plan.
func (p *platform) toMend(pnode string) {
	if p.mend == nil {
		p.mend = map[string]bool{}
	}
	p.mend[pnode] = true
}

// missing deals with a platform of which a pnode should have something, and has
// nothing. If the machine was started anew, its vnodes are lost. Otherwise
// somebody has taken them down without us: if that is so everywhere, since
// before the coordinator began, there is nothing to remember.
func (m *Machine) missing(p *platform, n *pnode, was *program.Report, first bool) {
	boot, planned := p.record.Pnodes[n.name]
	if !planned {
		return
	}
	if first && boot == n.boot && p.links.batch == nil && len(p.queue) == 0 && m.missingEverywhere(p) {
		if n.hello.Epoch != m.epoch && m.epoch != 0 {
			m.hail(n) // that may have been said long ago
			return
		}
		m.forget(p)
		m.note("down", p.name, "it was taken down while no daemon ran")
		m.dropIfEmpty(p)
		return
	}
	if p.plan.Loss() != topo.LossFail {
		p.toMend(n.name)
	}
	if boot == n.boot && first {
		return
	}
	p.reports[n.name] = lostReport(p.plan, n.name)
	if was == nil || was.Up() > 0 {
		why := "was started anew"
		if boot == n.boot {
			why = "has nothing of it any more"
		}
		m.note("rack-lost", p.name, fmt.Sprintf("pnode %s %s; its vnodes are lost", n.name, why))
	}
}

// missingEverywhere tells whether no pnode has anything of a platform.
func (m *Machine) missingEverywhere(p *platform) bool {
	for pnode := range p.record.Pnodes {
		if p.reports[pnode] != nil || !m.there(pnode) {
			return false
		}
	}
	return !slices.ContainsFunc(p.mayCarry(), func(pnode string) bool { return !m.there(pnode) })
}

// forget has a platform be remembered no more.
func (m *Machine) forget(p *platform) {
	p.record, p.plan, p.where, p.links.state = nil, nil, where{}, linkState{}
	p.owed, p.mend, p.unfit, p.unsaved = nil, nil, false, false
	m.do(Forget{p.name})
}

// misplaced tells whether a pnode is reached otherwise than a plan has it,
// where that matters to other pnodes.
func (m *Machine) misplaced(p *platform, n *pnode) bool {
	row, now := p.where.rows[n.name], n.row()
	return len(p.where.names) > 1 && p.where.wants(n.name) &&
		(row.Address != now.Address || row.MTU != now.MTU || row.Key != now.Key || row.Site != now.Site)
}

// misfit says why a platform's plan does not suit its pnodes any more, empty if
// it does.
func (m *Machine) misfit(p *platform) string {
	for _, name := range p.where.names {
		n := m.pnodes[name]
		switch {
		case n == nil: // it was given up: the next up says what becomes of it
		case n.drained:
			return fmt.Sprintf("moves %s away from pnode %s, which is drained", plural(p.where.vnodes[name], "vnode", "vnodes"), name)
		case n.state == pnodeLost && p.plan.Loss() == topo.LossReplace:
			return fmt.Sprintf("replaces %s of pnode %s, which is lost", plural(p.where.vnodes[name], "vnode", "vnodes"), name)
		case n.state == pnodeUp && m.misplaced(p, n):
			return fmt.Sprintf("takes over that pnode %s is now at %s", name, n.hello.Address)
		}
	}
	if m.waysChanged(p) {
		return "takes over how long ways between sites now take"
	}
	return ""
}

// care queues a job of the machine's own for a platform with which nobody does
// anything, if there is need of one.
func (m *Machine) care(p *platform) {
	if p.record == nil || p.plan == nil || m.ending {
		return
	}
	if p.unfit {
		p.unfit = false
		if why := m.misfit(p); why != "" {
			p.queue = append(p.queue, &job{kind: jobAdapt, why: why, askers: m.drainers(p)})
			return
		}
	}
	for _, a := range m.drainers(p) {
		if n := m.drains[a].pnode; p.reports[n] != nil && !p.where.wants(n) {
			p.toMend(n)
		}
	}
	if len(p.left) > 0 && !slices.ContainsFunc(p.where.names, func(name string) bool { return p.owed[name] }) {
		for _, name := range p.left {
			p.toMend(name)
		}
		p.left = nil
	}
	for name := range p.mend {
		if m.there(name) {
			p.queue = append(p.queue, &job{kind: jobMend})
			return
		}
	}
	p.mend = nil // who is not there says what it carries when it is
}

// startMend has pnodes follow the plan that the others follow already.
func (m *Machine) startMend(p *platform) {
	j := p.job
	j.plan, j.where, j.stage = p.plan, p.where, working
	for _, name := range names(p.mend) {
		if m.there(name) && (j.where.wants(name) || p.reports[name] != nil || p.owed[name]) {
			j.total += j.where.vnodes[name]
			j.mended = append(j.mended, name)
			m.startPart(p, name)
		}
	}
	p.mend = nil
	m.maybeDone(p)
}

// rejoin has a pnode that has said hello do its part of the job under way.
func (m *Machine) rejoin(p *platform, n *pnode, returned bool) {
	j := p.job
	if part := j.pending[n.name]; part != nil && part.call != 0 && !returned {
		return // it is at it
	}
	wanted, carries := j.where.wants(n.name), p.reports[n.name] != nil || p.owed[n.name]
	switch {
	case slices.Contains(j.later, n.name):
		return // its turn comes
	case j.kind == jobDown && !carries:
		delete(j.pending, n.name)
	case j.kind == jobDown, j.pending[n.name] != nil, wanted && p.owed[n.name], !wanted && carries:
		j.forgive(n.name)
		if j.kind == jobMend && !slices.Contains(j.mended, n.name) {
			j.mended = append(j.mended, n.name)
			j.total += j.where.vnodes[n.name]
		}
		m.startPart(p, n.name)
	default:
		return
	}
	m.maybeDone(p)
}

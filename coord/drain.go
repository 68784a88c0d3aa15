package coord

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"myriad/api"
	"myriad/program"
)

// drain is a request that vnodes be moved away from a pnode.
type drain struct {
	pnode string
	undo  bool
	was   bool            // it was drained before
	left  map[string]bool // platforms that still have some there; nil: it is not remembered yet
	moves int             // vnodes that it had when that began
	errs  []error
}

// drainAsked has no vnodes be on a pnode, or lets some be there again. The mark
// is remembered before anything is done about it.
func (m *Machine) drainAsked(e *DrainAsked) {
	n := m.pnodes[e.Pnode]
	if err := m.mayDrain(n, e); err != nil {
		m.refuse(&platform{}, []Asker{e.Asker}, err)
		return
	}
	m.drains[e.Asker] = &drain{pnode: n.name, undo: e.Undo, was: n.drained}
	n.drained = !e.Undo
	m.savePnodes(e.Asker)
}

func (m *Machine) mayDrain(n *pnode, e *DrainAsked) error {
	switch {
	case m.ending:
		return problemEnding()
	case n == nil:
		return notKnown("drain", e.Pnode)
	}
	return nil
}

func notKnown(what, pnode string) error {
	return &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: what + " pnode " + pnode, Cause: "no pnode of that name is known", Remedy: "\"myriad pnodes\" lists them"}
}

// savePnodes has pnodes remembered now, for an asker who waits for it.
func (m *Machine) savePnodes(a Asker) {
	e := m.pnodesRecord()
	e.Asker, m.unsaved, m.kept = a, false, m.now
	m.do(e)
}

// pnodesSaved goes on when pnodes are remembered.
func (m *Machine) pnodesSaved(e *PnodesSaved) {
	d := m.drains[e.Asker]
	switch {
	case e.Err != nil:
		delete(m.drains, e.Asker)
		if d != nil && m.pnodes[d.pnode] != nil {
			m.pnodes[d.pnode].drained = d.was // as it is remembered
		}
		m.refuse(&platform{}, []Asker{e.Asker}, e.Err)
	case d == nil: // it was forgotten
		m.tell([]Asker{e.Asker}, api.Event{Type: "forgotten"}, true)
	case d.undo:
		m.giveUpDrains(d.pnode)
		m.note("drain", "", fmt.Sprintf("vnodes may be placed on pnode %s again", d.pnode))
		m.endDrain(e.Asker)
	case m.pnodes[d.pnode] == nil || !m.pnodes[d.pnode].drained:
		d.left = map[string]bool{}
		m.giveUpDrains(d.pnode)
	default:
		m.note("drain", "", fmt.Sprintf("no vnodes are placed on pnode %s any more", d.pnode))
		d.left = map[string]bool{}
		for _, p := range m.sorted() {
			if p.where.wants(d.pnode) || p.job != nil && p.job.kind != jobDown {
				d.left[p.name], p.unfit = true, true
				d.moves += p.where.vnodes[d.pnode]
			}
		}
		if len(d.left) == 0 {
			m.endDrain(e.Asker)
			return
		}
		m.tell([]Asker{e.Asker}, api.Event{Type: "progress", Message: "moves vnodes of " + few(names(d.left)) + " away from pnode " + d.pnode}, false)
		for _, p := range m.sorted() {
			m.next(p)
		}
	}
}

// drainers are those who wait for vnodes of a platform to be moved.
func (m *Machine) drainers(p *platform) []Asker {
	var out []Asker
	for _, a := range slices.Sorted(maps.Keys(m.drains)) {
		if m.drains[a].left[p.name] {
			out = append(out, a)
		}
	}
	return out
}

// endDrains looks whether a job that has ended has moved what somebody wants
// moved, or could not.
func (m *Machine) endDrains(p *platform, j *job, err error) {
	for _, a := range m.drainers(p) {
		d := m.drains[a]
		carries := p.reports[d.pnode] != nil && m.there(d.pnode)
		switch {
		case !p.where.wants(d.pnode) && !carries:
		case !j.own():
			continue // that comes now
		default:
			if err == nil {
				err = &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "remove " + p.name + " from pnode " + d.pnode, Cause: "it still carries some"}
			}
			d.errs = append(d.errs, err)
		}
		if delete(d.left, p.name); len(d.left) == 0 {
			m.endDrain(a)
		}
	}
}

// giveUpDrains ends the drains of a pnode that is to carry vnodes after all, or
// is not known any more.
func (m *Machine) giveUpDrains(pnode string) {
	for _, a := range slices.Sorted(maps.Keys(m.drains)) {
		if d := m.drains[a]; d.pnode == pnode && d.left != nil {
			d.errs = append(d.errs, &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "move its vnodes", Cause: "another request has undone that, or forgotten the pnode"})
			m.endDrain(a)
		}
	}
}

// endDrain tells who asked for a drain that it has come to its end.
func (m *Machine) endDrain(a Asker) {
	d := m.drains[a]
	delete(m.drains, a)
	e := api.Event{Type: "drained", Message: fmt.Sprintf("pnode %s carries no vnodes, and gets none", d.pnode), Done: d.moves, Total: d.moves}
	if d.undo {
		e.Message = fmt.Sprintf("vnodes may be placed on pnode %s again", d.pnode)
	}
	if len(d.errs) > 0 {
		e = api.Event{Type: "error", Error: ErrorOf(d.errs[0])}
		e.Error.Message = fmt.Sprintf("drain pnode %s: %s", d.pnode, e.Error.Message)
	}
	m.tell([]Asker{a}, e, true)
}

// forgetAsked has nothing be known of a pnode that is not there. What it
// carries, if anything, is lost to us: the next up places it elsewhere.
func (m *Machine) forgetAsked(e *ForgetAsked) {
	n := m.pnodes[e.Pnode]
	var err error
	switch {
	case m.ending:
		err = problemEnding()
	case n == nil && !m.forgetRefusal(e.Pnode):
		err = notKnown("forget", e.Pnode)
	case n != nil && (n.state == pnodeUp || n.state == pnodeExpected):
		err = &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "forget pnode " + n.name, Cause: "it is up", Remedy: "drain it, and end its agent"}
	}
	if err != nil {
		m.refuse(&platform{}, []Asker{e.Asker}, err)
		return
	}
	delete(m.pnodes, e.Pnode)
	m.endCalls(e.Pnode)
	m.giveUpDrains(e.Pnode)
	m.forgetRefusal(e.Pnode)
	for _, p := range m.sorted() {
		if p.reports[e.Pnode] != nil || p.where.wants(e.Pnode) {
			m.note("pnode-forgotten", p.name, fmt.Sprintf("pnode %s is given up; \"up\" places its vnodes elsewhere", e.Pnode))
		}
		delete(p.reports, e.Pnode)
		if delete(p.owed, e.Pnode); p.where.wants(e.Pnode) {
			p.owe(e.Pnode) // should it come back all the same
		}
		if p.record != nil {
			r := *p.record
			r.Pnodes = maps.Clone(r.Pnodes)
			delete(r.Pnodes, e.Pnode)
			p.record, p.unsaved = &r, true
		}
		m.next(p)
	}
	m.savePnodes(e.Asker)
}

// forgetRefusal forgets that pnodes of a name were refused.
func (m *Machine) forgetRefusal(name string) bool {
	n := len(m.refused)
	maps.DeleteFunc(m.refused, func(_ string, r *turnedAway) bool { return r.hello.Pnode == name })
	return len(m.refused) < n
}

// few lists names, but not very many.
func few(names []string) string {
	const most = 10
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

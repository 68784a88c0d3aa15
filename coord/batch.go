package coord

import (
	"fmt"
	"slices"
	"time"

	"myriad/api"
	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/topo"
)

// batch is changes that are put into force together.
type batch struct {
	stage   batchStage
	asks    []*linkAsk
	steps   []due
	wrong   []error   // by step: why it is not made
	resumes *playing  // the schedule that steps are of, as it was before
	at      time.Time // zero: at once
	next    *program.Links
	made    []Made            // by ask
	pending map[string]uint64 // calls by pnode
	reached []string          // pnodes that have it
	shaped  program.Shaped
	away    []failure // pnodes that are not there
	errs    []error
	stopped bool
}

type batchStage uint8

const (
	making batchStage = iota
	shaping
	remembering
)

// parts are the changes of a batch in the order of their times.
func (b *batch) parts() [][]topo.Change {
	b.order()
	var out [][]topo.Change
	for _, s := range b.steps {
		out = append(out, s.step.Changes)
	}
	for _, a := range b.asks {
		out = append(out, a.changes)
	}
	return out
}

// order puts the asks in the order of their times. The steps of a schedule
// come before them: what somebody asks for has the last word.
func (b *batch) order() {
	slices.SortStableFunc(b.asks, func(x, y *linkAsk) int { return x.at.Compare(y.at) })
}

// batchAnswer takes an answer to what the batch under way has asked for.
func (m *Machine) batchAnswer(platform string, stage batchStage, take func(*platform)) {
	if p := m.platforms[platform]; p != nil && p.links.batch != nil && p.links.batch.stage == stage {
		take(p)
	}
}

// linksMade goes on with new tables.
func (m *Machine) linksMade(p *platform, e *LinksMade) {
	b := p.links.batch
	steps := e.Parts[:len(b.steps)]
	b.wrong = make([]error, len(steps))
	for i, made := range steps {
		b.wrong[i] = made.Err
	}
	var asks []*linkAsk
	for i, made := range e.Parts[len(b.steps):] {
		a := b.asks[i]
		switch {
		case made.Err != nil:
			m.refuse(p, a.askers(), made.Err)
		case a.gone && !b.at.IsZero(): // it was withdrawn before its time: that is tables without it
		default:
			asks = append(asks, a)
			b.made = append(b.made, made)
		}
	}
	withdrawn := len(b.asks) > len(asks) && slices.ContainsFunc(b.asks, func(a *linkAsk) bool { return a.gone })
	b.asks, b.next = asks, e.Next
	switch {
	case len(b.asks) == 0 && !slices.ContainsFunc(steps, func(made Made) bool { return made.Err == nil }):
		m.endBatch(p)
	case withdrawn || m.obsolete(p):
		m.putBack(p)
	default:
		m.startShape(p, m.shapeable(p))
	}
}

// obsolete tells whether something has come up that goes before a batch whose
// time has not come.
func (m *Machine) obsolete(p *platform) bool {
	b := p.links.batch
	return !b.at.IsZero() && b.at.Sub(m.now) > justNow && (len(p.links.queue) > 0 || len(p.queue) > 0 || m.ending)
}

// shapeable gives the pnodes that carry a platform.
func (m *Machine) shapeable(p *platform) []string {
	return p.where.names
}

// reachable tells whether any pnode that carries a platform is there.
func (m *Machine) reachable(p *platform) bool {
	return slices.ContainsFunc(m.shapeable(p), m.there)
}

// differing gives the pnodes that are there and may not have what is in force.
func (m *Machine) differing(p *platform) []string {
	var out []string
	for _, pnode := range names(p.links.state.differ) {
		if m.there(pnode) && p.reports[pnode] != nil {
			out = append(out, pnode)
		}
	}
	return out
}

// mayDiffer notes that a pnode may not have what is in force.
func (l *links) mayDiffer(pnode string) {
	s := &l.state
	if s.force == nil && s.changes == 0 {
		return // it has never had any
	}
	if s.differ == nil {
		s.differ = map[string]bool{}
	}
	s.differ[pnode] = true
}

// startShape has pnodes put the batch into force.
func (m *Machine) startShape(p *platform, pnodes []string) {
	b := p.links.batch
	b.stage, b.pending = shaping, map[string]uint64{}
	absent := &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "change links of " + p.name, Cause: "no agent is there"}
	if absent.Remedy = "start one, and ask again"; m.reachable(p) {
		absent.Remedy = "it gets the change when it is back"
	}
	for _, pnode := range pnodes {
		if !m.there(pnode) {
			b.away = append(b.away, failure{pnode, m.from(pnode, absent)})
			continue
		}
		m.call++
		b.pending[pnode] = m.call
		m.do(Shape{Platform: p.name, Pnode: pnode, Call: m.call, Links: b.next, At: b.at})
	}
	if len(b.pending) == 0 {
		m.endBatch(p)
	}
}

// linksShaped takes a pnode's word.
func (m *Machine) linksShaped(p *platform, e *LinksShaped) {
	b := p.links.batch
	if b.pending[e.Pnode] == 0 || b.pending[e.Pnode] != e.Call {
		return
	}
	delete(b.pending, e.Pnode)
	if e.Err != nil {
		b.errs = append(b.errs, m.from(e.Pnode, e.Err))
	} else {
		b.reached = append(b.reached, e.Pnode)
		delete(p.links.state.differ, e.Pnode)
		b.shaped.Entries += e.Shaped.Entries
		b.shaped.Took = max(b.shaped.Took, e.Shaped.Took)
		b.shaped.Lateness = max(b.shaped.Lateness, e.Shaped.Lateness)
	}
	if len(b.pending) == 0 {
		m.endBatch(p)
	}
}

// loseLinks has a batch go on without a pnode whose calls up to the last one
// have ended.
func (m *Machine) loseLinks(p *platform, pnode string, last uint64, why error) {
	b := p.links.batch
	if b == nil || b.stage != shaping || b.pending[pnode] == 0 || b.pending[pnode] > last {
		return
	}
	delete(b.pending, pnode)
	b.away = append(b.away, failure{pnode, m.from(pnode, why)})
	if len(b.pending) == 0 {
		m.endBatch(p)
	}
}

// endBatch goes on when no pnode is at work on a batch any more. What is in
// force is remembered before anybody is told.
func (m *Machine) endBatch(p *platform) {
	b, l := p.links.batch, &p.links
	for _, f := range b.away {
		if p.plan.Loss() == topo.LossFail || len(b.reached) == 0 {
			b.errs = append(b.errs, f.err)
		} else {
			l.mayDiffer(f.pnode) // the others go on without
		}
	}
	b.away = nil
	if len(b.errs) > 0 {
		l.again = m.now.Add(tryAfter)
	}
	switch {
	case len(b.errs) > 0 && b.stopped:
		m.putBack(p)
		return
	case len(b.errs) > 0 && len(b.reached) == 0:
		m.failBatch(p)
		m.next(p)
		return
	}
	if len(b.asks)+len(b.steps) > 0 {
		l.state.force, l.state.touched = b.next, true
		l.state.changes = b.changes(l)
	}
	for _, pnode := range m.shapeable(p) { // who has failed gets it with the next one
		if len(b.errs) > 0 && !slices.Contains(b.reached, pnode) {
			l.mayDiffer(pnode)
		}
	}
	if s := b.playing(l); s != nil {
		m.noteWrong(p, s, b)
		m.noteStep(p, s, b, s.made(m.now, b))
		if len(b.asks) == 0 && (m.now.Sub(l.state.saved) >= time.Second || s.over()) {
			l.state.saved = m.now
			m.do(SaveLinks{Platform: p.name, Record: l.record()})
		}
	}
	if len(b.asks) == 0 {
		l.batch = nil
		m.next(p)
		return
	}
	b.stage = remembering
	m.do(SaveLinks{Platform: p.name, Record: l.record(), Answer: true})
}

// linksSaved tells those who waited for a batch that it is in force.
func (m *Machine) linksSaved(p *platform, err error) {
	b, l := p.links.batch, &p.links
	l.batch = nil
	if err != nil {
		wrong := *bus.ProblemOf(err)
		wrong.Op = "the change is in force, but it is not remembered: " + wrong.Op
		b.errs = append(b.errs, &wrong)
		m.note("problem", p.name, wrong.Error())
	}
	for i, a := range b.asks {
		if len(b.errs) > 0 {
			m.refuse(p, a.askers(), b.errs[0])
			continue
		}
		c := &api.Changed{Shaped: b.shaped, Vifaces: b.made[i].Vifaces, Pairs: b.made[i].Pairs}
		m.tell(a.askers(), api.Event{Type: "links", Platform: p.name, Changed: c}, true)
	}
	m.noteLinks(p, b)
	m.next(p)
}

// changes is how many changes were made since conditions were the file's, once
// the batch is in force.
func (b *batch) changes(l *links) int {
	n := l.state.changes
	for _, a := range b.asks {
		if n++; slices.ContainsFunc(a.changes, func(c topo.Change) bool { return c.Reset && c.Nodes == nil }) {
			n = 0
		}
	}
	return n
}

// playing gives the schedule that the batch has steps of, if it has any and
// that is still under way.
func (b *batch) playing(l *links) *playing {
	s := l.state.schedule
	if len(b.steps) == 0 || s == nil || !b.resumes.same(s) {
		return nil
	}
	return s
}

// failBatch ends a batch that no pnode has put into force.
func (m *Machine) failBatch(p *platform) {
	b, l := p.links.batch, &p.links
	l.batch = nil
	for _, a := range b.asks {
		m.refuse(p, a.askers(), b.errs[0])
	}
	if s := b.playing(l); s != nil {
		s.failed++
		m.note("problem", p.name, fmt.Sprintf("step %d of the schedule: %v", b.steps[0].number+1, b.errs[0]))
	}
	if len(b.asks) > 0 {
		m.note("error", p.name, b.errs[0].Error())
	}
}

// putBack has a batch begun anew, behind what goes before it.
func (m *Machine) putBack(p *platform) {
	b, l := p.links.batch, &p.links
	l.batch = nil
	for _, a := range b.asks {
		switch {
		case a.gone:
		case a.at.After(m.now):
			l.timed = append(l.timed, a)
		default:
			l.queue = append(l.queue, a)
		}
	}
	slices.SortStableFunc(l.timed, func(x, y *linkAsk) int { return x.at.Compare(y.at) })
	if b.playing(l) != nil {
		l.state.schedule = b.resumes
	}
	if m.ending {
		m.refuseLinks(p, problemEnding())
	}
	m.next(p)
}

// noteEvery is how often changes of conditions are made known.
const noteEvery = time.Second

// noteLinks makes a change of conditions known, but not each of very many.
func (m *Machine) noteLinks(p *platform, b *batch) {
	l := &p.links
	n := len(b.asks) + l.quiet
	if m.now.Sub(l.noted) < noteEvery {
		l.quiet = n
		return
	}
	l.noted, l.quiet = m.now, 0
	last := b.made[len(b.made)-1]
	what := "links have other conditions: "
	if n > 1 {
		what = fmt.Sprintf("links have other conditions, after %d changes; the last: ", n)
	}
	m.note("links", p.name, what+about(last))
}

// about says how much a change is about.
func about(made Made) string {
	switch {
	case made.Pairs == 0:
		return plural(made.Vifaces, "viface", "vifaces")
	case made.Vifaces == 0:
		return plural(made.Pairs, "pair", "pairs")
	}
	return plural(made.Vifaces, "viface", "vifaces") + " and " + plural(made.Pairs, "pair", "pairs")
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// makeLinks changes tables. What is wrong with one part does not keep the
// others from being made.
func makeLinks(e MakeLinks) LinksMade {
	out := LinksMade{Platform: e.Platform, Next: e.Current, Parts: make([]Made, len(e.Parts))}
	var sound []int
	var parts [][]topo.Change
	for i, part := range e.Parts {
		if out.Parts[i].Err = unknownNodes(e.Plan, part); out.Parts[i].Err == nil {
			sound, parts = append(sound, i), append(parts, part)
		}
	}
	next, about, err := e.Plan.ChangeParts(e.Current, parts)
	for k, i := range sound {
		made := &out.Parts[i]
		if err == nil {
			made.Vifaces, made.Pairs = about[k].Vifaces, about[k].Pairs
			continue
		}
		// One by one, to see which of them it is.
		var changed *program.Links
		if changed, made.Vifaces, made.Pairs, made.Err = e.Plan.Change(out.Next, parts[k]); made.Err == nil {
			out.Next = changed
		}
	}
	if err == nil && len(parts) > 0 {
		out.Next = next
	}
	return out
}

// unknownNodes says which vnodes of changes the plan does not have: it may be
// another one than that which they were asked about.
func unknownNodes(p *plan.Plan, changes []topo.Change) error {
	for _, c := range changes {
		if c.Nodes != nil {
			if err := allKnown(p, c.Nodes); err != nil {
				return err
			}
		}
		if c.To != nil {
			if err := allKnown(p, c.To); err != nil {
				return err
			}
		}
	}
	return nil
}

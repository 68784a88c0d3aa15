package coord

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"myriad/bus"
	"myriad/program"
)

// turnedAway is a pnode that was not taken in.
type turnedAway struct {
	hello *bus.Hello
	why   *program.Problem
	at    time.Time
}

const (
	refusedFor  = time.Minute // refusals are shown, after the last time
	mostRefused = 1000
)

// refuses says why the agent of a pnode is not taken in, nil if it is.
func (m *Machine) refuses(h *bus.Hello) *program.Problem {
	p := &program.Problem{Kind: program.KindUnsupported, Rack: -1, Op: "take in pnode " + h.Pnode}
	same := "install the same version there: myriad bootstrap does it"
	switch n := m.pnodes[h.Pnode]; {
	case h.Protocol != bus.Protocol:
		p.Cause = fmt.Sprintf("it speaks protocol %d (version %s), and the coordinator %d (version %s)", h.Protocol, cmp.Or(h.Version, "unknown"), bus.Protocol, cmp.Or(m.version, "unknown"))
		p.Remedy = same
	case m.version != "" && h.Version != m.version:
		p.Cause = fmt.Sprintf("it has version %s, and the coordinator has %s", cmp.Or(h.Version, "unknown"), m.version)
		p.Remedy = same
	case m.identity != "" && h.Coordinator != "" && h.Coordinator != m.identity && len(h.Platforms) > 0:
		p.Kind = program.KindConflict
		p.Cause = fmt.Sprintf("it carries platforms of coordinator %s, and this one is %s", h.Coordinator, m.identity)
		p.Remedy = "take them down there, or start its agent with --take-over"
	case n != nil && n.machine != "" && h.Machine != "" && n.machine != h.Machine && (n.state == pnodeUp || m.carries(n.name)):
		p.Kind = program.KindConflict
		p.Cause = fmt.Sprintf("another machine of that name is known (%s), and this one is %s", n.machine, h.Machine)
		p.Remedy = "give it another --name; or, if it takes the place of the other one, \"myriad pnodes forget " + h.Pnode + "\" first"
	case n != nil && n.twin(h, m.now):
		p.Kind = program.KindConflict
		p.Cause = fmt.Sprintf("a machine of that name and of the same identity (%s) is up: one of the two was copied from the other", h.Machine)
		p.Remedy = "on the copy, remove \"machine\" from the state directory, and give it another --name"
	default:
		return nil
	}
	return p
}

// carries tells whether a pnode has vnodes of any platform, or ought to.
func (m *Machine) carries(pnode string) bool {
	for _, p := range m.platforms {
		if p.reports[pnode] != nil || p.where.wants(pnode) {
			return true
		}
	}
	return false
}

// refusePnode remembers for a while who was refused, and makes it known once.
func (m *Machine) refusePnode(h *bus.Hello, why *program.Problem) {
	key := h.Pnode + " " + h.Machine
	if was := m.refused[key]; was == nil || *was.why != *why {
		m.note("pnode-refused", "", why.Error())
	}
	if len(m.refused) < mostRefused || m.refused[key] != nil {
		m.refused[key] = &turnedAway{h, why, m.now}
	}
}

// came takes in an agent, and compares what it carries with what it should.
func (m *Machine) came(e *Came) {
	h := &e.Hello
	why := m.refuses(h)
	if e.Ticket != 0 {
		m.do(Greet{e.Ticket, why})
	}
	if why != nil {
		m.refusePnode(h, why)
		return
	}
	delete(m.refused, h.Pnode+" "+h.Machine)
	delete(m.strangers, h.Pnode)
	n := m.pnodes[h.Pnode]
	known := n != nil
	if !known {
		n = &pnode{name: h.Pnode}
		m.pnodes[h.Pnode] = n
	} else if !n.takes(h, m.now) {
		return
	}
	was := n.state
	changed := !known || n.machine != h.Machine || n.boot != h.Boot || n.site != h.Site || was != pnodeUp
	met := n.hello != nil
	first := n.hello == nil || n.hello.Epoch != m.epoch && m.epoch != 0 // for one that was said before does not count
	another := n.begin(h, m.now)
	cut := (was == pnodeUp || was == pnodeLeft) && another && met // what it was asked before
	why = &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "reach pnode " + n.name, Cause: "its agent was started anew"}
	last := m.call
	if cut {
		m.do(Lose{n.name, why})
	}
	if was != pnodeUp || another {
		m.do(Meet{n.name})
	}
	m.unsaved = m.unsaved || changed
	if !h.Now.IsZero() {
		m.setClock(n, h.Now.Sub(m.now.Round(0)).Truncate(time.Millisecond))
	}
	switch {
	case !known && len(m.pnodes) > 1:
		m.note("pnode-joined", "", fmt.Sprintf("pnode %s has joined, with %d CPUs and %.1f GB of memory", n.name, h.CPUs, float64(h.Memory)/1e9))
	case known && was == pnodeLost, known && was == pnodeLeft:
		m.noteOf(n, "pnode-back", func(*platform) string { return fmt.Sprintf("pnode %s is back", n.name) })
	}
	if !m.sites[n.site] { // the way there is to be known before a platform spans it
		m.sites[n.site] = true
		m.survey()
	}
	m.takeIn(n, was != pnodeUp || another, first)
	if cut {
		for _, p := range m.sorted() {
			m.loseLinks(p, n.name, last, why)
		}
	}
}

// takeIn compares what a pnode carries with what it should carry. returned says
// that it was not there before, or that its agent is another one; first, that
// nothing was heard of it since the coordinator began.
func (m *Machine) takeIn(n *pnode, returned, first bool) {
	carried := map[string]*program.Report{}
	for i := range n.hello.Platforms {
		r := &n.hello.Platforms[i]
		carried[r.Platform] = r
		p := m.platform(r.Platform)
		if _, owed := n.owes[p.name]; !owed && p.unknown() && len(p.reports) == 0 {
			m.note("foreign", p.name, fmt.Sprintf("pnode %s carries it, and nothing is remembered of it", n.name))
		}
	}
	// What is owed is removed whatever the pnode says that it carries: something
	// that it was asked before may come to pass late.
	for name := range n.owes {
		if p := m.platforms[name]; p != nil && !p.unknown() && !p.where.wants(n.name) {
			p.owe(n.name)
		}
	}
	for _, p := range m.sorted() {
		if p.stuck && returned {
			p.stuck, p.unfit = false, true
		}
		r := carried[p.name]
		if a := n.answers[p.name]; n.racks[p.name] > n.hello.Seq || a.Session == n.session && a.Seq >= n.hello.Seq {
			r = p.reports[n.name] // a newer word
		}
		m.reconcile(p, n, r, returned, first)
	}
	for _, name := range names(n.owes) {
		if p := m.platform(name); p.unknown() {
			if p.reports[n.name] == nil {
				p.reports[n.name] = &program.Report{Platform: name, Pnode: n.name}
			}
			p.queue = append(p.queue, &job{kind: jobDown})
		}
	}
	early := n.early
	n.early = nil
	for i := range early {
		m.changed(&early[i])
	}
	for _, p := range m.sorted() {
		m.next(p)
	}
}

// unknown tells whether nothing is remembered of a platform, nor asked for.
func (p *platform) unknown() bool { return p.record == nil && p.job == nil && len(p.queue) == 0 }

// went lets an agent go. Its vnodes live on, as far as anyone knows.
func (m *Machine) went(by bus.From) {
	n, ok := m.hears(by)
	if !ok || n.state != pnodeUp {
		return
	}
	n.state, n.bye = pnodeLeft, max(by.Seq, 1)
	m.unsaved = true
	m.noteOf(n, "pnode-left", func(p *platform) string {
		if p == nil {
			return fmt.Sprintf("the agent of pnode %s has ended", n.name)
		}
		return fmt.Sprintf("the agent of pnode %s has ended; its vnodes live on", n.name)
	})
}

// changed takes in what an agent says of racks without being asked.
func (m *Machine) changed(e *Changed) {
	r := &e.Report
	n, ok := m.hears(e.By)
	if !ok {
		if n != nil && n.pastSession(e.By.Session) < 0 && len(n.early) < mostEarly {
			n.early = append(n.early, *e)
		}
		return
	}
	p := m.platforms[r.Platform]
	if p == nil || e.By.Seq > 0 && e.By.Seq <= max(n.racks[r.Platform], n.hello.Seq) {
		return
	}
	if n.racks == nil {
		n.racks = map[string]uint64{}
	}
	n.racks[r.Platform] = e.By.Seq
	was := p.reports[n.name]
	if a := n.answers[r.Platform]; a.Session == n.session && a.Seq >= e.By.Seq && e.By.Seq > 0 {
		return // what a job of its was answered is newer
	}
	if p.job == nil || p.job.pending[n.name] == nil { // otherwise the end of its part brings a newer word
		p.reports[n.name] = r
		p.unsaved = p.record != nil
	}
	if was == nil {
		was = &program.Report{} // the agent says that it is news
	}
	m.noteRacks(p, was, r)
}

// noteRacks makes known what racks of a pnode have become since the report
// before, and tells whether any has become something else. Where there was no
// report before, nothing is news; nor is it where the vnodes are elsewhere.
func (m *Machine) noteRacks(p *platform, was, r *program.Report) (news bool) {
	if was == nil || r == nil || p.record != nil && !p.where.wants(r.Pnode) {
		return false
	}
	before := map[uint32]program.RackState{}
	for _, k := range was.Racks {
		before[k.Index] = k.State
	}
	for _, k := range r.Racks {
		if state, ok := before[k.Index]; ok && state == k.State {
			continue
		}
		news = true
		switch k.State {
		case program.RackLost:
			m.note("rack-lost", p.name, fmt.Sprintf("rack %d of pnode %s is lost, with %d vnodes", k.Index, r.Pnode, k.Wanted))
		case program.RackUp:
			m.note("rack-up", p.name, fmt.Sprintf("rack %d of pnode %s is up, with %d vnodes", k.Index, r.Pnode, k.Vnodes))
		}
	}
	return news
}

// noteOf makes something of a pnode known: for each platform that it carries,
// or once if it carries none.
func (m *Machine) noteOf(n *pnode, typ string, message func(*platform) string) {
	any := false
	for _, p := range m.sorted() {
		if p.reports[n.name] != nil || p.where.wants(n.name) {
			any = true
			m.note(typ, p.name, message(p))
		}
	}
	if !any {
		m.note(typ, "", message(nil))
	}
}

// names gives the names of something, sorted.
func names[V any](of map[string]V) []string { return slices.Sorted(maps.Keys(of)) }

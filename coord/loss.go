package coord

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"myriad/api"
	"myriad/bus"
	"myriad/program"
	"myriad/topo"
)

const (
	// PulseEvery is how often it is looked who is silent.
	PulseEvery = 250 * time.Millisecond

	silence = 2500 * time.Millisecond // after which a pnode is lost
	stall   = 500 * time.Millisecond  // by which a pulse may be late before the coordinator doubts itself
	grace   = 5 * time.Second         // that pnodes have to come back when the coordinator has begun
)

// pulse looks who is silent, and does what is to be done now and then.
func (m *Machine) pulse() {
	late := !m.pulsed.IsZero() && m.now.Sub(m.pulsed) > PulseEvery+stall
	m.pulsed = m.now
	if late || m.deaf {
		m.allow() // it is us who did not hear
	}
	var lost []string
	for name, n := range m.pnodes {
		switch {
		case n.state == pnodeUp && n.silent(m.now) >= silence,
			n.state == pnodeExpected && m.now.Sub(m.began) >= grace && !m.deaf:
			lost = append(lost, name)
		}
	}
	slices.Sort(lost)
	for _, name := range lost {
		m.lose(m.pnodes[name])
	}
	if len(lost) > 0 {
		for _, p := range m.sorted() {
			m.next(p)
		}
	}
	m.tryAgain()
	for _, p := range m.platforms {
		if len(p.links.state.differ) > 0 {
			m.shapeNext(p)
		}
	}
	m.survey()
	for name, at := range m.strangers {
		if m.now.Sub(at) > 10*hailEvery {
			delete(m.strangers, name)
		}
	}
	for key, r := range m.refused {
		if m.now.Sub(r.at) > refusedFor {
			delete(m.refused, key)
		}
	}
}

// allow gives every pnode a fresh allowance of silence.
func (m *Machine) allow() {
	for _, n := range m.pnodes {
		n.spared = m.now
	}
	if m.began.Add(grace).After(m.now) {
		m.began = m.now
	}
}

// lose takes a pnode for lost. What is under way there ends at once.
func (m *Machine) lose(n *pnode) {
	expected := n.state == pnodeExpected
	n.state = pnodeLost
	m.unsaved = true
	m.noteOf(n, "pnode-lost", func(p *platform) string { return m.lossOf(n, p, expected) })
	for _, p := range m.sorted() {
		if p.plan != nil && p.plan.Loss() == topo.LossFail && p.where.wants(n.name) && !p.record.Down {
			m.note("error", p.name, fmt.Sprintf("%d of %d vnodes are lost with pnode %s", p.where.vnodes[n.name], p.plan.Len(), n.name))
		}
	}
	m.endCalls(n.name)
}

// endCalls ends what is under way at a pnode that is not there any more.
func (m *Machine) endCalls(pnode string) {
	m.do(Lose{pnode, m.problemLost(pnode)})
	for _, p := range m.sorted() {
		p.unfit = p.unfit || p.where.wants(pnode) || p.job != nil
		m.loseLinks(p, pnode, m.call, m.problemLost(pnode))
		if j := p.job; j != nil && j.pending[pnode] != nil {
			delete(j.pending, pnode)
			p.owe(pnode) // what it was asked may still come to pass
			m.absent(p, pnode)
			m.maybeDone(p)
		}
	}
}

// lossOf says what the loss of a pnode means to a platform; nil: to nobody.
func (m *Machine) lossOf(n *pnode, p *platform, expected bool) string {
	how := fmt.Sprintf("nothing was heard of it for %v", silence)
	if expected {
		how = "it has not come back since the coordinator began"
	}
	says := fmt.Sprintf("pnode %s is lost: %s", n.name, how)
	if p == nil {
		return says + "; it carries no vnodes"
	}
	count := p.where.vnodes[n.name]
	if r := p.reports[n.name]; r != nil && !p.where.wants(n.name) {
		count = r.Up()
	}
	says += fmt.Sprintf("; it carries %s", plural(count, "vnode", "vnodes"))
	switch {
	case p.plan == nil || !p.where.wants(n.name):
	case p.plan.Loss() == topo.LossContinue:
		says += "; the others go on without"
	case p.plan.Loss() == topo.LossReplace:
		says += ", which come up on other pnodes"
	}
	return says
}

// problemLost says that a pnode is not there.
func (m *Machine) problemLost(name string) *program.Problem {
	p := &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "reach pnode " + name}
	switch n := m.pnodes[name]; {
	case n == nil:
		p.Cause = "it is not known"
	case n.state == pnodeLeft:
		p.Cause, p.Remedy = "its agent has ended", "start it"
	default:
		p.Cause, p.Remedy = "it is lost", fmt.Sprintf("start its agent, move its vnodes with \"myriad drain %s\", or give it up with \"myriad pnodes forget %s\"", name, name)
	}
	return p
}

// problemWithout says that a platform cannot be brought up while pnodes that
// carry vnodes of it are not there.
func (m *Machine) problemWithout(p *platform, absent []string) error {
	vnodes := 0
	for _, name := range absent {
		vnodes += p.where.vnodes[name]
	}
	shown := strings.Join(absent[:min(len(absent), 10)], ", ")
	if len(absent) > 10 {
		shown += ", …"
	}
	return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "bring up " + p.name,
		Cause: fmt.Sprintf("%s of it are on %s, which %s not there: %s", plural(vnodes, "vnode", "vnodes"), plural(len(absent), "pnode", "pnodes"),
			map[bool]string{true: "is", false: "are"}[len(absent) == 1], shown),
		Remedy: "start the agents there, move the vnodes with \"myriad drain\", give them up with \"myriad pnodes forget\", or choose \"loss: continue\" or \"loss: replace\" for the platform"}
}

// absent deals with a pnode that has work to do, and is not there.
func (m *Machine) absent(p *platform, name string) {
	j := p.job
	n := m.pnodes[name]
	if j.kind == jobDown {
		delete(p.reports, name)
		delete(j.counts, name)
		if n != nil {
			m.owe(p, n)
			m.say(p, fmt.Sprintf("pnode %s is not there: it is removed there when it is back", name))
		}
		return
	}
	if !j.where.wants(name) || j.kind == jobMend {
		return // it is seen to when it is back
	}
	switch loss := j.plan.Loss(); {
	case loss == topo.LossFail:
		j.fail(name, m.problemLost(name))
	case loss == topo.LossReplace && (n == nil || n.state == pnodeLost):
		j.again = true
	default:
		m.say(p, fmt.Sprintf("goes on without pnode %s, which is not there: %s", name, plural(j.where.vnodes[name], "vnode", "vnodes")))
	}
}

// owe notes that a platform is to be removed from a pnode when it is back.
func (m *Machine) owe(p *platform, n *pnode) {
	slot := uint8(0)
	if p.record != nil {
		slot = p.record.Slot
	}
	if n.owes == nil {
		n.owes = map[string]uint8{}
	}
	n.owes[p.name] = slot
	m.unsaved = true
}

// setDeaf notes whether the coordinator is cut off from the bus.
func (m *Machine) setDeaf(deaf bool) {
	if deaf && !m.deaf {
		for _, p := range m.sorted() {
			if p.job != nil {
				m.sayDeaf(p.job.askers, p.name)
			}
			for _, j := range p.queue {
				m.sayDeaf(j.askers, p.name)
			}
		}
	}
	m.deaf = deaf
	m.allow()
}

// sayDeaf says why nothing goes on for those who wait.
func (m *Machine) sayDeaf(to []Asker, platform string) {
	m.tell(to, api.Event{Type: "progress", Platform: platform, Message: "the connection to the bus is lost: nothing is heard of pnodes, and nothing goes on there, until it is back"}, false)
}

// overloaded makes known that a pnode cannot keep what it promised, or can
// again.
func (m *Machine) overloaded(o *bus.Overload) {
	n, ok := m.hears(o.By)
	if !ok || o.By.Seq > 0 && o.By.Seq <= n.over || m.platforms[o.Platform] == nil {
		return
	}
	n.over = o.By.Seq
	where := ""
	if len(m.pnodes) > 1 {
		where = "pnode " + o.By.Pnode + ": "
	}
	if o.Ended {
		m.note("overload-end", o.Platform, fmt.Sprintf("%s%s: it lasted %v; %s", where, o.What, o.To.Sub(o.Overload.From).Round(100*time.Millisecond), o.Detail))
		return
	}
	m.note("overload", o.Platform, fmt.Sprintf("%s%s: %s; what is measured now may not be true", where, o.What, o.Detail))
}

package coord

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
)

// pnode is what the machine knows of a pnode.
type pnode struct {
	name    string
	state   pnodeState
	machine string           // its identity
	boot    string           // of the machine
	hello   *bus.Hello       // the last one; nil: there was none since the coordinator began
	drained bool             // no vnodes are to be there
	owes    map[string]uint8 // platforms that are to be removed when it is back, and their slots of VNIs
	site    string

	// What was heard, so that what is older can be passed over.
	session string
	seq     uint64              // of what was said last
	bye     uint64              // of its bye in this session
	over    uint64              // of what it said last of its overload
	racks   map[string]uint64   // of what it said last of racks, by platform
	answers map[string]bus.From // what it had said before it answered a call, by platform
	past    []session           // those that another has followed, the last ones
	early   []Changed           // of a session whose hello is still to come
	heard   time.Time           // when there was a sign of life
	spared  time.Time           // when the coordinator could not have heard one
	hailed  time.Time           // when it was asked to say hello
	missed  bool                // it has said something since its hello that was not heard

	clock  time.Duration // by which its clock is ahead
	strays time.Time     // since when that is far from right; zero: it is not
	apart  bool          // that was made known
}

// session is a session of an agent, and what it was heard to say last.
type session struct {
	id  string
	seq uint64
}

type pnodeState uint8

const (
	pnodeExpected pnodeState = iota // it was there before the coordinator began, and may come back
	pnodeUp
	pnodeLost // it has fallen silent
	pnodeLeft // its agent has ended in good order
)

var pnodeStates = [...]string{pnodeExpected: "lost", pnodeUp: "up", pnodeLost: "lost", pnodeLeft: "left"}

func (s pnodeState) String() string { return pnodeStates[s] }

const (
	pastSessions  = 8 // that are remembered of a pnode
	mostStrangers = 10_000
	mostEarly     = 64 // words of a session whose hello is to come
	hailEvery     = time.Second
	missedEvery   = 5 * time.Second // for one that was not heard completely
	clocksApart   = time.Second     // which is worth a word
	straysFor     = 2 * time.Second
)

// there tells whether the agent of a pnode is there.
func (m *Machine) there(name string) bool {
	n := m.pnodes[name]
	return n != nil && n.state == pnodeUp
}

// sortedPnodes gives the pnodes by name.
func (m *Machine) sortedPnodes() []*pnode {
	out := make([]*pnode, 0, len(m.pnodes))
	for _, name := range slices.Sorted(maps.Keys(m.pnodes)) {
		out = append(out, m.pnodes[name])
	}
	return out
}

// restorePnodes takes over the pnodes that the store remembers. Who was there
// has a while to come back.
func (m *Machine) restorePnodes(all []store.Pnode) {
	for _, k := range all {
		n := &pnode{name: k.Name, machine: k.Machine, boot: k.Boot, site: k.Site, drained: k.Drained, owes: maps.Clone(k.Owes)}
		switch k.Absent {
		case pnodeLost.String():
			n.state = pnodeLost
		case pnodeLeft.String():
			n.state = pnodeLeft
		}
		m.pnodes[k.Name] = n
	}
	for _, p := range m.platforms {
		for name := range p.record.Pnodes { // also if the end came before it was remembered
			if m.pnodes[name] == nil {
				m.pnodes[name] = &pnode{name: name}
			}
		}
	}
}

// pnodesRecord is what is remembered of pnodes.
func (m *Machine) pnodesRecord() SavePnodes {
	var e SavePnodes
	for _, n := range m.sortedPnodes() {
		k := store.Pnode{Name: n.name, Machine: n.machine, Boot: n.boot, Site: n.site, Drained: n.drained, Owes: maps.Clone(n.owes)}
		if n.state == pnodeLost || n.state == pnodeLeft {
			k.Absent = n.state.String()
		}
		e.Pnodes = append(e.Pnodes, k)
	}
	e.Ways = m.waysList()
	return e
}

// takes tells whether a hello is news: not one that was heard before, nor of a
// session that is over.
func (n *pnode) takes(h *bus.Hello, now time.Time) bool {
	if n.session == "" {
		return true
	}
	if h.Session == n.session {
		return h.Seq > n.hello.Seq && h.Seq > n.bye
	}
	if i := n.pastSession(h.Session); i >= 0 {
		// It lives all the same if it says something new, while the other one is
		// silent: the hello of that one was late.
		return h.Seq > n.past[i].seq && (n.state != pnodeUp || n.silent(now) >= silence/2)
	}
	return true
}

// silent is how long there was no sign of life that could have been heard.
func (n *pnode) silent(now time.Time) time.Duration { return min(now.Sub(n.heard), now.Sub(n.spared)) }

// twin tells whether a hello comes from another machine that was given the same
// identity, as by a copied image: this one lives, and was not started anew.
func (n *pnode) twin(h *bus.Hello, now time.Time) bool {
	return n.state == pnodeUp && n.machine == h.Machine && n.boot != "" && h.Boot != "" && n.boot != h.Boot && n.silent(now) < silence/2
}

func (n *pnode) pastSession(id string) int {
	return slices.IndexFunc(n.past, func(s session) bool { return s.id == id })
}

// begin takes over what a hello says of the pnode, and tells whether the agent
// is another one than before.
func (n *pnode) begin(h *bus.Hello, now time.Time) (another bool) {
	another = n.session != h.Session
	if another {
		if n.session != "" {
			n.past = append(n.past, session{n.session, n.seq})
		}
		n.past = slices.DeleteFunc(n.past, func(s session) bool { return s.id == h.Session })
		n.past = n.past[max(0, len(n.past)-pastSessions):]
		n.session, n.seq, n.bye, n.over = h.Session, h.Seq, 0, 0
		n.racks = nil
	}
	n.seq, n.missed = max(n.seq, h.Seq), false
	n.hello, n.heard, n.state = h, now, pnodeUp
	n.machine, n.boot, n.site = h.Machine, h.Boot, h.Site
	return another
}

// hears tells whether something that an agent says without being asked is news
// of its session, and notes a sign of life.
func (m *Machine) hears(by bus.From) (*pnode, bool) {
	n := m.pnodes[by.Pnode]
	if n == nil {
		m.hailStranger(by.Pnode)
		return nil, false
	}
	if by.Session != n.session {
		if i := n.pastSession(by.Session); i >= 0 {
			if by.Seq <= n.past[i].seq {
				return n, false
			}
			n.past[i].seq = by.Seq
			if n.state == pnodeUp && n.silent(m.now) < silence/2 {
				return n, false
			}
		}
		m.hail(n)
		return n, false
	}
	if by.Seq <= n.bye && n.bye > 0 {
		return n, false
	}
	if by.Seq > n.seq || n.session == "" {
		n.seq, n.heard = max(n.seq, by.Seq), m.now
		if n.state != pnodeUp {
			m.hail(n) // what has become of what it carries is not known
		}
	}
	return n, true
}

// hail asks an agent to say hello again, but not all the time.
func (m *Machine) hail(n *pnode) {
	if n.hailed.IsZero() || m.now.Sub(n.hailed) >= hailEvery {
		n.hailed = m.now
		m.do(Hail{n.name})
	}
}

// hailStranger asks the agent of a pnode that is not known to say hello.
func (m *Machine) hailStranger(name string) {
	if at, ok := m.strangers[name]; ok && m.now.Sub(at) < hailEvery || !ok && len(m.strangers) >= mostStrangers {
		return
	}
	m.strangers[name] = m.now
	m.do(Hail{name})
}

// Beat is a sign of life of an agent.
type Beat struct {
	bus.From
	At    time.Time     // when it was heard
	Clock time.Duration // by which its clock is ahead
}

// heard takes in signs of life.
func (m *Machine) heard(beats []Beat) {
	for i := range beats {
		b := &beats[i]
		before := uint64(0)
		if n := m.pnodes[b.Pnode]; n != nil {
			before = n.seq
		}
		n, ok := m.hears(b.From)
		if !ok {
			continue
		}
		if n.missed = n.missed || b.Seq > before+1; n.missed && m.now.Sub(n.hailed) >= missedEvery {
			m.hail(n) // something that it has said was not heard
		}
		if n.state == pnodeUp {
			n.heard = b.At
			m.setClock(n, b.Clock)
		}
	}
}

// setClock notes what the clock of a pnode is like, and makes it known if it is
// far from right for a while: what was held up on its way, as by a partition,
// only looks like it.
func (m *Machine) setClock(n *pnode, ahead time.Duration) {
	n.clock = ahead
	switch {
	case ahead.Abs() <= clocksApart:
		n.strays, n.apart = time.Time{}, false
	case n.strays.IsZero():
		n.strays = m.now
	case !n.apart && m.now.Sub(n.strays) >= straysFor:
		n.apart = true
		which := "ahead of"
		if ahead < 0 {
			which = "behind"
		}
		m.note("clock-apart", "", fmt.Sprintf("the clock of pnode %s is %v %s the coordinator's: times that it writes differ by that, and nothing else", n.name, ahead.Abs().Round(100*time.Millisecond), which))
	}
}

// row is a pnode as plans see it.
func (n *pnode) row() plan.Pnode {
	h := n.hello
	return plan.Pnode{Name: n.name, CPUs: h.CPUs, Memory: h.Memory, Files: h.Files, Namespaces: h.Namespaces, Pids: h.Pids,
		Site: h.Site, Address: h.Address, MTU: h.MTU, Key: h.Key}
}

// where is where the vnodes of a plan are.
type where struct {
	names  []string // of pnodes that carry some, by number
	vnodes map[string]int
	rows   map[string]plan.Pnode
}

func whereIs(p *plan.Plan) where {
	w := where{vnodes: map[string]int{}, rows: map[string]plan.Pnode{}}
	for i, row := range p.Pnodes() {
		if k := p.VnodesOn(i); row.Name != "" && k > 0 {
			w.names = append(w.names, row.Name)
			w.vnodes[row.Name], w.rows[row.Name] = k, row
		}
	}
	return w
}

// wants tells whether a plan has vnodes on a pnode. A platform of no vnodes at
// all is wherever it was planned to be.
func (w *where) wants(pnode string) bool { return w.vnodes[pnode] > 0 }

// lostReport says that nothing is left of what a pnode carried.
func lostReport(p *plan.Plan, pnode string) *program.Report {
	r := &program.Report{Platform: p.Platform(), Pnode: pnode}
	number, err := p.PnodeNumber(pnode)
	if err != nil {
		return r
	}
	for _, k := range p.Own(number).Racks {
		r.Racks = append(r.Racks, program.RackReport{Index: k.Index, State: program.RackLost, Wanted: len(k.Vnodes)})
	}
	return r
}

// plansBeside gives the plans of the other platforms.
func (m *Machine) plansBeside(p *platform) []*plan.Plan {
	var out []*plan.Plan
	for _, o := range m.sorted() {
		if o != p && o.plan != nil {
			out = append(out, o.plan)
		}
	}
	return out
}

package coord

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"myriad/plan"
	"myriad/program"
)

const (
	surveyEvery = 10 * time.Minute      // ways between sites are measured again
	surveyAgain = time.Minute           // after one that failed
	wayAbsolute = 50 * time.Microsecond // by which a way must have changed, and by so much of it,
	wayPercent  = 5                     // to be worth that all pnodes are told
)

// sites is a pair of sites, the lesser name first: a way is measured there and
// back, and taken for as long both ways.
type sites [2]string

func pairOf(a, b string) sites { return sites{min(a, b), max(a, b)} }

// survey is what is known of the way between two sites.
type survey struct {
	takes    time.Duration // one way
	known    bool
	under    bool // it is being measured
	measured time.Time
	failed   bool // the last time
}

// bySite gives a pnode of each site that is there: the first by name, which has
// an address.
func (m *Machine) bySite() map[string]string {
	out := map[string]string{}
	for name, n := range m.pnodes {
		if n.state == pnodeUp && n.hello.Address.IsValid() && (out[n.site] == "" || name < out[n.site]) {
			out[n.site] = name
		}
	}
	return out
}

// survey has the ways measured that are not known, or not any more.
func (m *Machine) survey() {
	if m.ending {
		return
	}
	at := m.bySite()
	all := slices.Sorted(maps.Keys(at))
	for i, a := range all {
		for _, b := range all[i+1:] {
			s := m.ways[sites{a, b}]
			if s == nil {
				s = &survey{}
				m.ways[sites{a, b}] = s
			}
			since := m.now.Sub(s.measured)
			if s.under || !s.measured.IsZero() && (since < surveyAgain || !s.failed && since < surveyEvery) {
				continue
			}
			s.under, s.measured = true, m.now
			m.do(Measure{From: a, To: b, Pnode: at[a], Other: at[b]})
		}
	}
}

// measures tells whether ways between sites are being measured of which nothing
// is known yet.
func (m *Machine) measures() bool {
	for _, s := range m.ways {
		if s.under && !s.known && !s.failed {
			return true
		}
	}
	return false
}

// measured takes in how long the way between two sites takes. A change that
// matters is put into force.
func (m *Machine) measured(e *Measured) {
	s := m.ways[pairOf(e.From, e.To)]
	if s == nil {
		return
	}
	s.under = false
	if s.failed = e.Err != nil; s.failed {
		m.note("problem", "", fmt.Sprintf("the way between %s and %s cannot be measured, so that conditions of links between them are longer by what it takes: %v", siteName(e.From), siteName(e.To), e.Err))
	} else if was := s.takes; !s.known || differs(was, e.Takes) {
		s.takes, s.known, m.unsaved = e.Takes, true, true
		m.note("sites", "", fmt.Sprintf("a packet takes %v from %s to %s", e.Takes.Round(time.Microsecond), siteName(e.From), siteName(e.To)))
		for _, p := range m.platforms {
			p.unfit = true
		}
	}
	for _, p := range m.sorted() {
		m.next(p)
	}
}

// siteName names a site in a sentence.
func siteName(name string) string {
	if name == "" {
		return "the coordinator's site"
	}
	return "site " + name
}

// differs tells whether two times differ by more than it is worth to put into
// force.
func differs(a, b time.Duration) bool {
	d := (a - b).Abs()
	return d > wayAbsolute && d*100 > max(a, b)*wayPercent
}

// waysList gives the ways between sites, both ways each.
func (m *Machine) waysList() []plan.SiteWay {
	var out []plan.SiteWay
	for pair, s := range m.ways {
		if s.known {
			out = append(out, plan.SiteWay{From: pair[0], To: pair[1], Takes: s.takes}, plan.SiteWay{From: pair[1], To: pair[0], Takes: s.takes})
		}
	}
	slices.SortFunc(out, func(a, b plan.SiteWay) int { return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To)) })
	return out
}

// restoreWays takes over the ways that the store remembers.
func (m *Machine) restoreWays(all []plan.SiteWay) {
	for _, w := range all {
		m.ways[pairOf(w.From, w.To)] = &survey{takes: w.Takes, known: true}
	}
}

// waysChanged tells whether a platform's plan was made with other ways between
// its sites than are known now.
func (m *Machine) waysChanged(p *platform) bool {
	if p.record == nil {
		return false
	}
	at := map[string]bool{}
	for _, name := range p.where.names {
		at[p.where.rows[name].Site] = true
	}
	if len(at) < 2 {
		return false
	}
	planned := map[sites]time.Duration{}
	for _, w := range p.plan.Ways() {
		planned[pairOf(w.From, w.To)] = w.Takes
	}
	for pair, s := range m.ways {
		if s.known && at[pair[0]] && at[pair[1]] && differs(planned[pair], s.takes) {
			return true
		}
	}
	return false
}

// startCheck has it looked whether packets of full size arrive at each pnode of
// the platform, around a ring of them.
func (m *Machine) startCheck(p *platform) {
	j := p.job
	if j.kind != jobUp && j.kind != jobAdapt {
		return
	}
	var ring []string
	for _, name := range j.where.names {
		if n := m.pnodes[name]; n != nil && n.state == pnodeUp && n.hello.Address.IsValid() {
			ring = append(ring, name)
		}
	}
	mtu := 0
	for _, n := range j.plan.Networks() {
		mtu = max(mtu, int(n.MTU))
	}
	if len(ring) < 2 || mtu == 0 {
		return
	}
	j.checks = true
	m.do(Check{Platform: p.name, Plan: j.plan, Ring: ring, Size: mtu + program.VXLANOverhead})
}

// checked takes in what was found on the ring.
func (m *Machine) checked(p *platform, e *Checked) {
	j := p.job
	if !j.checks {
		return
	}
	j.checks = false
	for i := range e.Problems {
		m.note("problem", p.name, e.Problems[i].Error())
		m.say(p, e.Problems[i].Error())
		if i == 0 && p.plan.Loss() == 0 && j.kind == jobUp {
			j.fail("", &e.Problems[i])
		}
	}
	m.maybeDone(p)
}

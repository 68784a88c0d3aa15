package coord

import (
	"fmt"
	"maps"
	"slices"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
)

// came takes in an agent, and compares what it carries with what is
// remembered.
func (m *Machine) came(h *bus.Hello) {
	m.pnodes[h.Pnode] = h
	carries := map[string]bool{}
	for i := range h.Platforms {
		r := &h.Platforms[i]
		carries[r.Platform] = true
		p := m.platform(r.Platform)
		if p.record == nil && len(p.reports) == 0 && p.job == nil {
			m.note("foreign", p.name, fmt.Sprintf("pnode %s carries it, and nothing is remembered of it", h.Pnode))
		}
		p.reports[h.Pnode] = r
		p.links.mayDiffer(h.Pnode)
	}
	for _, p := range m.sorted() {
		if !carries[p.name] && p.job == nil {
			m.missing(p, h)
		}
		m.shapeNext(p)
	}
}

// missing deals with a platform of which a pnode has nothing. If the machine
// was started anew, its vnodes are lost. Otherwise somebody has taken them
// down without us: if that is so everywhere, there is nothing to remember.
func (m *Machine) missing(p *platform, h *bus.Hello) {
	delete(p.reports, h.Pnode)
	if p.record == nil {
		m.dropIfEmpty(p)
		return
	}
	boot, planned := p.record.Pnodes[h.Pnode]
	if !planned {
		return
	}
	if boot != h.Boot {
		p.reports[h.Pnode] = lostReport(p.plan, h.Pnode)
		m.note("rack-lost", p.name, fmt.Sprintf("pnode %s was started anew; its vnodes are lost", h.Pnode))
		return
	}
	for pnode := range p.record.Pnodes {
		if p.reports[pnode] != nil || m.pnodes[pnode] == nil {
			return
		}
	}
	p.record, p.plan, p.links.state = nil, nil, linkState{}
	m.do(Forget{p.name})
	m.note("down", p.name, "it was taken down while no daemon ran")
	m.dropIfEmpty(p)
}

// lostReport says that nothing is left of what a pnode carried.
func lostReport(p *plan.Plan, pnode string) *program.Report {
	r := &program.Report{Platform: p.Platform(), Pnode: pnode}
	number, err := p.PnodeNumber(pnode)
	if err != nil {
		return r
	}
	for _, k := range p.Program(number).Racks {
		r.Racks = append(r.Racks, program.RackReport{Index: k.Index, State: program.RackLost, Wanted: len(k.Vnodes)})
	}
	return r
}

// went lets an agent go. Its vnodes live on, as far as anyone knows.
func (m *Machine) went(pnode string) {
	if m.pnodes[pnode] == nil {
		return
	}
	delete(m.pnodes, pnode)
	for _, p := range m.sorted() {
		if p.reports[pnode] != nil {
			m.note("pnode-gone", p.name, fmt.Sprintf("the agent of pnode %s has ended; its vnodes live on", pnode))
		}
	}
}

// changed takes in what an agent says of racks without being asked.
func (m *Machine) changed(r *program.Report) {
	p := m.platforms[r.Platform]
	if p == nil {
		return
	}
	before := map[uint32]program.RackState{}
	if old := p.reports[r.Pnode]; old != nil {
		for _, k := range old.Racks {
			before[k.Index] = k.State
		}
	}
	if p.job == nil { // otherwise the end of the job brings a newer word
		p.reports[r.Pnode] = r
		if p.record != nil {
			m.save(p)
		}
	}
	for _, k := range r.Racks {
		if was, ok := before[k.Index]; ok && was == k.State {
			continue
		}
		switch k.State {
		case program.RackLost:
			m.note("rack-lost", p.name, fmt.Sprintf("rack %d of pnode %s is lost, with %d vnodes", k.Index, r.Pnode, k.Wanted))
		case program.RackUp:
			m.note("rack-up", p.name, fmt.Sprintf("rack %d of pnode %s is up, with %d vnodes", k.Index, r.Pnode, k.Vnodes))
		}
	}
}

// pnodeList is what plans are made for.
func (m *Machine) pnodeList() []plan.Pnode {
	var out []plan.Pnode
	for _, name := range slices.Sorted(maps.Keys(m.pnodes)) {
		h := m.pnodes[name]
		out = append(out, plan.Pnode{Name: name, CPUs: h.CPUs, Memory: h.Memory, Files: h.Files, Namespaces: h.Namespaces, Pids: h.Pids})
	}
	return out
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

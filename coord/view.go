package coord

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"myriad/api"
	"myriad/bus"
	"myriad/program"
	"myriad/topo"
)

// The states of a platform.
const (
	stateUp       = "up"
	statePartial  = "partial"
	stateLost     = "lost"
	stateApplying = "applying"
	stateRemoving = "removing"
	stateDown     = "down"
	stateForeign  = "foreign" // in a kernel, but nothing is remembered of it
)

// view is a platform as listings show it.
func (m *Machine) view(p *platform) *api.Platform {
	v := &api.Platform{Name: p.name, Networks: []api.Network{}, Racks: []program.RackReport{}}
	for _, pnode := range names(p.reports) {
		r := m.report(p, pnode)
		v.Racks = append(v.Racks, r.Racks...)
		v.Problems = append(v.Problems, r.Problems...)
		v.Up += r.Up()
	}
	if p.plan != nil {
		v.Vnodes = p.plan.Len()
		for _, n := range p.plan.Networks() {
			v.Networks = append(v.Networks, api.Network{Name: n.Name, Subnet: n.Subnet.String(), Vifaces: n.Vifaces})
		}
		slices.SortFunc(v.Networks, func(a, b api.Network) int { return cmp.Compare(a.Name, b.Name) })
	} else {
		for _, k := range v.Racks {
			v.Vnodes += max(k.Wanted, k.Vnodes)
		}
	}
	if p.record != nil {
		v.Writes, v.Took, v.Since = p.record.Writes, p.record.Took, p.record.Since
	}
	v.Pnodes = m.carried(p)
	v.State = p.state(v)
	v.Links = p.links.view()
	return v
}

// report is what a pnode said last of a platform. Of one that is lost, all is.
func (m *Machine) report(p *platform, pnode string) *program.Report {
	r := p.reports[pnode]
	n := m.pnodes[pnode]
	if r == nil || n == nil || n.state != pnodeLost {
		return r
	}
	lost := &program.Report{Platform: p.name, Pnode: pnode}
	if !p.where.wants(pnode) {
		return lost // they are elsewhere
	}
	for _, k := range r.Racks {
		lost.Racks = append(lost.Racks, program.RackReport{Index: k.Index, State: program.RackLost, Wanted: max(k.Wanted, k.Vnodes)})
	}
	why := *m.problemLost(pnode)
	lost.Problems = append(lost.Problems, why)
	return lost
}

// view is the conditions of a platform's links in brief, nil if there are none
// and none are to come.
func (l *links) view() *api.LinkState {
	s := &l.state
	if s.force == nil && s.schedule == nil && s.changes == 0 {
		return nil
	}
	out := &api.LinkState{Changes: s.changes}
	if s.force != nil {
		for _, r := range s.force.Vifaces {
			if r.Out != 0 || r.In != 0 {
				out.Vifaces += int(r.Count)
			}
		}
		out.Classes, out.Pairs = int(s.force.Classes), len(s.force.Pairs)
	}
	if s.schedule != nil {
		out.Schedule = s.schedule.state()
	}
	return out
}

func (p *platform) state(v *api.Platform) string {
	lost := slices.ContainsFunc(v.Racks, func(k program.RackReport) bool { return k.State == program.RackLost })
	up := !slices.ContainsFunc(v.Racks, func(k program.RackReport) bool { return k.State != program.RackUp })
	switch {
	case p.job != nil && p.job.kind != jobDown:
		return stateApplying
	case p.job != nil:
		return stateRemoving
	case p.record == nil && len(p.queue) > 0:
		return stateApplying
	case p.record == nil:
		return stateForeign
	case p.record.Down:
		return stateRemoving
	case up && v.Up >= v.Vnodes:
		return stateUp
	case v.Up == 0 && lost:
		return stateLost
	case v.Up == 0:
		return stateDown
	}
	return statePartial
}

// ErrorOf gives an error the form in which it reaches a client.
func ErrorOf(err error) *api.Error {
	var whole *api.Error
	if errors.As(err, &whole) {
		return whole
	}
	all := problems(err, nil)
	if len(all) > 1 {
		return &api.Error{Kind: all[0].Kind, Message: fmt.Sprintf("%d problems", len(all)), Problems: all}
	}
	p := all[0]
	remedy := p.Remedy
	p.Remedy = ""
	return &api.Error{Kind: p.Kind, Message: p.Error(), Remedy: remedy}
}

// problems appends those that err is joined from.
func problems(err error, to []program.Problem) []program.Problem {
	var fault *topo.Error
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case ok:
		for _, e := range joined.Unwrap() {
			to = problems(e, to)
		}
		return to
	case errors.As(err, &fault):
		bare := *fault
		bare.Remedy = ""
		return append(to, program.Problem{Kind: program.KindInvalid, Rack: -1, Op: bare.Error(), Remedy: fault.Remedy})
	}
	return append(to, *bus.ProblemOf(err))
}

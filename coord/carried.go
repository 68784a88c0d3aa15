package coord

import (
	"slices"

	"myriad/api"
	"myriad/program"
)

// carried tells what each pnode has of a platform, or should have, by name.
func (m *Machine) carried(p *platform) []api.Carried {
	all := names(p.reports)
	for _, pnode := range p.where.names {
		if p.reports[pnode] == nil {
			all = append(all, pnode)
		}
	}
	slices.Sort(all)
	out := make([]api.Carried, 0, len(all))
	for _, pnode := range all {
		c := api.Carried{Pnode: pnode, State: pnodeLost.String(), Vnodes: p.where.vnodes[pnode]}
		if n := m.pnodes[pnode]; n != nil {
			c.State = n.state.String()
		}
		if r := m.report(p, pnode); r != nil {
			c.Racks = len(r.Racks)
			for _, k := range r.Racks {
				c.Up += k.Vnodes
				if k.State == program.RackUp {
					c.RacksUp++
				}
			}
		}
		out = append(out, c)
	}
	return out
}

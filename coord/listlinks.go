package coord

import (
	"context"
	"maps"
	"slices"

	"myriad/api"
	"myriad/nodeset"
	"myriad/plan"
	"myriad/program"
	"myriad/topo"
)

// mostRows bounds a list of conditions: of pairs there may be billions.
const mostRows = 20_000

// inForce is a platform's plan, the conditions of its links, and the pnodes
// that carry it.
type inForce struct {
	plan   *plan.Plan
	links  *program.Links
	seed   uint64
	state  api.LinkState
	pnodes []string
}

func (c *Coordinator) inForce(ctx context.Context, platform string) (*inForce, error) {
	p, err := c.planOf(ctx, platform)
	if err != nil {
		return nil, err
	}
	f := &inForce{plan: p}
	return f, c.ask(ctx, func(m *Machine) {
		x := m.platforms[platform]
		if x == nil || x.plan != p {
			return // it is taken down, or changed, at this moment
		}
		f.links, f.pnodes = x.links.state.force, slices.Sorted(maps.Keys(x.reports))
		f.seed = x.record.Seed
		if v := x.links.view(); v != nil {
			f.state = *v
		}
	})
}

// Links lists the conditions of the vifaces of vnodes, or with to those of the
// pairs from them to others.
func (c *Coordinator) Links(ctx context.Context, platform, nodes, to string) (*api.Links, error) {
	f, err := c.inForce(ctx, platform)
	if err != nil {
		return nil, err
	}
	from := f.plan.Nodes()
	if nodes != "" {
		if from, err = resolve(f.plan, nodes); err != nil {
			return nil, err
		}
	}
	var set *nodeset.Set
	if to != "" {
		if set, err = resolve(f.plan, to); err != nil {
			return nil, err
		}
	}
	out := &api.Links{State: f.state}
	rows := f.plan.LinkRows(f.links, from, set)
	if len(rows) > mostRows {
		out.More, rows = len(rows)-mostRows, rows[:mostRows]
	}
	for _, r := range rows {
		row := api.LinkRow{Nodes: r.Nodes.String(), Network: r.Network, Side: sideNames[r.Side], Asked: plan.Asked(f.links, r.Asked).String(), Count: r.Count}
		if r.To == nil {
			out.Vifaces = append(out.Vifaces, row)
			continue
		}
		row.To = r.To.String()
		out.Pairs = append(out.Pairs, row)
	}
	if f.state.Schedule != nil {
		out.Step = f.state.Schedule.Next
	}
	addStats(&out.State, c.linkStats(ctx, platform, f.pnodes))
	return out, nil
}

var sideNames = map[topo.Side]string{topo.SideOut: "out", topo.SideIn: "in", topo.SideOut | topo.SideIn: "both", topo.SidePair: "pair"}

// linkStats asks the pnodes of a platform how true its links are. It gives an
// answer for each, nil for who gives none.
func (c *Coordinator) linkStats(ctx context.Context, platform string, pnodes []string) []*program.LinkStats {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out := make([]*program.LinkStats, len(pnodes))
	each(pnodes, func(i int, pnode string) {
		if s, err := call[program.LinkStats](ctx, c, pnode, "links", platform); err == nil {
			out[i] = &s
		}
	})
	return out
}

// addStats adds what pnodes say to the state of links.
func addStats(to *api.LinkState, stats []*program.LinkStats) {
	for _, s := range stats {
		if s != nil {
			to.Holder = s.Holder
			to.Overload = append(to.Overload, s.Overloads...)
		}
	}
}

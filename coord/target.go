package coord

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"myriad/bus"
	"myriad/nodeset"
	"myriad/plan"
	"myriad/program"
)

// planOf gives the plan that a platform follows.
func (c *Coordinator) planOf(ctx context.Context, platform string) (*plan.Plan, error) {
	var p *plan.Plan
	known := false
	err := c.ask(ctx, func(m *Machine) {
		if x := m.platforms[platform]; x != nil {
			known, p = true, x.plan
		}
	})
	switch {
	case err != nil:
		return nil, err
	case !known:
		return nil, notFound(platform)
	case p == nil:
		return nil, &program.Problem{Kind: program.KindConflict, Rack: -1, Op: "look at " + platform, Cause: "nothing is remembered of it here", Remedy: "bring it up with its file, or take it down"}
	}
	return p, nil
}

func notFound(platform string) error {
	return &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: "look for platform " + platform, Cause: "there is none of that name"}
}

// resolve gives the vnodes that an expression names, all of which exist.
func resolve(p *plan.Plan, expr string) (*nodeset.Set, error) {
	set, err := nodeset.Parse(expr, groups{p})
	if err != nil {
		return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: err.Error()}
	}
	if err := allKnown(p, set); err != nil {
		return nil, err
	}
	if set.Len() == 0 {
		return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: fmt.Sprintf("find vnodes of %s", p.Platform()), Cause: fmt.Sprintf("%q names none", clip(expr))}
	}
	return set, nil
}

// allKnown refuses a set with names of which there are no vnodes.
func allKnown(p *plan.Plan, set *nodeset.Set) error {
	if unknown := p.Unknown(set); unknown.Len() > 0 {
		return &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: "find vnodes of " + p.Platform(),
			Cause: fmt.Sprintf("no vnode is called %s", clip(unknown.String())), Remedy: "ps lists them"}
	}
	return nil
}

// clip shortens what a message repeats.
func clip(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return s[:most] + "…"
}

// groups resolves the groups of a platform.
type groups struct{ plan *plan.Plan }

func (g groups) Group(source, name string) (*nodeset.Set, error) {
	all, err := g.of(source)
	if err != nil {
		return nil, err
	}
	if set := all[name]; set != nil {
		return set, nil
	}
	return nil, fmt.Errorf("%s has no group %s", g.plan.Platform(), name)
}

func (g groups) Groups(source string) ([]string, error) {
	all, err := g.of(source)
	return slices.Sorted(maps.Keys(all)), err
}

func (g groups) All(source string) (*nodeset.Set, error) {
	_, err := g.of(source)
	return g.plan.Nodes(), err
}

func (g groups) of(source string) (map[string]*nodeset.Set, error) {
	if source != "" {
		return nil, errors.New("group sources are not supported; write @group")
	}
	return g.plan.Groups(), nil
}

// target is some vnodes of a plan, and where they are.
type target struct {
	plan   *plan.Plan
	nodes  *nodeset.Set
	pnodes []string                    // names by number
	shares map[int]map[uint32][]string // names by pnode and rack
}

func newTarget(p *plan.Plan, nodes *nodeset.Set) *target {
	t := &target{plan: p, nodes: nodes, shares: map[int]map[uint32][]string{}}
	for _, n := range p.Pnodes() {
		t.pnodes = append(t.pnodes, n.Name)
	}
	for name := range nodes.All() {
		at, _ := p.Find(name)
		racks := t.shares[at.Pnode]
		if racks == nil {
			racks = map[uint32][]string{}
			t.shares[at.Pnode] = racks
		}
		racks[at.Rack] = append(racks[at.Rack], name)
	}
	return t
}

// sharesOf gives what a pnode is asked for. If that is every vnode there, the
// names can be left out.
func (t *target) sharesOf(pnode int) []bus.Share {
	var out []bus.Share
	all := t.nodes.Len() == t.plan.Len()
	for _, rack := range slices.Sorted(maps.Keys(t.shares[pnode])) {
		s := bus.Share{Rack: rack}
		if !all {
			s.Vnodes = t.shares[pnode][rack]
		}
		out = append(out, s)
	}
	return out
}

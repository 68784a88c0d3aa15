package coord

import (
	"context"

	"myriad/api"
	"myriad/nodeset"
)

// Nodes tells which vnodes an expression names, or all if it is empty. It
// asks nobody, and names none singly.
func (c *Coordinator) Nodes(ctx context.Context, platform, expr string) (*api.Nodes, error) {
	p, err := c.planOf(ctx, platform)
	if err != nil {
		return nil, err
	}
	nodes := p.Nodes()
	if expr != "" {
		if nodes, err = resolve(p, expr); err != nil {
			return nil, err
		}
	}
	out := &api.Nodes{Nodes: nodes.String(), Count: nodes.Len(), Groups: map[string]string{}}
	for name, members := range p.Groups() {
		if of := nodeset.Intersection(members, nodes); of.Len() > 0 {
			out.Groups[name] = of.String()
		}
	}
	return out, nil
}

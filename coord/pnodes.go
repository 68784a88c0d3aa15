package coord

import (
	"context"

	"myriad/api"
	"myriad/program"
)

// Pnodes lists the machines that are known, and those that were refused
// lately.
func (c *Coordinator) Pnodes(ctx context.Context) ([]api.Pnode, error) {
	out := []api.Pnode{}
	err := c.ask(ctx, func(m *Machine) { out = m.listPnodes(out) })
	return out, err
}

func (m *Machine) listPnodes(out []api.Pnode) []api.Pnode {
	for _, n := range m.sortedPnodes() {
		v := api.Pnode{Name: n.name, Site: n.site, State: n.state.String(), Drained: n.drained, Clock: n.clock, Heard: n.heard.Round(0)}
		if h := n.hello; h != nil {
			v.Version, v.Kernel, v.MTU, v.CPUs, v.Memory = h.Version, h.Kernel, h.MTU, h.CPUs, h.Memory
			v.Files, v.Namespaces, v.Pids, v.WireGuard = h.Files, h.Namespaces, h.Pids, h.Key != [32]byte{}
			if h.Address.IsValid() {
				v.Address = h.Address.String()
			}
		}
		for _, p := range m.sorted() {
			if r := m.report(p, n.name); r != nil {
				v.Vnodes += r.Up()
				v.Platforms = append(v.Platforms, p.name)
			} else if p.where.wants(n.name) {
				v.Platforms = append(v.Platforms, p.name)
			}
		}
		out = append(out, v)
	}
	for _, key := range names(m.refused) {
		r := m.refused[key]
		why := *r.why
		out = append(out, api.Pnode{Name: r.hello.Pnode, Site: r.hello.Site, State: "refused", Version: r.hello.Version, Kernel: r.hello.Kernel,
			CPUs: r.hello.CPUs, Memory: r.hello.Memory, Heard: r.at.Round(0), Problem: (&program.Problem{Op: why.Cause, Cause: "", Remedy: why.Remedy}).Error()})
	}
	return out
}

// Drain has no vnodes be on a pnode, or, with undo, lets some be placed there
// again. It returns when all are elsewhere. When ctx ends before, that goes on.
func (c *Coordinator) Drain(ctx context.Context, pnode string, undo bool, tell func(api.Event)) error {
	return c.ends(ctx, func(a Asker) Event { return DrainAsked{a, pnode, undo} }, tell)
}

// ForgetPnode has nothing be known of a pnode that is not there.
func (c *Coordinator) ForgetPnode(ctx context.Context, pnode string) error {
	return c.ends(ctx, func(a Asker) Event { return ForgetAsked{a, pnode} }, func(api.Event) {})
}

// ends asks for something, tells also how it has ended, and gives what was
// wrong in the end.
func (c *Coordinator) ends(ctx context.Context, event func(Asker) Event, tell func(api.Event)) error {
	last, err := c.request(ctx, event, tell)
	if err == nil && last.Error != nil {
		return last.Error
	}
	if err == nil {
		tell(last)
	}
	return err
}

package kernel

import (
	"cmp"
	"context"
	"slices"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// observe reads every vnode of a rack back, as a program would describe it. A
// viface that does not work as it was asked to (it is down, or has another MTU
// or no address) has network 0, which none has.
func observe(ctx context.Context, l *LocalRack) (*program.Rack, error) {
	out := &program.Rack{Index: l.spec.Rack.Index}
	held := make([]*vnode, 0, len(l.slots))
	for _, v := range l.slots {
		held = append(held, v)
	}
	slices.SortFunc(held, func(a, b *vnode) int { return cmp.Compare(a.slot, b.slot) })
	r := reader{spec: l.spec, networks: networksOf(l.spec.Networks), ipv6: l.ipv6, have: newState(), out: out}
	err := netns.Run(func(t *netns.Thread) error {
		c, err := rtnl.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		for _, v := range held {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := t.Enter(v.ns); err != nil {
				return err
			}
			if err := c.Reopen(); err != nil {
				return err
			}
			if err := r.have.read(c); err != nil {
				return err
			}
			r.vnode(v)
		}
		return nil
	})
	return out, err
}

// reader turns what namespaces have into rows.
type reader struct {
	spec     *RackSpec
	networks map[uint16]*program.Network
	ipv6     bool
	have     *state
	out      *program.Rack
}

func (r *reader) vnode(v *vnode) {
	asked := false // to forward
	if i, ok := slices.BinarySearchFunc(r.spec.Rack.Vnodes, v.slot, func(v program.Vnode, slot uint16) int { return cmp.Compare(v.Slot, slot) }); ok {
		asked = r.spec.Rack.Vnodes[i].Forward
	}
	links, forward := 0, 0
	first := len(r.out.Vifaces)
	for i := range r.have.links {
		link := &r.have.links[i]
		if !ours(link) {
			continue
		}
		links++
		if link.Forward {
			forward++
		}
		r.out.Vifaces = append(r.out.Vifaces, r.viface(v, link))
	}
	slices.SortFunc(r.out.Vifaces[first:], func(a, b program.Viface) int { return cmp.Compare(a.Index, b.Index) })
	switch forward {
	case links: // or there is none at all, and nothing to forward
		asked = asked && links == 0 || links > 0
	case 0:
		asked = false
	default: // some do, some do not: neither is as it was asked
		asked = !asked
	}
	r.out.Vnodes = append(r.out.Vnodes, program.Vnode{Slot: v.slot, Name: v.name, Weight: v.weight, Forward: asked})
	first = len(r.out.Routes)
	for i := range r.have.routes {
		x := &r.have.routes[i]
		r.out.Routes = append(r.out.Routes, program.Route{Slot: v.slot, To: x.To, Via: x.Via})
	}
	slices.SortFunc(r.out.Routes[first:], func(a, b program.Route) int { return a.To.Compare(b.To) })
}

func (r *reader) viface(v *vnode, l *rtnl.LinkInfo) program.Viface {
	f := program.Viface{Slot: v.slot, Index: uint16(l.Index - firstIndex), Name: l.Name, MAC: l.MAC}
	if l.Kind == rtnl.Veth {
		f.Attach = program.AttachVeth
	}
	for _, asked := range r.spec.Rack.VifacesOf(v.slot) {
		if asked.Index == f.Index && r.spec.Fabric == program.FabricBridge {
			f.Attach = asked.Attach // with bridges, it makes no difference
		}
	}
	n := r.networks[uint16(l.Group)]
	if n == nil || !l.Up || l.MTU != uint32(n.MTU) || r.ipv6 && !l.IPv6Quiet {
		return f
	}
	host, ok := r.have.addrIn(l.Index, n)
	if !ok {
		return f
	}
	f.Network, f.Host = n.ID, host
	if f.MAC == program.MACOf(n.ID, host) {
		f.MAC = program.MAC{}
	}
	return f
}

package coord

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"time"

	"myriad/api"
	"myriad/bus"
	"myriad/nodeset"
	"myriad/plan"
	"myriad/program"
)

// askTimeout bounds questions to pnodes that a listing can do without.
const askTimeout = 2 * time.Second

// Platforms lists the platforms, with what the fabric counted.
func (c *Coordinator) Platforms(ctx context.Context) ([]api.Platform, error) {
	out := []api.Platform{}
	at := map[string][]string{}
	err := c.ask(ctx, func(m *Machine) {
		for _, p := range m.sorted() {
			out = append(out, *m.view(p))
			at[p.name] = slices.Sorted(maps.Keys(p.reports))
		}
	})
	for i := range out {
		out[i].Counters = c.counters(ctx, out[i].Name, at[out[i].Name])
		c.addLinks(ctx, &out[i], at[out[i].Name])
	}
	return out, err
}

// Platform shows one platform.
func (c *Coordinator) Platform(ctx context.Context, name string) (*api.Platform, error) {
	var v *api.Platform
	var at []string
	err := c.ask(ctx, func(m *Machine) {
		if p := m.platforms[name]; p != nil {
			v, at = m.view(p), slices.Sorted(maps.Keys(p.reports))
		}
	})
	switch {
	case err != nil:
		return nil, err
	case v == nil:
		return nil, notFound(name)
	}
	v.Counters = c.counters(ctx, name, at)
	c.addLinks(ctx, v, at)
	return v, nil
}

// addLinks adds what the pnodes know of conditions, where there are some.
func (c *Coordinator) addLinks(ctx context.Context, v *api.Platform, at []string) {
	if v.Links != nil {
		addStats(v.Links, c.linkStats(ctx, v.Name, at))
	}
}

// counters sums what the pnodes of a platform have counted, as far as they
// answer. One that is at work on the platform may not.
func (c *Coordinator) counters(ctx context.Context, platform string, pnodes []string) []program.Counter {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var mu sync.Mutex
	var order []string
	sums := map[string]uint64{}
	each(pnodes, func(_ int, pnode string) {
		counts, _ := call[[]program.Counter](ctx, c, pnode, "counters", platform) // as far as they answer
		mu.Lock()
		defer mu.Unlock()
		for _, n := range counts {
			if _, ok := sums[n.Name]; !ok {
				order = append(order, n.Name)
			}
			sums[n.Name] += n.Packets
		}
	})
	var out []program.Counter
	for _, name := range order {
		out = append(out, program.Counter{Name: name, Packets: sums[name]})
	}
	return out
}

// askAtOnce is how many pnodes are asked the same thing at once: more than are
// silent without being known to be lost, or others would wait for those.
const askAtOnce = 1024

// each calls f for each pnode, many at once, and returns when all is done.
func each(pnodes []string, f func(i int, pnode string)) {
	var work sync.WaitGroup
	room := make(chan struct{}, askAtOnce)
	for i, pnode := range pnodes {
		room <- struct{}{}
		work.Go(func() {
			defer func() { <-room }()
			f(i, pnode)
		})
	}
	work.Wait()
}

// call asks a pnode something that it answers at once, while it is there.
func call[A any](ctx context.Context, c *Coordinator, pnode, what, platform string) (a A, err error) {
	ctx, end, err := c.alive(ctx, pnode)
	if err != nil {
		return a, err
	}
	defer end()
	a, err = bus.Request[bus.Platform, A](ctx, c.Conn, bus.SubjectOf(pnode, what), bus.Platform{Name: platform})
	if err != nil {
		c.Logf("coordinator: %s of %s at %s: %v", what, platform, pnode, err)
	}
	return a, err
}

// Vnodes lists the vnodes that an expression names, or all if it is empty.
func (c *Coordinator) Vnodes(ctx context.Context, platform, expr string, tell func(*api.Vnode) error) error {
	p, err := c.planOf(ctx, platform)
	if err != nil {
		return err
	}
	var nodes *nodeset.Set
	if expr != "" {
		if nodes, err = resolve(p, expr); err != nil {
			return err
		}
	}
	l, err := c.newLister(ctx, p)
	if err != nil {
		return err
	}
	for _, n := range p.Networks() {
		l.networks[n.Name] = n.Network
	}
	for v := range p.Vnodes(nodes) {
		if err := tell(l.vnode(&v)); err != nil {
			return err
		}
	}
	return nil
}

// lister knows what listings say of vnodes.
type lister struct {
	pnodes []plan.Pnode
	states map[[2]int]program.RackState // by pnode and rack
	up     map[int]map[string]bool      // by pnode, where it takes a closer look
	groups []group

	links    *program.Links // in force
	networks map[string]program.Network
	texts    map[uint32]string // of conditions
}

type group struct {
	name  string
	nodes *nodeset.Set
}

func (c *Coordinator) newLister(ctx context.Context, p *plan.Plan) (*lister, error) {
	l := &lister{pnodes: p.Pnodes(), states: map[[2]int]program.RackState{}, up: map[int]map[string]bool{},
		networks: map[string]program.Network{}, texts: map[uint32]string{}}
	all := p.Groups()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		l.groups = append(l.groups, group{name, all[name]})
	}
	var partial []int
	err := c.ask(ctx, func(m *Machine) {
		x := m.platforms[p.Platform()]
		if x == nil {
			return
		}
		l.links = x.links.state.force
		for i, n := range l.pnodes {
			r := m.report(x, n.Name)
			if r == nil {
				continue
			}
			for _, k := range r.Racks {
				l.states[[2]int{i, int(k.Index)}] = k.State
			}
			if slices.ContainsFunc(r.Racks, func(k program.RackReport) bool { return k.State == program.RackPartial }) {
				partial = append(partial, i)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return l, c.look(ctx, l, p.Platform(), partial)
}

// look asks pnodes which vnodes their kernels have.
func (c *Coordinator) look(ctx context.Context, l *lister, platform string, pnodes []int) error {
	var mu sync.Mutex
	var failed error
	ask := make([]string, len(pnodes))
	for i, n := range pnodes {
		ask[i] = l.pnodes[n].Name
	}
	each(ask, func(i int, pnode string) {
		up, err := c.observe(ctx, platform, pnode)
		mu.Lock()
		defer mu.Unlock()
		l.up[pnodes[i]], failed = up, orElse(failed, err)
	})
	return failed
}

// observe asks a pnode which vnodes its kernel has.
func (c *Coordinator) observe(ctx context.Context, platform, pnode string) (map[string]bool, error) {
	ctx, end, err := c.alive(ctx, pnode)
	if err != nil {
		return nil, err
	}
	defer end()
	s, err := bus.Open(ctx, c.Conn, bus.SubjectOf(pnode, "observe"), bus.Platform{Name: platform})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var racks []program.Rack
	if err := s.Recv(&racks); err != nil {
		return nil, fmt.Errorf("observe %s at %s: %w", platform, pnode, err)
	}
	up := map[string]bool{}
	for i := range racks {
		for _, v := range racks[i].Vnodes {
			up[v.Name] = true
		}
	}
	return up, nil
}

// vnode is a vnode as listings show it.
func (l *lister) vnode(v *plan.Vnode) *api.Vnode {
	out := &api.Vnode{Name: v.Name, Pnode: l.pnodes[v.Pnode].Name, Rack: v.Rack, State: l.state(v), Weight: v.Weight.String(), Gateway: v.Gateway, Vifaces: []api.Viface{}}
	for _, f := range v.Vifaces {
		out.Vifaces = append(out.Vifaces, api.Viface{Name: f.Name, Network: f.Network, Address: f.Address.String(), MAC: f.MAC.String(), Attach: v.Attach.String()})
		l.conditions(&out.Vifaces[len(out.Vifaces)-1], f.Address.Addr())
	}
	for _, r := range v.Routes {
		out.Routes = append(out.Routes, api.Route{To: r.To.String(), Via: r.Via.String()})
	}
	for _, g := range l.groups {
		if g.nodes.Contains(v.Name) {
			out.Groups = append(out.Groups, g.name)
		}
	}
	return out
}

// conditions adds those of a viface that has some.
func (l *lister) conditions(out *api.Viface, addr netip.Addr) {
	if l.links == nil {
		return
	}
	n := l.networks[out.Network]
	r := l.links.Of(n.ID, n.HostOf(addr))
	text := func(ref uint32) string {
		if _, ok := l.texts[ref]; !ok && ref != 0 {
			l.texts[ref] = plan.Asked(l.links, l.links.Condition(ref)).String()
		}
		return l.texts[ref]
	}
	out.Out, out.In = text(r.Out), text(r.In)
}

func (l *lister) state(v *plan.Vnode) string {
	switch l.states[[2]int{v.Pnode, int(v.Rack)}] {
	case program.RackUp:
		return stateUp
	case program.RackLost:
		return stateLost
	case program.RackPartial:
		if l.up[v.Pnode][v.Name] {
			return stateUp
		}
	}
	return stateDown
}

package plan

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Routes between all networks lead along shortest paths: networks are the
// places of a graph, and each gateway vnode joins those that it is in. From a
// network, the next hops towards another are all gateways there by which the
// way is shortest; the vnode with host number h takes number h-1 of them,
// counted round and round, so that gateways share the load evenly and a vnode
// keeps its gateway for as long as the gateways are the same ones. Every hop
// comes nearer, so nothing can loop.
//
// There is never a default route: networks become one destination only where
// together they fill it exactly. So a packet to an address of no network is
// refused where it is sent, with "network unreachable". A vnode with explicit
// routes has its computed ones unmerged, so that what is longest among them
// stays so.

// kindRoutes is how vnodes of one kind reach the networks that they are not
// in, by destination.
type kindRoutes struct {
	plain  []route // a destination for each network; only if one of the vnodes has explicit routes
	merged []route
}

// route is a destination, the viface that leads to it, and the gateways of
// which any may be the next hop.
type route struct {
	to     netip.Prefix
	viface int
	via    *gateways
}

// gateways are some gateways of one network.
type gateways struct {
	id      int      // place in graph.made
	network int      // index into Plan.networks
	hosts   []uint32 // their host numbers, in the order of vnodes
}

// nextHop gives the address of a vnode's next hop on a route.
func (p *Plan) nextHop(vnode int, r *route) netip.Addr {
	h := p.host[p.viface[vnode]+uint32(r.viface)]
	return p.networks[r.via.network].Addr(r.via.hosts[(h-1)%uint32(len(r.via.hosts))])
}

// graph is what complete routes are computed from.
type graph struct {
	*Plan
	in     [][]port               // by network: kinds of gateway that are in it
	vnodes [][]int                // by kind: its vnodes, if they are gateways
	few    map[fewKinds]*gateways // by network and kinds, if those are no more than 64
	many   map[string]*gateways   // if they are
	made   []*gateways            // the same, by id

	// For one destination at a time:
	toNetwork []length    // how far it is from a network
	toKind    []length    // how far from the gateways of a kind
	nearer    []*gateways // by network: those by which the way is shortest, once they are asked for
	queue     []int
	heap      heap
}

// fewKinds are kinds in a network: bit i is of the i-th in graph.in.
type fewKinds struct {
	network int
	kinds   uint64
}

// port is a viface that the gateways of a kind have in a network.
type port struct{ kind, viface int }

// completeRoutes fills Plan.routes, and gives what is wrong.
func (p *Plan) completeRoutes() []error {
	g := p.newGraph()
	if problems := g.check(); problems != nil {
		return problems
	}
	var to []netip.Prefix
	ways := make([][]way, len(p.kinds))
	for k := range ways {
		ways[k] = make([]way, 0, len(p.networks))
	}
	for _, n := range p.bySubnet() {
		if p.members[n] == 0 {
			continue
		}
		to = append(to, p.networks[n].Subnet)
		g.spread(n)
		for k := range p.kinds {
			ways[k] = append(ways[k], g.wayTo(n, k))
		}
	}
	asked := p.withExplicit()
	f := newForest(to)
	p.routes = make([]kindRoutes, len(p.kinds))
	for k := range p.routes {
		for _, m := range f.merge(ways[k]) {
			p.routes[k].merged = append(p.routes[k].merged, g.route(m.to, m.way))
		}
		for i, w := range ways[k] {
			if asked[k] && w.leads() {
				p.routes[k].plain = append(p.routes[k].plain, g.route(to[i], w))
			}
		}
		ways[k] = nil
	}
	return nil
}

func (p *Plan) newGraph() *graph {
	g := &graph{Plan: p, in: make([][]port, len(p.networks)), vnodes: make([][]int, len(p.kinds)), few: map[fewKinds]*gateways{}, many: map[string]*gateways{}}
	for i, k := range p.kind {
		if p.kinds[k].gateway {
			g.vnodes[k] = append(g.vnodes[k], i)
		}
	}
	for k := range p.kinds {
		if len(g.vnodes[k]) == 0 { // a kind that was read may have none
			continue
		}
		for j, f := range p.kinds[k].vifaces {
			if !slices.ContainsFunc(p.kinds[k].vifaces[:j], func(e kindViface) bool { return e.network == f.network }) {
				g.in[f.network] = append(g.in[f.network], port{k, j})
			}
		}
	}
	return g
}

// withExplicit says which kinds have vnodes with explicit routes.
func (p *Plan) withExplicit() []bool {
	asked := make([]bool, len(p.kinds))
	for i, k := range p.kind {
		asked[k] = asked[k] || len(p.explicitOf(i)) > 0
	}
	return asked
}

// bySubnet gives the networks by address.
func (p *Plan) bySubnet() []int {
	order := make([]int, len(p.networks))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(i, j int) int { return p.networks[i].Subnet.Compare(p.networks[j].Subnet) })
	return order
}

// check finds networks that cannot reach each other, and those that cannot be
// told apart by address. Networks without vnodes matter to nobody.
func (g *graph) check() []error {
	var problems []error
	first, before := -1, -1
	var apart []string
	for _, n := range g.bySubnet() {
		if g.members[n] == 0 {
			continue
		}
		if first < 0 {
			first = n
			g.spread(n)
		}
		if g.toNetwork[n] == unreachable {
			apart = append(apart, g.networks[n].Name)
		}
		if before >= 0 && g.networks[before].Subnet.Overlaps(g.networks[n].Subnet) {
			problems = append(problems, problem("route between all vnetworks",
				fmt.Sprintf("%s (%s) and %s (%s) overlap", g.networks[before].Name, g.networks[before].Subnet, g.networks[n].Name, g.networks[n].Subnet),
				"give them different subnets, or spell the routes out"))
			continue // the wider one may overlap the next, too
		}
		before = n
	}
	if len(apart) > 0 && !g.parts {
		slices.SortFunc(apart, compareNames)
		problems = append(problems, problem("route between all vnetworks",
			fmt.Sprintf("no chain of gateways joins %s to %s", g.networks[first].Name, few(apart)),
			"make a vnode that is in both a gateway, or spell the routes out"))
	}
	return problems
}

// few lists some names, at most five.
func few(names []string) string {
	if len(names) > 5 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:5], ", "), len(names)-5)
	}
	return strings.Join(names, ", ")
}

// way is how vnodes of a kind send what is for a network: by which of their
// vifaces, to which gateways. Equal ways are the same number.
type way uint64

const (
	noWay  way = 0         // the network is out of reach
	onLink way = 1<<64 - 1 // they are in it
	setWay     = 1 << 32   // a viface counts this much, a set of gateways 1
)

// leads says whether the way takes a route.
func (w way) leads() bool { return w != noWay && w != onLink }

// wayTo gives the way to the destination of the last spread.
func (g *graph) wayTo(destination, kind int) way {
	best, shortest := -1, unreachable
	for j, f := range g.kinds[kind].vifaces {
		if f.network == destination {
			return onLink
		}
		if d := g.toNetwork[f.network]; d != unreachable {
			if d = d.plus(f.out, 0); d.less(shortest) {
				best, shortest = j, d
			}
		}
	}
	if best < 0 {
		return noWay
	}
	return way(best)*setWay + way(g.gatewaysIn(g.kinds[kind].vifaces[best].network).id) + 1
}

// route writes a way as a route.
func (g *graph) route(to netip.Prefix, w way) route {
	return route{to: to, viface: int(w / setWay), via: g.made[w%setWay-1]}
}

// gatewaysIn gives the gateways in a network by which the way to the
// destination of the last spread is shortest. Equal sets are the same pointer.
func (g *graph) gatewaysIn(network int) *gateways {
	set := g.nearer[network]
	if set == nil {
		set = g.findGateways(network)
		g.nearer[network] = set
	}
	return set
}

func (g *graph) findGateways(network int) *gateways {
	if len(g.in[network]) <= 64 {
		key := fewKinds{network: network}
		for i, at := range g.in[network] {
			if g.leads(network, at) {
				key.kinds |= 1 << i
			}
		}
		if g.few[key] == nil {
			g.few[key] = g.makeGateways(network)
		}
		return g.few[key]
	}
	key := binary.AppendUvarint(nil, uint64(network))
	for _, at := range g.in[network] {
		if g.leads(network, at) {
			key = binary.AppendUvarint(key, uint64(at.kind))
		}
	}
	if g.many[string(key)] == nil {
		g.many[string(key)] = g.makeGateways(network)
	}
	return g.many[string(key)]
}

// leads says whether the way from a network leads through the gateways of a
// kind.
func (g *graph) leads(network int, at port) bool {
	return g.toKind[at.kind].plus(g.kinds[at.kind].vifaces[at.viface].in, 0) == g.toNetwork[network]
}

func (g *graph) makeGateways(network int) *gateways {
	set := &gateways{id: len(g.made), network: network}
	var vnodes []int
	for _, at := range g.in[network] {
		if g.leads(network, at) {
			vnodes = append(vnodes, g.vnodes[at.kind]...)
		}
	}
	slices.Sort(vnodes)
	for _, i := range vnodes {
		set.hosts = append(set.hosts, g.hostIn(i, network))
	}
	g.made = append(g.made, set)
	return set
}

// hostIn gives the host number of a vnode's first viface in a network.
func (p *Plan) hostIn(vnode, network int) uint32 {
	for j, f := range p.kinds[p.kind[vnode]].vifaces {
		if f.network == network {
			return p.host[p.viface[vnode]+uint32(j)]
		}
	}
	return 0
}

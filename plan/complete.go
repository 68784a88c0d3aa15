package plan

import (
	"encoding/binary"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
)

// Routes between all networks lead along shortest paths: networks are the
// places of a graph, and each gateway vnode joins those that it is in. From a
// network, the next hops towards another are all gateways there that are one
// step nearer; the vnode with host number h takes number h-1 of them, counted
// round and round, so that gateways share the load evenly and a vnode keeps
// its gateway for as long as the gateways are the same ones. Every hop comes
// nearer, so nothing can loop.
//
// There is never a default route: networks behind the same gateways become
// one destination only where together they fill it exactly (its own networks
// may be part of it, as what is on-link is more specific). So a packet to an
// address of no network is refused where it is sent, with "network
// unreachable". A vnode with explicit routes has its computed ones unmerged,
// so that what is longest among them stays so.

// kindRoutes is how vnodes of one kind reach the networks that they are not
// in, by destination.
type kindRoutes struct {
	plain  []route // a destination for each network; only if one of the vnodes has explicit routes
	merged []route
}

// route is a destination, the viface that leads to it, and the gateways of
// which any may be the next hop; none if the destination is on-link.
type route struct {
	to     netip.Prefix
	viface int
	via    *gateways
}

// gateways are some gateways of one network.
type gateways struct {
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
	in     [][]int              // by network: kinds of gateway that are in it
	vnodes [][]int              // by kind: its vnodes, if they are gateways
	sets   map[string]*gateways // by network and kinds

	// For one destination at a time:
	toNetwork []int       // how many gateways are between a network and it
	toKind    []int       // the same for the gateways of a kind
	nearer    []*gateways // by network: those one step nearer, once they are asked for
	queue     []int
}

const unreachable = math.MaxInt

// completeRoutes fills Plan.routes, and gives what is wrong.
func (p *Plan) completeRoutes() []error {
	g := &graph{Plan: p, in: make([][]int, len(p.networks)), vnodes: make([][]int, len(p.kinds)), sets: map[string]*gateways{}}
	for i, k := range p.kind {
		if p.kinds[k].gateway {
			g.vnodes[k] = append(g.vnodes[k], i)
		}
	}
	for k := range p.kinds {
		if len(g.vnodes[k]) == 0 { // a kind that was read may have none
			continue
		}
		for _, n := range p.kinds[k].networks() {
			g.in[n] = append(g.in[n], k)
		}
	}
	if problems := g.check(); problems != nil {
		return problems
	}
	p.routes = make([]kindRoutes, len(p.kinds))
	for _, n := range p.bySubnet() {
		if p.members[n] > 0 {
			g.spread(n)
			g.routesTo(n)
		}
	}
	for k := range p.routes {
		p.routes[k] = merge(p.routes[k].plain)
	}
	p.dropPlain()
	return nil
}

// dropPlain forgets unmerged routes that nobody asks for.
func (p *Plan) dropPlain() {
	asked := make([]bool, len(p.kinds))
	for i, k := range p.kind {
		asked[k] = asked[k] || len(p.explicitOf(i)) > 0
	}
	for k := range p.routes {
		if !asked[k] {
			p.routes[k].plain = nil
		}
	}
}

// networks gives the networks that a kind is in, once each.
func (k *kind) networks() []int {
	var in []int
	for _, f := range k.vifaces {
		if !slices.Contains(in, f.network) {
			in = append(in, f.network)
		}
	}
	return in
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
	if len(apart) > 0 {
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

// spread computes toNetwork and toKind for one destination, breadth first.
func (g *graph) spread(destination int) {
	g.toNetwork = far(g.toNetwork, len(g.networks))
	g.toKind = far(g.toKind, len(g.kinds))
	g.nearer = slices.Grow(g.nearer[:0], len(g.networks))[:len(g.networks)]
	clear(g.nearer)
	g.toNetwork[destination] = 0
	g.queue = append(g.queue[:0], destination)
	for at := 0; at < len(g.queue); at++ {
		n := g.queue[at]
		for _, k := range g.in[n] {
			if g.toKind[k] != unreachable {
				continue
			}
			g.toKind[k] = g.toNetwork[n]
			for _, f := range g.kinds[k].vifaces {
				if g.toNetwork[f.network] == unreachable {
					g.toNetwork[f.network] = g.toNetwork[n] + 1
					g.queue = append(g.queue, f.network)
				}
			}
		}
	}
}

// far is n times unreachable, in the memory of s if it is large enough.
func far(s []int, n int) []int {
	s = slices.Grow(s[:0], n)[:n]
	for i := range s {
		s[i] = unreachable
	}
	return s
}

// routesTo adds the route to one network to every kind. A kind that is itself
// in the network gets one without gateways: see merge.
func (g *graph) routesTo(destination int) {
	for k := range g.kinds {
		vifaces := g.kinds[k].vifaces
		best := -1
		for j, f := range vifaces {
			if best < 0 || g.toNetwork[f.network] < g.toNetwork[vifaces[best].network] {
				best = j
			}
		}
		if best < 0 {
			continue
		}
		r := route{to: g.networks[destination].Subnet, viface: best}
		if at := vifaces[best].network; at != destination {
			r.via = g.gatewaysIn(at)
		}
		g.routes[k].plain = append(g.routes[k].plain, r)
	}
}

// gatewaysIn gives the gateways in a network that are one step nearer to the
// destination of the last spread. Equal sets are the same pointer.
func (g *graph) gatewaysIn(network int) *gateways {
	if set := g.nearer[network]; set != nil {
		return set
	}
	key := binary.AppendUvarint(nil, uint64(network))
	var vnodes []int
	for _, k := range g.in[network] {
		if g.toKind[k] < g.toNetwork[network] {
			key = binary.AppendUvarint(key, uint64(k))
			vnodes = append(vnodes, g.vnodes[k]...)
		}
	}
	set := g.sets[string(key)]
	if set == nil {
		set = &gateways{network: network}
		slices.Sort(vnodes)
		for _, i := range vnodes {
			set.hosts = append(set.hosts, g.hostIn(i, network))
		}
		g.sets[string(key)] = set
	}
	g.nearer[network] = set
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

// merge takes the vnode's own networks, those on-link, out of its routes, and
// makes one of two that are the halves of one destination and lead the same
// way, as often as it can. An own network goes with any half: it is more
// specific than the whole, so the whole does not touch it.
func merge(all []route) kindRoutes {
	var out kindRoutes
	for _, r := range all {
		if r.via != nil {
			out.plain = append(out.plain, r)
		}
		out.merged = append(out.merged, r)
		for n := len(out.merged); n >= 2; n-- {
			whole, ok := join(out.merged[n-2], out.merged[n-1])
			if !ok {
				break
			}
			out.merged = append(out.merged[:n-2], whole)
		}
	}
	out.merged = slices.Clip(slices.DeleteFunc(out.merged, func(r route) bool { return r.via == nil }))
	return out
}

// join makes one route of two, if they are halves of it.
func join(a, b route) (route, bool) {
	if a.via == nil {
		a.viface, a.via = b.viface, b.via
	} else if b.via != nil && (a.via != b.via || a.viface != b.viface) {
		return route{}, false
	}
	whole := netip.PrefixFrom(a.to.Addr(), a.to.Bits()-1).Masked()
	if a.to.Bits() != b.to.Bits() || a.to == b.to || !whole.Contains(b.to.Addr()) {
		return route{}, false
	}
	return route{whole, a.viface, a.via}, true
}

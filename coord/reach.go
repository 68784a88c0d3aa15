package coord

import (
	"net/netip"

	"myriad/plan"
	"myriad/program"
)

// mostHops bounds the way of a packet, as TTL does.
const mostHops = 64

// reach tells which vnodes can speak to which, from the plan alone: it goes
// the way that a packet would go.
type reach struct {
	plan     *plan.Plan
	subnets  map[string]netip.Prefix // by network
	gateways map[place]int           // rows of the vnodes that forward
	seen     map[int]*plan.Vnode
}

// place is an address in a network. Networks may have equal subnets.
type place struct {
	network string
	addr    netip.Addr
}

func newReach(p *plan.Plan) *reach {
	r := &reach{plan: p, subnets: map[string]netip.Prefix{}, gateways: map[place]int{}, seen: map[int]*plan.Vnode{}}
	for _, n := range p.Networks() {
		r.subnets[n.Name] = n.Subnet
	}
	for v := range p.Vnodes(nil) {
		if !v.Gateway {
			continue
		}
		for _, f := range v.Vifaces {
			r.gateways[place{f.Network, f.Address.Addr()}] = v.Placement.Vnode
		}
	}
	return r
}

func (r *reach) vnode(row int) *plan.Vnode {
	v := r.seen[row]
	if v == nil {
		found := r.plan.Vnode(row)
		v = &found
		r.seen[row] = v
	}
	return v
}

// address gives an address at which a reaches b and gets an answer; invalid
// if there is none.
func (r *reach) address(a, b int) netip.Addr {
	for _, f := range r.vnode(b).Vifaces {
		to := place{f.Network, f.Address.Addr()}
		source, ok := r.walk(a, to, b)
		if !ok {
			continue
		}
		if _, ok := r.walk(b, source, a); ok {
			return to.addr
		}
	}
	return netip.Addr{}
}

// walk sends a packet from a vnode to a place that is the vnode to's, and
// gives the place it was sent from.
func (r *reach) walk(from int, to place, is int) (source place, ok bool) {
	for hops := range mostHops {
		v := r.vnode(from)
		if hops > 0 && !v.Gateway {
			return source, false
		}
		f, via := next(v, r.subnets, to.addr)
		if f == nil {
			return source, false
		}
		if hops == 0 {
			source = place{f.Network, f.Address.Addr()}
		}
		if !via.IsValid() {
			return source, f.Network == to.network
		}
		if from, ok = r.gateways[place{f.Network, via}]; !ok {
			return source, false
		}
		if from == is {
			return source, true // its address in another network is its own all the same
		}
	}
	return source, false
}

// next gives the viface by which a packet leaves a vnode, and the next hop if
// its destination is not on the link: the longest prefix decides, and the own
// subnets come before routes.
func next(v *plan.Vnode, subnets map[string]netip.Prefix, to netip.Addr) (*plan.Viface, netip.Addr) {
	if f := onLink(v, subnets, to); f != nil && !better(v.Routes, to, subnets[f.Network].Bits()) {
		return f, netip.Addr{}
	}
	var best *program.Route
	for i := range v.Routes {
		if route := &v.Routes[i]; route.To.Contains(to) && (best == nil || route.To.Bits() > best.To.Bits()) {
			best = route
		}
	}
	if best == nil {
		return nil, netip.Addr{}
	}
	return onLink(v, subnets, best.Via), best.Via
}

// onLink gives the viface whose subnet has an address; the longest prefix, and
// then the first.
func onLink(v *plan.Vnode, subnets map[string]netip.Prefix, to netip.Addr) *plan.Viface {
	var best *plan.Viface
	for i := range v.Vifaces {
		f := &v.Vifaces[i]
		if s := subnets[f.Network]; s.Contains(to) && (best == nil || s.Bits() > subnets[best.Network].Bits()) {
			best = f
		}
	}
	return best
}

// better tells whether a route has a longer prefix for an address than bits.
func better(routes []program.Route, to netip.Addr, bits int) bool {
	for _, route := range routes {
		if route.To.Contains(to) && route.To.Bits() > bits {
			return true
		}
	}
	return false
}

package topo

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"myriad/nodeset"
)

// explicit is a Route and where the file says so.
type explicit struct {
	Route
	at, toAt, viaAt value
}

// readRoutes reads the field routes.
func (b *builder) readRoutes() {
	entries, _ := b.file.get("routes")
	var routes []explicit
	for _, v := range entries.items {
		var r explicit
		var hasNodes, hasTo, hasVia bool
		if r.at, hasNodes = v.get("nodes"); hasNodes {
			r.Nodes, hasNodes = b.routeNodes(r.at)
		}
		if r.toAt, hasTo = v.get("to"); hasTo {
			r.To, hasTo = b.destination(r.toAt)
		}
		if r.viaAt, hasVia = v.get("via"); hasVia {
			hasVia = b.nextHop(&r)
		}
		if !hasNodes {
			continue
		}
		if hasTo {
			b.checkConnected(r)
		}
		if hasVia {
			b.checkReach(r)
		}
		if hasTo && hasVia {
			routes = append(routes, r)
		}
	}
	b.checkTwice(routes)
	slices.SortStableFunc(routes, func(x, y explicit) int {
		return cmp.Or(x.To.Addr().Compare(y.To.Addr()), cmp.Compare(x.To.Bits(), y.To.Bits()), cmp.Compare(x.Nodes.Min(), y.Nodes.Min()))
	})
	for _, r := range routes {
		b.topo.Routes = append(b.topo.Routes, r.Route)
	}
}

// routeNodes reads the vnodes that have a route.
func (b *builder) routeNodes(v value) (*nodeset.Set, bool) {
	s, ok := b.nodeset(v, b.groups)
	switch {
	case !ok || !b.known(v, s):
		return nil, false
	case s.Len() == 0:
		b.report(v.place, "remove the route, or correct the node set", "%s stands for no vnode", quote(v.text))
		return nil, false
	}
	return s, true
}

// destination reads where a route leads.
func (b *builder) destination(v value) (netip.Prefix, bool) {
	if v.text == "default" {
		return netip.PrefixFrom(netip.IPv4Unspecified(), 0), true
	}
	if i, ok := b.networkOf[v.text]; ok {
		return b.networks[i].Subnet, b.networks[i].sound
	}
	if strings.Contains(v.text, "/") {
		return b.prefix(v)
	}
	if a, err := netip.ParseAddr(v.text); err == nil && a.Is4() {
		return netip.PrefixFrom(a, 32), true
	}
	if msg, remedy := noIPv6(v.text); msg != "" {
		b.report(v.place, remedy, "%s", msg)
	} else {
		b.unknownNetwork(v.place, v.text, "default")
	}
	return netip.Prefix{}, false
}

// nextHop reads the next hop of a route.
func (b *builder) nextHop(r *explicit) bool {
	v := r.viaAt
	if a, err := netip.ParseAddr(v.text); err == nil {
		if !a.Is4() {
			b.report(v.place, "give an IPv4 address or a vnode's name", "IPv6 vnetworks are not supported yet")
			return false
		}
		r.Via = a
		return true
	}
	i := b.index.find(v.text)
	switch {
	case i < 0 && !b.allKnown: // it may be one that could not be read
		return false
	case i < 0:
		b.report(v.place, "give the name of one vnode, or an address", "no vnode is called %s", quote(v.text))
		return false
	case !b.templates[i].Gateway:
		b.report(v.place, "add gateway: true to it in line "+strconv.Itoa(b.templates[i].at.line), "%s is not a gateway, so it would forward nothing", v.text)
		return false
	}
	r.ViaNode = v.text
	return true
}

// checkConnected reports a route to a subnet that its nodes are in themselves.
func (b *builder) checkConnected(r explicit) {
	var inside []*nodeset.Set
	b.kindIndex.each(r.Nodes, func(i int, common *nodeset.Set) bool {
		for _, f := range b.kinds[i].Vifaces {
			if n := b.networks[f.Network]; n.sound && n.Subnet == r.To {
				inside = append(inside, common)
			}
		}
		return true
	})
	if s := newIndex(inside).all(); s.Len() > 0 {
		b.report(r.toAt.place, "leave them out", "%s: has a viface in %s itself", clip(s.String()), r.To)
	}
}

// checkReach reports nodes that cannot reach the next hop of their route.
func (b *builder) checkReach(r explicit) {
	var far []*nodeset.Set
	var near string // a vnetwork that would do
	said := map[string]bool{}
	say := func(remedy, msg string) {
		if msg != "" && !said[msg] {
			said[msg] = true
			b.report(r.viaAt.place, remedy, "%s", msg)
		}
	}
	var via *template
	if r.ViaNode != "" {
		via = &b.templates[b.index.find(r.ViaNode)]
	}
	b.kindIndex.each(r.Nodes, func(i int, common *nodeset.Set) bool {
		t := b.kinds[i]
		shared, ok := b.hops(t, via, r.Via)
		if common.Contains(r.ViaNode) {
			say("leave it out: "+quote(r.at.text+"!"+r.ViaNode), r.ViaNode+" cannot be its own next hop")
			common = nodeset.Difference(common, nodeset.Of(r.ViaNode))
		}
		switch {
		case !ok || common.Len() == 0:
		case len(shared) == 0:
			far = append(far, common)
			if len(t.Vifaces) > 0 {
				n := b.networks[t.Vifaces[0].Network]
				near = n.Name + " (" + n.Subnet.String() + ")"
			}
		case len(shared) > 1:
			x, y := b.networks[shared[0]].Name, b.networks[shared[1]].Name
			say("give its address in one of them", clip(common.String())+" shares several vnetworks with "+r.ViaNode+", such as "+x+" and "+y)
		case r.ViaNode == "":
			say(b.badAddress(shared[0], r.Via, common))
		}
		return true
	})
	if len(far) == 0 {
		return
	}
	remedy := "give them a viface first"
	if near != "" {
		remedy = "choose a next hop in " + near
	}
	say(remedy, r.viaAt.text+" is in no vnetwork of "+clip(newIndex(far).all().String()))
}

// hops gives the vnetworks by which the vnodes of t reach a next hop: the
// template of its vnode, or else its address. They are not known if ok is
// false.
func (b *builder) hops(t, via *template, address netip.Addr) (shared []int, ok bool) {
	ok = t.sound && (via == nil || via.sound)
	for _, f := range t.Vifaces {
		n := b.networks[f.Network]
		reaches := n.Subnet.Contains(address)
		if via != nil {
			reaches = slices.ContainsFunc(via.Vifaces, func(g Viface) bool { return g.Network == f.Network })
		}
		if reaches {
			shared = append(shared, f.Network)
		}
		ok = ok && n.sound
	}
	return shared, ok
}

// badAddress says why an address in a vnetwork cannot be the next hop of
// nodes, and what to do; it says nothing if it can.
func (b *builder) badAddress(network int, a netip.Addr, nodes *nodeset.Set) (remedy, msg string) {
	if problem := reserved(b.networks[network].Subnet, a); problem != "" {
		return "give the address of a gateway vnode, or its name", a.String() + " " + problem
	}
	switch owner, ok := b.fixed[hostAddress{network, a}]; {
	case ok && nodes.Contains(owner.name):
		return "leave it out", owner.name + " cannot be its own next hop"
	case ok && !owner.gateway:
		return "add gateway: true to it", a.String() + " is the address of " + owner.name + " in line " + strconv.Itoa(owner.line) + ", which is not a gateway"
	}
	return "", ""
}

// checkTwice reports vnodes that have two routes to the same destination.
func (b *builder) checkTwice(routes []explicit) {
	same := map[netip.Prefix][]int{}
	for i, r := range routes {
		same[r.To] = append(same[r.To], i)
	}
	for i, r := range routes {
		if same[r.To][0] != i {
			continue // was done with the first one
		}
		var sets []*nodeset.Set
		for _, j := range same[r.To] {
			sets = append(sets, routes[j].Nodes)
		}
		newIndex(sets).overlaps(func(item, earlier int, common *nodeset.Set) {
			x, y := routes[same[r.To][item]], routes[same[r.To][earlier]]
			b.report(x.toAt.place, "keep one of them", "%s: also has a route to %s in line %d", clip(common.String()), x.To, y.toAt.line)
		})
	}
}

package topo

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	"myriad/link"
)

// network is a Network and where the file says so.
type network struct {
	Network
	at      *place // of its name
	cidrAt  *place
	sound   bool // Subnet is known
	vifaces int  // how many vifaces are in it

	conditions   both   // of its vifaces
	conditionsAt *place // nil: there are none
	out, in      *link.Conditions
	settled      bool // out and in are known
}

// hosts is how many addresses of a subnet vifaces can have: not the first,
// which names the network, nor the last, which is its broadcast address.
func hosts(p netip.Prefix) int { return 1<<(32-p.Bits()) - 2 }

// readNetworks reads the field vnetworks.
func (b *builder) readNetworks() {
	table, _ := b.file.get("vnetworks")
	if n := len(table.items); n > MaxNetworks {
		b.report(table.place, "use fewer, larger vnetworks", "%d vnetworks are more than the limit of %d", n, MaxNetworks)
	}
	for _, item := range table.items {
		n := network{Network: Network{Name: item.key, MTU: 1500}, at: item.keyAt}
		if mtu, ok := item.get("mtu"); ok {
			n.MTU, n.MTUGiven = uint16(mtu.number), true
		}
		switch item.or("broadcast", "auto") {
		case "on":
			n.Broadcast = BroadcastOn
		case "off":
			n.Broadcast = BroadcastOff
		}
		n.conditions, n.conditionsAt, _ = b.conditions(item)
		if cidr, ok := item.get("cidr"); ok {
			n.cidrAt = cidr.place
			n.Subnet, n.sound = b.prefix(cidr)
			n.sound = n.sound && b.usable(n.Subnet, cidr)
		}
		b.networks = append(b.networks, n)
	}
	slices.SortFunc(b.networks, func(x, y network) int { return cmp.Compare(x.Name, y.Name) })
	b.networkOf = make(map[string]int, len(b.networks))
	for i, n := range b.networks {
		b.networkOf[n.Name] = i
	}
}

// prefix reads an IPv4 prefix that has no host bits set.
func (b *builder) prefix(v value) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(v.text)
	switch {
	case err != nil || !p.Addr().Is4():
		msg, remedy := noIPv6(v.text)
		if msg == "" {
			msg, remedy = quote(v.text)+" is not an IPv4 subnet", "each number is from 0 to 255 and has no zeros in front, the prefix is from 0 to 32"
		}
		b.report(v.place, remedy, "%s", msg)
	case p != p.Masked():
		b.report(v.place, "write "+p.Masked().String(), "%s has host bits set", v.text)
	default:
		return p, true
	}
	return netip.Prefix{}, false
}

// unusable are the subnets whose addresses no interface can have.
var unusable = map[netip.Prefix]string{
	netip.MustParsePrefix("0.0.0.0/8"):   "stands for this network",
	netip.MustParsePrefix("127.0.0.0/8"): "is for loopback",
	netip.MustParsePrefix("224.0.0.0/4"): "is for multicast",
}

// usable says whether a vnetwork can have the subnet p.
func (b *builder) usable(p netip.Prefix, v value) bool {
	const private = "use one of the private subnets, such as 10.1.0.0/16"
	switch bits := p.Bits(); {
	case bits < 8:
		b.report(v.place, "use a /8, which has 16777214 addresses", "%s is larger than a /8", v.text)
	case bits > 30:
		b.report(v.place, "use a /30, which has 2 addresses, or larger", "%s is smaller than a /30", v.text)
	default:
		for q, why := range unusable {
			if q.Overlaps(p) {
				b.report(v.place, private, "%s cannot be a vnetwork: %s %s", v.text, q, why)
				return false
			}
		}
		return true
	}
	return false
}

// unknownNetwork reports a name that no vnetwork has.
func (b *builder) unknownNetwork(p *place, name string, others ...string) {
	known := others
	if len(b.networks) < manyWords {
		for _, n := range b.networks {
			known = append(known, n.Name)
		}
	}
	remedy := "describe it under vnetworks"
	if near := nearest(name, known); near != "" {
		remedy = "did you mean " + near + "?"
	} else if len(known) > 0 && len(known) <= 8 {
		remedy = "known: " + strings.Join(known, ", ")
	}
	b.report(p, remedy, "no vnetwork is called %s", quote(name))
}

// clashes calls do for every network of the list whose subnet overlaps that of
// another one.
func (b *builder) clashes(list []int, do func(x, y *network)) {
	sound := make([]*network, 0, len(list))
	for _, i := range list {
		if b.networks[i].sound {
			sound = append(sound, &b.networks[i])
		}
	}
	slices.SortFunc(sound, func(x, y *network) int {
		return cmp.Or(x.Subnet.Addr().Compare(y.Subnet.Addr()), cmp.Compare(x.Subnet.Bits(), y.Subnet.Bits()), cmp.Compare(x.Name, y.Name))
	})
	// Subnets are disjoint or nested, and here the outer one comes first.
	var outer *network
	for _, n := range sound {
		if outer != nil && outer.Subnet.Overlaps(n.Subnet) {
			do(outer, n)
		} else {
			outer = n
		}
	}
}

// checkRoom reports vnetworks that have more vifaces than addresses.
func (b *builder) checkRoom() {
	for _, n := range b.networks {
		if !n.sound || n.vifaces <= hosts(n.Subnet) {
			continue
		}
		remedy := "divide its vnodes among several vnetworks"
		for bits := n.Subnet.Bits(); bits >= 8; bits-- {
			if p := netip.PrefixFrom(n.Subnet.Addr(), bits).Masked(); hosts(p) >= n.vifaces {
				remedy = "a /" + p.String()[strings.IndexByte(p.String(), '/')+1:] + " has room, such as " + p.String()
				break
			}
		}
		b.report(n.cidrAt, remedy, "%s has %d addresses, but %s has %s", n.Subnet, hosts(n.Subnet), n.Name, plural(n.vifaces, "viface"))
	}
}

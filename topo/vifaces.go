package topo

import (
	"cmp"
	"net"
	"net/netip"
	"slices"
	"strconv"

	"myriad/link"
	"myriad/program"
)

// readVifaces reads the vifaces of a vnodes entry into t, which has its nodes
// if they are sound.
func (b *builder) readVifaces(t *template, v value) {
	list, _ := v.get("vifaces")
	before := b.count
	names := make(map[string]int, len(list.items))
	networks := make(map[int]int, len(list.items))
	own, ownAt, _ := b.conditions(v)
	for i, item := range list.items {
		f := Viface{Name: item.or("name", "eth"+strconv.Itoa(i)), Network: -1}
		if line, twice := names[f.Name]; twice {
			b.report(item.place, "give one of them another name", "a viface called %s is already in line %d", f.Name, line)
		}
		names[f.Name] = item.line
		if n, ok := b.readNetworkOf(item, networks); ok {
			f.Network = n
		}
		b.readFixed(t, &f, item)
		b.readConditions(&f, item, own, ownAt)
		if f.Network >= 0 {
			t.Vifaces = append(t.Vifaces, f)
			t.vifaces = append(t.vifaces, *item.place)
			b.networks[f.Network].vifaces += t.Nodes.Len()
		}
	}
	b.checkSubnets(t)
	t.sound = t.sound && b.count == before
}

// readConditions settles the conditions of a viface: those of its vnetwork,
// then those of its vnodes entry, then its own, field by field.
func (b *builder) readConditions(f *Viface, item value, entry both, entryAt *place) {
	own, at, ok := b.conditions(item)
	if f.Network < 0 || !ok {
		return
	}
	n := &b.networks[f.Network]
	at = cmp.Or(at, entryAt, n.conditionsAt)
	if at == nil {
		return
	}
	if at == n.conditionsAt && n.settled { // as of many others
		f.Out, f.In = n.out, n.in
		return
	}
	all := n.conditions.then(entry).then(own)
	out, okOut := b.settle(at, all.out)
	in, okIn := b.settle(at, all.in)
	if !okOut || !okIn {
		return
	}
	f.Out, f.In = some(out), some(in)
	if at == n.conditionsAt {
		n.out, n.in, n.settled = f.Out, f.In, true
	}
}

// some is c, nil if it asks for nothing.
func some(c link.Conditions) *link.Conditions {
	if c.Zero() {
		return nil
	}
	return &c
}

// readNetworkOf reads the vnetwork of a viface. networks has those of the
// vnode's other vifaces, and the lines they stand in.
func (b *builder) readNetworkOf(item value, networks map[int]int) (int, bool) {
	name, ok := item.get("vnetwork")
	if !ok {
		return 0, false
	}
	i, ok := b.networkOf[name.text]
	if !ok {
		b.unknownNetwork(name.place, name.text)
		return 0, false
	}
	if line, twice := networks[i]; twice {
		b.report(name.place, "make another vnetwork for it", "a vnode has one viface at most in a vnetwork, and the one in %s is already in line %d", name.text, line)
		return 0, false
	}
	networks[i] = name.line
	return i, true
}

// readFixed reads the fixed addresses of a viface.
func (b *builder) readFixed(t *template, f *Viface, item value) {
	address, hasAddress := item.get("address")
	mac, hasMAC := item.get("mac")
	if n := t.Nodes.Len(); n > 1 {
		const remedy = "give this vnode an entry of its own"
		if hasAddress {
			b.report(address.place, remedy, "a fixed address is for one vnode, and this entry has %d", n)
		}
		if hasMAC {
			b.report(mac.place, remedy, "a fixed Ethernet address is for one vnode, and this entry has %d", n)
		}
		return
	}
	if hasAddress && f.Network >= 0 {
		f.Address = b.fixedAddress(t, f.Network, address)
	}
	if hasMAC {
		f.MAC = b.fixedMAC(mac)
	}
}

// fixedAddress reads a fixed address in a vnetwork.
func (b *builder) fixedAddress(t *template, network int, v value) netip.Addr {
	a, err := netip.ParseAddr(v.text)
	if err != nil {
		b.report(v.place, "each number is from 0 to 255 and has no zeros in front", "%s is not an IPv4 address", quote(v.text))
		return netip.Addr{}
	}
	n := b.networks[network]
	if !n.sound {
		return a
	}
	if problem := reserved(n.Subnet, a); problem != "" {
		b.report(v.place, "choose one between "+n.Subnet.Addr().Next().String()+" and "+lastOf(n.Subnet).Prev().String(),
			"%s %s", a, problem)
		return a
	}
	key := hostAddress{network, a}
	if other, twice := b.fixed[key]; twice {
		b.report(v.place, "choose another", "%s in %s is already the address of %s in line %d", a, n.Name, other.name, other.line)
		return a
	}
	b.fixed[key] = holder{name: t.first, line: v.line, gateway: t.Gateway}
	return a
}

// reserved says why no vnode of the subnet can have the address a, "" if one
// can.
func reserved(p netip.Prefix, a netip.Addr) string {
	switch {
	case !p.Contains(a):
		return "is not in " + p.String()
	case a == p.Addr():
		return "stands for " + p.String() + " itself"
	case a == lastOf(p):
		return "is the broadcast address of " + p.String()
	}
	return ""
}

// lastOf is the last address of a subnet.
func lastOf(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for i := p.Bits(); i < 32; i++ {
		a[i/8] |= 0x80 >> (i % 8)
	}
	return netip.AddrFrom4(a)
}

// fixedMAC reads a fixed Ethernet address. It must be the only one in the
// platform, not just in its vnetwork: a rack has one trunk for all vnetworks,
// and what comes in there finds its viface by Ethernet address alone.
func (b *builder) fixedMAC(v value) program.MAC {
	hw, err := net.ParseMAC(v.text)
	if err != nil || len(hw) != len(program.MAC{}) {
		b.report(v.place, "", "%s is not an Ethernet address", quote(v.text))
		return program.MAC{}
	}
	m := program.MAC(hw)
	const remedy = "choose one that begins with 06, 0a or 0e"
	switch {
	case m == program.MAC{}:
		b.report(v.place, remedy, "no interface can have the Ethernet address of zeros")
	case m == program.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}:
		b.report(v.place, remedy, "%s is the broadcast address", m)
	case m[0]&1 != 0:
		b.report(v.place, remedy, "%s is a multicast address: its first byte is odd", m)
	case m[0] == 2:
		b.report(v.place, remedy, "%s begins with 02, like the addresses that the platform computes", m)
	case b.macs[m] != 0:
		b.report(v.place, "choose another", "%s is already given in line %d", m, b.macs[m])
	default:
		b.macs[m] = v.line
	}
	return m
}

// checkSubnets reports vifaces of one vnode whose subnets overlap.
func (b *builder) checkSubnets(t *template) {
	networks := make([]int, len(t.Vifaces))
	for i, f := range t.Vifaces {
		networks[i] = f.Network
	}
	b.clashes(networks, func(x, y *network) {
		at := &t.vifaces[slices.Index(networks, b.networkOf[y.Name])]
		b.report(at, "give one of the vnetworks another subnet",
			"%s (%s) and %s (%s) overlap, so a vnode in both cannot tell them apart", x.Name, x.Subnet, y.Name, y.Subnet)
	})
}

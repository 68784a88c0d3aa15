package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"myriad/program"
	"myriad/topo"
)

// several says whether there is more than one pnode, so that frames must get
// from one to another.
func (p *Plan) several() bool {
	n := 0
	for i := range p.pnodes {
		if p.pnodes[i].Name != "" {
			n++
		}
	}
	return n > 1
}

// encrypts says whether frames between any two pnodes are encrypted.
func (p *Plan) encrypts() bool {
	return p.overlay.Encryption == topo.EncryptAll || p.overlay.Encryption == topo.EncryptSites && len(p.siteNames) > 1
}

// overhead is what a way between pnodes takes of its MTU, in bytes.
func (p *Plan) overhead() int {
	if p.encrypts() {
		return program.VXLANOverhead + program.WireGuardOverhead
	}
	return program.VXLANOverhead
}

// checkUnderlay finds what is missing to reach each pnode from each other.
func (m *maker) checkUnderlay() {
	m.findSites()
	m.numberVNIs()
	if !m.several() {
		return
	}
	var nowhere, keyless []string
	held := map[netip.Addr]string{}
	for i := range m.pnodes {
		p := &m.pnodes[i]
		switch {
		case p.Name == "":
		case !p.Address.IsValid():
			nowhere = append(nowhere, p.Name)
		case !p.Address.Is4():
			m.bad("reach pnode "+p.Name, fmt.Sprintf("its address is %s, and tunnels go by IPv4", p.Address), "start its agent with --address and an IPv4 address")
		case held[p.Address] != "":
			m.bad("reach pnode "+p.Name, fmt.Sprintf("it has the address %s, as pnode %s has", p.Address, held[p.Address]), "start one of the agents with --address and another address")
		default:
			held[p.Address] = p.Name
		}
		if p.Name != "" && p.Key == [32]byte{} {
			keyless = append(keyless, p.Name)
		}
	}
	if len(nowhere) > 0 {
		m.bad("reach "+fewOf(nowhere, "pnode"), "no address is known by which other pnodes reach it",
			"start its agent with --address ADDRESS, or --join the coordinator by an address of the network that the pnodes share")
	}
	if m.encrypts() && len(keyless) > 0 {
		m.bad("encrypt what goes to "+fewOf(keyless, "pnode"), "it has no WireGuard", "use kernels with CONFIG_WIREGUARD, or leave out encryption")
	}
	if n := len(m.siteNames); n > program.MaxSites {
		m.bad("number sites", fmt.Sprintf("the pnodes are at %d", n), fmt.Sprintf("start agents with fewer different --site, at most %d", program.MaxSites))
	}
	if len(m.pnodes) > program.MaxPnodes {
		m.bad("number pnodes", fmt.Sprintf("there are %d", len(m.pnodes)), fmt.Sprintf("a platform has at most %d", program.MaxPnodes))
	}
	m.stop = m.stop || len(m.problems) > 0
}

// fewOf names things: the first few of many.
func fewOf(names []string, what string) string {
	const few = 5
	if len(names) == 1 {
		return what + " " + names[0]
	}
	if len(names) <= few {
		return what + "s " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("%ss %s and %d more", what, strings.Join(names[:few], ", "), len(names)-few)
}

// numberVNIs settles which VNIs are the platform's.
func (m *maker) numberVNIs() {
	if m.vni == 0 && m.previous != nil {
		m.vni = m.previous.vni
	}
	if m.vni == 0 {
		m.vni = DefaultVNI
	}
	if m.vni > program.MaxVNI-program.PlatformVNIs || m.vni%program.PlatformVNIs != 0 {
		m.bad("number the tunnels", fmt.Sprintf("%d is not the first of %d VNIs", m.vni, program.PlatformVNIs), "this is a defect of myriad; please report it")
	}
	if !m.several() || m.fabric != program.FabricBridge {
		return
	}
	for _, n := range m.networks {
		if n.ID >= program.PlatformVNIs {
			m.bad("number the tunnels of vnetwork "+n.Name, fmt.Sprintf("bridges have one for each vnetwork, and there are more than %d", program.PlatformVNIs-1),
				"use fabric: ebpf, or fewer vnetworks")
			return
		}
	}
}

// findSites lists the sites of the pnodes, by name, and keeps what is known of
// the ways between them.
func (m *maker) findSites() {
	m.setSites()
	if !m.several() {
		m.ways = nil
		return
	}
	var ways []SiteWay
	for _, w := range m.ways {
		_, from := slices.BinarySearch(m.siteNames, w.From)
		_, to := slices.BinarySearch(m.siteNames, w.To)
		if from && to && w.Takes > 0 {
			w.Takes = min(w.Takes, program.MaxDelay)
			ways = append(ways, w)
		}
	}
	slices.SortStableFunc(ways, compareWays)
	// Of two that say the same way, the later one counts.
	slices.Reverse(ways)
	ways = slices.CompactFunc(ways, func(a, b SiteWay) bool { return compareWays(a, b) == 0 })
	slices.Reverse(ways)
	m.ways = slices.Clip(ways)
}

func compareWays(a, b SiteWay) int {
	return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To))
}

// setSites fills siteNames and site.
func (p *Plan) setSites() {
	p.siteNames, p.site = nil, make([]uint16, len(p.pnodes))
	for i := range p.pnodes {
		if p.pnodes[i].Name != "" {
			p.siteNames = append(p.siteNames, p.pnodes[i].Site)
		}
	}
	slices.Sort(p.siteNames)
	p.siteNames = slices.Compact(p.siteNames)
	for i := range p.pnodes {
		if p.pnodes[i].Name != "" {
			n, _ := slices.BinarySearch(p.siteNames, p.pnodes[i].Site)
			p.site[i] = uint16(n)
		}
	}
}

// lowerMTUs gives vnetworks the MTU that fits the way between pnodes, where
// the topology leaves that open. One that was lowered before stays as it is if
// that is low enough: another MTU would make every viface anew.
func (m *maker) lowerMTUs() {
	m.asked = make([]uint16, len(m.networks))
	before := map[string]uint16{} // what was lowered
	if m.previous != nil {
		for i, n := range m.previous.networks {
			if m.previous.asked[i] != 0 {
				before[n.Name] = n.MTU
			}
		}
	}
	given := make([]bool, len(m.networks))
	for i, n := range m.topo.Networks {
		given[m.network[i]] = n.MTUGiven
	}
	type bound struct{ most, narrow int }
	var bounds [2]bound
	for k := range bounds {
		bounds[k].most, bounds[k].narrow = m.mostMTU(k == 1)
	}
	for i := range m.networks {
		n, b := &m.networks[i], bounds[0]
		if given[i] {
			b = bounds[1]
		}
		if low := before[n.Name]; low != 0 && !given[i] && low < n.MTU {
			m.asked[i], n.MTU = n.MTU, low
		}
		if b.narrow < 0 || int(n.MTU) <= b.most {
			continue
		}
		p := &m.pnodes[b.narrow]
		op := fmt.Sprintf("give vnetwork %s an MTU of %d", n.Name, n.MTU)
		cause := fmt.Sprintf("the way to pnode %s has %s, of which tunnels take %d", p.Name, mtuOf(p), m.overhead())
		switch {
		case b.most < minMTU:
			m.bad(op, cause, "use a way between the pnodes with an MTU of 1500 or more")
		case given[i]:
			m.bad(op, cause, fmt.Sprintf("write mtu: %d, or raise the MTU of the network between the pnodes", b.most))
		default:
			m.asked[i], n.MTU = cmp.Or(m.asked[i], n.MTU), uint16(b.most)
		}
	}
}

const (
	minMTU      = 68   // the least of IPv4 (RFC 791)
	ethernetMTU = 1500 // where a way's is not known
)

func mtuOf(p *Pnode) string {
	if p.MTU == 0 {
		return fmt.Sprintf("an MTU that is not known, probably %d", ethernetMTU)
	}
	return fmt.Sprintf("an MTU of %d", p.MTU)
}

// mostMTU is the greatest MTU of a vnetwork that spans all pnodes, and which
// pnode has it be so; -1 if there is but one, or, where only those count that are
// known, none.
func (p *Plan) mostMTU(known bool) (most, narrow int) {
	narrow = -1
	if !p.several() {
		return 0, narrow
	}
	for i := range p.pnodes {
		n := &p.pnodes[i]
		mtu := int(cmp.Or(n.MTU, ethernetMTU)) - p.overhead()
		if n.Name != "" && (n.MTU != 0 || !known) && (narrow < 0 || mtu < most) {
			most, narrow = mtu, i
		}
	}
	return most, narrow
}

// underlay gives the overlay of the platform, nil if there is one pnode.
func (p *Plan) underlay() *program.Overlay {
	if !p.several() {
		return nil
	}
	o := &program.Overlay{Kind: p.overlay.Kind, VNI: p.vni, Port: p.overlay.Port,
		Plain: p.overlay.Encryption == topo.EncryptSites, Underlay: make([]program.Underlay, len(p.pnodes))}
	encrypts := p.encrypts()
	for i := range p.pnodes {
		n := &p.pnodes[i]
		if n.Name == "" {
			continue
		}
		u := program.Underlay{Pnode: n.Name, Addr: n.Address, MTU: n.MTU, Site: p.site[i]}
		if encrypts {
			u.Key, u.Gate = n.Key, netip.AddrPortFrom(n.Address, program.WireGuardPort+uint16(o.Slot()))
			u.Addr = program.InsideAddr(p.vni, uint32(i))
		}
		o.Underlay[i] = u
	}
	return o
}

// siteWays gives the ways between sites as a table; none if nothing is known.
func (p *Plan) siteWays() (sites uint16, ways []time.Duration) {
	if !p.several() {
		return 0, nil
	}
	n := len(p.siteNames)
	if len(p.ways) > 0 {
		ways = make([]time.Duration, n*n)
	}
	for _, w := range p.ways {
		from, _ := slices.BinarySearch(p.siteNames, w.From)
		to, _ := slices.BinarySearch(p.siteNames, w.To)
		ways[from*n+to] = w.Takes
	}
	return uint16(n), ways
}

// Sites gives the names of the sites of the pnodes, by number.
func (p *Plan) Sites() []string { return slices.Clone(p.siteNames) }

// VNI is the first of the program.PlatformVNIs that are the platform's.
func (p *Plan) VNI() uint32 { return p.vni }

// Ways gives what the plan knows of the ways between sites.
func (p *Plan) Ways() []SiteWay { return slices.Clone(p.ways) }

// mtuNotes says which vnetworks have another MTU than was asked for.
func (p *Plan) mtuNotes() []string {
	var names []string
	var first program.Network
	for i, n := range p.networks {
		if p.asked[i] == 0 {
			continue
		}
		if names == nil {
			first = n
		}
		if n.MTU == first.MTU {
			names = append(names, n.Name)
		}
	}
	most, narrow := p.mostMTU(false)
	if names == nil {
		return nil
	}
	text := fmt.Sprintf("%s: an MTU of %d", fewOf(names, "vnetwork"), first.MTU)
	if narrow < 0 || most > int(first.MTU) {
		return []string{text + ", as before, so that vifaces need not be made anew"}
	}
	return []string{fmt.Sprintf("%s: the way to pnode %s has %s, of which tunnels take %d", text, p.pnodes[narrow].Name, mtuOf(&p.pnodes[narrow]), p.overhead())}
}

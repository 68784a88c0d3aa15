package rtnl

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// NewAddr gives a link an IPv4 address, with its subnet's broadcast address.
func (b *Batch) NewAddr(index int32, addr netip.Prefix) {
	b.begin("add address", "", unix.RTM_NEWADDR, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b.address(index, addr)
	if addr.Bits() < 31 {
		a := addr.Addr().As4()
		host := uint32(1)<<(32-addr.Bits()) - 1
		for i := range a {
			a[i] |= byte(host >> (24 - 8*i))
		}
		b.attrBytes(unix.IFA_BROADCAST, a[:])
	}
	b.end()
}

// DelAddr takes an IPv4 address from a link.
func (b *Batch) DelAddr(index int32, addr netip.Prefix) {
	b.begin("remove address", "", unix.RTM_DELADDR, unix.NLM_F_REQUEST)
	b.address(index, addr)
	b.end()
}

func (b *Batch) address(index int32, addr netip.Prefix) {
	b.buf = append(b.buf, unix.AF_INET, byte(addr.Bits()), 0, unix.RT_SCOPE_UNIVERSE)
	b.u32(uint32(index))
	a := addr.Addr().As4()
	b.attrBytes(unix.IFA_LOCAL, a[:])
}

// Route is a static IPv4 route of the main table.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// NewRoute adds a route, in the place of any other to the same destination.
func (b *Batch) NewRoute(r Route) {
	b.begin("add route", "", unix.RTM_NEWROUTE, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	b.route(r)
}

// DelRoute removes a route.
func (b *Batch) DelRoute(r Route) {
	b.begin("remove route", "", unix.RTM_DELROUTE, unix.NLM_F_REQUEST)
	b.route(r)
}

func (b *Batch) route(r Route) {
	b.buf = append(b.buf, unix.AF_INET, byte(r.To.Bits()), 0, 0,
		unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST, 0, 0, 0, 0)
	if r.To.Bits() > 0 {
		a := r.To.Addr().As4()
		b.attrBytes(unix.RTA_DST, a[:])
	}
	a := r.Via.As4()
	b.attrBytes(unix.RTA_GATEWAY, a[:])
	b.end()
}

// Way is how packets to an address leave.
type Way struct {
	Link int32
	MTU  uint32     // that the route says; 0: the link's
	From netip.Addr // source address that they get if they have none
}

// WayTo asks for the way to an IPv4 address, of packets that come from another
// if that is valid, which then must be one of the namespace's own.
func (c *Conn) WayTo(to, from netip.Addr) (Way, error) {
	c.out.Reset()
	c.out.begin("find route to", to.String(), unix.RTM_GETROUTE, unix.NLM_F_REQUEST)
	src := byte(0)
	if from.Is4() {
		src = 32
	}
	c.out.buf = append(c.out.buf, unix.AF_INET, 32, src, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	c.out.attrAddr(unix.RTA_DST, to)
	c.out.attrAddr(unix.RTA_SRC, from)
	c.out.end()
	var w Way
	err := c.get(unix.RTM_NEWROUTE, func(p []byte) { parseWay(p, &w) })
	return w, err
}

func parseWay(p []byte, w *Way) {
	if len(p) < unix.SizeofRtMsg {
		return
	}
	for typ, v := range attrs(p[unix.SizeofRtMsg:]) {
		switch typ {
		case unix.RTA_OIF:
			w.Link = int32(u32(v))
		case unix.RTA_PREFSRC:
			w.From = addr4(v)
		case unix.RTA_METRICS:
			for typ, v := range attrs(v) {
				if typ == unix.RTAX_MTU {
					w.MTU = u32(v)
				}
			}
		}
	}
}

// A Guard is a route that refuses packets to a prefix where no other route
// takes them, in the main table. Its metric marks whose it is.
type Guard struct {
	To     netip.Prefix
	Metric uint32
}

// guardProtocol marks routes that are Myriad's: nobody else has that number
// (linux/rtnetlink.h, RTPROT_…).
const guardProtocol = 77

// NewGuard adds a guard; one that is there already is refused with EEXIST.
func (b *Batch) NewGuard(g Guard) {
	b.begin("add guard route to", g.To.String(), unix.RTM_NEWROUTE, unix.NLM_F_REQUEST|unix.NLM_F_CREATE|unix.NLM_F_EXCL)
	b.guard(g)
}

// DelGuard removes a guard.
func (b *Batch) DelGuard(g Guard) {
	b.begin("remove guard route to", g.To.String(), unix.RTM_DELROUTE, unix.NLM_F_REQUEST)
	b.guard(g)
}

func (b *Batch) guard(g Guard) {
	b.buf = append(b.buf, unix.AF_INET, byte(g.To.Bits()), 0, 0,
		unix.RT_TABLE_MAIN, guardProtocol, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNREACHABLE, 0, 0, 0, 0)
	b.attrAddr(unix.RTA_DST, g.To.Addr())
	b.attrU32(unix.RTA_PRIORITY, g.Metric)
	b.end()
}

func parseGuard(p []byte, g *Guard) bool {
	if len(p) < unix.SizeofRtMsg || p[0] != unix.AF_INET || p[5] != guardProtocol || p[7] != unix.RTN_UNREACHABLE {
		return false
	}
	for typ, v := range attrs(p[unix.SizeofRtMsg:]) {
		switch typ {
		case unix.RTA_DST:
			if addr, ok := netip.AddrFromSlice(v); ok {
				g.To = netip.PrefixFrom(addr, int(p[1]))
			}
		case unix.RTA_PRIORITY:
			g.Metric = u32(v)
		}
	}
	return g.To.IsValid()
}

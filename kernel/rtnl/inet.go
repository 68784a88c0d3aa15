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

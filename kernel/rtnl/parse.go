package rtnl

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Each parser reads one entry, says whether it is of interest, and takes any
// bytes: what is cut short is as if it were not there.

func parseLink(p []byte, l *LinkInfo) bool {
	if len(p) < unix.SizeofIfInfomsg {
		return false
	}
	l.Index = int32(u32(p[4:]))
	l.Up = u32(p[8:])&unix.IFF_UP != 0
	l.IPv6Quiet = true
	l.Home = NoNumber
	for typ, v := range attrs(p[unix.SizeofIfInfomsg:]) {
		switch typ {
		case unix.IFLA_IFNAME:
			l.Name = text(v)
		case unix.IFLA_MTU:
			l.MTU = u32(v)
		case unix.IFLA_ADDRESS:
			copy(l.MAC[:], v)
		case unix.IFLA_GROUP:
			l.Group = u32(v)
		case unix.IFLA_LINK:
			l.Parent = int32(u32(v))
		case unix.IFLA_LINK_NETNSID:
			l.Home = int32(u32(v))
		case unix.IFLA_MASTER:
			l.Master = int32(u32(v))
		case unix.IFLA_LINKINFO:
			l.info(v)
		case unix.IFLA_AF_SPEC:
			l.families(v)
		}
	}
	return true
}

func (l *LinkInfo) info(p []byte) {
	for typ, v := range attrs(p) {
		switch typ {
		case unix.IFLA_INFO_KIND:
			l.Kind = text(v)
		case unix.IFLA_INFO_DATA:
			if l.Kind == VXLAN {
				l.VXLAN = parseVXLAN(v)
			}
			if l.Kind != Macvlan {
				continue
			}
			for typ, v := range attrs(v) {
				if typ == unix.IFLA_MACVLAN_MODE {
					l.VEPA = u32(v) == macvlanModeVEPA
				}
			}
		}
	}
}

func (l *LinkInfo) families(p []byte) {
	for family, v := range attrs(p) {
		for typ, v := range attrs(v) {
			switch {
			case family == unix.AF_INET6 && typ == unix.IFLA_INET6_ADDR_GEN_MODE:
				l.IPv6Quiet = len(v) > 0 && v[0] == addrGenModeNone
			case family == unix.AF_INET && typ == unix.IFLA_INET_CONF:
				if at := int(IPv4Forwarding-1) * 4; at+4 <= len(v) { // an array from 1 on
					l.Forward = u32(v[at:]) != 0
				}
			}
		}
	}
}

func parseAddr(p []byte, a *AddrInfo) bool {
	if len(p) < unix.SizeofIfAddrmsg || p[0] != unix.AF_INET {
		return false
	}
	a.Link = int32(u32(p[4:]))
	for typ, v := range attrs(p[unix.SizeofIfAddrmsg:]) {
		if typ == unix.IFA_LOCAL {
			if addr, ok := netip.AddrFromSlice(v); ok {
				a.Addr = netip.PrefixFrom(addr, int(p[1]))
			}
		}
	}
	return a.Addr.IsValid()
}

func parseRoute(p []byte, r *RouteInfo) bool {
	if len(p) < unix.SizeofRtMsg || p[0] != unix.AF_INET || p[4] != unix.RT_TABLE_MAIN || p[7] != unix.RTN_UNICAST {
		return false
	}
	r.Static = p[5] == unix.RTPROT_STATIC
	r.To = netip.PrefixFrom(netip.IPv4Unspecified(), int(p[1]))
	for typ, v := range attrs(p[unix.SizeofRtMsg:]) {
		switch typ {
		case unix.RTA_DST:
			if addr, ok := netip.AddrFromSlice(v); ok {
				r.To = netip.PrefixFrom(addr, int(p[1]))
			}
		case unix.RTA_GATEWAY:
			r.Via, _ = netip.AddrFromSlice(v)
		case unix.RTA_OIF:
			r.Link = int32(u32(v))
		}
	}
	return r.To.IsValid()
}

func parseFilter(p []byte, f *FilterInfo) bool {
	const size = 20 // struct tcmsg
	if len(p) < size {
		return false
	}
	handle := u32(p[8:])
	f.Priority = uint16(u32(p[16:]) >> 16)
	for typ, v := range attrs(p[size:]) {
		switch typ {
		case unix.TCA_KIND:
			f.Kind = text(v)
		case unix.TCA_OPTIONS:
			for typ, v := range attrs(v) {
				switch typ {
				case tcaBPFName:
					f.Name = text(v)
				case tcaBPFID:
					f.ProgID = u32(v)
				}
			}
		}
	}
	return handle != 0 // the first entry of a priority stands for the chain itself
}

package daemon

import (
	"math"
	"net"
	"net/netip"
)

// underlay finds the address by which tunnels of other pnodes reach this
// machine. It is asked again and again: addresses change.
type underlay struct {
	fixed netip.Addr        // as the user says; invalid: found out
	near  func() netip.Addr // by which this machine reaches the others; may be nil
	logf  func(format string, args ...any)

	last netip.Addr
	mtu  uint16
	told bool
}

// anywhere is an address to which nothing is sent: only the route there is
// asked for (RFC 5737).
const anywhere = "192.0.2.1:9"

// find gives the address, invalid if there is none, and the MTU of the
// interface that has it, 0 if none has. It is called by one goroutine.
func (u *underlay) find() (netip.Addr, uint16) {
	addr := u.fixed
	if !addr.IsValid() && u.near != nil {
		addr = u.near().Unmap()
	}
	if !usable(addr) && !u.fixed.IsValid() {
		addr = towards(anywhere)
	}
	if !usable(addr) && !u.fixed.IsValid() {
		addr = netip.Addr{}
	}
	mtu := mtuOf(addr)
	u.tell(addr, mtu)
	return addr, mtu
}

// tell logs what has changed.
func (u *underlay) tell(addr netip.Addr, mtu uint16) {
	if u.told && addr == u.last && mtu == u.mtu {
		return
	}
	u.told, u.last, u.mtu = true, addr, mtu
	switch {
	case !addr.IsValid():
		u.logf("underlay: no IPv4 address by which other pnodes could reach this one; --address says which")
	case mtu == 0:
		u.logf("underlay: other pnodes are to reach this one at %s, which no interface has", addr)
	default:
		u.logf("underlay: other pnodes reach this one at %s, MTU %d", addr, mtu)
	}
}

// usable says whether an address may be the end of a tunnel.
func usable(addr netip.Addr) bool {
	return addr.Is4() && !addr.IsLoopback() && !addr.IsUnspecified() && !addr.IsMulticast()
}

// towards is the address that packets to a place are sent from; invalid if
// there is no way.
func towards(place string) netip.Addr {
	conn, err := net.Dial("udp4", place) // sends nothing
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	from, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	return from.AddrPort().Addr().Unmap()
}

// mtuOf is the MTU of the interface that has an address, in bytes; 0 if none
// has.
func mtuOf(addr netip.Addr) uint16 {
	if !addr.IsValid() {
		return 0
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return 0
	}
	for _, i := range interfaces {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			if prefix.Addr() == addr || addr.IsLoopback() && prefix.Contains(addr) {
				return uint16(min(i.MTU, math.MaxUint16))
			}
		}
	}
	return 0
}

// OwnAddresses lists the IPv4 addresses that this machine has.
func OwnAddresses() []netip.Addr {
	var out []netip.Addr
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && usable(prefix.Addr()) {
			out = append(out, prefix.Addr())
		}
	}
	return out
}

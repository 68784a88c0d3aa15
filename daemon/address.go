package daemon

import (
	"net"
	"net/netip"
	"sync"

	"myriad/agent"
)

// underlay finds the address by which tunnels of other pnodes reach this
// machine. It is asked again and again: addresses change.
type underlay struct {
	fixed netip.Addr        // as the user says; invalid: found out
	near  func() netip.Addr // by which this machine reaches the others; may be nil
	again func() error      // makes near find another one, if the one that it has is gone; may be nil
	gone  netip.Addr        // for which again was called
	logf  func(format string, args ...any)
	mu    sync.Mutex
	told  bool
}

// anywhere is an address to which nothing is sent: only the route there is
// asked for (RFC 5737).
const anywhere = "192.0.2.1:9"

// find gives the address, invalid if there is none, and the MTU in bytes of the
// interface that has it, 0 if none has.
func (u *underlay) find() (netip.Addr, uint16) {
	u.mu.Lock()
	defer u.mu.Unlock()
	addr := u.fixed
	if !addr.IsValid() && u.near != nil {
		addr = u.near().Unmap()
	}
	if !u.fixed.IsValid() && !usable(addr) {
		addr = towards(anywhere)
	}
	if !u.fixed.IsValid() && !usable(addr) {
		addr = netip.Addr{}
	}
	_, mtu, device, err := agent.Underlay(addr)
	if err != nil && usable(addr) && addr != u.gone && !u.fixed.IsValid() && u.again != nil {
		u.gone = addr
		if err := u.again(); err != nil {
			u.logf("underlay: %s is no address of this machine any more: %v", addr, err)
		}
	}
	if !u.told { // of what changes later, the agent tells
		u.told = true
		switch {
		case !addr.IsValid():
			u.logf("underlay: no IPv4 address by which other pnodes could reach this one; --address says which")
		case err != nil:
			u.logf("underlay: other pnodes are to reach this one at %s, which no interface has", addr)
		default:
			u.logf("underlay: other pnodes reach this one at %s, by %s, MTU %d", addr, device, mtu)
		}
	}
	return addr, mtu
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

// OwnAddresses lists the IPv4 addresses of this machine by which others may
// reach it.
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

// hostAddress is the address in host:port, if that is one that others may
// reach; invalid if it stands for several.
func hostAddress(listen string) netip.Addr {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(host)
	if err != nil || !usable(addr.Unmap()) {
		return netip.Addr{}
	}
	return addr.Unmap()
}

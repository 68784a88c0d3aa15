package agent

import (
	"fmt"
	"math"
	"net"
	"net/netip"

	"myriad/program"
)

// Underlay finds the interface of this machine that has an IPv4 address, by
// which other pnodes are to reach it: for Config.Address, where addr is the
// one by which the bus is reached, or was given. The MTU is in bytes.
func Underlay(addr netip.Addr) (at netip.Addr, mtu uint16, device string, err error) {
	addr = addr.Unmap()
	bad := func(kind program.Kind, cause string) (netip.Addr, uint16, string, error) {
		return netip.Addr{}, 0, "", &program.Problem{Kind: kind, Rack: -1, Op: fmt.Sprintf("find the interface with address %s", addr),
			Cause: cause, Remedy: "say by which IPv4 address other pnodes reach this one, with --address"}
	}
	if !addr.Is4() || addr.IsUnspecified() || addr.IsMulticast() {
		return bad(program.KindInvalid, "tunnels have IPv4 addresses")
	}
	links, err := net.Interfaces()
	if err != nil {
		return bad(program.KindUnavailable, err.Error())
	}
	for _, l := range links {
		addrs, err := l.Addrs()
		if err != nil {
			continue // it has gone meanwhile
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && n.IP.Equal(addr.AsSlice()) {
				return addr, uint16(min(l.MTU, math.MaxUint16)), l.Name, nil
			}
		}
	}
	return bad(program.KindNotFound, "no interface has it")
}

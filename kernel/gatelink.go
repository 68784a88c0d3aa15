package kernel

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
	"golang.zx2c4.com/wireguard/wgctrl"
	"golang.zx2c4.com/wireguard/wgctrl/wgtypes"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// gateMTU is what a gate carries: what its packets leave by, less what
// encryption adds.
func (u *underlay) gateMTU(want *program.Program) uint32 {
	const least = 1280 // below, IPv6 would go, and nothing works any more
	out := u.links[u.addrs[want.Overlay.Underlay[want.Number].Outside()]].MTU
	return max(out, least+program.WireGuardOverhead) - program.WireGuardOverhead
}

// ensureGateLink makes the link, with its guard and its address.
func (u *underlay) ensureGateLink(g *gate) (writes int, err error) {
	var b rtnl.Batch
	guarded := false
	if err := u.conn.Read(&rtnl.Dump{Guards: func(have *rtnl.Guard) { guarded = guarded || *have == g.guard }}); err != nil {
		return 0, err
	}
	if !guarded {
		b.NewGuard(g.guard)
	}
	have := u.byName(g.name)
	if have != nil && have.Kind != rtnl.WireGuard {
		b.DelLink(have.Index, g.name)
		have = nil
	}
	if have == nil {
		b.NewLink(&rtnl.Link{Name: g.name, Kind: rtnl.WireGuard, MTU: g.mtu})
	}
	if b.Len() > 0 {
		if err := u.conn.Do(&b); err != nil {
			if errors.Is(err, unix.EOPNOTSUPP) {
				err = noWireGuard(err)
			}
			return b.Len(), err
		}
	}
	return b.Len(), u.read()
}

// openGate brings the link up, with its address and size.
func (u *underlay) openGate(g *gate) (writes int, err error) {
	have := u.byName(g.name)
	if have == nil {
		return 0, fmt.Errorf("%s has vanished", g.name)
	}
	var b rtnl.Batch
	found := false
	for addr, link := range u.addrs {
		if link == have.Index && addr == g.own.Addr() {
			found = true
		} else if link == have.Index && g.guard.To.Contains(addr) {
			b.DelAddr(link, netip.PrefixFrom(addr, insideBits))
		}
	}
	if !found {
		b.NewAddr(have.Index, g.own)
	}
	if have.MTU != g.mtu {
		b.SetLink(&rtnl.Link{Index: have.Index, MTU: g.mtu, Label: g.name})
	}
	if hasIPv6() && !have.IPv6Quiet {
		b.SetLink(&rtnl.Link{Index: have.Index, IPv6: rtnl.IPv6Quiet, Label: g.name})
	}
	if !have.Up {
		b.SetLink(&rtnl.Link{Index: have.Index, Up: true, Label: g.name})
	}
	if b.Len() == 0 {
		return 0, nil
	}
	if err := u.conn.Do(&b); err != nil {
		return b.Len(), err
	}
	return b.Len(), u.read()
}

// byName gives a link, nil if there is none of that name.
func (u *underlay) byName(name string) *rtnl.LinkInfo {
	for _, l := range u.links {
		if l.Name == name {
			return &l
		}
	}
	return nil
}

// configureGate gives the link its key, its port and its peers.
func (u *underlay) configureGate(g *gate, private wgtypes.Key) (writes int, err error) {
	var c *wgctrl.Client
	err = netns.Do(u.ns, func() (err error) {
		c, err = wgctrl.New()
		return err
	})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	have, err := c.Device(g.name)
	if err != nil {
		return 0, err
	}
	var set wgtypes.Config
	if have.PrivateKey != private {
		set.PrivateKey, writes = &private, writes+1
	}
	if have.ListenPort != g.port {
		set.ListenPort, writes = &g.port, writes+1
	}
	set.Peers = g.changes(have.Peers)
	if writes += len(set.Peers); writes == 0 {
		return 0, nil
	}
	return writes, c.ConfigureDevice(g.name, set)
}

// changes lists what makes peers as they are wanted.
func (g *gate) changes(have []wgtypes.Peer) []wgtypes.PeerConfig {
	var out []wgtypes.PeerConfig
	there := map[wgtypes.Key]bool{}
	for _, h := range have {
		want, ok := g.peers[h.PublicKey]
		if !ok {
			out = append(out, wgtypes.PeerConfig{PublicKey: h.PublicKey, Remove: true})
			continue
		}
		allowed := want.allowed()
		there[h.PublicKey] = h.Endpoint != nil && sameEnd(h.Endpoint, want.at) && len(h.AllowedIPs) == 1 && h.AllowedIPs[0].String() == allowed.String()
	}
	for key, want := range g.peers {
		if !there[key] {
			out = append(out, wgtypes.PeerConfig{PublicKey: key, Endpoint: net.UDPAddrFromAddrPort(want.at), ReplaceAllowedIPs: true,
				AllowedIPs: []net.IPNet{want.allowed()}})
		}
	}
	return out
}

// allowed are the addresses that may come from a peer, and go to it.
func (p gatePeer) allowed() net.IPNet {
	return net.IPNet{IP: p.inside.AsSlice(), Mask: net.CIDRMask(32, 32)}
}

func sameEnd(a *net.UDPAddr, b netip.AddrPort) bool {
	at := a.AddrPort()
	return at.Port() == b.Port() && at.Addr().Unmap() == b.Addr()
}

package kernel

import (
	"net/netip"

	"myriad/kernel/rtnl"
	"myriad/program"
)

// firstIndex is the interface index of a vnode's viface 0; lo has 1.
const firstIndex = 2

// state is what a vnode's namespace has, as far as it matters here.
type state struct {
	links  []rtnl.LinkInfo
	addrs  []rtnl.AddrInfo
	routes []rtnl.RouteInfo // static ones
	dump   rtnl.Dump
}

func newState() *state {
	s := &state{}
	s.dump = rtnl.Dump{
		Links: func(l *rtnl.LinkInfo) { s.links = append(s.links, *l) },
		Addrs: func(a *rtnl.AddrInfo) { s.addrs = append(s.addrs, *a) },
		Routes: func(r *rtnl.RouteInfo) {
			if r.Static {
				s.routes = append(s.routes, *r)
			}
		},
	}
	return s
}

// clear makes it the state of a new namespace: nothing but lo, which is down.
func (s *state) clear() {
	s.links, s.addrs, s.routes = s.links[:0], s.addrs[:0], s.routes[:0]
}

// read fills it from the namespace of a connection.
func (s *state) read(c *rtnl.Conn) error {
	var err error
	for range 5 { // it may change while it is read, and rarely does
		s.clear()
		if err = c.Read(&s.dump); err != rtnl.ErrChanged {
			return err
		}
	}
	return err
}

// link gives the link with an index, nil if there is none.
func (s *state) link(index int32) *rtnl.LinkInfo {
	for i := range s.links {
		if s.links[i].Index == index {
			return &s.links[i]
		}
	}
	return nil
}

func (s *state) hasAddr(link int32, addr netip.Prefix) bool {
	for _, a := range s.addrs {
		if a.Link == link && a.Addr == addr {
			return true
		}
	}
	return false
}

func (s *state) hasRoute(r rtnl.Route) bool {
	for i := range s.routes {
		if s.routes[i].Route == r {
			return true
		}
	}
	return false
}

// addrIn gives the first address that a link has in a network.
func (s *state) addrIn(link int32, n *program.Network) (host uint32, ok bool) {
	for _, a := range s.addrs {
		if a.Link == link && a.Addr.Bits() == n.Subnet.Bits() && n.Subnet.Contains(a.Addr.Addr()) {
			return n.HostOf(a.Addr.Addr()), true
		}
	}
	return 0, false
}

// ours says whether a link in a vnode was made by Myriad: its group is the
// number of its network. What a user adds has group 0.
func ours(l *rtnl.LinkInfo) bool {
	return l.Index >= firstIndex && l.Group != 0 && (l.Kind == rtnl.Macvlan || l.Kind == rtnl.Veth)
}

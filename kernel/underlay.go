package kernel

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// underlay is the network namespace that joins this pnode to others: the
// process's own, but in tests. Tunnels of overlay devices begin and end there,
// because the devices are made from there.
type underlay struct {
	ns    int // its descriptor
	conn  *rtnl.Conn
	links map[int32]rtnl.LinkInfo
	addrs map[netip.Addr]int32 // link that has it
}

// ownUnderlay names the process's network namespace: its main thread never
// moves (see netns).
const ownUnderlay = "/proc/self/ns/net"

// openUnderlay looks at the namespace.
func (p *Pnode) openUnderlay() (*underlay, error) {
	path := p.Underlay
	if path == "" {
		path = ownUnderlay
	}
	ns, err := netns.Open(path)
	if err != nil {
		return nil, err
	}
	u := &underlay{ns: ns}
	open := func() (err error) {
		u.conn, err = rtnl.Open()
		return err
	}
	if path == ownUnderlay {
		err = open() // which needs no privilege
	} else {
		err = netns.Do(ns, open)
	}
	if err == nil {
		err = u.read()
	}
	if err != nil {
		u.close()
		return nil, err
	}
	return u, nil
}

func (u *underlay) close() {
	if u.conn != nil {
		u.conn.Close()
	}
	unix.Close(u.ns)
}

func (u *underlay) read() error {
	var err error
	for range 5 {
		u.links, u.addrs = map[int32]rtnl.LinkInfo{}, map[netip.Addr]int32{}
		err = u.conn.Read(&rtnl.Dump{
			Links: func(l *rtnl.LinkInfo) { u.links[l.Index] = *l },
			Addrs: func(a *rtnl.AddrInfo) { u.addrs[a.Addr.Addr()] = a.Link },
		})
		if err != rtnl.ErrChanged {
			break
		}
	}
	return err
}

// addresses lists what this machine could be reached by.
func (u *underlay) addresses() string {
	all := slices.SortedFunc(maps.Keys(u.addrs), netip.Addr.Compare)
	var names []string
	for _, a := range all {
		if !a.IsLoopback() {
			names = append(names, a.String())
		}
	}
	if len(names) == 0 {
		return "it has none"
	}
	return "it has " + strings.Join(names, ", ")
}

// check compares the underlay with what a program takes for granted: whose
// address it has, and what fits.
func (u *underlay) check(want *program.Program) []program.Problem {
	own := want.Overlay.Underlay[want.Number].Outside()
	link, here := u.addrs[own]
	if !here {
		return []program.Problem{{Kind: program.KindConflict, Rack: -1, Op: fmt.Sprintf("join %s to other pnodes", want.Platform),
			Cause:  fmt.Sprintf("%s, by which they reach this pnode, is no address of this machine: %s", own, u.addresses()),
			Remedy: "say by which address they do: myriad agent --address ADDRESS (or myriad serve --address ADDRESS)"}}
	}
	if l := u.links[link]; !l.Up {
		return []program.Problem{{Kind: program.KindUnavailable, Rack: -1, Op: fmt.Sprintf("join %s to other pnodes", want.Platform),
			Cause: fmt.Sprintf("%s, which has the address %s, is down", l.Name, own), Remedy: "ip link set " + l.Name + " up"}}
	}
	return u.checkSizes(want)
}

// mostWays is to how many pnodes the way is looked at. In a machine room, all
// leave by the same link.
const mostWays = 64

// checkSizes looks at the ways to other pnodes: whether there is one, and
// whether frames fit.
func (u *underlay) checkSizes(want *program.Program) []program.Problem {
	var problems []program.Problem
	largest := map[uint32]*program.Network{} // with most bytes in a frame, by pnode
	networks := networksOf(want.Networks)
	for _, r := range want.Remote {
		if !want.Elsewhere(&r) {
			continue
		}
		n := networks[r.Network]
		if have := largest[r.Pnode]; have == nil || n.MTU > have.MTU {
			largest[r.Pnode] = n
		}
	}
	said := map[string]bool{}
	for i, pnode := range slices.Sorted(maps.Keys(largest)) {
		if i == mostWays {
			break
		}
		q := u.checkWay(want, pnode, largest[pnode])
		if q != nil && !said[q.Cause] {
			said[q.Cause] = true
			problems = append(problems, *q)
		}
	}
	return problems
}

func (u *underlay) checkWay(want *program.Program, pnode uint32, n *program.Network) *program.Problem {
	local, remote, _ := want.Overlay.Ends(want.Number, pnode)
	if !remote.IsValid() {
		return nil // it is away
	}
	q := &program.Problem{Rack: -1, Op: fmt.Sprintf("join vnetwork %s to pnode %s", n.Name, want.Overlay.Underlay[pnode].Pnode)}
	way, err := u.conn.WayTo(remote, local)
	if err != nil {
		q.Kind, q.Cause, q.Remedy = program.KindUnavailable, err.Error(), fmt.Sprintf("a route to %s is needed", remote)
		return q
	}
	name, mtu := u.links[way.Link].Name, u.links[way.Link].MTU
	if way.MTU != 0 {
		mtu = min(mtu, way.MTU)
	}
	need := uint32(n.MTU) + program.VXLANOverhead
	if mtu == 0 || mtu >= need {
		return nil
	}
	q.Kind = program.KindConflict
	q.Cause = fmt.Sprintf("packets of %d bytes become %d in a tunnel, and %s carries %d", n.MTU, need, name, mtu)
	q.Remedy = fmt.Sprintf("give the vnetwork mtu: %d, or the underlay more: ip link set %s mtu %d, and all that is on the way", mtu-program.VXLANOverhead, name, need)
	return q
}

package fabric

import (
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// lab is a spine with racks and vnodes, made for a test with the fewest means:
// what package kernel makes for people, by hand.
type lab struct {
	testing.TB
	fabric *Fabric
	spine  *space
	racks  map[uint32]*space
	vnodes map[string]*space // by network and host: "1/10"
	holder Holder            // where links have conditions
}

// space is a network namespace and a socket in it.
type space struct {
	ns   int
	conn *rtnl.Conn
}

const (
	labMTU = 1500
	// The index of tr0 in its rack differs from those in vnodes: before
	// Linux 6.14, a link made from there into another namespace may not have
	// the index of any link here.
	trunkIndex = 1000
	ethIndex   = 2 // of eth0 in its vnode; eth1 is next
)

// newLab makes the racks and vnodes of a program, attached to its fabric.
func newLab(t testing.TB, p *program.Program) *lab {
	l := newSpine(t)
	l.build(p)
	return l
}

func (l *lab) build(p *program.Program) {
	l.Helper()
	for _, r := range p.Racks {
		l.addRack(r.Index)
	}
	l.ensure(p)
	for _, r := range p.Racks {
		for _, v := range r.Vifaces {
			l.addViface(p, r.Index, v)
		}
	}
}

func newSpine(t testing.TB) *lab {
	t.Helper()
	kerneltest.RequireRoot(t)
	l := &lab{TB: t, racks: map[uint32]*space{}, vnodes: map[string]*space{}}
	l.spine = l.space()
	return l
}

// must ends the test on an error.
func (l *lab) must(err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
}

func (l *lab) space() *space {
	l.Helper()
	s := &space{}
	ns, err := netns.Make(func() (err error) {
		s.conn, err = rtnl.Open()
		return err
	})
	l.must(err)
	s.ns = ns
	l.Cleanup(func() {
		s.conn.Close()
		unix.Close(s.ns)
	})
	s.do(l, func(b *rtnl.Batch) { b.SetLink(&rtnl.Link{Index: 1, Up: true}) })
	return s
}

// do sends a batch.
func (s *space) do(l *lab, fill func(*rtnl.Batch)) {
	l.Helper()
	var b rtnl.Batch
	fill(&b)
	l.must(s.conn.Do(&b))
}

func (l *lab) addRack(index uint32) {
	l.Helper()
	r := l.space()
	end := int32(firstTrunk + index)
	l.spine.do(l, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: end, Name: fmt.Sprintf("r%d", index), Kind: rtnl.Veth, MTU: labMTU,
			Peer: &rtnl.Link{Index: trunkIndex, Name: "tr0", MTU: labMTU, Netns: r.ns}})
	})
	l.spine.up(l, end)
	r.up(l, trunkIndex)
	l.racks[index] = r
}

// trunks lists the trunks' ends in the spine.
func (l *lab) trunks() []int32 {
	var out []int32
	for k := range l.racks {
		out = append(out, int32(firstTrunk+k))
	}
	return out
}

// ensure puts the fabric of a program onto all trunks, as after a new start:
// whatever there is is found again.
func (l *lab) ensure(p *program.Program) (writes int) {
	l.Helper()
	return l.ensureWith(p, nil)
}

func (l *lab) ensureWith(p *program.Program, s *Shaping) (writes int) {
	l.Helper()
	f, writes, err := Ensure(l.spine.conn, l.trunks(), p, s)
	l.must(err)
	if l.fabric == nil {
		l.Cleanup(func() { l.fabric.Close() })
	} else {
		l.fabric.Close()
	}
	l.fabric = f
	return writes
}

// addViface makes a macvlan for a viface, and its vnode: one for each viface.
func (l *lab) addViface(p *program.Program, rack uint32, v program.Viface) *space {
	l.Helper()
	name, addr := l.name(p, v)
	vnode := l.space()
	l.racks[rack].do(l, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: ethIndex, Name: "eth0", Kind: rtnl.Macvlan, Parent: trunkIndex, MTU: labMTU, MAC: v.Address(), Netns: vnode.ns})
	})
	vnode.start(l, ethIndex, addr)
	l.vnodes[name] = vnode
	return vnode
}

// name gives the name of a viface's vnode in a lab, and its address.
func (l *lab) name(p *program.Program, v program.Viface) (string, netip.Prefix) {
	for _, n := range p.Networks {
		if n.ID == v.Network {
			return fmt.Sprintf("%d/%d", v.Network, v.Host), netip.PrefixFrom(n.Addr(v.Host), n.Subnet.Bits())
		}
	}
	l.Fatalf("no network %d", v.Network)
	panic("unreachable")
}

// start gives a link its address and sets it up.
func (s *space) start(l *lab, index int32, addr netip.Prefix) {
	l.Helper()
	s.do(l, func(b *rtnl.Batch) { b.NewAddr(index, addr) })
	s.up(l, index)
}

// up sets a link up, quietly: what it does about IPv6 must be said before.
func (s *space) up(l *lab, index int32) {
	l.Helper()
	s.do(l, func(b *rtnl.Batch) {
		b.SetLink(&rtnl.Link{Index: index, IPv6: rtnl.IPv6Quiet})
		b.SetLink(&rtnl.Link{Index: index, Up: true})
	})
}

// addVeth is addViface with a veth pair, whose host end has an index.
func (l *lab) addVeth(p *program.Program, rack uint32, v program.Viface, end int32, join func(*rtnl.Batch, int32)) *space {
	l.Helper()
	name, addr := l.name(p, v)
	vnode, r := l.space(), l.racks[rack]
	r.do(l, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: end, Name: fmt.Sprintf("v%d", end), Kind: rtnl.Veth, MTU: labMTU,
			Peer: &rtnl.Link{Index: ethIndex, Name: "eth0", MTU: labMTU, MAC: v.Address(), Netns: vnode.ns}})
		join(b, end)
	})
	r.up(l, end)
	vnode.start(l, ethIndex, addr)
	l.vnodes[name] = vnode
	return vnode
}

// in runs a function in the namespace of a vnode.
func (l *lab) in(vnode string, fn func() error) {
	l.Helper()
	s := l.vnodes[vnode]
	if s == nil {
		l.Fatalf("no vnode %s", vnode)
	}
	l.must(netns.Do(s.ns, fn))
}

// listen opens a UDP socket in a vnode.
func (l *lab) listen(vnode, addr string) *net.UDPConn {
	l.Helper()
	var c *net.UDPConn
	l.in(vnode, func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
		return err
	})
	l.Cleanup(func() { c.Close() })
	return c
}

// echo answers every datagram until its socket is closed.
func echo(c *net.UDPConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		_, _ = c.WriteToUDPAddrPort(buf[:n], from)
	}
}

// ask sends a datagram to an echo and waits for its answer.
func (l *lab) ask(c *net.UDPConn, to netip.AddrPort, text string) error {
	buf := make([]byte, 2048)
	if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := c.WriteToUDPAddrPort([]byte(text), to); err != nil {
		return err
	}
	n, from, err := c.ReadFromUDPAddrPort(buf)
	if err != nil || from != to || string(buf[:n]) != text {
		return fmt.Errorf("asked %s %q: %s answers %q (%v)", to, text, from, buf[:n], err)
	}
	return nil
}

// ping sends an ICMP echo from a vnode, and says whether it was answered.
func (l *lab) ping(vnode, to string, args ...string) (err error) {
	l.in(vnode, func() error {
		out, failed := exec.Command("ping", append([]string{"-n", "-c", "1", "-W", "1", to}, args...)...).CombinedOutput()
		if failed != nil {
			err = fmt.Errorf("ping %s from %s: %w\n%s", to, vnode, failed, out)
		}
		return nil
	})
	return err
}

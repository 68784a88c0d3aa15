package fabric

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/rtnl"
	"myriad/program"
)

// TestPaths lets vnodes talk: within a rack and across racks, with computed
// and given addresses, near and far ones, by ICMP, UDP and TCP. No frame is
// broadcast for it.
func TestPaths(t *testing.T) {
	l := newLab(t, testProgram())
	for _, pair := range [][2]string{
		{"1/1", "1/2"}, {"1/1", "1/10"}, {"1/1", "1/3"}, {"1/1", "1/11"}, {"1/11", "1/3"}, {"1/10", "1/11"},
		{"2/1", "2/5"}, {"2/5", "2/60000"}, {"2/60000", "2/1"},
	} {
		for _, way := range [][2]string{pair, {pair[1], pair[0]}} {
			to := l.addr(way[1])
			if err := l.ping(way[0], to.String()); err != nil {
				t.Error(err)
			}
			// More than one frame holds: the kernel cuts it into fragments.
			if err := l.ping(way[0], to.String(), "-s", "4000"); err != nil {
				t.Error(err)
			}
		}
		l.checkTCP(pair[0], pair[1])
	}
	for _, pair := range [][2]string{{"1/1", "10.1.0.5"}, {"2/1", "10.1.0.2"}, {"1/2", "10.1.0.50"}} {
		if l.ping(pair[0], pair[1], "-W", "0.1") == nil {
			t.Errorf("%s reaches %s, which is not in its network", pair[0], pair[1])
		}
	}
	got := mustCount(t, l.fabric)
	if got["arp_answered"] == 0 || got["unicast"] == 0 || got["drop_arp_unknown"] == 0 {
		t.Errorf("counters: %v", got)
	}
	for name, n := range got {
		switch name {
		case "arp_answered", "unicast", "drop_arp_unknown":
		default:
			if n != 0 {
				t.Errorf("%s counts %d, want 0", name, n)
			}
		}
	}
}

// addr gives the address of a vnode in a lab.
func (l *lab) addr(vnode string) netip.Addr {
	l.Helper()
	var addr netip.Addr
	l.must(l.vnodes[vnode].conn.Read(&rtnl.Dump{Addrs: func(a *rtnl.AddrInfo) {
		if a.Link == ethIndex {
			addr = a.Addr.Addr()
		}
	}}))
	return addr
}

// checkTCP sends a megabyte and compares what arrives.
func (l *lab) checkTCP(from, to string) {
	l.Helper()
	sent := make([]byte, 1<<20)
	_, _ = rand.Read(sent)
	addr := netip.AddrPortFrom(l.addr(to), 4000).String()
	var ln net.Listener
	l.in(to, func() (err error) {
		ln, err = net.Listen("tcp4", addr)
		return err
	})
	defer ln.Close()
	got := make(chan []byte, 1)
	go func() {
		var all []byte
		if c, err := ln.Accept(); err == nil {
			all, _ = io.ReadAll(c)
			c.Close()
		}
		got <- all
	}()
	l.in(from, func() error {
		c, err := net.DialTimeout("tcp4", addr, 2*time.Second)
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write(sent)
		return err
	})
	if !bytes.Equal(<-got, sent) {
		l.Errorf("TCP from %s to %s: what arrives is not what was sent", from, to)
	}
}

// TestGateway routes between two networks with the same rack below both: a
// vnode with a viface in each forwards, and a third is reached through it.
func TestGateway(t *testing.T) {
	p := testProgram()
	p.Networks[1].Subnet = netip.MustParsePrefix("10.2.0.0/16")
	p.Racks[0].Vifaces = p.Racks[0].Vifaces[:2] // lan hosts 1 and 2
	p.Racks[1].Vifaces = p.Racks[1].Vifaces[2:3]
	second := program.Viface{Network: 2, Host: 2} // of lan host 2, the gateway
	p.Racks[0].Vifaces = append(p.Racks[0].Vifaces, second)

	l := newSpine(t)
	l.addRack(0)
	l.addRack(1)
	l.ensure(p)
	l.addViface(p, 0, p.Racks[0].Vifaces[0])
	l.addViface(p, 1, p.Racks[1].Vifaces[0])
	gateway := l.addViface(p, 0, p.Racks[0].Vifaces[1])
	_, addr := l.name(p, second)
	l.racks[0].do(l, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: ethIndex + 1, Name: "eth1", Kind: rtnl.Macvlan, Parent: trunkIndex, MTU: labMTU, MAC: second.Address(), Netns: gateway.ns})
	})
	gateway.start(l, ethIndex+1, addr)
	forward := []rtnl.Conf{{Setting: rtnl.IPv4Forwarding, Value: 1}}
	gateway.do(l, func(b *rtnl.Batch) {
		b.SetLink(&rtnl.Link{Index: ethIndex, IPv4: forward})
		b.SetLink(&rtnl.Link{Index: ethIndex + 1, IPv4: forward})
	})
	any := netip.MustParsePrefix("0.0.0.0/0")
	l.vnodes["1/1"].do(l, func(b *rtnl.Batch) { b.NewRoute(rtnl.Route{To: any, Via: netip.MustParseAddr("10.1.0.2")}) })
	l.vnodes["2/5"].do(l, func(b *rtnl.Batch) { b.NewRoute(rtnl.Route{To: any, Via: netip.MustParseAddr("10.2.0.2")}) })
	if err := l.ping("1/1", "10.2.0.5"); err != nil {
		t.Error(err)
	}
	l.checkTCP("2/5", "1/1")
}

// TestBroadcast: datagrams for all of a network, and for a group, reach every
// other member once and nobody else.
func TestBroadcast(t *testing.T) {
	p := testProgram()
	l := newLab(t, p)
	const port = ":5353"
	groups := map[string]*net.UDPConn{} // by vnode
	for name := range l.vnodes {
		c := l.listen(name, "0.0.0.0"+port)
		raw, err := c.SyscallConn()
		l.must(err)
		l.must(raw.Control(func(fd uintptr) {
			err = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1),
				unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, &unix.IPMreqn{Multiaddr: [4]byte{224, 0, 0, 251}, Ifindex: ethIndex}),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, 0),
				unix.SetsockoptIPMreqn(int(fd), unix.IPPROTO_IP, unix.IP_MULTICAST_IF, &unix.IPMreqn{Ifindex: ethIndex}),
			)
		}))
		l.must(err)
		groups[name] = c
	}
	for _, to := range []string{"10.1.255.255", "255.255.255.255", "224.0.0.251"} {
		for _, from := range []string{"1/1", "1/11", "2/1"} {
			var want []string
			if from[0] == '1' {
				want = []string{"1/1", "1/10", "1/11", "1/2", "1/3"}
			}
			if group := to[0] == '2' && to[1] == '2'; group {
				want = slices.DeleteFunc(want, func(s string) bool { return s == from })
			} else if want == nil {
				want = []string{from} // who broadcasts hears himself, in his own stack
			}
			if to == "255.255.255.255" {
				l.vnodes[from].do(l, func(b *rtnl.Batch) {
					b.NewRoute(rtnl.Route{To: netip.MustParsePrefix("0.0.0.0/0"), Via: l.addr(from).Next()})
				})
			}
			_, err := groups[from].WriteToUDPAddrPort([]byte(from), netip.MustParseAddrPort(to+port))
			l.must(err)
			if got := l.heard(groups, from, len(want)); !slices.Equal(got, want) {
				t.Errorf("%s to %s is heard by %v, want %v", from, to, got, want)
			}
		}
	}
	got := mustCount(t, l.fabric)
	if got["broadcast_copy"] < 24 || got["drop_broadcast"] == 0 || got["drop_broadcast_copy"] != 0 {
		t.Errorf("counters: %v", got)
	}
}

// heard lists who has received a text, once for each time. It waits for a
// number of them, and a little longer for any that should not.
func (l *lab) heard(by map[string]*net.UDPConn, text string, wait int) []string {
	l.Helper()
	var got []string
	buf := make([]byte, 2048)
	for begin := time.Now(); len(got) < wait && time.Since(begin) < 2*time.Second || time.Since(begin) < 10*time.Millisecond; {
		for name, c := range by {
			l.must(c.SetReadDeadline(time.Now().Add(100 * time.Microsecond)))
			n, err := c.Read(buf)
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
			case err != nil:
				l.Fatal(err)
			case string(buf[:n]) == text:
				got = append(got, name)
			}
		}
	}
	slices.Sort(got)
	return got
}

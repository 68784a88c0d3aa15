package fabric

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

const (
	testVNI     = 7<<16 | 1<<8
	underlayMTU = labMTU + program.VXLANOverhead
)

// pnodeAddr is where a pnode is in the underlay.
func pnodeAddr(number uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + number)})
}

// world is two pnodes: rack k of the test program is on pnode k, with vnodes of
// both networks on each.
type world struct {
	testing.TB
	shared   *program.Shared
	own      [2]*program.Own
	pnodes   [2]*lab
	underlay [2]*space
}

// split makes the two parts of the test program for two pnodes.
func split() (*program.Shared, [2]*program.Own) {
	p := testProgram()
	s := &program.Shared{Platform: p.Platform, Networks: p.Networks, Overlay: &program.Overlay{VNI: testVNI, Port: program.VXLANPort}}
	var own [2]*program.Own
	for k := range uint32(2) {
		r := p.Racks[k]
		r.Index = k // racks of different pnodes need not have the same number
		own[k] = &program.Own{Pnode: fmt.Sprint("pnode", k), Number: k, Racks: []program.Rack{r}}
		s.Overlay.Underlay = append(s.Overlay.Underlay, program.Underlay{Pnode: own[k].Pnode, Addr: pnodeAddr(k), MTU: underlayMTU})
		for _, v := range r.Vifaces {
			s.Places = append(s.Places, program.PlaceRange{Network: v.Network, Host: v.Host, Count: 1, Pnode: k})
			if v.MAC != (program.MAC{}) {
				s.MACs = append(s.MACs, program.GivenMAC{Network: v.Network, Host: v.Host, MAC: v.MAC})
			}
		}
	}
	slices.SortFunc(s.Places, func(a, b program.PlaceRange) int {
		return int(a.Network)<<24 + int(a.Host) - int(b.Network)<<24 - int(b.Host)
	})
	return s, own
}

// program gives the program of a pnode.
func (w *world) program(k int) *program.Program { return program.Join(w.shared, w.own[k]) }

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{TB: t}
	w.shared, w.own = split()
	for k := range w.pnodes {
		w.pnodes[k] = newSpine(t)
		w.underlay[k] = w.pnodes[k].space()
	}
	l := w.pnodes[0]
	w.underlay[0].do(l, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: ethIndex, Name: "eth0", Kind: rtnl.Veth, MTU: underlayMTU,
			Peer: &rtnl.Link{Index: ethIndex, Name: "eth0", MTU: underlayMTU, Netns: w.underlay[1].ns}})
	})
	for k, l := range w.pnodes {
		w.underlay[k].start(l, ethIndex, netip.PrefixFrom(pnodeAddr(uint32(k)), 24))
		l.addOverlay(w.underlay[k])
		l.build(w.program(k))
	}
	return w
}

// addOverlay gives a spine its way into an underlay.
func (l *lab) addOverlay(underlay *space) {
	l.Helper()
	underlay.do(l, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: OverlayIndex, Name: "ov", Kind: rtnl.VXLAN, MTU: 65000, Netns: l.spine.ns,
			VXLAN: &rtnl.VXLANLink{Port: program.VXLANPort, TTL: 64, External: true, VNIFilter: true}})
	})
	l.spine.do(l, func(b *rtnl.Batch) { b.NewVNI(OverlayIndex, testVNI, "ov") })
	l.spine.up(l, OverlayIndex)
}

// ensure is lab.ensure for both pnodes, with the conditions that they share.
func (w *world) ensure() (writes int) {
	w.Helper()
	for k, l := range w.pnodes {
		p := w.program(k)
		if p.Links == nil {
			writes += l.ensure(p)
		} else {
			writes += l.shape(p, p.Links)
		}
	}
	return writes
}

// both makes one lab of the vnodes of two, for what a lab can do.
func (w *world) both() *lab {
	all := *w.pnodes[0]
	all.vnodes = map[string]*space{}
	for _, l := range w.pnodes {
		for name, s := range l.vnodes {
			all.vnodes[name] = s
		}
	}
	return &all
}

// count adds up the counters of both.
func (w *world) count() map[string]uint64 {
	sum := map[string]uint64{}
	for _, l := range w.pnodes {
		for name, n := range mustCount(w, l.fabric) {
			sum[name] += n
		}
	}
	return sum
}

// only fails if anything else than some reasons has counted.
func only(t testing.TB, got map[string]uint64, reasons ...string) {
	t.Helper()
	for name, n := range got {
		if n != 0 && !slices.Contains(reasons, name) {
			t.Errorf("%s counts %d, want 0", name, n)
		}
	}
}

// across are pairs of vnodes on two pnodes: with computed and given addresses,
// near and far ones.
var across = [][2]string{{"1/1", "1/10"}, {"1/2", "1/11"}, {"1/3", "1/10"}, {"1/3", "1/11"}, {"2/1", "2/5"}, {"2/1", "2/60000"}}

// TestOverlay lets vnodes of two pnodes talk, by ICMP, UDP and TCP. Nothing but
// tunnels is seen in the underlay.
func TestOverlay(t *testing.T) {
	w := newWorld(t)
	seen := w.pnodes[0].wire(w.underlay[0], ethIndex)
	l := w.both()
	for _, pair := range across {
		for _, way := range [][2]string{pair, {pair[1], pair[0]}} {
			for _, args := range [][]string{nil, {"-s", "1472", "-M", "do"}, {"-s", "4000"}} {
				if err := l.ping(way[0], l.addr(way[1]).String(), args...); err != nil {
					t.Error(err)
				}
			}
			l.checkTCP(way[0], way[1])
		}
	}
	for _, pair := range [][2]string{{"1/1", "10.1.0.5"}, {"2/5", "10.1.0.2"}} {
		if l.ping(pair[0], pair[1], "-W", "0.1") == nil {
			t.Errorf("%s reaches %s, which is not in its network", pair[0], pair[1])
		}
	}
	got := w.count()
	if got["tunnel_out"] == 0 || got["tunnel_out"] != got["tunnel_in"] || got["unicast"] != 2*got["tunnel_out"] {
		t.Errorf("counters: %v", got)
	}
	only(t, got, "tunnel_out", "tunnel_in", "unicast", "arp_answered", "drop_arp_unknown")
	tunnels, fragments := 0, 0
	for _, f := range seen.drain(l) {
		switch {
		case len(f) < 42 || f[12] == 8 && f[13] == 6: // the two ends look for each other
		case f[12] == 8 && f[13] == 0 && f[23] == unix.IPPROTO_UDP && binary.BigEndian.Uint16(f[36:]) == program.VXLANPort:
			tunnels++
			if f[62] == 8 && f[63] == 6 || f[50]&1 != 0 {
				t.Errorf("a request, or a frame for all, is in the tunnel: %x", f)
			}
			if f[20]&0x3f != 0 || f[21] != 0 {
				fragments++
			}
			if ttl := f[22]; ttl != 64 {
				t.Errorf("the tunnel's TTL is %d, want 64", ttl)
			}
		default:
			t.Errorf("in the underlay is %x", f)
		}
	}
	if tunnels == 0 || fragments > 0 {
		t.Errorf("%d packets were seen in the tunnel, %d fragments of such", tunnels, fragments)
	}
}

// TestOverlayBroadcast: frames for all reach every member once, on all pnodes.
func TestOverlayBroadcast(t *testing.T) {
	w := newWorld(t)
	l := w.both()
	sockets := map[string]*net.UDPConn{}
	for name := range l.vnodes {
		sockets[name] = l.listen(name, "0.0.0.0:9")
	}
	for _, from := range []string{"1/1", "1/3", "1/11"} {
		c := sockets[from]
		raw, err := c.SyscallConn()
		l.must(err)
		l.must(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1) }))
		l.must(err)
		_, err = c.WriteToUDPAddrPort([]byte(from), netip.MustParseAddrPort("10.1.255.255:9"))
		l.must(err)
		want := []string{"1/1", "1/10", "1/11", "1/2", "1/3"} // who broadcasts hears himself, in his own stack
		if got := l.heard(sockets, from, len(want)); !slices.Equal(got, want) {
			t.Errorf("%s is heard by %v, want %v", from, got, want)
		}
	}
	got := w.count()
	if got["broadcast"] != 3 || got["broadcast_copy"] != 12 || got["tunnel_out"] != 7 || got["tunnel_in"] != 7 || got["unicast"] != 7 {
		t.Errorf("counters: %v", got)
	}
	only(t, got, "broadcast", "broadcast_copy", "tunnel_out", "tunnel_in", "unicast")
}

// tunnelled puts a frame into VXLAN.
func tunnelled(vni uint32, frame []byte) []byte {
	return append([]byte{8, 0, 0, 0, byte(vni >> 16), byte(vni >> 8), byte(vni), 0}, frame...)
}

// TestForeign: what comes by a tunnel counts only if its sender is behind that
// tunnel, and it is for one who is here.
func TestForeign(t *testing.T) {
	w := newWorld(t)
	l := w.pnodes[0]
	stranger := netip.MustParseAddr("192.0.2.9")
	w.underlay[1].do(l, func(b *rtnl.Batch) { b.NewAddr(ethIndex, netip.PrefixFrom(stranger, 24)) })
	get := l.wire(l.racks[0], trunkIndex)
	lanMAC := func(host uint32) program.MAC { return program.MACOf(1, host) }
	wanMAC := func(host uint32) program.MAC { return program.MACOf(2, host) }
	for _, trial := range []struct {
		name    string
		from    netip.Addr
		frame   []byte
		reason  string
		arrives bool
	}{
		{"true", pnodeAddr(1), frame(lanMAC(1), lanMAC(10), typeIPv4), "unicast", true},
		{"true, from a given address to one", pnodeAddr(1), frame(givenMAC, dockerMAC, typeIPv4), "unicast", true},
		{"by a stranger", stranger, frame(lanMAC(1), lanMAC(10), typeIPv4), "drop_foreign_tunnel", false},
		{"by a stranger, from a given address", stranger, frame(lanMAC(1), dockerMAC, typeIPv4), "drop_foreign_tunnel", false},
		{"from one who is here", pnodeAddr(1), frame(lanMAC(1), lanMAC(2), typeIPv4), "drop_foreign_tunnel", false},
		{"from one who is here, given address", pnodeAddr(1), frame(lanMAC(1), givenMAC, typeIPv4), "drop_foreign_tunnel", false},
		{"from nobody", pnodeAddr(1), frame(lanMAC(1), lanMAC(99), typeIPv4), "drop_foreign_tunnel", false},
		{"for all", pnodeAddr(1), frame(broadcast, lanMAC(10), typeIPv4), "drop_foreign_tunnel", false},
		{"ARP", pnodeAddr(1), request(lan, 10, lan.Addr(1)), "drop_foreign_tunnel", false},
		{"for nobody", pnodeAddr(1), frame(lanMAC(99), lanMAC(10), typeIPv4), "drop_unknown_destination", false},
		{"for another pnode", pnodeAddr(1), frame(lanMAC(10), lanMAC(10), typeIPv4), "drop_other_pnode", false},
		{"for another pnode, given address", pnodeAddr(1), frame(dockerMAC, lanMAC(10), typeIPv4), "drop_other_pnode", false},
		{"for another network", pnodeAddr(1), frame(wanMAC(1), lanMAC(10), typeIPv4), "drop_other_network", false},
	} {
		t.Run(trial.name, func(t *testing.T) {
			l := *l
			l.TB = t
			before := mustCount(t, l.fabric)
			l.must(netns.Do(w.underlay[1].ns, func() error {
				c, err := net.DialUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(trial.from, 0)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(pnodeAddr(0), program.VXLANPort)))
				if err != nil {
					return err
				}
				_, err = c.Write(tunnelled(testVNI, trial.frame))
				return errors.Join(err, c.Close())
			}))
			l.await(trial.reason, before[trial.reason]+1)
			after := mustCount(t, l.fabric)
			for reason, n := range after {
				want := uint64(0)
				if reason == trial.reason || reason == "tunnel_in" && trial.reason != "drop_foreign_tunnel" {
					want = 1
				}
				if n -= before[reason]; n != want {
					t.Errorf("%s counts %d, want %d", reason, n, want)
				}
			}
			if trial.arrives {
				if got := get.next(&l); !slices.Equal(got, trial.frame) {
					t.Errorf("what arrives is\n%x, want\n%x", got, trial.frame)
				}
			} else if got := get.drain(&l); len(got) > 0 {
				t.Errorf("it arrives: %x", got)
			}
		})
	}
}

// TestReplaced: a vnode that was replaced on another pnode is not heard where
// it was, and the others reach the new one as soon as their tables say so.
func TestReplaced(t *testing.T) {
	w := newWorld(t)
	v := w.own[1].Racks[0].Vifaces[0] // lan host 10
	for i := range w.shared.Places {
		if p := &w.shared.Places[i]; p.Network == v.Network && p.Host == v.Host {
			p.Pnode = 0
		}
	}
	w.own[0].Racks[0].Vifaces = append(w.own[0].Racks[0].Vifaces, v)
	l := w.pnodes[0]
	l.ensure(w.program(0)) // pnode 1 knows nothing of it
	l.addViface(w.program(0), 0, v)
	if err := l.ping("1/1", "10.1.0.10"); err != nil {
		t.Error(err)
	}
	only(t, mustCount(t, l.fabric), "unicast", "arp_answered")
	old := w.pnodes[1]
	if old.ping("1/10", "10.1.0.1", "-W", "0.1") == nil {
		t.Error("the old one is still heard")
	}
	if got := mustCount(t, l.fabric); got["drop_foreign_tunnel"] == 0 {
		t.Errorf("counters: %v", got)
	}
	w.own[1].Racks[0].Vifaces = w.own[1].Racks[0].Vifaces[1:]
	old.ensure(w.program(1))
	if err := old.ping("1/11", "10.1.0.10"); err != nil {
		t.Error(err)
	}
}

// TestUnderlayChanges: the address of a pnode changes, and another pnode comes,
// while vnodes talk; only that is written, by which the tables differ.
func TestUnderlayChanges(t *testing.T) {
	w := newWorld(t)
	if writes := w.ensure(); writes != 0 {
		t.Errorf("the same again: %d writes", writes)
	}
	l := w.both()
	stop, ended := l.talk([][2]string{{"1/1", "1/10"}})
	defer ended()
	w.shared.Overlay.Underlay = append(w.shared.Overlay.Underlay, program.Underlay{Pnode: "third", Addr: pnodeAddr(2), MTU: underlayMTU})
	w.shared.Ways, w.shared.Sites = []time.Duration{time.Millisecond}, 1
	if writes := w.ensure(); writes != 8 { // the way to the other, and the three words of a new row, on each
		t.Errorf("another pnode: %d writes, want 8", writes)
	}
	stop()
	w.underlay[1].do(l, func(b *rtnl.Batch) { b.NewAddr(ethIndex, netip.PrefixFrom(pnodeAddr(5), 25)) })
	w.shared.Overlay.Underlay[1].Addr = pnodeAddr(5)
	if writes := w.ensure(); writes != 3 {
		t.Errorf("another address: %d writes, want 3", writes)
	}
	w.underlay[1].do(l, func(b *rtnl.Batch) { b.DelAddr(ethIndex, netip.PrefixFrom(pnodeAddr(1), 24)) })
	if err := l.ping("1/1", "10.1.0.10"); err != nil {
		t.Error(err)
	}
	for n := uint32(3); n < 40; n++ {
		w.shared.Overlay.Underlay = append(w.shared.Overlay.Underlay, program.Underlay{Pnode: fmt.Sprint("more", n), Addr: pnodeAddr(n + 10), MTU: underlayMTU})
	}
	before := [2]*Fabric{w.pnodes[0].fabric, w.pnodes[1].fabric}
	w.ensure()
	if w.pnodes[0].fabric.objects.Pnodes.MaxEntries() < 40 || before[0] == w.pnodes[0].fabric {
		t.Error("forty pnodes have no room")
	}
	if err := l.ping("1/1", "10.1.0.10"); err != nil {
		t.Error(err)
	}
	w.shared.Overlay.Underlay[1] = program.Underlay{} // it is gone
	w.pnodes[0].ensure(w.program(0))
	if l.ping("1/1", "10.1.0.10", "-W", "0.1") == nil || mustCount(t, w.pnodes[0].fabric)["drop_other_pnode"] == 0 {
		t.Error("a pnode without an address is reached")
	}
}

// TestOverlayComes: a platform of one pnode gets another one, and loses it.
func TestOverlayComes(t *testing.T) {
	l := newSpine(t)
	p := testProgram()
	l.build(p)
	w := &world{TB: t}
	w.shared, w.own = split()
	p.Overlay, p.Remote = w.shared.Overlay, nil
	if _, _, err := Ensure(l.spine.conn, l.trunks(), p, nil); err == nil || !strings.Contains(err.Error(), "no such device") {
		t.Errorf("without its device, an overlay is taken (%v)", err)
	}
	l.addOverlay(l.space())
	for range 2 {
		if writes := l.ensure(p); writes == 0 {
			t.Error("nothing is written")
		}
		if writes := l.ensure(p); writes != 0 {
			t.Errorf("the same again: %d writes", writes)
		}
		if err := l.ping("1/1", "10.1.0.10"); err != nil {
			t.Error(err)
		}
		l.spine.do(l, func(b *rtnl.Batch) { b.DelLink(OverlayIndex, "ov") })
		p.Overlay = nil
		l.ensure(p)
		if err := l.ping("1/1", "10.1.0.10"); err != nil {
			t.Error(err)
		}
		p.Overlay = w.shared.Overlay
		l.addOverlay(l.space())
	}
}

package rtnl

import (
	"net/netip"
	"testing"
)

// FuzzParse: no bytes make a parser panic or run past them.
func FuzzParse(f *testing.F) {
	var b Batch
	b.NewLink(&Link{Index: 3, Name: "eth0", Kind: Macvlan, Parent: 2, MTU: 1500, MAC: [6]byte{2, 0, 1, 0, 0, 1}})
	b.SetLink(&Link{Index: 3, IPv6: IPv6Quiet, IPv4: []Conf{{IPv4Forwarding, 1}}})
	b.NewAddr(3, netip.MustParsePrefix("10.1.2.3/16"))
	b.NewRoute(Route{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParseAddr("10.1.0.1")})
	b.SetFilter(&Filter{Link: 3, Hook: Ingress, Prog: 5, Name: "in"})
	b.NewLink(&Link{Index: 12, Name: "ov", Kind: VXLAN, VXLAN: &VXLANLink{Port: 4789, External: true, VNIFilter: true, Local: netip.MustParseAddr("10.0.0.1")}})
	b.NewVNI(12, 65792, "ov")
	b.NewGuard(Guard{netip.MustParsePrefix("240.16.0.0/12"), 7})
	b.NewForward(Forward{Link: 12, To: netip.MustParseAddr("10.0.0.2")})
	for i := range b.Len() {
		f.Add(b.message(i))
	}
	f.Add(b.buf)
	f.Fuzz(func(t *testing.T, p []byte) {
		for m, rest := next(p); m.raw != nil; m, rest = next(rest) {
			m.failure()
			parseLink(m.Body, &LinkInfo{})
			parseAddr(m.Body, &AddrInfo{})
			parseRoute(m.Body, &RouteInfo{})
			parseFilter(m.Body, &FilterInfo{})
			parseForward(m.Body, &ForwardInfo{})
			parseGuard(m.Body, &Guard{})
			parseWay(m.Body, &Way{})
			giveVNIs(&Dump{VNIs: func(*VNI) {}}, m.Body)
		}
		parseLink(p, &LinkInfo{})
		parseAddr(p, &AddrInfo{})
		parseRoute(p, &RouteInfo{})
		parseFilter(p, &FilterInfo{})
		parseForward(p, &ForwardInfo{})
		parseGuard(p, &Guard{})
		parseWay(p, &Way{})
		giveVNIs(&Dump{VNIs: func(*VNI) {}}, p)
	})
}

// TestRoundTrip: what the encoders write, the parsers read.
func TestRoundTrip(t *testing.T) {
	var b Batch
	b.NewLink(&Link{Index: 3, Name: "a", Kind: Macvlan, Parent: 2, MTU: 1500, MAC: [6]byte{2, 0, 1, 0, 0, 1}, Group: 9, Up: true})
	var l LinkInfo
	m, rest := next(b.message(0))
	if !parseLink(m.Body, &l) || len(rest) != 0 {
		t.Fatal("not parsed")
	}
	want := LinkInfo{Index: 3, Name: "a", Kind: Macvlan, Up: true, MTU: 1500, MAC: [6]byte{2, 0, 1, 0, 0, 1}, Group: 9, Parent: 2, VEPA: true, IPv6Quiet: true, Home: NoNumber}
	if l != want {
		t.Errorf("got %+v, want %+v", l, want)
	}
}

// TestEncodingAllocatesNothing once the buffer has its size.
func TestEncodingAllocatesNothing(t *testing.T) {
	var b Batch
	conf := []Conf{{IPv4Forwarding, 1}}
	addr := netip.MustParsePrefix("10.1.2.3/16")
	n := testing.AllocsPerRun(100, func() {
		b.Reset()
		b.NewLink(&Link{Index: 2, Name: "eth0", Kind: Macvlan, Parent: 2, Netns: 9, MTU: 1500})
		b.SetLink(&Link{Index: 2, IPv6: IPv6Quiet, IPv4: conf})
		b.NewAddr(2, addr)
		b.SetLink(&Link{Index: 2, Up: true})
		b.SetLink(&Link{Index: 1, Up: true})
	})
	if n > 0 {
		t.Errorf("%v allocations for a vnode's messages, want 0", n)
	}
}

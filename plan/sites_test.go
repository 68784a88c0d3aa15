package plan

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// atSites gives pnodes sites.
func atSites(pnodes []Pnode, sites ...string) []Pnode {
	for i := range pnodes {
		pnodes[i].Site = sites[i%len(sites)]
	}
	return pnodes
}

// Conditions between sites are those of the pairs of vnodes that are there,
// and follow them when they move.
func TestSites(t *testing.T) {
	delay := func(d time.Duration) *link.Conditions { return &link.Conditions{Delay: d} }
	to := flat(40)
	to.Links = []topo.LinkRule{
		{Sites: []string{"a", "b", "nowhere"}, Conditions: delay(20 * time.Millisecond)},
		{Sites: []string{"a", "b"}, Oneway: true, Conditions: delay(30 * time.Millisecond)},
		{Sites: []string{"b"}, Conditions: delay(time.Millisecond)},
		{From: nodeset.Of("peer1"), To: nodeset.Of("peer40"), Conditions: delay(time.Second)},
	}
	pnodes := atSites(named("p1", "p2", "p3", "p4"), "a", "b")
	p, err := Make(to, pnodes, Options{})
	if err != nil {
		t.Fatal(err)
	}
	check := func(p *Plan) {
		t.Helper()
		site := map[string]string{}
		for i, name := range p.Names() {
			site[name] = p.Pnodes()[p.placement(i).Pnode].Site
		}
		for from, a := range site {
			for to, b := range site {
				want := map[string]time.Duration{"a b": 30, "b a": 20, "b b": 1}[a+" "+b] * time.Millisecond
				if from == "peer1" && to == "peer40" {
					want = time.Second
				}
				if way, ok := p.Way(p.Links(), from, to); from != to && (!ok || way.Pair.Delay.Round(time.Microsecond) != want) {
					t.Fatalf("from %s at %s to %s at %s: %+v, want %s", from, a, to, b, way, want)
				}
			}
		}
	}
	check(p)
	mustBeSound(t, p)
	// p2 is lost: its vnodes move, and their conditions do.
	q, err := Make(to, append(pnodes[:1:1], pnodes[2:]...), Options{Previous: p})
	if err != nil {
		t.Fatal(err)
	}
	check(q)
}

// Ways between sites are kept by the plan, and those of nobody left out.
func TestWays(t *testing.T) {
	pnodes := atSites(named("p1", "p2", "p3"), "b", "a", "")
	ms := time.Millisecond
	p, err := Make(flat(10), pnodes, Options{Ways: []SiteWay{{"b", "a", 9 * ms}, {"a", "b", ms}, {"b", "a", 2 * ms}, {"a", "x", ms}, {"", "", ms}, {"a", "a", -1}}})
	if err != nil {
		t.Fatal(err)
	}
	s := p.Shared()
	want := []time.Duration{ms, 0, 0, 0, 0, ms, 0, 2 * ms, 0} // sites "", a, b
	if s.Sites != 3 || len(s.Ways) != 9 {
		t.Fatalf("%d sites, ways %v", s.Sites, s.Ways)
	}
	for i, d := range want {
		if s.Ways[i] != d {
			t.Errorf("ways %v, want %v", s.Ways, want)
			break
		}
	}
	if got := p.Program(0).Ways; len(got) != 3 || got[0] != 0 || got[1] != 2*ms || got[2] != 0 {
		t.Errorf("ways from p1, at b: %v", got)
	}
	again, err := Decode(p.Encode())
	if err != nil || !bytes.Equal(program.EncodeShared(again.Shared()), program.EncodeShared(s)) {
		t.Errorf("encoded and decoded (%v), what pnodes share is another", err)
	}
}

// Delays between sites that cannot be had are noted, and sites that are not
// there.
func TestSiteNotes(t *testing.T) {
	to := flat(10)
	c := &link.Conditions{Delay: 5 * time.Millisecond}
	to.Links = []topo.LinkRule{{Sites: []string{"a", "b", "c"}, Conditions: c}}
	o := Options{Ways: []SiteWay{{"a", "b", 7 * time.Millisecond}, {"b", "a", 4 * time.Millisecond}, {"a", "a", time.Second}}}
	p, err := Make(to, atSites(named("p1", "p2"), "a", "b"), o)
	if err != nil {
		t.Fatal(err)
	}
	mustBeSound(t, p)
	got := strings.Join(p.Forecast().Notes[1:], "\n")
	const want = "from site a to site b a delay of 5ms is asked for, and the way itself takes 7ms; ask for that or more, or for none\n" +
		"no pnode is at site c, of which links speaks; start agents with --site, or correct the name"
	if got != want {
		t.Errorf("notes\n%s\nwant\n%s", got, want)
	}
}

// An overlay says how each pnode is reached, and whether it is encrypted.
func TestUnderlay(t *testing.T) {
	pnodes := atSites(named("p1", "p2", "p3"), "b", "a")
	for i := range pnodes {
		pnodes[i].Key[0] = byte(i + 1)
		pnodes[i].MTU = 1500
	}
	to := flat(10)
	to.Overlay = topo.Overlay{Port: 8472, Encryption: topo.EncryptSites}
	p, err := Make(to, pnodes, Options{VNI: 5<<16 | 3<<8})
	if err != nil {
		t.Fatal(err)
	}
	mustBeSound(t, p)
	o := p.Program(2).Overlay
	if o.VNI != 0x50300 || o.Port != 8472 || p.networks[0].MTU != 1390 {
		t.Errorf("%+v, MTU %d", o, p.networks[0].MTU)
	}
	local, remote, encrypted := o.Ends(0, 2) // of one site
	if encrypted || local != pnodes[0].Address || remote != pnodes[2].Address {
		t.Errorf("from p1 to p3: %s %s %t", local, remote, encrypted)
	}
	local, remote, encrypted = o.Ends(0, 1)
	if !encrypted || local != netip.MustParseAddr("240.48.0.0") || remote != netip.MustParseAddr("240.48.0.1") || o.Underlay[1].Gate != netip.AddrPortFrom(pnodes[1].Address, 51823) {
		t.Errorf("from p1 to p2: %s %s %t, gate %s", local, remote, encrypted, o.Underlay[1].Gate)
	}
	if q, err := Make(to, pnodes, Options{Previous: p}); err != nil || q.VNI() != 0x50300 {
		t.Errorf("planned again (%v), the VNI is %#x", err, q.VNI())
	}
	if q, err := Make(to, pnodes[:1], Options{}); err != nil || q.Shared().Overlay != nil || q.Shared().Sites != 0 || q.Shared().Places != nil || q.networks[0].MTU != 1500 {
		t.Errorf("a single pnode has (%v) %+v", err, q.Shared())
	}
	pnodes[2].Site = "b"
	to.Overlay.Encryption = topo.EncryptAll
	if p, err = Make(to, pnodes, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, _, encrypted := p.Shared().Overlay.Ends(0, 2); !encrypted {
		t.Error("all is to be encrypted, and is not between p1 and p3")
	}
}

func TestUnderlayRefuses(t *testing.T) {
	given := flat(10)
	given.Networks[0].MTUGiven = true
	encrypted := flat(10)
	encrypted.Overlay.Encryption = topo.EncryptAll
	many := flat(10)
	many.Fabric = program.FabricBridge
	for range 300 {
		many.Networks = append(many.Networks, topo.Network{Name: "x" + strings.Repeat("x", len(many.Networks)), Subnet: netip.MustParsePrefix("10.0.0.0/24"), MTU: 1400})
	}
	for _, test := range []struct {
		to    *topo.Topology
		spoil func(p []Pnode)
		o     Options
		want  []string
	}{
		{flat(10), func(p []Pnode) { p[0].Address, p[2].Address = netip.Addr{}, netip.Addr{} }, Options{}, []string{"reach pnodes p1, p3: no address is known", "--address"}},
		{flat(10), func(p []Pnode) { p[1].Address = p[0].Address }, Options{}, []string{"reach pnode p2: it has the address", "as pnode p1 has"}},
		{flat(10), func(p []Pnode) { p[1].Address = netip.MustParseAddr("fe80::1") }, Options{}, []string{"tunnels go by IPv4"}},
		{flat(10), func(p []Pnode) { p[1].MTU = 100 }, Options{}, []string{"the way to pnode p2 has an MTU of 100, of which tunnels take 50"}},
		{given, func(p []Pnode) { p[1].MTU = 1500 }, Options{}, []string{"give vnetwork lan an MTU of 1500", "pnode p2 has an MTU of 1500, of which tunnels take 50", "write mtu: 1450"}},
		{encrypted, func(p []Pnode) { p[0].Key[0] = 1 }, Options{}, []string{"encrypt what goes to pnodes p2, p3: it has no WireGuard"}},
		{flat(10), func([]Pnode) {}, Options{VNI: 1<<24 - 256}, []string{"VNIs"}},
		{flat(10), func([]Pnode) {}, Options{VNI: 77}, []string{"VNIs"}},
		{many, func([]Pnode) {}, Options{}, []string{"there are more than 255"}},
	} {
		pnodes := named("p1", "p2", "p3")
		test.spoil(pnodes)
		_, err := Make(test.to, pnodes, test.o)
		for _, want := range test.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want one that says %q", err, want)
			}
		}
	}
	// What is not known is no reason to refuse what is asked for.
	if _, err := Make(given, named("p1", "p2"), Options{}); err != nil {
		t.Error(err)
	}
}

// The MTU of a vnetwork that was lowered stays, if it can.
func TestMTUStays(t *testing.T) {
	pnodes := named("p1", "p2", "p3")
	pnodes[1].MTU = 9000
	pnodes[2].MTU = 1400
	mtu := func(previous *Plan, to *topo.Topology, pnodes ...Pnode) (*Plan, uint16) {
		t.Helper()
		p, err := Make(to, pnodes, Options{Previous: previous})
		if err != nil {
			t.Fatal(err)
		}
		if previous != nil {
			mustBeSound(t, p)
		}
		return p, p.networks[0].MTU
	}
	p, got := mtu(nil, flat(10), pnodes[:2]...)
	if got != 1450 || !strings.Contains(p.Forecast().String(), "vnetwork lan: an MTU of 1450: the way to pnode p1 has an MTU that is not known, probably 1500, of which tunnels take 50") {
		t.Errorf("MTU %d, forecast\n%s", got, p.Forecast())
	}
	p, got = mtu(p, flat(10), pnodes[1])
	if got != 1450 || !strings.Contains(p.Forecast().String(), "as before") {
		t.Errorf("on one of them, MTU %d, forecast\n%s", got, p.Forecast())
	}
	if p, got = mtu(p, flat(10), pnodes...); got != 1350 {
		t.Errorf("with a narrow one, MTU %d", got)
	}
	given := flat(10)
	given.Networks[0].MTUGiven, given.Networks[0].MTU = true, 1300
	if p, got = mtu(p, given, pnodes...); got != 1300 || len(p.Forecast().Notes) != 0 {
		t.Errorf("asked for 1300, it is %d: %q", got, p.Forecast().Notes)
	}
	if _, got = mtu(p, flat(10), pnodes[1]); got != 1500 {
		t.Errorf("not asked for any more, and on one pnode, it is %d", got)
	}
}

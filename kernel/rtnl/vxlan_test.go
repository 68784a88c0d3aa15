package rtnl_test

import (
	"errors"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"myriad/kernel/rtnl"
)

// link reads a link back.
func link(t *testing.T, c *rtnl.Conn, index int32) *rtnl.LinkInfo {
	t.Helper()
	l, err := c.Link(index)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// TestVXLAN: links of every kind that is made here read back as what was asked
// for, wherever they are made from.
func TestVXLAN(t *testing.T) {
	underlay, from := namespace(t)
	spine, in := namespace(t)
	do(t, from, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: 2, Name: "up", Kind: rtnl.Veth, Peer: &rtnl.Link{Index: 3, Name: "down"}})
		b.NewAddr(2, netip.MustParsePrefix("192.0.2.1/24"))
		b.SetLink(&rtnl.Link{Index: 2, Up: true})
	})
	if n, err := in.Number(underlay); err != nil || n != rtnl.NoNumber {
		t.Errorf("the underlay has number %d (%v) before anybody asked for it", n, err)
	}
	for i, want := range []rtnl.VXLANLink{
		{Port: 4789, TTL: 64, External: true, VNIFilter: true},
		{Port: 4790, TTL: 64, External: true},
		{Port: 4791, TTL: 9, VNI: 1<<24 - 1, Learning: true, Local: netip.MustParseAddr("192.0.2.1")},
		{Port: 4792, TTL: 64, VNI: 7, Learning: true, Group: netip.MustParseAddr("239.0.0.7"), Device: 2},
	} {
		index := int32(12 + i)
		do(t, from, func(b *rtnl.Batch) {
			b.NewLink(&rtnl.Link{Index: index, Name: "ov" + string('a'+rune(i)), Kind: rtnl.VXLAN, Netns: spine, MTU: 1400, VXLAN: &want})
		})
		do(t, in, func(b *rtnl.Batch) { b.SetLink(&rtnl.Link{Index: index, Up: true}) })
		l := link(t, in, index)
		if l.Kind != rtnl.VXLAN || !l.Up || l.MTU != 1400 || l.VXLAN == nil || *l.VXLAN != want {
			t.Errorf("%+v reads back as %+v, %+v", want, l, l.VXLAN)
		}
		if n, err := in.Number(underlay); err != nil || n == rtnl.NoNumber || n != l.Home {
			t.Errorf("the link says that it is of namespace %d, the underlay is %d (%v)", l.Home, n, err)
		}
	}
}

// TestMoveInto: a link that is moved has the index there that was asked for.
func TestMoveInto(t *testing.T) {
	_, from := namespace(t)
	to, in := namespace(t)
	do(t, from, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: 5, Name: "x", Kind: rtnl.VXLAN, VXLAN: &rtnl.VXLANLink{Port: 4789, External: true}})
		b.SetLink(&rtnl.Link{Index: 5, Name: "ov", Netns: to, Into: 12, Label: "x"})
	})
	if l := link(t, in, 12); l.Name != "ov" || l.Home == rtnl.NoNumber {
		t.Errorf("it is %+v", l)
	}
}

// TestVNI: links share a port by their VNIs; one that another has is refused.
func TestVNI(t *testing.T) {
	_, from := namespace(t)
	read := func(index int32) (all []rtnl.VNI) {
		t.Helper()
		if err := from.Read(&rtnl.Dump{VNILink: index, VNIs: func(v *rtnl.VNI) { all = append(all, *v) }}); err != nil {
			t.Fatal(err)
		}
		return all
	}
	for i, index := range []int32{12, 13} {
		do(t, from, func(b *rtnl.Batch) {
			b.NewLink(&rtnl.Link{Index: index, Name: "ov" + string('a'+rune(i)), Kind: rtnl.VXLAN, Up: true,
				VXLAN: &rtnl.VXLANLink{Port: 4789, External: true, VNIFilter: true}})
		})
	}
	if got := read(12); len(got) != 0 {
		t.Errorf("a new link has VNIs %v", got)
	}
	do(t, from, func(b *rtnl.Batch) {
		b.NewVNI(12, 65792, "ova")
		b.NewVNI(13, 65793, "ovb")
		b.NewVNI(13, 70000, "ovb")
	})
	if a, b := read(12), read(13); !slices.Equal(a, []rtnl.VNI{{12, 65792, 65792}}) || !slices.Equal(b, []rtnl.VNI{{13, 65793, 65793}, {13, 70000, 70000}}) {
		t.Errorf("VNIs are %v and %v", a, b)
	}
	var b rtnl.Batch
	b.NewVNI(13, 65792, "ovb")
	if err := from.Do(&b); !errors.Is(err, unix.EEXIST) {
		t.Errorf("a VNI that another link has: %v", err)
	}
	do(t, from, func(b *rtnl.Batch) { b.DelVNI(rtnl.VNI{Link: 13, First: 70000, Last: 70000}, "ovb") })
	if got := read(13); !slices.Equal(got, []rtnl.VNI{{13, 65793, 65793}}) {
		t.Errorf("after one was removed: %v", got)
	}
}

// TestForward: several ends of tunnels have the zero MAC, and each can go.
func TestForward(t *testing.T) {
	_, c := namespace(t)
	do(t, c, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: 12, Name: "ov", Kind: rtnl.VXLAN, VXLAN: &rtnl.VXLANLink{Port: 4789, VNI: 7, Learning: true}})
	})
	ends := []rtnl.Forward{{Link: 12, To: netip.MustParseAddr("192.0.2.2")}, {Link: 12, To: netip.MustParseAddr("192.0.2.3")},
		{Link: 12, MAC: [6]byte{2, 0, 1, 0, 0, 9}, To: netip.MustParseAddr("192.0.2.2")}}
	read := func() (all []rtnl.Forward) {
		t.Helper()
		err := c.Read(&rtnl.Dump{ForwardLink: 12, Forwards: func(f *rtnl.ForwardInfo) {
			if !f.Static {
				t.Errorf("%+v is not static", f)
			}
			all = append(all, f.Forward)
		}})
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(all, func(a, b rtnl.Forward) int { return slices.Index(ends, a) - slices.Index(ends, b) })
		return all
	}
	do(t, c, func(b *rtnl.Batch) {
		for _, f := range ends {
			b.NewForward(f)
		}
	})
	if got := read(); !slices.Equal(got, ends) {
		t.Errorf("entries are %v", got)
	}
	do(t, c, func(b *rtnl.Batch) { b.DelForward(ends[0]) })
	if got := read(); !slices.Equal(got, ends[1:]) {
		t.Errorf("after one was removed: %v", got)
	}
}

// TestWayTo: the way to an address is told with its link and size, and a guard
// refuses what no other route takes.
func TestWayTo(t *testing.T) {
	_, c := namespace(t)
	own, far := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("240.16.0.9")
	do(t, c, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: 2, Name: "up", Kind: rtnl.Veth, Peer: &rtnl.Link{Index: 3, Name: "down"}})
		b.SetLink(&rtnl.Link{Index: 2, Up: true})
		b.NewAddr(2, netip.MustParsePrefix("192.0.2.1/24"))
		b.NewRoute(rtnl.Route{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("192.0.2.9")})
	})
	for _, from := range []netip.Addr{own, {}} {
		if w, err := c.WayTo(far, from); err != nil || w != (rtnl.Way{Link: 2, From: own}) && w != (rtnl.Way{Link: 2}) {
			t.Errorf("from %s: %+v, %v", from, w, err)
		}
	}
	g := rtnl.Guard{To: netip.MustParsePrefix("240.16.0.0/12"), Metric: 1 << 30}
	do(t, c, func(b *rtnl.Batch) { b.NewGuard(g) })
	if _, err := c.WayTo(far, own); !errors.Is(err, unix.EHOSTUNREACH) {
		t.Errorf("with a guard: %v", err)
	}
	do(t, c, func(b *rtnl.Batch) {
		b.NewAddr(3, netip.MustParsePrefix("240.16.0.1/12"))
		b.SetLink(&rtnl.Link{Index: 3, Up: true})
	})
	if w, err := c.WayTo(far, netip.Addr{}); err != nil || w.Link != 3 {
		t.Errorf("with a guard and a better route: %+v, %v", w, err)
	}
	var all []rtnl.Guard
	if err := c.Read(&rtnl.Dump{Guards: func(g *rtnl.Guard) { all = append(all, *g) }}); err != nil || !slices.Equal(all, []rtnl.Guard{g}) {
		t.Errorf("guards are %v, %v", all, err)
	}
	do(t, c, func(b *rtnl.Batch) { b.DelGuard(g) })
	if _, err := c.WayTo(netip.MustParseAddr("240.32.0.1"), own); err != nil {
		t.Errorf("without the guard: %v", err)
	}
}

package program

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// overlays draws valid overlays of a few pnodes, of which pnode 0 is one.
func overlays() *rapid.Generator[*Overlay] {
	return rapid.Custom(func(t *rapid.T) *Overlay {
		o := &Overlay{
			Kind: rapid.SampledFrom([]OverlayKind{OverlayUnicast, OverlayMulticast}).Draw(t, "kind"),
			VNI:  256 * rapid.Uint32Range(1, 1<<15).Draw(t, "VNI"), Port: rapid.Uint16Range(1, 1<<16-1).Draw(t, "port"), Plain: rapid.Bool().Draw(t, "plain"),
		}
		for i := range rapid.IntRange(1, 5).Draw(t, "pnodes") {
			if i > 0 && rapid.IntRange(0, 4).Draw(t, "free") == 0 {
				o.Underlay = append(o.Underlay, Underlay{})
				continue
			}
			a := netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})
			u := Underlay{Pnode: fmt.Sprintf("p%d", i), Addr: a, MTU: rapid.SampledFrom([]uint16{0, 1500}).Draw(t, "MTU"), Site: rapid.Uint16Range(0, 2).Draw(t, "site")}
			if rapid.Bool().Draw(t, "encrypted") {
				u.Key[0], u.Gate, u.Addr = byte(i+1), netip.AddrPortFrom(a, WireGuardPort), InsideAddr(o.VNI, uint32(i))
			}
			o.Underlay = append(o.Underlay, u)
		}
		return o
	})
}

// pieces draws what pnodes share, and what is the own of one.
func pieces() *rapid.Generator[Shared] {
	return rapid.Custom(func(t *rapid.T) Shared {
		p := programs().Draw(t, "program")
		s := Shared{Platform: p.Platform, Fabric: p.Fabric, Networks: p.Networks, Names: p.Names, Places: p.Remote}
		if rapid.Bool().Draw(t, "overlay") {
			s.Overlay = overlays().Draw(t, "overlay")
			s.Sites = 3
			if rapid.Bool().Draw(t, "ways") {
				for range 9 {
					s.Ways = append(s.Ways, time.Duration(rapid.IntRange(0, 1000).Draw(t, "way")))
				}
			}
		}
		for h := range rapid.Uint32Range(0, 2).Draw(t, "MACs") {
			s.MACs = append(s.MACs, GivenMAC{1, 3000 + h, MAC{6, 1, 1, 1, 1, byte(h)}})
		}
		return s
	})
}

// Both parts of a program are read back as they were written, and what they
// give is what the whole would be.
func TestParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := programs().Draw(t, "program")
		want := pieces().Draw(t, "shared")
		data := EncodeShared(&want)
		s, err := DecodeShared(data)
		if err != nil || !reflect.DeepEqual(*s, want) || !bytes.Equal(EncodeShared(s), data) {
			t.Fatalf("shared is read back as (%v)\n%+v\nwant\n%+v", err, s, want)
		}
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		o := &Own{Pnode: "p0", Racks: p.Racks}
		again, err := DecodeOwn(EncodeOwn(o))
		if err != nil || !reflect.DeepEqual(again, o) {
			t.Fatalf("own is read back as (%v)\n%+v\nwant\n%+v", err, again, o)
		}
		fit, err := Fit(s, again)
		joined := Join(s, again)
		if whole := joined.Validate(); (err == nil) != (whole == nil) {
			t.Fatalf("Fit says %v, the whole is %v\n%s", err, whole, joined)
		}
		if err != nil {
			return // the racks are of another program
		}
		if !reflect.DeepEqual(fit, joined) {
			t.Fatal("Fit and Join differ")
		}
		back, err := Decode(fit.Encode())
		if err != nil || !reflect.DeepEqual(back, fit) || back.String() != fit.String() {
			t.Fatalf("the whole is read back as (%v)\n%s\nwant\n%s", err, back, fit)
		}
	})
}

// What is wrong with either part is found: by Validate or Fit, as by the
// whole's Validate.
func TestPartsRefuse(t *testing.T) {
	addr := netip.MustParseAddr
	for _, test := range []struct {
		name  string
		spoil func(s *Shared, o *Own)
		want  string
	}{
		{"nothing", func(*Shared, *Own) {}, ""},
		{"platform", func(s *Shared, o *Own) { s.Platform = "" }, "platform"},
		{"network", func(s *Shared, o *Own) { s.Networks[1].ID = 1 }, "not in order"},
		{"names", func(s *Shared, o *Own) { s.Names[0].Count = 0 }, "no range"},
		{"places", func(s *Shared, o *Own) { s.Places[1].Host = 1 }, "not in order"},
		{"place in no network", func(s *Shared, o *Own) { s.Places[1].Network = 9 }, "no network 9"},
		{"place on no pnode", func(s *Shared, o *Own) { s.Places[1].Pnode = MaxPnodes }, "no pnode"},
		{"vnode elsewhere", func(s *Shared, o *Own) { s.Places[0].Pnode = 1 }, "here as well"},
		{"links", func(s *Shared, o *Own) { s.Links = &Links{Classes: 3} }, "matrix"},
		{"kind", func(s *Shared, o *Own) { s.Overlay.Kind = 2 }, "kind 2"},
		{"VNI", func(s *Shared, o *Own) { s.Overlay.VNI = MaxVNI }, "VNI"},
		{"no VNI", func(s *Shared, o *Own) { s.Overlay.VNI = 0 }, "VNI"},
		{"port", func(s *Shared, o *Own) { s.Overlay.Port = 0 }, "port"},
		{"address twice", func(s *Shared, o *Own) { s.Overlay.Underlay[1].Addr = s.Overlay.Underlay[0].Addr }, "where another is"},
		{"address of IPv6", func(s *Shared, o *Own) { s.Overlay.Underlay[1].Addr = addr("fe80::1") }, "nobody can be"},
		{"pnode's name", func(s *Shared, o *Own) { s.Overlay.Underlay[1].Pnode = "a/b" }, "is called"},
		{"pnode without name", func(s *Shared, o *Own) { s.Overlay.Underlay[1].Pnode = "" }, "is called"},
		{"gate without key", func(s *Shared, o *Own) {
			s.Overlay.Underlay[1].Gate = netip.AddrPortFrom(addr("10.0.0.9"), 51820)
		}, "WireGuard"},
		{"site", func(s *Shared, o *Own) { s.Overlay.Underlay[1].Site = 7 }, "site 7 of 2"},
		{"ways", func(s *Shared, o *Own) { s.Ways = s.Ways[:3] }, "3 ways"},
		{"sites", func(s *Shared, o *Own) { s.Ways, s.Sites = nil, MaxSites+1 }, "between 1025 sites"},
		{"a way back in time", func(s *Shared, o *Own) { s.Ways[1] = -1 }, "takes -1ns"},
		{"number", func(s *Shared, o *Own) { o.Number = 2 }, "pnode 2 of 2"},
		{"great number", func(s *Shared, o *Own) { o.Number = 1<<32 - 1 }, "pnode 4294967295 of 2"},
		{"pnode", func(s *Shared, o *Own) { o.Pnode = "" }, "not a name"},
		{"rack order", func(s *Shared, o *Own) { o.Racks = append(o.Racks, o.Racks[0]) }, "not in order"},
		{"network of a viface", func(s *Shared, o *Own) { o.Racks[0].Vifaces[0].Network = 9 }, "where there is none"},
		{"vnode twice", func(s *Shared, o *Own) { o.Racks[0].Vnodes[0].Name = "peer2" }, "two vnodes"},
		{"MAC of many", func(s *Shared, o *Own) { s.MACs = []GivenMAC{{1, 5, MAC{1}}} }, "cannot have"},
		{"MAC twice", func(s *Shared, o *Own) { s.MACs = []GivenMAC{{1, 5, MAC{6}}, {1, 6, MAC{6}}} }, "cannot have"},
		{"MAC that is computed", func(s *Shared, o *Own) { s.MACs = []GivenMAC{{1, 5, MACOf(2, 3)}} }, "cannot have"},
		{"MAC order", func(s *Shared, o *Own) { s.MACs = []GivenMAC{{1, 5, MAC{6}}, {1, 5, MAC{8}}} }, "not in order"},
	} {
		s, o := farm(2, 3)
		test.spoil(s, o[0])
		_, err := Fit(s, o[0])
		if sharedErr := s.Validate(); sharedErr != nil {
			err = sharedErr
		}
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one that says %q", test.name, err, test.want)
		}
		back, err := DecodeShared(EncodeShared(s))
		if test.name == "address of IPv6" {
			continue // there is no way to write it
		}
		if err != nil || back.Validate() == nil != (s.Validate() == nil) {
			t.Errorf("%s: encoded and decoded (%v), it is %v, was %v", test.name, err, back.Validate(), s.Validate())
		}
	}
}

// farm is a platform of n pnodes with some vnodes each, in a network of all and
// one that has nobody.
func farm(pnodes, vnodes int) (*Shared, []*Own) {
	lan := Network{ID: 1, Name: "lan", Subnet: netip.MustParsePrefix("10.0.0.0/8"), MTU: 1450}
	s := &Shared{Platform: "farm", Networks: []Network{lan, {ID: 2, Name: "wan", Subnet: netip.MustParsePrefix("172.16.0.0/12"), MTU: 1450}},
		Names:   []NameRange{{Prefix: "peer", First: 1, Count: uint32(pnodes * vnodes), Addr: lan.Addr(1)}},
		Overlay: &Overlay{VNI: 1 << 16, Port: VXLANPort}, Sites: 2, Ways: make([]time.Duration, 4)}
	own := make([]*Own, pnodes)
	for i := range own {
		u := Underlay{Pnode: fmt.Sprintf("p%d", i), Addr: addr4(192<<24 + uint32(i) + 1), MTU: 1500, Site: uint16(i % 2)}
		s.Overlay.Underlay = append(s.Overlay.Underlay, u)
		own[i] = &Own{Pnode: u.Pnode, Number: uint32(i)}
		first := uint32(i*vnodes) + 1
		s.Places = append(s.Places, PlaceRange{Network: 1, Host: first, Count: uint32(vnodes), Pnode: uint32(i)})
		r := Rack{}
		for slot := range vnodes {
			r.Vnodes = append(r.Vnodes, Vnode{Slot: uint16(slot), Name: fmt.Sprintf("peer%d", first+uint32(slot))})
			r.Vifaces = append(r.Vifaces, Viface{Slot: uint16(slot), Name: "eth0", Network: 1, Host: first + uint32(slot)})
		}
		own[i].Racks = []Rack{r}
	}
	return s, own
}

// A pnode's program says who is elsewhere, and only what has to do with it.
func TestElsewhere(t *testing.T) {
	s, own := farm(3, 2)
	s.Ways = []time.Duration{1, 2, 3, 4}
	p := Join(s, own[1])
	var got []uint32
	for i := range p.Remote {
		if p.Elsewhere(&p.Remote[i]) {
			got = append(got, p.Remote[i].Host)
		}
	}
	if !slices.Equal(got, []uint32{1, 5}) || len(p.Networks) != 1 || !slices.Equal(p.Ways, []time.Duration{3, 0, 3}) {
		t.Errorf("elsewhere are %d, networks are %v, ways %v", got, p.Networks, p.Ways)
	}
	// Changes that are no business of it change nothing.
	other := *s
	other.Places = append(slices.Clone(s.Places), PlaceRange{Network: 2, Host: 1, Count: 9, Pnode: 2})
	if d := DiffPrograms(p, Join(&other, own[1])); !d.Empty() {
		t.Errorf("a network that it is not in changes: %+v", d)
	}
	other.Places = slices.Clone(s.Places)
	other.Places[0].Pnode = 2
	if d := DiffPrograms(p, Join(&other, own[1])); !d.Remote {
		t.Errorf("vnodes move elsewhere, and nothing changes: %+v", d)
	}
	other.Places[0].Pnode = 0
	other.Places = other.Places[:2]
	if d := DiffPrograms(p, Join(&other, own[1])); !d.Remote {
		t.Errorf("vnodes go, and nothing changes: %+v", d)
	}
	other = *s
	other.MACs = []GivenMAC{{1, 1, MAC{6}}}
	if d := DiffPrograms(p, Join(&other, own[1])); !d.Remote {
		t.Errorf("a vnode elsewhere has another MAC, and nothing changes: %+v", d)
	}
}

// Join asks for nothing that is not there: no overlay, sites that are none,
// numbers of nobody.
func TestJoinOfNonsense(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := pieces().Draw(t, "shared")
		s.Sites = rapid.Uint16().Draw(t, "sites")
		s.Ways = make([]time.Duration, rapid.IntRange(0, 20).Draw(t, "ways"))
		if s.Overlay != nil {
			for i := range s.Overlay.Underlay {
				s.Overlay.Underlay[i].Site = rapid.Uint16().Draw(t, "site")
			}
			if rapid.Bool().Draw(t, "none") {
				s.Overlay = nil
			}
		}
		slices.Reverse(s.Networks)
		o := &Own{Pnode: "p", Number: rapid.Uint32().Draw(t, "number"), Racks: programs().Draw(t, "program").Racks}
		p := Join(&s, o)
		_ = p.Validate()
		_ = p.String()
		_, _ = Fit(&s, o)
		_, _, _ = s.Overlay.Ends(o.Number, rapid.Uint32().Draw(t, "to"))
	})
}

func TestEnds(t *testing.T) {
	a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	plain, other := Underlay{Pnode: "a", Addr: a}, Underlay{Pnode: "b", Addr: b}
	sealed := Underlay{Pnode: "b", Addr: InsideAddr(1<<16, 1), Gate: netip.AddrPortFrom(b, 51820), Key: [32]byte{1}}
	gated := Underlay{Pnode: "a", Addr: InsideAddr(1<<16, 0), Gate: netip.AddrPortFrom(a, 51820), Key: [32]byte{2}}
	far := sealed
	far.Site = 1
	for _, test := range []struct {
		name          string
		rows          []Underlay
		plain         bool
		local, remote netip.Addr
		encrypted     bool
	}{
		{"unencrypted", []Underlay{plain, other}, false, a, b, false},
		{"encrypted", []Underlay{gated, sealed}, false, gated.Addr, sealed.Addr, true},
		{"at one site", []Underlay{gated, sealed}, true, a, b, false},
		{"between sites", []Underlay{gated, far}, true, gated.Addr, far.Addr, true},
		{"one without key", []Underlay{plain, sealed}, false, a, b, false},
		{"nobody", []Underlay{plain, {}}, false, netip.Addr{}, netip.Addr{}, false},
		{"out of range", []Underlay{plain}, false, netip.Addr{}, netip.Addr{}, false},
	} {
		o := &Overlay{Underlay: test.rows, Plain: test.plain}
		if local, remote, encrypted := o.Ends(0, 1); local != test.local || remote != test.remote || encrypted != test.encrypted {
			t.Errorf("%s: %s %s %t", test.name, local, remote, encrypted)
		}
	}
	if a, b := InsideAddr(0xffff00, MaxPnodes-1), InsideAddr(0x5ff00, 0); a != netip.MustParseAddr("255.255.255.254") || b != netip.MustParseAddr("255.240.0.0") {
		t.Errorf("%s and %s", a, b)
	}
}

// TestPartsGolden pins the encoding: whoever changes it must count Version up
// and put the new bytes here.
func TestPartsGolden(t *testing.T) {
	s, own := farm(2, 1)
	s.Ways = []time.Duration{0, 1000, 2000, 0}
	s.MACs = []GivenMAC{{1, 2, MAC{6, 0, 0, 0, 0, 1}}}
	s.Overlay.Underlay[0].Key, s.Overlay.Underlay[0].Gate = [32]byte{7}, netip.MustParseAddrPort("192.0.2.1:51820")
	s.Overlay.Plain = true
	for _, test := range []struct {
		data []byte
		want string
	}{
		{EncodeShared(s), "048a646661726d00828601636c616e1a0a000000081905aaf486026377616e1aac1000000c1905aaf48187647065657260010002f41a0a00000184820101820102820101820001f68b001a000100001912b582627030627031821ac00000011ac0000002821905dc1905dc82000158400" +
			"7" + strings.Repeat("0", 126) + "821ac0000201008219ca6c00f50284001903e81907d000838101810246060000000001"},
		{EncodeOwn(own[1]), "04836270310181860081006570656572324100888100810081646574683081008101810240408480804080"},
	} {
		if got := hex.EncodeToString(test.data); got != test.want {
			t.Errorf("encoding is now\n%s\nwant\n%s", got, test.want)
		}
	}
}

func TestOverlayText(t *testing.T) {
	s, own := farm(3, 1)
	s.Ways = []time.Duration{0, time.Millisecond, 0, 0}
	for i := range s.Overlay.Underlay {
		u := &s.Overlay.Underlay[i]
		u.Gate, u.Key = netip.AddrPortFrom(u.Addr, 51820), [32]byte{0xab, byte(i)}
		u.Addr = InsideAddr(s.Overlay.VNI, uint32(i))
	}
	s.Overlay.Plain = true
	s.MACs = []GivenMAC{{1, 2, MAC{6, 0, 0, 0, 0, 1}}, {2, 2, MAC{6, 0, 0, 0, 0, 2}}}
	const want = `platform farm on p0, fabric ebpf
network 1 lan 10.0.0.0/8 mtu 1450
rack 0
  0 peer1 netns
    0 eth0 lan 10.0.0.1/8 02:00:01:00:00:01 macvlan
name peer[1-3] 10.0.0.1 - 10.0.0.3
remote lan 10.0.0.2 - 10.0.0.2 on pnode 1
remote lan 10.0.0.3 - 10.0.0.3 on pnode 2
address lan 10.0.0.2 06:00:00:00:00:01
overlay unicast VNI 65536 port 4789, pnode 0
  pnode 0 p0 240.0.0.0 mtu 1500 site 0 wireguard 192.0.0.1:51820 key ab000000
  pnode 1 p1 240.0.0.1 mtu 1500 site 1 wireguard 192.0.0.2:51820 key ab010000 encrypted takes 1ms
  pnode 2 p2 240.0.0.2 mtu 1500 site 0 wireguard 192.0.0.3:51820 key ab020000
`
	if got := Join(s, own[0]).String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// FuzzParts: whatever comes by the bus, nothing panics, and what passes is
// sound.
func FuzzParts(f *testing.F) {
	s, own := farm(3, 2)
	f.Add(EncodeShared(s), EncodeOwn(own[1]))
	s.MACs, s.Overlay = []GivenMAC{{1, 2, MAC{6}}}, nil
	f.Add(EncodeShared(s), EncodeOwn(own[0]))
	f.Fuzz(func(t *testing.T, shared, own []byte) {
		s, err := DecodeShared(shared)
		if err != nil {
			return
		}
		o, err := DecodeOwn(own)
		if err != nil {
			return
		}
		p := Join(s, o)
		_ = p.Validate()
		if s.Validate() != nil {
			return
		}
		if p, err = Fit(s, o); err != nil {
			return
		}
		if err := p.Validate(); err != nil {
			t.Fatalf("both parts pass, and the whole does not: %v\n%s", err, p)
		}
	})
}

// BenchmarkJoin joins the own part of every one of 4,000 pnodes with what they
// share, and checks it.
func BenchmarkJoin(b *testing.B) {
	s, own := farm(4000, 250)
	s.Ways = nil
	if err := s.Validate(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, o := range own {
			if _, err := Fit(s, o); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N)/4000*1e6, "us/pnode")
}

func BenchmarkValidateShared(b *testing.B) {
	s, _ := farm(4000, 250)
	for b.Loop() {
		if err := s.Validate(); err != nil {
			b.Fatal(err)
		}
	}
}

package program

import (
	"net/netip"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	if err := large(1001).Validate(); err != nil {
		t.Fatal(err)
	}
	route := Route{Slot: 1, To: netip.MustParsePrefix("192.168.9.0/24"), Via: netip.MustParseAddr("10.0.0.1")}
	for _, test := range []struct {
		name  string
		spoil func(p *Program)
		want  string
	}{
		{"platform", func(p *Program) { p.Platform = "../etc" }, "platform"},
		{"pnode", func(p *Program) { p.Pnode = "a b" }, "pnode"},
		{"fabric", func(p *Program) { p.Fabric = 9 }, "fabric 9"},
		{"network order", func(p *Program) { p.Networks[1].ID = 1 }, "not in order"},
		{"network ID", func(p *Program) { p.Networks[0].ID = 0 }, "IDs begin with 1"},
		{"network name", func(p *Program) { p.Networks[1].Name = "lan" }, "unique"},
		{"subnet", func(p *Program) { p.Networks[0].Subnet = netip.MustParsePrefix("10.0.0.1/8") }, "not an IPv4 prefix"},
		{"subnet of IPv6", func(p *Program) { p.Networks[0].Subnet = netip.MustParsePrefix("fd00::/20") }, "not an IPv4 prefix"},
		{"mtu", func(p *Program) { p.Networks[0].MTU = 1 }, "MTU"},
		{"rack order", func(p *Program) { p.Racks = append(p.Racks, p.Racks[0]) }, "not in order"},
		{"slot order", func(p *Program) { p.Racks[0].Vnodes[0].Slot = 5 }, "not in order"},
		{"slot", func(p *Program) { p.Racks[0].Vnodes[2].Slot = RackVnodes }, "the last is 999"},
		{"name twice", func(p *Program) { p.Racks[0].Vnodes[1].Name = "peer1" }, "two vnodes are called peer1"},
		{"name with a line", func(p *Program) { p.Racks[0].Vnodes[1].Name = "a\nb" }, "cannot name a vnode"},
		{"name too long", func(p *Program) { p.Racks[0].Vnodes[1].Name = strings.Repeat("x", 65) }, "cannot name a vnode"},
		{"weight", func(p *Program) { p.Racks[0].Vnodes[1].Weight = 7 }, "weight 7"},
		{"viface of nobody", func(p *Program) { p.Racks[0].Vifaces[5].Slot = 77 }, "belong to no vnode"},
		{"viface order", func(p *Program) { p.Racks[0].Vifaces[0].Index = 1 }, "not in order"},
		{"viface name", func(p *Program) { p.Racks[0].Vifaces[0].Name = "lo" }, "cannot name"},
		{"viface name twice", func(p *Program) { p.Racks[0].Vifaces[1].Name = "eth0" }, "cannot name"},
		{"viface name too long", func(p *Program) { p.Racks[0].Vifaces[1].Name = "ethernetdevice16" }, "cannot name"},
		{"unknown network", func(p *Program) { p.Racks[0].Vifaces[0].Network = 9 }, "where there is none"},
		{"network address", func(p *Program) { p.Racks[0].Vifaces[0].Host = 0 }, "where there is none"},
		{"broadcast address", func(p *Program) { p.Racks[0].Vifaces[1].Host = 1<<20 - 1 }, "where there is none"},
		{"host twice", func(p *Program) { p.Racks[0].Vifaces[0].Host = 2 }, "given twice"},
		{"attach", func(p *Program) { p.Racks[0].Vifaces[0].Attach = 3 }, "attachment 3"},
		{"multicast MAC", func(p *Program) { p.Racks[0].Vifaces[0].MAC = MAC{1} }, "multicast"},
		{"computed MAC of another", func(p *Program) { p.Racks[0].Vifaces[0].MAC = MACOf(2, 900) }, "computed address of another"},
		{"MAC twice", func(p *Program) { p.Racks[0].Vifaces[0].MAC, p.Racks[0].Vifaces[2].MAC = MAC{6}, MAC{6} }, "also another's"},
		{"route of nobody", func(p *Program) { p.Racks[0].Routes[5].Slot = 77 }, "belong to no vnode"},
		{"route twice", func(p *Program) { p.Racks[0].Routes[1].To = p.Racks[0].Routes[0].To }, "not in order"},
		{"route into own network", func(p *Program) { p.Racks[0].Routes[0].To = p.Networks[0].Subnet }, "in which it is itself"},
		{"route via nowhere", func(p *Program) { p.Racks[0].Routes[0].Via = netip.Addr{} }, "next hop"},
		{"route order", func(p *Program) { p.Racks[0].Routes = append(p.Racks[0].Routes, route) }, "not in order"},
		{"no names", func(p *Program) { p.Names[0].Count = 0 }, "no range"},
		{"names with a space", func(p *Program) { p.Names[0].Suffix = " x" }, "no names"},
		{"names too wide", func(p *Program) { p.Names[0].Width = 62 }, "no names"},
		{"names without address", func(p *Program) { p.Names[0].Addr = netip.Addr{} }, "no addresses"},
		{"names beyond IPv4", func(p *Program) { p.Names[0].Addr = netip.MustParseAddr("255.255.255.255") }, "no addresses"},
		{"remote of no network", func(p *Program) { p.Remote = []PlaceRange{{Host: 1, Count: 1}} }, "remote"},
		{"remote without end", func(p *Program) { p.Remote = []PlaceRange{{Network: 9, Host: 9, Count: 1<<32 - 1}} }, "remote"},
		{"remote on no pnode", func(p *Program) { p.Remote = []PlaceRange{{Network: 1, Host: 9, Count: 1, Pnode: MaxPnodes}} }, "no pnode"},
		{"remote is here", func(p *Program) { p.Remote = []PlaceRange{{Network: 1, Host: 3, Count: 9, Pnode: 1}} }, "here as well"},
		{"remote twice", func(p *Program) {
			p.Remote = []PlaceRange{{Network: 1, Host: 20, Count: 9}, {Network: 1, Host: 28, Count: 9}}
		}, "not in order"},
		{"remote beyond the subnet", func(p *Program) { p.Remote = []PlaceRange{{Network: 2, Host: 20, Count: 1 << 20}} }, "remote"},
	} {
		p := large(3)
		test.spoil(p)
		err := p.Validate()
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want one that says %q", test.name, err, test.want)
		}
		if _, err := Decode(p.Encode()); err == nil {
			t.Errorf("%s: it decodes", test.name)
		}
	}
}

func TestValidateListsAll(t *testing.T) {
	p := large(100)
	for i := range p.Racks[0].Vifaces {
		p.Racks[0].Vifaces[i].Network = 9
	}
	if n := strings.Count(p.Validate().Error(), "\n") + 1; n != maxProblems {
		t.Errorf("%d problems listed, want %d", n, maxProblems)
	}
}

func TestHostOf(t *testing.T) {
	n := Network{Subnet: netip.MustParsePrefix("10.128.0.0/9")}
	for _, h := range []uint32{1, 255, 256, 1<<23 - 2} {
		if got := n.HostOf(n.Addr(h)); got != h {
			t.Errorf("host %d has %s, which is host %d", h, n.Addr(h), got)
		}
	}
}

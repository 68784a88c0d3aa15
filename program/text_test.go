package program

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
)

func TestText(t *testing.T) {
	p := large(2)
	p.Racks[0].Vnodes[0].Forward = true
	p.Racks[0].Vifaces[3].MAC = MAC{6, 0, 0, 0, 0, 1}
	p.Remote = []PlaceRange{{Network: 1, Host: 3, Count: 4, Pnode: 1}}
	p.Names = append(p.Names, NameRange{Prefix: "alone", Count: 1, Literal: true, Addr: netip.MustParseAddr("10.0.0.9")})
	const want = `platform large on p1, fabric ebpf
network 1 lan 10.0.0.0/8 mtu 1500
network 2 wan 172.16.0.0/12 mtu 1500
rack 0
  0 peer1 netns forward
    0 eth0 lan 10.0.0.1/8 02:00:01:00:00:01 macvlan
    1 eth1 wan 172.16.0.1/12 02:00:02:00:00:01 macvlan
    192.168.0.0/24 via 10.0.0.1
    192.168.1.0/24 via 172.16.0.1
  1 peer2 netns
    0 eth0 lan 10.0.0.2/8 02:00:01:00:00:02 macvlan
    1 eth1 wan 172.16.0.2/12 06:00:00:00:00:01 macvlan
    192.168.0.0/24 via 10.0.0.1
    192.168.1.0/24 via 172.16.0.1
name peer[1-2] 10.0.0.1 - 10.0.0.2
name peer[1-2] 172.16.0.1 - 172.16.0.2
name alone 10.0.0.9
remote lan 10.0.0.3 - 10.0.0.6 on pnode 1
`
	if got := p.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWriteHosts(t *testing.T) {
	p := &Program{Names: []NameRange{
		{Prefix: "n", Suffix: "-ib", First: 9, Width: 2, Count: 2, Addr: netip.MustParseAddr("10.0.0.255")},
		{Prefix: "alone", Count: 1, Literal: true, Addr: netip.MustParseAddr("10.1.0.1")},
	}}
	const want = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n" +
		"10.0.0.255\tn09-ib\n10.0.1.0\tn10-ib\n10.1.0.1\talone\n"
	var b strings.Builder
	if err := WriteHosts(&b, p); err != nil || b.String() != want {
		t.Errorf("%v\n%s\nwant\n%s", err, b.String(), want)
	}
	if err := WriteHosts(limited{10}, p); err == nil {
		t.Error("a full disk goes unnoticed")
	}
}

func TestWriteHostsAllocatesNothing(t *testing.T) {
	p := large(1000)
	if n := testing.AllocsPerRun(3, func() { _ = WriteHosts(limited{1 << 20}, p) }); n > 5 {
		t.Errorf("%v allocations for 2,000 lines, want at most 5", n)
	}
}

// TestJSON: what "plan --show -o json" prints speaks the language of the file.
func TestJSON(t *testing.T) {
	got, err := json.Marshal(struct {
		Fabric Fabric
		Weight Weight
		Viface Viface
	}{FabricBridge, WeightLight, Viface{Name: "eth0", Attach: AttachVeth, MAC: MACOf(1, 42)}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Fabric":"bridge","Weight":"light","Viface":{"Slot":0,"Index":0,"Name":"eth0","Network":0,"Host":0,"MAC":"02:00:01:00:00:2a","Attach":"veth"}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// lab is a small sound topology for tests to spoil.
func lab() *topo.Topology {
	lan := []topo.Viface{{Name: "eth0", Network: 0}}
	return &topo.Topology{
		Name: "lab",
		Networks: []topo.Network{
			{Name: "lan", Subnet: netip.MustParsePrefix("10.0.0.0/29"), MTU: 1500},
			{Name: "wan", Subnet: netip.MustParsePrefix("10.0.1.0/24"), MTU: 1500},
		},
		Vnodes: []topo.Template{
			{Nodes: nodeset.Of("a1", "a2", "a3"), Vifaces: lan},
			{Nodes: nodeset.Of("gw"), Gateway: true, Vifaces: []topo.Viface{{Name: "eth0", Network: 0}, {Name: "eth1", Network: 1}}},
			{Nodes: nodeset.Of("w1"), Vifaces: []topo.Viface{{Name: "eth0", Network: 1}}},
		},
		Groups: map[string]*nodeset.Set{"left": nodeset.Of("a1", "a2")},
	}
}

func TestRefuses(t *testing.T) {
	one := []Pnode{{Name: "p1"}}
	address := netip.MustParseAddr
	for _, test := range []struct {
		name   string
		spoil  func(t *topo.Topology)
		pnodes []Pnode
		o      Options
		want   []string
	}{
		{"no pnode", func(*topo.Topology) {}, nil, Options{}, []string{"no pnode is there (start an agent"}},
		{"pnode twice", func(*topo.Topology) {}, []Pnode{{Name: "p"}, {Name: "p"}}, Options{}, []string{`two are called "p"`}},
		{"large racks", func(*topo.Topology) {}, one, Options{RackVnodes: 1001}, []string{"1001 vnodes in a rack (a rack holds 1 to 1000)"}},
		{"too many vnodes", func(t *topo.Topology) { t.Vnodes[0].Nodes = mustParse("n[1-20000000]") }, one, Options{}, []string{"more than 16777214"}},
		{"vnode twice", func(t *topo.Topology) { t.Vnodes[2].Nodes = nodeset.Of("a2") }, one, Options{}, []string{"two are called a2"}},
		{"subnet too small, several times", func(t *topo.Topology) {
			t.Vnodes[0].Nodes = mustParse("a[1-9]")
			t.Vnodes[2].Nodes = mustParse("w[1-500]")
		}, one, Options{}, []string{
			"address 10 vifaces in vnetwork lan: 10.0.0.0/29 has no address for 4 of them (use a subnet of /28, such as 10.0.0.0/28)",
			"address 501 vifaces in vnetwork wan: 10.0.1.0/24 has no address for 247 of them (use a subnet of /23, such as 10.0.0.0/23)",
		}},
		{"fixed address elsewhere", func(t *topo.Topology) { t.Vnodes[2].Vifaces[0].Address = address("10.9.0.1") }, one, Options{}, []string{"give 10.9.0.1 to w1: it is no host of vnetwork wan"}},
		{"broadcast address", func(t *topo.Topology) { t.Vnodes[2].Vifaces[0].Address = address("10.0.1.255") }, one, Options{}, []string{"it is no host of vnetwork wan"}},
		{"fixed address twice", func(t *topo.Topology) {
			t.Vnodes[1].Vifaces[1].Address, t.Vnodes[2].Vifaces[0].Address = address("10.0.1.7"), address("10.0.1.7")
		}, one, Options{}, []string{"give 10.0.1.7 to w1: gw has it"}},
		{"MACs", func(t *topo.Topology) {
			t.Vnodes[1].Vifaces[0].MAC, t.Vnodes[1].Vifaces[1].MAC = program.MAC{6}, program.MAC{6}
			t.Vnodes[2].Vifaces[0].MAC = program.MACOf(1, 3)
		}, one, Options{}, []string{"gw has it", "MACs from 02:00:01 on are computed"}},
		{"multicast MAC", func(t *topo.Topology) { t.Vnodes[2].Vifaces[0].MAC = program.MAC{7} }, one, Options{}, []string{"multicast"}},
		{"route via nobody", func(t *topo.Topology) {
			t.Routes = []topo.Route{{Nodes: nodeset.Of("a1"), To: netip.MustParsePrefix("10.9.0.0/24"), ViaNode: "x"}}
		}, one, Options{}, []string{"its next hop x is no vnode"}},
		{"route of nobody", func(t *topo.Topology) {
			t.Routes = []topo.Route{{Nodes: nodeset.Of("x"), To: netip.MustParsePrefix("10.9.0.0/24"), ViaNode: "gw"}}
		}, one, Options{}, []string{"route 10.9.0.0/24 from x: it is no vnode"}},
		{"route via elsewhere", func(t *topo.Topology) {
			t.Routes = []topo.Route{{Nodes: nodeset.Of("a1"), To: netip.MustParsePrefix("10.9.0.0/24"), ViaNode: "w1"}}
		}, one, Options{}, []string{"route 10.9.0.0/24 from a1: its next hop is in none of the vnetworks"}},
		{"route home", func(t *topo.Topology) {
			t.Routes = []topo.Route{{Nodes: nodeset.Of("a1"), To: netip.MustParsePrefix("10.0.0.0/29"), ViaNode: "gw"}}
		}, one, Options{}, []string{"it is in vnetwork lan itself"}},
		{"two next hops", func(t *topo.Topology) {
			t.Routes = []topo.Route{{Nodes: nodeset.Of("a1"), To: netip.MustParsePrefix("10.9.0.0/24"), ViaNode: "gw"},
				{Nodes: nodeset.Of("a1"), To: netip.MustParsePrefix("10.9.0.0/24"), Via: address("10.0.0.6")}}
		}, one, Options{}, []string{"both 10.0.0.4 and 10.0.0.6 are its next hop"}},
		{"networks apart", func(t *topo.Topology) { t.Complete, t.Vnodes[1].Gateway = true, false }, one, Options{}, []string{"no chain of gateways joins lan to wan"}},
		{"networks overlap", func(t *topo.Topology) { t.Complete, t.Networks[1].Subnet = true, netip.MustParsePrefix("10.0.0.0/8") }, one, Options{}, []string{"wan (10.0.0.0/8) and lan (10.0.0.0/29) overlap"}},
	} {
		to := lab()
		test.spoil(to)
		p, err := Make(to, test.pnodes, test.o)
		if err == nil {
			t.Errorf("%s: planned\n%s", test.name, programs(p))
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: error %v, want one that says %q", test.name, err, want)
			}
		}
	}
}

func mustParse(expr string) *nodeset.Set {
	set, err := nodeset.Parse(expr, nil)
	if err != nil {
		panic(err)
	}
	return set
}

func TestList(t *testing.T) {
	to := lab()
	to.Complete = true
	p, err := Make(to, []Pnode{{Name: "p1"}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Nodes().String(); got != "a[1-3],gw,w1" || p.Len() != 5 || p.Platform() != "lab" {
		t.Errorf("%d vnodes of %s: %s", p.Len(), p.Platform(), got)
	}
	if got := p.Groups()["left"].String(); got != "a[1-2]" {
		t.Errorf("group left is %s", got)
	}
	if n := p.Networks(); len(n) != 2 || n[0].Name != "lan" || n[0].Vifaces != 4 || n[1].Vifaces != 2 {
		t.Errorf("networks are %+v", n)
	}
	var seen []string
	for v := range p.Vnodes(mustParse("w1,a[1,3],nobody")) {
		seen = append(seen, fmt.Sprint(v.Name, " ", v.Vifaces[0].Address, " ", v.Vifaces[0].MAC, " ", v.Routes))
	}
	want := []string{
		"a1 10.0.0.1/29 02:00:01:00:00:01 [{0 10.0.1.0/24 10.0.0.4}]",
		"a3 10.0.0.3/29 02:00:01:00:00:03 [{2 10.0.1.0/24 10.0.0.4}]",
		"w1 10.0.1.2/24 02:00:02:00:00:02 [{4 10.0.0.0/29 10.0.1.1}]",
	}
	if !slices.Equal(seen, want) {
		t.Errorf("vnodes are\n%s\nwant\n%s", strings.Join(seen, "\n"), strings.Join(want, "\n"))
	}
	if got := p.Unknown(mustParse("w1,nobody")).String(); got != "nobody" {
		t.Errorf("unknown are %s", got)
	}
	if _, ok := p.Find("nobody"); ok {
		t.Error("nobody is found")
	}
	if _, err := p.PnodeNumber("p9"); err == nil {
		t.Error("pnode p9 has a number")
	}
}

// A pnode that goes leaves its number free for the next one.
func TestPnodeNumbers(t *testing.T) {
	p, err := Make(lab(), named("p1", "p2"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	q, err := Make(lab(), []Pnode{{Name: "p2"}}, Options{Previous: p})
	if err != nil {
		t.Fatal(err)
	}
	if q.Program(0) != nil || q.VnodesOn(1) != 5 || q.Program(2) != nil || q.Program(-1) != nil {
		t.Errorf("after p1 is gone, pnodes are %+v", q.Pnodes())
	}
	r, err := Make(lab(), named("p0", "p2"), Options{Previous: q})
	if err != nil {
		t.Fatal(err)
	}
	if n := r.Pnodes(); n[0].Name != "p0" || n[1].Name != "p2" || r.VnodesOn(1) != 5 {
		t.Errorf("with a new one, pnodes are %+v", n)
	}
}

func TestCompareNames(t *testing.T) {
	order := []string{"", "1", "a", "a1", "a01", "a2", "a10", "a1b1", "a1b02", "a2b1", "a1b1c", "a-1", "a-01", "ab", "b1"}
	for i, a := range order {
		for j, b := range order {
			if got, want := sign(compareNames(a, b)), sign(i-j); got != want {
				t.Errorf("%q and %q: %d, want %d", a, b, got, want)
			}
		}
	}
}

func sign(n int) int { return max(-1, min(n, 1)) }

// TestForecast holds the forecast to the figures that were measured.
func TestForecast(t *testing.T) {
	here := Pnode{Name: "here", CPUs: 2, Memory: 24 << 30, Files: 20_000, Namespaces: 96_364, Pids: 32_768}
	p, err := Make(flat(40_000), []Pnode{here}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := p.Forecast()
	if gb := float64(f.Load.KernelMemory) / 1e9; gb < 10.5 || gb > 11.5 {
		t.Errorf("40,000 vnodes take %.1f GB of kernel memory, 10.9 were measured", gb)
	}
	if f.Load.Up < 35*time.Second || f.Load.Up > 84*time.Second {
		t.Errorf("40,000 vnodes take %s, 38 to 84 s were measured", f.Load.Up)
	}
	if l := f.Breaks(); l != nil {
		t.Errorf("40,000 vnodes do not fit: %+v", l)
	}
	if !strings.Contains(f.String(), "processes on here: needs 40480 of 32768, too little for a process in every vnode at once: sysctl kernel.pid_max=4194304") {
		t.Errorf("no word of processes in\n%s", f)
	}
	for _, l := range f.Limits {
		if l.Name == "memory" && (l.Vnodes < 80_000 || l.Vnodes > 95_000) {
			t.Errorf("memory is enough for %d vnodes, want about 90,000", l.Vnodes)
		}
	}

	if p, err = Make(flat(100_000), []Pnode{here}, Options{}); err != nil {
		t.Fatal(err)
	}
	if l := p.Forecast().Breaks(); l == nil || l.Name != "memory" || l.Remedy == "" {
		t.Errorf("100,000 vnodes meet %+v first, want memory", l)
	}
	here.Files = 512
	if p, err = Make(flat(1000), []Pnode{here}, Options{}); err != nil {
		t.Fatal(err)
	}
	if l := p.Forecast().Breaks(); l == nil || l.Name != "RLIMIT_NOFILE" {
		t.Errorf("512 descriptors: %+v breaks first, want RLIMIT_NOFILE", l)
	}
}

// TestLarge is the benchmark's case at a tenth.
func TestLarge(t *testing.T) {
	start := time.Now()
	p := planAll(t, flat(100_000), farm(400))
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("100,000 vnodes on 400 pnodes take %s to plan, want less than a second", took)
	}
	if n := len(p.Encode()); n > 100_000 {
		t.Errorf("100,000 vnodes are stored in %d bytes, want a few per rack", n)
	}
	for name, wantPnode := range map[string]string{"peer1": "pnode1", "peer100000": "pnode400"} {
		at, ok := p.Find(name)
		if !ok || p.Pnodes()[at.Pnode].Name != wantPnode {
			t.Errorf("%s is on %s, want %s", name, p.Pnodes()[at.Pnode].Name, wantPnode)
		}
	}
	if q := p.Program(7); len(q.Names) != 1 || len(q.Remote) != 400 {
		t.Errorf("a program has %d ranges of names and %d of places, want 1 and 400", len(q.Names), len(q.Remote))
	}
}

// On bridges, what breaks first is the number of ports.
func TestForecastBridge(t *testing.T) {
	to := flat(2000)
	to.Fabric = program.FabricBridge
	to.Vnodes[0].Attach = program.AttachVeth
	p, err := Make(to, []Pnode{{Name: "p1", Memory: 64 << 30}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	f := p.Forecast()
	if l := f.Limits[0]; l.Name != "ports of a bridge" || l.Need != 1001 || l.Have != 1023 || f.Breaks() != nil {
		t.Errorf("nearest is %+v, want 1,001 of 1,023 ports of a bridge", l)
	}
	if f.Load.KernelMemory != 2000*memoryVeth {
		t.Errorf("2,000 vnodes take %d bytes, want %d", f.Load.KernelMemory, 2000*memoryVeth)
	}
}

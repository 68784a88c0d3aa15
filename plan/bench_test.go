package plan

import (
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"myriad/nodeset"
	"myriad/topo"
)

var (
	benchVnodes = flag.Int("plan.vnodes", 1_000_000, "vnodes that BenchmarkPlan plans")
	benchPnodes = flag.Int("plan.pnodes", 4_000, "pnodes that it plans for")
)

// flat is a topology of n vnodes in one network.
func flat(n int) *topo.Topology {
	set, err := nodeset.Parse(fmt.Sprintf("peer[1-%d]", n), nil)
	if err != nil {
		panic(err)
	}
	return &topo.Topology{
		Name:     "flat",
		Networks: []topo.Network{{Name: "lan", Subnet: netip.MustParsePrefix("10.0.0.0/8"), MTU: 1500}},
		Vnodes:   []topo.Template{{Nodes: set, Vifaces: []topo.Viface{{Name: "eth0"}}}},
	}
}

// farm is n equal pnodes.
func farm(n int) []Pnode {
	pnodes := make([]Pnode, n)
	for i := range pnodes {
		pnodes[i] = Pnode{Name: fmt.Sprintf("pnode%d", i+1), Address: addr4(10<<24 + uint32(i)), CPUs: 16, Memory: 64 << 30, Files: 1 << 20, Namespaces: 1 << 20, Pids: 1 << 22}
	}
	return pnodes
}

// planAll plans a topology and makes every program, one after the other.
func planAll(tb testing.TB, t *topo.Topology, pnodes []Pnode) *Plan {
	p, err := Make(t, pnodes, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	vnodes := 0
	for i := range p.Pnodes() {
		for _, r := range p.Program(i).Racks {
			vnodes += len(r.Vnodes)
		}
	}
	if vnodes != p.Len() {
		tb.Fatalf("programs have %d vnodes, want %d", vnodes, p.Len())
	}
	return p
}

// BenchmarkPlan measures planning with all programs, and the memory that the
// process takes from the machine for it:
//
//	go test ./plan -run - -bench Plan -plan.vnodes 1000000 -plan.pnodes 4000
func BenchmarkPlan(b *testing.B) {
	t, pnodes := flat(*benchVnodes), farm(*benchPnodes)
	var peak uint64
	for b.Loop() {
		runtime.GC()
		stop := watchHeap()
		planAll(b, t, pnodes)
		peak = max(peak, stop())
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/plan")
	b.ReportMetric(float64(peak)/1e6, "peak-MB")
}

// watchHeap samples the heap until the function that it gives is called,
// which answers the largest value seen.
func watchHeap() (stop func() uint64) {
	var peak atomic.Uint64
	quit, done := make(chan struct{}), make(chan struct{})
	look := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak.Store(max(peak.Load(), m.HeapInuse+m.StackInuse))
	}
	go func() {
		defer close(done)
		for tick := time.NewTicker(10 * time.Millisecond); ; {
			select {
			case <-tick.C:
				look()
			case <-quit:
				tick.Stop()
				return
			}
		}
	}()
	return func() uint64 {
		close(quit)
		<-done
		look()
		return peak.Load()
	}
}

// BenchmarkEncode measures what the coordinator stores.
func BenchmarkEncode(b *testing.B) {
	p, err := Make(flat(*benchVnodes), farm(*benchPnodes), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.ReportMetric(float64(len(p.Encode())), "B")
	}
}

func BenchmarkDecode(b *testing.B) {
	p, err := Make(flat(*benchVnodes), farm(*benchPnodes), Options{})
	if err != nil {
		b.Fatal(err)
	}
	data := p.Encode()
	for b.Loop() {
		if _, err := Decode(data); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkReplan measures planning again with the plan before.
func BenchmarkReplan(b *testing.B) {
	t, pnodes := flat(*benchVnodes), farm(*benchPnodes)
	p, err := Make(t, pnodes, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Make(t, pnodes, Options{Previous: p}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkForecast(b *testing.B) {
	p, err := Make(flat(*benchVnodes), farm(*benchPnodes), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		p.Forecast()
	}
}

func BenchmarkFind(b *testing.B) {
	p, err := Make(flat(*benchVnodes), farm(1), Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, ok := p.Find("peer4711"); !ok {
			b.Fatal("not found")
		}
	}
}

// campus is a topology of n vnodes in networks of 1,000, each with two
// gateways to a backbone, and routes between all of them.
func campus(n int) *topo.Topology {
	t := &topo.Topology{Name: "campus", Complete: true,
		Networks: []topo.Network{{Name: "backbone", Subnet: netip.MustParsePrefix("172.16.0.0/12"), MTU: 1500}}}
	for i := 1; i <= n/1000; i++ {
		subnet := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 6), byte(i << 2), 0}), 22)
		t.Networks = append(t.Networks, topo.Network{Name: fmt.Sprintf("net%d", i), Subnet: subnet, MTU: 1500})
		t.Vnodes = append(t.Vnodes,
			topo.Template{Nodes: mustParse(fmt.Sprintf("n%dx[1-998]", i)), Vifaces: []topo.Viface{{Name: "eth0", Network: i}}},
			topo.Template{Nodes: mustParse(fmt.Sprintf("gw%dx[1-2]", i)), Gateway: true,
				Vifaces: []topo.Viface{{Name: "eth0", Network: i}, {Name: "eth1", Network: 0}}})
	}
	return t
}

// BenchmarkCampus plans a million vnodes in a thousand networks.
func BenchmarkCampus(b *testing.B) {
	t, pnodes := campus(*benchVnodes), farm(*benchPnodes)
	var peak uint64
	for b.Loop() {
		runtime.GC()
		stop := watchHeap()
		p := planAll(b, t, pnodes)
		peak = max(peak, stop())
		b.ReportMetric(float64(p.Forecast().Load.Routes)/float64(p.Len()), "routes/vnode")
	}
	b.ReportMetric(float64(peak)/1e6, "peak-MB")
}

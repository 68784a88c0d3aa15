package agent

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/bus"
	"myriad/kernel/mem"
	"myriad/program"
)

// crowd is a program of many pnodes, with 250 vnodes each.
const crowdVnodes = 250

func crowdShared(pnodes int) *program.Shared {
	s := &program.Shared{Platform: "crowd", Networks: []program.Network{{ID: 1, Name: "lan", Subnet: netip.MustParsePrefix("10.0.0.0/8"), MTU: 1450}},
		Names:   []program.NameRange{{Prefix: "peer", First: 1, Count: uint32(pnodes * crowdVnodes), Addr: netip.MustParseAddr("10.0.0.1")}},
		Overlay: &program.Overlay{VNI: 1 << 16, Port: program.VXLANPort}}
	for i := range uint32(pnodes) {
		s.Places = append(s.Places, program.PlaceRange{Network: 1, Host: 1 + i*crowdVnodes, Count: crowdVnodes, Pnode: i})
		s.Overlay.Underlay = append(s.Overlay.Underlay, program.Underlay{Pnode: fmt.Sprint("p", i), Addr: netip.AddrFrom4([4]byte{172, 16, byte(i >> 8), byte(i)}), MTU: 1500})
	}
	return s
}

func crowdOwn(pnode int) *program.Own {
	r := program.Rack{}
	for slot := range uint16(crowdVnodes) {
		host := uint32(pnode*crowdVnodes) + uint32(slot) + 1
		r.Vnodes = append(r.Vnodes, program.Vnode{Slot: slot, Name: fmt.Sprint("peer", host)})
		r.Vifaces = append(r.Vifaces, program.Viface{Slot: slot, Name: "eth0", Network: 1, Host: host})
	}
	return &program.Own{Pnode: fmt.Sprint("p", pnode), Number: uint32(pnode), Racks: []program.Rack{r}}
}

// TestCost: an agent among many in a process, with a pnode in memory and 250
// vnodes of a platform of 4,000 pnodes, costs little memory and next to no
// time.
func TestCost(t *testing.T) {
	const pnodes, agents, most = 4000, 100, 150e3
	server := newServer(t)
	coordinator, err := server.Connect("coordinator")
	must(t, err)
	defer coordinator.Close()
	hellos := make(chan bus.Hello, agents)
	must(t, bus.Handle(coordinator, bus.SubjectHello, func(_ context.Context, h bus.Hello) (bus.Welcome, error) {
		hellos <- h
		return bus.Welcome{Beat: time.Second, Lead: bus.Lead{Coordinator: "c", Epoch: 1}}, nil
	}))
	must(t, coordinator.Flush(t.Context()))
	s := &site{Conn: coordinator}
	shared := s.put(t, crowdShared(pnodes))

	cache := NewSharedCache()
	before := taken()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	dirs := t.TempDir()
	for i := range agents {
		conn, err := server.Connect("agent")
		must(t, err)
		running.Go(func() {
			name := fmt.Sprint("p", i)
			if err := Run(ctx, conn, Config{Name: name, RunDir: dirs + "/" + name, Pnode: mem.New(mem.Options{}), Cache: cache}); err != nil {
				t.Error(err)
			}
		})
	}
	defer running.Wait()
	defer cancel()
	for range agents {
		wait(t, hellos)
	}
	joined := taken()
	t.Logf("%.0f KB and %.1f goroutines each, joined and idle", joined.memory.kilo(before.memory, agents), float64(joined.goroutines-before.goroutines)/agents)

	start := time.Now()
	cpu := cpuTime()
	for i := range agents {
		stream, err := bus.Open(t.Context(), s.Conn, bus.SubjectOf(fmt.Sprint("p", i), "apply"), bus.Apply{Name: "crowd", Shared: shared, Order: bus.Order{Epoch: 1, Serial: uint64(i + 1)}})
		must(t, err)
		must(t, stream.SendBytes(program.EncodeOwn(crowdOwn(i))))
		last, err := s.last(stream)
		if err != nil || last.Err != nil || last.Report.Up() != crowdVnodes {
			t.Fatalf("%v, %+v", err, last)
		}
		stream.Close()
	}
	t.Logf("apply takes %v each, of them %v CPU", time.Since(start)/agents, (cpuTime()-cpu)/agents)
	after := taken()
	each := after.memory.kilo(before.memory, agents)
	t.Logf("%.0f KB and %.1f goroutines each, with %d vnodes", each, float64(after.goroutines-before.goroutines)/agents, crowdVnodes)
	if each*1e3 > most && !raced {
		t.Errorf("an agent costs %.0f KB, at most %.0f", each, most/1e3)
	}
	cpu = cpuTime()
	time.Sleep(time.Second)
	t.Logf("idle agents take %v CPU a second each", (cpuTime()-cpu)/agents)
	runtime.KeepAlive(cache)
}

type octets uint64

func (b octets) kilo(before octets, n int) float64 { return float64(b-before) / 1e3 / float64(n) }

type costs struct {
	memory     octets
	goroutines int
}

// taken is what the process has, once what nobody needs is given back.
func taken() costs {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return costs{octets(m.HeapAlloc + m.StackInuse), runtime.NumGoroutine()}
}

// cpuTime is what the process has taken.
func cpuTime() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

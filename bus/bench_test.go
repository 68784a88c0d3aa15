package bus_test

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"myriad/bus"
)

var agents = flag.Int("agents", 50, "agents of BenchmarkObjects")

// BenchmarkObjects is what it costs that many agents read the same object at
// the same moment: in this process, joined by TLS, and by way of a relay.
//
//	go test ./bus -run '^$' -bench Objects -benchtime 1x -agents 4000
func BenchmarkObjects(b *testing.B) {
	for _, how := range []string{"inside", "joined", "relayed"} {
		b.Run(fmt.Sprintf("%s/%d", how, *agents), func(b *testing.B) { objectsBy(b, how) })
	}
}

func objectsBy(b *testing.B, how string) {
	const size = 100_000
	hub, a := listening(b, time.Now, b.TempDir())
	coordinator, err := hub.Connect("coordinator")
	must(b, err)
	b.Cleanup(coordinator.Close)
	o, err := coordinator.Objects(b.Context(), bus.ProgramsStore)
	must(b, err)
	must(b, o.Serve())
	must(b, o.Put(b.Context(), "x", make([]byte, size)))
	flush(b, coordinator)
	near := hub
	if how == "relayed" {
		near = relay(b, hub.LeafAddr(), a.Token())
		must(b, linked(b, near))
	}
	conns := make([]*bus.Conn, *agents)
	connecting := time.Now()
	var work sync.WaitGroup
	slots := make(chan struct{}, 50)
	for i := range conns {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			if how == "inside" {
				conns[i], err = near.Connect("agent")
				must(b, err)
				b.Cleanup(conns[i].Close)
			} else {
				conns[i] = join(b, fmt.Sprintf("p%d", i), remote(near.Addr(), a.Token()))
			}
		})
	}
	work.Wait()
	b.ReportMetric(time.Since(connecting).Seconds()*1e3/float64(*agents), "ms/connection")
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var most atomic.Uint64
	stop := make(chan struct{})
	go func() {
		var m runtime.MemStats
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				runtime.ReadMemStats(&m)
				most.Store(max(most.Load(), m.HeapInuse))
			}
		}
	}()
	in0, _, _, bytes0 := hub.Stats()
	for b.Loop() {
		for _, c := range conns {
			work.Go(func() {
				o, err := c.Objects(b.Context(), bus.ProgramsStore)
				must(b, err)
				if v, err := o.Get(b.Context(), "x"); err != nil || len(v) != size {
					b.Errorf("%d bytes, %v", len(v), err)
				}
			})
		}
		work.Wait()
	}
	close(stop)
	in1, _, _, bytes1 := hub.Stats()
	b.ReportMetric(float64(most.Load()-min(most.Load(), before.HeapInuse))/1e6, "MB-more")
	b.ReportMetric(float64(before.HeapInuse)/1e6/float64(*agents)*1e3, "KB/agent")
	b.ReportMetric(float64(in1-in0)/float64(b.N)/float64(*agents), "hub-messages/agent")
	b.ReportMetric(float64(bytes1-bytes0)/1e6/float64(b.N), "hub-MB")
}

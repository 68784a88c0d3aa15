package bench

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"myriad/plan"
	"myriad/topo"
)

// planPnodes is how many machines the plan bench plans for.
const planPnodes = 4000

// Plan measures planning o.N vnodes on 4,000 pnodes, from the topology's text
// to the last pnode's program, with the peak of the heap meanwhile.
func Plan(ctx context.Context, o Options) ([]Row, error) {
	var seconds, bytes []sample
	for run := range o.Runs {
		o.say("plan: run %d of %d", run+1, o.Runs)
		runtime.GC()
		peak := watchHeap()
		start := time.Now()
		err := planOnce(ctx, o.N)
		took := time.Since(start).Seconds()
		heap := peak()
		if err != nil {
			return nil, err
		}
		seconds = append(seconds, sample{took, 0})
		bytes = append(bytes, sample{float64(heap) / 1e9, 0})
	}
	return []Row{
		newRow("plan", "file to last program, 4,000 pnodes", o.N, "s", "", atMost("ours", 10), seconds),
		newRow("plan", "memory of the process, peak", o.N, "GB", "", atMost("ours", 2), bytes),
	}, nil
}

func planOnce(ctx context.Context, n int) error {
	t, err := topo.Parse("plan.yaml", []byte(flat("bench-plan", 1, n, "")))
	if err != nil {
		return err
	}
	pnodes := make([]plan.Pnode, planPnodes)
	for i := range pnodes {
		pnodes[i] = plan.Pnode{Name: fmt.Sprintf("pnode%d", i+1), Address: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), CPUs: 8, Memory: 32 << 30, Files: 1 << 20, Namespaces: 1 << 20, Pids: 1 << 22}
	}
	p, err := plan.Make(t, pnodes, plan.Options{})
	if err != nil {
		return err
	}
	p.Forecast()
	for i := range pnodes {
		p.Program(i)
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// watchHeap samples what the Go runtime has taken from the machine until the
// function that it gives is called, which answers the greatest value seen.
func watchHeap() (peak func() uint64) {
	var top atomic.Uint64
	stop, done := make(chan struct{}), make(chan struct{})
	look := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		top.Store(max(top.Load(), m.Sys-m.HeapReleased))
	}
	go func() {
		defer close(done)
		for tick := time.NewTicker(20 * time.Millisecond); ; {
			select {
			case <-tick.C:
				look()
			case <-stop:
				tick.Stop()
				return
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-done
		look()
		return top.Load()
	}
}

package kernel_test

import (
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
)

var together = flag.Int("together", 0, "number of pnodes of TestTogether, which share -vnodes")

// TestTogether measures several pnodes of one machine that apply at the same
// time beside one that has all of their vnodes, in alternation.
func TestTogether(t *testing.T) {
	kerneltest.RequireRoot(t)
	if *together == 0 {
		t.Skip("a measurement: run it with -together 4")
	}
	measure := func(pnodes int) (up, busy, down time.Duration) {
		all := make([]*kernel.Pnode, pnodes)
		for i := range all {
			all[i], _ = open(t)
		}
		each := func(do func(p *kernel.Pnode, platform string)) time.Duration {
			var wait sync.WaitGroup
			start := time.Now()
			for i, p := range all {
				wait.Go(func() { do(p, fmt.Sprintf("p%d", i)) })
			}
			wait.Wait()
			return time.Since(start)
		}
		before := cpu()
		up = each(func(p *kernel.Pnode, platform string) {
			want := flat(*vnodes / pnodes)
			want.Platform = platform
			if r, err := p.Apply(t.Context(), want, nil); err != nil || r.Up() != *vnodes/pnodes {
				t.Errorf("%v", err)
			}
		})
		busy = cpu() - before
		return up, busy, each(func(p *kernel.Pnode, platform string) {
			if err := p.Remove(t.Context(), platform, nil); err != nil {
				t.Error(err)
			}
		})
	}
	for range max(*rounds, 1) {
		one, oneBusy, oneDown := measure(1)
		many, manyBusy, manyDown := measure(*together)
		t.Logf("%d vnodes of one pnode: up %.3f s (%.3f s of processor time), down %.3f s; of %d pnodes together: up %.3f s (%.3f), %.2f ×, down %.3f s, %.2f ×",
			*vnodes, one.Seconds(), oneBusy.Seconds(), oneDown.Seconds(), *together, many.Seconds(), manyBusy.Seconds(), many.Seconds()/one.Seconds(),
			manyDown.Seconds(), manyDown.Seconds()/oneDown.Seconds())
	}
}

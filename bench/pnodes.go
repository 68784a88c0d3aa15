package bench

import (
	"context"
	"fmt"
	"time"

	"myriad/api"
	"myriad/kernel/netns"
	"myriad/testbed"
)

// aloneLimit is up to how many vnodes one pnode is measured beside several:
// more take it as long as everything else here together.
const aloneLimit = 20000

// pnodesRun is what one run of Pnodes measured.
type pnodesRun struct {
	up, down        float64 // s, over several pnodes
	alone, floor    float64 // s, up on one; of the kernel
	answered, asked float64 // pairs
	frames          testbed.Frames
}

// Pnodes measures up over o.Pnodes pnodes, which are namespaces of this
// machine, beside one pnode with as many vnodes, and beside the kernel floor. It
// counts what is on the underlay for all meanwhile.
func Pnodes(ctx context.Context, o Options) ([]Row, error) {
	var runs []pnodesRun
	for i := range o.Runs {
		o.say("pnodes: run %d of %d", i+1, o.Runs)
		var r pnodesRun
		steps := []func(context.Context, Options, *pnodesRun) error{pnodesFloor, pnodesAlone, pnodesOurs}
		for k := range steps { // each is first as often
			if err := steps[(k+i)%len(steps)](ctx, o, &r); err != nil {
				return nil, err
			}
			if err := netns.WaitCleanup(ctx); err != nil { // of what was before
				return nil, err
			}
		}
		runs = append(runs, r)
	}
	return pnodesRows(o, runs), nil
}

func pnodesFloor(ctx context.Context, o Options, r *pnodesRun) (err error) {
	r.floor, _, err = floor(ctx, o)
	o.say("pnodes: floor: up %.2f s", r.floor)
	return err
}

func pnodesAlone(ctx context.Context, o Options, r *pnodesRun) error {
	if o.N > aloneLimit {
		return nil
	}
	a, err := newAlone(ctx, o)
	if err != nil {
		return err
	}
	defer a.close()
	file, err := a.file("flat.yaml", flat("bench-alone", 1, o.N, ""))
	if err != nil {
		return err
	}
	if r.alone, err = a.timed(ctx, "up", file); err != nil {
		return err
	}
	o.say("pnodes: one pnode: up %.2f s", r.alone)
	return a.close()
}

func pnodesOurs(ctx context.Context, o Options, r *pnodesRun) error {
	begin := time.Now()
	l, err := newLab(ctx, o, testbed.Options{Pnodes: o.Pnodes})
	if err != nil {
		return err
	}
	defer l.close()
	o.say("pnodes: %d agents have joined after %.2f s", o.Pnodes, time.Since(begin).Seconds())
	file, err := l.file("flat.yaml", flat("bench-pnodes", 1, o.N, ""))
	if err != nil {
		return err
	}
	watch, err := l.Watch()
	if err != nil {
		return err
	}
	err = l.upAndCheck(ctx, o, file, r)
	var e error
	if r.frames, e = watch.Stop(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	o.say("pnodes: on the underlay: %s", r.frames)
	if r.down, err = l.timed(ctx, "down", "--all"); err != nil {
		return err
	}
	o.say("pnodes: ours: up %.2f s, %.0f of %.0f pairs, down %.2f s", r.up, r.answered, r.asked, r.down)
	return l.close()
}

func (l *lab) upAndCheck(ctx context.Context, o Options, file string, r *pnodesRun) (err error) {
	if r.up, err = l.timed(ctx, "up", file); err != nil {
		return err
	}
	check, err := l.check(ctx, "bench-pnodes", o.N)
	if err != nil {
		return err
	}
	for _, f := range check.Failed[:min(len(check.Failed), 5)] {
		o.say("pnodes: %s", f)
	}
	r.answered, r.asked = float64(check.Answered), float64(check.Pairs)
	return nil
}

// check has as many random pairs ping each other as there are vnodes, so that
// each is in one, and at least 2,000.
func (l *lab) check(ctx context.Context, platform string, vnodes int) (*api.Check, error) {
	var found *api.Check
	err := l.Client.Check(ctx, platform, &api.CheckRequest{Pairs: max(2000, vnodes), Timeout: 5 * time.Second}, func(e *api.Event) error {
		if e.Check != nil {
			found = e.Check
		}
		return nil
	})
	return found, err
}

func pnodesRows(o Options, runs []pnodesRun) []Row {
	row := func(name, unit, reference string, bar Bar, f func(pnodesRun) sample) Row {
		var s []sample
		for _, r := range runs {
			s = append(s, f(r))
		}
		return newRow("pnodes", fmt.Sprintf("%d pnodes: %s", o.Pnodes, name), o.N, unit, reference, bar, s)
	}
	rows := []Row{}
	if o.N <= aloneLimit {
		rows = append(rows, row("up", "s", "one pnode with as many", atMost("ratio", 1.3), func(r pnodesRun) sample { return sample{r.up, r.alone} }))
	}
	return append(rows,
		row("up", "s", "kernel floor", atMost("ratio", 1.4), func(r pnodesRun) sample { return sample{r.up, r.floor} }),
		row("down", "s", "", Bar{}, func(r pnodesRun) sample { return sample{r.down, 0} }),
		row("random pairs that answer, each vnode in one", "pairs", "asked", atLeast("ratio", 1), func(r pnodesRun) sample { return sample{r.answered, r.asked} }),
		row("ARP, broadcast and multicast frames on the underlay, inside of tunnels too", "frames", "", atMost("ours", 0),
			func(r pnodesRun) sample { return sample{float64(r.frames.Sum()), 0} }),
		row("frames on the underlay, in all", "frames", "", Bar{}, func(r pnodesRun) sample { return sample{float64(r.frames.All), 0} }),
	)
}

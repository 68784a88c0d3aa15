package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"myriad/api"
	"myriad/testbed"
)

// lossRun is what one run of Loss measured.
type lossRun struct {
	reported, replaced, reachable float64 // s after the cut
	moved                         float64 // vnodes that were on the pnode
	changed                       float64 // vnodes that have another address now, or none
	answered, asked               float64
}

// Loss cuts one of o.Pnodes pnodes, with o.N vnodes on each, off from both of
// its networks, and kills all that runs on it, and measures how long it takes
// until that is known, until its vnodes are up on others, and until all reach each
// other.
func Loss(ctx context.Context, o Options) ([]Row, error) {
	if o.Pnodes < 2 {
		return nil, errors.New("bench loss needs two pnodes")
	}
	var runs []lossRun
	for i := range o.Runs {
		o.say("loss: run %d of %d", i+1, o.Runs)
		r, err := lossOnce(ctx, o)
		if err != nil {
			return nil, err
		}
		o.say("loss: known after %.2f s, replaced after %.2f s, all reachable after %.2f s", r.reported, r.replaced, r.reachable)
		runs = append(runs, *r)
	}
	row := func(name, unit, reference string, bar Bar, f func(lossRun) sample) Row {
		var s []sample
		for _, r := range runs {
			s = append(s, f(r))
		}
		return newRow("loss", name, o.N, unit, reference, bar, s)
	}
	return []Row{
		row("pnode killed → reported lost", "s", "", atMost("ours", 3), func(r lossRun) sample { return sample{r.reported, 0} }),
		row(fmt.Sprintf("→ its vnodes up on %d others", o.Pnodes-1), "s", "", atMost("ours", 10), func(r lossRun) sample { return sample{r.replaced, 0} }),
		row("→ and random pairs answer, the check included", "s", "", Bar{}, func(r lossRun) sample { return sample{r.reachable, 0} }),
		row("random pairs that answer", "pairs", "asked", atLeast("ratio", 1), func(r lossRun) sample { return sample{r.answered, r.asked} }),
		row("vnodes with another address, or without", "vnodes", "", atMost("ours", 0), func(r lossRun) sample { return sample{r.changed, 0} }),
	}, nil
}

const lossPlatform = "bench-loss"

func lossOnce(ctx context.Context, o Options) (*lossRun, error) {
	l, err := newLab(ctx, o, testbed.Options{Pnodes: o.Pnodes})
	if err != nil {
		return nil, err
	}
	defer l.close()
	n := o.N * o.Pnodes
	file, err := l.file("flat.yaml", flat(lossPlatform, 1, n, "placement: {loss: replace}\n"))
	if err != nil {
		return nil, err
	}
	if err := l.run(ctx, nil, "up", file); err != nil {
		return nil, err
	}
	before, err := l.where(ctx, lossPlatform)
	if err != nil {
		return nil, err
	}
	r := &lossRun{}
	lost := o.Pnodes - 1
	cut := time.Now()
	if err := errors.Join(l.PartitionControl(ctx, lost, true), l.Partition(ctx, lost, true), l.Lab.KillAll(lost)); err != nil {
		return nil, err
	}
	if err := l.AwaitPnode(ctx, lost, "lost"); err != nil {
		return nil, err
	}
	r.reported = time.Since(cut).Seconds()
	after, err := l.awaitWithout(ctx, lossPlatform, l.Lab.Name(lost))
	if err != nil {
		return nil, err
	}
	r.replaced = time.Since(cut).Seconds()
	check, err := l.check(ctx, lossPlatform, n)
	if err != nil {
		return nil, err
	}
	r.reachable = time.Since(cut).Seconds()
	r.answered, r.asked = float64(check.Answered), float64(check.Pairs)
	for name, was := range before {
		if was.Pnode == l.Lab.Name(lost) {
			r.moved++
		}
		if is, ok := after[name]; !ok || address(is) != address(was) {
			r.changed++
		}
	}
	if r.moved == 0 {
		return nil, fmt.Errorf("no vnode was on %s", l.Lab.Name(lost))
	}
	return r, l.close()
}

// where gives the vnodes of a platform by name.
func (l *lab) where(ctx context.Context, platform string) (map[string]api.Vnode, error) {
	found := map[string]api.Vnode{}
	err := l.Client.Vnodes(ctx, platform, "", func(v *api.Vnode) error {
		found[v.Name] = *v
		return nil
	})
	return found, err
}

// awaitWithout returns when all vnodes of a platform are up, and none on a
// pnode.
func (l *lab) awaitWithout(ctx context.Context, platform, pnode string) (map[string]api.Vnode, error) {
	const patience = time.Minute
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		p, err := l.Client.Platform(ctx, platform)
		if err != nil {
			return nil, err
		}
		if time.Since(begun) > patience {
			return nil, fmt.Errorf("%v after its loss, %s is %s: %d of %d vnodes up", patience, platform, p.State, p.Up, p.Vnodes)
		}
		if p.State != "up" || p.Up != p.Vnodes {
			continue
		}
		all, err := l.where(ctx, platform)
		if err != nil {
			return nil, err
		}
		there := 0
		for _, v := range all {
			if v.Pnode == pnode || v.State != "up" {
				there++
			}
		}
		if there == 0 {
			return all, nil
		}
	}
}

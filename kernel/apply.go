package kernel

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"myriad/program"
)

// Apply makes a platform match want, from whatever is there, and returns what
// is afterwards. It writes nothing where nothing differs. What one rack or
// vnode refuses is a problem in the report; an error means that the whole was
// not done, and comes with a report of how far it went, if it began at all.
func (p *Pnode) Apply(ctx context.Context, want *program.Program, progress func(up int)) (*program.Report, error) {
	if err := check(want); err != nil {
		return nil, err
	}
	start := time.Now()
	unlock, err := p.lock(ctx, want.Platform)
	if err != nil {
		return nil, problemError("lock "+want.Platform, err)
	}
	defer unlock()
	p.knowProgram(want)
	a := &apply{p: p, want: want, progress: progress, up: make([]int, len(want.Racks))}
	err = a.run(ctx)
	a.report.Platform, a.report.Pnode = want.Platform, want.Pnode
	a.report.Took = time.Since(start)
	p.remember(&a.report)
	return &a.report, err
}

// apply is one Apply of a platform.
type apply struct {
	p        *Pnode
	want     *program.Program
	spine    *spine
	racks    map[uint32]Rack
	progress func(up int)

	mu      sync.Mutex // of what follows
	report  program.Report
	up      []int  // vnodes that are up, for each rack wanted
	doubted []Rack // those that did not do what was asked of them
}

// run goes from the outside to the inside: the machine's settings, the spine,
// the racks, the fabric, the vnodes. What is not wanted goes first.
func (a *apply) run(ctx context.Context) error {
	defer a.close()
	if err := ctx.Err(); err != nil {
		return err
	}
	err := a.steps(ctx, []step{
		{"raise limits of the neighbour table and the backlog", a.sysctls},
		{"write hosts file", a.hosts},
		{"make spine", a.openSpine},
	})
	if err != nil {
		return err
	}
	before := len(a.report.Problems)
	for deaths := 0; ; deaths++ {
		a.doubted = nil
		err = a.steps(ctx, []step{
			{"remove racks", a.removeRacks},
			{"start racks", a.startRacks},
			{"make trunks", a.join},
			{"join other pnodes", a.overlay},
			{"set link conditions", a.links},
			{"make vnodes", a.vnodes},
			{"remove link conditions", a.unhold},
		})
		if ctx.Err() != nil || deaths == mostDeaths || !a.died(ctx, err) {
			return err
		}
		a.report.Problems, a.report.Racks = a.report.Problems[:before], nil
		clear(a.up)
		if err := a.spine.read(); err != nil {
			return problemError("read spine", err)
		}
	}
}

// step is one thing that an Apply does.
type step struct {
	op string
	do func(context.Context) error
}

func (a *apply) steps(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if err := s.do(ctx); err != nil {
			if cancelled(err) {
				return err
			}
			return problemError(s.op, err)
		}
	}
	return nil
}

// A rack that is killed meanwhile, or was so just before, is made anew; but
// not for ever, if they die of what is asked of them. A process that is killed
// takes up to deathTakes until nobody finds it alive any more.
const (
	mostDeaths = 2
	deathTakes = time.Second
)

// died tells whether one of the racks that did not do what was asked of them,
// or any after an error, has ended, or is about to.
func (a *apply) died(ctx context.Context, err error) bool {
	doubted := a.doubted
	if err != nil {
		doubted = slices.Collect(maps.Values(a.racks))
	}
	over := time.After(deathTakes)
	for {
		for _, r := range doubted {
			if l, ok := r.(interface{ Lost() <-chan struct{} }); ok && closed(l.Lost()) {
				return true
			}
		}
		if len(doubted) == 0 || ctx.Err() != nil || closed(over) {
			return false
		}
		time.Sleep(lockPause)
	}
}

func closed[T any](c <-chan T) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (a *apply) close() {
	if a.spine != nil {
		a.spine.close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookPatience)
	defer cancel()
	if a.racks == nil { // it did not come so far
		a.racks, _ = a.p.Racks.Find(ctx, a.want.Platform)
	}
	for i := range a.want.Racks {
		index := a.want.Racks[i].Index
		if !slices.ContainsFunc(a.report.Racks, func(have program.RackReport) bool { return have.Index == index }) {
			a.report.Racks = append(a.report.Racks, a.left(ctx, &a.want.Racks[i]))
		}
	}
	slices.SortFunc(a.report.Racks, func(x, y program.RackReport) int { return cmp.Compare(x.Index, y.Index) })
}

// lookPatience bounds the look at racks that an Apply did not come to.
const lookPatience = 3 * time.Second

// left reports a rack that it did not come to: one that lives has what it had,
// though nobody has compared that with what is wanted now.
func (a *apply) left(ctx context.Context, want *program.Rack) program.RackReport {
	r := program.RackReport{Index: want.Index, Wanted: len(want.Vnodes)}
	live := a.racks[want.Index]
	if live == nil {
		return r
	}
	a.p.mu.Lock()
	known := a.p.known[a.want.Platform][want.Index]
	a.p.mu.Unlock()
	now := a.p.rackStatus(ctx, live, known)
	r.State, r.Pid, r.Vnodes = program.RackPartial, now.Pid, min(now.Vnodes, r.Wanted)
	return r
}

// problemError makes an error that says what was attempted and what to do.
func problemError(op string, err error) error {
	q := problemOf(-1, "", op, err)
	return &q
}

// sysctls is a problem, not an error: small platforms do without.
func (a *apply) sysctls(context.Context) error {
	changed, err := a.p.sysctls.hold(a.p.holder(a.want.Platform))
	if err != nil {
		a.problem(problemOf(-1, "", "raise limits of the neighbour table and the backlog", err))
	}
	a.report.Writes += uint64(changed)
	return nil
}

func (a *apply) hosts(context.Context) error {
	changed, err := a.p.writeHosts(a.want)
	if changed {
		a.report.Writes++
	}
	return err
}

func (a *apply) openSpine(context.Context) error {
	s, made, err := a.p.makeSpine(a.want.Platform)
	a.spine = s
	if made {
		a.report.Writes++
	}
	return err
}

// removeRacks removes the racks that the program does not have, and the
// remains of those that were lost.
func (a *apply) removeRacks(ctx context.Context) error {
	found, err := a.p.Racks.Find(ctx, a.want.Platform)
	if err != nil {
		return err
	}
	a.racks = map[uint32]Rack{}
	maps.Copy(a.racks, found)
	for index, r := range a.racks {
		if a.wanted(index) {
			continue
		}
		if err := a.p.endRack(ctx, a.want.Platform, index, r); err != nil {
			return err
		}
		delete(a.racks, index)
		a.report.Writes++
	}
	for _, index := range a.p.madeRacks(a.want.Platform) {
		if !a.wanted(index) {
			if err := a.p.endRack(ctx, a.want.Platform, index, nil); err != nil {
				return err
			}
		}
	}
	lost := map[uint32]bool{}
	for i := range a.want.Racks {
		index := a.want.Racks[i].Index
		lost[index] = a.racks[index] == nil
	}
	writes, err := a.spine.prune(a.want, lost)
	a.report.Writes += uint64(writes)
	return err
}

func (a *apply) wanted(index uint32) bool {
	_, ok := slices.BinarySearchFunc(a.want.Racks, index, func(r program.Rack, index uint32) int { return cmp.Compare(r.Index, index) })
	return ok
}

// starting is how many racks are started at one time.
const starting = 2

// startRacks starts the racks that do not live, and joins all to the spine.
func (a *apply) startRacks(ctx context.Context) error {
	var missing []uint32
	for i := range a.want.Racks {
		if index := a.want.Racks[i].Index; a.racks[index] == nil {
			missing = append(missing, index)
		}
	}
	started := make([]Rack, len(missing))
	err := each(len(missing), starting, func(i int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		// What a rack of that number that was lost has left is in the way.
		err := a.p.endRack(ctx, a.want.Platform, missing[i], nil)
		if err == nil {
			started[i], err = a.p.Racks.Start(ctx, a.want.Platform, missing[i])
		}
		if err != nil && ctx.Err() == nil {
			a.problem(problemOf(int32(missing[i]), "", fmt.Sprintf("start rack %d", missing[i]), err))
			return nil // the others may do better
		}
		return err
	})
	for i, r := range started {
		if r != nil {
			a.racks[missing[i]] = r
			a.report.Writes++
		}
	}
	return err
}

// each calls fn for 0 … n-1, several at one time, until one fails.
func each(n, atOnce int, fn func(i int) error) error {
	var (
		wait sync.WaitGroup
		mu   sync.Mutex
		errs []error
		next int
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		i := next
		next++
		return i, i < n && len(errs) == 0
	}
	for range min(atOnce, n) {
		wait.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := fn(i); err != nil {
					mu.Lock()
					errs = append(errs, err)
					mu.Unlock()
				}
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// join makes the trunks.
func (a *apply) join(context.Context) error {
	writes, err := a.spine.join(a.want, a.racks)
	a.report.Writes += uint64(writes)
	return err
}

// links has conditions enforced, before anybody who has some can send.
func (a *apply) links(ctx context.Context) error {
	if a.want.Links == nil {
		return nil
	}
	writes, problems, err := a.p.impose(ctx, a.spine, a.want, a.racks)
	a.report.Writes += uint64(writes)
	a.report.Problems = append(a.report.Problems, problems...)
	return err
}

// unhold takes away what enforced conditions, if there are none any more.
func (a *apply) unhold(ctx context.Context) error {
	if a.want.Links != nil {
		return nil
	}
	writes, err := a.p.unhold(ctx, a.spine, a.racks)
	a.report.Writes += uint64(writes)
	return err
}

// vnodes has every rack match its share, while the fabric is told who is
// where, if that was not done before.
func (a *apply) vnodes(ctx context.Context) error {
	told := make(chan error, 1)
	go func() {
		if a.want.Links != nil {
			told <- nil
			return
		}
		writes, err := a.p.forward(ctx, a.spine, a.want, a.racks)
		a.mu.Lock()
		a.report.Writes += uint64(writes)
		a.mu.Unlock()
		told <- err
	}()
	// The last rack first: new ones are at the end, and what the others let go
	// of keeps the kernel's locks busy.
	last := len(a.want.Racks) - 1
	err := each(len(a.want.Racks), applying, func(k int) error {
		i := last - k
		if err := ctx.Err(); err != nil || a.racks[a.want.Racks[i].Index] == nil {
			return err
		}
		return a.rack(ctx, i)
	})
	return errors.Join(err, <-told)
}

// applying is how many racks make vnodes at one time. The kernel's locks leave
// little room for more; a second one fills the gaps of the first.
const applying = 2

func (a *apply) rack(ctx context.Context, i int) error {
	want := &a.want.Racks[i]
	spec := &RackSpec{Platform: a.want.Platform, Fabric: a.want.Fabric, Networks: a.want.Networks, Rack: *want}
	r := a.racks[want.Index]
	report, problems, writes, err := r.Apply(ctx, spec, func(up int) { a.tell(i, up) })
	a.mu.Lock()
	a.report.Writes += writes
	a.report.Problems = append(a.report.Problems, problems...)
	if report == nil {
		report = &program.RackReport{Index: want.Index, State: program.RackPartial, Wanted: len(want.Vnodes)}
	}
	report.Pid = r.Pid()
	a.report.Racks = append(a.report.Racks, *report)
	a.mu.Unlock()
	a.tell(i, report.Vnodes)
	if err == nil || cancelled(err) && ctx.Err() != nil {
		return ctx.Err()
	}
	q := problemOf(int32(want.Index), "", fmt.Sprintf("apply rack %d", want.Index), err)
	a.problem(q)
	if q.Kind == program.KindUnavailable {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.doubted = append(a.doubted, r)
	}
	return nil // the others may do better
}

// tell passes on the progress of one rack.
func (a *apply) tell(i, up int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.up[i] = up
	if a.progress != nil {
		sum := 0
		for _, n := range a.up {
			sum += n
		}
		a.progress(sum)
	}
}

func (a *apply) problem(q program.Problem) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.report.Problems = append(a.report.Problems, q)
}

// remember keeps what a report says of racks, for Status.
func (p *Pnode) remember(r *program.Report) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known := make(map[uint32]program.RackReport, len(r.Racks))
	for _, k := range r.Racks {
		known[k.Index] = k
	}
	p.known[r.Platform] = known
}

// lockPause is how often a lock that is held is tried again.
const lockPause = 10 * time.Millisecond

// sleep waits, unless ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

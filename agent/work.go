package agent

import (
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync/atomic"
	"time"

	"myriad/bus"
	"myriad/program"
)

// progressEvery bounds how often progress is reported.
const progressEvery = 100 * time.Millisecond

// mostProblems bounds what one report lists: ten thousand failures have one
// cause.
const mostProblems = 1000

// apply makes a platform match the program that follows the request.
func (a *agent) apply(ctx context.Context, q bus.Apply, s *bus.Stream) error {
	encoded, err := s.RecvBytes()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	s.Go(func() {
		_, _ = s.RecvBytes() // whatever it is, it says stop
		stop()
	})
	p, err := a.program(ctx, &q, encoded)
	if err != nil {
		return err
	}
	err = a.match(ctx, q.Name, p, s)
	encoded, p = nil, nil
	debug.FreeOSMemory() // the program, and what it was decoded from
	return err
}

// program puts a program together from what is the pnode's own and what all
// share.
func (a *agent) program(ctx context.Context, q *bus.Apply, encoded []byte) (*program.Program, error) {
	own, err := program.DecodeOwn(encoded)
	if err != nil {
		return nil, err
	}
	objects, err := a.conn.Objects(ctx, bus.ProgramsStore)
	if err != nil {
		return nil, err
	}
	if encoded, err = objects.Get(ctx, q.Shared); err != nil {
		return nil, err
	}
	shared, err := program.DecodeShared(encoded)
	if err != nil {
		return nil, err
	}
	p := program.Join(shared, own)
	return p, p.Validate()
}

// match journals a program and has the platform match it.
func (a *agent) match(ctx context.Context, platform string, p *program.Program, s *bus.Stream) error {
	if p.Platform != platform || !program.ValidPlatformName(p.Platform) {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "apply program", Cause: fmt.Sprintf("%q was announced, %q came", platform, p.Platform)}
	}
	h, err := a.occupy(ctx, platform)
	if err != nil {
		return err
	}
	defer h.vacate()
	if err := writeJournal(a.RunDir, platform, p.Encode()); err != nil {
		return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: err.Error(), Remedy: "the run directory must be writable and have room"}
	}
	h.mu.Lock()
	h.wanted, h.shaped = wants(p), p.Links != nil
	h.mu.Unlock()
	if p.Links != nil {
		a.calibrate(ctx, func(doing string) { _ = s.Send(bus.Progress{Doing: doing}) }) // whoever asked may be gone
	}
	report, err := a.change(h, s, func(progress func(int)) (*program.Report, error) {
		return a.Pnode.Apply(ctx, p, progress)
	})
	return s.Send(bus.Progress{Report: report, Err: bus.ProblemOf(err)})
}

// change runs work, which changes a platform, while it reports how far that
// is; then it holds what is.
func (a *agent) change(h *held, s *bus.Stream, work func(progress func(int)) (*program.Report, error)) (*program.Report, error) {
	var count atomic.Int64
	count.Store(-1)
	done := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		tell(s, &count, done)
	}()
	report, err := work(func(n int) { count.Store(int64(n)) })
	close(done)
	<-stopped
	if report == nil {
		var failed error
		if report, failed = a.Pnode.Status(a.ctx, h.name); failed != nil {
			report = &program.Report{Platform: h.name}
		}
	}
	if n := len(report.Problems); n > mostProblems {
		report.Problems = append(slices.Clone(report.Problems[:mostProblems]), program.Problem{
			Kind: report.Problems[0].Kind, Rack: -1, Op: fmt.Sprintf("and %d more problems", n-mostProblems)})
	}
	a.set(h, report)
	return report, err
}

// tell sends count as it changes, until done: never more often than
// progressEvery, and without holding up whoever counts.
func tell(s *bus.Stream, count *atomic.Int64, done <-chan struct{}) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	last := int64(-1)
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if n := count.Load(); n != last {
			last = n
			if s.Send(bus.Progress{Count: int(n)}) != nil {
				return
			}
		}
	}
}

// remove takes a platform away. It goes on when the one who asked has left:
// half a removal serves nobody.
func (a *agent) remove(ctx context.Context, q bus.Platform, s *bus.Stream) error {
	if !program.ValidPlatformName(q.Name) {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: fmt.Sprintf("remove %q", q.Name), Cause: "no name of a platform"}
	}
	h, err := a.occupy(ctx, q.Name)
	if err != nil {
		return err
	}
	defer h.vacate()
	a.unwatch(h)
	report, err := a.change(h, s, func(progress func(int)) (*program.Report, error) {
		return nil, a.Pnode.Remove(context.WithoutCancel(ctx), q.Name, progress)
	})
	if err != nil {
		return s.Send(bus.Progress{Report: report, Err: bus.ProblemOf(err)})
	}
	err = removeJournal(a.RunDir, q.Name)
	a.release(h) // from now on, others may journal another of that name
	if err != nil {
		return err
	}
	return s.Send(bus.Progress{Report: &program.Report{Platform: q.Name, Pnode: a.Name}})
}

// observe sends the racks that the kernel has of a platform. That is no program:
// the kernel knows neither the pnode nor the names of networks.
func (a *agent) observe(ctx context.Context, q bus.Platform, s *bus.Stream) error {
	p, err := a.Pnode.Observe(ctx, q.Name)
	if err != nil {
		return err
	}
	return s.Send(p.Racks)
}

// poll asks again and again how those platforms are whose racks have no
// process that could be watched.
func (a *agent) poll() {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-tick.C:
		}
		a.mu.Lock()
		var ask []*held
		for _, h := range a.platforms {
			if h.unwatchable() {
				ask = append(ask, h)
			}
		}
		a.mu.Unlock()
		for _, h := range ask {
			a.askAfter(h)
		}
	}
}

// unwatchable tells whether some rack is up without a process of its own.
func (h *held) unwatchable() bool {
	r := h.last()
	return r != nil && slices.ContainsFunc(r.Racks, func(k program.RackReport) bool {
		return k.Pid <= 0 && (k.State == program.RackUp || k.State == program.RackPartial)
	})
}

func (a *agent) askAfter(h *held) {
	if !h.tryOccupy() {
		return
	}
	defer h.vacate()
	report, err := a.Pnode.Status(a.ctx, h.name)
	if err != nil {
		a.complain(err)
		return
	}
	if a.set(h, report) {
		a.complain(bus.Publish(a.conn, bus.SubjectRacks, bus.Racks{By: a.from(), Report: *report}))
	}
}

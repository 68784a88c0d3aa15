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
	op := fmt.Sprintf("apply %q", q.Name)
	if err := a.allow(ctx, op, q.Name, q.Order); err != nil {
		return err
	}
	p, err := a.program(ctx, &q, encoded)
	if err != nil {
		return err
	}
	encoded = nil
	h, err := a.occupy(ctx, q.Name)
	if err != nil {
		return err
	}
	defer h.vacate()
	if err := a.allow(ctx, op, q.Name, q.Order); err != nil { // while it waited
		return err
	}
	err = a.match(ctx, h, p, s)
	if p = nil; a.Cache == nil { // else many agents would each have all collected
		debug.FreeOSMemory() // the program, and what it was decoded from
	}
	return err
}

// program puts a program together from what is the pnode's own and what all
// share.
func (a *agent) program(ctx context.Context, q *bus.Apply, encoded []byte) (*program.Program, error) {
	own, err := program.DecodeOwn(encoded)
	if err != nil {
		return nil, err
	}
	shared, err := a.shared(ctx, q.Shared)
	if err != nil {
		return nil, err
	}
	if shared.Platform != q.Name || own.Pnode != a.Name {
		return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "apply program",
			Cause: fmt.Sprintf("%q was announced to pnode %s, %q of pnode %s came", q.Name, a.Name, shared.Platform, own.Pnode)}
	}
	return program.Fit(shared, own)
}

// match journals a program and has the platform match it.
func (a *agent) match(ctx context.Context, h *held, p *program.Program, s *bus.Stream) error {
	if err := writeJournal(a.RunDir, p.Platform, p.Encode()); err != nil {
		if h.last() == nil {
			a.release(h)
		}
		return unwritten(err)
	}
	h.mu.Lock()
	h.wanted, h.shaped = wants(p), p.Links != nil
	h.mu.Unlock()
	if p.Links != nil {
		signal(a.shaped)
		a.calibrate(ctx, func(doing string) { _ = s.Send(bus.Progress{Doing: doing}) }) // whoever asked may be gone
	}
	report, err := a.change(h, s, func(progress func(int)) (*program.Report, error) {
		return a.Pnode.Apply(ctx, p, progress)
	})
	return s.Send(bus.Progress{Report: report, Err: bus.ProblemOf(err), Said: a.said()})
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
// half a removal serves nobody. Nothing needs room to be journalled for it: it is
// what makes room on a full disk.
func (a *agent) remove(ctx context.Context, q bus.Platform, s *bus.Stream) error {
	op := fmt.Sprintf("remove %q", q.Name)
	if err := a.heed(ctx, op, q.Name, q.Order); err != nil {
		return err
	}
	h, err := a.occupy(ctx, q.Name)
	if err != nil {
		return err
	}
	defer h.vacate()
	if err := a.heed(ctx, op, q.Name, q.Order); err != nil { // while it waited
		return err
	}
	a.unwatch(h)
	report, err := a.change(h, s, func(progress func(int)) (*program.Report, error) {
		return nil, a.Pnode.Remove(context.WithoutCancel(ctx), q.Name, progress)
	})
	if err != nil {
		return s.Send(bus.Progress{Report: report, Err: bus.ProblemOf(err), Said: a.said()})
	}
	err = removeJournal(a.RunDir, q.Name)
	a.release(h) // from now on, others may journal another of that name
	if err != nil {
		return err
	}
	return s.Send(bus.Progress{Report: &program.Report{Platform: q.Name, Pnode: a.Name}, Said: a.said()})
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

// told asks after a platform whose racks have no process that could be
// watched, when the pnode tells that some have changed.
func (a *agent) told(platform string) {
	a.mu.Lock()
	h := a.platforms[platform]
	a.mu.Unlock()
	if h == nil || h.asked.Swap(true) {
		return
	}
	a.watch.Go(func() {
		if h.occupy(a.ctx) != nil {
			return
		}
		defer h.vacate()
		h.asked.Store(false) // what changes from now on is asked after again
		a.askAfter(h)
	})
}

func (a *agent) askAfter(h *held) {
	report, err := a.Pnode.Status(a.ctx, h.name)
	if err != nil {
		a.complain(err)
	} else if a.set(h, report) {
		a.sayRacks(report)
	}
}

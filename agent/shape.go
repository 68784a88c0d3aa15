package agent

import (
	"context"
	"fmt"
	"time"

	"myriad/bus"
	"myriad/program"
)

// shape puts other conditions of a platform's links into force. They are
// journalled first, so that an agent that comes after this one knows them.
func (a *agent) shape(ctx context.Context, q bus.Shape, s *bus.Stream) error {
	// The time between is what counts, and whoever sets the clock does not
	// change it.
	at := q.At
	if !at.IsZero() {
		at = time.Now().Add(at.Sub(a.Clock()))
	}
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
	shaped, err := a.shapeTo(ctx, &q, encoded, at)
	if err != nil {
		return err
	}
	return s.Send(shaped)
}

func (a *agent) shapeTo(ctx context.Context, q *bus.Shape, encoded []byte, at time.Time) (*program.Shaped, error) {
	platform, op := q.Name, fmt.Sprintf("change links of %q", q.Name)
	l, err := program.DecodeLinks(encoded)
	if err == nil {
		err = a.allow(ctx, op, platform, q.Order)
	}
	if err != nil {
		return nil, err
	}
	h, err := a.occupy(ctx, platform)
	if err != nil {
		return nil, err
	}
	defer h.vacate()
	if err := a.allow(ctx, op, platform, q.Order); err != nil { // while it waited
		return nil, err
	}
	if r := h.last(); r == nil || len(r.Racks) == 0 {
		a.release(h)
		return nil, &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: op, Cause: "it is not on this pnode"}
	}
	if l != nil {
		a.calibrate(ctx, func(string) {})
	}
	undo, err := writeLinks(a.RunDir, platform, encoded)
	if err != nil {
		return nil, unwritten(err)
	}
	shaped, err := a.Pnode.Shape(ctx, platform, l, at)
	if err != nil {
		a.complain(undo())
		return nil, err
	}
	h.mu.Lock()
	h.shaped = l != nil
	h.mu.Unlock()
	signal(a.shaped)
	return shaped, nil
}

// calibrate sees to it that the pnode knows what its own path costs. Where
// that cannot be found out, links are as true as they are without.
func (a *agent) calibrate(ctx context.Context, say func(string)) {
	if a.Calibrate == nil {
		return
	}
	if err := a.Calibrate(ctx, say); err != nil {
		a.Logf("agent %s: measure what the path costs: %v", a.Name, err)
	}
}

// links tells how true the links of a platform are.
func (a *agent) links(ctx context.Context, q bus.Platform) (*program.LinkStats, error) {
	a.mu.Lock()
	h := a.platforms[q.Name]
	a.mu.Unlock()
	if h == nil {
		return nil, &program.Problem{Kind: program.KindNotFound, Rack: -1, Op: fmt.Sprintf("look at links of %q", q.Name), Cause: "it is not on this pnode"}
	}
	stats, err := a.Pnode.LinkStats(ctx, q.Name)
	if err != nil {
		return nil, err
	}
	out := *stats
	out.Overloads = h.loads.list()
	return &out, nil
}

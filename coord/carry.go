package coord

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/store"
	"myriad/topo"
)

// plan has a plan made. Its source is read behind what is to be written.
func (c *Coordinator) plan(ctx context.Context, e MakePlan) {
	if e.Source != nil {
		c.work.Go(func() { c.post(c.makePlan(e)) })
		return
	}
	c.writes.add(func() {
		source, err := c.source(ctx, e.Platform)
		if err != nil {
			c.post(Planned{Platform: e.Platform, Err: err})
			return
		}
		e.Source = source
		source.Force = e.Force
		c.work.Go(func() {
			made := c.makePlan(e)
			made.Source = source
			c.post(made)
		})
	})
}

// source gives the source from which a platform was brought up.
func (c *Coordinator) source(ctx context.Context, platform string) (*Source, error) {
	file, text, files, err := c.Store.Source(ctx, platform)
	if err != nil {
		return nil, err
	}
	t, err := topo.ParseWith(file, []byte(text), sent(files))
	if err != nil {
		return nil, err
	}
	return &Source{File: file, Text: text, Files: files, Digest: store.Digest(text, files), Topology: t}, nil
}

// makePlan plans a platform, and refuses what will not fit.
func (c *Coordinator) makePlan(e MakePlan) (made Planned) {
	defer func() {
		if p := recover(); p != nil { // one file must not end what the others live by
			c.Logf("coordinator: planning %s panicked: %v\n%s", e.Platform, p, debug.Stack())
			made = Planned{Platform: e.Platform, Err: &program.Problem{Rack: -1, Op: "plan " + e.Platform, Cause: fmt.Sprint(p), Remedy: "this is a defect of myriad; please report it with the topology file"}}
		}
	}()
	p, err := plan.Make(e.Source.Topology, e.Pnodes, planOptions(e, c.VNIBase))
	if err == nil && !e.Source.Force {
		err = fits(p, e.Others)
	}
	return Planned{Platform: e.Platform, Plan: p, Err: err}
}

// planOptions are how a plan is made: its VNIs are of the coordinator's base
// and the platform's slot.
func planOptions(e MakePlan, base uint8) plan.Options {
	return plan.Options{Previous: e.Previous, Ways: e.Ways, VNI: uint32(max(base, 1))<<16 | uint32(e.Slot)<<8}
}

// vniBase gives coordinators that share machines different VNIs, as a rule: where
// two have the same, their pnodes say so.
func vniBase(identity string) uint8 {
	if identity == "" {
		return 1
	}
	return uint8(1 + sha256.Sum256([]byte(identity))[0]%255)
}

// fits says why a plan will not fit its pnodes beside other platforms.
func fits(p *plan.Plan, others []*plan.Plan) error {
	f := p.Forecast()
	if l := f.Breaks(); l != nil {
		return refusal(p.Platform(), l, l.Need, "")
	}
	taken := map[string]uint64{}
	for _, o := range others {
		for _, n := range o.Forecast().Pnodes {
			taken[n.Pnode] += n.KernelMemory
		}
	}
	have := map[string]uint64{}
	for _, n := range p.Pnodes() {
		have[n.Name] = n.Memory
	}
	for _, n := range f.Pnodes {
		need := n.KernelMemory + n.UserMemory + taken[n.Pnode]
		if m := have[n.Pnode]; m > 0 && need > m {
			l := &plan.Limit{Name: "memory", Pnode: n.Pnode, Have: m, Remedy: "take another platform down, or describe fewer vnodes"}
			return refusal(p.Platform(), l, need, " with the other platforms")
		}
	}
	return nil
}

func refusal(platform string, l *plan.Limit, need uint64, with string) error {
	p := &program.Problem{Kind: program.KindExhausted, Rack: -1, Op: "bring up " + platform, Remedy: l.Remedy + "; --force tries all the same"}
	if l.Name == "memory" {
		p.Cause = fmt.Sprintf("about %.1f GB of memory are needed%s, and pnode %s has %.1f GB", float64(need)/1e9, with, l.Pnode, float64(l.Have)/1e9)
	} else {
		p.Cause = fmt.Sprintf("%s: %d needed, and pnode %s has %d", l.Name, need, l.Pnode, l.Have)
	}
	return p
}

// workAtOnce is how many pnodes get their programs at once: what waits takes no
// memory.
const workAtOnce = 256

// apply sends a pnode its program, and waits for the report. When ctx ends
// it tells the pnode to stop, and still waits.
func (c *Coordinator) apply(ctx context.Context, e Apply) (r *program.Report, said *bus.From, err error) {
	alive, end, err := c.alive(context.WithoutCancel(ctx), e.Pnode)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	number, err := e.Plan.PnodeNumber(e.Pnode)
	if err != nil {
		return nil, nil, err
	}
	select {
	case c.room <- struct{}{}:
		defer func() { <-c.room }()
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	case <-alive.Done():
		return nil, nil, context.Cause(alive)
	}
	shared, err := c.shares.of(alive, e.Plan, e.Links)
	if err != nil {
		return nil, nil, err
	}
	s, err := bus.Open(alive, c.Conn, bus.SubjectOf(e.Pnode, "apply"), bus.Apply{Name: e.Platform, Order: c.order(e.Call), Shared: shared})
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	if err := s.SendBytes(program.EncodeOwn(e.Plan.Own(number))); err != nil {
		return nil, nil, err
	}
	defer context.AfterFunc(ctx, func() { _ = s.Send(bus.None{}) })()
	return c.follow(s, e.Platform, e.Pnode, e.Call)
}

// order is the place of a call among all that change something.
func (c *Coordinator) order(call uint64) bus.Order {
	return bus.Order{Epoch: c.word().Epoch, Serial: call}
}

// remove has a pnode remove a platform, and waits until it has.
func (c *Coordinator) remove(ctx context.Context, e Remove) (r *program.Report, said *bus.From, err error) {
	alive, end, err := c.alive(ctx, e.Pnode)
	if err != nil {
		return nil, nil, err
	}
	defer end()
	s, err := bus.Open(alive, c.Conn, bus.SubjectOf(e.Pnode, "remove"), bus.Platform{Name: e.Platform, Order: c.order(e.Call)})
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	return c.follow(s, e.Platform, e.Pnode, e.Call)
}

// follow posts progress until the pnode has said its last word, which is a
// report. It may be busy with itself after that.
func (c *Coordinator) follow(s *bus.Stream, platform, pnode string, call uint64) (r *program.Report, said *bus.From, err error) {
	for {
		var p bus.Progress
		switch err := s.Recv(&p); {
		case err == io.EOF:
			return nil, nil, &program.Problem{Kind: program.KindInternal, Rack: -1, Op: "change " + platform, Cause: "pnode " + pnode + " ends without a report"}
		case err != nil:
			return nil, nil, err
		case p.Report != nil && unsoundReport(p.Report, pnode) != nil:
			return nil, nil, unsoundReport(p.Report, pnode)
		case p.Report == nil:
			c.post(Counted{platform, pnode, call, p.Count, p.Doing})
		case p.Err != nil:
			return p.Report, p.Said, p.Err
		default:
			return p.Report, p.Said, nil
		}
	}
}

// shape sends a pnode other conditions of links, and waits until they are in
// force. When ctx ends it tells the pnode that they are not wanted any more,
// and still waits.
func (c *Coordinator) shape(ctx context.Context, e Shape) (program.Shaped, error) {
	alive, end, err := c.alive(context.WithoutCancel(ctx), e.Pnode)
	if err != nil {
		return program.Shaped{}, err
	}
	defer end()
	q := bus.Shape{Name: e.Platform, Order: c.order(e.Call)}
	if !e.At.IsZero() {
		// What counts is the time from now on, whatever the clock said when the
		// schedule began.
		q.At = time.Now().Round(0).Add(time.Until(e.At))
	}
	var shaped program.Shaped
	s, err := bus.Open(alive, c.Conn, bus.SubjectOf(e.Pnode, "shape"), q)
	if err != nil {
		return shaped, err
	}
	defer s.Close()
	if err := s.SendBytes(program.EncodeLinks(e.Links)); err != nil {
		return shaped, err
	}
	defer context.AfterFunc(ctx, func() { _ = s.Send(bus.None{}) })()
	return shaped, s.Recv(&shaped)
}

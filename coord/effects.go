package coord

import (
	"context"
	"runtime/debug"

	"myriad/bus"
)

// carryOut begins what the machine wants done.
func (c *Coordinator) carryOut(ctx context.Context, effect Effect) {
	switch e := effect.(type) {
	case MakePlan:
		c.plan(ctx, e)
	case SavePlan:
		c.write(ctx, func(ctx context.Context) error { return c.Store.PutPlan(ctx, &e.Record, e.Source, e.Files, e.Plan) },
			func(err error) { c.post(Saved{e.Record.Name, err}) })
	case Save:
		c.write(ctx, func(ctx context.Context) error { return c.Store.Put(ctx, &e.Record) }, func(err error) { c.complain(e.Record.Name, err) })
	case Forget:
		c.write(ctx, func(ctx context.Context) error { return c.Store.Forget(ctx, e.Platform) }, func(err error) { c.complain(e.Platform, err) })
		c.work.Go(func() { c.complain(e.Platform, c.shares.forget(ctx, e.Platform)) })
	case SavePnodes:
		c.write(ctx, func(ctx context.Context) error { return c.Store.PutPnodes(ctx, e.Pnodes, e.Ways) }, func(err error) {
			if e.Asker != 0 {
				c.post(PnodesSaved{e.Asker, err})
				return
			}
			c.complain("", err)
		})
	case Tidy:
		c.work.Go(func() {
			c.complain(e.Platform, c.shares.tidy(ctx, e.Platform))
			debug.FreeOSMemory() // programs, and what they were encoded to
		})
	case Note:
		c.announce(e.Event)
		c.writes.add(func() { c.remember(context.WithoutCancel(ctx), e.Event) })
	case Tell:
		c.tell(e)
	default:
		c.carryOutAt(ctx, effect)
	}
}

// write has something written behind what was to be written before, while
// this coordinator has the right to.
func (c *Coordinator) write(ctx context.Context, put func(context.Context) error, done func(error)) {
	ctx = context.WithoutCancel(ctx) // also at the end of all
	c.writes.add(func() {
		err := c.mayWrite(ctx)
		if err == nil {
			err = put(ctx)
		}
		done(err)
	})
}

// carryOutAt begins what is to be done at pnodes, or about links.
func (c *Coordinator) carryOutAt(ctx context.Context, effect Effect) {
	switch e := effect.(type) {
	case Apply:
		ctx, stop := context.WithCancel(ctx)
		c.stops[e.Call] = stop
		c.work.Go(func() {
			defer stop()
			report, said, err := c.apply(ctx, e)
			c.post(Applied{e.Platform, e.Pnode, e.Call, said, report, err})
		})
	case Stop:
		c.stop(e.Call)
	case Remove:
		c.work.Go(func() {
			report, said, err := c.remove(ctx, e)
			c.post(Removed{e.Platform, e.Pnode, e.Call, said, report, err})
		})
	case MakeLinks:
		c.work.Go(func() { c.post(c.makeLinks(e)) })
	case SaveLinks:
		c.write(ctx, func(ctx context.Context) error { return c.saveLinks(ctx, e) }, func(err error) {
			if e.Answer {
				c.post(LinksSaved{e.Platform, err})
				return
			}
			c.complain(e.Platform, err)
		})
	case ForgetLinks:
		c.write(ctx, func(ctx context.Context) error { return c.Store.ForgetLinks(ctx, e.Platform) }, func(err error) { c.complain(e.Platform, err) })
	case Shape:
		ctx, stop := context.WithCancel(ctx)
		c.stops[e.Call] = stop
		c.work.Go(func() {
			defer stop()
			shaped, err := c.shape(ctx, e)
			c.post(LinksShaped{e.Platform, e.Pnode, e.Call, shaped, err})
		})
	case StopShape:
		c.stop(e.Call)
	case Check:
		c.work.Go(func() { c.post(c.check(ctx, e)) })
	case Measure:
		c.work.Go(func() { c.post(c.measure(ctx, e)) })
	case Greet:
		c.greet(e)
	case Meet:
		c.meet(e.Pnode)
	case Lose:
		c.lose(e)
	case Hail:
		c.work.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, askTimeout)
			defer cancel()
			_, _ = bus.Request[bus.Lead, bus.None](ctx, c.Conn, bus.SubjectOf(e.Pnode, "hail"), c.word()) // who does not hear it is hailed again
		})
	}
}

func (c *Coordinator) stop(call uint64) {
	if stop := c.stops[call]; stop != nil {
		stop()
	}
}

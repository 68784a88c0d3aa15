package coord

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"myriad/bus"
	"myriad/program"
)

const (
	wayTrips  = 20               // by which a way is measured
	ringTrips = 3                // of which one tells that a pnode is reached at all
	surveyFor = 15 * time.Second // for one way
)

// reach has a pnode measure the way to another one.
func (c *Coordinator) reach(ctx context.Context, from, to string, size, count int) (bus.Reached, error) {
	var nonce [16]byte
	_, _ = rand.Read(nonce[:]) // it does not fail
	ctx, cancel := context.WithTimeout(ctx, surveyFor)
	defer cancel()
	at, end, err := c.alive(ctx, to)
	if err != nil {
		return bus.Reached{}, err
	}
	defer end()
	echoing, err := bus.Request[bus.Echo, bus.Echoing](at, c.Conn, bus.SubjectOf(to, "echo"), bus.Echo{Nonce: nonce, For: surveyFor})
	if err != nil {
		return bus.Reached{}, err
	}
	at, end, err = c.alive(ctx, from)
	if err != nil {
		return bus.Reached{}, err
	}
	defer end()
	return bus.Request[bus.Reach, bus.Reached](at, c.Conn, bus.SubjectOf(from, "reach"), bus.Reach{Nonce: nonce, Addr: echoing.Addr, Size: size, Count: count})
}

// measure measures the way between two sites.
func (c *Coordinator) measure(ctx context.Context, e Measure) Measured {
	r, err := c.reach(ctx, e.Pnode, e.Other, 0, wayTrips)
	if err == nil && r.Answered == 0 {
		err = &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: fmt.Sprintf("measure the way from pnode %s to pnode %s", e.Pnode, e.Other), Cause: "no packet comes back",
			Remedy: "let UDP pass between the sites"}
	}
	return Measured{From: e.From, To: e.To, Takes: r.Median / 2, Err: err}
}

// check looks whether packets of full size arrive whole from each pnode of a
// ring at the next. What cannot be found out is no problem.
func (c *Coordinator) check(ctx context.Context, e Check) Checked {
	out := Checked{Platform: e.Platform}
	var mu sync.Mutex
	unknown := 0
	defer func() {
		if unknown > 0 {
			c.Logf("coordinator: whether packets of full size arrive is not known for %d ways between pnodes of %s", unknown, e.Platform)
		}
	}()
	each(e.Ring, func(i int, from string) {
		if i == 1 && len(e.Ring) == 2 {
			return // it is the same way
		}
		to := e.Ring[(i+1)%len(e.Ring)]
		p, known := c.arrives(ctx, e, from, to)
		mu.Lock()
		defer mu.Unlock()
		if !known {
			unknown++
		}
		if p != nil {
			out.Problems = append(out.Problems, *p)
		}
	})
	if n := len(out.Problems); n > mostRingProblems {
		out.Problems = out.Problems[:mostRingProblems]
		out.Problems[0].Cause += fmt.Sprintf("; so it is for %d ways of %d that were looked at", n, len(e.Ring))
	}
	return out
}

// mostRingProblems are told of: they have one cause, as a rule.
const mostRingProblems = 10

// arrives says why packets of full size do not arrive at a pnode from another,
// nil if they do.
func (c *Coordinator) arrives(ctx context.Context, e Check, from, to string) (p *program.Problem, known bool) {
	size, encrypted := e.Size, false
	a, errA := e.Plan.PnodeNumber(from)
	b, errB := e.Plan.PnodeNumber(to)
	if errA != nil || errB != nil {
		return nil, false
	}
	if _, _, encrypted = e.Plan.Shared().Overlay.Ends(uint32(a), uint32(b)); encrypted {
		size += program.WireGuardOverhead
	}
	r, err := c.reach(ctx, from, to, size, ringTrips)
	p = &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: fmt.Sprintf("reach pnode %s from pnode %s", to, from)}
	switch {
	case err != nil && strings.HasPrefix(bus.ProblemOf(err).Op, "send to "):
		p.Cause, p.Remedy = bus.ProblemOf(err).Cause, bus.ProblemOf(err).Remedy
	case err != nil:
		return nil, false
	case r.Whole: // whatever else was lost
		return nil, true
	case r.Answered == 0:
		p.Cause, p.Remedy = "no packet comes back", "let UDP pass between the pnodes, and check the addresses that \"myriad pnodes\" shows"
	default:
		over := size - e.Size + program.VXLANOverhead
		p.Cause = fmt.Sprintf("packets of %d bytes do not arrive whole, as the vnetworks need with %d bytes of tunnel around their %d", size, over, e.Size-program.VXLANOverhead)
		p.Remedy = "raise the MTU of the network between the pnodes, or give the vnetworks a smaller mtu"
	}
	return p, true
}

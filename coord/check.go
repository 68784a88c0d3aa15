package coord

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"myriad/api"
	"myriad/bus"
	"myriad/plan"
	"myriad/program"
	"myriad/rack"
)

const (
	everyPair   = 10_000 // up to so many pairs, all are tried
	randomPairs = 2_000
	mostFailed  = 100 // failures that are listed
	probeWait   = time.Second
)

// pair is one vnode that pings another, by their rows, at an address.
type pair struct {
	from, to int
	addr     string
}

// Check has vnodes ping each other, and tells how that went.
func (c *Coordinator) Check(ctx context.Context, platform string, q *api.CheckRequest, tell func(api.Event)) (*api.Check, error) {
	if q.Pairs < 0 || q.Timeout < 0 {
		return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "check " + platform, Cause: "pairs and timeout cannot be negative"}
	}
	p, err := c.planOf(ctx, platform)
	if err != nil {
		return nil, err
	}
	seed := q.Seed
	if seed == 0 {
		if err := c.ask(ctx, func(m *Machine) {
			if x := m.platforms[platform]; x != nil && x.record != nil {
				seed = x.record.Seed
			}
		}); err != nil {
			return nil, err
		}
	}
	pairs := choosePairs(p, q.Pairs, seed)
	if len(pairs) == 0 {
		return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "check " + platform, Cause: "no vnode has a way to another", Remedy: "give vnodes a vnetwork in common, or routes"}
	}
	k := &checking{c: c, plan: p, pairs: pairs, heard: make([]bool, len(pairs)), errs: make([]string, len(pairs)), tell: tell}
	k.run(ctx, cmp.Or(q.Timeout, probeWait))
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return k.result(), nil
}

// choosePairs chooses pairs that can reach each other as the plan has it: all
// of them, or so many at random, which are the same for the same seed.
func choosePairs(p *plan.Plan, count int, seed uint64) []pair {
	r := newReach(p)
	n := p.Len()
	var out []pair
	add := func(from, to int) {
		if addr := r.address(from, to); addr.IsValid() {
			out = append(out, pair{from, to, addr.String()})
		}
	}
	if all := n * (n - 1); count == 0 && all <= everyPair || count >= all {
		for from := range n {
			for to := range n {
				if from != to {
					add(from, to)
				}
			}
		}
		return out
	}
	if count == 0 {
		count = randomPairs
	}
	const tries = 20 // for each pair: where few vnodes reach each other, fewer pairs are found
	random := rand.New(rand.NewPCG(seed, 0))
	order := random.Perm(n)
	for i := range count * tries {
		if len(out) == count {
			break
		}
		from, to := order[i%n], random.IntN(n-1) // with as many pairs as vnodes, each vnode is in one
		if to >= from {
			to++
		}
		add(from, to)
	}
	return out
}

// checking is a check under way.
type checking struct {
	c     *Coordinator
	plan  *plan.Plan
	pairs []pair
	tell  func(api.Event)
	over  time.Duration                 // probes are sent evenly over this; 0: as fast as can be
	each  func(probe uint32, rtt int64) // of those that were answered; may be nil

	mu    sync.Mutex
	rtts  []int64  // of those that were answered
	heard []bool   // by pair
	errs  []string // by pair; empty: answered, or not heard of
	done  int
	told  time.Time
}

func (k *checking) run(ctx context.Context, timeout time.Duration) {
	probes := map[string]map[uint32][]rack.Probe{} // by pnode and rack
	var pnodes []string
	names := k.plan.Pnodes()
	for id, p := range k.pairs {
		v := k.plan.Vnode(p.from)
		pnode := names[v.Pnode].Name
		if probes[pnode] == nil {
			probes[pnode] = map[uint32][]rack.Probe{}
			pnodes = append(pnodes, pnode)
		}
		probes[pnode][v.Rack] = append(probes[pnode][v.Rack], rack.Probe{ID: uint32(id), From: v.Name, To: p.addr})
	}
	each(pnodes, func(_ int, pnode string) {
		if err := k.ask(ctx, pnode, probes[pnode], timeout); err != nil {
			k.fail(probes[pnode], err.Error())
		}
	})
}

// ask has a pnode send its probes.
func (k *checking) ask(ctx context.Context, pnode string, probes map[uint32][]rack.Probe, timeout time.Duration) error {
	ctx, end, err := k.c.alive(ctx, pnode)
	if err != nil {
		return err
	}
	defer end()
	s, err := bus.Open(ctx, k.c.Conn, bus.SubjectOf(pnode, "probe"), bus.Platform{Name: k.plan.Platform()})
	if err != nil {
		return err
	}
	defer s.Close()
	for index, list := range probes {
		if err := s.Send(bus.Share{Rack: index}); err != nil {
			return err
		}
		if err := s.Send(rack.ProbeRequest{Probes: list, Timeout: int64(timeout), Every: int64(k.over) / int64(len(list))}); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	for {
		var r rack.Reply
		if err := s.Recv(&r); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		for i := range r.Problems {
			if p := &r.Problems[i]; p.Rack >= 0 {
				k.fail(map[uint32][]rack.Probe{0: probes[uint32(p.Rack)]}, p.Error())
			}
		}
		k.take(r.Echoes)
	}
}

// take notes answers, and what came in place of some.
func (k *checking) take(echoes []rack.Echo) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range echoes {
		if int(e.ID) >= len(k.pairs) || k.heard[e.ID] {
			continue
		}
		k.heard[e.ID] = true
		k.done++
		if e.Err == "" && e.RTT > 0 {
			k.rtts = append(k.rtts, e.RTT)
			if k.each != nil {
				k.each(e.ID, e.RTT)
			}
		} else {
			k.errs[e.ID] = cmp.Or(e.Err, "no answer")
		}
	}
	if now := time.Now(); len(echoes) > 0 && now.Sub(k.told) >= tickEvery {
		k.told = now
		k.tell(api.Event{Time: now, Type: "progress", Platform: k.plan.Platform(), Done: k.done, Total: len(k.pairs)})
	}
}

// fail notes why probes could not be sent.
func (k *checking) fail(probes map[uint32][]rack.Probe, why string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, list := range probes {
		for _, p := range list {
			if !k.heard[p.ID] {
				k.errs[p.ID] = cmp.Or(k.errs[p.ID], why)
			}
		}
	}
}

func (k *checking) result() *api.Check {
	out := &api.Check{Pairs: len(k.pairs), Answered: len(k.rtts)}
	for id, p := range k.pairs {
		why := k.errs[id]
		if why == "" && !k.heard[id] {
			why = "its rack does not know it"
		}
		if why != "" && len(out.Failed) < mostFailed {
			out.Failed = append(out.Failed, fmt.Sprintf("%s -> %s: %s", k.plan.Vnode(p.from).Name, k.plan.Vnode(p.to).Name, why))
		}
	}
	if n := len(k.rtts); n > 0 {
		slices.Sort(k.rtts)
		out.RTTMedian = float64(k.rtts[n/2]) / 1e3
		out.RTTP99 = float64(k.rtts[min(n*99/100, n-1)]) / 1e3
	}
	return out
}

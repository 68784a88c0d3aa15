package coord

import (
	"math/rand/v2"
	"net/netip"
	"time"

	"myriad/plan"
	"myriad/program"
)

// echoBytes is the length of the frame of a probe, without FCS: see package
// rack.
const echoBytes = 14 + 20 + 8 + 48

// way is what is asked of the way from one vnode to another and back.
type way struct {
	asked   time.Duration // median of the round trip of a probe
	longest time.Duration // or thereabouts
	loss    float64       // of probes
	jitter  bool
	trace   bool // the capacity of some link on it changes
	legs    []leg
}

// leg is what frames from one vnode to the next meet.
type leg struct {
	conditions [3]program.Condition // out, pair, in
}

// ways knows what is asked of ways.
type ways struct {
	reach    *reach
	links    *program.Links
	networks map[string]program.Network
}

func newWays(p *plan.Plan, l *program.Links) *ways {
	w := &ways{reach: newReach(p), links: l, networks: map[string]program.Network{}}
	for _, n := range p.Networks() {
		w.networks[n.Name] = n.Network
	}
	return w
}

func newRandom(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// shaped gives the rows of the vnodes that have conditions of their own, or
// are in a class of pairs that have some.
func (w *ways) shaped() []int {
	if w.links == nil {
		return nil
	}
	var out []int
	for v := range w.reach.plan.Vnodes(nil) {
		for _, f := range v.Vifaces {
			n := w.networks[f.Network]
			if r := w.links.Of(n.ID, n.HostOf(f.Address.Addr())); r.Count > 0 {
				out = append(out, v.Placement.Vnode)
				break
			}
		}
	}
	return out
}

// between gives what is asked of the way from a vnode to an address of another
// one, and back.
func (w *ways) between(from, to int, addr netip.Addr) (way, bool) {
	var out way
	there, source, ok := w.hops(from, addr, to)
	if !ok {
		return out, false
	}
	back, _, ok := w.hops(to, source, from)
	if !ok {
		return out, false
	}
	kept := 1.0
	for _, l := range append(there, back...) {
		out.legs = append(out.legs, l)
		median, longest, passes, jitter, trace := w.leg(&l)
		out.asked += median
		out.longest += longest
		out.jitter = out.jitter || jitter
		out.trace = out.trace || trace
		kept *= passes
	}
	out.loss = 1 - kept
	if out.loss < 1e-12 {
		out.loss = 0
	}
	return out, true
}

// hops goes the way that a packet to an address would go, and gives its legs
// and the address that it is sent from.
func (w *ways) hops(from int, to netip.Addr, is int) (legs []leg, source netip.Addr, ok bool) {
	r := w.reach
	for hop := range mostHops {
		v := r.vnode(from)
		f, via := next(v, r.subnets, to)
		if f == nil || hop > 0 && !v.Gateway {
			return nil, source, false
		}
		if hop == 0 {
			source = f.Address.Addr()
		}
		n := w.networks[f.Network]
		last := !via.IsValid()
		target := via
		if last {
			target = to
		}
		legs = append(legs, w.pairAt(n, n.HostOf(f.Address.Addr()), n.HostOf(target)))
		if last {
			return legs, source, true
		}
		if from, ok = r.gateways[place{f.Network, via}]; !ok {
			return nil, source, false
		}
		if from == is {
			return legs, source, true
		}
	}
	return nil, source, false
}

// pairAt gives what frames from one host of a network to another meet.
func (w *ways) pairAt(n program.Network, from, to uint32) leg {
	if w.links == nil {
		return leg{}
	}
	return leg{[3]program.Condition{
		w.links.Condition(w.links.Of(n.ID, from).Out),
		w.links.PairCondition(w.links.Word(n.ID, from, to)),
		w.links.Condition(w.links.Of(n.ID, to).In),
	}}
}

// leg sums up what a probe meets on a leg: how long it takes, as a rule and at
// most or nearly so, and how many pass.
func (w *ways) leg(l *leg) (median, longest time.Duration, passes float64, jitter, trace bool) {
	passes = 1
	for i := range l.conditions {
		c := &l.conditions[i]
		median += max(c.Delay+w.middle(c), 0)
		longest += c.Delay + 4*c.Jitter
		if c.Rate > 0 {
			sending := time.Duration(echoBytes * 8 * float64(time.Second) / float64(c.Rate))
			median += sending
			longest += sending + c.QueueTime
		}
		jitter = jitter || c.Jitter > 0
		trace = trace || c.Trace > 0
		passes *= 1 - lossOf(c)
	}
	return median, longest, passes, jitter, trace
}

// middle is the median of a condition's jitter.
func (w *ways) middle(c *program.Condition) time.Duration {
	if c.Jitter == 0 || c.Distribution == 0 {
		return 0
	}
	values := w.links.Tables[c.Distribution-1].Values
	return time.Duration(float64(c.Jitter) * float64(values[len(values)/2]) / (1 << 16))
}

// lossOf is how many packets a condition lets be lost in the long run, with
// those that are corrupted: their checksums say so.
func lossOf(c *program.Condition) float64 {
	loss := c.Loss.Float()
	if toBad, toGood := c.ToBad.Float(), c.ToGood.Float(); toBad > 0 {
		bad := toBad / (toBad + toGood)
		loss = (1-bad)*loss + bad*c.LossBad.Float()
	}
	return 1 - (1-loss)*(1-c.Corrupt.Float())
}

// applied is what the tables hold for the round trip, and what the path costs
// by itself as far as that is known.
func (w *way) applied(calibration *program.Calibration) time.Duration {
	var out time.Duration
	held := 0
	for i := range w.legs {
		var hold time.Duration
		for k := range w.legs[i].conditions {
			c := &w.legs[i].conditions[k]
			hold += c.Delay
			if c.Rate > 0 {
				out += time.Duration(echoBytes * 8 * float64(time.Second) / float64(c.Rate))
			}
		}
		if hold > 0 {
			held++
			out += max(hold-calibration.Base(), 0)
		}
	}
	if calibration == nil {
		return out
	}
	if held == 0 {
		return out + calibration.RTT
	}
	return out + time.Duration(held)*calibration.Hold + time.Duration(len(w.legs))*calibration.End/2
}

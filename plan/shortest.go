package plan

import (
	"fmt"
	"math"
	"slices"
	"time"

	"myriad/topo"
)

// length is how long a way is: what its vifaces delay, and then how many
// gateways are on it.
type length struct {
	delay time.Duration
	hops  int32
}

// measure takes the delays of a viface by which ways are measured. Only those
// count that make one way shorter than another, so that vnodes with different
// delays can be of one kind.
func (v *kindViface) measure(t *topo.Template, f *topo.Viface) {
	if f.Out != nil && (t.Gateway || len(t.Vifaces) > 1) {
		v.out = min(max(f.Out.Delay, 0), maxMeasured)
	}
	if f.In != nil && t.Gateway {
		v.in = min(max(f.In.Delay, 0), maxMeasured)
	}
}

// setDelays gives a kind's vifaces what was written of their delays: of each
// out and in, or nothing at all.
func (k *kind) setDelays(all []time.Duration) error {
	if len(all) == 0 {
		return nil
	}
	if len(all) != 2*len(k.vifaces) || slices.Min(all) < 0 || slices.Max(all) > maxMeasured {
		return fmt.Errorf("%d delays are of %d vifaces", len(all), len(k.vifaces))
	}
	for j := range k.vifaces {
		k.vifaces[j].out, k.vifaces[j].in = all[2*j], all[2*j+1]
	}
	return nil
}

var unreachable = length{math.MaxInt64, math.MaxInt32}

func (l length) less(m length) bool {
	return l.delay < m.delay || l.delay == m.delay && l.hops < m.hops
}

// maxMeasured is the longest delay of a viface that counts.
const maxMeasured = time.Hour

// plus is longer by a delay and hops. It stays short of unreachable, however
// many hours come together.
func (l length) plus(delay time.Duration, hops int32) length {
	return length{min(l.delay, math.MaxInt64-1-delay) + delay, l.hops + hops}
}

// spread computes toNetwork and toKind for one destination.
//
// What a gateway sends out of a viface is delayed by what goes out of that
// one, and by what comes in at the next gateway; how long the receiver in the
// destination is delayed is the same by any way. Gateways that are in the
// destination send there directly, as a kernel does, even where a detour
// would be shorter.
func (g *graph) spread(destination int) {
	g.toNetwork = far(g.toNetwork, len(g.networks))
	g.toKind = far(g.toKind, len(g.kinds))
	g.nearer = slices.Grow(g.nearer[:0], len(g.networks))[:len(g.networks)]
	clear(g.nearer)
	g.toNetwork[destination] = length{}
	if g.metric == topo.MetricDelay {
		g.spreadDelay(destination)
	} else {
		g.spreadHops(destination)
	}
}

// far is n times unreachable, in the memory of s if it is large enough.
func far(s []length, n int) []length {
	s = slices.Grow(s[:0], n)[:n]
	for i := range s {
		s[i] = unreachable
	}
	return s
}

// spreadHops goes breadth first.
func (g *graph) spreadHops(destination int) {
	g.queue = append(g.queue[:0], destination)
	for at := 0; at < len(g.queue); at++ {
		n := g.queue[at]
		for _, p := range g.in[n] {
			if g.toKind[p.kind] != unreachable {
				continue
			}
			d := g.toNetwork[n].plus(0, 1)
			g.toKind[p.kind] = d
			for _, f := range g.kinds[p.kind].vifaces {
				if g.toNetwork[f.network] == unreachable {
					g.toNetwork[f.network] = d
					g.queue = append(g.queue, f.network)
				}
			}
		}
	}
}

// spreadDelay goes nearest first (Dijkstra, 1959). In the heap, networks are
// called by their index, and kinds by theirs after all networks.
func (g *graph) spreadDelay(destination int) {
	g.heap = g.heap[:0]
	direct := g.in[destination]
	for _, p := range direct {
		g.toKind[p.kind] = length{g.kinds[p.kind].vifaces[p.viface].out, 1}
		g.heap.push(heapItem{g.toKind[p.kind], len(g.networks) + p.kind})
	}
	for len(g.heap) > 0 {
		item := g.heap.pop()
		if k := item.what - len(g.networks); k >= 0 {
			if item.length == g.toKind[k] { // else it was reached by a shorter way
				g.spreadFromKind(k)
			}
		} else if item.length == g.toNetwork[item.what] {
			g.spreadFromNetwork(item.what)
		}
	}
}

func (g *graph) spreadFromKind(k int) {
	for _, f := range g.kinds[k].vifaces {
		if d := g.toKind[k].plus(f.in, 0); d.less(g.toNetwork[f.network]) {
			g.toNetwork[f.network] = d
			g.heap.push(heapItem{d, f.network})
		}
	}
}

func (g *graph) spreadFromNetwork(n int) {
	for _, p := range g.in[n] {
		// Those in the destination were nearer than any network, or they
		// would not go by this one.
		if d := g.toNetwork[n].plus(g.kinds[p.kind].vifaces[p.viface].out, 1); d.less(g.toKind[p.kind]) {
			g.toKind[p.kind] = d
			g.heap.push(heapItem{d, len(g.networks) + p.kind})
		}
	}
}

// heap gives the least of its items first.
type heap []heapItem

type heapItem struct {
	length
	what int
}

func (h *heap) push(x heapItem) {
	s := append(*h, x)
	*h = s
	for i := len(s) - 1; i > 0; {
		up := (i - 1) / 2
		if !s[i].less(s[up].length) {
			return
		}
		s[i], s[up] = s[up], s[i]
		i = up
	}
}

func (h *heap) pop() heapItem {
	s := *h
	first := s[0]
	last := len(s) - 1
	s[0] = s[last]
	s = s[:last]
	*h = s
	for i := 0; ; {
		least := i
		for _, c := range [...]int{2*i + 1, 2*i + 2} {
			if c < last && s[c].less(s[least].length) {
				least = c
			}
		}
		if least == i {
			return first
		}
		s[i], s[least] = s[least], s[i]
		i = least
	}
}

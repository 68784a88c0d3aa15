package bench

import (
	"container/heap"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"
)

// scaleFreeTable follows the protocol of Kollaps' table 4 (P. Gouveia et al.,
// EuroSys 2020): random scale-free networks of 1,000, 2,000 and 4,000
// elements, of which two thirds are end nodes and the rest switches; random
// pairs ping each other; reported is the mean squared error of the round trip
// beside the sum of the delays on the shortest way.
func scaleFreeTable(ctx context.Context, a *accuracy) error {
	for i, elements := range pick(a, []int{1000, 2000, 4000}, []int{300}) {
		if a.N > 0 && elements > 3*a.N/2 {
			continue // two thirds of them are vnodes
		}
		kollaps := pick(a, []float64{0.026, 0.038, 0.072}, []float64{0.026})[i]
		if err := a.scaleFree(ctx, elements, kollaps); err != nil {
			return fmt.Errorf("%d elements: %w", elements, err)
		}
		if err := a.clear(); err != nil {
			return err
		}
	}
	return nil
}

func (a *accuracy) scaleFree(ctx context.Context, elements int, kollaps float64) error {
	net := newScaleFree(elements, uint64(elements))
	ways := net.ways()
	if err := a.in.matrix("scalefree.txt", ways); err != nil {
		return err
	}
	p := newPlatform("scalefree")
	nodes := fmt.Sprintf("end[1-%d]", len(ways))
	p.vnodes(nodes, "", "")
	p.link("{nodes: %q, matrix: scalefree.txt, %s}", nodes, matrixOf)
	if err := a.up(ctx, p.name, p.text()); err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(uint64(elements), 4))
	senders := random.Perm(len(ways))[:min(len(ways), pick(a, 500, 50))]
	var pairs []askedPair
	for want := pick(a, 2000, 100); len(pairs) < want; {
		i, j := senders[random.IntN(len(senders))], random.IntN(len(ways))
		if i != j {
			pairs = append(pairs, askedPair{fmt.Sprintf("end%d", i+1), fmt.Sprintf("end%d", j+1), ways[i][j] + ways[j][i]})
		}
	}
	var got []*probed
	for range a.runs() {
		r, err := a.probe(ctx, p.name, pairs, 5)
		if err != nil {
			return err
		}
		got = append(got, r)
	}
	name := fmt.Sprintf("%d elements", elements)
	a.probedRow("scalefree", name+": mean squared error of probes", len(ways), "ms²", atMost("ours", kollaps), got, probesSquare)
	a.probedRow("scalefree", name+": mean squared error of pairs' medians", len(ways), "ms²", atMost("ours", kollaps), got, pairsSquare)
	a.probedRow("scalefree", name+": median error of probes", len(ways), "µs", Bar{}, got, medianError)
	return nil
}

// scaleFree is a network grown by preferential attachment (A.-L. Barabási and
// R. Albert, Science 286, 1999): each new switch is joined to two, each end
// node to one, the likelier the more links those have.
type scaleFree struct {
	links [][]hop // of each switch
	homes []hop   // of each end node: its switch
}

// hop is a link to a switch.
type hop struct {
	to    int
	delay time.Duration
}

func newScaleFree(elements int, seed uint64) *scaleFree {
	random := rand.New(rand.NewPCG(seed, 2020))
	delay := func() time.Duration { return time.Duration(500+random.IntN(4500)) * time.Microsecond }
	switches := max(elements/3, 3)
	g := &scaleFree{links: make([][]hop, switches)}
	var ends []int // each switch as often as it has links
	join := func(i, j int) {
		d := delay()
		g.links[i], g.links[j] = append(g.links[i], hop{j, d}), append(g.links[j], hop{i, d})
		ends = append(ends, i, j)
	}
	join(0, 1)
	join(1, 2)
	join(2, 0)
	for i := 3; i < switches; i++ {
		first := ends[random.IntN(len(ends))]
		second := first
		for second == first {
			second = ends[random.IntN(len(ends))]
		}
		join(i, first)
		join(i, second)
	}
	for range elements - switches {
		home := hop{ends[random.IntN(len(ends))], delay()}
		g.homes = append(g.homes, home)
		ends = append(ends, home.to)
	}
	return g
}

// ways is the delay on the shortest way between any two end nodes.
func (g *scaleFree) ways() [][]time.Duration {
	from := map[int][]time.Duration{} // by switch that is somebody's home
	out := make([][]time.Duration, len(g.homes))
	for i, a := range g.homes {
		if from[a.to] == nil {
			from[a.to] = g.shortest(a.to)
		}
		out[i] = make([]time.Duration, len(g.homes))
		for j, b := range g.homes {
			if i != j {
				out[i][j] = a.delay + from[a.to][b.to] + b.delay
			}
		}
	}
	return out
}

// shortest gives the delay from one switch to all (E. W. Dijkstra, 1959).
func (g *scaleFree) shortest(from int) []time.Duration {
	best := make([]time.Duration, len(g.links))
	for i := range best {
		best[i] = math.MaxInt64
	}
	best[from] = 0
	open := &hops{{from, 0}}
	for open.Len() > 0 {
		at := heap.Pop(open).(hop)
		if at.delay > best[at.to] {
			continue
		}
		for _, l := range g.links[at.to] {
			if d := at.delay + l.delay; d < best[l.to] {
				best[l.to] = d
				heap.Push(open, hop{l.to, d})
			}
		}
	}
	return best
}

// hops is a heap of switches, the nearest first.
type hops []hop

func (h hops) Len() int           { return len(h) }
func (h hops) Less(i, j int) bool { return h[i].delay < h[j].delay }
func (h hops) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push and Pop are what container/heap asks for.
func (h *hops) Push(x any) { *h = append(*h, x.(hop)) }
func (h *hops) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

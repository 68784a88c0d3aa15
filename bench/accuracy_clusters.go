package bench

import (
	"context"
	"fmt"
	"strings"
	"time"

	"myriad/api"
)

// clustersTable gives 40,000 vnodes in clusters a matrix of delays and
// exceptions of single pairs, and measures how long that takes, and what it
// costs a pair that all of it says nothing of.
func clustersTable(ctx context.Context, a *accuracy) error {
	n := a.scale()
	const clusters = 20
	p := newPlatform("clusters")
	for c := range clusters {
		fmt.Fprintf(&p.entries, "  - {nodes: \"v[%d-%d]\", vifaces: [lan], groups: [c%d]}\n", c*n/clusters+1, (c+1)*n/clusters, c+1)
	}
	p.vnodes("w[1-2]", "{delay: 1ms}", "")
	ways := make([][]time.Duration, clusters)
	var groups []string
	for i := range ways {
		groups = append(groups, fmt.Sprintf("c%d", i+1))
		ways[i] = make([]time.Duration, clusters)
		for j := range ways[i] {
			if i != j { // within a cluster, nothing is said
				ways[i][j] = time.Duration(5+(7*i+3*j)%50) * time.Millisecond
			}
		}
	}
	if err := a.in.matrix("clusters.txt", ways); err != nil {
		return err
	}
	p.link("{groups: [%s], matrix: clusters.txt, %s}", strings.Join(groups, ", "), matrixOf)
	exceptions := pick(a, 1000, 100)
	for i := range exceptions { // between the first cluster and the last
		p.link("{from: v%d, to: v%d, delay: %dus}", i+1, n-i, 2000+i)
	}
	p.link("{from: v3, to: v4, delay: 1ms, oneway: true}")
	if err := a.up(ctx, p.name, p.text()); err != nil {
		return err
	}
	plain := newPlatform("plain")
	plain.vnodes("v[1-2]", "", "")
	if err := a.up(ctx, plain.name, plain.text()); err != nil {
		return err
	}
	if err := a.learnHolder(ctx, p.name); err != nil {
		return err
	}
	if err := a.apply(ctx, p.name, n, fmt.Sprintf("%d × %d clusters of %d vnodes, %d exceptions", clusters, clusters, n, exceptions)); err != nil {
		return err
	}
	return a.lookUp(ctx, p.name, plain.name, n)
}

// apply has all conditions of pairs go, and come back as the file has them.
func (a *accuracy) apply(ctx context.Context, platform string, n int, name string) error {
	var calls, writes []reading
	for range a.runs() {
		took, m, err := calm(ctx, a, func() (v [2]float64, err error) {
			c := a.in.daemon()
			if _, err := c.ChangeLinks(ctx, platform, &api.LinkChange{Nodes: "*", To: "*", Set: []string{"delay=none"}}); err != nil {
				return v, err
			}
			start := time.Now()
			done, err := c.ChangeLinks(ctx, platform, &api.LinkChange{Reset: true})
			if err == nil {
				v = [2]float64{time.Since(start).Seconds(), done.Took.Seconds()}
			}
			return v, err
		})
		if err != nil {
			return err
		}
		a.say("clusters: applied in %.3f s, of which %.3f s until in force", took[0], took[1])
		calls, writes = append(calls, reading{took[0], m}), append(writes, reading{took[1], m})
	}
	a.add("clusters", name+": call to answer", n, "s", atMost("ours", 2), calls)
	a.add("clusters", name+": writing, until in force", n, "s", atMost("ours", 2), writes)
	return nil
}

// lookUp compares pairs of vnodes under conditions with pairs that have none.
func (a *accuracy) lookUp(ctx context.Context, platform, plain string, n int) error {
	with, err := a.in.between(ctx, platform, "v1", "v2")
	if err != nil {
		return err
	}
	without, err := a.in.between(ctx, plain, "v1", "v2")
	if err != nil {
		return err
	}
	const name = "pair without conditions among them"
	if err := a.compare(ctx, "clusters", name, "no shaping", n, 0.9, end{platform, with}, end{plain, without}); err != nil {
		return err
	}
	pair, err := a.in.between(ctx, platform, "v3", "v4")
	if err != nil {
		return err
	}
	single, err := a.in.between(ctx, platform, "w1", "w2")
	if err != nil {
		return err
	}
	return a.compareCase(ctx, "clusters", "1 ms by exception of a pair", "1 ms by viface", n, atLeast("ratio", 0.9),
		end{platform, pair}, end{platform, single}, tcpCase)
}

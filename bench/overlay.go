package bench

import (
	"context"
	"fmt"

	"myriad/api"
	"myriad/testbed"
)

// overlayCases are what is measured between vnodes of two pnodes.
var overlayCases = []struct {
	trafficCase
	bar Bar
}{
	{trafficCases[0], atMost("ratio", 0.7)},
	{trafficCases[1], atLeast("ratio", 1.35)},
	{trafficCases[2], atLeast("ratio", 1.1)},
	{trafficCases[3], Bar{}},
	{trafficCases[4], Bar{}},
	{trafficCases[5], Bar{}},
}

// rival is what a path of ours stands beside.
type rival struct {
	name string
	vnodes
	pair
}

// Overlay measures the path between vnodes of two pnodes on one cable, o.N/2 on
// each, beside Linux bridges with VXLAN made by hand on the same, with as many
// ports; and, on a bridged underlay, beside the design of Distem's paper.
func Overlay(ctx context.Context, o Options) ([]Row, error) {
	rows, err := overlayByHand(ctx, o)
	if err != nil {
		return rows, err
	}
	more, err := overlayMulticast(ctx, o)
	return append(rows, more...), err
}

func overlayByHand(ctx context.Context, o Options) ([]Row, error) {
	l, err := newLab(ctx, o, testbed.Options{Pnodes: 2, Direct: true})
	if err != nil {
		return nil, err
	}
	defer l.close()
	us, err := l.across(ctx, o, "bench-overlay", "")
	if err != nil {
		return nil, err
	}
	var rows []Row
	for _, layers := range []bool{false, true} {
		more, err := besideHand(ctx, o, l, us, layers)
		if err != nil {
			return rows, err
		}
		rows = append(rows, more...)
	}
	return rows, l.close()
}

// besideHand compares us with an overlay made by hand.
func besideHand(ctx context.Context, o Options, l *lab, us *rival, layers bool) ([]Row, error) {
	name := "bridge and VXLAN by hand"
	if layers {
		name = "the same in layers, for > 1,023 vnodes"
	}
	o.say("overlay: %s: %d ports on either pnode", name, o.N/2)
	hand, err := newHandBridge(ctx, l.Bed, l.exe, max(o.N/2, 1), layers)
	if err != nil {
		return nil, err
	}
	defer hand.close()
	them := rival{name, hand, pair{"by hand", handName(0, 0), handName(1, 0), handAddr(1, 0).String()}}
	rows, err := compareOverlays(ctx, o, *us, them, true)
	if err != nil {
		return nil, err
	}
	return rows, hand.close()
}

// overlayMulticast is the design of 2014: bridges that learn, and a multicast
// group for what they do not know.
func overlayMulticast(ctx context.Context, o Options) ([]Row, error) {
	l, err := newLab(ctx, o, testbed.Options{Pnodes: 2, Bridged: true})
	if err != nil {
		return nil, err
	}
	defer l.close()
	us, err := l.across(ctx, o, "bench-overlay", "")
	if err != nil {
		return nil, err
	}
	them, err := l.across(ctx, o, "bench-multicast", "fabric: bridge\noverlay: {kind: multicast, port: 4790}\n")
	if err != nil {
		return nil, err
	}
	them.name = "multicast, as in 2014"
	rows, err := compareOverlays(ctx, o, *us, *them, false)
	if err == nil {
		err = l.close()
	}
	return rows, err
}

// across brings a platform up over both pnodes, and finds a vnode on either.
func (l *lab) across(ctx context.Context, o Options, name, more string) (*rival, error) {
	o.say("overlay: %s: %d vnodes on two pnodes coming up", name, o.N)
	file, err := l.file(name+".yaml", flat(name, 1, o.N, more))
	if err != nil {
		return nil, err
	}
	if err := l.run(ctx, nil, "up", file); err != nil {
		return nil, err
	}
	var vnodes []api.Vnode
	if err := l.run(ctx, &vnodes, "ps", "-p", name, fmt.Sprintf("peer[1-%d]", o.N)); err != nil {
		return nil, err
	}
	for _, v := range vnodes {
		if v.Pnode != vnodes[0].Pnode {
			return &rival{name, l.vnodes(name), pair{"across pnodes", vnodes[0].Name, v.Name, address(v)}}, nil
		}
	}
	return nil, fmt.Errorf("%s: all %d vnodes are on one pnode", name, len(vnodes))
}

// compareOverlays measures both in turns.
func compareOverlays(ctx context.Context, o Options, us, them rival, barred bool) ([]Row, error) {
	samples := make([][]sample, len(overlayCases))
	for run := range o.Runs {
		o.say("overlay: beside %s: run %d of %d", them.name, run+1, o.Runs)
		for i, c := range overlayCases {
			var v [2]float64
			for turn := range 2 {
				k := (turn + run) % 2 // neither is always the first
				who := []rival{us, them}[k]
				r, err := measure(ctx, who, who.pair, c.trafficCase)
				if err != nil {
					return nil, fmt.Errorf("%s, %s: %w", who.name, c.name, err)
				}
				v[k] = c.value(*r)
			}
			samples[i] = append(samples[i], sample{v[0], v[1]})
		}
	}
	var rows []Row
	for i, c := range overlayCases {
		bar := c.bar
		if !barred {
			bar = Bar{}
		}
		rows = append(rows, newRow("overlay", c.name, o.N, c.unit, them.name, bar, samples[i]))
	}
	return rows, nil
}

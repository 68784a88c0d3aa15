package bench

import (
	"context"
	"fmt"

	"myriad/api"
	"myriad/kernel/fabric"
)

// end is a pair of vnodes of a platform.
type end struct {
	platform string
	pair
}

// between finds two vnodes.
func (in *instance) between(ctx context.Context, platform, from, to string) (pair, error) {
	addrs, err := in.addresses(ctx, platform, to)
	return pair{name: platform, from: from, to: to, addr: addrs[to].String()}, err
}

// The traffic of these tables: one thread with both ends, so that the path is
// what is measured; and TCP, as programs use it.
var (
	pingCase = trafficCase{name: "RTT, UDP, pinned", unit: "µs", server: []string{"lend", "--cpu", "0"},
		client: []string{"pair-ping", "--cpu", "0", "--count", "100000"}, value: func(r PeerResult) float64 { return r.Median }}
	packetCase = trafficCase{name: "64-byte packets, pinned", unit: "packets/s", server: []string{"lend", "--cpu", "0"},
		client: []string{"pair-send", "--cpu", "0", "--seconds", "1"}, value: func(r PeerResult) float64 { return r.Rate }}
	tcpCase = trafficCase{name: "TCP, one stream", unit: "Gbit/s", server: []string{"tcp-sink"},
		client: []string{"tcp-send", "--seconds", "2"}, value: func(r PeerResult) float64 { return r.Rate / 1e9 }}
)

// compare measures all traffic on two pairs.
func (a *accuracy) compare(ctx context.Context, table, name, reference string, n int, bar float64, ours, theirs end) error {
	for _, c := range []trafficCase{packetCase, tcpCase, pingCase} {
		b := atLeast("ratio", bar)
		if c.unit == pingCase.unit {
			b = atMost("ratio", 1/bar)
		}
		if err := a.compareCase(ctx, table, name, reference, n, b, ours, theirs, c); err != nil {
			return err
		}
	}
	return nil
}

// compareCase measures one kind of traffic on two pairs, in alternation.
func (a *accuracy) compareCase(ctx context.Context, table, name, reference string, n int, bar Bar, ours, theirs end, c trafficCase) error {
	var got []sample
	worst := mood{}
	for run := range pick(a, max(a.runs(), 5), 1) {
		s, m, err := calm(ctx, a, func() (s sample, err error) {
			for turn := range 2 {
				who, value := ours, &s.ours
				if (turn+run)%2 == 1 { // neither is always the first
					who, value = theirs, &s.reference
				}
				r, err := measure(ctx, a.in.vnodes(who.platform), who.pair, c)
				if err != nil {
					return s, fmt.Errorf("%s, %s: %w", who.platform, c.name, err)
				}
				*value = c.value(*r)
			}
			return s, nil
		})
		if err != nil {
			return err
		}
		got = append(got, s)
		worst.steal, worst.busy, worst.times = max(worst.steal, m.steal), max(worst.busy, m.busy), max(worst.times, m.times)
	}
	row := a.addAgainst(table, name+": "+c.name, n, c.unit, reference, bar, got, worst)
	a.say("%s: %s: ratio %s", table, row.Case, figure(row.Ratio))
	return nil
}

// noneTable compares a platform of which one vnode has conditions, among the
// others, with one that has none; and what it is like after they were
// removed.
func noneTable(ctx context.Context, a *accuracy) error {
	platforms := []*platform{newPlatform("some"), newPlatform("plain"), newPlatform("removed")}
	for i, p := range platforms {
		p.vnodes("v[1-2]", "", "")
		conditions := ""
		if i == 0 {
			conditions = "{delay: 5ms}"
		}
		p.vnodes("x", conditions, "")
		if err := a.up(ctx, p.name, p.text()); err != nil {
			return err
		}
	}
	if err := a.learnHolder(ctx, platforms[0].name); err != nil {
		return err
	}
	before, err := a.in.trunkCode(platforms[2].name)
	if err != nil {
		return err
	}
	shaped, err := a.removed(ctx, platforms[2].name)
	if err != nil {
		return err
	}
	after, err := a.in.trunkCode(platforms[2].name)
	if err != nil {
		return err
	}
	plain, err := a.in.trunkCode(platforms[1].name)
	if err != nil {
		return err
	}
	a.sameCode("no condition set: instructions that differ from never had", plain, before, shaped)
	a.sameCode("conditions removed: instructions that differ from before", before, after, shaped)
	var ends []end
	for _, p := range platforms {
		pair, err := a.in.between(ctx, p.name, "v1", "v2")
		if err != nil {
			return err
		}
		ends = append(ends, end{p.name, pair})
	}
	if err := a.compare(ctx, "none", "pair without conditions, others have some", "no shaping", 3, 0.95, ends[0], ends[1]); err != nil {
		return err
	}
	return a.compare(ctx, "none", "conditions removed", "never had", 3, 0.95, ends[2], ends[1])
}

// removed gives a platform conditions, and takes them away; meanwhile it has
// another program, which is given.
func (a *accuracy) removed(ctx context.Context, platform string) (*fabric.Code, error) {
	c := a.in.daemon()
	if _, err := c.ChangeLinks(ctx, platform, &api.LinkChange{Nodes: "*", Set: []string{"delay=5ms", "loss=1%"}}); err != nil {
		return nil, err
	}
	shaped, err := a.in.trunkCode(platform)
	if err != nil {
		return nil, err
	}
	_, err = c.ChangeLinks(ctx, platform, &api.LinkChange{Reset: true})
	return shaped, err
}

// sameCode compares two programs as the kernel translated them; the third is
// known to differ, which shows that the comparison sees something.
func (a *accuracy) sameCode(name string, x, y, other *fabric.Code) {
	row := a.add("none", name, len(x.Instructions), "instructions", atMost("ours", 0),
		[]reading{{float64(differences(x, y)), mood{note: fmt.Sprintf("tag %s and %s; with conditions %d differ", x.Tag, y.Tag, differences(x, other))}}})
	a.say("none: %s: %s (%s)", name, figure(row.Ours), row.Note)
}

// differences counts the instructions in which two programs differ, and those
// that only one has.
func differences(x, y *fabric.Code) int {
	a, b := x.Instructions, y.Instructions
	n := max(len(a), len(b)) - min(len(a), len(b))
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

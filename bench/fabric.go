package bench

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"myriad/api"
	"myriad/program"
)

// fabrics are measured side by side: ours, and the plain bridge it replaces.
var fabrics = []string{"ebpf", "bridge"}

// pair is two vnodes whose path is measured.
type pair struct {
	name     string // within a rack, across racks
	from, to string // vnodes
	addr     string // of to
}

// trafficCase is one kind of measurement on a pair.
type trafficCase struct {
	name, unit     string
	server, client []string // arguments of the peers, the address apart
	value          func(PeerResult) float64
	bars           map[string]Bar // by pair
}

var trafficCases = []trafficCase{
	{"RTT, UDP, pinned", "µs", []string{"lend", "--cpu", "0"}, []string{"pair-ping", "--cpu", "0", "--count", "200000"},
		func(r PeerResult) float64 { return r.Median },
		map[string]Bar{"within a rack": atMost("ratio", 0.9), "across racks": atMost("ratio", 0.75)}},
	{"64-byte packets, pinned", "packets/s", []string{"lend", "--cpu", "0"}, []string{"pair-send", "--cpu", "0", "--seconds", "2"},
		func(r PeerResult) float64 { return r.Rate },
		map[string]Bar{"within a rack": atLeast("ratio", 1.2), "across racks": atLeast("ratio", 1.5)}},
	{"TCP, one stream", "Gbit/s", []string{"tcp-sink"}, []string{"tcp-send", "--seconds", "3"},
		func(r PeerResult) float64 { return r.Rate / 1e9 },
		map[string]Bar{"within a rack": atLeast("ratio", 1.0), "across racks": atLeast("ratio", 1.1)}},
	{"RTT, UDP, pinned, two processes", "µs", []string{"udp-echo", "--cpu", "0"}, []string{"udp-ping", "--cpu", "0", "--count", "200000"},
		func(r PeerResult) float64 { return r.Median }, nil},
	{"64-byte packets, pinned, two processes", "packets/s", []string{"udp-sink", "--cpu", "0"}, []string{"udp-send", "--cpu", "0", "--seconds", "2"},
		func(r PeerResult) float64 { return r.Rate }, nil},
	{"TCP, one stream, pinned", "Gbit/s", []string{"tcp-sink", "--cpu", "0"}, []string{"tcp-send", "--cpu", "0", "--seconds", "3"},
		func(r PeerResult) float64 { return r.Rate / 1e9 }, nil},
}

// Fabric measures the eBPF fabric beside Linux bridges, with o.N ports each
// in two racks, and counts what ARP costs.
func Fabric(ctx context.Context, o Options) ([]Row, error) {
	if o.N <= program.RackVnodes/2 {
		return nil, fmt.Errorf("bench fabric needs two racks: --vnodes above %d", program.RackVnodes/2)
	}
	in, err := newInstance(o.Exe)
	if err != nil {
		return nil, err
	}
	defer in.close()
	for _, f := range fabrics {
		o.say("fabric: %d vnodes on %s coming up", 2*o.N, f)
		file, err := in.file(f+".yaml", flat("bench-"+f, 1, 2*o.N, "fabric: "+f+"\n"))
		if err != nil {
			return nil, err
		}
		if err := in.run(ctx, nil, "up", file); err != nil {
			return nil, err
		}
	}
	rows, err := traffic(ctx, o, in)
	if err != nil {
		return nil, err
	}
	arp, err := arpCost(ctx, o, in)
	if err != nil {
		return nil, err
	}
	return append(rows, arp...), in.close()
}

func traffic(ctx context.Context, o Options, in *instance) ([]Row, error) {
	pairs := map[string][]pair{}
	for _, f := range fabrics {
		p, err := pairsOf(ctx, in, "bench-"+f, 2*o.N)
		if err != nil {
			return nil, err
		}
		pairs[f] = p
	}
	samples := map[string][]sample{}
	for run := range o.Runs {
		o.say("fabric: run %d of %d", run+1, o.Runs)
		for _, c := range trafficCases {
			for i := range pairs[fabrics[0]] {
				var v [2]float64
				for turn := range fabrics {
					k := (turn + run) % len(fabrics) // neither is always the first
					f := fabrics[k]
					r, err := measure(ctx, in.vnodes("bench-"+f), pairs[f][i], c)
					if err != nil {
						return nil, fmt.Errorf("%s, %s, %s: %w", f, pairs[f][i].name, c.name, err)
					}
					v[k] = c.value(*r)
				}
				key := pairs[fabrics[0]][i].name + ": " + c.name
				samples[key] = append(samples[key], sample{v[0], v[1]})
			}
		}
	}
	var rows []Row
	for _, p := range pairs[fabrics[0]] {
		for _, c := range trafficCases {
			key := p.name + ": " + c.name
			rows = append(rows, newRow("fabric", key, o.N, c.unit, "Linux bridge", c.bars[p.name], samples[key]))
		}
	}
	return rows, nil
}

// pairsOf finds two vnodes of one rack, and two of different racks.
func pairsOf(ctx context.Context, in *instance, platform string, n int) ([]pair, error) {
	var vnodes []api.Vnode
	if err := in.run(ctx, &vnodes, "ps", "-p", platform, fmt.Sprintf("peer[1-2],peer%d", n)); err != nil {
		return nil, err
	}
	if len(vnodes) != 3 || vnodes[0].Rack != vnodes[1].Rack || vnodes[0].Rack == vnodes[2].Rack {
		return nil, fmt.Errorf("%s: the vnodes are not placed as this bench needs: %+v", platform, vnodes)
	}
	return []pair{
		{"within a rack", vnodes[0].Name, vnodes[1].Name, address(vnodes[1])},
		{"across racks", vnodes[0].Name, vnodes[2].Name, address(vnodes[2])},
	}, nil
}

func address(v api.Vnode) string {
	a, _, _ := strings.Cut(v.Vifaces[0].Address, "/")
	return a
}

// arpCost has o.N vnodes each resolve a hundred others, and reads from the
// counters what that cost the fabric.
func arpCost(ctx context.Context, o Options, in *instance) ([]Row, error) {
	const each = 100
	o.say("fabric: %d vnodes resolve %d others each", o.N, each)
	var target []api.Vnode
	if err := in.run(ctx, &target, "ps", "-p", "bench-ebpf", fmt.Sprintf("peer%d", o.N+1)); err != nil {
		return nil, err
	}
	before, err := in.counters(ctx, "bench-ebpf")
	if err != nil {
		return nil, err
	}
	start := time.Now()
	err = in.run(ctx, nil, "exec", "-p", "bench-ebpf", fmt.Sprintf("peer[1-%d]", o.N), "--", in.exe, "bench", "peer", "resolve",
		address(target[0])+":9", "--count", strconv.Itoa(each))
	if err != nil {
		return nil, err
	}
	took := time.Since(start).Seconds()
	after, err := in.counters(ctx, "bench-ebpf")
	if err != nil {
		return nil, err
	}
	asked := float64(o.N * each)
	answered := float64(after["arp_answered"] - before["arp_answered"])
	// What is for all is delivered to all or dropped, as the size of the network
	// has it; with IPv6 quiet, only ARP that was not answered could be so.
	flooded := float64(after["broadcast"] + after["drop_broadcast"] - before["broadcast"] - before["drop_broadcast"])
	return []Row{
		newRow("fabric", "ARP requests answered in place", o.N, "packets", "resolutions asked for", atLeast("ratio", 1), []sample{{answered, asked}}),
		newRow("fabric", "ARP frames flooded", o.N, "packets", "", atMost("ours", 0), []sample{{flooded, 0}}),
		newRow("fabric", "ARP: time of it all, processes included", o.N, "s", "", Bar{}, []sample{{took, 0}}),
	}, nil
}

func (in *instance) counters(ctx context.Context, platform string) (map[string]uint64, error) {
	var all []api.Platform
	if err := in.run(ctx, &all, "status", platform); err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for _, p := range all {
		for _, c := range p.Counters {
			out[c.Name] = c.Packets
		}
	}
	return out, nil
}

package graphml

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"myriad/link"
)

// network is a graph with everything decided.
type network struct {
	*Graph
	*problems
	o       Options
	s       Summary
	p       *placer
	kept    []bool // by node
	router  []int  // by node: its router, -1 if it has none
	routers []router
	links   []wire
	byName  map[string][]int // routers, for HostsAt
}

type router struct {
	node  int
	name  string
	hosts int
	links []int
	lan   string // subnet of its hosts; empty if it has none
}

// wire is a point-to-point vnetwork.
type wire struct {
	a, b   int // routers, in the order of the file
	name   string
	subnet string
	delay  time.Duration
	rate   uint64
	km     float64
	how    lengthSource
	edges  []int
}

type lengthSource uint8

const (
	byPlace lengthSource = iota
	byFile
	byDefault
)

// Limits of what becomes of a graph.
const (
	maxHosts     = 1 << 16 // of a router
	maxVnetworks = 65_535
	lostDelay    = time.Millisecond // of links of which nothing is known
)

// build decides everything.
func (g *Graph) build(o Options) *network {
	n := &network{Graph: g, problems: &problems{file: o.File}, o: o, kept: make([]bool, len(g.Nodes)), router: make([]int, len(g.Nodes))}
	n.s.Nodes, n.s.Edges = len(g.Nodes), len(g.Edges)
	n.p = g.place(&o)
	n.keep()
	n.nameRouters()
	n.joinRouters()
	n.attachHosts()
	if len(n.routers) == 0 {
		n.report(place{}, "", "import with other options", "no node is left")
	}
	n.measure()
	n.number()
	n.summarise()
	return n
}

// keep decides which nodes become routers.
func (n *network) keep() {
	joined := make([]bool, len(n.Nodes))
	for _, e := range n.Edges {
		joined[e.From], joined[e.To] = true, true
	}
	for i, node := range n.Nodes {
		n.kept[i] = !(node.Group && !joined[i]) && !(n.o.InternalOnly && node.External)
	}
	parts := n.parts()
	if n.s.Parts = len(parts); n.o.Largest && len(parts) > 1 {
		largest := slices.MaxFunc(parts, func(a, b []int) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(b[0], a[0])) })
		clear(n.kept)
		for _, i := range largest {
			n.kept[i] = true
		}
		n.s.note("the largest of %d parts is left", len(parts))
		n.s.Parts = 1
	}
}

// parts gives the nodes that edges join, in the order of the first of each.
func (n *network) parts() (parts [][]int) {
	seen := make([]bool, len(n.Nodes))
	for first := range n.Nodes {
		if !n.kept[first] || seen[first] {
			continue
		}
		part := []int{first}
		seen[first] = true
		for at := 0; at < len(part); at++ {
			for _, i := range n.p.near[part[at]] {
				if n.kept[i] && !seen[i] {
					seen[i] = true
					part = append(part, i)
				}
			}
		}
		slices.Sort(part)
		parts = append(parts, part)
	}
	return parts
}

func (n *network) nameRouters() {
	names := namer{used: map[string]bool{}, last: map[string]int{}}
	n.byName = map[string][]int{}
	joint := 0
	for i, node := range n.Nodes {
		if n.router[i] = -1; !n.kept[i] {
			continue
		}
		fallback := node.ID
		if node.Joint && plainName(node.Label) == "" {
			joint++
			fallback = fmt.Sprintf("joint%d", joint)
		}
		n.router[i] = len(n.routers)
		r := router{node: i, name: names.name(node.Label, fallback)}
		n.routers = append(n.routers, r)
		for _, key := range []string{node.ID, strings.ToLower(node.Label), r.name} {
			if same := n.byName[key]; key != "" && (len(same) == 0 || same[len(same)-1] != n.router[i]) {
				n.byName[key] = append(same, n.router[i])
			}
		}
	}
}

// joinRouters makes links of edges.
func (n *network) joinRouters() {
	between := map[[2]int]int{} // links so far, or the last link
	for i, e := range n.Edges {
		a, b := n.router[e.From], n.router[e.To]
		switch {
		case e.From == e.To:
			n.s.SelfLoops++
			continue
		case a < 0 || b < 0:
			continue
		}
		if a > b {
			a, b = b, a
		}
		at, parallel := between[[2]int{a, b}]
		if parallel && !n.o.KeepParallel {
			n.links[at].edges = append(n.links[at].edges, i)
			n.s.Parallel++
			continue
		}
		nth := 1
		if parallel {
			nth = at + 1
		}
		l := wire{a: a, b: b, name: linkName(n.routers[a].name, n.routers[b].name, nth), edges: []int{i}}
		between[[2]int{a, b}] = len(n.links)
		if n.o.KeepParallel {
			between[[2]int{a, b}] = nth
		}
		n.routers[a].links = append(n.routers[a].links, len(n.links))
		n.routers[b].links = append(n.routers[b].links, len(n.links))
		n.links = append(n.links, l)
	}
}

// attachHosts counts the hosts of routers.
func (n *network) attachHosts() {
	for i := range n.routers {
		if node := n.Nodes[n.routers[i].node]; !node.External && !node.Joint {
			n.routers[i].hosts = n.o.Hosts
		}
	}
	for _, key := range slices.Sorted(mapKeys(n.o.HostsAt)) {
		at := n.byName[key]
		if len(at) == 0 {
			at = n.byName[strings.ToLower(key)]
		}
		if len(at) == 0 {
			n.report(place{}, "hosts at "+clip(key), "give the label or the ID of a node that is imported", "there is no such node")
		}
		for _, i := range at {
			n.routers[i].hosts = n.o.HostsAt[key]
		}
	}
	for _, r := range n.routers {
		if r.hosts < 0 || r.hosts > maxHosts {
			n.report(place{}, "hosts", fmt.Sprintf("0 to %d", maxHosts), "%d hosts at %s cannot be", r.hosts, r.name)
			return
		}
	}
}

func mapKeys(m map[string]int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// measure gives links their delays and rates: of several edges, the least
// delay and the sum of the rates.
func (n *network) measure() {
	for i := range n.links {
		l := &n.links[i]
		for j, e := range l.edges {
			delay, km, how := n.length(&n.Edges[e])
			if j == 0 || delay < l.delay {
				l.delay, l.km, l.how = delay, km, how
			}
			rate := n.Edges[e].Rate
			if n.o.NoRates || rate == 0 {
				rate = n.o.DefaultRate
			}
			l.rate += rate
		}
		if l.rate = min(l.rate, link.MaxRate); l.rate > 0 && l.rate < link.MinRate {
			n.report(place{n.Edges[l.edges[0]].Line, 1}, "edge", "leave out what is no rate", "%d bit/s is less than %d", l.rate, link.MinRate)
		}
	}
}

// length gives the delay of an edge.
func (n *network) length(e *Edge) (delay time.Duration, km float64, how lengthSource) {
	switch {
	case e.HasDelay:
		return e.Delay, 0, byFile
	case n.p.source[e.From] == unplaced || n.p.source[e.To] == unplaced:
		return cmp.Or(n.o.DefaultDelay, lostDelay), 0, byDefault
	}
	km = link.Distance(n.p.at[e.From], n.p.at[e.To])
	return min(link.Propagation(km, link.FibreSpeed, n.o.Stretch), link.MaxDelay), km, byPlace
}

// summarise counts.
func (n *network) summarise() {
	s := &n.s
	var nodes []int
	for _, r := range n.routers {
		nodes = append(nodes, r.node)
		s.Hosts += r.hosts
		if n.Nodes[r.node].Joint {
			s.Joints++
		}
		if n.Nodes[r.node].External {
			s.External++
		}
		if r.lan != "" {
			s.Vnetworks++
		}
	}
	s.Routers, s.Links = len(n.routers), len(n.links)
	s.Vnetworks += s.Links
	s.DroppedNodes = s.Nodes - s.Routers
	s.DroppedEdges = s.Edges - s.Links - s.Parallel
	n.p.count(s, nodes)
	for _, l := range n.links {
		s.LongestDelay = max(s.LongestDelay, l.delay)
		if l.rate > 0 {
			s.WithRate++
		}
		if l.how == byDefault {
			s.DefaultDelays++
		}
	}
	s.FarPairs = n.farPairs()
	n.remark()
}

// remark says in words what a reader of the topology has to know.
func (n *network) remark() {
	s := &n.s
	if s.Known > 0 {
		s.note("%s taken for a city of that name", are(s.Known, "node"))
	}
	if s.Fitted > 0 {
		s.note("%s placed by the drawing: for the %d known ones among them, that is %.0f km off (median)",
			are(s.Fitted, "node"), n.p.fit.anchors, n.p.fit.off)
	}
	if s.Interpolated > 0 {
		s.note("%s put between neighbours, for lack of a known place", are(s.Interpolated, "node"))
	}
	if s.DefaultDelays > 0 {
		s.note("%s no known length, and the default delay of %s", has(s.DefaultDelays, "link"), link.FormatDelay(cmp.Or(n.o.DefaultDelay, lostDelay)))
	}
	if without := s.Links - s.WithRate; without > 0 && s.WithRate > 0 {
		s.note("%s no known rate, and none", has(without, "link"))
	}
	if s.SelfLoops > 0 {
		s.note("%s dropped: from a node to itself", are(s.SelfLoops, "edge"))
	}
	if s.Parallel > 0 {
		s.note("%s made part of a parallel link, which has the sum of the rates and the least delay", are(s.Parallel, "edge"))
	}
	if s.FarPairs > 0 {
		s.note("between hosts of %s of routers, the fastest way has more than %d gateways, which packets of the usual TTL of 64 do not survive: raise net.ipv4.ip_default_ttl in those hosts",
			plural(s.FarPairs, "pair"), mostGateways)
	}
	if s.Parts > 1 {
		s.note("the network has %d parts that nothing joins", s.Parts)
	}
}

// are is "1 node is", "2 nodes are".
func are(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " is"
	}
	return plural(n, noun) + " are"
}

func has(n int, noun string) string {
	if n == 1 {
		return "1 " + noun + " has"
	}
	return plural(n, noun) + " have"
}

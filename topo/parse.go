package topo

import (
	"cmp"
	"slices"

	"myriad/program"
)

// Limits of a platform.
const (
	MaxVnodes   = 16_000_000 // host numbers have 24 bits in a MAC address
	MaxNetworks = 65_535     // network IDs have 16

	maxRanges = 2_000_000 // in all node sets of a file together
)

// Parse reads a topology file in YAML or JSON. name is what the errors call
// it. If anything is wrong with the file, the error is an Errors value that
// has every problem, and there is no Topology.
func Parse(name string, src []byte) (*Topology, error) {
	ps := &problems{file: name}
	root, ok := ps.document(src)
	if !ok {
		return nil, ps.err()
	}
	file, ok := platform.read(ps, root, &place{line: root.Line, column: root.Column})
	if !ok {
		return nil, ps.err()
	}
	t := newBuilder(ps, file).build()
	if err := ps.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// builder makes the Topology out of the values of the file, and checks what
// no single value can say: that names are known, and that the whole works.
// What one check has reported is unsound to the next ones, which leave it out
// rather than report the echo.
type builder struct {
	*problems
	file      value
	topo      Topology
	networks  []network      // sorted by name, as in topo.Networks
	networkOf map[string]int // index into networks by name
	templates []template     // in the order of the file
	index     *index         // of templates by their vnodes
	kinds     []*template    // templates that differ in the vnetworks that they are in, one of each
	kindIndex *index         // of kinds by their vnodes
	allKnown  bool           // no template's nodes are in doubt
	groups    *groups
	ranges    int                    // in node sets so far
	fixed     map[hostAddress]holder // who has a fixed address
	macs      map[program.MAC]int    // fixed Ethernet addresses, and their lines
}

func newBuilder(ps *problems, file value) *builder {
	return &builder{problems: ps, file: file, fixed: map[hostAddress]holder{}, macs: map[program.MAC]int{}}
}

func (b *builder) build() *Topology {
	b.topo.Name = b.file.or("platform", "")
	b.topo.Seed = 1
	if v, ok := b.file.get("seed"); ok {
		b.topo.Seed = v.number
	}
	if b.file.or("fabric", "ebpf") == "bridge" {
		b.topo.Fabric = program.FabricBridge
	}
	b.topo.Complete = b.file.or("routing", "none") == "complete"

	b.readNetworks()
	b.readTemplates()
	b.checkRoom()
	b.readGroups()
	b.readRoutes()
	if b.topo.Complete {
		b.checkComplete()
	}
	if b.count > 0 {
		return nil
	}

	for _, n := range b.networks {
		b.topo.Networks = append(b.topo.Networks, n.Network)
	}
	slices.SortFunc(b.templates, func(x, y template) int { return cmp.Compare(x.first, y.first) })
	for _, t := range b.templates {
		b.topo.Vnodes = append(b.topo.Vnodes, t.Template)
	}
	return &b.topo
}

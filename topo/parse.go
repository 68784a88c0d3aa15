package topo

import (
	"cmp"
	"slices"
	"time"

	"myriad/link"
	"myriad/nodeset"
	"myriad/program"
)

// Limits of a platform.
const (
	MaxVnodes   = 16_000_000 // host numbers have 24 bits in a MAC address
	MaxNetworks = 65_535     // network IDs have 16

	maxRanges = 2_000_000 // in all node sets of a file together
)

// Parse reads a topology file in YAML or JSON that refers to no other files.
// name is what the errors call it. If anything is wrong with the file, the
// error is an Errors value that has every problem, and there is no Topology.
func Parse(name string, src []byte) (*Topology, error) { return ParseWith(name, src, nil) }

// ParseWith is Parse for a file that may refer to others: files gives their
// contents by the names that the file uses, which are relative to its own
// folder. It is called once for each name.
func ParseWith(name string, src []byte, files func(path string) ([]byte, error)) (*Topology, error) {
	ps := &problems{file: name}
	root, ok := ps.document(src)
	if !ok {
		return nil, ps.err()
	}
	file, ok := platform.read(ps, root, &place{line: root.Line, column: root.Column})
	if !ok {
		return nil, ps.err()
	}
	b := newBuilder(ps, file)
	b.files.read = files
	t := b.build()
	if err := ps.err(); err != nil {
		return nil, err
	}
	return t, nil
}

// Scope is what a schedule can be about that is not part of a topology file.
type Scope struct {
	Nodes  *nodeset.Set            // all vnodes
	Groups map[string]*nodeset.Set // as in Topology
}

// ParseSchedule reads a file that has only the fields schedule, repeat and
// profiles of a topology file, for a platform that is up. Its errors, and
// files, are as those of ParseWith.
func ParseSchedule(name string, src []byte, s Scope, files func(path string) ([]byte, error)) (steps []Step, repeat time.Duration, err error) {
	ps := &problems{file: name}
	root, ok := ps.document(src)
	if !ok {
		return nil, 0, ps.err()
	}
	file, ok := scheduleFile.read(ps, root, &place{line: root.Line, column: root.Column})
	if !ok {
		return nil, 0, ps.err()
	}
	b := newBuilder(ps, file)
	b.files.read = files
	b.index, b.allKnown = newIndex([]*nodeset.Set{s.Nodes}), true
	b.groups = &groups{b: b, set: s.Groups}
	b.readProfiles()
	b.readSchedule()
	if err := ps.err(); err != nil {
		return nil, 0, err
	}
	return b.topo.Schedule, b.topo.Repeat, nil
}

// readMetric reads the field metric.
func (b *builder) readMetric() {
	v, ok := b.file.get("metric")
	if !ok {
		return
	}
	if v.text == "delay" {
		b.topo.Metric = MetricDelay
	}
	if !b.topo.Complete {
		b.report(v.place, "add routing: complete, or leave it out", "means nothing without routing: complete")
	}
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

	files    library
	profiles map[string]*namedProfile // of the file
	settings map[string]link.Patch    // of conditions, that were read
	said     map[string]bool          // contradictions and notes, with their places
	cells    int                      // of matrices, so far
}

func newBuilder(ps *problems, file value) *builder {
	return &builder{
		problems: ps, file: file, fixed: map[hostAddress]holder{}, macs: map[program.MAC]int{},
		settings: map[string]link.Patch{}, said: map[string]bool{},
	}
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
	routing := b.file.or("routing", "none")
	b.topo.Complete, b.topo.Parts = routing != "none", routing == "parts"
	b.readMetric()
	b.readOverlay()

	b.readProfiles()
	b.readNetworks()
	b.readTemplates()
	b.checkRoom()
	b.readGroups()
	b.readRoutes()
	b.readPlacement()
	b.readLinks()
	b.readSchedule()
	if b.topo.Complete {
		b.checkComplete()
	}
	if b.count > 0 {
		return nil
	}

	for _, n := range b.networks {
		b.topo.Networks = append(b.topo.Networks, n.Network)
	}
	b.topo.Notes.sort("")
	slices.SortFunc(b.templates, func(x, y template) int { return cmp.Compare(x.first, y.first) })
	for _, t := range b.templates {
		b.topo.Vnodes = append(b.topo.Vnodes, t.Template)
	}
	return &b.topo
}

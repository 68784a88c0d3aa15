package plan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/fxamacker/cbor/v2"

	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// The encoding of a plan is one byte, the version, and then one CBOR item:
// nested arrays without names. Node sets are written folded, and columns as
// arithmetic runs, so a platform that was planned at once takes a few bytes
// for each rack, whatever the number of its vnodes.

// Version is the version of the encoding. A plan of another one is not read:
// the store passes over a record that cannot be read, so what it speaks of is
// to be taken down by the build that made it, or removed as foreign.
const Version = 3

type wirePlan struct {
	_        struct{} `cbor:",toarray"`
	Platform string
	Fabric   uint8
	Complete bool
	Parts    bool
	Metric   uint8
	Networks []wireNetwork
	Pnodes   []wirePnode
	Kinds    []wireKind
	Nodes    string
	Groups   []wireGroup

	Kind, Pnode, Rack, Slot, Host runs

	Given []uint32 // vifaces whose MAC is given
	MACs  []byte   // six bytes each

	To       []uint32
	Bits     []byte
	Via      []uint32
	HopOf    runs
	HopsUpTo runs

	Links wireLinks

	Loss       uint8
	Overlay    uint8
	Port       uint16
	Encryption uint8
	VNI        uint32
	Ways       []wireWay
	Notes      []string
}

type wireWay struct {
	_        struct{} `cbor:",toarray"`
	From, To string
	Takes    int64
}

type wireNetwork struct {
	_         struct{} `cbor:",toarray"`
	ID        uint16
	Name      string
	Subnet    uint32
	Bits      uint8
	MTU       uint16
	Broadcast bool
	Asked     uint16 // MTU
}

type wirePnode struct {
	_                                               struct{} `cbor:",toarray"`
	Name                                            string
	CPUs                                            int
	Memory, Files, Namespaces, Pids, NeighbourLimit uint64
	Site                                            string
	Address                                         []byte
	MTU                                             uint16
	Key                                             []byte // none, or 32 bytes
}

type wireKind struct {
	_        struct{} `cbor:",toarray"`
	Weight   uint8
	Gateway  bool
	Attach   uint8
	Vifaces  []string
	Networks []uint32        // by viface: index into Networks of the plan
	Delays   []time.Duration // by viface: out and in; empty if all are 0
}

type wireGroup struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Nodes string
}

// Encode gives the bytes of a plan. Equal plans have equal bytes.
func (p *Plan) Encode() []byte {
	w := wirePlan{Platform: p.platform, Fabric: uint8(p.fabric), Complete: p.complete, Parts: p.parts, Metric: uint8(p.metric), Nodes: p.nodes.String(),
		Kind: runsOf(p.kind), Pnode: runsOf(p.pnode), Rack: runsOf(p.rack), Slot: runsOf(p.slot), Host: runsOf(p.host),
		HopOf: runsOf(p.hopOf), HopsUpTo: runsOf(p.hopsUpTo), Links: p.encodeLinks(), Loss: uint8(p.loss),
		Overlay: uint8(p.overlay.Kind), Port: p.overlay.Port, Encryption: uint8(p.overlay.Encryption), VNI: p.vni, Notes: p.notes}
	for _, way := range p.ways {
		w.Ways = append(w.Ways, wireWay{From: way.From, To: way.To, Takes: int64(way.Takes)})
	}
	for i, n := range p.networks {
		w.Networks = append(w.Networks, wireNetwork{ID: n.ID, Name: n.Name, Subnet: number(n.Subnet.Addr()),
			Bits: uint8(n.Subnet.Bits()), MTU: n.MTU, Broadcast: n.Broadcast, Asked: p.asked[i]})
	}
	for i := range p.pnodes {
		n := &p.pnodes[i]
		wn := wirePnode{Name: n.Name, CPUs: n.CPUs, Memory: n.Memory, Files: n.Files,
			Namespaces: n.Namespaces, Pids: n.Pids, NeighbourLimit: n.NeighbourLimit,
			Site: n.Site, Address: n.Address.AsSlice(), MTU: n.MTU}
		if n.Key != [32]byte{} {
			wn.Key = n.Key[:]
		}
		w.Pnodes = append(w.Pnodes, wn)
	}
	for _, k := range p.kinds {
		wk := wireKind{Weight: uint8(k.weight), Gateway: k.gateway, Attach: uint8(k.attach)}
		for _, f := range k.vifaces {
			wk.Vifaces = append(wk.Vifaces, f.name)
			wk.Networks = append(wk.Networks, uint32(f.network))
			wk.Delays = append(wk.Delays, f.out, f.in)
		}
		if !slices.ContainsFunc(wk.Delays, func(d time.Duration) bool { return d != 0 }) {
			wk.Delays = nil
		}
		w.Kinds = append(w.Kinds, wk)
	}
	for _, name := range slices.Sorted(maps.Keys(p.groups)) {
		w.Groups = append(w.Groups, wireGroup{Name: name, Nodes: p.groups[name].String()})
	}
	for _, m := range p.macs {
		w.Given = append(w.Given, m.viface)
		w.MACs = append(w.MACs, m.mac[:]...)
	}
	for _, h := range p.hops {
		w.To, w.Bits, w.Via = append(w.To, number(h.to.Addr())), append(w.Bits, byte(h.to.Bits())), append(w.Via, number(h.via))
	}
	mode, err := cbor.EncOptions{NilContainers: cbor.NilContainerAsEmpty}.EncMode()
	if err != nil {
		panic(err)
	}
	data, err := mode.Marshal(&w)
	if err != nil {
		panic(fmt.Sprintf("encode plan: %v", err)) // plain data always encodes
	}
	return append([]byte{Version}, data...)
}

// Decode reads what Encode wrote.
func Decode(data []byte) (*Plan, error) {
	if len(data) == 0 {
		return nil, errors.New("decode plan: no data")
	}
	if data[0] != Version {
		return nil, fmt.Errorf("decode plan: it is of version %d, this is version %d (take the platform down with the build that made it)", data[0], Version)
	}
	mode, err := cbor.DecOptions{MaxArrayElements: 1 << 26, IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden}.DecMode()
	if err != nil {
		panic(err)
	}
	var w wirePlan
	if err := mode.Unmarshal(data[1:], &w); err != nil {
		return nil, fmt.Errorf("decode plan: %w", err)
	}
	p, err := w.plan()
	if err != nil {
		return nil, fmt.Errorf("decode plan: %w", err)
	}
	return p, nil
}

func (w *wirePlan) plan() (*Plan, error) {
	p := &Plan{platform: w.Platform, fabric: program.Fabric(w.Fabric), complete: w.Complete, parts: w.Parts, metric: topo.Metric(w.Metric), loss: topo.Loss(w.Loss),
		overlay: topo.Overlay{Kind: program.OverlayKind(w.Overlay), Port: w.Port, Encryption: topo.Encryption(w.Encryption)}, vni: w.VNI, notes: w.Notes}
	for _, way := range w.Ways {
		p.ways = append(p.ways, SiteWay{From: way.From, To: way.To, Takes: time.Duration(way.Takes)})
	}
	for _, step := range []func(*Plan) error{w.tables, w.nodeSets, w.columns, w.sparse, (*Plan).check, (*Plan).checkOverlay, w.Links.into} {
		if err := step(p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (w *wirePlan) tables(p *Plan) error {
	for i, n := range w.Networks {
		subnet := netip.PrefixFrom(addr4(n.Subnet), int(n.Bits))
		if n.Bits < 8 || n.Bits > 30 || subnet != subnet.Masked() || i > 0 && w.Networks[i-1].ID >= n.ID {
			return fmt.Errorf("network %s: %s with ID %d cannot be", n.Name, subnet, n.ID)
		}
		p.networks = append(p.networks, program.Network{ID: n.ID, Name: n.Name, Subnet: subnet, MTU: n.MTU, Broadcast: n.Broadcast})
		p.asked = append(p.asked, n.Asked)
	}
	for _, n := range w.Pnodes {
		pn := Pnode{Name: n.Name, CPUs: n.CPUs, Memory: n.Memory, Files: n.Files,
			Namespaces: n.Namespaces, Pids: n.Pids, NeighbourLimit: n.NeighbourLimit, Site: n.Site, MTU: n.MTU}
		if addr, ok := netip.AddrFromSlice(n.Address); ok {
			pn.Address = addr
		}
		if len(n.Key) == len(pn.Key) {
			pn.Key = [32]byte(n.Key)
		}
		p.pnodes = append(p.pnodes, pn)
	}
	for _, wk := range w.Kinds {
		k := kind{weight: program.Weight(wk.Weight), gateway: wk.Gateway, attach: program.Attach(wk.Attach)}
		if len(wk.Vifaces) != len(wk.Networks) {
			return fmt.Errorf("%d vifaces are in %d networks", len(wk.Vifaces), len(wk.Networks))
		}
		for j, name := range wk.Vifaces {
			if int(wk.Networks[j]) >= len(p.networks) {
				return fmt.Errorf("viface %s is in network %d of %d", name, wk.Networks[j], len(p.networks))
			}
			k.vifaces = append(k.vifaces, kindViface{name: name, network: int(wk.Networks[j])})
		}
		if err := k.setDelays(wk.Delays); err != nil {
			return err
		}
		p.kinds = append(p.kinds, k)
	}
	return nil
}

func (w *wirePlan) nodeSets(p *Plan) error {
	var err error
	if p.nodes, err = nodeset.Parse(w.Nodes, nil); err != nil {
		return err
	}
	if p.nodes.Len() > MaxVnodes {
		return fmt.Errorf("there are more than %d vnodes", MaxVnodes)
	}
	p.names = namesOf(p.nodes)
	if len(w.Groups) > 0 {
		p.groups = make(map[string]*nodeset.Set, len(w.Groups))
	}
	for _, g := range w.Groups {
		if p.groups[g.Name], err = nodeset.Parse(g.Nodes, nil); err != nil {
			return fmt.Errorf("group %s: %w", g.Name, err)
		}
	}
	return nil
}

func (w *wirePlan) columns(p *Plan) (err error) {
	n := p.names.len()
	if p.kind, err = column[uint32](w.Kind, n, len(p.kinds)); err != nil {
		return fmt.Errorf("kinds: %w", err)
	}
	if p.pnode, err = column[uint32](w.Pnode, n, len(p.pnodes)); err != nil {
		return fmt.Errorf("pnodes: %w", err)
	}
	if p.rack, err = column[uint32](w.Rack, n, 1<<32); err != nil {
		return fmt.Errorf("racks: %w", err)
	}
	if p.slot, err = column[uint16](w.Slot, n, program.RackVnodes); err != nil {
		return fmt.Errorf("slots: %w", err)
	}
	if err := p.countVifaces(); err != nil {
		return err
	}
	if p.host, err = column[uint32](w.Host, int(p.viface[n]), program.MaxHost+1); err != nil {
		return fmt.Errorf("hosts: %w", err)
	}
	if len(w.HopsUpTo) == 0 {
		return nil
	}
	if p.hopOf, err = column[uint32](w.HopOf, w.HopOf.len(), len(w.To)); err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	if p.hopsUpTo, err = column[uint32](w.HopsUpTo, n, len(p.hopOf)+1); err != nil {
		return fmt.Errorf("routes: %w", err)
	}
	if !slices.IsSorted(p.hopsUpTo) {
		return errors.New("routes are not in order")
	}
	return nil
}

func (w *wirePlan) sparse(p *Plan) error {
	if len(w.MACs) != 6*len(w.Given) || len(w.To) != len(w.Bits) || len(w.To) != len(w.Via) {
		return errors.New("MACs or routes are incomplete")
	}
	for i, row := range w.Given {
		if int(row) >= len(p.host) || i > 0 && w.Given[i-1] >= row {
			return errors.New("MACs are not in order")
		}
		p.macs = append(p.macs, givenMAC{row, program.MAC(w.MACs[6*i:])})
	}
	for i := range w.To {
		h := hop{netip.PrefixFrom(addr4(w.To[i]), int(w.Bits[i])), addr4(w.Via[i])}
		if w.Bits[i] > 32 || h.to != h.to.Masked() {
			return fmt.Errorf("%s is no destination", h.to)
		}
		p.hops = append(p.hops, h)
	}
	return nil
}

// check derives the rest of a decoded plan, and finds places and hosts that
// are given twice.
func (p *Plan) check() error {
	if problems := p.derive(); len(problems) > 0 {
		return errors.Join(problems...)
	}
	for i := 1; i < len(p.order); i++ {
		if p.comparePlaces(int(p.order[i-1]), int(p.order[i])) == 0 {
			return fmt.Errorf("%s and %s are in one slot", p.names.at(int(p.order[i-1])), p.names.at(int(p.order[i])))
		}
	}
	for i, n := range p.pnodes {
		if n.Name == "" && p.VnodesOn(i) > 0 {
			return fmt.Errorf("%d vnodes are on pnode %d, which has no name", p.VnodesOn(i), i)
		}
	}
	hosts := make([]uint64, 0, len(p.host))
	var err error
	p.eachViface(func(row uint32, vnode int, f *kindViface) {
		if !p.networks[f.network].HasHost(p.host[row]) {
			err = fmt.Errorf("%s has host number %d in network %s", p.names.at(vnode), p.host[row], p.networks[f.network].Name)
		}
		hosts = append(hosts, uint64(f.network)<<32|uint64(p.host[row]))
	})
	slices.Sort(hosts)
	if err == nil && len(slices.Compact(hosts)) < len(p.host) {
		err = errors.New("a host number is given twice")
	}
	return err
}

// checkOverlay finds ways between sites where nobody is, and an overlay that
// cannot be.
func (p *Plan) checkOverlay() error {
	for i, w := range p.ways {
		_, from := slices.BinarySearch(p.siteNames, w.From)
		_, to := slices.BinarySearch(p.siteNames, w.To)
		if !from || !to || w.Takes <= 0 || w.Takes > program.MaxDelay || i > 0 && compareWays(p.ways[i-1], w) >= 0 {
			return fmt.Errorf("the way from site %q to %q takes %s, or is not in order", w.From, w.To, w.Takes)
		}
	}
	if len(p.siteNames) > program.MaxSites || len(p.pnodes) > program.MaxPnodes {
		return fmt.Errorf("%d pnodes at %d sites", len(p.pnodes), len(p.siteNames))
	}
	if o := p.underlay(); o != nil {
		for i := range o.Underlay {
			if o.Underlay[i].Pnode != "" {
				return o.Validate(uint32(i))
			}
		}
	}
	return nil
}

func addr4(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// runs are numbers as arithmetic runs: of each its first value, the step to
// the next and how many there are.
type runs []int64

func runsOf[T uint16 | uint32](values []T) runs {
	var out runs
	for len(values) > 0 {
		first, step, n := int64(values[0]), int64(0), 1
		if len(values) > 1 {
			step, n = int64(values[1])-first, 2
		}
		for n < len(values) && int64(values[n])-int64(values[n-1]) == step {
			n++
		}
		out = append(out, first, step, int64(n))
		values = values[n:]
	}
	return out
}

// len is how many numbers there are; -1 if some run is invalid.
func (r runs) len() int {
	n := int64(0)
	for i := 2; i < len(r); i += 3 {
		if r[i] < 1 || r[i] > 1<<32 {
			return -1
		}
		n += r[i]
	}
	return int(n)
}

// column gives n numbers, all below limit.
func column[T uint16 | uint32](r runs, n, limit int) ([]T, error) {
	if len(r)%3 != 0 || r.len() != n || n < 0 || n > maxRows {
		return nil, fmt.Errorf("%d runs hold %d rows, want %d", len(r)/3, r.len(), n)
	}
	out := make([]T, 0, n)
	for ; len(r) > 0; r = r[3:] {
		first, step, count := r[0], r[1], r[2]
		for i := range count {
			v := first + i*step
			if v < 0 || v >= int64(limit) {
				return nil, fmt.Errorf("row %d is %d, want less than %d", len(out), v, limit)
			}
			out = append(out, T(v))
		}
	}
	return out, nil
}

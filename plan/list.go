package plan

import (
	"fmt"
	"iter"
	"maps"
	"net/netip"

	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// Placement says where a vnode is.
type Placement struct {
	Vnode int // its row, for Plan.Vnode
	Pnode int // number of its pnode
	Rack  uint32
	Slot  uint16
}

// Vnode is all that a plan says of one vnode.
type Vnode struct {
	Name string
	Placement
	Weight  program.Weight
	Gateway bool
	Attach  program.Attach
	Vifaces []Viface
	Routes  []program.Route
}

// Viface is all that a plan says of one viface.
type Viface struct {
	Name    string
	Network string
	Address netip.Prefix // with the length of the network's
	MAC     program.MAC
}

// Network is a vnetwork and the number of its vifaces.
type Network struct {
	program.Network
	Vifaces int
}

// Platform is the platform's name.
func (p *Plan) Platform() string { return p.platform }

// Fabric is the platform's forwarding plane.
func (p *Plan) Fabric() program.Fabric { return p.fabric }

// Loss is what becomes of the platform when a pnode is lost.
func (p *Plan) Loss() topo.Loss { return p.loss }

// Len is the number of vnodes.
func (p *Plan) Len() int { return p.names.len() }

// Nodes is the set of all vnodes.
func (p *Plan) Nodes() *nodeset.Set { return p.nodes }

// Groups gives the groups of the platform by name.
func (p *Plan) Groups() map[string]*nodeset.Set { return maps.Clone(p.groups) }

// Pnodes gives the pnodes by number. A number whose pnode is gone and that
// nobody has taken yet has one without a name.
func (p *Plan) Pnodes() []Pnode { return append([]Pnode(nil), p.pnodes...) }

// VnodesOn is the number of vnodes on a pnode.
func (p *Plan) VnodesOn(pnode int) int { return p.from[pnode+1] - p.from[pnode] }

// Networks gives the vnetworks by ID.
func (p *Plan) Networks() []Network {
	out := make([]Network, len(p.networks))
	for i, n := range p.networks {
		out[i] = Network{n, p.members[i]}
	}
	return out
}

// Find says where the vnode with a name is.
func (p *Plan) Find(name string) (Placement, bool) {
	i, ok := p.names.find(name)
	if !ok {
		return Placement{}, false
	}
	return p.placement(i), true
}

func (p *Plan) placement(i int) Placement {
	return Placement{Vnode: i, Pnode: int(p.pnode[i]), Rack: p.rack[i], Slot: p.slot[i]}
}

// Vnode gives the vnode in row i, 0 … Len()-1.
func (p *Plan) Vnode(i int) Vnode {
	k := &p.kinds[p.kind[i]]
	v := Vnode{Name: p.names.at(i), Placement: p.placement(i), Weight: k.weight, Gateway: k.gateway, Attach: k.attach}
	for j, f := range k.vifaces {
		row := p.viface[i] + uint32(j)
		n := p.networks[f.network]
		mac := p.macOf(row)
		if mac == (program.MAC{}) {
			mac = program.MACOf(n.ID, p.host[row])
		}
		v.Vifaces = append(v.Vifaces, Viface{Name: f.name, Network: n.Name,
			Address: netip.PrefixFrom(n.Addr(p.host[row]), n.Subnet.Bits()), MAC: mac})
	}
	v.Routes = p.appendRoutes(nil, i, v.Slot)
	return v
}

// Names yields the names of the vnodes by row.
func (p *Plan) Names() iter.Seq2[int, string] {
	return func(yield func(int, string) bool) {
		for i := range p.names.len() {
			if !yield(i, p.names.at(i)) {
				return
			}
		}
	}
}

// Vnodes yields the vnodes of a set, in the set's order; of nil, all of them
// by row. Names that are no vnode are passed over: see Unknown.
func (p *Plan) Vnodes(set *nodeset.Set) iter.Seq[Vnode] {
	return func(yield func(Vnode) bool) {
		if set == nil {
			for i := range p.names.len() {
				if !yield(p.Vnode(i)) {
					return
				}
			}
			return
		}
		at := -1
		for name := range set.All() {
			i, ok := p.names.findNear(name, at)
			if !ok {
				continue
			}
			at = i
			if !yield(p.Vnode(i)) {
				return
			}
		}
	}
}

// Unknown gives the names of a set that are no vnode of the platform.
func (p *Plan) Unknown(set *nodeset.Set) *nodeset.Set { return nodeset.Difference(set, p.nodes) }

// PnodeNumber gives the number of the pnode with a name.
func (p *Plan) PnodeNumber(name string) (int, error) {
	for i, n := range p.pnodes {
		if n.Name == name && name != "" {
			return i, nil
		}
	}
	return 0, fmt.Errorf("no pnode of platform %s is called %q", p.platform, name)
}

package plan

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"pgregory.net/rapid"

	"myriad/nodeset"
	"myriad/program"
	"myriad/topo"
)

// sketch is a topology as few choices, so that it can be edited and written
// in many ways.
type sketch struct {
	complete bool
	networks []string
	specs    []spec
	of       map[string]int        // vnode → spec
	fixed    map[string]netip.Addr // vnode → address of its first viface
	routes   []topo.Route
}

type spec struct {
	gateway  bool
	attach   program.Attach
	networks []string
}

// sketches draws topologies of up to four networks and 50 vnodes. Small pools
// of names make two of them alike enough to be an edit of each other.
func sketches() *rapid.Generator[*sketch] {
	return rapid.Custom(func(t *rapid.T) *sketch {
		s := &sketch{of: map[string]int{}, fixed: map[string]netip.Addr{}, complete: rapid.Bool().Draw(t, "complete")}
		s.networks = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "n2", "n10"}), 1, 4, rapid.ID).Draw(t, "networks")
		s.specs = append(s.specs, spec{gateway: true, networks: s.networks}) // joins all, if anybody is of it
		for range rapid.IntRange(1, 4).Draw(t, "specs") {
			s.specs = append(s.specs, spec{
				gateway:  rapid.IntRange(0, 2).Draw(t, "gateway") == 0,
				attach:   rapid.SampledFrom([]program.Attach{program.AttachMacvlan, program.AttachVeth}).Draw(t, "attach"),
				networks: rapid.SliceOfNDistinct(rapid.SampledFrom(s.networks), 0, 3, rapid.ID).Draw(t, "in"),
			})
		}
		for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(pool), 0, 50, rapid.ID).Draw(t, "vnodes") {
			s.of[name] = rapid.IntRange(1, len(s.specs)-1).Draw(t, "of")
		}
		if s.complete {
			s.of["gw"] = 0
		}
		for _, name := range s.vnodes() {
			if rapid.IntRange(0, 19).Draw(t, "fix") == 0 && len(s.specs[s.of[name]].networks) > 0 {
				s.fix(name, rapid.IntRange(1, 60).Draw(t, "host"))
			}
		}
		s.drawRoutes(t)
		return s
	})
}

// pool is where names of vnodes come from.
var pool = func() (names []string) {
	for i := range 40 {
		names = append(names, fmt.Sprintf("n%d", i+1))
	}
	for i := range 12 {
		names = append(names, fmt.Sprintf("r%dc%02d", i%3, i), fmt.Sprintf("m%03d-x", i*9))
	}
	return append(names, "alone")
}()

func (s *sketch) vnodes() []string {
	var names []string
	for name := range s.of {
		names = append(names, name)
	}
	slices.SortFunc(names, compareNames)
	return names
}

// subnet of a network depends on its name only.
func (s *sketch) subnet(name string) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(slices.Index([]string{"a", "b", "c", "n2", "n10"}, name)), 0}), 24)
}

// fix gives the first viface of a vnode an address, if nobody has it.
func (s *sketch) fix(name string, host int) {
	b := s.subnet(s.specs[s.of[name]].networks[0]).Addr().As4()
	b[3] = byte(host)
	for _, a := range s.fixed {
		if a == netip.AddrFrom4(b) {
			return
		}
	}
	s.fixed[name] = netip.AddrFrom4(b)
}

// drawRoutes adds routes to places outside the platform, by way of addresses.
func (s *sketch) drawRoutes(t *rapid.T) {
	for i, name := range s.vnodes() {
		if in := s.specs[s.of[name]].networks; len(in) > 0 && rapid.IntRange(0, 9).Draw(t, "route") == 0 {
			b := s.subnet(in[0]).Addr().As4()
			b[3] = 200
			s.routes = append(s.routes, topo.Route{Nodes: nodeset.Of(name), Via: netip.AddrFrom4(b),
				To: netip.PrefixFrom(netip.AddrFrom4([4]byte{172, 16, byte(i % 3), 0}), 24)})
		}
	}
}

// topology writes the sketch: in order, or, with t, in an order and a
// division into templates that t draws.
func (s *sketch) topology(t *rapid.T) *topo.Topology {
	out := &topo.Topology{Name: "demo", Complete: s.complete, Routes: slices.Clone(s.routes)}
	names, networks := s.vnodes(), slices.Sorted(slices.Values(s.networks))
	if t != nil {
		names, networks = rapid.Permutation(names).Draw(t, "order"), rapid.Permutation(networks).Draw(t, "network order")
		out.Routes = rapid.Permutation(out.Routes).Draw(t, "route order")
	}
	for _, n := range networks {
		out.Networks = append(out.Networks, topo.Network{Name: n, Subnet: s.subnet(n), MTU: 1500})
	}
	templates := map[string]*topo.Template{}
	var order []string
	for _, name := range names {
		key := fmt.Sprint(s.of[name])
		if s.fixed[name].IsValid() {
			key = name
		} else if t != nil {
			key += rapid.SampledFrom([]string{"x", "y"}).Draw(t, "part")
		}
		if templates[key] == nil {
			templates[key] = s.template(networks, name)
			order = append(order, key)
		}
		templates[key].Nodes = nodeset.Union(templates[key].Nodes, nodeset.Of(name))
	}
	for _, key := range order {
		out.Vnodes = append(out.Vnodes, *templates[key])
	}
	return out
}

func (s *sketch) template(networks []string, name string) *topo.Template {
	spec := s.specs[s.of[name]]
	out := &topo.Template{Nodes: nodeset.Of(), Gateway: spec.gateway, Attach: spec.attach}
	for j, n := range spec.networks {
		f := topo.Viface{Name: fmt.Sprintf("eth%d", j), Network: slices.Index(networks, n)}
		if j == 0 {
			f.Address = s.fixed[name]
		}
		out.Vifaces = append(out.Vifaces, f)
	}
	return out
}

// pnodeLists draws one to five pnodes.
func pnodeLists() *rapid.Generator[[]Pnode] {
	return rapid.Custom(func(t *rapid.T) []Pnode {
		names := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"p1", "p2", "p3", "p10", "q"}), 1, 5, rapid.ID).Draw(t, "pnodes")
		var out []Pnode
		for _, name := range names {
			out = append(out, Pnode{Name: name, Address: addressOf(name), CPUs: rapid.IntRange(0, 8).Draw(t, "cpus"), Memory: rapid.Uint64Range(0, 3).Draw(t, "gb") << 30})
		}
		return out
	})
}

// named gives pnodes of which nothing is known but how they are reached.
func named(names ...string) []Pnode {
	out := make([]Pnode, len(names))
	for i, name := range names {
		out[i] = Pnode{Name: name, Address: addressOf(name)}
	}
	return out
}

// addressOf gives a pnode an address that follows from its name.
func addressOf(name string) netip.Addr {
	h := fnv.New32a()
	h.Write([]byte(name))
	return addr4(10<<24 | h.Sum32()&0xffffff)
}

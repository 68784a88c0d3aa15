// Package mem is a pnode in memory: the behaviour of package kernel without a
// kernel, held to it by the same suite (kernel/kerneltest). Tests of what
// lies above, dry runs and rehearsals with thousands of pnodes use it.
package mem

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"myriad/program"
)

// Options are the limits and failures that a Pnode plays. The zero value is a
// pnode without limits that never fails.
type Options struct {
	// MaxVnodes is how many vnodes fit; 0 means any number. Those beyond are
	// reported as problems, as a kernel that runs out of memory would.
	MaxVnodes int
	// PerVnode is slept for every vnode made.
	PerVnode time.Duration
}

// Pnode is a pnode in memory. It is safe for use by several goroutines.
type Pnode struct {
	o         Options
	mu        sync.Mutex
	platforms map[string]*platform
	writes    uint64

	telling sync.Mutex
	told    *func(platform string) // nil: nobody listens
}

type platform struct {
	program *program.Program // what Observe gives beside the racks: nothing that grows with the platform
	racks   map[uint32]*rack
	links   *program.Links // that are in force
}

type rack struct {
	program.Rack
	wanted int
	lost   bool
}

// New makes an empty pnode.
func New(o Options) *Pnode {
	return &Pnode{o: o, platforms: map[string]*platform{}}
}

// Apply makes the platform match p. It checks ctx before each vnode that it
// makes, and tells progress after each.
func (m *Pnode) Apply(ctx context.Context, p *program.Program, progress func(up int)) (*program.Report, error) {
	if err := validate(p); err != nil {
		return nil, err
	}
	if err := checkLinks(p); err != nil {
		return nil, err
	}
	start := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.writes
	have := m.platforms[p.Platform]
	if have == nil {
		have = &platform{racks: map[uint32]*rack{}}
		m.platforms[p.Platform] = have
		m.writes++
	}
	if have.program != nil && !have.program.Overlay.Equal(p.Overlay) {
		m.writes++
	}
	have.program = &program.Program{Platform: p.Platform, Pnode: p.Pnode, Number: p.Number, Fabric: p.Fabric, Networks: p.Networks,
		Links: p.Links, Overlay: p.Overlay}
	m.setLinks(have, p.Links)
	m.removeRacks(have, p)
	problems, err := m.applyRacks(ctx, have, p, progress)
	report := m.report(p.Platform, have)
	report.Problems = problems
	report.Writes = m.writes - before
	report.Took = time.Since(start)
	return report, err
}

// validate checks what of a program is kept here. The rest is as long as the
// platform has pnodes, and thousands of them may be in this process.
func validate(p *program.Program) error {
	kept := *p
	kept.Names, kept.Remote, kept.MACs, kept.Overlay, kept.Ways = nil, nil, nil, nil, nil
	return kept.Validate()
}

// removeRacks drops the racks that p does not have.
func (m *Pnode) removeRacks(have *platform, p *program.Program) {
	for index, r := range have.racks {
		wanted := slices.ContainsFunc(p.Racks, func(w program.Rack) bool { return w.Index == index })
		if !wanted {
			m.writes += uint64(len(r.Vnodes)) + 1
			delete(have.racks, index)
		}
	}
}

func (m *Pnode) applyRacks(ctx context.Context, have *platform, p *program.Program, progress func(int)) ([]program.Problem, error) {
	var problems []program.Problem
	up := 0
	for i := range p.Racks {
		want := &p.Racks[i]
		r := have.racks[want.Index]
		if r == nil || r.lost {
			r = &rack{Rack: program.Rack{Index: want.Index}}
			have.racks[want.Index] = r
			m.writes++
		}
		r.wanted = len(want.Vnodes)
		bad, err := m.applyRack(ctx, r, want, func(n int) {
			if progress != nil {
				progress(up + n)
			}
		})
		problems = append(problems, bad...)
		up += len(r.Vnodes)
		if err != nil {
			return problems, err
		}
	}
	return problems, nil
}

// applyRack goes through the slots of a rack: what differs is made anew.
func (m *Pnode) applyRack(ctx context.Context, r *rack, want *program.Rack, progress func(int)) ([]program.Problem, error) {
	if same(&r.Rack, want) {
		return nil, nil
	}
	if len(r.Vnodes) == 0 && m.o.MaxVnodes == 0 {
		return nil, m.fill(ctx, r, want, progress)
	}
	var problems []program.Problem
	have := slots(&r.Rack)
	wanted := slots(want)
	for slot := range have {
		if _, ok := wanted[slot]; !ok {
			delete(have, slot)
			m.writes++
		}
	}
	var err error
	for _, v := range want.Vnodes {
		if h, ok := have[v.Slot]; ok && h.equal(wanted[v.Slot]) {
			continue
		}
		if err = ctx.Err(); err != nil {
			break
		}
		if m.o.MaxVnodes > 0 && m.vnodes()-len(r.Vnodes)+len(have) >= m.o.MaxVnodes {
			problems = append(problems, program.Problem{Kind: program.KindExhausted, Rack: int32(r.Index), Vnode: v.Name,
				Op: "make vnode", Cause: "no more vnodes fit", Remedy: fmt.Sprintf("this pnode carries %d", m.o.MaxVnodes)})
			continue
		}
		time.Sleep(m.o.PerVnode)
		have[v.Slot] = wanted[v.Slot]
		m.writes++
		progress(len(have))
	}
	r.Rack = join(r.Index, have)
	return problems, err
}

// same tells whether a rack is as it is wanted.
func same(have, want *program.Rack) bool {
	return slices.Equal(have.Vnodes, want.Vnodes) && slices.Equal(have.Vifaces, want.Vifaces) && slices.Equal(have.Routes, want.Routes)
}

// fill makes the vnodes of a rack that has none.
func (m *Pnode) fill(ctx context.Context, r *rack, want *program.Rack, progress func(int)) error {
	r.Rack = program.Rack{Index: r.Index, Vnodes: slices.Clone(want.Vnodes), Vifaces: slices.Clone(want.Vifaces), Routes: slices.Clone(want.Routes)}
	for i, v := range want.Vnodes {
		if err := ctx.Err(); err != nil {
			r.Vnodes = r.Vnodes[:i]
			r.Vifaces = slices.DeleteFunc(r.Vifaces, func(f program.Viface) bool { return f.Slot >= v.Slot })
			r.Routes = slices.DeleteFunc(r.Routes, func(t program.Route) bool { return t.Slot >= v.Slot })
			return err
		}
		time.Sleep(m.o.PerVnode)
		m.writes++
		progress(i + 1)
	}
	return nil
}

// vnodes counts what all platforms have.
func (m *Pnode) vnodes() int {
	n := 0
	for _, p := range m.platforms {
		for _, r := range p.racks {
			n += len(r.Vnodes)
		}
	}
	return n
}

// vnode is one vnode with its rows.
type vnode struct {
	program.Vnode
	vifaces []program.Viface
	routes  []program.Route
}

func (v vnode) equal(w vnode) bool {
	return v.Vnode == w.Vnode && slices.Equal(v.vifaces, w.vifaces) && slices.Equal(v.routes, w.routes)
}

func slots(r *program.Rack) map[uint16]vnode {
	out := make(map[uint16]vnode, len(r.Vnodes))
	for _, v := range r.Vnodes {
		out[v.Slot] = vnode{Vnode: v}
	}
	for _, f := range r.Vifaces {
		v := out[f.Slot]
		v.vifaces = append(v.vifaces, f)
		out[f.Slot] = v
	}
	for _, t := range r.Routes {
		v := out[t.Slot]
		v.routes = append(v.routes, t)
		out[t.Slot] = v
	}
	return out
}

func join(index uint32, have map[uint16]vnode) program.Rack {
	r := program.Rack{Index: index}
	for _, slot := range slices.Sorted(maps.Keys(have)) {
		v := have[slot]
		r.Vnodes = append(r.Vnodes, v.Vnode)
		r.Vifaces = append(r.Vifaces, v.vifaces...)
		r.Routes = append(r.Routes, v.routes...)
	}
	return r
}

// Observe gives what the platform has.
func (m *Pnode) Observe(_ context.Context, name string) (*program.Program, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	have := m.platforms[name]
	if have == nil {
		return &program.Program{Platform: name}, nil
	}
	p := *have.program
	p.Racks = nil
	for _, index := range slices.Sorted(maps.Keys(have.racks)) {
		p.Racks = append(p.Racks, have.racks[index].Rack)
	}
	return &p, nil
}

// Status tells which racks are there.
func (m *Pnode) Status(_ context.Context, name string) (*program.Report, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if have := m.platforms[name]; have != nil {
		return m.report(name, have), nil
	}
	return &program.Report{Platform: name}, nil
}

func (m *Pnode) report(name string, have *platform) *program.Report {
	report := &program.Report{Platform: name, Pnode: have.program.Pnode}
	for _, index := range slices.Sorted(maps.Keys(have.racks)) {
		r := have.racks[index]
		k := program.RackReport{Index: index, State: program.RackUp, Vnodes: len(r.Vnodes), Wanted: r.wanted}
		switch {
		case r.lost:
			k.State, k.Vnodes = program.RackLost, 0
		case len(r.Vnodes) < r.wanted:
			k.State = program.RackPartial
		}
		report.Racks = append(report.Racks, k)
	}
	return report
}

// Platforms names the platforms that exist.
func (m *Pnode) Platforms() ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.platforms)), nil
}

// Remove takes a platform away.
func (m *Pnode) Remove(_ context.Context, name string, progress func(left int)) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.platforms[name] != nil {
		delete(m.platforms, name)
		m.writes++
	}
	if progress != nil {
		progress(0)
	}
	return nil
}

// Sweep removes everything.
func (m *Pnode) Sweep(context.Context) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.platforms)
	return nil
}

// Counters gives the fabric's counts: no packet ever moves here.
func (m *Pnode) Counters(string) ([]program.Counter, error) {
	return []program.Counter{{Name: "unicast"}}, nil
}

// Kill loses a rack, as if its process had been killed.
func (m *Pnode) Kill(name string, index uint32) {
	if !m.kill(name, index) {
		return
	}
	m.telling.Lock()
	defer m.telling.Unlock()
	if m.told != nil {
		(*m.told)(name)
	}
}

func (m *Pnode) kill(name string, index uint32) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.platforms[name]
	if p == nil || p.racks[index] == nil {
		return false
	}
	p.racks[index].lost = true
	p.racks[index].Rack = program.Rack{Index: index}
	return true
}

// Tell has told called with the platforms of which Kill loses racks, until
// stop. There is one who listens: the last.
func (m *Pnode) Tell(told func(platform string)) (stop func()) {
	m.telling.Lock()
	defer m.telling.Unlock()
	m.told = &told
	return func() {
		m.telling.Lock()
		defer m.telling.Unlock()
		if m.told == &told {
			m.told = nil
		}
	}
}

// String prints the pnode as sorted lines in the manner of ip(8).
func (m *Pnode) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(m.platforms)) {
		p := m.platforms[name]
		fmt.Fprintf(&b, "platform %s\n", name)
		for _, index := range slices.Sorted(maps.Keys(p.racks)) {
			p.racks[index].print(&b, p.program.Networks)
		}
	}
	return b.String()
}

func (r *rack) print(b *strings.Builder, networks []program.Network) {
	fmt.Fprintf(b, "  rack %d\n", r.Index)
	have := slots(&r.Rack)
	for _, slot := range slices.Sorted(maps.Keys(have)) {
		v := have[slot]
		fmt.Fprintf(b, "    netns add %s forwarding %v\n", v.Name, v.Forward)
		for _, f := range v.vifaces {
			i := slices.IndexFunc(networks, func(n program.Network) bool { return n.ID == f.Network })
			n := networks[i]
			fmt.Fprintf(b, "      link add %s address %s mtu %d\n", f.Name, f.Address(), n.MTU)
			fmt.Fprintf(b, "      addr add %s/%d dev %s\n", n.Addr(f.Host), n.Subnet.Bits(), f.Name)
		}
		for _, t := range v.routes {
			fmt.Fprintf(b, "      route add %s via %s\n", t.To, t.Via)
		}
	}
}

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"myriad/program"
)

// What things cost. Measured on 2 cores and 24 GiB with Linux 6.18, unless
// another source is named; other kernels differ by some tens of percent, so
// all of a forecast is an estimate.
const (
	kb = 1000
	us = time.Microsecond

	// A vnode with one viface: namespace, link, address, both up. 40,000 of
	// them took 10.9 GB as macvlans; 1,000 took 320 KB each as veth pairs.
	memoryMacvlan = 270 * kb
	memoryVeth    = 320 * kb
	// A namespace alone is 165 to 220 KB; each further device 45 KB (100
	// namespaces with 2 more macvlans each), a veth pair twice that.
	memoryMoreMacvlan = 46 * kb
	memoryMoreVeth    = 96 * kb
	// The kernel keeps per-CPU counters in every namespace: 5 KB with 2 CPUs,
	// which is in the figures above; about 3 KB for each further one.
	memoryPerCPU  = 3 * kb
	cpusMeasured  = 2
	memoryRoute   = 200          // 20,000 routes took 115 bytes each, 50 in each of 100 namespaces 185
	memoryLight   = 10 * kb      // a cgroup and its map entry
	memoryRack    = 8000 * kb    // of a rack process with 1,000 vnodes; a budget, not a measurement
	memoryDaemon  = 100_000 * kb // of agent and coordinator; a budget
	memoryHostRow = 32           // a line of the hosts file

	// One core, in memory that was touched before. More cores do not help:
	// the kernel changes links under one lock.
	timeMacvlan = 950 * us
	timeVeth    = 1070 * us
	timeViface  = 200 * us // a further one: link 110 us, address and up
	timeRoute   = 6 * us
	timeLight   = 45 * us
	// Removal of 40,000 until the kernel has let go of all: 33 s as macvlans,
	// 84 s as veth pairs.
	downMacvlan = 825 * us
	downVeth    = 2100 * us

	rackDescriptors = 64 // of a rack process, besides one for each vnode
	rackThreads     = 12 // of a rack process: the Go runtime's, and one that makes vnodes
)

// Forecast is what a plan will take.
type Forecast struct {
	Vnodes int             `json:"vnodes"`
	Load   Load            `json:"load"`   // of all pnodes; times are of the slowest
	Pnodes []PnodeForecast `json:"pnodes"` // those that carry vnodes, by number
	// Limits has each kind of limit once, for the pnode that is nearest to
	// it; the first to break comes first.
	Limits []Limit `json:"limits"`
	// Links is what links are asked for; nil if that is nothing.
	Links *LinkForecast `json:"links,omitempty"`
	// Notes is what is not as the topology says, or may surprise.
	Notes []string `json:"notes,omitempty"`
}

// PnodeForecast is the share of one pnode.
type PnodeForecast struct {
	Pnode  string `json:"pnode"`
	Vnodes int    `json:"vnodes"`
	Load
}

// Load is what vnodes take.
type Load struct {
	Racks        int           `json:"racks"`
	Vifaces      int           `json:"vifaces"`
	Routes       int           `json:"routes"`
	Namespaces   int           `json:"namespaces"`
	Descriptors  int           `json:"descriptors"`   // of the largest rack process
	KernelMemory uint64        `json:"kernel_memory"` // bytes
	UserMemory   uint64        `json:"user_memory"`   // bytes
	Up           time.Duration `json:"up"`            // nanoseconds
	Down         time.Duration `json:"down"`          // nanoseconds
}

// Limit is one limit of a pnode.
type Limit struct {
	Name   string `json:"name"`   // memory, RLIMIT_NOFILE, …
	Pnode  string `json:"pnode"`  // that is nearest to it
	Need   uint64 `json:"need"`   // bytes of memory, else a number
	Have   uint64 `json:"have"`   // likewise
	Vnodes int    `json:"vnodes"` // about how many such vnodes that pnode can carry; 0: their number does not matter
	// Later says that it does not stand in the way of up, but of what is
	// named.
	Later  string `json:"later,omitempty"`
	Remedy string `json:"remedy"`
}

// Breaks says whether more is needed than there is.
func (l *Limit) Breaks() bool { return l.Need > l.Have }

// Breaks gives the first limit that stands in the way of bringing the
// platform up; nil if it fits.
func (f *Forecast) Breaks() *Limit {
	for i := range f.Limits {
		if l := &f.Limits[i]; l.Breaks() && l.Later == "" {
			return l
		}
	}
	return nil
}

// Forecast says what the plan will take on its pnodes, and how far it is from
// their limits.
func (p *Plan) Forecast() *Forecast {
	f := &Forecast{Vnodes: p.Len(), Links: p.linkForecast(), Notes: append(p.mtuNotes(), p.notes...)}
	routes := p.countRoutes()
	nearest := map[string]int{} // by name of limit: index into f.Limits
	for i, n := range p.pnodes {
		count := p.VnodesOn(i)
		if count == 0 {
			continue
		}
		s := p.survey(i, routes)
		if f.Links != nil {
			s.KernelMemory += f.Links.Tables
		}
		f.Pnodes = append(f.Pnodes, PnodeForecast{Pnode: n.Name, Vnodes: count, Load: s.Load})
		f.Load.add(&s.Load)
		for _, l := range s.limits(&n, count) {
			if at, ok := nearest[l.Name]; !ok {
				nearest[l.Name] = len(f.Limits)
				f.Limits = append(f.Limits, l)
			} else if tighter(l, f.Limits[at]) < 0 {
				f.Limits[at] = l
			}
		}
	}
	slices.SortStableFunc(f.Limits, tighter)
	return f
}

// tighter orders limits by the part of them that is needed, largest first.
func tighter(a, b Limit) int {
	return cmp.Compare(float64(b.Need)/float64(b.Have), float64(a.Need)/float64(a.Have))
}

func (l *Load) add(m *Load) {
	l.Racks += m.Racks
	l.Vifaces += m.Vifaces
	l.Routes += m.Routes
	l.Namespaces += m.Namespaces
	l.Descriptors = max(l.Descriptors, m.Descriptors)
	l.KernelMemory += m.KernelMemory
	l.UserMemory += m.UserMemory
	l.Up = max(l.Up, m.Up)
	l.Down = max(l.Down, m.Down)
}

// countRoutes gives, for each kind, how many routes a vnode without explicit
// ones has.
func (p *Plan) countRoutes() []int {
	routes := make([]int, len(p.kinds))
	for k := range p.routes {
		routes[k] = len(p.routes[k].merged)
	}
	return routes
}

// survey is what one pnode carries.
type survey struct {
	Load
	ports int // of the bridge that has most
}

func (p *Plan) survey(pnode int, routes []int) survey {
	s := survey{}
	more := uint64(max(p.pnodes[pnode].CPUs-cpusMeasured, 0)) * memoryPerCPU
	rack, inRack := uint32(0), 0
	ports := map[[2]uint32]int{}         // by rack and network
	racksOf := map[int]map[uint32]bool{} // by network
	for at, i := range p.order[p.from[pnode]:p.from[pnode+1]] {
		if at == 0 || p.rack[i] != rack {
			rack, inRack = p.rack[i], 0
			s.Racks++
		}
		inRack++
		s.Descriptors = max(s.Descriptors, inRack+rackDescriptors)
		k := &p.kinds[p.kind[i]]
		count := routes[p.kind[i]]
		if explicit := len(p.explicitOf(int(i))); explicit > 0 {
			count = explicit
			if p.complete {
				count += len(p.routes[p.kind[i]].plain)
			}
		}
		s.vnode(k, count, more)
		if p.fabric == program.FabricBridge {
			for _, f := range k.vifaces {
				ports[[2]uint32{rack, uint32(f.network)}]++
				if racksOf[f.network] == nil {
					racksOf[f.network] = map[uint32]bool{}
				}
				racksOf[f.network][rack] = true
			}
		}
	}
	for _, n := range ports {
		s.ports = max(s.ports, n+1) // and one that leads out of the rack
	}
	for _, racks := range racksOf {
		s.ports = max(s.ports, len(racks))
	}
	s.Namespaces += s.Racks + 1 // and the spine
	s.UserMemory = uint64(s.Racks)*memoryRack + memoryDaemon + uint64(len(p.host))*memoryHostRow
	return s
}

// vnode adds one vnode with some routes.
func (s *survey) vnode(k *kind, routes int, perCPU uint64) {
	more := max(len(k.vifaces)-1, 0)
	s.Vifaces += len(k.vifaces)
	s.Routes += routes
	if k.weight == program.WeightLight {
		s.KernelMemory += memoryLight
		s.Up += timeLight
		s.Down += timeLight
		return
	}
	s.Namespaces++
	memory, moreMemory, up, down := uint64(memoryMacvlan), uint64(memoryMoreMacvlan), timeMacvlan, downMacvlan
	if k.attach == program.AttachVeth {
		memory, moreMemory, up, down = memoryVeth, memoryMoreVeth, timeVeth, downVeth
	}
	s.KernelMemory += memory + perCPU + uint64(more)*moreMemory + uint64(routes)*memoryRoute
	s.Up += up + time.Duration(more)*timeViface + time.Duration(routes)*timeRoute
	s.Down += down
}

// limits gives the limits of a pnode that are known.
func (s *survey) limits(n *Pnode, vnodes int) []Limit {
	var out []Limit
	// base is needed by no vnode in particular, each by one more vnode.
	add := func(l Limit, base, each float64) {
		if l.Have == 0 {
			return
		}
		l.Pnode = n.Name
		if each > 0 {
			l.Vnodes = max(int((float64(l.Have)-base)/each), 0)
		}
		out = append(out, l)
	}
	per := func(total int) float64 { return float64(total) / float64(vnodes) }
	add(Limit{Name: "memory", Need: s.KernelMemory + s.UserMemory, Have: n.Memory,
		Remedy: "add memory or pnodes, or describe fewer vnodes"},
		float64(s.UserMemory)-float64(s.Racks*memoryRack), float64(s.KernelMemory)/float64(vnodes)+memoryRack/program.RackVnodes)
	add(Limit{Name: "RLIMIT_NOFILE", Need: uint64(s.Descriptors), Have: n.Files,
		Remedy: "raise the hard limit of open files (LimitNOFILE= of the service, ulimit -Hn)"}, 0, 0)
	add(Limit{Name: "user.max_net_namespaces", Need: uint64(s.Namespaces), Have: n.Namespaces,
		Remedy: fmt.Sprintf("sysctl user.max_net_namespaces=%d", roundUp(s.Namespaces))}, 1, per(s.Namespaces-s.Racks-1)+1.0/program.RackVnodes)
	const pids = "sysctl kernel.pid_max=4194304"
	add(Limit{Name: "kernel.pid_max", Need: uint64(s.Racks * rackThreads), Have: n.Pids,
		Remedy: pids}, 0, float64(rackThreads)/program.RackVnodes)
	add(Limit{Name: "processes", Need: uint64(s.Racks*rackThreads + vnodes), Have: n.Pids,
		Later: "a process in every vnode at once", Remedy: pids}, 0, 1+float64(rackThreads)/program.RackVnodes)
	add(Limit{Name: "neighbour table", Need: uint64(s.Vifaces), Have: n.NeighbourLimit,
		Later: "every viface talking at once", Remedy: fmt.Sprintf("sysctl net.ipv4.neigh.default.gc_thresh3=%d", roundUp(s.Vifaces))}, 0, per(s.Vifaces))
	if s.ports > 0 {
		add(Limit{Name: "ports of a bridge", Need: uint64(s.ports), Have: program.BridgePorts,
			Remedy: "use fabric: ebpf, which has no ports"}, 0, 0)
	}
	return out
}

// roundUp gives the next power of two that leaves some room.
func roundUp(n int) int {
	r := 1024
	for r < n+n/4 {
		r *= 2
	}
	return r
}

// String is the forecast for people.
func (f *Forecast) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s on %s: %s, %s, %s\n", count(f.Vnodes, "vnode"), count(len(f.Pnodes), "pnode"),
		count(f.Load.Racks, "rack"), count(f.Load.Vifaces, "viface"), count(f.Load.Routes, "route"))
	fmt.Fprintf(&b, "estimated: %s of kernel memory, %s of user memory; up in %s, down in %s\n",
		size(f.Load.KernelMemory), size(f.Load.UserMemory), seconds(f.Load.Up), seconds(f.Load.Down))
	if f.Links != nil {
		b.WriteString(f.Links.String())
	}
	for _, note := range f.Notes {
		fmt.Fprintf(&b, "note: %s\n", note)
	}
	for i := range f.Limits {
		l := &f.Limits[i]
		need, have := fmt.Sprint(l.Need), fmt.Sprint(l.Have)
		if l.Name == "memory" {
			need, have = size(l.Need), size(l.Have)
		}
		verdict := "enough"
		if l.Vnodes > 0 {
			verdict = fmt.Sprintf("enough for about %s", count(l.Vnodes, "vnode"))
		}
		if l.Breaks() {
			verdict = "TOO LITTLE: " + l.Remedy
			if l.Later != "" {
				verdict = "too little for " + l.Later + ": " + l.Remedy
			}
		}
		fmt.Fprintf(&b, "  %s on %s: needs %s of %s, %s\n", l.Name, l.Pnode, need, have, verdict)
	}
	return b.String()
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func size(bytes uint64) string {
	if bytes < 1e5 {
		return fmt.Sprintf("%.1f kB", float64(bytes)/1e3)
	}
	if bytes < 1e9 {
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
}

func seconds(d time.Duration) string {
	if d < time.Second {
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

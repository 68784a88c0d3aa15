package program

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Lengths that names may have, in bytes.
const (
	MaxPlatformName = 63 // a directory and a part of a cgroup's name
	MaxVnodeName    = 64 // HOST_NAME_MAX of Linux
	MaxVifaceName   = 15 // IFNAMSIZ of Linux, less the final zero
)

// MaxHost is the greatest host number: a computed MAC holds three bytes of it.
const MaxHost = 1<<24 - 1

// maxProblems is how many problems Validate lists before it stops.
const maxProblems = 20

// Validate checks all that the types cannot promise: that tables are sorted,
// rows refer to rows that exist, and names, slots, addresses and MACs are
// valid and unique. It lists what is wrong, up to 20 problems.
func (p *Program) Validate() error {
	c := newChecker(p)
	c.platform()
	c.pnode()
	c.tables()
	c.own()
	c.names()
	c.places()
	c.givenMACs()
	ways := validWays(p.Ways)
	if ways == nil && len(p.Ways) != 0 && len(p.Ways) != p.Overlay.rows() {
		ways = fmt.Errorf("%d ways to %d pnodes", len(p.Ways), p.Overlay.rows())
	}
	return errors.Join(append(c.problems, p.Links.Validate(), p.Overlay.Validate(p.Number), ways)...)
}

func newChecker(p *Program) *checker {
	return &checker{p: p, networks: make(map[uint16]*Network, len(p.Networks))}
}

// own checks what is the pnode's own, once networks are known.
func (c *checker) own() {
	last := int64(-1)
	for i := range c.p.Racks {
		if index := int64(c.p.Racks[i].Index); index <= last {
			c.bad("rack %d is not in order", index)
		} else {
			last = index
		}
		c.rack(&c.p.Racks[i])
	}
	c.unique()
	c.elsewhere()
}

// checker gathers what is wrong with a program, and what must be unique
// across its racks.
type checker struct {
	p        *Program
	networks map[uint16]*Network
	vnodes   []string    // every name
	hosts    []uint64    // every viface: network << 32 | host
	macs     map[MAC]int // how often each given MAC appears
	problems []error
}

func (c *checker) bad(format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, fmt.Errorf(format, args...))
	}
}

func (c *checker) platform() {
	if !ValidPlatformName(c.p.Platform) {
		c.bad("platform %q: a name is 1 to %d of a-z, 0-9 and -, and begins with a letter or digit", c.p.Platform, MaxPlatformName)
	}
	if c.p.Fabric > FabricBridge {
		c.bad("fabric %d is unknown", c.p.Fabric)
	}
}

func (c *checker) pnode() {
	if !ValidPnodeName(c.p.Pnode) {
		c.bad("pnode %.30q is not a name", c.p.Pnode)
	}
}

// ValidPlatformName says whether s can name a platform, and so a directory:
// [a-z0-9][a-z0-9-]*, at most MaxPlatformName bytes.
func ValidPlatformName(s string) bool {
	for i := range len(s) {
		ch := s[i]
		if !('a' <= ch && ch <= 'z' || '0' <= ch && ch <= '9' || ch == '-' && i > 0) {
			return false
		}
	}
	return s != "" && len(s) <= MaxPlatformName
}

// ValidPnodeName says whether s can name a pnode, or a site: up to 255 bytes of
// text without spaces, # and /.
func ValidPnodeName(s string) bool {
	for _, r := range s {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return false
		}
	}
	return len(s) <= 255 && plain(s)
}

// plain says whether a name is free of what would end it in a file of lines
// and fields, or lead elsewhere in a path.
func plain(s string) bool {
	for i := range len(s) {
		if ch := s[i]; ch <= ' ' || ch == 0x7f || ch == '#' || ch == '/' {
			return false
		}
	}
	return s != "" && s != "." && s != ".."
}

func (c *checker) tables() {
	names := make(map[string]bool, len(c.p.Networks))
	for i := range c.p.Networks {
		n := &c.p.Networks[i]
		if i > 0 && c.p.Networks[i-1].ID >= n.ID {
			c.bad("network %d (%s) is not in order", n.ID, n.Name)
		}
		if n.ID == 0 || !plain(n.Name) || names[n.Name] {
			c.bad("network %d (%q): IDs begin with 1, and names are unique", n.ID, n.Name)
		}
		if s := n.Subnet; !s.IsValid() || !s.Addr().Is4() || s != s.Masked() || s.Bits() < 8 || s.Bits() > 30 {
			c.bad("network %s: subnet %s is not an IPv4 prefix of 8 to 30 bits", n.Name, s)
		} else {
			c.networks[n.ID] = n
		}
		if n.MTU < 68 {
			c.bad("network %s: MTU %d is below IPv4's least, 68", n.Name, n.MTU)
		}
		names[n.Name] = true
	}
}

func (c *checker) rack(r *Rack) {
	for i, v := range r.Vnodes {
		switch {
		case i > 0 && r.Vnodes[i-1].Slot >= v.Slot:
			c.bad("rack %d: vnode %s in slot %d is not in order", r.Index, v.Name, v.Slot)
		case v.Slot >= RackVnodes:
			c.bad("rack %d: vnode %s in slot %d, the last is %d", r.Index, v.Name, v.Slot, RackVnodes-1)
		case len(v.Name) > MaxVnodeName || !plain(v.Name):
			c.bad("rack %d: %q cannot name a vnode", r.Index, v.Name)
		case v.Weight > WeightLight:
			c.bad("vnode %s: weight %d is unknown", v.Name, v.Weight)
		}
		c.vnodes = append(c.vnodes, v.Name)
	}
	vifaces, routes := r.Vifaces, r.Routes
	for _, v := range r.Vnodes {
		var own []Viface
		var via []Route
		own, vifaces = cut(vifaces, v.Slot, Viface.slot)
		via, routes = cut(routes, v.Slot, Route.slot)
		c.vifaces(&v, own)
		c.routes(&v, own, via)
	}
	if len(vifaces) > 0 || len(routes) > 0 {
		c.bad("rack %d: vifaces or routes are not in order, or belong to no vnode", r.Index)
	}
}

func (v Viface) slot() uint16 { return v.Slot }
func (r Route) slot() uint16  { return r.Slot }

// cut splits off the leading rows that belong to a slot.
func cut[T any](rows []T, slot uint16, of func(T) uint16) (own, rest []T) {
	n := 0
	for n < len(rows) && of(rows[n]) == slot {
		n++
	}
	return rows[:n:n], rows[n:]
}

func (c *checker) vifaces(v *Vnode, vifaces []Viface) {
	for i, f := range vifaces {
		if i > 0 && vifaces[i-1].Index >= f.Index {
			c.bad("vnode %s: viface %s is not in order", v.Name, f.Name)
		}
		if len(f.Name) > MaxVifaceName || f.Name == "lo" || !plain(f.Name) || strings.Contains(f.Name, ":") ||
			slices.ContainsFunc(vifaces[:i], func(o Viface) bool { return o.Name == f.Name }) {
			c.bad("vnode %s: %q cannot name its viface %d", v.Name, f.Name, f.Index)
		}
		if f.Attach > AttachVeth {
			c.bad("vnode %s: attachment %d of %s is unknown", v.Name, f.Attach, f.Name)
		}
		n := c.networks[f.Network]
		if n == nil || !n.HasHost(f.Host) {
			c.bad("vnode %s: %s has host number %d in network %d, where there is none", v.Name, f.Name, f.Host, f.Network)
			continue
		}
		c.hosts = append(c.hosts, uint64(f.Network)<<32|uint64(f.Host))
		c.mac(v, &f)
	}
}

// HasHost says whether h numbers a host: neither the network's own address
// nor its broadcast address.
func (n Network) HasHost(h uint32) bool {
	return h > 0 && h <= MaxHost && uint64(h) < 1<<(32-n.Subnet.Bits())-1
}

// mac checks a MAC that the user has given. It must not be one that MACOf
// gives to somebody else: the fabric knows those by arithmetic.
func (c *checker) mac(v *Vnode, f *Viface) {
	if f.MAC == (MAC{}) {
		return
	}
	if f.MAC[0]&1 != 0 {
		c.bad("vnode %s: %s has the multicast address %s", v.Name, f.Name, f.MAC)
	}
	if network, _, ok := f.MAC.Computed(); ok && c.networks[network] != nil && f.MAC != MACOf(f.Network, f.Host) {
		c.bad("vnode %s: %s of %s is the computed address of another", v.Name, f.MAC, f.Name)
	}
	if c.macs == nil {
		c.macs = map[MAC]int{}
	}
	c.macs[f.MAC]++
	if c.macs[f.MAC] == 2 {
		c.bad("vnode %s: %s of %s is also another's", v.Name, f.MAC, f.Name)
	}
}

// Computed gives the network and host for which MACOf would give m, if it has
// that form.
func (m MAC) Computed() (network uint16, host uint32, ok bool) {
	return uint16(m[1])<<8 | uint16(m[2]), uint32(m[3])<<16 | uint32(m[4])<<8 | uint32(m[5]), m[0] == 2
}

func (c *checker) routes(v *Vnode, vifaces []Viface, routes []Route) {
	for i, r := range routes {
		if !r.To.IsValid() || !r.To.Addr().Is4() || r.To != r.To.Masked() {
			c.bad("vnode %s: %s is not an IPv4 destination", v.Name, r.To)
		}
		if i > 0 && routes[i-1].To.Compare(r.To) >= 0 {
			c.bad("vnode %s: the route to %s is not in order", v.Name, r.To)
		}
		if !c.onLink(vifaces, r.Via) {
			c.bad("vnode %s: the next hop %s to %s is in none of its networks", v.Name, r.Via, r.To)
		}
		if slices.ContainsFunc(vifaces, func(f Viface) bool { n := c.networks[f.Network]; return n != nil && n.Subnet == r.To }) {
			c.bad("vnode %s: a route to %s, in which it is itself", v.Name, r.To)
		}
	}
}

func (c *checker) onLink(vifaces []Viface, via netip.Addr) bool {
	return slices.ContainsFunc(vifaces, func(f Viface) bool {
		n := c.networks[f.Network]
		return n != nil && n.Subnet.Contains(via)
	})
}

// unique checks what no two rows of the whole program may share.
func (c *checker) unique() {
	if !slices.IsSorted(c.hosts) {
		slices.Sort(c.hosts)
	}
	for i := 1; i < len(c.hosts); i++ {
		if c.hosts[i-1] == c.hosts[i] {
			c.bad("host number %d of network %d is given twice", uint32(c.hosts[i]), c.hosts[i]>>32)
		}
	}
	seen := make(map[string]struct{}, len(c.vnodes))
	for _, name := range c.vnodes {
		if _, twice := seen[name]; twice {
			c.bad("two vnodes are called %s", name)
		}
		seen[name] = struct{}{}
	}
}

func (c *checker) names() {
	for _, n := range c.p.Names {
		last := n.First + uint64(n.Count) - 1
		length := len(n.Prefix) + len(n.Suffix)
		if !n.Literal {
			length += max(int(n.Width), len(strconv.FormatUint(last, 10)))
		}
		switch {
		case n.Count == 0 || last < n.First || n.Literal && (n.Count != 1 || n.Width != 0 || n.First != 0 || n.Suffix != ""):
			c.bad("names %q, %d of them from %d, are no range", n.Prefix+"%"+n.Suffix, n.Count, n.First)
		case length > MaxVnodeName || !plain(n.Prefix+"0"+n.Suffix) || n.Literal && n.Prefix == "":
			c.bad("names %q %d %q are no names", n.Prefix, n.First, n.Suffix)
		case !n.Addr.Is4() || uint64(number(n.Addr))+uint64(n.Count) > 1<<32:
			c.bad("names %q: %d addresses from %s on are no addresses", n.Prefix, n.Count, n.Addr)
		}
	}
}

// places checks the form of Remote. Of networks that the program does not
// have, nothing more is known.
func (c *checker) places() {
	end := uint64(0) // network << 32 | host after the last range
	for _, r := range c.p.Remote {
		first := uint64(r.Network)<<32 | uint64(r.Host)
		n := c.networks[r.Network]
		switch {
		case r.Count == 0 || uint64(r.Host)+uint64(r.Count)-1 > MaxHost || r.Network == 0 || r.Pnode >= MaxPnodes ||
			n != nil && (!n.HasHost(r.Host) || !n.HasHost(r.Host+r.Count-1)):
			c.bad("remote: network %d has no %d hosts from %d on, or there is no pnode %d", r.Network, r.Count, r.Host, r.Pnode)
			continue
		case first < end:
			c.bad("remote: host %d of network %d is not in order", r.Host, r.Network)
		}
		end = first + uint64(r.Count)
	}
}

// givenMACs checks the form of MACs.
func (c *checker) givenMACs() {
	seen := make(map[MAC]bool, len(c.p.MACs))
	for i, m := range c.p.MACs {
		_, _, computed := m.MAC.Computed()
		if m.MAC[0]&1 != 0 || m.MAC == (MAC{}) || seen[m.MAC] || computed && c.networks[uint16(m.MAC[1])<<8|uint16(m.MAC[2])] != nil || m.Network == 0 || m.Host == 0 || m.Host > MaxHost {
			c.bad("host %d of network %d cannot have the Ethernet address %s", m.Host, m.Network, m.MAC)
		}
		if before := &c.p.MACs[max(i-1, 0)]; i > 0 && (before.Network > m.Network || before.Network == m.Network && before.Host >= m.Host) {
			c.bad("Ethernet address %s is not in order", m.MAC)
		}
		seen[m.MAC] = true
	}
}

// elsewhere finds vifaces that Remote says another pnode has. It is sorted,
// or that was reported.
func (c *checker) elsewhere() {
	rows := c.p.Remote
	if len(rows) == 0 {
		return
	}
	for _, at := range c.hosts { // sorted by unique
		i, ok := slices.BinarySearchFunc(rows, at, func(r PlaceRange, at uint64) int {
			return cmp.Compare(uint64(r.Network)<<32|uint64(r.Host), at)
		})
		if !ok {
			i--
		}
		if i < 0 || i >= len(rows) {
			continue
		}
		if r := &rows[i]; uint64(r.Network) == at>>32 && uint32(at)-r.Host < r.Count && r.Pnode != c.p.Number {
			c.bad("remote: host %d of network %d is here as well as on pnode %d", uint32(at), r.Network, r.Pnode)
		}
	}
}

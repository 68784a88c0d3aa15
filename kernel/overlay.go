package kernel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"myriad/kernel/fabric"
	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// What joins a spine to those of other pnodes: with eBPF one device for all
// vnetworks, to which the fabric says where each frame goes; with bridges one
// for each vnetwork, ov<n>, which is a port of its bridge.
const (
	overlayName  = "ov"
	firstOverlay = 1 << 30 // index of network n's is that much more
	overlayTTL   = 64
	// overlayMTU is that of the one for all: the vnodes' says what leaves.
	overlayMTU = trunkMTU - program.VXLANOverhead
)

// overlayDevice is one as it is wanted.
type overlayDevice struct {
	index  int32
	name   string
	mtu    uint32
	master int32
	vxlan  rtnl.VXLANLink
	vni    uint32       // that comes in, where the device tells VNIs apart
	ends   []netip.Addr // that get what nobody knows a place for
}

// isOverlay says whether a link of a spine is an overlay device, whatever has
// become of it.
func isOverlay(name string, l *rtnl.LinkInfo) bool {
	_, network := strings.CutPrefix(name, overlayName)
	return l.Kind == rtnl.VXLAN || l.Index == fabric.OverlayIndex || l.Index >= firstOverlay || network
}

// overlayDevices lists what a program needs.
func overlayDevices(want *program.Program, u *underlay) []overlayDevice {
	o := want.Overlay
	if o == nil {
		return nil
	}
	if want.Fabric == program.FabricEBPF {
		return []overlayDevice{{index: fabric.OverlayIndex, name: overlayName, mtu: overlayMTU, vni: o.VNI,
			vxlan: rtnl.VXLANLink{Port: o.Port, TTL: overlayTTL, External: true, VNIFilter: true}}}
	}
	ends, locals := bridgeEnds(want)
	var out []overlayDevice
	for i := range want.Networks {
		n := &want.Networks[i]
		if len(ends[n.ID]) == 0 {
			continue
		}
		vni := o.VNI + uint32(n.ID)
		d := overlayDevice{index: firstOverlay + int32(n.ID), name: fmt.Sprintf("%s%d", overlayName, n.ID), mtu: uint32(n.MTU),
			master: firstBridge + int32(n.ID), vxlan: rtnl.VXLANLink{VNI: vni, Port: o.Port, TTL: overlayTTL, Learning: true}}
		if len(locals) == 1 {
			d.vxlan.Local = locals[0]
		}
		if o.Kind == program.OverlayMulticast {
			d.vxlan.Group, d.vxlan.Device = groupOf(vni), u.addrs[o.Underlay[want.Number].Outside()]
		} else {
			d.ends = slices.SortedFunc(maps.Keys(ends[n.ID]), netip.Addr.Compare)
		}
		out = append(out, d)
	}
	return out
}

// bridgeEnds gives the far ends of the tunnels of each network, and the near
// ends of all.
func bridgeEnds(want *program.Program) (ends map[uint16]map[netip.Addr]bool, locals []netip.Addr) {
	ends = map[uint16]map[netip.Addr]bool{}
	for _, r := range want.Remote {
		if !want.Elsewhere(&r) {
			continue
		}
		local, remote, _ := want.Overlay.Ends(want.Number, r.Pnode)
		if !remote.IsValid() {
			continue // it is away
		}
		if ends[r.Network] == nil {
			ends[r.Network] = map[netip.Addr]bool{}
		}
		ends[r.Network][remote] = true
		if !slices.Contains(locals, local) {
			locals = append(locals, local)
		}
	}
	return ends, locals
}

// groupOf is the multicast group of a VNI: 239.0.0.0/8 has one for each (RFC
// 2365, section 6, leaves it to whoever administers the network).
func groupOf(vni uint32) netip.Addr {
	return netip.AddrFrom4([4]byte{239, byte(vni >> 16), byte(vni >> 8), byte(vni)})
}

// overlay makes the devices that join the spine to other pnodes as they are
// wanted, from whatever is there. What is in the way of it is a problem: the
// vnodes of this pnode reach each other all the same.
func (a *apply) overlay(ctx context.Context) error {
	platform := a.want.Platform
	if _, gated := a.p.gateRecord(platform); a.want.Overlay == nil && !gated && !a.spine.hasOverlay() {
		return nil
	}
	u, err := a.p.openUnderlay()
	if err != nil {
		return err
	}
	defer u.close()
	m := overlaying{p: a.p, s: a.spine, u: u, want: a.want}
	err = m.join(ctx)
	a.report.Writes += uint64(m.writes)
	for _, q := range m.problems {
		a.problem(q)
	}
	return err
}

// join makes the gate and the devices. Where something is to be encrypted and
// cannot be, nothing leaves.
func (m *overlaying) join(ctx context.Context) error {
	g := m.p.gateOf(m.want)
	if g == nil {
		if m.want.Overlay != nil {
			m.problems = m.u.check(m.want)
		}
		if err := m.run(ctx); err != nil {
			return err
		}
		return m.wrote(m.p.removeGate(m.u, m.want.Platform))
	}
	if m.p.gateMoves(m.want.Platform, g) { // what goes to where it was must not go elsewhere
		if err := m.prune(nil); err != nil {
			return err
		}
	}
	g.mtu = m.u.gateMTU(m.want)
	if err := m.wrote(m.p.ensureGate(m.u, m.want.Platform, g)); err != nil {
		m.problems = append(m.problems, m.refusal(err))
		alone := *m.want
		alone.Overlay, alone.Remote = nil, nil
		m.want = &alone
		return m.run(ctx)
	}
	m.problems = m.u.check(m.want)
	return m.run(ctx)
}

func (m *overlaying) wrote(writes int, err error) error {
	m.writes += writes
	return err
}

// hasOverlay says whether a spine has any overlay device.
func (s *spine) hasOverlay() bool {
	for name, l := range s.links {
		if isOverlay(name, &l) {
			return true
		}
	}
	return false
}

// overlaid says whether the device is there that the fabric of a program sends
// to.
func (s *spine) overlaid() bool {
	l, ok := s.links[overlayName]
	return ok && l.Index == fabric.OverlayIndex && l.Kind == rtnl.VXLAN && l.Up
}

// overlaying is one such making.
type overlaying struct {
	p        *Pnode
	s        *spine
	u        *underlay
	want     *program.Program
	home     int32 // number of the underlay in the spine
	writes   int
	problems []program.Problem
}

func (m *overlaying) run(ctx context.Context) error {
	wanted := overlayDevices(m.want, m.u)
	if m.want.Overlay != nil && m.want.Overlay.Kind == program.OverlayMulticast {
		wanted = slices.DeleteFunc(wanted, func(d overlayDevice) bool { return d.vxlan.Device == 0 }) // which check has said
	}
	var err error
	if m.home, err = m.s.conn.Number(m.u.ns); err != nil {
		return err
	}
	if err := m.prune(wanted); err != nil {
		return err
	}
	for i := range wanted {
		d := &wanted[i]
		err := m.ensure(d)
		if contested(err) {
			// Perhaps by a platform that was removed a moment ago.
			if err := netns.WaitCleanup(ctx); err != nil {
				return err
			}
			err = m.ensure(d)
		}
		if err != nil {
			m.problems = append(m.problems, m.problem(d, err))
		}
	}
	return nil
}

// prune removes the devices that are not wanted, or not as they are.
func (m *overlaying) prune(wanted []overlayDevice) error {
	var gone []string
	for name, l := range m.s.links {
		if isOverlay(name, &l) && !slices.ContainsFunc(wanted, func(d overlayDevice) bool { return m.same(&d, &l) }) {
			gone = append(gone, name)
		}
	}
	writes, err := m.s.remove(gone)
	m.writes += writes
	return err
}

// same says whether a link can become what is wanted by settings alone.
func (m *overlaying) same(d *overlayDevice, l *rtnl.LinkInfo) bool {
	if l.Name != d.name || l.Index != d.index || l.Kind != rtnl.VXLAN || l.VXLAN == nil || l.Home != m.home || m.home == rtnl.NoNumber || l.MTU < minIPv6MTU && d.mtu >= minIPv6MTU {
		return false
	}
	want := d.vxlan
	if want.VNIFilter && !l.VXLAN.VNIFilter {
		// A kernel that knows of no filters took no notice of it.
		want.VNIFilter = !errors.Is(m.s.conn.Read(&rtnl.Dump{VNIs: func(*rtnl.VNI) {}, VNILink: l.Index}), unix.EOPNOTSUPP)
	}
	return *l.VXLAN == want
}

// ensure makes one device right. Those that are of another kind are gone.
func (m *overlaying) ensure(d *overlayDevice) error {
	have, ok := m.s.links[d.name]
	if !ok {
		if err := m.make(d); err != nil {
			return err
		}
		l, err := m.s.conn.Link(d.index)
		if err != nil {
			return err
		}
		have = *l
		m.s.links[d.name] = have
	}
	var b rtnl.Batch
	if have.MTU != d.mtu || have.Master != d.master {
		b.SetLink(&rtnl.Link{Index: d.index, MTU: d.mtu, Master: d.master, Label: d.name})
	}
	if m.s.ipv6 && !have.IPv6Quiet {
		b.SetLink(&rtnl.Link{Index: d.index, IPv6: rtnl.IPv6Quiet, Label: d.name})
	}
	if have.VXLAN.VNIFilter {
		if err := m.filter(&b, d); err != nil {
			return err
		}
	}
	if d.ends != nil {
		if err := m.forwards(&b, d); err != nil {
			return err
		}
	}
	if !have.Up {
		b.SetLink(&rtnl.Link{Index: d.index, Up: true, Label: d.name})
	}
	m.writes += b.Len()
	if err := m.s.conn.Do(&b); err != nil {
		return err
	}
	if !have.Up || have.MTU != d.mtu {
		have.Up, have.MTU = true, d.mtu
		m.s.links[d.name] = have
	}
	return nil
}

// make makes a device, from the underlay into the spine.
func (m *overlaying) make(d *overlayDevice) error {
	ns, err := netns.Open(m.p.spine(m.want.Platform))
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	link := rtnl.Link{Index: d.index, Name: d.name, Kind: rtnl.VXLAN, Netns: ns, MTU: d.mtu, VXLAN: &d.vxlan}
	var b rtnl.Batch
	b.NewLink(&link)
	m.writes++
	err = m.u.conn.Do(&b)
	if _, taken := m.u.links[d.index]; !taken || !errors.Is(err, unix.EEXIST) {
		return err
	}
	// Before Linux 6.14, the index must be free where the device is made from
	// (net/core/rtnetlink.c, rtnl_newlink). So it is made with any, and moved.
	b.Reset()
	link.Index, link.Name, link.Netns = 0, m.nursery(), 0
	b.NewLink(&link)
	if err := m.u.conn.Do(&b); err != nil {
		return err
	}
	b.Reset()
	if err := m.u.read(); err != nil {
		return err
	}
	for index, l := range m.u.links {
		if l.Name == link.Name {
			b.SetLink(&rtnl.Link{Index: index, Name: d.name, Netns: ns, Into: d.index, Label: link.Name})
		}
	}
	return m.u.conn.Do(&b)
}

// nursery is the name of a device on its way into a spine.
func (m *overlaying) nursery() string { return gatePrefix + m.p.gateTag() + "-new" }

// filter has exactly the VNI that is wanted come in at a device.
func (m *overlaying) filter(b *rtnl.Batch, d *overlayDevice) error {
	found := false
	err := m.s.conn.Read(&rtnl.Dump{VNILink: d.index, VNIs: func(v *rtnl.VNI) {
		if v.First == d.vni && v.Last == d.vni {
			found = true
		} else {
			b.DelVNI(*v, d.name)
		}
	}})
	if !found {
		b.NewVNI(d.index, d.vni, fmt.Sprint(d.vni))
	}
	return err
}

// forwards has frames that no place is known for go to the ends that are
// wanted, and to no other.
func (m *overlaying) forwards(b *rtnl.Batch, d *overlayDevice) error {
	missing := map[netip.Addr]bool{}
	for _, end := range d.ends {
		missing[end] = true
	}
	err := m.s.conn.Read(&rtnl.Dump{ForwardLink: d.index, Forwards: func(f *rtnl.ForwardInfo) {
		switch {
		case f.MAC != [6]byte{} || f.Link != d.index:
		case missing[f.To]:
			delete(missing, f.To)
		default:
			b.DelForward(f.Forward)
		}
	}})
	for _, end := range slices.SortedFunc(maps.Keys(missing), netip.Addr.Compare) {
		b.NewForward(rtnl.Forward{Link: d.index, To: end})
	}
	return err
}

// problem says what is in the way of a device.
func (m *overlaying) problem(d *overlayDevice, err error) program.Problem {
	q := problemOf(-1, "", fmt.Sprintf("join %s to other pnodes", m.want.Platform), err)
	q.Op = fmt.Sprintf("join %s to other pnodes", m.want.Platform)
	q.Cause = err.Error()
	vni := max(d.vni, d.vxlan.VNI)
	var op *rtnl.OpError
	switch {
	case errors.Is(err, unix.EEXIST) && d.vxlan.External && errors.As(err, &op) && op.Name == d.name:
		q.Cause = fmt.Sprintf("UDP port %d of this machine is another platform's, and this kernel tells no VNIs apart there (%v)", d.vxlan.Port, err)
		q.Remedy = "give the platform another port: overlay: {port: N}; or use Linux 5.18 or later"
	case errors.Is(err, unix.EEXIST):
		q.Cause = fmt.Sprintf("VNI %d at UDP port %d of this machine is %s (%v)", vni, d.vxlan.Port, m.whose(vni), err)
		q.Remedy = "remove what has it (myriad down, or myriad verify-clean of that instance), or give this coordinator another range: myriad serve --vni-base N"
	case errors.Is(err, unix.EADDRINUSE):
		q.Cause = fmt.Sprintf("UDP port %d of this machine is used by something else, or by VXLAN of another kind (%v)", d.vxlan.Port, err)
		q.Remedy = "give the platform another port: overlay: {port: N}; platforms with fabric: ebpf and fabric: bridge need different ones on the same machine"
	case errors.Is(err, unix.EOPNOTSUPP):
		q.Remedy = "modprobe vxlan, or a kernel with CONFIG_VXLAN"
	}
	return q
}

// otherInstances lists those that have platforms on this machine.
func (p *Pnode) otherInstances() []string {
	if p.group == nil {
		return nil
	}
	prefix := strings.TrimSuffix(p.group.Path, p.instance)
	groups, _ := filepath.Glob(prefix + "*")
	var names []string
	for _, path := range groups {
		if name := strings.TrimPrefix(path, prefix); name != p.instance {
			names = append(names, name)
		}
	}
	return names
}

// refusal says why a platform is not joined to others at all.
func (m *overlaying) refusal(err error) program.Problem {
	q := problemOf(-1, "", "encrypt what goes to other pnodes", err)
	if errors.Is(err, unix.EADDRINUSE) {
		own := m.want.Overlay.Underlay[m.want.Number]
		q.Op = "encrypt what goes to other pnodes"
		q.Cause = fmt.Sprintf("UDP port %d of this machine is used by something else", own.Gate.Port())
		q.Remedy = "end what uses it, or bring the platform up anew while another has its place: it gets another port"
	}
	q.Cause += "; until then, " + m.want.Platform + " is not joined to other pnodes"
	return q
}

// whose says who may have a VNI.
func (m *overlaying) whose(vni uint32) string {
	platforms, _ := m.p.Platforms()
	for _, name := range platforms {
		if name == m.want.Platform {
			continue
		}
		if other, err := m.p.wanted(name); err == nil && other != nil && other.Overlay != nil && vni-other.Overlay.VNI < program.PlatformVNIs {
			return fmt.Sprintf("platform %s's, of this instance", name)
		}
	}
	text := "somebody else's: another instance's or coordinator's on this machine, or of a device that is not Myriad's"
	if others := m.p.otherInstances(); len(others) > 0 {
		text += "; instances here: " + strings.Join(others, ", ")
	}
	return text
}

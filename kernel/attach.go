package kernel

import (
	"fmt"
	"slices"

	"myriad/kernel/fabric"
	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// What a rack's namespace holds besides lo, by interface index: with eBPF the
// trunk tr0 (TrunkIndex); with bridges a bridge and a trunk for each network;
// and the host ends of the vnodes that are attached by veth pairs.
//
// None is an index that a vnode has inside: before Linux 6.14, the index of a
// link made in another namespace must be free in the socket's own, too.
const (
	TrunkIndex  = 1 << 15 // of tr0
	firstEnd    = 1 << 16
	firstBridge = 1 << 28
	firstPort   = 1 << 29
)

// endIndex is the index of the rack's end of a viface's veth pair.
func endIndex(f *program.Viface) int32 {
	return firstEnd + int32(f.Index)<<10 + int32(f.Slot)
}

// endName is its name: v12 for eth0 of the vnode in slot 12, v12.1 for eth1.
func endName(f *program.Viface) string {
	if f.Index == 0 {
		return fmt.Sprintf("v%d", f.Slot)
	}
	return fmt.Sprintf("v%d.%d", f.Slot, f.Index)
}

// veth says whether a viface is attached by a veth pair: with bridges, all
// are.
func (j *job) veth(f *program.Viface) bool {
	return f.Attach == program.AttachVeth || j.spec.Fabric == program.FabricBridge
}

// newLink makes a viface's link.
func (w *worker) newLink(f *program.Viface, n *program.Network, ns int) {
	inside := rtnl.Link{Index: indexOf(f), Name: f.Name, Netns: ns, MTU: uint32(n.MTU), MAC: f.Address(), Group: uint32(n.ID)}
	if !w.j.veth(f) {
		inside.Kind, inside.Parent = rtnl.Macvlan, TrunkIndex
		w.attach.NewLink(&inside)
		return
	}
	end := endIndex(f)
	outside := rtnl.Link{Index: end, Name: endName(f), Kind: rtnl.Veth, MTU: uint32(n.MTU), Peer: &inside}
	outside.Master = w.j.master(f)
	w.attach.NewLink(&outside)
	if w.j.l.ipv6 && n.MTU >= minIPv6MTU {
		w.attach.SetLink(&rtnl.Link{Index: end, IPv6: rtnl.IPv6Quiet, Label: outside.Name})
	}
	if w.j.veths != nil {
		w.j.veths.Join(&w.attach, end)
	}
	w.attach.SetLink(&rtnl.Link{Index: end, Up: true, Label: outside.Name})
}

// same says whether a link can become what a viface wants by settings alone.
func (w *worker) same(l *rtnl.LinkInfo, f *program.Viface, n *program.Network) bool {
	if !ours(l) || l.Name != f.Name || l.MAC != f.Address() || l.MTU < minIPv6MTU && n.MTU >= minIPv6MTU {
		return false
	}
	if !w.j.veth(f) {
		return l.Kind == rtnl.Macvlan && l.VEPA && l.Parent == TrunkIndex
	}
	end := w.j.ends[endIndex(f)]
	return l.Kind == rtnl.Veth && end != nil && end.Kind == rtnl.Veth && end.Up && end.MTU == uint32(n.MTU) && end.Master == w.j.master(f)
}

// prepare makes the rack's own namespace fit for the vnodes: what is of the
// other kind of fabric goes, and what is of a vnode that goes.
func (j *job) prepare(gone []*vnode) error {
	return netns.Do(j.l.ns, func() error {
		c, err := rtnl.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		if err := j.readEnds(c); err != nil {
			return err
		}
		if err := j.removeEnds(c, gone); err != nil {
			return err
		}
		if j.spec.Fabric == program.FabricBridge {
			return j.bridges(c)
		}
		return j.trunk(c)
	})
}

// trunk brings up the rack's end of its trunk, and joins the veth pairs to it.
func (j *job) trunk(c *rtnl.Conn) error {
	trunk := j.ends[TrunkIndex]
	if trunk == nil || trunk.Kind != rtnl.Veth {
		if len(j.spec.Rack.Vnodes) == 0 {
			return nil
		}
		return fmt.Errorf("rack %d has no trunk", j.spec.Rack.Index)
	}
	var b rtnl.Batch
	if j.l.ipv6 && !trunk.IPv6Quiet {
		b.SetLink(&rtnl.Link{Index: TrunkIndex, IPv6: rtnl.IPv6Quiet, Label: trunk.Name})
	}
	if !trunk.Up {
		b.SetLink(&rtnl.Link{Index: TrunkIndex, Up: true, Label: trunk.Name})
	}
	j.writes += uint64(b.Len())
	if err := c.Do(&b); err != nil {
		return err
	}
	return j.joinVeths(c)
}

// joinVeths has the fabric pass frames between the trunk and the veth pairs,
// if there are or were any.
func (j *job) joinVeths(c *rtnl.Conn) error {
	ends := map[int32]program.MAC{}
	for i := range j.spec.Rack.Vifaces {
		if f := &j.spec.Rack.Vifaces[i]; j.veth(f) {
			ends[endIndex(f)] = f.Address()
		}
	}
	were := slices.ContainsFunc(j.before.Vifaces, func(f program.Viface) bool { return f.Attach == program.AttachVeth })
	if len(ends) == 0 && !were {
		return nil
	}
	var err error
	var writes int
	j.veths, writes, err = fabric.EnsureVeth(c, TrunkIndex, ends)
	j.writes += uint64(writes)
	return err
}

// readEnds reads which links the rack's namespace has.
func (j *job) readEnds(c *rtnl.Conn) error {
	c.Grow(1 << 20)
	var err error
	for range 5 {
		j.ends = map[int32]*rtnl.LinkInfo{}
		err = c.Read(&rtnl.Dump{Links: func(l *rtnl.LinkInfo) { copied := *l; j.ends[l.Index] = &copied }})
		if err != rtnl.ErrChanged {
			break
		}
	}
	return err
}

// bridges makes a bridge for each network that the rack has vifaces in, with
// the network's trunk as a port, and removes those of other networks.
func (j *job) bridges(c *rtnl.Conn) error {
	used := map[uint16]bool{}
	for _, f := range j.spec.Rack.Vifaces {
		used[f.Network] = true
	}
	var b rtnl.Batch
	for id := range used {
		if err := j.bridge(&b, j.networks[id]); err != nil {
			return err
		}
	}
	for index, l := range j.ends {
		if index >= firstBridge && index < firstPort && !used[uint16(index-firstBridge)] {
			b.DelLink(index, l.Name)
		}
	}
	j.writes += uint64(b.Len())
	return c.Do(&b)
}

// bridge makes one bridge right.
func (j *job) bridge(b *rtnl.Batch, n *program.Network) error {
	index, trunk := firstBridge+int32(n.ID), j.ends[firstPort+int32(n.ID)]
	if trunk == nil {
		return fmt.Errorf("rack %d has no trunk for network %s", j.spec.Rack.Index, n.Name)
	}
	ensureBridge(b, j.ends[index], n, j.l.ipv6)
	ensurePort(b, trunk, index, n, j.l.ipv6)
	return nil
}

// ensureBridge adds what makes a network's bridge right.
func ensureBridge(b *rtnl.Batch, have *rtnl.LinkInfo, n *program.Network, ipv6 bool) {
	index := firstBridge + int32(n.ID)
	name := fmt.Sprintf("br%d", n.ID)
	if have == nil {
		b.NewLink(&rtnl.Link{Index: index, Name: name, Kind: rtnl.Bridge, MTU: uint32(n.MTU)})
	} else if have.MTU != uint32(n.MTU) {
		b.SetLink(&rtnl.Link{Index: index, MTU: uint32(n.MTU), Label: name})
	}
	ensureUp(b, have, index, name, n, ipv6)
}

// ensurePort adds what makes one end of a network's trunk a port of its bridge.
func ensurePort(b *rtnl.Batch, have *rtnl.LinkInfo, bridge int32, n *program.Network, ipv6 bool) {
	if have.Master != bridge || have.MTU != uint32(n.MTU) {
		b.SetLink(&rtnl.Link{Index: have.Index, Master: bridge, MTU: uint32(n.MTU), Label: have.Name})
	}
	ensureUp(b, have, have.Index, have.Name, n, ipv6)
}

// ensureUp adds what brings a link up that says nothing by itself.
func ensureUp(b *rtnl.Batch, have *rtnl.LinkInfo, index int32, name string, n *program.Network, ipv6 bool) {
	if ipv6 && n.MTU >= minIPv6MTU && (have == nil || !have.IPv6Quiet || have.MTU < minIPv6MTU) {
		b.SetLink(&rtnl.Link{Index: index, IPv6: rtnl.IPv6Quiet, Label: name})
	}
	if have == nil || !have.Up {
		b.SetLink(&rtnl.Link{Index: index, Up: true, Label: name})
	}
}

// goneGroup marks links that are about to be removed together.
const goneGroup = 0x6d797269

// removeEnds removes, all at the cost of one, the host ends of vnodes that go
// and those that no viface wants as they are, and the bridges where the fabric
// has none.
func (j *job) removeEnds(c *rtnl.Conn, gone []*vnode) error {
	wanted := map[int32]int32{} // master of a wanted end, by its index
	for i := range j.spec.Rack.Vifaces {
		if f := &j.spec.Rack.Vifaces[i]; j.veth(f) {
			wanted[endIndex(f)] = j.master(f)
		}
	}
	for _, v := range gone {
		for i := range j.before.VifacesOf(v.slot) {
			delete(wanted, endIndex(&j.before.VifacesOf(v.slot)[i]))
		}
	}
	var b rtnl.Batch
	for index, l := range j.ends {
		master, ok := wanted[index]
		stale := index >= firstEnd && index < firstBridge && (!ok || l.Master != master) ||
			l.Kind == rtnl.Bridge && j.spec.Fabric != program.FabricBridge
		if stale {
			b.SetLink(&rtnl.Link{Index: index, Group: goneGroup, Label: l.Name})
			delete(j.ends, index)
		}
	}
	if b.Len() == 0 {
		return nil
	}
	j.writes += uint64(b.Len())
	b.DelGroup(goneGroup)
	return c.Do(&b)
}

// master is the index of the bridge that a viface's host end is a port of, 0
// if of none.
func (j *job) master(f *program.Viface) int32 {
	if j.spec.Fabric != program.FabricBridge {
		return 0
	}
	return firstBridge + int32(f.Network)
}

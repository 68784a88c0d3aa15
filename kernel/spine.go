package kernel

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/fabric"
	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// spine is the namespace that joins the racks of a platform. Its links are
// the trunks' ends: with eBPF r<rack>, with bridges r<rack>.<network>, and a
// bridge for each network.
type spine struct {
	conn  *rtnl.Conn
	links map[string]rtnl.LinkInfo
	ipv6  bool
}

// firstTrunk is the index of rack 0's trunk in the spine, which is where the
// fabric looks for it.
const firstTrunk = 16

// trunkMTU is that of every trunk of an eBPF fabric: its macvlans may have
// less, never more.
const trunkMTU = 65535

// pinned tells whether a platform has a spine. One that is pinned in another
// mount namespace is pinned here, too: an agent that was started by ip netns
// exec, in a container or with mounts of its own leaves it there, and its racks
// live on there. Without that, a second spine would be made beside it.
func (p *Pnode) pinned(platform string) bool {
	path := p.spine(platform)
	if netns.Pinned(path) {
		return true
	}
	if _, err := os.Lstat(path); err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), findPatience)
	defer cancel()
	racks, err := p.Racks.Find(ctx, platform)
	if err != nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if netns.Pinned(path) { // meanwhile
		return true
	}
	for _, r := range racks {
		ns, err := netns.Open(fmt.Sprintf("/proc/%d/root%s", r.Pid(), path))
		if err != nil {
			continue // it has ended, or is elsewhere itself
		}
		defer unix.Close(ns)
		return netns.Unpin(path) == nil && netns.Pin(ns, path) == nil
	}
	return false
}

// findPatience is how long racks have to answer that could know of a spine.
const findPatience = 5 * time.Second

// makeSpine opens a platform's spine, and makes it if there is none.
func (p *Pnode) makeSpine(platform string) (s *spine, made bool, err error) {
	path := p.spine(platform)
	var ns int
	if p.pinned(platform) {
		ns, err = netns.Open(path)
	} else {
		made = true
		if err = netns.Unpin(path); err == nil { // half of a Pin
			ns, err = netns.Make(nil)
		}
		if err == nil {
			if err = netns.Pin(ns, path); err != nil {
				unix.Close(ns)
			}
		}
	}
	if err != nil {
		return nil, made, err
	}
	defer unix.Close(ns)
	s, err = enterSpine(ns)
	return s, made, err
}

// enterSpine looks at a spine.
func enterSpine(ns int) (*spine, error) {
	s := &spine{ipv6: hasIPv6()}
	err := netns.Do(ns, func() (err error) {
		s.conn, err = rtnl.Open()
		return err
	})
	if err != nil {
		return nil, err
	}
	s.conn.Grow(1 << 20)
	if err := s.read(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *spine) close() { s.conn.Close() }

func (s *spine) read() error {
	var err error
	for range 5 {
		s.links = map[string]rtnl.LinkInfo{}
		if err = s.conn.Read(&rtnl.Dump{Links: func(l *rtnl.LinkInfo) { s.links[l.Name] = *l }}); err != rtnl.ErrChanged {
			break
		}
	}
	return err
}

// trunkOf reads the name of a trunk's end: of which rack, and with bridges of
// which network; network is 0 with eBPF.
func trunkOf(name string) (rack uint32, network uint16, ok bool) {
	name, ok = strings.CutPrefix(name, "r")
	if !ok {
		return 0, 0, false
	}
	first, second, bridged := strings.Cut(name, ".")
	k, err := strconv.ParseUint(first, 10, 32)
	if err != nil {
		return 0, 0, false
	}
	if !bridged {
		return uint32(k), 0, true
	}
	n, err := strconv.ParseUint(second, 10, 16)
	return uint32(k), uint16(n), err == nil && n > 0
}

func trunkName(rack uint32, network uint16) string {
	if network == 0 {
		return fmt.Sprintf("r%d", rack)
	}
	return fmt.Sprintf("r%d.%d", rack, network)
}

// trunk names one trunk.
type trunk struct {
	rack    uint32
	network uint16
}

// trunks lists what a program needs.
func trunks(want *program.Program) map[trunk]bool {
	out := map[trunk]bool{}
	for i := range want.Racks {
		r := &want.Racks[i]
		if want.Fabric == program.FabricEBPF {
			out[trunk{r.Index, 0}] = true
			continue
		}
		for _, f := range r.Vifaces {
			out[trunk{r.Index, f.Network}] = true
		}
	}
	return out
}

// prune removes the trunks, hold devices and bridges that are not wanted, and
// those of racks that were lost: what is left of them may take a while to vanish.
func (s *spine) prune(want *program.Program, lost map[uint32]bool) (writes int, err error) {
	keep := trunks(want)
	networks := map[uint16]bool{}
	for t := range keep {
		networks[t.network] = true
	}
	var gone []string
	for name, l := range s.links {
		rack, network, ok := trunkOf(name)
		if hold, is := holdOf(name); is {
			rack, network, ok = hold, 0, true
		}
		if ok && l.Kind == rtnl.Veth && (!keep[trunk{rack, network}] || lost[rack]) ||
			l.Kind == rtnl.Bridge && !networks[uint16(l.Index-firstBridge)] {
			gone = append(gone, name)
		}
	}
	return s.remove(gone)
}

// remove removes links, all at the cost of one.
func (s *spine) remove(names []string) (writes int, err error) {
	if len(names) == 0 {
		return 0, nil
	}
	var b rtnl.Batch
	for _, name := range names {
		b.SetLink(&rtnl.Link{Index: s.links[name].Index, Group: goneGroup, Label: name})
		delete(s.links, name)
	}
	writes = b.Len()
	b.DelGroup(goneGroup)
	return writes, doExcept(s.conn, &b, unix.ENODEV) // it vanished meanwhile, as it should
}

// join makes the trunks that are missing of the racks that live, and with
// bridges the bridges.
func (s *spine) join(want *program.Program, racks map[uint32]Rack) (writes int, err error) {
	if want.Fabric == program.FabricBridge {
		return s.bridge(want, racks)
	}
	missing := map[trunk]*program.Network{}
	for t := range living(want, racks) {
		if l, ok := s.links[trunkName(t.rack, 0)]; !ok || !l.Up {
			missing[t] = nil
		}
	}
	return s.makeTrunks(missing, racks)
}

// living lists the trunks of racks that live.
func living(want *program.Program, racks map[uint32]Rack) map[trunk]bool {
	all := trunks(want)
	maps.DeleteFunc(all, func(t trunk, _ bool) bool { return racks[t.rack] == nil })
	return all
}

// forward has the trunks run the eBPF fabric of a program.
func (s *spine) forward(want *program.Program, racks map[uint32]Rack, shaping *fabric.Shaping) (writes int, err error) {
	if want.Fabric != program.FabricEBPF {
		return 0, nil
	}
	var ends []int32
	for t := range living(want, racks) {
		ends = append(ends, firstTrunk+int32(t.rack))
	}
	if len(ends) == 0 {
		return 0, nil
	}
	if want.Overlay != nil && !s.overlaid() {
		alone := *want
		alone.Overlay, alone.Remote = nil, nil
		want = &alone
	}
	f, writes, err := fabric.Ensure(s.conn, ends, want, shaping)
	if err != nil {
		return writes, err
	}
	return writes, f.Close()
}

// makeTrunks makes trunks of racks: with eBPF fit for every network, and else
// for the one that is given.
func (s *spine) makeTrunks(missing map[trunk]*program.Network, racks map[uint32]Rack) (writes int, err error) {
	var b rtnl.Batch
	free := int32(firstPort)
	for _, l := range s.links {
		free = max(free, l.Index)
	}
	for t, n := range missing {
		name := trunkName(t.rack, t.network)
		if l, ok := s.links[name]; ok { // it is down
			b.SetLink(&rtnl.Link{Index: l.Index, Up: true, Label: name})
			continue
		}
		ns, err := netns.Open(racks[t.rack].Netns())
		if err != nil {
			return 0, err
		}
		defer unix.Close(ns)
		if n != nil {
			// The peer gets the index it asks for only if this end asks for one.
			free++
			b.NewLink(&rtnl.Link{Index: free, Name: name, Kind: rtnl.Veth, MTU: uint32(n.MTU),
				Peer: &rtnl.Link{Index: firstPort + int32(n.ID), Name: fmt.Sprintf("t%d", n.ID), MTU: uint32(n.MTU), Netns: ns}})
			continue
		}
		index := firstTrunk + int32(t.rack)
		b.NewLink(&rtnl.Link{Index: index, Name: name, Kind: rtnl.Veth, MTU: trunkMTU,
			Peer: &rtnl.Link{Index: TrunkIndex, Name: "tr0", MTU: trunkMTU, Netns: ns}})
		if s.ipv6 {
			b.SetLink(&rtnl.Link{Index: index, IPv6: rtnl.IPv6Quiet, Label: name})
		}
		b.SetLink(&rtnl.Link{Index: index, Up: true, Label: name})
	}
	return b.Len(), s.conn.Do(&b)
}

// bridge makes a bridge for each network, with a trunk to each rack that has
// vifaces in it.
func (s *spine) bridge(want *program.Program, racks map[uint32]Rack) (writes int, err error) {
	networks := networksOf(want.Networks)
	missing := map[trunk]*program.Network{}
	wanted := living(want, racks)
	for t := range wanted {
		if _, ok := s.links[trunkName(t.rack, t.network)]; !ok {
			missing[t] = networks[t.network]
		}
	}
	if writes, err = s.makeTrunks(missing, racks); err != nil {
		return writes, err
	}
	if writes > 0 {
		if err := s.read(); err != nil {
			return writes, err
		}
	}
	var b rtnl.Batch
	done := map[uint16]bool{}
	for t := range wanted {
		n := networks[t.network]
		if !done[n.ID] {
			var have *rtnl.LinkInfo
			if l, ok := s.links[fmt.Sprintf("br%d", n.ID)]; ok {
				have = &l
			}
			ensureBridge(&b, have, n, s.ipv6)
			done[n.ID] = true
		}
		end := s.links[trunkName(t.rack, t.network)]
		ensurePort(&b, &end, firstBridge+int32(n.ID), n, s.ipv6)
	}
	return writes + b.Len(), s.conn.Do(&b)
}

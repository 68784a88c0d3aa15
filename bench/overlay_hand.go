package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
	"myriad/testbed"
)

// handBridge is an overlay as one makes it by hand: on each of two pnodes a
// Linux bridge with a port for each vnode, and one VXLAN device without
// learning, whose forwarding entries are all given. Like ours, it has no UDP
// checksum; IPv6 is silent.
//
// A bridge has 1,023 ports. With more vnodes on a pnode, there must be several,
// and one that joins those and the tunnel: that is how it is with layers.
type handBridge struct {
	byHand
	bed    *testbed.Bed
	each   int // vnodes on each pnode
	layers bool
}

// The numbers of the hand-made overlay: another UDP port than ours.
const (
	handVNI  = 42
	handPort = 8472
)

func handAddr(pnode, k int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(200 + pnode), byte((k + 1) >> 8), byte(k + 1)})
}

func handMAC(pnode, k int) program.MAC { return program.MACOf(uint16(200+pnode), uint32(k+1)) }

func handName(pnode, k int) string { return fmt.Sprintf("h%d-%d", pnode+1, k+1) }

// newHandBridge makes it on the first two pnodes of a bed.
func newHandBridge(ctx context.Context, bed *testbed.Bed, exe string, each int, layers bool) (_ *handBridge, err error) {
	h := &handBridge{layers: layers, byHand: byHand{exe: exe, dir: bed.PnodeDir(testbed.Control), namespaces: map[string]int{}}, bed: bed, each: each}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make an overlay by hand: %w", err), h.close())
		}
	}()
	for pnode := range 2 {
		if err := h.bridge(ctx, pnode); err != nil {
			return nil, err
		}
		if err := bed.Do(pnode, func() error { return h.vnodes(pnode) }); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// bridge makes the bridge and the tunnel of a pnode, with all entries.
func (h *handBridge) bridge(ctx context.Context, pnode int) error {
	other := 1 - pnode
	mtu := h.bed.MTU - program.VXLANOverhead
	err := h.bed.IP(ctx, pnode,
		fmt.Sprintf("link add hand mtu %d type bridge forward_delay 0 mcast_snooping 0", mtu),
		fmt.Sprintf("link add handvx mtu %d type vxlan id %d local %s dstport %d nolearning noudpcsum ttl 64", mtu, handVNI, h.bed.Addr(pnode), handPort),
		"link set handvx master hand up", "link set hand up")
	if err == nil && h.layers {
		err = h.bed.IP(ctx, pnode,
			fmt.Sprintf("link add hand2 mtu %d type bridge forward_delay 0 mcast_snooping 0", mtu),
			fmt.Sprintf("link add handup mtu %d type veth peer name handdown mtu %d", mtu, mtu),
			"link set handup master hand up", "link set handdown master hand2 up", "link set hand2 up")
	}
	if err != nil {
		return err
	}
	var lines bytes.Buffer
	fmt.Fprintf(&lines, "fdb append 00:00:00:00:00:00 dev handvx dst %s\n", h.bed.Addr(other)) // for ARP
	for k := range h.each {
		fmt.Fprintf(&lines, "fdb add %s dev handvx dst %s self static\n", handMAC(other, k), h.bed.Addr(other))
		fmt.Fprintf(&lines, "fdb add %s dev handvx master static\n", handMAC(other, k))
	}
	cmd := exec.CommandContext(ctx, "bridge", "-batch", "-")
	cmd.Stdin = &lines
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err = h.bed.Do(pnode, cmd.Start); err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("bridge -batch: %w: %s", err, out.String())
	}
	return nil
}

// vnodes makes the vnodes of a pnode, from within its namespace.
func (h *handBridge) vnodes(pnode int) error {
	c, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	master, name := int32(0), "hand"
	if h.layers {
		name = "hand2"
	}
	err = c.Read(&rtnl.Dump{Links: func(l *rtnl.LinkInfo) {
		if l.Name == name {
			master = l.Index
		}
	}})
	if err != nil {
		return err
	}
	for k := range h.each {
		ns, err := netns.Make(nil)
		if err != nil {
			return err
		}
		h.namespaces[handName(pnode, k)] = ns
		if err := h.vnode(c, master, ns, pnode, k); err != nil {
			return err
		}
	}
	return nil
}

func (h *handBridge) vnode(c *rtnl.Conn, master int32, ns, pnode, k int) error {
	const inside = 2
	port := int32(1000 + k)
	mtu := uint32(h.bed.MTU - program.VXLANOverhead)
	var b rtnl.Batch
	b.NewLink(&rtnl.Link{Index: port, Name: fmt.Sprintf("h%d", k), Kind: rtnl.Veth, Master: master, MTU: mtu,
		Peer: &rtnl.Link{Index: inside, Name: "eth0", Netns: ns, MTU: mtu, MAC: handMAC(pnode, k)}})
	b.SetLink(&rtnl.Link{Index: port, IPv6: rtnl.IPv6Quiet})
	b.SetLink(&rtnl.Link{Index: port, Up: true})
	if err := c.Do(&b); err != nil {
		return err
	}
	return netns.Do(ns, func() error {
		c, err := rtnl.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		var b rtnl.Batch
		b.SetLink(&rtnl.Link{Index: inside, IPv6: rtnl.IPv6Quiet})
		b.NewAddr(inside, netip.PrefixFrom(handAddr(pnode, k), 8))
		b.SetLink(&rtnl.Link{Index: inside, Up: true})
		b.SetLink(&rtnl.Link{Index: 1, Up: true})
		return c.Do(&b)
	})
}

// close takes it away.
func (h *handBridge) close() error {
	if h.namespaces == nil {
		return nil
	}
	var errs []error
	for pnode := range 2 {
		for _, name := range []string{"handvx", "handup", "hand2", "hand"} {
			_ = h.bed.IP(context.Background(), pnode, "link del "+name) // it may not have been made
		}
	}
	for _, ns := range h.namespaces {
		errs = append(errs, unix.Close(ns))
	}
	h.namespaces = nil
	return errors.Join(append(errs, netns.WaitCleanup(context.Background()))...) // then their ports are gone, too
}

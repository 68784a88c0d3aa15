package testbed

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"myriad/kernel/netns"
)

// The names of links. In a pnode:
const (
	UnderlayLink = "eth0"
	ControlLink  = "ctl0"
)

// In the router's namespace there is u<i> for each pnode, and uc for who is in
// control; in that one's, c<i> for each pnode, on a bridge.
const controlBridge = "ctl"

// gate is the next hop of a pnode on a routed underlay. Nobody has it: links
// have no ARP, so whatever is sent there is at the router.
const gate = "169.254.1.1"

// join makes all links of the bed, with iproute2: in each namespace one batch.
func (b *Bed) join(ctx context.Context) error {
	var router, control bytes.Buffer
	control.WriteString("link set lo up\nlink add " + controlBridge + " type bridge forward_delay 0 mcast_snooping 0\n")
	fmt.Fprintf(&control, "addr add %s/16 dev %s\nlink set %s up\n", b.ControlAddr(Control), controlBridge, controlBridge)
	router.WriteString("link set lo up\n")
	if b.Bridged {
		fmt.Fprintf(&router, "link add underlay mtu %d type bridge forward_delay 0 mcast_snooping 0\nlink set underlay up\n", b.MTU)
	}
	for i := Control; i < b.Options.Pnodes; i++ {
		if !b.Direct || i == Control {
			b.wire(&router, i)
		}
		if i != Control {
			fmt.Fprintf(&control, "link add c%d type veth peer name %s netns %s\n", i, ControlLink, path(b.pnodes[i]))
			fmt.Fprintf(&control, "link set c%d master %s up\n", i, controlBridge)
		}
	}
	if err := batch(ctx, b.router, router.String()); err != nil {
		return err
	}
	if err := batch(ctx, b.control, control.String()); err != nil {
		return err
	}
	if b.Direct {
		err := b.IP(ctx, 0, fmt.Sprintf("link add %s mtu %d address %s type veth peer name %s mtu %d address %s netns %s",
			UnderlayLink, b.MTU, macOf(0), UnderlayLink, b.MTU, macOf(0), path(b.pnodes[1])))
		if err != nil {
			return err
		}
	}
	for i := Control; i < b.Options.Pnodes; i++ {
		if err := os.MkdirAll(b.PnodeDir(i), 0o700); err != nil {
			return err
		}
		if err := batch(ctx, b.Namespace(i), b.inside(i)); err != nil {
			return fmt.Errorf("%s: %w", b.Name(i), err)
		}
	}
	for i := Control; i < b.Options.Pnodes; i++ {
		if err := b.awaitLink(ctx, i, UnderlayLink); err != nil {
			return err
		}
	}
	return nil
}

// wire writes what the router needs for a pnode.
func (b *Bed) wire(w *bytes.Buffer, i int) {
	mac := macOf(i)
	port := port(i)
	fmt.Fprintf(w, "link add %s mtu %d address %s type veth peer name %s mtu %d address %s netns %s\n",
		port, b.MTU, b.portMAC(i), UnderlayLink, b.MTU, mac, path(b.Namespace(i)))
	if b.Bridged {
		fmt.Fprintf(w, "link set %s master underlay up\n", port)
		return
	}
	fmt.Fprintf(w, "link set %s arp off up\n%s", port, b.route(i))
}

// portMAC is the address of the router's end. Without ARP, a sender takes its
// own address for everybody's: so both ends have the same.
func (b *Bed) portMAC(i int) string {
	if b.Bridged {
		return "06" + macOf(i)[2:]
	}
	return macOf(i)
}

// route is how the router finds a pnode: the kernel forgets it with the link.
func (b *Bed) route(i int) string {
	if b.Bridged {
		return ""
	}
	return fmt.Sprintf("route replace %s/32 dev %s\n", b.Addr(i), port(i))
}

// inside is what a pnode does with its ends.
func (b *Bed) inside(i int) string {
	var w strings.Builder
	w.WriteString("link set lo up\n")
	if b.Bridged {
		fmt.Fprintf(&w, "addr add %s/16 dev %s\nlink set %s up\n", b.Addr(i), UnderlayLink, UnderlayLink)
	} else {
		w.WriteString(routed(b.Addr(i)))
	}
	if i != Control {
		fmt.Fprintf(&w, "addr add %s/16 dev %s\nlink set %s up\n", b.ControlAddr(i), ControlLink, ControlLink)
	}
	return w.String()
}

// routed is how a pnode has an address on a routed underlay.
func routed(addr netip.Addr) string {
	return fmt.Sprintf("addr add %s/32 dev %s\nlink set %s arp off up\nroute replace default via %s dev %s src %s onlink\n",
		addr, UnderlayLink, UnderlayLink, gate, UnderlayLink, addr)
}

func port(i int) string {
	if i == Control {
		return "uc"
	}
	return fmt.Sprintf("u%d", i)
}

func macOf(i int) string {
	n := i + 1
	if i == Control {
		n = 0xfffe
	}
	return fmt.Sprintf("02:ff:00:00:%02x:%02x", byte(n>>8), byte(n))
}

// path is a descriptor of ours as a path that another process can open.
func path(fd int) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd) }

// batch runs lines of ip(8) in a namespace.
func batch(ctx context.Context, ns int, lines string) error {
	cmd := exec.CommandContext(ctx, "ip", "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := netns.Do(ns, cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("ip -batch: %w: %s", err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

// IP runs ip(8) in the namespace of a pnode, or of who is in control; lines are
// as in its batches.
func (b *Bed) IP(ctx context.Context, i int, lines ...string) error {
	return batch(ctx, b.Namespace(i), strings.Join(lines, "\n")+"\n")
}

// SetMTU changes the MTU of a pnode's way onto the underlay.
func (b *Bed) SetMTU(ctx context.Context, i, mtu int) error {
	if err := batch(ctx, b.router, fmt.Sprintf("link set %s mtu %d\n", port(i), mtu)); err != nil {
		return err
	}
	return b.IP(ctx, i, fmt.Sprintf("link set %s mtu %d", UnderlayLink, mtu))
}

// Narrow changes the MTU of the way to a pnode behind its back: its own end of
// the link goes on saying what it said.
func (b *Bed) Narrow(ctx context.Context, i, mtu int) error {
	return batch(ctx, b.router, fmt.Sprintf("link set %s mtu %d\n", port(i), mtu))
}

// Readdress gives a pnode another address on the underlay, in the place of the
// one that it has.
func (b *Bed) Readdress(ctx context.Context, i int, from, to netip.Addr) error {
	if b.Bridged {
		return b.IP(ctx, i, fmt.Sprintf("addr del %s/16 dev %s", from, UnderlayLink), fmt.Sprintf("addr add %s/16 dev %s", to, UnderlayLink))
	}
	lines := fmt.Sprintf("route replace %s/32 dev %s\nroute del %s/32 dev %s\n", to, port(i), from, port(i))
	if err := batch(ctx, b.router, lines); err != nil {
		return err
	}
	return b.IP(ctx, i, routed(to)+fmt.Sprintf("addr del %s/32 dev %s", from, UnderlayLink))
}

// Partition cuts a pnode from the underlay, or joins it again.
func (b *Bed) Partition(ctx context.Context, i int, cut bool) error {
	if cut {
		return batch(ctx, b.router, fmt.Sprintf("link set %s down\n", port(i)))
	}
	return b.rejoin(ctx, i, b.router, fmt.Sprintf("link set %s up\n%s", port(i), b.route(i)), UnderlayLink)
}

// PartitionControl cuts a pnode from the coordinator, or joins it again; its
// tunnels are not touched.
func (b *Bed) PartitionControl(ctx context.Context, i int, cut bool) error {
	if cut {
		return batch(ctx, b.control, fmt.Sprintf("link set c%d down\n", i))
	}
	return b.rejoin(ctx, i, b.control, fmt.Sprintf("link set c%d up\n", i), ControlLink)
}

// rejoin sets the far end of a link up, and returns when the near one has found
// out: the kernel looks at that once a second, and drops what is sent before.
func (b *Bed) rejoin(ctx context.Context, i, ns int, lines, name string) error {
	if err := batch(ctx, ns, lines); err != nil {
		return err
	}
	return b.awaitLink(ctx, i, name)
}

func (b *Bed) awaitLink(ctx context.Context, i int, name string) error {
	for ; ; time.Sleep(5 * time.Millisecond) {
		var l *net.Interface
		err := b.Do(i, func() (err error) {
			l, err = net.InterfaceByName(name)
			return err
		})
		if err != nil || l.Flags&net.FlagRunning != 0 {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

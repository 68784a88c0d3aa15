// Package testbed makes several pnodes of one machine: network namespaces
// joined by an underlay, in each of which an agent can run with directories of
// its own. Tests, benches and demonstrations use it.
//
// There are two networks, so that either can fail alone. The underlay carries
// tunnels, and nothing else. The control network carries what coordinator and
// agents say. Pnodes are counted from 0; their names are pnode1, pnode2, …
package testbed

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
)

// Options say what a bed is like.
type Options struct {
	Pnodes int
	// Bridged joins the pnodes by one Linux bridge, as one switch would. Else a
	// router does, to which each has a link without ARP: then no frame for all
	// is ever on the underlay but what tunnels carry there.
	Bridged bool
	// Direct joins two pnodes by a cable instead, with nothing between them: to
	// measure what is not the underlay. Nobody can look at it, or cut it.
	Direct bool
	MTU    int // of the underlay, bytes; 0: 1500
}

// Bed is a machine room. Its methods may be called by several goroutines.
type Bed struct {
	Options
	Dir string // its directory; all that its processes keep is below

	control int // namespaces, by descriptor
	router  int
	pnodes  []int

	mu        sync.Mutex
	processes []*Process
}

// MaxPnodes is how many pnodes a bed can have: a bridge has no more ports.
const MaxPnodes = 1000

const defaultMTU = 1500

// New makes a bed. Its processes are started by Start. Close ends it.
func New(ctx context.Context, o Options) (_ *Bed, err error) {
	if o.Pnodes < 1 || o.Pnodes > MaxPnodes {
		return nil, fmt.Errorf("make testbed: %d pnodes; it can have 1 … %d", o.Pnodes, MaxPnodes)
	}
	if o.Direct && (o.Bridged || o.Pnodes != 2) {
		return nil, errors.New("make testbed: a cable has two ends")
	}
	if o.MTU == 0 {
		o.MTU = defaultMTU
	}
	b := &Bed{Options: o, control: -1, router: -1}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("make testbed: %w", err), b.Close())
		}
	}()
	if b.Dir, err = os.MkdirTemp("", "bed"); err != nil { // short: paths of sockets have 107 bytes
		return nil, err
	}
	for _, ns := range []*int{&b.control, &b.router} {
		if *ns, err = netns.Make(prepare); err != nil {
			return nil, err
		}
	}
	for range o.Pnodes {
		ns, err := netns.Make(prepare)
		if err != nil {
			return nil, err
		}
		b.pnodes = append(b.pnodes, ns)
	}
	return b, b.join(ctx)
}

// prepare is called in a new namespace: IPv6 would speak up by itself.
func prepare() error {
	var errs []error
	for _, name := range []string{"all", "default"} {
		err := os.WriteFile("/proc/sys/net/ipv6/conf/"+name+"/disable_ipv6", []byte("1"), 0)
		if !errors.Is(err, os.ErrNotExist) { // a kernel without IPv6 is quiet enough
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0))...)
}

// Close kills the processes that are left, which must have taken away what
// they made outside of the bed's directory, and removes everything.
func (b *Bed) Close() error {
	b.mu.Lock()
	left := b.processes
	b.processes = nil
	b.mu.Unlock()
	for _, p := range left {
		p.Kill()
	}
	for _, ns := range append(b.pnodes, b.router, b.control) {
		if ns >= 0 {
			unix.Close(ns)
		}
	}
	b.pnodes, b.router, b.control = nil, -1, -1
	return os.RemoveAll(b.Dir)
}

// Control is the number of the place where the coordinator is: beside the
// pnodes, with an address on both networks.
const Control = -1

// Name is the name of a pnode, and of its host.
func (b *Bed) Name(i int) string {
	if i == Control {
		return "control"
	}
	return fmt.Sprintf("pnode%d", i+1)
}

// Addr is the address of a pnode on the underlay (RFC 6598: nobody's).
func (b *Bed) Addr(i int) netip.Addr { return host(64, i) }

// ControlAddr is its address on the control network.
func (b *Bed) ControlAddr(i int) netip.Addr { return host(65, i) }

// host gives addresses: pnode 0 has 1, and who is in control the last but one.
func host(network byte, i int) netip.Addr {
	n := i + 1
	if i == Control {
		n = 0xfffe
	}
	return netip.AddrFrom4([4]byte{100, network, byte(n >> 8), byte(n)})
}

// Namespace is a descriptor of the namespace of a pnode. It is the bed's.
func (b *Bed) Namespace(i int) int {
	if i == Control {
		return b.control
	}
	return b.pnodes[i]
}

// Do calls f in the network namespace of a pnode.
func (b *Bed) Do(i int, f func() error) error { return netns.Do(b.Namespace(i), f) }

// PnodeDir is the directory of a pnode: of the logs of its processes, and of
// what they keep.
func (b *Bed) PnodeDir(i int) string {
	if i == Control {
		return filepath.Join(b.Dir, "c")
	}
	return filepath.Join(b.Dir, fmt.Sprintf("p%d", i+1))
}

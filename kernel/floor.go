package kernel

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// Floor makes n vnodes and removes them, with the fewest messages that give
// the same namespaces, interfaces and addresses, and nothing else: no plan,
// no process, no reading back, no forwarding. It is what everything else is
// measured against, and tells how long each half took. It makes one vnode after
// the other; Apply has up to four threads at work, which take less.
func Floor(ctx context.Context, n int) (up, down time.Duration, err error) {
	// Descriptors are limited for each table of them, and each rack has one.
	f := floor{made: make(chan error), drop: make(chan struct{}), dropped: make(chan error)}
	start := time.Now()
	racks := 0
	for i := 0; i < n && err == nil; i += program.RackVnodes {
		racks++
		go func() {
			begun := false
			err := netns.Run(func(t *netns.Thread) error {
				begun = true
				return f.rack(ctx, t, i, min(n, i+program.RackVnodes))
			})
			if !begun { // for want of descriptors
				f.made <- err
				err = nil
			}
			f.dropped <- err
		}()
		err = <-f.made
	}
	up = time.Since(start)
	start = time.Now()
	close(f.drop)
	for range racks {
		err = errors.Join(err, <-f.dropped)
	}
	if err == nil {
		err = netns.WaitCleanup(ctx)
	}
	return up, time.Since(start), err
}

// floor is one run of Floor, and what one of its racks holds.
type floor struct {
	made    chan error    // each rack says when it is complete
	drop    chan struct{} // closed when all are to go
	dropped chan error
}

// rack makes vnodes from … to-1 on a thread that holds them until they are to
// be dropped.
func (f *floor) rack(ctx context.Context, t *netns.Thread, from, to int) error {
	var held []int
	err := f.vnodes(ctx, t, from, to, &held)
	f.made <- err
	<-f.drop
	if err := t.Home(); err != nil {
		return err
	}
	for _, fd := range held {
		unix.Close(fd)
	}
	return nil
}

func (f *floor) vnodes(ctx context.Context, t *netns.Thread, from, to int, held *[]int) error {
	if err := t.OwnFiles(); err != nil {
		return err
	}
	rack, err := f.trunk(t, held)
	if err != nil {
		return err
	}
	defer rack.Close()
	inside, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer inside.Close()
	var b rtnl.Batch
	for i := from; i < to && ctx.Err() == nil; i++ {
		ns, err := t.Make()
		if err != nil {
			return err
		}
		*held = append(*held, ns)
		if err := inside.Reopen(); err != nil {
			return err
		}
		b.Reset()
		b.NewLink(&rtnl.Link{Index: firstIndex, Name: "eth0", Kind: rtnl.Macvlan, Parent: TrunkIndex, Netns: ns,
			MAC: program.MACOf(1, uint32(i+1))})
		if err := rack.Do(&b); err != nil {
			return err
		}
		b.Reset()
		b.SetLink(&rtnl.Link{Index: firstIndex, IPv6: rtnl.IPv6Quiet}) // it saves more than it costs
		b.NewAddr(firstIndex, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 8))
		b.SetLink(&rtnl.Link{Index: firstIndex, Up: true})
		b.SetLink(&rtnl.Link{Index: 1, Up: true})
		if err := inside.Do(&b); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// trunk makes a rack's namespace with a trunk into an own one at its other
// end, and gives a connection in it.
func (f *floor) trunk(t *netns.Thread, held *[]int) (*rtnl.Conn, error) {
	ns, err := t.Make()
	if err != nil {
		return nil, err
	}
	*held = append(*held, ns)
	rack, err := rtnl.Open()
	if err != nil {
		return nil, err
	}
	other, err := t.Make()
	if err != nil {
		rack.Close()
		return nil, err
	}
	*held = append(*held, other)
	spine, err := rtnl.Open()
	if err != nil {
		rack.Close()
		return nil, err
	}
	defer spine.Close()
	var b rtnl.Batch
	b.NewLink(&rtnl.Link{Index: firstTrunk, Name: "r0", Kind: rtnl.Veth, Peer: &rtnl.Link{Index: TrunkIndex, Name: "tr0", Netns: ns}})
	b.SetLink(&rtnl.Link{Index: firstTrunk, IPv6: rtnl.IPv6Quiet})
	b.SetLink(&rtnl.Link{Index: firstTrunk, Up: true})
	err = spine.Do(&b)
	if err == nil {
		b.Reset()
		b.SetLink(&rtnl.Link{Index: TrunkIndex, IPv6: rtnl.IPv6Quiet})
		b.SetLink(&rtnl.Link{Index: TrunkIndex, Up: true})
		err = rack.Do(&b)
	}
	if err != nil {
		rack.Close()
		return nil, err
	}
	return rack, nil
}

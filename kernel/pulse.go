package kernel

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
)

// pulse waits for every eBPF program that runs, as membarrier(2) does, in a
// hundredth of the time. A link that goes down must not go before whoever
// sends by it has done so (net/sched/sch_generic.c, dev_deactivate_many): the
// kernel waits for an RCU grace period then, and because the lock of all links
// is held meanwhile, it hurries (net/core/dev.c, synchronize_net). So a link in
// a namespace of its own goes up and down; should a kernel not hurry, it is as
// slow as the other way.
type pulse struct {
	mu   sync.Mutex
	conn *rtnl.Conn // keeps the namespace
	b    rtnl.Batch
	idle *time.Timer
}

const (
	pulseIndex = 2 // of the link
	pulseKeep  = keepOpen
)

// wait returns when every program has ended that ran when it was called.
func (u *pulse) wait() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conn == nil {
		if err := u.open(); err != nil {
			return err
		}
	}
	u.idle.Reset(pulseKeep)
	err := u.conn.Do(&u.b)
	if err != nil {
		u.close()
	}
	return err
}

func (u *pulse) open() error {
	ns, err := netns.Make(func() (err error) {
		u.conn, err = rtnl.Open()
		return err
	})
	if err != nil {
		return err
	}
	unix.Close(ns)
	var b rtnl.Batch
	b.NewLink(&rtnl.Link{Index: pulseIndex, Name: "pulse", Kind: rtnl.Veth, Peer: &rtnl.Link{Index: pulseIndex + 1, Name: "other"}})
	b.SetLink(&rtnl.Link{Index: pulseIndex, IPv6: rtnl.IPv6Quiet})
	if err := u.conn.Do(&b); err != nil {
		u.close()
		return err
	}
	u.b.Reset()
	u.b.SetLink(&rtnl.Link{Index: pulseIndex, Up: true})
	u.b.SetLink(&rtnl.Link{Index: pulseIndex, Down: true})
	u.idle = time.AfterFunc(pulseKeep, func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.close()
	})
	return nil
}

// close lets go of the namespace.
func (u *pulse) close() {
	if u.conn != nil {
		u.conn.Close()
	}
	u.conn = nil
}

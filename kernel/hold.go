package kernel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/kernel/wheel"
	"myriad/program"
)

// dropName is what the filter of a hold device is called: what comes in there
// is for the wheel alone, which sees it before the filter does.
const dropName = "myriad_hold"

// openRacks are the namespaces of racks, open while netlink messages name them.
type openRacks struct{ fds []int }

func (o *openRacks) netns(r Rack) (int, error) {
	fd, err := netns.Open(r.Netns())
	if err == nil {
		o.fds = append(o.fds, fd)
	}
	return fd, err
}

func (o *openRacks) close() {
	for _, fd := range o.fds {
		unix.Close(fd)
	}
}

// insides makes the racks' ends of the hold devices right: up, silent, and
// with nothing behind them but the wheel.
func (h *making) insides() error {
	if h.kind != HolderWheel || len(h.racks) == 0 {
		return nil
	}
	return netns.Run(func(t *netns.Thread) error {
		var drop *ebpf.Program
		defer func() { drop.Close() }() // nil can be closed
		c := &rtnl.Conn{}
		defer c.Close()
		for index, r := range h.racks {
			if err := h.inside(t, c, r, &drop); err != nil {
				return fmt.Errorf("hold device of rack %d: %w", index, err)
			}
		}
		return nil
	})
}

// inside does so for one rack. drop is loaded for the first that needs it.
func (h *making) inside(t *netns.Thread, c *rtnl.Conn, r Rack, drop **ebpf.Program) error {
	var open openRacks
	defer open.close()
	ns, err := open.netns(r)
	if err == nil {
		err = t.Enter(ns)
	}
	if err == nil {
		err = c.Reopen()
	}
	if err != nil {
		return err
	}
	l, err := c.Link(HoldIndex)
	if err != nil {
		return err
	}
	var b rtnl.Batch
	filtered := false
	err = c.Read(&rtnl.Dump{FilterLink: HoldIndex, FilterHook: rtnl.Ingress,
		Filters: func(f *rtnl.FilterInfo) { filtered = filtered || f.Name == dropName }})
	if err != nil {
		return err
	}
	if !filtered {
		if *drop == nil {
			if *drop, err = loadDrop(); err != nil {
				return err
			}
		}
		b.NewClsact(HoldIndex)
		b.SetFilter(&rtnl.Filter{Link: HoldIndex, Hook: rtnl.Ingress, Prog: (*drop).FD(), Name: dropName})
	}
	bringUp(&b, l, h.ipv6)
	h.writes += b.Len()
	return doExcept(c, &b, unix.EEXIST) // a clsact that has lost its filter
}

// doExcept is Do where some errnos are no error.
func doExcept(c *rtnl.Conn, b *rtnl.Batch, fine ...unix.Errno) error {
	var first error
	err := c.DoEach(b, func(_ int, e *rtnl.OpError) {
		if first == nil && !slices.Contains(fine, e.Errno) {
			first = e
		}
	})
	if err == nil {
		err = first
	}
	return err
}

// loadDrop loads a program that drops everything.
func loadDrop() (*ebpf.Program, error) {
	return ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: dropName, Type: ebpf.SchedCLS, License: "Apache-2.0",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2 /* TC_ACT_SHOT */), asm.Return()},
	})
}

// rackPatience bounds what a rack may take to answer something short.
const rackPatience = 3 * time.Second

// wheels has every rack's wheel as it is wanted; on a fresh device, in the
// place of one that stood on another. What a rack refuses is a problem.
func wheels(ctx context.Context, racks map[uint32]Rack, want *HoldSpec, fresh map[uint32]bool) ([]program.Problem, error) {
	var problems []program.Problem
	for index, r := range racks {
		var err error
		if want != nil && fresh[index] {
			err = holdIn(ctx, r, nil)
		}
		if err == nil {
			err = holdIn(ctx, r, want)
		}
		if over := ended(ctx); over != nil {
			return problems, over
		}
		if err != nil {
			problems = append(problems, problemOf(int32(index), "", fmt.Sprintf("hold packets in rack %d", index), err))
		}
	}
	return problems, nil
}

// ended is ctx.Err, a moment earlier: deadlines of sockets pass before those of
// contexts are noticed.
func ended(ctx context.Context) error {
	if end, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(end) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

func holdIn(ctx context.Context, r Rack, want *HoldSpec) error {
	ctx, cancel := context.WithTimeout(ctx, rackPatience)
	defer cancel()
	return r.Hold(ctx, want)
}

// held asks a rack what its wheel has done, and does not wait for ever.
func held(ctx context.Context, r Rack) (*wheel.Stats, error) {
	ctx, cancel := context.WithTimeout(ctx, rackPatience)
	defer cancel()
	return r.Held(ctx)
}

// leavePatience is how long what is held may take to leave when conditions go:
// what waits longer, because of a rate, is dropped.
const leavePatience = 2 * time.Second

// leave waits until nothing is held any more.
func (s *spine) leave(ctx context.Context, racks map[uint32]Rack) error {
	for end := time.Now().Add(leavePatience); ; {
		n, err := s.inHolder(ctx, racks)
		if n == 0 || err != nil || time.Now().After(end) {
			return ctx.Err() // whoever cannot say what is held, is not waited for
		}
		if err := sleep(ctx, lockPause); err != nil {
			return err
		}
	}
}

// inHolder counts the frames that are held.
func (s *spine) inHolder(ctx context.Context, racks map[uint32]Rack) (uint64, error) {
	if s.holderKind() == HolderFQ {
		q, err := s.conn.RootQdisc(shaperIndex)
		return uint64(q.Queued), err
	}
	var n uint64
	var errs []error
	for _, r := range racks {
		st, err := held(ctx, r)
		if st != nil {
			n += st.Held
		}
		errs = append(errs, err)
	}
	return n, errors.Join(errs...)
}

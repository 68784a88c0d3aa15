package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// floorShare is how many vnodes one process of the floor holds: it has a
// descriptor for each, and RLIMIT_NOFILE is often 20,000 or less.
const floorShare = 10000

// floor makes and removes what o.N vnodes in one vnetwork are to the kernel,
// with the fewest messages and nothing else, and gives the seconds of both.
// Removal ends when the kernel has let go of everything.
func floor(ctx context.Context, o Options) (up, down float64, err error) {
	var shares []*share
	defer func() {
		for _, s := range shares {
			s.end()
		}
	}()
	for left := o.N; left > 0; left -= floorShare {
		s, err := startShare(ctx, o.Exe, min(left, floorShare))
		if err != nil {
			return 0, 0, err
		}
		shares = append(shares, s)
		up += s.took
	}
	start := time.Now()
	for _, s := range shares {
		if err := s.remove(); err != nil {
			return 0, 0, err
		}
	}
	if err := netns.WaitCleanup(ctx); err != nil {
		return 0, 0, err
	}
	return up, time.Since(start).Seconds(), nil
}

// share is a process that makes and holds a share of the floor.
type share struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Reader
	took float64 // seconds of its loop: the start of the process is not the kernel's
}

func startShare(ctx context.Context, exe string, n int) (*share, error) {
	cmd := exec.CommandContext(ctx, exe, "bench", "floor", "--vnodes", fmt.Sprint(n))
	s := &share{cmd: cmd}
	var err error
	if s.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.out = bufio.NewReader(out)
	cmd.Stderr = &strings.Builder{}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := s.out.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(line, "made %g", &s.took)
	}
	if err != nil {
		s.end()
		return nil, fmt.Errorf("floor: %w: %s", err, cmd.Stderr)
	}
	return s, nil
}

// remove has the share take its links down and let go of its namespaces.
func (s *share) remove() error {
	if _, err := io.WriteString(s.in, "remove\n"); err != nil {
		return err
	}
	line, err := s.out.ReadString('\n')
	if err == nil && line != "removed\n" {
		err = fmt.Errorf("floor said %q", line)
	}
	return err
}

func (s *share) end() {
	s.in.Close()
	_ = s.cmd.Wait() // what it had to say was read
}

// FloorShare is what a share's process does: it makes n vnodes, says so,
// removes them when told, and says so.
func FloorShare(ctx context.Context, n int, in io.Reader, out io.Writer) error {
	f := &floorBuild{}
	start := time.Now()
	if err := f.build(ctx, n); err != nil {
		return err
	}
	fmt.Fprintf(out, "made %g\n", time.Since(start).Seconds())
	if _, err := bufio.NewReader(in).ReadString('\n'); err != nil {
		return nil // the parent is gone: the kernel removes what this process held
	}
	if err := f.remove(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(out, "removed")
	return err
}

// floorBuild is a spine with racks, bare.
type floorBuild struct {
	spine  *rtnl.Conn
	held   []int // descriptors of namespaces
	trunks []int32
}

func (f *floorBuild) build(ctx context.Context, n int) error {
	spine, err := netns.Make(func() (err error) {
		f.spine, err = rtnl.Open()
		return err
	})
	if err != nil {
		return err
	}
	f.held = append(f.held, spine)
	for first := 0; first < n; first += program.RackVnodes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := f.rack(first, min(program.RackVnodes, n-first)); err != nil {
			return err
		}
	}
	return nil
}

// rack makes a rack's namespace, its trunk, and its vnodes in one loop on one
// thread.
func (f *floorBuild) rack(first, n int) error {
	return netns.Run(func(t *netns.Thread) error {
		ns, err := t.Make()
		if err != nil {
			return err
		}
		f.held = append(f.held, ns)
		rack, err := rtnl.Open()
		if err != nil {
			return err
		}
		defer rack.Close()
		inside, err := rtnl.Open()
		if err != nil {
			return err
		}
		defer inside.Close()
		if err := f.trunk(ns, int32(16+first/program.RackVnodes), rack); err != nil {
			return err
		}
		var attach, configure rtnl.Batch
		for i := first; i < first+n; i++ {
			if err := f.vnode(t, i, rack, inside, &attach, &configure); err != nil {
				return fmt.Errorf("floor: vnode %d: %w", i, err)
			}
		}
		return nil
	})
}

func (f *floorBuild) trunk(ns int, index int32, rack *rtnl.Conn) error {
	var b rtnl.Batch
	b.NewLink(&rtnl.Link{Index: index, Name: fmt.Sprintf("r%d", index), Kind: rtnl.Veth, Peer: &rtnl.Link{Index: 2, Name: "tr0", Netns: ns}})
	b.SetLink(&rtnl.Link{Index: index, Up: true})
	if err := f.spine.Do(&b); err != nil {
		return err
	}
	f.trunks = append(f.trunks, index)
	b.Reset()
	b.SetLink(&rtnl.Link{Index: 2, IPv6: rtnl.IPv6Quiet})
	b.SetLink(&rtnl.Link{Index: 2, Up: true})
	return rack.Do(&b)
}

func (f *floorBuild) vnode(t *netns.Thread, i int, rack, inside *rtnl.Conn, attach, configure *rtnl.Batch) error {
	ns, err := t.Make()
	if err != nil {
		return err
	}
	f.held = append(f.held, ns)
	if err := inside.Reopen(); err != nil {
		return err
	}
	attach.Reset()
	attach.NewLink(&rtnl.Link{Index: 2, Name: "eth0", Kind: rtnl.Macvlan, Parent: 2, Netns: ns, MAC: program.MACOf(1, uint32(i+1))})
	if err := rack.Do(attach); err != nil {
		return err
	}
	host := uint32(10<<24 + i + 1)
	addr := netip.AddrFrom4([4]byte{byte(host >> 24), byte(host >> 16), byte(host >> 8), byte(host)})
	configure.Reset()
	configure.SetLink(&rtnl.Link{Index: 2, IPv6: rtnl.IPv6Quiet})
	configure.NewAddr(2, netip.PrefixFrom(addr, 8))
	configure.SetLink(&rtnl.Link{Index: 2, Up: true})
	configure.SetLink(&rtnl.Link{Index: 1, Up: true})
	return inside.Do(configure)
}

// remove takes the trunks away, and every macvlan on them with it, and lets
// go of the namespaces.
func (f *floorBuild) remove() error {
	var b rtnl.Batch
	for _, index := range f.trunks {
		b.DelLink(index, "")
	}
	err := f.spine.Do(&b)
	f.spine.Close()
	for _, ns := range f.held {
		unix.Close(ns)
	}
	f.held = nil
	return err
}

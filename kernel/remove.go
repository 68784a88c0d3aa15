package kernel

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/cgroup"
	"myriad/kernel/netns"
	"myriad/program"
)

// Remove takes a platform away, whatever is left of it, and returns when the
// kernel has let go of all of it. A platform that is not there is no error.
func (p *Pnode) Remove(ctx context.Context, platform string, progress func(left int)) error {
	if !program.ValidPlatformName(platform) {
		return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: fmt.Sprintf("remove %q", platform), Cause: "no name of a platform"}
	}
	if dir, err := os.Stat(p.dir(platform)); errors.Is(err, fs.ErrNotExist) || err == nil && !dir.IsDir() {
		if names, err := p.Platforms(); err == nil && !slices.Contains(names, platform) {
			return problemOrNil("restore settings", p.release(platform))
		}
	}
	unlock, err := p.lock(ctx, platform)
	if err != nil {
		return problemError("lock "+platform, err)
	}
	defer unlock()
	if progress == nil {
		progress = func(int) {}
	}
	left := p.wantedVnodes(platform)
	progress(left)
	steps := []struct {
		op   string
		step func(context.Context, string) error
	}{
		{"end changes of links", p.dropLinks},
		{"end processes in vnodes", p.endProcesses},
		{"wait for the kernel", func(ctx context.Context, _ string) error { return drain(ctx, left) }},
		{"end racks", p.endRacks},
		{"unpin spine", func(_ context.Context, platform string) error { return netns.Unpin(p.spine(platform)) }},
		{"wait for the kernel", func(ctx context.Context, _ string) error { return waitCleanup(ctx) }},
		{"remove gate", p.dropGate},
		{"remove files", func(_ context.Context, platform string) error { return p.removeFiles(platform) }},
		{"restore settings", func(_ context.Context, platform string) error { return p.release(platform) }},
	}
	for _, s := range steps {
		if err := s.step(ctx, platform); err != nil {
			if cancelled(err) {
				return err
			}
			return problemError(s.op+" of "+platform, err)
		}
	}
	p.forgetPlatform(platform)
	progress(0)
	return nil
}

// drainFrom is how many vnodes are worth a wait before they are removed.
const drainFrom = 5000

// drain has the kernel finish with namespaces that were dropped before. For
// each namespace that goes, the kernel searches the numbers that every one
// that stays has given to others (net/core/net_namespace.c, unhash_nsid): if
// it begins when half of 40,000 have gone, it needs minutes, without a pause
// on its core. Beginning idle, it takes up the first few, and all others
// together after them.
func drain(ctx context.Context, vnodes int) error {
	if vnodes < drainFrom {
		return nil
	}
	return waitCleanup(ctx)
}

// waitCleanup is netns.WaitCleanup where descriptors and namespaces are scarce:
// it needs some itself, and what is being removed may give them back. Nothing
// is kept from being removed for want of them.
func waitCleanup(ctx context.Context) error {
	const patience = 3 * time.Second
	for begun := time.Now(); ; {
		err := netns.WaitCleanup(ctx)
		if !exhausted(err) {
			return err
		}
		if time.Since(begun) > patience {
			return nil
		}
		if err := sleep(ctx, 10*lockPause); err != nil {
			return err
		}
	}
}

func problemOrNil(op string, err error) error {
	if err == nil {
		return nil
	}
	return problemError(op, err)
}

// wantedVnodes is how many vnodes a platform had when this process last saw.
func (p *Pnode) wantedVnodes(platform string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.known[platform] {
		n += r.Vnodes
	}
	return n
}

// endProcesses kills what runs in vnodes while the network still carries
// packets: a TCP connection whose end cannot be told to its other side holds
// on to its namespace for minutes.
func (p *Pnode) endProcesses(ctx context.Context, platform string) error {
	g, ok := p.platformGroup(platform)
	if !ok || !g.Exists() {
		return nil
	}
	racks, err := p.Racks.Find(ctx, platform)
	if err != nil {
		return err
	}
	var holders []int
	for _, r := range racks {
		holders = append(holders, r.Pid())
	}
	killed := false
	for deadline := time.Now().Add(killPatience); time.Now().Before(deadline); {
		pids, err := g.Procs()
		if err != nil {
			return err
		}
		pids = slices.DeleteFunc(pids, func(pid int) bool { return slices.Contains(holders, pid) || pid == os.Getpid() })
		if len(pids) == 0 || len(holders) == 0 { // without a rack, no network is left either
			break
		}
		killed = true
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL) // that it has gone by itself is no error
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
	if !killed {
		return nil
	}
	return sleep(ctx, farewell) // what still runs, endRacks has other means for
}

// farewell is what connections get to tell their other sides that they end.
const farewell = 50 * time.Millisecond

// endRacks ends every rack at once: those that have a cgroup by killing that,
// the others by asking.
func (p *Pnode) endRacks(ctx context.Context, platform string) error {
	racks, err := p.Racks.Find(ctx, platform)
	if err != nil {
		return err
	}
	if g, ok := p.platformGroup(platform); ok && g.Exists() {
		if err := g.Kill(ctx); err != nil {
			return err
		}
		if err := g.Remove(ctx); err != nil {
			return err
		}
		_ = unix.Rmdir(p.group.Path) // succeeds with the last platform
	}
	for _, r := range racks {
		if r.Pid() != os.Getpid() && gone(r.Pid()) {
			continue
		}
		if err := r.Close(); err != nil {
			return err
		}
	}
	return nil
}

// gone says whether a process is no more.
func gone(pid int) bool { return errors.Is(unix.Kill(pid, 0), unix.ESRCH) }

// endRack ends one rack, and what a rack of that number has left.
func (p *Pnode) endRack(ctx context.Context, platform string, index uint32, r Rack) error {
	var g cgroup.Group
	of, ok := p.platformGroup(platform)
	if ok {
		g = of.Child(fmt.Sprintf("rack-%d", index))
		ok = g.Exists()
	}
	var err error
	if r != nil {
		err = r.Close()
	}
	if ok {
		err = errors.Join(err, g.Kill(ctx))
		err = errors.Join(err, g.Remove(ctx))
	}
	for _, suffix := range []string{".sock", ".log"} {
		os.Remove(filepath.Join(p.dir(platform), fmt.Sprintf("rack-%d%s", index, suffix)))
	}
	return err
}

// removeFiles removes what is Myriad's in a platform's directory, and the
// directory if that was all.
func (p *Pnode) removeFiles(platform string) error {
	dir := p.dir(platform)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if platformFile(e.Name()) && e.Name() != lockFile {
			err = errors.Join(err, os.Remove(filepath.Join(dir, e.Name())))
		}
	}
	// The lock last: whoever waits for it sees that it is not the one at its
	// path any more, and makes another.
	err = errors.Join(err, os.Remove(filepath.Join(dir, lockFile)))
	_ = unix.Rmdir(dir) // it stays if something of the user's is in it
	return err
}

// Sweep removes every platform of this instance, by what is there and not by
// any record.
func (p *Pnode) Sweep(ctx context.Context) error {
	names, err := p.Platforms()
	if err != nil {
		return err
	}
	for _, name := range names {
		err = errors.Join(err, p.Remove(ctx, name, nil))
	}
	err = errors.Join(err, p.sweepUnderlay())
	if p.group != nil {
		_ = unix.Rmdir(p.group.Path) // it may not be there, or not be empty yet
	}
	// Nothing needs the settings now, whatever the record says of platforms
	// of which nothing is left.
	return errors.Join(err, p.sysctls.release(p.holds))
}

// holds says whether a holder of raised settings is of this instance.
func (p *Pnode) holds(holder string) bool { return strings.HasPrefix(holder, p.instance+"/") }

package testbed

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
)

// Carried looks with its own eyes, not with Myriad's, at what vnodes a pnode
// has: it enters every namespace that the racks of a platform hold, and lists
// the addresses there. An address that is there twice is listed twice.
func (l *Lab) Carried(i int, platform string) ([]netip.Addr, error) {
	var found []netip.Addr
	err := l.each(i, platform, func(_ int, addrs []netip.Addr) error {
		found = append(found, addrs...)
		return nil
	})
	return found, err
}

// Inside runs a command in the vnode of a pnode that has an address, without
// Myriad's help, and gives what it wrote.
func (l *Lab) Inside(ctx context.Context, i int, platform string, addr netip.Addr, args ...string) (string, error) {
	var out strings.Builder
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = &out, &out
	started := false
	err := l.each(i, platform, func(_ int, addrs []netip.Addr) error {
		for _, a := range addrs {
			if a == addr && !started {
				started = true
				return cmd.Start()
			}
		}
		return nil
	})
	if err == nil && !started {
		err = fmt.Errorf("%s has no vnode of %s at %s", l.Bed.Name(i), platform, addr)
	}
	if err == nil {
		err = cmd.Wait()
	}
	return out.String(), err
}

// each enters the namespaces that racks hold, one after the other.
func (l *Lab) each(i int, platform string, f func(fd int, addrs []netip.Addr) error) error {
	held, err := l.held(i, platform)
	if err != nil {
		return err
	}
	return netns.Run(func(t *netns.Thread) error {
		for _, path := range held {
			if err := enter(t, path, f); err != nil {
				return err
			}
		}
		return nil
	})
}

// held gives a path to each namespace that racks of a platform hold.
func (l *Lab) held(i int, platform string) ([]string, error) {
	racks, err := l.Pids(i, "rack")
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var held []string
	for _, pid := range racks {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
		if !strings.Contains(string(cmdline), "\x00"+platform+"\x00") {
			continue
		}
		links, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		if err != nil {
			return nil, err
		}
		for _, link := range links {
			if to, _ := os.Readlink(link); strings.HasPrefix(to, "net:") && !seen[to] {
				seen[to] = true
				held = append(held, link)
			}
		}
	}
	return held, nil
}

func enter(t *netns.Thread, path string, f func(int, []netip.Addr) error) error {
	fd, err := netns.Open(path)
	if os.IsNotExist(err) {
		return nil // its rack has just let go of it
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := t.Enter(fd); err != nil {
		return err
	}
	list, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	var addrs []netip.Addr
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			addrs = append(addrs, p.Addr())
		}
	}
	return f(fd, addrs)
}

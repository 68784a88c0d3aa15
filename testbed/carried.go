package testbed

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
)

// Carried looks with its own eyes, not with Myriad's, at what vnodes a pnode
// has: it enters every namespace that the racks of a platform hold, and lists
// the addresses there. An address that is there twice is listed twice.
func (l *Lab) Carried(i int, platform string) ([]netip.Addr, error) {
	racks, err := l.Pids(i, "rack")
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	var held []string
	for _, pid := range racks {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // it may have ended
		if !strings.Contains(string(cmdline)+"\x00", "\x00"+platform+"\x00") {
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
	var found []netip.Addr
	err = netns.Run(func(t *netns.Thread) error {
		for _, path := range held {
			if err := addresses(t, path, &found); err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

// addresses adds the IPv4 addresses of a namespace, but those of loopback.
func addresses(t *netns.Thread, path string, found *[]netip.Addr) error {
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
	for _, a := range list {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			*found = append(*found, p.Addr())
		}
	}
	return nil
}

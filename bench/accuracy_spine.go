package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"myriad/api"
	"myriad/kernel/fabric"
	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
)

// daemon is a client of this instance's daemon.
func (in *instance) daemon() *api.Client {
	return api.NewClient(filepath.Join(in.dir, "run", "api.sock"))
}

// learnHolder finds out what keeps the packets of a platform: the links of
// its spine say it.
func (a *accuracy) learnHolder(_ context.Context, platform string) error {
	a.host.Holder = "none"
	return a.in.spine(platform, func(c *rtnl.Conn) error {
		return c.Read(&rtnl.Dump{Links: func(l *rtnl.LinkInfo) {
			switch {
			case l.Name == "sh0":
				a.host.Holder = "fq"
			case strings.HasPrefix(l.Name, "h") && digits(l.Name[1:]):
				a.host.Holder = "wheel"
			}
		}})
	})
}

func digits(s string) bool {
	_, err := strconv.ParseUint(s, 10, 32)
	return err == nil
}

// spine calls fn with a netlink socket in a platform's spine.
func (in *instance) spine(platform string, fn func(*rtnl.Conn) error) error {
	ns, err := netns.Open(filepath.Join(in.dir, "run", platform, "spine"))
	if err != nil {
		return err
	}
	defer unix.Close(ns)
	return netns.Do(ns, func() error {
		c, err := rtnl.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		return fn(c)
	})
}

// trunkCode gives the program at the trunk of rack 0.
func (in *instance) trunkCode(platform string) (*fabric.Code, error) {
	var id uint32
	err := in.spine(platform, func(c *rtnl.Conn) error {
		trunk := int32(0)
		if err := c.Read(&rtnl.Dump{Links: func(l *rtnl.LinkInfo) {
			if l.Name == "r0" {
				trunk = l.Index
			}
		}}); err != nil {
			return err
		}
		return c.Read(&rtnl.Dump{FilterLink: trunk, FilterHook: rtnl.Ingress, Filters: func(f *rtnl.FilterInfo) { id = f.ProgID }})
	})
	if err != nil {
		return nil, err
	}
	return fabric.CodeOf(id)
}

// rackSeconds gives the CPU seconds that the rack processes of this instance have
// used.
func (in *instance) rackSeconds() (float64, error) {
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	ticks, found := 0.0, false
	for _, d := range dirs {
		cmdline, err := os.ReadFile(d + "/cmdline")
		if err != nil || !bytes.Contains(cmdline, []byte(in.dir)) || !bytes.Contains(cmdline, []byte("\x00rack\x00")) {
			continue
		}
		stat, err := os.ReadFile(d + "/stat")
		if err != nil {
			continue
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(f) < 13 {
			continue
		}
		for _, field := range f[11:13] { // utime and stime
			v, _ := strconv.ParseFloat(field, 64)
			ticks += v
		}
		found = true
	}
	if !found {
		return 0, fmt.Errorf("no rack of %s found", in.dir)
	}
	return ticks / 100, nil
}

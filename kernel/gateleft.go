package kernel

import (
	"context"
	"errors"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"

	"myriad/kernel/rtnl"
)

// ours lists what an instance has in the underlay.
func (u *underlay) ours(p *Pnode) (links []rtnl.LinkInfo, guards []rtnl.Guard, err error) {
	for _, l := range u.links {
		if strings.HasPrefix(l.Name, gatePrefix+p.gateTag()) {
			links = append(links, l)
		}
	}
	mark := p.gateMetric("") >> 16
	err = u.conn.Read(&rtnl.Dump{Guards: func(g *rtnl.Guard) {
		if g.Metric>>16 == mark {
			guards = append(guards, *g)
		}
	}})
	return links, guards, err
}

// leftUnderlay lists it for Leftovers.
func (p *Pnode) leftUnderlay() ([]string, error) {
	u, err := p.openUnderlay()
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer u.close()
	links, guards, err := u.ours(p)
	var out []string
	for _, l := range links {
		out = append(out, "link "+l.Name)
	}
	for _, g := range guards {
		out = append(out, "route to "+g.To.String())
	}
	return out, err
}

// sweepUnderlay removes it, whatever records say.
func (p *Pnode) sweepUnderlay() error {
	u, err := p.openUnderlay()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it went with all that was in it
	}
	if err != nil {
		return err
	}
	defer u.close()
	links, guards, err := u.ours(p)
	if err != nil {
		return err
	}
	var b rtnl.Batch
	for _, l := range links {
		b.DelLink(l.Index, l.Name)
	}
	for _, g := range guards {
		b.DelGuard(g)
	}
	if b.Len() == 0 {
		return nil
	}
	return doExcept(u.conn, &b, unix.ENODEV, unix.ESRCH)
}

// dropGate removes the gate of a platform that goes.
func (p *Pnode) dropGate(_ context.Context, platform string) error {
	if _, ok := p.gateRecord(platform); !ok {
		return nil
	}
	u, err := p.openUnderlay()
	if err != nil {
		return err
	}
	defer u.close()
	_, err = p.removeGate(u, platform)
	return err
}

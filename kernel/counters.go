package kernel

import (
	"myriad/kernel/fabric"
	"myriad/kernel/netns"
	"myriad/program"

	"golang.org/x/sys/unix"
)

// Counters reads what became of the frames of a platform. With bridges, which
// count nothing of that kind, there are none.
func (p *Pnode) Counters(platform string) ([]program.Counter, error) {
	if !p.pinned(platform) {
		return nil, nil
	}
	ns, err := netns.Open(p.spine(platform))
	if err != nil {
		return nil, problemError("read counters", err)
	}
	defer unix.Close(ns)
	s, err := enterSpine(ns)
	if err != nil {
		return nil, problemError("read counters", err)
	}
	defer s.close()
	f, _, err := fabric.Find(s.conn, s.trunkEnds())
	if err != nil || f == nil {
		return nil, err
	}
	defer f.Close()
	return f.Counters()
}

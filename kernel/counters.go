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
	if !netns.Pinned(p.spine(platform)) {
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
	var ends []int32
	for name, l := range s.links {
		if _, network, ok := trunkOf(name); ok && network == 0 {
			ends = append(ends, l.Index)
		}
	}
	f, _, err := fabric.Find(s.conn, ends)
	if err != nil || f == nil {
		return nil, err
	}
	defer f.Close()
	return f.Counters()
}

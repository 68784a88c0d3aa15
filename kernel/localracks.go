package kernel

import (
	"context"
	"fmt"
	"maps"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
)

// LocalRacks holds racks in this process: its vnodes end with it. The zero
// value is ready. Package rack has racks that outlive whoever started them.
type LocalRacks struct {
	mu    sync.Mutex
	racks map[string]map[uint32]Rack
}

// heldRack is a LocalRack with the namespace that was made for it.
type heldRack struct {
	*LocalRack
	owner    *LocalRacks
	platform string
	index    uint32
}

// Start makes an empty rack.
func (s *LocalRacks) Start(_ context.Context, platform string, index uint32) (Rack, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.racks[platform][index] != nil {
		return nil, fmt.Errorf("start rack %d of %s: it is there already", index, platform)
	}
	ns, err := netns.Make(loopback)
	if err != nil {
		return nil, fmt.Errorf("start rack %d: %w", index, err)
	}
	defer unix.Close(ns)
	l, err := NewLocalRack(ns, nil)
	if err != nil {
		return nil, err
	}
	if s.racks == nil {
		s.racks = map[string]map[uint32]Rack{}
	}
	if s.racks[platform] == nil {
		s.racks[platform] = map[uint32]Rack{}
	}
	r := &heldRack{LocalRack: l, owner: s, platform: platform, index: index}
	s.racks[platform][index] = r
	return r, nil
}

// loopback brings up lo in the calling thread's namespace.
func loopback() error {
	c, err := rtnl.Open()
	if err != nil {
		return err
	}
	defer c.Close()
	var b rtnl.Batch
	b.SetLink(&rtnl.Link{Index: 1, Up: true, Label: "lo"})
	return c.Do(&b)
}

// Find gives the racks of a platform.
func (s *LocalRacks) Find(_ context.Context, platform string) (map[uint32]Rack, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.racks[platform]), nil
}

// Platforms lists the platforms that have racks here.
func (s *LocalRacks) Platforms() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for name := range maps.Keys(s.racks) {
		out = append(out, name)
	}
	return out
}

// Netns is the path of the rack's own namespace.
func (r *heldRack) Netns() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), r.ns) }

// Pid is this process.
func (r *heldRack) Pid() int { return os.Getpid() }

// Close ends the rack.
func (r *heldRack) Close() error {
	err := r.LocalRack.Close()
	r.owner.mu.Lock()
	defer r.owner.mu.Unlock()
	of := r.owner.racks[r.platform]
	if of[r.index] == Rack(r) {
		delete(of, r.index)
	}
	if len(of) == 0 {
		delete(r.owner.racks, r.platform)
	}
	return err
}

var (
	_ Racks = (*LocalRacks)(nil)
	_ Rack  = (*heldRack)(nil)
)

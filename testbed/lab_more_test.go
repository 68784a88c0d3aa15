package testbed_test

import (
	"fmt"
	"testing"
	"time"

	"myriad/kernel/kerneltest"
	"myriad/testbed"
)

// TestLabReaddress: an agent that has joined by the underlay itself finds its
// own address, and when that changes, tunnels of others find the new one.
func TestLabReaddress(t *testing.T) {
	kerneltest.RequireRoot(t)
	t.Parallel()
	b := newBed(t, testbed.Options{Pnodes: 3})
	s := newStage(t, b, testbed.LabOptions{Agent: func(int) []string {
		return []string{"--join", fmt.Sprintf("tls://%s:4222", b.Addr(testbed.Control))}
	}})
	s.must("up", s.file("small.yaml", "platform: small\nvnetworks: {lan: 10.1.0.0/16}\nvnodes: [{nodes: \"peer[1-12]\", vifaces: [lan]}]\n"))
	s.pings("small")
	address := func(i int) string {
		list, err := s.Client.Pnodes(t.Context())
		must(t, err)
		for _, p := range list {
			if p.Name == s.names[i] && p.State == "up" {
				return p.Address
			}
		}
		return ""
	}
	if a := address(1); a != b.Addr(1).String() {
		t.Errorf("pnode2 is said to be at %q", a)
	}
	other := b.Addr(9)
	must(t, b.Readdress(t.Context(), 1, b.Addr(1), other))
	s.eventually(30*time.Second, func() string {
		if a := address(1); a != other.String() {
			return fmt.Sprintf("pnode2 is said to be at %q", a)
		}
		return ""
	})
	s.eventually(10*time.Second, func() string {
		plan := s.vnodes("small")
		if out, err := s.ping(0, "small", first(plan["pnode1"][0]), first(plan["pnode2"][0])); err != nil {
			return "from pnode1 to pnode2: " + out
		}
		return ""
	})
	s.up("small", 5*time.Second)
	s.pings("small")
	s.placed("small")
}

// TestLabReplaced: what a lost pnode carried comes up on others, and once it is
// back, is there no more.
func TestLabReplaced(t *testing.T) {
	kerneltest.RequireRoot(t)
	t.Parallel()
	b := newBed(t, testbed.Options{Pnodes: 3})
	s := newStage(t, b, testbed.LabOptions{})
	s.must("up", s.file("small.yaml", "platform: small\nvnetworks: {lan: 10.1.0.0/16}\nvnodes: [{nodes: \"peer[1-60]\", vifaces: [lan]}]\nplacement: {loss: replace}\n"))
	must(t, b.PartitionControl(t.Context(), 2, true))
	must(t, b.Partition(t.Context(), 2, true))
	must(t, s.AwaitPnode(t.Context(), 2, "lost"))
	s.eventually(15*time.Second, func() string {
		if n := len(s.vnodes("small")["pnode3"]); n > 0 {
			return fmt.Sprintf("the plan has %d vnodes on a pnode that is lost", n)
		}
		return ""
	})
	s.up("small", 15*time.Second)
	s.pings("small")
	s.must("check", "--pairs", "200")
	must(t, b.Partition(t.Context(), 2, false))
	must(t, b.PartitionControl(t.Context(), 2, false))
	must(t, s.AwaitPnode(t.Context(), 2, "up"))
	s.eventually(10*time.Second, func() string {
		if has, err := s.Carried(2, "small"); err != nil || len(has) > 0 {
			return fmt.Sprintf("pnode3 is back, and still has %v, %v", has, err)
		}
		return ""
	})
	s.placed("small")
	s.must("check", "--pairs", "200")
	s.must("down", "small")
}

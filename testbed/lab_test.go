package testbed_test

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"myriad/api"
	"myriad/kernel/kerneltest"
	"myriad/testbed"
)

const many = `platform: many
vnetworks:
  lan: 10.1.0.0/16
  small: {cidr: 10.2.0.0/24, broadcast: on}
vnodes:
  - {nodes: "peer[1-190]", vifaces: [lan]}
  - {nodes: slow1, vifaces: [lan], conditions: {out: {delay: 20ms}}}
  - {nodes: slow2, vifaces: [lan], conditions: {in: {delay: 10ms}}}
  - {nodes: "bc[1-8]", vifaces: [small]}
placement:
  apart: ["slow[1-2]"]
`

// TestLab is the story of a platform on four pnodes: up, used, and everything
// that can befall it.
func TestLab(t *testing.T) {
	kerneltest.RequireRoot(t)
	t.Parallel() // most of it is waiting
	b := newBed(t, testbed.Options{Pnodes: 4})
	s := newStage(t, b, testbed.LabOptions{Args: []string{"--vni-base", "6"}}) // what the identity gives could be the other's
	watch, err := b.Watch()
	must(t, err)
	s.must("up", s.file("many.yaml", many))
	for _, step := range []struct {
		name string
		run  func(*stage)
	}{
		{"Up", testUp}, {"Exec", testExec}, {"Conditions", testConditions}, {"Broadcast", testBroadcast},
		{"Quiet", func(s *stage) { quiet(s, watch) }},
		{"Drain", testDrain}, {"AgentKilled", testAgentKilled}, {"RackKilled", testRackKilled},
		{"CoordinatorKilled", testCoordinatorKilled}, {"Partition", testPartition},
		{"Narrow", testNarrow}, {"TwoPlatforms", testTwoPlatforms}, {"Down", testDown},
	} {
		begin := time.Now()
		ok := t.Run(step.name, func(t *testing.T) {
			step.run(&stage{T: t, Lab: s.Lab, names: s.names})
		})
		t.Logf("%s: %.1f s", step.name, time.Since(begin).Seconds())
		if !ok {
			return
		}
	}
}

func testUp(s *stage) {
	s.up("many", 0)
	s.placed("many")
	for _, name := range s.names {
		if n := len(s.vnodes("many")[name]); n < 40 || n > 60 {
			s.Errorf("%s carries %d of 200 vnodes", name, n)
		}
	}
	s.pings("many")
	s.must("check", "-p", "many", "--pairs", "400")
	if out := s.must("up", filepath.Join(s.PnodeDir(testbed.Control), "many.yaml")); s.platform("many").Writes != 0 {
		s.Errorf("up again wrote %d times:\n%s", s.platform("many").Writes, out)
	}
}

func testExec(s *stage) {
	out := s.must("exec", "-p", "many", "*", "--", "hostname")
	if n := strings.Count(out, "\n"); n != 200 {
		s.Errorf("hostname on all of 200 vnodes printed %d lines", n)
	}
}

// testConditions: the sender's pnode has what goes out, the receiver's what
// comes in, and both add up.
func testConditions(s *stage) {
	where := map[string]api.Vnode{}
	at := map[string]int{}
	for i, name := range s.names {
		for _, v := range s.vnodes("many")[name] {
			where[v.Name], at[v.Name] = v, i
		}
	}
	if at["slow1"] == at["slow2"] {
		s.Fatal("slow1 and slow2 are on one pnode")
	}
	out, err := s.ping(at["slow1"], "many", first(where["slow1"]), first(where["slow2"]), "-c5", "-i0.05")
	must(s.T, err)
	var least float64
	_, stats, _ := strings.Cut(out, "mdev = ")
	if _, err := fmt.Sscanf(stats, "%f/", &least); err != nil {
		s.Fatalf("ping says %q", out)
	}
	if least < 29.5 || least > 45 {
		s.Errorf("20 ms out and 10 ms in make a round trip of %.2f ms", least)
	}
}

// testBroadcast: a broadcast reaches every vnode of a small vnetwork, wherever
// it is, once.
func testBroadcast(s *stage) {
	s.must("exec", "-p", "many", "bc*", "--", "sh", "-c", "echo 0 > /proc/sys/net/ipv4/icmp_echo_ignore_broadcasts")
	out := s.must("exec", "-p", "many", "bc1", "--", "sh", "-c", "ping -n -b -i 2 -w 1 10.2.0.255; true")
	for k := range 7 {
		from := fmt.Sprintf("from 10.2.0.%d:", k+2)
		if n := strings.Count(out, from); n != 1 {
			s.Errorf("%d answers %s\n%s", n, from, out)
		}
	}
}

// quiet: whatever was done so far, no frame on the underlay was for all.
func quiet(s *stage, watch *testbed.Watch) {
	found, err := watch.Stop()
	must(s.T, err)
	if found.Sum() != 0 || found.All < 500 {
		s.Errorf("on the underlay: %s", found)
	}
}

func testDrain(s *stage) {
	before := map[string]netip.Addr{}
	for _, list := range s.vnodes("many") {
		for _, v := range list {
			before[v.Name] = first(v)
		}
	}
	s.must("drain", "pnode4")
	s.up("many", 0)
	s.placed("many")
	if n := len(s.vnodes("many")["pnode4"]); n != 0 {
		s.Errorf("after it was drained, pnode4 has %d vnodes", n)
	}
	for _, list := range s.vnodes("many") {
		for _, v := range list {
			if before[v.Name] != first(v) {
				s.Errorf("%s was %s and is %s", v.Name, before[v.Name], first(v))
			}
		}
	}
	s.pings("many")
	s.must("check", "-p", "many", "--pairs", "200")
	s.must("drain", "--undo", "pnode4")
	s.must("down", "many")
	s.must("up", filepath.Join(s.PnodeDir(testbed.Control), "many.yaml"))
	if n := len(s.vnodes("many")["pnode4"]); n < 40 {
		s.Errorf("after it is drained no more, pnode4 has %d vnodes of a platform that is new", n)
	}
}

// nap starts a process in a vnode of each pnode.
func (s *stage) nap() (pids []int) {
	s.Helper()
	for _, list := range s.vnodes("many") {
		out := s.must("exec", "-p", "many", list[0].Name, "--", "sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!")
		var name string
		pid := 0
		if _, err := fmt.Sscanf(out, "%s %d", &name, &pid); err != nil {
			s.Fatalf("exec says %q", out)
		}
		pids = append(pids, pid)
	}
	return pids
}

// live checks that processes of vnodes live on.
func (s *stage) live(pids []int) {
	s.Helper()
	for _, pid := range pids {
		if err := syscall.Kill(pid, 0); err != nil {
			s.Errorf("process %d of a vnode: %v", pid, err)
		}
	}
}

func testAgentKilled(s *stage) {
	pids := s.nap()
	s.AgentOf(1).Kill()
	must(s.T, s.AwaitPnode(s.Context(), 1, "lost"))
	s.live(pids)
	s.pings("many")
	must(s.T, s.StartAgent(1))
	must(s.T, s.AwaitPnode(s.Context(), 1, "up"))
	s.up("many", 5*time.Second)
	s.placed("many")
	s.live(pids)
	s.must("exec", "-p", "many", "*", "--", "true")
}

func testRackKilled(s *stage) {
	racks, err := s.Pids(2, "rack")
	must(s.T, err)
	if len(racks) == 0 {
		s.Fatal("pnode3 has no rack")
	}
	for _, pid := range racks {
		must(s.T, syscall.Kill(pid, syscall.SIGKILL))
	}
	s.eventually(15*time.Second, func() string {
		if p := s.platform("many"); p.State == "up" || p.Up > 160 {
			return fmt.Sprintf("its racks are gone, and many is %s with %d vnodes up", p.State, p.Up)
		}
		return ""
	})
	s.must("up", filepath.Join(s.PnodeDir(testbed.Control), "many.yaml"))
	s.up("many", 0)
	s.placed("many")
	s.pings("many")
}

func testCoordinatorKilled(s *stage) {
	pids := s.nap()
	s.Coordinator().Kill()
	must(s.T, s.StartCoordinator(s.Context()))
	must(s.T, s.AwaitPnodes(s.Context(), 4))
	s.up("many", 5*time.Second)
	s.live(pids)
	s.placed("many")
	s.must("check", "-p", "many", "--pairs", "100")
	if s.must("up", filepath.Join(s.PnodeDir(testbed.Control), "many.yaml")); s.platform("many").Writes != 0 {
		s.Errorf("up after the coordinator was killed wrote %d times", s.platform("many").Writes)
	}
	s.live(pids)
}

// testPartition cuts half of the agents from the coordinator: their vnodes do
// not notice.
func testPartition(s *stage) {
	pids := s.nap()
	for _, i := range []int{2, 3} {
		must(s.T, s.PartitionControl(s.Context(), i, true))
	}
	for _, i := range []int{2, 3} {
		must(s.T, s.AwaitPnode(s.Context(), i, "lost"))
	}
	s.live(pids)
	s.pings("many")
	s.refused([]string{"up", filepath.Join(s.PnodeDir(testbed.Control), "many.yaml")}, []string{"pnode3"})
	for _, i := range []int{2, 3} {
		must(s.T, s.PartitionControl(s.Context(), i, false))
	}
	must(s.T, s.AwaitPnodes(s.Context(), 4))
	s.up("many", 5*time.Second)
	s.placed("many")
	s.live(pids)
	s.must("check", "-p", "many", "--pairs", "100")
}

// testNarrow: vnetworks whose packets the underlay cannot carry are refused,
// with what could be done.
func testNarrow(s *stage) {
	large := "platform: large\nvnetworks: {lan: {cidr: 10.5.0.0/16, mtu: 1500}}\nvnodes: [{nodes: \"x[1-8]\", vifaces: [lan]}]\n"
	s.refused([]string{"up", s.file("large.yaml", large)}, []string{"1500", "1450"})
	must(s.T, s.Narrow(s.Context(), 1, 1400))
	fits := strings.ReplaceAll(strings.ReplaceAll(large, "1500", "1450"), "large", "narrow")
	s.refused([]string{"up", s.file("narrow.yaml", fits)}, []string{"MTU", "pnode2"})
	must(s.T, s.Narrow(s.Context(), 1, 1500))
	for i := range s.names { // the kernel remembers for ten minutes what came through
		must(s.T, s.IP(s.Context(), i, "route flush cache"))
	}
	_, _ = s.try("down", "narrow") // there may be none
}

func testTwoPlatforms(s *stage) {
	s.must("up", s.file("second.yaml", strings.ReplaceAll(many, "platform: many", "platform: second")))
	s.placed("second")
	s.placed("many")
	s.must("check", "-p", "second", "--pairs", "100")
	s.must("check", "-p", "many", "--pairs", "100")
	other := newStage(s.T, s.Bed, testbed.LabOptions{Label: "other", Port: 4223, Only: 2, Args: []string{"--vni-base", "7"}})
	other.must("up", other.file("third.yaml", "platform: many\nvnetworks: {lan: 10.1.0.0/16}\nvnodes: [{nodes: \"peer[1-40]\", vifaces: [lan]}]\n"))
	other.placed("many")
	other.must("check", "-p", "many", "--pairs", "100")
	other.pings("many")
	s.placed("many")
	s.pings("many")
	other.must("down", "many")
	s.must("down", "second")
	s.placed("many")
	s.must("check", "-p", "many", "--pairs", "100")
}

func testDown(s *stage) {
	s.must("down", "many")
	for i, name := range s.names {
		if has, err := s.Carried(i, "many"); err != nil || len(has) != 0 {
			s.Errorf("%s has %v, %v", name, has, err)
		}
		if racks, err := s.Pids(i, "rack"); err != nil || len(racks) != 0 {
			s.Errorf("%s has racks %v, %v", name, racks, err)
		}
		out, err := s.Bed.Run(s.Context(), i, "ip", "-o", "link")
		if err != nil || strings.Count(out, "\n") != 3 {
			s.Errorf("%s has links:\n%s%v", name, out, err)
		}
		must(s.T, s.Myriad(s.Context(), i, nil, "verify-clean"))
	}
}

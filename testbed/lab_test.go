package testbed_test

import (
	"bytes"
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"myriad/api"
	"myriad/kernel/kerneltest"
	"myriad/testbed"
)

// build makes the command, once for all tests.
var build = sync.OnceValues(func() (string, error) {
	exe := filepath.Join(os.TempDir(), "myriad")
	if out, err := exec.Command("go", "build", "-o", exe, "../cmd/myriad").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return exe, nil
})

// stage is a lab under test.
type stage struct {
	*testing.T
	*testbed.Lab
	names []string
}

func newStage(t *testing.T, b *testbed.Bed, o testbed.LabOptions) *stage {
	t.Helper()
	exe, err := build()
	must(t, err)
	o.Exe = exe
	l, err := testbed.NewLab(t.Context(), b, o)
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	s := &stage{T: t, Lab: l}
	for i := range b.Options.Pnodes {
		s.names = append(s.names, l.Bed.Name(i))
	}
	return s
}

// try runs a command of who is in control, and gives what it printed.
func (s *stage) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	err := s.Myriad(ctx, testbed.Control, &out, args...)
	return out.String(), err
}

func (s *stage) must(args ...string) string {
	s.Helper()
	out, err := s.try(args...)
	if err != nil {
		s.logs()
		s.Fatal(err)
	}
	return out
}

// refused runs a command that must fail, and say certain words.
func (s *stage) refused(args, words []string) {
	s.Helper()
	out, err := s.try(args...)
	if err == nil {
		s.Errorf("myriad %s succeeds:\n%s", strings.Join(args, " "), out)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			s.Errorf("myriad %s says nothing of %q:\n%v", strings.Join(args, " "), w, err)
		}
	}
}

// logs shows the ends of all logs.
func (s *stage) logs() {
	for _, p := range append([]*testbed.Process{s.Coordinator()}, s.agents()...) {
		if p != nil {
			s.Logf("%s ends:\n%s", p.Log, p.Tail())
		}
	}
}

func (s *stage) agents() []*testbed.Process {
	var all []*testbed.Process
	for i := range s.names {
		all = append(all, s.AgentOf(i))
	}
	return all
}

// file writes a topology file.
func (s *stage) file(name, text string) string {
	s.Helper()
	path := filepath.Join(s.PnodeDir(testbed.Control), name)
	must(s.T, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// eventually waits until f gives nothing to complain of.
func (s *stage) eventually(patience time.Duration, f func() string) {
	s.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		wrong := f()
		if wrong == "" {
			return
		}
		if time.Now().After(deadline) {
			s.logs()
			s.Fatalf("%v later: %s", patience, wrong)
		}
	}
}

func (s *stage) platform(name string) *api.Platform {
	p, err := s.Client.Platform(s.Context(), name)
	if err != nil {
		return &api.Platform{State: err.Error()}
	}
	return p
}

// up waits until a platform is up, all of it.
func (s *stage) up(platform string, patience time.Duration) {
	s.Helper()
	s.eventually(patience, func() string {
		if p := s.platform(platform); p.State != "up" || p.Up != p.Vnodes {
			return fmt.Sprintf("%s is %s, %d of %d vnodes up, %v", platform, p.State, p.Up, p.Vnodes, p.Problems)
		}
		return ""
	})
}

// vnodes gives a platform's vnodes by pnode.
func (s *stage) vnodes(platform string) map[string][]api.Vnode {
	s.Helper()
	found := map[string][]api.Vnode{}
	err := s.Client.Vnodes(s.Context(), platform, "", func(v *api.Vnode) error {
		found[v.Pnode] = append(found[v.Pnode], *v)
		return nil
	})
	must(s.T, err)
	return found
}

// first is the address that a vnode's first viface has.
func first(v api.Vnode) netip.Addr { return netip.MustParsePrefix(v.Vifaces[0].Address).Addr() }

// placed checks with its own eyes that each pnode has what the plan says it
// has, once, and nothing else.
func (s *stage) placed(platform string) {
	s.Helper()
	plan := s.vnodes(platform)
	for i, name := range s.names {
		var want []netip.Addr
		for _, v := range plan[name] {
			for _, f := range v.Vifaces {
				want = append(want, netip.MustParsePrefix(f.Address).Addr())
			}
		}
		has, err := s.Carried(i, platform)
		must(s.T, err)
		slices.SortFunc(want, netip.Addr.Compare)
		slices.SortFunc(has, netip.Addr.Compare)
		if !slices.Equal(want, has) {
			s.Errorf("%s has %d addresses of %s, and the plan %d there:\n%v\n%v", name, len(has), platform, len(want), has, want)
		}
	}
}

// pings has a vnode of each pnode ping one of each other, without Myriad's
// help. only, unless nil, are the pnodes that take part.
func (s *stage) pings(platform string, only ...string) {
	s.Helper()
	plan := s.vnodes(platform)
	for name, list := range plan { // those of one vnetwork
		plan[name] = slices.DeleteFunc(list, func(v api.Vnode) bool { return !strings.HasPrefix(v.Name, "peer") })
	}
	for i, from := range s.names {
		for k, to := range s.names {
			if i == k || only != nil && (!slices.Contains(only, from) || !slices.Contains(only, to)) || len(plan[from]) == 0 || len(plan[to]) == 0 {
				continue
			}
			a, b := plan[from][0], plan[to][len(plan[to])-1]
			if out, err := s.ping(i, platform, first(a), first(b)); err != nil {
				s.Errorf("%s on %s does not reach %s on %s: %v\n%s", a.Name, from, b.Name, to, err, out)
			}
		}
	}
}

func (s *stage) ping(i int, platform string, from, to netip.Addr, more ...string) (string, error) {
	return s.Inside(s.Context(), i, platform, from, append(append([]string{"ping", "-n", "-c1", "-W2"}, more...), to.String())...)
}

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

package rack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/cgroup"
	"myriad/kernel/kerneltest"
	"myriad/program"
)

// starter starts racks in a directory of their own. Those that the test does
// not end are ended with it.
func starter(tb testing.TB) *Starter {
	tb.Helper()
	kerneltest.RequireRoot(tb)
	s := &Starter{RunDir: tb.TempDir()}
	tb.Cleanup(func() {
		racks, err := s.Find(context.Background(), "p")
		if err != nil {
			tb.Error(err)
		}
		for _, r := range racks {
			if err := r.Close(); err != nil {
				tb.Error(err)
			}
		}
		if s.tree == nil {
			return
		}
		instance := s.tree.Instance(kernel.Instance(s.RunDir))
		if err := instance.Kill(context.Background()); err != nil {
			tb.Error(err)
		}
		if err := instance.Remove(context.Background()); err != nil && !errors.Is(err, os.ErrNotExist) {
			tb.Error(err)
		}
	})
	return s
}

func startRack(tb testing.TB, s *Starter, index uint32) *Client {
	tb.Helper()
	r, err := s.Start(context.Background(), "p", index)
	if err != nil {
		tb.Fatal(err)
	}
	return r.(*Client)
}

// bare asks for vnodes without vifaces, which need no trunk: bridges have one
// for each network.
func bare(index uint32, n int) *kernel.RackSpec {
	s := spec(n)
	s.Fabric = program.FabricBridge
	s.Rack.Index = index
	return s
}

func mustApply(tb testing.TB, c *Client, s *kernel.RackSpec) {
	tb.Helper()
	report, problems, _, err := c.Apply(context.Background(), s, nil)
	if err != nil || len(problems) > 0 {
		tb.Fatalf("apply: %v, %v", err, problems)
	}
	if report.Vnodes != len(s.Rack.Vnodes) {
		tb.Fatalf("%d vnodes up, want %d", report.Vnodes, len(s.Rack.Vnodes))
	}
}

// TestStart: a rack process is where it belongs, and a rack without a trunk
// carries vnodes without vifaces.
func TestStart(t *testing.T) {
	s := starter(t)
	dir := Dir(s.RunDir, "p")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	hosts := "10.0.0.1 v0\n"
	os.WriteFile(filepath.Join(dir, "hosts"), []byte(hosts), 0o644)
	c := startRack(t, s, 7)
	for _, kind := range []string{"net", "mnt"} {
		mine, _ := namespaceOf(os.Getpid(), kind)
		its, err := namespaceOf(c.Pid(), kind)
		if err != nil || mine == its {
			t.Errorf("the rack shares our %s namespace (%v)", kind, err)
		}
	}
	if sid, err := unix.Getsid(c.Pid()); err != nil || sid != c.Pid() {
		t.Errorf("the rack is in session %d (%v), want its own", sid, err)
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", c.Pid()))
	if want := fmt.Sprintf("/myriad-%s/p/rack-7\n", kernel.Instance(s.RunDir)); !strings.Contains(string(text), want) {
		t.Errorf("cgroups of the rack:\n%swant …%s", text, want)
	}
	mustApply(t, c, bare(7, 5))
	o := run(t.Context(), c, sh("hostname; cat /etc/hosts; ls /proc/self/fd; env"))
	o.ok(t, 5)
	if got := o.stdout["v4"]; !strings.HasPrefix(got, "v4\n"+hosts+"0\n1\n2\n3\n") || strings.Contains(got, "GO") {
		t.Errorf("a process sees %q", got)
	}
	// The file is replaced: the next apply mounts the new one.
	os.WriteFile(filepath.Join(dir, "hosts.new"), []byte("10.0.0.2 v0\n"), 0o644)
	os.Rename(filepath.Join(dir, "hosts.new"), filepath.Join(dir, "hosts"))
	mustApply(t, c, bare(7, 6))
	o = run(t.Context(), c, &ExecRequest{Argv: []string{"cat", "/etc/hosts"}})
	o.ok(t, 6)
	if got := o.stdout["v5"]; got != "10.0.0.2 v0\n" {
		t.Errorf("after it was replaced, /etc/hosts is %q", got)
	}
	// A process, which may do so, has taken it away: it is mounted again.
	run(t.Context(), c, &ExecRequest{Argv: []string{"umount", "/etc/hosts"}, Vnodes: []string{"v0"}}).ok(t, 1)
	mustApply(t, c, bare(7, 6))
	o = run(t.Context(), c, &ExecRequest{Argv: []string{"cat", "/etc/hosts"}})
	o.ok(t, 6)
	if got := o.stdout["v5"]; got != "10.0.0.2 v0\n" {
		t.Errorf("after it was unmounted, /etc/hosts is %q", got)
	}
	if own, _ := os.ReadFile("/etc/hosts"); strings.Contains(string(own), "10.0.0.2 v0") {
		t.Error("the machine's /etc/hosts was changed")
	}
}

// TestFind: racks outlive their starter, and another finds them; dead ones
// are noticed, and their sockets removed.
func TestFind(t *testing.T) {
	s := starter(t)
	a, b := startRack(t, s, 1), startRack(t, s, 2)
	mustApply(t, a, bare(1, 2))

	other := &Starter{RunDir: s.RunDir}
	found, err := other.Find(t.Context(), "p")
	if err != nil || len(found) != 2 || found[1].Pid() != a.Pid() || found[2].Pid() != b.Pid() {
		t.Fatalf("found %v, %v", found, err)
	}
	adopted := found[1].(*Client)
	run(t.Context(), adopted, &ExecRequest{Argv: []string{"true"}}).ok(t, 2)

	unix.Kill(b.Pid(), unix.SIGKILL)
	<-b.Lost()
	<-found[2].(*Client).Lost()
	if unix.Kill(b.Pid(), 0) == nil {
		t.Error("the killed rack is a zombie")
	}
	for _, s := range []*Starter{s, other} {
		if found, err = s.Find(t.Context(), "p"); err != nil || len(found) != 1 || found[1] == nil {
			t.Errorf("after one was killed: %v, %v", found, err)
		}
	}
	if _, err := os.Stat(Socket(s.RunDir, "p", 2)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket of the killed rack: %v", err)
	}
	_, _, _, err = b.Apply(t.Context(), bare(2, 1), nil)
	var p *program.Problem
	if !errors.As(err, &p) || p.Kind != program.KindUnavailable {
		t.Errorf("applying to the killed rack: %v", err)
	}
	startRack(t, s, 2)
	if _, err := s.Start(t.Context(), "p", 2); err == nil || !strings.Contains(err.Error(), errServed.Error()) {
		t.Errorf("starting a rack that lives: %v", err)
	}
	adopted.Release()
}

// TestFindUnusable: a rack that does not answer, or speaks another wire, can
// be ended all the same.
func TestFindUnusable(t *testing.T) {
	t.Parallel()
	s := starter(t)
	c := startRack(t, s, 1)
	newer := &Starter{RunDir: s.RunDir, wire: Wire + 1}
	found, err := newer.Find(t.Context(), "p")
	if err != nil || found[1] == nil {
		t.Fatal(found, err)
	}
	_, _, _, err = found[1].Apply(t.Context(), bare(1, 1), nil)
	var p *program.Problem
	if !errors.As(err, &p) || p.Kind != program.KindConflict {
		t.Errorf("applying to a rack of another wire: %v", err)
	}
	if err := found[1].Close(); err != nil {
		t.Error(err)
	}
	<-c.Lost()

	c = startRack(t, s, 1)
	unix.Kill(c.Pid(), unix.SIGSTOP)
	waitFor(t, "the rack to stop", func() bool {
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Pid()))
		return strings.Contains(string(stat), ") T ")
	})
	stopped, err := newClientOf(t, s.RunDir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stopped.Observe(t.Context()); !errors.As(err, &p) || p.Kind != program.KindUnavailable {
		t.Errorf("observing a stopped rack: %v", err)
	}
	if err := stopped.Close(); err != nil {
		t.Error(err)
	}
	<-c.Lost()
}

// TestFindOtherBuild: a rack of another build that speaks the same wire is as
// good as one's own.
func TestFindOtherBuild(t *testing.T) {
	c := serveBuild(t, &namespaces{fds: map[string]int{}}, "another")
	s := &Starter{RunDir: filepath.Dir(filepath.Dir(c.path))}
	found, err := s.Find(t.Context(), "p")
	if err != nil || found[3] == nil {
		t.Fatal(found, err)
	}
	if found[3].(*Client).Version != "another" {
		t.Errorf("found %+v", found[3].(*Client).Info)
	}
	if _, err := found[3].Observe(t.Context()); err != nil {
		t.Error(err)
	}
	found[3].(*Client).Release()
}

// newClientOf finds rack 1 with little patience.
func newClientOf(t *testing.T, runDir string) (*Client, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	found, err := (&Starter{RunDir: runDir}).Find(ctx, "p")
	if err != nil {
		return nil, err
	}
	return found[1].(*Client), nil
}

// TestClose: nothing that ran in a rack outlives it.
func TestClose(t *testing.T) {
	s := starter(t)
	c := startRack(t, s, 1)
	mustApply(t, c, bare(1, 3))
	run(t.Context(), c, sh("setsid sleep 71 >/dev/null 2>&1 &")).ok(t, 3)
	call, err := s.Call(t.Context(), "p", 1, &Request{Exec: &ExecRequest{Argv: []string{"sleep", "72"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer call.Close()
	waitFor(t, "all to run", func() bool { return running("sleep", "71")+running("sleep", "72") == 6 })
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if n := running("sleep", "71") + running("sleep", "72"); n > 0 {
		t.Errorf("%d processes left", n)
	}
	left, _ := os.ReadDir(Dir(s.RunDir, "p"))
	for _, e := range left {
		if e.Name() != "rack-1.log" {
			t.Errorf("%s is left", e.Name())
		}
	}
	if g, ok := s.group(key{"p", 1}); ok && g.Exists() {
		t.Error("its cgroup is left")
	}
}

// TestClientKilled: a client that dies in the middle of a call takes what it
// started with it, and nothing else.
func TestClientKilled(t *testing.T) {
	s := starter(t)
	c := startRack(t, s, 1)
	mustApply(t, c, bare(1, 4))
	// Another rack process is the client: it is this binary, with a flag.
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"client", "client", Socket(s.RunDir, "p", 1)}, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the client's processes", func() bool { return running("sleep", "73") == 4 })
	unix.Kill(pid, unix.SIGKILL)
	reap(pid, 0)
	waitFor(t, "their end", func() bool { return running("sleep", "73") == 0 })
	run(t.Context(), c, &ExecRequest{Argv: []string{"true"}}).ok(t, 4)
}

// clientMain is the client of TestClientKilled.
func clientMain(socket string) {
	call, err := Open(context.Background(), socket, &Request{Exec: &ExecRequest{Argv: []string{"sleep", "73"}, Window: 4}})
	if err == nil {
		_, err = call.Recv()
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// TestSignals: what the starter ignores, the vnodes' processes do not; a rack
// that is told to end takes all with it.
func TestSignals(t *testing.T) {
	s := starter(t)
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.Exe = filepath.Join(t.TempDir(), "deaf")
	if err := os.WriteFile(s.Exe, []byte("#!/bin/sh\ntrap '' HUP INT\nexec "+own+" \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := startRack(t, s, 1)
	mustApply(t, c, bare(1, 1))
	o := run(t.Context(), c, &ExecRequest{Argv: []string{"grep", "-E", "SigIgn|SigBlk", "/proc/self/status"}})
	o.ok(t, 1)
	// glibc's posix_spawn has what it starts ignore signals 32 and 33, which
	// are its own: where make runs these tests, everything does.
	const internal = 3 << 31
	var blocked, ignored uint64
	if _, err := fmt.Sscanf(o.stdout["v0"], "SigBlk:\t%x\nSigIgn:\t%x\n", &blocked, &ignored); err != nil || blocked != 0 || ignored&^internal != 0 {
		t.Errorf("a process begins with %q (%v), want no signal blocked or ignored", o.stdout["v0"], err)
	}
	unix.Kill(c.Pid(), unix.SIGHUP)
	unix.Kill(c.Pid(), unix.SIGINT)
	run(t.Context(), c, sh("sleep 74 >/dev/null 2>&1 &")).ok(t, 1)
	unix.Kill(c.Pid(), unix.SIGTERM)
	<-c.Lost()
	if n := running("sleep", "74"); n > 0 {
		t.Errorf("%d processes left", n)
	}
	if _, err := os.Stat(Socket(s.RunDir, "p", 1)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its socket: %v", err)
	}
}

// TestV1Group: without cgroup v2, a rack is moved to its group before it
// starts anything.
func TestV1Group(t *testing.T) {
	const freezer = "/sys/fs/cgroup/freezer"
	s := starter(t)
	if _, err := os.Stat(freezer + "/cgroup.procs"); err != nil {
		t.Log("not tried: the freezer of cgroup v1 is not mounted")
		return
	}
	s.init()
	s.tree = &cgroup.Tree{Root: freezer}
	c := startRack(t, s, 1)
	group, _ := s.group(key{"p", 1})
	pids, err := group.Procs()
	if err != nil || len(pids) != 1 || pids[0] != c.Pid() {
		t.Errorf("in the group: %v, %v, want %d", pids, err, c.Pid())
	}
	if err := c.Close(); err != nil || group.Exists() {
		t.Errorf("%v; the group is there: %v", err, group.Exists())
	}
}

func TestStartFails(t *testing.T) {
	s := starter(t)
	s.Exe = "/bin/false"
	_, err := s.Start(t.Context(), "p", 1)
	if err == nil || !strings.Contains(err.Error(), "ended before it answered") {
		t.Errorf("a process that fails: %v", err)
	}
	s.Exe = "/no/such/program"
	if _, err = s.Start(t.Context(), "p", 1); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a program that does not exist: %v", err)
	}
	s.Exe = "/bin/cat"
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err = s.Start(ctx, "p", 1); err == nil {
		t.Error("a process that never answers is a rack")
	}
}

package kernel_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// partial checks a report of an Apply that met a limit: some vnodes are up,
// and one problem says which limit and what to do.
func partial(t *testing.T, r *program.Report, n int) {
	t.Helper()
	if r.Up() == 0 || r.Up() >= n {
		t.Errorf("%d of %d vnodes are up, want some", r.Up(), n)
	}
	if len(r.Problems) != 1 || r.Problems[0].Kind != program.KindExhausted || r.Problems[0].Remedy == "" {
		t.Errorf("problems: %+v, want one that says what was exhausted and what to do", r.Problems)
	}
	if len(r.Racks) != 1 || r.Racks[0].State != program.RackPartial {
		t.Errorf("racks: %+v, want one that is partial", r.Racks)
	}
}

func TestNoDescriptors(t *testing.T) {
	p, _ := open(t)
	want := flat(200)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = uint64(len(fds)) + 60
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	r, err := p.Apply(t.Context(), want, nil)
	if e := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); e != nil {
		t.Fatal(e)
	}
	if err != nil {
		t.Fatal(err)
	}
	partial(t, r, 200)
	mustApply(t, p, want)
	if got := text(t, p, "flat"); got != kerneltest.Text(want) {
		t.Error("with the limit gone, the platform is not as it should be")
	}
}

// inUserNamespace is set for a test that runs itself again in a user
// namespace, where limits can be lowered without harm.
const inUserNamespace = "MYRIAD_TEST_USERNS"

func TestNoNamespaces(t *testing.T) {
	if os.Getenv(inUserNamespace) == "1" {
		noNamespaces(t)
		return
	}
	kerneltest.RequireRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run=^TestNoNamespaces$", "-test.v")
	cmd.Env = append(os.Environ(), inUserNamespace+"=1", "TMPDIR="+t.TempDir())
	root := []syscall.SysProcIDMap{{Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		UidMappings: root, GidMappings: root,
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestNoNamespaces") {
		t.Errorf("%v:\n%s", err, out)
	}
}

func noNamespaces(t *testing.T) {
	const limit = "/proc/sys/user/max_net_namespaces"
	if err := os.WriteFile(limit, []byte("60"), 0o644); err != nil {
		t.Fatal(err)
	}
	p, _ := open(t)
	want := flat(100)
	want.Fabric = program.FabricBridge // eBPF is not for user namespaces
	r, err := p.Apply(t.Context(), want, nil)
	if err != nil {
		t.Fatal(err)
	}
	partial(t, r, 100)
	if !strings.Contains(r.Problems[0].Remedy, "max_net_namespaces") {
		t.Errorf("remedy: %s", r.Problems[0].Remedy)
	}
	if err := os.WriteFile(limit, []byte("1000"), 0o644); err != nil {
		t.Fatal(err)
	}
	mustApply(t, p, want)
}

// TestRunDir: when the place for the records of what is made cannot be
// written, nothing is made, and the problem says why.
func TestRunDir(t *testing.T) {
	for _, test := range []struct {
		name  string
		flags uintptr
		data  string
		kind  program.Kind
	}{
		{"read-only", unix.MS_RDONLY, "", program.KindPermission},
		{"full", 0, "size=4k", program.KindExhausted},
	} {
		t.Run(test.name, func(t *testing.T) {
			kerneltest.RequireRoot(t)
			dir := t.TempDir()
			if err := unix.Mount("none", dir, "tmpfs", test.flags, test.data); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = unix.Unmount(dir, 0) }()
			p, err := kernel.Open(kernel.Config{RunDir: dir})
			if err != nil {
				t.Fatal(err)
			}
			want := flat(500)
			want.Names = []program.NameRange{{Prefix: "n", First: 1, Count: 500, Addr: want.Networks[0].Addr(1)}}
			_, err = p.Apply(t.Context(), want, nil)
			var q *program.Problem
			if !errors.As(err, &q) || q.Kind != test.kind || q.Remedy == "" {
				t.Errorf("error %#v, want a problem of kind %v with a remedy", err, test.kind)
			}
			if have, err := p.Observe(t.Context(), want.Platform); err != nil || len(have.Racks) != 0 {
				t.Errorf("made: %v, %v", have, err)
			}
			if err := p.Sweep(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestTwoAtOnce: whoever changes a platform waits for whoever else does.
func TestTwoAtOnce(t *testing.T) {
	p, racks := open(t)
	other, err := kernel.Open(kernel.Config{RunDir: p.RunDir, Racks: racks})
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for i, p := range []*kernel.Pnode{p, other, p, other} {
		wait.Go(func() {
			if i == 3 {
				if err := p.Remove(t.Context(), "flat", nil); err != nil {
					t.Error(err)
				}
				return
			}
			if r, err := p.Apply(t.Context(), flat(20+i), nil); err != nil || r.Up() != 20+i {
				t.Errorf("apply %d: %+v, %v", i, r, err)
			}
		})
	}
	wait.Wait()
	mustApply(t, p, flat(25))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	lock, err := os.Open(filepath.Join(p.RunDir, "flat", "lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Apply(ctx, flat(1), nil); !errors.Is(err, context.DeadlineExceeded) && (err == nil || !strings.Contains(err.Error(), "deadline")) {
		t.Errorf("apply of a locked platform: %v", err)
	}
}

// TestKillsProcesses: what runs in a vnode ends with the vnode, and nothing
// else does.
func TestKillsProcesses(t *testing.T) {
	kerneltest.RequireRoot(t)
	ns, err := netns.Make(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(t, ns)
	var procs []int
	l, err := kernel.NewLocalRack(ns, func() ([]int, error) { return append(procs, os.Getpid()), nil })
	if err != nil {
		t.Fatal(err)
	}
	trunk(t, ns)
	want := flat(2)
	spec := &kernel.RackSpec{Platform: "flat", Networks: want.Networks, Rack: want.Racks[0]}
	apply := func() {
		r, problems, _, err := l.Apply(t.Context(), spec, nil)
		if err != nil || len(problems) > 0 {
			t.Fatalf("%+v %v %v", r, problems, err)
		}
	}
	apply()
	running := map[string]*exec.Cmd{}
	for _, name := range []string{"n1", "n2"} {
		fd, ok := l.VnodeNetns(name)
		if !ok {
			t.Fatalf("no %s", name)
		}
		cmd := exec.Command("sleep", "60")
		if err := netns.Spawn(fd, name, cmd.Start); err != nil {
			t.Fatal(err)
		}
		procs = append(procs, cmd.Process.Pid)
		running[name] = cmd
	}
	spec.Rack.Vnodes, spec.Rack.Vifaces = spec.Rack.Vnodes[1:], spec.Rack.Vifaces[1:]
	done := make(chan error)
	go func() { done <- running["n1"].Wait() }()
	apply()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the process of the removed vnode: %v, want killed", err)
	}
	if err := running["n2"].Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("the process of the other vnode: %v", err)
	}
	go func() { done <- running["n2"].Wait() }()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	<-done
	if err := l.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	if _, _, _, err := l.Apply(t.Context(), spec, nil); err == nil {
		t.Error("a closed rack applies")
	}
}

// trunk gives a rack's namespace something to hang vnodes on.
func trunk(t *testing.T, ns int) {
	t.Helper()
	err := netns.Do(ns, func() error {
		c, err := rtnl.Open()
		if err != nil {
			return err
		}
		defer c.Close()
		var b rtnl.Batch
		b.NewLink(&rtnl.Link{Index: kernel.TrunkIndex, Name: "tr0", Kind: rtnl.Veth, Peer: &rtnl.Link{Index: 3, Name: "other"}})
		return c.Do(&b)
	})
	if err != nil {
		t.Fatal(err)
	}
}

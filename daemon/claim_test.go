package daemon_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/api"
	"myriad/bus"
	"myriad/daemon"
	"myriad/kernel/kerneltest"
	"myriad/kernel/mem"
	"myriad/program"
)

// TestMain also plays a daemon that a test of this package kills.
func TestMain(m *testing.M) {
	if os.Getenv("MYRIAD_TEST_IN_NAMESPACE") != "" {
		// Mounts of this process are its own from here on.
		if err := unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// inNamespace runs the calling test again, as a process with mounts of its
// own, and tells whether this is that process.
func inNamespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv("MYRIAD_TEST_IN_NAMESPACE") != "" {
		return true
	}
	kerneltest.RequireRoot(t)
	cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "MYRIAD_TEST_IN_NAMESPACE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func mount(t *testing.T, options string, flags uintptr) string {
	t.Helper()
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", flags, options))
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	return dir
}

// try runs a daemon that is expected to refuse.
func try(t *testing.T, run, state string) *program.Problem {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := daemon.Run(ctx, daemon.Config{RunDir: run, StateDir: state, Pnode: mem.New(mem.Options{}), Name: "here", Logf: t.Logf})
	if err == nil {
		t.Fatal("the daemon ran")
	}
	return bus.ProblemOf(err)
}

func TestDirectoriesInUse(t *testing.T) {
	m := newMachine(t, mem.New(mem.Options{}))
	for name, dirs := range map[string][2]string{"run": {m.run, t.TempDir()}, "state": {t.TempDir(), m.state}} {
		p := try(t, dirs[0], dirs[1])
		if p.Kind != program.KindConflict || !strings.Contains(p.Error(), fmt.Sprint("process ", os.Getpid())) || !strings.Contains(p.Op, name) {
			t.Errorf("%s directory in use: %v: %v", name, p.Kind, p)
		}
	}
	m.expect() // the first one has not noticed
}

func TestDirectoriesThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for name, tt := range map[string]struct {
		run, state string
		says       string
	}{
		"a file in place of a directory": {t.TempDir(), file, "not a directory"},
		"below a file":                   {filepath.Join(file, "x"), t.TempDir(), "not a directory"},
		"a path that is too long":        {filepath.Join(t.TempDir(), strings.Repeat("x", 200)), t.TempDir(), "--run-dir"},
	} {
		if p := try(t, tt.run, tt.state); !strings.Contains(p.Error(), tt.says) || p.Remedy == "" {
			t.Errorf("%s: %v", name, p)
		}
	}
}

// TestStateOnBadDisks: one clear error each, before anything is made.
func TestStateOnBadDisks(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	if p := try(t, t.TempDir(), mount(t, "size=20m", unix.MS_RDONLY)); !strings.Contains(p.Error(), "read-only") || p.Remedy == "" {
		t.Errorf("read-only: %v", p)
	}
	if p := try(t, t.TempDir(), mount(t, "size=1m", 0)); p.Kind != program.KindExhausted || !strings.Contains(p.Error(), "full") {
		t.Errorf("full: %v", p)
	}
	if p := try(t, mount(t, "size=20m", unix.MS_RDONLY), t.TempDir()); !strings.Contains(p.Error(), "read-only") {
		t.Errorf("run directory read-only: %v", p)
	}
}

// TestDiskFills: what cannot be remembered is not made; what is there can be
// taken down, and all works again when there is room.
func TestDiskFills(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	state := mount(t, "size=40m", 0)
	p := mem.New(mem.Options{})
	m := &machine{t: t, pnode: p, run: t.TempDir(), state: state}
	m.Client = api.NewClient(daemon.Socket(m.run))
	m.start()
	m.mustUp("x", 10)

	filler := filepath.Join(state, "filler")
	f, err := os.Create(filler)
	must(t, err)
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); err != nil {
			break
		}
	}
	f.Close()
	_, err = m.up(t.Context(), "y", 2000)
	if kindOf(err) != program.KindExhausted || !strings.Contains(err.Error(), "full") {
		t.Errorf("up on a full disk: %v: %v", kindOf(err), err)
	}
	m.expect("x up 10/10")
	m.mustUp("x", 10) // nothing new to remember
	m.down("x")
	m.expect()

	must(t, os.Remove(filler))
	m.mustUp("x", 2000)
	m.restart()
	m.expect("x up 2000/2000")
}

// TestJournalCannotBeWritten: the agent refuses before it touches the kernel.
func TestJournalCannotBeWritten(t *testing.T) {
	p := mem.New(mem.Options{})
	m := newMachine(t, p)
	must(t, os.WriteFile(filepath.Join(m.run, "x"), nil, 0o600)) // where the platform's directory would be
	_, err := m.up(t.Context(), "x", 10)
	if err == nil || !strings.Contains(err.Error(), "journal") || p.String() != "" {
		t.Errorf("up: %v; in the kernel: %q", err, p)
	}
	must(t, os.Remove(filepath.Join(m.run, "x")))
	m.mustUp("x", 10)
}

// TestDyingDaemon: one that was killed holds its lock, and takes connections,
// until the kernel has closed its last file. The next one waits for that.
func TestDyingDaemon(t *testing.T) {
	m := &machine{t: t, pnode: mem.New(mem.Options{}), run: t.TempDir(), state: t.TempDir()}
	m.Client = api.NewClient(daemon.Socket(m.run))
	lock, err := os.Create(filepath.Join(m.run, "daemon.pid"))
	must(t, err)
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	l, err := net.Listen("unix", daemon.Socket(m.run))
	must(t, err)
	came := make(chan struct{})
	go func() {
		conn, err := l.Accept()
		close(came)
		if err == nil {
			defer conn.Close()
		}
		l.Close()
		lock.Close()
	}()
	m.start()
	m.expect()
	select {
	case <-came:
	default:
		t.Error("it has not asked whether the other one lives")
	}
}

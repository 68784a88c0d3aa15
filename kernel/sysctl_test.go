package kernel

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
)

// fakeSysctls is a machine with two settings, one of which is high already.
func fakeSysctls(t *testing.T) *sysctls {
	dir := t.TempDir()
	s := &sysctls{record: filepath.Join(dir, "record.json"), proc: dir, raise: map[string]int{"low": 100, "high": 100, "absent": 100}}
	for name, value := range map[string]string{"low": "10\n", "high": "1000\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *sysctls) is(t *testing.T, name, want string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(s.proc, name))
	if err != nil || strings.TrimSpace(string(text)) != want {
		t.Errorf("%s is %q (%v), want %s", name, text, err, want)
	}
}

func TestSysctlsHoldAndRelease(t *testing.T) {
	s := fakeSysctls(t)
	for i, want := range []int{1, 0, 0} { // a second platform, and again
		holder := []string{"default/a", "default/b", "default/a"}[i]
		if writes, err := s.hold(holder); err != nil || writes != want {
			t.Fatalf("hold %s: %d writes, %v; want %d", holder, writes, err, want)
		}
	}
	s.is(t, "low", "100")
	s.is(t, "high", "1000")
	release := func(holder string) {
		if err := s.release(func(h string) bool { return h == holder }); err != nil {
			t.Fatal(err)
		}
	}
	release("default/a")
	s.is(t, "low", "100")
	release("default/b")
	s.is(t, "low", "10")
	if _, err := os.Stat(s.record); err == nil {
		t.Error("the record outlives its last holder")
	}
	release("default/b") // again, with nothing on record
}

// TestSysctlsCrash: the record is there before the first change, and a value
// that somebody else set meanwhile is theirs.
func TestSysctlsCrash(t *testing.T) {
	s := fakeSysctls(t)
	if _, err := s.hold("default/a"); err != nil {
		t.Fatal(err)
	}
	again := &sysctls{record: s.record, proc: s.proc, raise: s.raise} // after a crash
	if holders, err := again.holders(); err != nil || len(holders) != 1 {
		t.Fatalf("holders after a crash: %v, %v", holders, err)
	}
	if err := s.write("low", "77"); err != nil {
		t.Fatal(err)
	}
	if err := again.release(func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	again.is(t, "low", "77")
}

func TestSysctlsRubbish(t *testing.T) {
	s := fakeSysctls(t)
	if err := os.WriteFile(s.record, []byte(`{"was":{"../../etc/passwd":"x"},"holders":["x"]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.release(func(string) bool { return true }); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.record, []byte("\x00rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.hold("default/a"); err == nil || !strings.Contains(err.Error(), s.record) {
		t.Errorf("a record of rubbish gives %v; want an error that names it", err)
	}
}

// elsewhere is set for a test that runs itself again in a network namespace of
// its own.
const elsewhere = "MYRIAD_TEST_ELSEWHERE"

// TestSysctlsElsewhere: a process in another network namespace raises and
// restores the settings of the machine, which it does not see there.
func TestSysctlsElsewhere(t *testing.T) {
	kerneltest.RequireRoot(t)
	const name = "net/core/netdev_max_backlog"
	now := func() int {
		text, err := os.ReadFile("/proc/sys/" + name)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if record := os.Getenv(elsewhere); record != "" {
		if _, err := os.Stat("/proc/sys/" + name); err == nil {
			t.Fatal("it is seen here, so nothing is tested")
		}
		want, err := strconv.Atoi(filepath.Base(record))
		if err != nil {
			t.Fatal(err)
		}
		s := machineSysctls()
		s.record, s.raise = record, map[string]int{name: want}
		if writes, err := s.hold("default/a"); err != nil || writes != 1 {
			t.Errorf("raise: %d writes, %v", writes, err)
		}
		if err := s.atHome(func() error {
			if got := now(); got != want {
				t.Errorf("it is %d, want %d", got, want)
			}
			return nil
		}); err != nil {
			t.Error(err)
		}
		if err := s.release(func(string) bool { return true }); err != nil {
			t.Error(err)
		}
		return
	}
	was := now()
	ns, err := netns.Make(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ns)
	err = netns.Do(ns, func() error {
		cmd := exec.Command("/proc/self/exe", "-test.run=^TestSysctlsElsewhere$")
		cmd.Env = append(os.Environ(), elsewhere+"="+filepath.Join(t.TempDir(), strconv.Itoa(was+1)))
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "PASS") {
			t.Errorf("%v\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := now(); got != was {
		t.Errorf("it was %d and is %d", was, got)
	}
}

// TestSysctlsHidden: what cannot be seen from anywhere is not changed, and not
// on record.
func TestSysctlsHidden(t *testing.T) {
	s := fakeSysctls(t)
	s.proc = filepath.Join(t.TempDir(), "none")
	if writes, err := s.hold("default/a"); err != nil || writes != 0 {
		t.Errorf("%d writes, %v", writes, err)
	}
	if err := s.atHome(func() error { return nil }); err != errHidden {
		t.Errorf("visited all the same: %v", err)
	}
	if _, err := os.Stat(s.record); err == nil {
		t.Error("there is a record of nothing")
	}
	if err := s.release(func(string) bool { return true }); err != nil {
		t.Error(err)
	}
}

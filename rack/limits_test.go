package rack

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestExecNoDescriptors: where descriptors run out, each vnode says so, the
// call ends, and nothing leaks.
func TestExecNoDescriptors(t *testing.T) {
	c := open(t, 8)
	run(t.Context(), c, &ExecRequest{Argv: []string{"true"}}).ok(t, 8)
	before := descriptors(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for spare := range 60 {
		low := limit
		low.Cur = uint64(len(before) + spare)
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
			t.Fatal(err)
		}
		o := run(t.Context(), c, &ExecRequest{Argv: []string{"sleep", "0.01"}, Window: 8, Stdin: spare%2 == 1}, Input{EOF: true})
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Fatal(err)
		}
		for _, e := range o.exits {
			if e.Code != 0 {
				refused++
				if !strings.Contains(e.Err, "too many open files") {
					t.Errorf("with %d descriptors: %+v", spare, e)
				}
			}
		}
		if o.err == nil && len(o.exits) != 8 {
			t.Errorf("with %d descriptors: %d exits, no error", spare, len(o.exits))
		}
	}
	if refused == 0 {
		t.Error("descriptors never ran out")
	}
	sameDescriptors(t, before)
	run(t.Context(), c, &ExecRequest{Argv: []string{"true"}}).ok(t, 8)
}

// pidsGroups is where the pids controller of cgroup v1 usually is.
const pidsGroups = "/sys/fs/cgroup/pids"

// TestExecNoProcesses: where no more processes may be made, each vnode says
// so, and the rack lives on.
func TestExecNoProcesses(t *testing.T) {
	s := starter(t)
	if _, err := os.Stat(pidsGroups + "/cgroup.procs"); err != nil {
		t.Log("not tried: the pids controller of cgroup v1 is not mounted")
		return
	}
	c := startRack(t, s, 1)
	mustApply(t, c, bare(1, 6))
	threads := func() int {
		tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", c.Pid()))
		if err != nil {
			t.Fatal(err)
		}
		return len(tasks)
	}
	waitFor(t, "the rack to be warm", func() bool { return threads() > mostCores })
	group := fmt.Sprintf("%s/myriad-test-%d", pidsGroups, os.Getpid())
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Fatal(err)
	}
	defer waitFor(t, "the group to be empty", func() bool { return os.Remove(group) == nil })
	write := func(file string, v any) {
		t.Helper()
		if err := os.WriteFile(group+"/"+file, fmt.Append(nil, v), 0); err != nil {
			t.Fatal(err)
		}
	}
	write("cgroup.procs", c.Pid())
	refused := 0
	for spare := range 8 {
		write("pids.max", threads()+spare)
		o := run(t.Context(), c, &ExecRequest{Argv: []string{"sleep", "0.01"}, Window: 6})
		if o.err != nil || len(o.exits) != 6 {
			t.Errorf("with room for %d: %d exits, %v", spare, len(o.exits), o.err)
		}
		for _, e := range o.exits {
			if e.Code != 0 {
				refused++
				if e.Code != codeCannotRun || !strings.Contains(e.Err, "no more processes allowed") {
					t.Errorf("with room for %d: %+v", spare, e)
				}
			}
		}
	}
	if refused == 0 {
		t.Error("processes never ran out")
	}
	write("pids.max", "max")
	run(t.Context(), c, &ExecRequest{Argv: []string{"true"}}).ok(t, 6)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

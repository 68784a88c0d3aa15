package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"myriad/daemon"
	"myriad/trust"
)

// TestMain makes this test binary the myriad command, for the scripts, and for
// the daemons and racks that they start. With MYRIAD_KERNEL=mem, it carries
// vnodes in memory and needs no root.
func TestMain(m *testing.M) {
	if os.Getenv("MYRIAD_KERNEL") == "mem" {
		carriers = carrier{open: openMemory}
	}
	if v := os.Getenv("MYRIAD_TEST_VERSION"); v != "" {
		versionOf = func() string { return v }
	}
	testscript.Main(m, map[string]func(){"myriad": main, "oldinit": oldInit})
}

// oldInit is myriad init in a state directory, eleven years ago.
func oldInit() {
	then := func() time.Time { return time.Now().AddDate(-11, 0, 0) }
	if _, err := trust.InitAt(then, daemon.TrustDir(os.Args[1]), nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// TestScripts runs the stories in testdata/script, each with an instance of
// its own. Those that need root say so by [root].
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup:               setupInstance,
		Condition:           scriptCondition,
	})
}

// setupInstance gives a script its own pair of directories, with names short
// enough for sockets, and takes down at the end whatever the script made.
func setupInstance(env *testscript.Env) error {
	dir, err := os.MkdirTemp("", "my")
	if err != nil {
		return err
	}
	if err := os.Chmod(dir, 0o755); err != nil { // as /run is
		return err
	}
	env.Setenv("MYRIAD_RUN_DIR", dir+"/run")
	env.Setenv("MYRIAD_STATE_DIR", dir+"/state")
	env.Defer(func() {
		defer os.RemoveAll(dir)
		stopAgents(dir)
		if _, err := os.Stat(dir + "/run"); err != nil {
			return // it never came to that
		}
		if out, err := myriad(dir, "down", "--all").CombinedOutput(); err != nil {
			env.T().Log(fmt.Sprintf("take down what the script made: %v\n%s", err, out))
		}
	})
	return nil
}

// stopAgents ends the agents that a script left in the background, each of which
// has its run directory in dir.
func stopAgents(dir string) {
	runs, _ := filepath.Glob(dir + "/*")
	for _, run := range runs {
		if h := daemon.HolderOf(run); h.Role == daemon.RoleAgent && h.Pid > 0 {
			_ = syscall.Kill(h.Pid, syscall.SIGKILL)
		}
	}
}

// myriad is this test binary as the command, on an instance in dir.
func myriad(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(selfExe, args...)
	cmd.Args[0] = "myriad"
	cmd.Env = append(os.Environ(), "MYRIAD_RUN_DIR="+dir+"/run", "MYRIAD_STATE_DIR="+dir+"/state")
	return cmd
}

// scriptCondition knows [root]. Under MYRIAD_MUST_RUN=1, lacking it is an error.
func scriptCondition(name string) (bool, error) {
	if name != "root" {
		return false, fmt.Errorf("no condition %q", name)
	}
	if os.Geteuid() == 0 {
		return true, nil
	}
	if os.Getenv("MYRIAD_MUST_RUN") == "1" {
		return false, errors.New("this needs root, and MYRIAD_MUST_RUN=1 allows no skip")
	}
	return false, nil
}

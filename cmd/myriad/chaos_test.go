package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"myriad/kernel/kerneltest"
)

var (
	chaosRounds = flag.Int("chaos.rounds", 6, "SIGKILLs at random moments of up, exec and down")
	chaosSeed   = flag.Uint64("chaos.seed", 1, "seed of the moments")
)

// victims are the processes that a round may kill, by their command line.
var victims = []string{"serve", "rack", "client"}

// chaosTopology has two racks, so that the loss of one leaves another.
const chaosTopology = `platform: chaos
vnetworks: {lan: 10.7.0.0/16, wan: 10.8.0.0/16}
vnodes:
  - {nodes: "peer[1-60]", vifaces: [lan]}
  - {nodes: "far[1-20]", vifaces: [wan]}
  - {nodes: "gw", gateway: true, vifaces: [lan, wan]}
routing: complete
`

// TestChaos kills one of our processes at a random moment of an up, an exec
// or a down. Whatever it was, the next up converges, and the next down leaves
// nothing.
func TestChaos(t *testing.T) {
	kerneltest.RequireRoot(t)
	c := newChaos(t)
	rng := rand.New(rand.NewPCG(*chaosSeed, 0))
	for round := range *chaosRounds {
		op := [][]string{{"up", c.file}, {"exec", "@*", "--", "sleep", "0.05"}, {"down", "--all"}}[rng.IntN(3)]
		victim := victims[rng.IntN(len(victims))]
		after := time.Duration(rng.IntN(700)) * time.Millisecond
		name := fmt.Sprintf("round %d: %s killed %v into %s", round, victim, after, op[0])
		if op[0] != "up" {
			c.must(name+": before", "up", c.file)
		}
		c.interrupted(op, victim, after)
		c.must(name, "up", c.file)
		c.must(name, "check", "--pairs", "50")
		c.must(name, "down", "--all")
		c.must(name, "verify-clean")
		if t.Failed() {
			return
		}
	}
}

type chaos struct {
	t         *testing.T
	exe, dir  string
	file      string
	deadlines time.Duration
}

func newChaos(t *testing.T) *chaos {
	dir := t.TempDir()
	c := &chaos{t: t, dir: dir, exe: filepath.Join(dir, "myriad"), file: filepath.Join(dir, "chaos.yaml"), deadlines: time.Minute}
	if out, err := exec.Command("go", "build", "-o", c.exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if err := os.WriteFile(c.file, []byte(chaosTopology), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.command(context.Background(), "down", "--all").Run() })
	return c
}

func (c *chaos) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.exe, append([]string{"--run-dir", c.dir + "/run", "--state-dir", c.dir + "/state"}, args...)...)
	cmd.Dir = c.dir
	return cmd
}

func (c *chaos) must(name string, args ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), c.deadlines)
	defer cancel()
	var out bytes.Buffer
	cmd := c.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		log, _ := os.ReadFile(c.dir + "/state/daemon.log")
		c.t.Errorf("%s: then %s: %v\n%s\ndaemon's log ends:\n%s", name, strings.Join(args, " "), err, out.String(), lastBytes(log, 2000))
	}
}

func lastBytes(b []byte, n int) []byte { return b[max(0, len(b)-n):] }

// interrupted starts an operation and kills the victim a while later.
func (c *chaos) interrupted(op []string, victim string, after time.Duration) {
	ctx, cancel := context.WithTimeout(c.t.Context(), c.deadlines)
	defer cancel()
	cmd := c.command(ctx, op...)
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	time.Sleep(after)
	if victim == "client" {
		_ = cmd.Process.Kill() // it may have ended by itself
	} else {
		for _, pid := range c.pids(victim) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			break // one of them
		}
	}
	_ = cmd.Wait() // whatever it says: it was interfered with
}

// pids lists our processes in a role: those whose command line names this
// test's directory.
func (c *chaos) pids(role string) []int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	var out []int
	for _, d := range dirs {
		cmdline, err := os.ReadFile(d + "/cmdline")
		if err != nil || !bytes.Contains(cmdline, []byte(c.dir)) || !bytes.Contains(cmdline, []byte("\x00"+role)) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(d)); err == nil {
			out = append(out, pid)
		}
	}
	return out
}

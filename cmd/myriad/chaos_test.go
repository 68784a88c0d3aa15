package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"myriad/api"
	"myriad/kernel"
	"myriad/kernel/cgroup"
	"myriad/kernel/kerneltest"
)

var (
	chaosRounds = flag.Int("chaos.rounds", 8, "SIGKILLs at random moments of up, exec, check, link and down")
	chaosSeed   = flag.Uint64("chaos.seed", 1, "seed of the moments")
)

// chaosPlatform makes a topology of n+21 vnodes in two vnetworks.
func chaosPlatform(name string, n int) string {
	return fmt.Sprintf(`platform: %s
vnetworks: {lan: 10.7.0.0/16, wan: 10.8.0.0/16}
vnodes:
  - {nodes: "peer[1-%d]", vifaces: [lan]}
  - {nodes: "far[1-20]", vifaces: [wan]}
  - {nodes: "gw", gateway: true, vifaces: [lan, wan]}
routing: complete
`, name, n)
}

// TestChaos kills our processes at random moments of an operation: the
// daemon, a rack, the client, or all of them at once. Whatever it was, the
// next up converges, the next down leaves nothing, and another platform does
// not notice.
func TestChaos(t *testing.T) {
	kerneltest.RequireRoot(t)
	c := newChaos(t)
	c.rehearse()
	rng := rand.New(rand.NewPCG(*chaosSeed, 0))
	for i := range *chaosRounds {
		op := c.ops[rng.IntN(len(c.ops))]
		r := round{
			op: op, victim: []string{"serve", "rack", "client", "all"}[rng.IntN(4)],
			after:  time.Duration(rng.Float64() * 1.2 * float64(c.took[op.name])),
			calm:   rng.IntN(3) == 0,
			direct: rng.IntN(2) == 0,
		}
		c.name = fmt.Sprintf("round %d, %s killed %v into %s (calm %v, direct %v)", i, r.victim, r.after, op.name, r.calm, r.direct)
		c.play(r)
		if t.Failed() {
			return
		}
	}
}

// TestChaosRackLost: the loss of a rack is known within seconds, and up makes
// it good.
func TestChaosRackLost(t *testing.T) {
	kerneltest.RequireRoot(t)
	c := newChaos(t)
	c.must("up", c.file)
	killed := time.Now()
	c.kill("rack", 1)
	for {
		p := c.status()
		if p.State == "lost" && p.Up == 0 {
			break
		}
		if time.Since(killed) > 3*time.Second {
			t.Fatalf("3 s after its rack was killed, the platform is %s with %d vnodes up", p.State, p.Up)
		}
		time.Sleep(20 * time.Millisecond)
	}
	c.must("up", c.file)
	if p := c.status(); p.State != "up" || p.Up != p.Vnodes {
		t.Errorf("after up, it is %s with %d of %d vnodes up", p.State, p.Up, p.Vnodes)
	}
	c.must("check", "--pairs", "50")
}

// chaosOp is something that is killed into. before is what there is when it
// begins.
type chaosOp struct {
	name   string
	before []string
	args   []string
}

// round is one killing.
type round struct {
	op     *chaosOp
	victim string
	after  time.Duration
	calm   bool // another platform is up
	direct bool // down follows, without an up
}

type chaos struct {
	t          *testing.T
	exe, dir   string
	file, calm string
	ops        []*chaosOp
	took       map[string]time.Duration
	sleep      string // a command that only this test starts
	name       string // of the round
}

func newChaos(t *testing.T) *chaos {
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		t.Fatal(err)
	}
	c := &chaos{t: t, dir: dir, exe: dir + "/myriad", file: dir + "/chaos.yaml", calm: dir + "/calm.yaml", took: map[string]time.Duration{}}
	t.Cleanup(func() {
		c.must("down", "--all")
		c.nothingLeft()
		os.RemoveAll(dir)
	})
	if out, err := exec.Command("go", "build", "-o", c.exe, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	edited := dir + "/edited.yaml"
	for path, text := range map[string]string{c.file: chaosPlatform("chaos", 60), edited: chaosPlatform("chaos", 90), c.calm: chaosPlatform("calm", 1)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.sleep = dir + "/nap"
	if err := os.Symlink("/bin/sleep", c.sleep); err != nil {
		t.Fatal(err)
	}
	up := []string{"up", c.file}
	daemonise := "setsid " + c.sleep + " 600 >/dev/null 2>&1 </dev/null & " + c.sleep + " 0.05"
	c.ops = []*chaosOp{
		{"up", nil, up},
		{"edit", up, []string{"up", edited}},
		{"exec", up, []string{"exec", "-p", "chaos", "*", "--", "sh", "-c", daemonise}},
		{"check", up, []string{"check", "-p", "chaos", "--pairs", "200"}},
		{"link", up, []string{"link", "set", "-p", "chaos", "peer*", "delay=5ms", "loss=0.1%"}},
		{"down", up, []string{"down", "chaos"}},
	}
	return c
}

// rehearse finds out how long everything takes that will be interrupted.
func (c *chaos) rehearse() {
	for _, op := range c.ops { // the first of them waits for a daemon; so does every up that follows a down
		if op.before != nil {
			c.must(op.before...)
		}
		begin := time.Now()
		c.must(op.args...)
		c.took[op.name] = time.Since(begin)
	}
}

func (c *chaos) play(r round) {
	if r.op.before != nil {
		c.must(r.op.before...)
	}
	calm := 0
	if r.calm {
		c.must("up", c.calm)
		out := c.must("exec", "-p", "calm", "gw", "--", "sh", "-c", c.sleep+" 600 >/dev/null 2>&1 & echo $!")
		calm, _ = strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(out, "gw:")))
	}
	c.interrupt(r)
	if !r.direct {
		c.must("up", c.file)
		c.must("check", "-p", "chaos", "--pairs", "50")
		if p := c.status(); p.State != "up" || p.Up != p.Vnodes {
			c.errorf("after up, it is %s with %d of %d vnodes up", p.State, p.Up, p.Vnodes)
		}
	}
	if r.calm {
		if r.victim != "all" && syscall.Kill(calm, 0) != nil {
			c.errorf("process %d of another platform has ended", calm)
		}
		_, _ = c.run("down", "chaos") // there may be none
		if r.victim != "all" && syscall.Kill(calm, 0) != nil {
			c.errorf("process %d of another platform has ended by down", calm)
		}
	}
	c.must("down", "--all")
	c.must("verify-clean")
	c.nothingLeft()
}

// interrupt begins an operation and kills the victim a while later.
func (c *chaos) interrupt(r round) {
	cmd := c.command(context.Background(), r.op.args...)
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // whatever it says: it is interfered with
	}()
	time.Sleep(r.after)
	if r.victim == "client" || r.victim == "all" {
		_ = cmd.Process.Kill() // it may have ended by itself
	}
	switch r.victim {
	case "serve", "rack":
		c.kill(r.victim, 1)
	case "all":
		c.kill("", -1)
	}
	select {
	case <-ended:
	case <-time.After(time.Minute):
		_ = cmd.Process.Signal(syscall.SIGQUIT)
		<-ended
		c.errorf("it had not ended a minute after the kill")
	}
}

// kill kills processes of ours in a role, at most n of them. It spares those
// of the calm platform unless it kills all.
func (c *chaos) kill(role string, n int) {
	for _, pid := range c.pids(role) {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if n == 0 || n > 0 && bytes.Contains(cmdline, []byte("\x00calm\x00")) {
			continue
		}
		_ = syscall.Kill(pid, syscall.SIGKILL)
		n--
	}
}

// pids lists our processes in a role, or in any: those whose command line
// names this test's directory.
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

// nothingLeft looks with its own eyes, after a down of everything.
func (c *chaos) nothingLeft() {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, c.dir) {
			c.errorf("left: mount %s", line)
		}
	}
	for _, pid := range c.pids("") {
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if !bytes.Contains(cmdline, []byte("\x00serve\x00")) {
			c.errorf("left: process %d %q", pid, cmdline)
			continue
		}
		links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
		for _, l := range links {
			if to, _ := os.Readlink(l); strings.HasPrefix(to, "net:") {
				c.errorf("left: the daemon holds %s", to)
			}
		}
	}
	entries, _ := os.ReadDir(c.dir + "/run")
	for _, e := range entries {
		// The daemon's own, and by whom the pnode is claimed.
		if !slices.Contains([]string{"api.sock", "daemon.pid", "coordinator", "coordinator.cbor", "wireguard.key"}, e.Name()) {
			c.errorf("left: file %s in the run directory", e.Name())
		}
	}
	if tree, err := cgroup.Find(); err == nil && tree.Instance(kernel.Instance(c.dir+"/run")).Exists() {
		c.errorf("left: the instance's cgroup")
	}
}

func (c *chaos) errorf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf(c.name+": "+format, args...)
}

func (c *chaos) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.exe, append([]string{"--run-dir", c.dir + "/run", "--state-dir", c.dir + "/state"}, args...)...)
	cmd.Dir = c.dir
	return cmd
}

// run runs a command, and gives its standard output.
func (c *chaos) run(args ...string) (stdout string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var out, errs bytes.Buffer
	cmd := c.command(ctx, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w\n%s%s", strings.Join(args, " "), err, out.String(), errs.String())
	}
	return out.String(), nil
}

func (c *chaos) must(args ...string) string {
	c.t.Helper()
	out, err := c.run(args...)
	if err != nil {
		text := err.Error()
		c.errorf("then %s", text[:min(len(text), 2000)])
		events, _ := c.run("events")
		c.t.Log(events)
		logs, _ := filepath.Glob(c.dir + "/run/*/*.log")
		for _, path := range append(logs, c.dir+"/state/daemon.log") {
			log, _ := os.ReadFile(path)
			c.t.Logf("%s ends:\n%s", path, log[max(0, len(log)-2000):])
		}
	}
	return out
}

// status gives the platform's.
func (c *chaos) status() *api.Platform {
	var list []api.Platform
	if err := json.Unmarshal([]byte(c.must("status", "chaos", "-o", "json")), &list); err != nil || len(list) != 1 {
		c.t.Fatalf("status: %v", err)
	}
	return &list[0]
}

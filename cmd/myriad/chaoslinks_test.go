package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"myriad/api"
	"myriad/kernel/kerneltest"
)

var chaosLinks = flag.Int("chaos.links", 8, "SIGKILLs of the daemon at random moments of changes of links")

// linkChaos kills the daemon at random moments while links change.
type linkChaos struct {
	*chaos
	daemon *exec.Cmd
	delay  int // of all that peers send, in milliseconds
}

// TestChaosLinks kills the daemon at random moments of changes of links, and of
// schedules. What was in force before is so afterwards, or what was asked for,
// for all vnodes alike, and in the kernel too; what was answered is in force.
func TestChaosLinks(t *testing.T) {
	kerneltest.RequireRoot(t)
	c := &linkChaos{chaos: newChaos(t)}
	rng := rand.New(rand.NewPCG(*chaosSeed, 7))
	c.must("up", c.file)
	c.kill("serve", 1)
	c.serve()
	c.delay = 30
	c.must(c.set(c.delay)...)
	begun := time.Now()
	c.must(c.set(c.delay + 1)...)
	c.took["set"], c.took["play"] = time.Since(begun), 400*time.Millisecond
	c.must(c.set(c.delay)...)
	for i := range *chaosLinks {
		next := c.delay
		for next == c.delay {
			next = 15 * (1 + rng.IntN(4))
		}
		args := c.set(next)
		if i%4 == 3 {
			args = c.play(next)
		}
		c.round(i, args, time.Duration(rng.Float64()*1.2*float64(c.took[args[1]])), next)
		if t.Failed() {
			return
		}
	}
	c.kill("serve", 1)
	_ = c.daemon.Wait()
}

// set is the command that changes what peers send.
func (c *linkChaos) set(ms int) []string {
	return []string{"link", "set", "-p", "chaos", "peer*", "--out", fmt.Sprintf("delay=%dms", ms)}
}

// play is one that does so in many steps.
func (c *linkChaos) play(last int) []string {
	text := "schedule:\n"
	for at := 0; at <= 300; at += 25 {
		text += fmt.Sprintf("  - {at: %dms, nodes: \"peer*\", conditions: {out: {delay: %dms}}}\n", at, 5+at/25)
	}
	text += fmt.Sprintf("  - {at: 325ms, nodes: \"peer*\", conditions: {out: {delay: %dms}}}\n", last)
	if err := os.WriteFile(c.dir+"/evening.yaml", []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return []string{"link", "play", "-p", "chaos", c.dir + "/evening.yaml"}
}

// serve starts a daemon in the place of one that was killed.
func (c *linkChaos) serve() {
	if c.daemon != nil {
		_ = c.daemon.Wait()
	}
	c.await("the daemon is dead", func() bool { return len(c.pids("serve")) == 0 })
	c.daemon = c.command(c.t.Context(), "serve")
	log, err := os.Create(c.dir + "/serve.log")
	if err != nil {
		c.t.Fatal(err)
	}
	c.daemon.Stderr = log
	err = c.daemon.Start()
	log.Close()
	if err != nil {
		c.t.Fatal(err)
	}
	c.await("another one answers", func() bool {
		_, err := c.run("link", "show", "-p", "chaos")
		return err == nil
	})
}

func (c *linkChaos) await(what string, true func() bool) {
	for end := time.Now().Add(10 * time.Second); !true(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			said, _ := os.ReadFile(c.dir + "/serve.log")
			c.t.Fatalf("%s: it never comes true that %s; the last daemon said:\n%s", c.name, what, said)
		}
	}
}

// round kills the daemon some time after a command has begun.
func (c *linkChaos) round(i int, args []string, after time.Duration, next int) {
	c.name = fmt.Sprintf("round %d, from %d to %d ms, killed %v into %s", i, c.delay, next, after, args[1])
	cmd := c.command(c.t.Context(), args...)
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	time.Sleep(after)
	c.kill("serve", 1)
	answered := cmd.Wait() == nil
	c.serve()
	if answered {
		c.delay = next
	}
	shown, played := 0, false
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		shown, played = c.shown()
		if !played && (shown == c.delay || shown == next) {
			break
		}
		if time.Now().After(end) {
			c.errorf("answered: %v; in the end, the delay is %d ms, a schedule goes on: %v", answered, shown, played)
			return
		}
	}
	c.delay = shown
	took := 0.0
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if took = c.trip(); took >= float64(2*shown)-1 && took < float64(2*shown)+20 {
			return
		}
	}
	c.errorf("answered: %v; a delay of %d ms is shown, and a round trip takes %.1f ms", answered, shown, took)
}

// shown is the delay that link show shows, 0 if none for all alike, and whether
// a schedule goes on.
func (c *linkChaos) shown() (ms int, played bool) {
	out, err := c.run("link", "show", "-p", "chaos", "peer*", "-o", "json")
	var l api.Links
	if err != nil || json.Unmarshal([]byte(out), &l) != nil {
		return 0, false // the daemon has not come up yet
	}
	for _, r := range l.Vifaces {
		if r.Side == "out" && r.Count == 60 {
			ms, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(r.Asked, "delay="), "ms"))
		}
	}
	return ms, l.State.Schedule != nil && !l.State.Schedule.Over
}

// trip is how many milliseconds a round trip between two peers takes.
func (c *linkChaos) trip() (ms float64) {
	out, err := c.run("exec", "-p", "chaos", "peer1", "--", "ping", "-n", "-q", "-c", "2", "-i", "0.02", "-W", "1", "peer2")
	_, figures, _ := strings.Cut(out, "mdev = ")
	least, _, _ := strings.Cut(figures, "/")
	if ms, _ = strconv.ParseFloat(least, 64); err != nil || ms == 0 {
		c.t.Logf("%s: %v %s", c.name, err, out)
	}
	return ms
}

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
)

// netem is the independent reference: two namespaces joined by a plain veth
// pair, with the kernel's own emulator at the end that sends, set by the kernel
// people's own tool.
type netem struct {
	near, far int // descriptors of the namespaces
}

var netemNear, netemFar = netip.MustParseAddr("10.99.0.1"), netip.MustParseAddr("10.99.0.2")

func newNetem(ctx context.Context) (_ *netem, err error) {
	n := &netem{near: -1, far: -1}
	defer func() {
		if err != nil {
			n.close()
		}
	}()
	for _, fd := range []*int{&n.near, &n.far} {
		if *fd, err = netns.Make(func() error { return nil }); err != nil {
			return nil, err
		}
	}
	for _, step := range []struct {
		ns   int
		line string
	}{
		{n.near, fmt.Sprintf("ip link add near type veth peer name far netns /proc/%d/fd/%d", os.Getpid(), n.far)},
		{n.near, fmt.Sprintf("ip address add %s/24 dev near", netemNear)},
		{n.near, "ip link set near up"},
		{n.far, fmt.Sprintf("ip address add %s/24 dev far", netemFar)},
		{n.far, "ip link set far up"},
		{n.near, "tc qdisc replace dev near root netem limit 100000"}, // fails where there is no netem
	} {
		if err := inside1(ctx, step.ns, step.line); err != nil {
			return nil, err
		}
	}
	return n, nil
}

// close gives the namespaces back, and with them all that is in them.
func (n *netem) close() {
	for _, fd := range []int{n.near, n.far} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// set changes what befalls what near sends.
func (n *netem) set(ctx context.Context, conditions string) error {
	return inside1(ctx, n.near, "tc qdisc replace dev near root netem limit 100000 "+conditions)
}

// inside1 runs one command in a namespace.
func inside1(ctx context.Context, ns int, line string) error {
	f := strings.Fields(line)
	cmd := exec.CommandContext(ctx, f[0], f[1:]...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := netns.Do(ns, cmd.Start) // a process begins where the thread is that starts it
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", line, err, bytes.TrimSpace(out.Bytes()))
	}
	return nil
}

func (n *netem) sockets(icmp bool) (*sockets, error) {
	s := &sockets{icmp: icmp}
	for name, ns := range map[string]int{"near": n.near, "far": n.far} {
		err := netns.Do(ns, func() error {
			fd, err := probeSocket(icmp)
			if err == nil {
				s.add(name, fd)
			}
			return err
		})
		if err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// referenceCase is one condition that both emulate.
type referenceCase struct {
	name        string
	netem, ours string // how each is told
	delay       time.Duration
	loss        float64 // percent
	rate        string
}

func referenceCases(a *accuracy) []referenceCase {
	return pick(a, []referenceCase{
		{"delay 1 ms", "delay 1ms", "{delay: 1ms}", time.Millisecond, 0, ""},
		{"delay 10 ms", "delay 10ms", "{delay: 10ms}", 10 * time.Millisecond, 0, ""},
		{"delay 50 ms", "delay 50ms", "{delay: 50ms}", 50 * time.Millisecond, 0, ""},
		{"loss 1 %", "loss 1%", "{loss: 1%}", 0, 1, ""},
		{"loss 10 %", "loss 10%", "{loss: 10%}", 0, 10, ""},
		{"rate 1 Mbit/s", "rate 1mbit", "{rate: 1mbit}", 0, 0, "1mbit"},
		{"rate 20 Mbit/s", "rate 20mbit", "{rate: 20mbit}", 0, 0, "20mbit"},
	}, []referenceCase{
		{"delay 10 ms", "delay 10ms", "{delay: 10ms}", 10 * time.Millisecond, 0, ""},
		{"loss 10 %", "loss 10%", "{loss: 10%}", 0, 10, ""},
		{"rate 5 Mbit/s", "rate 5mbit", "{rate: 5mbit}", 0, 0, "5mbit"},
	})
}

// Reference measures the same conditions, made by us and by netem, with the
// same probes and in one run.
func Reference(ctx context.Context, o AccuracyOptions) ([]Row, error) {
	in, err := newInstance(o.Exe)
	if err != nil {
		return nil, err
	}
	defer in.close()
	a := &accuracy{AccuracyOptions: o, in: in, meter: newStealMeter(), host: hostOf()}
	defer a.meter.close()
	n, err := newNetem(ctx)
	if err != nil {
		return nil, err
	}
	defer n.close()
	cases := referenceCases(a)
	p := newPlatform("reference")
	p.vnodes("far", "", "")
	for i, c := range cases {
		p.vnodes(fmt.Sprintf("near%d", i), c.ours, "")
	}
	if err := a.up(ctx, p.name, p.text()); err != nil {
		return nil, err
	}
	if err := a.learnHolder(ctx, p.name); err != nil {
		return nil, err
	}
	addrs, err := in.addresses(ctx, p.name, "far")
	if err != nil {
		return nil, err
	}
	for i, c := range cases {
		if err := n.set(ctx, c.netem); err != nil {
			return a.rows, err
		}
		if err := a.beside(ctx, n, c, p.name, fmt.Sprintf("near%d", i), addrs["far"]); err != nil {
			return a.rows, fmt.Errorf("%s: %w", c.name, err)
		}
	}
	return a.rows, errors.Join(in.close())
}

// beside measures one case on both.
func (a *accuracy) beside(ctx context.Context, n *netem, c referenceCase, platform, vnode string, far netip.Addr) error {
	name, unit, measure := c.name+": goodput, of what it allows", "%", a.compareRate
	switch {
	case c.delay > 0:
		name, unit, measure = c.name+": median RTT error", "µs", a.compareDelay
	case c.loss > 0:
		name, unit, measure = c.name+": lost", "%", a.compareLoss
	}
	var got []sample
	at := monotonic()
	for range a.runs() {
		s, err := measure(ctx, n, c, platform, vnode, far)
		if err != nil {
			return err
		}
		got = append(got, s)
	}
	var m mood
	m.steal, m.busy = a.meter.since(at)
	row := a.addAgainst("reference", name, a.runs(), unit, "netem", Bar{}, got, m)
	row.Ratio = 0 // of errors, it says nothing
	a.say("reference: %s: %s, netem %s", name, signed(row.Ours), signed(row.Reference))
	return nil
}

func (a *accuracy) compareDelay(ctx context.Context, n *netem, c referenceCase, platform, vnode string, far netip.Addr) (sample, error) {
	probes := pick(a, 500, 100)
	ours, err := a.in.gather(ctx, platform, vnode, 1, true)
	if err != nil {
		return sample{}, err
	}
	defer ours.close()
	theirs, err := n.sockets(true)
	if err != nil {
		return sample{}, err
	}
	defer theirs.close()
	_, _, _, err = a.delayOnce(ctx, ours, delayCase{c.name, vnode, c.delay}, far, warmUp) // resolves the address
	if err != nil {
		return sample{}, err
	}
	us, _, _, err := a.delayOnce(ctx, ours, delayCase{c.name, vnode, c.delay}, far, probes)
	if err != nil {
		return sample{}, err
	}
	them, _, _, err := a.delayOnce(ctx, theirs, delayCase{c.name, "near", c.delay}, netemFar, probes)
	return sample{us.value, them.value}, err
}

func (a *accuracy) compareLoss(ctx context.Context, n *netem, c referenceCase, platform, vnode string, far netip.Addr) (sample, error) {
	packets := pick(a, 20000, 5000)
	ours, err := a.in.gather(ctx, platform, vnode+",far", 2, false)
	if err != nil {
		return sample{}, err
	}
	defer ours.close()
	theirs, err := n.sockets(false)
	if err != nil {
		return sample{}, err
	}
	defer theirs.close()
	share := func(s *sockets, from string, to netip.Addr) (float64, error) {
		q := &shots{}
		q.aimAll(s, from, to, packets, 2*lossPace)
		if err := q.shoot(ctx, a.Exe, s, time.Second); err != nil {
			return 0, err
		}
		_, lost := q.times()
		return 100 * float64(lost) / float64(packets), nil
	}
	us, err := share(ours, vnode, far)
	if err != nil {
		return sample{}, err
	}
	them, err := share(theirs, "near", netemFar)
	return sample{us, them}, err
}

func (a *accuracy) compareRate(ctx context.Context, n *netem, c referenceCase, platform, vnode string, far netip.Addr) (sample, error) {
	r := rateCase{c.name, vnode, 5201, parseBits(c.rate), false, false, false}
	seconds := pick(a, 6, 4)
	us, err := a.iperf(ctx, platform, r, far.String(), iperfSettle, seconds)
	if err != nil {
		return sample{}, err
	}
	log := filepath.Join(a.in.dir, "netem.json")
	if err := os.RemoveAll(log); err != nil { // iperf3 would append to it
		return sample{}, err
	}
	server := exec.CommandContext(ctx, "iperf3", "-s", "-1", "-J", "--logfile", log)
	if err := netns.Do(n.far, server.Start); err != nil {
		return sample{}, err
	}
	defer func() {
		_ = server.Process.Kill()
		_ = server.Wait() // its end is ours to cause: its status says nothing
	}()
	time.Sleep(500 * time.Millisecond) // it is listening
	if err := inside1(ctx, n.near, fmt.Sprintf("iperf3 -c %s -J -t %d", netemFar, iperfSettle+seconds)); err != nil {
		return sample{}, err
	}
	_ = server.Wait()
	text, err := os.ReadFile(log)
	if err != nil {
		return sample{}, err
	}
	them, err := goodput(text, iperfSettle)
	return sample{100 * us / r.expected(), 100 * them / r.expected()}, err
}

package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/program"
)

// slow has everybody's frames delayed.
func slow(want *program.Program) *program.Program {
	shaped := *want
	shaped.Links = kerneltest.Delays(want, 1)
	return &shaped
}

// twoRacks is a program of two racks.
func twoRacks(platform string) *program.Program {
	for seed := uint64(1); ; seed++ {
		if p := kerneltest.Shapes[0].Program(platform, rand.New(rand.NewPCG(1, seed))); len(p.Racks) == 2 {
			return p
		}
	}
}

// inSpine runs a shell command in a platform's spine.
func inSpine(t *testing.T, p *kernel.Pnode, platform, command string) string {
	t.Helper()
	fd, err := netns.Open(p.RunDir + "/" + platform + "/spine")
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(t, fd)
	var out []byte
	err = netns.Do(fd, func() (err error) {
		if out, err = exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			err = fmt.Errorf("%s: %w: %s", command, err, out)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestHolder: what holds frames is made when a platform gets conditions, is
// mended from whatever became of it, and goes with the conditions.
func TestHolder(t *testing.T) {
	p, racks := open(t)
	want := twoRacks("a")
	mustApply(t, p, want)
	none := inSpine(t, p, "a", "ip -o link")
	shaped := slow(want)
	if r := mustApply(t, p, shaped); r.Writes == 0 {
		t.Error("nothing was written")
	}
	if r := mustApply(t, p, shaped); r.Writes != 0 {
		t.Errorf("again: %d writes", r.Writes)
	}
	whole := holderText(t, p, "a")
	kind, _, err := kernel.Holder()
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range damages(kind) {
		inSpine(t, p, "a", damage)
		if got := holderText(t, p, "a"); got == whole {
			t.Errorf("%s: not seen:\n%s", damage, got)
		}
		if r := mustApply(t, p, shaped); r.Writes == 0 {
			t.Errorf("%s: nothing was written", damage)
		}
		if got := holderText(t, p, "a"); got != whole {
			t.Errorf("%s: not mended:\n%s\nwant\n%s", damage, got, whole)
		}
		if r := mustApply(t, p, shaped); r.Writes != 0 {
			t.Errorf("%s: still %d writes", damage, r.Writes)
		}
	}
	if kind == kernel.HolderWheel {
		holdDamages(t, p, racks, shaped)
	}
	mustApply(t, p, want)
	if got := inSpine(t, p, "a", "ip -o link"); got != none {
		t.Errorf("with the conditions gone, the spine has\n%s\nand had\n%s", got, none)
	}
	if r := mustApply(t, p, want); r.Writes != 0 {
		t.Errorf("without conditions: still %d writes", r.Writes)
	}
}

// damages are shell commands that spoil a holder.
func damages(kind string) []string {
	out := []string{
		"ip link del cut", "ip link set cut down", "ip link set cut1 down", "ip link set cut mtu 1500",
		"ethtool -K cut tx on sg on tso on gso on", "ip link del cut; ip link add cut type bridge",
		"sysctl -q -w net.ipv6.conf.cut1.addr_gen_mode=0",
	}
	if kind == kernel.HolderFQ {
		return append(out, "ip link del sh0", "ip link set sh1 down", "tc qdisc replace dev sh0 root fq limit 10", "tc qdisc del dev sh0 root",
			"ip link add index 131073 name h1 type veth")
	}
	return append(out, "ip link del h0", "ip link set h1 down", "ip link del h0; ip link add h0 type veth",
		"ip link add h7 type veth", "ip link del h0; ip link del h1; ip link del cut")
}

// holderText describes what a spine has to hold frames.
func holderText(t *testing.T, p *kernel.Pnode, platform string) string {
	t.Helper()
	return inSpine(t, p, platform, `
		ip -o link | grep -E ': (h[0-9]+|sh[01]|cut1?)[@:]' | sed -e 's/ link\/.*//' -e 's/qlen.*//' -e 's/state [A-Z]*//' -e 's/NO-CARRIER,//' | sort -n
		ethtool -k cut 2>&1 | grep -E '^(tx-checksumming|scatter-gather|tcp-seg|generic-seg|tx-udp-seg)' | sed 's/cut//'
		tc qdisc show dev sh0 2>/dev/null | grep -o 'fq.*limit [0-9]*p flow_limit [0-9]*p'
		for i in cut cut1; do cat /proc/sys/net/ipv6/conf/$i/addr_gen_mode 2>/dev/null; done; true`)
}

// holdDamages spoils the racks' ends.
func holdDamages(t *testing.T, p *kernel.Pnode, racks *kernel.LocalRacks, want *program.Program) {
	t.Helper()
	found, err := racks.Find(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range []string{"ip link set hold down", "tc qdisc del dev hold clsact", "tc filter del dev hold ingress"} {
		fd, err := netns.Open(found[0].Netns())
		if err != nil {
			t.Fatal(err)
		}
		err = netns.Do(fd, func() error { return exec.Command("sh", "-c", damage).Run() })
		closeFD(t, fd)
		if err != nil {
			t.Fatal(damage, err)
		}
		if r := mustApply(t, p, want); r.Writes == 0 {
			t.Errorf("%s: nothing was written", damage)
		}
		if r := mustApply(t, p, want); r.Writes != 0 {
			t.Errorf("%s: still %d writes", damage, r.Writes)
		}
		if st, err := found[0].Held(t.Context()); err != nil || st == nil || strings.Contains(st.Note, "ended") {
			t.Errorf("%s: the wheel of rack 0: %+v, %v", damage, st, err)
		}
	}
}

package kernel_test

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/program"
)

// inVnode runs a shell command in a vnode, and gives its output.
func inVnode(t *testing.T, racks *kernel.LocalRacks, platform string, rack uint32, vnode, command string) string {
	t.Helper()
	found, err := racks.Find(t.Context(), platform)
	if err != nil {
		t.Fatal(err)
	}
	l, ok := found[rack].(interface {
		Enter(*netns.Thread, string) (bool, error)
	})
	if !ok {
		t.Fatalf("no rack %d", rack)
	}
	var out []byte
	err = netns.Run(func(th *netns.Thread) error {
		if ok, err := l.Enter(th, vnode); !ok || err != nil {
			return fmt.Errorf("enter %s: %v %v", vnode, ok, err)
		}
		var err error
		if out, err = exec.Command("sh", "-c", command).CombinedOutput(); err != nil {
			return fmt.Errorf("%s in %s: %w: %s", command, vnode, err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// text is what Observe says, and mustApply what Apply must do without a problem.
func text(t *testing.T, p *kernel.Pnode, platform string) string {
	t.Helper()
	have, err := p.Observe(t.Context(), platform)
	if err != nil {
		t.Fatal(err)
	}
	return kerneltest.Text(have)
}

func mustApply(t *testing.T, p *kernel.Pnode, want *program.Program) *program.Report {
	t.Helper()
	r, err := p.Apply(t.Context(), want, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range r.Problems {
		t.Error(q.Error())
	}
	return r
}

// TestMend: what is broken by hand is seen, and the next Apply mends it; what
// a user has added stays.
func TestMend(t *testing.T) {
	for _, shape := range kerneltest.Shapes {
		t.Run(shape.Name, func(t *testing.T) { testMend(t, shape) })
	}
}

func testMend(t *testing.T, shape kerneltest.Shape) {
	p, racks := open(t)
	want := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	mustApply(t, p, want)
	whole := kerneltest.Text(want)
	const added = "ip link add mine type bridge; ip addr add 192.0.2.1/24 dev mine; ip addr add 203.0.113.9/32 dev eth0; ip route add 198.51.100.0/24 dev eth0"
	inVnode(t, racks, "a", 0, "n0-2", added)
	for _, damage := range []string{
		"ip link del eth0",
		"ip link set eth0 down",
		"ip link set eth0 mtu 1300",
		"ip addr del 10.1.0.3/16 dev eth0",
		"ip link set eth0 down; ip link set eth0 address 02:00:00:00:00:77",
		"ip link set eth0 down; ip link set eth0 name other",
		"ip link set eth0 group 9",
		"ip route flush proto static",
		"ip route add 10.77.0.0/16 via 10.1.0.1 proto static",
		"sysctl -q -w net.ipv4.conf.eth0.forwarding=1",
		"sysctl -q -w net.ipv6.conf.eth0.addr_gen_mode=0",
	} {
		inVnode(t, racks, "a", 0, "n0-2", damage)
		if got := text(t, p, "a"); got == whole {
			t.Errorf("%s: not seen", damage)
		}
		if r := mustApply(t, p, want); r.Writes == 0 {
			t.Errorf("%s: nothing was written", damage)
		}
		if got := text(t, p, "a"); got != whole {
			t.Errorf("%s: not mended:\n%s", damage, got)
		}
		if r := mustApply(t, p, want); r.Writes != 0 {
			t.Errorf("%s: still %d writes", damage, r.Writes)
		}
	}
	if out := inVnode(t, racks, "a", 0, "n0-2", "ip addr show mine"); !strings.Contains(out, "192.0.2.1") {
		t.Errorf("the user's own link is gone:\n%s", out)
	}
}

// TestMendTrunks: a trunk that is removed by hand comes back with all that
// hung on it.
func TestMendTrunks(t *testing.T) {
	for _, shape := range kerneltest.Shapes {
		p, _ := open(t)
		want := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
		mustApply(t, p, want)
		fd, err := netns.Open(p.RunDir + "/a/spine")
		if err != nil {
			t.Fatal(err)
		}
		err = netns.Do(fd, func() error {
			return exec.Command("sh", "-c", "ip -o link | grep -o ' r0[^@]*' | while read l; do ip link del $l; done").Run()
		})
		if err != nil {
			t.Fatal(err)
		}
		closeFD(t, fd)
		mustApply(t, p, want)
		if got := text(t, p, "a"); got != kerneltest.Text(want) {
			t.Errorf("%s: not mended:\n%s", shape.Name, got)
		}
		if r := mustApply(t, p, want); r.Writes != 0 {
			t.Errorf("%s: still %d writes", shape.Name, r.Writes)
		}
	}
}

// TestChangeShape: from every kind of fabric and attachment to every other.
func TestChangeShape(t *testing.T) {
	p, _ := open(t)
	for i := range 2 * len(kerneltest.Shapes) {
		for j, shape := range kerneltest.Shapes {
			if (i+j)%2 == 0 {
				continue
			}
			want := shape.Program("a", rand.New(rand.NewPCG(5, uint64(i))))
			mustApply(t, p, want)
			if got := text(t, p, "a"); got != kerneltest.Text(want) {
				t.Fatalf("to %s: got\n%s\nwant\n%s", shape.Name, got, kerneltest.Text(want))
			}
			if r := mustApply(t, p, want); r.Writes != 0 {
				t.Errorf("to %s: still %d writes", shape.Name, r.Writes)
			}
		}
	}
}

// TestSwapAddresses: two vnodes that exchange their Ethernet addresses, and
// one that takes the place of another with its address.
func TestSwapAddresses(t *testing.T) {
	p, _ := open(t)
	want := flat(3)
	a, b := program.MAC{0x0a, 0, 0, 0, 0, 1}, program.MAC{0x0a, 0, 0, 0, 0, 2}
	want.Racks[0].Vifaces[0].MAC, want.Racks[0].Vifaces[1].MAC = a, b
	mustApply(t, p, want)
	want = flat(3)
	want.Racks[0].Vifaces[0].MAC, want.Racks[0].Vifaces[1].MAC = b, a
	mustApply(t, p, want)
	if got := text(t, p, "flat"); got != kerneltest.Text(want) {
		t.Errorf("after the swap:\n%s", got)
	}
	want = flat(3)
	want.Racks[0].Vnodes[1].Name = "other"
	want.Racks[0].Vifaces[1].MAC = a
	want.Racks[0].Vifaces[0].MAC = b
	mustApply(t, p, want)
	if got := text(t, p, "flat"); got != kerneltest.Text(want) {
		t.Errorf("after a replacement:\n%s", got)
	}
}

// TestTraffic: vnodes reach each other within a rack, across racks, and
// through a gateway, with every fabric.
func TestTraffic(t *testing.T) {
	for _, shape := range kerneltest.Shapes {
		t.Run(shape.Name, func(t *testing.T) {
			p, racks := open(t)
			want := pinging(shape)
			mustApply(t, p, want)
			for _, to := range []string{"10.1.0.2", "10.1.0.3", "10.2.0.9"} {
				out := inVnode(t, racks, "ping", 0, "a", "ping -c 2 -i 0.02 -W 1 "+to+" || true")
				if !strings.Contains(out, " 0% packet loss") {
					t.Errorf("a to %s:\n%s", to, out)
				}
			}
			if shape.Fabric == program.FabricEBPF {
				counts, err := p.Counters("ping")
				if err != nil || len(counts) == 0 || counts[0].Packets == 0 {
					t.Errorf("counters: %v, %v; want unicast packets", counts, err)
				}
			}
		})
	}
}

// pinging has a and b in rack 0, c in rack 1, and g, a gateway in rack 1, to
// the network of d in rack 0.
func pinging(s kerneltest.Shape) *program.Program {
	p := s.Program("ping", rand.New(rand.NewPCG(1, 1)))
	p.Names = nil
	f := func(slot, index, network uint16, host uint32) program.Viface {
		return program.Viface{Slot: slot, Index: index, Name: fmt.Sprintf("eth%d", index), Network: network, Host: host, Attach: s.Attach}
	}
	lan, wan := p.Networks[0], p.Networks[1]
	p.Racks = []program.Rack{
		{Index: 0,
			Vnodes:  []program.Vnode{{Slot: 0, Name: "a"}, {Slot: 1, Name: "b"}, {Slot: 2, Name: "d"}},
			Vifaces: []program.Viface{f(0, 0, 1, 1), f(1, 0, 1, 2), f(2, 0, 2, 9)},
			Routes:  []program.Route{{Slot: 0, To: wan.Subnet, Via: lan.Addr(4)}, {Slot: 2, To: lan.Subnet, Via: wan.Addr(1)}}},
		{Index: 1,
			Vnodes:  []program.Vnode{{Slot: 0, Name: "c"}, {Slot: 1, Name: "g", Forward: true}},
			Vifaces: []program.Viface{f(0, 0, 1, 3), f(1, 0, 1, 4), f(1, 1, 2, 1)}},
	}
	return p
}

// TestQuiet: vnodes that nobody uses send nothing.
func TestQuiet(t *testing.T) {
	p, racks := open(t)
	mustApply(t, p, flat(20))
	time.Sleep(1500 * time.Millisecond) // router solicitations would come after a second
	counts, err := p.Counters("flat")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range counts {
		if c.Packets > 0 {
			t.Errorf("%d packets %s of idle vnodes", c.Packets, c.Name)
		}
	}
	if out := inVnode(t, racks, "flat", 0, "n1", "ip -6 addr show dev eth0"); out != "" {
		t.Errorf("eth0 has IPv6:\n%s", out)
	}
}

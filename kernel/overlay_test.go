package kernel_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/program"
)

// machine is a pnode with an underlay of its own.
type machine struct {
	*kernel.Pnode
	racks    *kernel.LocalRacks
	underlay int
}

// machines makes pnodes whose underlays are joined by one bridge, with the
// addresses 192.0.2.1 and so on, and an MTU.
func machines(t *testing.T, n int, mtu int) []*machine {
	t.Helper()
	kerneltest.RequireRoot(t)
	wire := newNetns(t)
	in(t, wire, "ip link add br0 mtu %d type bridge mcast_snooping 0; ip link set br0 up", mtu)
	var all []*machine
	for i := range n {
		ns := newNetns(t) // before what is in it, so that it goes after that
		p, racks := open(t)
		in(t, wire, "ip link add name p%d mtu %d type veth peer name eth0 mtu %d netns /proc/%d/fd/%d; ip link set p%d master br0 up", i, mtu, mtu, os.Getpid(), ns, i)
		in(t, ns, "ip link set lo up; ip addr add 192.0.2.%d/24 dev eth0; ip link set eth0 up", i+1)
		p.Underlay = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns)
		all = append(all, &machine{p, racks, ns})
	}
	return all
}

func newNetns(t *testing.T) int {
	t.Helper()
	fd, err := netns.Make(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFD(t, fd) })
	return fd
}

// in runs a shell command in a namespace, and gives its output.
func in(t *testing.T, ns int, command string, args ...any) string {
	t.Helper()
	command = fmt.Sprintf(command, args...)
	var out []byte
	err := netns.Do(ns, func() (err error) {
		out, err = exec.Command("sh", "-c", command).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return string(out)
}

// spread is a platform over n pnodes, as each has it: a vnode v<i> on pnode i,
// with the address 10.1.0.<i+1>.
func spread(fabric program.Fabric, n int) []*program.Program {
	o := &program.Overlay{VNI: 0x010100, Port: program.VXLANPort}
	lan := program.Network{ID: 1, Name: "lan", Subnet: netip.MustParsePrefix("10.1.0.0/16"), MTU: 1450, Broadcast: true}
	var all []*program.Program
	for i := range uint32(n) {
		o.Underlay = append(o.Underlay, program.Underlay{Pnode: fmt.Sprintf("m%d", i), Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)}), MTU: 1500})
		p := &program.Program{Platform: "far", Pnode: o.Underlay[i].Pnode, Number: i, Fabric: fabric, Networks: []program.Network{lan}, Overlay: o,
			Racks: []program.Rack{{Vnodes: []program.Vnode{{Name: fmt.Sprintf("v%d", i)}},
				Vifaces: []program.Viface{{Name: "eth0", Network: 1, Host: i + 1}}}}}
		for j := range uint32(n) {
			p.Remote = append(p.Remote, program.PlaceRange{Network: 1, Host: j + 1, Count: 1, Pnode: j})
		}
		all = append(all, p)
	}
	return all
}

// reach has every vnode ping every other.
func reach(t *testing.T, all []*machine, want []*program.Program) {
	t.Helper()
	for i, m := range all {
		for j := range all {
			if i != j {
				out := inVnode(t, m.racks, want[i].Platform, 0, fmt.Sprintf("v%d", i), fmt.Sprintf("ping -n -c 1 -W 2 -s 1400 10.1.0.%d || true", j+1))
				if !strings.Contains(out, " 0% packet loss") {
					t.Errorf("v%d to v%d:\n%s", i, j, out)
				}
			}
		}
	}
}

// overlays are the ways to join pnodes.
var overlays = []struct {
	name   string
	fabric program.Fabric
	kind   program.OverlayKind
}{
	{"ebpf", program.FabricEBPF, program.OverlayUnicast},
	{"bridge", program.FabricBridge, program.OverlayUnicast},
	{"multicast", program.FabricBridge, program.OverlayMulticast},
}

// TestOverlay: vnodes of several pnodes reach each other; asked again, nothing
// is written; removed, nothing is left.
func TestOverlay(t *testing.T) {
	for _, o := range overlays {
		t.Run(o.name, func(t *testing.T) {
			all := machines(t, 3, 1500)
			want := spread(o.fabric, 3)
			want[0].Overlay.Kind = o.kind
			for i, m := range all {
				mustApply(t, m.Pnode, want[i])
			}
			reach(t, all, want)
			for i, m := range all {
				if r := mustApply(t, m.Pnode, want[i]); r.Writes != 0 {
					t.Errorf("asked again, m%d writes %d times", i, r.Writes)
				}
			}
			for i, m := range all {
				got, err := m.Observe(t.Context(), "far")
				if err != nil || got.Overlay == nil || got.Overlay.VNI != want[i].Overlay.VNI || got.Overlay.Port != want[i].Overlay.Port || got.Overlay.Kind != o.kind {
					t.Errorf("observed: %+v, %v", got.Overlay, err)
				}
				if s, err := m.Status(t.Context(), "far"); err != nil || len(s.Problems) > 0 {
					t.Errorf("status: %+v, %v", s, err)
				}
				inSpine(t, m.Pnode, "far", "ip link del ov || ip link del ov1")
				if s, err := m.Status(t.Context(), "far"); err != nil || len(s.Problems) != 1 || !strings.Contains(s.Problems[0].Cause, "gone") {
					t.Errorf("status without the device: %+v, %v", s, err)
				}
				if err := m.Remove(t.Context(), "far", nil); err != nil {
					t.Error(err)
				}
				if left, err := m.Leftovers(t.Context()); err != nil || len(left) > 0 {
					t.Errorf("left: %v, %v", left, err)
				}
				if out := in(t, m.underlay, "ip -o link"); strings.Count(out, "\n") != 2 {
					t.Errorf("left in the underlay:\n%s", out)
				}
			}
		})
	}
}

// TestOverlayMended: whatever becomes of an overlay device, the next Apply
// makes it as it is to be.
func TestOverlayMended(t *testing.T) {
	const made = "ip link del %[1]s; ip link add %[1]s index %[2]d type vxlan "
	for _, o := range overlays {
		t.Run(o.name, func(t *testing.T) {
			all := machines(t, 2, 1500)
			want := spread(o.fabric, 2)
			want[0].Overlay.Kind = o.kind
			for i, m := range all {
				mustApply(t, m.Pnode, want[i])
			}
			name, index := "ov", 12
			damages := []string{"ip link del %[1]s", "ip link set %[1]s down", "ip link set %[1]s mtu 1000", "ip link set %[1]s down; ip link set %[1]s name other; ip link set other up",
				made + "id 7 dstport 4789", made + "id 65793 dstport 4790", "ip link del %[1]s; ip link add %[1]s index %[2]d type veth peer name x",
				"ip link set %[1]s down; sysctl -q -w net.ipv6.conf.%[1]s.addr_gen_mode=0; ip link set %[1]s up",
				"ip link del %[1]s; ip link add other index %[2]d type veth peer name x"}
			switch o.name {
			case "ebpf":
				damages = append(damages, "bridge vni delete dev ov vni 65792", "bridge vni add dev ov vni 65793", "bridge vni add dev ov vni 70000-70009",
					made+"external dstport 4789", made+"external vnifilter dstport 4790 ttl 64", made+"external vnifilter dstport 4789 ttl 64 nolearning; ip link set ov up; bridge vni add dev ov vni 65792")
			case "bridge":
				damages = append(damages, "bridge fdb del 00:00:00:00:00:00 dev ov1 dst 192.0.2.2", "bridge fdb append 00:00:00:00:00:00 dev ov1 dst 192.0.2.77")
				fallthrough
			case "multicast":
				name, index = "ov1", 1<<30+1
				damages = append(damages, "ip link set ov1 nomaster")
			}
			look := "ip -d -o link show " + name + ` | sed -E 's/(ether|designated_[a-z]*) [0-9a-f:.]*//g;s/link-netnsid [0-9]*//'; bridge fdb show dev ` + name + " | grep 00:00:00:00:00:00 | sort; bridge vni show"
			whole := inSpine(t, all[0].Pnode, "far", look)
			for _, damage := range damages {
				if strings.Contains(damage, "%[") {
					damage = fmt.Sprintf(damage, name, index)
					damage = strings.SplitN(damage, "%!(EXTRA", 2)[0]
				}
				inSpine(t, all[0].Pnode, "far", damage)
				if r := mustApply(t, all[0].Pnode, want[0]); r.Writes == 0 {
					t.Errorf("%s: nothing was written", damage)
				}
				if got := inSpine(t, all[0].Pnode, "far", look); got != whole {
					t.Errorf("%s: it was\n%s and is\n%s", damage, whole, got)
				}
				reach(t, all, want)
				if r := mustApply(t, all[0].Pnode, want[0]); r.Writes != 0 {
					t.Errorf("%s: still %d writes", damage, r.Writes)
				}
			}
		})
	}
}

// TestOverlayChanges: a platform gets an overlay, another VNI and port, another
// kind of fabric, and loses it again.
func TestOverlayChanges(t *testing.T) {
	all := machines(t, 2, 1500)
	steps := []struct {
		name   string
		change func(p *program.Program)
		none   bool
	}{
		{"alone", func(p *program.Program) { p.Overlay, p.Remote = nil, nil }, true},
		{"joined", func(*program.Program) {}, false},
		{"VNI", func(p *program.Program) { p.Overlay.VNI = 0x020300 }, false},
		{"port", func(p *program.Program) { p.Overlay.Port = 5000 }, false},
		{"bridge", func(p *program.Program) { p.Fabric = program.FabricBridge }, false},
		{"multicast", func(p *program.Program) { p.Fabric, p.Overlay.Kind = program.FabricBridge, program.OverlayMulticast }, false},
		{"alone with bridges", func(p *program.Program) { p.Fabric, p.Overlay, p.Remote = program.FabricBridge, nil, nil }, true},
		{"ebpf", func(*program.Program) {}, false},
		{"alone at last", func(p *program.Program) { p.Overlay, p.Remote = nil, nil }, true},
	}
	for _, s := range steps {
		t.Log(s.name)
		want := spread(program.FabricEBPF, 2)
		for i, m := range all {
			s.change(want[i])
			mustApply(t, m.Pnode, want[i])
		}
		if !s.none {
			reach(t, all, want)
		} else if out := inSpine(t, all[0].Pnode, "far", "ip -o link show type vxlan"); out != "" {
			t.Errorf("%s: there still is\n%s", s.name, out)
		}
		for i, m := range all {
			if r := mustApply(t, m.Pnode, want[i]); r.Writes != 0 {
				t.Errorf("%s: asked again, m%d writes %d times", s.name, i, r.Writes)
			}
		}
	}
}

// TestUnderlayMoves: a pnode gets another address, and is reached by it; with
// eBPF, its device stays.
func TestUnderlayMoves(t *testing.T) {
	for _, o := range overlays {
		t.Run(o.name, func(t *testing.T) {
			all := machines(t, 2, 1500)
			want := spread(o.fabric, 2)
			want[0].Overlay.Kind = o.kind
			for i, m := range all {
				mustApply(t, m.Pnode, want[i])
			}
			in(t, all[0].underlay, "ip addr add 192.0.2.99/24 dev eth0; ip addr del 192.0.2.1/24 dev eth0; ip addr show dev eth0 | grep 192.0.2.99 || ip addr add 192.0.2.99/24 dev eth0")
			want[0].Overlay.Underlay[0].Addr = netip.MustParseAddr("192.0.2.99")
			before := inSpine(t, all[0].Pnode, "far", "cat /sys/class/net/*/ifindex || true; ip -o link show type vxlan")
			for i, m := range all {
				mustApply(t, m.Pnode, want[i])
			}
			reach(t, all, want)
			if after := inSpine(t, all[0].Pnode, "far", "cat /sys/class/net/*/ifindex || true; ip -o link show type vxlan"); o.name == "ebpf" && after != before {
				t.Errorf("it was\n%s and is\n%s", before, after)
			}
		})
	}
}

// oneProblem checks that an Apply has the vnodes up, with one problem that says
// some words in its cause and its remedy.
func oneProblem(t *testing.T, m *machine, want *program.Program, cause, remedy string) {
	t.Helper()
	r, err := m.Apply(t.Context(), want, nil)
	if err != nil {
		t.Fatal(err)
	}
	if r.Up() != 1 || len(r.Problems) != 1 || !strings.Contains(r.Problems[0].Cause, cause) || !strings.Contains(r.Problems[0].Remedy, remedy) || r.Problems[0].Rack != -1 {
		t.Errorf("%d vnodes are up, problems %+v, want one of %q, %q", r.Up(), r.Problems, cause, remedy)
	}
	for i := range r.Problems {
		t.Log(r.Problems[i].Error())
	}
}

// TestUnderlayWrong: what does not fit between underlay and platform is said,
// with what to do; and when it was done, all is well.
func TestUnderlayWrong(t *testing.T) {
	for name, c := range map[string]struct {
		damage, mend  string
		cause, remedy string
	}{
		"address": {"ip addr del 192.0.2.1/24 dev eth0; ip addr add 192.0.2.55/24 dev eth0", "ip addr add 192.0.2.1/24 dev eth0",
			"192.0.2.1, by which they reach this pnode, is no address of this machine: it has 192.0.2.55", "--address"},
		"MTU":   {"ip link set eth0 mtu 1499", "ip link set eth0 mtu 1500", "packets of 1450 bytes become 1500 in a tunnel, and eth0 carries 1499", "mtu: 1449"},
		"route": {"ip addr del 192.0.2.1/24 dev eth0; ip addr add 192.0.2.1/32 dev eth0", "ip route add 192.0.2.0/24 dev eth0", "unreachable", "route to 192.0.2.2"},
		"down":  {"ip link set eth0 down", "ip link set eth0 up", "eth0, which has the address 192.0.2.1, is down", "ip link set eth0 up"},
		"way":   {"ip route add 192.0.2.2/32 dev eth0 mtu 1400", "ip route del 192.0.2.2/32", "eth0 carries 1400", "mtu: 1350"},
	} {
		t.Run(name, func(t *testing.T) {
			all := machines(t, 2, 1500)
			want := spread(program.FabricEBPF, 2)
			in(t, all[0].underlay, c.damage)
			oneProblem(t, all[0], want[0], c.cause, c.remedy)
			in(t, all[0].underlay, c.mend)
			for i, m := range all {
				mustApply(t, m.Pnode, want[i])
			}
			reach(t, all, want)
		})
	}
}

// TestVNITaken: platforms share the port, and say so where they cannot.
func TestVNITaken(t *testing.T) {
	all := machines(t, 2, 1500)
	want := spread(program.FabricEBPF, 2)
	in(t, all[0].underlay, "ip link add theirs type vxlan external vnifilter dstport 4789; ip link set theirs up; bridge vni add dev theirs vni 65792")
	oneProblem(t, all[0], want[0], "VNI 65792 at UDP port 4789 of this machine is somebody else's", "--vni-base")
	in(t, all[0].underlay, "ip link del theirs")
	for i, m := range all {
		mustApply(t, m.Pnode, want[i])
	}
	reach(t, all, want)

	second := *want[0]
	second.Platform = "second"
	oneProblem(t, all[0], &second, "is platform far's, of this instance", "myriad down")
	other := *second.Overlay
	other.VNI += program.PlatformVNIs
	second.Overlay = &other
	mustApply(t, all[0].Pnode, &second)
	reach(t, all, want)

	// A device of another kind has the port to itself.
	in(t, all[0].underlay, "ip link add theirs type vxlan id 5 dstport 5000; ip link set theirs up")
	other.Port = 5000
	oneProblem(t, all[0], &second, "UDP port 5000 of this machine is used", "overlay: {port")
	in(t, all[0].underlay, "ip link del theirs")
	mustApply(t, all[0].Pnode, &second)

	// A VNI that a platform had which has just gone is free.
	if err := all[0].Remove(t.Context(), "far", nil); err != nil {
		t.Fatal(err)
	}
	other.VNI, other.Port = want[0].Overlay.VNI, want[0].Overlay.Port
	mustApply(t, all[0].Pnode, &second)
}

// TestIndexTaken: that the underlay has a link with the number of an overlay
// device is in nobody's way.
func TestIndexTaken(t *testing.T) {
	all := machines(t, 2, 1500)
	want := spread(program.FabricEBPF, 2)
	in(t, all[0].underlay, "ip link add theirs index 12 type veth peer name x")
	for i, m := range all {
		mustApply(t, m.Pnode, want[i])
	}
	reach(t, all, want)
	if out := in(t, all[0].underlay, "ip -o link"); strings.Count(out, "\n") != 4 {
		t.Errorf("the underlay has\n%s", out)
	}
}

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
		p, racks := open(t)
		ns := newNetns(t)
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
				out := inVnode(t, m.racks, want[i].Platform, 0, fmt.Sprintf("v%d", i), fmt.Sprintf("ping -n -c 2 -i 0.05 -W 2 -s 1400 10.1.0.%d || true", j+1))
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
			for _, m := range all {
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

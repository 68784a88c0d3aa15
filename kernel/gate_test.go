package kernel_test

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"myriad/kernel"
	"myriad/program"
)

// sealed has what goes between the pnodes of spread encrypted.
func sealed(t *testing.T, all []*machine, want []*program.Program, key func(m *machine) [32]byte) {
	t.Helper()
	o := want[0].Overlay
	for i := range o.Underlay {
		u := &o.Underlay[i]
		u.Gate = netip.AddrPortFrom(u.Addr, program.WireGuardPort+uint16(o.Slot()))
		u.Addr, u.Key = program.InsideAddr(o.VNI, uint32(i)), key(all[i])
	}
	for _, p := range want {
		p.Networks[0].MTU = 1500 - program.VXLANOverhead - program.WireGuardOverhead
	}
}

// pings has v0 ping v1, and says whether any answer came.
func pings(t *testing.T, all []*machine, want []*program.Program) bool {
	t.Helper()
	out := inVnode(t, all[0].racks, want[0].Platform, 0, "v0", fmt.Sprintf("ping -n -c 3 -i 0.1 -W 1 -s %d 10.1.0.2 || true", want[0].Networks[0].MTU-28))
	return !strings.Contains(out, "100% packet loss")
}

// TestEncrypted: what goes between pnodes is encrypted where that is asked for,
// and goes nowhere where it cannot be.
func TestEncrypted(t *testing.T) {
	all := machines(t, 2, 1500)
	for _, fabric := range []program.Fabric{program.FabricEBPF, program.FabricBridge} {
		want := spread(fabric, 2)
		if _, err := kernel.WireGuardKey(all[0].RunDir); err != nil {
			var p *program.Problem
			if !errors.As(err, &p) || p.Kind != program.KindUnsupported || p.Remedy == "" {
				t.Fatal(err)
			}
			testRefused(t, all, want)
			continue
		}
		sealed(t, all, want, func(m *machine) [32]byte {
			key, err := kernel.WireGuardKey(m.RunDir)
			if err != nil {
				t.Fatal(err)
			}
			return key
		})
		testEncrypted(t, all, want)
	}
}

// testRefused: without WireGuard, nothing leaves, and it is said.
func testRefused(t *testing.T, all []*machine, want []*program.Program) {
	plain := spread(want[0].Fabric, 2)
	mustApply(t, all[0].Pnode, plain[0])
	sealed(t, all, want, func(m *machine) [32]byte {
		key, err := kernel.GatePublic(m.RunDir)
		if err != nil {
			t.Fatal(err)
		}
		return key
	})
	oneProblem(t, all[0], want[0], "this kernel has no WireGuard", "CONFIG_WIREGUARD")
	if out := inSpine(t, all[0].Pnode, "far", "ip -o link show type vxlan"); out != "" {
		t.Errorf("it is joined all the same:\n%s", out)
	}
	mustApply(t, all[0].Pnode, plain[0])
	mustApply(t, all[1].Pnode, plain[1])
	reach(t, all, plain)
	mustLeaveNothing(t, all)
}

func mustLeaveNothing(t *testing.T, all []*machine) {
	t.Helper()
	for _, m := range all {
		if err := m.Remove(t.Context(), "far", nil); err != nil {
			t.Error(err)
		}
		if left, err := m.Leftovers(t.Context()); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
		if out := in(t, m.underlay, "ip -o link; ip route show proto 77"); strings.Count(out, "\n") != 2 {
			t.Errorf("left in the underlay:\n%s", out)
		}
	}
}

func testEncrypted(t *testing.T, all []*machine, want []*program.Program) {
	join := func() {
		t.Helper()
		for i, m := range all {
			mustApply(t, m.Pnode, want[i])
		}
		if !pings(t, all, want) {
			t.Error("v0 does not reach v1")
		}
	}
	join()
	if r := mustApply(t, all[0].Pnode, want[0]); r.Writes != 0 {
		t.Errorf("asked again, it writes %d times", r.Writes)
	}
	wg := in(t, all[0].underlay, "ip -o link show type wireguard")
	name := strings.TrimSuffix(strings.Fields(wg)[1], ":")
	if !strings.HasPrefix(name, "myriad") || strings.Count(wg, "\n") != 1 {
		t.Errorf("the underlay has\n%s", wg)
	}
	for _, damage := range []string{"ip link del " + name, "ip link set " + name + " down", "ip addr flush dev " + name} {
		in(t, all[0].underlay, damage)
		if pings(t, all, want) {
			t.Errorf("after %s, packets arrive", damage)
		}
		if out := in(t, all[0].underlay, "ip route get 240.16.0.1 2>&1 || true"); !strings.Contains(out, "unreachable") && !strings.Contains(out, "No route") {
			t.Errorf("after %s, packets leave: %s", damage, out)
		}
		join()
	}
	in(t, all[0].underlay, "ip route del unreachable 240.16.0.0/12 proto 77 metric $(ip route show proto 77 | sed 's/.*metric //')")
	in(t, all[0].underlay, "ip link set %s mtu 1300", name)
	join()

	want[0].Overlay.VNI += program.PlatformVNIs // another slot, with other addresses and another port
	for i := range want[0].Overlay.Underlay {
		u := &want[0].Overlay.Underlay[i]
		u.Addr, u.Gate = program.InsideAddr(want[0].Overlay.VNI, uint32(i)), netip.AddrPortFrom(u.Gate.Addr(), u.Gate.Port()+1)
	}
	join()

	want[0].Overlay.Plain = true // both are of one site
	join()
	if out := in(t, all[0].underlay, "ip -o link show type wireguard; ip route show proto 77"); out != "" {
		t.Errorf("what nothing goes through is still there:\n%s", out)
	}
	want[0].Overlay.Underlay[1].Site = 1
	join()

	other := want[0].Overlay.Underlay[0].Key
	want[0].Overlay.Underlay[0].Key[0]++
	oneProblem(t, all[0], want[0], "not its key any more", "apply the platform again")
	want[0].Overlay.Underlay[0].Key = other
	join()
	mustLeaveNothing(t, all)
}

// TestSweepUnderlay: what is this instance's in the underlay is found by what
// is there, not by what is on record.
func TestSweepUnderlay(t *testing.T) {
	all := machines(t, 2, 1500)
	m := all[0]
	name := m.GateName("far")
	in(t, m.underlay, "ip link add %s type veth peer name other; ip route add unreachable 240.16.0.0/12 proto 77 metric %d; ip route add unreachable 240.32.0.0/12 proto 77 metric 5; ip link add myriadzzzzzzzzz type veth peer name x", name, m.GateMetric("far"))
	left, err := m.Leftovers(t.Context())
	if err != nil || len(left) != 2 || !strings.Contains(left[0], name) || !strings.Contains(left[1], "240.16.0.0/12") {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := m.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if left, err := m.Leftovers(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("left after the sweep: %v, %v", left, err)
	}
	if out := in(t, m.underlay, "ip -o link; ip route show proto 77"); !strings.Contains(out, "240.32.0.0") || strings.Contains(out, "240.16.") || !strings.Contains(out, "myriadzzz") {
		t.Errorf("the underlay has\n%s", out)
	}
}

// TestGateKey: a pnode has one key, whoever asks first; what is no key is said.
func TestGateKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	var wait sync.WaitGroup
	keys := make([][32]byte, 8)
	for i := range keys {
		wait.Go(func() {
			key, err := kernel.GateKey(dir)
			if err != nil {
				t.Error(err)
			}
			keys[i] = key
		})
	}
	wait.Wait()
	for _, k := range keys {
		if k != keys[0] || k == [32]byte{} {
			t.Errorf("keys are %x", keys)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("the directory has %v, %v", entries, err)
	}
	path := filepath.Join(dir, entries[0].Name())
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v", info.Mode(), err)
	}
	for _, text := range []string{"", "x", strings.Repeat("A", 43), strings.Repeat("!", 44)} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := kernel.GateKey(dir); err == nil || !strings.Contains(err.Error(), "remove that file") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

package kernel

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"myriad/kernel/kerneltest"
	"myriad/program"
)

func TestTrunkNames(t *testing.T) {
	for _, want := range []trunk{{0, 0}, {7, 0}, {65519, 65535}, {3, 1}} {
		rack, network, ok := trunkOf(trunkName(want.rack, want.network))
		if !ok || rack != want.rack || network != want.network {
			t.Errorf("%+v became %d %d %v", want, rack, network, ok)
		}
	}
	for _, name := range []string{"", "r", "lo", "r-1", "r1.0", "r1.", "r1.x", "r1.70000", "br1", "rack"} {
		if _, _, ok := trunkOf(name); ok {
			t.Errorf("%q is taken for a trunk", name)
		}
	}
}

func TestPlatformFiles(t *testing.T) {
	for _, name := range []string{"spine", "hosts", "hosts.new", "program.cbor", "program.cbor.new", "links.cbor", "rack-0.sock", "rack-17.log", "rack-0.sock.99", "lock"} {
		if !platformFile(name) {
			t.Errorf("%s is not known as ours", name)
		}
	}
	for _, name := range []string{"", "notes", "hosts2", "spines", "rack", "lock.me"} {
		if platformFile(name) {
			t.Errorf("%q is taken for ours", name)
		}
	}
}

func TestInstance(t *testing.T) {
	if got := Instance("/run/myriad/"); got != "default" {
		t.Errorf("the default run directory is instance %s", got)
	}
	if a, b := Instance("/tmp/a"), Instance("/tmp/b"); len(a) != 8 || a == b {
		t.Errorf("instances %s and %s, want eight digits each, not the same", a, b)
	}
}

// TestHosts: the file is written when it differs, at whatever place, and only
// then.
func TestHosts(t *testing.T) {
	p := &Pnode{Config: Config{RunDir: t.TempDir()}}
	want := &program.Program{Platform: "a", Names: []program.NameRange{{Prefix: "n", First: 1, Count: 20000, Addr: netip.MustParseAddr("10.0.0.1")}}}
	path := filepath.Join(p.dir("a"), "hosts")
	if err := os.Mkdir(p.dir("a"), 0o755); err != nil {
		t.Fatal(err)
	}
	expect := func(changed bool) {
		t.Helper()
		if got, err := p.writeHosts(want); got != changed || err != nil {
			t.Errorf("written: %v, %v; want %v", got, err, changed)
		}
	}
	expect(true)
	expect(false)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damaged := range [][]byte{nil, text[:len(text)-1], append(text[:len(text):len(text)], '\n'), append([]byte("x"), text[1:]...)} {
		if err := os.WriteFile(path, damaged, 0o644); err != nil {
			t.Fatal(err)
		}
		expect(true)
		expect(false)
	}
	want.Names[0].Count--
	expect(true)
}

func TestFloor(t *testing.T) {
	kerneltest.RequireRoot(t)
	up, down, err := Floor(t.Context(), 5)
	if err != nil || up <= 0 || down <= 0 {
		t.Errorf("%v up, %v down, %v", up, down, err)
	}
}

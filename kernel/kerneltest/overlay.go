package kerneltest

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	"myriad/program"
)

// Joined is a program with an overlay to another pnode, which is at a loopback
// address, and has hosts 5000 to 5003 of each network.
func Joined(p *program.Program) *program.Program {
	with := *p
	with.Overlay = &program.Overlay{VNI: 0xfe0100, Port: 54789, Underlay: []program.Underlay{
		{Pnode: p.Pnode, Addr: netip.MustParseAddr("127.0.0.1"), MTU: 65535},
		{Pnode: "other", Addr: netip.MustParseAddr("127.0.0.2"), MTU: 65535},
	}}
	for _, n := range p.Networks {
		with.Remote = append(with.Remote, program.PlaceRange{Network: n.ID, Host: 250, Count: 3, Pnode: 1})
	}
	return &with
}

// testOverlay: a platform is joined to another pnode, in another way, and is
// alone again; its vnodes are as they were all the time.
func testOverlay(t *testing.T, p Pnode, shape Shape) {
	alone := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	mustApply(t, p, alone, nil)
	mustJoin(t, p, "a", nil)
	joined := Joined(alone)
	elsewhere := *joined
	elsewhere.Overlay = &program.Overlay{VNI: 0xfe0200, Port: 54790, Underlay: joined.Overlay.Underlay}
	for _, want := range []*program.Program{joined, &elsewhere, joined, alone} {
		if r := mustApply(t, p, want, nil); r.Writes == 0 {
			t.Error("a change of the overlay says it wrote nothing")
		}
		mustJoin(t, p, "a", want.Overlay)
		mustMatch(t, p, alone)
		if r := mustApply(t, p, want, nil); r.Writes != 0 {
			t.Errorf("applying the overlay that is there wrote %d times", r.Writes)
		}
	}
	mustApply(t, p, joined, nil)
	if err := p.Remove(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	mustJoin(t, p, "a", nil)
	mustApply(t, p, joined, nil) // nothing is left that has the VNI
	mustJoin(t, p, "a", joined.Overlay)
}

// mustJoin checks which overlay a platform is in.
func mustJoin(t *testing.T, p Pnode, platform string, want *program.Overlay) {
	t.Helper()
	have, err := p.Observe(t.Context(), platform)
	if err != nil {
		t.Fatal(err)
	}
	got := have.Overlay
	if (got == nil) != (want == nil) || got != nil && (got.Kind != want.Kind || got.VNI != want.VNI || got.Port != want.Port) {
		t.Errorf("%s is joined by %+v, want %+v", platform, got, want)
	}
}

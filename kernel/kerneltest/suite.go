package kerneltest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"myriad/program"
)

// Pnode is what the suite asks of an implementation: the part of a pnode that
// the agent uses.
type Pnode interface {
	Apply(ctx context.Context, p *program.Program, progress func(up int)) (*program.Report, error)
	Observe(ctx context.Context, platform string) (*program.Program, error)
	Status(ctx context.Context, platform string) (*program.Report, error)
	Platforms() ([]string, error)
	Remove(ctx context.Context, platform string, progress func(left int)) error
	Sweep(ctx context.Context) error
	Shape(ctx context.Context, platform string, l *program.Links, at time.Time) (*program.Shaped, error)
	LinkStats(ctx context.Context, platform string) (*program.LinkStats, error)
}

// Options are what an implementation can do beyond Pnode.
type Options struct {
	// KillRack ends one rack as SIGKILL would. Nil: the suite leaves lost
	// racks out.
	KillRack func(t *testing.T, p Pnode, platform string, index uint32)
	// Shapes are the kinds of program to try; nil stands for all.
	Shapes []Shape
}

// Run holds an implementation to the contract of a pnode. open makes an empty
// one, and arranges for its end.
func Run(t *testing.T, open func(t *testing.T) Pnode, o Options) {
	if o.Shapes == nil {
		o.Shapes = Shapes
	}
	for _, shape := range o.Shapes {
		t.Run(shape.Name, func(t *testing.T) {
			t.Run("apply", func(t *testing.T) { testApply(t, open(t), shape) })
			t.Run("states", func(t *testing.T) { testStates(t, open(t), shape) })
			t.Run("overlay", func(t *testing.T) { testOverlay(t, open(t), shape) })
			if shape.Fabric == program.FabricBridge {
				t.Run("links", func(t *testing.T) { testLinksBridge(t, open(t), shape) })
				return
			}
			t.Run("links", func(t *testing.T) { testLinks(t, open(t), shape) })
			t.Run("links-edit", func(t *testing.T) { testLinksEdit(t, open(t), shape) })
		})
	}
	first := o.Shapes[0]
	t.Run("remove", func(t *testing.T) { testRemove(t, open(t), first) })
	t.Run("platforms", func(t *testing.T) { testPlatforms(t, open(t), first) })
	t.Run("sweep", func(t *testing.T) { testSweep(t, open(t), first) })
	t.Run("cancel", func(t *testing.T) { testCancel(t, open(t), first) })
	t.Run("invalid", func(t *testing.T) { testInvalid(t, open(t), first) })
	t.Run("links-at", func(t *testing.T) { testLinksAt(t, open(t), first) })
	t.Run("links-cancel", func(t *testing.T) { testLinksCancel(t, open(t), first) })
	t.Run("links-invalid", func(t *testing.T) { testLinksInvalid(t, open(t), first) })
	if o.KillRack != nil {
		t.Run("lost", func(t *testing.T) { testLost(t, open(t), first, o.KillRack) })
		t.Run("links-lost", func(t *testing.T) { testLinksLost(t, open(t), first, o.KillRack) })
	}
}

// testApply: what was asked is there, is read back, and asking again writes
// nothing.
func testApply(t *testing.T, p Pnode, shape Shape) {
	want := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	last := 0
	report := mustApply(t, p, want, func(up int) { last = max(last, up) })
	if report.Writes == 0 {
		t.Error("the first apply says it wrote nothing")
	}
	if n := vnodes(want); last > n || report.Up() != n {
		t.Errorf("up: report says %d, progress reached %d, want %d", report.Up(), last, n)
	}
	mustMatch(t, p, want)
	if again := mustApply(t, p, want, nil); again.Writes != 0 {
		t.Errorf("applying what is there wrote %d times, want 0", again.Writes)
	}
	status, err := p.Status(t.Context(), "a")
	if err != nil || status.Up() != vnodes(want) {
		t.Errorf("status: %d up (%v), want %d", status.Up(), err, vnodes(want))
	}
}

// testStates visits a series of programs in order, then jumps between them at
// random: from anywhere, the end must be the same.
func testStates(t *testing.T, p Pnode, shape Shape) {
	var states []*program.Program
	for i := range 4 {
		states = append(states, shape.Program("a", rand.New(rand.NewPCG(7, uint64(i)))))
	}
	visit := func(i int) {
		mustApply(t, p, states[i], nil)
		mustMatch(t, p, states[i])
		if t.Failed() {
			t.Fatalf("at state %d", i)
		}
	}
	for i := range states {
		visit(i)
	}
	jumps := rand.New(rand.NewPCG(3, 3))
	for range 2 * len(states) {
		visit(jumps.IntN(len(states)))
	}
}

func testRemove(t *testing.T, p Pnode, shape Shape) {
	mustApply(t, p, shape.Program("a", rand.New(rand.NewPCG(1, 1))), nil)
	for range 2 { // removing what is not there is no error
		if err := p.Remove(t.Context(), "a", nil); err != nil {
			t.Fatalf("remove: %v", err)
		}
	}
	mustPlatforms(t, p)
	got, err := p.Observe(t.Context(), "a")
	if err != nil || vnodes(got) != 0 {
		t.Errorf("observe after remove: %d vnodes, %v", vnodes(got), err)
	}
}

// testPlatforms: two platforms with the same subnets do not know each other.
func testPlatforms(t *testing.T, p Pnode, shape Shape) {
	a := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	b := shape.Program("b", rand.New(rand.NewPCG(1, 2)))
	mustApply(t, p, a, nil)
	mustApply(t, p, b, nil)
	mustMatch(t, p, a)
	mustMatch(t, p, b)
	mustPlatforms(t, p, "a", "b")
	if err := p.Remove(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	mustMatch(t, p, b)
	mustPlatforms(t, p, "b")
}

func testSweep(t *testing.T, p Pnode, shape Shape) {
	mustApply(t, p, shape.Program("a", rand.New(rand.NewPCG(1, 1))), nil)
	mustApply(t, p, shape.Program("b", rand.New(rand.NewPCG(1, 2))), nil)
	for range 2 {
		if err := p.Sweep(t.Context()); err != nil {
			t.Fatalf("sweep: %v", err)
		}
		mustPlatforms(t, p)
	}
	want := shape.Program("a", rand.New(rand.NewPCG(1, 3)))
	mustApply(t, p, want, nil)
	mustMatch(t, p, want)
}

// testCancel: an apply that is cancelled leaves something the next one, or a
// remove, can go on from.
func testCancel(t *testing.T, p Pnode, shape Shape) {
	want := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	for _, after := range []int{0, 1, vnodes(want) / 2} {
		ctx, cancel := context.WithCancel(t.Context())
		if after == 0 {
			cancel()
		}
		report, err := p.Apply(ctx, want, func(up int) {
			if up >= after {
				cancel()
			}
		})
		cancel()
		if err == nil && after == 0 {
			t.Error("cancelled before it began: no error")
		}
		if err == nil && report.Up() != vnodes(want) {
			t.Errorf("cancelled after %d: no error, yet %d of %d up", after, report.Up(), vnodes(want))
		}
	}
	mustApply(t, p, want, nil)
	mustMatch(t, p, want)
}

// testInvalid: a program that cannot be meant is refused and changes nothing.
func testInvalid(t *testing.T, p Pnode, shape Shape) {
	good := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	mustApply(t, p, good, nil)
	bad := shape.Program("a", rand.New(rand.NewPCG(1, 2)))
	bad.Racks[0].Vifaces[0].Network = 999
	if _, err := p.Apply(t.Context(), bad, nil); err == nil {
		t.Error("a viface in a network that does not exist was accepted")
	}
	mustMatch(t, p, good)
}

// testLost: a rack that is killed is reported lost, and comes back.
func testLost(t *testing.T, p Pnode, shape Shape, kill func(*testing.T, Pnode, string, uint32)) {
	want := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	mustApply(t, p, want, nil)
	index := want.Racks[0].Index
	kill(t, p, "a", index)
	status, err := p.Status(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(status.Racks, func(r program.RackReport) bool { return r.Index == index })
	if i < 0 || status.Racks[i].State != program.RackLost {
		t.Errorf("killed rack %d: it is not reported lost: %+v", index, status.Racks)
	}
	mustApply(t, p, want, nil)
	mustMatch(t, p, want)
}

func mustApply(t *testing.T, p Pnode, want *program.Program, progress func(int)) *program.Report {
	t.Helper()
	report, err := p.Apply(t.Context(), want, progress)
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	for i := range report.Problems {
		t.Errorf("problem: %v", report.Problems[i].Error())
	}
	return report
}

func mustPlatforms(t *testing.T, p Pnode, want ...string) {
	t.Helper()
	got, err := p.Platforms()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("platforms: %v, want %v", got, want)
	}
}

// mustMatch compares what is with what was asked, as text.
func mustMatch(t *testing.T, p Pnode, want *program.Program) {
	t.Helper()
	have, err := p.Observe(t.Context(), want.Platform)
	if err != nil {
		t.Fatalf("observe: %v", err)
	}
	if got, want := Text(have), Text(want); got != want {
		t.Errorf("%s differs from what was asked:\n%s", have.Platform, lineDiff(got, want))
	}
}

func vnodes(p *program.Program) int {
	if p == nil {
		return 0
	}
	n := 0
	for _, r := range p.Racks {
		n += len(r.Vnodes)
	}
	return n
}

// Text renders the racks of a program so that equal platforms have equal
// text, whether a table was asked for or read back: addresses are resolved,
// and empty racks are left out.
func Text(p *program.Program) string {
	var b strings.Builder
	for _, r := range p.Racks {
		if len(r.Vnodes) == 0 {
			continue
		}
		fmt.Fprintf(&b, "rack %d\n", r.Index)
		for _, v := range r.Vnodes {
			fmt.Fprintf(&b, "rack %d slot %d vnode %s weight %d forward %v\n", r.Index, v.Slot, v.Name, v.Weight, v.Forward)
		}
		for _, v := range r.Vifaces {
			fmt.Fprintf(&b, "rack %d slot %d viface %d %s network %d host %d mac %s attach %d\n",
				r.Index, v.Slot, v.Index, v.Name, v.Network, v.Host, v.Address(), v.Attach)
		}
		for _, v := range r.Routes {
			fmt.Fprintf(&b, "rack %d slot %d route %s via %s\n", r.Index, v.Slot, v.To, v.Via)
		}
	}
	return b.String()
}

// lineDiff gives the lines that only one of two texts has.
func lineDiff(got, want string) string {
	var b strings.Builder
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for _, line := range g {
		if !slices.Contains(w, line) {
			fmt.Fprintf(&b, "  is, not asked: %s\n", line)
		}
	}
	for _, line := range w {
		if !slices.Contains(g, line) {
			fmt.Fprintf(&b, "  asked, is not: %s\n", line)
		}
	}
	return b.String()
}

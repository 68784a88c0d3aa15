package kerneltest

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"myriad/program"
)

// Delays gives conditions under which every frame that a viface of a program
// sends is so many milliseconds on its way.
func Delays(p *program.Program, ms int) *program.Links {
	return Out(p, program.Condition{Delay: time.Duration(ms) * time.Millisecond})
}

// Out gives the vifaces of a program a condition for all that they send.
func Out(p *program.Program, c program.Condition) *program.Links {
	l := &program.Links{Seed: 1, Conditions: []program.Condition{c}}
	for i := range p.Racks {
		for _, f := range p.Racks[i].Vifaces {
			l.Vifaces = append(l.Vifaces, program.LinkRange{Network: f.Network, Host: f.Host, Count: 1, Out: 1})
		}
	}
	slices.SortFunc(l.Vifaces, func(a, b program.LinkRange) int {
		return cmp.Or(cmp.Compare(a.Network, b.Network), cmp.Compare(a.Host, b.Host))
	})
	return l
}

// shaped is a program with conditions.
func shaped(p *program.Program, l *program.Links) *program.Program {
	with := *p
	with.Links = l
	return &with
}

// testLinks: conditions come with a program or after it, are changed, and go;
// what is there already is not written.
func testLinks(t *testing.T, p Pnode, shape Shape) {
	plain := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	mustApply(t, p, plain, nil)
	mustHold(t, p, "a", false)

	slow, slower := Delays(plain, 3), Delays(plain, 5)
	if r := mustApply(t, p, shaped(plain, slow), nil); r.Writes == 0 {
		t.Error("an apply with the first conditions says it wrote nothing")
	}
	mustHold(t, p, "a", true)
	mustMatch(t, p, plain)
	if r := mustApply(t, p, shaped(plain, slow), nil); r.Writes != 0 {
		t.Errorf("applying conditions that are in force wrote %d times", r.Writes)
	}
	mustShape(t, p, "a", slow, false)
	mustShape(t, p, "a", slower, true)
	mustShape(t, p, "a", slower, false)
	if r := mustApply(t, p, shaped(plain, slower), nil); r.Writes != 0 {
		t.Errorf("applying conditions that a change has put into force wrote %d times", r.Writes)
	}
	if r := mustApply(t, p, shaped(plain, slow), nil); r.Writes == 0 {
		t.Error("an apply with other conditions says it wrote nothing")
	}

	mustShape(t, p, "a", nil, true)
	mustHold(t, p, "a", false)
	mustShape(t, p, "a", nil, false)
	if r := mustApply(t, p, plain, nil); r.Writes != 0 {
		t.Errorf("without conditions, an apply wrote %d times", r.Writes)
	}
	mustShape(t, p, "a", slow, true)
	mustHold(t, p, "a", true)
	mustApply(t, p, plain, nil)
	mustHold(t, p, "a", false)
	mustMatch(t, p, plain)
}

// testLinksEdit: vnodes come and go while links have conditions.
func testLinksEdit(t *testing.T, p Pnode, shape Shape) {
	for i := range uint64(4) {
		want := shape.Program("a", rand.New(rand.NewPCG(7, i)))
		want.Links = Delays(want, 2)
		mustApply(t, p, want, nil)
		mustMatch(t, p, want)
		mustHold(t, p, "a", true)
		if r := mustApply(t, p, want, nil); r.Writes != 0 {
			t.Errorf("state %d: again, %d writes", i, r.Writes)
		}
	}
	if err := p.Remove(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	mustPlatforms(t, p)
	mustRefuse(t, p, "a", nil, program.KindNotFound)
	if _, err := p.LinkStats(t.Context(), "a"); kindOf(err) != program.KindNotFound {
		t.Errorf("links of a platform that is gone: %v", err)
	}
}

// testLinksAt: a change is in force at its moment, and not before; one that is
// called off is not.
func testLinksAt(t *testing.T, p Pnode, shape Shape) {
	want := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	want.Links = Delays(want, 1)
	mustApply(t, p, want, nil)
	const soon = 150 * time.Millisecond
	for ms := 2; ms < 5; ms++ {
		at := time.Now().Add(soon)
		s, err := p.Shape(t.Context(), "a", Delays(want, ms), at)
		switch now := time.Now(); {
		case err != nil:
			t.Fatal(err)
		case now.Before(at):
			t.Errorf("a change for a moment came %v before it", at.Sub(now))
		case s.Entries == 0 || s.Lateness < 0 || s.Lateness > time.Second:
			t.Errorf("a change for a moment: %+v", s)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	if _, err := p.Shape(ctx, "a", Delays(want, 9), time.Now().Add(time.Minute)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a change that was called off: %v", err)
	}
	mustShape(t, p, "a", Delays(want, 4), false)
	mustShape(t, p, "a", Delays(want, 9), true)
	if s, err := p.Shape(t.Context(), "a", Delays(want, 3), time.Now().Add(-soon)); err != nil || s.Lateness < soon {
		t.Errorf("a change for a moment that is over: %+v, %v", s, err)
	}
}

// testLinksInvalid: conditions that cannot be meant change nothing.
func testLinksInvalid(t *testing.T, p Pnode, shape Shape) {
	want := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	want.Links = Delays(want, 1)
	mustApply(t, p, want, nil)
	bad := Delays(want, 2)
	bad.Vifaces[0].Out = 99
	mustRefuse(t, p, "a", bad, program.KindInvalid)
	if _, err := p.Apply(t.Context(), shaped(want, bad), nil); err == nil {
		t.Error("a program with conditions that do not exist was accepted")
	}
	mustShape(t, p, "a", want.Links, false)
	mustRefuse(t, p, "nobody", want.Links, program.KindNotFound)
}

// testLinksBridge: bridges have no conditions, and that is said.
func testLinksBridge(t *testing.T, p Pnode, shape Shape) {
	want := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	slow := Delays(want, 1)
	if _, err := p.Apply(t.Context(), shaped(want, slow), nil); kindOf(err) != program.KindUnsupported {
		t.Errorf("bridges with conditions: %v", err)
	}
	mustApply(t, p, want, nil)
	mustRefuse(t, p, "a", slow, program.KindUnsupported)
	mustHold(t, p, "a", false)
	mustMatch(t, p, want)
}

// testLinksLost: a rack that is killed takes along what it holds, and gets
// back its conditions with its vnodes.
func testLinksLost(t *testing.T, p Pnode, shape Shape, kill func(*testing.T, Pnode, string, uint32)) {
	want := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	want.Links = Delays(want, 1)
	mustApply(t, p, want, nil)
	kill(t, p, "a", want.Racks[0].Index)
	mustApply(t, p, want, nil)
	mustMatch(t, p, want)
	mustHold(t, p, "a", true)
	mustShape(t, p, "a", want.Links, false)
	if r := mustApply(t, p, want, nil); r.Writes != 0 {
		t.Errorf("again: %d writes", r.Writes)
	}
}

// testLinksCancel: wherever a change breaks off, the next one goes on.
func testLinksCancel(t *testing.T, p Pnode, shape Shape) {
	rng := rand.New(rand.NewPCG(4, 4))
	want := shape.Program("a", rand.New(rand.NewPCG(1, 1)))
	mustApply(t, p, want, nil)
	for i := range 16 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(20_000))*time.Microsecond)
		l := []*program.Links{nil, Delays(want, i+1)}[rng.IntN(2)]
		var err error
		if rng.IntN(2) == 0 {
			_, err = p.Apply(ctx, shaped(want, l), nil)
		} else {
			_, err = p.Shape(ctx, "a", l, time.Time{})
		}
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("round %d: %v, want that it was called off", i, err)
		}
		if i%4 != 3 {
			continue
		}
		l = []*program.Links{nil, Delays(want, i+1)}[i/4%2]
		mustApply(t, p, shaped(want, l), nil)
		mustHold(t, p, "a", l != nil)
		if r := mustApply(t, p, shaped(want, l), nil); r.Writes != 0 {
			t.Errorf("round %d: again, %d writes", i, r.Writes)
		}
		mustShape(t, p, "a", l, false)
	}
	mustMatch(t, p, want)
}

// mustShape changes conditions, and checks whether that made a difference.
func mustShape(t *testing.T, p Pnode, platform string, l *program.Links, differs bool) {
	t.Helper()
	s, err := p.Shape(t.Context(), platform, l, time.Time{})
	if err != nil {
		t.Fatalf("change links: %v", err)
	}
	if s.Entries > 0 != differs || s.Lateness != 0 {
		t.Errorf("a change of links wrote %d entries, %v late; should it have written any: %v", s.Entries, s.Lateness, differs)
	}
}

func mustRefuse(t *testing.T, p Pnode, platform string, l *program.Links, kind program.Kind) {
	t.Helper()
	if s, err := p.Shape(t.Context(), platform, l, time.Time{}); kindOf(err) != kind {
		t.Errorf("change links of %s: %+v, %v; want a problem of kind %s", platform, s, err, kind)
	}
}

// kindOf is the kind of a problem, or none that there is.
func kindOf(err error) program.Kind {
	var p *program.Problem
	if errors.As(err, &p) {
		return p.Kind
	}
	return 255
}

// mustHold checks whether anything holds a platform's frames.
func mustHold(t *testing.T, p Pnode, platform string, held bool) {
	t.Helper()
	stats, err := p.LinkStats(t.Context(), platform)
	if err != nil {
		t.Fatalf("look at links: %v", err)
	}
	if stats.Holder != "none" != held || held && len(stats.Lateness) != program.LatenessBuckets || stats.Held != 0 {
		t.Errorf("links: %+v; should anything hold frames: %v", stats, held)
	}
}

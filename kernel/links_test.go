package kernel_test

import (
	"context"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/program"
)

// holders are those that this kernel has.
func holders() []string {
	if kernel.HaveFQ() == nil {
		return []string{kernel.HolderWheel, kernel.HolderFQ}
	}
	return []string{kernel.HolderWheel}
}

var fastest = regexp.MustCompile(`rtt min/avg/max/mdev = ([0-9.]+)/`)

// rtt is the shortest of some round trips from a vnode to an address.
func rtt(t *testing.T, racks *kernel.LocalRacks, platform string, rack uint32, from, to string) time.Duration {
	t.Helper()
	out := inVnode(t, racks, platform, rack, from, "ping -n -c 4 -i 0.05 -W 3 "+to+" || true")
	m := fastest.FindStringSubmatch(out)
	if m == nil {
		t.Errorf("%s to %s:\n%s", from, to, out)
		return 0
	}
	ms, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(ms * float64(time.Millisecond))
}

// mustTake checks a round trip against the delays on its way. Nothing comes too
// early; how late it may be is generous, for machines that are busy.
func mustTake(t *testing.T, racks *kernel.LocalRacks, from, to string, want time.Duration) {
	t.Helper()
	if got := rtt(t, racks, "ping", 0, from, to); got < want-time.Millisecond/2 || got > want+want/4+10*time.Millisecond {
		t.Errorf("%s to %s takes %v, want %v", from, to, got, want)
	}
}

// TestDelayed: frames take the time that was asked for, within a rack, across
// racks and through a gateway, after every kind of change, and nobody's
// afterwards.
func TestDelayed(t *testing.T) {
	for _, holder := range holders() {
		for _, shape := range kerneltest.Shapes {
			if shape.Fabric != program.FabricEBPF {
				continue
			}
			t.Run(holder+"-"+shape.Name, func(t *testing.T) {
				t.Setenv(kernel.HolderVariable, holder)
				p, racks := open(t)
				want := pinging(shape)
				const ms = 20
				at := func(ms time.Duration) {
					t.Helper()
					mustTake(t, racks, "a", "10.1.0.2", 2*ms*time.Millisecond)
					mustTake(t, racks, "a", "10.1.0.3", 2*ms*time.Millisecond)
					mustTake(t, racks, "a", "10.2.0.9", 4*ms*time.Millisecond)
				}
				want.Links = kerneltest.Delays(want, ms)
				mustApply(t, p, want)
				at(ms)
				change(t, p, "ping", kerneltest.Delays(want, 50))
				at(50)
				p = reopened(t, p, racks) // another daemon
				at(50)
				change(t, p, "ping", kerneltest.Delays(want, ms))
				at(ms)
				stats, err := p.LinkStats(t.Context(), "ping")
				if err != nil || stats.Holder != holder || late(stats) == 0 || stats.Lost > 0 || len(stats.Counters) == 0 {
					t.Errorf("links: %+v, %v", stats, err)
				}
				mustApply(t, p, want)
				change(t, p, "ping", nil)
				at(0)
				change(t, p, "ping", kerneltest.Delays(want, ms))
				at(ms)
				want.Links = nil
				mustApply(t, p, want)
				at(0)
			})
		}
	}
}

// late is how many frames left a holder.
func late(stats *program.LinkStats) (n uint64) {
	for _, c := range stats.Lateness {
		n += c
	}
	return n
}

// change changes the conditions of links.
func change(t *testing.T, p *kernel.Pnode, platform string, l *program.Links) {
	t.Helper()
	if s, err := p.Shape(t.Context(), platform, l, time.Time{}); err != nil || s.Entries == 0 {
		t.Fatalf("change links: %+v, %v", s, err)
	}
}

// reopened is what another process sees of a Pnode.
func reopened(t *testing.T, p *kernel.Pnode, racks *kernel.LocalRacks) *kernel.Pnode {
	t.Helper()
	again, err := kernel.Open(kernel.Config{RunDir: p.RunDir, Racks: racks})
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// TestPairs: what goes between two vnodes is delayed in one direction, and
// nothing else is.
func TestPairs(t *testing.T) {
	for _, holder := range holders() {
		t.Run(holder, func(t *testing.T) {
			t.Setenv(kernel.HolderVariable, holder)
			p, racks := open(t)
			want := pinging(kerneltest.Shapes[0])
			delay := program.PairWord(30 * time.Millisecond / program.DelayUnit)
			want.Links = &program.Links{
				Classes: 2,
				Vifaces: []program.LinkRange{{Network: 1, Host: 1, Count: 2, Class: 1}, {Network: 1, Host: 3, Count: 1, Class: 2}},
				Matrix:  []program.PairWord{0, delay, 0, 0},
				Pairs:   []program.Pair{{Network: 1, From: 2, To: 3, Word: 2 * delay}},
			}
			mustApply(t, p, want)
			mustTake(t, racks, "a", "10.1.0.2", 0)
			mustTake(t, racks, "a", "10.1.0.3", 30*time.Millisecond)
			mustTake(t, racks, "b", "10.1.0.3", 60*time.Millisecond)
			mustTake(t, racks, "b", "10.1.0.4", 0) // in no class
		})
	}
}

// TestKilledHolding: a rack that is lost with packets that it holds is made
// again, and those that come then are held.
func TestKilledHolding(t *testing.T) {
	p, racks := open(t)
	want := pinging(kerneltest.Shapes[0])
	want.Links = kerneltest.Delays(want, 500)
	mustApply(t, p, want)
	inVnode(t, racks, "ping", 0, "a", "ping -n -q -c 50 -i 0.01 -W 1 10.1.0.3 >/dev/null 2>&1 & sleep 0.4")
	if st, err := p.LinkStats(t.Context(), "ping"); err != nil || st.Held == 0 {
		t.Errorf("nothing is held: %+v, %v", st, err)
	}
	found, err := racks.Find(t.Context(), "ping")
	if err != nil {
		t.Fatal(err)
	}
	if err := found[0].Close(); err != nil {
		t.Fatal(err)
	}
	want.Links = kerneltest.Delays(want, 10)
	mustApply(t, p, want)
	mustTake(t, racks, "a", "10.1.0.3", 20*time.Millisecond)
	if r := mustApply(t, p, want); r.Writes != 0 {
		t.Errorf("again: %d writes", r.Writes)
	}
}

// TestLeaving: what is held when conditions go arrives all the same, if it does
// so soon.
func TestLeaving(t *testing.T) {
	for _, holder := range holders() {
		t.Run(holder, func(t *testing.T) {
			t.Setenv(kernel.HolderVariable, holder)
			p, racks := open(t)
			want := pinging(kerneltest.Shapes[0])
			want.Links = kerneltest.Delays(want, 300)
			mustApply(t, p, want)
			out := make(chan string)
			go func() { out <- inVnode(t, racks, "ping", 0, "a", "ping -n -q -c 20 -i 0.01 -W 2 10.1.0.3 || true") }()
			time.Sleep(250 * time.Millisecond)
			want.Links = nil
			mustApply(t, p, want)
			if got := <-out; !strings.Contains(got, " 0% packet loss") {
				t.Errorf("conditions went while packets were held:\n%s", got)
			}
		})
	}
}

// TestShapeCalledOff: a change that is prepared and called off leaves what was.
func TestShapeCalledOff(t *testing.T) {
	p, racks := open(t)
	want := pinging(kerneltest.Shapes[0])
	want.Links = kerneltest.Delays(want, 20)
	mustApply(t, p, want)
	change(t, p, "ping", kerneltest.Delays(want, 10))
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Millisecond)
		_, err := p.Shape(ctx, "ping", kerneltest.Delays(want, 70), time.Now().Add(48*time.Millisecond))
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("called off: %v", err)
		}
	}
	mustTake(t, racks, "a", "10.1.0.3", 20*time.Millisecond)
	change(t, p, "ping", kerneltest.Delays(want, 70))
	mustTake(t, racks, "a", "10.1.0.3", 140*time.Millisecond)
}

// TestShapeGrowing: conditions that need bigger tables do not come into force
// before their moment.
func TestShapeGrowing(t *testing.T) {
	p, _ := open(t)
	want := pinging(kerneltest.Shapes[0])
	want.Links = kerneltest.Delays(want, 20)
	mustApply(t, p, want)
	many := kerneltest.Delays(want, 30)
	many.Classes, many.Matrix = 100, make([]program.PairWord, 100*100)
	at := time.Now().Add(600 * time.Millisecond)
	shaped, err := p.Shape(t.Context(), "ping", many, at)
	if late := time.Since(at); err != nil || late < 0 || shaped.Lateness <= 0 || shaped.Lateness > late {
		t.Errorf("after %v: %+v, %v", late, shaped, err)
	}
}

// TestShapeUnknown: without the program that a platform was made of, it cannot
// get its first conditions; that is said.
func TestShapeUnknown(t *testing.T) {
	p, racks := open(t)
	want := pinging(kerneltest.Shapes[0])
	mustApply(t, p, want)
	slow := kerneltest.Delays(want, 1)
	other := reopened(t, p, racks)
	var q *program.Problem
	if _, err := other.Shape(t.Context(), "ping", slow, time.Time{}); !errors.As(err, &q) || q.Remedy == "" {
		t.Errorf("conditions for a platform of unknown program: %v", err)
	}
	change(t, p, "ping", slow)
	change(t, other, "ping", kerneltest.Delays(want, 2)) // now there are tables
	mustApply(t, other, want)
	if r := mustApply(t, p, want); r.Writes != 0 {
		t.Errorf("another has applied the same: %d writes", r.Writes)
	}
}

// TestHolderForced: a holder that this kernel lacks, or that nobody knows, is
// refused by name when it is needed and not before.
func TestHolderForced(t *testing.T) {
	p, _ := open(t)
	want := pinging(kerneltest.Shapes[0])
	t.Setenv(kernel.HolderVariable, "treadmill")
	mustApply(t, p, want)
	want.Links = kerneltest.Delays(want, 1)
	refused := func() {
		t.Helper()
		var q *program.Problem
		if _, err := p.Apply(t.Context(), want, nil); !errors.As(err, &q) || q.Remedy == "" || !strings.Contains(q.Error(), kernel.HolderVariable) {
			t.Errorf("refused: %v", err)
		}
	}
	refused()
	if kernel.HaveFQ() != nil {
		t.Setenv(kernel.HolderVariable, kernel.HolderFQ)
		refused()
	}
	t.Setenv(kernel.HolderVariable, kernel.HolderWheel)
	mustApply(t, p, want)
	t.Setenv(kernel.HolderVariable, "treadmill") // it has one
	mustApply(t, p, want)
}

package kernel_test

import (
	"fmt"
	"testing"
	"time"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/program"
)

// BenchmarkShape changes conditions of links again and again: of so many
// vifaces, of which all but a few live on other pnodes. "value" changes a
// condition that all refer to, "each" which one each of them refers to.
func BenchmarkShape(b *testing.B) {
	for _, n := range []uint32{10, 2000, 40_000} {
		for _, each := range []bool{false, true} {
			name := fmt.Sprintf("vifaces=%d/value", n)
			if each {
				name = fmt.Sprintf("vifaces=%d/each", n)
			}
			b.Run(name, func(b *testing.B) { benchmarkShape(b, n, each) })
		}
	}
}

func benchmarkShape(b *testing.B, n uint32, each bool) {
	kerneltest.RequireRoot(b)
	p, err := kernel.Open(kernel.Config{RunDir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := p.Sweep(b.Context()); err != nil {
			b.Error(err)
		}
	}()
	want := flat(5)
	if n > 10 {
		want.Remote = []program.PlaceRange{{Network: 1, Host: 10, Count: n - 10, Pnode: 1}}
	}
	links := func(ms int) *program.Links {
		l := &program.Links{Conditions: []program.Condition{{Delay: time.Duration(ms+1) * time.Millisecond}}}
		if !each {
			l.Vifaces = []program.LinkRange{{Network: 1, Host: 1, Count: n - 1, Out: 1}}
			return l
		}
		l.Conditions = []program.Condition{{Delay: time.Millisecond}, {Delay: 2 * time.Millisecond}, {Delay: 3 * time.Millisecond}}
		for i := range n - 1 {
			l.Vifaces = append(l.Vifaces, program.LinkRange{Network: 1, Host: i + 1, Count: 1, Out: 1 + (i+uint32(ms))%3})
		}
		return l
	}
	variants := []*program.Links{links(0), links(1), links(2)} // more than the fabric has halves
	want.Links = variants[2]
	if r, err := p.Apply(b.Context(), want, nil); err != nil || len(r.Problems) > 0 {
		b.Fatal(r, err)
	}
	entries, i := 0, 0
	var most time.Duration
	for b.Loop() {
		s, err := p.Shape(b.Context(), "flat", variants[i%len(variants)], time.Time{})
		if err != nil {
			b.Fatal(err)
		}
		entries, most = s.Entries, max(most, s.Took)
		i++
	}
	b.ReportMetric(float64(entries), "entries")
	b.ReportMetric(float64(most.Microseconds()), "most-µs")
}

package fabric

import (
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"myriad/kernel/netns"
	"myriad/program"
)

// BenchmarkShaped reports what a frame costs in the program trunk, by the
// conditions that it meets. A test run costs some 16 ns by itself. A frame
// that would be held, or go through the cut, is a different one after that: here
// its delay is less than what holding costs, and there is no cut, so that
// all is computed and then it goes straight on.
func BenchmarkShaped(b *testing.B) {
	everything := program.Condition{
		Delay: time.Microsecond, Jitter: time.Nanosecond, Loss: 1, Corrupt: 1, Duplicate: 1, Reorder: 1,
		Rate: 1e15, QueueTime: time.Hour,
	}
	matrix := onLeg("classes", program.Condition{})
	matrix.Matrix = []program.PairWord{0, 1, 0, 0}
	pair := onLeg("pair", program.Condition{})
	pair.Pairs[0].Word = 1
	all := onLeg("pair", everything)
	all.Vifaces = []program.LinkRange{{Network: 1, Host: 1, Count: 1, Out: 1}, {Network: 1, Host: 10, Count: 1, In: 1}}
	others := onLeg("out", everything)
	others.Vifaces[0].Host = 2
	trace := onLeg("out", program.Condition{Trace: 1})
	trace.Traces = []program.Trace{{Period: 1, At: make([]uint32, 1<<16)}}
	for _, c := range []struct {
		name  string
		links *program.Links
	}{
		{"plain", nil},
		{"shaped, others have conditions", others},
		{"delay", onLeg("out", program.Condition{Delay: time.Microsecond})},
		{"matrix", matrix},
		{"exception", pair},
		{"rate", onLeg("out", program.Condition{Rate: 1e15})},
		{"delay and rate, out and in", func() *program.Links {
			l := onLeg("out", program.Condition{Delay: time.Microsecond, Rate: 1e15})
			l.Vifaces = append(l.Vifaces, program.LinkRange{Network: 1, Host: 10, Count: 1, In: 1})
			return l
		}()},
		{"loss", onLeg("out", program.Condition{Loss: 1})},
		{"delay, jitter, loss, rate", onLeg("out", program.Condition{Delay: time.Microsecond, Jitter: 1, Loss: 1, Rate: 1e15})},
		{"everything on one leg", onLeg("out", everything)},
		{"everything on three legs", all},
		{"trace", trace},
	} {
		b.Run(c.name, func(b *testing.B) {
			holder := Holder{FirstHold: labHold, Base: time.Second}
			var r *rig
			if c.links == nil {
				r = &rig{b, mustLoad(b, testProgram()), newSpine(b).spine}
			} else {
				r = newRig(b, testProgram(), &Shaping{Links: c.links, Holder: holder})
			}
			b.ResetTimer()
			took := r.repeatOn(r.f.objects.Trunk, toTen, firstTrunk, uint32(b.N))
			b.ReportMetric(float64(took.Nanoseconds()), "ns/frame")
		})
	}
}

// BenchmarkHeld is a frame that is given to the holder, and released by it,
// beside a plain one: with one system call for each.
func BenchmarkHeld(b *testing.B) {
	r := newRig(b, testProgram(), &Shaping{Links: onLeg("out", program.Condition{Delay: time.Minute}), Holder: Holder{FirstHold: labHold}})
	_, held := r.run(r.f.objects.Trunk, toTen, firstTrunk, 0)
	measure := func(name string, prog *ebpf.Program, frame []byte, link uint32) {
		b.Run(name, func(b *testing.B) {
			_ = netns.Do(r.ns.ns, func() error {
				for range b.N {
					opts := ebpf.RunOptions{Data: frame, Repeat: 1, Context: skb{IngressIfindex: link}}
					if _, err := prog.Run(&opts); err != nil {
						b.Fatal(err)
					}
				}
				return nil
			})
		})
	}
	measure("hold", r.f.objects.Trunk, toTen, firstTrunk)
	measure("release", r.f.shaping.release, held, labHold)
	plain := mustLoad(b, testProgram())
	measure("plain", plain.objects.Trunk, toTen, firstTrunk)
}

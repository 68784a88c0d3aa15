package fabric

import (
	"bytes"
	"testing"
	"time"

	"myriad/program"
)

// overlayPrograms are those of the two pnodes of a world.
func overlayPrograms() (near, far *program.Program) {
	shared, own := split()
	return program.Join(shared, own[0]), program.Join(shared, own[1])
}

// TestOverlayVerdicts: what becomes of frames for other pnodes, and of those
// that only seem to come from them, with and without conditions.
func TestOverlayVerdicts(t *testing.T) {
	p, _ := overlayPrograms()
	for name, s := range map[string]*Shaping{"plain": nil, "shaped": {Links: &program.Links{}, Holder: labHolder}} {
		r := newRig(t, p, s)
		lanMAC := func(host uint32) program.MAC { return program.MACOf(1, host) }
		for _, trial := range []struct {
			name    string
			link    uint32
			frame   []byte
			verdict uint32
			reasons []string
		}{
			{"to another pnode", firstTrunk, toTen, redirect, []string{"unicast", "tunnel_out"}},
			{"to a given address there", firstTrunk, frame(dockerMAC, lanMAC(1), typeIPv4), redirect, []string{"unicast", "tunnel_out"}},
			{"from a given address", firstTrunk, frame(lanMAC(10), givenMAC, typeIPv4), redirect, []string{"unicast", "tunnel_out"}},
			{"to one far away", firstTrunk, frame(program.MACOf(2, farHost), program.MACOf(2, 1), typeIPv6), redirect, []string{"unicast", "tunnel_out"}},
			{"to another network there", firstTrunk, frame(program.MACOf(2, 5), lanMAC(1), typeIPv4), shot, []string{"drop_other_network"}},
			{"to the computed address of one with another", firstTrunk, frame(lanMAC(11), lanMAC(1), typeIPv4), shot, []string{"drop_unknown_destination"}},
			{"to one here", firstTrunk, frame(lanMAC(2), lanMAC(1), typeIPv4), redirect, []string{"unicast"}},
			{"as one of another pnode", firstTrunk, frame(lanMAC(1), lanMAC(10), typeIPv4), shot, []string{"drop_spoofed_source"}},
			{"as one with a given address there", firstTrunk, frame(lanMAC(1), dockerMAC, typeIPv4), shot, []string{"drop_spoofed_source"}},
			{"request for a given address there", firstTrunk, request(lan, 1, lan.Addr(11)), redirect, []string{"arp_answered"}},
			{"reply to one there", firstTrunk, arpFrame(lanMAC(10), lanMAC(1), 2, lanMAC(1), lan.Addr(1), lanMAC(10), lan.Addr(10)), shot, []string{"drop_arp_announcement"}},
			{"by no tunnel", OverlayIndex, frame(lanMAC(1), lanMAC(10), typeIPv4), shot, []string{"drop_foreign_tunnel"}},
			{"by no tunnel, for all", OverlayIndex, frame(broadcast, lanMAC(10), typeIPv4), shot, []string{"drop_foreign_tunnel"}},
			{"by no tunnel, from one here", OverlayIndex, frame(lanMAC(1), lanMAC(2), typeIPv4), shot, []string{"drop_foreign_tunnel"}},
			{"by no tunnel, from nobody", OverlayIndex, frame(lanMAC(1), lanMAC(99), typeIPv4), shot, []string{"drop_foreign_tunnel"}},
		} {
			before := mustCount(t, r.f)
			verdict, out := r.run(r.f.objects.Trunk, trial.frame, trial.link, 0)
			if verdict != trial.verdict {
				t.Errorf("%s, %s: verdict %d, want %d", name, trial.name, verdict, trial.verdict)
			}
			if trial.reasons[0] == "unicast" && !bytes.Equal(out, trial.frame) {
				t.Errorf("%s, %s: it becomes\n%x, want\n%x", name, trial.name, out, trial.frame)
			}
			after := mustCount(t, r.f)
			for _, reason := range trial.reasons {
				before[reason]++
			}
			for reason, n := range after {
				if n != before[reason] {
					t.Errorf("%s, %s: %s counts %d, want %d", name, trial.name, reason, n, before[reason])
				}
			}
		}
	}
}

// TestOverlayDelays: a frame waits for its first two legs at the sender, less
// what the way and holding it cost, and for its last leg at the receiver.
func TestOverlayDelays(t *testing.T) {
	const base, way, far = 100 * ms, 300 * ms, 10 * time.Second
	near, there := overlayPrograms()
	near.Ways = []time.Duration{0, way}
	there.Ways = []time.Duration{way, 0}
	var links *program.Links
	check := func(name string, p *program.Program, link uint32, from, to program.MAC, want time.Duration) {
		t.Helper()
		r := newRig(t, p, &Shaping{Links: links, Holder: Holder{FirstHold: labHold, CutLeave: labCut + 1, Base: base}})
		sent := frame(to, from, typeIPv4)
		now := monotonic()
		verdict, out := r.run(r.f.objects.Trunk, sent, link, 0)
		got := mustCount(t, r.f)
		if verdict != redirect {
			t.Errorf("%s: verdict %d, want %d", name, verdict, redirect)
		}
		if want == 0 {
			if got["held"] != 0 || !bytes.Equal(out, sent) {
				t.Errorf("%s: it is held, or became\n%x, want\n%x", name, out, sent)
			}
			return
		}
		if wait := time.Duration(headDue(out, now) - now); got["held"] != 1 || got["tunnel_out"] != 0 || wait < want-2*time.Microsecond || wait > want+soon || out[0]&1 != 0 {
			t.Errorf("%s: it waits for %v, want %v; counters: %v", name, wait, want, got)
			return
		}
		verdict, out = r.run(r.f.shaping.release, out, labHold, 0)
		got = mustCount(t, r.f)
		tunnel := uint64(1)
		if link != firstTrunk {
			tunnel = 0
		}
		if verdict != redirect || got["released"] != 1 || got["tunnel_out"] != tunnel || !bytes.Equal(out, sent) {
			t.Errorf("%s: released by verdict %d, it becomes\n%x, want\n%x; counters: %v", name, verdict, out, sent, got)
		}
	}
	lanMAC := func(host uint32) program.MAC { return program.MACOf(1, host) }
	all := onLeg("pair", program.Condition{Delay: time.Second})
	all.Conditions = append(all.Conditions, program.Condition{Delay: 2 * time.Second}, program.Condition{Delay: far, Rate: 1e9}, program.Condition{Delay: 4 * time.Second, Rate: 1e15})
	all.Vifaces = []program.LinkRange{{Network: 1, Host: 1, Count: 3, Out: 2, In: 3}, {Network: 1, Host: 10, Count: 2, Out: 3, In: 4}}
	links = all
	check("all legs, at the sender", near, firstTrunk, lanMAC(1), lanMAC(10), 3*time.Second-way-base)
	check("from a given address to one", near, firstTrunk, givenMAC, dockerMAC, 2*time.Second-way-base)
	// Nobody can come by a tunnel in a test run; what comes out of the cut has.
	check("all legs, at the receiver", there, labCut+1, lanMAC(1), lanMAC(10), 4*time.Second-base)
	check("given addresses, at the receiver", there, labCut+1, givenMAC, dockerMAC, 4*time.Second-base)
	links = onLeg("out", program.Condition{Delay: way + base})
	check("no more than the way", near, firstTrunk, lanMAC(1), lanMAC(10), 0)
	links = onLeg("in", program.Condition{Delay: time.Second})
	check("nothing at the sender", near, firstTrunk, lanMAC(1), lanMAC(10), 0)
	links = onLeg("out", program.Condition{Delay: time.Second})
	check("nothing at the receiver", there, labCut+1, lanMAC(1), lanMAC(10), 0)
}

// TestOverlayCut: what is met one by one at the receiver is not cut at the
// sender.
func TestOverlayCut(t *testing.T) {
	p, _ := overlayPrograms()
	for _, leg := range legs {
		r := newRig(t, p, &Shaping{Links: onLeg(leg, program.Condition{Loss: 1}), Holder: labHolder})
		r.run(r.f.objects.Trunk, toTen, firstTrunk, 0)
		want := uint64(1)
		if leg == "in" {
			want = 0
		}
		if got := mustCount(t, r.f)["cut"]; got != want {
			t.Errorf("%s: cut %d times, want %d", leg, got, want)
		}
	}
}

// BenchmarkOverlay reports what the program costs for frames that leave.
func BenchmarkOverlay(b *testing.B) {
	p, _ := overlayPrograms()
	for name, s := range map[string]*Shaping{"plain": nil, "shaped": {Links: &program.Links{}, Holder: labHolder}} {
		r := newRig(b, p, s)
		for to, f := range map[string][]byte{"here": frame(program.MACOf(1, 2), program.MACOf(1, 1), typeIPv4), "there": toTen} {
			b.Run(name+" "+to, func(b *testing.B) {
				took := r.repeatOn(r.f.objects.Trunk, f, firstTrunk, uint32(b.N))
				b.ReportMetric(float64(took.Nanoseconds()), "ns/frame")
			})
		}
	}
}

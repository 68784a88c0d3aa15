package fabric

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/rtnl"
	"myriad/program"
)

const ms = time.Millisecond

// newShapedWorld makes two pnodes whose links have conditions.
func newShapedWorld(t testing.TB, fq bool, links *program.Links) *world {
	t.Helper()
	w := newWorld(t)
	for _, l := range w.pnodes {
		l.withHolder(fq)
	}
	w.shared.Links = links
	w.ensure()
	return w
}

// TestShapedOverlay: whatever vnodes send arrives at the other pnode as it was
// sent, however it is cut, held and paced at either end.
func TestShapedOverlay(t *testing.T) { holders(t, testShapedOverlay) }

func testShapedOverlay(t *testing.T, fq bool) {
	chance := program.Condition{Delay: ms, Jitter: ms, Duplicate: share(0.1), Reorder: share(0.1), Loss: share(0.01), Corrupt: share(0.01), Rate: 500e6}
	for name, links := range map[string]*program.Links{
		"delay":         everyone(program.Condition{Delay: ms}, program.Condition{Delay: ms}),
		"rate":          everyone(program.Condition{Rate: 150e6}, program.Condition{Rate: 190e6}), // is cut at both ends
		"rate out":      everyone(program.Condition{Rate: 150e6}, program.Condition{}),
		"rate in":       everyone(program.Condition{}, program.Condition{Rate: 150e6}),
		"high rate":     everyone(program.Condition{Rate: 2e9}, program.Condition{Rate: 3e9}), // is not
		"all of chance": everyone(chance, program.Condition{Delay: ms, Jitter: ms, Ordered: true, Rate: 500e6}),
	} {
		t.Run(name, func(t *testing.T) {
			w := newShapedWorld(t, fq, links)
			l := w.both()
			for _, pair := range [][2]string{{"1/3", "1/11"}, {"2/1", "2/60000"}} {
				l.checkTCP(pair[0], pair[1])
				if name == "all of chance" { // a single packet may be lost
					continue
				}
				to := l.addr(pair[1])
				for _, args := range [][]string{nil, {"-s", "4000"}, {"-s", "60000"}, {"-R"}} { // fragments; IP options
					if err := l.ping(pair[0], to.String(), args...); err != nil {
						t.Error(err)
					}
				}
			}
			for k, l := range w.pnodes {
				l.await("released", mustCount(t, l.fabric)["held"])
				got := mustCount(t, l.fabric)
				out, in := links.Conditions[0], links.Conditions[1]
				cut := out.Rate != 0 && out.Rate < cutRate || in.Rate != 0 && in.Rate < cutRate || out.Jitter != 0
				if got["tunnel_out"] == 0 || got["tunnel_in"] == 0 || got["held"] == 0 || (got["cut"] > 0) != cut {
					t.Errorf("pnode %d counts %v", k, got)
				}
				for _, reason := range []string{"drop_malformed", "drop_spoofed_source", "drop_no_state", "drop_no_holder", "released_to_nobody",
					"drop_foreign_tunnel", "drop_other_pnode"} {
					if got[reason] != 0 {
						t.Errorf("pnode %d: %s counts %d, want 0", k, reason, got[reason])
					}
				}
			}
		})
	}
}

// TestOverlayLegs: each leg is met once, out and between at the sender's
// pnode and in at the receiver's.
func TestOverlayLegs(t *testing.T) { holders(t, testOverlayLegs) }

func testOverlayLegs(t *testing.T, fq bool) {
	w := newShapedWorld(t, fq, &program.Links{})
	l := w.both()
	server := l.listen("1/10", "10.1.0.10:7")
	client := l.listen("1/1", "10.1.0.1:7")
	go echo(server)
	w.shared.Links = onLeg("out", program.Condition{Delay: time.Microsecond}) // has links, holds nothing
	w.ensure()
	l.rtt(client, server.LocalAddr()) // ARP
	for _, leg := range legs {
		before := [2]map[string]uint64{mustCount(t, w.pnodes[0].fabric), mustCount(t, w.pnodes[1].fabric)}
		w.shared.Links = onLeg(leg, program.Condition{Delay: 30 * ms})
		if w.ensure() == 0 {
			t.Error("nothing is written")
		}
		if got := l.rtt(client, server.LocalAddr()); got < 30*ms || got > 30*ms+soon {
			t.Errorf("%s: %v, want 30 ms", leg, got)
		}
		at := 0
		if leg == "in" {
			at = 1
		}
		for k := range w.pnodes {
			want := uint64(0)
			if k == at {
				want = 1
			}
			after := mustCount(t, w.pnodes[k].fabric)
			if got := after["held"] - before[k]["held"]; got != want {
				t.Errorf("%s: pnode %d held %d, want %d", leg, k, got, want)
			}
		}
	}
	all := onLeg("pair", program.Condition{Delay: 30 * ms})
	all.Conditions = append(all.Conditions, program.Condition{Delay: 20 * ms})
	all.Vifaces = []program.LinkRange{{Network: 1, Host: 1, Count: 1, Out: 1, In: 1}, {Network: 1, Host: 10, Count: 1, Out: 2, In: 2}}
	w.shared.Links = all
	w.ensure()
	if got := l.rtt(client, server.LocalAddr()); got < 130*ms || got > 130*ms+soon { // 30 + 30 + 20 there, 20 + 30 back
		t.Errorf("all legs: %v, want 130 ms", got)
	}
}

// TestWays: what the way to a pnode takes by itself is part of the delay that
// is asked for, as far as there is one at the sender.
func TestWays(t *testing.T) { holders(t, testWays) }

func testWays(t *testing.T, fq bool) {
	w := newShapedWorld(t, fq, everyone(program.Condition{Delay: 100 * ms}, program.Condition{}))
	w.shared.Sites, w.shared.Ways = 1, []time.Duration{40 * ms}
	w.ensure()
	l := w.both()
	server, near := l.listen("1/10", "10.1.0.10:7"), l.listen("1/2", "10.1.0.2:7")
	client := l.listen("1/1", "10.1.0.1:7")
	go echo(server)
	go echo(near)
	l.rtt(client, server.LocalAddr())
	l.rtt(client, near.LocalAddr())
	for _, trial := range []struct {
		name    string
		out, in time.Duration
		want    time.Duration // there and back, less the ways
		held    uint64        // how many times then
	}{{"more", 100 * ms, 0, 120 * ms, 2}, {"less", 30 * ms, 0, 0, 0}, {"nothing at the sender", 0, 30 * ms, 60 * ms, 2}, {"both", 50 * ms, 30 * ms, 80 * ms, 4}} {
		w.shared.Links = everyone(program.Condition{Delay: trial.out}, program.Condition{Delay: trial.in})
		w.ensure()
		before := w.count()["held"]
		if got := l.rtt(client, server.LocalAddr()); got < trial.want || got > trial.want+soon {
			t.Errorf("%s: %v, want %v", trial.name, got, trial.want)
		}
		if got := w.count()["held"] - before; got != trial.held {
			t.Errorf("%s: held %d times, want %d", trial.name, got, trial.held)
		}
		want := 2 * (trial.out + trial.in)
		if got := l.rtt(client, near.LocalAddr()); got < want || got > want+soon {
			t.Errorf("%s, on one pnode: %v, want %v", trial.name, got, want)
		}
	}
}

// TestOverlayTwins: a frame that is duplicated arrives twice, whichever leg
// does it, and each leg doubles what comes to it.
func TestOverlayTwins(t *testing.T) { holders(t, testOverlayTwins) }

func testOverlayTwins(t *testing.T, fq bool) {
	w := newShapedWorld(t, fq, &program.Links{})
	l := w.both()
	get := l.listen("1/10", "10.1.0.10:9")
	c := l.listen("1/1", "10.1.0.1:9")
	for _, delay := range []time.Duration{0, ms} {
		twins := program.Condition{Duplicate: share(1), Delay: delay}
		all := onLeg("pair", twins)
		all.Vifaces = []program.LinkRange{{Network: 1, Host: 1, Count: 1, Out: 1}, {Network: 1, Host: 10, Count: 1, In: 1}}
		for i, links := range []*program.Links{onLeg("out", twins), onLeg("in", twins), onLeg("pair", twins), all} {
			w.shared.Links = links
			w.ensure()
			want := 2
			if i == 3 {
				want = 8
			}
			for n := range 5 {
				_, err := c.WriteToUDPAddrPort(fmt.Append(nil, n), netip.MustParseAddrPort("10.1.0.10:9"))
				l.must(err)
				for range want {
					l.expect(get, fmt.Sprint(n))
				}
			}
			l.quiet(get)
		}
	}
}

// TestOverlayCorruption: the wrong bit is there at the other pnode, with the
// checksum of the right one, wherever it was turned.
func TestOverlayCorruption(t *testing.T) { holders(t, testOverlayCorruption) }

func testOverlayCorruption(t *testing.T, fq bool) {
	for _, leg := range []string{"out", "in"} {
		w := newShapedWorld(t, fq, onLeg(leg, program.Condition{Corrupt: share(0.5)}))
		l := w.both()
		wire := l.wire(l.vnodes["1/10"], ethIndex)
		get := l.listen("1/10", "10.1.0.10:9")
		c := l.listen("1/1", "10.1.0.1:9")
		const frames = 50
		wrong := uint64(0)
		for n := range frames {
			_, err := c.WriteToUDPAddrPort(fmt.Appendf(nil, "%04d", n), netip.MustParseAddrPort("10.1.0.10:9"))
			l.must(err)
		}
		for seen := 0; seen < frames; {
			f := wire.next(l)
			if f == nil {
				t.Fatalf("only %d frames arrive", seen)
			}
			if f[12] != 8 || f[13] != 0 {
				continue
			}
			seen++
			pseudo := slices.Concat(f[26:34], []byte{0, 17, 0, 12}, f[34:])
			if checksum(f[14:34]) != 0 || checksum(pseudo) != 0 {
				wrong++
			}
		}
		if got := w.count()["corrupted"]; got != wrong || wrong == 0 || wrong == frames {
			t.Errorf("%s: %d frames are wrong, and %d were corrupted", leg, wrong, got)
		}
		heard := uint64(0)
		for buf := make([]byte, 100); ; heard++ {
			l.must(get.SetReadDeadline(time.Now().Add(50 * ms)))
			if _, err := get.Read(buf); err != nil {
				break
			}
		}
		if heard != frames-wrong {
			t.Errorf("%s: %d datagrams are heard, want %d", leg, heard, frames-wrong)
		}
	}
}

// TestShapedOverlayBroadcast: each copy of a frame for all meets what goes for
// its receiver, at its receiver's pnode.
func TestShapedOverlayBroadcast(t *testing.T) { holders(t, testShapedOverlayBroadcast) }

func testShapedOverlayBroadcast(t *testing.T, fq bool) {
	w := newShapedWorld(t, fq, &program.Links{
		Conditions: []program.Condition{{Delay: 100 * ms}, {Delay: 50 * ms, Jitter: time.Microsecond}},
		Vifaces:    []program.LinkRange{{Network: 1, Host: 1, Count: 1, Out: 1}, {Network: 1, Host: 10, Count: 1, In: 2}},
	})
	l := w.both()
	sockets := map[string]*net.UDPConn{}
	for _, name := range []string{"1/2", "1/10", "1/11"} {
		sockets[name] = l.listen(name, "0.0.0.0:9")
	}
	c := l.listen("1/1", "10.1.0.1:9")
	raw, err := c.SyscallConn()
	l.must(err)
	l.must(raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 1) }))
	l.must(err)
	begin := time.Now()
	_, err = c.WriteToUDPAddrPort([]byte("all"), netip.MustParseAddrPort("10.1.255.255:9"))
	l.must(err)
	l.expect(sockets["1/2"], "all")
	l.expect(sockets["1/11"], "all")
	if took := time.Since(begin); took < 100*ms {
		t.Errorf("to the next, it took %v, want 100 ms", took)
	}
	l.expect(sockets["1/10"], "all")
	if took := time.Since(begin); took < 150*ms-10*time.Microsecond {
		t.Errorf("to the slow one, it took %v, want 150 ms", took)
	}
	for _, c := range sockets {
		l.quiet(c)
	}
	for k, want := range []map[string]uint64{
		{"broadcast": 1, "cut": 1, "held": 4, "released": 4, "tunnel_out": 2},
		{"tunnel_in": 2, "unicast": 1, "held": 1, "released": 1, "cut": 1},
	} {
		got := mustCount(t, w.pnodes[k].fabric)
		for reason, n := range want {
			if got[reason] != n {
				t.Errorf("pnode %d: %s counts %d, want %d", k, reason, got[reason], n)
			}
		}
	}
}

// TestMovedWhileHeld: who is on another pnode when his frame is due gets it
// there.
func TestMovedWhileHeld(t *testing.T) { holders(t, testMovedWhileHeld) }

func testMovedWhileHeld(t *testing.T, fq bool) {
	w := newShapedWorld(t, fq, everyone(program.Condition{Delay: 300 * ms}, program.Condition{Rate: 1e9})) // which keeps order
	l := w.pnodes[0]
	send, get := l.wire(l.racks[0], trunkIndex), l.wire(w.pnodes[1].racks[1], trunkIndex)
	f := frame(program.MACOf(1, 2), program.MACOf(1, 1), typeIPv4)
	send.send(l, f)
	l.await("held", 1)
	for i := range w.shared.Places {
		if p := &w.shared.Places[i]; p.Network == 1 && p.Host == 2 {
			p.Pnode = 1
		}
	}
	moved := w.own[0].Racks[0].Vifaces[1] // lan host 2
	w.own[0].Racks[0].Vifaces = slices.Delete(w.own[0].Racks[0].Vifaces, 1, 2)
	w.own[1].Racks[0].Vifaces = append(w.own[1].Racks[0].Vifaces, moved)
	w.ensure()
	if got := get.next(l); !slices.Equal(got, f) {
		t.Errorf("what arrives is\n%x, want\n%x", got, f)
	}
	if got := w.count(); got["tunnel_out"] != 1 || got["tunnel_in"] != 1 || got["released_to_nobody"] != 0 {
		t.Errorf("counters: %v", got)
	}
}

// TestOverlayJumbo: frames of 9,000 bytes, and what is cut from them, where the
// underlay takes more.
func TestOverlayJumbo(t *testing.T) { holders(t, testOverlayJumbo) }

func testOverlayJumbo(t *testing.T, fq bool) {
	for name, links := range map[string]*program.Links{
		"plain": {},
		"cut":   everyone(program.Condition{Delay: ms, Rate: 190e6}, program.Condition{Jitter: time.Microsecond}),
	} {
		w := newShapedWorld(t, fq, links)
		all := w.both()
		for k, l := range w.pnodes {
			w.underlay[k].do(l, func(b *rtnl.Batch) { b.SetLink(&rtnl.Link{Index: ethIndex, MTU: 9000 + program.VXLANOverhead}) })
			for i, r := range l.racks {
				r.do(l, func(b *rtnl.Batch) { b.SetLink(&rtnl.Link{Index: trunkIndex, MTU: 9000}) })
				l.spine.do(l, func(b *rtnl.Batch) { b.SetLink(&rtnl.Link{Index: int32(firstTrunk + i), MTU: 9000}) })
			}
			for _, v := range l.vnodes {
				v.do(l, func(b *rtnl.Batch) { b.SetLink(&rtnl.Link{Index: ethIndex, MTU: 9000}) })
			}
		}
		err := errors.Join(all.ping("1/1", "10.1.0.10", "-s", "8972", "-M", "do"), all.ping("1/1", "10.1.0.10", "-s", "30000"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		all.checkTCP("1/1", "1/10")
	}
}

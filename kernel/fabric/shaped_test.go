package fabric

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/rtnl"
	"myriad/program"
)

// newShapedLab makes a lab whose links have conditions.
func newShapedLab(t testing.TB, fq bool, p *program.Program, links *program.Links) *lab {
	t.Helper()
	l := newLab(t, p)
	l.withHolder(fq)
	l.shape(p, links)
	return l
}

// everyone gives conditions to all vifaces of the test program.
func everyone(out, in program.Condition) *program.Links {
	return &program.Links{
		Seed:       seed,
		Conditions: []program.Condition{out, in},
		Vifaces: []program.LinkRange{
			{Network: 1, Host: 1, Count: 100, Out: 1, In: 2}, {Network: 2, Host: 1, Count: farHost, Out: 1, In: 2},
		},
	}
}

// rtt sends one datagram to an echo and says when its answer is there.
func (l *lab) rtt(client *net.UDPConn, server net.Addr) time.Duration {
	l.Helper()
	begin := time.Now()
	l.must(l.ask(client, server.(interface{ AddrPort() netip.AddrPort }).AddrPort(), "now"))
	return time.Since(begin)
}

// TestShapedPaths: whatever vnodes send arrives as it was sent, however it is
// cut, held and paced on its way.
func TestShapedPaths(t *testing.T) { holders(t, testShapedPaths) }

func testShapedPaths(t *testing.T, fq bool) {
	const ms = time.Millisecond
	for name, links := range map[string]*program.Links{
		"delay":     everyone(program.Condition{Delay: ms}, program.Condition{Delay: ms}),
		"rate":      everyone(program.Condition{Rate: 150e6}, program.Condition{Rate: 190e6}), // is cut
		"high rate": everyone(program.Condition{Rate: 2e9}, program.Condition{Rate: 3e9}),     // is not
		"all of chance": everyone(
			program.Condition{Delay: ms, Jitter: ms, Duplicate: share(0.1), Reorder: share(0.1), Loss: share(0.01), Corrupt: share(0.01), Rate: 500e6},
			program.Condition{Delay: ms, Jitter: ms, Ordered: true, Rate: 500e6}),
	} {
		t.Run(name, func(t *testing.T) {
			l := newShapedLab(t, fq, testProgram(), links)
			chance := name == "all of chance"
			for _, pair := range [][2]string{{"1/1", "1/2"}, {"1/3", "1/11"}, {"2/1", "2/60000"}} {
				l.checkTCP(pair[0], pair[1])
				if chance { // a single packet may be lost
					continue
				}
				to := l.addr(pair[1])
				for _, args := range [][]string{nil, {"-s", "4000"}, {"-s", "60000"}, {"-R"}} { // fragments; IP options
					if err := l.ping(pair[0], to.String(), args...); err != nil {
						t.Error(err)
					}
				}
			}
			got := mustCount(t, l.fabric)
			if got["held"] == 0 || got["released"] == 0 || (got["cut"] > 0) != (name == "rate" || chance) {
				t.Errorf("counters: %v", got)
			}
			for _, reason := range []string{"drop_malformed", "drop_spoofed_source", "drop_no_state", "drop_no_holder", "released_to_nobody"} {
				if got[reason] != 0 {
					t.Errorf("%s counts %d, want 0", reason, got[reason])
				}
			}
		})
	}
}

// TestShapedDelay: what is asked for is what vnodes see, each way by itself.
func TestShapedDelay(t *testing.T) { holders(t, testShapedDelay) }

func testShapedDelay(t *testing.T, fq bool) {
	l := newShapedLab(t, fq, testProgram(), &program.Links{
		Conditions: []program.Condition{{Delay: 30 * time.Millisecond}, {Delay: 20 * time.Millisecond}},
		Vifaces:    []program.LinkRange{{Network: 1, Host: 1, Count: 1, Out: 1, In: 2, Class: 1}, {Network: 1, Host: 10, Count: 1, Class: 1}},
		Classes:    1, Matrix: []program.PairWord{program.PairWord(5 * time.Millisecond / program.DelayUnit)},
	})
	for _, way := range []struct {
		from, to string
		want     time.Duration
	}{{"1/1", "1/2", 50}, {"1/2", "1/1", 50}, {"1/1", "1/10", 60}, {"1/2", "1/3", 0}, {"1/2", "1/10", 0}} {
		server := l.listen(way.to, fmt.Sprintf("%s:7", l.addr(way.to)))
		client := l.listen(way.from, fmt.Sprintf("%s:0", l.addr(way.from)))
		go echo(server)
		l.rtt(client, server.LocalAddr()) // ARP
		got, want := l.rtt(client, server.LocalAddr()), way.want*time.Millisecond
		if got < want || got > want+soon {
			t.Errorf("from %s to %s and back: %v, want %v", way.from, way.to, got, want)
		}
		server.Close()
	}
	late, err := l.fabric.Lateness()
	l.must(err)
	sum := uint64(0)
	for _, n := range late {
		sum += n
	}
	if got := mustCount(t, l.fabric)["released"]; sum != got || len(late) != program.LatenessBuckets {
		t.Errorf("lateness of %d frames, want %d", sum, got)
	}
}

// TestStages: of two frames to a receiver with a slow link, the one from near
// does not wait for the one from far away, which is still to come.
func TestStages(t *testing.T) { holders(t, testStages) }

func testStages(t *testing.T, fq bool) {
	const far, near, delay = "1/1", "1/2", 300 * time.Millisecond
	for _, in := range []program.Condition{{Rate: 1e6}, {Trace: 1}, {Jitter: time.Microsecond, Ordered: true}} {
		l := newShapedLab(t, fq, testProgram(), &program.Links{
			Conditions: []program.Condition{{Delay: delay}, in},
			Vifaces:    []program.LinkRange{{Network: 1, Host: 1, Count: 1, Out: 1}, {Network: 1, Host: 10, Count: 1, In: 2}},
			Traces:     []program.Trace{{Period: 10, At: []uint32{0, 5, 10}}},
		})
		get := l.listen("1/10", "10.1.0.10:9")
		begin := time.Now()
		for _, from := range []string{far, near} {
			c := l.listen(from, l.addr(from).String()+":9")
			_, err := c.WriteToUDPAddrPort([]byte(from), netip.MustParseAddrPort("10.1.0.10:9"))
			l.must(err)
		}
		l.expect(get, near)
		l.expect(get, far)
		if took := time.Since(begin); took < delay {
			t.Errorf("%+v: the far one took %v, want %v", in, took, delay)
		}
	}
}

// expect waits for a datagram.
func (l *lab) expect(c *net.UDPConn, want string) {
	l.Helper()
	buf := make([]byte, 2048)
	l.must(c.SetReadDeadline(time.Now().Add(5 * time.Second)))
	n, err := c.Read(buf)
	if err != nil || string(buf[:n]) != want {
		l.Errorf("got %q (%v), want %q", buf[:n], err, want)
	}
}

// TestTwins: a frame that is duplicated arrives twice, on every leg.
func TestTwins(t *testing.T) { holders(t, testTwins) }

func testTwins(t *testing.T, fq bool) {
	for _, leg := range []string{"out", "in", "pair"} {
		for _, delay := range []time.Duration{0, time.Millisecond} {
			l := newShapedLab(t, fq, testProgram(), onLeg(leg, program.Condition{Duplicate: share(1), Delay: delay}))
			get := l.listen("1/10", "10.1.0.10:9")
			c := l.listen("1/1", "10.1.0.1:9")
			for n := range 20 {
				_, err := c.WriteToUDPAddrPort(fmt.Append(nil, n), netip.MustParseAddrPort("10.1.0.10:9"))
				l.must(err)
				l.expect(get, fmt.Sprint(n))
				l.expect(get, fmt.Sprint(n))
			}
			l.quiet(get)
		}
	}
	// Each leg doubles what comes to it.
	links := onLeg("pair", program.Condition{Duplicate: share(1), Delay: time.Millisecond})
	links.Vifaces = []program.LinkRange{{Network: 1, Host: 1, Count: 1, Out: 1}, {Network: 1, Host: 10, Count: 1, In: 1}}
	l := newShapedLab(t, fq, testProgram(), links)
	get := l.listen("1/10", "10.1.0.10:9")
	_, err := l.listen("1/1", "10.1.0.1:9").WriteToUDPAddrPort([]byte("eight"), netip.MustParseAddrPort("10.1.0.10:9"))
	l.must(err)
	for range 8 {
		l.expect(get, "eight")
	}
	l.quiet(get)
}

// quiet checks that nothing more comes.
func (l *lab) quiet(c *net.UDPConn) {
	l.Helper()
	l.must(c.SetReadDeadline(time.Now().Add(20 * time.Millisecond)))
	buf := make([]byte, 2048)
	if n, err := c.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
		l.Errorf("%q arrives, too (%v)", buf[:n], err)
	}
}

// TestCorruption: the wrong bit is there, with the checksum of the right one,
// so that every receiver notices.
func TestCorruption(t *testing.T) { holders(t, testCorruption) }

func testCorruption(t *testing.T, fq bool) {
	l := newShapedLab(t, fq, testProgram(), onLeg("out", program.Condition{Corrupt: share(0.5)}))
	w := l.wire(l.vnodes["1/10"], ethIndex)
	get := l.listen("1/10", "10.1.0.10:9")
	c := l.listen("1/1", "10.1.0.1:9")
	const frames = 200
	for n := range frames {
		_, err := c.WriteToUDPAddrPort(fmt.Appendf(nil, "%04d", n), netip.MustParseAddrPort("10.1.0.10:9"))
		l.must(err)
	}
	wrong, right := 0, 0
	for seen := 0; seen < frames; {
		f := w.next(l)
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
		} else {
			right++
		}
	}
	got := mustCount(t, l.fabric)
	if wrong == 0 || right == 0 || uint64(wrong) != got["corrupted"] {
		t.Errorf("%d frames are wrong and %d right; counters: %v", wrong, right, got)
	}
	heard := 0
	buf := make([]byte, 100)
	for {
		l.must(get.SetReadDeadline(time.Now().Add(50 * time.Millisecond)))
		if _, err := get.Read(buf); err != nil {
			break
		}
		heard++
	}
	if heard != right {
		t.Errorf("%d datagrams are heard, want %d", heard, right)
	}
}

// TestShapedBroadcast: each copy of a frame for all meets what goes for its
// receiver.
func TestShapedBroadcast(t *testing.T) { holders(t, testShapedBroadcast) }

func testShapedBroadcast(t *testing.T, fq bool) {
	l := newShapedLab(t, fq, testProgram(), &program.Links{
		Conditions: []program.Condition{{Delay: 200 * time.Millisecond}, {Loss: program.ShareOne}, {Delay: time.Millisecond, Corrupt: program.ShareOne}},
		Vifaces: []program.LinkRange{
			{Network: 1, Host: 2, Count: 1, In: 1}, {Network: 1, Host: 3, Count: 1, In: 2}, {Network: 1, Host: 10, Count: 1, In: 3},
		},
	})
	sockets := map[string]*net.UDPConn{}
	for _, name := range []string{"1/2", "1/3", "1/10", "1/11"} {
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
	l.expect(sockets["1/11"], "all")
	l.expect(sockets["1/2"], "all")
	if took := time.Since(begin); took < 200*time.Millisecond {
		t.Errorf("the delayed copy took %v", took)
	}
	l.quiet(sockets["1/3"])
	l.quiet(sockets["1/10"])
	l.quiet(sockets["1/11"])
	got := mustCount(t, l.fabric)
	for reason, want := range map[string]uint64{"broadcast": 1, "broadcast_copy": 1, "held": 2, "released": 2, "drop_lost": 1, "corrupted": 1, "cut": 1} {
		if got[reason] != want {
			t.Errorf("%s counts %d, want %d", reason, got[reason], want)
		}
	}
}

// TestJumbo: frames of 9,000 bytes, and what is cut from them.
func TestJumbo(t *testing.T) { holders(t, testJumbo) }

func testJumbo(t *testing.T, fq bool) {
	p := testProgram()
	l := newShapedLab(t, fq, p, everyone(program.Condition{Delay: time.Millisecond, Rate: 190e6}, program.Condition{Jitter: time.Microsecond}))
	for _, r := range l.racks {
		r.do(l, func(b *rtnl.Batch) { b.SetLink(&rtnl.Link{Index: trunkIndex, MTU: 9000}) })
	}
	for k := range l.racks {
		l.spine.do(l, func(b *rtnl.Batch) { b.SetLink(&rtnl.Link{Index: int32(firstTrunk + k), MTU: 9000}) })
	}
	for _, v := range l.vnodes {
		v.do(l, func(b *rtnl.Batch) { b.SetLink(&rtnl.Link{Index: ethIndex, MTU: 9000}) })
	}
	if err := l.ping("1/1", "10.1.0.10", "-s", "8972", "-M", "do"); err != nil {
		t.Error(err)
	}
	if err := l.ping("1/1", "10.1.0.10", "-s", "30000"); err != nil {
		t.Error(err)
	}
	l.checkTCP("1/1", "1/10")
}

// TestGone: a receiver that is gone when its frame is due is nobody, and a
// sender that is gone does not matter.
func TestGone(t *testing.T) { holders(t, testGone) }

func testGone(t *testing.T, fq bool) {
	p := testProgram()
	links := everyone(program.Condition{Delay: 300 * time.Millisecond}, program.Condition{})
	l := newShapedLab(t, fq, p, links)
	w := l.wire(l.racks[1], trunkIndex)
	send := l.wire(l.racks[0], trunkIndex)
	f := frame(program.MACOf(1, 10), program.MACOf(1, 1), typeIPv4)
	without := testProgram()
	without.Racks[0].Vifaces = without.Racks[0].Vifaces[1:]
	send.send(l, f)
	l.await("held", 1)
	l.shape(without, links)
	if got := w.next(l); !slices.Equal(got, f) {
		t.Errorf("from one who is gone arrives\n%x, want\n%x", got, f)
	}
	l.shape(p, links)
	send.send(l, f)
	l.await("held", 2)
	without = testProgram()
	without.Racks[1].Vifaces = without.Racks[1].Vifaces[1:]
	l.shape(without, links)
	l.await("released_to_nobody", 1)
	if got := w.drain(l); len(got) > 0 {
		t.Errorf("it arrives: %x", got)
	}
}

// await waits until something has been counted.
func (l *lab) await(reason string, n uint64) {
	l.Helper()
	for begin := time.Now(); mustCount(l, l.fabric)[reason] < n; time.Sleep(time.Millisecond) {
		if time.Since(begin) > 5*time.Second {
			l.Fatalf("%s counts %d, want %d", reason, mustCount(l, l.fabric)[reason], n)
		}
	}
}

package kernel_test

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/kernel/wheel"
	"myriad/program"
)

// TestFragments: datagrams larger than frames arrive whole or not at all, and
// every fragment is met by itself.
func TestFragments(t *testing.T) {
	scenes(t, 1500, func(s *scene) {
		s.apply(program.Condition{Delay: time.Millisecond})
		from, to := s.udp("a", "10.1.0.1:9"), s.udp("c", "10.1.0.3:9")
		for name, c := range map[string]program.Condition{
			"delay":   {Delay: 5 * time.Millisecond},
			"jitter":  {Delay: 5 * time.Millisecond, Jitter: 4 * time.Millisecond}, // fragments overtake each other
			"rate":    {Delay: time.Millisecond, Rate: 200e6, QueueTime: time.Second},
			"loss":    {Delay: time.Millisecond, Loss: share(0.05)},
			"corrupt": {Delay: time.Millisecond, Corrupt: share(0.05)},
			"twice":   {Delay: time.Millisecond, Duplicate: share(0.2)},
		} {
			s.apply(c)
			s.fragments(name, c, from, to)
		}
	})
}

// fragments sends large datagrams from a to c, and sees what becomes of them.
func (s *scene) fragments(name string, c program.Condition, from, to *net.UDPConn) {
	s.Helper()
	const datagrams, size, pieces = 300, 8000, 6
	const together = 10 // Linux gives up a datagram when 64 fragments of others come in between
	before, begun := s.counts(), time.Now()
	for n := range datagrams {
		if _, err := from.WriteToUDPAddrPort(numbered(n, size), netip.MustParseAddrPort("10.1.0.3:9")); err != nil {
			s.Fatal(err)
		}
		if c.Jitter > 0 && n%together == together-1 {
			time.Sleep(2 * (c.Delay + c.Jitter))
		}
	}
	got := s.settled(before)
	took, whole := time.Since(begun), 0
	for _, b := range s.drain(to, 100*time.Millisecond) {
		if !isNumbered(b, size) {
			s.Fatalf("%s: %d bytes arrive that nobody sent", name, len(b))
		}
		whole++
	}
	lost := got["drop_lost"] + got["corrupted"]
	if sent := uint64(datagrams * pieces); got["held"]+got["unicast"]+got["drop_lost"] != sent+got["duplicated"] || got["released"] != got["held"] || got["lost_in_holder"] > 0 || got["drop_queue_full"] > 0 {
		s.Errorf("%s: of %d fragments: %v", name, sent, got)
	}
	if touched := c.Loss > 0 || c.Corrupt > 0; touched != (lost > 0) || !touched && whole != datagrams || whole < datagrams-int(lost) {
		s.Errorf("%s: %d of %d arrive, %v", name, whole, datagrams, got)
	}
	if c.Rate > 0 && took < time.Duration(datagrams*size*8)*time.Second/time.Duration(c.Rate) {
		s.Errorf("%s: they took %v", name, took)
	}
}

// TestECN: senders that understand marks are slowed by them, and lose nothing.
func TestECN(t *testing.T) {
	scenes(t, 1500, func(s *scene) {
		const rate, queue, trip = 100e6, 20 * time.Millisecond, 10 * time.Millisecond
		s.apply(program.Condition{Delay: trip / 2, Rate: rate, QueueTime: queue, ECN: true})
		for _, v := range []string{"a", "c"} {
			s.sh(v, "sysctl -q -w net.ipv4.tcp_ecn=1")
		}
		// What is under way fills the queue, but never twice: it grows in any
		// case until it is marked, and to no more than the receiver's window.
		window := int(rate / 8 * (trip + queue*3/2).Seconds())
		before := s.counts()
		got, again := s.tcp("a", "c", time.Second,
			func(fd int) error { return unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno") },
			option(unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP, window))
		after := s.settled(before)
		if got < 0.7*rate || got > rate || after["marked"] == 0 {
			s.Errorf("%.1f Mbit/s, %v", got/1e6, after)
		}
		if again > few || after["drop_queue_full"] > 0 {
			s.Errorf("%d segments were sent again, %v", again, after)
		}
	})
}

// few segments may be sent again though none was lost: of the last ones, nobody
// hears whether they had come.
const few = 20

// TestLargeTCP: TCP that the kernel would cut into packets only at the end,
// with frames of both sizes, held whole, cut, and at a rate.
func TestLargeTCP(t *testing.T) {
	for _, mtu := range []uint16{1500, 9000} {
		scenes(t, mtu, func(s *scene) {
			for name, c := range map[string]program.Condition{
				"whole": {Delay: time.Millisecond},
				"cut":   {Delay: time.Millisecond, Jitter: 100 * time.Microsecond, Ordered: true},
				"rate":  {Delay: time.Millisecond, Rate: 200e6, QueueTime: 50 * time.Millisecond},
			} {
				s.apply(c)
				for _, to := range map[uint16][]string{1500: {"b", "c", "d"}, 9000: {"d"}}[mtu] { // same rack, another, through a gateway
					before := s.counts()
					rate, again := s.tcp("a", to, 200*time.Millisecond)
					got := s.settled(before)
					if rate < 50e6 || c.Rate > 0 && rate > 1.05*float64(c.Rate) {
						s.Errorf("%s, MTU %d, to %s: %.1f Mbit/s", name, mtu, to, rate/1e6)
					}
					if c.Rate == 0 && again > few || got["lost_in_holder"] > 0 || got["released"] != got["held"] || got["cut"] > 0 != (name == "cut") {
						s.Errorf("%s, MTU %d, to %s: %d segments were sent again, %v", name, mtu, to, again, got)
					}
				}
			}
		})
	}
}

// TestIPOptions: frames with IP options meet what others do.
func TestIPOptions(t *testing.T) {
	scenes(t, 1500, func(s *scene) {
		s.apply(program.Condition{Delay: 10 * time.Millisecond, Rate: 10e6, QueueTime: time.Second, Jitter: time.Microsecond})
		for _, to := range []string{"10.1.0.2", "10.1.0.3", "10.2.0.9"} {
			out := s.sh("a", "ping -n -R -c 3 -i 0.05 -W 2 "+to+" || true")
			if !strings.Contains(out, " 0% packet loss") || !strings.Contains(out, "RR:") {
				s.Errorf("with its route recorded:\n%s", out)
			}
		}
		const options = "\x01\x01\x07\x27\x04" // record route, in 40 bytes
		from := s.udp("a", "10.1.0.1:9", func(fd int) error {
			return unix.SetsockoptString(fd, unix.IPPROTO_IP, unix.IP_OPTIONS, options[2:]+strings.Repeat("\x00", 37))
		})
		to := s.udp("c", "10.1.0.3:9")
		for n := range 20 {
			if _, err := from.WriteToUDPAddrPort(numbered(n, 3000), netip.MustParseAddrPort("10.1.0.3:9")); err != nil {
				s.Fatal(err)
			}
		}
		if got := s.drain(to, time.Second); len(got) != 20 || !isNumbered(got[0], 3000) {
			s.Errorf("%d datagrams arrive", len(got))
		}
	})
}

// TestIPv6: frames of IPv6, where somebody uses it, meet what others do.
func TestIPv6(t *testing.T) {
	scenes(t, 1500, func(s *scene) {
		s.apply(program.Condition{Delay: 20 * time.Millisecond, Rate: 100e6, QueueTime: time.Second, Ordered: true, Jitter: time.Microsecond})
		for v, address := range map[string]string{"a": "fd00::1", "c": "fd00::3"} {
			s.sh(v, "sysctl -q -w net.ipv6.conf.eth0.disable_ipv6=0; ip -6 addr add "+address+"/64 dev eth0 nodad")
		}
		before := s.counts()
		begun := time.Now()
		out := s.sh("a", "ping -6 -n -c 3 -i 0.05 -W 2 -s 4000 fd00::3 || true")
		if got := s.settled(before); !strings.Contains(out, " 0% packet loss") || got["held"] < 18 || got["drop_ipv6"] > 0 || time.Since(begun) < 40*time.Millisecond {
			s.Errorf("%s%v", out, got)
		}
	})
}

// TestForAll: each receiver of a broadcast or multicast gets it under his own
// conditions, and once.
func TestForAll(t *testing.T) {
	scenes(t, 1500, func(s *scene) {
		s.want.Links = &program.Links{Seed: 1,
			Conditions: []program.Condition{{Delay: 60 * time.Millisecond}, {Loss: program.ShareOne}, {Delay: 10 * time.Millisecond, Rate: 10e6, QueueTime: time.Second}},
			Vifaces: []program.LinkRange{
				{Network: 1, Host: 1, Count: 1, Out: 3}, {Network: 1, Host: 2, Count: 1, In: 1}, {Network: 1, Host: 3, Count: 1, In: 2},
			},
		}
		mustApply(s.T, s.p, s.want)
		from := s.udp("a", "10.1.0.1:9", option(unix.SOL_SOCKET, unix.SO_BROADCAST, 1), func(fd int) error {
			return unix.SetsockoptInet4Addr(fd, unix.IPPROTO_IP, unix.IP_MULTICAST_IF, [4]byte{10, 1, 0, 1})
		})
		for port, to := range []string{"10.1.255.255", "255.255.255.255", "239.1.2.3"} {
			port += 10
			sockets := map[string]*net.UDPConn{}
			for _, v := range []string{"b", "c", "g"} {
				sockets[v] = s.udp(v, fmt.Sprintf("0.0.0.0:%d", port), func(fd int) error {
					if to != "239.1.2.3" {
						return nil
					}
					m := &unix.IPMreq{Multiaddr: [4]byte{239, 1, 2, 3}, Interface: netip.MustParseAddr(places[v].address).As4()}
					return unix.SetsockoptIPMreq(fd, unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP, m)
				})
			}
			if to == "255.255.255.255" {
				s.sh("a", "ip route add 255.255.255.255/32 dev eth0")
			}
			begun := time.Now()
			for n := range 5 {
				if _, err := from.WriteToUDPAddrPort(numbered(n, 100), netip.MustParseAddrPort(fmt.Sprintf("%s:%d", to, port))); err != nil {
					s.Fatal(err)
				}
			}
			first := func(v string) time.Duration {
				if err := sockets[v].SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
					s.Fatal(err)
				}
				if _, err := sockets[v].Read(make([]byte, 1000)); err != nil {
					s.Errorf("to %s: %s: %v", to, v, err)
				}
				return time.Since(begun)
			}
			if took := first("g"); took < 9*time.Millisecond {
				s.Errorf("to %s: g hears after %v", to, took)
			}
			if took := first("b"); took < 69*time.Millisecond {
				s.Errorf("to %s: b hears after %v", to, took)
			}
			for v, want := range map[string]int{"b": 4, "g": 4, "c": 0} {
				if got := s.drain(sockets[v], 100*time.Millisecond); len(got) != want {
					s.Errorf("to %s: %s hears %d more, want %d", to, v, len(got), want)
				}
			}
		}
	})
}

// TestFlood: a flood of pings through every way loses nothing, and ARP meets no
// conditions.
func TestFlood(t *testing.T) {
	const pings = 3000
	scenes(t, 1500, func(s *scene) {
		s.apply(program.Condition{Delay: 20 * time.Millisecond, Jitter: 5 * time.Millisecond, Reorder: share(0.1)})
		for to, hops := range map[string]uint64{"10.1.0.2": 1, "10.1.0.3": 1, "10.2.0.9": 2} {
			before, came := s.counts(), s.echoes("a")
			out := s.sh("a", fmt.Sprintf("ping -n -f -q -c %d -l 300 -W 3 %s || true", pings, to))
			got := s.settled(before)
			// Its own socket may be full, which is counted nowhere.
			if came = s.echoes("a") - came; came != pings || got["held"]+got["unicast"] != 2*hops*pings || got["held"] != got["released"] {
				s.Errorf("a to %s: %d replies\n%s%v", to, came, out, got)
			}
		}
		s.apply(program.Condition{Loss: program.ShareOne})
		before := s.counts()
		s.sh("a", "ip neigh flush dev eth0; ping -n -q -c 3 -i 0.01 -W 0.1 10.1.0.3 >/dev/null || true")
		if out, got := s.sh("a", "ip neigh show to 10.1.0.3"), s.settled(before); !strings.Contains(out, "lladdr") || got["arp_answered"] == 0 || got["drop_lost"] != 3 {
			s.Errorf("with all lost, ARP says %q; %v", out, got)
		}
	})
}

// echoes is how many ICMP echo replies have come to a vnode.
func (s *scene) echoes(vnode string) (n uint64) {
	s.Helper()
	lines := strings.Split(s.sh(vnode, "grep ^Icmp: /proc/net/snmp"), "\n")
	if i := slices.Index(strings.Fields(lines[0]), "InEchoReps"); i < 0 {
		s.Fatalf("%q", lines)
	} else if _, err := fmt.Sscan(strings.Fields(lines[1])[i], &n); err != nil {
		s.Fatal(err)
	}
	return n
}

// TestRateTimesDelay: more than a link can carry, over a long way: whatever
// does not arrive is in a counter, and what arrives comes at the rate.
func TestRateTimesDelay(t *testing.T) {
	const rate, size, headers = 100e6, 1400, 14 + 20 + 8
	scenes(t, 1500, func(s *scene) {
		s.apply(program.Condition{Delay: 500 * time.Millisecond, Rate: rate, QueueTime: 100 * time.Millisecond})
		from, to := s.udp("a", "10.1.0.1:9"), s.udp("c", "10.1.0.3:9")
		before := s.counts()
		const lasting = time.Second
		sent, most := 0, uint64(0)
		begun := time.Now()
		for time.Since(begun) < lasting {
			for want := int(time.Since(begun).Seconds() * 1.5 * rate / 8 / (size + headers)); sent < want; sent++ {
				if _, err := from.WriteToUDPAddrPort(numbered(sent, size), netip.MustParseAddrPort("10.1.0.3:9")); err != nil {
					s.Fatal(err)
				}
			}
			time.Sleep(time.Millisecond)
			most = max(most, s.counts()["in_holder"])
		}
		got := s.settled(before)
		arrived := len(s.drain(to, 200*time.Millisecond))
		if uint64(sent) != got["held"]+got["drop_queue_full"] || got["drop_queue_full"] == 0 || got["held"] != got["released"]+got["lost_in_holder"] || uint64(arrived) != got["released"] {
			s.Errorf("of %d sent, %d arrive: %v", sent, arrived, got)
		}
		bits := float64(arrived) * (size + headers) * 8
		if can := rate * (lasting + 100*time.Millisecond).Seconds(); bits > 1.01*can || bits < 0.95*can {
			s.Errorf("%.1f Mbit arrive, the link can carry %.1f", bits/1e6, can/1e6)
		}
		if could := rate * 0.5 / 8 / (size + headers); float64(most) < could {
			s.Errorf("at most %d frames were held, want %.0f", most, could)
		}
	})
}

// TestHolderFull: more than a holder has memory for is counted, frame by frame,
// and the holder works on.
func TestHolderFull(t *testing.T) {
	s := &scene{T: t, want: pinging(kerneltest.Shapes[0])}
	t.Setenv(kernel.HolderVariable, kernel.HolderWheel)
	s.p, s.racks = open(t)
	s.apply(program.Condition{Delay: 2000 * time.Millisecond})
	from, to := s.udp("a", "10.1.0.1:9", option(unix.IPPROTO_UDP, unix.UDP_SEGMENT, 1400)), s.udp("c", "10.1.0.3:9")
	before := s.counts()
	const segments = 44 // in a frame that is cut at the end of its way
	const frames = wheel.DefaultMemory/(segments*1400) + 500
	for n := range frames {
		if _, err := from.WriteToUDPAddrPort(numbered(n, segments*1400), netip.MustParseAddrPort("10.1.0.3:9")); err != nil {
			s.Fatal(err)
		}
	}
	most := s.counts()["in_holder"]
	go func() { _, _ = io.Copy(io.Discard, to) }()
	got := s.settled(before)
	if got["held"] != frames || got["lost_in_holder"] < 100 || got["lost_in_holder"]+got["released"] != frames || most+got["lost_in_holder"] != frames {
		s.Errorf("of %d frames, %d were held: %v", frames, most, got)
	}
	s.apply(program.Condition{Delay: 10 * time.Millisecond})
	mustTake(t, s.racks, "a", "10.1.0.3", 20*time.Millisecond)
}

// TestUDPSegments: datagrams that the kernel would cut only at the end, as QUIC
// sends them, held whole and cut.
func TestUDPSegments(t *testing.T) {
	const segments, size, frames = 40, 1000, 50
	for name, c := range map[string]program.Condition{
		"whole": {Delay: 10 * time.Millisecond, Rate: 500e6, QueueTime: time.Second},
		"cut":   {Delay: 10 * time.Millisecond, Duplicate: share(0.1)},
	} {
		t.Run(name, func(t *testing.T) {
			scenes(t, 1500, func(s *scene) {
				s.apply(c)
				from := s.udp("a", "10.1.0.1:9", option(unix.IPPROTO_UDP, unix.UDP_SEGMENT, size))
				to := s.udp("c", "10.1.0.3:9")
				before := s.counts()
				for n := range frames {
					b := slices.Concat(slices.Repeat([][]byte{numbered(n, size)}, segments)...)
					if _, err := from.WriteToUDPAddrPort(b, netip.MustParseAddrPort("10.1.0.3:9")); err != nil {
						s.Fatal(err)
					}
				}
				got := s.settled(before)
				arrived := s.drain(to, 200*time.Millisecond)
				if want := segments*frames + int(got["duplicated"]); len(arrived) != want || slices.ContainsFunc(arrived, func(b []byte) bool { return !isNumbered(b, size) }) {
					s.Errorf("%d segments arrive, want %d: %v", len(arrived), want, got)
				}
			})
		})
	}
}

// TestBacklog: what is cut goes through a CPU's backlog, which is made large
// enough for it; what finds it full is in the kernel's own count.
func TestBacklog(t *testing.T) {
	scenes(t, 1500, func(s *scene) {
		s.apply(program.Condition{Delay: time.Millisecond, Jitter: 10 * time.Microsecond})
		const segments, size, frames = 44, 1400, 200
		from, to := s.udp("a", "10.1.0.1:9", option(unix.IPPROTO_UDP, unix.UDP_SEGMENT, size)), s.udp("c", "10.1.0.3:9")
		before, dropped := s.counts(), backlogDrops(s)
		for n := range frames {
			if _, err := from.WriteToUDPAddrPort(numbered(n, segments*size), netip.MustParseAddrPort("10.1.0.3:9")); err != nil {
				s.Fatal(err)
			}
		}
		got := s.settled(before)
		arrived := uint64(len(s.drain(to, 200*time.Millisecond)))
		dropped = backlogDrops(s) - dropped
		if got["cut"] < frames || got["held"]+dropped < segments*frames || got["held"] != got["released"] || arrived != got["released"] {
			s.Errorf("of %d segments, %d arrive, %d found the backlog full: %v", segments*frames, arrived, dropped, got)
		}
		if dropped > 0 {
			s.Logf("the backlog was full %d times", dropped)
		}
	})
}

// backlogDrops is how many frames found the backlog of a CPU full.
func backlogDrops(s *scene) (n uint64) {
	s.Helper()
	b, err := os.ReadFile("/proc/net/softnet_stat")
	if err != nil {
		s.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		dropped, err := strconv.ParseUint(strings.Fields(line)[1], 16, 64)
		if err != nil {
			s.Fatal(err)
		}
		n += dropped
	}
	return n
}

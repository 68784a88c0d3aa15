package fabric

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// bridged is what one would make by hand: two vnodes on Linux bridges, joined by
// VXLAN whose forwarding table is static. A bridge has 1,023 ports: for more
// vnodes, each thousand needs one of its own, and another one joins those.
func bridged(t testing.TB, many bool) *lab {
	l := newSpine(t)
	var hosts [2]*space
	for k := range hosts {
		hosts[k] = l.space()
	}
	hosts[0].do(l, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: ethIndex, Name: "eth0", Kind: rtnl.Veth, MTU: underlayMTU,
			Peer: &rtnl.Link{Index: ethIndex, Name: "eth0", MTU: underlayMTU, Netns: hosts[1].ns}})
	})
	const bridge, vxlan, port, upper, up, down = 10, 11, 12, 13, 14, 15
	mac := func(k int) program.MAC { return program.MACOf(1, uint32(1+9*k)) }
	for k, h := range hosts {
		h.start(l, ethIndex, netip.PrefixFrom(pnodeAddr(uint32(k)), 24))
		name := fmt.Sprintf("1/%d", 1+9*k)
		vnode := l.space()
		links, top := []int32{bridge, vxlan, port}, int32(bridge)
		h.do(l, func(b *rtnl.Batch) {
			b.NewLink(&rtnl.Link{Index: bridge, Name: "br0", Kind: rtnl.Bridge, MTU: labMTU})
			if many {
				links, top = append(links, upper, up, down), upper
				b.NewLink(&rtnl.Link{Index: upper, Name: "br1", Kind: rtnl.Bridge, MTU: labMTU})
				b.NewLink(&rtnl.Link{Index: up, Name: "up", Kind: rtnl.Veth, MTU: labMTU, Master: bridge,
					Peer: &rtnl.Link{Index: down, Name: "down", MTU: labMTU, Netns: h.ns}})
				b.SetLink(&rtnl.Link{Index: down, Master: upper})
			}
			b.NewLink(&rtnl.Link{Index: vxlan, Name: "vxlan0", Kind: rtnl.VXLAN, MTU: labMTU, Master: top,
				VXLAN: &rtnl.VXLANLink{VNI: 5, Port: program.VXLANPort, TTL: 64, Local: pnodeAddr(uint32(k))}})
			b.NewLink(&rtnl.Link{Index: port, Name: "v0", Kind: rtnl.Veth, MTU: labMTU, Master: bridge,
				Peer: &rtnl.Link{Index: ethIndex, Name: "eth0", MTU: labMTU, MAC: mac(k), Netns: vnode.ns}})
			b.NewForward(rtnl.Forward{Link: vxlan, MAC: mac(1 - k), To: pnodeAddr(uint32(1 - k))})
			b.NewForward(rtnl.Forward{Link: vxlan, To: pnodeAddr(uint32(1 - k))}) // ARP
		})
		for _, index := range links {
			h.up(l, index)
		}
		vnode.start(l, ethIndex, netip.PrefixFrom(lan.Addr(uint32(1+9*k)), 16))
		l.vnodes[name] = vnode
	}
	return l
}

// pin calls fn on a thread of its own, which stays on one
// CPU if it is pinned.
func pin(pinned bool, fn func() error) chan error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var one unix.CPUSet
		one.Set(0)
		if pinned {
			if err := unix.SchedSetaffinity(0, &one); err != nil {
				done <- err
				return
			}
		}
		done <- fn()
	}()
	return done
}

// socket opens a socket with an address in a vnode: with blocking calls, that
// nothing of Go's is between.
func (l *lab) socket(vnode string, typ int, port int) int {
	l.Helper()
	fd := -1
	l.must(netns.Do(l.vnodes[vnode].ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_INET, typ|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	l.must(errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: l.addr(vnode).As4()}),
	))
	return fd
}

// again makes a call once more where a signal, which Go sends itself, ended it.
func again(call func(int, []byte) (int, error)) func(int, []byte) (int, error) {
	return func(fd int, buf []byte) (int, error) {
		for {
			if n, err := call(fd, buf); err != unix.EINTR {
				return n, err
			}
		}
	}
}

// pingPong measures the time of a datagram there and back.
func pingPong(l *lab, times int) time.Duration {
	l.Helper()
	a, b := l.socket("1/1", unix.SOCK_DGRAM, 7), l.socket("1/10", unix.SOCK_DGRAM, 7)
	defer unix.Close(a)
	defer unix.Close(b)
	l.must(errors.Join(
		unix.Connect(a, &unix.SockaddrInet4{Port: 7, Addr: l.addr("1/10").As4()}),
		unix.Connect(b, &unix.SockaddrInet4{Port: 7, Addr: l.addr("1/1").As4()})))
	ball := make([]byte, 18)
	server := pin(true, func() error {
		ball := make([]byte, 18)
		for range times + 10 {
			if _, err := again(unix.Read)(b, ball); err != nil {
				return err
			}
			if _, err := again(unix.Write)(b, ball); err != nil {
				return err
			}
		}
		return nil
	})
	all := make([]time.Duration, times)
	client := pin(true, func() error {
		for n := range times + 10 {
			begin := time.Now()
			if _, err := again(unix.Write)(a, ball); err != nil {
				return err
			}
			if _, err := again(unix.Read)(a, ball); err != nil {
				return err
			}
			all[max(n-10, 0)] = time.Since(begin)
		}
		return nil
	})
	l.must(errors.Join(<-client, <-server))
	slices.Sort(all)
	return all[times/2]
}

// flood measures how many small datagrams a second one CPU takes all the way,
// through both stacks.
func flood(l *lab, times int) float64 {
	l.Helper()
	a, b := l.socket("1/1", unix.SOCK_DGRAM, 7), l.socket("1/10", unix.SOCK_DGRAM, 7)
	defer unix.Close(a)
	defer unix.Close(b)
	l.must(unix.Connect(a, &unix.SockaddrInet4{Port: 7, Addr: l.addr("1/10").As4()}))
	var took time.Duration
	l.must(<-pin(true, func() error {
		small := make([]byte, 18)
		if _, err := again(unix.Write)(a, small); err != nil { // ARP
			return err
		}
		if _, err := again(unix.Read)(b, small); err != nil {
			return err
		}
		const burst = 64
		begin := time.Now()
		for range times / burst {
			for range burst {
				if _, err := again(unix.Write)(a, small); err != nil {
					return err
				}
			}
			for range burst {
				if _, err := again(unix.Read)(b, small); err != nil {
					return err
				}
			}
		}
		took = time.Since(begin)
		return nil
	}))
	return float64(times/64*64) / took.Seconds()
}

// stream measures TCP, in bits a second, with both ends on one CPU or not.
func stream(l *lab, pinned bool, bytes int) float64 {
	l.Helper()
	a, b := l.socket("1/1", unix.SOCK_STREAM, 0), l.socket("1/10", unix.SOCK_STREAM, 4001)
	defer unix.Close(a)
	defer unix.Close(b)
	l.must(unix.Listen(b, 1))
	l.must(unix.Connect(a, &unix.SockaddrInet4{Port: 4001, Addr: l.addr("1/10").As4()}))
	c, _, err := unix.Accept(b)
	l.must(err)
	defer unix.Close(c)
	begin := time.Now()
	server := pin(pinned, func() error {
		buf := make([]byte, 1<<18)
		for got := 0; got < bytes; {
			n, err := again(unix.Read)(c, buf)
			if got += n; err != nil || n == 0 {
				return errors.Join(err, errors.New("the stream ends"))
			}
		}
		return nil
	})
	client := pin(pinned, func() error {
		buf := make([]byte, 1<<17)
		for sent := 0; sent < bytes; {
			n, err := again(unix.Write)(a, buf)
			if sent += n; err != nil {
				return err
			}
		}
		return nil
	})
	l.must(errors.Join(<-client, <-server))
	return float64(bytes) * 8 / time.Since(begin).Seconds()
}

// BenchmarkOverlayBesideBridge measures what passes between two pnodes, and
// beside it what passes over Linux bridges and VXLAN made by hand, in turns.
func BenchmarkOverlayBesideBridge(b *testing.B) {
	w := newWorld(b)
	own, bridge, bridges := w.both(), bridged(b, false), bridged(b, true)
	for _, l := range []*lab{own, bridge, bridges} {
		if err := l.ping("1/1", "10.1.0.10"); err != nil {
			b.Fatal(err)
		}
	}
	for _, m := range []struct {
		name    string
		measure func(l *lab) float64
	}{
		{"us", func(l *lab) float64 { return float64(pingPong(l, 2000)) / 1e3 }},
		{"kpkt/s", func(l *lab) float64 { return flood(l, 10000) / 1e3 }},
		{"Gbit/s-one-CPU", func(l *lab) float64 { return stream(l, true, 200<<20) / 1e9 }},
		{"Gbit/s", func(l *lab) float64 { return stream(l, false, 200<<20) / 1e9 }},
	} {
		b.Run(m.name, func(b *testing.B) {
			var ours, theirs, beyond []float64
			for b.Loop() {
				ours, theirs, beyond = append(ours, m.measure(own)), append(theirs, m.measure(bridge)), append(beyond, m.measure(bridges))
			}
			median := func(all []float64) float64 {
				slices.Sort(all)
				return all[len(all)/2]
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(median(ours), m.name)
			b.ReportMetric(median(theirs), m.name+"-bridge")
			b.ReportMetric(median(beyond), m.name+"-bridges")
			b.ReportMetric(median(ours)/median(theirs), "of-bridge")
			b.ReportMetric(median(ours)/median(beyond), "of-bridges")
		})
	}
}

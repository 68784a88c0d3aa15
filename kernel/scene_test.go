package kernel_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/program"
)

// scene is a platform of pinging's vnodes, with sockets in them.
type scene struct {
	*testing.T
	p     *kernel.Pnode
	racks *kernel.LocalRacks
	want  *program.Program
}

// scenes runs a test with every holder and attachment.
func scenes(t *testing.T, mtu uint16, test func(s *scene)) {
	for _, holder := range holders() {
		for _, shape := range kerneltest.Shapes {
			if shape.Fabric != program.FabricEBPF {
				continue
			}
			t.Run(holder+"-"+shape.Name, func(t *testing.T) {
				t.Setenv(kernel.HolderVariable, holder)
				s := &scene{T: t, want: pinging(shape)}
				for i := range s.want.Networks {
					s.want.Networks[i].MTU = mtu
				}
				s.p, s.racks = open(t)
				test(s)
			})
		}
	}
}

// apply gives all vifaces a condition for what they send.
func (s *scene) apply(c program.Condition) {
	s.Helper()
	s.want.Links = kerneltest.Out(s.want, c)
	mustApply(s.T, s.p, s.want)
}

// places are where vnodes of pinging are, and their addresses.
var places = map[string]struct {
	rack    uint32
	address string
}{"a": {0, "10.1.0.1"}, "b": {0, "10.1.0.2"}, "d": {0, "10.2.0.9"}, "c": {1, "10.1.0.3"}, "g": {1, "10.1.0.4"}}

// in does something in a vnode's namespace. What is opened there stays there.
func (s *scene) in(vnode string, do func() error) {
	s.Helper()
	found, err := s.racks.Find(s.Context(), s.want.Platform)
	if err != nil {
		s.Fatal(err)
	}
	fd, ok := found[places[vnode].rack].(interface{ VnodeNetns(string) (int, bool) }).VnodeNetns(vnode)
	if !ok {
		s.Fatalf("no vnode %s", vnode)
	}
	if err := netns.Do(fd, do); err != nil {
		s.Fatal(err)
	}
}

func (s *scene) sh(vnode, command string) string {
	s.Helper()
	return inVnode(s.T, s.racks, s.want.Platform, places[vnode].rack, vnode, command)
}

// udp opens a datagram socket in a vnode, with much room.
func (s *scene) udp(vnode, address string, options ...func(fd int) error) *net.UDPConn {
	s.Helper()
	var c *net.UDPConn
	s.in(vnode, func() (err error) {
		c, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(address)))
		return err
	})
	s.Cleanup(func() { c.Close() })
	raw, err := c.SyscallConn()
	if err != nil {
		s.Fatal(err)
	}
	for _, set := range append(options, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	}, func(fd int) error {
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 64<<20)
	}) {
		var bad error
		if err := raw.Control(func(fd uintptr) { bad = set(int(fd)) }); err != nil || bad != nil {
			s.Fatal(err, bad)
		}
	}
	return c
}

// option sets one of a socket.
func option(level, name, value int) func(int) error {
	return func(fd int) error { return unix.SetsockoptInt(fd, level, name, value) }
}

// drain reads datagrams until none comes for a while.
func (s *scene) drain(c *net.UDPConn, quiet time.Duration) [][]byte {
	s.Helper()
	var out [][]byte
	buf := make([]byte, 1<<16)
	for {
		if err := c.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			s.Fatal(err)
		}
		n, err := c.Read(buf)
		if err != nil {
			return out
		}
		out = append(out, slices.Clone(buf[:n]))
	}
}

// tcp sends from one vnode to another for a while. It gives the bits per second
// that arrive in the second half of it, and how many segments were sent again and missed.
// tune are options of the sender's socket, and of the receiver's.
func (s *scene) tcp(from, to string, lasting time.Duration, tune ...func(fd int) error) (rate float64, again uint32) {
	s.Helper()
	var l net.Listener
	var c net.Conn
	control := func(i int) func(string, string, syscall.RawConn) error {
		return func(_, _ string, raw syscall.RawConn) (err error) {
			if i >= len(tune) {
				return nil
			}
			return errors.Join(raw.Control(func(fd uintptr) { err = tune[i](int(fd)) }), err)
		}
	}
	s.in(to, func() (err error) {
		l, err = (&net.ListenConfig{Control: control(1)}).Listen(s.Context(), "tcp4", places[to].address+":0")
		return err
	})
	defer l.Close()
	arrived := make(chan float64, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			arrived <- 0
			return
		}
		defer c.Close()
		half := time.Now().Add(lasting / 2)
		buf, n, first := make([]byte, 1<<18), 0, time.Time{}
		for {
			k, err := c.Read(buf)
			if now := time.Now(); err != nil {
				arrived <- float64(n) * 8 / now.Sub(first).Seconds()
				return
			} else if now.After(half) {
				if n += k; first.IsZero() {
					n, first = 0, now
				}
			}
		}
	}()
	s.in(from, func() (err error) {
		c, err = (&net.Dialer{Timeout: 10 * time.Second, Control: control(0)}).Dial("tcp4", l.Addr().String())
		return err
	})
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(lasting)); err != nil {
		s.Fatal(err)
	}
	_, err := io.Copy(c, zeros{})
	if ne, ok := err.(net.Error); !ok || !ne.Timeout() {
		s.Errorf("%s to %s: %v", from, to, err)
	}
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		s.Fatal(err)
	}
	var info *unix.TCPInfo
	if e := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); e != nil || err != nil {
		s.Fatal(e, err)
	}
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		s.Fatal(err)
	}
	c.Close()
	// What the receiver has had twice was not lost: TCP is impatient where a
	// machine is busy.
	return <-arrived, info.Total_retrans - min(info.Dsack_dups, info.Total_retrans)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// counts are the fabric's counters, and what else became of frames.
func (s *scene) counts() map[string]uint64 {
	s.Helper()
	stats, err := s.p.LinkStats(s.Context(), s.want.Platform)
	if err != nil {
		s.Fatal(err)
	}
	out := map[string]uint64{"lost_in_holder": stats.Lost, "in_holder": stats.Held}
	for _, c := range stats.Counters {
		out[c.Name] = c.Packets
	}
	return out
}

// settled waits until nothing is on its way any more, and gives what was
// counted since.
func (s *scene) settled(before map[string]uint64) map[string]uint64 {
	s.Helper()
	last := s.counts()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
		now := s.counts()
		if now["in_holder"] == 0 && maps.Equal(now, last) {
			break
		}
		last = now
	}
	for name := range last {
		if name != "in_holder" {
			last[name] -= min(before[name], last[name])
		}
	}
	maps.DeleteFunc(last, func(_ string, n uint64) bool { return n == 0 })
	return last
}

// share is a Share of a probability.
func share(p float64) program.Share { return program.ShareOf(p) }

// numbered is a datagram that tells its number, and what it must be.
func numbered(n, size int) []byte {
	b := []byte(fmt.Sprintf("%08d", n))
	return append(b, slices.Repeat([]byte{byte(n)}, size-len(b))...)
}

func isNumbered(b []byte, size int) bool {
	var n int
	if len(b) != size {
		return false
	}
	if _, err := fmt.Sscanf(string(b[:8]), "%d", &n); err != nil {
		return false
	}
	return slices.Equal(b, numbered(n, size))
}

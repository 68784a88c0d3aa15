package agent

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/bus"
	"myriad/kernel/kerneltest"
	"myriad/kernel/mem"
	"myriad/program"
)

// reachable gives a coordinator and an agent on loopback.
func reachable(t *testing.T) *fake {
	t.Helper()
	server := newServer(t)
	f := newFake(t, server, "c", 1)
	run(t, server, nil, Config{Pnode: mem.New(mem.Options{}), Address: func() (netip.Addr, uint16) { return netip.MustParseAddr("127.0.0.1"), 1500 }})
	wait(t, f.hellos)
	return f
}

func (f *fake) echo(t *testing.T, nonce [16]byte, d time.Duration) netip.AddrPort {
	t.Helper()
	e, err := bus.Request[bus.Echo, bus.Echoing](t.Context(), f.Conn, bus.SubjectOf(pnode, "echo"), bus.Echo{Nonce: nonce, For: d})
	must(t, err)
	return e.Addr
}

func (f *fake) reach(t *testing.T, q bus.Reach) (bus.Reached, error) {
	return bus.Request[bus.Reach, bus.Reached](t.Context(), f.Conn, bus.SubjectOf(pnode, "reach"), q)
}

func randomNonce() (n [16]byte) {
	for i := range n {
		n[i] = byte(rand.Uint32())
	}
	return n
}

func TestReach(t *testing.T) {
	f := reachable(t)
	nonce := randomNonce()
	at := f.echo(t, nonce, time.Minute)
	if at.Addr() != netip.MustParseAddr("127.0.0.1") || at.Port() == 0 {
		t.Fatalf("it echoes at %v", at)
	}
	r, err := f.reach(t, bus.Reach{Nonce: nonce, Addr: at, Size: 1500, Count: 20})
	if err != nil || r.Answered != 20 || !r.Whole || r.Least <= 0 || r.Median < r.Least || r.Median > time.Second {
		t.Errorf("reached %+v, %v", r, err)
	}
	for _, size := range []int{60, 9000, 65535} {
		if r, err := f.reach(t, bus.Reach{Nonce: nonce, Addr: at, Size: size}); err != nil || !r.Whole || r.Answered != 0 {
			t.Errorf("packets of %d bytes: %+v, %v", size, r, err)
		}
	}
	for name, q := range map[string]bus.Reach{
		"too small": {Addr: at, Size: 59}, "too large": {Addr: at, Size: 65536}, "too many": {Addr: at, Count: 1001}, "nowhere": {Count: 1},
	} {
		if _, err := f.reach(t, q); bus.ProblemOf(err) == nil || bus.ProblemOf(err).Kind != program.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	none := f.echo(t, nonce, time.Nanosecond)
	time.Sleep(50 * time.Millisecond) // its time is over
	if r, err := f.reach(t, bus.Reach{Nonce: nonce, Addr: none, Count: 5}); r.Answered != 0 {
		t.Errorf("nobody answers: %+v, %v", r, err)
	}
}

// TestEchoAnswers: only what has the nonce is answered, with as much as came;
// what is an answer is not.
func TestEchoAnswers(t *testing.T) {
	t.Parallel()
	f := reachable(t)
	nonce := randomNonce()
	at := f.echo(t, nonce, 2*time.Second)
	c, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(at))
	must(t, err)
	defer c.Close()
	send := func(b []byte) (n int) {
		_, err := c.Write(b)
		must(t, err)
		_ = c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		in := make([]byte, 1<<16)
		n, _ = c.Read(in)
		copy(b, in[:n])
		return n
	}
	good := append(nonce[:], make([]byte, 84)...)
	if n := send(good); n != len(good) {
		t.Fatalf("%d bytes are answered with %d", len(good), n)
	}
	if n := send(good); n != 0 { // it holds the answer now
		t.Errorf("an answer is answered with %d bytes", n)
	}
	for name, b := range map[string][]byte{"short": nonce[:], "another": make([]byte, 100), "empty": nil} {
		if n := send(b); n != 0 {
			t.Errorf("%s: answered with %d bytes", name, n)
		}
	}
	for _, d := range []time.Duration{0, -1, 61 * time.Second} {
		_, err := bus.Request[bus.Echo, bus.Echoing](t.Context(), f.Conn, bus.SubjectOf(pnode, "echo"), bus.Echo{For: d})
		if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindInvalid {
			t.Errorf("for %v: %v", d, err)
		}
	}
	until(t, "its time is over", func() bool { return send(append(nonce[:], make([]byte, 84)...)) == 0 })
	for range echoSockets {
		f.echo(t, nonce, time.Minute)
	}
	_, err = bus.Request[bus.Echo, bus.Echoing](t.Context(), f.Conn, bus.SubjectOf(pnode, "echo"), bus.Echo{For: time.Second})
	if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindExhausted {
		t.Errorf("one socket more: %v", err)
	}
}

func TestReachWithoutAddress(t *testing.T) {
	server := newServer(t)
	f := newFake(t, server, "c", 1)
	run(t, server, nil, Config{Pnode: mem.New(mem.Options{})})
	wait(t, f.hellos)
	_, err := f.reach(t, bus.Reach{Addr: netip.MustParseAddrPort("127.0.0.1:1"), Count: 1})
	if p := bus.ProblemOf(err); p == nil || !strings.Contains(p.Remedy, "--address") {
		t.Errorf("without an address: %v", err)
	}
}

// TestSmallUnderlay: packets that the underlay does not carry whole are not
// taken for whole. The own interface refuses them here.
func TestSmallUnderlay(t *testing.T) {
	if !alone(t, unix.CLONE_NEWNET) {
		return
	}
	for _, args := range [][]string{{"link", "set", "lo", "mtu", "1400", "up"}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	f := reachable(t)
	nonce := randomNonce()
	at := f.echo(t, nonce, time.Minute)
	for size, want := range map[int]bool{1400: true, 1401: false, 1500: false} {
		if r, err := f.reach(t, bus.Reach{Nonce: nonce, Addr: at, Size: size, Count: 1}); err != nil || r.Whole != want || r.Answered != 1 {
			t.Errorf("%d bytes: %+v, %v, want whole %v", size, r, err, want)
		}
	}
	if _, err := f.reach(t, bus.Reach{Addr: netip.MustParseAddrPort("192.0.2.1:9"), Count: 1}); bus.ProblemOf(err) == nil || bus.ProblemOf(err).Kind != program.KindUnavailable {
		t.Errorf("without a route: %v", err)
	}
}

// alone runs the calling test again, as a process with namespaces of its own,
// and tells whether this is that process.
func alone(t *testing.T, flags uintptr) bool {
	t.Helper()
	if os.Getenv("MYRIAD_TEST_ALONE") != "" {
		return true
	}
	kerneltest.RequireRoot(t)
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), "MYRIAD_TEST_ALONE=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: flags}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func TestUnderlay(t *testing.T) {
	at, mtu, device, err := Underlay(netip.MustParseAddr("::ffff:127.0.0.1"))
	if err != nil || at != netip.MustParseAddr("127.0.0.1") || mtu == 0 || device != "lo" {
		t.Errorf("loopback: %v, %d, %q, %v", at, mtu, device, err)
	}
	for _, bad := range []netip.Addr{{}, netip.MustParseAddr("::1"), netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("192.0.2.77")} {
		if _, _, _, err := Underlay(bad); bus.ProblemOf(err) == nil || !strings.Contains(bus.ProblemOf(err).Remedy, "--address") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

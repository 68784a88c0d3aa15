package rtnl_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"myriad/kernel/kerneltest"
	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
)

func TestMain(m *testing.M) {
	if slices.Contains(os.Args, "-test.fuzzworker") {
		os.Exit(m.Run()) // it has descriptors of its own
	}
	kerneltest.Main(m)
}

// namespace makes one with a connection in it.
func namespace(t *testing.T) (int, *rtnl.Conn) {
	t.Helper()
	kerneltest.RequireRoot(t)
	var c *rtnl.Conn
	fd, err := netns.Make(func() (err error) { c, err = rtnl.Open(); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); unix.Close(fd) })
	return fd, c
}

func do(t *testing.T, c *rtnl.Conn, fill func(b *rtnl.Batch)) {
	t.Helper()
	var b rtnl.Batch
	fill(&b)
	if err := c.Do(&b); err != nil {
		t.Fatal(err)
	}
}

// tables is all that Read can give, as text.
func tables(t *testing.T, c *rtnl.Conn) string {
	t.Helper()
	var b strings.Builder
	err := c.Read(&rtnl.Dump{
		Links: func(l *rtnl.LinkInfo) {
			fmt.Fprintf(&b, "link %d %s kind=%s up=%v mtu=%d mac=%x group=%d parent=%d master=%d vepa=%v quiet=%v forward=%v\n",
				l.Index, l.Name, l.Kind, l.Up, l.MTU, l.MAC, l.Group, l.Parent, l.Master, l.VEPA, l.IPv6Quiet, l.Forward)
		},
		Addrs: func(a *rtnl.AddrInfo) { fmt.Fprintf(&b, "addr %d %s\n", a.Link, a.Addr) },
		Routes: func(r *rtnl.RouteInfo) {
			fmt.Fprintf(&b, "route %s via %s link=%d static=%v\n", r.To, r.Via, r.Link, r.Static)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// ip runs iproute2 in a namespace: a second reader of what was encoded.
func ip(t *testing.T, fd int, args ...string) []map[string]any {
	t.Helper()
	var out []byte
	err := netns.Do(fd, func() (err error) {
		out, err = exec.Command("ip", append([]string{"-d", "-j"}, args...)...).Output()
		return err
	})
	if err != nil {
		t.Fatalf("ip %v: %v", args, err)
	}
	var v []map[string]any
	if err := json.Unmarshal(out, &v); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
	return v
}

// TestVnode makes what a vnode is made of, and reads it back twice: with this
// package and with ip.
func TestVnode(t *testing.T) {
	outside, rack := namespace(t)
	inside, vnode := namespace(t)
	do(t, rack, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: 16, Name: "r0", Kind: rtnl.Veth, MTU: 9000, Group: 7,
			Peer: &rtnl.Link{Index: 2, Name: "tr0", MTU: 9000}})
		b.SetLink(&rtnl.Link{Index: 2, Up: true})
		b.NewLink(&rtnl.Link{Index: 3, Name: "eth1", Kind: rtnl.Macvlan, Parent: 2, Netns: inside,
			MTU: 1400, MAC: [6]byte{2, 0, 1, 0, 0, 42}})
	})
	do(t, vnode, func(b *rtnl.Batch) {
		b.SetLink(&rtnl.Link{Index: 3, IPv6: rtnl.IPv6Quiet, IPv4: []rtnl.Conf{{Setting: rtnl.IPv4Forwarding, Value: 1}}})
		b.NewAddr(3, netip.MustParsePrefix("10.1.2.3/20"))
		b.SetLink(&rtnl.Link{Index: 3, Up: true})
		b.NewRoute(rtnl.Route{To: netip.MustParsePrefix("10.9.0.0/16"), Via: netip.MustParseAddr("10.1.0.1")})
		b.NewRoute(rtnl.Route{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.1.0.2")})
	})
	got := tables(t, vnode)
	for _, want := range []string{
		"link 3 eth1 kind=macvlan up=true mtu=1400 mac=02000100002a group=0 parent=2 master=0 vepa=true quiet=true forward=true\n",
		"addr 3 10.1.2.3/20\n",
		"route 10.9.0.0/16 via 10.1.0.1 link=3 static=true\n",
		"route 0.0.0.0/0 via 10.1.0.2 link=3 static=true\n",
		"route 10.1.0.0/20 via invalid IP link=3 static=false\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("read back:\n%swithout:\n%s", got, want)
		}
	}
	link := ip(t, inside, "link", "show", "dev", "eth1")[0]
	addr := ip(t, inside, "addr", "show", "dev", "eth1")[0]["addr_info"].([]any)[0].(map[string]any)
	info := link["linkinfo"].(map[string]any)
	got = fmt.Sprint(link["address"], " ", link["mtu"], " ", link["num_tx_queues"], " ", link["inet6_addr_gen_mode"], " ",
		info["info_kind"], " ", info["info_data"].(map[string]any)["mode"], " ", addr["local"], " ", addr["prefixlen"], " ", addr["broadcast"])
	if want := "02:00:01:00:00:2a 1400 1 none macvlan vepa 10.1.2.3 20 10.1.15.255"; got != want {
		t.Errorf("ip says %s, want %s", got, want)
	}
	if l := ip(t, outside, "link", "show", "dev", "r0")[0]; l["group"] != "7" || l["mtu"] != 9000. {
		t.Errorf("ip says group %v, mtu %v of r0, want 7, 9000", l["group"], l["mtu"])
	}
	do(t, vnode, func(b *rtnl.Batch) {
		b.DelRoute(rtnl.Route{To: netip.MustParsePrefix("10.9.0.0/16"), Via: netip.MustParseAddr("10.1.0.1")})
		b.DelAddr(3, netip.MustParsePrefix("10.1.2.3/20"))
	})
	if got := tables(t, vnode); strings.Contains(got, "10.") {
		t.Errorf("still there after removal:\n%s", got)
	}
	do(t, rack, func(b *rtnl.Batch) { b.DelGroup(7) })
	if got := tables(t, vnode); strings.Contains(got, "eth1") {
		t.Errorf("still there after its trunk was removed:\n%s", got)
	}
}

func TestBridge(t *testing.T) {
	fd, c := namespace(t)
	do(t, c, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: 5, Name: "br1", Kind: rtnl.Bridge, MTU: 1400})
		b.NewLink(&rtnl.Link{Index: 6, Name: "p", Kind: rtnl.Veth, Master: 5, Peer: &rtnl.Link{Index: 7, Name: "q"}})
	})
	data := ip(t, fd, "link", "show", "dev", "br1")[0]["linkinfo"].(map[string]any)["info_data"].(map[string]any)
	if got := fmt.Sprint(data["forward_delay"], data["stp_state"], data["mcast_snooping"]); got != "0 0 0" {
		t.Errorf("ip says forward delay, STP, snooping %s; want 0 0 0", got)
	}
	if l := ip(t, fd, "link", "show", "dev", "p")[0]; l["master"] != "br1" {
		t.Errorf("ip says master %v, want br1", l["master"])
	}
	do(t, c, func(b *rtnl.Batch) { b.DelLinkName("br1"); b.DelLink(6, "p") })
	if got := tables(t, c); strings.Count(got, "link ") != 1 {
		t.Errorf("left after removal:\n%s", got)
	}
}

// TestErrors: the message that failed is named with the kernel's reason, and
// those around it are done.
func TestErrors(t *testing.T) {
	_, c := namespace(t)
	var b rtnl.Batch
	b.SetLink(&rtnl.Link{Index: 1, Up: true})
	b.NewLink(&rtnl.Link{Index: 1, Name: "twice", Kind: rtnl.Bridge})
	b.NewRoute(rtnl.Route{To: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("192.0.2.1")})
	b.NewLink(&rtnl.Link{Index: 9, Name: "br9", Kind: rtnl.Bridge})
	err := c.Do(&b)
	var op *rtnl.OpError
	if !errors.As(err, &op) || !errors.Is(err, syscall.EBUSY) && !errors.Is(err, syscall.EEXIST) {
		t.Fatalf("error %v, want an *OpError of an index in use", err)
	}
	if op.Op != "make bridge" || op.Name != "twice" {
		t.Errorf("error names %q %q, want make bridge twice", op.Op, op.Name)
	}
	var failed []string
	b.Reset()
	b.NewRoute(rtnl.Route{To: netip.MustParsePrefix("10.0.0.0/8"), Via: netip.MustParseAddr("192.0.2.1")})
	b.SetLink(&rtnl.Link{Index: 1, Up: true})
	b.DelLink(4711, "gone")
	if err := c.DoEach(&b, func(i int, e *rtnl.OpError) { failed = append(failed, fmt.Sprint(i, " ", e)) }); err != nil {
		t.Fatal(err)
	}
	if len(failed) != 2 || !strings.HasPrefix(failed[0], "0 add route: network is unreachable (") || !strings.HasPrefix(failed[1], "2 remove link gone: no such device") {
		t.Errorf("failed: %q, want messages 0 and 2 with the kernel's reasons", failed)
	}
	if got := tables(t, c); !strings.Contains(got, "br9") || !strings.Contains(got, "lo kind= up=true") {
		t.Errorf("messages around the failure were not done:\n%s", got)
	}
}

// TestLong: a batch longer than any socket buffer is split, every error is
// heard, and dumps longer than a datagram are read whole.
func TestLong(t *testing.T) {
	_, c := namespace(t)
	const n = 600
	for _, grow := range []int{0, 1 << 20} {
		if grow > 0 {
			c.Grow(grow)
		}
		var b rtnl.Batch
		b.SetLink(&rtnl.Link{Index: 1, Up: true})
		for i := range n {
			b.NewAddr(1, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32))
		}
		if err := c.Do(&b); err != nil {
			t.Fatal(err)
		}
		failed := 0
		if err := c.DoEach(&b, func(int, *rtnl.OpError) { failed++ }); err != nil || failed != n {
			t.Errorf("adding twice: %d errors (%v), want %d", failed, err, n)
		}
		got := 0
		d := rtnl.Dump{Links: func(*rtnl.LinkInfo) {}, Addrs: func(*rtnl.AddrInfo) { got++ }, Routes: func(*rtnl.RouteInfo) {}}
		if err := c.Read(&d); err != nil || got < n {
			t.Errorf("read %d addresses (%v), want %d", got, err, n)
		}
		b.Reset()
		for i := range n {
			b.DelAddr(1, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32))
		}
		if err := c.Do(&b); err != nil {
			t.Fatal(err)
		}
	}
}

func TestClosed(t *testing.T) {
	_, c := namespace(t)
	c.Close()
	c.Close()
	var b rtnl.Batch
	b.DelLink(1, "")
	if err := c.Do(&b); !errors.Is(err, syscall.EBADF) {
		t.Errorf("use of a closed connection: %v, want EBADF", err)
	}
}

func BenchmarkRead(b *testing.B) {
	kerneltest.RequireRoot(b)
	var c *rtnl.Conn
	fd, err := netns.Make(func() (err error) { c, err = rtnl.Open(); return err })
	if err != nil {
		b.Fatal(err)
	}
	defer unix.Close(fd)
	defer c.Close()
	b.ReportAllocs()
	for b.Loop() {
		d := rtnl.Dump{Links: func(*rtnl.LinkInfo) {}, Addrs: func(*rtnl.AddrInfo) {}, Routes: func(*rtnl.RouteInfo) {}}
		if err := c.Read(&d); err != nil {
			b.Fatal(err)
		}
	}
}

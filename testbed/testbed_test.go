package testbed_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"myriad/kernel/kerneltest"
	"myriad/program"
	"myriad/testbed"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

func newBed(t *testing.T, o testbed.Options) *testbed.Bed {
	t.Helper()
	kerneltest.RequireRoot(t)
	b, err := testbed.New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ping says whether an address answers.
func ping(t *testing.T, b *testbed.Bed, i int, addr fmt.Stringer, more ...string) bool {
	t.Helper()
	_, err := b.Run(t.Context(), i, append(append([]string{"ping", "-n", "-c1", "-W1"}, more...), addr.String())...)
	return err == nil
}

func TestBedReaches(t *testing.T) {
	for _, bridged := range []bool{false, true} {
		b := newBed(t, testbed.Options{Pnodes: 3, Bridged: bridged, MTU: 1400})
		w, err := b.Watch()
		must(t, err)
		for i := testbed.Control; i < 3; i++ {
			for k := range 3 {
				if !ping(t, b, i, b.Addr(k)) || !ping(t, b, i, b.ControlAddr(k)) {
					t.Errorf("bridged %v: %s does not reach %s", bridged, b.Name(i), b.Name(k))
				}
			}
		}
		found, err := w.Stop()
		must(t, err)
		if found.All < 18 || found.Missed != 0 || found.Inner+found.InnerARP != 0 || (found.ARP > 0) != bridged {
			t.Errorf("bridged %v: %s", bridged, found)
		}
	}
}

func TestBedDirect(t *testing.T) {
	b := newBed(t, testbed.Options{Pnodes: 2, Direct: true})
	if !ping(t, b, 0, b.Addr(1), "-M", "do", "-s", "1472") || !ping(t, b, 1, b.Addr(0)) || !ping(t, b, 1, b.ControlAddr(testbed.Control)) {
		t.Error("two pnodes on a cable do not reach each other")
	}
	if _, err := testbed.New(t.Context(), testbed.Options{Pnodes: 3, Direct: true}); err == nil {
		t.Error("a cable with three ends was made")
	}
}

// TestBedWatch: what is inside of tunnels is seen, and told apart.
func TestBedWatch(t *testing.T) {
	b := newBed(t, testbed.Options{Pnodes: 2})
	w, err := b.Watch()
	must(t, err)
	all, one := []byte{255, 255, 255, 255, 255, 255}, []byte{2, 0, 0, 0, 0, 1}
	arp, ip := []byte{8, 6}, []byte{8, 0}
	frames := []struct{ to, kind []byte }{{all, ip}, {all, arp}, {one, arp}, {one, ip}, {one, ip}}
	must(t, b.Do(0, func() error {
		c, err := net.Dial("udp4", netip.AddrPortFrom(b.Addr(1), program.VXLANPort).String())
		if err != nil {
			return err
		}
		defer c.Close()
		for _, f := range frames {
			p := append(make([]byte, 8), f.to...)
			p = append(append(append(p, one...), f.kind...), make([]byte, 46)...)
			_, err := c.Write(p)
			for errors.Is(err, syscall.ECONNREFUSED) { // nobody listens; this one was not sent
				_, err = c.Write(p)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}))
	found, err := w.Stop()
	must(t, err)
	found.All = 0 // and errors that come back
	if want := (testbed.Frames{InnerARP: 2, Inner: 1}); found != want {
		t.Errorf("seen: %s", found)
	}
}

func TestBedCuts(t *testing.T) {
	b := newBed(t, testbed.Options{Pnodes: 2})
	ctx := t.Context()
	state := func(under, control bool, what string) {
		t.Helper()
		if ping(t, b, 0, b.Addr(1)) != under || ping(t, b, 0, b.ControlAddr(1)) != control {
			t.Errorf("%s: want the underlay %v, control %v", what, under, control)
		}
	}
	state(true, true, "at first")
	must(t, b.Partition(ctx, 1, true))
	state(false, true, "cut from the underlay")
	must(t, b.Partition(ctx, 1, false))
	must(t, b.PartitionControl(ctx, 1, true))
	state(true, false, "cut from control")
	must(t, b.PartitionControl(ctx, 1, false))
	state(true, true, "joined again")

	whole := []string{"-M", "do", "-s", "1472"}
	if !ping(t, b, 0, b.Addr(1), whole...) {
		t.Error("1,500 bytes do not pass")
	}
	must(t, b.SetMTU(ctx, 1, 1400))
	if ping(t, b, 0, b.Addr(1), whole...) {
		t.Error("1,500 bytes pass where 1,400 should")
	}
	other := b.Addr(1).Next().Next()
	must(t, b.Readdress(ctx, 1, b.Addr(1), other))
	if !ping(t, b, 0, other) || ping(t, b, 0, b.Addr(1)) {
		t.Error("after its address has changed, the former one answers, or the new one does not")
	}
}

func TestBedProcesses(t *testing.T) {
	b := newBed(t, testbed.Options{Pnodes: 1})
	cmd := exec.Command("sh", "-c", "hostname; cat /proc/net/dev; exec sleep 100 # "+b.PnodeDir(0)+"/")
	p, err := b.Start(0, "nap", cmd)
	must(t, err)
	for deadline := time.Now().Add(5 * time.Second); !strings.Contains(p.Tail(), testbed.ControlLink); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) || p.Err() != nil {
			t.Fatalf("its log has %q, %v", p.Tail(), p.Err())
		}
	}
	if !strings.HasPrefix(p.Tail(), "pnode1\n") {
		t.Errorf("its log has %q", p.Tail())
	}
	if err := p.Stop(5 * time.Second); err == nil || p.Err() == nil {
		t.Error("a process that a signal ended is said to have ended well")
	}
	if _, err := b.Run(t.Context(), 0, "false"); err == nil {
		t.Error("false succeeds")
	}
	p, err = b.Start(0, "nap", exec.Command("sh", "-c", ": "+b.PnodeDir(0)+"/; sleep 100; :"))
	must(t, err)
	must(t, b.KillAll(0))
	<-p.Done()
}

func BenchmarkNew40(t *testing.B) {
	kerneltest.RequireRoot(t)
	for t.Loop() {
		b, err := testbed.New(context.Background(), testbed.Options{Pnodes: 40})
		must(t, err)
		must(t, b.Close())
	}
}

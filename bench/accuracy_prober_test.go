package bench

import (
	"context"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"myriad/kernel/kerneltest"
)

// TestMain lets the test binary be the prober's process, too.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[2] == "prober" {
		if err := RunProber(os.Stdin, os.Stdout); err != nil {
			println(err.Error())
			os.Exit(1)
		}
		os.Exit(0)
	}
	kerneltest.Main(m)
}

// TestProber probes the machine's own loopback address: by echo requests, and
// by datagrams from one socket to itself.
func TestProber(t *testing.T) {
	kerneltest.RequireRoot(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, icmp := range []bool{true, false} {
		s := &sockets{icmp: icmp}
		fd, err := probeSocket(icmp)
		if err != nil {
			t.Fatal(err)
		}
		s.add("here", fd)
		q := &shots{}
		for i := range 50 {
			at := time.Duration(i/2) * 2 * time.Millisecond // two at a time
			if err := q.aim(s, "here", netip.MustParseAddr("127.0.0.1"), at); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.aim(s, "there", netip.MustParseAddr("127.0.0.1"), 0); err == nil {
			t.Error("a vnode without a socket can be probed from")
		}
		err = q.shoot(context.Background(), self, s, time.Second)
		s.close()
		if err != nil {
			t.Fatal(err)
		}
		took, lost := q.times()
		if lost > 0 || slices.Min(took) <= 0 || slices.Max(q.Copies) != 1 {
			t.Errorf("icmp %v: lost %d, times %v, copies %v", icmp, lost, took, q.Copies)
		}
		if spanned := q.Sent[49] - q.Sent[0]; spanned < int64(40*time.Millisecond) || len(q.Late) == 0 {
			t.Errorf("icmp %v: sent within %v, %d sleeps", icmp, time.Duration(spanned), len(q.Late))
		}
		p50, p99 := q.lateness()
		t.Logf("icmp %v: median %.0f µs, timers late %.0f/%.0f µs", icmp, median(took), p50, p99)
	}
}

func TestEchoReply(t *testing.T) {
	reply := make([]byte, 20+8+4)
	reply[0], reply[9] = 0x45, 1
	if got := echoReply(reply); len(got) != 4 {
		t.Errorf("payload of %d bytes, want 4", len(got))
	}
	reply[20] = 8
	if echoReply(reply) != nil || echoReply(reply[:19]) != nil || echoReply(append([]byte{0x4f}, reply[1:]...)) != nil {
		t.Error("a request, a short packet or one of options that are not there is taken for a reply")
	}
}

func TestChecksum(t *testing.T) {
	b := []byte{0, 1, 0xf2, 3, 0xf4, 0xf5, 0xf6, 0xf7} // RFC 1071, 3
	if got := checksum(b); got != 0x220d {
		t.Errorf("%#x, want 0x220d", got)
	}
}

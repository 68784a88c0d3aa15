package fabric

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/program"
)

// wire is a packet socket on a link: it sends frames as they are, and gets
// those that arrive.
type wire int

func (l *lab) wire(s *space, link int) wire {
	l.Helper()
	fd := -1
	l.must(netns.Do(s.ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		return err
	}))
	l.Cleanup(func() { unix.Close(fd) })
	l.must(unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1))
	l.must(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 2}))
	const all = uint16(unix.ETH_P_ALL)<<8 | unix.ETH_P_ALL>>8
	l.must(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: link}))
	return wire(fd)
}

func (w wire) send(l *lab, frame []byte) {
	l.Helper()
	_, err := unix.Write(int(w), frame)
	l.must(err)
}

// next waits for a frame; nil if there is none for two seconds.
func (w wire) next(l *lab) []byte {
	l.Helper()
	buf := make([]byte, 2048)
	n, err := unix.Read(int(w), buf)
	if err == unix.EAGAIN {
		return nil
	}
	l.must(err)
	return buf[:n]
}

// drain takes what has arrived, without waiting.
func (w wire) drain(l *lab) [][]byte {
	l.Helper()
	var out [][]byte
	for {
		buf := make([]byte, 2048)
		n, _, err := unix.Recvfrom(int(w), buf, unix.MSG_DONTWAIT)
		if err == unix.EAGAIN {
			return out
		}
		l.must(err)
		out = append(out, buf[:n])
	}
}

// TestDelivery sends the crafted frames through two trunks: each must arrive
// where it should, as it should, and nowhere else.
func TestDelivery(t *testing.T) {
	l := newSpine(t)
	p := testProgram()
	wires := make([]wire, len(p.Racks))
	for i := range p.Racks {
		l.addRack(uint32(i))
		wires[i] = l.wire(l.racks[uint32(i)], trunkIndex)
	}
	l.ensure(p)
	for _, trial := range trials() {
		t.Run(trial.name, func(t *testing.T) {
			l := *l
			l.TB = t
			before := mustCount(t, l.fabric)
			wires[trial.rack].send(&l, trial.frame)
			for _, rack := range trial.at {
				trial.check(t, wires[rack].next(&l))
			}
			after := before
			for deadline := time.Now().Add(2 * time.Second); after[trial.reason] == before[trial.reason] && time.Now().Before(deadline); {
				after = mustCount(t, l.fabric)
			}
			for i, w := range wires {
				for _, got := range w.drain(&l) {
					t.Errorf("arrives in rack %d, too:\n%x", i, got)
				}
			}
			for reason, n := range after {
				want := uint64(0)
				switch {
				case reason == trial.reason:
					want = 1
				case reason == "broadcast_copy" && trial.reason == "broadcast":
					want = uint64(len(trial.at))
				}
				if n -= before[reason]; n != want {
					t.Errorf("%s counts %d, want %d", reason, n, want)
				}
			}
		})
	}
}

// check compares a frame that has arrived with the one that should.
func (x *trial) check(t *testing.T, got []byte) {
	t.Helper()
	if got == nil {
		t.Error("the frame, or a copy of it, does not arrive")
		return
	}
	want := x.frame
	switch {
	case x.reply != nil:
		want = x.reply
	case x.reason == "broadcast": // under the receiver's address
		if got[0]&1 != 0 {
			t.Errorf("a copy is addressed to the group %x", got[:6])
		}
		got, want = got[6:], want[6:]
	}
	if !bytes.Equal(got, want) {
		t.Errorf("arrives as\n%x, want\n%x", got, want)
	}
}

// BenchmarkARP is a request from a rack and its reply, with the system calls
// that send and receive them.
func BenchmarkARP(b *testing.B) {
	l := newSpine(b)
	l.addRack(0)
	w := l.wire(l.racks[0], trunkIndex)
	l.ensure(testProgram())
	ask := request(lan, 1, lan.Addr(10))
	for b.Loop() {
		w.send(l, ask)
		if w.next(l) == nil {
			b.Fatal("no reply")
		}
	}
}

// BenchmarkBroadcast is a frame for all of a network of 33, and one copy of it
// received; it reports the time for each member.
func BenchmarkBroadcast(b *testing.B) {
	const members = 32
	l := newSpine(b)
	l.addRack(0)
	p := crowd(1 + members)
	p.Networks[0].Broadcast = true
	w := l.wire(l.racks[0], trunkIndex)
	l.ensure(p)
	all := frame(broadcast, program.MACOf(1, 1), typeIPv4)
	for b.Loop() {
		w.send(l, all)
		for range members {
			if w.next(l) == nil {
				b.Fatal("a copy is missing")
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/members, "ns/member")
}

// BenchmarkEnsure is what finding the fabric of 40 racks and 40,000 vnodes,
// and nothing to do, costs.
func BenchmarkEnsure(b *testing.B) {
	p := crowd(40000)
	l := newSpine(b)
	for k := range p.Racks {
		l.addRack(uint32(k))
	}
	l.ensure(p)
	for b.Loop() {
		if writes := l.ensure(p); writes != 0 {
			b.Fatalf("%d writes, want 0", writes)
		}
	}
}

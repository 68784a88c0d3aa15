package fabric

import (
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/kernel/rtnl"
	"myriad/program"
)

// Links of a lab whose links have conditions.
const (
	labHold  = 5000 // rack 0's hold device in the spine
	labCut   = 9000
	labEnter = 9002           // of an fq
	holdEnd  = trunkIndex + 1 // the hold device in a rack
	bigMTU   = 65535
)

var labHolder = Holder{FirstHold: labHold, Cut: labCut, CutLeave: labCut + 1}

// holders runs a test with each kind of holder that this kernel has.
func holders(t *testing.T, test func(t *testing.T, fq bool)) {
	t.Run("wheel", func(t *testing.T) { test(t, false) })
	if l := newSpine(t); l.makeFQ() == nil {
		t.Run("fq", func(t *testing.T) { test(t, true) })
	}
}

// makeFQ makes a pair of links with an fq qdisc between.
func (l *lab) makeFQ() error {
	l.Helper()
	l.spine.do(l, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: labEnter, Name: "sh0", Kind: rtnl.Veth, MTU: bigMTU,
			Peer: &rtnl.Link{Index: labEnter + 1, Name: "sh1", MTU: bigMTU, Netns: l.spine.ns}})
	})
	l.spine.up(l, labEnter)
	l.spine.up(l, labEnter+1)
	var b rtnl.Batch
	b.SetFQ(labEnter, &rtnl.FQ{Limit: 1 << 20, FlowLimit: 1 << 20, Horizon: time.Hour})
	return l.spine.conn.Do(&b)
}

// withHolder gives a lab an fq, or every rack of it a wheel; and its spine a
// cut.
func (l *lab) withHolder(fq bool) {
	l.Helper()
	l.holder = labHolder
	if fq {
		l.holder.FQ, l.holder.Enter, l.holder.Leave = true, labEnter, labEnter+1
		l.must(l.makeFQ())
	}
	l.spine.do(l, func(b *rtnl.Batch) {
		b.NewLink(&rtnl.Link{Index: labCut, Name: "cut", Kind: rtnl.Veth, MTU: bigMTU,
			Peer: &rtnl.Link{Index: labCut + 1, Name: "tuc", MTU: bigMTU, Netns: l.spine.ns}})
	})
	l.spine.up(l, labCut)
	l.spine.up(l, labCut+1)
	off := map[string]bool{}
	on, err := l.spine.conn.Features("cut")
	l.must(err)
	for name := range maps.Keys(on) {
		off[name] = false
	}
	l.must(l.spine.conn.SetFeatures("cut", off))
	if fq {
		return
	}
	for k, rack := range l.racks {
		end := int32(labHold + k)
		l.spine.do(l, func(b *rtnl.Batch) {
			b.NewLink(&rtnl.Link{Index: end, Name: fmt.Sprintf("h%d", k), Kind: rtnl.Veth, MTU: bigMTU,
				Peer: &rtnl.Link{Index: holdEnd, Name: "hold", MTU: bigMTU, Netns: rack.ns}})
		})
		l.spine.up(l, end)
		rack.up(l, holdEnd)
		l.wheel(rack)
	}
}

// shape is ensure with conditions.
func (l *lab) shape(p *program.Program, links *program.Links) (writes int) {
	l.Helper()
	return l.ensureWith(p, &Shaping{Links: links, Holder: l.holder})
}

// change puts other conditions into force as one who knows nothing of what was
// before.
func (l *lab) change(links *program.Links) (entries int) {
	l.Helper()
	f, without, err := Find(l.spine.conn, l.trunks())
	l.must(err)
	defer f.Close()
	if len(without) > 0 {
		l.Fatalf("trunks %v have no fabric", without)
	}
	c, err := f.Prepare(links)
	l.must(err)
	entries, err = c.Commit()
	l.must(err)
	return entries
}

// wheel holds the frames of a rack: in the smallest way that there is.
func (l *lab) wheel(rack *space) {
	l.Helper()
	fd, pipe := -1, make([]int, 2)
	l.must(unix.Pipe2(pipe, unix.O_CLOEXEC))
	l.must(netns.Do(rack.ns, func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		return err
	}))
	l.must(errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_QDISC_BYPASS, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 64<<20),
	))
	const all = uint16(unix.ETH_P_ALL)<<8 | unix.ETH_P_ALL>>8
	l.must(unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: holdEnd}))
	var wg sync.WaitGroup
	wg.Go(func() { turn(fd, pipe[0]) })
	l.Cleanup(func() {
		unix.Close(pipe[1])
		wg.Wait()
		unix.Close(pipe[0])
		unix.Close(fd)
	})
}

// heldFrame is a frame in a wheel, with its virtio-net header.
type heldFrame struct {
	due   uint64
	order int
	bytes []byte
}

type frameHeap []heldFrame

func (h frameHeap) Len() int { return len(h) }
func (h frameHeap) Less(i, j int) bool {
	return h[i].due < h[j].due || h[i].due == h[j].due && h[i].order < h[j].order
}
func (h frameHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *frameHeap) Push(x any)   { *h = append(*h, x.(heldFrame)) }
func (h *frameHeap) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

const virtioHeader = 10

// turn is the wheel's goroutine.
func turn(fd, end int) {
	var held frameHeap
	buf := make([]byte, 1<<17)
	for order := 0; ; {
		wait := time.Second
		for len(held) > 0 {
			if wait = time.Duration(held[0].due - monotonic()); wait > 0 {
				break
			}
			_, _ = unix.Write(fd, heap.Pop(&held).(heldFrame).bytes)
			wait = 0
		}
		polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(end), Events: unix.POLLHUP}}
		timeout := unix.NsecToTimespec(int64(max(wait, 0)))
		_, _ = unix.Ppoll(polled, &timeout, nil)
		if polled[1].Revents != 0 {
			return
		}
		for {
			n, err := unix.Read(fd, buf)
			if err != nil {
				break
			}
			now := monotonic()
			head := binary.LittleEndian.Uint32(buf[virtioHeader:])
			late := int32((uint32(now>>10)<<1)-(head&^1)) >> 1
			order++
			heap.Push(&held, heldFrame{(now>>10 - uint64(int64(late))) << 10, order, append([]byte(nil), buf[:n]...)})
		}
	}
}

// TestFQ: the program for an fq gives it a copy of each frame with its
// departure time, and copes where there is none.
func TestFQ(t *testing.T) {
	l := newSpine(t)
	_ = l.makeFQ() // without it, the link does not hold
	f, err := load(testProgram(), &Shaping{Links: &program.Links{}, Holder: Holder{FQ: true, Enter: labEnter, Leave: labEnter + 1}}, nil)
	l.must(err)
	t.Cleanup(func() { f.Close() })
	r := &rig{t, f, l.spine}
	r.update(testProgram(), &Shaping{Links: onLeg("out", program.Condition{Delay: 20 * time.Millisecond})})
	w := l.wire(l.spine, labEnter+1)
	for _, typ := range []uint16{typeIPv4, typeIPv6} {
		now := monotonic()
		if verdict, _ := r.run(f.objects.Trunk, frame(program.MACOf(1, 10), program.MACOf(1, 1), typ), firstTrunk, 0); verdict != shot {
			t.Errorf("verdict %d, want %d", verdict, shot)
		}
		got := w.next(l)
		if due := headDue(got, now) - now; due < 20e6-2048 || due > 20e6+uint64(soon) {
			t.Errorf("it is due after %d ns", due)
		}
	}
	// What is not IP cannot be held there.
	if verdict, _ := r.run(f.objects.Trunk, frame(program.MACOf(1, 10), program.MACOf(1, 1), 0x88b5), firstTrunk, 0); verdict != redirect {
		t.Errorf("verdict %d, want %d", verdict, redirect)
	}
	if got := mustCount(t, f); got["unheld"] != 1 || got["held"] != 2 || got["unicast"] != 1 {
		t.Errorf("counters: %v", got)
	}
}

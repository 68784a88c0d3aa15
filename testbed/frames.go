package testbed

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel/netns"
	"myriad/program"
)

// Frames counts frames on the underlay that are for all, or for many, or that
// ask who has an address. Each counts once, where it leaves its pnode.
type Frames struct {
	ARP       int // of the underlay itself
	Broadcast int // broadcast and multicast frames of the underlay itself
	InnerARP  int // inside of tunnels
	Inner     int // other broadcast and multicast frames inside of tunnels
	Missed    int // that went by uncounted, of whatever kind
	All       int // frames of every kind that pnodes sent
}

// Sum is the number of all that should not be there.
func (f Frames) Sum() int { return f.ARP + f.Broadcast + f.InnerARP + f.Inner + f.Missed }

// String names what there is.
func (f Frames) String() string {
	return fmt.Sprintf("%d ARP, %d broadcast, inside of tunnels %d ARP and %d broadcast, %d missed, of %d frames", f.ARP, f.Broadcast, f.InnerARP, f.Inner, f.Missed, f.All)
}

// Watch is a look at the underlay that goes on.
type Watch struct {
	bed    *Bed
	sock   int
	before int // frames that pnodes had sent
	stop   chan struct{}
	ended  sync.WaitGroup
	found  Frames
	err    error
}

// Watch begins to count. Stop ends it.
func (b *Bed) Watch() (*Watch, error) {
	w := &Watch{bed: b, stop: make(chan struct{})}
	var indexes map[int32]bool
	err := netns.Do(b.router, func() (err error) {
		if indexes, err = ports(); err != nil {
			return err
		}
		if w.sock, err = openWatch(); err != nil {
			return err
		}
		w.before, err = sent()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("watch the underlay: %w", err)
	}
	w.ended.Go(func() { w.err = w.read(indexes) })
	return w, nil
}

// Stop gives what was seen.
func (w *Watch) Stop() (Frames, error) {
	close(w.stop)
	w.ended.Wait()
	defer unix.Close(w.sock)
	err := w.err
	if stats, e := unix.GetsockoptTpacketStats(w.sock, unix.SOL_PACKET, unix.PACKET_STATISTICS); e == nil {
		w.found.Missed = int(stats.Drops)
	} else {
		err = errors.Join(err, e)
	}
	err = errors.Join(err, netns.Do(w.bed.router, func() error {
		after, err := sent()
		w.found.All = after - w.before
		return err
	}))
	return w.found, err
}

// openWatch gives a packet socket that hears, on every link, what comes in and
// passes its filter.
func openWatch() (int, error) {
	const nothing = 0 // until the filter is there
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, nothing)
	if err != nil {
		return -1, err
	}
	filter := suspects()
	limit := unix.NsecToTimeval(int64(50 * time.Millisecond))
	err = errors.Join(
		unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit),
	)
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL)})
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func htons(v uint16) uint16 { return v<<8 | v>>8 }

// Where things are in a frame without IP options, which nobody here sends.
const (
	etherType = 12
	ipProto   = 14 + 9
	ipFrag    = 14 + 6
	udpPort   = 14 + 20 + 2
	inner     = 14 + 20 + 8 + 8 // Ethernet header inside VXLAN (RFC 7348, section 5)
)

// suspects is a filter (Linux Documentation/networking/filter.rst) that passes
// the first bytes of frames that Frames counts. Most frames end at its last line.
func suspects() []unix.SockFilter {
	const (
		load8    = unix.BPF_LD | unix.BPF_B | unix.BPF_ABS
		load16   = unix.BPF_LD | unix.BPF_H | unix.BPF_ABS
		equal    = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		set      = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
		ret      = unix.BPF_RET | unix.BPF_K
		snapshot = 128
	)
	lines := []struct {
		code    uint16
		k       uint32
		yes, no string // where to go on: keep, drop, or the next line
	}{
		{load8, 0, "", ""},
		{set, 1, "keep", ""}, // the group bit of the destination
		{load16, etherType, "", ""},
		{equal, unix.ETH_P_ARP, "keep", ""},
		{equal, unix.ETH_P_IP, "", "drop"},
		{load8, ipProto, "", ""},
		{equal, unix.IPPROTO_UDP, "", "drop"},
		{load16, ipFrag, "", ""},
		{set, 0x1fff, "drop", ""}, // not the first fragment
		{load16, udpPort, "", ""},
		{equal, program.VXLANPort, "", "drop"},
		{load8, inner, "", ""},
		{set, 1, "keep", ""},
		{load16, inner + etherType, "", ""},
		{equal, unix.ETH_P_ARP, "keep", "drop"},
	}
	target := map[string]int{"keep": len(lines), "drop": len(lines) + 1}
	var out []unix.SockFilter
	for i, l := range lines {
		jump := func(name string) uint8 {
			if name == "" {
				return 0
			}
			return uint8(target[name] - i - 1)
		}
		out = append(out, unix.SockFilter{Code: l.code, K: l.k, Jt: jump(l.yes), Jf: jump(l.no)})
	}
	return append(out, unix.SockFilter{Code: ret, K: snapshot}, unix.SockFilter{Code: ret, K: 0})
}

// read counts until Stop, and then what is still there.
func (w *Watch) read(ports map[int32]bool) error {
	buf := make([]byte, 256)
	for {
		n, from, err := unix.Recvfrom(w.sock, buf, 0)
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			select {
			case <-w.stop:
				return nil
			default:
			}
		case err == unix.ENETDOWN: // a link was set down: the others go on
		case err != nil:
			return fmt.Errorf("watch the underlay: %w", err)
		default:
			if l, ok := from.(*unix.SockaddrLinklayer); ok && ports[int32(l.Ifindex)] {
				w.found.count(buf[:n])
			}
		}
	}
}

// count sorts a frame that the filter has passed.
func (f *Frames) count(p []byte) {
	typeAt := func(at int) int {
		if len(p) < at+2 {
			return 0
		}
		return int(p[at])<<8 | int(p[at+1])
	}
	switch {
	case typeAt(etherType) == unix.ETH_P_ARP:
		f.ARP++
	case len(p) > 0 && p[0]&1 != 0:
		f.Broadcast++
	case typeAt(inner+etherType) == unix.ETH_P_ARP:
		f.InnerARP++
	default:
		f.Inner++
	}
}

// ports are the indexes of the router's ends.
func ports() (map[int32]bool, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	found := map[int32]bool{}
	for _, l := range links {
		if strings.HasPrefix(l.Name, "u") && l.Name != "underlay" {
			found[int32(l.Index)] = true
		}
	}
	return found, nil
}

// sent is how many frames pnodes have sent, as the router's ends counted.
func sent() (int, error) {
	text, err := os.ReadFile("/proc/thread-self/net/dev")
	if err != nil {
		return 0, err
	}
	total := 0
	for line := range strings.Lines(string(text)) {
		name, rest, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok || !strings.HasPrefix(name, "u") || name == "underlay" {
			continue
		}
		if fields := strings.Fields(rest); len(fields) > 2 {
			n, _ := strconv.Atoi(fields[1]) // packets received
			total += n
		}
	}
	return total, nil
}

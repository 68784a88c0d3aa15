package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Peer is one end of a traffic measurement; it runs in a vnode as a process
// of its own. System calls are raw and blocking: a process that measures
// tens of microseconds has no room for a scheduler of its own.
type Peer struct {
	Mode    string         // see Run
	Addr    netip.AddrPort // of the other end, or to listen on
	Count   int
	Seconds float64
	CPU     int    // core to stay on; -1: any
	Path    string // of the Unix socket over which a socket is lent
}

// PeerResult is what a client end prints, as one line of JSON.
type PeerResult struct {
	Sent     int     `json:"sent,omitempty"`
	Received int     `json:"received,omitempty"`
	Median   float64 `json:"median_us,omitempty"`
	P99      float64 `json:"p99_us,omitempty"`
	Rate     float64 `json:"rate,omitempty"` // packets/s or bit/s
}

// Run does the peer's part. Modes: udp-echo and udp-ping measure round trips;
// udp-sink and udp-send, packets a second with an acknowledged window, so
// that none is lost; tcp-sink and tcp-send, bits a second; ping-every sends
// one probe a millisecond and counts the answers; lend, pair-ping and
// pair-send have both ends in one thread (see pair.go); resolve touches Count
// consecutive addresses from Addr on; give-icmp and give-udp give a socket away
// (see accuracy_give.go); udp-flood and udp-count are a stream of UDP (see
// accuracy_flood.go).
func (p Peer) Run(out io.Writer) error {
	if p.CPU >= 0 && os.Getenv("MYRIAD_PEER_PINNED") == "" {
		return p.pin()
	}
	mode, ok := map[string]func(Peer) (*PeerResult, error){
		"udp-echo": Peer.udpEcho, "udp-ping": Peer.udpPing, "udp-sink": Peer.udpSink, "udp-send": Peer.udpSend,
		"tcp-sink": Peer.tcpSink, "tcp-send": Peer.tcpSend, "ping-every": Peer.pingEvery, "resolve": Peer.resolve,
		"give-icmp": Peer.giveICMP, "give-udp": Peer.giveUDP, "udp-flood": Peer.udpFlood, "udp-count": Peer.udpCount,
		"lend": Peer.lend, "pair-ping": Peer.pairPing, "pair-send": Peer.pairSend,
	}[p.Mode]
	if !ok {
		return fmt.Errorf("peer: unknown mode %q", p.Mode)
	}
	result, err := mode(p)
	if err != nil || result == nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}

// pin runs the same command again on one core: affinity set before a process
// starts holds for every thread it will have.
func (p Peer) pin() error {
	exe, err := exec.LookPath("taskset")
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	args := append([]string{"taskset", "-c", strconv.Itoa(p.CPU), self}, os.Args[1:]...)
	return syscall.Exec(exe, args, append(os.Environ(), "MYRIAD_PEER_PINNED=1", "GOMAXPROCS=1"))
}

// socket makes a blocking socket, bound (server) or connected (client), that
// gives up after the peer's seconds and a few more.
func (p Peer) socket(kind int, server bool) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	limit := unix.NsecToTimeval(int64((p.Seconds + 10) * 1e9))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return -1, err
	}
	addr := &unix.SockaddrInet4{Port: int(p.Addr.Port()), Addr: p.Addr.Addr().As4()}
	if server {
		err = unix.Bind(fd, addr)
	} else {
		err = patiently(func() error { return unix.Connect(fd, addr) })
	}
	if err != nil {
		return -1, fmt.Errorf("%s: %w", p.Addr, err)
	}
	return fd, nil
}

// patiently repeats a connection that is refused: on a busy machine, the other
// end may not have begun to listen.
func patiently(connect func() error) (err error) {
	for range 300 {
		if err = connect(); !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ENOENT) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
	return err
}

func send(fd int, b []byte) (int, error) { return rawIO(unix.SYS_WRITE, fd, b) }
func recv(fd int, b []byte) (int, error) { return rawIO(unix.SYS_READ, fd, b) }

func rawIO(call uintptr, fd int, b []byte) (int, error) {
	for {
		n, _, errno := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
		switch errno {
		case 0:
			return int(n), nil
		case unix.EINTR:
			continue
		}
		return 0, errno
	}
}

// udpEcho answers Count datagrams (0: until silence).
func (p Peer) udpEcho() (*PeerResult, error) {
	fd, err := p.socket(unix.SOCK_DGRAM, true)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 2048)
	n, from, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, from); err != nil {
		return nil, err
	}
	for i := 0; p.Count == 0 || i < p.Count; i++ {
		if _, err := send(fd, b[:n]); err != nil {
			return nil, err
		}
		if n, err = recv(fd, b); err != nil {
			return nil, nil // silence ends the server
		}
	}
	return nil, nil
}

func (p Peer) udpPing() (*PeerResult, error) {
	fd, err := p.socket(unix.SOCK_DGRAM, false)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 18)
	rtts := make([]float64, 0, p.Count)
	for i := range p.Count + p.Count/10 {
		start := time.Now()
		if _, err := send(fd, b); err != nil {
			return nil, err
		}
		if _, err := recv(fd, b); err != nil {
			return nil, fmt.Errorf("round trip %d: %w", i, err)
		}
		if i >= p.Count/10 { // the first tenth warms up
			rtts = append(rtts, float64(time.Since(start).Nanoseconds())/1e3)
		}
	}
	slices.Sort(rtts)
	return &PeerResult{Sent: p.Count, Received: len(rtts), Median: median(rtts), P99: rtts[len(rtts)*99/100]}, nil
}

// burst is how many datagrams travel before the sink acknowledges them.
const burst = 64

// udpSink acknowledges every burst-th datagram.
func (p Peer) udpSink() (*PeerResult, error) {
	fd, err := p.socket(unix.SOCK_DGRAM, true)
	if err != nil {
		return nil, err
	}
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
	b := make([]byte, 2048)
	_, from, err := unix.Recvfrom(fd, b, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.Connect(fd, from); err != nil {
		return nil, err
	}
	for got := 1; ; got++ {
		if got%burst == 0 {
			if _, err := send(fd, b[:18]); err != nil {
				return nil, err
			}
		}
		if _, err := recv(fd, b); err != nil {
			return nil, nil
		}
	}
}

func (p Peer) udpSend() (*PeerResult, error) {
	fd, err := p.socket(unix.SOCK_DGRAM, false)
	if err != nil {
		return nil, err
	}
	b, ack := make([]byte, 18), make([]byte, 64)
	sent, acked := 0, 0
	start := time.Now()
	for end := start.Add(time.Duration(p.Seconds * 1e9)); time.Now().Before(end); {
		for range burst {
			if _, err := send(fd, b); err != nil {
				return nil, err
			}
		}
		sent += burst
		for sent-acked > burst { // one burst is under way while the last is acknowledged
			if _, err := recv(fd, ack); err != nil {
				return nil, fmt.Errorf("after %d datagrams: %w", sent, err)
			}
			acked += burst
		}
	}
	took := time.Since(start).Seconds()
	return &PeerResult{Sent: sent, Received: acked, Rate: float64(acked) / took}, nil
}

func (p Peer) tcpSink() (*PeerResult, error) {
	fd, err := p.socket(unix.SOCK_STREAM, true)
	if err != nil {
		return nil, err
	}
	if err := unix.Listen(fd, 1); err != nil {
		return nil, err
	}
	conn, _, err := unix.Accept(fd)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 256<<10)
	for {
		n, err := recv(conn, b)
		if err != nil || n == 0 {
			return nil, err
		}
	}
}

func (p Peer) tcpSend() (*PeerResult, error) {
	fd, err := p.socket(unix.SOCK_STREAM, false)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 256<<10)
	sent, from := 0, time.Now()
	start := from
	for end := start.Add(time.Duration((p.Seconds + 0.3) * 1e9)); time.Now().Before(end); {
		n, err := send(fd, b)
		if err != nil {
			return nil, err
		}
		sent += n
		if from == start && time.Since(start) > 300*time.Millisecond { // slow start is over
			sent, from = 0, time.Now()
		}
	}
	return &PeerResult{Rate: 8 * float64(sent) / time.Since(from).Seconds()}, nil
}

// pingEvery sends a probe each millisecond for Seconds, and waits for the
// answers: what is missing was lost.
func (p Peer) pingEvery() (*PeerResult, error) {
	fd, err := p.socket(unix.SOCK_DGRAM, false)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 18)
	r := &PeerResult{}
	limit := unix.NsecToTimeval(int64(time.Second))
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit); err != nil {
		return nil, err
	}
	for end := time.Now().Add(time.Duration(p.Seconds * 1e9)); time.Now().Before(end); time.Sleep(time.Millisecond) {
		r.Sent++
		if _, err := send(fd, b); err != nil {
			continue
		}
		if _, err := recv(fd, b); err == nil {
			r.Received++
		}
	}
	return r, nil
}

// resolve sends one datagram to each of Count addresses, each of which has to
// be resolved first.
func (p Peer) resolve() (*PeerResult, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	r := &PeerResult{}
	to := p.Addr.Addr()
	for range p.Count {
		addr := &unix.SockaddrInet4{Port: int(p.Addr.Port()), Addr: to.As4()}
		if err := unix.Sendto(fd, []byte("resolve"), 0, addr); err == nil {
			r.Sent++
		}
		to = to.Next()
	}
	return r, nil
}

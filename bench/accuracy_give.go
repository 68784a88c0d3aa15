package bench

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"myriad/api"
)

// A socket stays in the network namespace that it was made in, whoever holds
// its descriptor. So a short-lived process in each vnode opens one and gives
// it away, and one process outside probes from all of them.

// probePort is where probes by UDP go.
const probePort = 7

// giveICMP and giveUDP open a socket of this vnode and give it to whoever
// listens at p.Path.
func (p Peer) giveICMP() (*PeerResult, error) { return nil, p.give(true) }
func (p Peer) giveUDP() (*PeerResult, error)  { return nil, p.give(false) }

func (p Peer) give(icmp bool) error {
	fd, err := probeSocket(icmp)
	if err != nil {
		return err
	}
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: p.Path, Net: "unix"})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, _, err = conn.WriteMsgUnix([]byte(name), unix.UnixRights(fd), nil)
	return err
}

// probeSocket opens a socket to probe from, in the namespace of this thread.
func probeSocket(icmp bool) (int, error) {
	kind, protocol := unix.SOCK_DGRAM, 0
	if icmp {
		kind, protocol = unix.SOCK_RAW, unix.IPPROTO_ICMP
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, fmt.Errorf("socket to probe from: %w", err)
	}
	// What came in a burst is not lost here; without the privilege, the
	// machine's limit holds.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 16<<20)
	}
	if icmp { // the kernel's own echo requests to this vnode are not for us
		const icmpFilter, echoReplies = 1, ^uint32(1)
		filter := echoReplies
		err = unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, int(int32(filter)))
	} else {
		err = unix.Bind(fd, &unix.SockaddrInet4{Port: probePort})
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("socket to probe from: %w", err)
	}
	return fd, nil
}

// sockets are sockets of vnodes, by name, and the addresses of all vnodes
// that may be probed.
type sockets struct {
	icmp  bool
	files []*os.File
	index map[string]int
}

func (s *sockets) add(name string, fd int) {
	if s.index == nil {
		s.index = map[string]int{}
	}
	s.index[name] = len(s.files)
	s.files = append(s.files, os.NewFile(uintptr(fd), name))
}

func (s *sockets) close() {
	for _, f := range s.files {
		f.Close()
	}
}

// gather collects a socket of each of the n vnodes that nodes names.
func (in *instance) gather(ctx context.Context, platform, nodes string, n int, icmp bool) (*sockets, error) {
	path := filepath.Join(in.dir, "given")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	defer l.Close()
	s := &sockets{icmp: icmp}
	collected := make(chan error, 1)
	go func() { collected <- s.collect(l, n) }()
	mode := "give-udp"
	if icmp {
		mode = "give-icmp"
	}
	err = in.run(ctx, nil, "exec", "-p", platform, nodes, "--", in.exe, "bench", "peer", mode, "0.0.0.0:0", "--path", path)
	if err != nil {
		l.Close()
	} else {
		_ = l.SetDeadline(time.Now().Add(10 * time.Second)) // all have connected
	}
	if e := <-collected; err == nil {
		err = e
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *sockets) collect(l *net.UnixListener, n int) error {
	for range n {
		conn, err := l.AcceptUnix()
		if err != nil {
			return err
		}
		name, rights := make([]byte, 256), make([]byte, unix.CmsgSpace(4))
		k, m, _, _, err := conn.ReadMsgUnix(name, rights)
		conn.Close()
		if err != nil {
			return err
		}
		fd, err := oneRight(rights[:m])
		if err != nil {
			return err
		}
		s.add(string(name[:k]), fd)
	}
	return nil
}

// oneRight reads the descriptor that came with a message.
func oneRight(rights []byte) (int, error) {
	msgs, err := unix.ParseSocketControlMessage(rights)
	if err != nil || len(msgs) != 1 {
		return -1, fmt.Errorf("borrow a socket: %d messages, %v", len(msgs), err)
	}
	fds, err := unix.ParseUnixRights(&msgs[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("borrow a socket: %d descriptors, %v", len(fds), err)
	}
	return fds[0], nil
}

// addresses gives the first address of each vnode that nodes names.
func (in *instance) addresses(ctx context.Context, platform, nodes string) (map[string]netip.Addr, error) {
	var vnodes []api.Vnode
	if err := in.run(ctx, &vnodes, "ps", "-p", platform, nodes); err != nil {
		return nil, err
	}
	out := map[string]netip.Addr{}
	for _, v := range vnodes {
		a, err := netip.ParseAddr(address(v))
		if err != nil {
			return nil, err
		}
		out[v.Name] = a
	}
	return out, nil
}

// shots are probes planned and, once shot, what came of them.
type shots struct {
	probeJob
	probeResult
}

// aim plans a probe from a vnode whose socket we have to an address.
func (q *shots) aim(s *sockets, from string, to netip.Addr, at time.Duration) error {
	i, ok := s.index[from]
	if !ok {
		return fmt.Errorf("no socket of %s", from)
	}
	k := len(q.Addrs) - 1
	if k < 0 || q.Addrs[k].Addr() != to {
		q.Addrs = append(q.Addrs, netip.AddrPortFrom(to, probePort))
		k++
	}
	q.From, q.To, q.At = append(q.From, int32(i)), append(q.To, int32(k)), append(q.At, int64(at))
	return nil
}

// shoot runs a prober over the planned probes.
func (q *shots) shoot(ctx context.Context, exe string, s *sockets, wait time.Duration) error {
	q.ICMP, q.Sockets, q.Wait = s.icmp, len(s.files), int64(wait)
	if q.Size == 0 {
		q.Size = 56 // as ping(8) sends
	}
	var job, result, stderr bytes.Buffer
	if err := gob.NewEncoder(&job).Encode(&q.probeJob); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, exe, "bench", "prober")
	cmd.Env = append(os.Environ(), "GODEBUG=asyncpreemptoff=1", "GOMAXPROCS=1")
	cmd.ExtraFiles = s.files
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &job, &result, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("prober: %w: %s", err, tail(stderr.String(), 400))
	}
	return gob.NewDecoder(&result).Decode(&q.probeResult)
}

// lateness sums up how late the prober's own timers were, in µs.
func (q *shots) lateness() (p50, p99 float64) {
	late := make([]float64, len(q.Late))
	for i, l := range q.Late {
		late[i] = float64(l) / 1e3
	}
	return quantiles(late)
}

// awake gives how long the reader of each answered probe took to wake up and
// read it, in µs.
func (q *shots) awake() (took []float64) {
	for i, r := range q.Received {
		if r != 0 {
			took = append(took, float64(q.Seen[i]-r)/1e3)
		}
	}
	return took
}

// times gives how long each answered probe took, in µs, and how many were not.
func (q *shots) times() (took []float64, lost int) {
	for i, r := range q.Received {
		if r == 0 {
			lost++
			continue
		}
		took = append(took, float64(r-q.Sent[i])/1e3)
	}
	return took, lost
}

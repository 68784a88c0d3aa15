package agent

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"myriad/bus"
	"myriad/kernel"
	"myriad/program"
)

// The packets of a Reach are UDP: the nonce, a number by which the answer is
// known, room for how long the other side took, and zeros up to the size. The
// answer has the same size; its nonce is complemented, so that no answer is
// answered.
const (
	echoHeader   = 20 + 8 // IPv4 and UDP
	echoNumber   = 16     // where the number is
	echoDwell    = 24     // where it is how long the other side took, in nanoseconds
	echoLeast    = 32     // bytes of UDP
	echoSize     = 64     // those of one that only measures
	echoMost     = 64 << 10
	echoPatience = time.Second      // for an answer
	echoLongest  = time.Minute      // that a socket is open
	echoSockets  = 64               // of one agent, at once
	wholeTries   = 3                // packets of full size, of which one is to come back
	reachCount   = 1000             // round trips of one request
	reachLongest = 10 * time.Second // for all of them
)

// underlay gives the address of this end of the way.
func (a *agent) underlay() (netip.Addr, error) {
	var at netip.Addr
	if a.Address != nil {
		at, _ = a.Address()
	}
	if !at.IsValid() {
		return at, &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "open echo socket", Cause: fmt.Sprintf("pnode %s has no underlay address", a.Name),
			Remedy: "say by which IPv4 address other pnodes reach it, with --address"}
	}
	return at, nil
}

// measuring has a UDP socket tell the kernel's time of what arrives, and say
// "do not fragment" of what it sends, whatever the kernel believes of the way
// (IP_PMTUDISC_PROBE, ip(7)).
func measuring(_, _ string, raw syscall.RawConn) (err error) {
	outer := raw.Control(func(fd uintptr) {
		err = errors.Join(
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE),
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		)
	})
	return errors.Join(outer, err)
}

func unopened(err error) error {
	return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "open echo socket", Cause: err.Error(), Remedy: "the underlay address must be one of an interface of this machine, and have a route to the others"}
}

// echo answers packets with a nonce for a while.
func (a *agent) echo(_ context.Context, q bus.Echo) (bus.Echoing, error) {
	if q.For <= 0 || q.For > echoLongest {
		return bus.Echoing{}, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "open echo socket", Cause: fmt.Sprintf("for %v, at most %v are possible", q.For, echoLongest)}
	}
	if a.echoing.Add(1) > echoSockets {
		a.echoing.Add(-1)
		return bus.Echoing{}, &program.Problem{Kind: program.KindExhausted, Rack: -1, Op: "open echo socket", Cause: fmt.Sprintf("pnode %s has %d", a.Name, echoSockets), Remedy: "ask again in a minute"}
	}
	c, err := a.listen()
	if err != nil {
		a.echoing.Add(-1)
		return bus.Echoing{}, err
	}
	a.watch.Go(func() {
		defer a.echoing.Add(-1)
		defer c.Close()
		defer context.AfterFunc(a.ctx, func() { c.Close() })()
		_ = c.SetReadDeadline(time.Now().Add(q.For))
		answerEchoes(c, q.Nonce)
	})
	return bus.Echoing{Addr: c.LocalAddr().(*net.UDPAddr).AddrPort()}, nil
}

// listen opens a socket that anybody may send to.
func (a *agent) listen() (*net.UDPConn, error) {
	at, err := a.underlay()
	if err != nil {
		return nil, err
	}
	config := net.ListenConfig{Control: measuring}
	c, err := config.ListenPacket(a.ctx, "udp4", netip.AddrPortFrom(at, 0).String())
	if err != nil {
		return nil, unopened(err)
	}
	return c.(*net.UDPConn), nil
}

// answerEchoes answers until the socket's deadline.
func answerEchoes(c *net.UDPConn, nonce [16]byte) {
	packet, oob := make([]byte, echoMost), make([]byte, 128)
	answer := complement(nonce)
	for {
		n, oobn, _, from, err := c.ReadMsgUDPAddrPort(packet, oob)
		if err != nil {
			return
		}
		if n < echoLeast || [16]byte(packet) != nonce {
			continue
		}
		copy(packet, answer[:])
		binary.BigEndian.PutUint64(packet[echoDwell:], uint64(dwelt(oob[:oobn])))
		_, _ = c.WriteToUDPAddrPort(packet[:n], from) // whoever misses it asks again
	}
}

// dwelt is how long ago a packet arrived whose control messages are oob.
func dwelt(oob []byte) time.Duration {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= 16 {
			e := binary.NativeEndian
			at := time.Unix(int64(e.Uint64(m.Data)), int64(e.Uint64(m.Data[8:])))
			if d := time.Since(at); d > 0 && d < time.Second { // else the clock was set
				return d
			}
		}
	}
	return 0
}

func complement(nonce [16]byte) (out [16]byte) {
	for i, b := range nonce {
		out[i] = ^b
	}
	return out
}

// reach measures the way to another pnode, which echoes.
func (a *agent) reach(ctx context.Context, q bus.Reach) (bus.Reached, error) {
	if q.Count < 0 || q.Count > reachCount || q.Size != 0 && (q.Size < echoHeader+echoLeast || q.Size > 0xffff) || !q.Addr.Addr().Is4() {
		return bus.Reached{}, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: fmt.Sprintf("reach %s", q.Addr),
			Cause: fmt.Sprintf("%d round trips, packets of %d bytes: at most %d, and %d to 65535 bytes", q.Count, q.Size, reachCount, echoHeader+echoLeast)}
	}
	at, err := a.underlay()
	if err != nil {
		return bus.Reached{}, err
	}
	dialer := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)), Control: measuring}
	socket, err := dialer.DialContext(ctx, "udp4", q.Addr.String())
	if err != nil {
		return bus.Reached{}, unopened(err)
	}
	c := socket.(*net.UDPConn)
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, reachLongest)
	defer cancel()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	r := &reacher{conn: c, nonce: q.Nonce, number: rand.Uint64(), in: make([]byte, echoMost)}
	var out bus.Reached
	out.Whole, err = r.whole(q.Size)
	if err != nil {
		return bus.Reached{}, unreached(q.Addr, err)
	}
	trips, err := r.trips(ctx, q.Count)
	if err != nil {
		return bus.Reached{}, unreached(q.Addr, err)
	}
	if out.Answered = len(trips); len(trips) > 0 {
		slices.Sort(trips)
		out.Least, out.Median = trips[0], trips[len(trips)/2]
	}
	return out, nil
}

func unreached(to netip.AddrPort, err error) error {
	return &program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: fmt.Sprintf("send to %s", to), Cause: err.Error(),
		Remedy: "the underlay must have a route there"}
}

// reacher sends packets and waits for their answers.
type reacher struct {
	conn   *net.UDPConn
	nonce  [16]byte
	number uint64
	in     []byte
}

// whole tells whether IPv4 packets of a size arrive whole, both ways.
func (r *reacher) whole(size int) (bool, error) {
	if size == 0 {
		return false, nil
	}
	for range wholeTries {
		_, ok, err := r.trip(size - echoHeader)
		if errors.Is(err, unix.EMSGSIZE) { // the own interface is too small
			return false, nil
		}
		if ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// trips measures round trips, one at a time. Where the first ones are not
// answered, no more are sent.
func (r *reacher) trips(ctx context.Context, count int) ([]time.Duration, error) {
	var trips []time.Duration
	for i := range count {
		if ctx.Err() != nil || i == wholeTries && len(trips) == 0 {
			break
		}
		took, ok, err := r.trip(echoSize)
		if err != nil && ctx.Err() == nil {
			return nil, err
		}
		if ok {
			trips = append(trips, took)
		}
	}
	return trips, nil
}

// trip sends one packet with so many bytes of UDP, and waits for its answer:
// how long that took, less what it waited at the other side.
func (r *reacher) trip(size int) (took time.Duration, ok bool, err error) {
	r.number++
	out := make([]byte, size)
	copy(out, r.nonce[:])
	binary.BigEndian.PutUint64(out[echoNumber:], r.number)
	answer := complement(r.nonce)
	want := slices.Concat(answer[:], out[echoNumber:echoDwell])
	start := time.Now()
	if _, err := r.conn.Write(out); errors.Is(err, unix.ECONNREFUSED) { // nobody was there for the one before
		return 0, false, nil
	} else if err != nil {
		return 0, false, err
	}
	_ = r.conn.SetReadDeadline(start.Add(echoPatience))
	oob := make([]byte, 128)
	for {
		n, oobn, _, _, err := r.conn.ReadMsgUDPAddrPort(r.in, oob)
		end := time.Now()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, unix.ECONNREFUSED):
			return 0, false, nil
		case err != nil:
			return 0, false, err
		case n != size || !bytes.Equal(r.in[:echoDwell], want):
			continue // late, or not for us
		}
		took := kernel.RoundTrip(start, end, oob[:oobn])
		if dwell := time.Duration(binary.BigEndian.Uint64(r.in[echoDwell:])); dwell > 0 && dwell < took {
			took -= dwell
		}
		return took, true, nil
	}
}

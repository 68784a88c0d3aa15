package rack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"myriad/kernel"
	"myriad/kernel/netns"
	"myriad/program"
)

// probeWindow is how many echoes are on their way at once in a rack: as many
// as a rack can spare descriptors for. Their times come from the kernel.
const probeWindow = 512

// echo is a probe on its way. Its socket was opened in its vnode and is
// connected: it gets what comes from its destination, and nothing else.
type echo struct {
	Probe
	socket int
	sent   time.Time
	due    time.Time
}

// prober is one Probe call at work. Its identities are places in probes.
type prober struct {
	*session
	probes  []Probe
	timeout time.Duration
	every   time.Duration
	begun   time.Time
	poll    *poller
	flying  map[uint32]*echo
	order   []uint32 // of flying, by due; some may have landed
	ident   uint16
	next    int
	results []Echo
	since   time.Time // the first of results came
}

// probe sends ICMP echoes from vnodes, and reports what came back.
func (c *session) probe(ctx context.Context, req *ProbeRequest) *program.Problem {
	const op = "probe"
	if req.Timeout <= 0 {
		return c.problem(program.KindInvalid, op, errors.New("no timeout given"))
	}
	poll, err := newPoller()
	if err != nil {
		return c.problem(program.KindExhausted, op, err)
	}
	defer poll.close()
	ctx, release := c.watch(ctx)
	defer release()
	defer context.AfterFunc(ctx, poll.wake)()
	p := &prober{
		session: c,
		probes:  req.Probes,
		timeout: time.Duration(req.Timeout),
		every:   time.Duration(max(req.Every, 0)),
		begun:   time.Now(),
		poll:    poll,
		flying:  map[uint32]*echo{},
		ident:   uint16(time.Now().UnixNano() >> 10),
	}
	if err := netns.Run(func(t *netns.Thread) error { return p.run(ctx, t) }); err != nil {
		return c.problem(program.KindInternal, op, err)
	}
	return nil
}

// run keeps the window full until every probe has its result.
func (p *prober) run(ctx context.Context, t *netns.Thread) error {
	defer func() {
		for _, e := range p.flying {
			unix.Close(e.socket)
		}
	}()
	var events []event
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		p.launch(t)
		done := p.next == len(p.probes) && len(p.flying) == 0
		if err := p.report(done); err != nil || done {
			return err
		}
		if err := t.Home(); err != nil { // a thread that waits keeps no vnode
			return err
		}
		var err error
		if events, err = p.poll.wait(p.deadline(), events); err != nil {
			return err
		}
		for _, e := range events {
			p.receive(e.id)
		}
		p.expire(time.Now())
	}
}

// launch sends as many probes as the window has room for and the time has
// come for.
func (p *prober) launch(t *netns.Thread) {
	for ; len(p.flying) < probeWindow && p.next < len(p.probes) && !time.Now().Before(p.turn()); p.next++ {
		e := &echo{Probe: p.probes[p.next]}
		var err error
		if e.socket, err = p.open(t, e.Probe); err == nil {
			err = p.send(uint32(p.next), e)
		}
		if err != nil {
			p.result(Echo{ID: e.ID, Err: err.Error()})
		}
	}
}

// turn is when the next probe is to be sent.
func (p *prober) turn() time.Time { return p.begun.Add(time.Duration(p.next) * p.every) }

// open makes a socket in the vnode that the probe is from.
func (p *prober) open(t *netns.Thread, probe Probe) (int, error) {
	to, err := netip.ParseAddr(probe.To)
	if err != nil || !to.Is4() {
		return -1, fmt.Errorf("%q is no IPv4 address", probe.To)
	}
	switch ok, err := p.Local.Enter(t, probe.From); {
	case err != nil:
		return -1, err
	case !ok:
		return -1, fmt.Errorf("no such vnode in rack %d", p.Index)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
	if err != nil {
		return -1, fmt.Errorf("open ICMP socket: %w", err)
	}
	// Other ICMP is not for us; errors on the way are; and the kernel's time
	// of arrival does not depend on how busy this process is.
	err = errors.Join(
		unix.SetsockoptInt(s, unix.SOL_RAW, unix.ICMP_FILTER, ^(1<<icmpEchoReply)),
		unix.SetsockoptInt(s, unix.SOL_IP, unix.IP_RECVERR, 1),
		unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
	)
	if err == nil {
		if err = unix.Connect(s, &unix.SockaddrInet4{Addr: to.As4()}); err != nil {
			err = fmt.Errorf("reach %s: %w", to, err)
		}
	}
	if err != nil {
		unix.Close(s)
		return -1, err
	}
	return s, nil
}

const (
	icmpEchoReply   = 0
	icmpEchoRequest = 8
	icmpLength      = 8 + 48 // header, and as much as makes it no smaller than ping's
	ipv4MinHeader   = 20
)

// packet is an echo, request or reply, of a probe.
func (p *prober) packet(kind byte, id uint32) [icmpLength]byte {
	b := [icmpLength]byte{0: kind}
	binary.BigEndian.PutUint16(b[4:], p.ident)
	binary.BigEndian.PutUint16(b[6:], uint16(id))
	binary.BigEndian.PutUint32(b[8:], id)
	binary.BigEndian.PutUint16(b[2:], checksum(b[:]))
	return b
}

// checksum is the Internet's.
func checksum(b []byte) uint16 {
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}

// send sends one echo request, and begins to wait for the reply. It owns the
// socket.
func (p *prober) send(id uint32, e *echo) error {
	packet := p.packet(icmpEchoRequest, id)
	err := p.poll.add(e.socket, id, sourceReply, unix.EPOLLIN)
	if err == nil {
		e.sent = time.Now()
		e.due = e.sent.Add(p.timeout)
		_, err = unix.Write(e.socket, packet[:])
	}
	if err != nil {
		unix.Close(e.socket)
		return fmt.Errorf("send echo: %w", err)
	}
	p.flying[id] = e
	p.order = append(p.order, id)
	return nil
}

// receive takes what has come for a probe: its reply, an error, or neither.
func (p *prober) receive(id uint32) {
	e := p.flying[id]
	if e == nil {
		return
	}
	var buf [128]byte
	var oob [128]byte
	for {
		n, oobn, _, _, err := unix.Recvmsg(e.socket, buf[:], oob[:], 0)
		now := time.Now()
		switch {
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return
		case err != nil:
			p.land(id, Echo{ID: e.ID, Err: err.Error()})
			return
		case p.isReply(id, buf[:n]):
			p.land(id, Echo{ID: e.ID, RTT: max(1, int64(kernel.RoundTrip(e.sent, now, oob[:oobn])))})
			return
		}
	}
}

// isReply says whether an IP packet is the reply to a probe. That it is from
// the right address the kernel has checked: the socket is connected.
func (p *prober) isReply(id uint32, b []byte) bool {
	if len(b) < ipv4MinHeader {
		return false
	}
	header := int(b[0]&0xf) * 4
	if header < ipv4MinHeader || len(b) < header {
		return false
	}
	want := p.packet(icmpEchoReply, id)
	return bytes.Equal(b[header:], want[:])
}

// land ends a probe.
func (p *prober) land(id uint32, result Echo) {
	unix.Close(p.flying[id].socket)
	delete(p.flying, id)
	p.result(result)
}

// expire ends the probes whose reply has not come in time.
func (p *prober) expire(now time.Time) {
	for len(p.order) > 0 {
		e := p.flying[p.order[0]]
		if e != nil && now.Before(e.due) {
			return
		}
		if e != nil {
			p.land(p.order[0], Echo{ID: e.ID})
		}
		p.order = p.order[1:]
	}
}

func (p *prober) result(e Echo) {
	if len(p.results) == 0 {
		p.since = time.Now()
	}
	p.results = append(p.results, e)
}

// deadline is when a probe expires or is to be sent, or results are to be.
func (p *prober) deadline() time.Time {
	var t time.Time
	if p.every > 0 && p.next < len(p.probes) && len(p.flying) < probeWindow {
		t = p.turn()
	}
	if flush := p.since.Add(steadyFlush); len(p.results) > 0 && (t.IsZero() || flush.Before(t)) {
		t = flush
	}
	for _, id := range p.order {
		if e := p.flying[id]; e != nil {
			if t.IsZero() || e.due.Before(t) {
				t = e.due
			}
			break
		}
	}
	return t
}

// report sends results, all of them or those that have waited long enough.
func (p *prober) report(all bool) error {
	if len(p.results) == 0 || !all && time.Since(p.since) < steadyFlush {
		return nil
	}
	err := p.frames.Send(&Reply{Echoes: p.results})
	p.results = p.results[:0]
	return err
}

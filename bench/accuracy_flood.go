package bench

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Debian's iperf3 sends UDP a packet at a time, which many machines cannot do
// fast enough to fill the higher rates. What it cannot show, these two ends do:
// they send and receive many packets in one call (UDP_SEGMENT and UDP_GRO).

const (
	udpSegment   = 103 // <linux/udp.h>
	udpGRO       = 104
	floodPackets = 44 // in one call: less than 64 KB
	floodFrom    = 5e8
)

// udpFlood sends full packets at Count bit/s of payload, for Seconds.
func (p Peer) udpFlood() (*PeerResult, error) {
	fd, err := p.socket(unix.SOCK_DGRAM, false)
	if err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_UDP, udpSegment, udpBytes); err != nil {
		return nil, fmt.Errorf("send many at once: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 16<<20)
	b := make([]byte, floodPackets*udpBytes)
	gap := time.Duration(8e9 * float64(len(b)) / float64(p.Count))
	start, sent := time.Now(), 0
	for due := start; due.Sub(start).Seconds() < p.Seconds; due = due.Add(gap) {
		time.Sleep(time.Until(due))
		if _, err := send(fd, b); err == nil { // refused, until the other end listens
			sent += len(b)
		}
	}
	return &PeerResult{Rate: 8 * float64(sent) / time.Since(start).Seconds()}, nil
}

// udpCount receives for Seconds, after what comes has settled, and tells the
// payload's bit/s.
func (p Peer) udpCount() (*PeerResult, error) {
	fd, err := p.socket(unix.SOCK_DGRAM, true)
	if err != nil {
		return nil, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 64<<20)
	if err := unix.SetsockoptInt(fd, unix.SOL_UDP, udpGRO, 1); err != nil {
		return nil, fmt.Errorf("receive many at once: %w", err)
	}
	b := make([]byte, 1<<16)
	if _, err := recv(fd, b); err != nil {
		return nil, err
	}
	for begin := time.Now(); time.Since(begin) < time.Second; {
		if _, err := recv(fd, b); err != nil {
			return nil, err
		}
	}
	got, from := 0, time.Now()
	for {
		n, err := recv(fd, b)
		if err != nil {
			return nil, err
		}
		got += n
		if took := time.Since(from).Seconds(); took > p.Seconds {
			return &PeerResult{Rate: 8 * float64(got) / took}, nil
		}
	}
}

// flood measures the goodput of one stream of UDP sent many packets at a time.
func (a *accuracy) flood(ctx context.Context, platform string, c rateCase, vnode, far string, seconds int) (float64, error) {
	from, to, addr := c.vnode, "far", far
	if c.in {
		from, to, addr = "far", c.vnode, vnode
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	sender := peer(ctx, a.in.vnodes(platform), from, addr, []string{"udp-flood", "--count", fmt.Sprintf("%.0f", 1.1*c.bits), "--seconds", fmt.Sprint(seconds + 4)})
	if err := sender.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = sender.Cancel()
		_ = sender.Wait() // its end is ours to cause: its status says nothing
	}()
	r, err := client(ctx, a.in.vnodes(platform), to, addr, []string{"udp-count", "--seconds", fmt.Sprint(seconds)})
	if err != nil {
		return 0, err
	}
	return r.Rate, nil
}

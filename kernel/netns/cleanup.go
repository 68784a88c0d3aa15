package netns

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// WaitCleanup returns when the kernel has let go of every namespace that was
// dropped before the call: its links, addresses and memory are gone.
//
// A dropped namespace is put on a list, and one worker takes the whole list,
// takes down what is on it, and only then looks at the list again. At the
// beginning of such a round it tells whoever had given a number to one of the
// namespaces that the number is free. So WaitCleanup numbers empty namespaces
// and drops the first. When its number is free, a round has begun that has
// everything dropped before, unless an earlier round had. It then drops the
// second, which can only be in a later round: when that one's number is free,
// the round of the first is over, and only struct net itself is left, which
// kernels since 6.12 free at the end of the round after. Hence a third.
func WaitCleanup(ctx context.Context) error {
	return Run(func(t *Thread) error {
		w, err := newWatcher(t)
		if err != nil {
			return fmt.Errorf("wait for removed namespaces: %w", err)
		}
		defer w.close()
		for number := range int32(len(w.barriers)) {
			unix.Close(w.barriers[number])
			w.barriers[number] = -1
			if err := w.wait(ctx, number); err != nil {
				return fmt.Errorf("wait for removed namespaces: %w", err)
			}
		}
		return nil
	})
}

const rounds = 3

// watcher is a namespace with a socket that hears of numbers becoming free,
// and the namespaces that have the numbers 0, 1, … there.
type watcher struct {
	sock     int
	barriers [rounds]int
}

// newWatcher leaves the thread in the watching namespace, so that descriptors
// alone keep the barriers.
func newWatcher(t *Thread) (_ *watcher, err error) {
	w := &watcher{sock: -1, barriers: [rounds]int{-1, -1, -1}}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	watch, err := t.Make()
	if err != nil {
		return nil, err
	}
	defer unix.Close(watch)
	if w.sock, err = unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE); err != nil {
		return nil, err
	}
	if err := unix.SetsockoptInt(w.sock, unix.SOL_NETLINK, unix.NETLINK_ADD_MEMBERSHIP, unix.RTNLGRP_NSID); err != nil {
		return nil, err
	}
	for i := range w.barriers {
		if w.barriers[i], err = t.Make(); err != nil {
			return nil, err
		}
		if _, err := unix.Write(w.sock, numberRequest(w.barriers[i], int32(i))); err != nil {
			return nil, err
		}
	}
	return w, t.Enter(watch)
}

func (w *watcher) close() {
	for _, fd := range append(w.barriers[:], w.sock) {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// numberRequest is an RTM_NEWNSID message: give the namespace of a descriptor
// a number.
func numberRequest(fd int, number int32) []byte {
	const size = unix.SizeofNlMsghdr + 4 + 8 + 8 // header, struct rtgenmsg and its padding, two attributes
	e := binary.NativeEndian
	p := e.AppendUint32(nil, size)
	p = e.AppendUint16(p, unix.RTM_NEWNSID)
	p = e.AppendUint16(p, unix.NLM_F_REQUEST)
	p = append(p, make([]byte, 8+4)...)
	p = e.AppendUint32(e.AppendUint16(e.AppendUint16(p, 8), unix.NETNSA_NSID), uint32(number))
	p = e.AppendUint32(e.AppendUint16(e.AppendUint16(p, 8), unix.NETNSA_FD), uint32(fd))
	return p
}

// patience is how often a wait looks whether it is still wanted.
const patience = 50 * time.Millisecond

// wait reads until the kernel tells that a number is free.
func (w *watcher) wait(ctx context.Context, number int32) error {
	buf := make([]byte, 4096)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w.sock), Events: unix.POLLIN}}, int(patience.Milliseconds()))
		if err == unix.EINTR || n == 0 && err == nil {
			continue
		}
		if err != nil {
			return err
		}
		if n, err = unix.Read(w.sock, buf); err != nil && err != unix.EINTR {
			return err
		}
		if free, err := freed(buf[:max(n, 0)], number); free || err != nil {
			return err
		}
	}
}

// freed looks for the number in a datagram of RTM_DELNSID messages, and for
// an error.
func freed(p []byte, number int32) (bool, error) {
	e := binary.NativeEndian
	for len(p) >= unix.SizeofNlMsghdr {
		n := int(e.Uint32(p))
		if n < unix.SizeofNlMsghdr || n > len(p) {
			break
		}
		body := p[unix.SizeofNlMsghdr:n]
		switch typ := e.Uint16(p[4:]); {
		case typ == unix.NLMSG_ERROR && len(body) >= 4 && e.Uint32(body) != 0:
			return false, unix.Errno(-int32(e.Uint32(body)))
		case typ == unix.RTM_DELNSID && len(body) >= 12 &&
			e.Uint16(body[6:]) == unix.NETNSA_NSID && int32(e.Uint32(body[8:])) == number:
			return true, nil
		}
		p = p[min((n+3)&^3, len(p)):]
	}
	return false, nil
}

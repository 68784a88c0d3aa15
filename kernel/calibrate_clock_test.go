package kernel

import (
	"encoding/binary"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stamped is the control message in which a kernel says when a packet arrived.
func stamped(at int64) []byte {
	oob := make([]byte, unix.CmsgSpace(16))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_TIMESTAMPNS
	h.SetLen(unix.CmsgLen(16))
	binary.NativeEndian.PutUint64(oob[unix.CmsgLen(0):], uint64(at/1e9))
	binary.NativeEndian.PutUint64(oob[unix.CmsgLen(8):], uint64(at%1e9))
	return oob
}

// TestRoundTripClock: a round trip is right whatever happens to the machine's
// clock meanwhile: set back or forward, by much or little, before or after the
// packet arrives.
func TestRoundTripClock(t *testing.T) {
	const (
		start = int64(1_800_000_000_987_654_321)
		took  = 40 * time.Millisecond // until it was read
		trip  = took - 150*time.Microsecond
	)
	if got := roundTrip(start, start+int64(took), took, stamped(start+int64(trip))); got != trip {
		t.Errorf("with a clock that runs, it is %v, want %v", got, trip)
	}
	if got := roundTrip(start, start+int64(took)+5_000, took, stamped(start+int64(trip))); got != trip {
		t.Errorf("with clocks that are read one after the other, it is %v, want %v", got, trip)
	}
	for _, step := range []time.Duration{time.Hour, -time.Hour, time.Second, -time.Second, 10 * time.Millisecond, -10 * time.Millisecond, 100 * time.Microsecond, -100 * time.Microsecond} {
		before := roundTrip(start, start+int64(took+step), took, stamped(start+int64(trip+step)))
		after := roundTrip(start, start+int64(took+step), took, stamped(start+int64(trip)))
		if before != took || after != took {
			t.Errorf("the clock was set by %v: %v if before, %v if after the arrival; want %v, by the other clock", step, before, after, took)
		}
	}
	for _, oob := range [][]byte{nil, {1, 2, 3}, stamped(0), stamped(start - 1), stamped(start + 2*int64(took))} {
		if got := roundTrip(start, start+int64(took), took, oob); got != took {
			t.Errorf("with %x it is %v, want %v", oob, got, took)
		}
	}
}

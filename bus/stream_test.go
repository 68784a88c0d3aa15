package bus

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"
)

// apart gives a stream that has no connection.
func apart() *Stream {
	s := &Stream{over: make(chan struct{}), in: make(chan []byte, window+2), tokens: make(chan struct{}, window)}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

func (s *Stream) arrives(kind, number byte, data ...byte) {
	s.arrive(&nats.Msg{Data: append([]byte{kind, 0, 0, 0, number}, data...)})
}

// TestFinishTwice: a peer that ends a stream twice ends nothing else.
func TestFinishTwice(t *testing.T) {
	s := apart()
	for i := range byte(2) {
		s.arrives(finish, 1+i)
	}
	if !s.finished() || len(s.in) != 1 {
		t.Errorf("finished %v, %d marks of the end, want true and 1", s.finished(), len(s.in))
	}
}

// TestStreamTwiceAndLost: what comes twice counts once, and after what is lost
// nothing counts.
func TestStreamTwiceAndLost(t *testing.T) {
	s := apart()
	for _, n := range []byte{1, 1, 2, 1, 2, 3} {
		s.arrives(lastChunk, n, n)
	}
	s.arrives(pong, 3)
	for want := range byte(3) {
		if b, err := s.RecvBytes(); err != nil || len(b) != 1 || b[0] != want+1 {
			t.Fatalf("received %v, %v, want %d", b, err, want+1)
		}
		s.taken = 0 // there is no connection for credit
	}
	s.arrives(lastChunk, 5, 5)
	s.arrives(lastChunk, 4, 4)
	if s.ctx.Err() == nil {
		t.Error("a lost message is not noticed")
	}
	for len(s.in) > 0 {
		if m := <-s.in; m[headLength] == 5 {
			t.Error("what came after a lost message is given to the reader")
		}
	}

	s = apart()
	s.arrives(lastChunk, 1, 1)
	s.arrives(pong, 2)
	if s.ctx.Err() == nil {
		t.Error("that the last message was lost is not noticed by a pong")
	}

	for _, short := range [][]byte{{lastChunk}, {lastChunk, 0, 0, 1}} {
		s = apart()
		s.arrive(&nats.Msg{Data: short})
		if s.ctx.Err() == nil || len(s.in) > 0 {
			t.Errorf("%q is taken for a message", short)
		}
	}
}

// FuzzStream: whatever comes, a stream neither panics nor lets more through
// than fits.
func FuzzStream(f *testing.F) {
	f.Add([]byte{lastChunk, 0, 0, 0, 1, 7}, []byte{finish, 0, 0, 0, 2}, []byte{credit, 0, 0, 0, 3, 200})
	f.Add([]byte{partChunk, 0, 0, 0, 1}, []byte{pong, 0, 0, 0, 9}, []byte{abort, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		s := apart()
		for _, m := range [][]byte{a, b, c} {
			if len(m) > 0 && m[0] != ping { // which would be answered
				s.arrive(&nats.Msg{Data: m})
			}
		}
		s.cancel(context.Canceled)
		for range 4 {
			if _, err := s.RecvBytes(); err != nil {
				return
			}
		}
		t.Error("more messages than came")
	})
}

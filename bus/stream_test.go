package bus

import (
	"testing"

	"github.com/nats-io/nats.go"
)

// TestFinishTwice: a peer that ends a stream twice ends nothing else.
func TestFinishTwice(t *testing.T) {
	s := &Stream{over: make(chan struct{}), in: make(chan []byte, 1)}
	for range 2 {
		s.arrive(&nats.Msg{Data: []byte{finish}})
	}
	if !s.finished() || len(s.in) != 1 {
		t.Errorf("finished %v, %d marks of the end, want true and 1", s.finished(), len(s.in))
	}
}

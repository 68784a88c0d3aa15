package bus

import (
	"context"
	"sync/atomic"
	"testing"
	"time"
)

// TestHandleTwice: a question that the bus delivers twice is answered once,
// and a stream that is opened twice so runs once; the same question asked again
// is another one.
func TestHandleTwice(t *testing.T) {
	s, err := NewServer(ServerOptions{Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, err := s.Connect("c")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var asked, opened atomic.Int64
	err = Handle(c, "ask", func(context.Context, int) (int64, error) { return asked.Add(1), nil })
	if err == nil {
		err = HandleStream(c, "open", func(context.Context, int, *Stream) error { opened.Add(1); return nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	q, _ := Encode(1)
	o, _ := Encode(opening{Inbox: c.nats.NewInbox(), Body: q})
	for range 3 {
		for subject, body := range map[string][]byte{"ask": q, "open": o} {
			if err := c.nats.PublishRequest(subject, insidePrefix+".answer."+subject, body); err != nil {
				t.Fatal(err)
			}
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for range 2 {
		if _, err := Request[int, int64](ctx, c, "ask", 1); err != nil {
			t.Errorf("asked again: %v", err)
		}
	}
	st, err := Open(ctx, c, "open", 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.RecvBytes(); err == nil {
		t.Error("a message of a stream that has none")
	}
	c.Close() // waits for handlers
	if n := opened.Load(); n != 2 {
		t.Errorf("streams ran %d times, want 2", n)
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("%d answers, want 3", n)
	}
}

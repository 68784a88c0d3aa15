package bus_test

import (
	"context"
	"io"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"myriad/bus"
	"myriad/program"
)

// TestJoinPlain: over a port, and through a server that keeps a connection waiting,
// all is as it is within a process.
func TestJoinPlain(t *testing.T) {
	t.Parallel()
	n, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	must(t, err)
	n.Start()
	t.Cleanup(func() { n.Shutdown(); n.WaitForShutdown() })
	if !n.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	dial := func(name string) *bus.Conn {
		c, err := bus.Join(t.Context(), name, bus.Remote{URL: n.ClientURL()}, nil)
		must(t, err)
		t.Cleanup(c.Close)
		return c
	}
	a, b := dial("a"), dial("b")
	must(t, bus.HandleStream(a, "echo", echo))
	must(t, bus.Handle(a, "add", func(_ context.Context, q []int) (int, error) { return q[0] + q[1], nil }))
	flush(t, a)
	if sum, err := bus.Request[[]int, int](t.Context(), b, "add", []int{20, 22}); err != nil || sum != 42 {
		t.Errorf("sum %d, %v", sum, err)
	}
	s, err := bus.Open(t.Context(), b, "echo", "")
	must(t, err)
	go func() {
		for i := range 500 {
			if err := s.Send(make([]int, i)); err != nil {
				t.Error(err)
			}
		}
		_ = s.CloseSend()
	}()
	for i := range 500 {
		var got []int
		if err := s.Recv(&got); err != nil || len(got) != i {
			t.Fatalf("message %d: %d, %v", i, len(got), err)
		}
	}
	if _, err := s.RecvBytes(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}

	_, err = b.Bucket(t.Context(), "x") // this server keeps nothing
	if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindUnavailable {
		t.Errorf("a bucket of a server without records: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := bus.Join(ctx, "c", bus.Remote{URL: "nats://127.0.0.1:1"}, nil); err == nil {
		t.Error("joining nobody succeeds")
	}
}

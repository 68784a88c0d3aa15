package bus_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"myriad/bus"
	"myriad/program"
	"myriad/trust"
)

// TestServerRestarts: the server goes while streams run and questions are
// asked, and comes back: streams notice, the connections are back, and nothing
// waits for ever.
func TestServerRestarts(t *testing.T) {
	a, err := trust.Init(t.TempDir(), nil)
	must(t, err)
	options := bus.ServerOptions{Logf: t.Logf, Listen: "127.0.0.1:0", TLS: a.Server(), Secret: a.Token().Secret}
	s, err := bus.NewServer(options)
	must(t, err)
	defer func() { s.Close() }()
	options.Listen = s.Addr()
	inside, err := s.Connect("coordinator")
	must(t, err)
	agent := join(t, "p", remote(s.Addr(), a.Token()))
	changes := make(chan bool, 10)
	agent.Connected(func(yes bool) { changes <- yes })
	must(t, bus.HandleStream(agent, bus.SubjectOf("p", "echo"), echo))
	must(t, bus.HandleStream(agent, bus.SubjectOf("p", "hang"), func(ctx context.Context, _ string, _ *bus.Stream) error {
		<-ctx.Done()
		return context.Cause(ctx)
	}))
	must(t, bus.Handle(inside, bus.SubjectHello, func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, ctx.Err() }))
	flush(t, agent)
	flush(t, inside)

	st, err := bus.Open(t.Context(), inside, bus.SubjectOf("p", "echo"), "")
	must(t, err)
	asked := make(chan error, 1)
	go func() {
		_, err := bus.Request[int, int](t.Context(), agent, bus.SubjectHello, 1)
		asked <- err
	}()
	go func() {
		time.Sleep(200 * time.Millisecond)
		s.Close()
	}()
	n, err := carry(t, st, nil)
	if n == 0 || bus.ProblemOf(err).Kind != program.KindUnavailable {
		t.Errorf("after %d messages the stream ends with %v", n, err)
	}
	if err := <-asked; bus.ProblemOf(err) == nil || bus.ProblemOf(err).Kind != program.KindUnavailable {
		t.Errorf("a question while the server went: %v", err)
	}
	if <-changes {
		t.Error("told first that the connection is back")
	}
	inside.Close()
	if err := bus.Publish(agent, bus.SubjectBeat, 1); err == nil {
		t.Error("something is said while there is no connection: it would be heard later")
	}
	// A question waits for the connection.
	go func() {
		_, err := bus.Request[int, int](t.Context(), agent, bus.SubjectHello, 2)
		asked <- err
	}()
	time.Sleep(100 * time.Millisecond)
	s, err = bus.NewServer(options)
	must(t, err)
	inside, err = s.Connect("coordinator")
	must(t, err)
	defer func() { inside.Close() }()
	must(t, bus.Handle(inside, bus.SubjectHello, func(_ context.Context, n int) (int, error) { return n + 1, nil }))
	flush(t, inside)
	if !<-changes {
		t.Error("the connection is not told to be back")
	}
	if err := <-asked; err != nil {
		t.Errorf("a question asked before the server was back: %v", err)
	}
	await(t, "a stream opens again", func() bool {
		st, err = bus.Open(t.Context(), inside, bus.SubjectOf("p", "echo"), "")
		return err == nil
	})
	must(t, st.Send(1))
	must(t, st.Recv(new(int)))
	must(t, st.CloseSend())
	if err := st.Recv(new(int)); !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestIdleStreamSurvives: a stream in which nothing is under way goes on after
// both sides have lost the server and found it again.
func TestIdleStreamSurvives(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	a, b := join(t, "a", bus.Remote{URL: c.url()}), join(t, "b", bus.Remote{URL: c.url()})
	must(t, bus.HandleStream(a, "echo", echo))
	flush(t, a)
	s, err := bus.Open(t.Context(), b, "echo", "")
	must(t, err)
	must(t, s.Send(1))
	must(t, s.Recv(new(int)))
	back := make(chan bool, 10)
	for _, c := range []*bus.Conn{a, b} {
		c.Connected(func(yes bool) {
			if yes {
				back <- true
			}
		})
	}
	c.kill(0)
	c.start(0)
	<-back
	<-back
	flush(t, a)
	flush(t, b)
	for i := range 50 {
		if err := s.Send(i); err != nil {
			t.Fatal(err)
		}
		var n int
		if err := s.Recv(&n); err != nil || n != i {
			t.Fatalf("message %d: %d, %v", i, n, err)
		}
	}
}

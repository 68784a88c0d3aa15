package bus_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"myriad/bus"
	"myriad/program"
	"myriad/trust"
)

// listening gives a server that listens on loopback, and its token.
func listening(t testing.TB, now func() time.Time, dir string) (*bus.Server, *trust.Authority) {
	t.Helper()
	a, err := trust.InitAt(now, t.TempDir(), nil)
	must(t, err)
	s, err := bus.NewServer(bus.ServerOptions{Dir: dir, Logf: t.Logf, Listen: "127.0.0.1:0", LeafListen: "127.0.0.1:0", TLS: a.Server(), Secret: a.Token().Secret})
	must(t, err)
	t.Cleanup(s.Close)
	return s, a
}

func remote(addr string, t trust.Token) bus.Remote {
	return bus.Remote{URL: "tls://" + addr, TLS: t.Client(), Secret: t.Secret}
}

func join(t testing.TB, name string, r bus.Remote) *bus.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := bus.Join(ctx, name, r, t.Logf)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func TestJoin(t *testing.T) {
	s, a := listening(t, time.Now, t.TempDir())
	inside, err := s.Connect("coordinator")
	must(t, err)
	t.Cleanup(inside.Close)
	agent := join(t, "p1.example.org", remote(s.Addr(), a.Token()))
	if !agent.LocalAddr().IsLoopback() || inside.LocalAddr().IsValid() {
		t.Errorf("local addresses %v and %v", agent.LocalAddr(), inside.LocalAddr())
	}
	subject := bus.SubjectOf("p1.example.org", "echo")
	must(t, bus.HandleStream(agent, subject, echo))
	must(t, bus.Handle(inside, bus.SubjectHello, func(_ context.Context, n int) (int, error) { return n + 1, nil }))
	flush(t, agent)
	flush(t, inside)
	if n, err := bus.Request[int, int](t.Context(), agent, bus.SubjectHello, 1); n != 2 || err != nil {
		t.Errorf("answer %d, %v", n, err)
	}
	st, err := bus.Open(t.Context(), inside, subject, "")
	must(t, err)
	for i := range 100 {
		must(t, st.Send(make([]int, 10*i)))
		var got []int
		if err := st.Recv(&got); err != nil || len(got) != 10*i {
			t.Fatalf("message %d: %d, %v", i, len(got), err)
		}
	}
	o, err := inside.Objects(t.Context(), bus.ProgramsStore)
	must(t, err)
	must(t, o.Serve())
	must(t, o.Put(t.Context(), "x", make([]byte, 300_000)))
	flush(t, inside)
	theirs, err := agent.Objects(t.Context(), bus.ProgramsStore)
	must(t, err)
	if b, err := theirs.Get(t.Context(), "x"); len(b) != 300_000 || err != nil {
		t.Errorf("the agent reads %d bytes of the program: %v", len(b), err)
	}
}

func TestJoinRefused(t *testing.T) {
	s, a := listening(t, time.Now, "")
	other, err := trust.Init(t.TempDir(), nil)
	must(t, err)
	expired, old := listening(t, func() time.Time { return time.Now().AddDate(-2, 0, 0) }, "")
	early, young := listening(t, func() time.Time { return time.Now().Add(100 * time.Hour) }, "")
	wrong := a.Token()
	wrong.Secret = other.Token().Secret
	for _, tt := range []struct {
		name string
		r    bus.Remote
		want string
	}{
		{"secret", remote(s.Addr(), wrong), "does not take the join token"},
		{"authority", remote(s.Addr(), other.Token()), "another authority"},
		{"expired", remote(expired.Addr(), old.Token()), "ended 3"},
		{"early", remote(early.Addr(), young.Token()), "clocks are apart"},
		{"relay's port", remote(s.LeafAddr(), a.Token()), "this port is for relays"},
		{"no token", bus.Remote{URL: "tls://" + s.Addr()}, "not believed"},
		{"no TLS", bus.Remote{URL: "nats://" + s.Addr(), Secret: "x"}, "only by TLS"},
		{"not a URL", bus.Remote{URL: "http://pass:word@x:1"}, "not a scheme"},
		{"no URL", bus.Remote{}, "there is none"},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		_, err := bus.Join(ctx, "p1", tt.r, t.Logf)
		if err == nil || !strings.Contains(err.Error(), tt.want) || ctx.Err() != nil {
			t.Errorf("%s: %v, want %q at once", tt.name, err, tt.want)
		} else if p := bus.ProblemOf(err); p.Kind != program.KindPermission && p.Kind != program.KindInvalid {
			t.Errorf("%s: kind %v", tt.name, p.Kind)
		}
		cancel()
	}
}

// TestJoinEnds: one that is told to end does not say that it tries on.
func TestJoinEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := bus.Join(ctx, "a", bus.Remote{URL: "nats://127.0.0.1:1"}, func(format string, args ...any) {
		t.Errorf("it says: "+format, args...)
	})
	if err == nil {
		t.Error("it has joined")
	}
}

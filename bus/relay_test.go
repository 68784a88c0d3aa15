package bus_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"myriad/bus"
	"myriad/program"
	"myriad/trust"
)

// relay gives a relay of the server at leaf, as a site has it.
func relay(t testing.TB, leaf string, token trust.Token) *bus.Server {
	t.Helper()
	r := remote(leaf, token)
	s, err := bus.NewServer(bus.ServerOptions{Logf: t.Logf, Listen: "127.0.0.1:0", TLS: token.Relay(), Secret: token.Secret, Remote: &r})
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

func linked(t testing.TB, s *bus.Server) error {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	return s.Linked(ctx)
}

// TestRelay: through a relay, all is as it is without.
func TestRelay(t *testing.T) {
	t.Parallel()
	hub, a := listening(t, time.Now, t.TempDir())
	inside, err := hub.Connect("coordinator")
	must(t, err)
	t.Cleanup(inside.Close)
	sites := []*bus.Server{relay(t, hub.LeafAddr(), a.Token()), relay(t, hub.LeafAddr(), a.Token())}
	for _, s := range sites {
		must(t, linked(t, s))
	}
	must(t, bus.Handle(inside, bus.SubjectHello, func(_ context.Context, n int) (int, error) { return n + 1, nil }))
	var beats atomic.Int64
	must(t, bus.Subscribe(inside, bus.SubjectBeat, func(int, error) { beats.Add(1) }))
	big := bytes.Repeat([]byte("program"), 100_000)
	o, err := inside.Objects(t.Context(), bus.ProgramsStore)
	must(t, err)
	must(t, o.Serve())
	must(t, o.Put(t.Context(), "big", big))
	flush(t, inside)
	for i, s := range sites {
		name := []string{"p0.site.org", "p1"}[i]
		agent := join(t, name, remote(s.Addr(), a.Token()))
		leads := make(chan bus.Lead, 10)
		must(t, bus.Subscribe(agent, bus.SubjectLead, func(l bus.Lead, _ error) { leads <- l }))
		subject := bus.SubjectOf(name, "echo")
		must(t, bus.HandleStream(agent, subject, echo))
		flush(t, agent)
		await(t, name+" answers through the relay", func() bool {
			n, err := bus.Request[int, int](t.Context(), agent, bus.SubjectHello, 7)
			if err != nil {
				t.Log(err)
			}
			return err == nil && n == 8
		})
		var st *bus.Stream
		await(t, name+" is reached through the relay", func() bool {
			var err error
			st, err = bus.Open(t.Context(), inside, subject, "")
			return err == nil
		})
		for range 3 {
			must(t, st.SendBytes(big))
			if b, err := st.RecvBytes(); err != nil || !bytes.Equal(b, big) {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
		}
		st.Close()
		programs, err := agent.Objects(t.Context(), bus.ProgramsStore)
		must(t, err)
		if b, err := programs.Get(t.Context(), "big"); err != nil || !bytes.Equal(b, big) {
			t.Errorf("%s reads %d bytes of the program: %v", name, len(b), err)
		}
		if _, err := programs.Get(t.Context(), "none"); bus.ProblemOf(err) == nil || bus.ProblemOf(err).Kind != program.KindNotFound {
			t.Errorf("%s reads a program that is not there: %v", name, err)
		}
		must(t, bus.Publish(agent, bus.SubjectBeat, 1))
		await(t, "the beat of "+name, func() bool { return beats.Load() == int64(i+1) })
		must(t, bus.Publish(inside, bus.SubjectLead, bus.Lead{Epoch: 5}))
		if l := <-leads; l.Epoch != 5 {
			t.Errorf("%s hears of %+v", name, l)
		}
		if clients, relays := hub.Connections(); clients != 1 || relays != 2 {
			t.Errorf("the hub has %d clients and %d relays, want 1 and 2", clients, relays)
		}
	}
	// Without the relay, the stream's caller learns of it.
	st, err := bus.Open(t.Context(), inside, bus.SubjectOf("p1", "echo"), "")
	must(t, err)
	sites[1].Close()
	if _, err := st.RecvBytes(); err == nil {
		t.Error("receiving from beyond a relay that has gone succeeds")
	}
}

// TestHubRestarts: the server of a relay goes and comes back, and the agents of
// the site need do nothing.
func TestHubRestarts(t *testing.T) {
	t.Parallel()
	a, err := trust.Init(t.TempDir(), nil)
	must(t, err)
	options := bus.ServerOptions{Dir: t.TempDir(), Logf: t.Logf, LeafListen: "127.0.0.1:0", TLS: a.Server(), Secret: a.Token().Secret}
	start := func() (*bus.Server, *bus.Conn) {
		hub, err := bus.NewServer(options)
		must(t, err)
		c, err := hub.Connect("coordinator")
		must(t, err)
		must(t, bus.Handle(c, bus.SubjectHello, func(_ context.Context, n int) (int, error) { return n + 1, nil }))
		o, err := c.Objects(t.Context(), bus.ProgramsStore)
		must(t, err)
		must(t, o.Serve())
		must(t, o.Put(t.Context(), options.LeafListen, []byte("program")))
		flush(t, c)
		return hub, c
	}
	hub, inside := start()
	options.LeafListen = hub.LeafAddr()
	site := relay(t, hub.LeafAddr(), a.Token())
	must(t, linked(t, site))
	agent := join(t, "p", remote(site.Addr(), a.Token()))
	hello := func() bool {
		// The answer may be lost with the hub, of which the agent does not hear.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := bus.Request[int, int](ctx, agent, bus.SubjectHello, 1)
		return err == nil
	}
	await(t, "a hello is answered", hello)
	inside.Close()
	hub.Close()
	await(t, "the relay notices", func() bool { return !hello() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got := make(chan error, 1)
	go func() {
		o, err := agent.Objects(ctx, bus.ProgramsStore)
		if err == nil {
			_, err = o.Get(ctx, options.LeafListen)
		}
		got <- err
	}()
	hub, inside = start()
	defer hub.Close()
	defer inside.Close()
	await(t, "a hello is answered again", hello)
	if err := <-got; err != nil {
		t.Errorf("a program asked for while the server was away: %v", err)
	}
}

func TestRelayRefused(t *testing.T) {
	t.Parallel()
	hub, a := listening(t, time.Now, "")
	other, err := trust.Init(t.TempDir(), nil)
	must(t, err)
	wrong := a.Token()
	wrong.Secret = other.Token().Secret
	for _, tt := range []struct {
		name  string
		token trust.Token
		want  string
	}{
		{"secret", wrong, "does not take the join token"},
		{"authority", other.Token(), "another authority"},
	} {
		s := relay(t, hub.LeafAddr(), tt.token)
		if err := linked(t, s); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		} else if p := bus.ProblemOf(err); p.Kind != program.KindPermission || strings.Contains(err.Error(), tt.token.Secret) {
			t.Errorf("%s: %v", tt.name, err)
		}
		s.Close()
	}
	nobody := relay(t, "127.0.0.1:1", a.Token())
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if p := bus.ProblemOf(nobody.Linked(ctx)); p == nil || p.Kind != program.KindUnavailable {
		t.Errorf("nobody there: %v", p)
	}
}

// TestGuard: an agent does what is an agent's, on a server and through a
// relay.
func TestGuard(t *testing.T) {
	t.Parallel()
	hub, a := listening(t, time.Now, t.TempDir())
	inside, err := hub.Connect("coordinator")
	must(t, err)
	t.Cleanup(inside.Close)
	records, err := inside.Bucket(t.Context(), "platforms")
	must(t, err)
	must(t, records.Put(t.Context(), "k", []byte("mine")))
	site := relay(t, hub.LeafAddr(), a.Token())
	must(t, linked(t, site))
	var leads, told atomic.Int64
	must(t, bus.Subscribe(inside, bus.SubjectLead, func(bus.Lead, error) { leads.Add(1) }))
	must(t, bus.Subscribe(inside, bus.SubjectBeat, func(int, error) { told.Add(1) }))
	must(t, bus.Handle(inside, bus.SubjectOf("victim", "apply"), func(context.Context, int) (int, error) { return 1, nil }))
	flush(t, inside)
	for i, s := range []*bus.Server{hub, site} {
		evil := join(t, "evil", remote(s.Addr(), a.Token()))
		heard := make(chan string, 100)
		must(t, bus.Subscribe(evil, bus.SubjectOf("victim", "apply"), func(int, error) { heard <- "a call of another pnode" }))
		must(t, bus.Subscribe(evil, bus.SubjectHello, func(int, error) { heard <- "another's hello" }))
		must(t, bus.Subscribe(evil, ">", func(int, error) { heard <- "everything" }))
		must(t, bus.Subscribe(evil, "_INBOX.>", func(int, error) { heard <- "answers" }))
		must(t, bus.Subscribe(evil, "_INBOX.c.>", func(int, error) { heard <- "the coordinator's answers" }))
		flush(t, evil)
		must(t, bus.Publish(evil, bus.SubjectLead, bus.Lead{Epoch: 9}))
		short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if _, err := bus.Request[int, int](short, evil, bus.SubjectOf("victim", "apply"), 1); err == nil {
			t.Error("an agent asks another one")
		}
		cancel()
		for _, f := range []func(context.Context) error{
			func(ctx context.Context) error { _, err := evil.Bucket(ctx, "platforms"); return err },
			func(ctx context.Context) error { _, err := evil.Log(ctx, "events", 10); return err },
			func(ctx context.Context) error {
				o, _ := evil.Objects(ctx, "plans")
				_, err := o.Get(ctx, "x")
				return err
			},
			func(ctx context.Context) error {
				o, _ := evil.Objects(ctx, bus.ProgramsStore)
				return o.Put(ctx, "x", nil)
			},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if err := f(ctx); err == nil {
				t.Error("an agent has the coordinator's records")
			}
			cancel()
		}
		must(t, bus.Publish(evil, bus.SubjectBeat, 1))
		if _, err := bus.Request[int, int](t.Context(), inside, bus.SubjectOf("victim", "apply"), 1); err != nil {
			t.Error(err)
		}
		must(t, bus.Publish(inside, bus.SubjectHello, 1))
		await(t, "the beat", func() bool { return told.Load() == int64(i+1) })
		flush(t, inside)
		flush(t, evil)
		if n := leads.Load(); n != 0 {
			t.Errorf("an agent leads, %d times", n)
		}
		select {
		case what := <-heard:
			t.Errorf("an agent hears %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
	if b, err := records.Get(t.Context(), "k"); err != nil || string(b) != "mine" {
		t.Errorf("the record is %q, %v", b, err)
	}
	// Nobody without the secret, and none that it is not for.
	short, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	for _, user := range []string{"=", "=relay", ""} {
		r := remote(hub.Addr(), a.Token())
		if user == "=" {
			r.Secret = "guess"
		} else if user == "" {
			r.Secret = ""
		} else {
			continue
		}
		if _, err := bus.Join(short, user, r, t.Logf); err == nil {
			t.Errorf("somebody joins as %q", user)
		} else if errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	}
}

// await waits until something is so.
func await(t testing.TB, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

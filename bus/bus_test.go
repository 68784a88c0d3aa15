package bus_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"myriad/bus"
	"myriad/program"
)

// pair gives two connections to a server of their own.
func pair(t testing.TB, dir string) (a, b *bus.Conn) {
	t.Helper()
	s, err := bus.NewServer(bus.ServerOptions{Dir: dir, Logf: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	connect := func(name string) *bus.Conn {
		c, err := s.Connect(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	return connect("a"), connect("b")
}

func flush(t testing.TB, c *bus.Conn) {
	t.Helper()
	must(t, c.Flush(t.Context()))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRequest(t *testing.T) {
	a, b := pair(t, "")
	subject := bus.SubjectOf("host.example.org", "double")
	must(t, bus.Handle(a, subject, func(_ context.Context, n int) (int, error) {
		if n < 0 {
			return 0, &program.Problem{Kind: program.KindInvalid, Rack: 7, Op: "double", Cause: "negative", Remedy: "ask for more"}
		}
		return 2 * n, nil
	}))
	flush(t, a)
	got, err := bus.Request[int, int](t.Context(), b, subject, 21)
	if err != nil || got != 42 {
		t.Errorf("got %d, %v, want 42", got, err)
	}

	_, err = bus.Request[int, int](t.Context(), b, subject, -1)
	var p *program.Problem
	if !errors.As(err, &p) || p.Kind != program.KindInvalid || p.Rack != 7 || p.Remedy != "ask for more" {
		t.Errorf("error crossed as %#v", err)
	}

	_, err = bus.Request[int, int](t.Context(), b, bus.SubjectOf("host.example", "double"), 1)
	if !errors.As(err, &p) || p.Kind != program.KindUnavailable || !strings.Contains(p.Error(), "nobody answers") {
		t.Errorf("without anyone there: %v", err)
	}
}

func TestRequestOfAnotherVersion(t *testing.T) {
	a, b := pair(t, "")
	must(t, bus.Handle(a, bus.SubjectBeat, func(_ context.Context, n int) (int, error) { return n, nil }))
	flush(t, a)
	_, err := bus.Request[string, int](t.Context(), b, bus.SubjectBeat, "text")
	if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindInvalid {
		t.Errorf("got %v, want a problem of kind invalid", err)
	}
}

func TestPublish(t *testing.T) {
	a, b := pair(t, "")
	got := make(chan bus.Hello, 1)
	must(t, bus.Subscribe(a, bus.SubjectHello, func(h bus.Hello, err error) { got <- h }))
	flush(t, a)
	must(t, bus.Publish(b, bus.SubjectHello, bus.Hello{From: bus.From{Pnode: "p"}, CPUs: 3, Platforms: []program.Report{{Platform: "x"}}}))
	if h := <-got; h.Pnode != "p" || h.CPUs != 3 || h.Platforms[0].Platform != "x" {
		t.Errorf("got %+v", h)
	}
}

func TestSubject(t *testing.T) {
	for _, tt := range []struct {
		tokens []string
		want   string
	}{
		{[]string{"who"}, "myriad.who"},
		{[]string{"pnode", "n1.site.org", "apply"}, "myriad.pnode.n1=2Esite=2Eorg.apply"},
		{[]string{"a*b", "> "}, "myriad.a=2Ab.=3E=20"},
	} {
		if got := bus.Subject(tt.tokens...); got != tt.want {
			t.Errorf("Subject(%q) = %q, want %q", tt.tokens, got, tt.want)
		}
	}
}

// echo sends back every message it gets.
func echo(_ context.Context, _ string, s *bus.Stream) error {
	for {
		b, err := s.RecvBytes()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := s.SendBytes(b); err != nil {
			return err
		}
	}
}

func TestStreamCarriesAnySize(t *testing.T) {
	a, b := pair(t, "")
	must(t, bus.HandleStream(a, "echo", echo))
	flush(t, a)
	s, err := bus.Open(t.Context(), b, "echo", "")
	must(t, err)
	sizes := []int{0, 1, 64<<10 - 1, 64 << 10, 64<<10 + 1, 5 << 20}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		sizes = append(sizes, r.IntN(3000))
	}
	message := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, sizes[i]) }
	go func() {
		for i := range sizes {
			if err := s.SendBytes(message(i)); err != nil {
				t.Error(err)
			}
		}
		_ = s.CloseSend()
	}()
	for i := range sizes {
		got, err := s.RecvBytes()
		if err != nil || !bytes.Equal(got, message(i)) {
			t.Fatalf("message %d: %d bytes (%v), want %d", i, len(got), err, sizes[i])
		}
	}
	for range 2 {
		if _, err := s.RecvBytes(); err != io.EOF {
			t.Errorf("after the last message: %v, want EOF", err)
		}
	}
}

// TestStreamSlowReader: a reader that does not read stops the writer, and
// loses nothing.
func TestStreamSlowReader(t *testing.T) {
	a, b := pair(t, "")
	var sent atomic.Int64
	const messages = 300
	must(t, bus.HandleStream(a, "count", func(_ context.Context, size int, s *bus.Stream) error {
		for i := range messages {
			if err := s.Send(append([]int{i}, make([]int, size)...)); err != nil {
				return err
			}
			sent.Add(1)
		}
		return nil
	}))
	flush(t, a)
	s, err := bus.Open(t.Context(), b, "count", 1000)
	must(t, err)
	time.Sleep(50 * time.Millisecond)
	before := sent.Load()
	time.Sleep(50 * time.Millisecond)
	if now := sent.Load(); now != before || now > 20 {
		t.Errorf("with nobody reading, %d then %d messages were sent", before, now)
	}
	for i := range messages {
		var got []int
		if err := s.Recv(&got); err != nil || got[0] != i {
			t.Fatalf("message %d: %v, %v", i, got[:1], err)
		}
	}
	if _, err := s.RecvBytes(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

func TestStreamErrors(t *testing.T) {
	a, b := pair(t, "")
	must(t, bus.HandleStream(a, "fail", func(_ context.Context, n int, s *bus.Stream) error {
		for i := range n {
			if err := s.Send(i); err != nil {
				return err
			}
		}
		return &program.Problem{Kind: program.KindExhausted, Rack: 3, Op: "count", Cause: "no more numbers"}
	}))
	flush(t, a)
	s, err := bus.Open(t.Context(), b, "fail", 5)
	must(t, err)
	for range 5 {
		var n int
		must(t, s.Recv(&n))
	}
	for range 2 {
		if p := bus.ProblemOf(s.Recv(new(int))); p == nil || p.Kind != program.KindExhausted || p.Rack != 3 {
			t.Errorf("failure crossed as %v", p)
		}
	}
	if err := s.Send(1); err == nil {
		t.Error("sending to a handler that has returned succeeds")
	}
	if _, err := bus.Open(t.Context(), b, "nobody", 1); err == nil {
		t.Error("opening a stream to nobody succeeds")
	}
}

// TestStreamEnds: whichever way the caller goes, the handler's context ends.
func TestStreamEnds(t *testing.T) {
	a, b := pair(t, "")
	ended := make(chan error, 1)
	must(t, bus.HandleStream(a, "wait", func(ctx context.Context, _ int, s *bus.Stream) error {
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil
	}))
	flush(t, a)
	for _, tt := range []struct {
		name  string
		leave func(*bus.Stream, context.CancelFunc)
	}{
		{"close", func(s *bus.Stream, _ context.CancelFunc) { s.Close() }},
		{"cancel", func(_ *bus.Stream, cancel context.CancelFunc) { cancel() }},
		{"disconnect", func(*bus.Stream, context.CancelFunc) { b.Close() }},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, err := bus.Open(ctx, b, "wait", 0)
		must(t, err)
		tt.leave(s, cancel)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			t.Errorf("%s: the handler never learns of it", tt.name)
		}
		if _, err := s.RecvBytes(); err == nil {
			t.Errorf("%s: receiving still succeeds", tt.name)
		}
	}
}

// TestStreamHandlerGone: a caller learns that the other connection is gone.
func TestStreamHandlerGone(t *testing.T) {
	a, b := pair(t, "")
	must(t, bus.HandleStream(a, "hang", func(ctx context.Context, _ int, s *bus.Stream) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	flush(t, a)
	s, err := bus.Open(t.Context(), b, "hang", 0)
	must(t, err)
	a.Close()
	if _, err := s.RecvBytes(); err == nil {
		t.Error("receiving from a handler that is gone succeeds")
	}
}

func BenchmarkStart(b *testing.B) {
	dir := b.TempDir()
	for b.Loop() {
		s, err := bus.NewServer(bus.ServerOptions{Dir: dir})
		must(b, err)
		c, err := s.Connect("x")
		must(b, err)
		_, err = c.Bucket(b.Context(), "platforms")
		must(b, err)
		c.Close()
		s.Close()
	}
}

func BenchmarkStream(b *testing.B) {
	for _, size := range []int{100, 10_000, 1 << 20} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			x, y := pair(b, "")
			must(b, bus.HandleStream(x, "echo", echo))
			flush(b, x)
			s, err := bus.Open(b.Context(), y, "echo", "")
			must(b, err)
			message := make([]byte, size)
			b.SetBytes(int64(size))
			for b.Loop() {
				must(b, s.SendBytes(message))
				_, err := s.RecvBytes()
				must(b, err)
			}
		})
	}
}

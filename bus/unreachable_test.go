package bus_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"myriad/bus"
	"myriad/program"
)

// lines keeps what is logged.
type lines struct {
	mu   sync.Mutex
	text []string
}

func (l *lines) logf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, fmt.Sprintf(format, args...))
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.text...)
}

// TestJoinWaits: a server that is not there yet is waited for, and told of
// once, without the password.
func TestJoinWaits(t *testing.T) {
	t.Parallel()
	_, a := listening(t, time.Now, "")
	port := freePorts(t, 1)[0]
	r := remote(fmt.Sprintf("127.0.0.1:%d", port), a.Token())
	var log lines
	ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
	_, err := bus.Join(ctx, "p", r, log.logf)
	cancel()
	if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindUnavailable || !strings.Contains(p.Cause, "refused") || p.Remedy == "" {
		t.Errorf("nobody there: %v", err)
	}
	joined := make(chan error, 1)
	go func() {
		c, err := bus.Join(t.Context(), "p", r, log.logf)
		if err == nil {
			c.Close()
		}
		joined <- err
	}()
	time.Sleep(300 * time.Millisecond)
	s, err := bus.NewServer(bus.ServerOptions{Logf: t.Logf, Listen: fmt.Sprintf("127.0.0.1:%d", port), TLS: a.Server(), Secret: a.Token().Secret})
	must(t, err)
	defer s.Close()
	if err := <-joined; err != nil {
		t.Errorf("once it is there: %v", err)
	}
	if told := log.all(); len(told) != 2 {
		t.Errorf("told %q", told)
	}
	for _, l := range log.all() {
		if strings.Contains(l, a.Token().Secret) {
			t.Errorf("the log has the secret: %s", l)
		}
	}
	if _, err := bus.NewServer(bus.ServerOptions{Logf: t.Logf, Listen: s.Addr(), TLS: a.Server(), Secret: "x"}); bus.ProblemOf(err) == nil || bus.ProblemOf(err).Kind != program.KindConflict {
		t.Errorf("a port that is taken: %v", err)
	}
	for _, o := range []bus.ServerOptions{{Listen: "127.0.0.1:0"}, {Listen: "127.0.0.1:0", TLS: a.Server()}, {LeafListen: "127.0.0.1:0", Secret: "x"},
		{Listen: "nowhere", TLS: a.Server(), Secret: "x"}, {Listen: "127.0.0.1:http", TLS: a.Server(), Secret: "x"}, {Remote: &bus.Remote{}}, {Dir: t.TempDir(), Remote: &r}} {
		if _, err := bus.NewServer(o); bus.ProblemOf(err) == nil || bus.ProblemOf(err).Kind != program.KindInvalid {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

// TestJoinOthers: what answers is something else.
func TestJoinOthers(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 1)
	_, a := listening(t, time.Now, "")
	good := join(t, "x", bus.Remote{URL: c.url()}) // waits until it is there
	_, err := good.Bucket(t.Context(), "b")
	must(t, err)
	plain := fmt.Sprintf("127.0.0.1:%d", c.ports[0])
	_, err = bus.Join(t.Context(), "p", remote(plain, a.Token()), t.Logf)
	if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindPermission || !strings.Contains(p.Cause, "no TLS") {
		t.Errorf("a server without TLS: %v", err)
	}
	var log lines
	_, err = bus.Join(t.Context(), "p", bus.Remote{URL: "nats://u:hush-hush@" + plain}, log.logf)
	if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindPermission || !strings.Contains(p.Cause, "password") || strings.Contains(err.Error(), "hush") {
		t.Errorf("another password: %v", err)
	}
	// One that says nothing, and one that says something else; the context counts.
	for _, says := range []string{"", "SSH-2.0-OpenSSH_9.7\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				_, _ = c.Write([]byte(says))
			}
		}()
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		_, err = bus.Join(ctx, "p", remote(l.Addr().String(), a.Token()), log.logf)
		cancel()
		if p := bus.ProblemOf(err); p == nil || p.Kind != program.KindUnavailable || !strings.Contains(p.Cause, "does not speak as a bus") {
			t.Errorf("what says %q: %v", says, err)
		}
		if took := time.Since(begun); took > 5*time.Second {
			t.Errorf("what says %q: %v, though nobody waits any more", says, took)
		}
	}
	for _, l := range log.all() {
		if strings.Contains(l, "hush") {
			t.Errorf("the log has the password: %s", l)
		}
	}
	// The first of several addresses that answers.
	both := join(t, "p", bus.Remote{URL: "nats://u:p%25w@127.0.0.1:1, " + c.url()})
	if _, err := both.Bucket(t.Context(), "b"); err != nil {
		t.Error(err)
	}
	if in, out, _, _ := both.Stats(); in == 0 || out == 0 {
		t.Errorf("counted %d messages in, %d out", in, out)
	}
}

package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"myriad/api"
	"myriad/program"
)

func TestKindsAndStatuses(t *testing.T) {
	seen := map[int]bool{}
	for k := program.KindInternal; k.String() != "unknown"; k++ {
		s := api.StatusOf(k)
		if seen[s] || s < 400 {
			t.Errorf("%v has status %d, as another does", k, s)
		}
		seen[s] = true
		if back := api.KindOf(s); back != k {
			t.Errorf("%v becomes %d, and that %v", k, s, back)
		}
	}
	for status, want := range map[int]program.Kind{http.StatusMethodNotAllowed: program.KindInvalid, http.StatusTeapot: program.KindInternal} {
		if got := api.KindOf(status); got != want {
			t.Errorf("%d is %v, want %v", status, got, want)
		}
	}
}

// serve answers on a socket as f does.
func serve(t *testing.T, f http.HandlerFunc) *api.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: f}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { s.Close() })
	return api.NewClient(path)
}

// TestNobodyThere: a command must tell a missing daemon from a refusing one.
func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	_, err := api.NewClient(filepath.Join(dir, "none")).Version(t.Context())
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no socket: %v", err)
	}
	path := filepath.Join(dir, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	c := api.NewClient(path)
	if _, err = c.Version(t.Context()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("stale socket: %v", err)
	}
	if _, err = c.Exec(t.Context(), "x", &api.ExecRequest{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("exec on a stale socket: %v", err)
	}
}

// TestBrokenAnswers: whatever a daemon does, a call ends with an error that
// says so.
func TestBrokenAnswers(t *testing.T) {
	up := func(c *api.Client) error {
		return c.Up(t.Context(), &api.UpRequest{}, func(*api.Event) error { return nil })
	}
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		kind   program.Kind
		says   string
	}{
		"an error": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(api.Error{Kind: program.KindConflict, Message: "no", Remedy: "yes"})
		}, program.KindConflict, "no (yes)"},
		"a status alone": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }, program.KindNotFound, "404"},
		"no end": {func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(api.Event{Type: "progress"})
		}, program.KindUnavailable, "went away"},
		"half a line": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"type":"up","res`) }, program.KindUnavailable, "went away"},
		"a break":     {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, program.KindUnavailable, "went away"},
		"an error event": {func(w http.ResponseWriter, _ *http.Request) {
			_ = json.NewEncoder(w).Encode(api.Event{Type: "error", Error: &api.Error{Kind: program.KindExhausted, Message: "full"}})
		}, program.KindExhausted, "full"},
	} {
		err := up(serve(t, tt.answer))
		var e *api.Error
		if !errors.As(err, &e) || e.Kind != tt.kind || !strings.Contains(e.Error(), tt.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	if _, err := c.Exec(t.Context(), "x", &api.ExecRequest{}); err == nil {
		t.Error("an exec that is not upgraded succeeds")
	}
}

// TestEndingDaemon: a request that is not answered at all is asked again, of
// whatever answers then.
func TestEndingDaemon(t *testing.T) {
	asked := 0
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if asked++; asked%3 != 0 {
			panic(http.ErrAbortHandler)
		}
		_ = json.NewEncoder(w).Encode(api.Event{Type: "up", Result: &api.Platform{}})
	})
	if err := c.Up(t.Context(), &api.UpRequest{}, func(*api.Event) error { return nil }); err != nil || asked != 3 {
		t.Errorf("up, asked %d times: %v", asked, err)
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() { // it takes one connection, and ends
		if conn, err := l.Accept(); err == nil {
			l.Close()
			conn.Close()
		}
	}()
	if _, err := api.NewClient(path).Exec(t.Context(), "x", &api.ExecRequest{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("exec on a daemon that ends: %v", err)
	}
}

func TestCancel(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := c.Events(ctx, "", true, func(*api.Event) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled while reading: %v", err)
	}
	if _, err := c.Exec(ctx, "x", &api.ExecRequest{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("cancelled before the upgrade: %v", err)
	}
}

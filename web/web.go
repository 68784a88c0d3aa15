// Package web answers the REST interface that package api describes, on
// whatever listener it is given.
package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"

	"myriad/api"
	"myriad/coord"
	"myriad/program"
)

// maxSource is the greatest length of a topology file, maxFiles that of all
// files together that it refers to, both as package topo has them, and maxBody
// that of a request that carries them: JSON may take twice as much for a text,
// and a third more for a file.
const (
	maxSource = 16 << 20
	maxFiles  = 256 << 20
	maxBody   = 2*maxSource + 3*maxFiles/2 + 1<<20
)

// Config is what the handlers need. All but StandBy and Logf is required.
type Config struct {
	Coordinator *coord.Coordinator
	Version     api.Version
	Shutdown    func() // ends the daemon; returns at once
	// StandBy gives the identity of the coordinator that leads in place of this
	// one; empty: none does. nil: none ever does.
	StandBy func() string
	Logf    func(format string, args ...any)
}

type server struct{ Config }

// New makes the handler of the interface.
func New(c Config) http.Handler {
	if c.Logf == nil {
		c.Logf = func(string, ...any) {}
	}
	s := &server{c}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/version", s.version)
	mux.HandleFunc("GET /v1/pnodes", s.pnodes)
	mux.HandleFunc("POST /v1/pnodes/{name}/drain", s.drain)
	mux.HandleFunc("DELETE /v1/pnodes/{name}", s.forget)
	mux.HandleFunc("POST /v1/platforms", s.up)
	mux.HandleFunc("GET /v1/platforms", s.platforms)
	mux.HandleFunc("GET /v1/platforms/{name}", s.platform)
	mux.HandleFunc("DELETE /v1/platforms/{name}", s.down)
	mux.HandleFunc("GET /v1/platforms/{name}/nodes", s.nodes)
	mux.HandleFunc("GET /v1/platforms/{name}/vnodes", s.vnodes)
	mux.HandleFunc("POST /v1/platforms/{name}/exec", s.exec)
	mux.HandleFunc("POST /v1/platforms/{name}/check", s.check)
	mux.HandleFunc("GET /v1/platforms/{name}/links", s.links)
	mux.HandleFunc("PATCH /v1/platforms/{name}/links", s.changeLinks)
	mux.HandleFunc("POST /v1/platforms/{name}/schedule", s.play)
	mux.HandleFunc("POST /v1/platforms/{name}/fidelity", s.fidelity)
	mux.HandleFunc("GET /v1/events", s.events)
	mux.HandleFunc("POST /v1/shutdown", s.shutdown)
	return s.guard(s.leading(mux))
}

// leading refuses what only the coordinator that leads can answer, while this
// one stands by.
func (s *server) leading(next http.Handler) http.Handler {
	if s.StandBy == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		leader := s.StandBy()
		if leader != "" && r.URL.Path != "/v1/version" && r.URL.Path != "/v1/shutdown" {
			fail(w, &api.Error{Kind: program.KindUnavailable, Message: "this daemon stands by: coordinator " + leader + " leads on the same bus",
				Remedy: "give the command there; this one takes over within seconds of its end"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

// guard keeps a defect in one handler from ending the daemon, and all that
// others do with it.
func (s *server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun := &beginning{ResponseWriter: w}
		defer func() {
			p := recover()
			switch {
			case p == nil:
				return
			case p != http.ErrAbortHandler:
				s.Logf("web: %s %s panicked: %v\n%s", r.Method, r.URL.Path, p, debug.Stack())
			}
			if begun.yes {
				panic(http.ErrAbortHandler) // the client sees a broken answer, not half of one
			}
			fail(w, &api.Error{Kind: program.KindInternal, Message: fmt.Sprintf("%s %s: %v", r.Method, r.URL.Path, p), Remedy: "this is a defect of myriad; please report it with the daemon's log"})
		}()
		next.ServeHTTP(begun, r)
	})
}

// beginning knows whether an answer has begun.
type beginning struct {
	http.ResponseWriter
	yes bool
}

func (b *beginning) WriteHeader(status int) {
	b.yes = true
	b.ResponseWriter.WriteHeader(status)
}

func (b *beginning) Write(p []byte) (int, error) {
	b.yes = true
	return b.ResponseWriter.Write(p)
}

// Hijack is how a connection becomes something else; the answer is then the
// hijacker's.
func (b *beginning) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	b.yes = true
	return http.NewResponseController(b.ResponseWriter).Hijack()
}

// Unwrap lets http.ResponseController find what else can be done.
func (b *beginning) Unwrap() http.ResponseWriter { return b.ResponseWriter }

func (s *server) version(w http.ResponseWriter, _ *http.Request) {
	v := s.Version
	if s.StandBy != nil {
		v.StandBy = s.StandBy()
	}
	answer(w, v)
}

func (s *server) platforms(w http.ResponseWriter, r *http.Request) {
	list, err := s.Coordinator.Platforms(r.Context())
	answerOr(w, list, err)
}

func (s *server) platform(w http.ResponseWriter, r *http.Request) {
	p, err := s.Coordinator.Platform(r.Context(), r.PathValue("name"))
	answerOr(w, p, err)
}

func (s *server) shutdown(w http.ResponseWriter, _ *http.Request) {
	answer(w, struct{}{})
	s.Shutdown()
}

func (s *server) up(w http.ResponseWriter, r *http.Request) {
	var q api.UpRequest
	if !decode(w, r, maxBody, &q) {
		return
	}
	if len(q.Source) > maxSource {
		fail(w, &api.Error{Kind: program.KindInvalid, Message: "the topology file is longer than 16 MiB", Remedy: "describe vnodes by node sets: one entry stands for thousands"})
		return
	}
	if !fewFiles(w, q.Files) {
		return
	}
	l := newLines(w)
	result, err := s.Coordinator.Up(r.Context(), &q, l.event)
	if err != nil && result == nil {
		l.fail(err)
		return
	}
	last := api.Event{Type: "up", Platform: result.Name, Result: result}
	if err != nil {
		last.Type, last.Error = "error", coord.ErrorOf(err)
	}
	l.event(last)
}

func (s *server) down(w http.ResponseWriter, r *http.Request) {
	l := newLines(w)
	name := r.PathValue("name")
	if err := s.Coordinator.Down(r.Context(), name, l.event); err != nil {
		l.fail(err)
		return
	}
	l.event(api.Event{Type: "down", Platform: name})
}

func (s *server) check(w http.ResponseWriter, r *http.Request) {
	var q api.CheckRequest
	if !decode(w, r, 1<<20, &q) {
		return
	}
	l := newLines(w)
	name := r.PathValue("name")
	result, err := s.Coordinator.Check(r.Context(), name, &q, l.event)
	if err != nil {
		l.fail(err)
		return
	}
	l.event(api.Event{Type: "check", Platform: name, Check: result})
}

func (s *server) nodes(w http.ResponseWriter, r *http.Request) {
	n, err := s.Coordinator.Nodes(r.Context(), r.PathValue("name"), r.URL.Query().Get("nodes"))
	answerOr(w, n, err)
}

func (s *server) vnodes(w http.ResponseWriter, r *http.Request) {
	l := newLines(w)
	l.lazy = true
	err := s.Coordinator.Vnodes(r.Context(), r.PathValue("name"), r.URL.Query().Get("nodes"), func(v *api.Vnode) error { return l.write(v) })
	switch {
	case err == nil:
		l.begin()
		_ = l.flush() // as with every answer, the client may be gone
	case l.begun:
		panic(http.ErrAbortHandler) // a list that ends early must not look whole
	default:
		l.fail(err)
	}
}

func (s *server) events(w http.ResponseWriter, r *http.Request) {
	l := newLines(w)
	q := r.URL.Query()
	l.begin()
	_ = l.flush() // the client knows that it is heard
	err := s.Coordinator.Events(r.Context(), q.Get("platform"), q.Get("follow") == "true", func(e api.Event) error { return l.write(e) })
	if err != nil && r.Context().Err() == nil {
		l.fail(err)
	}
}

// decode reads the body of a request, or refuses it.
func decode(w http.ResponseWriter, r *http.Request, limit int64, v any) bool {
	if r.ContentLength > limit {
		fail(w, &api.Error{Kind: program.KindInvalid, Message: fmt.Sprintf("the request has %d MiB, which is too large: at most %d are read", r.ContentLength>>20, limit>>20)})
		return false
	}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, limit)).Decode(v)
	if err != nil {
		fail(w, &api.Error{Kind: program.KindInvalid, Message: "read request: " + err.Error()})
	}
	return err == nil
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that is gone has no use for it
}

func answerOr(w http.ResponseWriter, v any, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	answer(w, v)
}

// fail answers with an error, if nothing was answered yet.
func fail(w http.ResponseWriter, err error) {
	if errors.Is(err, context.Canceled) {
		return // the one who asked has left
	}
	e := coord.ErrorOf(err)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(api.StatusOf(e.Kind))
	_ = json.NewEncoder(w).Encode(e)
}

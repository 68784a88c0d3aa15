package web

import (
	"net/http"

	"myriad/api"
)

func (s *server) pnodes(w http.ResponseWriter, r *http.Request) {
	list, err := s.Coordinator.Pnodes(r.Context())
	answerOr(w, list, err)
}

func (s *server) drain(w http.ResponseWriter, r *http.Request) {
	var q api.DrainRequest
	if !decode(w, r, 1<<20, &q) {
		return
	}
	l := newLines(w)
	moved := 0
	err := s.Coordinator.Drain(r.Context(), r.PathValue("name"), q.Undo, func(e api.Event) {
		if e.Type == api.EventDrained {
			moved = e.Done
			return // it is said below, once, at the end
		}
		l.event(e)
	})
	if err != nil {
		l.fail(err)
		return
	}
	l.event(api.Event{Type: api.EventDrained, Done: moved, Total: moved})
}

func (s *server) forget(w http.ResponseWriter, r *http.Request) {
	err := s.Coordinator.ForgetPnode(r.Context(), r.PathValue("name"))
	answerOr(w, struct{}{}, err)
}

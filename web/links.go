package web

import (
	"net/http"

	"myriad/api"
	"myriad/program"
)

func (s *server) links(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	list, err := s.Coordinator.Links(r.Context(), r.PathValue("name"), q.Get("nodes"), q.Get("to"))
	answerOr(w, list, err)
}

func (s *server) changeLinks(w http.ResponseWriter, r *http.Request) {
	var q api.LinkChange
	if !decode(w, r, maxBody, &q) || !fewFiles(w, q.Files) {
		return
	}
	changed, err := s.Coordinator.ChangeLinks(r.Context(), r.PathValue("name"), &q)
	answerOr(w, changed, err)
}

func (s *server) play(w http.ResponseWriter, r *http.Request) {
	var q api.Schedule
	if !decode(w, r, maxBody, &q) || !fewFiles(w, q.Files) {
		return
	}
	changed, err := s.Coordinator.Play(r.Context(), r.PathValue("name"), &q)
	answerOr(w, changed, err)
}

func (s *server) fidelity(w http.ResponseWriter, r *http.Request) {
	var q api.FidelityRequest
	if !decode(w, r, 1<<20, &q) {
		return
	}
	l := newLines(w)
	name := r.PathValue("name")
	result, err := s.Coordinator.Fidelity(r.Context(), name, &q, l.event)
	if err != nil {
		l.fail(err)
		return
	}
	l.event(api.Event{Type: "fidelity", Platform: name, Fidelity: result})
}

// fewFiles refuses files that are too large together.
func fewFiles(w http.ResponseWriter, files map[string][]byte) bool {
	n := 0
	for _, b := range files {
		n += len(b)
	}
	if n > maxFiles {
		fail(w, &api.Error{Kind: program.KindInvalid, Message: "the files that are referred to have more than 256 MiB together", Remedy: "use coarser ones"})
	}
	return n <= maxFiles
}

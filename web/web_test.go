package web

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"myriad/api"
)

// TestGuard: a defect in a handler is an answer, and never an end.
func TestGuard(t *testing.T) {
	var logged strings.Builder
	s := &server{Config{Logf: func(format string, _ ...any) { logged.WriteString(format) }}}
	handler := s.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/late" {
			_, _ = w.Write([]byte("half an ans"))
		}
		panic("a defect")
	}))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/early", nil))
	if w.Code != http.StatusInternalServerError || !strings.Contains(w.Body.String(), "a defect") || !strings.Contains(logged.String(), "panicked") {
		t.Errorf("early: %d %s; log: %s", w.Code, w.Body, &logged)
	}
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("late: %v, want the connection broken", p)
		}
	}()
	handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/late", nil))
}

// tooLarge stands for a body that nobody wants to make.
const tooLarge = `{"source": "so much"}`

// TestUnknown: what the interface does not have is refused, with or without
// a coordinator.
func TestUnknown(t *testing.T) {
	h := New(Config{Version: api.Version{Version: "v"}})
	for _, tt := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", "/v1/version", "", http.StatusOK},
		{"POST", "/v1/version", "", http.StatusMethodNotAllowed},
		{"GET", "/", "", http.StatusNotFound},
		{"POST", "/v1/platforms", "\x00rubbish", http.StatusBadRequest},
		{"POST", "/v1/platforms", `{"source": 7}`, http.StatusBadRequest},
		{"POST", "/v1/platforms/x/exec", `{`, http.StatusBadRequest},
		{"POST", "/v1/platforms/x/check", ``, http.StatusBadRequest},
		{"PATCH", "/v1/platforms/x/links", `{"set": "delay"}`, http.StatusBadRequest},
		{"PATCH", "/v1/platforms/x/links", `{"at": "soon"}`, http.StatusBadRequest},
		{"POST", "/v1/platforms/x/links", `{}`, http.StatusMethodNotAllowed},
		{"POST", "/v1/platforms/x/schedule", `[]`, http.StatusBadRequest},
		{"POST", "/v1/platforms/x/fidelity", `{"pairs": -1.5}`, http.StatusBadRequest},
		{"GET", "/v1/pnodes/x", "", http.StatusMethodNotAllowed},
		{"POST", "/v1/pnodes/x", "{}", http.StatusMethodNotAllowed},
		{"POST", "/v1/pnodes/x/drain", "", http.StatusBadRequest},
		{"POST", "/v1/pnodes/x/drain", `{"undo": "yes"}`, http.StatusBadRequest},
		{"DELETE", "/v1/pnodes/x/drain", "", http.StatusMethodNotAllowed},
		{"POST", "/v1/platforms", tooLarge, http.StatusBadRequest},
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body))
		if tt.body == tooLarge {
			r.ContentLength = maxBody + 1
		}
		h.ServeHTTP(w, r)
		if w.Code != tt.status {
			t.Errorf("%s %s: %d, want %d (%s)", tt.method, tt.path, w.Code, tt.status, w.Body)
		}
	}
}

// TestStandBy: one that does not lead says who does, and ends when told to.
func TestStandBy(t *testing.T) {
	ended := false
	h := New(Config{Version: api.Version{Version: "v"}, StandBy: func() string { return "abc" }, Shutdown: func() { ended = true }})
	ask := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
		return w
	}
	if w := ask("GET", "/v1/platforms"); w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "coordinator abc leads") {
		t.Errorf("platforms: %d %s", w.Code, w.Body)
	}
	if w := ask("GET", "/v1/version"); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"stand_by":"abc"`) {
		t.Errorf("version: %d %s", w.Code, w.Body)
	}
	if w := ask("POST", "/v1/shutdown"); w.Code != http.StatusOK || !ended {
		t.Errorf("shutdown: %d, ended: %v", w.Code, ended)
	}
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"myriad/api"
)

// daemonOf plays a daemon with some platforms, which answers with handlers.
func daemonOf(t *testing.T, handlers map[string]http.HandlerFunc, platforms ...string) (runDir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "my")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	l, err := net.Listen("unix", dir+"/api.sock")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version":"test"}`) })
	mux.HandleFunc("GET /v1/platforms", func(w http.ResponseWriter, _ *http.Request) {
		list := []api.Platform{}
		for _, name := range platforms {
			list = append(list, api.Platform{Name: name, State: "up"})
		}
		_ = json.NewEncoder(w).Encode(list)
	})
	for pattern, h := range handlers {
		mux.HandleFunc(pattern, h)
	}
	s := &http.Server{Handler: mux}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		s.Close()
		<-served
	})
	return dir
}

// TestDownInterrupted: who leaves a down learns that the daemon goes on.
func TestDownInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	dir := daemonOf(t, map[string]http.HandlerFunc{
		"DELETE /v1/platforms/lab": func(_ http.ResponseWriter, r *http.Request) {
			interrupt()
			<-r.Context().Done()
		},
	}, "lab")
	var out, errs bytes.Buffer
	code := run(ctx, []string{"--run-dir", dir, "down"}, strings.NewReader(""), &out, &errs)
	want := "myriad: interrupted: the daemon goes on removing platform lab\n" +
		"myriad: hint: \"myriad status\" shows how far it is\n"
	if code != exitInterrupted || errs.String() != want || out.Len() > 0 {
		t.Errorf("exit code %d, output %q, errors\n%swant code %d, no output, errors\n%s", code, &out, &errs, exitInterrupted, want)
	}
}

// TestDownTellsAll: a platform that cannot be removed does not keep others
// from it, and every failure is told.
func TestDownTellsAll(t *testing.T) {
	dir := daemonOf(t, map[string]http.HandlerFunc{
		"DELETE /v1/platforms/{name}": func(w http.ResponseWriter, r *http.Request) {
			name := r.PathValue("name")
			if name == "b" {
				fmt.Fprintln(w, `{"type":"down","platform":"b"}`)
				return
			}
			w.WriteHeader(http.StatusServiceUnavailable)
			fmt.Fprintf(w, `{"kind":"unavailable","message":"rack of %s is stuck","remedy":"wait"}`, name)
		},
	}, "a", "b", "c")
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"--run-dir", dir, "down", "--all"}, strings.NewReader(""), &out, &errs)
	want := "myriad: remove platform a: rack of a is stuck\n" +
		"myriad: remove platform c: rack of c is stuck\n" +
		"myriad: hint: wait\n"
	if code != exitFailed || errs.String() != want || !strings.HasPrefix(out.String(), "platform b: removed in ") {
		t.Errorf("exit code %d, output %q, errors\n%swant code %d, b removed, errors\n%s", code, &out, &errs, exitFailed, want)
	}
}

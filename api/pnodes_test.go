package api_test

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"myriad/api"
	"myriad/program"
)

// TestPnodeJSON: programs know these names.
func TestPnodeJSON(t *testing.T) {
	heard := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		v    any
		want string
	}{
		{api.Pnode{Name: "a", Site: "s", State: "up", Drained: true, Version: "v", Kernel: "k", Address: "192.0.2.1", MTU: 1500, CPUs: 2, Memory: 3, WireGuard: true, Files: 6, Namespaces: 7, Pids: 8, Vnodes: 4, Platforms: []string{"p"}, Clock: 5, Heard: heard, Problem: "why"},
			`{"name":"a","site":"s","state":"up","drained":true,"version":"v","kernel":"k","address":"192.0.2.1","mtu":1500,"cpus":2,"memory":3,"wireguard":true,"files":6,"namespaces":7,"pids":8,"vnodes":4,"platforms":["p"],"clock":5,"heard":"2026-03-01T12:00:00Z","problem":"why"}`},
		{api.Carried{Pnode: "a", State: "up", Vnodes: 4, Up: 3, Racks: 2, RacksUp: 1}, `{"pnode":"a","state":"up","vnodes":4,"up":3,"racks":2,"racks_up":1}`},
		{api.DrainRequest{Undo: true}, `{"undo":true}`},
		{api.DrainRequest{}, `{}`},
	} {
		if got, err := json.Marshal(tt.v); err != nil || string(got) != tt.want {
			t.Errorf("%T is\n%s, want\n%s (%v)", tt.v, got, tt.want, err)
		}
	}
}

func TestDrain(t *testing.T) {
	var asked, body string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		asked, body = r.Method+" "+r.RequestURI, string(b)
		enc := json.NewEncoder(w)
		_ = enc.Encode(api.Event{Type: "progress", Done: 1, Total: 2})
		_ = enc.Encode(api.Event{Type: api.EventDrained})
	})
	events := 0
	err := c.Drain(t.Context(), "rack 1/n2", &api.DrainRequest{Undo: true}, func(*api.Event) error { events++; return nil })
	if err != nil || events != 2 || asked != "POST /v1/pnodes/rack%201%2Fn2/drain" || body != `{"undo":true}` {
		t.Errorf("%d events, asked %s with %s: %v", events, asked, body, err)
	}
	c = serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(api.Event{Type: "progress", Done: 1, Total: 2})
	})
	var e *api.Error
	if err := c.Drain(t.Context(), "x", &api.DrainRequest{}, func(*api.Event) error { return nil }); !errors.As(err, &e) || e.Kind != program.KindUnavailable {
		t.Errorf("a drain without an end: %v", err)
	}
}

func TestForgetPnode(t *testing.T) {
	var asked string
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = r.Method + " " + r.RequestURI
		_, _ = io.WriteString(w, "{}\n")
	})
	if err := c.ForgetPnode(t.Context(), "n1.example"); err != nil || asked != "DELETE /v1/pnodes/n1.example" {
		t.Errorf("asked %s: %v", asked, err)
	}
}

package main

import (
	"encoding/base64"
	"encoding/json"
	"time"
	"unicode/utf8"

	"myriad/rack"
)

// text is output in JSON: a string, or {"base64": "…"} where it is not text.
type text []byte

// MarshalJSON writes the one or the other.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.Valid(t) {
		return json.Marshal(string(t))
	}
	return json.Marshal(map[string]string{"base64": base64.StdEncoding.EncodeToString(t)})
}

// result is how a command ended in one vnode.
type result struct {
	Vnode  string        `json:"vnode"`
	Code   int           `json:"code"`
	Signal int           `json:"signal,omitempty"`
	Error  string        `json:"error,omitempty"`
	Took   time.Duration `json:"took"` // nanoseconds
	Stdout *text         `json:"stdout,omitempty"`
	Stderr *text         `json:"stderr,omitempty"`
}

// piece is a part of an output, as it came.
type piece struct {
	Vnode  string `json:"vnode"`
	Stdout *text  `json:"stdout,omitempty"`
	Stderr *text  `json:"stderr,omitempty"`
}

// results writes one object per vnode when its command ends, or, streaming,
// an object for each piece of output too.
type results struct {
	print     func(v any) error
	streaming bool
	running   map[stream][]byte
	err       error
}

func newResults(print func(v any) error, streaming bool) *results {
	return &results{print: print, streaming: streaming, running: map[stream][]byte{}}
}

func (r *results) write(v any) {
	if err := r.print(v); err != nil && r.err == nil {
		r.err = err
	}
}

func (r *results) output(o rack.Output) {
	if !r.streaming {
		s := stream{o.Vnode, o.Stderr}
		r.running[s] = append(r.running[s], o.Data...)
		return
	}
	data := text(o.Data)
	if o.Stderr {
		r.write(piece{Vnode: o.Vnode, Stderr: &data})
		return
	}
	r.write(piece{Vnode: o.Vnode, Stdout: &data})
}

func (r *results) exit(e rack.Exit) {
	res := result{Vnode: e.Vnode, Code: e.Code, Signal: e.Signal, Error: e.Err, Took: time.Duration(e.Took)}
	if !r.streaming {
		res.Stdout = r.take(stream{e.Vnode, false})
		res.Stderr = r.take(stream{e.Vnode, true})
	}
	r.write(res)
}

// take gives what a stream wrote and forgets it.
func (r *results) take(s stream) *text {
	t := text(r.running[s])
	delete(r.running, s)
	return &t
}

func (r *results) flush() error { return r.err }

func (r *results) close() error { return r.err }

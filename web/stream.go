package web

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"myriad/api"
	"myriad/coord"
	"myriad/program"
	"myriad/rack"
)

// lines is an answer of JSON values, one on a line.
type lines struct {
	w     http.ResponseWriter
	buf   *bufio.Writer
	json  *json.Encoder
	begun bool
	lazy  bool // lines may wait for more
}

func newLines(w http.ResponseWriter) *lines {
	buf := bufio.NewWriterSize(w, 32<<10)
	return &lines{w: w, buf: buf, json: json.NewEncoder(buf)}
}

// begin says what kind of answer this is. What fails before is an HTTP error.
func (l *lines) begin() {
	if !l.begun {
		l.begun = true
		l.w.Header().Set("Content-Type", "application/x-ndjson")
		l.w.WriteHeader(http.StatusOK)
	}
}

func (l *lines) write(v any) error {
	l.begin()
	if err := l.json.Encode(v); err != nil || l.lazy {
		return err
	}
	return l.flush()
}

func (l *lines) flush() error {
	return errors.Join(l.buf.Flush(), http.NewResponseController(l.w).Flush())
}

// event writes an event. A client that is gone is noticed by its context.
func (l *lines) event(e api.Event) {
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	_ = l.write(e)
}

// fail ends the answer with an error.
func (l *lines) fail(err error) {
	if !l.begun {
		fail(l.w, err)
		return
	}
	l.event(api.Event{Type: "error", Error: coord.ErrorOf(err)})
}

// exec hands the connection over to frames: inputs from the client, replies
// to it. Whatever goes wrong from there on is told in the last reply.
func (s *server) exec(w http.ResponseWriter, r *http.Request) {
	var q api.ExecRequest
	if !decode(w, r, maxBody, &q) {
		return
	}
	conn, buf, err := http.NewResponseController(w).Hijack()
	if err != nil {
		fail(w, err)
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Time{})
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+api.Upgrade+"\r\n\r\n"); err != nil {
		return
	}
	frames := rack.NewFrames(struct {
		io.Reader
		io.Writer
	}{buf.Reader, conn})

	ctx, cancel := context.WithCancel(r.Context())
	var reading sync.WaitGroup
	defer reading.Wait()
	defer conn.Close() // ends the reading
	defer cancel()
	defer context.AfterFunc(r.Context(), func() { conn.Close() })()
	inputs := make(chan rack.Input)
	reading.Go(func() {
		defer cancel() // the client is gone
		receive(ctx, frames, inputs)
	})
	err = s.Coordinator.Exec(ctx, r.PathValue("name"), &q, inputs, func(r *rack.Reply) error { return frames.Send(r) })
	last := &rack.Reply{Done: true}
	if err != nil {
		e := coord.ErrorOf(err)
		last.Err = &program.Problem{Kind: e.Kind, Rack: -1, Op: e.Message, Remedy: e.Remedy}
	}
	_ = frames.Send(last) // a client that is gone has no use for it
}

// receive takes inputs until the client sends no more, or is gone.
func receive(ctx context.Context, frames *rack.Frames, inputs chan<- rack.Input) {
	for {
		var in rack.Input
		if frames.Receive(&in) != nil {
			return
		}
		select {
		case inputs <- in:
		case <-ctx.Done():
			return
		}
	}
}

package api

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"myriad/program"
	"myriad/rack"
)

// Upgrade names what the connection of an exec becomes.
const Upgrade = "myriad-rack"

// Client speaks to the daemon behind a socket. Its methods may be called by
// several goroutines at once.
//
// Where no daemon answers, errors are fs.ErrNotExist, syscall.ECONNREFUSED or
// fs.ErrPermission to errors.Is; what the daemon says is an *Error.
type Client struct {
	socket string
	http   http.Client
}

// NewClient makes a client of the daemon behind a socket: <run>/api.sock.
// Nothing is connected before the first call.
func NewClient(socket string) *Client {
	c := &Client{socket: socket}
	c.http.Transport = &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		DisableCompression: true,
		// Connections are cheap here, and thousands of changes a second are made by
		// many callers at once.
		MaxIdleConnsPerHost: 256,
	}
	return c
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", c.socket)
}

// Version tells what answers.
func (c *Client) Version(ctx context.Context) (*Version, error) {
	return get[Version](ctx, c, "/v1/version")
}

// Pnodes lists the machines that carry vnodes.
func (c *Client) Pnodes(ctx context.Context) ([]Pnode, error) {
	return deref(get[[]Pnode](ctx, c, "/v1/pnodes"))
}

// Platforms lists the platforms.
func (c *Client) Platforms(ctx context.Context) ([]Platform, error) {
	return deref(get[[]Platform](ctx, c, "/v1/platforms"))
}

// Platform shows one platform.
func (c *Client) Platform(ctx context.Context, name string) (*Platform, error) {
	return get[Platform](ctx, c, platformPath(name))
}

// Up brings a platform up. each gets every event; the last one has the result.
// When ctx ends, the daemon stops, unless somebody else waits for the same.
func (c *Client) Up(ctx context.Context, q *UpRequest, each func(*Event) error) error {
	return c.events(ctx, http.MethodPost, "/v1/platforms", q, each, func(e *Event) bool { return e.Result != nil })
}

// Down takes a platform away. each gets every event.
func (c *Client) Down(ctx context.Context, platform string, each func(*Event) error) error {
	return c.events(ctx, http.MethodDelete, platformPath(platform), nil, each, func(e *Event) bool { return e.Type == "down" })
}

// Check has the vnodes of a platform ping each other. each gets every event;
// the last one has the check.
func (c *Client) Check(ctx context.Context, platform string, q *CheckRequest, each func(*Event) error) error {
	return c.events(ctx, http.MethodPost, platformPath(platform)+"/check", q, each, func(e *Event) bool { return e.Check != nil })
}

// Events tells what happened to a platform, or to all if that is empty; with
// follow it goes on until ctx ends.
func (c *Client) Events(ctx context.Context, platform string, follow bool, each func(*Event) error) error {
	v := url.Values{}
	if platform != "" {
		v.Set("platform", platform)
	}
	if follow {
		v.Set("follow", "true")
	}
	return stream(ctx, c, http.MethodGet, "/v1/events?"+v.Encode(), nil, func(e *Event) error {
		if e.Error != nil {
			return e.Error
		}
		return each(e)
	})
}

// Vnodes lists the vnodes that an expression names, or all if it is empty.
func (c *Client) Vnodes(ctx context.Context, platform, nodes string, each func(*Vnode) error) error {
	return stream(ctx, c, http.MethodGet, platformPath(platform)+"/vnodes?nodes="+url.QueryEscape(nodes), nil, each)
}

// Shutdown ends the daemon. Vnodes live on.
func (c *Client) Shutdown(ctx context.Context) error {
	r, err := c.do(ctx, http.MethodPost, "/v1/shutdown", nil)
	if err != nil {
		return err
	}
	return r.Body.Close()
}

func platformPath(name string) string { return "/v1/platforms/" + url.PathEscape(name) }

// events reads the events of a request up to the last one, which done
// recognises.
func (c *Client) events(ctx context.Context, method, path string, q any, each func(*Event) error, done func(*Event) bool) error {
	var failed *Error
	ended := false
	err := stream(ctx, c, method, path, q, func(e *Event) error {
		if e.Error != nil {
			failed = e.Error
		}
		ended = ended || done(e)
		return each(e)
	})
	switch {
	case err != nil:
		return err
	case failed != nil:
		return failed
	case !ended:
		return gone(io.ErrUnexpectedEOF)
	}
	return nil
}

// stream calls each with every line of an answer.
func stream[T any](ctx context.Context, c *Client, method, path string, q any, each func(*T) error) error {
	r, err := c.do(ctx, method, path, q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	lines := json.NewDecoder(r.Body)
	for {
		v := new(T)
		if err := lines.Decode(v); errors.Is(err, io.EOF) {
			return nil
		} else if ctx.Err() != nil {
			return context.Cause(ctx)
		} else if err != nil {
			return gone(err)
		}
		if err := each(v); err != nil {
			return err
		}
	}
}

func gone(err error) error {
	return &Error{Kind: program.KindUnavailable, Message: fmt.Sprintf("the daemon went away before the request ended: %v", err), Remedy: "its log in the state directory may say why; ask again"}
}

// get reads an answer that is one value.
func get[T any](ctx context.Context, c *Client, path string) (*T, error) {
	return call[T](ctx, c, http.MethodGet, path, nil)
}

// call makes a request that is answered by one value.
func call[T any](ctx context.Context, c *Client, method, path string, q any) (*T, error) {
	r, err := c.do(ctx, method, path, q)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	v := new(T)
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, gone(err)
	}
	_, _ = io.Copy(io.Discard, r.Body) // to its end, so that the connection serves again
	return v, nil
}

func deref[T any](v *T, err error) (T, error) {
	if err != nil {
		var none T
		return none, err
	}
	return *v, nil
}

func newRequest(ctx context.Context, method, path string, q any) (*http.Request, error) {
	var body io.Reader
	if q != nil {
		b, err := json.Marshal(q)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://myriad"+path, body)
	if err == nil && q != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	return r, err
}

// do sends a request. An answer that is an error comes back as one. A daemon
// that ends at this moment may take a request and answer nothing: it has not
// begun it, so another one is asked, or there is none.
func (c *Client) do(ctx context.Context, method, path string, q any) (r *http.Response, err error) {
	for range tries {
		if r, err = c.doOnce(ctx, method, path, q); !unanswered(err) {
			return r, err
		}
		time.Sleep(tryPause)
	}
	return r, gone(err)
}

// A daemon that ends is gone after tries and their pauses.
const (
	tries    = 5
	tryPause = 20 * time.Millisecond
)

// unanswered tells whether a connection ended before anything was answered.
func unanswered(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

func (c *Client) doOnce(ctx context.Context, method, path string, q any) (*http.Response, error) {
	r, err := newRequest(ctx, method, path, q)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, reached(err)
	}
	return answer, refused(answer)
}

// reached takes the URL out of an error: it says nothing to a person.
func reached(err error) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return fmt.Errorf("reach the daemon: %w", err)
}

// refused gives the error that an answer is, if it is one.
func refused(r *http.Response) error {
	if r.StatusCode < 400 {
		return nil
	}
	defer r.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	e := new(Error)
	if json.Unmarshal(text, e) != nil || e.Message == "" {
		e = &Error{Kind: KindOf(r.StatusCode), Message: strings.TrimSpace(fmt.Sprintf("%s: %s", r.Status, text))}
	}
	return e
}

// Session is an exec under way. Send and Recv may be used at the same time,
// each by one goroutine.
type Session struct {
	conn   net.Conn
	frames *rack.Frames
	detach func() bool
}

// Exec runs a command in vnodes. What cannot be done at all is told by the
// first Recv. When ctx ends, so does the session.
func (c *Client) Exec(ctx context.Context, platform string, q *ExecRequest) (s *Session, err error) {
	for range tries { // as do
		if s, err = c.execOnce(ctx, platform, q); !unanswered(err) {
			return s, err
		}
		time.Sleep(tryPause)
	}
	return nil, gone(err)
}

func (c *Client) execOnce(ctx context.Context, platform string, q *ExecRequest) (*Session, error) {
	r, err := newRequest(ctx, http.MethodPost, platformPath(platform)+"/exec", q)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", Upgrade)
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, reached(err)
	}
	detach := context.AfterFunc(ctx, func() { conn.Close() })
	in := bufio.NewReader(conn)
	if err = r.Write(conn); err == nil {
		err = upgraded(in, r)
	}
	if err != nil {
		detach()
		conn.Close()
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	frames := rack.NewFrames(struct {
		io.Reader
		io.Writer
	}{in, conn})
	return &Session{conn, frames, detach}, nil
}

// upgraded reads the answer to the request for an upgrade.
func upgraded(in *bufio.Reader, r *http.Request) error {
	answer, err := http.ReadResponse(in, r)
	switch {
	case err != nil:
		return err
	case answer.StatusCode == http.StatusSwitchingProtocols:
		return nil
	}
	if err := refused(answer); err != nil {
		return err
	}
	return &Error{Kind: program.KindUnsupported, Message: "the daemon answers an exec with " + answer.Status}
}

// Send sends standard input, or the size of the terminal.
func (s *Session) Send(in *rack.Input) error { return s.frames.Send(in) }

// Recv gives the next frame; the one with Done set is the last. An end of
// file before that says that the daemon is gone.
func (s *Session) Recv() (*rack.Reply, error) {
	r := new(rack.Reply)
	if err := s.frames.Receive(r); err != nil {
		return nil, err
	}
	return r, nil
}

// Close ends the session, and kills what it started if that has not ended.
func (s *Session) Close() error {
	s.detach()
	return s.conn.Close()
}

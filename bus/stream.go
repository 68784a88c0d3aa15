package bus

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"myriad/program"
)

// A stream travels as chunks between two inboxes. Each side may have window
// chunks under way: the reader gives credit back as it takes them, so that a
// slow reader slows the writer, however many servers lie between, and nothing
// is dropped on the way. Both sides number what counts: what is lost with a
// connection or a server ends the stream as soon as either side hears anything
// later, a ping at the latest; what comes twice is passed over. So what a side
// receives is what the other one sent, in order, up to some point.
const (
	window   = 16
	chunk    = 64 << 10  // bytes
	ackEvery = 4         // chunks taken for one message of credit
	biggest  = 256 << 20 // bytes of one message, put together
)

// While nothing arrives, a side asks whether the other one lives: every beat,
// and it gives up after silence. A side whose process is gone is noticed at
// the first question, as its inbox is gone too.
const (
	beat    = 2 * time.Second
	silence = 15 * time.Second
)

// What a message of a stream is; its first byte. Then comes its number, or,
// where it has none, the number of the last one before it: 4 bytes, the most
// significant first.
const (
	partChunk  = 'p' // data, with more of the same message to follow
	lastChunk  = 'm' // data, the end of a message
	credit     = 'k' // one byte: that many chunks were taken
	sendingEnd = 'e' // the sender sends no more
	finish     = 'f' // the handler has returned; its Problem, if it failed
	abort      = 'x' // the caller has gone; nothing counts any more
	ping       = 'q'
	pong       = 'a'
)

// headLength is how long kind and number are.
const headLength = 5

// numbered tells whether a message of the kind counts.
func numbered(kind byte) bool { return kind != abort && kind != ping && kind != pong }

// Stream is one call that carries messages both ways. One goroutine may send
// while another receives.
type Stream struct {
	conn   *Conn
	peer   string // inbox of the other side
	own    string
	sub    *nats.Subscription
	ctx    context.Context // ends when the stream does, with the cause
	cancel context.CancelCauseFunc

	sending sync.Mutex    // one message at a time
	tokens  chan struct{} // one for each chunk that may be sent
	in      chan []byte   // chunks that arrived, and the marks of the end
	taken   int           // chunks taken since the last credit given
	heard   atomic.Int64  // when the other side last said something, since epoch
	over    chan struct{} // closed when the other side has finished: it answers no more

	putting sync.Mutex // messages leave in the order of their numbers
	sent    uint32     // number of the last one that left
	got     uint32     // number of the last one that came; arrive's own
}

// epoch makes times that a change of the machine's clock does not touch.
var epoch = time.Now()

// opening asks for a stream.
type opening struct {
	Inbox string
	Body  []byte
}

// Open starts a stream with the one who handles subject. It lives until the
// handler returns, ctx ends or Close is called.
func Open[Q any](ctx context.Context, c *Conn, subject string, q Q) (*Stream, error) {
	body, err := Encode(q)
	if err != nil {
		return nil, err
	}
	s, err := c.newStream(ctx)
	if err != nil {
		return nil, problem("open "+subject, err)
	}
	asking, answered := context.WithTimeout(s.ctx, silence)
	defer answered()
	s.peer, err = Request[opening, string](asking, c, subject, opening{Inbox: s.own, Body: body})
	if err == nil && !isInbox(s.peer) {
		err = noInbox("open "+subject, s.peer)
	}
	if err != nil {
		s.end(err)
		return nil, err
	}
	c.run(func() { s.watch(true) })
	return s, nil
}

// HandleStream answers streams on subject until c is closed. Each runs in a
// goroutine of its own; its context ends when the caller goes away.
func HandleStream[Q any](c *Conn, subject string, f func(ctx context.Context, q Q, s *Stream) error) error {
	return c.handle(subject, streamer(c, f))
}

func streamer[Q any](c *Conn, f func(ctx context.Context, q Q, s *Stream) error) func(*nats.Msg) {
	return func(m *nats.Msg) {
		var o opening
		var q Q
		err := Decode(m.Data, &o)
		if err == nil && !isInbox(o.Inbox) {
			err = noInbox("answer", o.Inbox)
		}
		if err == nil {
			err = Decode(o.Body, &q)
		}
		if err != nil {
			c.answer(m, nil, err)
			return
		}
		s, err := c.newStream(c.ctx)
		if err != nil {
			c.answer(m, nil, err)
			return
		}
		s.peer = o.Inbox
		c.answer(m, s.own, nil)
		c.run(func() { s.watch(false) })
		s.finish(f(s.ctx, q, s))
	}
}

func noInbox(op, subject string) error {
	return &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: op, Cause: fmt.Sprintf("the other side gives %.80q as its inbox", subject)}
}

func (c *Conn) newStream(ctx context.Context) (*Stream, error) {
	// Whoever is told of one inbox must not guess another.
	own := c.nats.Opts.InboxPrefix + "." + rand.Text()
	s := &Stream{conn: c, own: own, over: make(chan struct{}),
		tokens: make(chan struct{}, window), in: make(chan []byte, window+2)}
	for range window {
		s.tokens <- struct{}{}
	}
	s.ctx, s.cancel = context.WithCancelCause(ctx)
	s.hear()
	var err error
	if s.sub, err = c.nats.Subscribe(s.own, s.arrive); err != nil {
		s.cancel(err)
	}
	return s, err
}

// Send sends one message. It waits while the other side has not taken what
// was sent before.
func (s *Stream) Send(v any) error {
	b, err := Encode(v)
	if err != nil {
		return err
	}
	return s.SendBytes(b)
}

// SendBytes sends one message that is encoded already.
func (s *Stream) SendBytes(b []byte) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	for len(b) > chunk {
		if err := s.sendChunk(partChunk, b[:chunk]); err != nil {
			return err
		}
		b = b[chunk:]
	}
	return s.sendChunk(lastChunk, b)
}

func (s *Stream) sendChunk(kind byte, b []byte) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	select {
	case <-s.tokens:
		return s.put(kind, b)
	case <-s.over:
		return io.ErrClosedPipe
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}

// CloseSend says that the side that opened the stream sends nothing more; the
// handler's Recv then gives io.EOF. A handler says the same by returning.
func (s *Stream) CloseSend() error {
	s.sending.Lock()
	defer s.sending.Unlock()
	return s.put(sendingEnd, nil)
}

// put publishes with the own inbox as reply: there the server says that
// nobody listens any more.
func (s *Stream) put(kind byte, b []byte) error {
	if s.finished() {
		return io.ErrClosedPipe
	}
	s.putting.Lock()
	defer s.putting.Unlock()
	if numbered(kind) {
		s.sent++
	}
	m := make([]byte, headLength, headLength+len(b))
	m[0] = kind
	binary.BigEndian.PutUint32(m[1:], s.sent)
	err := s.conn.nats.PublishRequest(s.peer, s.own, append(m, b...))
	if err != nil && numbered(kind) {
		s.broken("the connection to the bus is lost")
		return context.Cause(s.ctx)
	}
	return problem("send", err)
}

// Recv receives one message. It gives io.EOF after the last one, or the
// Problem with which the other side failed.
func (s *Stream) Recv(v any) error {
	b, err := s.RecvBytes()
	if err != nil {
		return err
	}
	return Decode(b, v)
}

// RecvBytes receives one message as it is.
func (s *Stream) RecvBytes() ([]byte, error) {
	var message []byte
	for {
		m, err := s.next()
		if err != nil {
			return nil, err
		}
		kind, data := m[0], m[headLength:]
		switch {
		case kind == sendingEnd, kind == finish && len(data) == 0:
			s.in <- m // also for whoever asks again; there is room, as nothing follows
			return nil, io.EOF
		case kind == finish:
			s.in <- m
			p := new(program.Problem)
			if err := Decode(data, p); err != nil {
				return nil, err
			}
			return nil, p
		case message == nil && kind == lastChunk:
			message = data
		case len(message)+len(data) > biggest:
			return nil, &program.Problem{Kind: program.KindInvalid, Rack: -1, Op: "receive", Cause: "message of more than 256 MiB"}
		default:
			message = append(message, data...)
		}
		s.take()
		if kind == lastChunk {
			return message, nil
		}
	}
}

// next gives the next chunk: what has arrived comes before the news that the
// stream is broken.
func (s *Stream) next() ([]byte, error) {
	select {
	case m := <-s.in:
		return m, nil
	default:
	}
	select {
	case m := <-s.in:
		return m, nil
	case <-s.ctx.Done():
		return nil, context.Cause(s.ctx)
	}
}

// take gives credit back for a chunk. If that fails, so does the stream.
func (s *Stream) take() {
	if s.taken++; s.taken == ackEvery {
		s.taken = 0
		_ = s.put(credit, []byte{ackEvery})
	}
}

// finished tells whether the other side has.
func (s *Stream) finished() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// Go runs f beside the handler or caller. f must end when the stream does;
// the connection waits for that.
func (s *Stream) Go(f func()) { s.conn.run(f) }

// Close ends the stream from the side that opened it. A handler that still
// runs sees its context end.
func (s *Stream) Close() {
	if s.ctx.Err() == nil {
		_ = s.put(abort, nil)
	}
	s.end(io.ErrClosedPipe)
}

// finish tells the caller how the handler ended.
func (s *Stream) finish(err error) {
	var b []byte
	if err != nil {
		b, _ = Encode(ProblemOf(err))
	}
	_ = s.put(finish, b) // a caller that has gone does not want to know
	s.end(io.ErrClosedPipe)
}

func (s *Stream) end(err error) {
	s.cancel(err)
	_ = s.sub.Unsubscribe() // fails only if the connection is gone, and the inbox with it
}

// arrive takes what comes in. It never waits: the other side keeps within its
// credit.
func (s *Stream) arrive(m *nats.Msg) {
	if len(m.Data) == 0 {
		if m.Header.Get("Status") == "503" && !s.finished() {
			s.broken("the other side has gone")
		}
		return
	}
	if len(m.Data) < headLength {
		s.broken("the other side sent what is no message")
		return
	}
	s.hear()
	kind, number := m.Data[0], binary.BigEndian.Uint32(m.Data[1:])
	if ahead := int32(number - s.got); numbered(kind) && ahead == 1 {
		s.got = number
	} else if numbered(kind) && ahead <= 0 {
		return // it came before
	} else if ahead > 0 && kind != abort {
		s.broken("messages were lost on the way")
		return
	}
	s.heed(kind, m.Data)
}

// heed does what a message that came in its turn says.
func (s *Stream) heed(kind byte, m []byte) {
	switch kind {
	case partChunk, lastChunk, sendingEnd:
		s.push(m)
	case finish:
		if s.finished() {
			break // it is the last thing that the other side says
		}
		close(s.over)
		s.push(m)
	case credit:
		s.refill(m[headLength:])
	case abort:
		s.broken("the caller has gone")
	case ping:
		_ = s.put(pong, nil)
	}
}

func (s *Stream) push(m []byte) {
	select {
	case s.in <- m:
	default:
		s.broken("the other side sent more than its credit")
	}
}

func (s *Stream) refill(b []byte) {
	if len(b) != 1 {
		return
	}
	for range b[0] {
		select {
		case s.tokens <- struct{}{}:
		default:
			s.broken("the other side gave more credit than was used")
			return
		}
	}
}

func (s *Stream) broken(why string) {
	s.cancel(&program.Problem{Kind: program.KindUnavailable, Rack: -1, Op: "stream", Cause: why})
}

func (s *Stream) hear() { s.heard.Store(int64(time.Since(epoch))) }

// watch asks a silent other side whether it lives, until the stream ends. The
// side that opened the stream also tells the handler when ctx ends.
func (s *Stream) watch(opener bool) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	s.conn.mu.Lock()
	lost := s.conn.session.Done()
	s.conn.mu.Unlock()
	for {
		select {
		case <-tick.C:
			s.ask()
		case <-s.conn.ctx.Done():
			s.broken("the connection is closed")
		case <-lost:
			lost = nil
			if s.conn.ended != nil && s.conn.ended() {
				s.broken("the bus has ended") // one in this process does not come back
			}
		case <-s.ctx.Done():
			if opener && !errors.Is(context.Cause(s.ctx), io.ErrClosedPipe) {
				_ = s.put(abort, nil)
			}
			return
		}
	}
}

func (s *Stream) ask() {
	quiet := time.Since(epoch) - time.Duration(s.heard.Load())
	switch {
	case s.finished():
	case quiet > silence:
		s.broken("no sign of life from the other side")
	case quiet >= beat:
		_ = s.put(ping, nil)
	}
}

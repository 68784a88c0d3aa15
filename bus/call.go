package bus

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"myriad/program"
)

// None is a question or an answer without content.
type None struct{}

// answer is how every answer travels.
type answer struct {
	Err  *program.Problem `cbor:",omitempty"`
	Body []byte           `cbor:",omitempty"`
}

// Publish sends v to all who subscribe to subject now.
func Publish[T any](c *Conn, subject string, v T) error {
	b, err := Encode(v)
	if err != nil {
		return err
	}
	return problem("publish on "+subject, c.nats.Publish(subject, b))
}

// Subscribe calls f with everything published on subject, in order, until c
// is closed. A message that does not decode is given to f with an error.
func Subscribe[T any](c *Conn, subject string, f func(v T, err error)) error {
	_, err := c.nats.Subscribe(subject, func(m *nats.Msg) {
		var v T
		f(v, Decode(m.Data, &v))
	})
	return problem("subscribe to "+subject, err)
}

// patience is how long a Request whose context has no deadline waits for its
// answer: the other side may have gone without a word.
const patience = 30 * time.Second

// Request asks the one who handles subject, and waits for the answer. While
// the connection is lost it waits for that, too, and asks then; where it is
// lost in between, nobody knows what became of the question, and that is a
// program.Problem of KindUnavailable at once.
func Request[Q, A any](ctx context.Context, c *Conn, subject string, q Q) (A, error) {
	b, err := Encode(q)
	if err != nil {
		var none A
		return none, err
	}
	if _, ends := ctx.Deadline(); !ends {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	m, err := c.ask(ctx, subject, b)
	return answered[A]("ask "+subject, m, err)
}

// answered reads an answer.
func answered[A any](op string, m *nats.Msg, err error) (a A, _ error) {
	if err != nil {
		return a, problem(op, err)
	}
	var reply answer
	if err := Decode(m.Data, &reply); err != nil {
		return a, err
	}
	if reply.Err != nil {
		return a, reply.Err
	}
	return a, Decode(reply.Body, &a)
}

var errLost = errors.New("the connection to the bus was lost before the answer came")

// ask asks once, over a connection that lasts.
func (c *Conn) ask(ctx context.Context, subject string, b []byte) (*nats.Msg, error) {
	for {
		session, err := c.await(ctx)
		if err != nil {
			return nil, err
		}
		asking, cancel := context.WithCancelCause(ctx)
		connections := c.nats.Stats().Reconnects
		release := context.AfterFunc(session, func() {
			// It may be the end of an earlier one, of which the news come late.
			if !c.nats.IsConnected() || c.nats.Stats().Reconnects != connections {
				cancel(errLost)
			}
		})
		m, err := c.nats.RequestWithContext(asking, subject, b)
		release()
		cause := context.Cause(asking)
		cancel(nil)
		switch {
		case errors.Is(err, nats.ErrReconnectBufExceeded):
			continue // it was not sent
		case err != nil && errors.Is(cause, errLost):
			err = errLost
		}
		return m, err
	}
}

// reconnectPoll is how often it is seen whether a lost connection is back.
const reconnectPoll = 20 * time.Millisecond

// await waits until there is a connection, and gives a context that ends with
// it.
func (c *Conn) await(ctx context.Context) (session context.Context, err error) {
	for {
		c.mu.Lock()
		session = c.session
		c.mu.Unlock()
		switch {
		case c.ctx.Err() != nil, c.ended != nil && c.ended():
			return nil, nats.ErrConnectionClosed
		case session.Err() == nil && c.nats.IsConnected():
			return session, nil
		}
		select {
		case <-time.After(reconnectPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Handle answers requests on subject until c is closed. Each runs in a
// goroutine of its own, with a context that ends with c. A question that the
// bus delivers twice is answered once; one that is asked again, since no answer
// came, is another one.
func Handle[Q, A any](c *Conn, subject string, f func(ctx context.Context, q Q) (A, error)) error {
	return c.handle(subject, answerer(c, f))
}

func answerer[Q, A any](c *Conn, f func(ctx context.Context, q Q) (A, error)) func(*nats.Msg) {
	return func(m *nats.Msg) {
		var q Q
		if err := Decode(m.Data, &q); err != nil {
			c.answer(m, nil, err)
			return
		}
		a, err := f(c.ctx, q)
		c.answer(m, a, err)
	}
}

// handle runs f for each message on subject, each in its own goroutine.
func (c *Conn) handle(subject string, f func(m *nats.Msg)) error {
	_, err := c.nats.Subscribe(subject, func(m *nats.Msg) {
		if m.Reply == "" || !c.heard.again(m.Reply) {
			c.run(func() { f(m) })
		}
	})
	return problem("serve "+subject, err)
}

// answer sends a, or why there is none. It is for inboxes only: the server does
// not look at whether an agent may write where it has the answer sent.
func (c *Conn) answer(m *nats.Msg, a any, err error) {
	if !mayAnswer(m.Reply) {
		return
	}
	reply := answer{Err: ProblemOf(err)}
	if err == nil {
		if reply.Body, err = Encode(a); err != nil {
			reply.Err = ProblemOf(err)
		}
	}
	b, err := Encode(reply)
	if err == nil && int64(len(b)) > c.nats.MaxPayload() {
		b, err = Encode(answer{Err: &program.Problem{Kind: program.KindInternal, Rack: -1, Op: "answer " + m.Subject,
			Cause: "it is larger than the bus carries in one message"}})
	}
	if err == nil {
		_ = m.Respond(b) // whoever asked learns of a broken connection by itself
	}
}

// How much of what was heard is remembered: at least as many, or as long.
const (
	rememberMost = 1 << 15
	rememberFor  = time.Minute
)

// memory knows what was heard lately.
type memory struct {
	mu          sync.Mutex
	now, before map[string]struct{}
	since       time.Time
}

// again remembers a key, and tells whether it was known.
func (m *memory) again(key string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now == nil || len(m.now) >= rememberMost || time.Since(m.since) > rememberFor {
		m.before, m.now, m.since = m.now, map[string]struct{}{}, time.Now()
	}
	_, now := m.now[key]
	_, before := m.before[key]
	m.now[key] = struct{}{}
	return now || before
}

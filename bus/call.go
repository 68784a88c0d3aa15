package bus

import (
	"context"

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

// Request asks the one who handles subject, and waits for the answer.
func Request[Q, A any](ctx context.Context, c *Conn, subject string, q Q) (A, error) {
	var none, a A
	b, err := Encode(q)
	if err != nil {
		return none, err
	}
	op := "ask " + subject
	m, err := c.nats.RequestWithContext(ctx, subject, b)
	if err != nil {
		return none, problem(op, err)
	}
	var reply answer
	if err := Decode(m.Data, &reply); err != nil {
		return none, err
	}
	if reply.Err != nil {
		return none, reply.Err
	}
	return a, Decode(reply.Body, &a)
}

// Handle answers requests on subject until c is closed. Each runs in a
// goroutine of its own, with a context that ends with c.
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
		c.run(func() { f(m) })
	})
	return problem("serve "+subject, err)
}

// answer sends a, or why there is none.
func (c *Conn) answer(m *nats.Msg, a any, err error) {
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

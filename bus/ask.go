package bus

import (
	"context"

	"github.com/nats-io/nats.go"
)

// Ask is Request in two steps, for one who numbers what it says: the question
// is on its way when Ask returns, before all that is published after it, and
// wait waits for the answer. wait must be called.
func Ask[Q, A any](c *Conn, subject string, q Q) (wait func(context.Context) (A, error), err error) {
	b, err := Encode(q)
	if err != nil {
		return nil, err
	}
	op := "ask " + subject
	inbox := c.nats.NewInbox()
	answers := make(chan *nats.Msg, 4) // more than one, if several believe that they are asked
	sub, err := c.nats.ChanSubscribe(inbox, answers)
	if err != nil {
		return nil, problem(op, err)
	}
	if err := c.nats.PublishRequest(subject, inbox, b); err != nil {
		_ = sub.Unsubscribe() // fails only if the connection is gone, and the inbox with it
		return nil, problem(op, err)
	}
	return func(ctx context.Context) (A, error) {
		defer func() { _ = sub.Unsubscribe() }()
		select {
		case m := <-answers:
			if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
				return answered[A](op, m, nats.ErrNoResponders)
			}
			return answered[A](op, m, nil)
		case <-ctx.Done():
			return answered[A](op, nil, ctx.Err())
		case <-c.ctx.Done():
			return answered[A](op, nil, context.Canceled)
		}
	}, nil
}

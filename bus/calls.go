package bus

import (
	"context"
	"strings"

	"github.com/nats-io/nats.go"

	"myriad/program"
)

// Calls answers all calls to one party by one subscription: with thousands of
// parties in a process, each subscription more counts.
type Calls struct {
	conn   *Conn
	routes map[string]func(*nats.Msg) // by the last token of the subject
}

// NewCalls makes calls that nothing answers yet.
func NewCalls(c *Conn) *Calls { return &Calls{c, map[string]func(*nats.Msg){}} }

// On is Handle for one call, which is a token that needs no escape. Subscribe
// puts it into force.
func On[Q, A any](c *Calls, call string, f func(ctx context.Context, q Q) (A, error)) {
	c.routes[call] = answerer(c.conn, f)
}

// OnStream is HandleStream for one call.
func OnStream[Q any](c *Calls, call string, f func(ctx context.Context, q Q, s *Stream) error) {
	c.routes[call] = streamer(c.conn, f)
}

// Subscribe answers the calls to a pnode (SubjectOf) until the connection is
// closed, each in a goroutine of its own.
func (c *Calls) Subscribe(pnode string) error {
	return c.conn.handle(SubjectOf(pnode, "")+"*", func(m *nats.Msg) {
		call := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
		if f := c.routes[call]; f != nil {
			f(m)
			return
		}
		c.conn.answer(m, nil, &program.Problem{Kind: program.KindUnsupported, Rack: -1, Op: "call " + call, Cause: "pnode " + pnode + " does not know it",
			Remedy: "coordinator and agent may be of different versions"})
	})
}

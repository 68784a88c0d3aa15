package rack

import (
	"context"
	"net"
	"time"
)

// Call is one call to a rack, as its client sees it. Send and Recv may be used
// at the same time, each by one goroutine.
type Call struct {
	conn   *net.UnixConn
	frames *Frames
	detach func() bool
}

// cancelPatience is how long a cancelled call may take to end what it has
// started.
const cancelPatience = killAfter + 3*time.Second

// Open starts a call to the rack that answers on a socket. When ctx ends, the
// call is cancelled.
func Open(ctx context.Context, socket string, req *Request) (*Call, error) {
	conn, err := dial(ctx, socket)
	if err != nil {
		return nil, err
	}
	c := &Call{conn: conn, frames: NewFrames(conn)}
	c.detach = context.AfterFunc(ctx, c.Cancel)
	if err := c.frames.Send(req); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Send sends standard input, or the size of the terminal.
func (c *Call) Send(in *Input) error { return c.frames.Send(in) }

// Recv gives the next frame; the one with Done set is the last. An end of
// file before that says that the rack is gone.
func (c *Call) Recv() (*Reply, error) {
	r := new(Reply)
	if err := c.frames.Receive(r); err != nil {
		return nil, err
	}
	return r, nil
}

// Cancel has the rack end what the call started. It may be called at any
// time. The rack still tells how that went: Recv gives frames up to the last
// one, for a few seconds at most.
func (c *Call) Cancel() {
	c.conn.CloseWrite()
	c.conn.SetReadDeadline(time.Now().Add(cancelPatience))
}

// Close ends the call, and what it started if that has not ended.
func (c *Call) Close() error {
	c.detach()
	return c.conn.Close()
}

// forward sends inputs until there are no more or the call is over.
func (c *Call) forward(input <-chan Input, over <-chan struct{}) {
	for {
		select {
		case in, ok := <-input:
			if !ok || c.Send(&in) != nil {
				return
			}
		case <-over:
			return
		}
	}
}

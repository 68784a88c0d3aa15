package api

import (
	"context"
	"net/http"
	"net/url"
)

// Drain moves the vnodes of a pnode to others, or, with Undo, lets some be
// placed there again. each gets every event; the last one has type drained.
func (c *Client) Drain(ctx context.Context, pnode string, q *DrainRequest, each func(*Event) error) error {
	return c.events(ctx, http.MethodPost, pnodePath(pnode)+"/drain", q, each, func(e *Event) bool { return e.Type == EventDrained })
}

// EventDrained is the type of the last event of a drain.
const EventDrained = "drained"

// ForgetPnode lets go of a pnode that is not up, and of what it carried.
func (c *Client) ForgetPnode(ctx context.Context, pnode string) error {
	_, err := call[struct{}](ctx, c, http.MethodDelete, pnodePath(pnode), nil)
	return err
}

func pnodePath(name string) string { return "/v1/pnodes/" + url.PathEscape(name) }

package api

import (
	"context"
	"net/url"
)

// Nodes says which vnodes an expression names, as folded node sets: the names
// of 40,000 vnodes in a few bytes.
type Nodes struct {
	Nodes  string            `json:"nodes"`
	Count  int               `json:"count"`
	Groups map[string]string `json:"groups,omitempty"` // those of them that each group has
}

// Nodes tells which vnodes an expression names, or all if it is empty.
func (c *Client) Nodes(ctx context.Context, platform, nodes string) (*Nodes, error) {
	return get[Nodes](ctx, c, platformPath(platform)+"/nodes?nodes="+url.QueryEscape(nodes))
}

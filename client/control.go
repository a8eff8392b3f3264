package client

import (
	"context"

	"github.com/remit-dev/remit"
)

// Erase erases payloads for good; it may hold for a second administrator.
func (c *Client) Erase(ctx context.Context, r remit.EraseRequest) (a remit.EraseAnswer, err error) {
	return a, c.keyed(ctx, "/erase", r, &a)
}

// Drain lets the server come to rest, or go on, and says how far it is.
func (c *Client) Drain(ctx context.Context, r remit.DrainRequest) (a remit.DrainAnswer, err error) {
	return a, c.post(ctx, "/drain", r, &a)
}

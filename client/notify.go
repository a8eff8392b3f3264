package client

import (
	"context"
	"net/url"

	"github.com/remit-dev/remit"
)

// Seen says that the card of an access request is before the person who is signed in. Where they may not vote on it, it
// says nothing.
func (c *Client) Seen(ctx context.Context, access remit.ID) error {
	return c.post(ctx, "/approvals/"+url.PathEscape(string(access))+"/seen", nil, nil)
}

// Channels are how the channels do by which people are told.
func (c *Client) Channels(ctx context.Context) (all []remit.ChannelView, err error) {
	return all, c.get(ctx, "/notify", &all)
}

// RetryChannel tries the messages that are parked in a channel once more, or forgets them.
func (c *Client) RetryChannel(ctx context.Context, name string, r remit.RetryRequest) (a remit.RetryAnswer, err error) {
	return a, c.post(ctx, "/notify/"+url.PathEscape(name)+"/retry", r, &a)
}

// Gates is how people decide at each gate.
func (c *Client) Gates(ctx context.Context) (all []remit.GateView, err error) {
	return all, c.get(ctx, "/gates", &all)
}

// Asked is who was asked how often in the last day.
func (c *Client) Asked(ctx context.Context) (all []remit.AskedView, err error) {
	return all, c.get(ctx, "/gates/people", &all)
}

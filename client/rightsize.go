package client

import (
	"context"
	"net/url"
	"time"

	"github.com/remit-dev/remit"
)

// Rightsize gives the smallest declarations that would have covered what was done within a time; agent "" is all agents.
func (c *Client) Rightsize(ctx context.Context, agent string, within time.Duration) (r remit.Rightsizing, err error) {
	v := url.Values{"within": {within.String()}}
	if agent != "" {
		v.Set("agent", agent)
	}
	return r, c.get(ctx, "/rightsize?"+v.Encode(), &r)
}

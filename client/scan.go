package client

import (
	"context"
	"net/url"

	"github.com/remit-dev/remit"
)

// Scan has an upstream looked at for authority outside Remit, and gives what was found. It takes up to a minute.
func (c *Client) Scan(ctx context.Context, upstream string) (out remit.ScanView, err error) {
	return out, c.post(ctx, "/upstreams/"+url.PathEscape(upstream)+"/scan", remit.ScanRequest{}, &out)
}

// LastScan is what the last look at an upstream found.
func (c *Client) LastScan(ctx context.Context, upstream string) (out remit.ScanView, err error) {
	return out, c.get(ctx, "/upstreams/"+url.PathEscape(upstream)+"/scan", &out)
}

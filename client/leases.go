package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/remit-dev/remit"
)

// Leases lists upstream credentials, newest first; all includes those that have ended.
func (c *Client) Leases(ctx context.Context, all bool) (l remit.LeaseList, err error) {
	return l, c.get(ctx, "/leases?all="+strconv.FormatBool(all), &l)
}

// LeaseReceipt says how a lease ended.
func (c *Client) LeaseReceipt(ctx context.Context, id remit.ID) (p remit.LeaseProof, err error) {
	return p, c.get(ctx, "/leases/"+url.PathEscape(string(id))+"/receipt", &p)
}

// Contain has all that was made at an upstream ended and nothing done there any more, or lifts that.
func (c *Client) Contain(ctx context.Context, upstream string, r remit.ContainRequest) (out remit.ContainAnswer, err error) {
	return out, c.post(ctx, "/upstreams/"+url.PathEscape(upstream)+"/contain", r, &out)
}

// AbandonLease asks that a lease is given up; it holds for a second administrator.
func (c *Client) AbandonLease(ctx context.Context, id remit.ID, r remit.AbandonRequest) (d remit.Decision, err error) {
	return d, c.keyed(ctx, "/leases/"+url.PathEscape(string(id))+"/abandon", r, &d)
}

package client

import (
	"context"
	"net/url"

	"github.com/remit-dev/remit"
)

// ReviewItems are the items of reviews that wait; all is also those that have ended, as far as they are kept.
func (c *Client) ReviewItems(ctx context.Context, all bool) (l remit.ReviewList, err error) {
	path := "/review-items"
	if all {
		path += "?all=true"
	}
	return l, c.get(ctx, path, &l)
}

// ReviewItem is one item.
func (c *Client) ReviewItem(ctx context.Context, id remit.ID) (v remit.ItemView, err error) {
	return v, c.get(ctx, "/review-items/"+url.PathEscape(string(id)), &v)
}

// Certify hands in signed answers.
func (c *Client) Certify(ctx context.Context, r remit.CertifyRequest) (a remit.CertifyAnswer, err error) {
	err = c.keyed(ctx, "/review-items/answers", r, &a)
	return a, err
}

// Regrant asks that what an item took away is given back.
func (c *Client) Regrant(ctx context.Context, item remit.ID) (a remit.RegrantAnswer, err error) {
	err = c.keyed(ctx, "/review-items/"+url.PathEscape(string(item))+"/regrant", struct{}{}, &a)
	return a, err
}

// Revive asks that an agent that suspended or retired itself is brought back.
func (c *Client) Revive(ctx context.Context, agent string) (a remit.RegrantAnswer, err error) {
	err = c.keyed(ctx, "/agents/"+url.PathEscape(agent)+"/revive", struct{}{}, &a)
	return a, err
}

// Campaigns are the declared campaigns with their runs.
func (c *Client) Campaigns(ctx context.Context) (list []remit.CampaignView, err error) {
	return list, c.get(ctx, "/campaigns", &list)
}

// OpenCampaign opens a run of a campaign now.
func (c *Client) OpenCampaign(ctx context.Context, name string) (v remit.RunView, err error) {
	err = c.keyed(ctx, "/campaigns/"+url.PathEscape(name)+"/open", struct{}{}, &v)
	return v, err
}

// CampaignRun is one run with its items.
func (c *Client) CampaignRun(ctx context.Context, id remit.ID) (v remit.RunView, err error) {
	return v, c.get(ctx, "/campaign-runs/"+url.PathEscape(string(id)), &v)
}

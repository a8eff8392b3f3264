package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/remit-dev/remit"
)

// Inventory is a page of what there is.
func (c *Client) Inventory(ctx context.Context, q remit.InventoryQuery) (i remit.Inventory, err error) {
	v := url.Values{}
	for name, value := range map[string]string{"kind": q.Kind, "owner": q.Owner, "after": q.After} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Unused > 0 {
		v.Set("unused", q.Unused.String())
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return i, c.get(ctx, "/inventory?"+v.Encode(), &i)
}

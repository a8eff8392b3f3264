package server

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/server/internal/openapi"
)

const maxAssets = 500 // of a page

var inventoryParams = []openapi.Param{
	{Name: "kind", Meaning: "only this kind: person, agent, instance, entitlement, grant, lease, credential, tool, repository, pipeline, artifact, environment, secret"},
	{Name: "owner", Meaning: "only what this person, or \"group NAME\", answers for; - for what nobody does"},
	{Name: "unused", Meaning: "only what was not used for so long, such as 720h"},
	{Name: "after", Meaning: "the cursor of the page before"},
	{Name: "limit", Meaning: "of the page, 1 to 500; 100 by default"},
}

// inventory lists what there is, first what nobody answers for.
func inventory(s *Server, c *call) (out remit.Inventory, err error) {
	q, err := c.inventoryQuery()
	if err != nil {
		return out, err
	}
	t, err := s.takeStock(c.r.Context())
	if err != nil {
		return out, err
	}
	out = remit.Inventory{Assets: []remit.Asset{}, Counts: []remit.AssetCount{}, Size: t.size, Forgotten: t.forgotten}
	places := make([]string, len(t.assets))
	order := make([]int, len(t.assets))
	for i, x := range t.assets {
		places[i], order[i] = place(x), i
	}
	slices.SortFunc(order, func(a, b int) int { return strings.Compare(places[a], places[b]) })
	since := s.now().Add(-q.Unused)
	for _, i := range order {
		x := t.assets[i]
		idle := q.Unused > 0 && !usedSince(x, since)
		nobody := x.Owner == ""
		if q.Kind != "" && x.Kind != q.Kind || q.Owner == "-" && !nobody || q.Owner != "" && q.Owner != "-" && q.Owner != x.Owner || q.Unused > 0 && !idle {
			continue
		}
		n := slices.IndexFunc(out.Counts, func(n remit.AssetCount) bool { return n.Kind == x.Kind })
		if n < 0 {
			n, out.Counts = len(out.Counts), append(out.Counts, remit.AssetCount{Kind: x.Kind})
		}
		out.Counts[n].All++
		if nobody {
			out.Counts[n].Unowned++
		}
		if idle {
			out.Counts[n].Unused++
		}
		switch {
		case places[i] <= q.After:
		case len(out.Assets) < q.Limit:
			out.Assets = append(out.Assets, x)
		case out.After == "":
			out.After = base64.RawURLEncoding.EncodeToString([]byte(place(out.Assets[len(out.Assets)-1])))
		}
	}
	slices.SortFunc(out.Counts, func(a, b remit.AssetCount) int { return cmp.Compare(kindPlace(a.Kind), kindPlace(b.Kind)) })
	return out, nil
}

func (c *call) inventoryQuery() (q remit.InventoryQuery, err error) {
	v := c.r.URL.Query()
	q = remit.InventoryQuery{Kind: v.Get("kind"), Owner: v.Get("owner"), Limit: 100}
	bad := func(format string, args ...any) (remit.InventoryQuery, error) {
		return q, remit.Errorf(remit.BadRequest, format, args...)
	}
	if q.Kind != "" && kindPlace(q.Kind) < 0 {
		return bad("there is no kind %.32q; there are %s", q.Kind, strings.Join(remit.AssetKinds(), ", "))
	}
	if text := v.Get("unused"); text != "" {
		if q.Unused, err = time.ParseDuration(text); err != nil || q.Unused <= 0 {
			return bad("unused is a time of more than 0, such as 720h, not %.32q", text)
		}
	}
	if text := v.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > maxAssets {
			return bad("limit is 1 to %d, not %.32q", maxAssets, text)
		}
	}
	after, err := base64.RawURLEncoding.DecodeString(v.Get("after"))
	if err != nil {
		return bad("after is the cursor of the page before, and nothing else")
	}
	q.After = string(after)
	return q, nil
}

func kindPlace(kind string) int { return slices.Index(remit.AssetKinds(), kind) }

// place is where an asset stands in the list: what nobody answers for comes first.
func place(x remit.Asset) string {
	owned := 1
	if x.Owner == "" {
		owned = 0
	}
	return fmt.Sprintf("%d %02d %s", owned, kindPlace(x.Kind), x.Name)
}

// usedSince tells whether a thing was used, or came to be, at or after a time. Nobody knows that of what has no times.
func usedSince(x remit.Asset, since time.Time) bool {
	return x.LastAt != nil && !x.LastAt.Before(since) || x.CreatedAt != nil && !x.CreatedAt.Before(since)
}

package client

import (
	"context"
	"net/url"
	"strconv"

	"github.com/remit-dev/remit"
)

// Paths are ways of an attacker from q.From to q.To.
func (c *Client) Paths(ctx context.Context, q remit.PathsQuery) (a remit.PathsAnswer, err error) {
	return a, c.get(ctx, "/paths"+asQuery(q), &a)
}

// Reach is the blast radius of q.Node.
func (c *Client) Reach(ctx context.Context, q remit.PathsQuery) (a remit.PathsReach, err error) {
	return a, c.get(ctx, "/paths/reach"+asQuery(q), &a)
}

// Cut is where approvals would cut every free path from q.From to q.To, beside where they are.
func (c *Client) Cut(ctx context.Context, q remit.PathsQuery) (a remit.PathsCut, err error) {
	return a, c.get(ctx, "/paths/cut"+asQuery(q), &a)
}

// PathGraph is all nodes and edges that paths are made of.
func (c *Client) PathGraph(ctx context.Context) (g remit.PathGraph, err error) {
	return g, c.get(ctx, "/paths/graph", &g)
}

// ComparePaths says what declarations would add to the paths.
func (c *Client) ComparePaths(ctx context.Context, d remit.Declarations) (a remit.PathsChange, err error) {
	return a, c.post(ctx, "/paths/compare", remit.PathsCompare{Declarations: d}, &a)
}

// PlanWorkflow says what a workflow would meet.
func (c *Client) PlanWorkflow(ctx context.Context, w remit.Workflow) (p remit.WorkflowPlan, err error) {
	return p, c.post(ctx, "/workflows/plan", remit.WorkflowRequest{Workflow: w}, &p)
}

// asQuery is a question as the query of an address.
func asQuery(q remit.PathsQuery) string {
	v := url.Values{}
	for name, value := range map[string]string{"from": q.From, "to": q.To, "node": q.Node} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Free {
		v.Set("free", "true")
	}
	if len(v) == 0 {
		return ""
	}
	return "?" + v.Encode()
}

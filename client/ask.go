package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/remit-dev/remit"
)

// AskChild asks for work of another agent, as the instance that holds a token for the gateway task. verb is request or
// delegate. The answer may be a task, a hold or a denial; an error is what is neither.
func (c *Client) AskChild(ctx context.Context, token, verb string, in remit.ChildRequest) (out remit.ChildAnswer, err error) {
	return out, c.ask(ctx, token, "/task/"+verb, in, &out)
}

// FilePlan files a plan for the task of the instance that holds a token for the gateway task. The answer may be that it is
// in force, a hold or a denial; an error is what is neither.
func (c *Client) FilePlan(ctx context.Context, token string, in remit.PlanRequest) (out remit.PlanAnswer, err error) {
	err = c.ask(ctx, token, "/task/plan", in, &out)
	return out, err
}

// WithdrawOwnPlan takes back the plan of the task of the instance that holds a token for the gateway task, and gives the
// access request whose votes carried it.
func (c *Client) WithdrawOwnPlan(ctx context.Context, token string, in remit.WithdrawRequest) (out remit.WithdrawRequest, err error) {
	return out, c.ask(ctx, token, "/task/plan/withdraw", in, &out)
}

// AskChange has a change reviewed or merged, as the instance that holds a token for the gateway change. verb is review or
// merge. The answer may be what was done, a hold or a denial; an error is what is neither.
func (c *Client) AskChange(ctx context.Context, token, verb string, in remit.ChangeRequest) (out remit.ChangeAnswer, err error) {
	return out, c.ask(ctx, token, "/change/"+verb, in, &out)
}

// ask posts to a gateway, whose decisions are answers too.
func (c *Client) ask(ctx context.Context, token, path string, in, out any) error {
	resp, err := c.send(ctx, http.MethodPost, path, "Bearer "+token, in)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.Header.Get("Content-Type") != "application/json" {
		return Problem(resp)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(out); err != nil {
		return remit.Errorf(remit.Internal, "the server's answer cannot be read: %w", err)
	}
	return nil
}

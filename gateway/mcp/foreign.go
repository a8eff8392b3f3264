package mcp

import (
	"context"
	"encoding/json"

	"github.com/remit-dev/remit"
)

// Asks says what a call of a tool would do, for an enforcement point that calls the tool itself: the steps and the call
// that this gateway would ask the authority about, with the definition that the server gives now.
func (g *Gateway) Asks(ctx context.Context, caller remit.Caller, server, tool string, arguments json.RawMessage) ([]remit.Step, *remit.ToolCall, error) {
	s, err := g.cfg.Servers.Server(ctx, server)
	if err != nil {
		return nil, nil, err
	}
	if len(arguments) == 0 {
		arguments = json.RawMessage("{}")
	}
	params, err := json.Marshal(struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}{tool, arguments})
	if err != nil {
		return nil, nil, remit.Errorf(remit.BadRequest, "the arguments of the call cannot be read: %w", err)
	}
	r, _, err := g.judge(ctx, &call{caller: caller, server: s, method: "tools/call", name: tool, args: arguments, params: params})
	if err != nil {
		return nil, nil, err
	}
	return r.Steps, r.Tool, nil
}

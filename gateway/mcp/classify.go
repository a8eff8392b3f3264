package mcp

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/card"
	"github.com/remit-dev/remit/gateway/mcp/internal/catalog"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/naming"
	"github.com/remit-dev/remit/gateway/mcp/internal/ticket"
)

// maxListened is how many resources one subscriptions/listen names.
const maxListened = 32

// listing are the methods that tell what there is; the answer is cut down to what the task may use.
var listing = []string{"initialize", "server/discover", "ping", "tools/list", "prompts/list", "resources/list", "resources/templates/list"}

// methods are the further methods of the protocol. What nobody has declared of them is tool.call, as with tools; a method that
// the protocol does not have is denied unless it is declared.
var methods = []string{"completion/complete", "logging/setLevel", "subscriptions/listen", "tasks/get", "tasks/result", "tasks/update", "tasks/cancel", "tasks/list"}

// judge says what a call would do.
func (g *Gateway) judge(ctx context.Context, c *call) (remit.Request, []remit.Payload, error) {
	params, err := envelope.Canonical(c.params, ticket.Claims)
	if err != nil {
		return remit.Request{}, nil, err
	}
	req := remit.Request{Gateway: Name, Caller: c.caller}
	if req.Steps, err = c.steps(); err != nil {
		return remit.Request{}, nil, err
	}
	tool := &remit.ToolCall{Server: c.server.Name, Method: c.method}
	var notes string
	if c.method == "tools/call" && !c.asked {
		var d catalog.Definition
		if d, notes, err = g.pinned(ctx, c.server, c.name); err != nil {
			return remit.Request{}, nil, err
		}
		tool.Pin = d.Digest
	}
	if err := g.mayTouch(ctx, c); err != nil {
		return remit.Request{}, nil, err
	}
	tool.Name = strings.TrimPrefix(req.Steps[0].Resource.Name(), c.server.Name+"/")
	if tool.Arguments = params; c.method == "tools/call" || c.method == "prompts/get" {
		tool.Arguments = nil
		if len(c.args) > 0 {
			tool.Arguments = envelope.Member(params, "arguments") // a part of what RFC 8785 wrote is written so, too
		}
	}
	// R6: the same call asked again is the same request, whatever its id, its progress token and its trace are.
	digest := remit.ToolDigest(c.method, tool.Arguments)
	for i := range req.Steps {
		req.Steps[i].Args = digest
	}
	if len(tool.Arguments) > remit.MaxArguments {
		tool.Arguments, tool.Truncated = nil, true
	}
	if req.Order, err = c.storedAs(params); err != nil {
		return remit.Request{}, nil, err
	}
	if len(req.Order) > maxStored { // it can be allowed, and is never held: nothing that waits is cut
		req.Order, tool.Arguments, tool.Truncated = nil, nil, true
	}
	req.Tool = tool
	if req.Steps[0].Action == "tool.list" {
		return req, nil, nil // there is nothing in it to be looked at
	}
	text, err := json.Marshal(c.shown(params, notes))
	if err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.Internal, "the call cannot be shown: %w", err)
	}
	card, err := g.cfg.Servers.Payload(text)
	if err != nil {
		return remit.Request{}, nil, err
	}
	req.Card = card.Commitment()
	return req, []remit.Payload{card}, nil
}

// steps are what the method does, and what its tool is declared to do besides.
func (c *call) steps() ([]remit.Step, error) {
	if c.asked {
		return c.named("requests", c.method)
	}
	if slices.Contains(listing, c.method) {
		r, err := remit.ParseResource("tool:" + c.server.Name + "/-")
		if err != nil {
			return nil, remit.Errorf(remit.UnknownResource, "no server is named so: %w", err)
		}
		return []remit.Step{{Action: "tool.list", Resource: r}}, nil
	}
	switch c.method {
	case "tools/call":
		return c.toolSteps()
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		if err := naming.CheckURI(c.name); err != nil {
			return nil, err
		}
		return c.named("resources", c.name)
	case "prompts/get":
		return c.named("prompts", c.name)
	}
	if _, declared := c.server.record("methods", c.method); !declared && !slices.Contains(methods, c.method) {
		return nil, remit.Errorf(remit.UnknownAction, "nobody has declared what the method %.64q of server %s does; declare the tool %s/-/methods/%s",
			c.method, c.server.Name, c.server.Name, naming.Quote(c.method))
	}
	return c.named("methods", c.method)
}

// toolSteps are those of a tools/call. A call that is none of the steps which are declared of its tool is one of which
// nobody has said what it does.
func (c *call) toolSteps() ([]remit.Step, error) {
	res, err := naming.Tool(c.server.Name, c.name)
	if err != nil {
		return nil, err
	}
	t, declared := naming.Record(c.server.Tools, res.Name())
	if err := naming.Certain(c.server.Name, c.server.Tools, c.name); err != nil {
		return nil, err
	}
	st := remit.Step{Action: "tool.call", Resource: res}
	if !declared {
		return []remit.Step{st}, nil
	}
	a, err := naming.ParseArguments(c.args)
	if err != nil {
		return nil, err
	}
	more, none, err := naming.Steps(t, a)
	if err != nil {
		return nil, err
	}
	if !none {
		st.Action = naming.Action(t)
	}
	return append([]remit.Step{st}, more...), nil
}

// named is the one step on what has a name below SERVER/-/.
func (c *call) named(kind, name string) ([]remit.Step, error) {
	res, err := naming.Below(c.server.Name, kind, name)
	if err != nil {
		return nil, err
	}
	st := remit.Step{Action: "tool.call", Resource: res}
	if t, ok := naming.Record(c.server.Tools, res.Name()); ok {
		st.Action = naming.Action(t)
	}
	return []remit.Step{st}, nil
}

// mayTouch refuses a call that names, besides what it does, prompts or resources that the task may not use: a server tells
// when a resource changes (subscriptions/listen), and what there is to be completed (completion/complete).
func (g *Gateway) mayTouch(ctx context.Context, c *call) error {
	if c.asked || c.method != "subscriptions/listen" && c.method != "completion/complete" || len(c.params) == 0 {
		return nil
	}
	var p struct {
		Notifications struct {
			URIs []string `json:"resourceSubscriptions"`
		} `json:"notifications"`
		Ref struct {
			Name string `json:"name"`
			URI  string `json:"uri"` // or a template for some
		} `json:"ref"`
	}
	if json.Unmarshal(c.params, &p) != nil {
		return remit.Errorf(remit.BadRequest, "the params of %s cannot be read", c.method)
	}
	if n := len(p.Notifications.URIs); n > maxListened {
		return remit.Errorf(remit.TooLargeToJudge, "a subscription names at most %d resources, not %d; make several", maxListened, n)
	}
	may := func(kind, name string) error {
		st, err := c.named(kind, name)
		if err != nil {
			return err
		}
		if err := g.cfg.Servers.May(ctx, c.caller, st[0]); err != nil {
			return err
		}
		return nil
	}
	for _, uri := range p.Notifications.URIs {
		if err := naming.CheckURI(uri); err != nil {
			return err
		}
		if err := may("resources", uri); err != nil {
			return err
		}
	}
	if p.Ref.Name != "" {
		if err := may("prompts", p.Ref.Name); err != nil {
			return err
		}
	}
	if p.Ref.URI != "" {
		return may("resources", p.Ref.URI)
	}
	return nil
}

// record is what is declared of something below SERVER/-/.
func (s Server) record(kind, name string) (remit.Tool, bool) {
	r, err := naming.Below(s.Name, kind, name)
	if err != nil {
		return remit.Tool{}, false
	}
	return naming.Record(s.Tools, r.Name())
}

// shown is the call as people see it before they decide.
func (c *call) shown(params json.RawMessage, notes string) remit.Shown {
	body := params
	if members, err := envelope.Members(params, false); c.method == "tools/call" && err == nil && len(members) == 2 && c.args != nil { // and name
		body = envelope.Member(params, "arguments") // as RFC 8785 writes them: no letter of it hides behind an escape
	}
	return card.Call(c.method, c.name, c.server.Name, c.asked, body, notes)
}

package mcp

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/naming"
)

// lists are the methods whose answers are cut down: the member that has the elements, and what names each of them.
var lists = map[string]struct{ member, name string }{
	"tools/list":               {"tools", "name"},
	"prompts/list":             {"prompts", "name"},
	"resources/list":           {"resources", "uri"},
	"resources/templates/list": {"resourceTemplates", "uriTemplate"},
}

// filter is the answer to a list without what the task may not use. What stays keeps its bytes, the members around it too;
// an answer of which nothing is left out is the answer itself.
func (g *Gateway) filter(ctx context.Context, c *call, result json.RawMessage) (json.RawMessage, error) {
	kind, ok := lists[c.method]
	if !ok || c.asked {
		return result, nil
	}
	elements, _, err := envelope.Page(result, kind.member)
	if err != nil {
		return nil, remit.Errorf(remit.UpstreamDown, "the answer of server %s to %s %w", c.server.Name, c.method, err)
	}
	stay := make([][]byte, 0, len(elements))
	changed := false
	for _, e := range elements {
		shown, ok := g.listed(ctx, c, kind.name, e)
		if changed = changed || !ok || !bytes.Equal(shown, e); ok {
			stay = append(stay, shown)
		}
	}
	if !changed {
		return result, nil
	}
	var list bytes.Buffer
	list.WriteByte('[')
	list.Write(bytes.Join(stay, []byte(",")))
	list.WriteByte(']')
	// Caches that several clients share must not keep what is for this task (2026-07-28 server/utilities/caching).
	return envelope.Replace(result, map[string][]byte{kind.member: list.Bytes(), "cacheScope": []byte(`"private"`)})
}

// listed is the element as the task may see it, and whether it may.
func (g *Gateway) listed(ctx context.Context, c *call, member string, e json.RawMessage) (json.RawMessage, bool) {
	name, err := envelope.NameOf(e, member)
	if err != nil {
		return nil, false
	}
	one := call{caller: c.caller, server: c.server, name: name}
	switch c.method {
	case "tools/list":
		return g.listedTool(ctx, &one, e)
	case "prompts/list":
		one.method = "prompts/get"
	case "resources/list":
		one.method = "resources/read"
	default: // a template stands for URIs of which none is known yet
		st, err := one.named("resources", name)
		return e, err == nil && g.cfg.Servers.May(ctx, c.caller, st[0]) == nil
	}
	st, err := one.steps()
	return e, err == nil && g.cfg.Servers.May(ctx, c.caller, st[0]) == nil
}

// listedTool shows a tool as it was admitted, if the task may call it. A tool that was admitted otherwise than it is now
// is shown as people have seen it: its call will wait for them.
func (g *Gateway) listedTool(ctx context.Context, c *call, e json.RawMessage) (json.RawMessage, bool) {
	res, err := naming.Tool(c.server.Name, c.name)
	if err != nil || naming.Certain(c.server.Name, c.server.Tools, c.name) != nil {
		return nil, false
	}
	st := remit.Step{Action: "tool.call", Resource: res}
	t, declared := naming.Record(c.server.Tools, res.Name())
	if declared {
		st.Action = naming.Action(t)
	}
	if g.cfg.Servers.May(ctx, c.caller, st) != nil {
		return nil, false
	}
	if t.Name != res.Name() {
		return e, true
	}
	d, err := envelope.Digest(e)
	if err != nil {
		return nil, false
	}
	if d == t.Pin {
		return e, true
	}
	g.listChanged(c.server.Name)
	if g.cfg.Definitions != nil && !t.Pin.IsZero() {
		if old, ok := g.cfg.Definitions.Definition(ctx, t.Pin); ok {
			return old, true
		}
	}
	return nil, false
}

package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/intake"
	"github.com/remit-dev/remit/gateway/mcp/internal/reply"
	"github.com/remit-dev/remit/gateway/mcp/internal/sse"
	"github.com/remit-dev/remit/gateway/mcp/internal/ticket"
)

// between parts the name of a server from that of its tool, in the names of the one endpoint for all servers.
const between = "__"

// instructions tell a model what it has before it.
const instructions = "The tools of all servers that your task reaches, each named SERVER" + between + "TOOL. Every call is judged by its arguments. " +
	"A call that is denied says why and what would be right; a call that waits for people says how to get its answer."

// together serves all servers that the task reaches as one that has only tools: prompts and resources have no names that
// several servers could share, so they are at each server's own address. It has no sessions in any version, so nothing is
// kept between two requests.
func (g *Gateway) together(w http.ResponseWriter, r *http.Request, c *call) {
	if r.Method != http.MethodPost {
		g.notAllowed(w, "POST") // 2025-11-25, Listening for Messages: a server may offer no stream
		return
	}
	body, err := intake.Read(w, r, g.cfg.MaxMessage, g.cfg.Read)
	if err != nil {
		g.fail(w, r, c, gateway.AsError(remit.BadRequest, err))
		return
	}
	m, err := envelope.FromClient(body)
	if err != nil {
		g.fail(w, r, c, protocol(err))
		return
	}
	c.id, c.method, c.params, c.raw = m.ID, m.Method, m.Params, m.Raw
	if err := g.admitAlone(c, m, r); err != nil {
		g.fail(w, r, c, protocol(err))
		return
	}
	if !m.Request() { // there is nothing that a notification, or an answer, could be of
		w.WriteHeader(http.StatusAccepted)
		return
	}
	switch m.Method {
	case "initialize", "server/discover":
		g.say(w, r, http.StatusOK, reply.Result(c.id, reply.Introduce(c.method, c.params, instructions)))
	case "ping":
		g.say(w, r, http.StatusOK, reply.Result(c.id, envelope.Encode(struct{}{})))
	case "tools/list":
		g.listAll(w, r, c)
	case "tools/call":
		g.route(w, r, c)
	case "tasks/get", "tasks/update", "tasks/cancel":
		g.routeTask(w, r, c)
	default:
		g.fail(w, r, c, protocol(&envelope.ProtocolError{Status: g.unknownStatus(c), Code: envelope.MethodNotFound, Sentence: "there are only tools here, not " + m.Method}))
	}
}

// unknownStatus: 2026-07-28, Streamable HTTP, gives an unknown method a status of its own.
func (g *Gateway) unknownStatus(c *call) int {
	if c.version >= envelope.Stateless {
		return http.StatusNotFound
	}
	return http.StatusOK
}

// admitAlone is admit for requests of which each stands alone, whatever the version.
func (g *Gateway) admitAlone(c *call, m envelope.Message, r *http.Request) (err error) {
	if c.version >= envelope.Stateless || m.Method == "initialize" {
		return g.admit(c, m, r)
	}
	if c.version == "" {
		c.version = envelope.Versions[len(envelope.Versions)-1] // 2025-11-25, Protocol Version Header: who says nothing speaks this one
	}
	if !slices.Contains(envelope.Versions, c.version) {
		return &envelope.ProtocolError{Status: http.StatusBadRequest, Code: envelope.UnsupportedVersion, Sentence: "this version of the protocol is not spoken here",
			Data: map[string]any{"supported": envelope.Versions, "requested": c.version}}
	}
	if c.header, err = envelope.PassOn(r.Header); err != nil {
		return err
	}
	if err := c.understand(m); err != nil {
		return err
	}
	return envelope.CheckHeaders(m, c.version, c.name, r.Header)
}

// plainly tells whether a server's name can stand before a tool's so that nobody takes the two for another pair.
func plainly(server string) bool { return !strings.Contains(server+"_", between) }

// listAll answers with the tools of all servers. Each server's list is a decision of its own.
func (g *Gateway) listAll(w http.ResponseWriter, r *http.Request, c *call) {
	names, err := g.cfg.Servers.Reach(r.Context(), c.caller)
	if err != nil {
		g.fail(w, r, c, gateway.AsError(remit.Internal, err))
		return
	}
	all := [][]byte{}
	missing := map[string]string{}
	for _, name := range names {
		if !plainly(name) {
			missing[name] = "its name has " + between + " in it, or ends in _: it is at its own address only"
			continue
		}
		server, err := g.cfg.Servers.Server(r.Context(), name)
		if err != nil {
			missing[name] = reply.Line(gateway.AsError(remit.Internal, err))
			continue
		}
		l := &oneList{exchange: exchange{g, &call{caller: c.caller, server: server, version: c.version, method: c.method, pipe: c.pipe}}}
		p := *c.pipe
		p.Authn = known(c.caller)
		p.Handle(l, w, r)
		if l.why != "" {
			missing[name] = l.why
		}
		all = append(all, l.tools...)
	}
	result := map[string]any{"tools": json.RawMessage("[" + string(bytes.Join(all, []byte(","))) + "]")}
	if c.version >= envelope.Stateless {
		result["resultType"], result["ttlMs"], result["cacheScope"] = "complete", 0, "private"
	}
	if len(missing) > 0 {
		result["_meta"] = map[string]any{"io.github.remit-dev/left-out": missing}
	}
	g.say(w, r, http.StatusOK, reply.Result(c.id, envelope.Encode(result)))
}

// oneList is a tools/list of one server whose answer becomes part of a longer one. Nothing of it goes to the client by
// itself.
type oneList struct {
	exchange
	tools [][]byte
	why   string // they are left out
}

func (l *oneList) Forward(ctx context.Context, _ remit.Order, _ gateway.Credential, _ http.ResponseWriter) gateway.Result {
	c := l.c
	tools, err := l.g.observe(ctx, c.server)
	if err != nil {
		e := gateway.AsError(remit.UpstreamDown, err)
		l.why = reply.Line(e)
		return gateway.Result{Outcome: remit.NotApplied, Code: e.Code, Receipt: []byte(e.Sentence)}
	}
	size := 0
	for _, name := range slices.Sorted(maps.Keys(tools)) {
		e, ok := l.g.listed(ctx, c, "name", tools[name].Raw)
		if !ok {
			continue
		}
		if e, err = envelope.Replace(e, map[string][]byte{"name": envelope.Encode(c.server.Name + between + name)}); err != nil {
			continue // it was read before
		}
		size += len(e)
		l.tools = append(l.tools, e)
	}
	return gateway.Result{Outcome: remit.Done, Receipt: envelope.Encode(receipt{Digest: remit.Hash(l.tools...), Bytes: size})}
}

func (l *oneList) Refuse(_ http.ResponseWriter, _ *http.Request, d remit.Decision) {
	l.why = reply.Line(&remit.Error{Code: d.Code, Sentence: d.Sentence})
}

func (l *oneList) Fail(_ http.ResponseWriter, _ *http.Request, e *remit.Error) { l.why = reply.Line(e) }

// route takes a call to the server that it is of.
func (g *Gateway) route(w http.ResponseWriter, r *http.Request, c *call) {
	one, err := g.addressed(r.Context(), c)
	if err != nil {
		g.fail(w, r, c, gateway.AsError(remit.Internal, err))
		return
	}
	if g.served(w, r, one) {
		return
	}
	if one.version >= envelope.Stateless && g.speaks(r.Context(), one.server) >= envelope.Stateless {
		g.decide(w, r, one, &exchange{g, one}) // byte for byte, with its streams
		return
	}
	g.decide(w, r, one, &translated{exchange{g, one}, r})
}

// addressed is the call as the server of its tool gets it: with the tool's own name.
func (g *Gateway) addressed(ctx context.Context, c *call) (*call, error) {
	unknown := remit.Errorf(remit.UnknownResource, "there is no tool %s here; tools/list has those that your task reaches", remit.VisibleText(c.name))
	name, tool, ok := strings.Cut(c.name, between)
	if !ok || tool == "" {
		return nil, unknown
	}
	reached, err := g.cfg.Servers.Reach(ctx, c.caller)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(reached, name) {
		return nil, unknown
	}
	one := *c
	if one.server, err = g.cfg.Servers.Server(ctx, name); err != nil {
		return nil, err
	}
	one.name = tool
	if one.params, err = envelope.Replace(c.params, map[string][]byte{"name": envelope.Encode(tool)}); err != nil {
		return nil, err
	}
	if one.raw, err = envelope.Replace(c.raw, map[string][]byte{"params": one.params}); err != nil {
		return nil, err
	}
	if one.header.Get(envelope.HeaderName) != "" {
		one.header.Set(envelope.HeaderName, envelope.EncodeHeader(tool))
	}
	return &one, nil
}

// translated is a call whose client and server speak versions that differ: Remit's own client makes it.
type translated struct {
	exchange
	r *http.Request
}

func (x *translated) Forward(ctx context.Context, o remit.Order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	c := x.c
	open := sse.KeepOpen(ctx, w, x.r, x.g.cfg.Write, c.progressToken(), "the tool is at work")
	result, fault, err := x.g.ask(ctx, c.server, cred.Apply, o.Caller.Instance, c.method, c.params)
	m, res := came(result, fault, err)
	m.ID = c.id
	if err != nil {
		m = reply.Error(c.id, envelope.InternalError, reply.Line(gateway.AsError(remit.UpstreamDown, err)), reply.Verdict{Verdict: remit.Allow, Code: res.Code})
	}
	open.Close(envelope.Encode(m))
	return res
}

// routeTask takes a question about a task of Remit's to the server that the call was of.
func (g *Gateway) routeTask(w http.ResponseWriter, r *http.Request, c *call) {
	var id string
	_ = json.Unmarshal(envelope.Member(c.params, "taskId"), &id) // what is none is refused below
	t, err := ticket.Unseal(&g.cfg.Key, id)
	if err == nil {
		c.server, err = g.cfg.Servers.Server(r.Context(), t.Server)
	}
	if err != nil {
		g.fail(w, r, c, gateway.AsError(remit.Internal, err))
		return
	}
	g.task(w, r, c)
}

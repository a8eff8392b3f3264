package mcp

import (
	"context"
	"encoding/json"
	"io"
	"net/http"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/sse"
)

// lets decides whether a server may ask its client something: sampling, elicitation and roots are actions too, by which a
// server could get at what the agent knows. A person cannot be waited for while the server waits, so only an allow lets it
// through.
func (g *Gateway) lets(ctx context.Context, c *call, method string, params, raw json.RawMessage) *remit.Error {
	if c.pipe == nil {
		return remit.Errorf(remit.Forbidden, "nobody is there who could answer %.80q", method)
	}
	if _, err := envelope.StrictMembers(params); err != nil {
		return gateway.AsError(remit.BadRequest, err)
	}
	ask := &call{caller: c.caller, server: c.server, version: c.version, method: method, params: params, raw: raw, asked: true}
	req, payloads, err := g.judge(ctx, ask)
	if err != nil {
		return gateway.AsError(remit.Internal, err)
	}
	req.Advice, req.Order = true, nil
	d, err := c.pipe.Authz.Authorize(ctx, req, payloads...)
	if err != nil {
		return gateway.AsError(remit.Internal, err)
	}
	if d.Verdict != remit.Allow {
		return &remit.Error{Code: d.Code, Sentence: d.Sentence}
	}
	return nil
}

// request is a server's request as its client sees it. A denied one is answered here, and the client never sees it.
func (g *Gateway) request(ctx context.Context, d *delivery, m envelope.Message) []byte {
	s := d.c.session
	if s == nil || d.reply == nil {
		return nil // 2026-07-28: a server asks in its result only
	}
	var e *remit.Error
	if m.Method != "ping" {
		e = g.lets(ctx, d.c, m.Method, m.Params, m.Raw)
	}
	if e == nil && !s.ask(m.Key()) {
		e = remit.Errorf(remit.Overload, "the client has too many requests to answer, or this one twice")
	}
	if e == nil {
		return m.Raw
	}
	g.cfg.Log.InfoContext(ctx, "a request of a server's was refused", "upstream", d.c.server.Name, "method", m.Method, "code", e.Code)
	// The server learns that, and not why: what the rules are is not its business.
	answer := envelope.Encode(envelope.Reply{Version: "2.0", ID: m.ID, Error: envelope.Encode(envelope.Error{Code: envelope.Denied, Message: "refused by the gateway", Data: map[string]any{"code": e.Code}})})
	if err := d.reply(ctx, answer); err != nil {
		g.cfg.Log.WarnContext(ctx, "refusing a request of a server's", "upstream", d.c.server.Name, "err", err)
	}
	return nil
}

// inputs judges what a result asks its client for (2026-07-28, Multi Round-Trip Requests; the same of a task): all of it, or
// the client sees none.
func (g *Gateway) inputs(ctx context.Context, c *call, result json.RawMessage) *remit.Error {
	for r, err := range envelope.InputRequests(result) {
		if err != nil {
			return gateway.AsError(remit.BadRequest, err)
		}
		if e := g.lets(ctx, c, r.Method, r.Params, r.Raw); e != nil {
			return e
		}
	}
	return nil
}

// elicits judges an error by which a server sends people to a page (2025-11-25, URLElicitationRequired).
func (g *Gateway) elicits(ctx context.Context, c *call, fault json.RawMessage) *remit.Error {
	var f struct {
		Code float64         `json:"code"`
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal(fault, &f) != nil || f.Code != envelope.URLElicitationRequired {
		return nil
	}
	return g.lets(ctx, c, "elicitation/create", f.Data, fault)
}

// replies sends messages to a server within the session.
func (g *Gateway) replies(c *call, cred gateway.Credential) func(context.Context, []byte) error {
	return func(ctx context.Context, b []byte) error {
		resp, _, err := g.send(ctx, &call{server: c.server, session: c.session, header: within(c)}, http.MethodPost, b, cred)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxRefusal)) // so that the connection can be used again
		return resp.Body.Close()
	}
}

// within are the headers of a message that belongs to the session of a call.
func within(c *call) http.Header {
	h := http.Header{}
	if c.session != nil {
		if version, _ := c.session.agreed(); version != "" {
			h.Set(envelope.HeaderVersion, version)
		}
	}
	return h
}

// pass takes on what belongs to a live session: a ping, a notification, and the answer to what the client was asked. It goes
// with the credential of the step that opened the session.
func (g *Gateway) pass(w http.ResponseWriter, r *http.Request, c *call, m envelope.Message) {
	if m.Response() && !c.session.answered(m.Key()) {
		g.fail(w, r, c, protocol(envelope.Malformed(envelope.InvalidRequest, "nothing with this id was asked of the MCP session")))
		return
	}
	if m.Method == "ping" {
		g.relay(r.Context(), c, remit.Order{}, c.session.cred, w)
		return
	}
	d := &delivery{c: c, out: sse.NewWriter(w, g.cfg.Write)}
	defer d.out.End()
	if c.session.proc != nil {
		if err := c.session.proc.Send(r.Context(), m.Raw); err != nil {
			g.broken(d, remit.UpstreamDown, "the server %s is gone", c.server.Name)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	var err error
	if d.scrub, err = secrets(c.session.cred, c.server.Name); err == nil {
		var resp *http.Response
		if resp, _, err = g.send(r.Context(), c, http.MethodPost, c.raw, c.session.cred); err == nil {
			defer resp.Body.Close()
			if resp.StatusCode >= 300 {
				g.refused(d, resp)
				return
			}
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxRefusal)) // so that the connection can be used again
			w.WriteHeader(http.StatusAccepted)
			return
		}
	}
	g.unanswered(r.Context(), d, true, err)
}

// listen is the stream on which a server speaks by itself.
func (g *Gateway) listen(w http.ResponseWriter, r *http.Request, c *call) {
	d := &delivery{c: c, out: sse.NewWriter(w, g.cfg.Write)}
	defer d.out.End()
	if c.session.proc != nil {
		g.listenTo(r.Context(), d)
		return
	}
	cred := c.session.cred
	var err error
	if d.scrub, err = secrets(cred, c.server.Name); err != nil {
		g.unanswered(r.Context(), d, false, err)
		return
	}
	resp, arrived, err := g.send(r.Context(), c, http.MethodGet, nil, cred)
	if err != nil {
		g.unanswered(r.Context(), d, arrived, err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || mediaType(resp.Header) != "text/event-stream" {
		g.refused(d, resp)
		return
	}
	d.reply = g.replies(c, cred)
	g.stream(r.Context(), d, resp.Body, func() {})
}

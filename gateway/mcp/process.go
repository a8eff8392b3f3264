package mcp

import (
	"context"
	"errors"
	"net/http"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/reply"
	"github.com/remit-dev/remit/gateway/mcp/internal/stdio"
)

var errProcess = errors.New("the process ended")

// program is how a server is started that is a process.
func (s Server) program() stdio.Server {
	return stdio.Server{Name: s.Name, Command: s.Command, Env: s.Env}
}

// toProcess is relay to a server that speaks over standard input and output.
func (g *Gateway) toProcess(ctx context.Context, d *delivery, cred gateway.Credential) gateway.Result {
	c := d.c
	ctx, alarm, cancel := g.watched(ctx, c.method)
	defer cancel()
	var p *stdio.Process
	var err error
	switch {
	case c.session != nil:
		p = c.session.proc
	case c.version < envelope.Stateless:
		if p, err = g.pool.Own(ctx, c.server.program(), c.caller.Instance); err == nil {
			if err = g.opens(d, "", cred, p); err != nil {
				p.Stop()
			} else {
				defer g.settled(d)
			}
		}
	default:
		p, err = g.pool.Get(ctx, c.server.program(), c.caller.Instance)
	}
	if err != nil {
		return g.unanswered(ctx, d, false, err)
	}
	d.scrub, d.reply = p.Redactor(), p.Send
	if p.Shared() && (p.Speaks() < envelope.Stateless || c.method == "subscriptions/listen") {
		return g.unspoken(d, p)
	}
	m, err := envelope.FromServer(c.raw)
	if err != nil {
		return g.unanswered(ctx, d, false, protocol(err))
	}
	id, raw := c.id, m.Raw
	if p.Shared() { // two clients may use the same id
		id = p.NewID()
		raw = m.WithID(id)
	}
	w, done, err := p.Expect(envelope.IDKey(id), string(c.progressToken()))
	if err != nil {
		return g.unanswered(ctx, d, false, protocol(err))
	}
	defer done()
	if err := p.Send(ctx, raw); err != nil {
		return g.unanswered(ctx, d, false, err)
	}
	for {
		select {
		case b := <-w.Messages:
			alarm()
			if m, err := envelope.FromServer(b); err == nil && m.Response() {
				b = m.WithID(c.id)
			}
			out, last := g.take(ctx, d, b)
			if out == nil {
				continue
			}
			if err := d.out.Message(out, last); err != nil || last {
				return d.result // the client is gone, or reads too slowly; or that was it
			}
		case <-p.Gone():
			return g.unanswered(ctx, d, true, errProcess)
		case <-ctx.Done():
			over, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeWithin)
			defer cancel()
			// It may go on with the call, or not: what came of it nobody can tell.
			_ = p.Send(over, envelope.Encode(map[string]any{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": map[string]any{"requestId": id}}))
			return g.unanswered(ctx, d, true, ctx.Err())
		}
	}
}

// unspoken answers a stateless client of a server that knows sessions only, as such a server answers by HTTP: the client
// then begins one.
func (g *Gateway) unspoken(d *delivery, p *stdio.Process) gateway.Result {
	said := &envelope.ProtocolError{Status: http.StatusBadRequest, Code: envelope.UnsupportedVersion, Sentence: "this server does not speak that version of the protocol",
		Data: map[string]any{"supported": envelope.Versions[1:], "requested": d.c.version}}
	if p.Speaks() >= envelope.Stateless {
		said = &envelope.ProtocolError{Status: http.StatusNotFound, Code: envelope.MethodNotFound, Sentence: "a server that is a process has no subscriptions here; begin a session in an older version for them"}
	}
	d.out.Header(said.Status, "application/json")
	_ = d.out.Write(envelope.Encode(reply.Error(d.c.id, said.Code, said.Sentence, said.Data))) // the client is gone: there is nobody to tell
	return gateway.Result{Outcome: remit.NotApplied, Code: remit.BadRequest}
}

// listenTo is the stream on which the process of a session speaks by itself.
func (g *Gateway) listenTo(ctx context.Context, d *delivery) {
	p := d.c.session.proc
	w, done, ok := p.Listen()
	if !ok {
		http.Error(d.out.HTTP, "the stream of the MCP session is open already", http.StatusConflict)
		return
	}
	defer done()
	d.scrub, d.reply = p.Redactor(), p.Send
	if err := d.out.Open(); err != nil {
		return
	}
	for {
		select {
		case b := <-w.Messages:
			if out, _ := g.take(ctx, d, b); out != nil {
				if err := d.out.Message(out, false); err != nil {
					return
				}
			}
		case <-p.Gone():
			return
		case <-ctx.Done():
			return
		}
	}
}

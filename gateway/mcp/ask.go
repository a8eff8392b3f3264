package mcp

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/upstream"
)

// ask makes one request of a server, as a client of its own: no stream of it goes anywhere, and the server gets nothing
// from it that it asks for. The request's answer is a result or the server's error.
func (g *Gateway) ask(ctx context.Context, s Server, add func(*http.Request) error, instance remit.ID, method string, params json.RawMessage) (result, fault json.RawMessage, err error) {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Silence)
	defer cancel()
	if len(s.Command) > 0 {
		return g.pool.Ask(ctx, s.program(), instance, method, params)
	}
	redact, err := secrets(adding(add), s.Name)
	if err != nil {
		return nil, nil, upstream.Unsent("no credential for the server %s: %w", s.Name, err)
	}
	a := g.asking(s, add)
	a.Redact = redact
	return a.Request(ctx, method, params)
}

// asking is a conversation of Remit's own with a server.
func (g *Gateway) asking(s Server, add func(*http.Request) error) *upstream.Client {
	return &upstream.Client{Endpoint: s.endpoint(), Apply: add, Spoken: &g.spoken, MaxAnswer: g.cfg.MaxAnswer,
		Schema: func(ctx context.Context, tool string) (json.RawMessage, error) {
			tools, err := g.observe(ctx, s)
			return envelope.Member(tools[tool].Raw, "inputSchema"), err
		}}
}

// speaks is the version that a server speaks with Remit itself; empty: it speaks by no address, or that is not known.
func (g *Gateway) speaks(ctx context.Context, s Server) string {
	if len(s.Command) > 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, g.cfg.Begin)
	defer cancel()
	version, err := g.asking(s, s.Observer).Negotiate(ctx)
	if err != nil {
		return ""
	}
	return version
}

// adding is a credential that is added in Remit's own name.
type adding func(*http.Request) error

func (a adding) Apply(r *http.Request) error {
	if a == nil {
		return nil
	}
	return a(r)
}

func (adding) End(context.Context) error { return nil }

package mcp

import (
	"net/http"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/reply"
	"github.com/remit-dev/remit/gateway/mcp/internal/sse"
)

// say sends an answer.
func (g *Gateway) say(w http.ResponseWriter, r *http.Request, status int, m envelope.Reply) {
	sse.Answer(w, r, g.cfg.Write, status, envelope.Encode(m))
}

// refuse answers what was denied or held.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, c *call, d remit.Decision) {
	if d.Verdict == remit.Hold {
		g.hold(w, r, c, d)
		return
	}
	e := &remit.Error{Code: d.Code, Sentence: d.Sentence}
	if e.Sentence == "" {
		e.Sentence = d.Code.Info().Meaning
	}
	v := reply.Verdict{Verdict: remit.Deny, Code: d.Code, Rules: d.Rules, Entry: d.Entry, Ask: g.askFor(r, c, e.Code)}
	if c.method == "tools/call" {
		g.say(w, r, http.StatusOK, reply.Lesson(c.id, c.version, reply.Teach(c.name, e, v), v))
		return
	}
	g.say(w, r, http.StatusOK, reply.Error(c.id, envelope.Denied, reply.Line(e), v))
}

// askFor is what an agent can ask for, where another grant would do.
func (g *Gateway) askFor(r *http.Request, c *call, code remit.Code) *reply.Missing {
	if code != remit.OutOfScope {
		return nil
	}
	steps, err := c.steps()
	if err != nil {
		return nil
	}
	m := &reply.Missing{Why: "say what it is needed for"}
	for _, st := range steps {
		if g.cfg.Servers.May(r.Context(), c.caller, st) != nil {
			m.Steps = append(m.Steps, st)
		}
	}
	if len(m.Steps) == 0 {
		return nil
	}
	return m
}

// fail answers an error.
func (g *Gateway) fail(w http.ResponseWriter, r *http.Request, c *call, e *remit.Error) {
	if c == nil {
		c = &call{}
	}
	if c.method == "tools/call" && len(c.id) > 0 && reply.Teachable(e) {
		v := reply.Verdict{Verdict: remit.Deny, Code: e.Code, Ask: g.askFor(r, c, e.Code)}
		g.say(w, r, http.StatusOK, reply.Lesson(c.id, c.version, reply.Teach(c.name, e, v), v))
		return
	}
	code, status := reply.Code(e), reply.Status(e, c.version, c.server.Name != "", len(c.id) > 0)
	switch status {
	case http.StatusUnauthorized: // RFC 9728 §5.1, RFC 6750 §3
		w.Header().Set("WWW-Authenticate", `Bearer realm="Remit", resource_metadata="`+g.metadataURL(r)+`"`)
	case http.StatusForbidden: // RFC 6750 §3.1
		w.Header().Set("WWW-Authenticate", `Bearer realm="Remit", error="insufficient_scope", resource_metadata="`+g.metadataURL(r)+`"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	var data any = reply.Verdict{Verdict: remit.Deny, Code: e.Code}
	if said := reply.ProtocolError(e); said != nil {
		data = said.Data
	}
	g.say(w, r, status, reply.Error(c.id, code, reply.Line(e), data))
}

// MetadataPath is where RFC 9728 §3.1 has the metadata of a resource: before the path of the resource itself.
const MetadataPath = "/.well-known/oauth-protected-resource"

func (g *Gateway) metadataURL(r *http.Request) string {
	return g.cfg.Base + MetadataPath + r.URL.EscapedPath()
}

// Metadata serves what a client without a token reads to find out where it gets one (RFC 9728).
func (g *Gateway) Metadata() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.EscapedPath(), MetadataPath)
		if path != g.cfg.Prefix && !strings.HasPrefix(path, g.cfg.Prefix+"/") {
			http.NotFound(w, r)
			return
		}
		org := strings.TrimSuffix(g.cfg.Prefix, "/"+Name)
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "max-age=3600")
		_, _ = w.Write(envelope.Encode(map[string]any{"resource": g.cfg.Base + path, "resource_name": "Remit's gateway for MCP",
			"authorization_servers": []string{g.cfg.Base + org}, "bearer_methods_supported": []string{"header"}}))
	})
}

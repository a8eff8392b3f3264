package mcp

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/reply"
	"github.com/remit-dev/remit/gateway/mcp/internal/ticket"
)

func TestErrorsAreSaidInTheProtocolsOwnTerms(t *testing.T) {
	g := New(Config{Prefix: "/v1/orgs/acme/mcp", Base: "https://remit.example"})
	list := func(version string) *call {
		return &call{id: json.RawMessage(`"a"`), method: "tools/list", version: version, server: Server{Name: "forge"}}
	}
	tool := &call{id: json.RawMessage("3"), method: "tools/call", name: "merge", version: envelope.Stateless, server: Server{Name: "forge"}}
	for _, c := range []struct {
		name   string
		c      *call
		err    *remit.Error
		status int
		code   int // 0: a tool's error
	}{
		{"nobody", nil, remit.Errorf(remit.Unauthenticated, "x"), 401, envelope.Denied},
		{"a token for something else", nil, remit.Errorf(remit.Forbidden, "x"), 403, envelope.Denied},
		{"no JSON", &call{}, protocol(envelope.Malformed(envelope.ParseError, "x")), 400, envelope.ParseError},
		{"headers that say otherwise", list(envelope.Stateless), protocol(envelope.Malformed(envelope.HeaderMismatch, "x")), 400, envelope.HeaderMismatch},
		{"an unknown method", list(envelope.Stateless), remit.Errorf(remit.UnknownAction, "x"), 404, envelope.MethodNotFound},
		{"an unknown method, before", list("2025-11-25"), remit.Errorf(remit.UnknownAction, "x"), 200, envelope.MethodNotFound},
		{"an unknown server", nil, remit.Errorf(remit.UnknownResource, "x"), 404, envelope.InvalidParams},
		{"an unknown tool", tool, remit.Errorf(remit.UnknownResource, "x"), 400, envelope.InvalidParams},
		{"an unknown session", list("2025-11-25"), remit.Errorf(remit.NotFound, "x"), 404, envelope.SessionNotFound},
		{"a long message", &call{}, remit.Errorf(remit.TooLarge, "x"), 413, envelope.InvalidRequest},
		{"a server that is down", list(envelope.Stateless), remit.Errorf(remit.UpstreamDown, "x"), 200, envelope.InternalError},
		{"a server that is down, of a tool", tool, remit.Errorf(remit.UpstreamDown, "x"), 200, envelope.InternalError},
		{"too much work", nil, remit.Errorf(remit.Overload, "x"), 503, envelope.InternalError},
		{"a fault", list("2025-06-18"), remit.Errorf(remit.Internal, "x"), 200, envelope.InternalError},
		{"a list that is denied", list(envelope.Stateless), remit.Errorf(remit.NotLive, "x"), 200, envelope.Denied},
		{"arguments that are wrong", tool, remit.Errorf(remit.BadRequest, "x"), 200, 0},
		{"a tool of an upstream that is contained", tool, remit.Errorf(remit.Contained, "x"), 200, 0},
		{"a tool's call with no meaning in the protocol", tool, protocol(envelope.Malformed(envelope.InvalidParams, "x")), 400, envelope.InvalidParams},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			g.fail(w, httptest.NewRequest("POST", "/v1/orgs/acme/mcp/forge", nil), c.c, c.err)
			var m struct {
				ID     json.RawMessage   `json:"id"`
				Error  *envelope.Error   `json:"error"`
				Result *reply.ToolResult `json:"result"`
			}
			if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
				t.Fatalf("%q: %v", w.Body, err)
			}
			if w.Code != c.status || (m.Error == nil) != (c.code == 0) || m.Error != nil && m.Error.Code != c.code || m.Result != nil && !m.Result.IsError {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if c.c != nil && string(m.ID) != string(c.c.id) {
				t.Fatalf("the id is %s", m.ID)
			}
			challenge := w.Header().Get("WWW-Authenticate")
			if (w.Code == 401 || w.Code == 403) != strings.Contains(challenge, `resource_metadata="https://remit.example/.well-known/oauth-protected-resource/v1/orgs/acme/mcp/forge"`) ||
				(w.Code == 403) != strings.Contains(challenge, `error="insufficient_scope"`) {
				t.Fatalf("%d with the challenge %q", w.Code, challenge)
			}
		})
	}
}

// Every code of the registry has an answer that clients understand, of a status that fits.
func TestEveryCodeHasAnAnswer(t *testing.T) {
	g := New(Config{})
	for _, i := range remit.Codes() {
		for _, c := range []*call{nil, {id: json.RawMessage("1"), method: "tools/call", name: "x"}, {id: json.RawMessage("1"), method: "tools/list", version: envelope.Stateless}} {
			w := httptest.NewRecorder()
			g.fail(w, httptest.NewRequest("POST", "/", nil), c, remit.Errorf(i.Code, "x"))
			if !json.Valid(w.Body.Bytes()) || c == nil && w.Code < 400 || !strings.Contains(w.Body.String(), string(i.Code)) {
				t.Errorf("%s: %d %s", i.Code, w.Code, w.Body)
			}
		}
	}
}

func TestAnAnswerHasTheFormThatTheClientTakes(t *testing.T) {
	g := New(Config{})
	for accept, want := range map[string]string{
		"":                                    "application/json",
		"application/json":                    "application/json",
		"application/json, text/event-stream": "application/json",
		"text/event-stream":                   "text/event-stream",
		"text/event-stream;q=1, text/html":    "text/event-stream",
		"*/*":                                 "application/json",
		"application/*;q=0.5":                 "application/json",
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/", nil)
		if accept != "" {
			r.Header.Set("Accept", accept)
		}
		g.say(w, r, http.StatusOK, reply.Result(json.RawMessage("1"), json.RawMessage(`{"a":"\u003c"}`)))
		body := w.Body.String()
		if strings.HasPrefix(want, "text/") {
			body = strings.TrimSuffix(strings.TrimPrefix(body, "event: message\ndata: "), "\n\n")
		}
		if w.Header().Get("Content-Type") != want || !json.Valid([]byte(body)) || !strings.Contains(body, `"id":1`) {
			t.Errorf("%q is answered %q %q", accept, w.Header().Get("Content-Type"), w.Body)
		}
	}
}

func TestMetadataSaysWhereTokensComeFrom(t *testing.T) {
	g := New(Config{Prefix: "/v1/orgs/acme/mcp", Base: "https://remit.example"})
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		g.Metadata().ServeHTTP(w, httptest.NewRequest("GET", MetadataPath+path, nil))
		return w
	}
	w := get("/v1/orgs/acme/mcp/forge")
	var m struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers"`
		Methods  []string `json:"bearer_methods_supported"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || m.Resource != "https://remit.example/v1/orgs/acme/mcp/forge" || len(m.Servers) != 1 ||
		m.Servers[0] != "https://remit.example/v1/orgs/acme" || len(m.Methods) != 1 {
		t.Fatalf("%s", w.Body)
	}
	for _, path := range []string{"", "/v1/orgs/other/mcp/forge", "/v1/orgs/acme/mcpx"} {
		if w := get(path); w.Code != 404 {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestATicketHasItsTime(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	g := New(Config{Now: func() time.Time { return now }, Key: [32]byte{1}})
	c := &call{server: Server{Name: "forge"}, caller: remit.Caller{Task: "T-1"}}
	s := g.seal(ticket.Ticket{Use: "state", Access: "A-1", Task: "T-1", Server: "forge", At: now.Unix()})
	if got, err := g.open(s, "state", c); err != nil || got.Access != "A-1" {
		t.Fatalf("%+v %v", got, err)
	}
	if _, err := New(Config{Now: g.cfg.Now, Key: [32]byte{2}}).open(s, "state", c); err == nil {
		t.Fatal("another key opens it")
	}
	if _, err := g.open(s, "task", c); err == nil {
		t.Fatal("it is good for something else")
	}
	if _, err := g.open(s, "state", &call{server: Server{Name: "other"}, caller: c.caller}); err == nil {
		t.Fatal("it is good at another server")
	}
	now = now.Add(ticket.Life + time.Second)
	if _, err := g.open(s, "state", c); err == nil {
		t.Fatal("it is good for ever")
	}
}

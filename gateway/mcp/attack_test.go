package mcp

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

// scripted is a server of sessions whose answers the test writes; what a client does not see is in seen.
type scripted struct {
	mu   sync.Mutex
	seen []*http.Request
	body []string
	on   func(w http.ResponseWriter, r *http.Request, m envelope.Message) // nil or for what it does not know itself
}

func (s *scripted) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.seen = append(s.seen, r.Clone(context.WithoutCancel(r.Context())))
	s.body = append(s.body, string(b))
	on := s.on
	s.mu.Unlock()
	m, _ := envelope.FromServer(b)
	answer := func(result string) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, m.ID, result)
	}
	own := r.Header.Get("X-Remit-Test") == "" && strings.Contains(string(m.ID), "remit-") // asked by Remit itself
	switch {
	case m.Method == "server/discover" && own:
		answer(`{"supportedVersions":["2026-07-28","2025-11-25"]}`)
	case m.Method == "tools/list" && own:
		answer(`{"tools":[{"name":"t","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"}}}},{"name":"u","inputSchema":{"type":"object"}}]}`)
	case m.Method == "initialize" && on == nil, m.Method == "initialize" && own:
		w.Header().Set("Mcp-Session-Id", "upstream-session")
		answer(`{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"x","version":"1"}}`)
	case m.Method != "" && m.ID == nil, r.Method == http.MethodDelete, on == nil && m.Response():
		w.WriteHeader(http.StatusAccepted)
	case on != nil:
		on(w, r, m)
	case r.Method == http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
	default:
		answer(`{"content":[{"type":"text","text":"done"}]}`)
	}
}

// then changes what the server answers.
func (s *scripted) then(on func(http.ResponseWriter, *http.Request, envelope.Message)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.on = on
}

// got are the bodies of those requests that have the text in them.
func (s *scripted) got(text string) (out []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, b := range s.body {
		if strings.Contains(b, text) || s.seen[i].Method == text {
			out = append(out, b)
		}
	}
	return out
}

// session opens a session, and gives its id.
func (w *world) session(server, token string) string {
	w.t.Helper()
	resp, body := w.do(post{server: server, body: `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"sampling":{},"elicitation":{}},"clientInfo":{"name":"c","version":"1"}}}`,
		header: map[string]string{"Authorization": "Bearer " + token}})
	id := resp.Header.Get("Mcp-Session-Id")
	if resp.StatusCode != 200 || id == "" {
		w.t.Fatalf("no session: %d %s", resp.StatusCode, body)
	}
	return id
}

// in is a message in a session.
func in(server, session, body string) post {
	return post{server: server, body: body, header: map[string]string{"Mcp-Session-Id": session, "MCP-Protocol-Version": "2025-11-25"}}
}

func fault(body string) (e envelope.Error) {
	if i := strings.Index(body, "data: "); i >= 0 {
		body = body[i+6:]
	}
	_ = json.Unmarshal(envelope.Member([]byte(body), "error"), &e) // none: zero
	return e
}

const tool = `{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"t","arguments":{}}}`

func TestARequestThatDoesNotAgreeWithItselfIsRefused(t *testing.T) {
	s := &scripted{}
	w := newWorld(t, func(c *Config) { c.MaxMessage = 4096 })
	w.upstream("x", s)
	change := func(k, v string) post {
		p := modern("x", "tools/call", "t", `"name":"t","arguments":{"region":"eu"}`)
		p.header["Mcp-Param-Region"] = "eu"
		p.header[k] = v
		return p
	}
	with := func(p post, body string) post { p.body = body; return p }
	good := change("Mcp-Param-Region", "eu")
	for name, c := range map[string]struct {
		p      post
		status int
		code   int
	}{
		"another method":                {change("Mcp-Method", "tools/list"), 400, envelope.HeaderMismatch},
		"no method":                     {change("Mcp-Method", ""), 400, envelope.HeaderMismatch},
		"another name":                  {change("Mcp-Name", "u"), 400, envelope.HeaderMismatch},
		"a name in another case":        {change("Mcp-Name", "T"), 400, envelope.HeaderMismatch},
		"no name":                       {change("Mcp-Name", ""), 400, envelope.HeaderMismatch},
		"another name in base64":        {change("Mcp-Name", "=?base64?dQ==?="), 400, envelope.HeaderMismatch},
		"another argument":              {change("Mcp-Param-Region", "us"), 400, envelope.HeaderMismatch},
		"no argument":                   {change("Mcp-Param-Region", ""), 400, envelope.HeaderMismatch},
		"an argument that is none":      {change("Mcp-Param-Zone", "p"), 400, envelope.HeaderMismatch},
		"an older version in the head":  {change("MCP-Protocol-Version", "2025-11-25"), 400, envelope.HeaderMismatch},
		"no version in the head":        {change("MCP-Protocol-Version", ""), 400, envelope.HeaderMismatch},
		"an unknown version in both":    {with(change("MCP-Protocol-Version", "2099-01-01"), strings.Replace(good.body, envelope.Stateless, "2099-01-01", 1)), 400, envelope.UnsupportedVersion},
		"an old version":                {post{server: "x", body: tool, header: map[string]string{"MCP-Protocol-Version": "2024-11-05"}}, 400, envelope.UnsupportedVersion},
		"no version in the body":        {with(good, strings.Replace(good.body, `"io.modelcontextprotocol/protocolVersion":"2026-07-28",`, "", 1)), 400, envelope.InvalidParams},
		"a version that is no text":     {with(good, strings.Replace(good.body, `"2026-07-28"`, "1", 1)), 400, envelope.InvalidParams},
		"a batch":                       {with(good, "["+good.body+"]"), 400, envelope.InvalidRequest},
		"a message that is too long":    {with(good, good.body+strings.Repeat(" ", 4096)), 413, envelope.InvalidRequest},
		"another content type":          {change("Content-Type", "text/plain"), 415, envelope.InvalidRequest},
		"a compressed message":          {change("Content-Encoding", "gzip"), 400, envelope.InvalidRequest},
		"headers that are too long":     {change("Mcp-Param-Region", strings.Repeat("x", envelope.MaxHeader)), 431, envelope.InvalidRequest},
		"a method that was removed":     {modern("x", "ping", "", ""), 404, envelope.MethodNotFound},
		"arguments that are a list":     {modern("x", "tools/call", "t", `"name":"t","arguments":[]`), 400, envelope.InvalidParams},
		"a name that is no text":        {modern("x", "tools/call", "t", `"name":1`), 400, envelope.InvalidParams},
		"a session that is missing":     {post{server: "x", body: tool}, 400, envelope.InvalidRequest},
		"a session that is none":        {in("x", "ABC", tool), 404, envelope.SessionNotFound},
		"a host that is another":        {change("Host", "evil.example:80"), 403, envelope.Denied},
		"a page of another origin":      {change("Origin", "http://evil.example"), 403, envelope.Denied},
		"a page of this host by name":   {change("Origin", "null"), 403, envelope.Denied},
		"a token that is none":          {change("Authorization", "Bearer xyz"), 401, envelope.Denied},
		"no token":                      {change("Authorization", ""), 401, envelope.Denied},
		"a server that is not declared": {modern("nowhere", "tools/list", "", ""), 404, envelope.InvalidParams},
		"a URI that climbs":             {modern("x", "resources/read", "file:///docs/../../etc/passwd", `"uri":"file:///docs/../../etc/passwd"`), 400, envelope.InvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			resp, body := w.do(c.p)
			if e := fault(body); resp.StatusCode != c.status || e.Code != c.code || e.Message == "" {
				t.Errorf("HTTP %d, %s; want %d and %d", resp.StatusCode, body, c.status, c.code)
			}
		})
	}
	for _, b := range s.got("") {
		if !strings.Contains(b, "remit-") {
			t.Errorf("the server got %s", b)
		}
	}
	if len(w.asked) != 0 {
		t.Errorf("something was decided: %+v", w.asked)
	}
	for name, p := range map[string]post{"as it is": good, "a name in base64": change("Mcp-Name", "=?base64?dA==?="), "a page of its own": change("Origin", "http://"+strings.TrimPrefix(strings.Split(w.url, "/v1")[0], "http://"))} {
		if resp, body := w.do(p); resp.StatusCode != 200 || !strings.Contains(body, "done") {
			t.Errorf("%s: %d %s", name, resp.StatusCode, body)
		}
	}
}

func TestWhatMayBeCalledAndByWhomIsConfigured(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Base, c.Origins = "https://remit.example", []string{"https://ide.example"} })
	w.upstream("x", &scripted{})
	for _, c := range []struct {
		host, origin string
		status       int
	}{{"remit.example", "", 200}, {"remit.example:443", "", 200}, {"", "", 200}, {"remit.example", "https://ide.example", 200}, {"remit.example", "https://remit.example", 200},
		{"remit.example", "https://evil.example", 403}, {"evil.remit.example", "", 403}, {"remit.example.evil", "", 403}, {"remit.example", "http://localhost", 403}} {
		p := modern("x", "tools/call", "u", `"name":"u"`)
		p.header["Host"], p.header["Origin"] = c.host, c.origin
		if c.host == "" {
			delete(p.header, "Host")
		}
		if resp, body := w.do(p); resp.StatusCode != c.status {
			t.Errorf("%+v: %d %s", c, resp.StatusCode, body)
		}
	}
}

func TestTokensAreNotPassedThrough(t *testing.T) {
	s := &scripted{on: func(w http.ResponseWriter, r *http.Request, m envelope.Message) {
		w.Header().Set("Set-Cookie", "a=b")
		w.Header().Set("X-Else", "1")
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.Header().Set("Content-Type", "application/json")
		echo := base64.StdEncoding.EncodeToString([]byte("x" + r.Header.Get("Authorization")))
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"%s %s %s"}]}}`, m.ID, r.Header.Get("Authorization"), url.QueryEscape(upstreamToken), echo)
	}}
	w := newWorld(t, nil)
	w.upstream("x", s)
	p := modern("x", "tools/call", "u", `"name":"u"`)
	for _, h := range []string{"Cookie", "X-Api-Key", "Proxy-Authorization", "X-Forwarded-For", "Forwarded", "Authorization-2", "Mcp-Session-Id"} {
		p.header[h] = "agents-own"
	}
	resp, body := w.do(p)
	if resp.StatusCode != 200 || !strings.Contains(body, "[secret of x]") || strings.Contains(body, upstreamToken) || strings.Contains(body, url.QueryEscape(upstreamToken)) ||
		resp.Header.Get("Set-Cookie")+resp.Header.Get("X-Else")+resp.Header.Get("Www-Authenticate") != "" || !json.Valid([]byte(body)) {
		t.Errorf("%d %v %s", resp.StatusCode, resp.Header, body)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.seen {
		if fmt.Sprint(r.Header) != strings.ReplaceAll(fmt.Sprint(r.Header), "agents-own", "") || r.Header.Get("Authorization") != "Bearer "+upstreamToken || strings.Contains(fmt.Sprint(r.Header), "I-1") {
			t.Errorf("the server got %v", r.Header)
		}
	}
}

// What a server answers instead of an answer, and what is recorded of it.
func TestAServerThatFailsIsReportedAndTheGatewayGoesOn(t *testing.T) {
	text := func(status int, contentType, body string) func(http.ResponseWriter, *http.Request, envelope.Message) {
		return func(w http.ResponseWriter, _ *http.Request, m envelope.Message) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Location", "/elsewhere")
			w.Header().Set("WWW-Authenticate", "Bearer "+upstreamToken)
			w.WriteHeader(status)
			_, _ = io.WriteString(w, strings.ReplaceAll(body, "ID", string(m.ID)))
		}
	}
	dies := func(begin string) func(http.ResponseWriter, *http.Request, envelope.Message) {
		return func(w http.ResponseWriter, _ *http.Request, m envelope.Message) {
			if begin != "" {
				w.Header().Set("Content-Type", begin)
				_, _ = io.WriteString(w, `data: {"jsonrpc":`)
				_ = http.NewResponseController(w).Flush()
			}
			panic(http.ErrAbortHandler)
		}
	}
	for name, c := range map[string]struct {
		on      func(http.ResponseWriter, *http.Request, envelope.Message)
		status  int
		code    int
		outcome remit.Outcome
	}{
		"it redirects":                {text(307, "text/plain", ""), 200, envelope.InternalError, remit.NotApplied},
		"it wants a token":            {text(401, "text/plain", "no "+upstreamToken), 200, envelope.InternalError, remit.NotApplied},
		"it forbids":                  {text(403, "text/plain", "no"), 200, envelope.InternalError, remit.NotApplied},
		"it finds the call malformed": {text(400, "application/json", `{"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"no `+upstreamToken+`"}}`), 400, envelope.InvalidParams, remit.NotApplied},
		"it says so in words":         {text(400, "text/plain", "no "+upstreamToken), 400, 0, remit.NotApplied},
		"it says so in a page":        {text(404, "text/html", "<script>"), 404, 0, remit.NotApplied},
		"it fails":                    {text(500, "text/plain", "oh"), 500, 0, remit.Ambiguous},
		"it accepts and says nothing": {text(202, "text/plain", ""), 200, envelope.InternalError, remit.Ambiguous},
		"it answers in another type":  {text(200, "text/html", "<p>"), 200, envelope.InternalError, remit.Ambiguous},
		"it answers no JSON":          {text(200, "application/json", "{"), 200, envelope.InternalError, remit.Ambiguous},
		"it answers another call":     {text(200, "application/json", `{"jsonrpc":"2.0","id":99,"result":{}}`), 200, envelope.InternalError, remit.Ambiguous},
		"it answers with a request":   {text(200, "application/json", `{"jsonrpc":"2.0","id":ID,"method":"sampling/createMessage"}`), 200, envelope.InternalError, remit.Ambiguous},
		"it answers twice in one":     {text(200, "application/json", `{"jsonrpc":"2.0","id":ID,"result":{},"Result":{}}`), 200, envelope.InternalError, remit.Ambiguous},
		"it answers too much":         {text(200, "application/json", strings.Repeat(" ", 9000)), 200, envelope.InternalError, remit.Ambiguous},
		"its event is too long":       {text(200, "text/event-stream", "data: "+strings.Repeat(" ", 9000)), 200, envelope.InternalError, remit.Ambiguous},
		"it floods":                   {text(200, "text/event-stream", strings.Repeat("x", 90000)), 200, envelope.InternalError, remit.Ambiguous},
		"its stream has no answer":    {text(200, "text/event-stream", ": ok\n\n"), 200, envelope.InternalError, remit.Ambiguous},
		"its stream is ambiguous":     {text(200, "text/event-stream", ": x\rdata: {}\n\n"), 200, envelope.InternalError, remit.Ambiguous},
		"it dies before its answer":   {dies(""), 200, envelope.InternalError, remit.Ambiguous},
		"it dies in its stream":       {dies("text/event-stream"), 200, envelope.InternalError, remit.Ambiguous},
		"it dies in its JSON":         {dies("application/json"), 200, envelope.InternalError, remit.Ambiguous},
		"it hangs":                    {func(_ http.ResponseWriter, r *http.Request, _ envelope.Message) { <-r.Context().Done() }, 200, envelope.InternalError, remit.Ambiguous},
		"it says that it failed":      {text(200, "application/json", `{"jsonrpc":"2.0","id":ID,"result":{"isError":true}}`), 200, 0, remit.Done},
		"it is another's error":       {text(200, "application/json", `{"jsonrpc":"2.0","id":ID,"error":{"code":-1,"message":"x"}}`), 200, -1, remit.Done},
	} {
		t.Run(name, func(t *testing.T) {
			s := &scripted{}
			w := newWorld(t, func(c *Config) { c.MaxAnswer, c.Silence = 8192, 200*time.Millisecond })
			w.upstream("x", s)
			if resp, body := w.do(modern("x", "tools/call", "u", `"name":"u"`)); resp.StatusCode != 200 || !strings.Contains(body, "done") {
				t.Fatalf("%d %s", resp.StatusCode, body)
			}
			s.then(c.on)
			resp, body := w.do(modern("x", "tools/call", "u", `"name":"u"`))
			if e := fault(body); resp.StatusCode != c.status || e.Code != c.code {
				t.Errorf("HTTP %d %s", resp.StatusCode, body)
			}
			if strings.Contains(fmt.Sprint(resp.Header)+body, upstreamToken) || resp.Header.Get("Www-Authenticate") != "" || resp.Header.Get("Location") != "" ||
				strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
				t.Errorf("the client sees %v %s", resp.Header, body)
			}
			if r := w.outcomes(2)[1]; r.Outcome != c.outcome || strings.Contains(string(r.Receipt), upstreamToken) {
				t.Errorf("recorded: %+v", r)
			}
			if c.outcome == remit.Done {
				var r receipt
				if err := json.Unmarshal(w.outcomes(2)[1].Receipt, &r); err != nil || !r.Error || r.Bytes == 0 {
					t.Errorf("the receipt is %+v %v", r, err)
				}
			}
			s.then(nil)
			if resp, body := w.do(modern("x", "tools/call", "u", `"name":"u"`)); resp.StatusCode != 200 || !strings.Contains(body, "done") {
				t.Errorf("afterwards: %d %s", resp.StatusCode, body)
			}
		})
	}
}

func TestAServerThatIsNotThereDidNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, nil)
	w.serve("x", "http://"+l.Addr().String())
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, body := w.do(modern("x", "completion/complete", "", `"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"b"}`))
	if e := fault(body); e.Code != envelope.InternalError || !strings.Contains(fmt.Sprint(e.Data), string(remit.UpstreamDown)) {
		t.Errorf("%s", body)
	}
	if r := w.outcomes(1)[0]; r.Outcome != remit.NotApplied || r.Code != remit.UpstreamDown {
		t.Errorf("%+v", r)
	}
}

func TestAClientThatIsTooSlowIsCutOff(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Read, c.Write = 100*time.Millisecond, 100*time.Millisecond })
	big := strings.Repeat("x", 1<<20)
	gone := make(chan struct{})
	s := &scripted{on: func(w http.ResponseWriter, r *http.Request, m envelope.Message) {
		defer close(gone)
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			if _, err := fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{\"data\":%q}}\n\n", big); err != nil {
				return
			}
		}
	}}
	w.upstream("x", s)
	dial := func(length int, body string) net.Conn {
		u, _ := url.Parse(w.url)
		c, err := net.Dial("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		p := modern("x", "tools/call", "u", `"name":"u"`)
		if length == 0 {
			body, length = p.body, len(p.body)
		}
		_, err = fmt.Fprintf(c, "POST %sx HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer I-1\r\nContent-Type: application/json\r\nMcp-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: u\r\nContent-Length: %d\r\n\r\n%s", u.Path, u.Host, length, body)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	slow := dial(1000, "{")
	defer slow.Close()
	if line, err := bufio.NewReader(slow).ReadString('\n'); err == nil && !strings.Contains(line, "400") {
		t.Errorf("a message that does not come is answered %q", line)
	}
	deaf := dial(0, "")
	defer deaf.Close()
	<-gone // the server's stream is cut, because the client reads nothing
	if r := w.outcomes(1)[0]; r.Outcome != remit.Ambiguous {
		t.Errorf("%+v", r)
	}
}

func TestRevocationCutsAStream(t *testing.T) {
	w := newWorld(t, nil)
	begun := make(chan struct{})
	s := &scripted{on: func(w http.ResponseWriter, r *http.Request, m envelope.Message) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, ": ok\n\n")
		_ = http.NewResponseController(w).Flush()
		close(begun)
		<-r.Context().Done()
	}}
	w.upstream("x", s)
	go func() { <-begun; close(w.revoked) }()
	_, body := w.do(modern("x", "tools/call", "u", `"name":"u"`))
	if e := fault(strings.TrimPrefix(body, ": ok\n\n")); e.Code != envelope.InternalError || !strings.Contains(fmt.Sprint(e.Data), string(remit.NotLive)) {
		t.Errorf("%s", body)
	}
}

func TestAListIsNoLongerThanItsLimit(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.MaxList = 1000 })
	s := &scripted{on: func(w http.ResponseWriter, _ *http.Request, m envelope.Message) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(bytes.ReplaceAll([]byte(`{"jsonrpc":"2.0","id":1,"result":{"prompts":[{"name":"LONG"}]}}`), []byte("LONG"), bytes.Repeat([]byte("x"), 2000)))
	}}
	w.upstream("x", s)
	if _, body := w.do(modern("x", "prompts/list", "", "")); fault(body).Code != envelope.InternalError || len(body) > 1000 {
		t.Errorf("%s", body)
	}
}

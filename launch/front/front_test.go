package front

import (
	"bufio"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/remit-dev/remit"
)

// purse gives the tokens GATEWAY-1, GATEWAY-2 …, a new one after each that was forgotten.
type purse struct {
	mu  sync.Mutex
	n   int
	err error
}

func (p *purse) Token(_ context.Context, gateway string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return fmt.Sprintf("%s-%d", gateway, p.n+1), p.err
}

func (p *purse) Forget(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.n++
}

// serve is a Remit server that answers as h, and a front before it.
func serve(t *testing.T, h http.HandlerFunc) (*Front, *purse, *httptest.Server) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.StartTLS()
	t.Cleanup(s.Close)
	p := &purse{}
	f, err := New(Config{Base: s.URL, Org: "acme", CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		Tokens: p, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f, p, s
}

// local serves the front to this test's client.
func local(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func send(t *testing.T, method, u, body string, header ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, u, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func codeOf(t *testing.T, body string) remit.Code {
	t.Helper()
	var p remit.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return p.Code
}

// What goes on is the client's request with the instance's token and none of the client's credentials; what comes back
// is the server's answer, and no token.
func TestForwards(t *testing.T) {
	var got *http.Request
	var body []byte
	f, _, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Mcp-Session-Id", "s1")
		w.Header().Set("Connection", "close")
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "answer")
	})
	s := local(t, f)
	const path = "/v1/orgs/acme/mcp/github%2Fx?a=1;b=%zz&a=2"
	resp, text := send(t, "POST", s.URL+path, `{"x":1}`, "Authorization", "Bearer theirs", "Cookie", "session=theirs", "DPoP", "theirs", "Proxy-Authorization", "Basic theirs",
		"Connection", "X-Hop, Upgrade", "X-Hop", "1", "Upgrade", "websocket", "Mcp-Protocol-Version", "2026-07-28", "Accept-Encoding", "br")
	if resp.StatusCode != http.StatusTeapot || text != "answer" || resp.Header.Get("Mcp-Session-Id") != "s1" {
		t.Errorf("%d %q %v", resp.StatusCode, text, resp.Header)
	}
	if got.RequestURI != path || string(body) != `{"x":1}` {
		t.Errorf("the server got %q %q", got.RequestURI, body)
	}
	if a := got.Header.Values("Authorization"); !slices.Equal(a, []string{"Bearer mcp-1"}) {
		t.Errorf("Authorization is %q", a)
	}
	for _, h := range []string{"Cookie", "Dpop", "Proxy-Authorization", "Connection", "X-Hop", "Upgrade", "X-Forwarded-For"} {
		if v := got.Header.Values(h); len(v) > 0 {
			t.Errorf("%s went on: %q", h, v)
		}
	}
	if got.Header.Get("Mcp-Protocol-Version") != "2026-07-28" || got.Header.Get("Accept-Encoding") != "br" || got.Proto != "HTTP/2.0" {
		t.Errorf("%s %v", got.Proto, got.Header)
	}
	var all strings.Builder
	_ = resp.Header.Write(&all)
	if strings.Contains(all.String()+text, "mcp-1") {
		t.Error("the token reached the client")
	}
}

func TestServesGatewaysOnly(t *testing.T) {
	f, _, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("Authorization")) })
	s := local(t, f)
	for path, want := range map[string]string{
		"/v1/orgs/acme/mcp":                         "Bearer mcp-1",
		"/v1/orgs/acme/mcp/":                        "Bearer mcp-1",
		"/v1/orgs/acme/hook/codex/PreToolUse":       "Bearer hook-1",
		"/v1/orgs/acme/acs":                         "Bearer acs-1",
		"/v1/orgs/acme/git/forge/payments.git/x":    "Bearer git-1",
		"/v1/orgs/acme/forge/x":                     "Bearer forge-1",
		"/v1/orgs/acme/task/request":                "Bearer task-1",
		"/v1/orgs/acme/change/review":               "Bearer change-1",
		"/v1/orgs/acme/secret/x":                    "Bearer secret-1",
		"/v1/orgs/acme/registry/token":              "Bearer oci-1",
		"/v1/orgs/acme/probe/read/x":                "Bearer probe-1",
		"/v1/orgs/acme/mcp/a/..%2e/b":               "Bearer mcp-1", // three dots are a name
		"/v1/orgs/acme/instances":                   "",
		"/v1/orgs/acme/approvals/A-1/vote":          "",
		"/v1/orgs/acme/control/apply":               "",
		"/v1/orgs/acme":                             "",
		"/v1/orgs/other/mcp/x":                      "",
		"/v1/orgs/acme/MCP/x":                       "",
		"/v1/orgs/acme/mcp%2F..%2Finstances":        "",
		"/v1/orgs/acme/mcp/../instances":            "",
		"/v1/orgs/acme/mcp/%2e%2e/instances":        "",
		"/v1/orgs/acme/mcp/x%2F..%2F..%2Finstances": "",
		"/v1/orgs/acme/mcp/./x":                     "",
		"//v1/orgs/acme/mcp":                        "",
		"/":                                         "",
	} {
		resp, body := send(t, "GET", s.URL+path, "")
		if want == "" && (resp.StatusCode < 400 || codeOf(t, body) == "") || want != "" && body != want {
			t.Errorf("%s: %d %q, want %q", path, resp.StatusCode, body, want)
		}
	}
}

// An event reaches the client while the stream is open, and a chunk the server while the client still sends.
func TestStreams(t *testing.T) {
	read := make(chan struct{})
	got := make(chan string)
	f, _, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			lines := bufio.NewScanner(r.Body)
			for lines.Scan() {
				got <- lines.Text()
			}
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", "27") // of a stream whose length is known nothing is kept back either
		for range 3 {
			fmt.Fprint(w, "data: x\n\n")
			w.(http.Flusher).Flush()
			<-read
		}
	})
	s := local(t, f)
	resp, err := http.Get(s.URL + "/v1/orgs/acme/mcp/x")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for range 3 {
		b := make([]byte, len("data: x\n\n"))
		if _, err := io.ReadFull(resp.Body, b); err != nil {
			t.Fatal(err)
		}
		read <- struct{}{}
	}

	out, in := io.Pipe()
	done := make(chan error)
	go func() {
		resp, err := http.Post(s.URL+"/v1/orgs/acme/git/forge/payments.git/git-receive-pack", "application/x-git", out)
		if err == nil {
			resp.Body.Close()
		}
		done <- err
	}()
	for _, line := range []string{"one", "two"} {
		fmt.Fprintln(in, line)
		if g := <-got; g != line {
			t.Errorf("got %q, not %q", g, line)
		}
	}
	in.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A server that was started again does not know the token: what can be sent again is, once.
func TestRenewsToken(t *testing.T) {
	const known = "Bearer mcp-2"
	f, p, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("Authorization") != known {
			w.WriteHeader(http.StatusUnauthorized)
		}
		fmt.Fprintf(w, "%s %s", r.Header.Get("Authorization"), body)
	})
	s := local(t, f)
	if resp, body := send(t, "POST", s.URL+"/v1/orgs/acme/mcp/x", "call"); resp.StatusCode != 200 || body != known+" call" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	// Without a length the body is a stream that has gone.
	p.n = 0
	resp, err := http.Post(s.URL+"/v1/orgs/acme/mcp/x", "text/plain", io.MultiReader(strings.NewReader("call")))
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusUnauthorized || p.n != 1 {
		t.Errorf("%d, forgotten %d times", resp.StatusCode, p.n)
	}
	// An instance that has ended is asked for no third time.
	p.n = 5
	if resp, _ := send(t, "GET", s.URL+"/v1/orgs/acme/mcp/x", ""); resp.StatusCode != http.StatusUnauthorized || p.n != 7 {
		t.Errorf("%d, forgotten %d times", resp.StatusCode, p.n)
	}
}

func TestServerTrouble(t *testing.T) {
	f, p, up := serve(t, func(w http.ResponseWriter, r *http.Request) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil { // HTTP/1.1 only
			fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			c.Close()
		}
	})
	s := local(t, f)
	path := s.URL + "/v1/orgs/acme/mcp/x"

	p.err = remit.Errorf(remit.NotLive, "the task has ended")
	if resp, body := send(t, "GET", path, ""); resp.StatusCode != remit.NotLive.Info().HTTP || codeOf(t, body) != remit.NotLive {
		t.Errorf("no token: %d %s", resp.StatusCode, body)
	}
	p.err = nil

	stranger := httptest.NewTLSServer(http.NotFoundHandler())
	defer stranger.Close()
	f.base, _ = url.Parse(strings.Replace(stranger.URL, "127.0.0.1", "localhost", 1))
	if resp, body := send(t, "GET", path, ""); resp.StatusCode != http.StatusBadGateway || codeOf(t, body) != remit.UpstreamDown {
		t.Errorf("a server with a certificate for another name: %d %s", resp.StatusCode, body)
	}

	old := httptest.NewUnstartedServer(up.Config.Handler) // HTTP/1.1
	old.StartTLS()
	defer old.Close()
	f.base, _ = url.Parse(old.URL)
	if resp, body := send(t, "GET", path, "", "Connection", "Upgrade", "Upgrade", "websocket"); resp.StatusCode != http.StatusBadGateway || codeOf(t, body) != remit.UpstreamDown {
		t.Errorf("a server that switches protocols: %d %s", resp.StatusCode, body)
	}

	up.Close()
	f.base, _ = url.Parse(up.URL)
	if resp, body := send(t, "GET", path, ""); resp.StatusCode != http.StatusBadGateway || codeOf(t, body) != remit.UpstreamDown {
		t.Errorf("no server: %d %s", resp.StatusCode, body)
	}
}

// Without the root that signed it, no server is Remit's.
func TestOwnAuthorityOnly(t *testing.T) {
	called := false
	_, _, up := serve(t, func(http.ResponseWriter, *http.Request) { called = true })
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")})
	if _, err := New(Config{Base: up.URL, Org: "acme", CA: ca, Log: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("what is no certificate was taken for one")
	}
	for _, base := range []string{"http://127.0.0.1:1", "https://u@h", "https://h/path", "", "h:1"} {
		if _, err := New(Config{Base: base, Org: "acme", CA: ca, Log: slog.New(slog.DiscardHandler)}); err == nil {
			t.Errorf("%q was taken for the address of a server", base)
		}
	}
	bare, err := New(Config{Base: up.URL, Org: "acme", Tokens: &purse{}, Log: slog.New(slog.DiscardHandler), CA: foreignCA(t)})
	if err != nil {
		t.Fatal(err)
	}
	if resp, _ := send(t, "GET", local(t, bare).URL+"/v1/orgs/acme/mcp/x", ""); resp.StatusCode != http.StatusBadGateway || called {
		t.Errorf("a server of another authority: %d", resp.StatusCode)
	}
}

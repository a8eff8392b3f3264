package mcp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

// upstreamToken is the credential of the servers of these tests. No client may ever see it.
const upstreamToken = "tok-4711/+upstream"

// world is a gateway with an authority that says yes, unless told otherwise.
type world struct {
	*Gateway
	t       testing.TB
	url     string
	servers map[string]Server
	ended   map[remit.ID]chan struct{}
	authn   gateway.Authenticator // nil: the world itself

	mu      sync.Mutex
	asked   []remit.Request
	results []gateway.Result
	deny    func(remit.Request) remit.Decision // a zero code: allow
	revoked chan struct{}
	leased  int
	given   int // leases that were ended
}

func newWorld(t testing.TB, change func(*Config)) *world {
	w := &world{t: t, servers: map[string]Server{}, ended: map[remit.ID]chan struct{}{"I-1": make(chan struct{}), "I-2": make(chan struct{})}, revoked: make(chan struct{})}
	c := Config{Prefix: "/v1/orgs/acme/mcp", Servers: w, Holds: w, Ended: func(i remit.ID) <-chan struct{} { return w.ended[i] }, Key: [32]byte{1}}
	if change != nil {
		change(&c)
	}
	w.Gateway = New(c)
	s := httptest.NewServer(w.Handler(&gateway.Pipeline{Authn: w, Authz: w, Creds: w, Log: w.cfg.Log}))
	t.Cleanup(s.Close)
	t.Cleanup(w.Close)
	t.Cleanup(s.CloseClientConnections)
	w.url = s.URL + c.Prefix + "/"
	return w
}

// serve declares a server at the address.
func (w *world) serve(name, url string) {
	w.servers[name] = Server{Name: name, URL: url, Transport: &http.Transport{}, Observer: func(r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+upstreamToken)
		return nil
	}}
}

// upstream declares a server that is the handler.
func (w *world) upstream(name string, h http.Handler) *httptest.Server {
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	w.t.Cleanup(s.CloseClientConnections)
	w.serve(name, s.URL)
	return s
}

// Authenticate: tokens are the names of instances.
func (w *world) Authenticate(r *http.Request) (remit.Caller, error) {
	if w.authn != nil {
		return w.authn.Authenticate(r)
	}
	i, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || !strings.HasPrefix(i, "I-") {
		return remit.Caller{}, errors.New("nobody")
	}
	return remit.Caller{Instance: remit.ID(i), Agent: "coder", Task: remit.ID("T-" + i[2:])}, nil
}

func (w *world) Authorize(_ context.Context, r remit.Request, _ ...remit.Payload) (remit.Decision, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, r)
	if w.deny != nil {
		if d := w.deny(r); d.Code != "" {
			return d, nil
		}
	}
	return remit.Decision{Verdict: remit.Allow, Permit: remit.Permit{ID: remit.ID("P-" + strconv.Itoa(len(w.asked)))}}, nil
}

func (w *world) Redeem(context.Context, remit.Permit) (remit.Attempt, error) {
	return remit.Attempt{ID: "X-1", NotAfter: time.Now().Add(time.Minute)}, nil
}

func (w *world) Revoked(remit.ID) <-chan struct{} { return w.revoked }

func (w *world) Record(_ context.Context, _ remit.Attempt, r gateway.Result) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.results = append(w.results, r)
	return nil
}

func (w *world) Lease(context.Context, remit.Attempt) (gateway.Credential, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leased++
	return &token{w: w}, nil
}

// token is a lease: useless after its end.
type token struct {
	w    *world
	over bool
}

func (k *token) Apply(r *http.Request) error {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	if k.over {
		return remit.Errorf(remit.NotLive, "the lease is over")
	}
	r.Header.Set("Authorization", "Bearer "+upstreamToken)
	return nil
}

func (k *token) End(context.Context) error {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	if !k.over {
		k.w.given++
	}
	k.over = true
	return nil
}

func (w *world) Server(_ context.Context, name string) (Server, error) {
	s, ok := w.servers[name]
	if !ok {
		return Server{}, remit.Errorf(remit.UnknownResource, "no server is called %q", name)
	}
	return s, nil
}

func (w *world) Reach(context.Context, remit.Caller) (names []string, err error) {
	for n := range w.servers {
		names = append(names, n)
	}
	slices.Sort(names)
	return names, nil
}

func (*world) May(context.Context, remit.Caller, remit.Step) *remit.Error { return nil }

func (*world) Payload(body []byte) (remit.Payload, error) { return remit.Payload{Body: body}, nil }

func (*world) Wait(context.Context, remit.ID) (remit.AccessStatus, string, error) {
	return "", "", errors.New("nobody decides here")
}

func (*world) URL(access remit.ID) string { return "https://remit.example/approve/" + string(access) }

// outcomes are the results that were recorded, once there are n.
func (w *world) outcomes(n int) []gateway.Result {
	w.t.Helper()
	for range 2000 {
		w.mu.Lock()
		r := slices.Clone(w.results)
		w.mu.Unlock()
		if len(r) >= n {
			return r
		}
		time.Sleep(time.Millisecond)
	}
	w.t.Fatalf("%d outcomes are not recorded", n)
	return nil
}

// denied are decisions that deny a method.
func denied(method string) func(remit.Request) remit.Decision {
	return func(r remit.Request) remit.Decision {
		if r.Tool == nil || r.Tool.Method != method {
			return remit.Decision{}
		}
		return remit.Decision{Verdict: remit.Deny, Code: remit.PolicyDenied, Sentence: "no"}
	}
}

// message is a request to the gateway.
type post struct {
	method, server, body string
	header               map[string]string
}

const newest = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// modern is a request of the stateless protocol, complete with its headers.
func modern(server, method, name, params string) post {
	if params != "" {
		params += ","
	}
	p := post{server: server, body: `{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":{` + params + newest + `}}`, header: map[string]string{
		"MCP-Protocol-Version": envelope.Stateless, "Mcp-Method": method}}
	if name != "" {
		p.header["Mcp-Name"] = name
	}
	return p
}

func (w *world) request(p post) *http.Request {
	w.t.Helper()
	if p.method == "" {
		p.method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(w.t.Context(), p.method, w.url+p.server, strings.NewReader(p.body))
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer I-1")
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Content-Type", "application/json")
	for k, v := range p.header {
		r.Header[http.CanonicalHeaderKey(k)] = []string{v}
		if v == "" {
			r.Header.Del(k)
		}
		if k == "Host" {
			r.Host = v
		}
	}
	return r
}

// start makes a request; the answer is read by whoever asks.
func (w *world) start(p post) (*http.Response, error) {
	return http.DefaultTransport.RoundTrip(w.request(p))
}

// do makes a request and reads all of the answer.
func (w *world) do(p post) (*http.Response, string) {
	w.t.Helper()
	resp, err := http.DefaultTransport.RoundTrip(w.request(p))
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(b)
}

package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/sse"
)

// leaveWithin is how long a server is told that a session is over.
const leaveWithin = 5 * time.Second

// Spoken is which version of the protocol servers speak with Remit itself. It can be lost at any time; the zero knows nothing.
type Spoken struct {
	mu sync.Mutex
	of map[string]string // by how a server is reached
}

func (s *Spoken) get(key string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of[key]
}

func (s *Spoken) set(key, version string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[string]string{}
	}
	s.of[key] = version
}

// Client is one conversation with a server. No stream of it goes anywhere, and the server gets nothing from it that it asks
// for.
type Client struct {
	Endpoint  Endpoint
	Apply     func(*http.Request) error // puts the credential on a request; nil: none is needed
	Redact    *Redactor                 // finds that credential in what comes back
	Spoken    *Spoken
	MaxAnswer int // bytes of one message
	// Schema is the inputSchema of a tool, by which its headers repeat its arguments; nil and no error: there is none.
	Schema func(ctx context.Context, tool string) (json.RawMessage, error)

	version string
	agreed  bool   // by the server, in a session
	session string // Mcp-Session-Id of the versions that have one
	n       int
}

// Request makes one request, in the version that the server speaks, and ends what it had to begin for that. The answer is a
// result or the server's error. An error of Remit's wraps ErrUnsent where the server cannot have begun with the request.
func (a *Client) Request(ctx context.Context, method string, params json.RawMessage) (result, fault json.RawMessage, err error) {
	if _, err := a.Negotiate(ctx); err != nil {
		return nil, nil, err
	}
	if a.version < envelope.Stateless {
		defer a.leave(ctx)
		if err := a.begin(ctx); err != nil {
			return nil, nil, err
		}
	}
	m, err := a.exchange(ctx, method, params)
	return m.Result, m.Fault, err
}

// Negotiate finds out what the server speaks: a question that changes nothing (2026-07-28 server/discover), which older
// servers refuse.
func (a *Client) Negotiate(ctx context.Context) (version string, err error) {
	key := a.Endpoint.Name + "\x00" + a.Endpoint.URL
	if a.version = a.Spoken.get(key); a.version != "" {
		return a.version, nil
	}
	a.version = envelope.Stateless
	m, err := a.exchange(ctx, "server/discover", nil)
	var refused *refusal
	if err != nil && !errors.As(err, &refused) {
		return "", err
	}
	var said struct {
		Supported []string `json:"supportedVersions"`
		Data      struct {
			Supported []string `json:"supported"`
		} `json:"data"`
	}
	for _, b := range [][]byte{m.Result, m.Fault} {
		if b != nil && json.Unmarshal(b, &said) != nil {
			return "", Unsent("the server %s does not say what it speaks", a.Endpoint.Name)
		}
	}
	a.version = envelope.Versions[1] // servers that know of no discovery are asked in the version before it
	for _, v := range envelope.Versions {
		if slices.Contains(said.Supported, v) || slices.Contains(said.Data.Supported, v) {
			a.version = v
			break
		}
	}
	a.Spoken.set(key, a.version)
	return a.version, nil
}

// begin opens a session of the versions that have one.
func (a *Client) begin(ctx context.Context) error {
	m, err := a.exchange(ctx, "initialize", envelope.Encode(map[string]any{"protocolVersion": a.version, "capabilities": struct{}{}, "clientInfo": envelope.ClientInfo}))
	if err == nil && m.Fault != nil {
		err = Unsent("the server %s refuses to begin a session: %.200s", a.Endpoint.Name, remit.VisibleText(string(m.Fault)))
	}
	if err != nil {
		return Before(err)
	}
	var said struct {
		Version string `json:"protocolVersion"`
	}
	if json.Unmarshal(m.Result, &said) != nil || !slices.Contains(envelope.Versions, said.Version) || said.Version >= envelope.Stateless {
		return Unsent("the server %s begins a session in version %.40q, which is not spoken here", a.Endpoint.Name, said.Version)
	}
	a.version, a.agreed = said.Version, true
	resp, err := a.post(ctx, envelope.Encode(map[string]string{"jsonrpc": "2.0", "method": "notifications/initialized"}), nil)
	if err != nil {
		return Before(err)
	}
	return resp.Body.Close()
}

// leave ends the session, as well as that can be done.
func (a *Client) leave(ctx context.Context) {
	if a.session == "" {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveWithin)
	defer cancel()
	if resp, err := a.send(ctx, http.MethodDelete, nil, nil); err == nil {
		_ = resp.Body.Close()
	}
}

// exchange sends a request and reads its answer.
func (a *Client) exchange(ctx context.Context, method string, params json.RawMessage) (envelope.Message, error) {
	a.n++
	id := envelope.Encode("remit-" + strconv.Itoa(a.n))
	headers := http.Header{}
	var err error
	if a.version >= envelope.Stateless {
		if params, err = envelope.WithMeta(params, a.version); err != nil {
			return envelope.Message{}, Unsent("the request cannot be written: %w", err)
		}
		headers, err = a.mirrored(ctx, method, params)
		if err != nil {
			return envelope.Message{}, err
		}
	}
	body := map[string]any{"jsonrpc": "2.0", "id": json.RawMessage(id), "method": method}
	if params != nil {
		body["params"] = params
	}
	resp, err := a.post(ctx, envelope.Encode(body), headers)
	if err != nil {
		return envelope.Message{}, err
	}
	defer resp.Body.Close()
	if method == "initialize" {
		a.session = resp.Header.Get(envelope.HeaderSession)
	}
	return a.answer(ctx, resp, envelope.IDKey(id))
}

// post sends one message.
func (a *Client) post(ctx context.Context, body []byte, headers http.Header) (*http.Response, error) {
	return a.send(ctx, http.MethodPost, body, headers)
}

func (a *Client) send(ctx context.Context, method string, body []byte, headers http.Header) (*http.Response, error) {
	if headers == nil {
		headers = http.Header{}
	}
	if a.session != "" || a.agreed || a.version >= envelope.Stateless {
		headers.Set(envelope.HeaderVersion, a.version)
	}
	resp, arrived, err := a.Endpoint.Send(ctx, method, headers, a.session, body, a.Apply)
	var e *remit.Error
	switch {
	case err == nil:
		return resp, nil
	case errors.As(err, &e) && !arrived: // Remit's own: the credential
		return nil, Unsent("no credential for the server %s: %w", a.Endpoint.Name, e)
	case !arrived:
		return nil, Unsent("the server %s cannot be reached", a.Endpoint.Name)
	}
	return nil, &remit.Error{Code: remit.UpstreamDown, Sentence: "the server " + a.Endpoint.Name + " does not answer", Err: err}
}

// refusal is an answer that is none of JSON-RPC: the status says that nothing was begun with.
type refusal struct{ status int }

func (r *refusal) Error() string { return "HTTP " + strconv.Itoa(r.status) }

// answer reads the answer to the request with that id.
func (a *Client) answer(ctx context.Context, resp *http.Response, id string) (envelope.Message, error) {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	broken := func(err error) (envelope.Message, error) {
		return envelope.Message{}, &remit.Error{Code: remit.UpstreamDown, Sentence: "the answer of the server " + a.Endpoint.Name + " cannot be read", Err: err}
	}
	if kind == "text/event-stream" && resp.StatusCode == http.StatusOK {
		in := sse.NewReader(resp.Body, a.MaxAnswer)
		for {
			e, err := in.Next()
			if err != nil {
				return broken(err)
			}
			if e.Blank() {
				continue
			}
			m, err := envelope.FromServer(a.Redact.Clean(e.Data))
			switch {
			case err != nil:
				return broken(err)
			case m.Response() && m.Key() == id:
				return m, nil
			case m.Request():
				a.decline(ctx, m)
			}
		}
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(a.MaxAnswer)+1))
	if err == nil && len(body) > a.MaxAnswer {
		err = sse.ErrTooLong
	}
	m, merr := envelope.Message{}, err
	if err == nil {
		m, merr = envelope.FromServer(a.Redact.Clean(body))
	}
	switch {
	case merr == nil && m.Response() && (m.Key() == id || m.Fault != nil): // an error may come before its id was read
		return m, nil
	case resp.StatusCode >= 300 && resp.StatusCode < 500: // a redirect is not followed
		return envelope.Message{}, &remit.Error{Code: remit.UpstreamDown, Sentence: "the server " + a.Endpoint.Name + " answers with status " + strconv.Itoa(resp.StatusCode),
			Err: errors.Join(ErrUnsent, &refusal{resp.StatusCode})}
	case merr == nil:
		merr = errors.New("it answers something else")
	}
	return broken(merr)
}

// decline tells a server that Remit does nothing for it (JSON-RPC 2.0 §5.1), so that it does not wait.
func (a *Client) decline(ctx context.Context, m envelope.Message) {
	if a.version >= envelope.Stateless {
		return // 2026-07-28, Receiving Messages: a server makes no requests
	}
	resp, err := a.post(ctx, envelope.Encode(envelope.Reply{Version: "2.0", ID: m.ID, Error: envelope.Encode(envelope.Error{Code: envelope.MethodNotFound, Message: "this client does none of that"})}), nil)
	if err == nil {
		_ = resp.Body.Close()
	}
}

// mirrored are the headers that repeat what a request says (2026-07-28, Standard Request Headers, Custom Headers from Tool
// Parameters).
func (a *Client) mirrored(ctx context.Context, method string, params json.RawMessage) (http.Header, error) {
	h := http.Header{envelope.HeaderMethod: {method}}
	key := "name"
	switch method {
	case "resources/read":
		key = "uri"
	case "tools/call", "prompts/get":
	default:
		return h, nil
	}
	var name string
	if json.Unmarshal(envelope.Member(params, key), &name) != nil {
		return nil, Unsent("the request has no %s", key)
	}
	h.Set(envelope.HeaderName, envelope.EncodeHeader(name))
	if method != "tools/call" {
		return h, nil
	}
	schema, err := a.Schema(ctx, name)
	if err != nil {
		return nil, Before(err)
	}
	envelope.Mirror(h, schema, envelope.Member(params, "arguments"))
	return h, nil
}

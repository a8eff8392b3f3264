package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp/internal/catalog"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/intake"
	"github.com/remit-dev/remit/gateway/mcp/internal/sse"
	"github.com/remit-dev/remit/gateway/mcp/internal/stdio"
	"github.com/remit-dev/remit/gateway/mcp/internal/ticket"
	"github.com/remit-dev/remit/gateway/mcp/internal/upstream"
)

// goodbyeWithin is how long a server is told that a session, or a call, is over.
const goodbyeWithin = 5 * time.Second

// Config is what a gateway needs. The zero of a limit is its default.
type Config struct {
	Prefix  string // of the address, without a slash at its end: /v1/orgs/acme/mcp
	Base    string // before the prefix, as clients write it: https://remit.example
	Servers Servers
	Holds   Holds
	Answers *gateway.Answers
	Log     *slog.Logger
	Key     [32]byte // signs what clients bring back

	Definitions Definitions   // that were admitted; none
	HoldOpen    time.Duration // how long a call that is held keeps its request open, where the client can do nothing else

	// Hosts and Origins are what a request may name as its host, and what a browser's page may be called that makes
	// one; besides them, the host of Base and, on a loopback address, this machine's own names. Without both, any host.
	Hosts   []string
	Origins []string
	// Ended is closed when an instance ends: its sessions and its processes end with it. None: only by being idle.
	Ended func(instance remit.ID) <-chan struct{}
	Now   func() time.Time

	MaxMessage       int           // bytes that a client may send; 4 MiB
	MaxAnswer        int           // bytes of one message of a server's; 16 MiB
	MaxList          int           // bytes of a list that is cut down to what the task may use; 4 MiB
	Sessions         int           // in all; 4096
	InstanceSessions int           // of one instance; 64
	Processes        int           // in all; 256
	Idle             time.Duration // after which a session or a process that nobody uses ends; 30 min
	Write            time.Duration // that a client may take to read one message; 30 s
	Read             time.Duration // that a client may take to send one; 30 s
	Begin            time.Duration // within which a server answers what begins: initialize, lists; 1 min
	Silence          time.Duration // after which a server that says nothing of a call is taken for dead; 10 min
}

func (c Config) ended(instance remit.ID) <-chan struct{} {
	if c.Ended == nil {
		return nil
	}
	return c.Ended(instance)
}

func orElse[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Gateway is between clients and servers.
type Gateway struct {
	cfg      Config
	sessions sessions
	seen     catalog.Cache
	spoken   upstream.Spoken
	shown    ticket.Shown
	seats    gateway.Seats // of calls that wait for people
	pool     stdio.Pool
	place    intake.Place
}

// New makes a gateway. It keeps its sessions in memory: after a restart there are none, and clients begin new ones.
func New(c Config) *Gateway {
	orElse(&c.MaxMessage, 4<<20)
	orElse(&c.MaxAnswer, 16<<20)
	orElse(&c.MaxList, 4<<20)
	orElse(&c.Sessions, 4096)
	orElse(&c.InstanceSessions, 64)
	orElse(&c.Processes, 256)
	orElse(&c.Idle, 30*time.Minute)
	orElse(&c.Write, 30*time.Second)
	orElse(&c.Read, 30*time.Second)
	orElse(&c.Begin, time.Minute)
	orElse(&c.Silence, 10*time.Minute)
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Answers == nil {
		c.Answers = &gateway.Answers{Now: c.Now}
	}
	return &Gateway{cfg: c, pool: stdio.Pool{Max: c.Processes, MaxMessage: c.MaxAnswer, Begin: c.Begin, Idle: c.Idle, Log: c.Log, Ended: c.ended, Redact: hiding},
		place: intake.At(c.Base, c.Hosts, c.Origins), sessions: sessions{byID: map[string]*session{}, of: map[remit.ID]int{}}}
}

func (g *Gateway) now() time.Time { return g.cfg.Now() }

// Close ends all sessions and processes.
func (g *Gateway) Close() {
	g.sessions.mu.Lock()
	all := make([]*session, 0, len(g.sessions.byID))
	for _, s := range g.sessions.byID {
		all = append(all, s)
	}
	g.sessions.mu.Unlock()
	var each sync.WaitGroup
	for _, s := range all {
		each.Go(func() { g.end(s) })
	}
	each.Go(g.pool.Close)
	each.Wait()
}

// Handler serves the gateway: …/SERVER is one server. What is decided goes through the pipeline; what belongs to a session
// that was opened by a decision (its stream, its notifications, answers to what the server asked) goes on without one.
func (g *Gateway) Handler(p *gateway.Pipeline) http.Handler {
	own := *p
	own.Creds = keeping{p.Creds}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if e := g.place.Check(r); e != nil {
			g.fail(w, r, nil, e)
			return
		}
		caller, err := own.Authn.Authenticate(r)
		if err != nil || caller.Instance == "" {
			g.fail(w, r, nil, gateway.AsError(remit.Unauthenticated, err))
			return
		}
		name := strings.TrimPrefix(strings.TrimPrefix(r.URL.Path, g.cfg.Prefix), "/")
		c := &call{caller: caller, version: r.Header.Get(envelope.HeaderVersion), pipe: &own}
		if name == "" {
			g.together(w, r, c)
			return
		}
		if c.server, err = g.cfg.Servers.Server(r.Context(), name); err != nil {
			g.fail(w, r, nil, gateway.AsError(remit.UnknownResource, err))
			return
		}
		switch r.Method {
		case http.MethodPost:
			g.post(w, r, c)
		case http.MethodGet, http.MethodDelete:
			if c.version >= envelope.Stateless { // 2026-07-28, Streamable HTTP: there is POST only
				g.notAllowed(w, "POST")
				return
			}
			g.standing(w, r, c)
		default:
			g.notAllowed(w, "GET, POST, DELETE")
		}
	})
}

func (g *Gateway) notAllowed(w http.ResponseWriter, allow string) {
	w.Header().Set("Allow", allow) // RFC 9110 §15.5.6
	http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
}

// protocol is an answer that the protocol itself specifies, as a *remit.Error.
func protocol(err error) *remit.Error {
	var said *envelope.ProtocolError
	if errors.As(err, &said) {
		return &remit.Error{Code: remit.BadRequest, Sentence: said.Sentence, Err: said}
	}
	return gateway.AsError(remit.Internal, err)
}

// post takes one message of a client's.
func (g *Gateway) post(w http.ResponseWriter, r *http.Request, c *call) {
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
	if err := g.admit(c, m, r); err != nil {
		g.fail(w, r, c, protocol(err))
		return
	}
	if c.session != nil {
		ctx, done := c.session.use(r.Context(), g.cfg.Now)
		defer done()
		r = r.WithContext(ctx)
	}
	switch {
	case m.ID == nil && !strings.HasPrefix(m.Method, "notifications/"): // a server might do it all the same
		g.fail(w, r, c, protocol(envelope.Malformed(envelope.InvalidRequest, "%.80q has no id", m.Method)))
	case c.session != nil && (!m.Request() || m.Method == "ping"):
		g.pass(w, r, c, m)
	case !m.Request(): // 2026-07-28: what a client notifies by HTTP concerns nobody but the request that it was sent in
		w.WriteHeader(http.StatusAccepted)
	case g.served(w, r, c):
	default:
		g.decide(w, r, c, &exchange{g: g, c: c})
	}
}

// decide takes a request through the pipeline, unless people have approved it and it was carried out since.
func (g *Gateway) decide(w http.ResponseWriter, r *http.Request, c *call, proto gateway.Protocol) {
	if answer, ok := g.taken(c); ok {
		out := sse.NewWriter(w, g.cfg.Write)
		defer out.End()
		_ = out.Message(answer, true) // the client is gone: there is nobody to tell
		return
	}
	p := *c.pipe
	p.Authn = known(c.caller)
	p.Handle(proto, w, r)
}

// known is the caller of a request that was authenticated before its message was read.
type known remit.Caller

func (k known) Authenticate(*http.Request) (remit.Caller, error) { return remit.Caller(k), nil }

// Orders carries out calls that people have approved since, from what was stored of them, and finds out what became of
// those whose outcome was never recorded. It answers no requests.
func (g *Gateway) Orders() gateway.Protocol { return &exchange{g: g, c: &call{}} }

// exchange is one request as the pipeline sees it.
type exchange struct {
	g *Gateway
	c *call
}

func (x *exchange) Classify(ctx context.Context, _ remit.Caller, _ *http.Request) (remit.Request, []remit.Payload, error) {
	if err := x.g.mirrors(ctx, x.c); err != nil {
		return remit.Request{}, nil, protocol(err)
	}
	return x.g.judge(ctx, x.c)
}

func (x *exchange) Forward(ctx context.Context, o remit.Order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	if w == nil {
		return x.g.execute(ctx, o, cred)
	}
	return x.g.relay(ctx, x.c, o, cred, w)
}

func (x *exchange) Refuse(w http.ResponseWriter, r *http.Request, d remit.Decision) {
	x.g.refuse(w, r, x.c, d)
}

func (x *exchange) Fail(w http.ResponseWriter, r *http.Request, e *remit.Error) {
	x.g.fail(w, r, x.c, e)
}

func (x *exchange) Reconcile(ctx context.Context, o remit.Order) gateway.Result {
	return x.g.reconcile(ctx, o)
}

// removed are the methods that 2026-07-28 no longer has: a server that understands them is asked in an older version.
var removed = []string{"initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"}

// admit finds the version and the session of a message, and compares its headers with its body: the body is judged, and
// others on the way may have gone by the headers.
func (g *Gateway) admit(c *call, m envelope.Message, r *http.Request) (err error) {
	if c.header, err = envelope.PassOn(r.Header); err != nil {
		return err
	}
	if c.version >= envelope.Stateless && slices.Contains(removed, m.Method) {
		return &envelope.ProtocolError{Status: http.StatusNotFound, Code: envelope.MethodNotFound, Sentence: "version " + envelope.Stateless + " has no method " + m.Method}
	}
	if err := c.understand(m); err != nil {
		return err
	}
	meta := envelope.Member(m.Params, "_meta")
	var inBody string
	if v := envelope.Member(meta, "io.modelcontextprotocol/protocolVersion"); v != nil && json.Unmarshal(v, &inBody) != nil {
		return envelope.Malformed(envelope.InvalidParams, "the version in _meta is not a text")
	}
	if len(r.Header.Values(envelope.HeaderVersion)) > 1 || (inBody != "" && inBody != c.version) {
		return envelope.Malformed(envelope.HeaderMismatch, "MCP-Protocol-Version is %.40q in the header, and %.40q in the message", c.version, inBody)
	}
	if c.version != "" && !slices.Contains(envelope.Versions, c.version) {
		return &envelope.ProtocolError{Status: http.StatusBadRequest, Code: envelope.UnsupportedVersion, Sentence: "this version of the protocol is not spoken here",
			Data: map[string]any{"supported": envelope.Versions, "requested": c.version}}
	}
	if err := envelope.CheckHeaders(m, c.version, c.name, r.Header); err != nil {
		return err
	}
	if c.version >= envelope.Stateless {
		if m.Request() && inBody == "" {
			return envelope.Malformed(envelope.InvalidParams, "_meta has no io.modelcontextprotocol/protocolVersion")
		}
		c.can = attended(r, envelope.ParseCapabilities(envelope.Member(meta, "io.modelcontextprotocol/clientCapabilities")))
		return nil
	}
	if m.Method == "initialize" && m.Request() {
		c.can = attended(r, envelope.ParseCapabilities(envelope.Member(m.Params, "capabilities")))
		return nil
	}
	return g.within(c, r)
}

// within finds the session that a message is of.
func (g *Gateway) within(c *call, r *http.Request) error {
	ids := r.Header.Values(envelope.HeaderSession)
	if len(ids) != 1 {
		return envelope.Malformed(envelope.InvalidRequest, "send the Mcp-Session-Id that initialize was answered with")
	}
	if c.session = g.find(ids[0], c.caller.Instance, c.server.Name); c.session == nil {
		// 2025-11-25, Session Management: then the client begins a new one.
		return &envelope.ProtocolError{Status: http.StatusNotFound, Code: envelope.SessionNotFound, Sentence: "there is no such session; begin one with initialize"}
	}
	agreed, can := c.session.agreed()
	if c.version != "" && agreed != "" && c.version != agreed {
		return envelope.Malformed(envelope.InvalidRequest, "the MCP session speaks version %s, not %s", agreed, c.version)
	}
	c.version, c.can = agreed, can
	return nil
}

// understand takes from a message what it is judged by.
func (c *call) understand(m envelope.Message) error {
	var key string
	switch m.Method {
	case "tools/call", "prompts/get":
		key = "name"
	case "resources/read", "resources/subscribe", "resources/unsubscribe":
		key = "uri"
	default:
		return nil
	}
	if v := envelope.Member(m.Params, key); json.Unmarshal(v, &c.name) != nil || c.name == "" {
		return envelope.Malformed(envelope.InvalidParams, "%s has no %s", m.Method, key)
	}
	if c.args = envelope.Member(m.Params, "arguments"); string(c.args) == "null" {
		c.args = nil
	}
	if c.args != nil && c.args[0] != '{' {
		return envelope.Malformed(envelope.InvalidParams, "arguments is not an object")
	}
	return nil
}

// mirrors compares the headers that mirror arguments with them (2026-07-28, Custom Headers from Tool Parameters), by what
// the server says of the tool. Where that cannot be had, the call is not judged either.
func (g *Gateway) mirrors(ctx context.Context, c *call) error {
	if c.version < envelope.Stateless || c.method != "tools/call" {
		return nil
	}
	tools, err := g.observe(ctx, c.server)
	if err != nil {
		return err
	}
	return envelope.CheckMirrored(c.header, envelope.Member(tools[c.name].Raw, "inputSchema"), c.args)
}

// standing serves what concerns a session as a whole: its stream, and its end.
func (g *Gateway) standing(w http.ResponseWriter, r *http.Request, c *call) {
	var err error
	if c.header, err = envelope.PassOn(r.Header); err == nil {
		err = g.within(c, r)
	}
	if err != nil {
		g.fail(w, r, c, protocol(err))
		return
	}
	if r.Method == http.MethodDelete {
		g.end(c.session)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	ctx, done := c.session.use(r.Context(), g.cfg.Now)
	defer done()
	g.listen(w, r.WithContext(ctx), c)
}

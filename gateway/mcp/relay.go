package mcp

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/reply"
	"github.com/remit-dev/remit/gateway/mcp/internal/sse"
	"github.com/remit-dev/remit/gateway/mcp/internal/stdio"
	"github.com/remit-dev/remit/gateway/mcp/internal/upstream"
)

// delivery takes what a server says to where it belongs: to the client, byte for byte, as far as it is for it.
type delivery struct {
	c     *call // what is answered; of the stream of a session: no method
	out   *sse.Writer
	scrub *upstream.Redactor
	// reply sends a message to the server in return; nil: there is no way to.
	reply  func(context.Context, []byte) error
	result gateway.Result
	opened *session // by this very call
}

// relay carries a call out: the message goes to the server as it came, and what comes back goes to the client as it comes.
func (g *Gateway) relay(ctx context.Context, c *call, o remit.Order, cred gateway.Credential, w http.ResponseWriter) gateway.Result {
	d := &delivery{c: c, out: sse.NewWriter(w, g.cfg.Write), result: gateway.Result{Outcome: remit.Ambiguous, Code: remit.UpstreamDown}}
	defer d.out.End()
	if len(c.server.Command) > 0 {
		return g.toProcess(ctx, d, cred)
	}
	var err error
	if d.scrub, err = secrets(cred, c.server.Name); err != nil {
		e := gateway.AsError(remit.UpstreamDown, err)
		g.broken(d, e.Code, "%s", e.Sentence)
		return gateway.Result{Outcome: remit.NotApplied, Code: e.Code}
	}
	ctx, alarm, cancel := g.watched(ctx, c.method)
	defer cancel()
	resp, arrived, err := g.send(ctx, c, http.MethodPost, c.raw, cred)
	if err != nil {
		return g.unanswered(ctx, d, arrived, err)
	}
	defer resp.Body.Close()
	alarm()
	if resp.StatusCode != http.StatusOK {
		return g.refused(d, resp)
	}
	if c.method == "initialize" && c.version < envelope.Stateless {
		if err := g.opens(d, resp.Header.Get(envelope.HeaderSession), cred, nil); err != nil {
			e := gateway.AsError(remit.Internal, err)
			g.broken(d, e.Code, "%s", e.Sentence)
			return gateway.Result{Outcome: remit.Done, Code: e.Code}
		}
		defer g.settled(d)
	}
	d.reply = g.replies(c, cred)
	switch mediaType(resp.Header) {
	case "application/json":
		return g.whole(ctx, d, resp.Body)
	case "text/event-stream":
		return g.stream(ctx, d, resp.Body, alarm)
	}
	g.broken(d, remit.UpstreamDown, "the server %s answers with something that is neither JSON nor a stream of events", c.server.Name)
	return d.result
}

func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

var errSilent = errors.New("the server says nothing")

// watched ends ctx when the server says nothing for too long; alarm begins the time anew.
func (g *Gateway) watched(ctx context.Context, method string) (_ context.Context, alarm func(), cancel func()) {
	patience := g.cfg.Silence
	if slices.Contains(listing, method) {
		patience = g.cfg.Begin
	}
	if method == "subscriptions/listen" { // it may be silent for ever
		ctx, cancel := context.WithCancel(ctx)
		return ctx, func() {}, cancel
	}
	ctx, end := context.WithCancelCause(ctx)
	t := time.AfterFunc(patience, func() { end(errSilent) })
	return ctx, func() { t.Reset(patience) }, func() { t.Stop(); end(nil) }
}

// unanswered is what is said where a server could not be asked, or did not answer.
func (g *Gateway) unanswered(ctx context.Context, d *delivery, arrived bool, err error) gateway.Result {
	res := gateway.Result{Outcome: remit.Ambiguous, Code: remit.UpstreamDown}
	if !arrived {
		res.Outcome = remit.NotApplied
	}
	var e *remit.Error
	switch {
	case errors.As(err, &e): // Remit's own: the credential
		res.Code = e.Code
		g.broken(d, e.Code, "%s", e.Sentence)
	case context.Cause(ctx) == errSilent:
		g.broken(d, remit.UpstreamDown, "the server %s does not answer", d.c.server.Name)
	case ctx.Err() != nil:
		res.Code = remit.NotLive
		g.broken(d, remit.NotLive, "the authority of the call, or whoever made it, is gone")
	default:
		g.broken(d, remit.UpstreamDown, "the server %s cannot be reached, or broke off", d.c.server.Name)
	}
	return res
}

// broken answers a call with an error of Remit's own, in whatever form the answer has begun.
func (g *Gateway) broken(d *delivery, code remit.Code, format string, args ...any) {
	e := remit.Errorf(code, format, args...)
	g.cfg.Log.Warn("a call of a server's was not answered", "upstream", d.c.server.Name, "code", code, "why", e.Sentence)
	if d.out.Sent || len(d.c.id) == 0 || d.out.Begun && !d.out.Stream {
		if !d.out.Begun {
			d.out.Header(http.StatusBadGateway, "text/plain; charset=utf-8")
		}
		return
	}
	_ = d.out.Message(envelope.Encode(reply.Error(d.c.id, envelope.InternalError, reply.Line(e), reply.Verdict{Verdict: remit.Deny, Code: code})), true) // the client is gone: there is nobody to tell
}

// whole answers with one message.
func (g *Gateway) whole(ctx context.Context, d *delivery, body io.Reader) gateway.Result {
	b, err := io.ReadAll(io.LimitReader(body, int64(g.cfg.MaxAnswer)+1))
	switch {
	case err != nil:
		return g.unanswered(ctx, d, true, err)
	case len(b) > g.cfg.MaxAnswer:
		g.broken(d, remit.TooLarge, "the answer of the server %s is longer than %d bytes", d.c.server.Name, g.cfg.MaxAnswer)
		return gateway.Result{Outcome: remit.Ambiguous, Code: remit.TooLarge}
	}
	out, last := g.take(ctx, d, b)
	if !last {
		g.broken(d, remit.UpstreamDown, "the server %s answers with something else than the answer", d.c.server.Name)
		return d.result
	}
	_ = d.out.Message(out, true) // the client is gone: there is nobody to tell
	return d.result
}

// stream answers with events, as they come.
func (g *Gateway) stream(ctx context.Context, d *delivery, body io.Reader, alarm func()) gateway.Result {
	if err := d.out.Open(); err != nil {
		return d.result
	}
	in := sse.NewReader(body, g.cfg.MaxAnswer)
	resumable := false
	for {
		e, err := in.Next()
		if err != nil {
			return g.streamEnded(ctx, d, resumable, err)
		}
		alarm()
		resumable = resumable || e.HasID
		b := e.Raw
		if !e.Blank() {
			out, last := g.take(ctx, d, e.Data)
			if out == nil {
				continue
			}
			if b = e.Raw; !same(out, e.Data) {
				b = e.WithData(out)
			}
			d.out.Sent = d.out.Sent || last
		} else if !d.scrub.Idle() {
			b = d.scrub.Clean(b)
		}
		if err := d.out.Write(b); err != nil {
			return d.result // the outcome so far: the client is gone, or reads too slowly
		}
	}
}

// same tells whether two texts are the same bytes in memory or equal.
func same(a, b []byte) bool { return len(a) == len(b) && string(a) == string(b) }

// streamEnded is what comes of a call when its stream is over.
func (g *Gateway) streamEnded(ctx context.Context, d *delivery, resumable bool, err error) gateway.Result {
	c := d.c
	switch {
	case d.out.Sent || c.method == "":
	case c.method == "subscriptions/listen" && (err == io.EOF || ctx.Err() != nil): // it has no answer
		d.result = gateway.Result{Outcome: remit.Done, Receipt: received(nil, false)}
	case err == io.EOF && resumable && c.session != nil: // 2025-11-25, Resumability: the client asks for the rest
		c.session.leave(c)
	case errors.Is(err, sse.ErrTooLong):
		g.broken(d, remit.TooLarge, "a message of the server %s is longer than %d bytes", c.server.Name, g.cfg.MaxAnswer)
		d.result.Code = remit.TooLarge
	default:
		return g.unanswered(ctx, d, true, err)
	}
	return d.result
}

// take looks at one message of a server's, and gives what the client is to see of it: nil for nothing. last tells that
// it was the answer.
func (g *Gateway) take(ctx context.Context, d *delivery, raw []byte) (out []byte, last bool) {
	m, err := envelope.FromServer(d.scrub.Clean(raw))
	if err != nil {
		g.cfg.Log.WarnContext(ctx, "a message of a server's is none", "upstream", d.c.server.Name, "err", err)
		return nil, false
	}
	switch {
	case m.Request():
		return g.request(ctx, d, m), false
	case !m.Response():
		if m.Method == "notifications/tools/list_changed" {
			g.listChanged(d.c.server.Name)
		}
		if e := g.inputs(ctx, d.c, m.Params); e != nil { // notifications/tasks says what a task asks for
			g.cfg.Log.InfoContext(ctx, "a notification of a server's was refused", "upstream", d.c.server.Name, "method", m.Method, "code", e.Code)
			return nil, false
		}
		return m.Raw, false
	}
	c := d.c
	if c.method == "" || m.Key() != envelope.IDKey(c.id) {
		if c.session == nil {
			return nil, false
		}
		if c = c.session.resume(m.Key()); c == nil { // an answer to nothing that was asked here
			return nil, false
		}
	}
	if d.out.Sent && c == d.c {
		return nil, false
	}
	return g.answer(ctx, d, c, m), c == d.c
}

// answer is the answer of a server's to a call, as the client sees it.
func (g *Gateway) answer(ctx context.Context, d *delivery, c *call, m envelope.Message) []byte {
	res := gateway.Result{Outcome: remit.Done, Receipt: received(m.Fault, true)}
	out := []byte(m.Raw)
	refused := func(e *remit.Error) {
		out = envelope.Encode(reply.Error(c.id, envelope.InternalError, reply.Line(e), reply.Verdict{Verdict: remit.Deny, Code: e.Code}))
		res.Code = e.Code
	}
	if m.Fault != nil {
		if e := g.elicits(ctx, c, m.Fault); e != nil {
			refused(e)
		}
	} else {
		result, e := g.seenBy(ctx, c, m.Result)
		if e != nil {
			refused(e)
		} else if !same(result, m.Result) {
			out = m.WithResult(result)
		}
		res.Receipt = received(m.Result, failed(m.Result) || e != nil)
		if c.method == "initialize" && d.opened != nil && result != nil {
			var v string
			if json.Unmarshal(envelope.Member(result, "protocolVersion"), &v) == nil {
				d.opened.agree(v)
			}
		}
	}
	if c == d.c {
		d.result = res
	}
	return out
}

// seenBy is a result as the client of the call may see it.
func (g *Gateway) seenBy(ctx context.Context, c *call, result json.RawMessage) (json.RawMessage, *remit.Error) {
	if e := g.inputs(ctx, c, result); e != nil {
		return nil, e
	}
	switch {
	case c.method == "initialize":
		var v string
		if _ = json.Unmarshal(envelope.Member(result, "protocolVersion"), &v); !slices.Contains(envelope.Versions[1:], v) {
			return nil, remit.Errorf(remit.UpstreamDown, "the server %s speaks version %.40q of the protocol, which is not spoken here", c.server.Name, v)
		}
	case strings.HasSuffix(c.method, "/list"):
		if len(result) > g.cfg.MaxList {
			return nil, remit.Errorf(remit.TooLarge, "the list of the server %s is longer than %d bytes", c.server.Name, g.cfg.MaxList)
		}
	default:
		return result, nil
	}
	out, err := g.filter(ctx, c, result)
	if err != nil {
		return nil, gateway.AsError(remit.Internal, err)
	}
	return out, nil
}

// opens begins the session that a server's answer to initialize opens.
func (g *Gateway) opens(d *delivery, upstream string, cred gateway.Credential, proc *stdio.Process) error {
	s, err := g.begin(d.c, upstream, cred, proc)
	if err != nil {
		return err
	}
	d.opened, d.c.session = s, s
	d.out.HTTP.Header().Set(envelope.HeaderSession, s.id)
	return nil
}

// settled ends a session that came to nothing: the server refused, or its version is not spoken here.
func (g *Gateway) settled(d *delivery) {
	if version, _ := d.opened.agreed(); version == "" {
		g.end(d.opened)
	}
}

package hook

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	sh "github.com/remit-dev/remit/shell"
)

// exchange is one request of a host that needs a decision, on its way through the pipeline.
type exchange struct {
	*Gateway
	caller   remit.Caller
	use      use
	request  remit.Request
	payloads []remit.Payload
}

// Handler serves the gateway. What concerns the host alone, has a pass, or was answered a moment ago needs no decision.
func (g *Gateway) Handler(p *gateway.Pipeline) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := p.Authn.Authenticate(r)
		if err != nil {
			g.Fail(w, r, gateway.AsError(remit.Unauthenticated, err))
			return
		}
		c, err := readRequest(r)
		if err != nil {
			g.Fail(w, r, gateway.AsError(remit.Internal, err))
			return
		}
		if c.kind == shell && strings.TrimSpace(c.command) == canary {
			g.alive(w, r, caller, p.Authz)
			return
		}
		x, err := g.exchange(caller, c)
		switch {
		case err != nil:
			g.Fail(w, r, gateway.AsError(remit.Internal, err))
		case x == nil || g.seen.before(x.use, g.Now()):
			noObjection(w)
		case g.passes(x):
			noObjection(w)
		default:
			p.Handle(x, w, r)
		}
	})
}

// exchange is nil where nothing has to be judged.
func (g *Gateway) exchange(caller remit.Caller, c call) (*exchange, error) {
	f, err := c.judge()
	if err != nil || len(f.steps) == 0 {
		return nil, err
	}
	x := &exchange{Gateway: g, caller: caller}
	if x.request, x.payloads, err = g.ask(caller, c, f); err != nil {
		return nil, err
	}
	x.use = use{caller.Instance, c.host, c.conversation, c.id, remit.Hash(x.request.Order)}
	return x, nil
}

// passes takes the pass of a call that people approved, if there is one.
func (g *Gateway) passes(x *exchange) bool {
	_, ok := g.Answers.Take(x.caller.Task, x.use.order)
	if ok {
		g.seen.add(x.use, g.Now())
	}
	return ok
}

// Classify gives what the handler read.
func (x *exchange) Classify(_ context.Context, caller remit.Caller, _ *http.Request) (remit.Request, []remit.Payload, error) {
	if caller != x.caller {
		return remit.Request{}, nil, remit.Errorf(remit.Unauthenticated, "the proof of who is calling changed while the request was read")
	}
	return x.request, x.payloads, nil
}

// Forward is the gateway's; the host may ask about the same use once more.
func (x *exchange) Forward(ctx context.Context, o remit.Order, c gateway.Credential, w http.ResponseWriter) gateway.Result {
	x.seen.add(x.use, x.Now())
	return x.Gateway.Forward(ctx, o, c, w)
}

// Refuse waits for people where they are asked, as long as the client does: once they have approved, the call passes. A
// host is never told to ask its own user: some run the call then, and some hang.
func (x *exchange) Refuse(w http.ResponseWriter, r *http.Request, d remit.Decision) {
	if d.Verdict != remit.Hold {
		deny(w, d, lesson(x.request.Tool.Why))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), patience(r))
	defer cancel()
	status, why, err := x.Holds.Wait(ctx, d.Access)
	passed := false
	switch {
	case err != nil && ctx.Err() == nil:
		e := gateway.AsError(remit.Internal, err)
		problem(w, e.Code, e.Sentence)
		return
	case status == remit.AccessVoid:
		code, _, _ := strings.Cut(why, ":")
		if remit.Code(code).Info().Code != remit.Code(code) {
			code = string(remit.Vetoed)
		}
		problem(w, remit.Code(code), fmt.Sprintf("%s was not approved, so the call is denied: %s", d.Access, why))
		return
	case status == remit.AccessUsed: // the pass was there before the approval was used
		_, passed = x.Answers.Take(x.caller.Task, x.use.order)
	default:
		_, passed = x.Answers.Wait(ctx, x.caller.Task, x.use.order)
	}
	if passed {
		x.seen.add(x.use, x.Now())
		noObjection(w)
		return
	}
	problem(w, d.Code, fmt.Sprintf("waiting for approval %s %s: %s%s; the same call asked again passes once people approved", d.Access, x.Holds.URL(d.Access), sentence(d), lesson(x.request.Tool.Why)))
}

// alive writes the canary down as a decision of its own and denies it, whatever was decided: whoever gets this answer
// knows that hook, socket, server and log work.
func (g *Gateway) alive(w http.ResponseWriter, r *http.Request, caller remit.Caller, authz gateway.Authorizer) {
	d, err := authz.Authorize(r.Context(), remit.Request{Gateway: Name, Caller: caller, Advice: true,
		Steps: []remit.Step{{Action: "tool.call", Resource: "tool:" + remit.LocalTools + "/canary", Args: remit.ToolDigest("", nil)}},
		Tool:  &remit.ToolCall{Server: remit.LocalTools, Name: "canary", Why: []string{"canary"}}})
	if err != nil {
		e := gateway.AsError(remit.Internal, err)
		problem(w, e.Code, e.Sentence)
		return
	}
	problem(w, remit.Forbidden, fmt.Sprintf("%s reached the authority (entry %d) and is denied, as it always is", canary, d.Entry))
}

func noObjection(w http.ResponseWriter) {
	w.Header().Set("Remit-Hook", NoObjection)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

func deny(w http.ResponseWriter, d remit.Decision, lesson string) {
	problem(w, d.Code, fmt.Sprintf("denied: %s%s (remit why %d)", sentence(d), lesson, d.Entry))
}

// lesson tells a model what made its call more than ordinary, and what would be less.
func lesson(why []string) string {
	var all []string
	for _, code := range why {
		if l := lessons(code); l != "" {
			code += " (" + l + ")"
		}
		all = append(all, code)
	}
	if len(all) == 0 {
		return ""
	}
	return "; seen in it: " + strings.Join(all, ", ")
}

func lessons(code string) string {
	switch code {
	case sh.WhyDynamic:
		return "write the command out, without variables and substitutions whose value it does not show"
	case sh.WhyInline:
		return "put the code into a file of the work tree, and run that"
	case sh.WhyOutside:
		return "stay within the work tree"
	case sh.WhyGitURL:
		return "name the remote"
	case sh.WhyOption:
		return "try it with fewer options"
	case sh.WhyControl, "settings":
		return "what runs or is obeyed later is for people to change"
	case sh.WhySecret:
		return "credentials are not for agents; Remit's gateways have them"
	case "mcp":
		return "the server does not pass Remit; it has to be declared"
	case "odd-path", "odd-address":
		return "write it plainly"
	case "repl":
		return "run the command itself"
	}
	return ""
}

func sentence(d remit.Decision) string {
	if d.Sentence == "" {
		return d.Code.Info().Meaning
	}
	return d.Sentence
}

func problem(w http.ResponseWriter, code remit.Code, sentence string) {
	i := code.Info()
	b, err := json.Marshal(remit.Problem{Code: code, Title: i.Meaning, Detail: sentence, Status: i.HTTP})
	if err != nil { // plain values only
		b = nil
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(i.HTTP)
	_, _ = w.Write(b) // the client is gone: there is nobody to tell
}

// maxCard is the most of a call's text that a card shows, in bytes.
const maxCard = 30 << 10

// card is the call as people read it.
func (c *call) card(f finding) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s wants to use its own tool %q\n", c.host, c.tool)
	if len(f.why) > 0 {
		fmt.Fprintf(&b, "seen in it: %s\n", strings.Join(f.why, ", "))
	}
	b.WriteString("Remit does not carry it out and sees nothing of what it does: the agent's own program runs it.\n\n")
	text := c.command
	if c.kind == shell {
		fmt.Fprintf(&b, "in %q, of the work tree %q:\n", c.place().dir, c.place().tree)
	} else {
		var out bytes.Buffer
		if json.Indent(&out, c.input, "", "  ") == nil {
			text = out.String()
		}
	}
	shown := remit.Shown{}
	if len(text) > maxCard {
		fmt.Fprintf(&b, "%d bytes, SHA-256 %s; the end is not shown\n", len(text), remit.Hash([]byte(text)))
		text, shown.Cut = text[:maxCard], true
	}
	b.WriteString(strings.ToValidUTF8(text, "?") + "\n")
	shown.Diff = b.String()
	out, err := json.Marshal(shown)
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "the call cannot be shown: %w", err)
	}
	return out, nil
}

// use is one use of a tool. Hosts run a hook twice when it is registered twice.
type use struct {
	instance               remit.ID
	host, conversation, id string
	order                  remit.Digest
}

// How long, and how many, allowed uses are remembered.
const (
	rememberFor = time.Minute
	maxSeen     = 4096
)

// seen remembers which uses of a tool were let go, so that asking twice is one decision. When there are many the oldest
// half is forgotten: asking once more is only one more decision.
type seen struct {
	mu         sync.Mutex
	young, old map[use]time.Time // until when
}

func (s *seen) before(u use, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.young[u]
	if !ok {
		until, ok = s.old[u]
	}
	return ok && now.Before(until)
}

// add remembers a use that has an id: without one, two calls that look the same are two calls.
func (s *seen) add(u use, now time.Time) {
	if u.id == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.young == nil || len(s.young) >= maxSeen/2 {
		s.young, s.old = map[use]time.Time{}, s.young
	}
	s.young[u] = now.Add(rememberFor)
}

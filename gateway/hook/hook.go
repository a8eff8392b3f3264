// Package hook is the gateway for what an agent does within its own process: the shell commands, file changes and web
// fetches that pass no network gateway. The agent's program, here the host, calls `remit hook` before it uses a tool;
// that posts the host's own JSON to
//
//	POST …/hook/HOST/EVENT
//
// and the call is judged against the same task and policy as everything else. The answer is 204 with the header
// Remit-Hook: no-objection, or a problem. It is never the host's own "allow", which would skip what the host itself asks
// about.
//
// No hook is a boundary. A host can be told to skip its hooks, each of them lets some failure of a hook pass, and a
// program that was allowed to run does what it likes. Here are the early denial, the lesson that the model can use, and
// the record. The boundary is that nothing else has a credential, and remit run --isolate.
package hook

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Name is what the gateway calls itself, and what its tokens are for.
const Name = "hook"

// MaxBody is the most of a host's JSON that is read, in bytes.
const MaxBody = 1 << 20

// NoObjection is the value of the header Remit-Hook that comes with a 204 of this gateway, and with nothing else.
const NoObjection = "no-objection"

// How long a call waits for people if the client does not say, and at most.
const (
	defaultWait = 20 * time.Second
	maxWait     = 50 * time.Second
)

// Holds says what becomes of what waits for people.
type Holds interface {
	// Wait returns when the access request is neither open nor met any more, or ctx ends: then its status is as it is.
	Wait(ctx context.Context, access remit.ID) (status remit.AccessStatus, why string, err error)
	// URL is the page on which people look at it.
	URL(access remit.ID) string
}

// Gateway is the protocol.
type Gateway struct {
	Holds   Holds
	Answers *gateway.Answers                         // the one-time passes of approved calls
	Payload func(body []byte) (remit.Payload, error) // makes what a request names by commitment
	Now     func() time.Time

	seen seen
}

// order is a call as it is stored while people decide: enough to tell the same call when it is asked again. Nothing is
// carried out by it but the pass.
type order struct {
	Call remit.Digest `json:"call"` // of all that it says: what would be done, by which host, where, and what is told of the place
}

// readRequest takes a request apart: the host and event of its address, what the command line said, and the host's JSON.
func readRequest(r *http.Request) (call, error) {
	if r.Method != http.MethodPost {
		return call{}, remit.Errorf(remit.BadRequest, "say POST …/hook/HOST/EVENT")
	}
	_, rest, _ := strings.Cut(r.URL.Path, "/"+Name+"/")
	host, event, ok := strings.Cut(rest, "/")
	if !ok || event == "" || strings.Contains(event, "/") {
		return call{}, remit.Errorf(remit.BadRequest, "say POST …/hook/HOST/EVENT")
	}
	s, err := readSaid(r.Header)
	if err != nil {
		return call{}, err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		return call{}, remit.Errorf(remit.BadRequest, "the host's JSON broke off: %w", err)
	}
	return readCall(host, event, s, body)
}

func readSaid(h http.Header) (said, error) {
	s := said{dialect: "bash", front: []string{"remit"}}
	for name, to := range map[string]*string{"Remit-Tree": &s.tree, "Remit-Home": &s.home, "Remit-Shell": &s.dialect} {
		v, err := url.PathUnescape(h.Get(name))
		if err != nil || strings.ContainsRune(v, 0) || v != "" && name != "Remit-Shell" && !path.IsAbs(v) {
			return said{}, remit.Errorf(remit.BadRequest, "the header %s is an absolute path, with %%XX for other bytes", name)
		}
		if v != "" {
			*to = v
		}
	}
	if v := h.Get("Remit-Front"); v != "" {
		s.front = nil
		for name := range strings.SplitSeq(v, ",") {
			name, err := url.PathUnescape(name)
			if err != nil || name == "" {
				return said{}, remit.Errorf(remit.BadRequest, "the header Remit-Front is a list of names")
			}
			s.front = append(s.front, name)
		}
	}
	return s, nil
}

// patience is how long the client waits for people (RFC 7240 §4.3).
func patience(r *http.Request) time.Duration {
	for _, p := range r.Header.Values("Prefer") {
		if v, ok := strings.CutPrefix(strings.TrimSpace(p), "wait="); ok {
			if n, err := strconv.Atoi(v); err == nil && n >= 0 {
				return min(time.Duration(n)*time.Second, maxWait)
			}
		}
	}
	return defaultWait
}

// ask is what the authority is asked about a call.
func (g *Gateway) ask(caller remit.Caller, c call, f finding) (remit.Request, []remit.Payload, error) {
	args, err := encode(f.args)
	if err != nil {
		return remit.Request{}, nil, err
	}
	digest := remit.ToolDigest("", args)
	body, err := json.Marshal(order{Call: digest})
	if err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.Internal, "the call cannot be stored: %w", err)
	}
	for i := range f.steps {
		f.steps[i].Args = digest
	}
	name := strings.TrimPrefix(f.steps[0].Resource.Name(), remit.LocalTools+"/")
	tool := &remit.ToolCall{Server: remit.LocalTools, Name: name, Host: c.host, Arguments: args, Why: f.why}
	if len(args) > remit.MaxArguments {
		tool.Arguments, tool.Truncated = nil, true
	}
	card, err := c.card(f)
	if err != nil {
		return remit.Request{}, nil, err
	}
	shown, err := g.Payload(card)
	if err != nil {
		return remit.Request{}, nil, err
	}
	return remit.Request{Gateway: Name, Caller: caller, Steps: f.steps, Tool: tool, Order: body, Card: shown.Commitment()}, []remit.Payload{shown}, nil
}

// Classify reads a call that has to be judged. The handler does not need it.
func (g *Gateway) Classify(_ context.Context, caller remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	c, err := readRequest(r)
	if err != nil {
		return remit.Request{}, nil, err
	}
	x, err := g.exchange(caller, c)
	if err != nil {
		return remit.Request{}, nil, err
	}
	if x == nil {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "there is nothing to judge in event %.40q", c.event)
	}
	return x.request, x.payloads, nil
}

// Forward hands an allowed call to the host, which carries it out. Where people approved it meanwhile, the pass waits for
// the host to ask again.
func (g *Gateway) Forward(_ context.Context, o remit.Order, _ gateway.Credential, w http.ResponseWriter) gateway.Result {
	if w == nil {
		g.Answers.Keep(o.Caller.Task, remit.Hash(o.Body), gateway.Answer{Status: http.StatusNoContent})
		return gateway.Result{Outcome: remit.Done, Receipt: []byte("a pass for this call, once, is kept for the host")}
	}
	noObjection(w)
	return gateway.Result{Outcome: remit.Done, Receipt: []byte("handed to the host, which carries it out")}
}

// Refuse answers with the decision.
func (*Gateway) Refuse(w http.ResponseWriter, _ *http.Request, d remit.Decision) { deny(w, d, "") }

// Fail answers with the problem.
func (*Gateway) Fail(w http.ResponseWriter, _ *http.Request, e *remit.Error) {
	problem(w, e.Code, e.Sentence)
}

// Reconcile: whether the host got the answer, and what it did then, nobody can tell.
func (*Gateway) Reconcile(context.Context, remit.Order) gateway.Result {
	return gateway.Result{Outcome: remit.Ambiguous}
}

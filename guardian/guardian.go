// Package guardian speaks the Guardian's side of the OWASP Agent Control Standard, version 0.1.0: a host that can speak it
// asks here about each step of its agent, and what would do something is judged as if it had come through the agent's own
// hook. Its numbers in comments (§) are those of the standard's specification of Instrument.
//
//	POST …/acs        one request of JSON-RPC 2.0, signed
//	GET  …/acs/key    the key of the instance that asks, which its host signs with
//
// The standard's default is that a host goes on where its guardian fails. Here the handshake always says otherwise, and a
// host that insists on it is refused. Like every hook it is no boundary: it depends on the host to ask and to obey.
package guardian

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Name is what the gateway calls itself, and what its tokens are for.
const Name = "acs"

// MaxBody is the most of a request, in bytes.
const MaxBody = 1 << 20

// decideWithin is how long a host waits for a decision: longer than the authority waits for people.
const decideWithin = time.Minute

// Verdict is what the authority makes of a call.
type Verdict struct {
	Decision remit.Verdict // Allow, Deny, or Hold: people have not decided yet; the same call asked again may pass
	Code     remit.Code    // why not
	Sentence string
}

// Call is what an agent is about to do, in the terms of the hosts whose hooks Remit knows.
type Call struct {
	Session string
	ID      string                     // of this one call
	Dir     string                     // where the host works, absolute; empty: it did not say
	Tool    string                     // by the name that its host has for it, or Bash for what runs a command
	Input   map[string]json.RawMessage // its arguments
}

// Judge decides. r is the request, with its proof of who is calling, for the pipeline.
type Judge interface {
	Judge(ctx context.Context, r *http.Request, caller remit.Caller, c Call) (Verdict, error)
}

// Guardian is the handler of …/acs and what lies below it.
type Guardian struct {
	Authn gateway.Authenticator
	Judge Judge
	Key   func(instance remit.ID) ([]byte, error) // shared with the instance, 32 bytes
	Now   func() time.Time
	Log   *slog.Logger

	sessions sessions
}

func (g *Guardian) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	caller, err := g.Authn.Authenticate(r)
	if err == nil && caller.Instance == "" {
		err = remit.Errorf(remit.Forbidden, "only an instance has a guardian")
	}
	if err != nil {
		e := gateway.AsError(remit.Unauthenticated, err)
		w.WriteHeader(e.Code.Info().HTTP)
		g.send(w, nil, fail(sessionRefused, "unauthenticated", e.Sentence))
		return
	}
	_, below, _ := strings.Cut(r.URL.Path, "/"+Name)
	switch below = strings.Trim(below, "/"); {
	case below == "key" && r.Method == http.MethodGet:
		g.sendKey(w, caller)
	case below == "" && r.Method == http.MethodPost:
		g.exchange(w, r, caller)
	case below == "" || below == "key":
		w.Header().Set("Allow", map[string]string{"": http.MethodPost, "key": http.MethodGet}[below])
		w.WriteHeader(http.StatusMethodNotAllowed)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// sendKey hands the instance its key. Who may ask is who could ask anything in the instance's name.
func (g *Guardian) sendKey(w http.ResponseWriter, caller remit.Caller) {
	key, err := g.Key(caller.Instance)
	if err != nil {
		g.Log.Error("making an instance's key", "instance", caller.Instance, "err", err)
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	b, err := json.Marshal(map[string]string{"key_id": string(caller.Instance), "key": hex.EncodeToString(key), "algorithm": algorithm})
	if err != nil { // plain values only
		return
	}
	_, _ = w.Write(b) // the client is gone: there is nobody to tell
}

// exchange answers one request. Nothing is decided before the request is authenticated, and nothing is read for a decision
// before it is known to be well formed.
func (g *Guardian) exchange(w http.ResponseWriter, r *http.Request, caller remit.Caller) {
	body, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil {
		g.send(w, nil, fail(parseError, "parse_error", "the request broke off"))
		return
	}
	e, f := read(body)
	if f != nil {
		g.send(w, e, f)
		return
	}
	if e.method == ping {
		g.send(w, e, g.pong(e))
		return
	}
	if f := e.sealed(); f != nil {
		g.send(w, e, f)
		return
	}
	shared, err := g.Key(caller.Instance)
	if err != nil {
		g.Log.ErrorContext(r.Context(), "making an instance's key", "instance", caller.Instance, "err", err)
		g.send(w, e, fail(internalError, "no_key", "there is no key to check the signature with"))
		return
	}
	key, err := sessionKey(shared, e.session)
	if err != nil || verify(key, string(caller.Instance), e.raw, *e.signature) != nil {
		g.send(w, e, fail(signatureInvalid, "signature_invalid", "the signature does not verify with the key of this instance"))
		return
	}
	var answer any
	if f := e.open(); f != nil {
		answer = f
	} else if e.method == hello {
		answer = g.handshake(caller, e)
	} else {
		answer = g.step(r, caller, e)
	}
	g.sendSigned(w, e, answer, key, string(caller.Instance))
}

// pong answers a ping: always, unsigned, and outside of the chain (§13).
func (g *Guardian) pong(e *envelope) any {
	params, _ := object(e.params)
	request, _ := params.text("request_id")
	payload, _ := object(params["payload"])
	p := map[string]any{"status": "ok", "server_timestamp": g.Now().UTC().Format(time.RFC3339)}
	if echo, ok := payload.text("echo"); ok && payload["echo"] != nil && len(echo) <= 4<<10 {
		p["echo"] = echo
	}
	return &result{Type: "final", Version: version, Request: request, Decision: "allow", Payload: p}
}

func (g *Guardian) handshake(caller remit.Caller, e *envelope) any {
	now := g.Now()
	lists := map[string][]string{}
	for _, name := range []string{"acs_versions_supported", "methods_implemented", "transports_supported", "profiles_supported"} {
		raw, there := e.payload[name]
		var list []string
		if there && (json.Unmarshal(raw, &list) != nil || len(list) > maxMethods) || !there && name != "profiles_supported" {
			return fail(invalidParams, "hello_invalid", name+" is a list of texts")
		}
		lists[name] = list
	}
	if p, ok := e.payload.text("provenance_producer"); !ok || p != "deterministic" && p != "none" {
		return fail(invalidParams, "hello_invalid", "provenance_producer is deterministic or none")
	}
	// The posture is the guardian's to say (§4). A host that says it for itself, and says that it goes on, would not obey.
	for _, name := range []string{"on_decision_failure", "startup_posture", "on_handshake_failure"} {
		if v, ok := e.payload[name]; ok && string(v) != `"deny"` && string(v) != `"refuse"` {
			return fail(sessionRefused, "fail_open", "this guardian guards no host that goes on without a decision; "+name+" must be deny")
		}
	}
	if !slices.ContainsFunc(lists["acs_versions_supported"], sameMajor) {
		f := fail(unsupported, "unsupported_version", "this guardian speaks "+version)
		f.Data.Versions = []string{version}
		return f
	}
	i := slices.IndexFunc(lists["transports_supported"], func(t string) bool { return t == "http" || t == "https" })
	if i < 0 {
		return fail(sessionRefused, "transport", "this guardian is reached by http or https")
	}
	out := &serverHello{Version: version, Methods: []string{}, Transport: lists["transports_supported"][i], Algorithms: []string{algorithm},
		Timeout: timeout{decideWithin.Milliseconds()}, Skew: skew.Milliseconds(), OnFailure: "deny", Approvers: []string{}, Profiles: []string{}}
	for _, m := range lists["methods_implemented"] {
		_, native := steps[m]
		if _, mcp := wrapped(m); (native || mcp) && !slices.Contains(out.Methods, m) {
			out.Methods = append(out.Methods, m)
		}
	}
	// What is not negotiated is not asked about. A host that never asks before it acts has no use for a guardian.
	if !slices.Contains(out.Methods, "steps/toolCallRequest") {
		return fail(sessionRefused, "tool_calls_unguarded", "the host must ask by steps/toolCallRequest before its agent uses a tool")
	}
	if slices.Contains(lists["profiles_supported"], "acs-core") {
		out.Profiles = []string{"acs-core"}
	}
	said, err := canonical(map[string]json.RawMessage(e.payload))
	if err != nil {
		return fail(invalidParams, "hello_invalid", "the hello has no canonical form")
	}
	s := g.sessions.open(owner{caller.Instance, e.session}, now)
	if s == nil {
		return fail(sessionRefused, "too_many_sessions", "there are as many sessions as this guardian keeps")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	digest := remit.Hash([]byte(e.agent+"\n"), said)
	if s.agreed && s.hello != digest {
		return fail(sessionRefused, "negotiated", "the ACS session was agreed on in other terms, and they do not change")
	}
	if f := s.reserve(e, now); f != nil {
		return f
	}
	s.agreed, s.hello, s.agent, s.methods = true, digest, e.agent, out.Methods
	return out
}

// step answers one step of an agreed session.
func (g *Guardian) step(r *http.Request, caller remit.Caller, e *envelope) any {
	kind, native := steps[e.method]
	inner, mcp := wrapped(e.method)
	if !native && !mcp {
		return fail(methodNotFound, "method_not_found", "the standard has no such method")
	}
	s := g.sessions.find(owner{caller.Instance, e.session}, g.Now())
	if s == nil {
		return unagreed(e.method, "the session has not begun with "+hello)
	}
	dir, answer := g.admit(s, e, kind.after)
	if answer != nil {
		return answer
	}
	v := Verdict{Decision: remit.Allow}
	var c *Call
	var f *failure
	switch {
	case e.method == "steps/toolCallRequest":
		c, f = toolCall(e.payload)
	case e.method == "steps/subagentStart":
		c, f = subagent(e.payload)
	case mcp:
		c, f = message(inner, e.payload)
	}
	if f != nil {
		return f
	}
	if c != nil {
		c.Session, c.ID, c.Dir = e.session, e.request, dir
		ctx, cancel := context.WithTimeout(r.Context(), decideWithin)
		defer cancel()
		var err error
		if v, err = g.Judge.Judge(ctx, r, caller, *c); err != nil {
			v = Verdict{Decision: remit.Deny, Code: gateway.AsError(remit.Internal, err).Code, Sentence: "nothing could be decided, so the call is denied"}
			g.Log.ErrorContext(ctx, "judging a call", "instance", caller.Instance, "err", err)
		}
	}
	return g.decision(s, e, v)
}

func unagreed(method, sentence string) *failure {
	f := fail(notNegotiated, "capability_not_negotiated", sentence)
	f.Data.Method = method
	return f
}

// admit checks a step against its session: an answer means that it goes no further.
func (g *Guardian) admit(s *session, e *envelope, after bool) (dir string, answer any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !s.agreed:
		return "", unagreed(e.method, "the session has not begun with "+hello)
	case !s.negotiated(e.method):
		return "", unagreed(e.method, "the ACS session did not agree on "+e.method)
	case s.ended:
		return "", fail(replayDetected, "session_ended", "the ACS session has ended")
	}
	if f := s.reserve(e, g.Now()); f != nil {
		return "", f
	}
	switch {
	case s.agent != e.agent && after:
		return "", fail(sessionRefused, "agent_id_not_bound", "the session is another agent's")
	case s.agent != e.agent:
		return "", denied(e, s, "agent_id_not_bound", "the session is another agent's")
	case e.chain != "" && e.chain != hex.EncodeToString(s.head) && after:
		return "", fail(chainMismatch, "chain_mismatch", "the client's chain is not this guardian's")
	case e.chain != "" && e.chain != hex.EncodeToString(s.head):
		return "", denied(e, s, "chain_mismatch", "the client's chain is not this guardian's")
	}
	switch e.method {
	case "steps/sessionStart":
		if context, ok := object(e.payload["platform_context"]); ok {
			for _, name := range []string{"cwd", "working_directory"} {
				if d, ok := context.text(name); ok && strings.HasPrefix(d, "/") && s.dir == "" && len(d) <= 4096 {
					s.dir = d
				}
			}
		}
	case "steps/sessionEnd":
		s.ended = true
	}
	return s.dir, nil
}

func denied(e *envelope, s *session, code, sentence string) *result {
	return &result{Type: "final", Version: version, Request: e.request, Decision: "deny", Reasoning: sentence, Codes: []string{code}, Chain: hex.EncodeToString(s.head)}
}

// decision writes the step to the chain and says what was decided. A hold is a deferral that ends as a denial: a host
// cannot be told to ask its own user (§9.2), whose word counts for nothing here.
func (g *Guardian) decision(s *session, e *envelope, v Verdict) any {
	s.mu.Lock()
	defer s.mu.Unlock()
	head, err := s.write(e, g.Now())
	if err != nil {
		return fail(invalidRequest, "envelope_invalid", "params has no canonical form")
	}
	out := &result{Type: "final", Version: version, Request: e.request, Reasoning: v.Sentence, Metadata: &metadata{"deterministic"}, Chain: head}
	if v.Code != "" {
		out.Codes = []string{strings.ToLower(string(v.Code))}
	}
	switch {
	case v.Decision == remit.Allow:
		out.Decision, out.Codes, out.Reasoning = "allow", nil, ""
	case v.Decision == remit.Hold && s.defers < maxDeferrals:
		s.defers++
		out.Decision = "defer"
		out.Defer = &deferral{Reason: "pending_dependency", Method: "human_approval", Timeout: decideWithin.Milliseconds(), Decision: "deny"}
	case v.Decision == remit.Hold:
		out.Decision, out.Codes = "deny", append(out.Codes, "approver_unavailable")
	default:
		out.Decision = "deny"
	}
	if out.Decision != "allow" && out.Reasoning == "" {
		out.Reasoning = v.Code.Info().Meaning
	}
	return out
}

// answer is the envelope of an answer, and which member of it is signed.
func answer(e *envelope, what any) (envelopeOut map[string]json.RawMessage, part string, err error) {
	id := json.RawMessage("null")
	if e != nil && identifies(e.id) {
		id = e.id
	}
	part = "result"
	if _, failed := what.(*failure); failed {
		part = "error"
	}
	raw, err := json.Marshal(what)
	return map[string]json.RawMessage{"jsonrpc": json.RawMessage(`"2.0"`), "id": id, part: raw}, part, err
}

// send answers whom no key was shown to be shared with: unsigned.
func (g *Guardian) send(w http.ResponseWriter, e *envelope, what any) {
	out, _, err := answer(e, what)
	if err != nil {
		g.Log.Error("writing an answer", "err", err)
		return
	}
	g.write(w, out)
}

// sendSigned signs the answer with the session's key (§10).
func (g *Guardian) sendSigned(w http.ResponseWriter, e *envelope, what any, key []byte, keyID string) {
	out, part, err := answer(e, what)
	if err == nil {
		var sig signature
		if sig, err = sign(key, keyID, out, part); err == nil {
			switch what := what.(type) {
			case *failure:
				what.Signature = &sig
			case *result:
				what.Signature = &sig
			case *serverHello:
				what.Signature = &sig
			}
			out, _, err = answer(e, what)
		}
	}
	if err != nil {
		g.Log.Error("signing an answer", "err", err)
		g.send(w, e, fail(internalError, "answer_failed", "the answer could not be signed, so there is none"))
		return
	}
	g.write(w, out)
}

func (g *Guardian) write(w http.ResponseWriter, out map[string]json.RawMessage) {
	b, err := json.Marshal(out)
	if err != nil {
		g.Log.Error("writing an answer", "err", err)
		return
	}
	_, _ = w.Write(b) // the client is gone: there is nobody to tell
}

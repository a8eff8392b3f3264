package guardian

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"

	"github.com/remit-dev/remit"
)

const (
	theSession = "5c3f1b8e-9a0d-4c2e-8f4b-2d6a7e9c1b30"
	vectorKey  = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
)

// The vectors of the reference implementation, made with another language's JSON and hashes.
const (
	vectorRequest = `{"jsonrpc":"2.0","method":"steps/toolCallRequest","id":"8d0b6b0e-4d6b-4f7a-9d1c-1f1c7f0e2a10","params":{"acs_version":"0.1.0","request_id":"8d0b6b0e-4d6b-4f7a-9d1c-1f1c7f0e2a10",
		"timestamp":"2026-09-19T10:00:00Z","metadata":{"agent_id":"agent","session_id":"5c3f1b8e-9a0d-4c2e-8f4b-2d6a7e9c1b30"},"payload":{"tool":{"name":"Bash"},"arguments":{"command":{"value":"echo rm -rf /"}},
		"raw_command":"echo rm -rf /"},"signature":{"algorithm":"HMAC-SHA256","value":"yJ3BXf/Hfc3jSnSMgOoNVGQ+5LKBKakvctDwE52lrM0=","key_id":"k1"}}}`
	vectorResult = `{"type":"final","acs_version":"0.1.0","request_id":"8d0b6b0e-4d6b-4f7a-9d1c-1f1c7f0e2a10","decision":"deny","reasoning":"blocked","reason_codes":["destructive_shell_command_blocked"],
		"chain_hash":"14e6d50a913e8295606bc0d86ee9cde870040e0e0a319b13ae15836128d0d111"}`
)

func TestTheVectorsOfTheReferenceImplementation(t *testing.T) {
	shared, err := hex.DecodeString(vectorKey)
	if err != nil {
		t.Fatal(err)
	}
	key, err := sessionKey(shared, theSession)
	if err != nil || hex.EncodeToString(key) != "4e86230ba407bc623132e84189722dc2b4ab73f217ff67e0492c82fdf0d66309" {
		t.Fatalf("session key %x, %v", key, err)
	}
	e, f := read([]byte(vectorRequest))
	if f != nil || e.sealed() != nil || e.open() != nil {
		t.Fatalf("the vector's request is not read: %+v", f)
	}
	if err := verify(key, "k1", e.raw, *e.signature); err != nil {
		t.Errorf("the vector's request: %v", err)
	}
	out := map[string]json.RawMessage{"jsonrpc": json.RawMessage(`"2.0"`), "id": json.RawMessage(`"8d0b6b0e-4d6b-4f7a-9d1c-1f1c7f0e2a10"`), "result": json.RawMessage(vectorResult)}
	if sig, err := sign(key, "k1", out, "result"); err != nil || sig.Value != "Shh4i+RWlfCNfAoFlE7gp5QUoyCI8jz3HMKHzH/2gG0=" {
		t.Errorf("the vector's response: %+v, %v", sig, err)
	}
	params, _ := object(e.params)
	delete(params, "signature")
	raw, err := json.Marshal(params)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := requestHash(raw)
	if err != nil || hash != "1f73e15e340da6bc294e18e38557aef0241921fd3985c94266e1b7416c743058" {
		t.Errorf("request hash %s, %v", hash, err)
	}
	var head []byte
	for _, c := range []struct {
		e    entry
		want string
	}{
		{entry{ID: "1", Step: "0b2f6f7e-0c1d-4e5f-8a9b-1c2d3e4f5a60", Type: "steps/sessionStart", Timestamp: "2026-09-19T10:00:00Z"}, "1552a42d04ec72f9c18945400488e3f50fba5b3256537db01b705eea66e30373"},
		{entry{ID: "2", Step: "8d0b6b0e-4d6b-4f7a-9d1c-1f1c7f0e2a10", Type: "steps/toolCallRequest", RequestHash: hash, Timestamp: "2026-09-19T10:00:01Z",
			Provenance: json.RawMessage(`{"origins_seen":["user_input","tool_output"],"entry_count":2,"entry_count_by_origin":{"user_input":1,"tool_output":1}}`)}, "14e6d50a913e8295606bc0d86ee9cde870040e0e0a319b13ae15836128d0d111"},
		{entry{ID: "é-3", Step: "c1d2e3f4-a5b6-4c7d-8e9f-0a1b2c3d4e5f", Type: "steps/toolCallResult", Timestamp: "2026-09-19T10:00:02Z"}, "86e28e694a7e762f205dc0739e4764d9cb32ff2c2c03a56ca88ecbbe0f505229"},
	} {
		if head, err = link(c.e, head); err != nil || hex.EncodeToString(head) != c.want {
			t.Fatalf("entry %s: %x, %v, want %s", c.e.ID, head, err, c.want)
		}
	}
}

// host is an agent's program that asks a guardian, and the authority behind it.
type host struct {
	t        *testing.T
	g        *Guardian
	now      time.Time
	instance remit.ID
	session  string
	agent    string
	n        int
	verdict  Verdict
	err      error
	calls    []Call
}

func (h *host) Authenticate(r *http.Request) (remit.Caller, error) {
	if r.Header.Get("Authorization") == "" {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "no token")
	}
	return remit.Caller{Instance: h.instance, Task: "T-1", Agent: "builder"}, nil
}

func (h *host) Judge(_ context.Context, _ *http.Request, _ remit.Caller, c Call) (Verdict, error) {
	h.calls = append(h.calls, c)
	return h.verdict, h.err
}

func newHost(t *testing.T) *host {
	h := &host{t: t, now: time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC), instance: "I-1", session: theSession, agent: "claude-code:1", verdict: Verdict{Decision: remit.Allow}}
	h.g = &Guardian{Authn: h, Judge: h, Key: keyOf, Now: func() time.Time { return h.now }, Log: slog.New(slog.DiscardHandler)}
	return h
}

func keyOf(i remit.ID) ([]byte, error) { return []byte(strings.Repeat(string(i), 32)[:32]), nil }

// request is one that the host would send; change may spoil it before it is signed.
func (h *host) request(method string, payload any, change func(envelope, params map[string]any)) map[string]any {
	h.n++
	params := map[string]any{"acs_version": version, "request_id": fmt.Sprintf("00000000-0000-4000-8000-%012d", h.n), "timestamp": h.now.Format(time.RFC3339),
		"metadata": map[string]any{"agent_id": h.agent, "session_id": h.session}, "payload": payload}
	e := map[string]any{"jsonrpc": "2.0", "id": h.n, "method": method, "params": params}
	if change != nil {
		change(e, params)
	}
	return e
}

func (h *host) key() []byte {
	shared, err := keyOf(h.instance)
	if err != nil {
		h.t.Fatal(err)
	}
	key, err := sessionKey(shared, h.session)
	if err != nil {
		h.t.Fatal(err)
	}
	return key
}

// signed is the request with its signature: made here apart from the code that checks it.
func (h *host) signed(e map[string]any) []byte {
	raw, err := json.Marshal(e)
	if err != nil {
		h.t.Fatal(err)
	}
	input, err := jcs.Transform(raw)
	if err != nil {
		h.t.Fatal(err)
	}
	e["params"].(map[string]any)["signature"] = map[string]any{"algorithm": algorithm, "key_id": string(h.instance), "value": base64.StdEncoding.EncodeToString(mac(h.key(), input))}
	if raw, err = json.Marshal(e); err != nil {
		h.t.Fatal(err)
	}
	return raw
}

// reply is what came back.
type reply struct {
	status int
	ID     json.RawMessage
	Result map[string]any
	Error  *failure
	body   []byte
}

func (h *host) post(body []byte) reply {
	h.t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/v1/orgs/acme/acs", bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer x")
	w := httptest.NewRecorder()
	h.g.ServeHTTP(w, r)
	out := reply{status: w.Code, body: w.Body.Bytes()}
	if err := json.Unmarshal(out.body, &out); err != nil {
		h.t.Fatalf("the answer %s: %v", out.body, err)
	}
	return out
}

func (h *host) ask(method string, payload any) reply {
	h.t.Helper()
	return h.post(h.signed(h.request(method, payload, nil)))
}

// checked tells whether the answer is signed with the session's key.
func (h *host) checked(a reply) bool {
	var e map[string]map[string]any
	var whole map[string]json.RawMessage
	if json.Unmarshal(a.body, &whole) != nil {
		return false
	}
	part := "result"
	if a.Error != nil {
		part = "error"
	}
	e = map[string]map[string]any{}
	var inner map[string]any
	if json.Unmarshal(whole[part], &inner) != nil {
		return false
	}
	e[part] = inner
	sig, ok := inner["signature"].(map[string]any)
	if !ok {
		return false
	}
	delete(inner, "signature")
	raw, err := json.Marshal(inner)
	if err != nil {
		return false
	}
	whole[part] = raw
	if raw, err = json.Marshal(whole); err != nil {
		return false
	}
	input, err := jcs.Transform(raw)
	return err == nil && sig["key_id"] == string(h.instance) && sig["value"] == base64.StdEncoding.EncodeToString(mac(h.key(), input))
}

func clientHello() map[string]any {
	return map[string]any{"acs_versions_supported": []string{"0.1.0"}, "methods_implemented": append(slices.Sorted(maps.Keys(steps)), "protocols/MCP/*", "trace/x"),
		"transports_supported": []string{"stdio", "http"}, "provenance_producer": "none", "profiles_supported": []string{"acs-core", "acs-crypto"}, "a_field_of_tomorrow": 1}
}

func (h *host) shake() {
	h.t.Helper()
	if a := h.ask(hello, clientHello()); a.Error != nil {
		h.t.Fatalf("the handshake: %+v", a.Error)
	}
}

func bash(command string) map[string]any {
	return map[string]any{"tool": map[string]any{"name": "Bash"}, "arguments": map[string]any{"command": map[string]any{"value": command}}, "raw_command": command}
}

func TestTheHandshakeSaysThatAFailureIsADenial(t *testing.T) {
	h := newHost(t)
	a := h.ask(hello, clientHello())
	if a.Error != nil || a.Result["on_decision_failure"] != "deny" || a.Result["negotiated_version"] != version || a.Result["selected_transport"] != "http" || a.Result["skew_window_ms"] != 300000.0 {
		t.Fatalf("%s", a.body)
	}
	if !h.checked(a) {
		t.Error("the hello is not signed")
	}
	if m := fmt.Sprint(a.Result["methods_evaluated"]); !strings.Contains(m, "steps/toolCallRequest") || !strings.Contains(m, "protocols/MCP/*") || strings.Contains(m, "trace/") {
		t.Errorf("methods %s", m)
	}
	if p := fmt.Sprint(a.Result["profiles_accepted"]); p != "[acs-core]" {
		t.Errorf("profiles %s", p)
	}
	if a := h.ask(hello, clientHello()); a.Error != nil {
		t.Errorf("the same hello again: %+v", a.Error)
	}
	other := clientHello()
	other["provenance_producer"] = "deterministic"
	if a := h.ask(hello, other); a.Error == nil || a.Error.Code != sessionRefused {
		t.Errorf("other terms: %s", a.body)
	}
}

func TestWhatHandshakesAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(map[string]any)
		code   int
		reason string
	}{
		"a host that goes on without a decision": {func(m map[string]any) { m["on_decision_failure"] = "proceed" }, sessionRefused, "fail_open"},
		"one that starts without a guardian":     {func(m map[string]any) { m["startup_posture"] = "proceed" }, sessionRefused, "fail_open"},
		"no common version":                      {func(m map[string]any) { m["acs_versions_supported"] = []string{"1.0.0", "2.1.0", "0.x"} }, unsupported, "unsupported_version"},
		"no version":                             {func(m map[string]any) { delete(m, "acs_versions_supported") }, invalidParams, "hello_invalid"},
		"no transport of ours":                   {func(m map[string]any) { m["transports_supported"] = []string{"stdio"} }, sessionRefused, "transport"},
		"tool calls that nobody asks about": {func(m map[string]any) {
			m["methods_implemented"] = []string{"steps/sessionStart", "steps/toolCallResult"}
		}, sessionRefused, "tool_calls_unguarded"},
		"methods that are no list":             {func(m map[string]any) { m["methods_implemented"] = "steps/toolCallRequest" }, invalidParams, "hello_invalid"},
		"a provenance that is none of the two": {func(m map[string]any) { m["provenance_producer"] = "llm" }, invalidParams, "hello_invalid"},
		"more methods than there are":          {func(m map[string]any) { m["methods_implemented"] = slices.Repeat([]string{"x"}, maxMethods+1) }, invalidParams, "hello_invalid"},
	} {
		h := newHost(t)
		said := clientHello()
		c.change(said)
		a := h.ask(hello, said)
		if a.Error == nil || a.Error.Code != c.code || a.Error.Data.Reason != c.reason || !h.checked(a) {
			t.Errorf("%s: %s", name, a.body)
		}
		if a := h.ask("steps/toolCallRequest", bash("ls")); a.Error == nil || a.Error.Code != notNegotiated || len(h.calls) > 0 {
			t.Errorf("%s: a step after it: %s", name, a.body)
		}
	}
}

func TestAToolCallIsJudgedAndTheAnswerIsSignedAndChained(t *testing.T) {
	h := newHost(t)
	h.shake()
	start := h.ask("steps/sessionStart", map[string]any{"platform_context": map[string]any{"cwd": "/w/shop"}})
	if start.Result["decision"] != "allow" || !h.checked(start) || len(h.calls) > 0 {
		t.Fatalf("%s", start.body)
	}
	for _, c := range []struct {
		verdict  Verdict
		err      error
		decision string
		codes    string
	}{
		{Verdict{Decision: remit.Allow}, nil, "allow", "<nil>"},
		{Verdict{Decision: remit.Deny, Code: remit.OutOfScope, Sentence: "not yours"}, nil, "deny", "[out_of_scope]"},
		{Verdict{Decision: remit.Hold, Code: remit.ImpactHeld, Sentence: "waiting for A-1"}, nil, "defer", "[impact_held]"},
		{Verdict{Decision: remit.Allow}, errors.New("the log is gone: /secret/place"), "deny", "[internal]"},
		{Verdict{}, nil, "deny", "<nil>"},
	} {
		h.verdict, h.err = c.verdict, c.err
		a := h.ask("steps/toolCallRequest", bash("git push"))
		if a.Error != nil || a.Result["decision"] != c.decision || fmt.Sprint(a.Result["reason_codes"]) != c.codes || !h.checked(a) {
			t.Errorf("%+v: %s", c.verdict, a.body)
		}
		if c.decision != "allow" && a.Result["reasoning"] == "" || strings.Contains(string(a.body), "/secret/place") {
			t.Errorf("reasoning: %s", a.body)
		}
		if d, ok := a.Result["defer_details"].(map[string]any); ok != (c.decision == "defer") || ok && d["timeout_decision"] != "deny" {
			t.Errorf("deferral: %s", a.body)
		}
	}
	got := h.calls[0]
	if got.Session != theSession || got.Dir != "/w/shop" || got.Tool != "Bash" || string(got.Input["command"]) != `"git push"` || got.ID == "" {
		t.Errorf("judged %+v", got)
	}
}

func TestTheChainIsThatOfTheRequests(t *testing.T) {
	h := newHost(t)
	h.shake()
	var head []byte
	for i, method := range []string{"steps/sessionStart", "steps/userMessage", "steps/toolCallRequest", "agbom/snapshot", "steps/sessionEnd"} {
		payload := any(map[string]any{"reason": "x"})
		if method == "steps/toolCallRequest" {
			payload = bash("ls")
		}
		e := h.request(method, payload, func(_, params map[string]any) {
			if head != nil { // the client checks along
				params["metadata"].(map[string]any)["session_state"] = map[string]any{"chain_hash": hex.EncodeToString(head)}
			}
		})
		body := h.signed(e)
		var sent struct{ Params json.RawMessage }
		if err := json.Unmarshal(body, &sent); err != nil {
			t.Fatal(err)
		}
		hash, err := requestHash(sent.Params)
		if err != nil {
			t.Fatal(err)
		}
		if head, err = link(entry{ID: fmt.Sprint(i + 1), Step: e["params"].(map[string]any)["request_id"].(string), Type: method, RequestHash: hash, Timestamp: h.now.Format(time.RFC3339)}, head); err != nil {
			t.Fatal(err)
		}
		if a := h.post(body); a.Result["chain_hash"] != hex.EncodeToString(head) {
			t.Fatalf("%s: %s, want %x", method, a.body, head)
		}
	}
	if a := h.ask("steps/toolCallRequest", bash("ls")); a.Error == nil || a.Error.Code != replayDetected {
		t.Errorf("a step after the end: %s", a.body)
	}
}

func TestAClientWithAnotherChainIsDenied(t *testing.T) {
	h := newHost(t)
	h.shake()
	other := func(_, params map[string]any) {
		params["metadata"].(map[string]any)["session_state"] = map[string]any{"chain_hash": strings.Repeat("0", 64)}
	}
	a := h.post(h.signed(h.request("steps/toolCallRequest", bash("ls"), other)))
	if a.Result["decision"] != "deny" || fmt.Sprint(a.Result["reason_codes"]) != "[chain_mismatch]" || len(h.calls) > 0 {
		t.Errorf("%s", a.body)
	}
	if a := h.post(h.signed(h.request("steps/turnEnd", map[string]any{}, other))); a.Error == nil || a.Error.Code != chainMismatch {
		t.Errorf("where nothing can be denied: %s", a.body)
	}
	h.agent = "another"
	if a := h.ask("steps/toolCallRequest", bash("ls")); a.Result["decision"] != "deny" || fmt.Sprint(a.Result["reason_codes"]) != "[agent_id_not_bound]" || len(h.calls) > 0 {
		t.Errorf("%s", a.body)
	}
}

func TestWhatIsNotAuthenticOrNotNewIsNotJudged(t *testing.T) {
	for name, c := range map[string]struct {
		change func(h *host, e, params map[string]any)
		spoil  func([]byte) []byte
		code   int
	}{
		"an old timestamp": {change: func(h *host, _, p map[string]any) {
			p["timestamp"] = h.now.Add(-skew - time.Second).Format(time.RFC3339)
		}, code: outOfWindow},
		"one of the future": {change: func(h *host, _, p map[string]any) {
			p["timestamp"] = h.now.Add(skew + time.Second).Format(time.RFC3339)
		}, code: outOfWindow},
		"no timestamp":           {change: func(_ *host, _, p map[string]any) { delete(p, "timestamp") }, code: invalidRequest},
		"a used request id":      {change: func(_ *host, _, p map[string]any) { p["request_id"] = "00000000-0000-4000-8000-000000000001" }, code: replayDetected},
		"a request id of no use": {change: func(_ *host, _, p map[string]any) { p["request_id"] = "1" }, code: invalidRequest},
		"a short nonce":          {change: func(_ *host, _, p map[string]any) { p["nonce"] = "short" }, code: invalidRequest},
		"another major":          {change: func(_ *host, _, p map[string]any) { p["acs_version"] = "1.0.0" }, code: unsupported},
		"no payload":             {change: func(_ *host, _, p map[string]any) { delete(p, "payload") }, code: invalidParams},
		"an unknown method":      {change: func(_ *host, e, _ map[string]any) { e["method"] = "steps/other" }, code: methodNotFound},
		"no id":                  {change: func(_ *host, e, _ map[string]any) { delete(e, "id") }, code: invalidRequest},
		"a null id":              {change: func(_ *host, e, _ map[string]any) { e["id"] = nil }, code: invalidRequest},
		"no JSON-RPC":            {change: func(_ *host, e, _ map[string]any) { delete(e, "jsonrpc") }, code: invalidRequest},
		"another command":        {spoil: func(b []byte) []byte { return bytes.Replace(b, []byte(`"git status"`), []byte(`"git push"`), 1) }, code: signatureInvalid},
		"another session":        {spoil: func(b []byte) []byte { return bytes.Replace(b, []byte(theSession), []byte("other"), 1) }, code: signatureInvalid},
		"another key id":         {spoil: func(b []byte) []byte { return bytes.Replace(b, []byte(`"key_id":"I-1"`), []byte(`"key_id":"I-2"`), 1) }, code: signatureInvalid},
		"another algorithm":      {spoil: func(b []byte) []byte { return bytes.Replace(b, []byte("HMAC-SHA256"), []byte("none"), 1) }, code: signatureInvalid},
		"no signature":           {spoil: func(b []byte) []byte { return bytes.Replace(b, []byte(`"signature"`), []byte(`"signatures"`), 1) }, code: signatureInvalid},
		"a member twice": {spoil: func(b []byte) []byte {
			return bytes.Replace(b, []byte(`"method"`), []byte(`"method":"system/ping","method"`), 1)
		}, code: invalidRequest},
		"a batch":                {spoil: func(b []byte) []byte { return append(append([]byte("["), b...), ']') }, code: invalidRequest},
		"no JSON":                {spoil: func(b []byte) []byte { return b[:len(b)-1] }, code: parseError},
		"two":                    {spoil: func(b []byte) []byte { return append(b, b...) }, code: parseError},
		"bytes that are no text": {spoil: func(b []byte) []byte { return bytes.Replace(b, []byte("git status"), []byte("git \xff"), 1) }, code: parseError},
		"a great deal":           {spoil: func(b []byte) []byte { return append(b, bytes.Repeat([]byte(" "), MaxBody)...) }, code: invalidRequest},
	} {
		h := newHost(t)
		h.shake()
		e := h.request("steps/toolCallRequest", bash("git status"), func(e, p map[string]any) {
			if c.change != nil {
				c.change(h, e, p)
			}
		})
		body := h.signed(e)
		if c.spoil != nil {
			body = c.spoil(body)
		}
		a := h.post(body)
		if a.Error == nil || a.Error.Code != c.code || a.status != http.StatusOK || len(h.calls) > 0 {
			t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.code)
		}
	}
}

func TestARequestIsGoodOnce(t *testing.T) {
	h := newHost(t)
	h.shake()
	nonce := func(_, p map[string]any) { p["nonce"] = "0123456789abcdef" }
	body := h.signed(h.request("steps/toolCallRequest", bash("ls"), nonce))
	if a := h.post(body); a.Result["decision"] != "allow" {
		t.Fatalf("%s", a.body)
	}
	if a := h.post(body); a.Error == nil || a.Error.Code != replayDetected || len(h.calls) != 1 {
		t.Errorf("again: %s", a.body)
	}
	if a := h.post(h.signed(h.request("steps/toolCallRequest", bash("ls"), nonce))); a.Error == nil || a.Error.Code != replayDetected {
		t.Errorf("its nonce again: %s", a.body)
	}
	// Whoever shares another key, or calls for another instance, cannot use the session.
	h.instance = "I-2"
	if a := h.post(body); a.Error == nil || a.Error.Code != signatureInvalid {
		t.Errorf("by another instance: %s", a.body)
	}
	if a := h.ask("steps/toolCallRequest", bash("ls")); a.Error == nil || a.Error.Code != notNegotiated {
		t.Errorf("another instance in the same session: %s", a.body)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	h := newHost(t)
	for i := range maxOfInstance {
		h.session = fmt.Sprint("s", i)
		h.shake()
	}
	h.session = "one more"
	if a := h.ask(hello, clientHello()); a.Error == nil || a.Error.Data.Reason != "too_many_sessions" {
		t.Fatalf("%s", a.body)
	}
	h.now = h.now.Add(sessionLifetime + time.Second)
	h.shake()
	s := &session{used: map[string]time.Time{}}
	for i := range maxReplay {
		s.used[fmt.Sprint(i)] = h.now.Add(time.Minute)
	}
	e := &envelope{request: "x", time: h.now}
	if f := s.reserve(e, h.now); f == nil || f.Data.Reason != "too_many_requests" {
		t.Errorf("%+v", f)
	}
	e.time = h.now.Add(2 * time.Minute)
	if f := s.reserve(e, h.now.Add(2*time.Minute)); f != nil || len(s.used) != 1 {
		t.Errorf("%+v, %d", f, len(s.used))
	}
}

func TestAMethodThatWasNotAgreedOnIsRefused(t *testing.T) {
	h := newHost(t)
	said := clientHello()
	said["methods_implemented"] = []string{"steps/toolCallRequest"}
	if a := h.ask(hello, said); a.Error != nil {
		t.Fatalf("%s", a.body)
	}
	for _, method := range []string{"steps/sessionStart", "protocols/MCP/tools/call"} {
		if a := h.ask(method, map[string]any{}); a.Error == nil || a.Error.Code != notNegotiated || a.Error.Data.Method != method || len(h.calls) > 0 {
			t.Errorf("%s: %s", method, a.body)
		}
	}
}

// A request whose timestamp lies in the future can be replayed for longer, also when there is much to remember.
func TestWhatCanStillBeReplayedIsRemembered(t *testing.T) {
	now := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	s := &session{used: map[string]time.Time{}}
	e := &envelope{request: "early", time: now.Add(skew)}
	if f := s.reserve(e, now); f != nil {
		t.Fatal(f)
	}
	for i := range maxReplay - 1 {
		s.used[fmt.Sprint(i)] = now
	}
	later := now.Add(2*skew - time.Second)
	if f := s.reserve(&envelope{request: "other", time: later}, later); f != nil || len(s.used) != 2 {
		t.Fatalf("%+v, %d remembered", f, len(s.used))
	}
	if f := s.reserve(e, later); f == nil || f.Code != replayDetected {
		t.Errorf("%+v", f)
	}
}

func TestAPingIsAlwaysAnswered(t *testing.T) {
	h := newHost(t)
	raw, err := json.Marshal(h.request(ping, map[string]any{"echo": "hi"}, nil))
	if err != nil {
		t.Fatal(err)
	}
	a := h.post(raw)
	p, _ := a.Result["payload"].(map[string]any)
	if a.Result["decision"] != "allow" || p["echo"] != "hi" || p["status"] != "ok" || a.Result["signature"] != nil {
		t.Errorf("%s", a.body)
	}
	if a := h.post([]byte(`{"jsonrpc":"2.0","id":1,"method":"system/ping"}`)); a.Result["decision"] != "allow" {
		t.Errorf("%s", a.body)
	}
}

func TestOnlyAnInstanceHasAGuardianAndAKey(t *testing.T) {
	h := newHost(t)
	for _, c := range []struct {
		method, path, token string
		status              int
	}{
		{http.MethodPost, "", "", http.StatusUnauthorized}, {http.MethodGet, "/key", "", http.StatusUnauthorized},
		{http.MethodGet, "/key", "x", http.StatusOK}, {http.MethodPost, "/key", "x", http.StatusMethodNotAllowed},
		{http.MethodGet, "", "x", http.StatusMethodNotAllowed}, {http.MethodGet, "/other", "x", http.StatusNotFound},
	} {
		r := httptest.NewRequest(c.method, "/v1/orgs/acme/acs"+c.path, strings.NewReader("{}"))
		if c.token != "" {
			r.Header.Set("Authorization", c.token)
		}
		w := httptest.NewRecorder()
		h.g.ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s %s: %d", c.method, c.path, w.Code)
		}
		key, err := keyOf("I-1")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(w.Body.String(), hex.EncodeToString(key)); got != (c.status == http.StatusOK) {
			t.Errorf("%s %s: the key is in it: %v", c.method, c.path, got)
		}
	}
	h.instance = "" // a person
	r := httptest.NewRequest(http.MethodGet, "/v1/orgs/acme/acs/key", nil)
	r.Header.Set("Authorization", "x")
	w := httptest.NewRecorder()
	h.g.ServeHTTP(w, r)
	if w.Code != http.StatusForbidden {
		t.Errorf("a person: %d", w.Code)
	}
}

package guardian

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

// The errors of JSON-RPC 2.0 and of the standard (§17.1).
const (
	parseError       = -32700
	invalidRequest   = -32600
	methodNotFound   = -32601
	invalidParams    = -32602
	internalError    = -32603
	sessionRefused   = -32000
	unsupported      = -32001
	notNegotiated    = -32003
	signatureInvalid = -32004
	replayDetected   = -32005
	outOfWindow      = -32006
	chainMismatch    = -32007
)

// version is of the standard, in requests and answers; every version of the same major is understood.
const version = "0.1.0"

// steps are the hooks of the standard, and what becomes of them. Most are what the agent's own program does with itself:
// they are chained, and nobody objects.
var steps = map[string]struct {
	judged bool // it would do something: the authority decides
	after  bool // it tells of what has happened; there is nothing to deny (hooks.md)
}{
	"steps/sessionStart": {}, "steps/agentTrigger": {}, "steps/turnStart": {}, "steps/userMessage": {}, "steps/agentResponse": {},
	"steps/knowledgeRetrieval": {}, "steps/memoryContextRetrieval": {}, "steps/memoryStore": {},
	"steps/toolCallRequest": {judged: true}, "steps/toolCallResult": {},
	"steps/preCompact": {}, "steps/postCompact": {after: true},
	"steps/subagentStart": {judged: true}, "steps/subagentStop": {after: true},
	"steps/skillRegister": {}, "steps/skillLoad": {}, "steps/skillUnload": {after: true},
	"steps/turnEnd": {after: true}, "steps/sessionEnd": {after: true},
	"agbom/snapshot": {}, "agbom/changed": {},
}

const (
	hello = "handshake/hello"
	ping  = "system/ping"
)

// wrapped is the method of MCP that a method of the standard wraps (§3).
func wrapped(method string) (string, bool) {
	if m, ok := strings.CutPrefix(method, "protocols/MCP/"); ok {
		return m, m != ""
	}
	if m, ok := strings.CutPrefix(method, "wrapped:mcp-"); ok {
		_, m, ok = strings.Cut(m, "/")
		return m, ok && m != ""
	}
	return "", false
}

// members are those of an object by their exact names, which encoding/json does not insist on.
type members map[string]json.RawMessage

func object(raw json.RawMessage) (members, bool) {
	var m members
	return m, json.Unmarshal(raw, &m) == nil && m != nil
}

// text is a member that is a text; not ok: it is something else. One that is not there is empty.
func (m members) text(name string) (s string, ok bool) {
	raw, there := m[name]
	if !there {
		return "", true
	}
	return s, bytes.HasPrefix(bytes.TrimSpace(raw), []byte{'"'}) && json.Unmarshal(raw, &s) == nil
}

// texts are the texts of these names; not ok: one is something else, or longer than a name may be.
func (m members) texts(names ...string) ([]string, bool) {
	out := make([]string, len(names))
	for i, name := range names {
		s, ok := m.text(name)
		if !ok || len(s) > maxName {
			return nil, false
		}
		out[i] = s
	}
	return out, true
}

// maxName is the most of an id, name or version, in bytes.
const maxName = 256

// envelope is one request, taken apart as far as it is the standard's.
type envelope struct {
	raw    members
	id     json.RawMessage
	method string
	params json.RawMessage

	acs, request, nonce string
	time                time.Time
	agent, session      string
	chain               string // the head of the chain as the client has it; empty: it does not say
	payload             members
	signature           *signature
}

// uuid is RFC 9562 §4, in the form of §10.3's request_id.
var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// read takes a request's outside apart: JSON-RPC, and the signature. What it says is only then looked at by open.
func read(body []byte) (*envelope, *failure) {
	var raw members
	if len(body) > MaxBody {
		return nil, fail(invalidRequest, "too_large", "the request is larger than 1 MiB")
	}
	if !utf8.Valid(body) || !json.Valid(body) {
		return nil, fail(parseError, "parse_error", "the request is not JSON")
	}
	if bytes.HasPrefix(bytes.TrimSpace(body), []byte{'['}) {
		return nil, fail(invalidRequest, "batch_unsupported", "send each request on its own")
	}
	if err := remit.DecodeKnown(bytes.NewReader(body), MaxBody, &raw); err != nil || raw == nil {
		return nil, fail(invalidRequest, "not_an_object", "the request is not one JSON object whose members all stand once")
	}
	e := &envelope{raw: raw, id: raw["id"], params: raw["params"]}
	top, ok := raw.texts("jsonrpc", "method")
	if !ok || top[0] != "2.0" || top[1] == "" || !identifies(e.id) {
		return e, fail(invalidRequest, "invalid_jsonrpc_request", "the request is not one of JSON-RPC 2.0 with a method and an id")
	}
	e.method = top[1]
	return e, nil
}

// identifies tells whether a request's id is a text or a number (JSON-RPC 2.0, §4): there are no notifications here.
func identifies(id json.RawMessage) bool {
	id = bytes.TrimSpace(id)
	return len(id) > 0 && len(id) <= maxName && (id[0] == '"' || id[0] == '-' || id[0] >= '0' && id[0] <= '9')
}

// sealed reads what the signature is checked by: the session that the key is of, and the signature.
func (e *envelope) sealed() *failure {
	params, ok := object(e.params)
	if !ok {
		return fail(invalidParams, "params_missing", "params is not an object")
	}
	meta, ok := object(params["metadata"])
	if !ok {
		return fail(signatureInvalid, "session_missing", "params.metadata.session_id is what the key is made from")
	}
	if e.session, ok = meta.text("session_id"); !ok || e.session == "" || len(e.session) > maxName {
		return fail(signatureInvalid, "session_missing", "params.metadata.session_id is what the key is made from")
	}
	sig, ok := object(params["signature"])
	if !ok {
		return fail(signatureInvalid, "signature_missing", "every request but system/ping is signed (§10)")
	}
	t, ok := sig.texts("algorithm", "value", "key_id")
	if !ok {
		return fail(signatureInvalid, "signature_malformed", "a signature is algorithm, value and key_id, each a text")
	}
	e.signature = &signature{t[0], t[1], t[2]}
	return nil
}

// open reads the rest of an authenticated request.
func (e *envelope) open() *failure {
	params, _ := object(e.params)
	meta, _ := object(params["metadata"])
	t, ok := params.texts("acs_version", "request_id", "timestamp", "nonce")
	if !ok || !uuid.MatchString(t[1]) || t[3] != "" && (len(t[3]) < 16 || len(t[3]) > 64) {
		return fail(invalidRequest, "envelope_invalid", "params has acs_version, request_id (a UUID), timestamp, and a nonce of 16 to 64 bytes or none")
	}
	e.acs, e.request, e.nonce = t[0], t[1], t[3]
	at, err := time.Parse(time.RFC3339Nano, t[2])
	if err != nil {
		return fail(invalidRequest, "envelope_invalid", "params.timestamp is not as RFC 3339 says")
	}
	e.time = at
	if e.agent, ok = meta.text("agent_id"); !ok || e.agent == "" || len(e.agent) > maxName {
		return fail(invalidRequest, "envelope_invalid", "params.metadata.agent_id is a text")
	}
	if state, ok := object(meta["session_state"]); ok {
		if e.chain, ok = state.text("chain_hash"); !ok {
			return fail(invalidRequest, "envelope_invalid", "params.metadata.session_state.chain_hash is a text")
		}
	}
	if !sameMajor(e.acs) {
		f := fail(unsupported, "unsupported_version", "this guardian speaks "+version)
		f.Data.Versions = []string{version}
		return f
	}
	if e.payload, ok = object(params["payload"]); !ok {
		return fail(invalidParams, "payload_invalid", "params.payload is not an object")
	}
	return nil
}

// sameMajor tells whether a version is of the major that is spoken here (§3).
func sameMajor(v string) bool {
	major, rest, ok := strings.Cut(v, ".")
	return ok && major == "0" && strings.Trim(rest, "0123456789.") == "" && rest != ""
}

// failure is an error in the place of a decision. The host was told that this means: do not.
type failure struct {
	Code      int         `json:"code"`
	Message   string      `json:"message"`
	Data      failureData `json:"data"`
	Signature *signature  `json:"signature,omitempty"`
}

type failureData struct {
	Reason   string   `json:"reason"`
	Message  string   `json:"message"`
	Versions []string `json:"supported_versions,omitempty"`
	Method   string   `json:"method,omitempty"`
	Skew     int64    `json:"skew_window_ms,omitempty"`
}

func fail(code int, reason, message string) *failure {
	return &failure{Code: code, Message: message, Data: failureData{Reason: reason, Message: message}}
}

// result is a decision (§6.1), or the answer to a ping.
type result struct {
	Type      string         `json:"type"`
	Version   string         `json:"acs_version"`
	Request   string         `json:"request_id"`
	Decision  string         `json:"decision"`
	Reasoning string         `json:"reasoning,omitempty"`
	Codes     []string       `json:"reason_codes,omitempty"`
	Defer     *deferral      `json:"defer_details,omitempty"`
	Metadata  *metadata      `json:"metadata,omitempty"`
	Payload   map[string]any `json:"payload,omitempty"`
	Chain     string         `json:"chain_hash,omitempty"`
	Signature *signature     `json:"signature,omitempty"`
}

type deferral struct {
	Reason   string `json:"reason"`
	Method   string `json:"resolution_method"`
	Timeout  int64  `json:"resolution_timeout_ms"`
	Decision string `json:"timeout_decision"`
}

type metadata struct {
	Evaluator string `json:"evaluator"`
}

// serverHello is the guardian's half of the handshake (§4).
type serverHello struct {
	Version    string     `json:"negotiated_version"`
	Methods    []string   `json:"methods_evaluated"`
	Transport  string     `json:"selected_transport"`
	Algorithms []string   `json:"signature_algorithms_supported"`
	Timeout    timeout    `json:"timeout_config"`
	Skew       int64      `json:"skew_window_ms"`
	OnFailure  string     `json:"on_decision_failure"`
	Approvers  []string   `json:"approver_types_supported"`
	Provenance bool       `json:"policy_requires_provenance"`
	Profiles   []string   `json:"profiles_accepted"`
	Signature  *signature `json:"signature,omitempty"`
}

type timeout struct {
	Default int64 `json:"default_ms"`
}

// Package envelope takes messages of the Model Context Protocol apart, and writes them: JSON-RPC 2.0 and the headers that
// repeat it. What is read twice by two parsers is read in one way here, or refused.
package envelope

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Limits of what is parsed.
const (
	maxDepth       = 64  // of a client's message: deeper ones exhaust the stacks of other parsers
	maxServerDepth = 512 // of a server's, whose results are only carried
	maxName        = 256 // bytes of a method and of an id
)

// Codes of JSON-RPC 2.0 §5.1, and of MCP 2026-07-28 (Basic, Error codes).
const (
	ParseError             = -32700
	InvalidRequest         = -32600
	MethodNotFound         = -32601
	InvalidParams          = -32602
	InternalError          = -32603
	SessionNotFound        = -32001 // as the SDKs answer where a session is not known
	Denied                 = -32010 // JSON-RPC 2.0 §5.1: from -32000 to -32099 servers define their own
	Held                   = -32011
	HeaderMismatch         = -32020
	MissingCapability      = -32021 // MissingRequiredClientCapability
	UnsupportedVersion     = -32022
	URLElicitationRequired = -32042 // URLElicitationRequired, of 2025-11-25
)

// ProtocolError is what the protocol itself says of a message that is none: it is answered, and nothing is decided.
type ProtocolError struct {
	Status   int // of HTTP
	Code     int // of JSON-RPC
	Sentence string
	Data     any
}

func (e *ProtocolError) Error() string { return e.Sentence }

// Malformed is a message that is refused with that code of JSON-RPC, and 400 (Bad Request).
func Malformed(code int, format string, args ...any) *ProtocolError {
	return &ProtocolError{Status: 400, Code: code, Sentence: fmt.Sprintf(format, args...)}
}

// Message is one message of JSON-RPC 2.0, taken apart and not decoded: what goes on are the bytes that came.
type Message struct {
	Raw    json.RawMessage
	ID     json.RawMessage // of a request or a response; nil of a notification
	Method string          // empty of a response
	Params json.RawMessage // nil: there are none
	Result json.RawMessage
	Fault  json.RawMessage // the member error

	idAt, resultAt int // where they begin in raw
}

// Request tells whether the message wants an answer (JSON-RPC 2.0 §4).
func (m Message) Request() bool { return m.Method != "" && m.ID != nil }

// Response tells whether the message is an answer (JSON-RPC 2.0 §5).
func (m Message) Response() bool { return m.Method == "" }

// rpcMembers are the members of a message that mean something here.
var rpcMembers = []string{"jsonrpc", "id", "method", "params", "result", "error"}

// meaningful are the members of params by which a call is judged or carried.
var meaningful = []string{"_meta", "name", "arguments", "uri", "ref", "argument", "cursor", "level", "task", "taskId", "requestState", "inputResponses",
	"protocolVersion", "capabilities", "clientInfo", "requestId", "notifications"}

// FromClient takes a client's message apart. It refuses what two parsers could read in two ways: the same member twice or
// in another case, at whatever depth (RFC 8259 §4 leaves open which one counts; Go's own parser takes either case), text
// that is no Unicode (RFC 7493 §2.1), and numbers in arguments that a peer in JavaScript would round.
func FromClient(raw []byte) (Message, error) {
	m, err := split(raw, maxDepth, true)
	if err != nil {
		return Message{}, err
	}
	if m.Params == nil {
		return m, nil
	}
	members, err := Members(m.Params, false)
	if err != nil {
		return Message{}, Malformed(InvalidParams, "params is not an object")
	}
	for _, f := range members {
		if err := spelled(f.Name, meaningful); err != nil {
			return Message{}, err
		}
		if f.Name == "arguments" {
			s := scanner{text: f.Value, deepest: maxDepth, exact: true}
			if err := s.whole(); err != nil {
				return Message{}, Malformed(InvalidParams, "arguments: %s", err)
			}
		}
	}
	return m, nil
}

// FromServer takes a server's message apart. Its results are carried whatever is in them.
func FromServer(raw []byte) (Message, error) { return split(raw, maxServerDepth, false) }

func split(raw []byte, deepest int, strict bool) (m Message, err error) {
	s := scanner{text: raw, deepest: deepest, strict: strict}
	if !utf8.Valid(raw) {
		return m, Malformed(ParseError, "the message is not UTF-8")
	}
	if first := bytes.TrimLeft(raw, " \t\r\n"); len(first) > 0 && first[0] == '[' {
		return m, Malformed(InvalidRequest, "a batch of messages is not accepted; send one")
	}
	if err := s.whole(); err != nil {
		if s.smuggled {
			return m, Malformed(InvalidRequest, "%s", err)
		}
		return m, Malformed(ParseError, "the message is no JSON: %s", err)
	}
	members, err := Members(raw, true)
	if err != nil {
		return m, Malformed(InvalidRequest, "the message is no JSON-RPC: %s", err)
	}
	m.Raw = raw
	var version string
	for _, f := range members {
		if err := spelled(f.Name, rpcMembers); err != nil {
			return m, err
		}
		switch f.Name {
		case "jsonrpc":
			_ = json.Unmarshal(f.Value, &version) // whatever else it is, it is not 2.0
		case "id":
			m.ID, m.idAt = f.Value, f.at
		case "method":
			if err := json.Unmarshal(f.Value, &m.Method); err != nil || m.Method == "" || len(m.Method) > maxName {
				return m, Malformed(InvalidRequest, "method is not a text of 1 to %d bytes", maxName)
			}
		case "params":
			if string(f.Value) != "null" {
				m.Params = f.Value
			}
		case "result":
			m.Result, m.resultAt = f.Value, f.at
		case "error":
			m.Fault = f.Value
		}
	}
	if version != "2.0" {
		return m, Malformed(InvalidRequest, `jsonrpc is not "2.0"`)
	}
	return m, m.check()
}

// check tells whether the members make a request, a notification or a response, and no two of them (JSON-RPC 2.0 §4, §5).
func (m Message) check() error {
	answers := 0
	if m.Result != nil {
		answers++
	}
	if m.Fault != nil {
		answers++
	}
	switch {
	case m.Method != "" && answers > 0 || m.Method == "" && answers != 1:
		return Malformed(InvalidRequest, "the message is neither a request nor a notification nor a response")
	case m.Method == "" && m.ID == nil:
		return Malformed(InvalidRequest, "the response has no id")
	case m.ID == nil:
		return nil
	case len(m.ID) > maxName:
		return Malformed(InvalidRequest, "the id is longer than %d bytes", maxName)
	case m.ID[0] == '"':
		return nil
	case string(m.ID) == "null" && m.Fault != nil: // JSON-RPC 2.0 §5: an error before the id could be read
		return nil
	}
	n, err := strconv.ParseInt(string(m.ID), 10, 64)
	if err != nil || n > 1<<53 || n < -1<<53 { // MCP: a string or an integer, and not null
		return Malformed(InvalidRequest, "the id is neither a text nor an integer within ±2^53")
	}
	return nil
}

// WithID is the message with another id; every other byte stays.
func (m Message) WithID(id json.RawMessage) []byte { return m.with(m.ID, m.idAt, id) }

// WithResult is the message with another result; every other byte stays.
func (m Message) WithResult(result json.RawMessage) []byte {
	return m.with(m.Result, m.resultAt, result)
}

func (m Message) with(old json.RawMessage, at int, now json.RawMessage) []byte {
	out := make([]byte, 0, len(m.Raw)-len(old)+len(now))
	out = append(append(out, m.Raw[:at]...), now...)
	return append(out, m.Raw[at+len(old):]...)
}

// Key is the id as two peers compare it: "a" is "\u0061", and no number.
func (m Message) Key() string { return IDKey(m.ID) }

// IDKey is an id as two peers compare it, for what has no message.
func IDKey(id json.RawMessage) string {
	var s string
	if len(id) > 0 && id[0] == '"' && json.Unmarshal(id, &s) == nil {
		return `"` + s
	}
	return string(id)
}

// spelled refuses a name that a parser which does not care for case would take for a known one.
func spelled(name string, known []string) error {
	for _, k := range known {
		if name != k && len(name) < 4*len(k) && fold(name) == fold(k) {
			return Malformed(InvalidRequest, "the member %q is written %q", name, k)
		}
	}
	return nil
}

// field is one member of an object.
type field struct {
	Name  string
	Value json.RawMessage
	at    int // of value, in the object's text
}

// Members takes an object apart that is JSON already. Twice the same name is an error where strict.
func Members(raw []byte, strict bool) ([]field, error) {
	s := scanner{text: raw, deepest: maxServerDepth, strict: false}
	s.space()
	if s.at >= len(raw) || raw[s.at] != '{' {
		return nil, fmt.Errorf("it is not an object")
	}
	var out []field
	err := s.object(1, func(name string, at, end int) { out = append(out, field{name, raw[at:end:end], at}) })
	if err != nil || !strict {
		return out, err
	}
	seen := map[string]bool{}
	for _, f := range out {
		n := fold(f.Name)
		if seen[n] {
			return nil, fmt.Errorf("the member %q stands there twice", f.Name)
		}
		seen[n] = true
	}
	return out, nil
}

// Member gives one member of an object, nil where there is none.
func Member(raw []byte, name string) json.RawMessage {
	members, err := Members(raw, false)
	if err != nil {
		return nil
	}
	for _, f := range members {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

package envelope

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Stateless is the first version of the protocol in which every request stands alone.
const Stateless = "2026-07-28"

// Versions are those of the protocol that are spoken, the newest first.
var Versions = []string{Stateless, "2025-11-25", "2025-06-18", "2025-03-26"}

// Headers of the protocol. In Go's form of names the M stands alone.
const (
	HeaderVersion = "Mcp-Protocol-Version"
	HeaderSession = "Mcp-Session-Id"
	HeaderMethod  = "Mcp-Method"
	HeaderName    = "Mcp-Name"
	headerParam   = "Mcp-Param-"
	headerEvent   = "Last-Event-Id"
)

// MaxHeader bounds what goes on to a server, in bytes.
const MaxHeader = 32 << 10

// CheckMirrored compares the headers that mirror arguments with them, by the schema of the tool (2026-07-28, Custom Headers
// from Tool Parameters). Numbers are compared as numbers. What differs, is missing or is not asked for is an error.
func CheckMirrored(h http.Header, schema, arguments json.RawMessage) error {
	want := http.Header{}
	Mirror(want, schema, arguments)
	for name := range want {
		if len(h.Values(name)) != 1 {
			return Malformed(HeaderMismatch, "the header %s is missing, or stands there twice", name)
		}
	}
	for name, values := range h {
		if !strings.HasPrefix(name, headerParam) {
			continue
		}
		is, must := decodeHeader(values[0]), decodeHeader(want.Get(name))
		a, errA := strconv.ParseFloat(is, 64)
		b, errB := strconv.ParseFloat(must, 64)
		if len(want.Values(name)) == 0 || is != must && (errA != nil || errB != nil || a != b) {
			return Malformed(HeaderMismatch, "the header %s does not say what the arguments say", name)
		}
	}
	return nil
}

// Mirror adds to h the headers by which a tool's schema asks that arguments are repeated (2026-07-28, Custom Headers from
// Tool Parameters).
func Mirror(h http.Header, schema, arguments json.RawMessage) { mirrorAt(h, schema, arguments, 0) }

func mirrorAt(h http.Header, schema, arguments json.RawMessage, depth int) {
	properties, err := Members(Member(schema, "properties"), false)
	if err != nil || depth > maxDepth {
		return
	}
	for _, p := range properties {
		v := Member(arguments, p.Name)
		var name, text string
		if json.Unmarshal(Member(p.Value, "x-mcp-header"), &name) == nil && name != "" && len(v) > 0 {
			switch {
			case v[0] == '"' && json.Unmarshal(v, &text) == nil:
				h.Set(headerParam+name, EncodeHeader(text))
			case v[0] != '{' && v[0] != '[' && string(v) != "null":
				h.Set(headerParam+name, string(v))
			}
		}
		if len(v) > 0 && v[0] == '{' {
			mirrorAt(h, p.Value, v, depth+1)
		}
	}
}

// EncodeHeader is a text as the value of a header (2026-07-28, Value Encoding).
func EncodeHeader(s string) string {
	plain := s == strings.TrimSpace(s) && !strings.HasPrefix(s, "=?base64?")
	for i := range len(s) {
		plain = plain && s[i] >= ' ' && s[i] < 0x7f
	}
	if plain {
		return s
	}
	return "=?base64?" + base64.StdEncoding.EncodeToString([]byte(s)) + "?="
}

// decodeHeader is the text that a header's value stands for (2026-07-28, Value Encoding).
func decodeHeader(v string) string {
	coded, ok := strings.CutPrefix(v, "=?base64?")
	if ok {
		coded, ok = strings.CutSuffix(coded, "?=")
	}
	b, err := base64.StdEncoding.DecodeString(coded)
	if !ok || err != nil {
		return v
	}
	return string(b)
}

// PassOn are the client's headers that go on to the server. Its credentials are not among them (Security Best Practices,
// Token Passthrough), nor is anything that is not of the protocol.
func PassOn(h http.Header) (http.Header, error) {
	out, size := http.Header{}, 0
	for name, values := range h {
		switch {
		case name == "Accept", name == HeaderVersion, name == HeaderMethod, name == HeaderName, name == headerEvent, strings.HasPrefix(name, headerParam):
			out[name] = slices.Clone(values)
			for _, v := range values {
				size += len(name) + len(v)
			}
		}
	}
	if size > MaxHeader {
		return nil, &ProtocolError{Status: http.StatusRequestHeaderFieldsTooLarge, Code: InvalidRequest, Sentence: "the headers of the protocol are too long"}
	}
	return out, nil
}

// CheckHeaders compares the headers that mirror a message (2026-07-28, Streamable HTTP, Standard Request Headers) with it. Older
// versions have none; where they are sent, they have to be right.
func CheckHeaders(m Message, version, name string, h http.Header) error {
	if m.Response() {
		return nil
	}
	named := m.Method == "tools/call" || m.Method == "prompts/get" || m.Method == "resources/read"
	for _, f := range []struct {
		header, body string
		must         bool
	}{{HeaderMethod, m.Method, true}, {HeaderName, name, named}} {
		values := h.Values(f.header)
		switch {
		case len(values) == 0 && (version < Stateless || !f.must):
		case len(values) == 0:
			return Malformed(HeaderMismatch, "the header %s is missing", f.header)
		case len(values) > 1 || f.body != "" && values[0] != f.body && decodeHeader(values[0]) != f.body:
			return Malformed(HeaderMismatch, "the header %s is %.80q, and the message has %.80q", f.header, values[0], f.body)
		}
	}
	return nil
}

// Package reply is what Remit itself answers to a call: results that a model reads and learns from, and errors in the
// protocol's own terms.
package reply

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

// DecisionKey is where a result's _meta has the decision, for programs.
const DecisionKey = "io.github.remit-dev/decision"

// Verdict is a decision as programs read it, in a tool's result or in the data of an error.
type Verdict struct {
	Verdict remit.Verdict    `json:"verdict"`
	Code    remit.Code       `json:"code"`
	Rules   []string         `json:"rules,omitempty"`
	Entry   remit.EntryIndex `json:"entry,omitempty"`
	Access  remit.ID         `json:"access,omitempty"`
	URL     string           `json:"url,omitempty"` // where people look at it
	Ask     *Missing         `json:"ask,omitempty"` // what to ask for
}

// Missing is an access request, ready to be made with Remit's tool `ask`.
type Missing struct {
	Steps []remit.Step `json:"steps"`
	Why   string       `json:"why"` // for the agent to fill in
}

// Result is the answer to a call: a result.
func Result(id, result json.RawMessage) envelope.Reply {
	return envelope.Reply{Version: "2.0", ID: id, Result: result}
}

// Error is the answer to a call: an error.
func Error(id json.RawMessage, code int, sentence string, data any) envelope.Reply {
	return envelope.Reply{Version: "2.0", ID: id, Error: envelope.Encode(envelope.Error{Code: code, Message: sentence, Data: data})}
}

// content is a part of a tool's result.
type content struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// ToolResult is a result of tools/call that Remit makes itself.
type ToolResult struct {
	Content []content      `json:"content"`
	IsError bool           `json:"isError,omitempty"`
	Type    string         `json:"resultType,omitempty"`
	Meta    map[string]any `json:"_meta,omitempty"`
}

// Lesson is a tool's error: a model reads it and can do something about it, where it never sees many errors of a protocol.
func Lesson(id json.RawMessage, version, text string, v Verdict) envelope.Reply {
	r := ToolResult{Content: []content{{Type: "text", Text: text}}, IsError: true, Meta: map[string]any{DecisionKey: v}}
	if version >= envelope.Stateless {
		r.Type = "complete"
	}
	return Result(id, envelope.Encode(r))
}

// Line is an error in one line of plain text: sentences may quote what an agent wrote.
func Line(e *remit.Error) string {
	return "remit: " + remit.VisibleText(e.Sentence) + " [" + string(e.Code) + "]"
}

// Teach is what a model reads of a denial: what was denied, by which rule, and what would be right.
func Teach(tool string, e *remit.Error, v Verdict) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Denied by Remit, and nothing was done: %s [%s]\n", remit.VisibleText(e.Sentence), e.Code)
	if len(v.Rules) > 0 {
		fmt.Fprintf(&b, "Rules: %s\n", remit.VisibleText(strings.Join(v.Rules, ", ")))
	}
	if v.Entry != 0 {
		fmt.Fprintf(&b, "More: call Remit's tool `why` with {\"entry\": %d}.\n", v.Entry)
	}
	switch {
	case v.Ask != nil:
		var steps []string
		for _, st := range v.Ask.Steps {
			steps = append(steps, fmt.Sprintf("%s on %s", st.Action, st.Resource))
		}
		fmt.Fprintf(&b, "The grant of your task does not have: %s. Remit's tool `scope` says what it has. If the work needs it, look for no way around: call Remit's tool `ask` for an agent that may do it, or tell whoever asked for the task.\n", strings.Join(steps, "; "))
	case e.Code.Info().HTTP == http.StatusBadRequest:
		fmt.Fprintf(&b, "Correct the arguments and call %s again.\n", remit.VisibleText(tool))
	default:
		fmt.Fprintf(&b, "The same call will be denied again. Go on without it, or tell whoever asked for the task.\n")
	}
	return b.String()
}

// Teachable tells whether the model is who can do something about an error.
func Teachable(e *remit.Error) bool {
	if ProtocolError(e) != nil {
		return false
	}
	switch e.Code.Info().HTTP {
	case http.StatusBadRequest, http.StatusConflict:
		return true
	case http.StatusForbidden:
		return e.Code != remit.Forbidden
	}
	return false
}

// ProtocolError is what the protocol itself says of an error, where it does.
func ProtocolError(e *remit.Error) (said *envelope.ProtocolError) {
	errors.As(e.Err, &said)
	return said
}

// Code is what an error is in JSON-RPC.
func Code(e *remit.Error) int {
	if said := ProtocolError(e); said != nil {
		return said.Code
	}
	switch e.Code {
	case remit.BadRequest, remit.TooLarge:
		return envelope.InvalidRequest
	case remit.UnknownAction:
		return envelope.MethodNotFound
	case remit.UnknownResource:
		return envelope.InvalidParams
	case remit.NotFound:
		return envelope.SessionNotFound
	}
	switch e.Code.Info().HTTP {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusInsufficientStorage:
		return envelope.InternalError
	}
	return envelope.Denied
}

// Status is the HTTP status of an error. Where a request was understood, the protocol of the older versions answers with
// 200, and 404 means there that the session is gone; the newer one gives some codes a status (streamable HTTP,
// "Protocol Version Header" and "Server Validation").
//
// version is the protocol's, named tells that the request found its server, and understood that it has an id.
func Status(e *remit.Error, version string, named, understood bool) int {
	if said := ProtocolError(e); said != nil {
		return said.Status
	}
	status := e.Code.Info().HTTP
	switch status {
	case http.StatusUnauthorized, http.StatusRequestEntityTooLarge:
		return status
	case http.StatusForbidden:
		if e.Code == remit.Forbidden {
			return status
		}
	}
	switch Code(e) {
	case envelope.InvalidRequest:
		return http.StatusBadRequest
	case envelope.SessionNotFound:
		return http.StatusNotFound
	case envelope.MethodNotFound:
		if version >= envelope.Stateless {
			return http.StatusNotFound
		}
	case envelope.InvalidParams:
		if !named && !understood {
			return http.StatusNotFound
		}
		if version >= envelope.Stateless {
			return http.StatusBadRequest
		}
	}
	if !understood {
		return max(status, http.StatusBadRequest)
	}
	return http.StatusOK
}

// originKey is where a stored answer's _meta says what it is: data of a server, and no instruction to anybody.
const originKey = "io.github.remit-dev/origin"

// Mark is a result that says of itself where it comes from.
func Mark(result json.RawMessage, server string) json.RawMessage {
	var members, meta map[string]json.RawMessage
	if json.Unmarshal(result, &members) != nil || members == nil {
		return result
	}
	_ = json.Unmarshal(members["_meta"], &meta) // none, or one that cannot be read
	if meta == nil {
		meta = map[string]json.RawMessage{}
	}
	meta[originKey] = envelope.Encode(map[string]any{"server": server, "untrusted": true})
	members["_meta"] = envelope.Encode(meta)
	return envelope.Encode(members)
}

// Text is what a tool's result says, and whether it says that the tool failed.
func Text(result json.RawMessage) (text string, failed bool) {
	var r struct {
		Content    []content       `json:"content"`
		Structured json.RawMessage `json:"structuredContent"`
		IsError    bool            `json:"isError"`
	}
	if json.Unmarshal(result, &r) != nil {
		return "", true
	}
	var b strings.Builder
	for _, c := range r.Content {
		b.WriteString(c.Text + "\n")
	}
	b.Write(r.Structured)
	return b.String(), r.IsError
}

// HeldText is what a model reads of a call that waits.
func HeldText(d remit.Decision, url string) string {
	sentence := remit.VisibleText(d.Sentence)
	if sentence == "" {
		sentence = d.Code.Info().Meaning
	}
	return fmt.Sprintf("Held by Remit as %s, and not done yet: %s [%s]\nPeople decide here: %s\nAs soon as they approve, Remit makes this very call itself. To get its answer, call Remit's tool `wait` with {\"access\": %q}, "+
		"or make the same call again with the same arguments; other arguments are another call, which waits anew. Until then go on with something else.\n", d.Access, sentence, d.Code, url, d.Access)
}

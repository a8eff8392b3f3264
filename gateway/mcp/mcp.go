// Package mcp is the gateway of the Model Context Protocol: between any client and any server of tools it judges each
// call by its tool and its arguments, puts the server's credential on it, and holds what needs a person.
//
// To find where a call is decided, read in this order: front.go (what is served, and the sessions), internal/envelope (how a
// message is taken apart), classify.go (what a call would do, by what is declared of the tool), gateway.Pipeline.Handle
// (the decision), relay.go (carrying it out, byte for byte), hold.go (what the client is told where it is not).
//
// What needs no gateway lies below internal: envelope (messages and headers), intake (what a request has to be before its
// message counts), sse (streams of events), stdio (servers that are processes), upstream (Remit's own client of the others),
// catalog (what servers say of their tools), naming (what is declared of a call), card (what people see), reply (what agents
// read), ticket (what clients bring back).
package mcp

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

// Name is what the gateway calls itself, and what its tokens are for.
const Name = "mcp"

// Server is one declared server, and how to reach it: by URL, or by Command.
type Server struct {
	Name string

	URL       string                    // of its one endpoint (streamable HTTP)
	Transport http.RoundTripper         // it follows no redirects
	Observer  func(*http.Request) error // adds Remit's own read-only credential; nil: none is needed

	Command []string                                // speaks over standard input and output
	Env     func(context.Context) ([]string, error) // the whole environment of the process, with its secrets

	Tools []remit.Tool // what is declared of it
}

// Servers finds what is declared. What is not declared is a *remit.Error with UNKNOWN_RESOURCE.
type Servers interface {
	Server(ctx context.Context, name string) (Server, error)
	// Reach lists the servers of which the caller's grant names anything, sorted.
	Reach(ctx context.Context, c remit.Caller) ([]string, error)
	// May says whether the grant of the caller covers a step at all: nil, or why not. It decides nothing, and nothing is
	// recorded: it is for lists.
	May(ctx context.Context, c remit.Caller, st remit.Step) *remit.Error
	// Payload makes what a request names by commitment, such as its card.
	Payload(body []byte) (remit.Payload, error)
}

// Holds says what becomes of what waits for people.
type Holds interface {
	// Wait returns when the access request is neither open nor met any more, or ctx ends: then its status is as it is.
	Wait(ctx context.Context, access remit.ID) (status remit.AccessStatus, why string, err error)
	// URL is the page on which people look at it.
	URL(access remit.ID) string
}

// call is one request of a client, taken apart. What is not taken apart stays as it came.
type call struct {
	caller  remit.Caller
	server  Server
	version string          // of the protocol that the client speaks: 2026-07-28
	id      json.RawMessage // of the request
	method  string
	params  json.RawMessage
	name    string          // params.name or params.uri, where the method has one
	args    json.RawMessage // params.arguments, as they came
	can     envelope.Capabilities
	raw     []byte // the whole message

	asked   bool              // the server asks its client: sampling, elicitation, roots; judged as requests/METHOD
	header  http.Header       // what of the client's headers goes on to the server
	session *session          // nil: the protocol has none, or Remit itself calls
	pipe    *gateway.Pipeline // decides what the server asks meanwhile; nil: nothing of it is let through
}

// progressToken is by what the client knows notifications of the call's progress (MCP, Progress); nil: it wants none.
func (c *call) progressToken() json.RawMessage {
	return envelope.Member(envelope.Member(c.params, "_meta"), "progressToken")
}

// order is a call as it is stored until people have decided.
type order struct {
	Server  string          `json:"server"`
	Method  string          `json:"method"`
	Params  json.RawMessage `json:"params,omitempty"`
	Version string          `json:"version,omitempty"`
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rogpeppe/go-internal/testscript"
)

var mcpCommands = map[string]func(*testscript.TestScript, bool, []string){"tool": cmdTool, "listed": cmdListed}

// mcpClient is a client of the newest version, with a task's token.
func mcpClient(ts *testscript.TestScript, token, path string) *mcp.ClientSession {
	plain := clientOf(ts)
	c, err := mcp.NewClient(&mcp.Implementation{Name: "script", Version: "1"}, nil).Connect(context.Background(), &mcp.StreamableClientTransport{
		Endpoint:   strings.TrimSuffix(ts.Getenv("REMIT_SERVER")+"/v1/orgs/"+ts.Getenv("REMIT_ORG")+"/mcp/"+path, "/"),
		HTTPClient: &http.Client{Transport: withToken{plain.Transport, token}, Timeout: patience}, DisableStandaloneSSE: true, MaxRetries: -1}, nil)
	ts.Check(err)
	return c
}

type withToken struct {
	http.RoundTripper
	token string
}

func (w withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+w.token)
	return w.RoundTripper.RoundTrip(r)
}

// cmdTool calls a tool with a client that can do nothing else: tool TOKEN SERVER TOOL ARGUMENTS. What it answers is stdout, quoted where it is no plain text.
func cmdTool(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 {
		ts.Fatalf("usage: tool TOKEN SERVER TOOL ARGUMENTS; SERVER is the rest of the address, '' for all servers")
	}
	c := mcpClient(ts, args[0], args[1])
	defer c.Close()
	r, err := c.CallTool(context.Background(), &mcp.CallToolParams{Name: args[2], Arguments: json.RawMessage(args[3])})
	var said *jsonrpc.Error
	if errors.As(err, &said) {
		fmt.Fprintf(ts.Stdout(), "error %d: %s\n", said.Code, said.Message)
		r = &mcp.CallToolResult{IsError: true}
	} else {
		ts.Check(err)
	}
	for _, part := range r.Content {
		if text, ok := part.(*mcp.TextContent); ok {
			fmt.Fprintf(ts.Stdout(), "%s\n", visibleText(text.Text))
		}
	}
	meta, err := json.Marshal(r.Meta)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "meta %s\n", meta)
	if r.IsError != neg {
		ts.Fatalf("%s %s: is it an error? %v", args[2], args[3], r.IsError)
	}
}

// cmdListed lists the tools that a task sees: listed TOKEN SERVER.
func cmdListed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: listed TOKEN SERVER")
	}
	c := mcpClient(ts, args[0], args[1])
	defer c.Close()
	r, err := c.ListTools(context.Background(), nil)
	ts.Check(err)
	for _, tool := range r.Tools {
		fmt.Fprintf(ts.Stdout(), "%s\n", tool.Name)
	}
}

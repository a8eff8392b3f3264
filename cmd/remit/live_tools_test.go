package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/gowebpki/jcs"
	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/remit-dev/remit"
)

var toolsCommands = map[string]func(*testscript.TestScript, bool, []string){"tools": cmdTools, "rpc": cmdRPC}

// hub is a server of tools that knows nothing of Remit.
type hub struct {
	*mcp.Server
	mu    sync.Mutex
	calls []string
}

const hubToken = "hub-credential-000111"

// newHub has tools that say what they were called with.
func newHub(ctx context.Context) *hub {
	h := &hub{Server: mcp.NewServer(&mcp.Implementation{Name: "hub", Version: "1"}, nil)}
	for _, name := range []string{"read_issue", "comment", "merge", "wipe", "whoami"} {
		h.add(name, "Does "+name)
	}
	for _, uri := range []string{"note:///a", "note:///b/c"} {
		h.AddResource(&mcp.Resource{Name: uri, URI: uri}, func(_ context.Context, r *mcp.ReadResourceRequest) (*mcp.ReadResourceResult, error) {
			h.note("read " + r.Params.URI)
			return &mcp.ReadResourceResult{Contents: []*mcp.ResourceContents{{URI: r.Params.URI, Text: "the note " + r.Params.URI}}}, nil
		})
	}
	return h
}

func (h *hub) note(call string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, call)
}

// define is a tool as the hub lists it.
func define(name, description string) *mcp.Tool {
	return &mcp.Tool{Name: name, Description: description, InputSchema: json.RawMessage(`{"type":"object","properties":{"repo":{"type":"string"}}}`)}
}

func (h *hub) add(name, description string) {
	h.AddTool(define(name, description), func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
		h.note(name + " " + string(r.Params.Arguments))
		text := "hub did " + name
		if name == "whoami" {
			text = strings.Join(slices.Sorted(slices.Values(os.Environ())), "\n")
		}
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}, nil
	})
}

// serveHub is the hub as a program that speaks over its standard input and output.
func serveHub() {
	if err := newHub(context.Background()).Run(context.Background(), &mcp.StdioTransport{}); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// cmdTools is tools http | stdio, before house; tools describe NAME TEXT; tools rename NAME NEW; tools calls.
func cmdTools(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	h := w.hub
	switch {
	case neg || len(args) == 0:
		ts.Fatalf("usage: tools http|stdio|describe|rename|calls")
	case args[0] == "http" || args[0] == "stdio":
		pins(ts)
		if args[0] == "stdio" {
			bin, err := exec.LookPath(filepath.Join(filepath.SplitList(ts.Getenv("PATH"))[0], "remit"))
			ts.Check(err)
			ts.Setenv("HUB", "["+bin+", __hub, "+w.dir+"]")
			return
		}
		w.hub = newHub(context.Background())
		w.hub.start(ts, w)
	case args[0] == "describe":
		h.add(args[1], args[2])
	case args[0] == "rename":
		h.RemoveTools(args[1])
		h.add(args[2], "Does "+args[1])
	case args[0] == "calls":
		h.mu.Lock()
		defer h.mu.Unlock()
		fmt.Fprintln(ts.Stdout(), strings.Join(h.calls, "\n"))
	}
}

// pins gives the digests of the definitions that the hub begins with: $PIN_COMMENT.
func pins(ts *testscript.TestScript) {
	for _, name := range []string{"read_issue", "comment", "merge", "wipe", "whoami"} {
		b, err := json.Marshal(define(name, "Does "+name))
		ts.Check(err)
		b, err = jcs.Transform(b)
		ts.Check(err)
		ts.Setenv("PIN_"+strings.ToUpper(name), remit.Hash(b).String())
	}
}

func (h *hub) start(ts *testscript.TestScript, w *world) {
	handler := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return h.Server }, &mcp.StreamableHTTPOptions{Stateless: true})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+hubToken {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	w.runtime.closers = append(w.runtime.closers, s.Close)
	ts.Check(os.WriteFile(filepath.Join(w.dir, "hub.token"), []byte(hubToken), 0o600))
	ts.Setenv("HUB", s.URL)
	ts.Setenv("HUB_TOKEN", filepath.Join(w.dir, "hub.token"))
}

// cmdRPC is one request of a client of 2026-07-28 that can show people a page: rpc SERVER TOKEN METHOD [PARAMS]. It fails
// where the answer is an error, says that it is one, or asks for something.
func cmdRPC(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: rpc SERVER TOKEN METHOD [PARAMS]")
	}
	params := map[string]any{}
	if len(args) > 3 {
		ts.Check(json.Unmarshal([]byte(args[3]), &params))
	}
	params["_meta"] = map[string]any{"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientInfo": map[string]any{"name": "script", "version": "1"},
		"io.modelcontextprotocol/clientCapabilities": map[string]any{"elicitation": map[string]any{"url": map[string]any{}}}}
	body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": args[2], "params": params})
	ts.Check(err)
	r, err := http.NewRequest(http.MethodPost, ts.Getenv("REMIT_SERVER")+"/v1/orgs/acme/mcp/"+args[0], bytes.NewReader(body))
	ts.Check(err)
	r.Header = http.Header{"Authorization": {"Bearer " + args[1]}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"},
		"Mcp-Protocol-Version": {"2026-07-28"}, "Mcp-Method": {args[2]}}
	for _, key := range []string{"name", "uri"} {
		if v, ok := params[key].(string); ok {
			r.Header.Set("Mcp-Name", v)
		}
	}
	answer, err := clientOf(ts).Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	ts.Check(err)
	if m := regexp.MustCompile(`(?m)^data: (\{.*"result".*|\{.*"error".*)$`).FindAllSubmatch(text, -1); len(m) > 0 {
		text = m[len(m)-1][1]
	}
	var v struct {
		Result struct {
			IsError bool   `json:"isError"`
			Type    string `json:"resultType"`
		} `json:"result"`
		Error any `json:"error"`
	}
	bad := json.Unmarshal(text, &v) != nil || v.Error != nil || v.Result.IsError || v.Result.Type == "input_required"
	fmt.Fprintf(ts.Stdout(), "%s\n", text)
	if bad != neg {
		ts.Fatalf("%s: status %d\n%s", strings.Join(args[2:], " "), answer.StatusCode, text)
	}
}

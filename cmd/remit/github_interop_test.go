//go:build interop && unix

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/remit-dev/remit"
)

const githubToken = "ghp_token-of-remit"

// github answers the few requests of GitHub's REST API that the calls below need, from its documented fields.
type github struct {
	url string

	mu       sync.Mutex
	requests []string
	tokens   map[string]bool
}

func newGitHub(t *testing.T) *github {
	g := &github{tokens: map[string]bool{}}
	// The server takes a host without its port, so this is port 80 of an address of its own.
	l, err := net.Listen("tcp", "127.9.8.7:80")
	if err != nil {
		t.Skipf("port 80 of a loopback address is needed, which only root may listen at: %v", err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			t.Error(err)
		}
		g.mu.Lock()
		g.requests = append(g.requests, r.Method+" "+r.URL.Path+" "+string(body))
		g.tokens[r.Header.Get("Authorization")] = true
		g.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch r.Method + " " + r.URL.Path {
		case "GET /api/v3/repos/acme/payments/issues/12":
			_, _ = io.WriteString(w, `{"id":1,"number":12,"title":"Rounding","state":"open","body":"It rounds down.","user":{"login":"stranger"},"html_url":"http://x/12","comments":0}`)
		case "POST /api/v3/repos/acme/payments/issues/12/comments":
			w.WriteHeader(http.StatusCreated)
			_, _ = io.WriteString(w, `{"id":7,"body":"On it.","html_url":"http://x/12#7","user":{"login":"remit"}}`)
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, `{"message":"Not Found"}`)
		}
	}))
	if err := srv.Listener.Close(); err != nil {
		t.Fatal(err)
	}
	srv.Listener = l
	srv.Start()
	t.Cleanup(srv.Close)
	g.url = "http://127.9.8.7"
	return g
}

// asked tells whether GitHub was asked for something that contains text.
func (g *github) asked(text string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Contains(strings.Join(g.requests, "\n"), text)
}

// TestInteropGitHubMCP: GitHub's own MCP server, started by Remit and admitted by `remit mcp import`, in front of a GitHub: what
// a task may do works, what it may not do never reaches it, and its token stays where it is.
func TestInteropGitHubMCP(t *testing.T) {
	out, err := exec.Command(filepath.Join("..", "..", "tools", "real", "build"), "github-mcp-server").Output()
	if err != nil {
		missingProgram(t, "GitHub's MCP server cannot be built: %v; say: tools/real/build github-mcp-server", err)
	}
	program := strings.TrimSpace(string(out))
	s, hub := newStreet(t), newGitHub(t)
	upstream := filepath.Join(s.dir, "up")
	s.ok(os.MkdirAll(upstream, 0o700))
	for _, name := range []string{"acme/payments.git", "acme/salaries.git"} {
		if out, err := exec.Command("git", "init", "--quiet", "--bare", filepath.Join(upstream, name)).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	none := []remit.Effect{}
	s.declare(&remit.Declarations{
		Groups: []remit.Group{{Name: remit.Administrators, Members: []string{"ana"}}, {Name: "reviewers", Members: []string{"ben", "cem"}}},
		Upstreams: []remit.Upstream{{Name: "forge", Kind: remit.KindLocal, Location: upstream},
			{Name: "github", Kind: remit.KindMCP, Command: []string{program, "stdio"}, Env: map[string]remit.Source{
				"GITHUB_PERSONAL_ACCESS_TOKEN": {From: "file", Name: s.secret("github", githubToken)}, "GITHUB_HOST": {From: "file", Name: s.secret("host", hub.url)}}}},
		Repositories: []remit.Repository{{Name: "forge/acme/payments", DefaultBranch: "main", Effects: &none}, {Name: "forge/acme/salaries", DefaultBranch: "main", Effects: &none}},
	})
	// A person admits the server: the draft goes into the declarations as it is.
	imported := s.command("ana", "mcp", "import", "github", "--zone", "S", "--forge", "forge", "--env", "GITHUB_PERSONAL_ACCESS_TOKEN", "--env", "GITHUB_HOST", "--", program, "stdio")
	imported.Env = append(imported.Env, "GITHUB_PERSONAL_ACCESS_TOKEN="+githubToken, "GITHUB_HOST="+hub.url)
	draft, err := imported.Output()
	s.ok(err)
	dir := filepath.Join(s.dir, "declarations")
	_, tools, ok := strings.Cut(string(draft), "\ntools:\n")
	if !ok {
		t.Fatalf("the draft has no tools:\n%s", draft)
	}
	s.ok(os.WriteFile(filepath.Join(dir, "tools.yaml"), []byte("tools:\n"+tools), 0o600))
	s.ok(os.WriteFile(filepath.Join(dir, "coder.yaml"), []byte(`agents:
- name: coder
  function: code
  owner: ana
  purpose: codes
  requesters: [reviewers]
  entitlements:
  - {actions: [issue.read, issue.comment, source.read], resources: ["repo:forge/acme/payments"]}
  - {actions: [tool.read, tool.write], resources: ["tool:github/**"]}
`), 0o600))
	s.remit("ana", "apply", "-f", dir)

	var task remit.TaskView
	s.ok(json.Unmarshal([]byte(s.remit("ben", "task", "create", "--agent", "coder", "--intent", "answer #12", "-o", "json")), &task))
	h := s.begin("coder", string(task.ID))
	pem, err := os.ReadFile(filepath.Join(s.data, "ca.crt"))
	s.ok(err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil)
	session, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: s.url + "/v1/orgs/acme/mcp/github", HTTPClient: &http.Client{
		Transport: withBearer{h.do("remit token mcp"), &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}}}, nil)
	s.ok(err)
	t.Cleanup(func() { _ = session.Close() })
	list, err := session.ListTools(t.Context(), nil)
	s.ok(err)
	if len(list.Tools) < 20 {
		t.Errorf("%d tools are listed", len(list.Tools))
	}
	call := func(name string, args map[string]any) (string, bool) {
		t.Helper()
		r, err := session.CallTool(context.WithoutCancel(t.Context()), &mcp.CallToolParams{Name: name, Arguments: args})
		if err != nil {
			return err.Error(), true
		}
		var text strings.Builder
		for _, c := range r.Content {
			if c, ok := c.(*mcp.TextContent); ok {
				text.WriteString(c.Text)
			}
		}
		return text.String(), r.IsError
	}
	if text, bad := call("issue_read", map[string]any{"method": "get", "owner": "acme", "repo": "payments", "issue_number": 12}); bad || !strings.Contains(text, "It rounds down.") {
		t.Errorf("reading the issue: %v %s", bad, text)
	}
	if text, bad := call("add_issue_comment", map[string]any{"owner": "acme", "repo": "payments", "issue_number": 12, "body": "On it."}); bad || !hub.asked(`"body":"On it."`) {
		t.Errorf("commenting: %v %s", bad, text)
	}
	if text, bad := call("issue_read", map[string]any{"method": "get", "owner": "acme", "repo": "salaries", "issue_number": 1}); !bad || !strings.Contains(text, "OUT_OF_SCOPE") || hub.asked("salaries") {
		t.Errorf("another repository: %v %s", bad, text)
	}
	if text, bad := call("create_or_update_file", map[string]any{"owner": "acme", "repo": "payments", "path": "x", "content": "x", "message": "x", "branch": "main"}); !bad || hub.asked("contents") {
		t.Errorf("a commit around the git gateway: %v %s", bad, text)
	}
	if len(hub.tokens) != 1 || !hub.tokens["Bearer "+githubToken] {
		t.Errorf("GitHub was shown %d tokens", len(hub.tokens))
	}
	if said := h.do("env; ls -la"); strings.Contains(said, githubToken) {
		t.Error("the agent has the token")
	}
	taint := s.remit("ana", "trace", string(task.ID))
	if !strings.Contains(taint, "github/issue_read") {
		t.Errorf("the trace does not say what was called:\n%s", taint)
	}
}

// withBearer is a transport that shows a token.
type withBearer struct {
	token string
	base  http.RoundTripper
}

func (b withBearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.base.RoundTrip(r)
}

//go:build interop && unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gowebpki/jcs"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/model"
)

// What only Remit shows to the tracker: for calls, and for looking.
const (
	trackerToken = "tracker-token-of-remit"
	trackerLook  = "tracker-look-of-remit"
)

// tracker is a server of tools as companies have them.
type tracker struct {
	url   string
	tools []*mcp.Tool

	mu    sync.Mutex
	calls []string
}

func (k *tracker) called() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.calls...)
}

func newTracker(t *testing.T) *tracker {
	k := &tracker{}
	s := mcp.NewServer(&mcp.Implementation{Name: "tracker", Version: "1"}, nil)
	schema := json.RawMessage(`{"type":"object","properties":{"repo":{"type":"string"},"text":{"type":"string"}},"required":["repo","text"]}`)
	for _, name := range []string{"comment", "close_release", "wipe"} {
		tool := &mcp.Tool{Name: name, Description: "of the tracker: " + name, InputSchema: schema}
		k.tools = append(k.tools, tool)
		s.AddTool(tool, func(_ context.Context, r *mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			k.mu.Lock()
			k.calls = append(k.calls, name+" "+string(r.Params.Arguments))
			k.mu.Unlock()
			return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: "tracker did " + name}}}, nil
		})
	}
	h := mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if a := r.Header.Get("Authorization"); a != "Bearer "+trackerToken && a != "Bearer "+trackerLook {
			http.Error(w, "no", http.StatusUnauthorized)
			return
		}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	k.url = srv.URL
	return k
}

// pin is the digest of a tool as the server lists it.
func (k *tracker) pin(t *testing.T, name string) remit.Digest {
	t.Helper()
	for _, tool := range k.tools {
		if tool.Name == name {
			b, err := json.Marshal(tool)
			if err != nil {
				t.Fatal(err)
			}
			if b, err = jcs.Transform(b); err != nil {
				t.Fatal(err)
			}
			return remit.Hash(b)
		}
	}
	t.Fatalf("the tracker has no tool %s", name)
	return remit.Digest{}
}

// TestInteropAgents: the agents that people use, driven by a scripted model, under remit run and otherwise as they are: a call
// that is allowed, one that is denied with a lesson, one that waits for a person and then completes, a line of shell that
// the hook denies, a push through Remit, and nothing that lives on.
func TestInteropAgents(t *testing.T) {
	out, err := exec.Command(filepath.Join("..", "..", "tools", "real", "build"), "agents").Output()
	if err != nil {
		missingProgram(t, "the agents cannot be had: %v; say: tools/real/build agents", err)
	}
	bin := strings.TrimSpace(string(out))
	for _, a := range []struct {
		name    string
		command func(model string) []string
		env     func(model string) []string
	}{
		{"claude", func(string) []string {
			return []string{"claude", "-p", "work", "--allowedTools", "Bash,mcp__tracker__comment,mcp__tracker__close_release,mcp__tracker__wipe"}
		}, func(m string) []string {
			return []string{"ANTHROPIC_BASE_URL=" + m, "ANTHROPIC_API_KEY=dummy", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "ENABLE_TOOL_SEARCH=false"}
		}},
		{"codex", func(m string) []string {
			return []string{"codex", "exec", "-m", "gpt-5.1-codex", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "-c", `model_provider="scripted"`,
				"-c", `model_providers.scripted={name="scripted",base_url="` + m + `/v1",env_key="OPENAI_API_KEY",wire_api="responses"}`, "work"}
		}, func(string) []string { return []string{"OPENAI_API_KEY=dummy"} }},
		{"gemini", func(string) []string {
			return []string{"gemini", "-p", "work", "-m", "gemini-2.5-pro", "--approval-mode", "yolo"}
		}, func(m string) []string { return []string{"GEMINI_API_KEY=dummy", "GOOGLE_GEMINI_BASE_URL=" + m} }},
	} {
		t.Run(a.name, func(t *testing.T) { underRemit(t, bin, a.command, a.env) })
	}
}

func underRemit(t *testing.T, bin string, command, env func(string) []string) {
	s := newStreet(t)
	k := newTracker(t)
	upstream := filepath.Join(s.dir, "up")
	seed := filepath.Join(s.dir, "seed")
	for _, args := range [][]string{
		{"init", "--quiet", seed}, {"-C", seed, "commit", "--quiet", "--allow-empty", "-m", "begin"},
		{"clone", "--quiet", "--bare", seed, filepath.Join(upstream, "payments.git")}, {"clone", "--quiet", "--bare", seed, filepath.Join(upstream, "salaries.git")},
	} {
		cmd := exec.Command("git", args...)
		cmd.Env = append(s.env, "PATH="+os.Getenv("PATH"))
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	comment := []remit.ToolStep{{Action: "issue.comment", Resource: "repo:forge/{repo}"}}
	tool := func(name, impact string, steps []remit.ToolStep) remit.Tool {
		return remit.Tool{Name: "tracker/" + name, Zone: "S", Impact: impact, Pin: k.pin(t, name), Steps: steps, Approvers: []remit.Need{{Group: "reviewers", N: 1}}}
	}
	none := []remit.Effect{}
	s.declare(&remit.Declarations{
		Groups: []remit.Group{{Name: remit.Administrators, Members: []string{"ana"}}, {Name: "reviewers", Members: []string{"ben", "cem"}}},
		Upstreams: []remit.Upstream{
			{Name: "forge", Kind: remit.KindLocal, Location: upstream},
			{Name: "tracker", Kind: remit.KindMCP, Location: k.url, Insecure: true, Write: remit.Source{From: "file", Name: s.secret("tracker", trackerToken)},
				Observer: remit.Source{From: "file", Name: s.secret("tracker-look", trackerLook)}},
		},
		Repositories: []remit.Repository{{Name: "forge/payments", DefaultBranch: "main", Effects: &none}, {Name: "forge/salaries", DefaultBranch: "main", Effects: &none}},
		Tools:        []remit.Tool{tool("comment", "write", comment), tool("close_release", "privileged", nil), tool("wipe", "privileged", nil)},
		Agents: []remit.Agent{{Name: "coder", Function: remit.FuncCode, Owner: "ana", Purpose: "codes", Requesters: []string{"reviewers"}, Entitlements: []remit.Scope{
			{Actions: []remit.Action{"source.read", "source.push", "issue.comment"}, Resources: []remit.Pattern{"repo:forge/payments"}},
			{Actions: []remit.Action{"tool.read", "tool.write", "tool.call"}, Resources: []remit.Pattern{"tool:tracker/comment", "tool:tracker/close_release"}},
			{Actions: []remit.Action{"tool.read", "tool.write", "tool.run", "tool.call"}, Resources: []remit.Pattern{"tool:local/**"}},
		}}},
	})
	// What a person has set up once: by which way Gemini CLI signs in.
	gemini := filepath.Join(s.dir, "home", ".gemini")
	s.ok(os.MkdirAll(gemini, 0o700))
	s.ok(os.WriteFile(filepath.Join(gemini, "settings.json"), []byte(`{"security":{"auth":{"selectedType":"gemini-api-key"},"folderTrust":{"enabled":false}}}`), 0o600))
	var task remit.TaskView
	if err := json.Unmarshal([]byte(s.remit("ben", "task", "create", "--agent", "coder", "--intent", "work", "--repo", "forge/payments", "-o", "json")), &task); err != nil {
		t.Fatal(err)
	}
	m := &model.Model{Steps: []model.Step{
		{Server: "tracker", Tool: "comment", Args: map[string]any{"repo": "payments", "text": "hello"}},
		{Server: "tracker", Tool: "comment", Args: map[string]any{"repo": "salaries", "text": "hello"}},
		{Server: "tracker", Tool: "close_release", Args: map[string]any{"repo": "payments", "text": "1.4"}},
		{Shell: "curl -s http://169.254.169.254/latest/meta-data/ > taken"},
		{Shell: "git commit --quiet --allow-empty -m work && git push --quiet origin HEAD:" + task.Branch + "/work"},
	}}
	srv := httptest.NewServer(m)
	t.Cleanup(srv.Close)
	work := filepath.Join(s.dir, "work")
	clone := exec.Command("git", "clone", "--quiet", filepath.Join(upstream, "payments.git"), work)
	clone.Env = s.env
	if out, err := clone.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	voted := make(chan error, 1)
	go func() { voted <- s.approveFirst(ctx, "cem") }()
	cmd := s.command("ben", append([]string{"run", "--task", string(task.ID), "--"}, command(srv.URL)...)...)
	cmd.Dir = work
	cmd.Env = append(cmd.Env, env(srv.URL)...)
	for i, kv := range cmd.Env {
		if rest, ok := strings.CutPrefix(kv, "PATH="); ok {
			cmd.Env[i] = "PATH=" + bin + string(os.PathListSeparator) + rest
		}
	}
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("the agent: %v", err)
	}
	if err := <-voted; err != nil {
		t.Error(err)
	}
	results := m.Results()
	if t.Failed() || len(results) != len(m.Steps) {
		t.Fatalf("%d results, want %d: %q\ntools %q\nit said:\n%s", len(results), len(m.Steps), results, m.Tools(), said)
	}
	for i, want := range []string{"tracker did comment", "forge/salaries", "tracker did close_release", "remit", ""} {
		if !strings.Contains(results[i], want) {
			t.Errorf("result %d is %q, want %q", i, results[i], want)
		}
	}
	if calls := k.called(); len(calls) != 2 || !strings.HasPrefix(calls[0], "comment ") || !strings.HasPrefix(calls[1], "close_release ") {
		t.Errorf("the tracker was called %q", calls)
	}
	if _, err := os.Stat(filepath.Join(work, "taken")); err == nil {
		t.Error("the denied line of shell ran")
	}
	refs, err := exec.Command("git", "-C", filepath.Join(upstream, "payments.git"), "for-each-ref", "refs/heads/remit").Output()
	if err != nil || !strings.Contains(string(refs), "/work") {
		t.Errorf("nothing was pushed: %q %v; the last result: %q", refs, err, results[4])
	}
	for _, r := range m.Requests() {
		if strings.Contains(r, trackerToken) || strings.Contains(r, trackerLook) {
			t.Error("the model was shown the tracker's token")
		}
		if strings.Contains(r, "wipe") {
			t.Error("the model was offered a tool that the task may not use")
		}
	}
	var tasks []remit.TaskView
	if err := json.Unmarshal([]byte(s.remit("ben", "task", "list", "-o", "json")), &tasks); err != nil {
		t.Fatal(err)
	}
	for _, x := range tasks {
		for _, i := range x.Instances {
			t.Errorf("instance %s of task %s lives on after its agent ended", i, x.ID)
		}
	}
	if leases := s.remit("ana", "leases"); regexp.MustCompile(`\bactive\b`).MatchString(leases) {
		t.Errorf("a credential lives on:\n%s", leases)
	}
}

// approveFirst approves what waits first.
func (s *street) approveFirst(ctx context.Context, who string) error {
	for ctx.Err() == nil {
		out, err := s.command(who, "approvals", "list", "-o", "json").Output()
		if err != nil {
			return fmt.Errorf("listing approvals: %w", err)
		}
		if m := regexp.MustCompile(`"(A-[0-9]+)"`).FindSubmatch(out); m != nil {
			if out, err := s.command(who, "approvals", "approve", "--yes", string(m[1])).CombinedOutput(); err != nil {
				return fmt.Errorf("approving %s: %w\n%s", m[1], err, out)
			}
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return fmt.Errorf("nothing waited for %s", who)
}

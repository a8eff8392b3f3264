//go:build interop && unix

package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
)

const referenceVersion = "2026.8.31" // of the protocol's own reference server, which strangers wrote in another language

// reference gives the command of the reference server, installed once in the user's cache.
func reference(t *testing.T) []string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "remit-test", "mcp-server-everything-"+referenceVersion)
	index := filepath.Join(dir, "node_modules/@modelcontextprotocol/server-everything/dist/index.js")
	if _, err := os.Stat(index); err != nil {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		npm := exec.CommandContext(t.Context(), "npm", "install", "--no-audit", "--no-fund", "--prefix", dir, "@modelcontextprotocol/server-everything@"+referenceVersion)
		if out, err := npm.CombinedOutput(); err != nil {
			missingPart(t, "the reference server cannot be had: %v\n%s", err, out)
		}
	}
	return []string{suite(t)[0], index}
}

// listen starts the reference server at an address.
func listen(t *testing.T, command []string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(command[0], append(command[1:], "streamableHttp")...)
	cmd.Env = append(os.Environ(), "PORT="+port)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			_ = c.Close()
			return "http://127.0.0.1:" + port + "/mcp"
		}
		if time.Now().After(deadline) {
			t.Fatal("the reference server does not listen")
		}
	}
}

// used is what a client sees that uses all of the reference server. What is of the moment, such as times, is left out.
func used(t *testing.T, transport sdk.Transport) (seen []string) {
	var mu sync.Mutex
	progress := 0
	s := newClient(t, transport, func(string) { mu.Lock(); progress++; mu.Unlock() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	see := func(what string, v any, err error) {
		b, jerr := json.Marshal(v)
		if jerr != nil {
			t.Fatal(jerr)
		}
		seen = append(seen, fmt.Sprintf("%s: %s %v", what, b, err))
	}
	see("begin", s.InitializeResult().Capabilities, nil)
	tools, err := s.ListTools(ctx, nil)
	see("tools", tools, err)
	for _, c := range []struct {
		tool string
		args map[string]any
	}{
		{"echo", map[string]any{"message": "Ω <&>"}}, {"get-sum", map[string]any{"a": 2, "b": 3.5}}, {"get-sum", map[string]any{"a": "x"}}, {"get-tiny-image", map[string]any{}},
		{"get-annotated-message", map[string]any{"messageType": "error", "includeImage": true}}, {"get-structured-content", map[string]any{"location": "Chicago"}},
		{"get-resource-links", map[string]any{"count": 3}}, {"trigger-long-running-operation", map[string]any{"duration": 0.2, "steps": 2}},
		{"trigger-sampling-request", map[string]any{"prompt": "why?", "maxTokens": 5}}, {"trigger-elicitation-request", map[string]any{}}, {"get-roots-list", map[string]any{}}, {"none", map[string]any{}},
	} {
		p := &sdk.CallToolParams{Name: c.tool, Arguments: c.args}
		p.SetProgressToken("p")
		r, err := s.CallTool(ctx, p)
		see(c.tool, r, err)
	}
	resources, err := s.ListResources(ctx, nil)
	see("resources", resources, err)
	if err == nil && len(resources.Resources) > 0 {
		r, err := s.ReadResource(ctx, &sdk.ReadResourceParams{URI: resources.Resources[0].URI})
		see("resource", r, err)
	}
	templates, err := s.ListResourceTemplates(ctx, nil)
	see("templates", templates, err)
	prompts, err := s.ListPrompts(ctx, nil)
	see("prompts", prompts, err)
	for _, p := range prompts.Prompts {
		r, err := s.GetPrompt(ctx, &sdk.GetPromptParams{Name: p.Name, Arguments: map[string]string{"city": "Graz", "state": "A", "department": "Engineering", "name": "Alice", "resourceType": "Text", "resourceId": "1"}})
		if p.Name != "resource-prompt" { // it says what time it is
			see("prompt "+p.Name, r, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	return append(seen, fmt.Sprintf("%d notes of progress", progress))
}

// A server that strangers wrote in another language, by HTTP and as a process, is the same server through the gateway.
func TestTheReferenceServerIsTheSameThroughTheGateway(t *testing.T) {
	command := reference(t)
	compare := func(t *testing.T, direct, through []string) {
		if len(direct) < 15 || len(direct) != len(through) {
			t.Errorf("%d things are seen direct, %d through the gateway", len(direct), len(through))
		}
		for i := range min(len(direct), len(through)) {
			if direct[i] != through[i] {
				t.Errorf("direct:  %.600s\nthrough: %.600s", direct[i], through[i])
			}
		}
		for _, line := range direct {
			if strings.Contains(line, "connection closed") {
				t.Errorf("%.300s", line)
			}
		}
	}
	t.Run("by HTTP", func(t *testing.T) {
		w, url := newWorld(t, nil), listen(t, command)
		w.serve("reference", url)
		compare(t, used(t, overHTTP(url)), used(t, overHTTP(w.url+"reference")))
	})
	t.Run("as a process", func(t *testing.T) {
		w := newWorld(t, nil)
		env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
		w.servers["reference"] = Server{Name: "reference", Command: append(command, "stdio"), Env: func(context.Context) ([]string, error) { return env, nil }}
		cmd := exec.Command(command[0], append(command[1:], "stdio")...)
		cmd.Env = env
		compare(t, used(t, &sdk.CommandTransport{Command: cmd}), used(t, overHTTP(w.url+"reference")))
	})
}

//go:build interop && unix

package mcp

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// Versions of the official suite and of what runs it.
const (
	suiteVersion = "@modelcontextprotocol/conformance@0.2.0-alpha.12"
	nodeVersion  = "node@22"
)

// missingPart ends a test that cannot run here; with CI=true it fails.
func missingPart(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// suite gives the command that runs the official suite, installed once in the user's cache.
func suite(t *testing.T) []string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "remit-test", "mcp-conformance-0.2.0-alpha.12")
	node, index := filepath.Join(dir, "node_modules/.bin/node"), filepath.Join(dir, "node_modules/@modelcontextprotocol/conformance/dist/index.js")
	if exec.Command(node, "--version").Run() != nil {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		npm := exec.CommandContext(t.Context(), "npm", "install", "--no-audit", "--no-fund", "--prefix", dir, suiteVersion, nodeVersion)
		if out, err := npm.CombinedOutput(); err != nil {
			missingPart(t, "the conformance suite cannot be had: npm install %s %s: %v\n%s", suiteVersion, nodeVersion, err, out)
		}
	}
	return []string{node, index, "server"}
}

// everythingServer builds the server of everything of the protocol's own Go library.
func everythingServer(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "everything")
	if b, err := exec.CommandContext(t.Context(), "go", "build", "-o", out, "github.com/modelcontextprotocol/go-sdk/conformance/everything-server").CombinedOutput(); err != nil {
		t.Fatalf("building everything-server: %v\n%s", err, b)
	}
	return out
}

func startEverything(t *testing.T, program string, args ...string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"-http", addr}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
			return "http://" + addr + "/"
		}
		if time.Now().After(deadline) {
			t.Fatalf("everything-server does not listen: %v", err)
		}
	}
}

// anyone takes requests of a suite, which has no token, for an instance's.
type anyone struct{ *world }

func (anyone) Authenticate(*http.Request) (remit.Caller, error) {
	return remit.Caller{Instance: "I-1", Agent: "coder", Task: "T-1"}, nil
}

var scored = regexp.MustCompile(`(?m)^. ([a-z0-9-]+): (\d+) passed, (\d+) failed`)

// judgeServer runs the suite, and gives what each scenario came to, in one line each.
func judgeServer(t *testing.T, suite []string, url, requirements string) (lines []string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, suite[0], append(suite[1:], "--url", url, "--requirements", requirements, "--output-dir", dir)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	for _, m := range scored.FindAllString(string(out), -1) {
		lines = append(lines, strings.TrimSpace(m))
	}
	if err != nil {
		t.Logf("%s", out)
		files, _ := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
		for _, f := range files {
			var checks []map[string]any
			if b, err := os.ReadFile(f); err != nil || json.Unmarshal(b, &checks) != nil {
				t.Errorf("%s cannot be read", f)
			}
			for _, c := range checks {
				if c["status"] == "FAILURE" && !strings.Contains(f, "tasks-") {
					t.Logf("%v: %v: %v %v", c["id"], c["description"], c["errorMessage"], c["details"])
				}
			}
		}
	}
	return lines, err
}

// The official suite, which strangers wrote, finds the same through the gateway as without it: every scenario passes, or
// fails, in the same number of checks.
func TestTheOfficialSuiteFindsTheSameThroughTheGateway(t *testing.T) {
	command, program := suite(t), everythingServer(t)
	for _, c := range []struct {
		requirements string
		args         []string
		least        int
	}{{"2026-07-28", nil, 37}, {"2025-11-25", []string{"-stateless=false"}, 30}} {
		t.Run(c.requirements, func(t *testing.T) {
			url := startEverything(t, program, c.args...)
			w := newWorld(t, nil)
			w.authn = anyone{w}
			w.serve("everything", url)
			direct, err := judgeServer(t, command, url, c.requirements)
			if err != nil {
				t.Fatalf("the suite fails without the gateway: %v", err)
			}
			through, err := judgeServer(t, command, w.url+"everything", c.requirements)
			if err != nil {
				t.Errorf("the suite fails through the gateway: %v", err)
			}
			if len(direct) < c.least || len(direct) != len(through) {
				t.Fatalf("%d scenarios direct, %d through the gateway; at least %d were expected", len(direct), len(through), c.least)
			}
			for i := range direct {
				if direct[i] != through[i] {
					t.Errorf("direct %q, through the gateway %q", direct[i], through[i])
				}
			}
		})
	}
}

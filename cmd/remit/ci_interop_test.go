//go:build interop

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit/authority"
)

// TestInteropCI has a real workflow engine run a workflow whose one line is remit ci login, on this host.
func TestInteropCI(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	missing := func(format string, args ...any) {
		t.Helper()
		if os.Getenv("CI") == "true" {
			t.Fatalf(format, args...)
		}
		t.Skipf(format, args...)
	}
	if _, err := exec.LookPath("git"); err != nil {
		missing("git is missing; install it (Debian: git)")
	}
	b, err := exec.Command(filepath.Join(root, "tools", "real", "build"), "act").Output()
	if err != nil {
		missing("the workflow engine cannot be built: %v; say: tools/real/build act", err)
	}
	act := strings.TrimSpace(string(b))
	remit := filepath.Join(t.TempDir(), "remit")
	if out, err := exec.Command("go", "build", "-o", remit, ".").CombinedOutput(); err != nil {
		t.Fatalf("building remit: %v\n%s", err, out)
	}
	h := runner(t, remit)
	repo := t.TempDir()
	workflow := filepath.Join(repo, ".github", "workflows", "build.yml")
	if err := os.MkdirAll(filepath.Dir(workflow), 0o755); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(h.temp, "out")
	text := `name: build
on: push
permissions: {id-token: write}
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - run: remit ci login
      - run: |
          echo "task=$REMIT_TASK" > ` + out + `
          echo "token=$(remit token git)" >> ` + out + `
`
	if err := os.WriteFile(workflow, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=a", "-c", "user.email=a@example", "commit", "-q", "-m", "build"},
		{"remote", "add", "origin", "https://github.com/acme/payments.git"}} {
		c := exec.Command("git", args...)
		c.Dir, c.Env = repo, h.env
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	args := []string{"push", "-P", "ubuntu-latest=-self-hosted", "--no-cache-server"}
	for _, kv := range h.env {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "REMIT_") || strings.HasPrefix(name, "ACTIONS_") || name == "PATH" {
			args = append(args, "--env", kv)
		}
	}
	c := exec.Command(act, args...)
	c.Dir, c.Env = repo, h.env
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	if err := c.Run(); err != nil {
		t.Fatalf("act: %v\n%s", err, said.String())
	}
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatalf("%v\n%s", err, said.String())
	}
	_, token, _ := strings.Cut(string(got), "token=")
	if who, status := h.caller(strings.TrimSpace(token)); status != 200 || who.Agent != "builder" || who.Task != h.task || !strings.HasPrefix(string(got), "task="+string(h.task)) {
		t.Errorf("%d %+v\n%s", status, who, said.String())
	}
	if strings.Contains(said.String(), "remitj_") {
		t.Errorf("the access token is in the workflow's log:\n%s", said.String())
	}
	h.w.Engine.View(func(s *authority.State) {
		for _, id := range s.InstancesOf(h.task) {
			if s.Instances[id].Issuer != "ci" {
				t.Errorf("%+v", s.Instances[id])
			}
		}
	})
}

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/remit-dev/remit"
)

// plainGit runs git in Remit's own name: nothing of the user's configuration, no hooks, no prompts.
type plainGit struct {
	config string   // file for GIT_CONFIG_GLOBAL
	safe   []string // directories that are named to git although somebody else may own them
}

func newPlainGit(dir string, safe ...string) (*plainGit, error) {
	var b bytes.Buffer
	b.WriteString("[init]\n\tdefaultBranch = main\n[core]\n\thooksPath = /dev/null\n[user]\n\tname = Remit quickstart\n\temail = quickstart@localhost\n")
	for _, s := range safe {
		fmt.Fprintf(&b, "[safe]\n\tdirectory = %q\n", s)
	}
	g := &plainGit{config: filepath.Join(dir, "gitconfig"), safe: safe}
	return g, os.WriteFile(g.config, b.Bytes(), 0o600)
}

// run gives what git said on its standard output, without the last line end.
func (g *plainGit) run(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = g.env()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return "", remit.Errorf(remit.NotFound, "git is not installed; Remit's git gateway needs it (Debian: apt-get install git)")
		}
		return "", fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

func (g *plainGit) env() []string {
	env := []string{"GIT_CONFIG_GLOBAL=" + g.config, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_NO_REPLACE_OBJECTS=1", "LC_ALL=C"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR"} {
		env = append(env, name+"="+os.Getenv(name))
	}
	return env
}

// cloneBare makes a bare copy of the repository at path that shares nothing with it, not even by hard links: the
// original is never touched.
func (g *plainGit) cloneBare(ctx context.Context, path, to string) (branch string, err error) {
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		return "", remit.Errorf(remit.BadRequest, "--repo %s: there is no such directory", path)
	}
	if _, err := g.run(ctx, path, "rev-parse", "--git-dir"); err != nil {
		return "", remit.Errorf(remit.BadRequest, "--repo %s: not a git repository: %w", path, err)
	}
	if shallow, err := g.run(ctx, path, "rev-parse", "--is-shallow-repository"); err != nil || shallow == "true" {
		return "", remit.Errorf(remit.BadRequest, "--repo %s: a shallow clone, whose history cannot be judged; say there: git fetch --unshallow", path)
	}
	if _, err := g.run(ctx, path, "rev-parse", "--verify", "HEAD^{commit}"); err != nil {
		return "", remit.Errorf(remit.BadRequest, "--repo %s: it has no commit yet; make one, and try again", path)
	}
	if _, err := g.run(ctx, "", "clone", "--quiet", "--bare", "--no-hardlinks", path, to); err != nil {
		return "", err
	}
	head, err := g.run(ctx, to, "symbolic-ref", "HEAD")
	if err != nil {
		return "", remit.Errorf(remit.BadRequest, "--repo %s: its HEAD is on no branch; say there: git switch BRANCH", path)
	}
	if _, err := g.run(ctx, to, "remote", "remove", "origin"); err != nil {
		return "", err
	}
	return strings.TrimPrefix(head, "refs/heads/"), nil
}

// sample is a small realistic repository: a service, its tests, and workflows of which one deploys.
var sample = map[string]string{
	"README.md": "# payments\n\nTakes payments. `go test ./...` runs its tests.\n",
	"go.mod":    "module example.com/payments\n\ngo 1.24\n",
	"payments.go": `// Package payments takes payments.
package payments

import "errors"

// ErrAmount is what an amount that is not positive gets.
var ErrAmount = errors.New("payments: the amount is not positive")

// Fee is what a payment of cents costs, in cents.
func Fee(cents int64) (int64, error) {
	if cents <= 0 {
		return 0, ErrAmount
	}
	return cents*29/1000 + 30, nil
}
`,
	"payments_test.go": `package payments

import "testing"

func TestFee(t *testing.T) {
	if fee, err := Fee(1000); err != nil || fee != 59 {
		t.Fatalf("fee %d, %v", fee, err)
	}
}
`,
	".github/workflows/ci.yml": `name: ci
on: push
permissions: {contents: read}
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: go test ./...
`,
	".github/workflows/deploy.yml": `name: deploy
on:
  push:
    branches: [main]
jobs:
  production:
    runs-on: ubuntu-latest
    environment: production
    steps:
      - uses: actions/checkout@v4
      - run: ./deploy.sh
        env:
          TOKEN: ${{ secrets.DEPLOY_TOKEN }}
`,
	"CODEOWNERS": "*  @payments\n",
}

// createSample makes the sample repository, bare.
func (g *plainGit) createSample(ctx context.Context, work, to string) (branch string, err error) {
	return "main", g.create(ctx, work, to, "Take payments", sample)
}

// otherRepository is a repository that the story's task does not name.
const otherRepository = "handbook-of-others"

func (g *plainGit) createOther(ctx context.Context, work, to string) error {
	return g.create(ctx, work, to, "Begin", map[string]string{"README.md": "# Handbook\n"})
}

func (g *plainGit) create(ctx context.Context, work, to, message string, files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(work, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "."}, {"commit", "--quiet", "-m", message}} {
		if _, err := g.run(ctx, work, args...); err != nil {
			return err
		}
	}
	if _, err := g.run(ctx, "", "clone", "--quiet", "--bare", "--no-hardlinks", work, to); err != nil {
		return err
	}
	return os.RemoveAll(work)
}

// workflowFiles reads the files of a bare repository's branch that may be workflows.
func (g *plainGit) workflowFiles(ctx context.Context, bare, branch string) (map[string][]byte, error) {
	list, err := g.run(ctx, bare, "ls-tree", "-r", "-z", "--name-only", "refs/heads/"+branch)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for name := range strings.SplitSeq(list, "\x00") {
		base := filepath.Base(name)
		if !strings.HasPrefix(name, ".") && base != "Jenkinsfile" && base != "azure-pipelines.yml" && base != "bitbucket-pipelines.yml" || len(files) == 500 {
			continue
		}
		if ext := filepath.Ext(name); ext != ".yml" && ext != ".yaml" && base != "Jenkinsfile" {
			continue
		}
		body, err := g.run(ctx, bare, "cat-file", "blob", "refs/heads/"+branch+":"+name)
		if err != nil {
			return nil, err
		}
		files[name] = []byte(body + "\n")
	}
	return files, nil
}

package isolate

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestConfigValues: what git itself finds is found. git(1) is the oracle.
func TestConfigValues(t *testing.T) {
	for _, config := range []string{
		"[core]\n\thooksPath = tools/hooks\n", "[core] hookspath=a\n", "[core]\nHOOKSPATH = \"a b\"  ; why\n", "[core]\n  hooksPath =   a/b   # why\n", "[core]\nhooksPath = a\\\nb\n",
		"[core]\nhooksPath = \"a\\\\b\"\n", "[core]\nhooksPath = one\nhooksPath = two\n", "[core]\nhooksPath = a\"b c\"d\n", "[core \"x]y\"]\nhooksPath = z\n[core]hooksPath = last",
	} {
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		raw, err := exec.Command("git", "config", "--file", file, "--get-all", "core.hookspath").Output()
		if errors.Is(err, exec.ErrNotFound) {
			t.Skip("git is missing")
		}
		if err != nil {
			t.Fatalf("git does not take %q: %v", config, err)
		}
		got := configValues([]byte(config), "hookspath")
		for want := range strings.SplitSeq(strings.TrimSuffix(string(raw), "\n"), "\n") {
			if !slices.Contains(got, want) {
				t.Errorf("%q: %q is not in %q", config, want, got)
			}
		}
	}
}

// FuzzConfig: the files of a repository are anybody's.
func FuzzConfig(f *testing.F) {
	for _, s := range []string{"[core]\nhooksPath = \"a\\\"b\"", "path=;", "path=\"", "[include] path = x # y", "=\\\n="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, v := range configValues([]byte(s), "path") {
			if strings.Contains(v, "\n") {
				t.Fatalf("%q has a line break", v)
			}
		}
	})
}

// plan is what newTree makes of a tree, with its paths as seen from it.
func plan(t *testing.T, script string) (*tree, string, error) {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := newTree(dir, nil)
	return got, dir, err
}

func TestWhatIsKeptOfATree(t *testing.T) {
	for _, c := range []struct {
		name, script string
		hold, lock   []string // among others
	}{
		{"a directory", "true", []string{".github"}, []string{".claude", ".codex", ".gemini", ".cursor", ".github/hooks", ".mcp.json", ".vscode"}},
		{"a repository", "mkdir -p .git/hooks && touch .git/config", []string{".git"}, []string{".git/hooks", ".git/config", ".git/commondir", ".git/worktrees", ".git/modules"}},
		{"hooks elsewhere", "mkdir -p .git a/b && printf '[core]\\nhooksPath = a/b/c\\n' >.git/config", []string{"a", "a/b"}, []string{"a/b/c"}},
		{"included configuration", "mkdir -p .git x && printf '[include]\\npath = ../x/one\\n' >.git/config && printf '[include]\\npath = two\\n' >x/one && touch x/two", []string{"x"}, []string{"x/one", "x/two"}},
		{"configuration of each work tree", "mkdir .git && printf '[extensions]\\nworktreeConfig = true\\n' >.git/config", nil, []string{".git/config.worktree"}},
		{"start files that are there", "touch .bashrc .envrc", nil, []string{".bashrc", ".envrc"}},
		{"repositories below", "mkdir -p a/b/.git/hooks v/.git", []string{"a/b/.git", "v/.git"}, []string{"a/b/.git/hooks", "v/.git/commondir"}},
		{"a submodule", "mkdir -p .git/modules/s s && echo 'gitdir: ../.git/modules/s' >s/.git", nil, []string{"s/.git", ".git/modules"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, dir, err := plan(t, c.script)
			if err != nil {
				t.Fatal(err)
			}
			for want, in := range map[*[]string][]string{&c.hold: got.hold, &c.lock: got.lock} {
				for _, path := range *want {
					if !slices.Contains(in, filepath.Join(dir, path)) {
						t.Errorf("%s is not in %q", path, in)
					}
				}
			}
			for _, path := range slices.Concat(got.hold, got.lock) {
				if _, err := os.Lstat(path); err != nil {
					t.Errorf("nothing is there to be mounted on: %v", err)
				}
			}
		})
	}
	for name, script := range map[string]string{
		"configuration that is missing":        "mkdir .git && printf '[include]\\npath = ../one\\n' >.git/config",
		"configuration that includes itself":   "mkdir .git && printf '[include]\\npath = config\\n' >.git/config",
		"a directory that is a symbolic link":  "mkdir x && ln -s x .vscode",
		"one on the way that is":               "mkdir x && ln -s x .github",
		"a repository that names another":      "mkdir x && echo 'gitdir: x' >.git",
		"a repository that is a symbolic link": "mkdir x && ln -s x .git",
		"a repository that is a pipe":          "mkfifo .git",
	} {
		if _, _, err := plan(t, script); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestToShow(t *testing.T) {
	b := Box{Homes: []string{"/people/ana"}, Path: []string{"/usr/bin", "/people/ana/bin", "/people/ana/.nvm/versions/node/v24/bin", linuxbrew + "/bin", "/people/ana", "/tmp", "/", "relative"}}
	got := b.toShow()
	for _, want := range []string{"/usr/bin", "/people/ana/bin", "/people/ana/.nvm", linuxbrew} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not shown", want)
		}
	}
	for _, never := range []string{"/people/ana", "/tmp", "/", "relative", "/people/ana/.nvm/versions/node/v24/bin", "/people/ana/.local/share", "/people/ana/.ssh"} {
		if slices.Contains(got, never) {
			t.Errorf("%s is shown", never)
		}
	}
	if got := packageOf("/people/ana/x/lib/node_modules/@a/b/cli.js"); got != "/people/ana/x/lib/node_modules" {
		t.Error(got)
	}
	if got := without([]string{"/x"}, []string{"/x"}); len(got) != 0 && exists("/x") {
		t.Error(got)
	}
	dir := t.TempDir()
	for _, name := range []string{"a/one", "a/b/two", "c/three"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700), os.WriteFile(filepath.Join(dir, name), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(without([]string{dir}, []string{dir + "/a/b"})), fmt.Sprint([]string{dir + "/a/one", dir + "/c"}); got != want {
		t.Errorf("%s, not %s", got, want)
	}
}

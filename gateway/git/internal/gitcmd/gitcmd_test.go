package gitcmd

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Neither the machine's configuration nor a user's reaches our git, and no hook of a repository runs.
func TestNothingOfTheSurroundingsCounts(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	root := t.TempDir()
	home := filepath.Join(root, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[remit]\n\ttest = leaked\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	t.Setenv("GIT_CONFIG_COUNT", "1")
	t.Setenv("GIT_CONFIG_KEY_0", "remit.test")
	t.Setenv("GIT_CONFIG_VALUE_0", "leaked")
	g, err := Find(t.Context(), "", filepath.Join(root, "config"))
	if err != nil {
		t.Fatal(err)
	}
	repo := filepath.Join(root, `odd "name".git`)
	if err := os.Mkdir(repo, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "--bare", "-q"}, {"config", "--list"}} {
		cmd, err := g.Command(t.Context(), repo, args...)
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		if err != nil || strings.Contains(string(out), "leaked") {
			t.Errorf("git %v: %v\n%s", args, err, out)
		}
		if args[0] == "config" && (!strings.Contains(string(out), "safe.directory="+repo+"\n") || !strings.Contains(string(out), "core.hookspath="+os.DevNull)) {
			t.Errorf("its configuration is\n%s", out)
		}
	}
	env, err := g.Environ(repo, "a.b", "c")
	if err != nil || !slices.Contains(env, "GIT_CONFIG_NOSYSTEM=1") || !slices.Contains(env, "GIT_NO_REPLACE_OBJECTS=1") || slices.ContainsFunc(env, func(s string) bool { return strings.HasPrefix(s, "HOME=/") }) {
		t.Errorf("%v, %v", env, err)
	}
}

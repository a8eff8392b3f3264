package git

import (
	"errors"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

// A commit is read in Remit's own name, and only a commit.
func TestCommitIsReadFromUpstream(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	w.write(dir, "a", "a\n")
	tip := w.commit(dir, "a")
	w.git(dir, "push", "-q", w.bare, "HEAD:main")
	tree, parents, err := w.gw.Commit(t.Context(), w.repo.Name, tip)
	if err != nil || tree != w.git(dir, "rev-parse", "HEAD^{tree}") || strings.Join(parents, " ") != w.git(dir, "rev-parse", "HEAD~") {
		t.Errorf("%s %v, %v", tree, parents, err)
	}
	for name, id := range map[string]string{"a tree": tree, "nobody has it": strings.Repeat("c", 40), "no id": "HEAD", "upper case": strings.ToUpper(tip)} {
		tree, parents, err := w.gw.Commit(t.Context(), w.repo.Name, id)
		var e *remit.Error
		if !errors.As(err, &e) || tree != "" || parents != nil {
			t.Errorf("%s: %q %v, %v", name, tree, parents, err)
		}
	}
	if _, _, err := w.gw.Commit(t.Context(), "forge/acme/other", tip); err == nil {
		t.Error("a repository that is not declared is read")
	}
	w.clean(0)
}

// The trusted ref is the declared one, under its full name too, or else upstream's HEAD.
func TestTrustedRefIsDeclaredOrUpstreams(t *testing.T) {
	for _, declared := range []string{"", "main", "refs/heads/main"} {
		w := newWorld(t)
		w.mu.Lock()
		w.repo.DefaultBranch = declared
		w.mu.Unlock()
		dir := w.clone()
		w.write(dir, ".github/workflows/ci.yml", "on: push # changed\n")
		w.commit(dir, "ci")
		w.git(dir, "push", "-q", "origin", "HEAD:refs/heads/x")
		if r, _ := w.last(); len(r.Refs) != 1 || len(r.Refs[0].Pinned) != 1 {
			t.Errorf("declared as %q: %+v", declared, r.Refs)
		}
		w.srv.Close()
	}
}

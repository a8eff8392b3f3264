package git

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// making is a change of the test repository's main by an agent.
func making(m gateway.Making) gateway.Making {
	m.Repo, m.Name, m.Email, m.When = "forge/acme/payments", "coder", "T-1@remit.invalid", time.Unix(1_800_000_000, 0)
	if m.Message == "" {
		m.Message = "change"
	}
	return m
}

func code(err error) remit.Code {
	var e *remit.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestMakeIsAPush(t *testing.T) {
	w := newWorld(t)
	old := w.at("refs/heads/main")
	blob := w.git(w.bare, "rev-parse", "main:README")
	made, err := w.gw.Make(t.Context(), making(gateway.Making{Edits: []gateway.Edit{
		{Op: "create", Path: "src/a.go", Content: []byte("package a\n")},
		{Op: "update", Path: "README", Was: blob, Content: []byte("hello, world\n")},
	}}))
	if err != nil {
		t.Fatal(err)
	}
	if w.at("refs/heads/main") != old {
		t.Fatal("something left before it was decided")
	}
	var paths []string
	for _, p := range made.Ref.Paths {
		paths = append(paths, p.Path)
	}
	if made.Ref.Op != remit.RefUpdate || made.Ref.Old != old || made.Ref.Commits != 1 || len(made.Ref.Brought) != 1 || strings.Join(paths, " ") != "README src/a.go" {
		t.Fatalf("facts: %+v", made.Ref)
	}
	var card remit.Shown
	if err := json.Unmarshal(made.Card.Body, &card); err != nil || !strings.Contains(card.Diff, "+hello, world") || len(card.Commits) != 1 {
		t.Fatalf("card %s (%v)", made.Card.Body, err)
	}
	if d, ok := PackOf(made.Order); !ok || d != made.Pack {
		t.Fatal("the order does not name its pack")
	}
	res := w.gw.Forward(t.Context(), remit.Order{Body: made.Order}, w, nil)
	if res.Outcome != remit.Done || w.at("refs/heads/main") != made.New {
		t.Fatalf("%+v; main is at %s, not %s", res, w.at("refs/heads/main"), made.New)
	}
	if got := w.git(w.bare, "show", "main:src/a.go"); got != "package a" {
		t.Errorf("the file is %q", got)
	}
	if got := w.git(w.bare, "log", "-1", "--format=%an %ae %cn", "main"); got != "coder T-1@remit.invalid coder" {
		t.Errorf("the commit is by %q", got)
	}
	if w.git(w.bare, "fsck", "--strict"); made.Blobs[1] != w.git(w.bare, "rev-parse", "main:README") {
		t.Errorf("blobs %v", made.Blobs)
	}
	w.clean(0)
}

func TestMakeRefs(t *testing.T) {
	w := newWorld(t)
	main := w.at("refs/heads/main")
	for _, m := range []gateway.Making{
		{Ref: "refs/heads/topic", Create: true},
		{Ref: "refs/tags/v1", Create: true, From: "main"},
		{Ref: "refs/tags/v2", Create: true, From: main, Tag: true, Message: "second"},
		{Ref: "refs/heads/topic", Delete: true, Old: main},
	} {
		made, err := w.gw.Make(t.Context(), making(m))
		if err != nil {
			t.Fatalf("%+v: %v", m, err)
		}
		if res := w.gw.Forward(t.Context(), remit.Order{Body: made.Order}, w, nil); res.Outcome != remit.Done {
			t.Fatalf("%s: %+v %s", m.Ref, res, res.Receipt)
		}
	}
	if w.at("refs/tags/v1") != main || w.git(w.bare, "cat-file", "-t", "v2") != "tag" || w.git(w.bare, "rev-parse", "v2^{}") != main {
		t.Error("the tags are not as asked for")
	}
	if w.at("refs/heads/topic") != "" {
		t.Error("the branch is still there")
	}
	w.clean(0)
}

func TestMakeRefuses(t *testing.T) {
	w := newWorld(t)
	blob := w.git(w.bare, "rev-parse", "main:README")
	zero := strings.Repeat("1", 40)
	for what, c := range map[string]struct {
		m    gateway.Making
		want remit.Code
	}{
		"a file that is there":       {gateway.Making{Edits: []gateway.Edit{{Op: "create", Path: "README"}}}, remit.Conflict},
		"an old blob":                {gateway.Making{Edits: []gateway.Edit{{Op: "update", Path: "README", Was: zero}}}, remit.Stale},
		"no blob":                    {gateway.Making{Edits: []gateway.Edit{{Op: "delete", Path: "README"}}}, remit.Stale},
		"a file that is not there":   {gateway.Making{Edits: []gateway.Edit{{Op: "update", Path: "nowhere", Was: blob}}}, remit.NotFound},
		"a directory":                {gateway.Making{Edits: []gateway.Edit{{Op: "delete", Path: ".github", Was: blob}}}, remit.BadObject},
		"two that touch":             {gateway.Making{Edits: []gateway.Edit{{Op: "create", Path: "n"}, {Op: "create", Path: "n/a"}}}, remit.BadRequest},
		"a file below a file":        {gateway.Making{Edits: []gateway.Edit{{Op: "create", Path: "README/a"}}}, remit.Conflict},
		"git's own directory":        {gateway.Making{Edits: []gateway.Edit{{Op: "create", Path: ".git/config"}}}, remit.BadRequest},
		"a path that leads out":      {gateway.Making{Edits: []gateway.Edit{{Op: "create", Path: "a/../../b"}}}, remit.BadRequest},
		"a branch that is there":     {gateway.Making{Ref: "refs/heads/main", Create: true}, remit.Conflict},
		"a branch that is not there": {gateway.Making{Ref: "refs/heads/none", Delete: true}, remit.NotFound},
		"a ref of another kind":      {gateway.Making{Ref: "refs/pull/1/head", Create: true}, remit.BadRef},
		"an old value":               {gateway.Making{Ref: "refs/heads/main", Old: zero, Delete: true}, remit.Stale},
		"a base that is not there":   {gateway.Making{Ref: "refs/heads/x", Create: true, From: "nowhere"}, remit.NotFound},
	} {
		made, err := w.gw.Make(t.Context(), making(c.m))
		if code(err) != c.want {
			t.Errorf("%s: %v (%+v); want %s", what, err, made.Ref, c.want)
		}
	}
	w.clean(0)
}

func TestMerge(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	w.git(dir, "checkout", "-q", "-b", "topic")
	w.write(dir, "topic.go", "package topic\n")
	w.write(dir, "both", "a\n")
	w.commit(dir, "topic")
	w.git(dir, "push", "-q", w.bare, "topic")
	head := w.at("refs/heads/topic")
	w.git(dir, "checkout", "-q", "main")
	w.write(dir, "other.go", "package other\n")
	w.commit(dir, "other")
	w.git(dir, "push", "-q", w.bare, "main")
	base := w.at("refs/heads/main")

	ask := gateway.Making{Repo: "forge/acme/payments", Ref: "refs/heads/main", Merge: head, Pull: 3}
	made, err := w.gw.Merge(t.Context(), ask)
	if err != nil {
		t.Fatal(err)
	}
	w.git(dir, "merge", "-q", "--no-ff", "-m", "as git does", head)
	if want := w.git(dir, "rev-parse", "HEAD^{tree}"); made.Ref.Tree != want {
		t.Errorf("the tree is %s; git's own merge gives %s", made.Ref.Tree, want)
	}
	r := made.Ref
	if r.Old != base || r.New != head || r.Op != remit.RefUpdate || r.Commits != 1 || len(r.Brought) != 0 || len(r.Findings) != 0 || len(r.Paths) != 2 {
		t.Errorf("facts: %+v", r)
	}
	again, err := w.gw.Merge(t.Context(), ask)
	if err != nil || again.Ref.Tree != r.Tree {
		t.Errorf("asked again: %+v %v", again.Ref, err)
	}

	t.Run("the head of a pull request that no branch names", func(t *testing.T) {
		w.git(w.bare, "update-ref", "refs/pull/3/head", head)
		w.git(w.bare, "branch", "-D", "topic")
		made, err := w.gw.Merge(t.Context(), ask)
		if err != nil || made.Ref.Tree != r.Tree || len(made.Ref.Findings) != 0 {
			t.Fatalf("%+v %v", made.Ref, err)
		}
	})
	t.Run("a conflict says where", func(t *testing.T) {
		w.git(dir, "reset", "-q", "--hard", base)
		w.write(dir, "both", "b\n")
		w.commit(dir, "conflict")
		w.git(dir, "push", "-q", w.bare, "main")
		if _, err := w.gw.Merge(t.Context(), ask); code(err) != remit.Conflict || !strings.Contains(err.Error(), `"both"`) {
			t.Fatal(err)
		}
	})
	t.Run("nothing to merge", func(t *testing.T) {
		ask := ask
		ask.Merge = base
		if _, err := w.gw.Merge(t.Context(), ask); code(err) != remit.Conflict || !strings.Contains(err.Error(), "nothing to merge") {
			t.Fatal(err)
		}
	})
	w.clean(0)
}

func TestMakeMerges(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	w.git(dir, "checkout", "-q", "-b", "topic")
	w.write(dir, "topic.go", "package topic\n")
	w.commit(dir, "topic")
	w.git(dir, "push", "-q", w.bare, "topic")
	w.git(dir, "checkout", "-q", "main")
	w.write(dir, "other.go", "package other\n")
	w.commit(dir, "other")
	w.git(dir, "push", "-q", w.bare, "main")
	made, err := w.gw.Make(t.Context(), making(gateway.Making{Ref: "refs/heads/topic", Merge: w.at("refs/heads/main"), Message: "update"}))
	if err != nil {
		t.Fatal(err)
	}
	if res := w.gw.Forward(t.Context(), remit.Order{Body: made.Order}, w, nil); res.Outcome != remit.Done {
		t.Fatalf("%+v %s", res, res.Receipt)
	}
	if got := w.git(w.bare, "ls-tree", "-r", "--name-only", "topic"); got != ".github/workflows/ci.yml\nREADME\nother.go\ntopic.go" {
		t.Errorf("topic holds %q", got)
	}
	w.clean(0)
}

// fakeExplainer counts bytes.
type fakeExplainer struct{}

func (fakeExplainer) Explains(path string) bool { return strings.HasSuffix(path, "zz.mod") }
func (fakeExplainer) Explain(file string, old, new []byte) ([]remit.DependencyChange, []remit.WorkflowFinding) {
	return []remit.DependencyChange{{File: file, Name: "zz", Text: string(old) + " becomes " + string(new)}}, nil
}
func (fakeExplainer) Owners(file []byte) func(string) []string {
	return func(path string) []string {
		if path == "zz.mod" {
			return strings.Fields(string(file))
		}
		return nil
	}
}

func TestCardExplains(t *testing.T) {
	w := newWorld(t, func(_ *world, c *Config) { c.Explainer = fakeExplainer{} })
	dir := w.clone()
	w.write(dir, "zz.mod", "a 1")
	w.write(dir, ".github/CODEOWNERS", "@mia @noa")
	w.commit(dir, "base")
	w.git(dir, "push", "-q", w.bare, "main")
	w.git(dir, "checkout", "-q", "-b", "remit/T-1/x")
	for i := range cardPaths {
		w.write(dir, "many/"+strings.Repeat("a", i+1), "x")
	}
	w.write(dir, "zz.mod", "a 2")
	w.write(dir, ".github/CODEOWNERS", "@agent")
	w.commit(dir, "update")
	w.git(dir, "push", "-q", w.url(), "HEAD")
	card := w.shown()
	i := 0
	for i < len(card.Paths) && card.Paths[i].Path != "zz.mod" {
		i++
	}
	if i == len(card.Paths) || card.Paths[i].Note != "owned by @mia @noa; zz (!) a 1 becomes a 2" {
		t.Fatalf("paths %+v", card.Paths[:min(len(card.Paths), 3)])
	}
}

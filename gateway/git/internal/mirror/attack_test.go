package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// A42: what makes git read one object as another. Upstream has a replacement for a commit, and the mirror's own directory
// is given grafts, a replacement, a shallow file and another repository's objects: a view reads what the id says, and
// nothing that lies elsewhere.
func TestViewReadsWhatTheIdSays(t *testing.T) {
	u := newUpstream(t, false)
	u.push("main", "a", "one\n")
	old := u.oid("HEAD")
	u.push("main", "a", "two\n")
	tip := u.oid("HEAD")
	u.git(u.root, "--git-dir=r.git", "update-ref", "refs/replace/"+tip.String(), old.String())
	if out := u.git(u.root, "--git-dir=r.git", "show", "-s", "--format=%P", tip.String()); out != "" {
		t.Fatalf("the replacement works for nobody: %q", out)
	}
	v := u.observe()
	if _, ok := v.Refs()["refs/replace/"+tip.String()]; ok {
		t.Error("the replacement is a ref of the view")
	}
	// Another repository, and an object that only it has.
	u.git(u.root, "init", "-q", "--bare", "other.git")
	u.git(u.root, "--git-dir=other.git", "hash-object", "-w", filepath.Join(u.root, "r.git", "HEAD"))
	elsewhere := u.other("other.git", "hash-object", filepath.Join(u.root, "r.git", "HEAD"))
	for name, text := range map[string]string{
		"info/grafts": tip.String() + "\n",
		"shallow":     tip.String() + "\n",
		filepath.Join("refs", "replace", tip.String()): old.String() + "\n",
	} {
		path := filepath.Join(v.m.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	v.m.stop()
	typ, body, err := v.Object(t.Context(), tip)
	if err != nil || typ != object.Commit {
		t.Fatalf("%v %v", typ, err)
	}
	if _, parents, _, err := object.CommitLinks(body); err != nil || !slices.Equal(parents, []object.OID{old}) {
		t.Errorf("parents %v, %v", parents, err)
	}
	if _, _, err := v.Object(t.Context(), elsewhere); !errors.Is(err, change.ErrNotFound) {
		t.Errorf("an object of another repository: %v", err)
	}
}

// other gives an id that git prints in another repository.
func (u *upstream) other(dir string, args ...string) object.OID {
	u.t.Helper()
	oid, err := object.ParseOID(u.git(u.root, append([]string{"--git-dir=" + dir}, args...)...))
	if err != nil {
		u.t.Fatal(err)
	}
	return oid
}

// A56b: a tag leads to its target, whatever that is, and a tag that is refused today leads nowhere.
func TestReachableThroughTags(t *testing.T) {
	u := newUpstream(t, true)
	u.push("main", "a", "one\n")
	old := u.push("side", "b", "side\n")
	u.git(u.work, "tag", "-m", "m", "v1")
	u.git(u.work, "push", "-q", "../r.git", "v1", ":side")
	u.git(u.work, "reset", "-q", "--hard", "HEAD~")
	blob := u.push("main", "c", "tagged alone\n")
	u.git(u.work, "tag", "-m", "m", "v2", blob.String())
	plain := u.push("main", "d", "tagged plainly\n")
	u.git(u.work, "tag", "v3", plain.String())
	u.git(u.work, "tag", "v4", u.oid("HEAD^{tree}").String())
	u.git(u.work, "push", "-q", "../r.git", "v2", "v3", "v4", "+HEAD~2:main")
	v := u.observe()
	nowhere := object.OID{9}
	got, err := v.Reachable(t.Context(), []object.OID{old, blob, plain, nowhere})
	if err != nil || fmt.Sprint(got) != "[true true true false]" {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := v.Reachable(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("%v, %v", got, err)
	}
}

// What Remit makes itself lies in a scratch of its own: git writes there, reads the mirror, and changes nothing in it.
func TestScratchNeverWritesTheMirror(t *testing.T) {
	u := newUpstream(t, false)
	u.push("main", "a", "one\n")
	v := u.observe()
	before, err := packBytes(v.m.dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := v.Scratch(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	run := func(stdin string, args ...string) object.OID {
		t.Helper()
		out, code, err := s.Git(t.Context(), []byte(stdin), args...)
		if err != nil || code != 0 {
			t.Fatalf("%v: %d %v", args, code, err)
		}
		oid, err := object.ParseOID(strings.TrimSpace(string(out)))
		if err != nil {
			t.Fatal(err)
		}
		return oid
	}
	blob := run("made\n", "hash-object", "-w", "--stdin")
	tree := run(fmt.Sprintf("100644 blob %s\tm\n160000 commit %s\ts\n", blob, u.oid("HEAD")), "mktree", "--missing")
	commit := run(fmt.Sprintf("tree %s\nparent %s\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nm\n", tree, u.oid("HEAD")), "hash-object", "-w", "-t", "commit", "--stdin")
	tag := run(fmt.Sprintf("object %s\ntype commit\ntag v\ntagger A <a@b> 1 +0000\n\nm\n", commit), "hash-object", "-w", "-t", "tag", "--stdin")
	run("left over\n", "hash-object", "-w", "--stdin")
	got, err := s.Reach(tag)
	if err != nil || !slices.Equal(got, []object.OID{tag, commit, tree, blob}) {
		t.Errorf("%v, %v; want the tag, the commit, its tree and its blob, and nothing of the mirror", got, err)
	}
	if after, err := packBytes(v.m.dir); err != nil || after != before {
		t.Errorf("the mirror went from %d to %d bytes, %v", before, after, err)
	}
	if _, _, err := v.Object(t.Context(), commit); !errors.Is(err, change.ErrNotFound) {
		t.Errorf("the mirror has the new commit: %v", err)
	}
	// A code of 1 is an answer, any other a failure.
	if _, code, err := s.Git(t.Context(), nil, "diff-tree", "--exit-code", "--quiet", tree.String(), u.oid("HEAD^{tree}").String()); err != nil || code != 1 {
		t.Errorf("%d %v", code, err)
	}
	if _, _, err := s.Git(t.Context(), nil, "cat-file", "-p", "nonsense"); err == nil || !strings.Contains(err.Error(), "git cat-file") {
		t.Errorf("%v", err)
	}
	// What git prints is limited, and how it complains.
	loud := exec.Command("git", "hash-object", "--stdin-paths")
	var complaint bytes.Buffer
	loud.Stdin, loud.Stderr = strings.NewReader(strings.Repeat("x", 9000)), &limitedBuffer{&complaint}
	if err := loud.Run(); err == nil || complaint.Len() == 0 || complaint.Len() > 4096 {
		t.Errorf("%d bytes of complaint, %v", complaint.Len(), err)
	}
	full := &capped{limit: 3}
	loud = exec.Command("git", "--version")
	if loud.Stdout = full; loud.Run() == nil || !full.over || full.kept.Len() > 3 {
		t.Errorf("%d bytes were kept of 3", full.kept.Len())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(s.Objects()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the scratch is left behind: %v", err)
	}
}

// The head of a pull request is observed for one view alone.
func TestAlsoIsForOneView(t *testing.T) {
	u := newUpstream(t, false)
	u.push("main", "a", "one\n")
	u.git(u.work, "checkout", "-q", "-b", "pull")
	blob := u.push("refs/pull/1/head", "p", "pulled\n")
	head := u.oid("HEAD")
	u.git(u.root, "--git-dir=r.git", "config", "uploadpack.allowAnySHA1InWant", "true")
	v := u.observe()
	if err := v.Also(t.Context(), "refs/pull/1/head", head); err != nil {
		t.Fatal(err)
	}
	if got, err := v.Reachable(t.Context(), []object.OID{blob}); err != nil || !got[0] {
		t.Errorf("%v, %v", got, err)
	}
	// The commit lies in the mirror now, and the next view knows no ref to it.
	next := u.observe()
	if got, err := next.Reachable(t.Context(), []object.OID{blob}); err != nil || got[0] {
		t.Errorf("%v, %v", got, err)
	}
	if err := next.Also(t.Context(), "refs/pull/2/head", object.OID{3}); err == nil {
		t.Error("a commit that nobody has is observed")
	}
}

// A mirror that can take no pack is made anew, and that is said.
func TestRebuiltMirrorIsLogged(t *testing.T) {
	var said bytes.Buffer
	u := newUpstream(t, false, func(c *Config) { c.Log = slog.New(slog.NewTextHandler(&said, nil)) })
	u.push("main", "a", "one\n")
	v := u.observe()
	// Where its packs belong is a file.
	packs := filepath.Join(v.m.dir, "objects", "pack")
	if err := errors.Join(os.RemoveAll(packs), os.WriteFile(packs, []byte("damaged"), 0o600)); err != nil {
		t.Fatal(err)
	}
	v.m.stop()
	u.push("main", "a", "two\n")
	v = u.observe()
	if _, _, err := v.Object(t.Context(), u.oid("HEAD~")); err != nil {
		t.Errorf("%v", err)
	}
	if !strings.Contains(said.String(), "a mirror is rebuilt") {
		t.Errorf("the log says %q", said.String())
	}
}

// An upstream that breaks off, or answers what is no list of refs, is an error and not an empty repository.
func TestUpstreamThatBreaksOff(t *testing.T) {
	u := newUpstream(t, false)
	u.push("main", "a", "one\n")
	u.observe()
	whole := u.remote.Transport
	for name, change := range map[string]func(body []byte) []byte{
		"half":     func(b []byte) []byte { return b[:len(b)/2] },
		"nothing":  func([]byte) []byte { return nil },
		"nonsense": func([]byte) []byte { return []byte("<html>sign in</html>") },
	} {
		u.remote.Transport = tamper{whole, change}
		if v, err := u.store.Observe(t.Context(), "forge/r", u.remote); err == nil {
			t.Errorf("%s: refs %v", name, v.Refs())
			v.Close()
		}
	}
	u.remote.Transport = whole
	if v := u.observe(); len(v.Refs()) != 1 {
		t.Errorf("%v", v.Refs())
	}
}

type tamper struct {
	next   http.RoundTripper
	change func([]byte) []byte
}

func (t tamper) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	body = t.change(body)
	res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return res, nil
}

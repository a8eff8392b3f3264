package git

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

func TestControlSurface(t *testing.T) {
	c := control([]remit.Pattern{".github/**", "Makefile", "ci/run.sh", "**/.claude/**"})
	for path, want := range map[string][2]bool{ // matches, must be a directory
		".github/workflows/ci.yml": {true, false},
		".github":                  {false, true},
		"makefile":                 {true, false},
		"src/makefile":             {false, false},
		"ci":                       {false, true},
		"ci/run.sh":                {true, false},
		"src/ci":                   {false, false},
		".claude":                  {false, true},
		"a/b/.claude":              {false, true},
		"a/b/.claude/settings":     {true, false},
	} {
		if got := [2]bool{c.Match(path), c.Parent(path)}; got != want {
			t.Errorf("%q: %v; want %v", path, got, want)
		}
	}
}

func TestReadableAndScrubbed(t *testing.T) {
	for in, want := range map[string]string{"a/b": "a/b", "gr\xf6\xdfe": `gr\xf6\xdfe`, "größe": "größe", "\ufffd": "\ufffd"} {
		if got := change.Readable(in); got != want {
			t.Errorf("readable(%q) = %q; want %q", in, got, want)
		}
	}
	if got := change.Scrub("a\x1b[31mb\nc\u202ed\xff"); got != "a?[31mb c?d?" {
		t.Errorf("scrub: %q", got)
	}
	if got := change.Clip("größe", 3); got != "gr" {
		t.Errorf("clip: %q", got)
	}
	if got := word(`a "b"`); got != `"a \"b\""` {
		t.Errorf("word: %s", got)
	}
}

func TestSignatureIsTakenOff(t *testing.T) {
	const signed = "tree x\nparent y\nauthor A\ncommitter A\ngpgsig -----BEGIN SSH SIGNATURE-----\n abc\n  def\n -----END SSH SIGNATURE-----\nextra z\n\nsubject\n\ngpgsig not a header\n"
	payload, signature := splitSignature([]byte(signed))
	if want := "tree x\nparent y\nauthor A\ncommitter A\nextra z\n\nsubject\n\ngpgsig not a header\n"; string(payload) != want {
		t.Errorf("payload %q; want %q", payload, want)
	}
	if want := "-----BEGIN SSH SIGNATURE-----\nabc\n def\n-----END SSH SIGNATURE-----\n"; string(signature) != want {
		t.Errorf("signature %q; want %q", signature, want)
	}
	if payload, signature := splitSignature([]byte("tree x\n\nm")); string(payload) != "tree x\n\nm" || signature != nil {
		t.Errorf("unsigned: %q, %q", payload, signature)
	}
}

// sources scripts provenance and signers.
type sources struct{ commit string } // the one commit that a push brought before, in entry 3

func (s *sources) PushedBy(_ context.Context, _ remit.Resource, commits []string) ([]remit.EntryIndex, int, error) {
	if slices.Contains(commits, s.commit) {
		return []remit.EntryIndex{3}, len(commits) - 1, nil
	}
	return nil, len(commits), nil
}

func (s *sources) Signer(_ context.Context, payload, signature []byte) (remit.ID, bool, error) {
	return "p-ann", strings.HasPrefix(string(signature), "-----BEGIN SSH SIGNATURE-----") && !strings.Contains(string(payload), "gpgsig"), nil
}

func TestProvenanceAndSigners(t *testing.T) {
	s := &sources{}
	w := newWorld(t, func(_ *world, c *Config) { c.Provenance, c.Signers = s, s })
	dir := w.clone()
	w.commit(dir, "plain")
	tip := w.git(dir, "rev-parse", "HEAD")
	w.git(dir, "push", "-q", "origin", "HEAD:refs/heads/before") // so that the next push does not bring it
	s.commit = tip
	// A signed commit, without a key: the header is what counts here.
	text := w.git(dir, "cat-file", "commit", "HEAD")
	text = strings.Replace(text, "\n\n", "\ngpgsig -----BEGIN SSH SIGNATURE-----\n abc\n -----END SSH SIGNATURE-----\n\n", 1)
	file := filepath.Join(t.TempDir(), "commit")
	if err := os.WriteFile(file, []byte(strings.Replace(text, "\nauthor", "\nparent "+tip+"\nauthor", 1)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	signed := w.git(dir, "hash-object", "-t", "commit", "-w", file)
	w.git(dir, "push", "-q", "origin", signed+":refs/heads/x")
	r, _ := w.last()
	c := r.Refs[0]
	if len(c.Pushers) != 1 || c.Outside != 0 || len(c.Brought) != 1 || len(c.Signers) != 1 || c.Signers[0] != "p-ann" {
		t.Errorf("%+v", c)
	}
}

// A pack may hold what upstream has already. Whoever sends another agent's commits once more does not make them theirs.
func TestCommitsSentAgainKeepWhoPushedThem(t *testing.T) {
	s := &sources{}
	w := newWorld(t, func(_ *world, c *Config) { c.Provenance = s })
	dir := w.clone()
	base := w.git(dir, "rev-parse", "HEAD")
	w.write(dir, "theirs", "theirs\n")
	theirs := w.commit(dir, "theirs")
	w.git(dir, "push", "-q", "origin", "HEAD:refs/heads/theirs")
	s.commit = theirs
	w.write(dir, "mine", "mine\n")
	mine := w.commit(dir, "mine")
	body := append(commands(pktline.Command{New: mine, Ref: "refs/heads/mine"}), packOf(t, w, dir, mine, base)...)
	if _, text := w.post(receivePath, receiveType, bytes.NewReader(body)); !strings.Contains(text, "ok refs/heads/mine") {
		t.Fatalf("%q", text)
	}
	r, _ := w.last()
	if c := r.Refs[0]; len(c.Brought) != 2 || !slices.Equal(c.Pushers, []remit.EntryIndex{3}) || c.Outside != 0 {
		t.Errorf("%+v", c)
	}
}

func TestMergeOfTheTrustedBranchIsNotTheTasksChange(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	w.git(dir, "checkout", "-q", "-b", "work")
	w.write(dir, "mine", "mine\n")
	w.commit(dir, "mine")
	w.git(dir, "push", "-q", "origin", "work:refs/heads/remit/T-1/w", "work:refs/heads/w")
	other := w.clone()
	w.write(other, ".github/workflows/ci.yml", "on: [push, tag]\n")
	w.commit(other, "theirs")
	w.git(other, "push", "-q", w.bare, "HEAD:main")
	w.git(dir, "fetch", "-q")
	w.git(dir, "merge", "-q", "-m", "merge", "origin/main")
	w.git(dir, "push", "-q", "origin", "work:refs/heads/remit/T-1/w", "work:refs/heads/w")
	r, _ := w.last()
	if len(r.Refs) != 2 || len(r.Refs[0].Paths) != 0 || len(r.Refs[0].Pinned) != 0 {
		t.Errorf("the task's branch: %+v", r.Refs)
	}
	if len(r.Refs[1].Paths) != 1 {
		t.Errorf("another branch: %+v", r.Refs[1])
	}
}

func TestUnseenContentIsAFinding(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	// A blob that lies upstream from a branch that was deleted.
	w.write(dir, "secret", "left behind\n")
	w.commit(dir, "gone")
	blob := w.git(dir, "rev-parse", "HEAD:secret")
	w.git(dir, "push", "-q", w.bare, "HEAD:refs/heads/gone", "HEAD~:refs/heads/keep")
	w.git(dir, "push", "-q", w.bare, ":refs/heads/gone")
	w.git(dir, "reset", "-q", "--hard", "HEAD~")
	w.write(dir, "other", "x\n")
	tree := w.git(dir, "rev-parse", "HEAD^{tree}")
	list := w.git(dir, "ls-tree", tree) + "\n100644 blob " + blob + "\tnamed\n"
	file := filepath.Join(t.TempDir(), "tree")
	if err := os.WriteFile(file, []byte(list), 0o600); err != nil {
		t.Fatal(err)
	}
	named := w.git(dir, "-c", "alias.mk=!git mktree <"+file, "mk")
	commit := w.git(dir, "commit-tree", "-p", "HEAD", "-m", "names it", named)
	pack := packOf(t, w, dir, commit, w.git(dir, "rev-parse", "HEAD"), blob)
	create := commands(pktline.Command{New: commit, Ref: "refs/heads/x"})
	w.post(receivePath, receiveType, io.MultiReader(strings.NewReader(string(create)), strings.NewReader(string(pack))), func(r *http.Request) { r.ContentLength = -1 })
	r, _ := w.last()
	if len(r.Refs) != 1 || len(r.Refs[0].Findings) == 0 || r.Refs[0].Findings[0].Code != remit.UnseenObject {
		t.Errorf("%+v", r.Refs)
	}
}

func TestUpstreamRefuses(t *testing.T) {
	w := newWorld(t)
	w.git("", "--git-dir="+w.bare, "config", "receive.denyNonFastForwards", "true")
	dir := w.clone()
	w.git(dir, "commit", "-q", "--amend", "-m", "other")
	out, err := w.try(dir, "push", "-f", "origin", "HEAD:main")
	if _, res := w.last(); err == nil || !strings.Contains(out, "non-fast-forward") || res.Outcome != remit.NotApplied || res.Code != remit.Conflict {
		t.Errorf("%v, %+v\n%s", err, res, out)
	}
	w.clean(0)
}

func TestRevokedReadIsCut(t *testing.T) {
	stuck := make(chan struct{})
	w := newWorld(t)
	w.reach(transportFunc(func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/x-git-upload-pack-advertisement"}}
		pr, pw := io.Pipe()
		context.AfterFunc(r.Context(), func() { pw.CloseWithError(r.Context().Err()) })
		go func() {
			io.WriteString(pw, "001e# service=git-upload-pack\n0000")
			close(stuck)
		}()
		return &http.Response{StatusCode: 200, Header: h, Body: pr, Request: r}, nil
	}))
	go func() {
		<-stuck
		close(w.revoke)
	}()
	if out, err := w.try("", "ls-remote", w.url()); err == nil {
		t.Errorf("the read went on: %s", out)
	}
	w.last()
	w.srv.Close()
	// git may ask again when its connection broke; nothing of either goes through.
	if len(w.record) == 0 || slices.ContainsFunc(w.record, func(r gateway.Result) bool { return r.Outcome != remit.NotApplied }) {
		t.Errorf("%+v", w.record)
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

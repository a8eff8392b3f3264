package git

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
)

var farFuture = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func TestCloneAndFetch(t *testing.T) {
	w := newWorld(t)
	for _, version := range []string{"0", "1", "2"} {
		dir := t.TempDir()
		w.git("", "-c", "protocol.version="+version, "clone", "-q", w.url(), dir)
		if got := w.git(dir, "rev-parse", "HEAD"); got != w.at("main") {
			t.Errorf("version %s: cloned %s, upstream is at %s", version, got, w.at("main"))
		}
		w.git(dir, "-c", "protocol.version="+version, "fetch", "-q")
	}
	w.last()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.asked {
		if len(r.Steps) != 1 || r.Steps[0] != (remit.Step{Action: "source.read", Resource: "repo:forge/acme/payments"}) || r.Caller.Task != "T-1" {
			t.Errorf("asked for %+v", r)
		}
	}
}

func TestAllowedPushArrives(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	w.write(dir, "src/a.go", "package a\n")
	tip := w.commit(dir, "add a")
	out := w.git(dir, "push", "origin", "HEAD:refs/heads/remit/T-1/x")
	if !strings.Contains(out, "[new branch]") || w.at("refs/heads/remit/T-1/x") != tip {
		t.Fatalf("upstream has %q, want %s; git said\n%s", w.at("refs/heads/remit/T-1/x"), tip, out)
	}
	r, res := w.last()
	if res.Outcome != remit.Done || res.Code != "" {
		t.Errorf("recorded %+v", res)
	}
	c := r.Refs[0]
	if c.Op != remit.RefCreate || c.New != tip || c.Commits != 1 || len(c.Paths) != 1 || c.Paths[0].Path != "src/a.go" || len(c.Pinned) != 0 || len(c.Findings) != 0 {
		t.Errorf("facts: %+v", c)
	}
	if shown := w.shown(); !strings.Contains(shown.Diff, "+package a") || shown.Commits[0].Subject != "add a" {
		t.Errorf("card: %+v", shown)
	}
	// Nothing is left to push, and git says so.
	if out := w.git(dir, "push", "origin", "HEAD:refs/heads/remit/T-1/x"); !strings.Contains(out, "Everything up-to-date") {
		t.Errorf("a second push: %s", out)
	}
	w.clean(0)
}

func TestWatchedPathsAreComparedWithTheTrustedRef(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	w.write(dir, ".github/workflows/ci.yml", "on: pull_request_target\n")
	w.commit(dir, "weaken")
	w.git(dir, "push", "-q", "origin", "HEAD:refs/heads/x")
	r, _ := w.last()
	if len(r.Refs[0].Pinned) != 1 || r.Refs[0].Pinned[0].Path != ".github/workflows/ci.yml" {
		t.Errorf("facts: %+v", r.Refs[0])
	}
	if shown := w.shown(); !strings.Contains(shown.Diff, "-on: push\n+on: pull_request_target") {
		t.Errorf("card: %+v", shown)
	}
}

func TestDeniedPushTeaches(t *testing.T) {
	w := newWorld(t)
	w.verdict(remit.Decision{Verdict: remit.Deny, Code: remit.RefOutOfScope, Entry: 123, Rules: []string{"scope"}, Sentence: "refs/heads/main is not one of the task's branches; push to refs/heads/remit/T-1/\x1b[31m…"})
	dir := w.clone()
	w.commit(dir, "x")
	out, err := w.try(dir, "push", "origin", "HEAD:main")
	if err == nil {
		t.Fatal("the push succeeded")
	}
	for _, want := range []string{
		"remote: remit: refs/heads/main is not one of the task's branches; push to refs/heads/remit/T-1/",
		"remote: remit: code=REF_OUT_OF_SCOPE rule=scope entry=123 ref=refs/heads/main",
		"! [remote rejected] HEAD -> main (refs/heads/main is not one of the task's branches",
		"(REF_OUT_OF_SCOPE))",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("git does not say %q:\n%s", want, out)
		}
	}
	if strings.Contains(out, "\x1b[31m") {
		t.Error("a control character came through")
	}
	w.clean(0)
}

func TestHeldPushSaysHowToWaitAndIsCompletedByRemit(t *testing.T) {
	w := newWorld(t)
	w.verdict(remit.Decision{Verdict: remit.Hold, Code: remit.PathProtected, Entry: 9, Access: "A-12", Sentence: "src/** is protected"})
	dir := w.clone()
	w.write(dir, "src/b.go", "package b\n")
	tip := w.commit(dir, "b")
	out, err := w.try(dir, "push", "origin", "HEAD:refs/heads/remit/T-1/b")
	if err == nil {
		t.Fatal("the push succeeded")
	}
	for _, want := range []string{"(HELD access request A-12)", `remote: remit: code=PATH_PROTECTED entry=9 ref=refs/heads/remit/T-1/b state=waiting access=A-12 do="remit wait A-12"`} {
		if !strings.Contains(out, want) {
			t.Errorf("git does not say %q:\n%s", want, out)
		}
	}
	r, _ := w.last()
	if len(r.Order) > 32<<10 || len(w.blobs.count) != 1 {
		t.Fatalf("order of %d bytes, %d packs", len(r.Order), len(w.blobs.count))
	}
	res, err := w.pipe.Complete(t.Context(), w.gw, remit.Permit{}, remit.Order{Caller: r.Caller, Steps: r.Steps, Body: r.Order}, nil)
	if err != nil || res.Outcome != remit.Done || w.at("refs/heads/remit/T-1/b") != tip {
		t.Fatalf("%+v, %v; upstream at %q", res, err, w.at("refs/heads/remit/T-1/b"))
	}
	if out := w.git(dir, "push", "origin", "HEAD:refs/heads/remit/T-1/b"); !strings.Contains(out, "Everything up-to-date") {
		t.Errorf("the agent's second push: %s", out)
	}
	// The same order again: its old value is gone.
	res, _ = w.pipe.Complete(t.Context(), w.gw, remit.Permit{}, remit.Order{Body: r.Order}, nil)
	if res.Outcome != remit.NotApplied || res.Code != remit.Stale {
		t.Errorf("completed twice: %+v", res)
	}
	if res := w.gw.Reconcile(t.Context(), remit.Order{Body: r.Order}); res.Outcome != remit.Done {
		t.Errorf("reconciled: %+v", res)
	}
	w.clean(0)
}

func TestDeniedReadIsPrinted(t *testing.T) {
	w := newWorld(t)
	w.script(func(remit.Request) remit.Decision {
		return remit.Decision{Verdict: remit.Deny, Code: remit.OutOfScope, Entry: 4, Sentence: "the task does not cover repo:forge/acme/payments"}
	})
	for _, version := range []string{"0", "2"} {
		out, err := w.try("", "-c", "protocol.version="+version, "ls-remote", w.url())
		if err == nil || !strings.Contains(out, "remote error: remit: the task does not cover repo:forge/acme/payments") || !strings.Contains(out, "remit: code=OUT_OF_SCOPE entry=4") {
			t.Errorf("version %s: %v\n%s", version, err, out)
		}
	}
	dir := t.TempDir()
	w.git("", "init", "-q", dir)
	w.commit(dir, "x")
	out, err := w.try(dir, "push", w.url(), "HEAD:refs/heads/x")
	if err == nil || !strings.Contains(out, "code=OUT_OF_SCOPE") {
		t.Errorf("push: %v\n%s", err, out)
	}
}

func TestPreviewDeniesBeforeThePack(t *testing.T) {
	var previewed remit.Request
	w := newWorld(t, func(_ *world, c *Config) {
		c.Preview = func(_ context.Context, r remit.Request) (remit.Decision, error) {
			previewed = r
			return remit.Decision{Verdict: remit.Deny, Code: remit.RefOutOfScope, Entry: 5, Sentence: "not your branch"}, nil
		}
	})
	dir := w.clone()
	w.write(dir, "big", strings.Repeat("0123456789abcdef\n", 50_000))
	w.commit(dir, "x")
	out, err := w.try(dir, "push", "origin", "HEAD:main")
	if err == nil || !strings.Contains(out, "code=REF_OUT_OF_SCOPE entry=5 ref=refs/heads/main") {
		t.Errorf("%v\n%s", err, out)
	}
	if !previewed.Preview || len(previewed.Refs) != 1 || previewed.Refs[0].Ref != "refs/heads/main" {
		t.Errorf("previewed %+v", previewed)
	}
	if r, _ := w.last(); r.Steps != nil {
		t.Error("the push was judged although its preview denied")
	}
	w.clean(0)
}

func TestSeveralRefsAreOnePush(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	tip := w.commit(dir, "x")
	w.git(dir, "tag", "-a", "-m", "one", "v1")
	out := w.git(dir, "push", "--atomic", "origin", "HEAD:refs/heads/a", "HEAD:refs/heads/b", "v1")
	if w.at("refs/heads/a") != tip || w.at("refs/heads/b") != tip || w.at("refs/tags/v1^{commit}") != tip {
		t.Fatalf("upstream has not all three\n%s", out)
	}
	if r, res := w.last(); len(r.Refs) != 3 || res.Outcome != remit.Done {
		t.Errorf("%d refs, %+v", len(r.Refs), res)
	}
	w.git(dir, "push", "-q", "origin", ":refs/heads/a")
	if w.at("refs/heads/a") != "" {
		t.Error("the branch was not deleted")
	}
	if r, res := w.last(); r.Refs[0].Op != remit.RefDelete || r.Bytes != 0 || res.Outcome != remit.Done {
		t.Errorf("%+v, %+v", r.Refs, res)
	}
	// An amended commit is a forced update.
	w.git(dir, "commit", "-q", "--amend", "--allow-empty", "-m", "y")
	w.git(dir, "push", "-q", "-f", "origin", "HEAD:refs/heads/b")
	if r, _ := w.last(); r.Refs[0].Op != remit.RefForce {
		t.Errorf("%+v", r.Refs)
	}
	// One of several is denied, so all are.
	w.verdict(remit.Decision{Verdict: remit.Deny, Code: remit.RefOutOfScope})
	out, err := w.try(dir, "push", "origin", "HEAD:refs/heads/c", "HEAD:main")
	if err == nil || w.at("refs/heads/c") != "" || strings.Count(out, "[remote rejected]") != 2 {
		t.Errorf("%v\n%s", err, out)
	}
	w.clean(0)
}

func TestBigPushIsStreamed(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	var b bytes.Buffer
	x := uint32(1)
	for range 3 << 20 {
		x = x*1664525 + 1013904223
		b.WriteByte(byte(x >> 24))
	}
	w.write(dir, "noise", b.String())
	tip := w.commit(dir, "noise")
	w.git(dir, "-c", "http.postBuffer=65536", "push", "-q", "origin", "HEAD:refs/heads/noise")
	if r, res := w.last(); w.at("refs/heads/noise") != tip || res.Outcome != remit.Done || r.Bytes < 3<<20 {
		t.Errorf("%d bytes, %+v", r.Bytes, res)
	}
	w.clean(0)
}

func TestShallowCloneCanPush(t *testing.T) {
	w := newWorld(t)
	full := w.clone()
	w.commit(full, "second")
	w.git(full, "push", "-q", "origin", "HEAD:main")
	dir := t.TempDir()
	w.git("", "clone", "-q", "--depth", "1", w.url(), dir)
	tip := w.commit(dir, "third")
	w.git(dir, "push", "-q", "origin", "HEAD:refs/heads/shallow")
	if w.at("refs/heads/shallow") != tip {
		t.Error("it did not arrive")
	}
}

func TestMovedRefIsStale(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	tip := w.commit(dir, "mine")
	other := w.clone()
	w.commit(other, "theirs")
	w.git(other, "push", "-q", w.bare, "HEAD:main")
	// What a client that does not look would send.
	old := w.git(dir, "rev-parse", "HEAD~")
	pack := packOf(t, w, dir, tip, old)
	_, text := w.post(receivePath, receiveType, bytes.NewReader(append(pktline.AppendPush(nil, []pktline.Command{{Old: old, New: tip, Ref: "refs/heads/main"}}, []string{"report-status"}), pack...)))
	if !strings.Contains(text, "ng refs/heads/main") || !strings.Contains(text, "(STALE)") {
		t.Errorf("%q", text)
	}
	w.clean(0)
}

func TestRefMovesBetweenDecisionAndForward(t *testing.T) {
	w := newWorld(t)
	dir := w.clone()
	other := w.clone()
	w.commit(other, "theirs")
	w.script(func(r remit.Request) remit.Decision {
		if r.Steps[0].Action == "source.push" {
			w.redeem = func() error {
				_, err := w.try(other, "push", "-q", "-f", w.bare, "HEAD:main")
				return err
			}
		}
		return remit.Decision{Verdict: remit.Allow}
	})
	w.commit(dir, "mine")
	out, err := w.try(dir, "push", "origin", "HEAD:main")
	if _, res := w.last(); err == nil || res.Outcome != remit.NotApplied || res.Code != remit.Stale {
		t.Errorf("%v, %+v\n%s", err, res, out)
	}
	if w.at("main") != w.git(other, "rev-parse", "HEAD") {
		t.Error("the other's push was overwritten")
	}
	w.clean(0)
}

func TestUnauthenticated(t *testing.T) {
	w := newWorld(t)
	out, err := w.try("", "ls-remote", strings.Replace(w.url(), "task-token", "wrong", 1))
	if err == nil || !strings.Contains(out, "Authentication failed") {
		t.Errorf("%v\n%s", err, out)
	}
	req, _ := http.NewRequest("POST", w.srv.URL+receivePath, strings.NewReader("0000"))
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != 401 || res.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("probe: %v, %v", res, err)
	}
}

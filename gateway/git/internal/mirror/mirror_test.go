package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/gitcmd"
	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// upstream is a bare repository behind git http-backend, and a working copy that writes to it.
type upstream struct {
	t          *testing.T
	root, work string
	remote     Remote
	store      *Store
	mu         sync.Mutex
	fetches    int
}

func newUpstream(t *testing.T, filter bool, tune ...func(*Config)) *upstream {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	root := t.TempDir()
	u := &upstream{t: t, root: root, work: filepath.Join(root, "work")}
	u.git(root, "init", "-q", "--bare", "-b", "main", "r.git")
	u.git(root, "--git-dir=r.git", "config", "uploadpack.allowFilter", fmt.Sprint(filter))
	u.git(root, "init", "-q", "-b", "main", "work")
	backend := filepath.Join(u.git(root, "--exec-path"), "git-http-backend")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if strings.Contains(string(body), "command=fetch") {
			u.mu.Lock()
			u.fetches++
			u.mu.Unlock()
		}
		r.Body = io.NopCloser(strings.NewReader(string(body)))
		h := &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*", "GIT_PROTOCOL=" + r.Header.Get("Git-Protocol")}}
		h.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	u.remote = Remote{URL: srv.URL + "/r.git", Transport: http.DefaultTransport}
	u.store = u.open(tune...)
	return u
}

func (u *upstream) open(tune ...func(*Config)) *Store {
	u.t.Helper()
	g, err := gitcmd.Find(u.t.Context(), "", filepath.Join(u.root, "config"))
	if err != nil {
		u.t.Fatal(err)
	}
	c := Config{Dir: filepath.Join(u.root, "mirrors"), Git: g}
	for _, f := range tune {
		f(&c)
	}
	s, err := New(c)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(s.Close)
	return s
}

func (u *upstream) git(dir string, args ...string) string {
	u.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + u.root, "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=A", "GIT_COMMITTER_EMAIL=a@b"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		u.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// push commits text as name, pushes it to branch and gives the id of the blob.
func (u *upstream) push(branch, name, text string) object.OID {
	u.t.Helper()
	if err := os.WriteFile(filepath.Join(u.work, name), []byte(text), 0o644); err != nil {
		u.t.Fatal(err)
	}
	u.git(u.work, "add", "-A")
	u.git(u.work, "commit", "-q", "-m", name)
	u.git(u.work, "push", "-q", "-f", "../r.git", "HEAD:"+branch)
	return u.oid("HEAD:" + name)
}

func (u *upstream) oid(rev string) object.OID {
	u.t.Helper()
	oid, err := object.ParseOID(u.git(u.work, "rev-parse", rev))
	if err != nil {
		u.t.Fatal(err)
	}
	return oid
}

func (u *upstream) observe() *View {
	u.t.Helper()
	v, err := u.store.Observe(u.t.Context(), "forge/r", u.remote)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(v.Close)
	return v
}

func TestViewHoldsWhatUpstreamHas(t *testing.T) {
	for _, filter := range []bool{true, false} {
		t.Run(fmt.Sprintf("filter %v", filter), func(t *testing.T) {
			u := newUpstream(t, filter)
			blob := u.push("main", "a", "text of a\n")
			v := u.observe()
			if v.Head() != "refs/heads/main" || len(v.Refs()) != 1 || v.Refs()["refs/heads/main"] != u.oid("HEAD") {
				t.Errorf("refs %v, HEAD %q", v.Refs(), v.Head())
			}
			before := u.fetches
			typ, body, err := v.Object(t.Context(), blob)
			if err != nil || typ != object.Blob || string(body) != "text of a\n" {
				t.Errorf("%v %q %v", typ, body, err)
			}
			if got := u.fetches - before; (got == 1) != filter {
				t.Errorf("reading a blob took %d fetches", got)
			}
			if _, _, err := v.Object(t.Context(), object.OID{1}); !errors.Is(err, change.ErrNotFound) {
				t.Errorf("an object that is not there: %v", err)
			}
			// Warm: the same refs need no fetch.
			before = u.fetches
			u.observe()
			if u.fetches != before {
				t.Error("a warm mirror fetched")
			}
			u.push("main", "b", "b\n")
			if v := u.observe(); v.Refs()["refs/heads/main"] != u.oid("HEAD") || u.fetches != before+1 {
				t.Errorf("%d fetches", u.fetches-before)
			}
			// Another process finds it as it is; deleted, it comes again.
			u.store.Close()
			u.store = u.open()
			before = u.fetches
			u.observe()
			if u.fetches != before {
				t.Error("a mirror on disk was fetched again")
			}
			if err := os.RemoveAll(filepath.Join(u.root, "mirrors")); err != nil {
				t.Fatal(err)
			}
			if _, _, err := u.observe().Object(t.Context(), u.oid("HEAD~")); err != nil {
				t.Errorf("after the mirror was deleted: %v", err)
			}
		})
	}
}

func TestReachableIsMoreThanLyingThere(t *testing.T) {
	u := newUpstream(t, true)
	first := u.push("main", "a", "one\n")
	u.push("main", "a", "two\n")
	u.git(u.work, "checkout", "-q", "-b", "side")
	side := u.push("side", "s", "side\n")
	nowhere := object.OID{7}
	v := u.observe()
	got, err := v.Reachable(t.Context(), []object.OID{first, nowhere, side, u.oid("main:a"), first})
	if err != nil || fmt.Sprint(got) != "[true false true true true]" {
		t.Fatalf("%v, %v", got, err)
	}
	// The branch goes; its blob stays in the mirror and upstream, and counts no longer.
	u.git(u.work, "push", "-q", "../r.git", ":side")
	v = u.observe()
	if _, _, err := v.Object(t.Context(), side); err != nil {
		t.Errorf("the blob is gone: %v", err)
	}
	if got, err := v.Reachable(t.Context(), []object.OID{side}); err != nil || got[0] {
		t.Errorf("%v, %v", got, err)
	}
}

func TestEmptyRepository(t *testing.T) {
	u := newUpstream(t, true)
	if v := u.observe(); len(v.Refs()) != 0 {
		t.Errorf("%v", v.Refs())
	}
	u.push("main", "a", "a\n")
	if v := u.observe(); len(v.Refs()) != 1 {
		t.Errorf("%v", v.Refs())
	}
}

func TestManyFetchesAreJoined(t *testing.T) {
	u := newUpstream(t, true)
	u.push("main", "a", "0\n")
	first := u.oid("HEAD")
	for i := range maxPacks + 3 {
		u.push("main", "a", fmt.Sprint("line ", i, "\n"))
		u.observe().Close()
	}
	packs, _ := filepath.Glob(filepath.Join(u.root, "mirrors", "*", "objects", "pack", "*.pack"))
	if len(packs) > maxPacks {
		t.Errorf("%d packs", len(packs))
	}
	if _, _, err := u.observe().Object(t.Context(), first); err != nil {
		t.Error(err)
	}
}

func TestQuota(t *testing.T) {
	u := newUpstream(t, false, func(c *Config) { c.MaxBytes = 2000 })
	u.push("main", "a", "small\n")
	u.observe()
	var noise strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&noise, "%x\n", remit.Hash([]byte{byte(i), byte(i >> 8)}))
	}
	u.push("main", "big", noise.String())
	_, err := u.store.Observe(t.Context(), "forge/r", u.remote)
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != remit.NoSpace {
		t.Errorf("%v", err)
	}
}

func TestLeastUsedMirrorMakesRoom(t *testing.T) {
	u := newUpstream(t, true, func(c *Config) { c.Quota = 2500 })
	u.push("main", "a", "a\n")
	for i := range 6 {
		v, err := u.store.Observe(t.Context(), fmt.Sprint("forge/r", i), u.remote)
		if err != nil {
			t.Fatal(err)
		}
		v.Close()
	}
	dirs, _ := os.ReadDir(filepath.Join(u.root, "mirrors"))
	if len(dirs) == 0 || len(dirs) == 6 {
		t.Errorf("%d mirrors", len(dirs))
	}
	a, _ := u.store.Observe(t.Context(), "a", u.remote)
	defer a.Close()
	b, err := u.store.Observe(t.Context(), "b", u.remote)
	if err == nil {
		defer b.Close()
		_, err = u.store.Observe(t.Context(), "c", u.remote)
	}
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != remit.NoSpace {
		t.Errorf("all in use: %v", err)
	}
}

func TestUpstreamThatFails(t *testing.T) {
	u := newUpstream(t, true)
	u.push("main", "a", "a\n")
	for name, h := range map[string]http.HandlerFunc{
		"a web page": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"version 0": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
			io.WriteString(w, "0000")
		},
		"unauthorized": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) },
	} {
		srv := httptest.NewServer(h)
		_, err := u.store.Observe(t.Context(), name, Remote{URL: srv.URL, Transport: http.DefaultTransport})
		srv.Close()
		var e *remit.Error
		if !errors.As(err, &e) || e.Code != remit.UpstreamDown {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := u.store.Observe(ctx, "forge/r", u.remote); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	v := u.observe()
	if _, _, err := v.Object(ctx, u.oid("HEAD")); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestDamagedMirrorIsRebuilt(t *testing.T) {
	u := newUpstream(t, true)
	u.push("main", "a", "a\n")
	u.observe().Close()
	u.store.Close()
	refs, _ := filepath.Glob(filepath.Join(u.root, "mirrors", "*", "packed-refs"))
	if err := os.WriteFile(refs[0], []byte("nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u.store = u.open()
	if _, _, err := u.observe().Object(t.Context(), u.oid("HEAD")); err != nil {
		t.Error(err)
	}
}

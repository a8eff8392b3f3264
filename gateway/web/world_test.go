package web

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/git"
)

const (
	agentToken = "remit-token-of-the-task"
	leaseToken = "upstream-lease-secret"
	readToken  = "upstream-observer-secret"
)

// world is the gateway between a client and a scripted forge, over a real repository, with a scripted authority.
type world struct {
	t     *testing.T
	bare  string
	work  string // a clone that people push from
	gw    *Gateway
	srv   *httptest.Server
	forge *httptest.Server
	up    Forge
	repo  git.Repo
	lease string // Authorization

	mu     sync.Mutex
	serve  map[string]http.HandlerFunc // "METHOD path" below /api/v1
	calls  []string                    // with the lease: METHOD path?query body
	asked  []remit.Request
	cards  []remit.Payload
	done   []gateway.Result
	active int        // requests
	wait   *sync.Cond // for their end: outcomes are recorded after the client has its answer
	decide func(remit.Request) remit.Decision
	packs  map[remit.Digest]int
	blobs  string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed: Remit needs it to judge a merge")
	}
	root := t.TempDir()
	w := &world{t: t, bare: filepath.Join(root, "up", "acme", "app.git"), work: filepath.Join(root, "work"), blobs: filepath.Join(root, "blobs"),
		serve: map[string]http.HandlerFunc{}, packs: map[remit.Digest]int{}}
	w.wait = sync.NewCond(&w.mu)
	w.decide = func(remit.Request) remit.Decision { return remit.Decision{Verdict: remit.Allow, Entry: 7} }
	w.git("", "init", "-q", "--bare", "-b", "main", w.bare)
	w.git("", "init", "-q", "-b", "main", w.work)
	w.git(w.work, "remote", "add", "origin", w.bare)
	w.commit("main", "README", "hello\n")
	if err := os.Mkdir(w.blobs, 0o700); err != nil {
		t.Fatal(err)
	}
	local, err := git.NewLocal(t.Context(), "", filepath.Join(root, "config"), filepath.Join(root, "up"))
	if err != nil {
		t.Fatal(err)
	}
	repos := reposOf(func(_ context.Context, name string) (git.Repo, error) {
		if name != "forge/acme/app" {
			return git.Repo{}, remit.Errorf(remit.UnknownResource, "no repository %q is declared", name)
		}
		return w.repo, nil
	})
	w.repo = git.Repo{Name: "forge/acme/app", URL: git.LocalURL + "/acme/app.git", Transport: local, DefaultBranch: "main", Watched: []remit.Pattern{".github/**"}}
	w.lease = "token " + leaseToken
	gg, err := git.New(t.Context(), git.Config{Repos: repos, Blobs: w, Dir: filepath.Join(root, "git")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(gg.Close)
	w.forge = httptest.NewServer(http.HandlerFunc(w.answer))
	t.Cleanup(w.forge.Close)
	w.up = Forge{Name: "forge", URL: w.forge.URL, Transport: http.DefaultTransport, Observer: func(r *http.Request) error {
		r.Header.Set("Authorization", "token "+readToken)
		return nil
	}}
	if w.gw, err = New(Config{Prefix: "/v1/orgs/acme/forge", Forges: w, Git: gg, Again: time.Millisecond}); err != nil {
		t.Fatal(err)
	}
	handler := w.gw.Handler(&gateway.Pipeline{Authn: w, Authz: w, Creds: w, Log: w.gw.Log})
	count := func(n int) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.active += n
		w.wait.Broadcast()
	}
	w.srv = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		count(1)
		defer count(-1)
		handler.ServeHTTP(rw, r)
	}))
	t.Cleanup(w.srv.Close)
	return w
}

type reposOf func(context.Context, string) (git.Repo, error)

func (f reposOf) Repo(ctx context.Context, name string) (git.Repo, error) { return f(ctx, name) }

// The forge.

func (w *world) answer(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.t.Error(err)
	}
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/api/v1")
	w.mu.Lock()
	h := w.serve[r.Method+" "+path]
	switch r.Header.Get("Authorization") {
	case "token " + leaseToken:
		line := r.Method + " " + path
		if r.URL.RawQuery != "" {
			line += "?" + r.URL.RawQuery
		}
		w.calls = append(w.calls, strings.TrimSpace(line+" "+string(body)))
	case "token " + readToken:
		if r.Method != http.MethodGet {
			w.t.Errorf("the observer sends %s %s", r.Method, path)
		}
	default:
		w.t.Errorf("%s %s arrives with the credential %q", r.Method, path, r.Header.Get("Authorization"))
	}
	for name := range r.Header {
		switch name {
		case "Authorization", "Accept", "User-Agent", "Content-Type", "Content-Length", "Accept-Encoding":
		default:
			w.t.Errorf("the header %s of a client reached the forge", name)
		}
	}
	w.mu.Unlock()
	if h == nil {
		http.NotFound(rw, r)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	h(rw, r)
}

// on has the forge answer with JSON.
func (w *world) on(what string, status int, v any) {
	w.handle(what, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.Header().Set("Set-Cookie", "session=of-remit")
		rw.WriteHeader(status)
		if v != nil {
			json.NewEncoder(rw).Encode(v)
		}
	})
}

func (w *world) handle(what string, h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.serve[what] = h
}

func (w *world) Forge(_ context.Context, name string) (Forge, error) {
	if name != "forge" {
		return Forge{}, remit.Errorf(remit.UnknownResource, "no upstream %q is declared", name)
	}
	return w.up, nil
}

func (w *world) Repository(_ context.Context, forge, path string) (string, error) {
	if forge != "forge" || path != "acme/app" {
		return "", remit.Errorf(remit.UnknownResource, "no repository %q is declared", path)
	}
	return "forge/acme/app", nil
}

// The seven calls, scripted.

func (w *world) Authenticate(r *http.Request) (remit.Caller, error) {
	if r.Header.Get("Authorization") != "token "+agentToken {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "nobody proved who is calling")
	}
	return remit.Caller{Instance: "I-1", Agent: "coder", Task: "T-1"}, nil
}

func (w *world) Authorize(_ context.Context, r remit.Request, payloads ...remit.Payload) (remit.Decision, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked, w.cards = append(w.asked, r), append(w.cards, payloads...)
	for _, p := range payloads {
		if p.Commitment() != r.Card || len(p.Body) > remit.MaxPayload {
			w.t.Errorf("a payload of %d bytes is not the card", len(p.Body))
		}
	}
	if len(r.Order) > 32<<10 {
		w.t.Errorf("the order has %d bytes", len(r.Order))
	}
	return w.decide(r), nil
}

func (w *world) Redeem(context.Context, remit.Permit) (remit.Attempt, error) {
	return remit.Attempt{ID: "X-1", NotAfter: time.Now().Add(time.Hour)}, nil
}

func (w *world) Revoked(remit.ID) <-chan struct{} { return make(chan struct{}) }

func (w *world) Record(_ context.Context, _ remit.Attempt, res gateway.Result) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = append(w.done, res)
	return nil
}

func (w *world) Lease(context.Context, remit.Attempt) (gateway.Credential, error) { return w, nil }

func (w *world) Apply(r *http.Request) error {
	r.Header.Set("Authorization", w.lease)
	return nil
}

func (w *world) End(context.Context) error { return nil }

// The packs.

func (w *world) PutFile(_ context.Context, path string) (remit.Digest, error) {
	body, err := os.ReadFile(path)
	if err != nil {
		return remit.Digest{}, err
	}
	d := remit.Hash(body)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.packs[d]++
	return d, os.WriteFile(filepath.Join(w.blobs, d.String()), body, 0o600)
}

func (w *world) Open(_ context.Context, d remit.Digest) (io.ReadCloser, int64, error) {
	body, err := os.ReadFile(filepath.Join(w.blobs, d.String()))
	return io.NopCloser(bytes.NewReader(body)), int64(len(body)), err
}

func (w *world) Drop(_ context.Context, d remit.Digest) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.packs[d]--; w.packs[d] < 0 {
		w.t.Errorf("pack %s is dropped more often than put", d)
	}
	return nil
}

func (w *world) kept() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	for _, c := range w.packs {
		n += c
	}
	return n
}

// What a client does.

// do sends a request as an agent; path is below …/forge.
func (w *world) do(method, path, body string, tune ...func(*http.Request)) (int, string) {
	w.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.srv.URL+"/v1/orgs/acme/forge/forge/api/v1"+path, in)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "token "+agentToken)
	req.Header.Set("Content-Type", "application/json")
	for _, f := range tune {
		f(req)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, secret := range []string{leaseToken, readToken} {
		if strings.Contains(string(text)+fmt.Sprint(res.Header), secret) {
			w.t.Errorf("%s %s: the answer holds a credential", method, path)
		}
	}
	if res.Header.Get("Set-Cookie") != "" || res.Header.Get("X-Content-Type-Options") != "nosniff" {
		w.t.Errorf("%s %s: headers %v", method, path, res.Header)
	}
	return res.StatusCode, string(text)
}

// settle waits until every request has ended; the caller holds mu.
func (w *world) settle() {
	for w.active > 0 {
		w.wait.Wait()
	}
}

// reset forgets what was seen.
func (w *world) reset() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	w.calls, w.asked, w.cards, w.done = nil, nil, nil, nil
}

func (w *world) last() (remit.Request, remit.Shown) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.asked) == 0 {
		w.t.Fatal("nothing was asked of the authority")
	}
	var shown remit.Shown
	if len(w.cards) > 0 {
		if err := json.Unmarshal(w.cards[len(w.cards)-1].Body, &shown); err != nil {
			w.t.Fatal(err)
		}
	}
	return w.asked[len(w.asked)-1], shown
}

func (w *world) outcome() gateway.Result {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.settle(); len(w.done) == 0 {
		w.t.Fatal("no outcome was recorded")
	}
	return w.done[len(w.done)-1]
}

func (w *world) sent() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.calls...)
}

// The repository.

func (w *world) git(dir string, args ...string) string {
	w.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org")
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit adds a file on a branch, as a person, and gives the commit.
func (w *world) commit(branch, name, text string) string {
	w.t.Helper()
	switch at := w.git(w.work, "branch", "--list", branch); {
	case at == "" && branch != "main":
		w.git(w.work, "checkout", "-q", "-b", branch)
	case at != "":
		w.git(w.work, "checkout", "-q", branch)
	}
	if err := os.WriteFile(filepath.Join(w.work, name), []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.git(w.work, "add", ".")
	w.git(w.work, "commit", "-q", "-m", "add "+name)
	w.git(w.work, "push", "-q", "-f", "origin", branch)
	return w.git(w.work, "rev-parse", "HEAD")
}

func (w *world) tip(branch string) string { return w.git(w.bare, "rev-parse", branch) }

package git

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// world is a gateway between a real git client and a real bare repository, with a scripted authority.
type world struct {
	t      *testing.T
	bare   string // upstream
	dir    string // the gateway's
	gw     *Gateway
	pipe   *gateway.Pipeline
	srv    *httptest.Server
	repo   Repo
	blobs  *diskBlobs
	mu     sync.Mutex
	asked  []remit.Request
	cards  []remit.Payload
	record []gateway.Result
	wait   *sync.Cond // for an outcome: it is recorded after the client has its answer
	begun  int        // attempts
	decide func(remit.Request) remit.Decision
	redeem func() error
	revoke chan struct{}
}

func newWorld(t *testing.T, tune ...func(*world, *Config)) *world {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("needs git")
	}
	root := t.TempDir()
	w := &world{t: t, dir: filepath.Join(root, "gateway"), bare: filepath.Join(root, "up", "acme", "payments.git"), revoke: make(chan struct{})}
	w.wait = sync.NewCond(&w.mu)
	w.decide = func(remit.Request) remit.Decision { return remit.Decision{Verdict: remit.Allow, Entry: 7} }
	w.git("", "init", "-q", "--bare", "-b", "main", w.bare)
	seed := filepath.Join(root, "seed")
	w.git("", "init", "-q", "-b", "main", seed)
	w.write(seed, "README", "hello\n")
	w.write(seed, ".github/workflows/ci.yml", "on: push\n")
	w.commit(seed, "first")
	w.git(seed, "push", "-q", w.bare, "main")

	transport, err := NewLocal(t.Context(), "", filepath.Join(root, "config"), filepath.Join(root, "up"))
	if err != nil {
		t.Fatal(err)
	}
	w.repo = Repo{Name: "forge/acme/payments", URL: LocalURL + "/acme/payments.git", Transport: transport, DefaultBranch: "main", Watched: []remit.Pattern{".github/**"}}
	w.blobs = &diskBlobs{dir: filepath.Join(root, "blobs"), count: map[remit.Digest]int{}}
	if err := os.Mkdir(w.blobs.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	c := Config{Prefix: "/v1/orgs/acme/git", Repos: w, Blobs: w.blobs, Dir: w.dir, Agent: "remit/test", Log: slog.New(slog.NewTextHandler(testLog{t}, nil))}
	for _, f := range tune {
		f(w, &c)
	}
	if w.gw, err = New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.gw.Close)
	w.pipe = &gateway.Pipeline{Authn: w, Authz: w, Creds: w, Log: slog.New(slog.NewTextHandler(testLog{t}, nil))}
	w.srv = httptest.NewServer(w.gw.Handler(w.pipe))
	t.Cleanup(w.srv.Close)
	return w
}

type testLog struct{ t *testing.T }

func (l testLog) Write(p []byte) (int, error) { return len(p), nil }

// The seven calls, scripted.

func (w *world) Authenticate(r *http.Request) (remit.Caller, error) {
	if _, password, _ := r.BasicAuth(); password != "task-token" {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "the token is not known; start the command with remit run")
	}
	return remit.Caller{Instance: "I-1", Agent: "coder", Task: "T-1"}, nil
}

func (w *world) Authorize(_ context.Context, r remit.Request, payloads ...remit.Payload) (remit.Decision, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, r)
	w.cards = append(w.cards, payloads...)
	for _, p := range payloads {
		if p.Commitment() != r.Card || len(p.Body) > remit.MaxPayload {
			w.t.Errorf("a payload of %d bytes is not the card", len(p.Body))
		}
	}
	return w.decide(r), nil
}

func (w *world) Redeem(context.Context, remit.Permit) (remit.Attempt, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.redeem != nil {
		if err := w.redeem(); err != nil {
			return remit.Attempt{}, err
		}
	}
	w.begun++
	return remit.Attempt{ID: "X-1", NotAfter: farFuture}, nil
}

func (w *world) Revoked(remit.ID) <-chan struct{} { return w.revoke }

func (w *world) Record(_ context.Context, _ remit.Attempt, res gateway.Result) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.record = append(w.record, res)
	w.wait.Broadcast()
	return nil
}

func (w *world) Lease(context.Context, remit.Attempt) (gateway.Credential, error) { return w, nil }

func (w *world) Apply(r *http.Request) error {
	r.SetBasicAuth("remit", "upstream-secret")
	return nil
}

func (w *world) End(context.Context) error { return nil }

func (w *world) Repo(_ context.Context, name string) (Repo, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if name != w.repo.Name {
		return Repo{}, remit.Errorf(remit.UnknownResource, "no repository is declared as %q", name)
	}
	return w.repo, nil
}

// last is the newest request to push, its result, and how many were asked.
func (w *world) last() (remit.Request, gateway.Result) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.record) < w.begun {
		w.wait.Wait()
	}
	var res gateway.Result
	if n := len(w.record); n > 0 {
		res = w.record[n-1]
	}
	for i := len(w.asked) - 1; i >= 0; i-- {
		if w.asked[i].Steps[0].Action == "source.push" {
			return w.asked[i], res
		}
	}
	return remit.Request{}, res
}

// verdict scripts the answer to pushes; reads are allowed.
func (w *world) verdict(d remit.Decision) {
	w.script(func(r remit.Request) remit.Decision {
		if r.Steps[0].Action == "source.read" {
			return remit.Decision{Verdict: remit.Allow}
		}
		return d
	})
}

func (w *world) script(decide func(remit.Request) remit.Decision) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.decide = decide
}

// shown is the newest card.
func (w *world) shown() (c remit.Shown) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := json.Unmarshal(w.cards[len(w.cards)-1].Body, &c); err != nil {
		w.t.Error(err)
	}
	return c
}

// reach replaces the way to the upstream.
func (w *world) reach(t http.RoundTripper) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.repo.Transport = t
}

func (w *world) url() string {
	return strings.Replace(w.srv.URL, "http://", "http://agent:task-token@", 1) + "/v1/orgs/acme/git/forge/acme/payments.git"
}

func (w *world) clone() string {
	w.t.Helper()
	dir := filepath.Join(w.t.TempDir(), "clone")
	w.git("", "clone", "-q", w.url(), dir)
	return dir
}

func (w *world) write(dir, name, text string) {
	w.t.Helper()
	full := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, []byte(text), 0o644)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) commit(dir, msg string) string {
	w.t.Helper()
	w.git(dir, "add", "-A")
	w.git(dir, "commit", "-q", "--allow-empty", "-m", msg)
	return w.git(dir, "rev-parse", "HEAD")
}

// git runs a client that must succeed.
func (w *world) git(dir string, args ...string) string {
	w.t.Helper()
	out, err := w.try(dir, args...)
	if err != nil {
		w.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(out)
}

func (w *world) try(dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "LC_ALL=C",
		"GIT_AUTHOR_NAME=Ann", "GIT_AUTHOR_EMAIL=ann@example.org", "GIT_COMMITTER_NAME=Ann", "GIT_COMMITTER_EMAIL=ann@example.org", "GIT_SSL_NO_VERIFY=1"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// at is the upstream's value of a ref; empty if there is none.
func (w *world) at(ref string) string {
	out, _ := exec.Command("git", "--git-dir="+w.bare, "rev-parse", "-q", "--verify", ref).Output()
	return strings.TrimSpace(string(out))
}

// clean fails the test if the gateway keeps anything of a push.
func (w *world) clean(blobs int) {
	w.t.Helper()
	w.srv.Close() // waits for handlers
	files, err := os.ReadDir(filepath.Join(w.dir, "spool"))
	if err != nil || len(files) != 0 {
		w.t.Errorf("the spool holds %v, %v", files, err)
	}
	if n := len(w.blobs.count); n != blobs {
		w.t.Errorf("%d packs are kept; want %d", n, blobs)
	}
	if len(w.gw.pushes) != 0 || w.gw.total != 0 {
		w.t.Errorf("pushes are still counted: %v", w.gw.pushes)
	}
}

// post sends a raw request as the agent.
func (w *world) post(path, contentType string, body io.Reader, tune ...func(*http.Request)) (int, string) {
	w.t.Helper()
	req, err := http.NewRequest("POST", w.srv.URL+path, body)
	if err != nil {
		w.t.Fatal(err)
	}
	req.SetBasicAuth("agent", "task-token")
	req.Header.Set("Content-Type", contentType)
	for _, f := range tune {
		f(req)
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(text)
}

const (
	receivePath = "/v1/orgs/acme/git/forge/acme/payments.git/git-receive-pack"
	receiveType = "application/x-git-receive-pack-request"
)

// diskBlobs is a blob store that counts, as Blobs asks.
type diskBlobs struct {
	dir   string
	mu    sync.Mutex
	count map[remit.Digest]int
}

func (b *diskBlobs) PutFile(_ context.Context, path string) (remit.Digest, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return remit.Digest{}, err
	}
	d := remit.Digest(sha256.Sum256(text))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count[d]++
	return d, os.Rename(path, filepath.Join(b.dir, d.String()))
}

func (b *diskBlobs) Open(_ context.Context, d remit.Digest) (io.ReadCloser, int64, error) {
	text, err := os.ReadFile(filepath.Join(b.dir, d.String()))
	return io.NopCloser(bytes.NewReader(text)), int64(len(text)), err
}

func (b *diskBlobs) Drop(_ context.Context, d remit.Digest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.count[d]--; b.count[d] == 0 {
		delete(b.count, d)
		return os.Remove(filepath.Join(b.dir, d.String()))
	}
	return nil
}

// server puts next behind TLS and gives a Transport that trusts it.
func (w *world) server(next http.Handler) (string, http.RoundTripper) {
	w.t.Helper()
	srv := httptest.NewTLSServer(next)
	w.t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	transport, err := NewRemote(RemoteConfig{URL: srv.URL, Roots: roots})
	if err != nil {
		w.t.Fatal(err)
	}
	return srv.URL, transport
}

// passOn serves what the local upstream answers.
func passOn(local http.RoundTripper) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out := r.Clone(r.Context())
		if r.ContentLength == 0 && len(r.TransferEncoding) == 0 {
			out.Body = nil
		}
		res, err := local.RoundTrip(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer res.Body.Close()
		for k, v := range res.Header {
			w.Header()[k] = v
		}
		w.WriteHeader(res.StatusCode)
		io.Copy(w, res.Body)
	})
}

// packOf is a self-contained pack of what new has and old has not.
func packOf(t *testing.T, w *world, dir, tip string, without ...string) []byte {
	t.Helper()
	in := tip + "\n"
	for _, o := range without {
		in += "^" + o + "\n"
	}
	cmd := exec.Command("git", "pack-objects", "--revs", "--stdout", "-q")
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(in)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// count is how often the authority was asked.
func (w *world) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.asked)
}

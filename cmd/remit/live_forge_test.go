package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// forge is a git server over HTTPS, with its own certificate and a password: git http-backend, and ways to misbehave.
type forge struct {
	dir, auth string // auth: basic or bearer
	server    *httptest.Server
	work      string // directory of the script: the files of the secrets lie there

	mu      sync.Mutex
	mode    string        // "", down, nonsense, moved, before, after
	reached chan struct{} // closed when a push waits
	release chan struct{} // closed to let it go on
	lost    bool          // it is not done
	passed  sync.WaitGroup
}

// cmdForge is forge basic|bearer (before house; it then is the upstream), and forge up|down|nonsense|redirect, forge hold
// before|after (a push waits before it is done, or when it is done and before it is answered), forge reached, forge
// release, forge lose (what waits before it is done is never done).
func cmdForge(ts *testscript.TestScript, neg bool, args []string) {
	w := worldOf(ts)
	if neg || len(args) == 0 {
		ts.Fatalf("usage: forge basic|bearer|up|down|nonsense|redirect|hold|reached|release")
	}
	f := w.forge
	switch args[0] {
	case "basic", "bearer":
		w.forge = newForge(ts, args[0])
	case "up", "down", "nonsense", "redirect":
		f.set(args[0])
	case "hold":
		f.set(args[1])
	case "reached":
		waitFor(ts, f.reached, "a push at the forge")
	case "release", "lose":
		f.mu.Lock()
		f.mode, f.lost = "up", args[0] == "lose"
		close(f.release)
		f.mu.Unlock()
		f.passed.Wait()
	default:
		ts.Fatalf("forge %s?", args[0])
	}
}

func (f *forge) set(mode string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode, f.lost = mode, false
	f.reached, f.release = make(chan struct{}), make(chan struct{})
}

func newForge(ts *testscript.TestScript, auth string) *forge {
	path, err := exec.LookPath("git")
	ts.Check(err)
	f := &forge{dir: ts.Getenv("UP"), auth: auth, mode: "up", work: worldOf(ts).dir}
	f.server = httptest.NewTLSServer(f.handler(path))
	for _, secret := range []string{writes, reads} {
		ts.Check(os.WriteFile(filepath.Join(f.work, secret), []byte(secret+"\n"), 0o600))
	}
	ca := filepath.Join(f.work, "forge.crt")
	ts.Check(os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.server.Certificate().Raw}), 0o600))
	ts.Setenv("FORGE", f.server.URL)
	ts.Setenv("FORGE_CA", ca)
	return f
}

func (f *forge) yaml() string {
	user := ""
	if f.auth == "basic" {
		user = ", user: remit"
	}
	source := func(secret string) string { return "{from: file, name: " + filepath.Join(f.work, secret) + user + "}" }
	return "{name: forge, kind: http, location: " + f.server.URL + ", ca: " + filepath.Join(f.work, "forge.crt") +
		", write: " + source(writes) + ", observer: " + source(reads) + "}"
}

// api answers as Gitea's API does, with what the script's api.json has for the path; a scan of it only reads.
func (f *forge) api(w http.ResponseWriter, r *http.Request) {
	answers := map[string]json.RawMessage{}
	raw, err := os.ReadFile(filepath.Join(f.work, "api.json"))
	if err == nil {
		err = json.Unmarshal(raw, &answers)
	}
	w.Header().Set("Content-Type", "application/json")
	switch body, ok := answers[r.URL.Path]; {
	case err != nil || r.Method != http.MethodGet || r.Header.Get("Authorization") != "Bearer "+reads:
		w.WriteHeader(http.StatusTeapot) // nothing a scan may do
	case ok:
		w.Write(body)
	default:
		w.WriteHeader(http.StatusForbidden)
		io.WriteString(w, `{"message": "token does not have at least one of required scope(s)"}`)
	}
}

// The forge's two credentials, which are also the names of their files.
const writes, reads = "s3cret-that-writes", "s3cret-that-reads"

// allowed tells whether a request shows a credential that is good for it.
func (f *forge) allowed(r *http.Request) bool {
	secret, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if f.auth == "basic" {
		var user string
		user, secret, ok = r.BasicAuth()
		ok = ok && user == "remit"
	}
	push := strings.Contains(r.URL.RequestURI(), "git-receive-pack")
	return ok && (secret == writes || secret == reads && !push)
}

func (f *forge) handler(git string) http.Handler {
	backend := &cgi.Handler{Path: git, Args: []string{"http-backend"}, Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + f.dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=remit", "GIT_CONFIG_COUNT=1",
			"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		mode, reached, release := f.mode, f.reached, f.release
		f.mu.Unlock()
		switch {
		case mode == "down":
			panic(http.ErrAbortHandler)
		case mode == "nonsense":
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>Sign in to continue</html>")
			return
		case mode == "redirect":
			http.Redirect(w, r, "https://elsewhere.example"+r.URL.Path, http.StatusFound)
			return
		case !f.allowed(r):
			w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
			http.Error(w, "sign in", http.StatusUnauthorized)
			return
		case strings.HasPrefix(r.URL.Path, "/api/v1/"):
			f.api(w, r)
			return
		}
		push := r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/git-receive-pack")
		if !push || mode != "before" && mode != "after" {
			backend.ServeHTTP(w, r)
			return
		}
		// The request is read whole first: whoever sent it may be gone when it is done.
		f.passed.Add(1)
		defer f.passed.Done()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
		answer := httptest.NewRecorder()
		if mode == "after" {
			backend.ServeHTTP(answer, r)
		}
		select {
		case <-reached: // another push waits already; this one goes on
		default:
			close(reached)
			<-release
		}
		f.mu.Lock()
		lost := f.lost
		f.mu.Unlock()
		if lost {
			panic(http.ErrAbortHandler)
		}
		if mode == "before" {
			backend.ServeHTTP(answer, r)
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}

// close lets everything go that still waits.
func (f *forge) close() {
	f.mu.Lock()
	if f.release != nil {
		select {
		case <-f.release:
		default:
			close(f.release)
		}
	}
	f.mu.Unlock()
	f.server.CloseClientConnections()
	f.server.Close()
}

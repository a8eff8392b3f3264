package launch

import (
	"bytes"
	"crypto/tls"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

// forge is a git server behind TLS of the session's authority, that wants one of its tokens and sees what else comes.
type forge struct {
	mu       sync.Mutex
	headers  []http.Header
	password []string
}

func newForge(t *testing.T, s *session) *forge {
	t.Helper()
	root := t.TempDir()
	git := func(args ...string) string {
		out, err := exec.Command("git", args...).Output()
		if err != nil {
			t.Fatal(args, err)
		}
		return strings.TrimSpace(string(out))
	}
	bare := filepath.Join(root, "repo", "acme", "app.git")
	git("init", "-q", "--bare", "-b", "main", bare)
	git("-C", bare, "config", "http.receivepack", "true")
	const prefix = "/v1/orgs/acme/git"
	backend := &cgi.Handler{Path: filepath.Join(git("--exec-path"), "git-http-backend"), Root: prefix, Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}}
	f := &forge{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		_, password, ok := r.BasicAuth()
		if !ok { // of the front
			password, ok = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		}
		f.headers = append(f.headers, r.Header.Clone())
		if ok {
			f.password = append(f.password, password)
		}
		f.mu.Unlock()
		if !ok || !strings.HasPrefix(password, "remit_") {
			w.Header().Set("WWW-Authenticate", `Basic realm="remit"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	config, err := s.ca.TLSConfig("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := config.GetCertificate(nil) // httptest would take one of its own where no name is asked for
	if err != nil {
		t.Fatal(err)
	}
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	s.gateway = srv.URL + prefix
	s.rewrites = []client.Rewrite{{From: []string{"https://forge.invalid/acme/app", "git@forge.invalid:acme/app", "ssh://git@forge.invalid/acme/app"}, To: s.gateway + "/repo/acme/app"}}
	return f
}

func TestOrdinaryGitGoesThroughTheGateway(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	s := newSession(t)
	f := newForge(t, s)
	dir, environ := home(t)
	if err := os.WriteFile(filepath.Join(dir, ".gitconfig"), []byte(`[user]
	name = Ada "the \"first\"" Lovelace
	email = ada@example.org
[credential]
	helper = "!touch $HOME/asked-global; echo username=u; echo password=person"
[credential "https://127.0.0.1"]
	helper = "!touch $HOME/asked-host"
[core]
	askPass = /no/such/askpass
	sshCommand = touch $HOME/asked-ssh
	hooksPath = /no/such/hooks
[http]
	extraHeader = X-Person: secret
	sslVerify = false
[url "https://elsewhere.invalid/"]
	insteadOf = https://forge.invalid/
`), 0o600); err != nil {
		t.Fatal(err)
	}
	before := digest(t, dir)
	work := t.TempDir()
	r := run(t, s, Options{Environ: environ, Dir: work, Command: []string{"sh", "-ec", `
		git clone -q https://forge.invalid/acme/app.git app
		cd app
		git config user.name >&2
		test "$(git config user.name)" = 'Ada the "first" Lovelace'
		# a repository of the person's, with a helper and a header of its own
		git config credential.helper '!touch $HOME/asked-local; cat >/dev/null'
		git config http.extraHeader 'X-Repository: secret'
		git config url.git@forge.invalid:.pushInsteadOf https://forge.invalid/
		echo one > file
		git add file
		git commit -q -m one
		git push -q origin HEAD:main
		git fetch -q git@forge.invalid:acme/app.git main
		git ls-remote ssh://git@forge.invalid/acme/app.git
		git clone -q --recurse-submodules git@forge.invalid:acme/app ../again
		cat ../again/file
		git config --global alias.x status
		test ! -e $HOME/asked-local
	`}})
	if r.code != 0 || r.err != nil || !strings.HasSuffix(r.out, "one\n") {
		t.Fatalf("code %d, %v\n%s", r.code, r.err, r.out)
	}
	if digest(t, dir) != before {
		left, _ := os.ReadDir(dir)
		t.Errorf("the home directory has changed: %v", left)
	}
	for _, h := range f.headers {
		if h.Get("X-Person") != "" || h.Get("X-Repository") != "" {
			t.Errorf("a header of the person's was sent: %v", h)
		}
	}
	if len(f.password) == 0 || s.tokens != 1 {
		t.Errorf("%d passwords, %d tokens", len(f.password), s.tokens)
	}
	for _, p := range f.password {
		if p != "remit_1" {
			t.Errorf("the password was %q", p)
		}
	}
}

// Gemini CLI's shell takes git's configuration file away and empties its helpers.
func TestGitGoesThroughTheFrontWithoutAFileOrAHelper(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("no git")
	}
	s := newSession(t)
	s.anyGateway = true
	f := newForge(t, s)
	dir, environ := home(t)
	if err := os.WriteFile(filepath.Join(dir, ".gitconfig"), []byte("[user]\n\tname = Ada\n\temail = ada@example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ = programs(t, environ, map[string]string{"gemini": `set -e
export GIT_CONFIG_GLOBAL=/dev/null "GIT_CONFIG_KEY_$GIT_CONFIG_COUNT=credential.helper" "GIT_CONFIG_VALUE_$GIT_CONFIG_COUNT="
export GIT_CONFIG_COUNT=$((GIT_CONFIG_COUNT + 1))
git clone -q https://forge.invalid/acme/app.git app
cd app
test "$(git config user.name)" = Ada
git commit -q --allow-empty -m one
git push -q origin HEAD:main
git ls-remote git@forge.invalid:acme/app
git ls-remote "$REMIT_GATEWAY/repo/acme/app"`})
	r := run(t, s, Options{Environ: environ, Dir: t.TempDir(), Command: []string{"gemini"}, Confinement: remit.ConfineNone})
	if r.code != 0 || r.err != nil || strings.Count(r.out, "refs/heads/main") != 2 {
		t.Fatalf("code %d, %v\n%s", r.code, r.err, r.out)
	}
	for _, p := range f.password {
		if p != "remit_1" {
			t.Errorf("the password was %q", p)
		}
	}
}

func TestGitIsNotSentElsewhere(t *testing.T) {
	_, environ := home(t)
	for name, rw := range map[string]client.Rewrite{
		"another host":       {From: []string{"https://forge.invalid/"}, To: "https://evil.invalid/x"},
		"a longer host name": {From: []string{"https://forge.invalid/"}, To: "https://127.0.0.1:1/v1/orgs/acme/gitx"},
		"up and out":         {From: []string{"https://forge.invalid/"}, To: "https://127.0.0.1:1/v1/orgs/acme/git/../x"},
		"everything":         {From: []string{""}, To: "https://127.0.0.1:1/v1/orgs/acme/git/x"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t)
			s.rewrites = []client.Rewrite{rw}
			if r := run(t, s, Options{Command: []string{"true"}, Environ: environ}); r.code != ExitLauncher || r.err == nil {
				t.Errorf("code %d, %v", r.code, r.err)
			}
		})
	}
	for _, gateway := range []string{"http://127.0.0.1/x", "https://u:p@127.0.0.1/x", "https:///x", "ext::sh", "https://h/x?y"} {
		s := newSession(t)
		s.gateway = gateway
		if r := run(t, s, Options{Command: []string{"true"}, Environ: environ}); r.code != ExitLauncher || r.err == nil {
			t.Errorf("gateway %q: code %d, %v", gateway, r.code, r.err)
		}
	}
}

func TestATokenIsRenewedAMinuteBeforeItsEnd(t *testing.T) {
	c := &clock{now: time.Now()}
	s := newSession(t)
	s.now = c.Now
	inst, err := s.StartInstance(t.Context(), client.InstanceStart{})
	if err != nil {
		t.Fatal(err)
	}
	tk, err := newTokens(&Launcher{Session: s, Clock: c}, inst)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		pass time.Duration
		want string
	}{{0, "remit_1"}, {3 * time.Minute, "remit_1"}, {time.Minute - time.Second, "remit_1"}, {time.Second, "remit_2"}, {4*time.Minute - time.Second, "remit_2"}, {time.Hour, "remit_3"}} {
		c.add(step.pass)
		if got, _, err := tk.get(t.Context(), inst.Gateway); err != nil || got != step.want {
			t.Errorf("after %s more: %q, %v; want %q", step.pass, got, err, step.want)
		}
	}
}

func TestTheHelperAnswersForTheGatewayOnly(t *testing.T) {
	_, environ := home(t)
	for _, c := range []struct {
		ask    string
		answer bool
	}{
		{"protocol=https\nhost=127.0.0.1:1\npath=v1/orgs/acme/git/repo/x\n\n", true},
		{"capability[]=authtype\nprotocol=https\nhost=127.0.0.1:1\nwwwauth[]=Basic\n\n", true},
		{"protocol=https\nhost=127.0.0.1:1\npath=v1/orgs/acme/gitx\n\n", false},
		{"protocol=https\nhost=127.0.0.1:1\npath=v1/orgs/acme/git/../../other\n\n", false},
		{"protocol=http\nhost=127.0.0.1:1\n\n", false},
		{"protocol=https\nhost=forge.invalid\n\n", false},
		{"protocol=https\nhost=127.0.0.1\n\n", false},
		{"", false},
	} {
		r := run(t, newSession(t), Options{Environ: append(environ, "ASK="+c.ask), Confinement: remit.ConfineNone, Command: []string{"sh", "-c", `printf %s "$ASK" | "$0" __credential "$REMIT_SOCKET" get`, self(t)}})
		if got := strings.Contains(r.out, "password=remit_1"); r.code != 0 || r.err != nil || got != c.answer {
			t.Errorf("%q: code %d, %v: %s", c.ask, r.code, r.err, r.out)
		}
	}
	for _, op := range []string{"store", "erase", "capability"} {
		var out bytes.Buffer
		if err := CredentialHelper(t.Context(), "/no/such/socket", op, strings.NewReader("password=x\n\n"), &out); err != nil || out.Len() != 0 {
			t.Errorf("%s: %q, %v", op, out.String(), err)
		}
	}
}

package bench

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

// forgePassword is what the forge of a benchmark takes from everybody.
const forgePassword = "benchmark"

// newForge serves bare repositories below dir over HTTPS, by git's own http-backend.
func newForge(b testing.TB, dir string) *httptest.Server {
	b.Helper()
	git, err := exec.LookPath("git")
	if err != nil {
		b.Skip("git is missing; install it (Debian: git)")
	}
	backend := &cgi.Handler{Path: git, Args: []string{"http-backend"}, Stderr: io.Discard,
		Env: []string{"GIT_PROJECT_ROOT=" + dir, "GIT_HTTP_EXPORT_ALL=1", "REMOTE_USER=remit", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "remit" || password != forgePassword {
			w.Header().Set("WWW-Authenticate", `Basic realm="forge"`)
			http.Error(w, "sign in", http.StatusUnauthorized)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	b.Cleanup(s.Close)
	return s
}

// history makes a bare repository of about as many objects: commits of one changed file in one of forty directories.
func history(b testing.TB, bare string, objects int) {
	b.Helper()
	git(b, "", "init", "--quiet", "--bare", bare)
	git(b, bare, "config", "http.receivepack", "true")
	var in bytes.Buffer
	for i := range objects / 4 { // a commit, its tree, the directory's tree, the blob
		text := fmt.Sprintf("package p%d\n\nconst N = %d\n", i%40, i)
		fmt.Fprintf(&in, "commit refs/heads/main\nmark :%d\ncommitter a <a@example> %d +0000\ndata 4\nwork\n", i+1, 1_700_000_000+i)
		if i > 0 {
			fmt.Fprintf(&in, "from :%d\n", i)
		}
		fmt.Fprintf(&in, "M 100644 inline d%02d/f%03d.go\ndata %d\n%s\n", i%40, i/40%200, len(text), text)
	}
	cmd := gitCommand(bare, "fast-import", "--quiet")
	cmd.Stdin = &in
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("git fast-import: %v\n%s", err, out)
	}
	git(b, bare, "symbolic-ref", "HEAD", "refs/heads/main")
	git(b, bare, "repack", "-adq")
}

func gitCommand(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example")
	return cmd
}

func git(b testing.TB, dir string, args ...string) {
	b.Helper()
	if out, err := gitCommand(dir, args...).CombinedOutput(); err != nil {
		b.Fatalf("git %s: %v\n%s", args, err, out)
	}
}

// way is one of two ways to the same repository: straight to the forge, or through Remit.
type way struct {
	url, header, ca string
}

func (w way) git(b testing.TB, dir string, args ...string) time.Duration {
	b.Helper()
	cmd := gitCommand(dir, append([]string{"-c", "http.extraHeader=Authorization: " + w.header}, args...)...)
	cmd.Env = append(cmd.Env, "GIT_SSL_CAINFO="+w.ca)
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("git %s: %v\n%s", args, err, out)
	}
	return time.Since(start)
}

// ways are the two, and the branch on which the task may push.
func ways(b *testing.B, objects int) (direct, through way, branch string) {
	b.Helper()
	dir := b.TempDir()
	history(b, filepath.Join(dir, "payments.git"), objects)
	forge := newForge(b, dir)
	forgeCA, secret := filepath.Join(dir, "forge.crt"), filepath.Join(dir, "secret")
	for name, text := range map[string][]byte{forgeCA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: forge.Certificate().Raw}), secret: []byte(forgePassword)} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			b.Fatal(err)
		}
	}
	from := remit.Source{From: "file", Name: secret, User: "remit"}
	h := newHouse(b, remit.Declarations{
		Upstreams:    []remit.Upstream{{Name: "forge", Kind: remit.KindHTTP, Location: forge.URL, CA: forgeCA, Write: from, Observer: from}},
		Repositories: []remit.Repository{{Name: "forge/payments", DefaultBranch: "main", Effects: &[]remit.Effect{}}},
		Agents: []remit.Agent{{Name: "coder", Function: remit.FuncCode, Owner: "ana", Purpose: "codes", Requesters: []string{"reviewers"}, Expires: "2099-01-31",
			Entitlements: []remit.Scope{{Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{"repo:forge/*"}}}}},
	}, nil)
	t, err := h.ana.CreateTask(b.Context(), remit.TaskRequest{Agent: "coder", Intent: "work"})
	if err != nil {
		b.Fatal(err)
	}
	s := h.ana.Session()
	i, err := s.StartInstance(b.Context(), client.InstanceStart{Task: t.ID, Confinement: remit.ConfineNone})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := s.Hold(b.Context(), i.ID, i.Secret); err != nil {
		b.Fatal(err)
	}
	token, _, err := s.Token(b.Context(), i.ID, i.Secret, "git")
	if err != nil {
		b.Fatal(err)
	}
	basic := &http.Request{Header: http.Header{}}
	basic.SetBasicAuth("remit", forgePassword)
	direct = way{url: forge.URL + "/payments.git", header: basic.Header.Get("Authorization"), ca: forgeCA}
	through = way{url: "https://" + h.addr + "/v1/orgs/acme/git/forge/payments.git", header: "Bearer " + token, ca: filepath.Join(h.dir, "data", "ca.crt")}
	return direct, through, i.Branch + "/work"
}

// BenchmarkClone compares a clone through Remit with one straight from the forge, in alternating rounds of one run.
func BenchmarkClone(b *testing.B) {
	direct, through, _ := ways(b, atMost(100_000, 4_000))
	for b.Loop() {
		var ratios []float64
		for range atMost(7, 1) {
			d := direct.git(b, b.TempDir(), "clone", "--quiet", "--bare", direct.url, "r")
			t := through.git(b, b.TempDir(), "clone", "--quiet", "--bare", through.url, "r")
			ratios = append(ratios, float64(t)/float64(d))
		}
		b.ReportMetric(median(ratios), "ratio")
	}
}

// BenchmarkSmallPush compares a push of one commit of three files to a repository of a hundred thousand objects: through
// Remit (inspected, decided, recorded twice durably) with straight to the forge, in alternating rounds of one run.
func BenchmarkSmallPush(b *testing.B) {
	direct, through, branch := ways(b, atMost(100_000, 4_000))
	work := filepath.Join(b.TempDir(), "work")
	direct.git(b, "", "clone", "--quiet", "--depth", "1", direct.url, work)
	n := 0
	commit := func() {
		n++
		for _, f := range []string{"a.go", "b.go", "c.go"} {
			if err := os.WriteFile(filepath.Join(work, f), fmt.Appendf(nil, "package p\n\nconst N = %d\n", n), 0o600); err != nil {
				b.Fatal(err)
			}
		}
		git(b, work, "add", ".")
		git(b, work, "commit", "--quiet", "-m", fmt.Sprint("work ", n))
	}
	push := func(w way, ref string) time.Duration {
		commit()
		return w.git(b, work, "push", "--quiet", w.url, "HEAD:"+ref)
	}
	push(direct, "refs/heads/direct")
	push(through, branch) // the mirror is filled by the first
	for b.Loop() {
		var ratios, more []float64
		for range atMost(15, 1) {
			d, t := push(direct, "refs/heads/direct"), push(through, branch)
			ratios, more = append(ratios, float64(t)/float64(d)), append(more, float64(t-d)/1e6)
		}
		b.ReportMetric(median(ratios), "ratio")
		b.ReportMetric(median(more), "more-ms")
	}
}

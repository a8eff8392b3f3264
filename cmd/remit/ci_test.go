package main

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crypto/tls"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	testworld "github.com/remit-dev/remit/internal/world"
)

// ciHost is a runner's machine: a server, an issuer, and the binary in a directory of its own.
type ciHost struct {
	t    *testing.T
	w    *testworld.World
	iss  *testworld.Issuer
	task remit.ID
	bin  string // directory of remit
	temp string // of the job
	env  []string
}

// runner is a machine on which a job of testworld.Commit may run; remit is the path of the binary.
func runner(t *testing.T, binary string) *ciHost {
	t.Helper()
	w := testworld.New(t, testworld.Options{})
	iss := testworld.NewIssuer(t, w.Clock.Now, jose.RS256)
	iss.Tell(jobClaims(0))
	w.Declare(w.BuildTeam(iss))
	h := &ciHost{t: t, w: w, iss: iss, task: w.Build(), bin: t.TempDir(), temp: t.TempDir()}
	if err := os.Symlink(binary, filepath.Join(h.bin, "remit")); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(h.temp, "server-ca.pem")
	if err := os.WriteFile(ca, w.CA.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	h.env = []string{"PATH=" + h.bin + string(os.PathListSeparator) + os.Getenv("PATH"), "HOME=" + h.temp, "RUNNER_TEMP=" + h.temp, "XDG_RUNTIME_DIR=",
		"TMPDIR=" + os.TempDir(), "REMIT_SERVER=" + w.URL, "REMIT_ORG=" + string(testworld.Org), "REMIT_CA=" + ca,
		"ACTIONS_ID_TOKEN_REQUEST_URL=" + iss.URL + "/token?api-version=2", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + testworld.RequestToken, "GITHUB_TOKEN=ghs_secret"}
	return h
}

// step runs one command line as a step of the job.
func (h *ciHost) step(stdin, line string) (out string, err error) {
	c := exec.Command("sh", "-c", line)
	c.Env, c.Dir, c.Stdin = h.env, h.temp, strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	err = c.Run()
	h.t.Logf("$ %s\n%s%s", line, stdout.String(), stderr.String())
	return stdout.String() + stderr.String(), err
}

func (h *ciHost) must(stdin, line string) string {
	h.t.Helper()
	out, err := h.step(stdin, line)
	if err != nil {
		h.t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(out)
}

// caller is who a gateway takes the holder of a token for.
func (h *ciHost) caller(token string) (c remit.Caller, status int) {
	h.t.Helper()
	r, err := http.NewRequestWithContext(h.t.Context(), http.MethodGet, h.w.URL+"/v1/orgs/acme/git/x", nil)
	if err != nil {
		h.t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: h.w.CA.Pool()}}}
	resp, err := client.Do(r)
	if err != nil {
		h.t.Fatal(err)
	}
	defer resp.Body.Close()
	_ = json.NewDecoder(resp.Body).Decode(&c)
	return c, resp.StatusCode
}

func (h *ciHost) instances() (n int) {
	h.w.Engine.View(func(s *authority.State) { n = len(s.InstancesOf(h.task)) })
	return n
}

func TestAWorkflowLogsInOnceForItsSteps(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := runner(t, self)
	next := filepath.Join(h.temp, "github-env")
	if err := os.WriteFile(next, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.env = append(h.env, "GITHUB_ENV="+next)
	h.must("", "remit ci login")
	b, err := os.ReadFile(next)
	if err != nil {
		t.Fatal(err)
	}
	set := strings.Split(strings.TrimSpace(string(b)), "\n")
	if !slices.Contains(set, "REMIT_TASK="+string(h.task)) || !slices.Contains(set, "REMIT_CONFINEMENT=host") || strings.Contains(string(b), "remitj_") {
		t.Fatalf("the next steps get %s", b)
	}
	before := h.env
	h.env = append(slices.Clone(h.env), set...)
	if c, status := h.caller(h.must("", "remit token git")); status != 200 || c.Agent != "builder" || c.Task != h.task {
		t.Errorf("%d %+v", status, c)
	}
	u, _ := url.Parse(h.w.URL)
	if _, err := exec.LookPath("git"); err == nil {
		out := h.must("protocol=https\nhost="+u.Host+"\npath=v1/orgs/acme/git/forge/payments.git\n\n", "git credential fill")
		_, password, _ := strings.Cut(out, "password=")
		password, _, _ = strings.Cut(password, "\n")
		if c, status := h.caller(password); status != 200 || c.Agent != "builder" {
			t.Errorf("git: %d %+v", status, c)
		}
		if out, _ := h.step("protocol=https\nhost=elsewhere.example\n\n", "git credential fill"); strings.Contains(out, "remit_") {
			t.Errorf("another host gets a password: %s", out)
		}
	}
	dirs, err := filepath.Glob(filepath.Join(h.temp, "remit-job-*"))
	if err != nil || len(dirs) != 1 {
		t.Fatalf("%v, %v", dirs, err)
	}
	if err := os.Chmod(dirs[0], 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := h.step("", "remit token git"); err == nil || !strings.Contains(out, "open to others") {
		t.Errorf("a login that others can read: %s", out)
	}
	if err := os.Chmod(dirs[0], 0o700); err != nil {
		t.Fatal(err)
	}
	h.must("", "remit ci logout")
	if _, err := os.Stat(dirs[0]); !os.IsNotExist(err) || h.instances() != 0 {
		t.Errorf("after logout: %v, %d instances", err, h.instances())
	}
	if out, err := h.step("", "remit token git"); err == nil {
		t.Errorf("after logout: %s", out)
	}

	// The other form: one command.
	h.env = before
	out := h.must("", `remit ci run --complete -- sh -c 'echo task=$REMIT_TASK secret=$GITHUB_TOKEN$ACTIONS_ID_TOKEN_REQUEST_TOKEN; echo token=$(remit token git)'`)
	if !strings.Contains(out, "task="+string(h.task)+" secret=\n") {
		t.Errorf("the command gets %s", out)
	}
	_, token, _ := strings.Cut(out, "token=")
	if c, status := h.caller(strings.TrimSpace(token)); !strings.HasPrefix(token, "remit_") || status != 401 {
		t.Errorf("a token outlives the command: %d %+v", status, c)
	}
	var status remit.TaskStatus
	h.w.Engine.View(func(s *authority.State) { status = s.Tasks[h.task].Status })
	if status != remit.TaskCompleted {
		t.Errorf("the task is %s", status)
	}
	if out, err := h.step("", "remit ci run -- true"); err == nil || !strings.Contains(out, "NOT_LIVE") {
		t.Errorf("a job of a task that is done: %s", out)
	}
}

func TestALoginThatIsOverIsRenewedWhereTheForgeAllowsIt(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := runner(t, self)
	now := h.w.Clock.Now().Unix()
	h.iss.Tell(jobClaims(now + 20)) // less than a login keeps in reserve
	out := h.must("", "remit ci login")
	for line := range strings.Lines(out) {
		if kv, ok := strings.CutPrefix(strings.TrimSpace(line), "export "); ok {
			h.env = append(h.env, strings.ReplaceAll(kv, "'", ""))
		}
	}
	var first remit.ID
	h.w.Engine.View(func(s *authority.State) { first = s.InstancesOf(h.task)[0] })
	h.iss.Tell(jobClaims(0))
	c, status := h.caller(h.must("", "remit token git"))
	if status != 200 || c.Instance == first || h.instances() != 1 {
		t.Errorf("%d %+v, %d instances", status, c, h.instances())
	}
	again, _ := h.caller(h.must("", "remit token git"))
	if again.Instance != c.Instance {
		t.Errorf("renewed again: %+v", again)
	}
}

func TestAJobWithoutATokenIsToldWhatToWrite(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h := runner(t, self)
	h.env = slices.DeleteFunc(h.env, func(kv string) bool { return strings.HasPrefix(kv, "ACTIONS_") })
	if out, err := h.step("", "remit ci login"); err == nil || !strings.Contains(out, "id-token: write") || !strings.Contains(out, "id_tokens") {
		t.Errorf("%s", out)
	}
	// GitLab puts it into a variable.
	claims := h.iss.GitHub(h.w.URL, testworld.Commit, nil)
	h.env = append(h.env, "REMIT_ID_TOKEN="+h.iss.Sign(claims))
	h.must("", "remit ci login >/dev/null")
	if h.instances() != 1 {
		t.Error("no instance")
	}
}

// jobClaims are those of a job on the commit of the tests; exp is when its token ends, 0 for as usual.
func jobClaims(exp int64) map[string]any {
	c := map[string]any{"sha": testworld.Commit, "workflow_sha": testworld.Commit, "job_workflow_sha": testworld.Commit}
	if exp != 0 {
		c["exp"] = exp
	}
	return c
}

//go:build unix

package deploy_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/deploy"
)

// host is a machine with a program that is deployed by a script: now holds what is there, and log has a line for each time
// that something was applied.
type host struct {
	t      *testing.T
	dir    string
	config deploy.Config
}

const observe = `cat "$0/now" 2>/dev/null || true`

// newHost makes a host on which script deploys; in it $0 is the host's directory.
func newHost(t *testing.T, script string) *host {
	t.Helper()
	h := &host{t: t, dir: t.TempDir()}
	h.config = deploy.Config{Dir: filepath.Join(t.TempDir(), "notes"), Environments: place(remit.KindCommand, remit.Target{
		Apply: []string{"/bin/sh", "-c", script, h.dir}, Observe: []string{"/bin/sh", "-c", observe, h.dir}, Timeout: "30s"})}
	h.write("now", digest("0")+"\n")
	open(t, h.config) // the directory is no longer fresh
	return h
}

func (h *host) write(name, text string) {
	h.t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

func (h *host) read(name string) string {
	b, _ := os.ReadFile(filepath.Join(h.dir, name))
	return string(b)
}

func (h *host) target() *remit.Target { return h.config.Environments.(places).Place.Environment.Target }

func (h *host) forward(o remit.Order) gateway.Result {
	h.t.Helper()
	return open(h.t, h.config).Forward(h.t.Context(), o, token(""), nil)
}

// good deploys what it is told: the digests of REMIT_ARTIFACTS.
const good = `echo once >> "$0/log"; echo "$REMIT_ARTIFACTS" | sed 's/.*@//' > "$0/now"`

func TestACommandDeploysAndWhatItDidIsObserved(t *testing.T) {
	for name, c := range map[string]struct {
		script  string
		outcome remit.Outcome
		exit    string
	}{
		"it deploys":                          {good, remit.Done, "0"},
		"it deploys and says that it did not": {good + "; exit 3", remit.Done, "exit status 3"},
		"it says that it did":                 {"true", remit.NotApplied, "0"},
		"it fails at once":                    {"exit 1", remit.NotApplied, "exit status 1"},
		"it deploys something else":           {`echo ` + digest("f") + ` > "$0/now"`, remit.Ambiguous, "0"},
		"it deploys more":                     {good + `; echo ` + digest("f") + ` >> "$0/now"`, remit.Ambiguous, "0"},
		"it leaves what nobody can read":      {`echo latest > "$0/now"`, remit.Ambiguous, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, c.script)
			r := h.forward(order("X-1", artifact("app", "a"), artifact("web", "b")))
			if got := receipt(t, r); r.Outcome != c.outcome || got.Exit != c.exit {
				t.Fatalf("%s: %s", r.Outcome, r.Receipt)
			}
		})
	}
}

func TestACommandThatCannotRunChangesNothing(t *testing.T) {
	h := newHost(t, good)
	h.target().Apply = []string{"/no/such/command"}
	if r := h.forward(order("X-1", artifact("app", "a"))); r.Outcome != remit.NotApplied {
		t.Fatalf("%s", r.Receipt)
	}
	h = newHost(t, good)
	h.target().Observe = []string{"/bin/sh", "-c", "exit 1"}
	if r := h.forward(order("X-1", artifact("app", "a"))); r.Outcome != remit.NotApplied || h.read("log") != "" {
		t.Fatalf("applied without knowing what was there: %s", r.Receipt)
	}
}

func TestACommandThatTakesTooLongIsKilledWithAllThatItStarted(t *testing.T) {
	h := newHost(t, `(sleep 600; echo late >> "$0/log") & echo $! > "$0/pid"; wait`)
	h.target().Timeout = "300ms"
	r := h.forward(order("X-1", artifact("app", "a")))
	if got := receipt(t, r); r.Outcome != remit.NotApplied || !strings.HasPrefix(got.Exit, "killed after 300ms") {
		t.Fatalf("%s", r.Receipt)
	}
	pid := strings.TrimSpace(h.read("pid"))
	state, _ := os.ReadFile("/proc/" + pid + "/stat")
	if len(state) > 0 && !strings.Contains(string(state), ") Z ") {
		t.Fatalf("process %s still runs: %s", pid, state)
	}
}

func TestTheEnvironmentOfACommandIsClean(t *testing.T) {
	t.Setenv("LEAK", "of-the-executor")
	h := newHost(t, `env > "$0/env"; cat > "$0/input"; pwd > "$0/home"`)
	h.forward(order("X-7", artifact("web", "b"), artifact("app", "a")))
	var names []string
	for line := range strings.Lines(h.read("env")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		switch {
		case strings.HasPrefix(line, "registry.example"):
			continue // the second line of REMIT_ARTIFACTS
		case name == "REMIT_ATTEMPT" && value != "X-7", name == "REMIT_ENVIRONMENT" && value != "shop/production",
			name == "PATH" && value != "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin":
			t.Error(line)
		}
		names = append(names, name)
	}
	slices.Sort(names)
	if want := []string{"HOME", "PATH", "PWD", "REMIT_ARTIFACTS", "REMIT_ATTEMPT", "REMIT_ENVIRONMENT"}; !slices.Equal(slices.DeleteFunc(names, func(n string) bool { return n == "_" || n == "SHLVL" || n == "OLDPWD" }), want) {
		t.Fatalf("%v", names)
	}
	want := "REMIT_ARTIFACTS=registry.example:5000/web@" + digest("b") + "\nregistry.example:5000/app@" + digest("a")
	if !strings.Contains(h.read("env"), want) || h.read("input") != "" {
		t.Fatalf("%s", h.read("env"))
	}
	if _, err := os.Stat(strings.TrimSpace(h.read("home"))); err == nil {
		t.Fatal("its home is left behind")
	}
}

// store is a store of one secret.
type store struct{ value []byte }

func (s store) Use(_ context.Context, attempt remit.ID, secret remit.Resource) ([]byte, error) {
	if secret != "secret:deploy" || attempt == "" {
		return nil, remit.Errorf(remit.NotFound, "no secret %s", secret)
	}
	return s.value, nil
}

func TestSecretsReachTheCommandAndNothingElse(t *testing.T) {
	const value = "hunter2-and-more?&"
	enc := base64.StdEncoding.EncodeToString([]byte(value))
	h := newHost(t, good+`; echo "$KEY"; echo "x${KEY}y"; echo `+enc+`; printf '%65460s%s' '' "$KEY"`)
	h.target().Secrets = map[string]remit.Resource{"KEY": "secret:deploy"}
	if r := h.forward(order("X-1", artifact("app", "a"))); r.Outcome != remit.NotApplied || h.read("log") != "" {
		t.Fatalf("without a store: %s", r.Receipt)
	}
	h.config.Secrets = store{[]byte(value)}
	r := h.forward(order("X-2", artifact("app", "a")))
	got := receipt(t, r)
	if r.Outcome != remit.Done || !strings.HasSuffix(got.Output, "[secret KEY]") {
		t.Fatalf("%s: …%q", r.Outcome, got.Output[max(0, len(got.Output)-80):])
	}
	if strings.Contains(got.Output, value[:6]) || strings.Contains(got.Output, enc) {
		t.Fatalf("the receipt shows the secret: %s", got.Output)
	}
	h = newHost(t, `echo "$KEY"; echo "$KEY" > "$0/now"`) // observing echoes it then
	h.config.Secrets = store{[]byte(value)}
	h.target().Secrets = map[string]remit.Resource{"KEY": "secret:deploy"}
	if r := h.forward(order("X-3", artifact("app", "a"))); r.Outcome != remit.Ambiguous || strings.Contains(string(r.Receipt), value[:6]) {
		t.Fatalf("%s", r.Receipt)
	}
}

func TestMuchOutputIsCut(t *testing.T) {
	h := newHost(t, good+`; i=0; while [ $i -lt 3000 ]; do printf '%0100d' 7; i=$((i+1)); done`)
	if r := h.forward(order("X-1", artifact("app", "a"))); r.Outcome != remit.Done || len(receipt(t, r).Output) > 17<<10 {
		t.Fatalf("%s %d", r.Outcome, len(r.Receipt))
	}
}

// TestACrashAtEachEdge leaves the world as a crash does at each step of look → note → apply → record, and asks what became
// of the attempt. What is not proven must not be done again.
func TestACrashAtEachEdge(t *testing.T) {
	o := order("X-1", artifact("app", "a"))
	for name, c := range map[string]struct {
		script string
		fresh  bool // and its directory is lost
		apply  bool
		want   remit.Outcome
		log    string
	}{
		"before it was noted":             {script: good, want: remit.NotApplied},
		"after it was applied":            {script: good, apply: true, want: remit.Done, log: "once\n"},
		"the notes are lost, and nothing": {script: good, fresh: true, want: remit.Ambiguous},
		"the notes are lost, and done":    {script: good, apply: true, fresh: true, want: remit.Done, log: "once\n"},
		"half of it":                      {script: good + `; echo ` + digest("f") + ` >> "$0/now"`, apply: true, want: remit.Ambiguous, log: "once\n"},
		"the command did nothing":         {script: "true", apply: true, want: remit.NotApplied},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, c.script)
			if c.apply {
				h.forward(o) // its result is lost
			}
			if c.fresh {
				h.config.Dir = filepath.Join(t.TempDir(), "new")
			}
			if r := open(t, h.config).Reconcile(t.Context(), o); r.Outcome != c.want || h.read("log") != c.log {
				t.Fatalf("%s, applied %q: %s", r.Outcome, h.read("log"), r.Receipt)
			}
		})
	}
}

// TestWhatIsThereIsNotDeployedAgain: the same order after a crash, whatever its attempt, is not applied a second time.
func TestWhatIsThereIsNotDeployedAgain(t *testing.T) {
	h := newHost(t, good)
	for _, attempt := range []remit.ID{"X-1", "X-1", "X-2"} {
		if r := h.forward(order(attempt, artifact("app", "a"))); r.Outcome != remit.Done {
			t.Fatalf("%s", r.Receipt)
		}
	}
	if h.read("log") != "once\n" {
		t.Fatalf("applied %q", h.read("log"))
	}
}

// executorEnv makes a copy of this test an executor that is killed.
const executorEnv = "REMIT_TEST_DEPLOY_DIR"

// TestTheExecutorIsKilledWhileItsCommandRuns: the command goes on for a moment without its executor. Whoever comes after
// waits for it, and neither takes the old state for the result nor starts a second one.
func TestTheExecutorIsKilledWhileItsCommandRuns(t *testing.T) {
	const slow = `echo $$ > "$0/started"; while [ ! -e "$0/go" ]; do sleep 0.02; done; ` + good
	if dir := os.Getenv(executorEnv); dir != "" {
		h := &host{t: t, dir: dir, config: deploy.Config{Dir: filepath.Join(dir, "notes"), Environments: place(remit.KindCommand, remit.Target{
			Apply: []string{"/bin/sh", "-c", slow, dir}, Observe: []string{"/bin/sh", "-c", observe, dir}, Timeout: "1m"})}}
		h.forward(order("X-1", artifact("app", "a")))
		return
	}
	h := newHost(t, slow)
	h.config.Dir = filepath.Join(h.dir, "notes")
	open(t, h.config)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-test.run=^TestTheExecutorIsKilledWhileItsCommandRuns$")
	cmd.Env = append(os.Environ(), executorEnv+"="+h.dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for h.read("started") == "" {
		time.Sleep(5 * time.Millisecond) // another process: there is nothing to wait on but the file
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	found := make(chan gateway.Result, 1)
	go func() { found <- open(t, h.config).Reconcile(t.Context(), order("X-1", artifact("app", "a"))) }()
	select {
	case r := <-found:
		t.Fatalf("the command still runs, and this was said: %s", r.Receipt)
	case <-time.After(200 * time.Millisecond):
	}
	h.write("go", "")
	if r := <-found; r.Outcome != remit.Done || h.read("log") != "once\n" {
		t.Fatalf("%s, applied %q: %s", r.Outcome, h.read("log"), r.Receipt)
	}
	if r := h.forward(order("X-2", artifact("app", "a"))); r.Outcome != remit.Done || h.read("log") != "once\n" {
		t.Fatal(fmt.Sprint(r.Outcome, h.read("log")))
	}
}

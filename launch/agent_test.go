package launch

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

// fakeHook is `remit hook` of the test binary: it does what HOOK_DOES says.
func fakeHook() int {
	in, _ := io.ReadAll(os.Stdin)
	does := os.Getenv("HOOK_DOES")
	switch {
	case does == "allow":
		return 0
	case does == "crash":
		return 1
	case does == "silent":
		return 2
	case does == "unreached":
		fmt.Fprintln(os.Stderr, "remit: the server does not answer, so the call is denied")
		return 2
	case strings.Contains(string(in), "remit-canary"):
		fmt.Fprintln(os.Stderr, "remit: denied: remit-canary reached the authority")
		return 2
	}
	fmt.Fprintln(os.Stderr, "remit: denied")
	return 2
}

// programs makes agents out of lines of sh, first in PATH.
func programs(t *testing.T, environ []string, scripts map[string]string) []string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range scripts {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return setVariable(environ, "PATH", dir+":"+value(environ, "PATH"))
}

const dumpAgent = `for a; do echo "arg $a"; done
env | sort
echo "settings $(cat "$CLAUDE_CONFIG_DIR/remit-settings.json" | tr -d '\n')"
echo "mcp $(cat "$CLAUDE_CONFIG_DIR/remit-mcp.json" | tr -d '\n')"
stat -c 'mode %a' "$CLAUDE_CONFIG_DIR" "$CLAUDE_CONFIG_DIR/remit-mcp.json" "$REMIT_FRONT_BEARER"
echo renewed > "$CLAUDE_CONFIG_DIR/.credentials.json"`

func TestAnAgentIsSetUpForThisRunOnly(t *testing.T) {
	dir, environ := home(t)
	login := filepath.Join(dir, ".claude", ".credentials.json")
	if err := os.Mkdir(filepath.Dir(login), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(login, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ = programs(t, append(environ, "ANTHROPIC_API_KEY=model", "OPENAI_API_KEY=other", "CLAUDE_CODE_SIMPLE=1", "HTTPS_PROXY=http://proxy.example:1", "NO_PROXY=intra", "GITHUB_TOKEN=gh"),
		map[string]string{"claude": dumpAgent})
	r := run(t, newSession(t), Options{Command: []string{"claude", "-p", "it's"}, Environ: environ, Confinement: remit.ConfineNone})
	if r.err != nil || r.code != 0 {
		t.Fatalf("%d %v\n%s", r.code, r.err, r.out)
	}
	lines := strings.Split(r.out, "\n")
	config, _ := lookup(lines, "CLAUDE_CONFIG_DIR")
	for _, want := range []string{"arg --settings", "arg " + filepath.Join(config, "remit-settings.json"), "arg --setting-sources", "arg user", "arg --strict-mcp-config", "arg it's",
		"ANTHROPIC_API_KEY=model", "NO_PROXY=intra,127.0.0.1,localhost", "no_proxy=127.0.0.1,localhost", "NODE_USE_ENV_PROXY=1", "DISABLE_AUTOUPDATER=1", "mode 700"} {
		if !slices.Contains(lines, want) {
			t.Errorf("%s is missing", want)
		}
	}
	for _, name := range []string{"OPENAI_API_KEY", "CLAUDE_CODE_SIMPLE", "GITHUB_TOKEN"} {
		if v, ok := lookup(lines, name); ok {
			t.Errorf("%s is handed on: %q", name, v)
		}
	}
	if n := strings.Count(r.out, "mode 600"); n != 2 {
		t.Errorf("%d files that are closed to others:\n%s", n, r.out)
	}
	if address := value(lines, "REMIT_FRONT"); !strings.Contains(r.out, address+"/v1/orgs/acme/mcp/remit") || !strings.Contains(r.out, `"disableAllHooks": false`) {
		t.Errorf("the configuration is not Remit's:\n%s", r.out)
	}
	if !strings.Contains(r.say, "Claude Code is set up for this run, and gets ANTHROPIC_API_KEY for its model") {
		t.Errorf("said %q", r.say)
	}
	if _, err := os.Stat(config); err == nil || config == "" {
		t.Errorf("%q is still there", config)
	}
	if got, _ := os.ReadFile(login); string(got) != "renewed\n" {
		t.Errorf("a login that was renewed is lost: %q", got)
	}
	if entries, _ := os.ReadDir(filepath.Dir(login)); len(entries) != 1 {
		t.Errorf("the person's own directory has %v", entries)
	}
}

// A login that somebody else renewed meanwhile is newer than the agent's.
func TestALoginThatChangedIsLeftAlone(t *testing.T) {
	dir, environ := home(t)
	login := filepath.Join(dir, ".claude", ".credentials.json")
	if err := os.Mkdir(filepath.Dir(login), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(login, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ = programs(t, environ, map[string]string{"claude": `echo newer > ` + shellQuote(login) + `; echo mine > "$CLAUDE_CONFIG_DIR/.credentials.json"`})
	if r := run(t, newSession(t), Options{Command: []string{"claude"}, Environ: environ, Confinement: remit.ConfineNone}); r.code != 0 {
		t.Fatal(r)
	}
	if got, _ := os.ReadFile(login); string(got) != "newer\n" {
		t.Errorf("the login is %q", got)
	}
}

func TestNoAgentStartsWithoutItsHook(t *testing.T) {
	_, environ := home(t)
	marker := filepath.Join(t.TempDir(), "ran")
	environ = programs(t, environ, map[string]string{"claude": "touch " + shellQuote(marker)})
	for does, want := range map[string]string{
		"allow":     "exit code 0",
		"crash":     "by something else than Remit's server", // the line makes it a denial, and nobody was asked
		"silent":    "by something else than Remit's server",
		"unreached": "by something else than Remit's server",
	} {
		s := newSession(t)
		r := run(t, s, Options{Command: []string{"claude"}, Environ: append(environ, "HOOK_DOES="+does), Confinement: remit.ConfineNone})
		if r.code != ExitLauncher || r.err == nil || !strings.Contains(r.err.Error(), want) || !strings.Contains(r.err.Error(), "Claude Code is not started") {
			t.Errorf("a hook that does %q: %d %v", does, r.code, r.err)
		}
		if _, err := os.Stat(marker); err == nil {
			t.Fatalf("a hook that does %q: the agent ran", does)
		}
		if len(s.starts) != s.ends {
			t.Errorf("%d instances started, %d ended", len(s.starts), s.ends)
		}
	}
	r := run(t, newSession(t), Options{Command: []string{"claude", "--bare"}, Environ: environ})
	if r.code != ExitLauncher || r.err == nil || !strings.Contains(r.err.Error(), "--bare") {
		t.Errorf("%d %v", r.code, r.err)
	}
	// Whoever wants no set-up has none.
	r = run(t, newSession(t), Options{Command: []string{"claude", "--bare"}, Environ: append(environ, "HOOK_DOES=allow"), Agent: NoAgent})
	if _, err := os.Stat(marker); r.code != 0 || err != nil {
		t.Errorf("%d %v %v", r.code, r.err, err)
	}
	if _, err := os.Stat(marker); err == nil {
		_ = os.Remove(marker)
	}
	if r := run(t, newSession(t), Options{Command: []string{"claude"}, Environ: environ, Agent: "vim"}); r.code != ExitLauncher || !strings.Contains(fmt.Sprint(r.err), "no agent") {
		t.Errorf("%d %v", r.code, r.err)
	}
}

// fakeCodex answers as `codex app-server` of 0.169.0 does; as Codex, it shows what it was given.
const fakeCodex = `case "$*" in
*app-server)
	echo '{"id":0,"result":{}}'
	line=$(sed -n 's/^ *"command": \(".*"\),$/\1/p' "$CODEX_HOME/hooks.json" | head -1)
	printf '{"id":1,"result":{"data":[{"cwd":"/","hooks":['
	for e in $EVENTS; do
		printf '{"key":"%s:0:0","command":%s,"enabled":true,"currentHash":"sha256:%s"},' "$e" "$line" "$e"
	done
	printf '{"key":"foreign","command":"touch /x","enabled":true,"currentHash":"sha256:cc"}]}]}}\n'
	cat >/dev/null;;
*) cat "$CODEX_HOME/config.toml"; touch "$MARKER";;
esac`

func TestCodexTrustsTheHook(t *testing.T) {
	_, environ := home(t)
	marker := filepath.Join(t.TempDir(), "ran")
	environ = programs(t, append(environ, "MARKER="+marker), map[string]string{"codex": fakeCodex})
	r := run(t, newSession(t), Options{Command: []string{"codex", "exec", "x"}, Environ: append(environ, "EVENTS=a b c d"), Confinement: remit.ConfineNone})
	if r.code != 0 || !strings.Contains(r.out, "trusted_hash = 'sha256:d'") || strings.Contains(r.out, "sha256:cc") || !strings.Contains(r.out, "[mcp_servers.remit]") {
		t.Errorf("%d %v\n%s", r.code, r.err, r.out)
	}
	_ = os.Remove(marker)
	r = run(t, newSession(t), Options{Command: []string{"codex", "exec", "x"}, Environ: append(environ, "EVENTS=a b c"), Confinement: remit.ConfineNone})
	if _, err := os.Stat(marker); err == nil || r.code != ExitLauncher || !strings.Contains(fmt.Sprint(r.err), "of Remit's 4 hooks Codex sees 3") {
		t.Errorf("%d %v %v", r.code, r.err, err)
	}
}

// Keys to models go to the agent that needs them, and to no other command.
func TestModelKeysGoToTheirAgent(t *testing.T) {
	_, environ := home(t)
	environ = programs(t, append(environ, "ANTHROPIC_API_KEY=a", "OPENAI_API_KEY=o"), map[string]string{"codex": "env", "codexlike": "env"})
	r := run(t, newSession(t), Options{Command: []string{"codex"}, Environ: environ, Agent: NoAgent})
	if !strings.Contains(r.out, "OPENAI_API_KEY=o") || strings.Contains(r.out, "ANTHROPIC_API_KEY") || !strings.Contains(r.say, "is not set up") {
		t.Errorf("%s\n%s", r.out, r.say)
	}
	s := newSession(t)
	r = run(t, s, Options{Command: []string{"codexlike"}, Environ: environ, Pass: []string{"ANTHROPIC_API_KEY"}})
	if strings.Contains(r.out, "OPENAI_API_KEY") || !strings.Contains(r.out, "ANTHROPIC_API_KEY=a") || !strings.Contains(r.say, "OPENAI_API_KEY, keys to a model, are not passed") {
		t.Errorf("%s\n%s", r.out, r.say)
	}
	if len(s.starts[0].Ungoverned) > 0 {
		t.Errorf("ungoverned by %q, which opens nothing that Remit guards", s.starts[0].Ungoverned)
	}
}

// The port forwards for whoever has the bearer, the socket for whoever belongs to the instance; both with the token that
// neither shows.
func TestTheInstancesWayToTheGateways(t *testing.T) {
	_, environ := home(t)
	s := newSession(t)
	up := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/orgs/acme/git/x" && r.Header.Get("Authorization") == "Bearer remit_1" {
			fmt.Fprint(w, "through")
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
	}))
	config, err := s.ca.TLSConfig("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := config.GetCertificate(nil) // httptest would take one of its own where no name is asked for
	if err != nil {
		t.Fatal(err)
	}
	up.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
	up.StartTLS()
	defer up.Close()
	s.gateway = up.URL + "/v1/orgs/acme/git"
	script := `curl -s -o /dev/null -w 'bare %{http_code}\n' "$REMIT_FRONT/v1/orgs/acme/git/x"
echo "port $(curl -s -H "Authorization: Bearer $(cat "$REMIT_FRONT_BEARER")" "$REMIT_FRONT/v1/orgs/acme/git/x")"
echo "git $(curl -s -u "remit:$(cat "$REMIT_FRONT_BEARER")" "$REMIT_FRONT/v1/orgs/acme/git/x")"
echo "socket $(curl -s --unix-socket "$REMIT_SOCKET" http://instance/v1/orgs/acme/git/x)"
curl -s -o /dev/null -w 'other %{http_code}\n' --unix-socket "$REMIT_SOCKET" http://instance/v1/orgs/acme/instances
env; cat "$REMIT_FRONT_BEARER"`
	s.anyGateway = true
	r := run(t, s, Options{Command: []string{"sh", "-c", script}, Environ: environ, Confinement: remit.ConfineNone})
	for _, want := range []string{"bare 401\n", "port through\n", "git through\n", "socket through\n", "other 404\n"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("%q is missing:\n%s", want, r.out)
		}
	}
	if strings.Contains(r.out, "remit_1") {
		t.Error("the token is in the command's sight")
	}
	lines := strings.Split(r.out, "\n")
	if _, err := http.Get(value(lines, "REMIT_FRONT")); err == nil {
		t.Error("the port is still open")
	}
}

// What a launcher left behind that was killed goes with the next one's start, and what is in use stays.
func TestSweepingAgentsDirectories(t *testing.T) {
	base := t.TempDir()
	for _, name := range []string{"agent-I-1-x", "agent-I-2-x", "other"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	held, err := lockDir(filepath.Join(base, "agent-I-2-x"))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	sweepAgents(base)
	left, err := os.ReadDir(base)
	if err != nil || len(left) != 2 || left[0].Name() != "agent-I-2-x" || left[1].Name() != "other" {
		t.Errorf("%v %v", left, err)
	}
}

// A repository's file may be no file at all.
func TestReadingSmallFiles(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, make([]byte, maxSmall+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{dir, big, os.DevNull, filepath.Join(dir, "none")} {
		if b, err := readSmall(name); err == nil {
			t.Errorf("%s is read as %d bytes", name, len(b))
		}
	}
}

package launch

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

func TestWhatTheCommandInherits(t *testing.T) {
	for name, want := range map[string]kind{
		"PATH": plain, "HOME": plain, "TERM": plain, "LANG": plain, "PWD": plain, "OLDPWD": plain, "EDITOR": plain, "HTTPS_PROXY": plain,
		"ANTHROPIC_API_KEY": model, "OPENAI_API_KEY": model, "CLAUDE_CODE_OAUTH_TOKEN": model, "GOOGLE_GEMINI_BASE_URL": model, "AZURE_OPENAI_API_KEY": model, "AWS_REGION": plain,
		"MAX_THINKING_TOKENS": plain, "CLAUDE_CODE_MAX_OUTPUT_TOKENS": plain, "KEYBOARD": plain, "AUTHOR": plain, "XAUTHORITY": plain,
		"GIT_AUTHOR_NAME": plain, "GIT_PAGER": plain,
		"GITHUB_TOKEN": secret, "GH_TOKEN": secret, "GITHUB_TOKEN_2": secret, "GITLAB_TOKEN": secret, "NPM_TOKEN": secret, "VAULT_TOKEN": secret, "VAULT_ADDR": secret,
		"AWS_ACCESS_KEY_ID": secret, "AWS_SECRET_ACCESS_KEY": secret, "AWS_PROFILE": secret, "GOOGLE_APPLICATION_CREDENTIALS": secret, "AZURE_CLIENT_SECRET": secret,
		"KUBECONFIG": secret, "SSH_AUTH_SOCK": secret, "SSH_AGENT_PID": secret, "GPG_AGENT_INFO": secret, "DBUS_SESSION_BUS_ADDRESS": secret, "DOCKER_HOST": secret,
		"PGPASSWORD": secret, "MYSQL_PWD": secret, "db_password": secret, "NPM_CONFIG__AUTH": secret, "npm_config__authToken": secret, "STRIPE_API_KEY": secret,
		"SECRET_KEY_BASE": secret, "SSHPASS": secret, "FORGE_PAT": secret, "SESSION_COOKIE": secret, "SENTRY_DSN": secret, "ACTIONS_ID_TOKEN_REQUEST_URL": secret,
		"COPILOT_GITHUB_TOKEN": model, "TMUX": secret,
		"GIT_DIR": redirect, "GIT_SSH_COMMAND": redirect, "GIT_CONFIG_COUNT": redirect, "GIT_CONFIG_PARAMETERS": redirect, "GIT_EXEC_PATH": redirect, "GIT_ASKPASS": redirect,
		"GIT_SSL_NO_VERIFY": redirect, "GIT_PROXY_COMMAND": redirect, "REMIT_SESSION": redirect, "SPIFFE_ENDPOINT_SOCKET": redirect,
	} {
		if got := kindOf(name, "x"); got != want {
			t.Errorf("%s is of kind %d, want %d", name, got, want)
		}
	}
	for value, want := range map[string]kind{
		"postgres://u:p@db/x": secret, "https://token@forge/x": secret, "https://forge/x": plain, "https://forge/@scope": plain, "me@example.org": plain,
	} {
		if got := kindOf("SOME_URL", value); got != want {
			t.Errorf("a value %q is of kind %d, want %d", value, got, want)
		}
	}
	if got := kindOf("HTTPS_PROXY", "http://u:p@proxy"); got != plain {
		t.Error("a proxy is dropped")
	}
}

func TestPassedVariables(t *testing.T) {
	environ := []string{"GH_TOKEN=g", "EDITOR=vi", "A=1", "A=2"}
	env, ungoverned, err := inherit(environ, []string{"GH_TOKEN", "A=3", "NEW_SECRET=x"}, nil)
	if err != nil || !slices.Equal(env, []string{"A=3", "EDITOR=vi", "GH_TOKEN=g", "NEW_SECRET=x"}) || !slices.Equal(ungoverned, []string{"GH_TOKEN", "NEW_SECRET"}) {
		t.Errorf("%q, %q, %v", env, ungoverned, err)
	}
	for _, bad := range []string{"GIT_SSH_COMMAND=x", "REMIT_TASK=T1", "NOT_SET", "=x", ""} {
		if _, _, err := inherit(environ, []string{bad}, nil); err == nil {
			t.Errorf("--env %q is taken", bad)
		}
	}
}

func TestTheCommandsEnvironment(t *testing.T) {
	_, environ := home(t)
	more := filepath.Join(t.TempDir(), "more.pem")
	if err := os.WriteFile(more, []byte("company roots"), 0o600); err != nil {
		t.Fatal(err)
	}
	environ = append(environ, "GITHUB_TOKEN=gh", "AWS_SECRET_ACCESS_KEY=a", "SSH_AUTH_SOCK=/tmp/agent", "GIT_SSH_COMMAND=evil", "REMIT_SESSION=mine",
		"ANTHROPIC_API_KEY=model", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=x.y", "GIT_CONFIG_VALUE_0=z", "DEPLOY_KEY=d", "NODE_EXTRA_CA_CERTS="+more)
	s := newSession(t)
	r := run(t, s, Options{Command: []string{"sh", "-c", "cat /proc/self/environ; cat $NODE_EXTRA_CA_CERTS $REMIT_CA"}, Environ: environ, Pass: []string{"DEPLOY_KEY"}, Confinement: remit.ConfineNone})
	if r.err != nil {
		t.Fatal(r.err)
	}
	got := strings.Split(r.out, "\x00")
	for _, want := range []string{
		"REMIT_TASK=T3", "REMIT_INSTANCE=I-7", "REMIT_AGENT=coder", "REMIT_ORG=acme", "REMIT_BRANCH=refs/heads/remit/T3", "REMIT_GATEWAY=" + s.gateway, "REMIT_CONFINEMENT=none",
		"DEPLOY_KEY=d", "GIT_TERMINAL_PROMPT=0", "GIT_ASKPASS=", "SSH_ASKPASS=", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_KEY_0=credential.helper", "GIT_CONFIG_VALUE_0=",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
	names := map[string]bool{}
	for _, kv := range got {
		name, value, _ := strings.Cut(kv, "=")
		if names[name] {
			t.Errorf("%s is there twice", name)
		}
		names[name] = true
		if strings.Contains(value, "s3cret") || name == "GITHUB_TOKEN" || name == "ANTHROPIC_API_KEY" || name == "AWS_SECRET_ACCESS_KEY" || name == "SSH_AUTH_SOCK" || name == "GIT_SSH_COMMAND" || name == "REMIT_SESSION" {
			t.Errorf("%s is handed on", kv)
		}
	}
	if strings.Count(r.out, string(s.ca.PEM())) != 2 || !strings.Contains(r.out, "company roots") {
		t.Error("the certificates for Node are not Remit's and the person's")
	}
	if start := s.starts[0]; !slices.Equal(start.Ungoverned, []string{"DEPLOY_KEY"}) || start.Confinement != remit.ConfineNone {
		t.Errorf("the server was told %+v", start)
	}
}

func TestConfigurationIsQuoted(t *testing.T) {
	if got, want := shellQuote(`/a b'c`), `'/a b'\''c'`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestHiddenPathsBelowOneAnotherAndThroughLinks(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	in := func(p string) string { return filepath.Join(dir, p) }
	for _, d := range []string{"home/.ssh/keys", "home/.aws", "dotfiles/gh"} {
		if err := os.MkdirAll(in(d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"dotfiles/aws", "home/.netrc"} {
		if err := os.WriteFile(in(f), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"home/.aws/credentials": "dotfiles/aws", "home/.gh": "dotfiles/gh", "home/.broken": "nothing"} {
		if err := os.Symlink(in(to), in(link)); err != nil {
			t.Fatal(err)
		}
	}
	got := present([]string{in("home/.ssh"), in("home/.ssh/keys"), in("home/.aws"), in("home/.gh"), in("home/.netrc"), in("home/.broken"), in("home/.none"), "relative", "/"})
	want := []string{in("dotfiles/aws"), in("dotfiles/gh"), in("home/.aws"), in("home/.netrc"), in("home/.ssh")}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

package launch

import (
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/launch/agents"
)

// The command inherits its person's environment without what would let it act as that person:
//
//   - credentials: every variable one of whose words (between underscores) is KEY, PAT, COOKIE and the like or ends in
//     TOKEN, SECRET, PASSWORD …; families such as AWS_* and VAULT_*; and every value that is a URL with a password;
//   - the way to other credentials: sockets of ssh, gpg and D-Bus, terminal multiplexers, configuration files;
//   - what redirects git: GIT_*, except author, committer, editor and pager;
//   - REMIT_* and SPIFFE_*: a person's own, or those of an outer instance.
//
// What an agent needs to reach its model goes to that agent, and to nothing else (agents.ModelKeys); it opens no upstream
// that Remit guards, so whoever passes it by hand leaves the task governed. Proxies stay, even with a password in them.

// modelKeys are further credentials that open models, of agents that Remit does not know.
var modelKeys = []string{"AZURE_OPENAI_API_KEY"}

// harmless are variables that the rules below would take for more than they are.
var harmless = []string{
	"PWD", "OLDPWD", "AWS_REGION", "AWS_DEFAULT_REGION",
	"GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_DATE",
	"GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_PAGER",
	"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
}

// doors are variables that lead to a credential without being one.
var doors = []string{
	"SSH_AUTH_SOCK", "SSH_AGENT_PID", "GPG_AGENT_INFO", "GNUPGHOME", "DBUS_SESSION_BUS_ADDRESS", "DBUS_STARTER_ADDRESS", "GNOME_KEYRING_CONTROL",
	"DOCKER_HOST", "DOCKER_CONFIG", "CONTAINER_HOST", "KUBECONFIG", "NETRC", "CURL_HOME", "GH_CONFIG_DIR", "GLAB_CONFIG_DIR", "PGPASSFILE", "PGSERVICEFILE",
	"CLOUDSDK_CONFIG", "NPM_CONFIG_USERCONFIG", "npm_config_userconfig", "PIP_CONFIG_FILE", "TWINE_REPOSITORY_URL", "MYSQL_TEST_LOGIN_FILE",
	"SSH_ASKPASS", "SSH_ASKPASS_REQUIRE", "SUDO_ASKPASS", "TMUX", "TMUX_PANE", "STY",
	"VSCODE_IPC_HOOK_CLI", "VSCODE_GIT_IPC_HANDLE", "VSCODE_GIT_ASKPASS_NODE", "VSCODE_GIT_ASKPASS_MAIN", "VSCODE_GIT_ASKPASS_EXTRA_ARGS",
}

// families are beginnings of names of which every variable is dropped.
var families = []string{"AWS_", "AZURE_", "ARM_", "VAULT_", "GOOGLE_", "CLOUDSDK_", "GCLOUD_", "DIGITALOCEAN_", "OP_SESSION_", "BW_", "CI_JOB_JWT"}

// words and endings mark a variable as a credential; they are compared in upper case with each word of its name.
var (
	words   = []string{"KEY", "KEYS", "PAT", "PWD", "PASS", "DSN", "COOKIE", "COOKIES", "JWT", "AUTH", "SECRETS", "CREDENTIAL", "CREDENTIALS", "CREDS"}
	endings = []string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "APIKEY", "SSHPASS"}
)

// kind is what a variable means to the launcher.
type kind int

const (
	plain    kind = iota
	secret        // a credential, or the way to one: dropped unless passed, and then the task is ungoverned
	redirect      // would turn git or Remit elsewhere: dropped, and never passed
	model         // how a model is reached: dropped unless the command is an agent that needs it, or passed
)

func kindOf(name, value string) kind {
	switch {
	case slices.Contains(harmless, name):
		return plain
	case slices.Contains(modelKeys, name), slices.Contains(agents.ModelKeys(), name):
		return model
	case strings.HasPrefix(name, "GIT_"), strings.HasPrefix(name, "REMIT_"), strings.HasPrefix(name, "SPIFFE_"):
		return redirect
	case slices.Contains(doors, name):
		return secret
	}
	for _, f := range families {
		if strings.HasPrefix(name, f) {
			return secret
		}
	}
	for word := range strings.SplitSeq(strings.ToUpper(name), "_") {
		if slices.Contains(words, word) || slices.ContainsFunc(endings, func(e string) bool { return strings.HasSuffix(word, e) }) {
			return secret
		}
	}
	if strings.Contains(value, "://") && strings.Contains(value, "@") {
		u, err := url.Parse(value)
		if err != nil || u.User != nil {
			return secret
		}
	}
	return plain
}

// inherit is what the command gets of environ: all that is plain, what it needs as the agent that it is, and what pass
// names. ungoverned are the names passed that are credentials, sorted.
func inherit(environ, pass, needs []string) (env, ungoverned []string, err error) {
	passed := map[string]string{} // name → NAME=VALUE
	for _, p := range pass {
		name, value, given := strings.Cut(p, "=")
		if name == "" {
			return nil, nil, remit.Errorf(remit.BadRequest, "--env %q has no name; write NAME or NAME=VALUE", p)
		}
		if !given {
			var ok bool
			if value, ok = lookup(environ, name); !ok {
				return nil, nil, remit.Errorf(remit.BadRequest, "--env %s: no such variable is set", name)
			}
		}
		switch kindOf(name, value) {
		case redirect:
			return nil, nil, remit.Errorf(remit.BadRequest, "--env %s: the launcher sets or removes this variable itself, because it decides where git and Remit's clients talk to", name)
		case secret:
			ungoverned = append(ungoverned, name)
		}
		passed[name] = name + "=" + value
	}
	for _, kv := range environ {
		name, value, ok := strings.Cut(kv, "=")
		if k := kindOf(name, value); !ok || name == "" || k != plain && !(k == model && slices.Contains(needs, name)) {
			continue
		}
		if _, again := passed[name]; !again {
			env = append(env, kv)
		}
	}
	for _, kv := range passed {
		env = append(env, kv)
	}
	slices.Sort(env)
	slices.Sort(ungoverned)
	return env, slices.Compact(ungoverned), nil
}

// lookup is the last value of name in environ.
func lookup(environ []string, name string) (string, bool) {
	for _, kv := range slices.Backward(environ) {
		if n, v, ok := strings.Cut(kv, "="); ok && n == name {
			return v, true
		}
	}
	return "", false
}

// serverOf is the part of a gateway's address that names the server.
func serverOf(gateway string) string {
	server, _, _ := strings.Cut(gateway, "/v1/orgs/")
	return server
}

// exports is the command's whole environment: what it inherits, and what Remit tells it.
//
//	REMIT_TASK, REMIT_INSTANCE, REMIT_AGENT, REMIT_ORG   who it is
//	REMIT_BRANCH        refs/heads/…: where it may push
//	REMIT_GATEWAY       the git gateway's URL
//	REMIT_SERVER        the server's URL: the API and all gateways lie there
//	REMIT_CONFINEMENT   none or home
//	REMIT_SOCKET        the instance's own socket
//	REMIT_CA            file with the certificate (PEM) that Remit's endpoints are verified by
//	SPIFFE_ENDPOINT_SOCKET   the SPIFFE Workload API
//	NODE_EXTRA_CA_CERTS      REMIT_CA and what was there before: Node adds it to its own roots
//	GIT_CONFIG_GLOBAL, GIT_CONFIG_NOSYSTEM, GIT_CONFIG_COUNT …   see writeGitConfig
//	GIT_TERMINAL_PROMPT=0, GIT_ASKPASS, SSH_ASKPASS, SSH_ASKPASS_REQUIRE   nobody is asked for a password
//
// SSL_CERT_FILE and GIT_SSL_CAINFO are not set: they would replace the roots for every other host.
func (l *Launcher) exports(r room, inst client.Instance, c remit.Confinement, workload string, env []string) ([]string, error) {
	set := [][2]string{
		{"REMIT_TASK", string(inst.Task)},
		{"REMIT_INSTANCE", string(inst.ID)},
		{"REMIT_AGENT", inst.Agent},
		{"REMIT_ORG", string(inst.Org)},
		{"REMIT_BRANCH", inst.Branch},
		{"REMIT_GATEWAY", inst.Gateway},
		{"REMIT_SERVER", serverOf(inst.Gateway)},
		{"REMIT_CONFINEMENT", string(c)},
		{"REMIT_SOCKET", r.socket},
		{"REMIT_CA", r.ca},
		{"SPIFFE_ENDPOINT_SOCKET", workload},
		{"GIT_CONFIG_GLOBAL", r.gitconfig},
		{"GIT_CONFIG_NOSYSTEM", "1"},
		{"GIT_TERMINAL_PROMPT", "0"},
		{"GIT_ASKPASS", ""}, // set and empty: git looks no further
		{"SSH_ASKPASS", ""},
		{"SSH_ASKPASS_REQUIRE", "never"},
	}
	nodeCA := inst.CA
	if old, ok := lookup(env, "NODE_EXTRA_CA_CERTS"); ok && old != "" {
		more, err := os.ReadFile(old)
		if err != nil {
			l.say("NODE_EXTRA_CA_CERTS names a file that cannot be read, so Node will know Remit's certificate only: %v", err)
		}
		nodeCA = append(append(append([]byte(nil), nodeCA...), '\n'), more...)
	}
	if err := os.WriteFile(r.nodeCA, nodeCA, 0o600); err != nil {
		return nil, fmt.Errorf("writing certificates for Node: %w", err)
	}
	set = append(set, [2]string{"NODE_EXTRA_CA_CERTS", r.nodeCA})
	config, err := l.commandConfig(r, inst)
	if err != nil {
		return nil, err
	}
	set = append(set, [2]string{"GIT_CONFIG_COUNT", fmt.Sprint(len(config))})
	for i, kv := range config {
		set = append(set, [2]string{fmt.Sprintf("GIT_CONFIG_KEY_%d", i), kv[0]}, [2]string{fmt.Sprintf("GIT_CONFIG_VALUE_%d", i), kv[1]})
	}
	env = slices.DeleteFunc(slices.Clone(env), func(kv string) bool {
		return slices.ContainsFunc(set, func(s [2]string) bool { return strings.HasPrefix(kv, s[0]+"=") })
	})
	for _, s := range set {
		env = append(env, s[0]+"="+s[1])
	}
	return env, nil
}

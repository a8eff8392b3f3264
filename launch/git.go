package launch

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/remit-dev/remit/client"
)

// copied is what of a person's own git configuration the command's git goes by: who they are and how they like their
// git, nothing that names a program, a host or a secret. safe.directory counts only from this level.
var copied = []string{
	"user.name", "user.email", "user.useconfigonly", "init.defaultbranch", "safe.directory",
	"core.autocrlf", "core.eol", "core.safecrlf", "core.quotepath", "core.precomposeunicode", "core.longpaths", "core.filemode", "core.ignorecase", "core.excludesfile", "core.attributesfile",
	"pull.rebase", "pull.ff", "merge.ff", "merge.conflictstyle", "rebase.autostash", "rebase.autosquash", "rebase.updaterefs",
	"push.default", "push.autosetupremote", "push.followtags", "fetch.prune", "branch.autosetuprebase", "branch.sort", "rerere.enabled",
	"diff.algorithm", "diff.renames", "diff.mnemonicprefix", "color.ui", "commit.verbose", "commit.cleanup", "status.short", "log.date", "http.sslcainfo", "http.sslcapath",
}

// writeGitConfig writes what git reads in place of its person's configuration, through GIT_CONFIG_GLOBAL: nothing is
// written to, or read by the command's git from, the person's own. It is a file because `git clone` clears the
// variables of GIT_CONFIG_COUNT for the processes that it starts.
func (l *Launcher) writeGitConfig(ctx context.Context, r room, inst client.Instance, environ []string) error {
	if err := os.WriteFile(r.ca, inst.CA, 0o600); err != nil {
		return fmt.Errorf("writing the gateway's certificate: %w", err)
	}
	var b bytes.Buffer
	for _, kv := range personConfig(ctx, environ) {
		section, name, _ := strings.Cut(kv[0], ".")
		writeConfig(&b, section, "", name, kv[1])
	}
	writeConfig(&b, "protocol", "ext", "allow", "never")
	writeConfig(&b, "credential", "", "helper", "")
	writeConfig(&b, "core", "", "askPass", "")
	writeConfig(&b, "http", "", "extraHeader", "")
	config, err := l.gatewayConfig(r, inst)
	if err != nil {
		return err
	}
	for _, c := range config {
		writeConfig(&b, c.section, c.sub, c.name, c.value)
	}
	for _, rw := range inst.Rewrites {
		if !within(rw.To, inst.Gateway) {
			return fmt.Errorf("the server sends git to %q, which is not of the gateway %q; nothing is rewritten to anywhere else", rw.To, inst.Gateway)
		}
		for _, from := range rw.From {
			if from == "" {
				return fmt.Errorf("the server rewrites every URL to %q; it must name the upstream", rw.To)
			}
			writeConfig(&b, "url", rw.To, "insteadOf", from)
			// A repository's own pushInsteadOf would come before insteadOf; the longer match wins.
			writeConfig(&b, "url", rw.To, "pushInsteadOf", from)
		}
	}
	if err := os.WriteFile(r.gitconfig, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("writing git's configuration: %w", err)
	}
	return nil
}

// within tells whether u is root or lies below it.
func within(u, root string) bool {
	return u == root || strings.HasPrefix(u, strings.TrimSuffix(root, "/")+"/") && !strings.Contains(u, "..")
}

type setting struct{ section, sub, name, value string }

// gatewayConfig is how git talks to the gateway: with the gateway's certificate authority, Remit's helper and nothing
// that was meant for other hosts.
func (l *Launcher) gatewayConfig(r room, inst client.Instance) ([]setting, error) {
	u, err := url.Parse(inst.Gateway)
	if err == nil && u.Scheme == "http" && u.Hostname() == "127.0.0.1" { // a sandbox's only way out, which needs no password
		host := "http://" + u.Host
		return []setting{{"credential", host, "helper", ""}, {"http", host, "extraHeader", ""}, {"http", host, "followRedirects", "false"}, {"http", host, "proxy", ""}}, nil
	}
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the gateway %q is not an https URL of host and path", inst.Gateway)
	}
	host := "https://" + u.Host
	settings := []setting{
		{"credential", host, "helper", ""},
		{"credential", host, "helper", "!" + shellQuote(l.Self) + " " + CredentialCommand + " " + shellQuote(r.socket)},
		{"credential", host, "useHttpPath", "true"},
		{"http", host, "sslCAInfo", r.ca},
		{"http", host, "sslVerify", "true"},
		{"http", host, "extraHeader", ""},
		{"http", host, "followRedirects", "false"},
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() == "localhost" || ip != nil && ip.IsLoopback() {
		settings = append(settings, setting{"http", host, "proxy", ""}) // a proxy elsewhere cannot reach this host's loopback
	}
	return settings, nil
}

// commandConfig is what the environment says over any file, a repository's own .git/config included: no helper but
// ours is asked, or told, about any password, and no header is added.
func (l *Launcher) commandConfig(r room, inst client.Instance) ([][2]string, error) {
	config := [][2]string{{"credential.helper", ""}, {"core.askPass", ""}, {"http.extraHeader", ""}}
	gateway, err := l.gatewayConfig(r, inst)
	if err != nil {
		return nil, err
	}
	for _, s := range gateway {
		config = append(config, [2]string{s.section + "." + s.sub + "." + s.name, s.value})
	}
	return config, nil
}

// personConfig reads what is copied of the person's system and global configuration. Without git, or without
// configuration, there is nothing to copy.
func personConfig(ctx context.Context, environ []string) [][2]string {
	var out [][2]string
	for _, level := range []string{"--system", "--global"} {
		cmd := exec.CommandContext(ctx, "git", "config", level, "--includes", "--null", "--list")
		cmd.Dir = string(os.PathSeparator) // no repository
		cmd.Env = slices.DeleteFunc(slices.Clone(environ), func(kv string) bool {
			return strings.HasPrefix(kv, "GIT_") && !strings.HasPrefix(kv, "GIT_CONFIG_GLOBAL=") && !strings.HasPrefix(kv, "GIT_CONFIG_SYSTEM=")
		})
		raw, err := cmd.Output()
		if err != nil {
			continue
		}
		for entry := range bytes.SplitSeq(raw, []byte{0}) {
			key, value, ok := strings.Cut(string(entry), "\n") // a key without a value has no line break
			if !ok {
				value = "true"
			}
			if slices.Contains(copied, key) {
				out = append(out, [2]string{key, value})
			}
		}
	}
	return out
}

var configEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`, "\b", `\b`)

// writeConfig writes one value in a section of its own, quoted as git-config(1), "Syntax", says.
func writeConfig(b *bytes.Buffer, section, sub, name, value string) {
	if sub != "" {
		section += ` "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", "").Replace(sub) + `"`
	}
	fmt.Fprintf(b, "[%s]\n\t%s = \"%s\"\n", section, name, configEscapes.Replace(value))
}

// shellQuote makes s one word of sh.
func shellQuote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

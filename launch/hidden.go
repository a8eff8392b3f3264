package launch

import (
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
)

// inHome are the paths below a home directory that confinement home hides: credentials of forges, clouds, registries
// and databases, keys, keychains, browsers' sessions, and Remit's own. The agent's own login (~/.claude, ~/.codex,
// ~/.gemini and the like) is not among them: it opens the model and nothing that Remit guards.
var inHome = []string{
	".ssh", ".gnupg", ".password-store", ".age", ".config/sops", ".config/age", ".step", ".sigstore",
	".git-credentials", ".gitconfig", ".config/git/config", ".config/git/credentials", ".netrc", "_netrc", ".authinfo", ".authinfo.gpg",
	".config/gh", ".config/hub", ".config/glab-cli", ".config/glab", ".config/tea", ".config/forgejo-cli",
	".aws", ".azure", ".config/gcloud", ".boto", ".s3cfg", ".oci", ".bluemix", ".config/doctl", ".config/hcloud", ".config/linode-cli", ".config/rclone", ".fly", ".config/flyctl",
	".kube", ".docker/config.json", ".config/containers/auth.json", ".config/helm/registry", ".config/argocd", ".argocd",
	".vault-token", ".terraform.d/credentials.tfrc.json", ".terraformrc", ".pulumi/credentials.json", ".config/op", ".op", ".config/Bitwarden CLI", ".databrickscfg",
	".npmrc", ".yarnrc.yml", ".config/npm", ".pypirc", ".config/pip/pip.conf", ".pip/pip.conf", ".config/pypoetry/auth.toml", ".cargo/credentials", ".cargo/credentials.toml",
	".gem/credentials", ".bundle/config", ".m2/settings.xml", ".m2/settings-security.xml", ".gradle/gradle.properties", ".nuget/NuGet", ".composer/auth.json", ".config/composer/auth.json",
	".huggingface/token", ".cache/huggingface/token", ".kaggle", ".pgpass", ".my.cnf", ".mylogin.cnf",
	".local/share/keyrings", ".local/share/kwalletd", ".kde/share/apps/kwallet", ".gnome2/keyrings", ".pki",
	".mozilla", ".config/google-chrome", ".config/chromium", ".config/BraveSoftware", ".config/microsoft-edge",
	".config/remit", ".cache/remit", ".local/share/remit", ".local/state/remit",
}

// inRuntime are paths below a user's runtime directory: sockets at which keys can be used or another process can be
// told to act as the person.
var inRuntime = []string{
	"bus", "systemd", "keyring", "gcr", "gnupg", "ssh-agent.socket", "openssh_agent", "ssh-agent", "kwallet5.socket", "docker.sock", "docker", "podman", "containerd", "buildkit", "tmux",
	"remit", // sessions
}

// onSystem are sockets of the whole machine that give their caller another one's rights.
var onSystem = []string{
	"/run/docker.sock", "/var/run/docker.sock", "/run/podman", "/run/containerd", "/run/crio", "/run/buildkit", "/run/snapd.socket", "/var/lib/incus/unix.socket", "/var/snap/lxd/common/lxd/unix.socket",
}

// named are variables whose values are paths to hide, wherever they point.
var named = []string{
	"SSH_AUTH_SOCK", "KUBECONFIG", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "GOOGLE_APPLICATION_CREDENTIALS", "CLOUDSDK_CONFIG", "AZURE_CONFIG_DIR",
	"GH_CONFIG_DIR", "GLAB_CONFIG_DIR", "DOCKER_CONFIG", "GNUPGHOME", "NETRC", "PGPASSFILE", "NPM_CONFIG_USERCONFIG", "npm_config_userconfig", "PIP_CONFIG_FILE", "GIT_CONFIG_GLOBAL", "PASSWORD_STORE_DIR",
}

// hidden are the paths that confinement home hides from a command whose person has this environment, whether they
// exist or not, sorted.
func hidden(environ []string) []string {
	var out []string
	add := func(base string, names []string) {
		for _, n := range names {
			out = append(out, filepath.Join(base, n))
		}
	}
	for _, home := range homesOf(environ) {
		add(home, inHome)
	}
	if config, ok := lookup(environ, "XDG_CONFIG_HOME"); ok && filepath.IsAbs(config) {
		for _, n := range inHome {
			if rest, err := filepath.Rel(".config", n); err == nil && filepath.IsLocal(rest) {
				out = append(out, filepath.Join(config, rest))
			}
		}
	}
	if data, ok := lookup(environ, "XDG_DATA_HOME"); ok && filepath.IsAbs(data) {
		add(data, []string{"keyrings", "kwalletd", "remit"})
	}
	if state, ok := lookup(environ, "XDG_STATE_HOME"); ok && filepath.IsAbs(state) {
		add(state, []string{"remit"})
	}
	if cache, ok := lookup(environ, "XDG_CACHE_HOME"); ok && filepath.IsAbs(cache) {
		add(cache, []string{"remit"})
	}
	uid := strconv.Itoa(os.Geteuid())
	add("/run/user/"+uid, inRuntime)
	if run, ok := lookup(environ, "XDG_RUNTIME_DIR"); ok && filepath.IsAbs(run) {
		add(run, inRuntime)
	}
	tmux, ok := lookup(environ, "TMUX_TMPDIR")
	if !ok {
		tmux = "/tmp"
	}
	out = append(out, filepath.Join(tmux, "tmux-"+uid), "/run/screen/S-"+filepath.Base(filepath.Join("/", value(environ, "USER"))))
	for _, n := range named {
		for _, p := range filepath.SplitList(value(environ, n)) { // KUBECONFIG is a list
			if filepath.IsAbs(p) {
				out = append(out, p)
			}
		}
	}
	out = append(out, onSystem...)
	slices.Sort(out)
	return slices.Compact(out)
}

// homesOf are the home that environ names, and the account's own: HOME may have been set to another.
func homesOf(environ []string) []string {
	homes := []string{value(environ, "HOME")}
	if u, err := user.LookupId(strconv.Itoa(os.Geteuid())); err == nil {
		homes = append(homes, u.HomeDir)
	}
	for _, home := range homes {
		if real, err := filepath.EvalSymlinks(home); err == nil {
			homes = append(homes, real)
		}
	}
	homes = slices.DeleteFunc(homes, func(home string) bool { return !filepath.IsAbs(home) })
	slices.Sort(homes)
	return slices.Compact(homes)
}

func value(environ []string, name string) string {
	v, _ := lookup(environ, name)
	return v
}

// present are those of paths that exist, and what they stand for: symbolic links resolved, among them those that lie
// directly in a hidden directory and lead out of it. What lies below another of them is left out; nothing is the root.
func present(paths []string) []string {
	var found []string
	add := func(p string) {
		if real, err := filepath.EvalSymlinks(p); err == nil && real != string(os.PathSeparator) {
			found = append(found, real)
		}
	}
	for _, p := range paths {
		if !filepath.IsAbs(p) {
			continue
		}
		add(p)
		entries, err := os.ReadDir(p)
		if err != nil {
			continue // not a directory, or not there
		}
		for _, e := range entries {
			full := filepath.Join(p, e.Name())
			if fi, err := os.Stat(full); e.Type()&os.ModeSymlink != 0 && err == nil && fi.Mode().IsRegular() {
				add(full)
			}
		}
	}
	slices.Sort(found)
	found = slices.Compact(found)
	var out []string
	for _, p := range found {
		if !slices.ContainsFunc(out, func(above string) bool {
			rel, err := filepath.Rel(above, p)
			return err == nil && filepath.IsLocal(rel)
		}) {
			out = append(out, p)
		}
	}
	return out
}

package shell

import (
	"path"
	"slices"
	"strings"
)

// File says what reading or writing one file would be, as Classify would say it of a command that does it. It is for
// tools that take a path and no command.
func File(name string, write bool, o Options) Finding {
	w := newWalker(o)
	if name == "" || len(name) > maxCommand || strings.ContainsRune(name, 0) {
		w.deny(WhyDynamic)
		return w.finding()
	}
	name = path.Clean(name) // as such tools take it, before they look at the disk
	if write {
		w.write(arg{s: name}, dirs{w.o.Dir})
	} else {
		w.read(arg{s: name}, dirs{w.o.Dir}, content)
	}
	return w.finding()
}

// depthOf is how much of what it is given a program reads.
type depthOf int

const (
	nothing depthOf = iota // it is no path
	names                  // that it is there, and what lies directly in it
	content                // what is in it
	below                  // everything that lies below it
)

// resolve makes a path absolute, as text.
func resolve(dir, name string) string {
	if path.IsAbs(name) {
		return path.Clean(name)
	}
	return path.Join(dir, name)
}

// resolved is resolve within the limits: longer paths do not exist (PATH_MAX).
func (w *walker) resolved(dir, name string) (string, bool) {
	if !w.spend() || len(dir)+len(name) > maxPath {
		w.deny(WhyLimit)
		return "", false
	}
	w.nodes += (len(dir) + len(name)) / 128
	return resolve(dir, name), true
}

// under tells whether p lies below root, and where. Root itself is "".
func under(root, p string) (rel string, ok bool) {
	if root == "" || !path.IsAbs(root) {
		return "", false
	}
	root = path.Clean(root)
	if p == root {
		return "", true
	}
	return strings.CutPrefix(p, strings.TrimSuffix(root, "/")+"/")
}

// climbs tells whether a path goes up.
func climbs(name string) bool { return slices.Contains(strings.Split(name, "/"), "..") }

// write judges that something is made, changed or taken away at a path.
func (w *walker) write(a arg, in dirs) {
	if a.dynamic || a.s == "" {
		w.deny(WhyDynamic)
		return
	}
	if a.s == "/dev/null" || a.s == "/dev/stdout" || a.s == "/dev/stderr" {
		return
	}
	w.atLeast(Write)
	for _, dir := range in {
		p, ok := w.resolved(dir, a.s)
		if !ok {
			return
		}
		// Above a symbolic link lies another directory than its name says.
		if climbs(a.s) && (dir != w.o.Dir || climbs(strings.TrimLeft(a.s, "./"))) {
			w.deny(WhyOutside)
		}
		rel, ok := under(w.o.Tree, p)
		switch {
		case !ok || rel == "" || !path.IsAbs(p):
			w.deny(WhyOutside)
			continue
		case control(rel, a.glob) || w.executable(p):
			w.deny(WhyControl)
		case secretPath("/" + rel):
			w.deny(WhySecret)
		}
		w.writes[rel] = true
	}
}

// executable tells whether programs are looked for where p lies.
func (w *walker) executable(p string) bool {
	if w.o.Env == nil {
		return false
	}
	list, _ := w.o.Env("PATH")
	return slices.ContainsFunc(strings.Split(list, ":"), func(dir string) bool {
		if !path.IsAbs(dir) {
			return false
		}
		_, in := under(dir, p)
		_, holds := under(p, path.Clean(dir))
		return in || holds
	})
}

// The control surface: what is run or obeyed later by git, shells, editors, agents, package managers and build services,
// or says how. Compared without case, since some file systems have none.
var (
	controlDirs = set(`.git .claude .codex .gemini .cursor .copilot .opencode .goose .remit .vscode .idea .husky .githooks .devcontainer .direnv
		.circleci .buildkite .gitlab .woodpecker .forgejo .gitea .ssh .config`)
	controlFiles = set(`makefile gnumakefile makefile.am package.json .npmrc .yarnrc .yarnrc.yml .pnpmfile.cjs bunfig.toml .envrc .mcp.json .gitmodules .gitconfig
		.gitattributes .bashrc .bash_profile .bash_login .bash_logout .bash_aliases .profile .zshrc .zshenv .zprofile .zlogin .zlogout .inputrc .vimrc .exrc .nvimrc .gdbinit .lldbinit
		.pre-commit-config.yaml lefthook.yml .lefthook.yml .gitlab-ci.yml .travis.yml .drone.yml .woodpecker.yml azure-pipelines.yml bitbucket-pipelines.yml
		appveyor.yml jenkinsfile justfile .justfile taskfile.yml taskfile.yaml rakefile procfile sitecustomize.py usercustomize.py .pythonrc .pythonrc.py
		.aider.conf.yml .opencode.json opencode.json .goosehints .mise.toml mise.toml .tool-versions devcontainer.json`)
	// Below .github only these are obeyed; the directory itself and its ways to them are, too.
	controlBelow = map[string]map[string]bool{".github": set(`workflows actions hooks agents dependabot.yml`), "node_modules": set(`.bin`)}
)

// control tells whether a path within the tree is of the control surface.
func control(rel string, glob bool) bool {
	parts := strings.Split(strings.ToLower(rel), "/")
	for i, part := range parts {
		last := i == len(parts)-1
		// Windows and some servers fold these to the name without.
		part = strings.TrimRight(part, " .")
		if part == "" {
			part = parts[i]
		}
		if glob && strings.ContainsAny(part, `*?[\`) {
			if strings.HasPrefix(part, ".") || !last || matchesAny(part, controlFiles) || matchesAny(part, controlDirs) {
				return true
			}
			continue
		}
		if controlDirs[part] || last && controlFiles[part] {
			return true
		}
		if below, ok := controlBelow[part]; ok && (last && part == ".github" || !last && (below[parts[i+1]] || glob && strings.ContainsAny(parts[i+1], `*?[\`))) {
			return true
		}
	}
	return false
}

func matchesAny(pattern string, names map[string]bool) bool {
	for name := range names {
		if ok, err := path.Match(pattern, name); ok || err != nil {
			return true
		}
	}
	return false
}

// read judges that something is read at a path.
func (w *walker) read(a arg, in dirs, how depthOf) {
	if how == nothing {
		return
	}
	if a.dynamic {
		w.deny(WhyDynamic)
		return
	}
	for _, dir := range in {
		p, ok := w.resolved(dir, a.s)
		if !ok {
			return
		}
		rel, inTree := under(w.o.Tree, p)
		if a.glob && (!inTree || hidden(rel)) {
			w.deny(WhyDynamic)
		}
		switch {
		case inTree && secretPath("/"+rel), !inTree && (special(p) || secretPath(p) || how == below && w.holdsSecrets(p)):
			w.deny(WhySecret)
		case !path.IsAbs(p) && (how == below || p == ".." || strings.HasPrefix(p, "../")): // nobody said where it runs
			w.deny(WhyOutside)
		}
	}
}

// hidden tells whether a pattern may match names that begin with a dot.
func hidden(rel string) bool {
	return slices.ContainsFunc(strings.Split(rel, "/"), func(part string) bool {
		return strings.HasPrefix(part, ".") && strings.ContainsAny(part, `*?[\`)
	})
}

var (
	secretDirs = set(`.ssh .aws .azure .gnupg .kube .docker .password-store .terraform.d .vault .mozilla .thunderbird keychains keyrings .remit`)
	// What lies in a directory of the first name, and is, or begins with, the second.
	secretPairs = [][2]string{
		{".config", "gh"}, {".config", "gcloud"}, {".config", "remit"}, {".config", "git"}, {".config", "hub"}, {".config", "op"}, {".config", "rclone"},
		{".config", "github-copilot"}, {".config", "google-chrome"}, {".config", "chromium"}, {".config", "containers"}, {".config", "sops"},
		{".cargo", "credentials"}, {".gem", "credentials"}, {".claude", ".credentials"}, {".codex", "auth"}, {".gemini", "oauth"}, {".copilot", "config"},
		{".m2", "settings"}, {".gradle", "gradle.properties"}, {"etc", "shadow"}, {"etc", "gshadow"}, {"etc", "sudoers"}, {"etc", "ssh"}, {"etc", "ssl"}, {"etc", "remit"},
		{"etc", "kubernetes"}, {"etc", "krb5"}, {"etc", "machine-id"}, {"lib", "remit"},
	}
	secretFiles = set(`.netrc _netrc .git-credentials .pypirc .npmrc .vault-token .pgpass .my.cnf .htpasswd .dockercfg .bash_history .zsh_history .python_history
		.env .envrc .claude.json id_rsa id_dsa id_ecdsa id_ed25519 id_ecdsa_sk id_ed25519_sk credentials.json service-account.json kubeconfig`)
	openProc = set(`/proc/cpuinfo /proc/meminfo /proc/version /proc/uptime /proc/loadavg /proc/filesystems /proc/stat`)
	openDev  = set(`/dev/null /dev/zero /dev/random /dev/urandom /dev/stdin /dev/stdout /dev/stderr /dev/fd/0 /dev/fd/1 /dev/fd/2 /dev/fd/63`)
)

// special tells whether a path is no file but a way to processes, devices, services or hosts.
func special(p string) bool {
	return slices.ContainsFunc([]string{"/proc", "/dev", "/run", "/var/run"}, func(root string) bool {
		_, ok := under(root, p)
		return ok && !openProc[p] && !openDev[p]
	})
}

// secretPath tells whether secrets are kept at a path.
func secretPath(p string) bool {
	parts := strings.Split(strings.ToLower(p), "/")
	for i, part := range parts {
		if secretDirs[part] {
			return true
		}
		for _, pair := range secretPairs {
			if part == pair[0] && i+1 < len(parts) && strings.HasPrefix(parts[i+1], pair[1]) {
				return true
			}
		}
	}
	base := parts[len(parts)-1]
	if dotenv, ok := strings.CutPrefix(base, ".env."); ok {
		return dotenv != "example" && dotenv != "sample" && dotenv != "template" && dotenv != "dist"
	}
	return secretFiles[base]
}

// holdsSecrets tells whether a directory outside the tree is one below which homes or secrets lie.
func (w *walker) holdsSecrets(p string) bool {
	for _, place := range []string{w.o.Home, "/root", "/home", "/Users", "/etc/ssh", "/proc", "/run", "/var/run", "/var/lib/remit", "/dev"} {
		if _, ok := under(p, path.Clean(place)); ok && place != "" {
			return true
		}
	}
	for _, homes := range []string{"/home", "/Users"} { // anybody's
		if rel, ok := under(homes, p); ok && !strings.Contains(rel, "/") {
			return true
		}
	}
	rel, ok := under(w.o.Home, p)
	return ok && slices.Contains([]string{".config", ".local", ".cache", ".cargo"}, strings.SplitN(rel, "/", 2)[0])
}

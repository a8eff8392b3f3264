package hook

import (
	"path"
	"slices"
	"strings"
	"unicode"

	sh "github.com/remit-dev/remit/shell"
)

// Paths are judged as text. The server does not see the agent's disk: a symbolic link that leaves the work tree, a
// directory that is mounted elsewhere or a file system that takes two names for one are not seen here, and whether a
// file is there at all is not known. What may not be written must be read-only where the agent runs.

// built are files, and directories of files, that a build or a pipeline runs and nothing runs by itself: who runs a build
// is judged when they do, and what a push arms when it is pushed. People see them there, and ordinary work meets no hold.
var (
	builtFiles = []string{
		"makefile", "gnumakefile", "makefile.am", "package.json", "justfile", ".justfile", "taskfile.yml", "taskfile.yaml", "rakefile", "jenkinsfile", "procfile", ".gitattributes",
		".gitlab-ci.yml", ".travis.yml", ".drone.yml", ".woodpecker.yml", "azure-pipelines.yml", "bitbucket-pipelines.yml", "appveyor.yml", "dependabot.yml", ".tool-versions",
	}
	builtDirs = []string{".github/workflows", ".github/actions", ".forgejo/workflows", ".gitea/workflows", ".circleci", ".buildkite", ".gitlab", ".woodpecker"}
)

// place is where a path is looked for.
type place struct{ dir, tree, home string }

func (l place) options() sh.Options { return sh.Options{Dir: l.dir, Tree: l.tree, Home: l.home} }

func (l place) abs(p string) string {
	if !path.IsAbs(p) {
		p = l.dir + "/" + p
	}
	return path.Clean(p)
}

// oddPath tells whether file systems or hosts may take a path for another: ~ for a home, characters that are not
// printed or that HFS+ leaves out, line breaks, the separator of another system.
func oddPath(p string) bool {
	return p == "" || p[0] == '~' || strings.ContainsFunc(p, func(r rune) bool {
		return r == '\\' || r == unicode.ReplacementChar || !unicode.IsGraphic(r)
	})
}

// below tells whether p is dir or lies in it.
func below(p, dir string) bool {
	return p == dir || strings.HasPrefix(p, strings.TrimSuffix(dir, "/")+"/")
}

// write says why a file is not an ordinary one to change; nil: it is.
func (l place) write(p string) []string {
	if oddPath(p) {
		return []string{"odd-path"}
	}
	why := sh.File(p, true, l.options()).Why
	if slices.Equal(why, []string{sh.WhyControl}) {
		return sh.File(l.unbuilt(p), true, l.options()).Why
	}
	return why
}

// unbuilt gives what only a build or a pipeline runs another name, of which nobody says anything.
func (l place) unbuilt(p string) string {
	parts := strings.Split(l.abs(p), "/")
	for i := range parts {
		for _, dir := range builtDirs {
			want := strings.Split(dir, "/")
			if end := i + len(want); end < len(parts) && strings.EqualFold(strings.Join(parts[i:end], "/"), dir) {
				for j := i; j < end; j++ {
					parts[j] = "x"
				}
			}
		}
	}
	last := len(parts) - 1
	if slices.ContainsFunc(builtFiles, func(name string) bool { return strings.EqualFold(name, parts[last]) }) {
		parts[last] = "x"
		if last > 0 && strings.EqualFold(parts[last-1], ".github") {
			parts[last-1] = "x"
		}
	}
	return strings.Join(parts, "/")
}

// read says why a file is not an ordinary one to read; nil: it is.
func (l place) read(p string) []string {
	if oddPath(p) {
		return []string{"odd-path"}
	}
	return sh.File(p, false, l.options()).Why
}

// search says why reading all that lies below a directory is more than ordinary: then somebody's home, or what belongs to
// processes, could be among it.
func (l place) search(p string) []string {
	abs := l.abs(p)
	if why := l.read(p); len(why) > 0 || below(abs, l.tree) && l.tree != "/" {
		return why
	}
	for _, at := range []string{l.tree, l.home, "/root", "/home", "/Users", "/proc", "/run", "/etc/ssh"} {
		if at != "" && below(path.Clean(at), abs) {
			return []string{sh.WhyOutside}
		}
	}
	for _, homes := range []string{"/root", "/home", "/Users", l.home} {
		if homes != "" && below(abs, homes) {
			return []string{sh.WhyOutside}
		}
	}
	return nil
}

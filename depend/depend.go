// Package depend says what a change of a file means for what a repository depends on: which dependencies it adds, moves
// or drops, where they come from, whether they run code when they are installed, and what is odd about them; what a
// changed workflow file gets wrong; and who owns a path.
//
// All of it is pure functions over old and new contents, which are foreign: sizes and counts are limited, and what
// cannot be read is said, never passed over.
package depend

import (
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// Limits of one comparison.
const (
	MaxFile    = 4 << 20 // bytes of one content
	MaxChanges = 5_000   // listed; beyond it the file is too large to be explained
)

// reader compares two contents of one kind of file; nil stands for a file that is not there.
type reader func(file string, old, new []byte) ([]remit.DependencyChange, error)

var requirements = regexp.MustCompile(`^(requirements|constraints)([._-].*)?\.(txt|in)$`)

// kind gives the reader of a file by its name; nil: there is none. A file system that folds case finds it by any.
func kind(file string) reader {
	file = strings.ToLower(file)
	switch base := path.Base(file); {
	case base == "go.mod":
		return goMod
	case base == "go.sum":
		return goSum
	case base == "package.json":
		return packageJSON
	case base == "package-lock.json", base == "npm-shrinkwrap.json":
		return packageLock
	case requirements.MatchString(base), path.Base(path.Dir(file)) == "requirements" && path.Ext(base) == ".txt":
		return requirementsTxt
	case isWorkflow(file):
		return actions
	case foreign.MatchString(base):
		return unread
	}
	return nil
}

// foreign are files that say what is depended on in a form that is not understood here.
var foreign = regexp.MustCompile(`^(go\.work(\.sum)?|yarn\.lock|pnpm-lock\.yaml|bun\.lockb?|deno\.(json|jsonc|lock)|pyproject\.toml|setup\.(py|cfg)|` +
	`(poetry|uv|pdm|pixi)\.lock|pipfile(\.lock)?|environment\.ya?ml|cargo\.(toml|lock)|gemfile(\.lock)?|.+\.gemspec|composer\.(json|lock)|pom\.xml|` +
	`(build|settings)\.gradle(\.kts)?|gradle\.lockfile|libs\.versions\.toml|packages\.(config|lock\.json)|directory\.packages\.props|.+\.[cfv][bs]proj|` +
	`package\.(swift|resolved)|mix\.(exs|lock)|pubspec\.(yaml|lock)|flake\.(nix|lock)|module\.bazel(\.lock)?)$`)

func unread(file string, _, _ []byte) ([]remit.DependencyChange, error) {
	c := remit.DependencyChange{}
	odd(&c, remit.OddUnread, "it says what is depended on, in a form that is not understood; read the difference")
	return []remit.DependencyChange{c}, nil
}

// Changes compares two contents of a file; nil stands for a file that is not there. A file of no known kind has none.
func Changes(file string, old, new []byte) ([]remit.DependencyChange, error) {
	read := kind(file)
	if read == nil {
		return nil, nil
	}
	if len(old) > MaxFile || len(new) > MaxFile {
		return nil, fmt.Errorf("%s is larger than the %d bytes that are looked at", path.Base(file), MaxFile)
	}
	changes, err := read(file, old, new)
	if err != nil {
		return nil, err
	}
	if len(changes) > MaxChanges {
		return nil, fmt.Errorf("%s changes %d dependencies; at most %d are listed", path.Base(file), len(changes), MaxChanges)
	}
	for i := range changes {
		changes[i].File = file
	}
	remit.SortDependencies(changes)
	return changes, nil
}

// Explainer says what a changed file means, whatever is in it.
type Explainer struct{}

// Explains tells whether there is anything to say of files of that name.
func (Explainer) Explains(file string) bool { return kind(file) != nil }

// Explain is Changes and the findings about a workflow. What cannot be read is a change with the finding OddUnread.
func (Explainer) Explain(file string, old, new []byte) ([]remit.DependencyChange, []remit.WorkflowFinding) {
	changes, err := Changes(file, old, new)
	if err != nil {
		changes = []remit.DependencyChange{{File: file, Findings: []string{remit.OddUnread}, Text: "cannot be explained: " + err.Error()}}
	}
	return changes, Workflow(file, old, new)
}

// Owners reads a CODEOWNERS file.
func (Explainer) Owners(file []byte) func(string) []string { return ParseOwners(file).Of }

// dep is one dependency as a file states it.
type dep struct {
	version, source string
	scripts         bool
}

// differ compares what two versions of a file state; ecosystem and findings are the caller's to add.
func differ(ecosystem string, old, new map[string]dep) []remit.DependencyChange {
	var out []remit.DependencyChange
	for name, n := range new {
		o, was := old[name]
		if was && o == n {
			continue
		}
		c := remit.DependencyChange{Ecosystem: ecosystem, Name: name, From: o.version, To: n.version, Registry: n.source, Elsewhere: n.source != "",
			New: !was, Scripts: n.scripts && !o.scripts}
		if was && o.version == n.version && o.source != n.source {
			than := ""
			if o.source != "" {
				than = " than " + o.source
			}
			odd(&c, remit.OddSource, "the version is the same, but it comes from elsewhere"+than)
		}
		out = append(out, c)
	}
	for name, o := range old {
		if _, is := new[name]; !is {
			out = append(out, remit.DependencyChange{Ecosystem: ecosystem, Name: name, From: o.version})
		}
	}
	return out
}

// odd adds to what is odd about c.
func odd(c *remit.DependencyChange, kind, text string) {
	if !slices.Contains(c.Findings, kind) {
		c.Findings = append(c.Findings, kind)
	}
	if c.Text != "" {
		c.Text += "; "
	}
	c.Text += text
}

// host is what of an address tells people where something comes from.
func host(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	if u.Scheme != "https" {
		return u.Scheme + "://" + u.Host
	}
	return u.Host
}

// Package depend says what a change of a file means for what a repository depends on: which dependencies it adds, moves
// or drops, where they come from, whether they run code when they are installed, and what is odd about them; what a
// changed workflow file gets wrong; and who owns a path.
//
// All of it is pure functions over old and new contents, which are foreign: sizes and counts are limited, and what
// cannot be read is said, never passed over.
package depend

import (
	"cmp"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Limits of one comparison.
const (
	MaxFile    = 4 << 20 // bytes of one content
	MaxChanges = 5_000   // listed; beyond it the file is too large to be explained
)

// Change is one dependency that a change of a file adds, moves or drops, or something odd about one.
type Change struct {
	Ecosystem string // go, npm, pypi, actions
	Name      string
	From, To  string // versions; empty: it is not there
	Source    string // where To comes from, if that is not where the others do: host, address, path
	New       bool   // nothing of that name was there
	Scripts   bool   // it runs code when it is installed
	Finding   string // what is odd about it; empty: nothing
	File      string
}

// String is the change on one line.
func (c Change) String() string {
	var b strings.Builder
	switch {
	case c.From == c.To:
		fmt.Fprintf(&b, "%s %s", c.Name, c.To)
	case c.New:
		fmt.Fprintf(&b, "new %s %s", c.Name, c.To)
	case c.To == "":
		fmt.Fprintf(&b, "drops %s %s", c.Name, c.From)
	default:
		fmt.Fprintf(&b, "%s %s -> %s", c.Name, c.From, c.To)
	}
	if c.Source != "" {
		b.WriteString(" from " + c.Source)
	}
	if c.Scripts {
		b.WriteString(", runs a script when installed")
	}
	if c.Finding != "" {
		b.WriteString(" (!) " + c.Finding)
	}
	return b.String()
}

// reader compares two contents of one kind of file; nil stands for a file that is not there.
type reader func(file string, old, new []byte) ([]Change, error)

var requirements = regexp.MustCompile(`^(requirements|constraints)([._-].*)?\.(txt|in)$`)

// kind gives the reader of a file by its name; nil: there is none.
func kind(file string) reader {
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
	}
	return nil
}

// Changes compares two contents of a file; nil stands for a file that is not there. A file of no known kind has none.
func Changes(file string, old, new []byte) ([]Change, error) {
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
	// What is odd or new stands first: it is what a reader of a shortened list must see.
	slices.SortStableFunc(changes, func(a, b Change) int {
		return cmp.Or(cmp.Compare(a.rank(), b.rank()), strings.Compare(a.Name, b.Name), strings.Compare(a.To, b.To))
	})
	return changes, nil
}

func (c Change) rank() int {
	switch {
	case c.Finding != "":
		return 0
	case c.Scripts:
		return 1
	case c.New:
		return 2
	case c.Source != "":
		return 3
	}
	return 4
}

// Explainer says it in lines for people.
type Explainer struct{}

// Explains tells whether there is anything to say of files of that name.
func (Explainer) Explains(file string) bool { return kind(file) != nil }

// Explain is Changes and the findings about a workflow, one a line.
func (Explainer) Explain(file string, old, new []byte) []string {
	changes, err := Changes(file, old, new)
	var out []string
	if err != nil {
		out = append(out, "(!) cannot be explained: "+err.Error())
	}
	for _, c := range changes {
		out = append(out, c.String())
	}
	for _, f := range Workflow(file, old, new) {
		out = append(out, "(!) "+f)
	}
	return out
}

// Owners reads a CODEOWNERS file.
func (Explainer) Owners(file []byte) func(string) []string { return ParseOwners(file).Of }

// dep is one dependency as a file states it.
type dep struct {
	version, source string
	scripts         bool
}

// differ compares what two versions of a file state; ecosystem and findings are the caller's to add.
func differ(ecosystem string, old, new map[string]dep) []Change {
	var out []Change
	for name, n := range new {
		o, was := old[name]
		if was && o == n {
			continue
		}
		c := Change{Ecosystem: ecosystem, Name: name, From: o.version, To: n.version, Source: n.source, New: !was, Scripts: n.scripts && !o.scripts}
		if was && o.version == n.version && o.source != n.source {
			c.Finding = "the version is the same, but it comes from elsewhere"
			if o.source != "" {
				c.Finding += " than " + o.source
			}
		}
		out = append(out, c)
	}
	for name, o := range old {
		if _, is := new[name]; !is {
			out = append(out, Change{Ecosystem: ecosystem, Name: name, From: o.version})
		}
	}
	return out
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

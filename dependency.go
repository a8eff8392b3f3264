package remit

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Limits of what a request says of changed files besides their paths, for all of its refs together. What goes beyond
// them is left out, and said to be.
const (
	MaxDependencies = 200
	MaxWorkflows    = 100 // findings
	MaxOwnerships   = 100
)

// What is odd about a change of a dependency, as DependencyChange.Findings has it.
const (
	OddContent  = "content-changed" // the version is the same, what it stands for is not
	OddSource   = "source-changed"  // the version is the same, where it comes from is not
	OddUnasked  = "unasked"         // the lock file changes, and what asks for it does not
	OddAlias    = "alias"           // it is really a package of another name
	OddAddress  = "other-address"   // its address in the registry is that of another package
	OddUnbound  = "unbound"         // nothing binds its content
	OddPlain    = "no-tls"          // it is fetched, or its host is trusted, without a check
	OddDirect   = "direct"          // it comes from an address, a directory or a repository of source
	OddReplaced = "replaced"        // it replaces what others ask for
	OddUnpinned = "unpinned"        // its version is not one version
	OddIndex    = "index"           // it says where all packages come from
	OddScript   = "script"          // it is a script of the project itself, run when it is installed
	OddUnread   = "unread"          // the file cannot be read, or not in full: anything may have changed
)

// DependencyChange is one dependency that a change of a file adds, moves or drops, or something odd about one.
type DependencyChange struct {
	File      string `json:"file"`
	Ecosystem string `json:"ecosystem"` // go, npm, pypi, actions; empty: of a file that cannot be read
	Name      string `json:"name"`
	From      string `json:"from"` // version; empty: it was not there
	To        string `json:"to"`   // version; empty: it is dropped
	// Registry is where To comes from as the file says it: a host, http://HOST where it is fetched without TLS, what a
	// replacement names; empty: the file does not say.
	Registry  string   `json:"registry"`
	Elsewhere bool     `json:"elsewhere"` // not from where the others of the file come from
	New       bool     `json:"new"`       // nothing of that name was there
	Scripts   bool     `json:"scripts"`   // it runs code when it is installed
	Past      bool     `json:"past"`      // in between only: the last of the new commits does not have it
	Findings  []string `json:"findings"`  // the Odd constants
	Text      string   `json:"text"`      // the findings for people
}

// String is the change on one line.
func (c DependencyChange) String() string {
	var b strings.Builder
	switch {
	case c.Name == "":
	case c.From == c.To:
		b.WriteString(strings.TrimSuffix(c.Name+" "+c.To, " "))
	case c.New:
		fmt.Fprintf(&b, "new %s %s", c.Name, c.To)
	case c.To == "":
		fmt.Fprintf(&b, "drops %s %s", c.Name, c.From)
	default:
		fmt.Fprintf(&b, "%s %s -> %s", c.Name, c.From, c.To)
	}
	if c.Elsewhere {
		b.WriteString(" from " + c.Registry)
	}
	if c.Scripts {
		b.WriteString(", runs a script when installed")
	}
	if c.Text != "" {
		b.WriteString(" (!) " + c.Text)
	}
	return strings.TrimSpace(b.String())
}

// SortDependencies puts what is odd or new first: it is what must be seen of a list that is cut.
func SortDependencies(list []DependencyChange) {
	rank := func(c DependencyChange) int {
		switch {
		case len(c.Findings) > 0:
			return 0
		case c.Scripts:
			return 1
		case c.New:
			return 2
		case c.Elsewhere:
			return 3
		}
		return 4
	}
	slices.SortStableFunc(list, func(a, b DependencyChange) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), strings.Compare(a.File, b.File), strings.Compare(a.Name, b.Name), strings.Compare(a.To, b.To),
			strings.Compare(a.From, b.From))
	})
}

// WorkflowFinding is what is wrong with a changed workflow file that was not wrong before.
type WorkflowFinding struct {
	Path string `json:"path"`
	Line int    `json:"line"` // from 1; 0: the file as a whole
	Kind string `json:"kind"` // the rule of actionlint; unread: the file could not be looked at
	Text string `json:"text"`
}

// String is the finding on one line.
func (f WorkflowFinding) String() string {
	if f.Kind == OddUnread {
		return "(!) " + f.Text
	}
	return "(!) " + f.Text + " [" + f.Kind + "]"
}

// Ownership counts the changed paths that the same owners have, by the CODEOWNERS file of the trusted branch.
type Ownership struct {
	Owners []string `json:"owners"` // as the file writes them, in its order
	Paths  int      `json:"paths"`
	Path   string   `json:"path"` // the first of them
}

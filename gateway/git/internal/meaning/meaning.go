// Package meaning says what the changed files of a push mean: to policy as facts, to people as the words of a card.
package meaning

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/change"
)

// Explainer says of changed files what policy judges and what a person should know before they decide: which
// dependencies change, what is wrong with a workflow, who owns a path.
type Explainer interface {
	// Explains tells whether Explain has anything to say of files of that name.
	Explains(path string) bool
	// Explain compares two contents; nil stands for a file that is not there.
	Explain(path string, old, new []byte) ([]remit.DependencyChange, []remit.WorkflowFinding)
	// Owners reads a CODEOWNERS file.
	Owners(file []byte) func(path string) []string
}

// Limits of what is said of one push.
const (
	maxOwned  = 1000 // paths whose owners are looked up
	maxOwners = 16   // of one path
	maxFact   = 160  // bytes of a name, a version, a text
	maxNotes  = 20   // files, on a card
	maxNote   = 600  // bytes of one file's words
)

// Meaning is what the changed files of a push mean. It is found once: policy judges what people are shown.
type Meaning struct {
	files    map[change.Change]Said
	owners   func(path string) []string // nil: nobody owns anything
	explains func(path string) bool     // nil: nothing is explained

	dependencies, workflows, owned int // that a request has room for
}

// Said is what one changed file means.
type Said struct {
	Dependencies []remit.DependencyChange
	Workflows    []remit.WorkflowFinding
}

// New is the meaning of files that were explained; owners and explains may be nil.
func New(files map[change.Change]Said, owners func(path string) []string, explains func(path string) bool) *Meaning {
	return &Meaning{files: files, owners: owners, explains: explains,
		dependencies: remit.MaxDependencies, workflows: remit.MaxWorkflows, owned: maxOwned}
}

// Facts adds to c what its changes mean, as far as there is room.
func (m *Meaning) Facts(c *remit.RefChange, changes []change.Change) {
	byOwner := map[string]*remit.Ownership{}
	for _, ch := range changes {
		of, known := m.files[ch]
		c.Truncated = c.Truncated || !known && m.explains != nil && m.explains(ch.Path)
		for _, d := range of.Dependencies {
			d.File, d.Name, d.From, d.To, d.Registry = clipFact(change.Readable(d.File), 3*maxFact), fact(d.Name), fact(d.From), fact(d.To), fact(d.Registry)
			d.Text, d.Past = clipFact(change.Scrub(d.Text), 2*maxFact), ch.InHistoryOnly
			c.Dependencies = append(c.Dependencies, d)
		}
		for _, f := range of.Workflows {
			f.Path, f.Kind, f.Text = clipFact(change.Readable(f.Path), 3*maxFact), fact(f.Kind), clipFact(change.Scrub(f.Text), 2*maxFact)
			c.Workflows = append(c.Workflows, f)
		}
		if m.owners == nil {
			continue
		}
		if m.owned--; m.owned < 0 {
			c.Truncated = true
			continue
		}
		who := m.owners(ch.Path)
		if len(who) == 0 {
			continue
		}
		key := strings.Join(who, " ")
		if byOwner[key] == nil {
			byOwner[key] = &remit.Ownership{Path: clipFact(change.Readable(ch.Path), 3*maxFact)}
			for _, o := range who[:min(len(who), maxOwners)] {
				byOwner[key].Owners = append(byOwner[key].Owners, fact(o))
			}
			c.Truncated = c.Truncated || len(who) > maxOwners
		}
		byOwner[key].Paths++
	}
	for _, key := range slices.Sorted(maps.Keys(byOwner)) {
		c.Owners = append(c.Owners, *byOwner[key])
	}
	remit.SortDependencies(c.Dependencies)
	c.Dependencies = cut(c, c.Dependencies, &m.dependencies)
	c.Workflows = cut(c, c.Workflows, &m.workflows)
	room := remit.MaxOwnerships
	c.Owners = cut(c, c.Owners, &room)
}

// cut takes what there is room for.
func cut[T any](c *remit.RefChange, list []T, room *int) []T {
	if len(list) > *room {
		list, c.Truncated = list[:*room], true
	}
	*room -= len(list)
	return list
}

// fact is a name as policy compares it: what does not show is written out, so that nothing passes for something else.
func fact(s string) string {
	if s == "" {
		return ""
	}
	return clipFact(change.Visible(s), maxFact)
}

// clipFact marks what was cut, so that the beginning of a name does not pass for the name.
func clipFact(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return change.Clip(s, n) + "…"
}

// Notes are the words about changes on a card that shows the first n of them, by path. What is explained is moved to the
// front, so that no number of other changes pushes it off the card.
func (m *Meaning) Notes(changes []change.Change, n int) map[string]string {
	explained := func(c change.Change) bool {
		_, ok := m.files[c]
		return ok
	}
	slices.SortStableFunc(changes, func(a, b change.Change) int { return rank(explained(b)) - rank(explained(a)) })
	out := map[string]string{}
	for i, c := range changes {
		if !explained(c) {
			break
		}
		if i == maxNotes {
			left := len(slices.DeleteFunc(slices.Clone(changes[i:]), func(c change.Change) bool { return !explained(c) }))
			out[c.Path] = fmt.Sprintf("this and %d more files of its kind are not explained", left-1)
			break
		}
		if words := note(m.files[c]); words != "" {
			out[c.Path] = words
		}
	}
	if m.owners == nil {
		return out
	}
	for _, c := range changes[:min(len(changes), n)] {
		if who := m.owners(c.Path); len(who) > 0 {
			words := "owned by " + change.Clip(change.Scrub(strings.Join(who, " ")), maxFact)
			out[c.Path] = strings.TrimSuffix(words+"; "+out[c.Path], "; ")
		}
	}
	return out
}

func rank(b bool) int {
	if b {
		return 1
	}
	return 0
}

// clipNote cuts the middle of what is said: a name that somebody made long shall not push the finding after it out.
func clipNote(l string) string {
	if len(l) <= maxFact {
		return l
	}
	head, finding, found := strings.Cut(l, " (!) ")
	if !found {
		return change.Clip(l, maxFact) + "…"
	}
	finding = change.Clip(finding, maxFact*3/4)
	return change.Clip(head, maxFact-len(finding)) + "… (!) " + finding
}

// note joins what is said of one file.
func note(of Said) string {
	var lines []string
	for _, d := range of.Dependencies {
		lines = append(lines, d.String())
	}
	for _, f := range of.Workflows {
		lines = append(lines, f.String())
	}
	var b strings.Builder
	for i, l := range lines {
		l = clipNote(change.Scrub(l))
		if b.Len()+len(l)+40 > maxNote {
			fmt.Fprintf(&b, "; and %d more", len(lines)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(l)
	}
	return b.String()
}

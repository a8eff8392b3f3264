package git

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// lister takes each line of a file deps.txt for a dependency, and knows what is odd about one.
type lister struct{}

func (lister) Explains(path string) bool { return strings.HasSuffix(strings.ToLower(path), "deps.txt") }

func (lister) Explain(file string, old, new []byte) (out []remit.DependencyChange, found []remit.WorkflowFinding) {
	for _, line := range strings.Fields(string(new)) {
		d := remit.DependencyChange{File: file, Name: line, New: !slices.Contains(strings.Fields(string(old)), line)}
		if strings.HasPrefix(line, "evil") {
			d.Findings, d.Text = []string{remit.OddContent}, "it is evil"
			found = append(found, remit.WorkflowFinding{Path: file, Line: 1, Kind: "evil", Text: "evil\x1b[31m"})
		}
		out = append(out, d)
	}
	return out, found
}

func (lister) Owners(file []byte) func(string) []string {
	return func(path string) []string {
		if strings.HasSuffix(path, ".go") {
			return strings.Fields(string(file))
		}
		return nil
	}
}

// What people are shown of a push, policy judges: the same values, of a push and of what Remit itself makes.
func TestRequestsSayWhatFilesMean(t *testing.T) {
	w := newWorld(t, func(_ *world, c *Config) { c.Explainer = lister{} })
	dir := w.clone()
	w.write(dir, "deps.txt", "a")
	w.write(dir, "CODEOWNERS", "@mia @noa")
	w.commit(dir, "base")
	w.git(dir, "push", "-q", w.bare, "main")
	w.git(dir, "checkout", "-q", "-b", "remit/T-1/x")
	w.write(dir, "deps.txt", "a b evil-\u202egnp")
	w.write(dir, "CODEOWNERS", "@agent")
	w.write(dir, "x/Deps.TXT", "in-another-case")
	w.write(dir, "past/deps.txt", "evil-past")
	w.write(dir, "a.go", "x")
	w.write(dir, "b.go", "x")
	if err := os.Symlink("deps.txt", filepath.Join(dir, "link-deps.txt")); err != nil {
		t.Fatal(err)
	}
	w.write(dir, "large-deps.txt", strings.Repeat("x\n", maxExplain))
	w.commit(dir, "update")
	w.git(dir, "rm", "-q", "past/deps.txt")
	w.git(dir, "commit", "-q", "-m", "and back")
	w.git(dir, "push", "-q", w.url(), "HEAD")
	req, _ := w.last()
	ref := req.Refs[0]
	var got []string
	for _, d := range ref.Dependencies {
		got = append(got, fmt.Sprintf("%s %s new=%v past=%v %v", d.File, d.Name, d.New, d.Past, d.Findings))
	}
	want := []string{
		`deps.txt "evil-\u202egnp" new=true past=false [content-changed]`,
		`large-deps.txt  new=false past=false [unread]`,
		`link-deps.txt  new=false past=false [unread]`,
		`past/deps.txt evil-past new=true past=true [content-changed]`,
		`deps.txt b new=true past=false []`,
		`x/Deps.TXT in-another-case new=true past=false []`,
		`deps.txt a new=false past=false []`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if len(ref.Workflows) != 2 || ref.Workflows[0].Text != "evil?[31m" {
		t.Errorf("%+v", ref.Workflows)
	}
	// The owners are those of the trusted branch.
	if len(ref.Owners) != 1 || !slices.Equal(ref.Owners[0].Owners, []string{"@mia", "@noa"}) || ref.Owners[0].Paths != 2 || ref.Owners[0].Path != "a.go" {
		t.Errorf("%+v", ref.Owners)
	}
	if ref.Truncated {
		t.Error("nothing is left out")
	}
	for _, p := range w.shown().Paths {
		if p.Path == "large-deps.txt" && !strings.Contains(p.Note, "cannot be explained: it is larger than") {
			t.Errorf("the card says %q", p.Note)
		}
	}
	head := strings.TrimSpace(w.git(dir, "rev-parse", "HEAD"))
	made, err := w.gw.Merge(t.Context(), gateway.Making{Repo: w.repo.Name, Ref: "refs/heads/main", Merge: head, Name: "coder", When: w.gw.Now(), Message: "m"})
	if err != nil {
		t.Fatal(err)
	}
	if n := len(made.Ref.Dependencies); n != len(want) {
		t.Errorf("a merge of it has %d: %+v", n, made.Ref.Dependencies)
	}
}

// What is left out is said, and what is odd is not.
func TestRequestsSayThatThereIsMore(t *testing.T) {
	w := newWorld(t, func(_ *world, c *Config) { c.Explainer = lister{} })
	dir := w.clone()
	w.git(dir, "checkout", "-q", "-b", "remit/T-1/x")
	var many strings.Builder
	for i := range remit.MaxDependencies {
		fmt.Fprintf(&many, "d%d\n", i)
	}
	w.write(dir, "deps.txt", many.String())
	w.commit(dir, "as many as there may be")
	w.git(dir, "push", "-q", w.url(), "HEAD")
	req, _ := w.last()
	if r := req.Refs[0]; len(r.Dependencies) != remit.MaxDependencies || r.Truncated {
		t.Fatalf("%d, truncated %v", len(r.Dependencies), r.Truncated)
	}
	w.write(dir, "deps.txt", many.String()+"evil\n")
	w.commit(dir, "one more")
	w.git(dir, "push", "-q", w.url(), "HEAD")
	req, _ = w.last()
	if r := req.Refs[0]; len(r.Dependencies) != remit.MaxDependencies || !r.Truncated || r.Dependencies[0].Name != "evil" {
		t.Fatalf("%d, truncated %v, first %+v", len(r.Dependencies), r.Truncated, r.Dependencies[0])
	}
	w.git(dir, "checkout", "-q", "-b", "remit/T-1/y", "origin/main")
	for i := range maxExplained + 1 {
		w.write(dir, fmt.Sprintf("%03d/deps.txt", i), "a")
	}
	w.commit(dir, "more files than are looked at")
	w.git(dir, "push", "-q", w.url(), "HEAD")
	req, _ = w.last()
	if r := req.Refs[0]; len(r.Dependencies) != maxExplained || !r.Truncated {
		t.Fatalf("%d, truncated %v", len(r.Dependencies), r.Truncated)
	}
}

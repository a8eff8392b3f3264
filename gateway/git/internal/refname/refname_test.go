package refname

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

var good = []string{
	"refs/heads/main", "refs/heads/remit/T-12/fix", "refs/tags/v1.2.3", "refs/heads/größe", "refs/heads/a.b/c-d_e",
	"refs/heads/feature/heads", "refs/heads/x@y", "refs/heads/{x}", "refs/tags/release/2027-01",
}

// Names that git's server takes and that mean harm, then names that git refuses as well.
var bad = []string{
	"refs/pull/1/head", "refs/merge-requests/1/head", "refs/meta/config", "refs/for/main", "refs/changes/01/1/1",
	"refs/notes/x", "refs/remotes/origin/main", "refs/stash", "refs/replace/" + strings.Repeat("a", 40), "refs/gittuf/policy",
	"refs/heads/HEAD", "refs/heads/x/head", "refs/heads/FETCH_HEAD", "refs/heads/refs/heads/main", "refs/heads/tags/v1",
	"refs/heads/heads/x", "refs/heads/remotes/origin/x", "refs/heads/-x", "refs/heads/\u202emain", "refs/heads/ma\u200bin",
	"refs/heads/main\u00ad", "refs/heads/gro\u0308sse", "refs/heads/\xffx", "refs/heads/" + strings.Repeat("a", 40),
	"refs/heads/con", "refs/heads/" + strings.Repeat("x", 200), "HEAD", "main", "Refs/heads/x", "refs/Heads/x", "refs/headsx/y",
	"refs/heads/a..b", "refs/heads/a.lock", "refs/heads/a.lock/b", "refs/heads/a@{1}", "refs/heads/a b", "refs/heads//a",
	"refs/heads/a/", "refs/heads/a//b", "refs/heads/.a", "refs/heads/a/.b", "refs/heads/a.", "refs/heads/a~1", "refs/heads/a^",
	"refs/heads/a:b", "refs/heads/a?", "refs/heads/a*", "refs/heads/a[b", "refs/heads/a\\b", "refs/heads/a\x7f", "refs/heads/a\nb",
	"refs/heads/a\x01", "refs/heads/", "refs/heads", "refs/tags/", "",
}

func TestCheck(t *testing.T) {
	for _, name := range good {
		if err := Check(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, name := range bad {
		var e *remit.Error
		if err := Check(name); !errors.As(err, &e) || e.Code != remit.BadRef {
			t.Errorf("%q: %v; want BAD_REF", name, err)
		} else if strings.ContainsAny(e.Sentence, "\n\x01\u202e\u200b") {
			t.Errorf("the sentence on %q carries its characters: %q", name, e.Sentence)
		}
	}
}

// What Check lets through, git must take, too.
func TestCheckIsNotLaxerThanGit(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("needs git")
	}
	for _, name := range append(append([]string{}, good...), bad...) {
		if strings.Contains(name, "\x00") {
			continue
		}
		theirs := exec.Command(git, "check-ref-format", name).Run() == nil
		if Check(name) == nil && !theirs {
			t.Errorf("git refuses %q", name)
		}
		short, isHead := strings.CutPrefix(name, "refs/heads/")
		if isHead && (malformed(short) == "") != theirs {
			t.Errorf("%q: malformed says %q, git takes it: %v", name, malformed(short), theirs)
		}
	}
}

func TestFits(t *testing.T) {
	s := NewSet("refs/heads/main", "refs/heads/feature/x", "refs/tags/v1", "refs/heads/OLD")
	for name, fits := range map[string]bool{
		"refs/heads/main":         true, // exists
		"refs/heads/OLD":          true,
		"refs/heads/feature/y":    true,
		"refs/tags/v2":            true,
		"refs/heads/Main":         false,
		"refs/heads/old":          false,
		"refs/heads/FEATURE/x":    false,
		"refs/heads/feature":      false,
		"refs/heads/Feature":      false,
		"refs/heads/main/x":       false,
		"refs/heads/MAIN/x/y":     false,
		"refs/heads/v1":           false,
		"refs/tags/main":          false,
		"refs/tags/feature/x":     false,
		"refs/heads/feature/x/y":  false,
		"refs/heads/feature2":     true,
		"refs/heads/mainly/other": true,
	} {
		if err := s.Fits(name); (err == nil) != fits {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, name := range append(append([]string{}, good...), bad...) {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if Check(name) != nil {
			return
		}
		if strings.ContainsAny(name, " \x00\n\\") || strings.Contains(name, "..") || !strings.HasPrefix(name, "refs/") {
			t.Fatalf("%q passed", name)
		}
		if NewSet(name).Fits(name) != nil {
			t.Fatalf("%q does not fit beside itself", name)
		}
	})
}

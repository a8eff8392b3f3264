// Package refname says which refs may be pushed: the rules of git-check-ref-format(1), an allow-list of namespaces,
// and nothing that a person or a file system would take for another ref.
package refname

import (
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// MaxLen is the longest name, in bytes: fifty of them fit into the entry of a decision.
const MaxLen = 200

// Check refuses, with code BAD_REF, whatever is not plainly a branch or a tag.
func Check(name string) error {
	short, ok := strings.CutPrefix(name, "refs/heads/")
	if !ok {
		short, ok = strings.CutPrefix(name, "refs/tags/")
	}
	if !ok {
		return refuse(name, "only refs/heads/… and refs/tags/… may be pushed")
	}
	if len(name) > MaxLen {
		return refuse(name, "a ref name has at most 200 bytes")
	}
	if why := malformed(short); why != "" {
		return refuse(name, why)
	}
	if strings.HasPrefix(short, "-") {
		return refuse(name, "a name that begins with '-' is read as an option")
	}
	parts := strings.Split(short, "/")
	for i, part := range parts {
		if problems := object.CheckName(part); len(problems) > 0 {
			return refuse(name, "in %q: %s", part, problems[0].Sentence)
		}
		switch folded := object.Fold(part); {
		case folded == "head" || strings.HasSuffix(folded, "_head"):
			return refuse(name, "%q is taken for HEAD and its relatives", part)
		case folded == "refs", i == 0 && len(parts) > 1 && (folded == "heads" || folded == "tags" || folded == "remotes"):
			return refuse(name, "%q as a part of it makes it look like a ref of another kind", part)
		}
	}
	if isOID(short) {
		return refuse(name, "a name of 40 hexadecimal digits is taken for an object id")
	}
	return nil
}

// malformed is check_refname_format of git's refs.c for what follows refs/heads/ or refs/tags/, in words; empty if all
// is well.
func malformed(short string) string {
	if strings.HasSuffix(short, ".") {
		return "a ref name does not end with a dot"
	}
	for _, bad := range []string{"..", "@{"} {
		if strings.Contains(short, bad) {
			return "a ref name does not contain " + bad
		}
	}
	for i := range len(short) {
		if c := short[i]; c <= ' ' || c == 0x7f || strings.IndexByte("~^:?*[\\", c) >= 0 {
			return "a ref name has no spaces, no control characters and none of ~ ^ : ? * [ \\"
		}
	}
	for part := range strings.SplitSeq(short, "/") {
		switch {
		case part == "":
			return "no part of a ref name is empty"
		case strings.HasPrefix(part, "."):
			return "no part of a ref name begins with a dot"
		case strings.HasSuffix(part, ".lock"):
			return "no part of a ref name ends with .lock"
		}
	}
	return ""
}

// Set is the refs that exist, ready to be compared with new ones.
type Set struct {
	names  map[string]bool
	folded map[string]string // as case-folding file systems have them
	dirs   map[string]string // every proper prefix, folded, and a ref below it
}

// NewSet makes a Set of full names.
func NewSet(names ...string) *Set {
	s := &Set{names: map[string]bool{}, folded: map[string]string{}, dirs: map[string]string{}}
	for _, n := range names {
		s.Add(n)
	}
	return s
}

// Add adds a full name.
func (s *Set) Add(name string) {
	s.names[name] = true
	f := object.FoldPath(name)
	s.folded[f] = name
	for i := range len(f) {
		if f[i] == '/' {
			s.dirs[f[:i]] = name
		}
	}
}

// Has tells whether name is in the set, byte for byte.
func (s *Set) Has(name string) bool { return s.names[name] }

// Fits refuses, with code BAD_REF, to create name beside what exists, if the two would be confused: names that differ
// only in case, a file where the other needs a directory, a branch and a tag of one name. What exists already always
// fits: it may be moved and deleted.
func (s *Set) Fits(name string) error {
	if s.names[name] {
		return nil
	}
	f := object.FoldPath(name)
	if other, ok := s.folded[f]; ok {
		return refuse(name, "%q exists, and many file systems take the two for the same", other)
	}
	if other, ok := s.dirs[f]; ok {
		return refuse(name, "%q exists, so that this name is a directory", other)
	}
	for i := range len(f) {
		if other, ok := s.folded[f[:i]]; ok && f[i] == '/' {
			return refuse(name, "%q exists, so that nothing can lie below it", other)
		}
	}
	twin := twin(f)
	if other, ok := s.folded[twin]; ok {
		return refuse(name, "%q exists, and git's commands take the short name for either", other)
	}
	return nil
}

// twin is the tag of a branch's name, and the branch of a tag's.
func twin(name string) string {
	if short, ok := strings.CutPrefix(name, "refs/heads/"); ok {
		return "refs/tags/" + short
	}
	return "refs/heads/" + strings.TrimPrefix(name, "refs/tags/")
}

func isOID(s string) bool {
	return len(s) == 40 && strings.Trim(strings.ToLower(s), "0123456789abcdef") == ""
}

func refuse(name, format string, args ...any) error {
	return remit.Errorf(remit.BadRef, "the ref %.200q is refused: "+format, append([]any{name}, args...)...)
}

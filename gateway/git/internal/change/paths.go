package change

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// result is what a path came to be.
type result struct {
	path string
	mode uint32
	oid  object.OID
}

// differ gathers the changes of one ref.
type differ struct {
	f       *facts
	notes   *notes
	changes []Change
	results map[result]bool
	needed  map[object.OID]string // blobs that new entries name and the pack lacks, with one path
	known   map[object.OID]bool   // blobs of accepted trees that were come across

	level []object.Entry // the directory that folds belongs to
	folds map[string]int // names of level by fold
}

func (d *differ) record(c Change) error {
	key := result{c.Path, c.NewMode, c.New}
	if d.results[key] {
		return nil
	}
	d.results[key] = true
	if d.f.paths++; d.f.paths > d.f.limits.Paths {
		return tooManyPaths(d.f.limits.Paths)
	}
	d.changes = append(d.changes, c)
	return nil
}

// net compares the resulting tree with that of the base commit.
func (d *differ) net(ctx context.Context, tree, base object.OID) error {
	return d.f.source.diff(ctx, tree, []object.OID{base}, visitor{
		added: d.added,
		leaf: func(path string, new object.Entry, olds []object.Entry) error {
			d.accept(olds[0])
			if err := d.entry(path, new); err != nil {
				return err
			}
			return d.record(makeChange(path, new, olds[0]))
		},
	})
}

// merged marks net changes whose result the trusted history has. On the
// trusted ref itself nothing is marked: there, a return to an older state is
// a change like any other.
func (d *differ) merged(ctx context.Context, r *Ref, h *history, baseTree object.OID) error {
	if d.f.trusted.IsZero() || r.Ref == d.f.in.Trusted || len(d.changes) == 0 {
		return nil
	}
	trees := []object.OID{baseTree, d.f.trustedTree}
	if h.mergeBase != nil {
		trees = append(trees, h.mergeBase.tree)
	}
	own := map[string]bool{}
	err := d.f.source.diff(ctx, r.Tree, trees, visitor{leaf: func(path string, _ object.Entry, _ []object.Entry) error {
		own[path] = true
		return nil
	}})
	for i := range d.changes {
		d.changes[i].Merged = !own[d.changes[i].Path]
	}
	return err
}

// commit compares a new commit with its parents.
func (d *differ) commit(ctx context.Context, c *node, h *history) error {
	olds := make([]object.OID, max(1, len(c.parents)))
	accepted := make([]bool, len(olds))
	for i, parent := range c.parents {
		var err error
		if olds[i], err = d.f.treeOf(ctx, parent); err != nil {
			return err
		}
		accepted[i] = !h.isFresh[parent]
	}
	return d.f.source.diff(ctx, c.tree, olds, visitor{
		added: d.added,
		leaf: func(path string, new object.Entry, olds []object.Entry) error {
			for i, o := range olds {
				if accepted[i] {
					d.accept(o)
				}
			}
			if err := d.entry(path, new); err != nil {
				return err
			}
			change := makeChange(path, new, olds[0])
			change.InHistoryOnly, change.Commit = true, c.oid
			return d.record(change)
		},
	})
}

// accept notes a blob of an accepted tree: upstream is known to reach it.
func (d *differ) accept(e object.Entry) {
	if e.Mode != 0 && e.Mode != object.ModeGitlink {
		d.known[e.OID] = true
	}
}

// entry sees to it that the content of a new entry can be seen.
func (d *differ) entry(path string, e object.Entry) error {
	if e.Mode == 0 {
		return nil
	}
	if e.Mode == object.ModeGitlink {
		d.notes.add(CodeSubmodule, path, fmt.Sprintf("the push points the submodule at commit %s, which nobody here has seen", e.OID))
		return nil
	}
	at, typ, ok := d.f.source.inPack(e.OID)
	if !ok {
		if _, known := d.needed[e.OID]; !known {
			d.needed[e.OID] = path
		}
		return nil
	}
	if typ != object.Blob {
		return object.Refuse(object.CodeBadObject, e.OID.String(), "the entry %q names it as a file, but it is a %s", path, typ)
	}
	d.f.source.used[at] = true
	return nil
}

// unseen reports blobs that are neither in the pack nor reachable upstream.
// Upstream may still hold such a blob, of a deleted branch or a fork, and
// would take the push without anybody having seen the content.
func (d *differ) unseen(ctx context.Context) error {
	var ask []object.OID
	for oid := range d.needed {
		if !d.known[oid] {
			ask = append(ask, oid)
		}
	}
	slices.SortFunc(ask, object.OID.Compare)
	missing, err := d.f.unreachable(ctx, ask)
	if err != nil {
		return err
	}
	for _, oid := range missing {
		d.notes.add(CodeUnseen, d.needed[oid], fmt.Sprintf("its content %s is neither in the push nor reachable from any ref of upstream; push it again from a complete clone", oid))
	}
	return nil
}

// added judges a new name, alone and beside its neighbours.
func (d *differ) added(path string, e object.Entry, siblings []object.Entry) error {
	for _, p := range object.CheckName(e.Name) {
		d.notes.add(p.Code, path, p.Sentence)
	}
	if len(siblings) < 2 {
		return nil
	}
	if len(d.level) != len(siblings) || &d.level[0] != &siblings[0] {
		d.level, d.folds = siblings, make(map[string]int, len(siblings))
		for _, s := range siblings {
			d.folds[object.Fold(s.Name)]++
		}
	}
	if d.folds[object.Fold(e.Name)] > 1 {
		d.notes.add(CodeCollision, path, "another name in the same directory differs from it only in case, in composition or in characters that some file systems ignore")
	}
	return nil
}

// maxAttributes is ATTR_MAX_LINE_LENGTH of git's attr.h.
const maxAttributes = 2048

// gitmodules judges each new .gitmodules and .gitattributes, in whatever
// directory, as fsck_blob of git's fsck.c does, but without an interpreter of
// git's configuration: it looks at lines, and refuses rather too much.
func (f *facts) gitmodules(ctx context.Context, changes []Change, n *notes) error {
	for _, c := range changes {
		base := c.Path[strings.LastIndexByte(c.Path, '/')+1:]
		var code string
		var judge func([]byte) string
		switch fold := object.FoldPath(base); {
		case c.NewMode == 0 || c.NewMode == object.ModeGitlink || c.Merged:
			continue
		case strings.HasSuffix("/"+fold, "/.gitmodules") || object.IsDotGitmodules(base):
			code, judge = CodeGitmodules, badGitmodules
		case strings.HasSuffix("/"+fold, "/.gitattributes"):
			code, judge = CodeGitattributes, badGitattributes
		default:
			continue
		}
		_, body, _, err := f.source.object(ctx, c.New)
		var refused *object.Error
		if errors.As(err, &refused) {
			n.add(code, c.Path, "its content cannot be read: "+refused.Sentence)
			continue
		}
		if err != nil {
			return err
		}
		if why := judge(body); why != "" {
			n.add(code, c.Path, why)
		}
	}
	return nil
}

// badGitattributes finds lines that older git versions write beyond a buffer
// for (CVE-2022-23521).
func badGitattributes(body []byte) string {
	for line := range bytes.Lines(body) {
		if len(line) >= maxAttributes {
			return fmt.Sprintf("a line is longer than the %d bytes that git reads of one", maxAttributes)
		}
	}
	return ""
}

func badGitmodules(body []byte) string {
	if len(body) > 64<<10 || bytes.IndexByte(body, 0) >= 0 {
		return "it is larger than 64 KiB or holds a NUL byte"
	}
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSpace(line)
		if strings.HasSuffix(line, "\\") {
			return "it continues a line, which is not needed and hides what follows"
		}
		if strings.HasPrefix(strings.ToLower(line), "[submodule.") {
			return "the name of a submodule stands in the old form, without quotes, which hides where it begins"
		}
		if strings.HasPrefix(line, "[") {
			if slices.Contains(strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(`"/\ ]`, r) }), "..") {
				return "the name of a submodule has a component \"..\""
			}
			if _, rest, found := strings.Cut(line, "]"); !found || strings.TrimSpace(rest) == "" {
				continue
			}
			return "a section and a setting share a line"
		}
		_, value, _ := strings.Cut(line, "=")
		// Quotes can stand anywhere in a value, and end what a comment sign begins.
		value = strings.TrimLeft(strings.ReplaceAll(value, "\"", ""), "\\ \t\r\v\f")
		if why := badValue(value); why != "" {
			return why
		}
		if i := strings.IndexAny(value, ";#"); i >= 0 {
			if why := badValue(strings.TrimSpace(value[:i])); why != "" {
				return why
			}
		}
	}
	return ""
}

// badValue judges a value as if it were a URL, a path and a command.
func badValue(value string) string {
	if strings.HasPrefix(value, "-") {
		return "a URL or path begins with a hyphen, which git would take for an option"
	}
	if strings.HasPrefix(value, "!") {
		return "an update setting runs a command"
	}
	lower := strings.ToLower(value)
	if strings.Contains(value, "\\n") || strings.Contains(lower, "%0a") {
		return "a URL holds a line feed"
	}
	// check_submodule_url of git's fsck.c: "../:x" and "..//x" can leave the host of the URL that they are relative to.
	rest, up := value, false
	for strings.HasPrefix(rest, "./") || strings.HasPrefix(rest, "../") {
		up = up || rest[1] == '.'
		rest = rest[strings.IndexByte(rest, '/')+1:]
	}
	if up && rest != "" && (rest[0] == ':' || rest[0] == '/') {
		return "a relative URL goes on with a colon or slash behind \"..\", which leaves the host"
	}
	for _, scheme := range []string{"http", "https", "ftp", "ftps"} {
		after, ok := strings.CutPrefix(lower, scheme+":")
		if !ok {
			continue
		}
		if strings.HasPrefix(after, ":") {
			return "a URL names a program of git's for its scheme, which is not needed"
		}
		if after, ok = strings.CutPrefix(after, "//"); !ok {
			continue
		}
		if i := strings.IndexAny(after, "/?#"); i >= 0 {
			after = after[:i]
		}
		after = after[strings.LastIndexByte(after, '@')+1:]
		if host, _, _ := strings.Cut(after, ":"); strings.TrimSpace(host) == "" {
			return "a URL has no host, so that git would give it credentials of another"
		}
	}
	return ""
}

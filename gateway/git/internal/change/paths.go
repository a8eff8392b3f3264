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

// gitmodules judges each new .gitmodules as fsck_blob of git's fsck.c does,
// but without an interpreter of git's configuration: it looks at lines, and
// refuses rather too much.
func (f *facts) gitmodules(ctx context.Context, changes []Change, n *notes) error {
	for _, c := range changes {
		if object.FoldPath(c.Path) != ".gitmodules" || c.NewMode == 0 || c.NewMode == object.ModeGitlink {
			continue
		}
		_, body, _, err := f.source.object(ctx, c.New)
		var refused *object.Error
		if errors.As(err, &refused) {
			n.add(CodeGitmodules, c.Path, "its content cannot be read: "+refused.Sentence)
			continue
		}
		if err != nil {
			return err
		}
		if why := badGitmodules(body); why != "" {
			n.add(CodeGitmodules, c.Path, why)
		}
	}
	return nil
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
		value = strings.TrimLeft(value, "\"\\ \t")
		if strings.HasPrefix(value, "-") {
			return "a URL or path begins with a hyphen, which git would take for an option"
		}
		if strings.HasPrefix(value, "!") {
			return "an update setting runs a command"
		}
		if strings.Contains(value, "\\n") || strings.Contains(strings.ToLower(value), "%0a") {
			return "a URL holds a line feed"
		}
	}
	return ""
}

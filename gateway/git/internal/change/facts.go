package change

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// maxAuthors bounds the names that are listed for one ref.
const maxAuthors = 100

// Facts looks at a push. Its errors are object.Error with OBJECT_MISSING,
// BAD_OBJECT, BAD_COMMAND or TOO_LARGE_TO_JUDGE, or failures of the base or
// the context; after any error nothing is known about the push.
func Facts(ctx context.Context, in Input) (*Push, error) {
	limits := in.Limits.withDefaults()
	if len(in.Commands) > limits.Refs {
		return nil, object.Refuse(object.CodeTooLargeJudge, "", "the push moves %d refs, above the limit of %d; push them in parts", len(in.Commands), limits.Refs)
	}
	f := &facts{in: in, limits: limits, source: newSource(in.Pack, in.Base, limits), refs: in.Base.Refs()}
	if err := f.trust(ctx); err != nil {
		return nil, err
	}
	commands := slices.Clone(in.Commands)
	slices.SortFunc(commands, func(a, b Command) int { return strings.Compare(a.Ref, b.Ref) })
	push := &Push{}
	for i, c := range commands {
		if i > 0 && commands[i-1].Ref == c.Ref {
			return nil, object.Refuse(codeBadCommand, c.Ref, "the push moves the ref twice")
		}
		if c.Old.IsZero() && c.New.IsZero() {
			return nil, object.Refuse(codeBadCommand, c.Ref, "the command neither creates, moves nor deletes the ref")
		}
		ref, err := f.ref(ctx, c)
		if err != nil {
			return nil, err
		}
		push.Refs = append(push.Refs, *ref)
	}
	var err error
	push.Findings, err = f.unreferenced(ctx)
	return push, err
}

type facts struct {
	in     Input
	limits Limits
	source *source
	refs   map[string]object.OID
	paths  int // changes counted so far

	trusted     object.OID // commit at the tip of the trusted ref; zero: there is none
	trustedTree object.OID
}

// trust reads the tip of the trusted ref.
func (f *facts) trust(ctx context.Context) error {
	tip := f.refs[f.in.Trusted]
	if tip.IsZero() {
		return nil
	}
	commit, _, typ, err := f.source.peel(ctx, tip)
	if err != nil {
		return err
	}
	if typ != object.Commit {
		return object.Refuse(object.CodeBadObject, f.in.Trusted, "the trusted ref names a %s, not a commit", typ)
	}
	f.trusted = commit
	f.trustedTree, err = f.treeOf(ctx, commit)
	return err
}

func (f *facts) treeOf(ctx context.Context, commit object.OID) (object.OID, error) {
	if commit.IsZero() {
		return object.OID{}, nil
	}
	_, body, _, err := f.source.object(ctx, commit)
	if err != nil {
		return object.OID{}, err
	}
	tree, _, _, err := object.CommitLinks(body)
	if err != nil {
		return object.OID{}, fmt.Errorf("commit %s: %w", commit, err)
	}
	return tree, nil
}

// ref finds all about one command.
func (f *facts) ref(ctx context.Context, c Command) (*Ref, error) {
	r := &Ref{Ref: c.Ref, Old: c.Old, New: c.New}
	n := &notes{}
	defer func() { r.Findings = n.sorted() }()
	if seen := f.refs[c.Ref]; seen != c.Old {
		n.add(CodeMoved, c.Ref, fmt.Sprintf("the push takes the ref to be at %s, but upstream has %s; fetch and push again", name(c.Old), name(seen)))
	}
	if c.New.IsZero() {
		r.Op = OpDelete
		return r, nil
	}
	if r.Op = OpCreate; !c.Old.IsZero() {
		r.Op = OpForce
	}
	isTag := strings.HasPrefix(c.Ref, "refs/tags/")
	commit, tag, typ, err := f.source.peel(ctx, c.New)
	if err != nil {
		return nil, err
	}
	if tag != nil {
		r.Tag = &Tag{Name: tag.Name, Tagger: tag.Tagger, Signed: tag.Signed}
		if isTag && tag.Name != strings.TrimPrefix(c.Ref, "refs/tags/") {
			n.add(CodeBadTag, c.Ref, fmt.Sprintf("the tag object calls itself %q", tag.Name))
		}
	}
	if typ != object.Commit || tag != nil && !isTag {
		f.source.use(commit)
		code := CodeBadTarget
		if isTag {
			code = CodeBadTag
		}
		n.add(code, c.Ref, fmt.Sprintf("it should name a commit, or as a tag one annotated tag of a commit; it leads to a %s", describe(typ, tag != nil)))
		return r, nil
	}
	r.Commit = commit
	old, err := f.oldCommit(ctx, c.Old)
	if err != nil {
		return nil, err
	}
	h, err := f.source.walk(ctx, commit, old, f.trusted)
	if err != nil {
		return nil, err
	}
	if r.Op == OpForce && h.forward && !isTag {
		r.Op = OpUpdate
	}
	r.Base = old
	if old.IsZero() && h.mergeBase != nil {
		r.Base = h.mergeBase.oid
	}
	if r.Tree, err = f.treeOf(ctx, commit); err != nil {
		return nil, err
	}
	return r, f.fill(ctx, r, h, n)
}

func name(oid object.OID) string {
	if oid.IsZero() {
		return "no value"
	}
	return oid.String()
}

func describe(typ object.Type, tagged bool) string {
	if tagged {
		return typ.String() + " by way of a tag"
	}
	return typ.String()
}

// oldCommit gives the commit of the old value; zero if it leads to none.
func (f *facts) oldCommit(ctx context.Context, old object.OID) (object.OID, error) {
	if old.IsZero() {
		return object.OID{}, nil
	}
	commit, _, typ, err := f.source.peel(ctx, old)
	if err != nil || typ != object.Commit {
		return object.OID{}, err
	}
	return commit, nil
}

// fill adds commits, changes and pins to r.
func (f *facts) fill(ctx context.Context, r *Ref, h *history, n *notes) error {
	if err := f.commits(ctx, r, h, n); err != nil {
		return err
	}
	baseTree, err := f.treeOf(ctx, r.Base)
	if err != nil {
		return err
	}
	d := &differ{f: f, notes: n, results: map[result]bool{}, needed: map[object.OID]string{}, known: map[object.OID]bool{}}
	if err := d.net(ctx, r.Tree, baseTree); err != nil {
		return err
	}
	if err := d.merged(ctx, r, h, baseTree); err != nil {
		return err
	}
	for _, c := range h.fresh {
		if err := d.commit(ctx, c, h); err != nil {
			return err
		}
	}
	if err := d.unseen(ctx); err != nil {
		return err
	}
	slices.SortFunc(d.changes, byPath)
	r.Changes = d.changes
	if r.Pinned, err = f.source.differs(ctx, r.Tree, f.trustedTree, f.in.Control); err != nil {
		return err
	}
	for _, c := range r.Pinned {
		f.control(c, n)
	}
	return f.gitmodules(ctx, r.Changes, n)
}

// commits lists the new commits and who claims to have made them.
func (f *facts) commits(ctx context.Context, r *Ref, h *history, n *notes) error {
	authors := map[Author]bool{}
	for _, c := range h.fresh {
		r.Commits = append(r.Commits, c.oid)
		if c.brought {
			f.source.use(c.oid)
			r.Brought = append(r.Brought, c.oid)
		}
		if len(c.parents) == 0 && (!f.trusted.IsZero() || !r.Old.IsZero()) {
			n.add(CodeUnrelated, c.oid.String(), "the commit has no parents: it begins a history that has nothing in common with upstream's")
		}
		_, body, _, err := f.source.object(ctx, c.oid)
		if err != nil {
			return err
		}
		info, err := object.ParseCommit(body)
		if err != nil {
			if c.brought {
				return fmt.Errorf("commit %s: %w", c.oid, err)
			}
			// An old commit that upstream took long ago; it names nobody legibly.
			continue
		}
		if info.Signature != "" {
			r.Signed++
		}
		for _, id := range []object.Ident{info.Author, info.Committer} {
			if a := (Author{id.Name, id.Email}); len(authors) < maxAuthors {
				authors[a] = true
			}
		}
	}
	for a := range authors {
		r.Authors = append(r.Authors, a)
	}
	slices.SortFunc(r.Authors, func(a, b Author) int {
		return cmp.Or(strings.Compare(a.Email, b.Email), strings.Compare(a.Name, b.Name))
	})
	return nil
}

// control judges the shape of a pinned entry.
func (f *facts) control(c Change, n *notes) {
	if c.NewMode == 0 {
		return
	}
	if f.in.Control.mustBeDirectory(object.FoldPath(c.Path)) {
		n.add(CodeProtectedParent, c.Path, fmt.Sprintf("a directory belongs here, since what lies below is protected; the push puts mode %06o there", c.NewMode))
	}
	if c.NewMode == object.ModeSymlink || c.NewMode == object.ModeGitlink {
		n.add(CodeControlMode, c.Path, fmt.Sprintf("a control file must be a plain file; the push gives it mode %06o", c.NewMode))
	}
}

// unreferenced finds what the pack brings without any pushed ref reaching it
// and without upstream having it: it would lie there for a later push to use.
func (f *facts) unreferenced(ctx context.Context) ([]Finding, error) {
	if f.in.Pack == nil {
		return nil, nil
	}
	var hidden, blobs []object.OID
	at := -1
	for oid, typ := range f.in.Pack.Objects() {
		if at++; f.source.used[at] {
			continue
		}
		if typ == object.Blob {
			blobs = append(blobs, oid)
			continue
		}
		switch _, _, err := f.in.Base.Object(ctx, oid); {
		case errors.Is(err, ErrNotFound):
			hidden = append(hidden, oid)
		case err != nil:
			return nil, fmt.Errorf("read %s from the mirror: %w", oid, err)
		}
	}
	unseen, err := f.unreachable(ctx, blobs)
	if err != nil {
		return nil, err
	}
	if hidden = append(hidden, unseen...); len(hidden) == 0 {
		return nil, nil
	}
	return []Finding{{CodeUnreferenced, hidden[0].String(),
		fmt.Sprintf("the pack brings %d objects that no pushed ref reaches, this one first; push only what the refs need", len(hidden))}}, nil
}

// unreachable gives those of blobs that no observed ref reaches.
func (f *facts) unreachable(ctx context.Context, blobs []object.OID) ([]object.OID, error) {
	if len(blobs) == 0 {
		return nil, nil
	}
	reached, err := f.in.Base.Reachable(ctx, blobs)
	if err != nil {
		return nil, fmt.Errorf("look for blobs in the mirror: %w", err)
	}
	if len(reached) != len(blobs) {
		return nil, fmt.Errorf("the mirror answered %d of %d questions", len(reached), len(blobs))
	}
	var out []object.OID
	for i, oid := range blobs {
		if !reached[i] {
			out = append(out, oid)
		}
	}
	return out, nil
}

// notes collects findings, each code and path once.
type notes struct {
	list []Finding
	seen map[[2]string]bool
}

func (n *notes) add(code, path, sentence string) {
	key := [2]string{code, path}
	if n.seen[key] {
		return
	}
	if n.seen == nil {
		n.seen = map[[2]string]bool{}
	}
	n.seen[key] = true
	n.list = append(n.list, Finding{code, path, sentence})
}

func (n *notes) sorted() []Finding {
	slices.SortStableFunc(n.list, func(a, b Finding) int {
		return cmp.Or(strings.Compare(a.Code, b.Code), strings.Compare(a.Path, b.Path))
	})
	return n.list
}

package git

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/git/internal/change"
	"github.com/remit-dev/remit/gateway/git/internal/mirror"
	"github.com/remit-dev/remit/gateway/git/internal/object"
	"github.com/remit-dev/remit/gateway/git/internal/pack"
	"github.com/remit-dev/remit/gateway/git/internal/pktline"
	"github.com/remit-dev/remit/gateway/git/internal/refname"
)

// Make prepares a change of one ref as if an agent had pushed it: Remit makes the objects, looks at them as at those of
// any push, and keeps the pack, which Forward then carries upstream with the old value as compare-and-swap. Whoever
// calls it lets the pack go with Drop if nothing comes of it.
func (g *Gateway) Make(ctx context.Context, m gateway.Making) (gateway.Made, error) {
	w, err := g.maker(ctx, m)
	if err != nil {
		return gateway.Made{}, asError(err)
	}
	defer w.close()
	made, err := w.make(ctx)
	if err == nil && m.Delete {
		return made, nil
	}
	if err != nil {
		return gateway.Made{}, asError(err)
	}
	return w.keep(ctx, made)
}

// Merge says what merging a commit into a branch would do, with the facts of a push of the merge: the tree that results,
// the paths, the new commits, who pushed and who signed them. Nothing is made upstream or kept. As the commit of the
// merge is the forge's to make, New of the change is the commit that is merged in; Old, New and Tree bind the effect.
func (g *Gateway) Merge(ctx context.Context, m gateway.Making) (gateway.Made, error) {
	m.Name, m.Email, m.When, m.Message = g.Agent, "", time.Unix(0, 0), "merge"
	w, err := g.maker(ctx, m)
	if err != nil {
		return gateway.Made{}, asError(err)
	}
	defer w.close()
	w.asks = true
	made, err := w.make(ctx)
	if err != nil {
		return gateway.Made{}, asError(err)
	}
	made.Ref.New, made.New = m.Merge, ""
	return made, nil
}

// Commit reads a commit of a repository in Remit's own name, and gives its tree and parents.
func (g *Gateway) Commit(ctx context.Context, name, commit string) (tree string, parents []string, err error) {
	oid, err := object.ParseOID(commit)
	if err != nil {
		return "", nil, asError(err)
	}
	repo, err := g.Repos.Repo(ctx, name)
	if err != nil {
		return "", nil, err
	}
	view, err := g.mirrors.Observe(ctx, repo.Name, repo.remote())
	if err != nil {
		return "", nil, asError(err)
	}
	defer view.Close()
	if err := view.Also(ctx, "refs/remit/commit", oid); err != nil {
		return "", nil, asError(err)
	}
	typ, body, err := view.Object(ctx, oid)
	if err == nil && typ != object.Commit {
		err = remit.Errorf(remit.BadObject, "%s is a %s, not a commit", oid, typ)
	}
	if err != nil {
		return "", nil, asError(err)
	}
	of, links, _, err := object.CommitLinks(body)
	for _, p := range links {
		parents = append(parents, p.String())
	}
	return of.String(), parents, asError(err)
}

// Drop lets the pack of a Made go.
func (g *Gateway) Drop(ctx context.Context, d remit.Digest) error {
	return g.Blobs.Drop(context.WithoutCancel(ctx), d)
}

// maker makes one change.
type maker struct {
	g       *Gateway
	m       gateway.Making
	asks    bool // only what it would do
	repo    Repo
	view    *mirror.View
	scratch *mirror.Scratch
	spool   *spooled
	old     object.OID // value of the ref
	from    object.OID // commit that it builds on
	ghost   object.OID // commit of a merge that only stands for the one the forge will make
	blobs   []string
}

func (g *Gateway) maker(ctx context.Context, m gateway.Making) (_ *maker, err error) {
	w := &maker{g: g, m: m}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.repo, err = g.Repos.Repo(ctx, m.Repo); err != nil {
		return nil, err
	}
	if w.view, err = g.mirrors.Observe(ctx, w.repo.Name, w.repo.remote()); err != nil {
		return nil, err
	}
	if w.m.Ref == "" {
		w.m.Ref = trusted(w.repo, w.view)
	}
	if err := refname.Check(w.m.Ref); err != nil {
		return nil, err
	}
	w.old = w.view.Refs()[w.m.Ref]
	switch {
	case m.Create && !w.old.IsZero():
		return nil, remit.Errorf(remit.Conflict, "%s exists already, at %s", w.m.Ref, w.old)
	case !m.Create && w.old.IsZero():
		return nil, remit.Errorf(remit.NotFound, "%s does not exist", w.m.Ref)
	case m.Old != "" && m.Old != hexOID(w.old):
		return nil, remit.Errorf(remit.Stale, "%s is at %s, not at %s; look at it again", w.m.Ref, w.old, m.Old)
	case m.Delete:
		return w, nil
	}
	if w.from, err = w.resolve(ctx); err != nil {
		return nil, err
	}
	w.scratch, err = w.view.Scratch(g.spool)
	return w, err
}

func (w *maker) close() {
	if w.spool != nil {
		w.spool.close()
	}
	if w.scratch != nil {
		if err := w.scratch.Close(); err != nil {
			w.g.Log.Warn("removing what was made for a change", "err", err)
		}
	}
	if w.view != nil {
		w.view.Close()
	}
}

// resolve finds the commit that the change builds on.
func (w *maker) resolve(ctx context.Context) (object.OID, error) {
	refs, from := w.view.Refs(), w.m.From
	if from == "" && !w.m.Create {
		return w.commit(ctx, w.old)
	}
	if from == "" {
		from = trusted(w.repo, w.view)
	}
	for _, name := range []string{from, "refs/heads/" + from, "refs/tags/" + from} {
		if oid, ok := refs[name]; ok {
			return w.commit(ctx, oid)
		}
	}
	oid, err := object.ParseOID(from)
	if err != nil {
		return oid, remit.Errorf(remit.NotFound, "%.100q is no branch, tag or commit of %s", from, w.repo.Name)
	}
	return w.commit(ctx, oid)
}

// commit takes tags off.
func (w *maker) commit(ctx context.Context, oid object.OID) (object.OID, error) {
	for range 2 {
		typ, body, err := w.view.Object(ctx, oid)
		switch {
		case err != nil:
			return oid, remit.Errorf(remit.NotFound, "%s is no commit that is known of %s: %w", oid, w.repo.Name, err)
		case typ == object.Commit:
			return oid, nil
		case typ != object.Tag:
			return oid, remit.Errorf(remit.BadRef, "%s is a %s, not a commit", oid, typ)
		}
		tag, err := object.ParseTag(body)
		if err != nil {
			return oid, err
		}
		oid = tag.Target
	}
	return oid, remit.Errorf(remit.BadRef, "%s is no commit, nor one tag of a commit", oid)
}

// make makes the objects and computes the facts.
func (w *maker) make(ctx context.Context) (gateway.Made, error) {
	if w.m.Delete {
		return w.facts(ctx, object.OID{})
	}
	next := w.from
	var err error
	switch {
	case w.m.Tag:
		next, err = w.tag(ctx)
	case w.m.Merge != "":
		next, err = w.merge(ctx)
	case len(w.m.Edits) > 0:
		next, err = w.edit(ctx)
	}
	if err != nil {
		return gateway.Made{}, err
	}
	if next == w.old {
		return gateway.Made{}, remit.Errorf(remit.Conflict, "there is nothing to change: %s is at %s already", w.m.Ref, next)
	}
	if err := w.pack(ctx, next); err != nil {
		return gateway.Made{}, err
	}
	return w.facts(ctx, next)
}

// facts looks at the change as classifyPush looks at a push.
func (w *maker) facts(ctx context.Context, next object.OID) (gateway.Made, error) {
	cmd := pktline.Command{Ref: w.m.Ref, Old: hexOID(w.old), New: hexOID(next)}
	in, err := input(&pktline.Push{Commands: []pktline.Command{cmd}}, w.view, w.repo)
	if err != nil {
		return gateway.Made{}, err
	}
	made := gateway.Made{New: cmd.New, Blobs: w.blobs}
	o := order{Service: receivePack, Repo: w.repo.Name, Commands: []pktline.Command{cmd}}
	if w.spool != nil {
		if err := w.spool.resolve(ctx, w.view); err != nil {
			return made, err
		}
		in.Pack, made.Bytes = w.spool.pack, w.spool.size
	}
	push, err := change.Facts(ctx, in)
	if err != nil {
		return made, err
	}
	if !w.ghost.IsZero() {
		for i := range push.Refs {
			r := &push.Refs[i]
			mine := func(o object.OID) bool { return o == w.ghost }
			r.Commits, r.Brought = slices.DeleteFunc(r.Commits, mine), slices.DeleteFunc(r.Brought, mine)
		}
		made.Bytes = 0
	}
	meant, err := w.g.explain(ctx, in, w.view, push)
	if err != nil {
		return made, err
	}
	refs, err := w.g.refChanges(ctx, w.repo, in, push, meant)
	if err != nil {
		return made, err
	}
	made.Ref = refs[0]
	if made.Card, err = w.g.card(ctx, in, w.view, push, meant); err != nil {
		return made, err
	}
	made.Order = o.encode()
	return made, nil
}

// keep puts the pack where Forward finds it.
func (w *maker) keep(ctx context.Context, made gateway.Made) (gateway.Made, error) {
	digest, err := w.g.Blobs.PutFile(ctx, w.spool.file.Name())
	if err != nil {
		return gateway.Made{}, remit.Errorf(remit.NoSpace, "the objects that were made cannot be kept: %w", err)
	}
	if digest != w.spool.digest {
		return gateway.Made{}, remit.Errorf(remit.Internal, "the pack that was kept is not the one that was judged")
	}
	made.Pack = digest
	o := order{Service: receivePack, Repo: w.repo.Name, Pack: digest, Bytes: w.spool.size,
		Commands: []pktline.Command{{Ref: w.m.Ref, Old: hexOID(w.old), New: made.New}}}
	made.Order = o.encode()
	return made, nil
}

// git is one run in the scratch that is to succeed.
func (w *maker) git(ctx context.Context, stdin []byte, args ...string) ([]byte, error) {
	out, code, err := w.scratch.Git(ctx, stdin, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("git %s ends with %d", args[0], code)
	}
	return out, err
}

// write stores an object and gives its id.
func (w *maker) write(ctx context.Context, typ object.Type, body []byte) (object.OID, error) {
	out, err := w.git(ctx, body, "hash-object", "-w", "--stdin", "-t", typ.String())
	if err != nil {
		return object.OID{}, err
	}
	return object.ParseOID(strings.TrimSpace(string(out)))
}

// stamp is who and when (gitformat-commit: name <mail> seconds zone); names come from Remit's own records.
func (w *maker) stamp() string {
	plain := func(s string) string {
		return strings.TrimSpace(strings.Map(func(r rune) rune {
			if r < ' ' || r == '<' || r == '>' {
				return -1
			}
			return r
		}, s))
	}
	return fmt.Sprintf("%s <%s> %d +0000", plain(w.m.Name), plain(w.m.Email), w.m.When.Unix())
}

func (w *maker) message() string {
	return strings.TrimRight(strings.ReplaceAll(w.m.Message, "\x00", ""), "\n") + "\n"
}

func (w *maker) writeCommit(ctx context.Context, tree string, parents ...object.OID) (object.OID, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", tree)
	for _, p := range parents {
		fmt.Fprintf(&b, "parent %s\n", p)
	}
	fmt.Fprintf(&b, "author %s\ncommitter %s\n\n%s", w.stamp(), w.stamp(), w.message())
	return w.write(ctx, object.Commit, []byte(b.String()))
}

func (w *maker) tag(ctx context.Context) (object.OID, error) {
	body := fmt.Sprintf("object %s\ntype commit\ntag %s\ntagger %s\n\n%s", w.from, strings.TrimPrefix(w.m.Ref, "refs/tags/"), w.stamp(), w.message())
	return w.write(ctx, object.Tag, []byte(body))
}

// edit makes a commit on from with the changed paths.
func (w *maker) edit(ctx context.Context) (object.OID, error) {
	none := object.OID{}
	if err := checkPaths(w.m.Edits); err != nil {
		return none, err
	}
	if _, err := w.git(ctx, nil, "read-tree", w.from.String()); err != nil {
		return none, err
	}
	var index bytes.Buffer
	entry := func(mode string, oid object.OID, path string) {
		fmt.Fprintf(&index, "%s %s\t%s\x00", mode, oid, path)
	}
	for _, e := range w.m.Edits {
		was := e.Path
		if e.From != "" {
			was = e.From
		}
		mode, oid, err := w.entry(ctx, was)
		if err != nil {
			return none, err
		}
		if e.Op == "create" || was != e.Path {
			if err := w.free(ctx, e.Path); err != nil {
				return none, err
			}
		}
		switch {
		case e.Op != "create" && mode == "":
			return none, remit.Errorf(remit.NotFound, "there is no file %.200q on which %s builds", was, w.m.Ref)
		case e.Op != "create" && !strings.HasPrefix(mode, "100"):
			return none, remit.Errorf(remit.BadObject, "%.200q is no plain file (mode %s); change it with git", was, mode)
		case e.Op != "create" && oid.String() != e.Was:
			return none, remit.Errorf(remit.Stale, "%.200q is %s now, not %.64q; look at it again", was, oid, e.Was)
		}
		if e.From != "" && e.From != e.Path {
			entry("0", none, e.From)
		}
		if e.Op == "delete" {
			w.blobs = append(w.blobs, "")
			entry("0", none, e.Path)
			continue
		}
		if mode == "" {
			mode = "100644"
		}
		blob, err := w.write(ctx, object.Blob, e.Content)
		if err != nil {
			return none, err
		}
		w.blobs = append(w.blobs, blob.String())
		entry(mode, blob, e.Path)
	}
	if _, err := w.git(ctx, index.Bytes(), "update-index", "-z", "--index-info"); err != nil {
		return none, remit.Errorf(remit.BadRequest, "the paths cannot stand beside each other, or are none that git takes: %w", err)
	}
	tree, err := w.git(ctx, nil, "write-tree", "--missing-ok")
	if err != nil {
		return none, err
	}
	return w.writeCommit(ctx, strings.TrimSpace(string(tree)), w.from)
}

func errorOr(err error, other error) error {
	if err != nil {
		return err
	}
	return other
}

// checkPaths refuses what git or a file system would take for something else, and paths of one change that touch each
// other: git would silently let one give way.
func checkPaths(edits []gateway.Edit) error {
	seen := map[string]bool{}
	for _, e := range edits {
		for _, path := range slices.Compact([]string{e.Path, cmp.Or(e.From, e.Path)}) {
			if seen[path] {
				return remit.Errorf(remit.BadRequest, "%.200q is changed twice", path)
			}
			seen[path] = true
			for part := range strings.SplitSeq(path, "/") {
				if problems := object.CheckName(part); part == "" || len(problems) > 0 {
					return remit.Errorf(remit.BadRequest, "%.200q is no path that can be changed here: %.60q is no plain name", path, part)
				}
			}
		}
	}
	for path := range seen {
		for up := dirOf(path); up != ""; up = dirOf(up) {
			if seen[up] {
				return remit.Errorf(remit.BadRequest, "%.200q cannot be both a file and a directory", up)
			}
		}
	}
	return nil
}

func dirOf(path string) string { return path[:max(strings.LastIndexByte(path, '/'), 0)] }

// free tells whether a file may be made at path: nothing is there, and no file stands where a directory must.
func (w *maker) free(ctx context.Context, path string) error {
	if mode, oid, err := w.entry(ctx, path); err != nil || mode != "" {
		return errorOr(err, remit.Errorf(remit.Conflict, "%.200q exists already; update it, with the id of what is there now (%s)", path, oid))
	}
	for up := dirOf(path); up != ""; up = dirOf(up) {
		mode, _, err := w.entry(ctx, up)
		switch {
		case err != nil:
			return err
		case mode == "040000":
			return nil
		case mode != "":
			return remit.Errorf(remit.Conflict, "%.200q is a file, so nothing can lie below it", up)
		}
	}
	return nil
}

// entry gives mode and id of a path in the tree that the change builds on; no mode: there is none.
func (w *maker) entry(ctx context.Context, path string) (mode string, oid object.OID, err error) {
	out, err := w.git(ctx, nil, "ls-tree", "-z", w.from.String(), "--", path)
	if err != nil {
		return "", oid, err
	}
	for line := range strings.SplitSeq(string(out), "\x00") {
		head, name, _ := strings.Cut(line, "\t")
		if parts := strings.Fields(head); name == path && len(parts) == 3 {
			oid, err = object.ParseOID(parts[2])
			return parts[0], oid, err
		}
	}
	return "", oid, nil
}

// Limits of a merge.
const (
	maxBases = 16
	maxBlobs = 20_000 // that the two sides changed
)

// merge makes the commit of a merge as git itself would. Whoever only asks what it would do gets a commit that nobody
// sees; its facts leave it out.
func (w *maker) merge(ctx context.Context) (object.OID, error) {
	none := object.OID{}
	head, err := object.ParseOID(w.m.Merge)
	if err != nil {
		return none, err
	}
	ref := "refs/pull/" + strconv.FormatInt(w.m.Pull, 10) + "/head"
	if err := w.view.Also(ctx, ref, head); err != nil {
		return none, err
	}
	if head, err = w.commit(ctx, head); err != nil {
		return none, err
	}
	if err := w.sides(ctx, head); err != nil {
		return none, err
	}
	out, code, err := w.scratch.Git(ctx, nil, "merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", w.from.String(), head.String())
	if err != nil {
		return none, remit.Errorf(remit.TooLargeToJudge, "what merging %s into %s gives cannot be computed (it takes git 2.38, and every file that both sides changed): %w", head, w.m.Ref, err)
	}
	parts := strings.Split(strings.TrimRight(string(out), "\x00"), "\x00")
	if code != 0 {
		return none, remit.Errorf(remit.Conflict, "%s does not merge into %s: both changed %.200q; merge the branch into yours, solve it there, and push", head, w.m.Ref, strings.Join(parts[1:], ", "))
	}
	next, err := w.writeCommit(ctx, parts[0], w.from, head)
	if w.asks {
		w.ghost = next
	}
	return next, err
}

// sides brings the contents that a merge compares, in one request: what either side changed since their merge bases.
func (w *maker) sides(ctx context.Context, head object.OID) error {
	out, code, err := w.scratch.Git(ctx, nil, "merge-base", "--all", w.from.String(), head.String())
	if err != nil {
		return err
	}
	bases := strings.Fields(string(out))
	if code != 0 || len(bases) == 0 {
		return remit.Errorf(remit.BadObject, "%s and %s have no history in common", w.m.Ref, head)
	}
	if slices.Contains(bases, head.String()) {
		return remit.Errorf(remit.Conflict, "there is nothing to merge: %s holds %s already", w.m.Ref, head)
	}
	if len(bases) > maxBases {
		return remit.Errorf(remit.TooLargeToJudge, "the two sides have %d merge bases; merge one of them by hand first", len(bases))
	}
	seen := map[object.OID]bool{}
	var want []object.OID
	for _, b := range bases {
		for _, side := range []object.OID{w.from, head} {
			out, err := w.git(ctx, nil, "diff-tree", "-r", "-z", "--raw", "--no-renames", "--no-abbrev", b, side.String())
			if err != nil {
				return err
			}
			for line := range strings.SplitSeq(string(out), "\x00") {
				f := strings.Fields(line)
				if !strings.HasPrefix(line, ":") || len(f) != 5 {
					continue
				}
				for i, id := range f[2:4] {
					oid, err := object.ParseOID(id)
					mode := strings.TrimPrefix(f[i], ":")
					if err != nil || oid.IsZero() || mode == "160000" || seen[oid] {
						continue
					}
					seen[oid] = true
					want = append(want, oid)
				}
			}
		}
	}
	if len(want) > maxBlobs {
		return remit.Errorf(remit.TooLargeToJudge, "the two sides changed more than %d files; merge in smaller steps", maxBlobs)
	}
	return w.view.Prefetch(ctx, want...)
}

// pack spools a pack of the new objects that next reaches, and reads it as any other.
func (w *maker) pack(ctx context.Context, next object.OID) error {
	made, err := w.scratch.Reach(next)
	if err != nil {
		return err
	}
	var list bytes.Buffer
	for _, oid := range made {
		fmt.Fprintln(&list, oid)
	}
	out, err := w.git(ctx, list.Bytes(), "pack-objects", "--stdout", "-q", "--delta-base-offset")
	if err != nil {
		return err
	}
	w.spool = &spooled{dir: w.g.spool}
	if w.spool.file, err = os.CreateTemp(w.g.spool, "pack-*"); err != nil {
		return remit.Errorf(remit.NoSpace, "the new objects cannot be spooled: %w", err)
	}
	if w.spool.index, err = pack.Ingest(ctx, bytes.NewReader(out), w.spool.file, pack.Limits{PackBytes: w.g.MaxPack}); err != nil {
		return err
	}
	w.spool.size, w.spool.digest = w.spool.index.Size(), w.spool.index.Digest()
	return nil
}

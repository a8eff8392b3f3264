package change

import (
	"bytes"
	"compress/zlib"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit/gateway/git/internal/object"
	"github.com/remit-dev/remit/gateway/git/internal/pack"
)

type body struct {
	typ  object.Type
	data []byte
}

// repo is a store of objects in memory. As a Base it answers with what its
// refs reach, plus, for blobs that are only asked for, what lies there.
type repo struct {
	t       testing.TB
	objects map[object.OID]body
	refs    map[string]object.OID
	date    int
}

func newRepo(t testing.TB) *repo {
	return &repo{t: t, objects: map[object.OID]body{}, refs: map[string]object.OID{}, date: 1700000000}
}

func (r *repo) put(typ object.Type, data []byte) object.OID {
	oid, err := object.Hash(typ, data)
	if err != nil {
		r.t.Fatal(err)
	}
	r.objects[oid] = body{typ, data}
	return oid
}

// files describes a tree: path to content. A content "link:TARGET" is a
// symbolic link, "commit:HEX" a submodule, "tree:HEX" and "blob:HEX" existing
// objects, "exec:TEXT" an executable file.
type files map[string]string

func (f files) with(more files) files {
	out := files{}
	for _, m := range []files{f, more} {
		for k, v := range m {
			out[k] = v
			if v == "-" {
				delete(out, k)
			}
		}
	}
	return out
}

func (r *repo) tree(f files) object.OID {
	var entries []object.Entry
	below := map[string]files{}
	for path, content := range f {
		dir, rest, nested := strings.Cut(path, "/")
		if nested {
			if below[dir] == nil {
				below[dir] = files{}
			}
			below[dir][rest] = content
			continue
		}
		kind, text, tagged := strings.Cut(content, ":")
		e := object.Entry{Mode: object.ModeFile, Name: path}
		switch {
		case tagged && kind == "link":
			e.Mode, e.OID = object.ModeSymlink, r.put(object.Blob, []byte(text))
		case tagged && kind == "commit":
			e.Mode, e.OID = object.ModeGitlink, r.oid(text)
		case tagged && kind == "tree":
			e.Mode, e.OID = object.ModeTree, r.oid(text)
		case tagged && kind == "blob":
			e.OID = r.oid(text)
		case tagged && kind == "exec":
			e.Mode, e.OID = object.ModeExec, r.put(object.Blob, []byte(text))
		default:
			e.OID = r.put(object.Blob, []byte(content))
		}
		entries = append(entries, e)
	}
	for dir, f := range below {
		entries = append(entries, object.Entry{Mode: object.ModeTree, Name: dir, OID: r.tree(f)})
	}
	key := func(e object.Entry) string {
		if e.Mode == object.ModeTree {
			return e.Name + "/"
		}
		return e.Name
	}
	slices.SortFunc(entries, func(a, b object.Entry) int { return strings.Compare(key(a), key(b)) })
	return r.put(object.Tree, object.AppendTree(nil, entries))
}

func (r *repo) oid(text string) object.OID {
	o, err := object.ParseOID(text)
	if err != nil {
		r.t.Fatal(err)
	}
	return o
}

func (r *repo) commitTree(tree object.OID, parents ...object.OID) object.OID {
	r.date += 60
	return r.commitAt(r.date, tree, parents...)
}

func (r *repo) commitAt(date int, tree object.OID, parents ...object.OID) object.OID {
	var b strings.Builder
	fmt.Fprintf(&b, "tree %s\n", tree)
	for _, p := range parents {
		fmt.Fprintf(&b, "parent %s\n", p)
	}
	fmt.Fprintf(&b, "author A <a@example.org> %d +0000\ncommitter C <c@example.org> %d +0000\n\nmessage\n", date, date)
	return r.put(object.Commit, []byte(b.String()))
}

func (r *repo) commit(f files, parents ...object.OID) object.OID {
	return r.commitTree(r.tree(f), parents...)
}

func (r *repo) tag(name string, typ object.Type, target object.OID) object.OID {
	return r.put(object.Tag, fmt.Appendf(nil, "object %s\ntype %s\ntag %s\ntagger T <t@example.org> 1700000000 +0000\n\nm\n", target, typ, name))
}

// reach adds all that is reachable from tips to seen.
func (r *repo) reach(seen map[object.OID]bool, tips ...object.OID) {
	for _, oid := range tips {
		b, ok := r.objects[oid]
		if seen[oid] || !ok {
			continue
		}
		seen[oid] = true
		switch b.typ {
		case object.Commit:
			tree, parents, _, _ := object.CommitLinks(b.data)
			r.reach(seen, append(parents, tree)...)
		case object.Tag:
			tag, err := object.ParseTag(b.data)
			if err != nil {
				r.t.Fatal(err)
			}
			r.reach(seen, tag.Target)
		case object.Tree:
			entries, err := object.ParseKnownTree(b.data)
			if err != nil {
				r.t.Fatal(err)
			}
			for _, e := range entries {
				if e.Mode != object.ModeGitlink {
					r.reach(seen, e.OID)
				}
			}
		}
	}
}

// base is what upstream has: the objects that its refs reach.
type base struct {
	repo *repo
	refs map[string]object.OID
	seen map[object.OID]bool
}

func (r *repo) base() *base {
	b := &base{repo: r, refs: map[string]object.OID{}, seen: map[object.OID]bool{}}
	for name, oid := range r.refs {
		b.refs[name] = oid
		r.reach(b.seen, oid)
	}
	return b
}

func (b *base) Object(_ context.Context, oid object.OID) (object.Type, []byte, error) {
	if !b.seen[oid] {
		return 0, nil, fmt.Errorf("%s: %w", oid, ErrNotFound)
	}
	o := b.repo.objects[oid]
	return o.typ, o.data, nil
}

func (b *base) Refs() map[string]object.OID { return b.refs }

func (b *base) Reachable(_ context.Context, blobs []object.OID) ([]bool, error) {
	out := make([]bool, len(blobs))
	for i, oid := range blobs {
		out[i] = b.seen[oid] && b.repo.objects[oid].typ == object.Blob
	}
	return out, nil
}

// write makes a pack of the objects.
func (r *repo) write(oids []object.OID) []byte {
	slices.SortFunc(oids, object.OID.Compare)
	out := binary.BigEndian.AppendUint32([]byte("PACK\x00\x00\x00\x02"), uint32(len(oids)))
	for _, oid := range oids {
		b := r.objects[oid]
		size := len(b.data)
		head := byte(b.typ)<<4 | byte(size&15)
		for size >>= 4; size > 0; size >>= 7 {
			out = append(out, head|0x80)
			head = byte(size & 0x7f)
		}
		var z bytes.Buffer
		w := zlib.NewWriter(&z)
		w.Write(b.data)
		w.Close()
		out = append(append(out, head), z.Bytes()...)
	}
	sum := sha1.Sum(out)
	return append(out, sum[:]...)
}

// packed gives the resolved pack of the objects.
func (r *repo) packed(oids []object.OID) *pack.Pack {
	r.t.Helper()
	spool, err := os.CreateTemp(r.t.TempDir(), "spool")
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { spool.Close() })
	x, err := pack.Ingest(context.Background(), bytes.NewReader(r.write(oids)), spool, pack.Limits{})
	if err != nil {
		r.t.Fatal(err)
	}
	p, err := pack.Resolve(context.Background(), x, spool, pack.Options{Dir: r.t.TempDir()})
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { p.Close() })
	return p
}

// missing gives what the new values reach and upstream does not have.
func (r *repo) missing(b *base, commands []Command) []object.OID {
	want := map[object.OID]bool{}
	for _, c := range commands {
		r.reach(want, c.New)
	}
	var out []object.OID
	for oid := range want {
		if !b.seen[oid] {
			out = append(out, oid)
		}
	}
	return out
}

// control is the surface of the tests.
var control = Control{
	Match: func(p string) bool {
		return strings.HasPrefix(p, ".github/") || p == ".gitmodules" || p == "codeowners"
	},
	Parent: func(p string) bool { return p == ".github" || p == ".github/workflows" },
}

// input is the push of the commands with all that upstream lacks.
func (r *repo) input(commands ...Command) Input {
	b := r.base()
	return Input{Commands: commands, Pack: r.packed(r.missing(b, commands)), Base: b, Trusted: "refs/heads/main", Control: control}
}

func (r *repo) push(commands ...Command) *Push {
	r.t.Helper()
	p, err := Facts(context.Background(), r.input(commands...))
	if err != nil {
		r.t.Fatal(err)
	}
	return p
}

// one pushes one ref from where upstream has it.
func (r *repo) one(ref string, new object.OID) *Ref {
	r.t.Helper()
	p := r.push(Command{ref, r.refs[ref], new})
	if len(p.Findings) > 0 {
		r.t.Fatalf("findings about the push: %v", p.Findings)
	}
	return &p.Refs[0]
}

// list writes changes as "kind path", with " (history)" and " (merged)".
func list(changes []Change) string {
	var out []string
	for _, c := range changes {
		line := c.Kind + " " + c.Path
		if c.InHistoryOnly {
			line += " (history)"
		}
		if c.Merged {
			line += " (merged)"
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func wantList(t *testing.T, what string, changes []Change, lines ...string) {
	t.Helper()
	if got, want := list(changes), strings.Join(lines, "\n"); got != want {
		t.Errorf("%s:\n%s\nwant:\n%s", what, got, want)
	}
}

func wantFindings(t *testing.T, findings []Finding, want ...string) {
	t.Helper()
	var got []string
	for _, f := range findings {
		if f.Sentence == "" {
			t.Errorf("%s %s has no sentence", f.Code, f.Path)
		}
		got = append(got, f.Code+" "+f.Path)
	}
	if !slices.Equal(got, want) {
		t.Errorf("findings %q, want %q", got, want)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e *object.Error
	if !errors.As(err, &e) || e.Code != code || e.Sentence == "" {
		t.Fatalf("got %v, want code %s with a sentence", err, code)
	}
}

// toGit writes all objects into a bare repository of git.
func (r *repo) toGit() (dir string) {
	r.t.Helper()
	dir = r.t.TempDir()
	r.git(dir, nil, "init", "-q", "--bare")
	var all []object.OID
	for oid := range r.objects {
		all = append(all, oid)
	}
	r.git(dir, r.write(all), "index-pack", "--stdin")
	return dir
}

func (r *repo) git(dir string, stdin []byte, args ...string) string {
	r.t.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		r.t.Skip("git is not installed: there is nothing to compare with")
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C", "GIT_NO_REPLACE_OBJECTS=1")
	cmd.Stdin = bytes.NewReader(stdin)
	var out, text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &text
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, text.String())
	}
	return out.String()
}

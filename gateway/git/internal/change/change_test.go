package change

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

const (
	main    = "refs/heads/main"
	feature = "refs/heads/remit/T-1/x"
)

var start = files{"README": "hello\n", "src/a.go": "package a\n", "src/b.go": "package b\n", ".github/workflows/ci.yml": "on: push\nrun: strict\n"}

// seeded has main at a first commit.
func seeded(t testing.TB) (*repo, object.OID) {
	r := newRepo(t)
	first := r.commit(start)
	r.refs[main] = first
	return r, first
}

func TestOneCommitOnANewBranch(t *testing.T) {
	r, first := seeded(t)
	next := r.commit(start.with(files{"src/a.go": "package a // new\n", "src/c.go": "package c\n", "README": "-"}), first)
	got := r.one(feature, next)
	if got.Op != OpCreate || got.Base != first || got.Commit != next || len(got.Commits) != 1 || len(got.Brought) != 1 || got.Tree.IsZero() {
		t.Errorf("%+v", got)
	}
	if len(got.Authors) != 2 || got.Authors[0].Email != "a@example.org" {
		t.Errorf("authors %v", got.Authors)
	}
	wantList(t, "changes", got.Changes, "delete README", "modify src/a.go", "add src/c.go")
	wantList(t, "pinned", got.Pinned)
	wantFindings(t, got.Findings)
}

func TestOperations(t *testing.T) {
	r, first := seeded(t)
	second := r.commit(start.with(files{"README": "2\n"}), first)
	third := r.commit(start.with(files{"README": "3\n"}), second)
	side := r.commit(start.with(files{"README": "side\n"}), first)
	r.refs[feature] = second
	for name, c := range map[string]struct {
		new object.OID
		op  string
	}{"fast-forward": {third, OpUpdate}, "sideways": {side, OpForce}, "back": {first, OpForce}, "delete": {object.OID{}, OpDelete}} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			got := r.one(feature, c.new)
			if got.Op != c.op {
				t.Errorf("op %s, want %s", got.Op, c.op)
			}
			wantFindings(t, got.Findings)
		})
	}
	got := r.one(feature, first)
	wantList(t, "changes of going back", got.Changes, "modify README (merged)")
	r.refs[main] = third
	wantList(t, "changes of main going back", r.one(main, first).Changes, "modify README")
	r.refs[main] = first
	r.refs["refs/tags/v1"] = first
	if got := r.one("refs/tags/v1", third); got.Op != OpForce {
		t.Errorf("a tag moves by %s", got.Op)
	}
	moved := r.push(Command{feature, first, third})
	wantFindings(t, moved.Refs[0].Findings, "REF_MOVED "+feature)
}

// A30.
func TestMerges(t *testing.T) {
	r, first := seeded(t)
	ci, weak := ".github/workflows/ci.yml", "on: push\nrun: nothing\n"
	work := r.commit(start.with(files{"src/a.go": "work\n"}), first)
	r.refs[feature] = work
	onMain := r.commit(start.with(files{"src/b.go": "main\n", ci: "on: push\nrun: stricter\n"}), first)
	r.refs[main] = onMain
	both := start.with(files{"src/a.go": "work\n", "src/b.go": "main\n", ci: "on: push\nrun: stricter\n"})

	t.Run("a clean merge of main adds nothing of its own", func(t *testing.T) {
		r.t = t
		got := r.one(feature, r.commit(both, work, onMain))
		wantList(t, "changes", got.Changes, "modify "+ci+" (merged)", "modify src/b.go (merged)")
		wantList(t, "pinned", got.Pinned)
	})
	t.Run("a merge of what main was adds nothing of its own either", func(t *testing.T) {
		r.t = t
		defer func(tip object.OID) { r.refs[main] = tip }(r.refs[main])
		merge := r.commit(both, work, onMain)
		r.refs[main] = r.commit(start.with(files{"src/b.go": "main has moved on\n"}), onMain)
		got := r.one(feature, merge)
		wantList(t, "changes", got.Changes, "modify "+ci+" (merged)", "modify src/b.go (merged)")
		wantList(t, "pinned", got.Pinned, "modify "+ci)
	})
	t.Run("an evil merge shows", func(t *testing.T) {
		r.t = t
		got := r.one(feature, r.commit(both.with(files{ci: weak, "src/evil.go": "x\n"}), work, onMain))
		wantList(t, "changes", got.Changes, "modify "+ci, "modify src/b.go (merged)", "add src/evil.go")
		wantList(t, "pinned", got.Pinned, "modify "+ci)
	})
	t.Run("an evil merge that is put right again shows in history", func(t *testing.T) {
		r.t = t
		evil := r.commit(both.with(files{ci: weak}), work, onMain)
		got := r.one(feature, r.commit(both, evil))
		wantList(t, "changes", got.Changes, "modify "+ci+" (merged)", "modify "+ci+" (history)", "modify src/b.go (merged)")
	})
	t.Run("-s ours keeps the old workflow and is pinned", func(t *testing.T) {
		r.t = t
		got := r.one(feature, r.commit(start.with(files{"src/a.go": "work\n"}), work, onMain))
		wantList(t, "changes", got.Changes)
		wantList(t, "pinned", got.Pinned, "modify "+ci)
	})
	t.Run("-s ours on main takes back what main had", func(t *testing.T) {
		r.t = t
		got := r.one(main, r.commit(start.with(files{"src/a.go": "work\n"}), work, onMain))
		wantList(t, "changes", got.Changes, "modify "+ci, "modify src/a.go", "modify src/b.go")
		wantList(t, "pinned", got.Pinned, "modify "+ci)
	})
	t.Run("an octopus is compared with all parents", func(t *testing.T) {
		r.t = t
		third := r.commit(start.with(files{"c": "c\n"}), first)
		got := r.one(feature, r.commit(both.with(files{"c": "c\n", "d": "d\n"}), work, onMain, third))
		wantList(t, "changes", got.Changes, "modify "+ci+" (merged)", "add c", "add d", "modify src/b.go (merged)")
		if len(got.Commits) != 2 {
			t.Errorf("%d new commits", len(got.Commits))
		}
	})
}

// Commits claim any date. A wrong one costs a longer walk, no more.
func TestWrongDates(t *testing.T) {
	r := newRepo(t)
	tree := func(n int) object.OID { return r.tree(files{"n": fmt.Sprint(n)}) }
	root := r.commitAt(20, tree(0))
	fork := r.commitAt(50, tree(1), root)
	skewed := r.commitAt(10, tree(2), fork)
	r.refs[main] = r.commitAt(100, tree(3), skewed)
	if got := r.one(feature, r.commitAt(200, tree(4), fork)); len(got.Commits) != 1 || got.Base != fork {
		t.Errorf("%d new commits, base %s", len(got.Commits), got.Base)
	}
	if got := r.one(feature, r.commitAt(1, tree(5), skewed)); len(got.Commits) != 1 || got.Base != skewed {
		t.Errorf("%d new commits, base %s, want %s", len(got.Commits), got.Base, skewed)
	}
}

func TestObjectsThatAreNotWhatTheyAreNamedAs(t *testing.T) {
	r, first := seeded(t)
	tree, blob := r.tree(files{"new": "dir"}), r.put(object.Blob, []byte("new blob"))
	for name, oid := range map[string]object.OID{
		"tree as file":   r.commit(start.with(files{"x": "blob:" + tree.String()}), first),
		"blob as tree":   r.commit(start.with(files{"x": "tree:" + blob.String()}), first),
		"tree as parent": r.commit(start, first, tree),
		"blob as root":   r.commitTree(blob, first),
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			_, err := Facts(context.Background(), r.input(Command{feature, object.OID{}, oid}))
			wantCode(t, err, object.CodeBadObject)
		})
	}
}

func TestPathThatNobodyCanCheckOut(t *testing.T) {
	r, first := seeded(t)
	next := r.commit(start.with(files{strings.Repeat("d/", maxPath/2) + "f": "x"}), first)
	_, err := Facts(context.Background(), r.input(Command{feature, object.OID{}, next}))
	wantCode(t, err, object.CodeTooLargeJudge)
}

// A31.
func TestAddThenRevertShows(t *testing.T) {
	r, first := seeded(t)
	secret := r.commit(start.with(files{"key.pem": "secret\n"}), first)
	gone := r.commit(start, secret)
	got := r.one(feature, gone)
	wantList(t, "changes", got.Changes, "delete key.pem (history)", "add key.pem (history)")
	if c := got.Changes[1]; c.Commit != secret || c.New != r.put(object.Blob, []byte("secret\n")) {
		t.Errorf("%+v", c)
	}
	// The same path can hold the secret only in between.
	again := r.commit(start.with(files{"README": "fixed\n"}), r.commit(start.with(files{"README": "secret\n"}), first))
	wantList(t, "changes", r.one(feature, again).Changes, "modify README", "modify README (history)")
}

// A32: a branch or tag from before the workflow was made strict.
func TestOldCommitWithWeakerWorkflowIsPinned(t *testing.T) {
	r := newRepo(t)
	ci := ".github/workflows/ci.yml"
	old := r.commit(start.with(files{ci: "run: nothing\n", "CODEOWNERS": "-"}))
	strict := r.commit(start.with(files{"CODEOWNERS": "* @sec\n"}), old)
	r.refs[main] = strict
	for _, ref := range []string{feature, "refs/tags/v1"} {
		got := r.one(ref, old)
		if len(got.Commits) != 0 || got.Base != old {
			t.Errorf("%+v", got)
		}
		wantList(t, "changes", got.Changes)
		wantList(t, "pinned", got.Pinned, "modify "+ci, "delete CODEOWNERS")
	}
	other := start.with(files{ci: "x\n", "README": "y\n"})
	r.refs["refs/heads/other"] = r.commit(other, r.commit(start, strict))
	pinned, err := Differs(context.Background(), r.input(), r.tree(start), r.tree(other))
	if err != nil {
		t.Fatal(err)
	}
	wantList(t, "Differs", pinned, "modify "+ci)
}

// A33.
func TestRenamesAndSubtreeSwaps(t *testing.T) {
	r, first := seeded(t)
	out := r.commit(start.with(files{".github/workflows/ci.yml": "-", "ci.yml": start[".github/workflows/ci.yml"]}), first)
	got := r.one(feature, out)
	wantList(t, "changes", got.Changes, "delete .github/workflows/ci.yml", "add ci.yml")
	wantList(t, "pinned", got.Pinned, "delete .github/workflows/ci.yml")
	// The protected directory becomes a tree that upstream has elsewhere: no
	// object but the root is new.
	src := r.tree(files{"a.go": "package a\n", "b.go": "package b\n"})
	swap := start.with(files{".github/workflows/ci.yml": "-", ".github": "tree:" + src.String()})
	got = r.one(feature, r.commit(swap, first))
	wantList(t, "pinned", got.Pinned, "add .github/a.go", "add .github/b.go", "delete .github/workflows/ci.yml")
	wantFindings(t, got.Findings)
}

// A34, A39.
func TestLinksAndSubmodulesInProtectedPlaces(t *testing.T) {
	r, first := seeded(t)
	bare := start.with(files{".github/workflows/ci.yml": "-"})
	got := r.one(feature, r.commit(bare.with(files{".github": "link:src"}), first))
	wantList(t, "pinned", got.Pinned, "add .github", "delete .github/workflows/ci.yml")
	wantFindings(t, got.Findings, "CONTROL_MODE .github", "PROTECTED_PARENT .github")

	got = r.one(feature, r.commit(bare.with(files{".github": "commit:" + first.String()}), first))
	wantFindings(t, got.Findings, "CONTROL_MODE .github", "PROTECTED_PARENT .github", "SUBMODULE .github")
	if got.Changes[0].NewMode != object.ModeGitlink {
		t.Errorf("%+v", got.Changes[0])
	}
	got = r.one(feature, r.commit(bare.with(files{".github/workflows": "plain file"}), first))
	wantFindings(t, got.Findings, "PROTECTED_PARENT .github/workflows")
	got = r.one(feature, r.commit(start.with(files{".github/workflows/ci.yml": "link:../../src/a.go"}), first))
	wantList(t, "changes", got.Changes, "type .github/workflows/ci.yml")
	wantFindings(t, got.Findings, "CONTROL_MODE .github/workflows/ci.yml")
	got = r.one(feature, r.commit(start.with(files{"src/a.go": "exec:package a\n"}), first))
	wantList(t, "changes", got.Changes, "modify src/a.go")
}

// A35, A36.
func TestNamesThatStandForOthers(t *testing.T) {
	r, first := seeded(t)
	for _, c := range []struct {
		name, path string
		pinned     bool
		findings   []string
	}{
		{"case", ".GITHUB/workflows/x.yml", true, []string{"NAME_COLLISION .GITHUB"}},
		{"zero-width joiner", ".git\u200dhub/x", true, []string{"NAME_COLLISION .git\u200dhub", "NAME_INVISIBLE .git\u200dhub"}},
		{"trailing dot", ".github./x", true, []string{"NAME_COLLISION .github.", "NAME_TRAILING .github."}},
		{"stream", ".github::$INDEX_ALLOCATION/x", true, []string{"NAME_COLLISION .github::$INDEX_ALLOCATION", "NAME_STREAM .github::$INDEX_ALLOCATION"}},
		{"backslash", `.github\workflows\x.yml`, true, []string{`NAME_BACKSLASH .github\workflows\x.yml`}},
		{"short name", "GITHUB~1/x", false, []string{"NAME_SHORT GITHUB~1"}},
		{"NFD", "src/e\u0301", false, []string{"NAME_ENCODING src/e\u0301"}},
		{"not UTF-8", "src/\xff", false, []string{"NAME_ENCODING src/\xff"}},
		{"line feed", "src/a\nb", false, []string{"NAME_CONTROL src/a\nb"}},
		{"quotes", `src/"a"`, false, nil},
		{"readme in other case", "readme", false, []string{"NAME_COLLISION readme"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.t = t
			got := r.one(feature, r.commit(start.with(files{c.path: "x"}), first))
			wantList(t, "changes", got.Changes, "add "+c.path)
			if (len(got.Pinned) > 0) != c.pinned {
				t.Errorf("pinned %v", got.Pinned)
			}
			wantFindings(t, got.Findings, c.findings...)
		})
	}
	// What upstream has already is not held against who changes it.
	odd := r.commit(start.with(files{"con": "1"}), first)
	r.refs[main] = odd
	wantFindings(t, r.one(feature, r.commit(start.with(files{"con": "2"}), odd)).Findings)
}

// A38.
func TestUnrelatedHistory(t *testing.T) {
	r, first := seeded(t)
	root := r.commit(files{"x": "x"})
	got := r.one(feature, root)
	wantFindings(t, got.Findings, "UNRELATED_HISTORY "+root.String())
	wantList(t, "changes", got.Changes, "add x")
	if !got.Base.IsZero() {
		t.Errorf("compared with %s", got.Base)
	}
	got = r.one(feature, r.commit(start.with(files{"x": "x"}), first, root))
	wantFindings(t, got.Findings, "UNRELATED_HISTORY "+root.String())

	empty := newRepo(t)
	got = empty.one(main, empty.commit(start))
	wantFindings(t, got.Findings)
	wantList(t, "pinned in an empty repository", got.Pinned, "add .github/workflows/ci.yml")
}

// A56b: a tree names a blob that only a deleted branch had.
func TestContentThatNobodySaw(t *testing.T) {
	r, first := seeded(t)
	lost := r.put(object.Blob, []byte("of a deleted branch"))
	next := r.commit(start.with(files{"src/c.go": "blob:" + lost.String()}), first)
	commands := []Command{{feature, object.OID{}, next}}
	b := r.base()
	without := func(gone ...object.OID) []object.OID {
		var out []object.OID
		for _, oid := range r.missing(b, commands) {
			keep := true
			for _, g := range gone {
				keep = keep && oid != g
			}
			if keep {
				out = append(out, oid)
			}
		}
		return out
	}
	in := Input{Commands: commands, Base: b, Trusted: main, Control: control, Pack: r.packed(without(lost))}
	p, err := Facts(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	wantFindings(t, p.Refs[0].Findings, "UNSEEN_OBJECT src/c.go")
	// It does not help to delete the file again in a second commit.
	after := r.commit(start, next)
	commands = []Command{{feature, object.OID{}, after}}
	in.Commands, in.Pack = commands, r.packed(without(lost))
	if p, err = Facts(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	wantFindings(t, p.Refs[0].Findings, "UNSEEN_OBJECT src/c.go")

	// A copy of a file that another ref of upstream has needs no content.
	r.refs["refs/heads/other"] = r.commit(files{"z": "of a deleted branch"}, first)
	b = r.base()
	commands = []Command{{feature, object.OID{}, next}}
	in = Input{Commands: commands, Base: b, Trusted: main, Control: control, Pack: r.packed(without(lost))}
	if p, err = Facts(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	wantFindings(t, p.Refs[0].Findings)

	// A56: a tree or commit that is missing ends it.
	deep := r.commit(start.with(files{"deep/er/x": "y"}), r.commit(start.with(files{"q": "q"}), first))
	commands = []Command{{feature, object.OID{}, deep}}
	tree := r.tree(files{"x": "y"})
	_, parents, _, _ := object.CommitLinks(r.objects[deep].data)
	for _, gone := range []object.OID{tree, parents[0]} {
		in = Input{Commands: commands, Base: b, Trusted: main, Control: control, Pack: r.packed(without(gone))}
		_, err = Facts(context.Background(), in)
		wantCode(t, err, object.CodeObjectMissing)
	}
}

// A27: the commit was uploaded to another branch before; the pack is empty.
func TestCommitThatUpstreamHasAlready(t *testing.T) {
	r, first := seeded(t)
	bad := r.commit(start.with(files{"src/a.go": "key\n"}), first)
	tip := r.commit(start.with(files{"src/a.go": "package a2\n", ".github/workflows/ci.yml": "weak\n"}), bad)
	r.refs["refs/heads/playground"] = tip
	in := r.input(Command{main, first, tip})
	if in.Pack.Len() != 0 {
		t.Fatalf("the pack holds %d objects", in.Pack.Len())
	}
	for _, in := range []Input{in, {Commands: in.Commands, Base: in.Base, Trusted: main, Control: control}} {
		p, err := Facts(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		got := p.Refs[0]
		if got.Op != OpUpdate || len(got.Commits) != 2 || len(got.Brought) != 0 {
			t.Errorf("%+v", got)
		}
		wantList(t, "changes", got.Changes, "modify .github/workflows/ci.yml", "modify src/a.go", "modify src/a.go (history)")
		wantList(t, "pinned", got.Pinned, "modify .github/workflows/ci.yml")
	}
}

// A24.
func TestTags(t *testing.T) {
	r, first := seeded(t)
	next := r.commit(start.with(files{"README": "1.0\n"}), first)
	tag := r.tag("v1", object.Commit, next)
	got := r.one("refs/tags/v1", tag)
	if got.Tag == nil || got.Tag.Name != "v1" || got.Commit != next || got.New != tag {
		t.Errorf("%+v", got)
	}
	wantList(t, "changes", got.Changes, "modify README")
	wantFindings(t, got.Findings)
	for name, oid := range map[string]object.OID{
		"tree": r.tree(start), "blob": r.put(object.Blob, []byte("hello\n")),
		"tag of a tree": r.tag("v1", object.Tree, r.tree(start)), "tag of a tag": r.tag("v1", object.Tag, tag),
	} {
		t.Run(name, func(t *testing.T) {
			got := r.push(Command{"refs/tags/v1", object.OID{}, oid}).Refs[0]
			wantFindings(t, got.Findings, "BAD_TAG refs/tags/v1")
			if !got.Commit.IsZero() {
				t.Errorf("%+v", got)
			}
		})
	}
	wantFindings(t, r.one("refs/tags/v2", tag).Findings, "BAD_TAG refs/tags/v2")
	wantFindings(t, r.push(Command{feature, object.OID{}, tag}).Refs[0].Findings, "BAD_TARGET "+feature)
	wantFindings(t, r.push(Command{feature, object.OID{}, r.tree(start)}).Refs[0].Findings, "BAD_TARGET "+feature)
	_, err := Facts(context.Background(), r.input(Command{"refs/tags/v1", object.OID{}, r.tag("v1", object.Tree, next)}))
	wantCode(t, err, object.CodeBadObject)
}

// A59.
func TestObjectsThatNoRefReaches(t *testing.T) {
	r, first := seeded(t)
	next := r.commit(start.with(files{"README": "x\n"}), first)
	commands := []Command{{feature, object.OID{}, next}}
	b := r.base()
	// A commit, a tree and a blob that hide; main's own commit, which a client
	// may send again, does not.
	for _, hidden := range []object.OID{r.commit(start, next), r.put(object.Blob, []byte("hidden"))} {
		in := Input{Commands: commands, Base: b, Trusted: main, Pack: r.packed(append(r.missing(b, commands), hidden, first))}
		p, err := Facts(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		wantFindings(t, p.Findings, "UNREFERENCED "+hidden.String())
	}
}

func TestGitmodules(t *testing.T) {
	r, first := seeded(t)
	good := "[submodule \"lib/x\"]\n\tpath = lib/x\n\turl = https://example.org/x.git\n"
	wantFindings(t, r.one(feature, r.commit(start.with(files{".gitmodules": good}), first)).Findings)
	for name, text := range map[string]string{
		"option as URL":   strings.Replace(good, "https:", "--upload-pack=x", 1),
		"quoted option":   strings.Replace(good, "https:", "\"-u", 1),
		"parent in name":  strings.Replace(good, "lib/x\"", "../x\"", 1),
		"command":         good + "\tupdate = !touch x\n",
		"continued line":  good + "\turl = \\\n-x\n",
		"section in line": "[submodule \"x\"] url = -x\n",
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			wantFindings(t, r.one(feature, r.commit(start.with(files{".gitmodules": text}), first)).Findings, "GITMODULES .gitmodules")
		})
	}
}

func TestLimits(t *testing.T) {
	r, first := seeded(t)
	tip := first
	for i := range 5 {
		tip = r.commit(start.with(files{"README": fmt.Sprint(i), fmt.Sprint("f", i): "x"}), tip)
	}
	in := r.input(Command{feature, object.OID{}, tip}, Command{feature + "2", object.OID{}, tip})
	if _, err := Facts(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	for name, limits := range map[string]Limits{
		"refs": {Refs: 1}, "commits": {Commits: 4}, "walk": {Walk: 4}, "paths": {Paths: 10}, "entries": {Entries: 20},
	} {
		t.Run(name, func(t *testing.T) {
			in := in
			in.Limits = limits
			_, err := Facts(context.Background(), in)
			wantCode(t, err, object.CodeTooLargeJudge)
		})
	}
	for name, c := range map[string][]Command{
		"twice":   {{feature, object.OID{}, tip}, {feature, object.OID{}, tip}},
		"nothing": {{feature, object.OID{}, object.OID{}}},
	} {
		t.Run(name, func(t *testing.T) {
			in := in
			in.Commands = c
			_, err := Facts(context.Background(), in)
			wantCode(t, err, codeBadCommand)
		})
	}
}

// Trees that name each other many times over have more paths than anybody can
// count.
func TestTreeBomb(t *testing.T) {
	r, first := seeded(t)
	inner := "tree:" + r.tree(files{"f": "x"}).String()
	for range 10 {
		level := files{}
		for i := range 10 {
			level[fmt.Sprint("d", i)] = inner
		}
		inner = "tree:" + r.tree(level).String()
	}
	in := r.input(Command{feature, object.OID{}, r.commit(files{"bomb": inner}, first)})
	_, err := Facts(context.Background(), in)
	wantCode(t, err, object.CodeTooLargeJudge)
}

type failing struct{ *base }

var errMirror = errors.New("mirror is gone")

func (failing) Reachable(context.Context, []object.OID) ([]bool, error) { return nil, errMirror }

type silent struct{ *base }

func (silent) Reachable(context.Context, []object.OID) ([]bool, error) { return nil, nil }

func TestFailingMirrorFailsThePush(t *testing.T) {
	r, first := seeded(t)
	in := r.input(Command{feature, object.OID{}, r.commit(files{"b": "hello\n", "a": "x", "src/b.go": "package a\n"}, first)})
	in.Base = failing{r.base()}
	// "hello" is known from README, which the push deletes; "package a" is too.
	if _, err := Facts(context.Background(), in); err != nil {
		t.Fatalf("asked for a blob that a compared tree holds: %v", err)
	}
	r.refs["refs/heads/other"] = r.commit(files{"z": "elsewhere"}, first)
	in = r.input(Command{feature, object.OID{}, r.commit(files{"z": "elsewhere"}, first)})
	in.Base = failing{r.base()}
	if _, err := Facts(context.Background(), in); !errors.Is(err, errMirror) {
		t.Errorf("got %v", err)
	}
	in.Base = silent{r.base()}
	if _, err := Facts(context.Background(), in); err == nil {
		t.Error("a mirror that does not answer is taken for a yes")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Facts(ctx, in); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestUnified(t *testing.T) {
	r, first := seeded(t)
	big := strings.Repeat("line\n", textBlob/4)
	next := r.commit(start.with(files{
		"src/a.go": "package a\n\nfunc F() {} // \u202e\x1b[2J\n", "bin": "\x00\x01", "big": big, "README": "-", "a\nb": "x\n",
	}), first)
	in := r.input(Command{feature, object.OID{}, next})
	p, err := Facts(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	text := Unified(context.Background(), in, p.Refs[0].Changes, 0)
	for _, want := range []string{
		"=== modify src/a.go\n@@ -1,1 +1,3 @@\n package a\n+\n+func F() {} // <U+202E><U+001B>[2J\n",
		"=== delete README (mode 100644 -> 000000)\n@@ -1,1 +0,0 @@\n-hello\n",
		"=== add bin (mode 000000 -> 100644)\n    before: text\n    after:  2 bytes, not text\n",
		fmt.Sprintf("after:  %d bytes\n", len(big)),
		`=== add "a\nb" (`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if cut := Unified(context.Background(), in, p.Refs[0].Changes, 100); len(cut) > 200 || !strings.Contains(cut, "not shown\n") {
		t.Errorf("cut to %d bytes:\n%s", len(cut), cut)
	}
}

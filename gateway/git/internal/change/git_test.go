package change

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// The names are those that tools quote, escape or sort wrongly.
var oddNames = []string{"a", "a.b", "a-b", "a0", "é", "e\u0301", `"q"`, "new\nline", "tab\t", "\xff\xfe", " lead", "-x", "日本", "A", "back\\slash", "z"}

func randomFiles(rng *rand.Rand, f files, steps int) files {
	out := f.with(nil)
	for range steps {
		var parts []string
		for range 1 + rng.IntN(3) {
			parts = append(parts, oddNames[rng.IntN(len(oddNames))])
		}
		path := strings.Join(parts, "/")
		// A path cannot be both file and directory.
		for other := range out {
			if strings.HasPrefix(other, path+"/") || strings.HasPrefix(path, other+"/") {
				delete(out, other)
			}
		}
		switch rng.IntN(6) {
		case 0:
			delete(out, path)
		case 1:
			out[path] = fmt.Sprint("link:t", rng.IntN(3))
		case 2:
			out[path] = fmt.Sprint("exec:x", rng.IntN(3))
		case 3:
			out[path] = fmt.Sprintf("commit:%040x", 1+rng.IntN(3))
		default:
			out[path] = fmt.Sprint("text ", rng.IntN(5))
		}
	}
	return out
}

// gitDiff runs git diff-tree and gives its output as changes.
func (r *repo) gitDiff(dir string, args ...string) []Change {
	r.t.Helper()
	out := r.git(dir, nil, append([]string{"diff-tree", "-r", "-z", "--no-renames", "--no-commit-id", "--full-index"}, args...)...)
	var changes []Change
	fields := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
	for i := 0; i+1 < len(fields); i += 2 {
		var c Change
		var old, new, status string
		if _, err := fmt.Sscanf(fields[i], ":%o %o %s %s %s", &c.OldMode, &c.NewMode, &old, &new, &status); err != nil {
			r.t.Fatalf("%q: %v", fields[i], err)
		}
		c.Old, c.New, c.Path = r.oid(old), r.oid(new), fields[i+1]
		c.Kind = map[string]string{"A": KindAdd, "M": KindModify, "D": KindDelete, "T": KindType}[status]
		changes = append(changes, c)
	}
	slices.SortFunc(changes, byPath)
	return changes
}

func TestNetChangesAreThoseOfGitDiffTree(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	r := newRepo(t)
	type pair struct{ old, new object.OID }
	var pairs []pair
	f := files{}
	for range 60 {
		next := randomFiles(rng, f, 1+rng.IntN(12))
		pairs = append(pairs, pair{r.tree(f), r.tree(next)}, pair{r.tree(next), r.tree(f)})
		f = next
	}
	dir := r.toGit()
	b := r.base()
	for oid := range r.objects {
		b.seen[oid] = true
	}
	for i, p := range pairs {
		want := r.gitDiff(dir, p.old.String(), p.new.String())
		var got []Change
		err := newSource(nil, b, DefaultLimits).diff(context.Background(), p.new, []object.OID{p.old}, visitor{
			leaf: func(path string, new object.Entry, olds []object.Entry) error {
				got = append(got, makeChange(path, new, olds[0]))
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(got, byPath)
		if !slices.Equal(got, want) {
			t.Fatalf("pair %d:\n%s\nwant:\n%s", i, list(got), list(want))
		}
	}
}

// The new commits are those of git rev-list, a fast-forward is what git
// merge-base says, whatever dates the commits claim.
func TestNewCommitsAreThoseOfGitRevList(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 10))
	for round := range 12 {
		r := newRepo(t)
		tree := r.tree(start)
		all := []object.OID{r.commitTree(tree)}
		for range 40 {
			var parents []object.OID
			for range 1 + rng.IntN(3)*rng.IntN(2) {
				if p := all[max(0, len(all)-1-rng.IntN(8))]; !slices.Contains(parents, p) {
					parents = append(parents, p)
				}
			}
			date := r.date + 60
			if r.date = date; round%2 == 1 {
				date -= rng.IntN(600)
			}
			// Equal commits would share an id.
			all = append(all, r.commitAt(date, r.tree(files{"n": fmt.Sprint(len(all))}), parents...))
		}
		dir := r.toGit()
		for range 10 {
			pick := func() object.OID { return all[rng.IntN(len(all))] }
			trusted, old, new := pick(), pick(), pick()
			r.refs[main], r.refs[feature] = trusted, old
			got := r.one(feature, new)
			want := strings.Fields(r.git(dir, nil, "rev-list", new.String(), "^"+old.String(), "^"+trusted.String()))
			// Dates can make a commit count as new that is not, never hide one.
			for _, w := range want {
				if !slices.Contains(got.Commits, r.oid(w)) {
					t.Fatalf("round %d: the new commit %s is left out", round, w)
				}
			}
			if round%2 == 0 && len(want) != len(got.Commits) {
				t.Fatalf("round %d: %d new commits, want %d", round, len(got.Commits), len(want))
			}
			forward := strings.TrimSpace(r.git(dir, nil, "rev-list", "--count", old.String(), "^"+new.String())) == "0"
			if (got.Op == OpUpdate) != forward {
				t.Fatalf("round %d: %s, want a fast-forward: %v", round, got.Op, forward)
			}
			net := slices.DeleteFunc(slices.Clone(got.Changes), func(c Change) bool { return c.InHistoryOnly })
			for i := range net {
				net[i].Merged = false
			}
			if want := r.gitDiff(dir, old.String(), new.String()); !slices.Equal(net, want) {
				t.Fatalf("round %d: net changes\n%s\nwant\n%s", round, list(net), list(want))
			}
		}
	}
}

// What a merge counts is what git diff-tree -c shows.
func TestMergeChangesAreThoseOfGitCombinedDiff(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	r := newRepo(t)
	type merge struct {
		oid     object.OID
		tree    object.OID
		parents []object.OID
	}
	var merges []merge
	for range 25 {
		common := randomFiles(rng, files{}, 10)
		var trees, parents []object.OID
		for range 2 + rng.IntN(2) {
			f := randomFiles(rng, common, rng.IntN(6))
			trees = append(trees, r.tree(f))
			parents = append(parents, r.commitTree(trees[len(trees)-1]))
		}
		tree := r.tree(randomFiles(rng, common, rng.IntN(8)))
		merges = append(merges, merge{r.commitTree(tree, parents...), tree, trees})
	}
	dir := r.toGit()
	b := r.base()
	for oid := range r.objects {
		b.seen[oid] = true
	}
	for i, m := range merges {
		var got []string
		err := newSource(nil, b, DefaultLimits).diff(context.Background(), m.tree, m.parents, visitor{
			leaf: func(path string, _ object.Entry, _ []object.Entry) error {
				got = append(got, path)
				return nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		out := r.git(dir, nil, "diff-tree", "-r", "-z", "-c", "--no-renames", "--no-commit-id", "--name-only", m.oid.String())
		want := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00")
		if out == "" {
			want = nil
		}
		slices.SortFunc(got, cmp.Compare[string])
		slices.SortFunc(want, cmp.Compare[string])
		if !slices.Equal(got, want) {
			t.Fatalf("merge %d: %q, want %q", i, got, want)
		}
	}
}

// One commit on a repository of 20,000 files and 1,000 commits.
func BenchmarkFacts(b *testing.B) {
	r := newRepo(b)
	f := files{}
	for i := range 20_000 {
		f[fmt.Sprintf("d%d/e%d/f%d", i%30, i%700, i)] = fmt.Sprint(i)
	}
	tree := r.tree(f)
	tip := r.commitTree(tree)
	for range 1000 {
		tip = r.commitTree(tree, tip)
	}
	r.refs[main] = tip
	in := r.input(Command{feature, object.OID{}, r.commit(f.with(files{"d1/e1/f1": "new"}), tip)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Facts(context.Background(), in); err != nil {
			b.Fatal(err)
		}
	}
}

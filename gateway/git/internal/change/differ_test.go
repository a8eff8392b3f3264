package change

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// soak gives the seeds of a comparison with git. REMIT_SOAK=50 makes it fifty times as many, others in each run; a
// failure names its seed, and REMIT_SEED repeats that one.
func soak(t testing.TB, rounds int) []uint64 {
	if text := os.Getenv("REMIT_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return []uint64{seed}
	}
	var start uint64
	if n, err := strconv.Atoi(os.Getenv("REMIT_SOAK")); err == nil {
		rounds, start = rounds*n, rand.Uint64()>>1
	}
	seeds := make([]uint64, rounds)
	for i := range seeds {
		seeds[i] = start + uint64(i)
	}
	return seeds
}

// moment is a commit of a random history.
type moment struct {
	oid, tree object.OID
	files     files
	parents   []object.OID
}

// history makes commits with one to three parents: branches, merges that take from each side, from none (-s ours) or what
// neither has (evil ones), criss-cross merges, renames, copies, reverts, second roots. With skew, dates go astray.
func (r *repo) history(rng *rand.Rand, length int, skew bool) []moment {
	var all []moment
	for len(all) < length {
		var parents []moment
		for range 1 + rng.IntN(3)*rng.IntN(2) {
			if len(all) == 0 || rng.IntN(30) == 0 {
				break
			}
			p := all[max(0, len(all)-1-rng.IntN(6))]
			if !slices.ContainsFunc(parents, func(m moment) bool { return m.oid == p.oid }) {
				parents = append(parents, p)
			}
		}
		if n := len(all); n > 3 && rng.IntN(6) == 0 { // the other half of a criss-cross merge
			if last := all[n-1].parents; len(last) == 2 {
				for _, oid := range []object.OID{last[1], last[0]} {
					i := slices.IndexFunc(all, func(m moment) bool { return m.oid == oid })
					parents = append(parents, all[i])
				}
				parents = parents[len(parents)-2:]
			}
		}
		f := files{}
		for i, p := range parents {
			if i == 0 || rng.IntN(3) > 0 { // else the side is thrown away
				for path, text := range p.files {
					if i == 0 || rng.IntN(2) == 0 {
						f[path] = text
					}
				}
			}
		}
		f = randomFiles(rng, apart(f), rng.IntN(5))
		paths := slices.Sorted(maps.Keys(f))
		switch n := rng.IntN(8); {
		case len(paths) == 0:
		case n == 0: // a rename, of a file or by way of its directory
			from := paths[rng.IntN(len(paths))]
			f["moved/"+from] = f[from]
			delete(f, from)
		case n == 1:
			f["copied/"+paths[rng.IntN(len(paths))]] = f[paths[0]]
		case n == 2 && len(all) > 0: // back to what was
			f = all[rng.IntN(len(all))].files.with(nil)
		case n == 3:
			watched := []string{".github/workflows/ci.yml", ".github", ".GITHUB/x", "CODEOWNERS", "codeowners."}
			f[watched[rng.IntN(len(watched))]] = []string{"1", "2", "link:x", "exec:1"}[rng.IntN(4)]
		}
		m := moment{files: apart(f), tree: r.tree(apart(f))}
		for _, p := range parents {
			m.parents = append(m.parents, p.oid)
		}
		r.date += 60
		date := r.date
		if skew {
			date -= rng.IntN(1200)
		}
		m.oid = r.commitAt(date, m.tree, m.parents...)
		if !slices.ContainsFunc(all, func(o moment) bool { return o.oid == m.oid }) {
			all = append(all, m)
		}
	}
	return all
}

// apart drops files that stand where others need a directory.
func apart(f files) files {
	out := f.with(nil)
	for path := range f {
		for i := range path {
			if path[i] == '/' {
				if _, ok := out[path[:i]]; ok {
					delete(out, path)
					break
				}
			}
		}
	}
	return out
}

// asked is one push, with what was found.
type asked struct {
	seed              uint64
	trusted, old, new object.OID
	skew              bool
	got               *Ref
}

// batch asks git diff-tree for many comparisons at once.
type batch struct {
	lines []string
	at    map[string][]Change
}

func (b *batch) pair(old, new object.OID) string {
	line := old.String() + " " + new.String()
	if _, ok := b.at[line]; !ok {
		b.at[line] = nil
		b.lines = append(b.lines, line)
	}
	return line
}

// run fills in the answers. For a pair of trees git says "OLD NEW", for a commit its id, then one or more changes.
func (b *batch) run(r *repo, dir string, args ...string) {
	r.t.Helper()
	out := r.git(dir, []byte(strings.Join(b.lines, "\n")+"\n"), append([]string{"diff-tree", "--stdin", "-r", "-z", "--no-renames", "--full-index"}, args...)...)
	var key string
	for fields := strings.Split(strings.TrimSuffix(out, "\x00"), "\x00"); len(fields) > 0; fields = fields[1:] {
		// A pair ends with a line feed even with -z, a commit does not.
		for fields[0] != "" && fields[0][0] != ':' {
			key, fields[0], _ = strings.Cut(fields[0], "\n")
			if _, ok := b.at[key]; !ok {
				r.t.Fatalf("git answers %q, which was not asked", key)
			}
		}
		if fields[0] == "" {
			continue
		}
		// One colon for each parent: modes, then ids, of the parents and of the result, then the letters.
		n := len(fields[0]) - len(strings.TrimLeft(fields[0], ":"))
		words := strings.Fields(fields[0][n:])
		mode := func(text string) uint32 {
			m, err := strconv.ParseUint(text, 8, 32)
			if err != nil {
				r.t.Fatalf("%q: %v", fields[0], err)
			}
			return uint32(m)
		}
		c := Change{Path: fields[1], OldMode: mode(words[0]), NewMode: mode(words[n]), Old: r.oid(words[n+1]), New: r.oid(words[2*n+1])}
		c.Kind = map[byte]string{'A': KindAdd, 'M': KindModify, 'D': KindDelete, 'T': KindType}[words[2*n+2][0]]
		b.at[key] = append(b.at[key], c)
		fields = fields[1:]
	}
	for key := range b.at {
		slices.SortFunc(b.at[key], byPath)
	}
}

// graph is who descends from whom, as git rev-list says.
type graph map[object.OID][]object.OID

func (g graph) reach(tips ...object.OID) map[object.OID]bool {
	seen := map[object.OID]bool{}
	tips = slices.Clone(tips)
	for len(tips) > 0 {
		oid := tips[len(tips)-1]
		tips = tips[:len(tips)-1]
		if !oid.IsZero() && !seen[oid] {
			seen[oid] = true
			tips = append(tips, g[oid]...)
		}
	}
	return seen
}

// bases are the common ancestors that no other common ancestor descends from.
func (g graph) bases(a, b object.OID) map[object.OID]bool {
	common, of := g.reach(a), g.reach(b)
	maps.DeleteFunc(common, func(oid object.OID, _ bool) bool { return !of[oid] })
	best := maps.Clone(common)
	for oid := range common {
		for parent := range g.reach(g[oid]...) {
			delete(best, parent)
		}
	}
	return best
}

// Random histories: the new commits, what a push adds up to, what its history had in between, what came with merges of
// the trusted branch, and what differs from it in control paths are what git says, asked in a few large batches.
func TestFactsAgreeWithGit(t *testing.T) {
	r := newRepo(t)
	var pushes []asked
	var tips []string
	trees := map[object.OID]object.OID{{}: r.tree(nil)}
	for _, seed := range soak(t, 80) {
		rng := rand.New(rand.NewPCG(seed, 3))
		skew := rng.IntN(3) == 0
		all := r.history(rng, 8+rng.IntN(30), skew)
		for _, m := range all {
			trees[m.oid] = m.tree
			tips = append(tips, m.oid.String())
		}
		for range 5 {
			pick := func() object.OID { return all[rng.IntN(len(all))].oid }
			p := asked{seed: seed, trusted: pick(), old: pick(), new: pick(), skew: skew}
			r.refs = map[string]object.OID{main: p.trusted, feature: p.old}
			if rng.IntN(3) == 0 {
				p.old = object.OID{}
				delete(r.refs, feature)
			}
			push := r.push(Command{feature, p.old, p.new})
			p.got = &push.Refs[0]
			if len(push.Findings) > 0 {
				t.Fatalf("seed %d: %v", seed, push.Findings)
			}
			pushes = append(pushes, p)
		}
	}
	dir := r.toGit()
	commits, history := &batch{at: map[string][]Change{}}, graph{}
	for line := range strings.Lines(r.git(dir, []byte(strings.Join(tips, "\n")+"\n"), "rev-list", "--parents", "--stdin")) {
		words := strings.Fields(line)
		for _, parent := range words[1:] {
			history[r.oid(words[0])] = append(history[r.oid(words[0])], r.oid(parent))
		}
		commits.lines, commits.at[words[0]] = append(commits.lines, words[0]), nil
	}
	commits.run(r, dir, "--root", "-c")
	pairs := &batch{at: map[string][]Change{}}
	for _, p := range pushes {
		pairs.pair(trees[p.got.Base], trees[p.new])
		pairs.pair(trees[p.trusted], trees[p.new])
		for oid := range history.bases(p.new, p.trusted) {
			pairs.pair(trees[oid], trees[p.new])
		}
		for _, oid := range p.got.Commits { // -m: against each parent
			for _, parent := range history[oid] {
				pairs.pair(trees[parent], trees[oid])
			}
		}
	}
	pairs.run(r, dir)
	for i, p := range pushes {
		against := comparison{t: t, asked: p, history: history, trees: trees, pairs: pairs, commits: commits}
		against.commitsAre()
		against.changesAre()
		if i%20 == 0 {
			out := strings.Fields(r.git(dir, nil, "rev-list", p.new.String(), "^"+p.trusted.String(), "^"+cmpOr(p.old, p.trusted).String()))
			if fresh := against.fresh(); len(out) != len(fresh) && !p.skew {
				t.Errorf("seed %d: git rev-list counts %d new commits, its own graph %d", p.seed, len(out), len(fresh))
			}
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d pushes, %d commits, %d comparisons", len(pushes), len(commits.lines), len(pairs.lines))
}

func cmpOr(a, b object.OID) object.OID {
	if a.IsZero() {
		return b
	}
	return a
}

type comparison struct {
	t *testing.T
	asked
	history        graph
	trees          map[object.OID]object.OID
	pairs, commits *batch
}

func (c comparison) errorf(format string, args ...any) {
	c.t.Helper()
	c.t.Errorf("seed %d, %s -> %s on %s: %s", c.seed, name(c.old), c.new, c.trusted, fmt.Sprintf(format, args...))
}

func (c comparison) fresh() map[object.OID]bool {
	known, fresh := c.history.reach(c.old, c.trusted), c.history.reach(c.new)
	maps.DeleteFunc(fresh, func(oid object.OID, _ bool) bool { return known[oid] })
	return fresh
}

// commitsAre compares new commits, operation and base. A wrong date can make a commit count as new that is not, never
// hide one.
func (c comparison) commitsAre() {
	fresh := c.fresh()
	for oid := range fresh {
		if !slices.Contains(c.got.Commits, oid) {
			c.errorf("the new commit %s is left out", oid)
		}
	}
	if len(c.got.Commits) != len(fresh) && !c.skew {
		c.errorf("%d new commits, want %d", len(c.got.Commits), len(fresh))
	}
	op := OpForce
	switch {
	case c.old.IsZero():
		op = OpCreate
	case c.history.reach(c.new)[c.old]:
		op = OpUpdate
	}
	if c.got.Op != op {
		c.errorf("op %s, want %s", c.got.Op, op)
	}
	bases := c.history.bases(c.new, c.trusted)
	switch {
	case !c.old.IsZero():
		if c.got.Base != c.old {
			c.errorf("compared with %s", c.got.Base)
		}
	case len(bases) == 0 && !c.got.Base.IsZero(), len(bases) > 0 && !bases[c.got.Base] && !c.skew,
		c.skew && !c.got.Base.IsZero() && !(c.history.reach(c.new)[c.got.Base] && c.history.reach(c.trusted)[c.got.Base]):
		c.errorf("compared with %s; the merge bases are %v", c.got.Base, bases)
	}
}

func (c comparison) changesAre() {
	between := func(old, new object.OID) []Change { return c.pairs.at[c.pairs.pair(c.trees[old], c.trees[new])] }
	var net, past []Change
	for _, ch := range c.got.Changes {
		if ch.InHistoryOnly {
			past = append(past, ch)
			continue
		}
		ch.Merged = false
		net = append(net, ch)
	}
	want := between(c.got.Base, c.new)
	if !slices.Equal(net, want) {
		c.errorf("net changes\n%s\nwant\n%s", list(net), list(want))
	}
	// What each new commit brought that no parent had: by git's combined difference, and by the difference from each
	// parent (-m), which must say the same.
	results := map[result]bool{}
	for _, oid := range c.got.Commits {
		combined := c.commits.at[oid.String()]
		for _, ch := range combined {
			results[result{ch.Path, ch.NewMode, ch.New}] = true
		}
		counts := map[string]int{}
		for _, parent := range c.history[oid] {
			for _, ch := range between(parent, oid) {
				counts[ch.Path]++
			}
		}
		maps.DeleteFunc(counts, func(_ string, n int) bool { return n < len(c.history[oid]) })
		if n := len(c.history[oid]); n > 0 && len(counts) != len(combined) {
			c.errorf("git says two things of commit %s: %v and %v", oid, counts, combined)
		}
	}
	for _, ch := range net {
		delete(results, result{ch.Path, ch.NewMode, ch.New})
	}
	got := map[result]bool{}
	for _, ch := range past {
		got[result{ch.Path, ch.NewMode, ch.New}] = true
	}
	if !maps.Equal(got, results) {
		c.errorf("in history only\n%v\nwant\n%v", got, results)
	}
	// Control paths against the trusted tip.
	pinned := slices.DeleteFunc(slices.Clone(between(c.trusted, c.new)), func(ch Change) bool { return !control.covers(object.FoldPath(ch.Path)) })
	if !slices.Equal(c.got.Pinned, pinned) {
		c.errorf("pinned\n%s\nwant\n%s", list(c.got.Pinned), list(pinned))
	}
	// Merged is what stands so in the trusted history: at its tip or where the two part.
	bases := slices.Collect(maps.Keys(c.history.bases(c.new, c.trusted)))
	if len(bases) > 1 || c.skew {
		return
	}
	own := map[string]int{}
	for _, oid := range append(bases, c.trusted) {
		for _, ch := range between(oid, c.new) {
			own[ch.Path]++
		}
	}
	for _, ch := range c.got.Changes {
		if want := own[ch.Path] <= len(bases) && !ch.InHistoryOnly; ch.Merged != want {
			c.errorf("%s is marked merged: %v, want %v", ch.Path, ch.Merged, want)
		}
	}
}

// A branch that left main a long time ago still knows where: what it takes back to that state is not its own.
func TestLongBranchKnowsWhereItLeft(t *testing.T) {
	r, first := seeded(t)
	r.refs[main] = r.commit(start.with(files{"README": "main has moved on\n"}), first)
	tip := r.commit(start.with(files{"README": "changed\n", "own": "0"}), first)
	for i := range 3 * slop {
		tip = r.commit(start.with(files{"README": "changed\n", "own": fmt.Sprint(i)}), tip)
	}
	r.refs[feature] = tip
	got := r.one(feature, r.commit(start.with(files{"own": "last"}), tip))
	wantList(t, "changes", got.Changes, "modify README (merged)", "modify own")
}

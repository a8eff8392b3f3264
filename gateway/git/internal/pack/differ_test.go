package pack

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// soak multiplies the rounds of the comparisons with git: REMIT_SOAK=50. With it every run has other seeds; a failure
// names its seed, and REMIT_SEED repeats that one.
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

// thing is an entry of a pack before it is written: whole objects by type, deltas by their base in the same pack.
type thing struct {
	kind uint8
	base int        // of an offset delta: index of the entry it names
	oid  object.OID // of a delta by id
	body []byte     // inflated
	size int        // as the header says; -1: as it is
	back int        // added to the distance of an offset delta
	raw  func(deflated []byte) []byte
}

// takeApart gives the entries of a good pack.
func takeApart(t testing.TB, data []byte) []thing {
	t.Helper()
	x, err := Ingest(context.Background(), bytes.NewReader(data), io.Discard, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	ids := map[int32]object.OID{}
	for _, d := range x.refs {
		ids[d.entry] = d.base
	}
	r := spoolReader{spool: bytes.NewReader(data)}
	var out []thing
	for i := range int32(x.table.n) {
		e := x.table.at(i)
		z, err := r.open(e)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, thing{kind: e.kind, base: int(e.base), oid: ids[i], body: body, size: -1})
	}
	return out
}

// putTogether writes a pack; what the entries say of themselves is believed.
func putTogether(things []thing) []byte {
	var b builder
	at := make([]int, len(things))
	for i, e := range things {
		at[i] = 12 + b.buf.Len()
		size := len(e.body)
		if e.size >= 0 {
			size = e.size
		}
		b.count++
		b.buf.Write(header(e.kind, size))
		switch e.kind {
		case kindOffsetDelta:
			back := e.back
			if e.base >= 0 && e.base < i {
				back += at[i] - at[e.base]
			}
			b.buf.Write(backTo(max(0, back)))
		case kindRefDelta:
			b.buf.Write(e.oid[:])
		}
		z := deflate(e.body)
		if e.raw != nil {
			z = e.raw(z)
		}
		b.buf.Write(z)
	}
	return b.bytes()
}

var (
	fileNames = []string{"a", "a.b", "a-b", "a0", "b", "é", "e\u0301", "\xff", "new\nline", `"q"`, `b\c`, ".github", ".GITHUB", "con", " x"}
	badNames  = []string{".git", ".GIT", "git~1", ".g\u200cit", ".git. ", ".git::$DATA", ".", "..", "a/b", "", `x\.git`, "..git", ".git\xff", ".gi\u200dt\ufffe", ".gitmodules", "gi7eba~1"}
	whos      = []string{"A <a@example.org> 1700000000 +0000", " <> 0 -0000", "Ü <\xff> 9 +9999"}
	badWhos   = []string{"A <a@b> 01 +0000", "A<a@b> 1 +0000", "A <a@b> 1 +000", "A a@b 1 +0000", "A <a@b> -1 +0000", "A <a@b> 99999999999999999999 +0000"}
	modes     = []uint32{object.ModeFile, object.ModeFile, object.ModeExec, object.ModeSymlink, object.ModeGitlink}
)

// randomObjects makes a closed set: blobs, trees, commits with up to three parents, tags.
func randomObjects(t testing.TB, rng *rand.Rand) (out []thing) {
	var blobs, trees, commits []object.OID
	seen := map[object.OID]bool{}
	add := func(typ object.Type, body []byte) object.OID {
		oid := oidOf(t, typ, body)
		if !seen[oid] {
			seen[oid] = true
			out = append(out, thing{kind: uint8(typ), body: body, size: -1})
		}
		return oid
	}
	pick := func(from []object.OID) object.OID { return from[rng.IntN(len(from))] }
	text := []byte("seed\n")
	for range 4 + rng.IntN(12) {
		switch rng.IntN(5) {
		case 0:
			text = nil
		case 1:
			text = bytes.Repeat([]byte{byte(rng.IntN(256))}, rng.IntN(5000))
		default:
			at := rng.IntN(len(text) + 1)
			text = slices.Concat(text[:at], fmt.Appendf(nil, "%x\n", rng.Uint64()), text[at:])
		}
		blobs = append(blobs, add(object.Blob, bytes.Clone(text)))
	}
	for range 3 + rng.IntN(8) {
		var entries []object.Entry
		for range rng.IntN(8) {
			e := object.Entry{Mode: modes[rng.IntN(len(modes))], Name: fileNames[rng.IntN(len(fileNames))], OID: pick(blobs)}
			if len(trees) > 0 && rng.IntN(3) == 0 {
				e.Mode, e.OID = object.ModeTree, pick(trees)
			}
			if slices.ContainsFunc(entries, func(o object.Entry) bool { return o.Name == e.Name }) {
				continue
			}
			entries = append(entries, e)
		}
		trees = append(trees, add(object.Tree, sortedTree(entries)))
	}
	for i := range 2 + rng.IntN(10) {
		body := fmt.Sprintf("tree %s\n", pick(trees))
		var parents []object.OID
		for range rng.IntN(4) {
			if len(commits) > 0 {
				parents = append(parents, pick(commits))
			}
		}
		slices.SortFunc(parents, object.OID.Compare)
		for _, p := range slices.Compact(parents) {
			body += fmt.Sprintf("parent %s\n", p)
		}
		body += fmt.Sprintf("author %s\ncommitter %s\n", whos[rng.IntN(len(whos))], whos[rng.IntN(len(whos))])
		if rng.IntN(4) == 0 {
			body += "gpgsig -----BEGIN\n x\n -----END\n"
		}
		commits = append(commits, add(object.Commit, fmt.Appendf(nil, "%s\nmessage %d\n", body, i)))
	}
	add(object.Tag, fmt.Appendf(nil, "object %s\ntype commit\ntag v1\ntagger %s\n\nm\n", pick(commits), whos[0]))
	add(object.Tag, fmt.Appendf(nil, "object %s\ntype blob\ntag v2\n\nm\n", pick(blobs)))
	return out
}

func sortedTree(entries []object.Entry) []byte {
	key := func(e object.Entry) string {
		if e.Mode == object.ModeTree {
			return e.Name + "/"
		}
		return e.Name
	}
	slices.SortFunc(entries, func(a, b object.Entry) int { return strings.Compare(key(a), key(b)) })
	return object.AppendTree(nil, entries)
}

// judge is git index-pack --strict in an empty repository. With each verdict comes what it found, by id.
type judge struct {
	t    testing.TB
	dir  string
	runs int
}

func newJudge(t testing.TB) *judge {
	dir := t.TempDir()
	mustGit(t, dir, nil, "init", "-q", "--bare")
	return &judge{t: t, dir: dir}
}

func (j *judge) strict(data []byte) ([]object.OID, error) {
	j.t.Helper()
	j.runs++
	in, idx := filepath.Join(j.dir, "in.pack"), filepath.Join(j.dir, "out.idx")
	if err := os.WriteFile(in, data, 0o600); err != nil {
		j.t.Fatal(err)
	}
	if _, err := git(j.t, j.dir, nil, "index-pack", "--strict", "--threads=1", "-o", idx, in); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(idx)
	if err != nil {
		j.t.Fatal(err)
	}
	os.Remove(idx)
	// gitformat-pack(5), version 2: 8 bytes, 256 counts, then the ids in order.
	out := make([]object.OID, binary.BigEndian.Uint32(text[8+255*4:]))
	for i := range out {
		copy(out[i][:], text[8+1024+20*i:])
	}
	return out, nil
}

// ours is both passes and what package change adds to them: everything that an object names is in the pack and of the
// type that it is named as.
func ours(t testing.TB, data []byte) ([]object.OID, error) {
	t.Helper()
	x, err := Ingest(context.Background(), bytes.NewReader(data), io.Discard, Limits{})
	if err != nil {
		return nil, err
	}
	p, err := Resolve(context.Background(), x, bytes.NewReader(data), Options{Dir: os.TempDir()})
	if err != nil {
		return nil, err
	}
	defer p.Close()
	var out []object.OID
	names := func(oid object.OID, as object.Type) {
		if _, typ, _, ok := p.Find(oid); (!ok || typ != as) && err == nil {
			err = object.Refuse(object.CodeObjectMissing, oid.String(), "there is no such %s", as)
		}
	}
	for oid, typ := range p.Objects() {
		out = append(out, oid)
		if typ == object.Blob {
			continue
		}
		_, body, readErr := p.Object(context.Background(), oid)
		if readErr != nil {
			t.Fatalf("%s was resolved, but not read again: %v", oid, readErr)
		}
		switch typ {
		case object.Commit:
			c, parseErr := object.ParseCommit(body)
			if parseErr != nil {
				t.Fatal(parseErr)
			}
			names(c.Tree, object.Tree)
			for _, parent := range c.Parents {
				names(parent, object.Commit)
			}
		case object.Tag:
			tag, parseErr := object.ParseTag(body)
			if parseErr != nil {
				t.Fatal(parseErr)
			}
			names(tag.Target, tag.Type)
		case object.Tree:
			entries, parseErr := object.ParseTree(body)
			if parseErr != nil {
				t.Fatal(parseErr)
			}
			for _, e := range entries {
				switch e.Mode {
				case object.ModeGitlink:
				case object.ModeTree:
					names(e.OID, object.Tree)
				default:
					names(e.OID, object.Blob)
				}
			}
		}
	}
	return out, err
}

// agree fails unless git and we say the same, or we are stricter for a reason of the list.
func (j *judge) agree(data []byte, what string) (accepted bool) {
	j.t.Helper()
	got, err := ours(j.t, data)
	var typed *Error
	if err != nil && !errors.As(err, &typed) {
		j.t.Fatalf("%s: untyped: %v", what, err)
	}
	want, gits := j.strict(data)
	switch {
	case err == nil && gits != nil:
		j.keep(data)
		j.t.Errorf("%s: accepted here, but git says: %v", what, gits)
	case err != nil && gits == nil && reason(err) == "":
		j.keep(data)
		j.t.Errorf("%s: git takes it, and no reason is listed for: %v", what, err)
	case err == nil && !slices.Equal(got, want):
		j.keep(data)
		j.t.Errorf("%s: git finds %v, here are %v", what, want, got)
	}
	return err == nil
}

func (j *judge) keep(data []byte) {
	f, err := os.CreateTemp("", "differ-*.pack")
	if err == nil {
		f.Write(data)
		f.Close()
		j.t.Logf("the pack is %s", f.Name())
	}
}

// mutate spoils one thing of a pack, or nothing that matters, and says what.
func mutate(rng *rand.Rand, data []byte, things []thing) ([]byte, string) {
	all := slices.Clone(things)
	at := rng.IntN(len(all))
	e := &all[at]
	switch rng.IntN(21) {
	case 0, 1: // in the bytes of the pack, checksum made to fit
		broken := bytes.Clone(data[:len(data)-20])
		broken[rng.IntN(len(broken))] ^= 1 << rng.IntN(8)
		return seal(broken), "a bit"
	case 2:
		broken := bytes.Clone(data)
		broken[rng.IntN(len(broken))] ^= 1 << rng.IntN(8)
		return broken, "a bit, checksum as it was"
	case 3:
		return data[:rng.IntN(len(data))], "cut"
	case 4:
		return seal(bytes.Clone(data[:12+rng.IntN(len(data)-32)])), "cut and sealed"
	case 5:
		return slices.Concat(data, data[:1+rng.IntN(len(data))]), "bytes behind it"
	case 6:
		broken := bytes.Clone(data[:len(data)-20])
		binary.BigEndian.PutUint32(broken[8:], uint32(len(all)+rng.IntN(3)-1))
		return seal(broken), "another count"
	case 7:
		return putTogether(slices.Delete(all, at, at+1)), "an entry left out"
	case 8:
		other := rng.IntN(len(all))
		all[at], all[other] = all[other], all[at]
		return putTogether(all), "two entries exchanged"
	case 9:
		return putTogether(append(all, *e)), "an entry twice"
	case 10:
		e.size = max(0, len(e.body)+rng.IntN(5)-2)
		return putTogether(all), "another size"
	case 11:
		e.kind = uint8(rng.IntN(8))
		return putTogether(all), "another type"
	case 12:
		e.back = rng.IntN(41) - 20
		return putTogether(all), "another distance"
	case 13:
		e.raw = func(z []byte) []byte {
			z[rng.IntN(len(z))] ^= 1 << rng.IntN(8)
			return z
		}
		return putTogether(all), "a bit of a zlib stream"
	case 14: // the delta is one by id now: of a base that is there, or not
		e.kind, e.oid = kindRefDelta, object.OID{1}
		for _, base := range all[:at] {
			if base.kind < kindOffsetDelta && rng.IntN(3) == 0 {
				e.oid, _ = object.Hash(object.Type(base.kind), base.body)
			}
		}
		return putTogether(all), "a delta by id"
	case 15: // a short delta
		if e.kind >= kindOffsetDelta {
			_, rest := binary.Uvarint(e.body)
			e.body = append(e.body[:rest:rest], []byte{0, 1, 'x'}[:rng.IntN(4)]...)
			return putTogether(all), "a short delta"
		}
		fallthrough
	case 16:
		var bodies []int
		for i, o := range all {
			if len(o.body) > 0 && o.kind != uint8(object.Blob) {
				bodies = append(bodies, i)
			}
		}
		e = &all[bodies[rng.IntN(len(bodies))]]
		fallthrough
	default: // in the object or delta itself, which is deflated again
		body := bytes.Clone(e.body)
		if len(body) == 0 {
			e.body = []byte{byte(rng.IntN(256))}
			return putTogether(all), "one byte"
		}
		n := rng.IntN(len(body))
		switch rng.IntN(6) {
		case 0:
			body = body[:n]
		case 1:
			body = slices.Insert(body, n, byte(rng.IntN(256)))
		case 2:
			body = slices.Delete(body, n, n+1)
		case 3:
			body[n] ^= 1 << rng.IntN(8)
		case 4: // lines or tree entries, in another order, twice, or left out
			cut := []byte("\n")
			if e.kind == uint8(object.Tree) {
				cut = nil
			}
			parts := pieces(body, cut)
			i, k := rng.IntN(len(parts)), rng.IntN(len(parts))
			switch rng.IntN(3) {
			case 0:
				parts[i], parts[k] = parts[k], parts[i]
			case 1:
				parts = slices.Insert(parts, i, parts[k])
			case 2:
				parts = slices.Delete(parts, i, i+1)
			}
			body = bytes.Join(parts, nil)
		case 5: // something that parsers trip over
			words := slices.Concat(badNames, badWhos, fileNames, []string{"\x00", "\n", "\n\n", "100644 ", "100664 ", "0", "120000 .gitmodules\x00", "tree ", "parent ", "gpgsig x\n", "encoding x\n"})
			body = slices.Insert(body, n, []byte(words[rng.IntN(len(words))])...)
		}
		e.body = body
		return putTogether(all), fmt.Sprintf("the body of entry %d", at)
	}
}

// A50. A thin pack of git resolves to the objects of the whole one where the bases are known, and is refused where not.
func TestThinPacksOfGitResolve(t *testing.T) {
	for _, seed := range soak(t, 4) {
		rng := rand.New(rand.NewPCG(seed, 2))
		dir := randomRepo(t, rng, 12, 3)
		revs := fmt.Appendf(nil, "main\n^main~%d\n", 1+rng.IntN(10))
		base := func(_ context.Context, oid object.OID) (object.Type, []byte, error) {
			name, err := git(t, dir, nil, "cat-file", "-t", oid.String())
			if err != nil {
				return 0, nil, err
			}
			typ, _ := object.ParseType(strings.TrimSpace(string(name)))
			body, err := git(t, dir, nil, "cat-file", typ.String(), oid.String())
			return typ, body, err
		}
		var found [2][]object.OID
		for i, options := range [][]string{{"--thin"}, {}} {
			data := mustGit(t, dir, revs, append([]string{"pack-objects", "--stdout", "-q", "--revs", "--delta-base-offset"}, options...)...)
			p, x, err := load(t, data, Limits{}, Options{Base: base})
			if err != nil {
				t.Fatalf("seed %d, %v: %v", seed, options, err)
			}
			for oid, typ := range p.Objects() {
				found[i] = append(found[i], oid)
				var body bytes.Buffer
				if err := p.Copy(context.Background(), &body, oid); err != nil || oidOf(t, typ, body.Bytes()) != oid {
					t.Errorf("seed %d: %s is read as something else: %v", seed, oid, err)
				}
			}
			if i == 1 {
				continue
			}
			if len(x.refs) == 0 {
				t.Fatalf("seed %d: the pack is not thin: the case tests nothing", seed)
			}
			_, _, err = load(t, data, Limits{}, Options{})
			wantCode(t, err, object.CodeBadPack)
		}
		if !slices.Equal(found[0], found[1]) {
			t.Errorf("seed %d: the thin pack has %v, the whole one %v", seed, found[0], found[1])
		}
	}
}

// pieces gives the lines of a text with what ends them, or the entries of a tree.
func pieces(body, end []byte) (out [][]byte) {
	if end != nil {
		return bytes.SplitAfter(body, end)
	}
	for len(body) > 0 {
		n := min(len(body), bytes.IndexByte(body, 0)+1+len(object.OID{}))
		out, body = append(out, body[:n]), body[n:]
	}
	return out
}

// hostile are packs to begin fuzzing with: whole ones, spoilt ones, and those that git would take.
func hostile(t testing.TB) (out [][]byte) {
	for _, s := range stricter {
		for _, write := range s.packs {
			var b builder
			if write(&b); b.buf.Len() < 64<<10 {
				out = append(out, b.bytes())
			}
		}
	}
	rng := rand.New(rand.NewPCG(1, 5))
	for range 3 {
		things := randomObjects(t, rng)
		whole := putTogether(things)
		out = append(out, whole)
		for range 8 {
			if broken, _ := mutate(rng, whole, things); len(broken) > 32 {
				out = append(out, broken)
			}
		}
	}
	return out
}

// Random repositories, packed by git in many ways, and what becomes of them when one thing is spoilt.
func TestScannerAgreesWithGitIndexPack(t *testing.T) {
	j := newJudge(t)
	accepted := map[bool]int{}
	for _, seed := range soak(t, 14) {
		rng := rand.New(rand.NewPCG(seed, 1))
		whole := putTogether(randomObjects(t, rng))
		dir := t.TempDir()
		mustGit(t, dir, nil, "init", "-q", "--bare")
		mustGit(t, dir, whole, "index-pack", "--strict", "--stdin")
		list := mustGit(t, dir, nil, "cat-file", "--batch-all-objects", "--batch-check=%(objectname)")
		options := []string{"pack-objects", "--stdout", "-q", fmt.Sprint("--window=", rng.IntN(40)), fmt.Sprint("--depth=", rng.IntN(50)), fmt.Sprint("--compression=", rng.IntN(10))}
		if rng.IntN(3) > 0 {
			options = append(options, "--delta-base-offset")
		}
		data := mustGit(t, dir, list, options...)
		if !j.agree(whole, fmt.Sprintf("seed %d, whole", seed)) || !j.agree(data, fmt.Sprintf("seed %d, %v", seed, options)) {
			t.Fatalf("seed %d: a pack of git is refused", seed)
		}
		things := takeApart(t, data)
		for i := range 40 {
			broken, what := mutate(rng, data, things)
			accepted[j.agree(broken, fmt.Sprintf("seed %d, mutation %d: %s", seed, i, what))]++
		}
	}
	t.Logf("of the spoilt packs %d were accepted and %d refused; git ran %d times", accepted[true], accepted[false], j.runs)
}

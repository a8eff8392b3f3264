package pack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// git runs git without any configuration of the machine.
func git(t testing.TB, dir string, stdin []byte, args ...string) ([]byte, error) {
	t.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed: there is nothing to compare with")
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
		"GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@example.org", "GIT_AUTHOR_DATE=1700000000 +0000",
		"GIT_COMMITTER_NAME=C", "GIT_COMMITTER_EMAIL=c@example.org", "GIT_COMMITTER_DATE=1700000000 +0000")
	cmd.Stdin = bytes.NewReader(stdin)
	var out, text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &text
	if err := cmd.Run(); err != nil {
		return out.Bytes(), fmt.Errorf("git %s: %w: %s", strings.Join(args, " "), err, text.String())
	}
	return out.Bytes(), nil
}

func mustGit(t testing.TB, dir string, stdin []byte, args ...string) []byte {
	t.Helper()
	out, err := git(t, dir, stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// randomRepo makes a repository with files that grow, shrink and move, so
// that its packs hold deltas of every kind.
func randomRepo(t testing.TB, rng *rand.Rand, commits, files int) string {
	dir := t.TempDir()
	mustGit(t, dir, nil, "init", "-q", "-b", "main")
	var stream bytes.Buffer
	texts := make([][]byte, files)
	for c := range commits {
		fmt.Fprintf(&stream, "commit refs/heads/main\ncommitter C <c@example.org> %d +0000\ndata 2\nm\n", 1700000000+c)
		for range 1 + rng.IntN(5) {
			i := rng.IntN(files)
			for range 1 + rng.IntN(30) {
				line := fmt.Appendf(nil, "%d %x %x\n", i, rng.Uint64(), rng.Uint64())
				at := 0
				if n := len(texts[i]); n > 0 {
					at = rng.IntN(n)
				}
				texts[i] = append(texts[i][:at:at], append(line, texts[i][at:]...)...)
			}
			fmt.Fprintf(&stream, "M 100644 inline d%d/e%d/f%d\ndata %d\n%s\n", i%7, i%11, i, len(texts[i]), texts[i])
		}
	}
	fmt.Fprintf(&stream, "tag v1\nfrom refs/heads/main\ntagger T <t@example.org> 1700000000 +0000\ndata 2\nv\n")
	mustGit(t, dir, stream.Bytes(), "fast-import", "--quiet", "--force")
	return dir
}

func packOf(t testing.TB, dir string, options ...string) []byte {
	args := append([]string{"pack-objects", "--stdout", "-q", "--all", "--revs"}, options...)
	return mustGit(t, dir, nil, args...)
}

// Every object that git index-pack finds in a pack is found here, with the
// same id, type, size and bytes.
func TestPacksOfGitResolveToWhatGitFinds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for i, options := range [][]string{
		{"--delta-base-offset"}, {}, {"--delta-base-offset", "--depth=50", "--window=50"}, {"--depth=0"},
	} {
		t.Run(strings.Join(options, " "), func(t *testing.T) {
			ctx := context.Background()
			dir := randomRepo(t, rng, 60+20*i, 20)
			data := packOf(t, dir, options...)
			for _, limits := range []Limits{{}, {MemoryBytes: 4 << 10}} {
				p, _, err := load(t, data, limits, Options{})
				if err != nil {
					t.Fatal(err)
				}
				bare := t.TempDir()
				mustGit(t, bare, nil, "init", "-q", "--bare")
				mustGit(t, bare, data, "index-pack", "--strict", "--stdin")
				want := mustGit(t, bare, nil, "cat-file", "--batch-all-objects", "--batch-check")
				var got bytes.Buffer
				for oid, typ := range p.Objects() {
					_, _, size, _ := p.Find(oid)
					fmt.Fprintf(&got, "%s %s %d\n", oid, typ, size)
					var body bytes.Buffer
					if err := p.Copy(ctx, &body, oid); err != nil || oidOf(t, typ, body.Bytes()) != oid {
						t.Fatalf("%s: %v", oid, err)
					}
					if typ == object.Blob {
						continue
					}
					if _, kept, err := p.Object(ctx, oid); err != nil || !bytes.Equal(kept, body.Bytes()) {
						t.Fatalf("%s is kept with other bytes, %v", oid, err)
					}
				}
				if got.String() != string(want) {
					t.Fatalf("objects differ:\n%s\nwant\n%s", got.String(), want)
				}
			}
		})
	}
}

// What git index-pack --strict refuses, Ingest and Resolve refuse. The
// reverse does not hold.
func TestDamagedPacksAreRefusedWhereGitRefusesThem(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	dir := randomRepo(t, rng, 12, 5)
	data := packOf(t, dir, "--delta-base-offset")
	accepted := 0
	for i := range 60 {
		broken := bytes.Clone(data[:len(data)-20])
		switch i % 3 {
		case 0: // one bit, checksum made to fit
			broken[rng.IntN(len(broken))] ^= 1 << rng.IntN(8)
		case 1: // cut off
			broken = broken[:12+rng.IntN(len(broken)-12)]
		case 2: // a piece twice
			at := 12 + rng.IntN(len(broken)-12)
			broken = append(broken[:at:at], broken[max(12, at-rng.IntN(40)):]...)
		}
		broken = seal(broken)
		_, _, err := load(t, broken, Limits{}, Options{})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Errorf("round %d: untyped error: %v", i, err)
			}
			continue
		}
		accepted++
		repo := t.TempDir()
		mustGit(t, repo, nil, "init", "-q", "--bare")
		if _, err := git(t, repo, broken, "index-pack", "--strict", "--stdin"); err != nil {
			t.Errorf("round %d: accepted, but git says: %v", i, err)
		}
	}
	t.Logf("%d of 60 damaged packs have no damage that shows", accepted)
}

// Each tree or commit that git fsck --strict calls an error is refused.
func TestObjectsThatGitFsckRefusesAreRefused(t *testing.T) {
	blob := oidOf(t, object.Blob, []byte("x"))
	link := func(mode, name string) []byte { return append([]byte(mode+" "+name+"\x00"), blob[:]...) }
	tree := oidOf(t, object.Tree, nil)
	commit := func(rest string) []byte { return []byte("tree " + tree.String() + "\n" + rest) }
	who := "A <a@example.org> 1700000000 +0000"
	for name, c := range map[string]struct {
		typ  object.Type
		body []byte
	}{
		"tree .GIT":         {object.Tree, link("100644", ".GIT")},
		"tree git~1":        {object.Tree, link("100644", "git~1")},
		"tree joiner":       {object.Tree, link("100644", ".g\u200cit")},
		"tree stream":       {object.Tree, link("100644", ".git::$DATA")},
		"tree dot":          {object.Tree, link("100644", ".")},
		"tree zero padded":  {object.Tree, link("0100644", "a")},
		"tree unsorted":     {object.Tree, append(link("100644", "b"), link("100644", "a")...)},
		"tree twice":        {object.Tree, append(link("100644", "a"), link("40000", "a")...)},
		"tree modules link": {object.Tree, link("120000", ".gitmodules")},
		"commit no author":  {object.Commit, commit("committer " + who + "\n\nm")},
		"commit two":        {object.Commit, commit("author " + who + "\nauthor " + who + "\ncommitter " + who + "\n\nm")},
		"commit NUL":        {object.Commit, commit("author " + who + "\ncommitter " + who + "\n\nm\x00")},
		"commit date":       {object.Commit, commit("author A <a@example.org> 00 +0000\ncommitter " + who + "\n\nm")},
	} {
		t.Run(name, func(t *testing.T) {
			var b builder
			b.object(object.Blob, []byte("x"))
			b.object(object.Tree, nil)
			b.object(c.typ, c.body)
			repo := t.TempDir()
			mustGit(t, repo, nil, "init", "-q", "--bare")
			if _, err := git(t, repo, b.bytes(), "index-pack", "--strict", "--stdin"); err == nil {
				t.Fatal("git accepts this: the case tests nothing")
			}
			_, _, err := load(t, b.bytes(), Limits{}, Options{})
			wantCode(t, err, object.CodeBadObject)
		})
	}
}

// BenchmarkAgainstIndexPack gives MB of pack per second for both passes and,
// as git-MB/s, for git index-pack on the same pack in the same run.
func BenchmarkAgainstIndexPack(b *testing.B) {
	dir := randomRepo(b, rand.New(rand.NewPCG(5, 6)), 2000, 120)
	data := packOf(b, dir, "--delta-base-offset")
	file := filepath.Join(b.TempDir(), "in.pack")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		b.Fatal(err)
	}
	start := time.Now()
	mustGit(b, b.TempDir(), nil, "index-pack", "--strict", "--threads=1", "-o", filepath.Join(b.TempDir(), "out.idx"), file)
	theirs := time.Since(start)
	spool, err := os.Create(filepath.Join(b.TempDir(), "spool"))
	if err != nil {
		b.Fatal(err)
	}
	defer spool.Close()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var first time.Duration
	for b.Loop() {
		if _, err := spool.Seek(0, io.SeekStart); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		x, err := Ingest(context.Background(), bytes.NewReader(data), spool, Limits{})
		if err != nil {
			b.Fatal(err)
		}
		first += time.Since(start)
		p, err := Resolve(context.Background(), x, spool, Options{Dir: b.TempDir()})
		if err != nil {
			b.Fatal(err)
		}
		p.Close()
	}
	b.ReportMetric(float64(len(data))/1e6/theirs.Seconds(), "git-MB/s")
	b.ReportMetric(float64(len(data))/1e6*float64(b.N)/first.Seconds(), "ingest-MB/s")
}

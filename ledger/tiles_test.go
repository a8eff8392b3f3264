package ledger_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// published is what WriteTiles makes of a store at a size; the bundles come from ReadTile.
func published(t testing.TB, s ledger.Store, k ledger.Signer, verifier string, size uint64) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{}
	err := ledger.WriteTiles(signedAt(t, s, k, size), verifier, ledger.Checkpoint{}, bundles(t, s, size), func(path string, b []byte) error {
		if files[path] != nil {
			t.Fatalf("%s is written twice", path)
		}
		files[path] = &fstest.MapFile{Data: b}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func bundles(t testing.TB, s ledger.Store, size uint64) func(ledger.Tile) ([]byte, error) {
	return func(tile ledger.Tile) ([]byte, error) { return ledger.ReadTile(t.Context(), s, size, tile) }
}

func signedAt(t testing.TB, s ledger.Store, k ledger.Signer, size uint64) []byte {
	t.Helper()
	root, err := tlog.TreeHash(int64(size), ledger.HashReader(t.Context(), s))
	if err != nil {
		t.Fatal(err)
	}
	return sign(t, k, ledger.Head{Size: size, Root: remit.Digest(root)})
}

// theirPolicy lets torchwood accept what one key signs under its own name.
func theirPolicy(t testing.TB, verifier string) torchwood.Policy {
	t.Helper()
	v, err := note.NewVerifier(verifier)
	if err != nil {
		t.Fatal(err)
	}
	return torchwood.ThresholdPolicy(2, torchwood.OriginPolicy(v.Name()), torchwood.SingleVerifierPolicy(v))
}

func TestTilesAreReadByAnotherImplementation(t *testing.T) {
	s := new(ledgertest.Memory)
	k, verifier := key(t)
	policy := theirPolicy(t, verifier)
	const largest = 1<<16 + 300 // a full tile of level 1, and with it one of level 2
	grow(t, s, largest)
	for _, size := range []uint64{1, 2, 255, 256, 257, 511, 512, 1000, 1 << 16, largest} {
		files := published(t, s, k, verifier, size)
		for path, f := range files {
			if path == ledger.CheckpointPath {
				continue
			}
			tile, err := ledger.ParseTilePath(path)
			if err != nil {
				t.Fatal(err)
			}
			// What was computed from the entries is what the store keeps.
			if b, err := ledger.ReadTile(t.Context(), s, size, tile); err != nil || !bytes.Equal(b, f.Data) {
				t.Fatalf("%s at %d entries: %v", path, size, err)
			}
		}
		read, err := torchwood.NewTileFS(files)
		if err != nil {
			t.Fatal(err)
		}
		c, _, err := torchwood.VerifyCheckpoint(files[ledger.CheckpointPath].Data, policy)
		if err != nil || uint64(c.N) != size {
			t.Fatal(c, err)
		}
		client, err := torchwood.NewClient(read)
		if err != nil {
			t.Fatal(err)
		}
		next := int64(0)
		if size <= 1000 {
			for i, leaf := range client.AllEntries(t.Context(), c.Tree, 0) {
				if i != next || !bytes.Equal(leaf, ledgertest.Leaf(int(i))) {
					t.Fatalf("entry %d of %d reads as %x", i, size, leaf)
				}
				next++
			}
			if err := client.Err(); err != nil || uint64(next) != size {
				t.Fatalf("%d of %d entries: %v", next, size, err)
			}
		}
		// Their proofs over our tiles are ours, both are accepted by both, and a consistency proof is the same.
		checkpoint := files[ledger.CheckpointPath].Data
		hashes := torchwood.TileHashReaderWithContext(t.Context(), c.Tree, read)
		for _, i := range []uint64{0, size / 3, size / 2, size - 1} {
			leaf, path, err := client.Entry(t.Context(), c.Tree, int64(i))
			if err != nil {
				t.Fatalf("entry %d of %d: %v", i, size, err)
			}
			theirs := torchwood.FormatProofWithExtraData(int64(i), leaf, path, checkpoint)
			ours, err := ledger.Receipt(t.Context(), s, remit.EntryIndex(i), checkpoint, verifier)
			if err != nil || !bytes.Equal(ours, theirs) {
				t.Fatalf("the receipt of entry %d of %d: %v\n%s\ntheirs\n%s", i, size, err, ours, theirs)
			}
			if err := torchwood.VerifyProof(policy, tlog.RecordHash(leaf), ours); err != nil {
				t.Fatalf("the receipt of entry %d of %d: %v", i, size, err)
			}
			for _, receipt := range [][]byte{theirs, torchwood.FormatProof(int64(i), path, checkpoint)} {
				if at, err := ledger.VerifyReceipt(receipt, leaf, verifier); err != nil || uint64(at) != i {
					t.Fatalf("their receipt of entry %d of %d: %d, %v", i, size, at, err)
				}
			}
			proof, err := tlog.ProveTree(int64(size), int64(i+1), hashes)
			if err != nil {
				t.Fatal(err)
			}
			if mine, err := ledger.Consistency(t.Context(), s, i+1, size); err != nil || !slices.Equal(mine, proof) {
				t.Fatalf("consistency of %d with %d: %v", i+1, size, err)
			}
		}
	}
}

func TestTilesEndWhereTheSignedHeadDoes(t *testing.T) {
	s := new(ledgertest.Memory)
	grow(t, s, 700)
	for path, there := range map[string]bool{
		"tile/0/000": true, "tile/0/001": true, "tile/0/002": false, "tile/0/002.p/88": true, "tile/0/002.p/89": false, "tile/0/000.p/1": true,
		"tile/0/003.p/1": false, "tile/1/000.p/2": true, "tile/1/000.p/3": false, "tile/1/000": false, "tile/2/000.p/1": false,
		"tile/5/000.p/1": false, "tile/entries/000": true, "tile/entries/002": false, "tile/entries/002.p/88": true,
		"tile/entries/002.p/89": false, "tile/0/x999/x999/x999/x999/x999/999": false, "tile/entries/x999/x999/x999/x999/x999/999.p/255": false,
	} {
		tile, err := ledger.ParseTilePath(path)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ledger.ReadTile(t.Context(), s, 600, tile) // 600 of 700 are signed for
		if there != (err == nil) || err != nil && codeOf(err) != remit.NotFound {
			t.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
	}
	for _, path := range []string{"", "checkpoint", "tile", "tile/0", "tile/0/", "tile/0/0", "tile/00/000", "tile/-1/000", "tile/6/000", "tile/0/1000", "tile/0/x000/001",
		"tile/0/x001", "tile/0/001.p/0", "tile/0/001.p/256", "tile/0/001.p/007", "tile/0/001.p", "tile/0/001/", "tile/data/000", "tile/entries/x000/001",
		"/tile/0/000", "tile/0/../0/000", "tile/entries/-01", "tile/0/x999/x999/x999/x999/x999/x999/x999/x999/x999/x999/999", "tile/0/+01"} {
		if tile, err := ledger.ParseTilePath(path); codeOf(err) != remit.NotFound {
			t.Errorf("%q is read as %v, %v", path, tile, err)
		}
	}
}

func codeOf(err error) remit.Code {
	e := (*remit.Error)(nil)
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}

func FuzzTilePath(f *testing.F) {
	for _, path := range []string{"tile/0/000", "tile/entries/x001/234.p/7", "tile/5/x001/x002/003", "tile/data/000"} {
		f.Add(path)
	}
	s := new(ledgertest.Memory)
	grow(f, s, 300)
	f.Fuzz(func(t *testing.T, path string) {
		tile, err := ledger.ParseTilePath(path)
		if err != nil {
			return
		}
		if ledger.TilePath(tile) != path {
			t.Fatalf("%q is read, and written as %q", path, ledger.TilePath(tile))
		}
		b, err := ledger.ReadTile(t.Context(), s, 300, tile)
		if err == nil && !ledger.EntryTile(tile) && len(b) != tile.W*tlog.HashSize || err != nil && codeOf(err) != remit.NotFound {
			t.Fatalf("%s: %d bytes, %v", path, len(b), err)
		}
	})
}

func TestAMirrorRefusesWhatIsNotTheLogThatWasSeen(t *testing.T) {
	s := new(ledgertest.Memory)
	k, verifier := key(t)
	grow(t, s, 600)
	signed, early := signedAt(t, s, k, 600), signedAt(t, s, k, 300)
	seen, err := ledger.OpenCheckpoint(early, verifier)
	if err != nil {
		t.Fatal(err)
	}
	mirror := func(signed []byte, seen ledger.Checkpoint, fetch func(ledger.Tile) ([]byte, error)) error {
		last := ""
		err := ledger.WriteTiles(signed, verifier, seen, fetch, func(path string, _ []byte) error { last = path; return nil })
		if (err == nil) != (last == ledger.CheckpointPath) {
			t.Errorf("%v, and %s was written last", err, last)
		}
		return err
	}
	if err := mirror(signed, seen, bundles(t, s, 600)); err != nil {
		t.Fatalf("the log grew: %v", err)
	}
	late, err := ledger.OpenCheckpoint(signed, verifier)
	if err != nil {
		t.Fatal(err)
	}
	forged := seen
	forged.Root[0] ^= 1
	_, other := key(t)
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"a log that was cut":    {mirror(early, late, bundles(t, s, 300)), "cut"},
		"a log that was forked": {mirror(signed, forged, bundles(t, s, 600)), "forked"},
		"another key": {ledger.WriteTiles(signed, other, ledger.Checkpoint{}, bundles(t, s, 600), func(string, []byte) error {
			t.Error("something was written before the signature was seen to be right")
			return nil
		}), "signed"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	for at := range 40 {
		bad := func(tile ledger.Tile) ([]byte, error) {
			b, err := bundles(t, s, 600)(tile)
			if b = bytes.Clone(b); tile.N == 1 {
				b[at*191%len(b)] ^= 1 << (at % 8)
			}
			return b, err
		}
		if err := mirror(signed, ledger.Checkpoint{}, bad); err == nil {
			t.Errorf("byte %d of a bundle was changed, accepted", at*191)
		}
	}
	for name, change := range map[string]func([]byte) []byte{
		"cut":    func(b []byte) []byte { return b[:len(b)-1] },
		"longer": func(b []byte) []byte { return append(b, 0, 0) },
		"empty":  func([]byte) []byte { return nil },
	} {
		if err := mirror(signed, ledger.Checkpoint{}, func(tile ledger.Tile) ([]byte, error) {
			b, err := bundles(t, s, 600)(tile)
			return change(bytes.Clone(b)), err
		}); err == nil {
			t.Errorf("a bundle that is %s, accepted", name)
		}
	}
	lost := errors.New("lost")
	if err := mirror(signed, ledger.Checkpoint{}, func(ledger.Tile) ([]byte, error) { return nil, lost }); !errors.Is(err, lost) {
		t.Error(err)
	}
}

func TestEveryChangedByteOfAReceiptIsFound(t *testing.T) {
	s := new(ledgertest.Memory)
	k, verifier := key(t)
	checkpoint := sign(t, k, grow(t, s, 21))
	trust := ledger.Trust{Verifier: verifier}
	whole, err := ledger.Receipt(t.Context(), s, 13, checkpoint, verifier)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := ledger.WithoutLeaf(whole)
	if err != nil {
		t.Fatal(err)
	}
	leaf := ledgertest.Leaf(13)
	if p, err := ledger.ReadReceipt(whole, nil, trust); err != nil || p.Index != 13 || !bytes.Equal(p.Leaf, leaf) || p.Checkpoint.Size != 21 || p.Seen {
		t.Fatalf("%+v, %v", p, err)
	}
	if bytes.Contains(bare, []byte(base64.StdEncoding.EncodeToString(leaf))) {
		t.Fatalf("the receipt still holds the entry:\n%s", bare)
	}
	if _, err := ledger.ReadReceipt(bare, nil, trust); err == nil || !strings.Contains(err.Error(), "leaf") {
		t.Errorf("a receipt without its entry, and no leaf: %v", err)
	}
	if _, err := ledger.ReadReceipt(whole, ledgertest.Leaf(12), trust); err == nil || !strings.Contains(err.Error(), "another entry") {
		t.Errorf("the leaf of another entry: %v", err)
	}
	for _, good := range [][]byte{whole, bare} {
		if p, err := ledger.ReadReceipt(good, leaf, trust); err != nil || p.Index != 13 {
			t.Fatalf("%+v, %v", p, err)
		}
		for i := range good {
			for _, mask := range []byte{1, 2, 4, 8, 16, 32, 64, 128, 0xff, 0x55} {
				bad := bytes.Clone(good)
				bad[i] ^= mask
				if _, err := ledger.ReadReceipt(bad, leaf, trust); err == nil {
					t.Fatalf("byte %d changed by %#x, accepted:\n%s", i, mask, bad)
				}
			}
			if _, err := ledger.ReadReceipt(good[:i], leaf, trust); err == nil {
				t.Fatalf("cut to %d bytes, accepted", i)
			}
		}
		for _, tail := range []string{"\n", "x", "\n\n"} {
			if _, err := ledger.ReadReceipt(append(bytes.Clone(good), tail...), leaf, trust); err == nil {
				t.Errorf("with %q after it, accepted", tail)
			}
		}
	}
	if p, err := ledger.ReadReceipt(whole, nil, ledger.Trust{Verifier: verifier, Checkpoint: checkpoint}); err != nil || !p.Seen {
		t.Errorf("under the head that was seen: %+v, %v", p, err)
	}
	if p, err := ledger.ReadReceipt(whole, nil, ledger.Trust{Verifier: verifier, Checkpoint: sign(t, k, ledger.Head{Size: 9, Root: remit.Digest{1}})}); err != nil || p.Seen {
		t.Errorf("under a later head than was seen: %+v, %v", p, err)
	}
	if _, err := ledger.ReadReceipt(whole, nil, ledger.Trust{Verifier: verifier, Checkpoint: sign(t, k, ledger.Head{Size: 21, Root: remit.Digest{1}})}); err == nil ||
		!strings.Contains(err.Error(), "forked") {
		t.Errorf("under another head than was seen: %v", err)
	}
}

func TestAReceiptHasOneEncoding(t *testing.T) {
	s := new(ledgertest.Memory)
	k, verifier := key(t)
	good, err := ledger.Receipt(t.Context(), s, 2, sign(t, k, grow(t, s, 5)), verifier)
	if err != nil {
		t.Fatal(err)
	}
	for old, with := range map[string]string{
		"\nindex 2\n": "\nindex 02\n", "c2sp.org/tlog-proof@v1\n": "c2sp.org/tlog-proof@v2\n", "\nextra ": "\nextra  ", "\nindex ": "\nIndex ",
		"tlog-proof@v1\nextra": "tlog-proof@v1\n\nextra", "\n\n": "\n\n\n", "\nindex 2": "\nindex -2", "index 2\n": "index 2\r\n",
		"index 2": "index 4611686018427387904", "\nextra": "\nmore",
	} {
		if bad := strings.Replace(string(good), old, with, 1); bad == string(good) {
			t.Errorf("%q is not in the receipt", old)
		} else if _, err := ledger.ReadReceipt([]byte(bad), nil, ledger.Trust{Verifier: verifier}); err == nil {
			t.Errorf("%q for %q, accepted", with, old)
		}
	}
	for name, bad := range map[string]string{"nothing": "", "a line": "c2sp.org/tlog-proof@v1\n", "no index": "c2sp.org/tlog-proof@v1\n\n", "only extra data": "c2sp.org/tlog-proof@v1\nextra AA==\n\n",
		"more hashes": strings.Replace(string(good), "\n\n", strings.Repeat("\n"+base64.StdEncoding.EncodeToString(make([]byte, 32)), 70)+"\n\n", 1)} {
		if _, err := ledger.ReadReceipt([]byte(bad), nil, ledger.Trust{Verifier: verifier}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestAReceiptHasAnEnd(t *testing.T) {
	k, verifier := key(t)
	for _, c := range []struct {
		size int
		want bool
	}{{8 << 10, true}, {40 << 10, false}} {
		leaf := make([]byte, c.size)
		tree, _ := ledger.Tree{}.Append(leaf)
		receipt := torchwood.FormatProofWithExtraData(0, leaf, nil, sign(t, k, tree.Head(0)))
		if _, err := ledger.ReadReceipt(receipt, nil, ledger.Trust{Verifier: verifier}); (err == nil) != c.want {
			t.Errorf("a receipt of %d bytes: %v", len(receipt), err)
		}
	}
}

// What we read as a receipt, torchwood reads too, and the other way round but for what has a second encoding.
func FuzzReceipt(f *testing.F) {
	s := new(ledgertest.Memory)
	k, verifier := key(f)
	policy := theirPolicy(f, verifier)
	checkpoint := sign(f, k, grow(f, s, 21))
	for _, i := range []remit.EntryIndex{0, 7, 20} {
		whole, err := ledger.Receipt(f.Context(), s, i, checkpoint, verifier)
		if err != nil {
			f.Fatal(err)
		}
		bare, err := ledger.WithoutLeaf(whole)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(whole, byte(i))
		f.Add(bare, byte(i))
	}
	f.Fuzz(func(t *testing.T, receipt []byte, i byte) {
		leaf := ledgertest.Leaf(int(i))
		p, err := ledger.ReadReceipt(receipt, leaf, ledger.Trust{Verifier: verifier})
		theirs := torchwood.VerifyProof(policy, tlog.RecordHash(leaf), receipt)
		if err == nil && (theirs != nil || p.Index != remit.EntryIndex(i)) {
			t.Fatalf("accepted as entry %d; torchwood says %v", p.Index, theirs)
		}
	})
}

package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"github.com/transparency-dev/merkle/testonly"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// grow appends to a store until it has size entries.
func grow(t testing.TB, s ledger.Store, size int) ledger.Head {
	t.Helper()
	tree, head, err := ledger.OpenTree(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for int(tree.Size()) < size {
		n := min(size-int(tree.Size()), 1+int(tree.Size())%5)
		var leaves [][]byte
		for i := range n {
			leaves = append(leaves, ledgertest.Leaf(int(tree.Size())+i))
		}
		next, hashes := tree.Append(leaves...)
		if err := s.Append(t.Context(), head, ledger.Batch{Entries: leaves, Hashes: hashes, Next: next.Head(head.Epoch)}); err != nil {
			t.Fatal(err)
		}
		tree, head = next, next.Head(head.Epoch)
	}
	return head
}

func TestRootsAndProofsAreThoseOfAnotherImplementation(t *testing.T) {
	const largest = 5000
	oracle := testonly.New(rfc6962.DefaultHasher)
	s := new(ledgertest.Memory)
	for size := 0; size <= largest; size++ {
		head := grow(t, s, size)
		if got, want := head.Root, remit.Digest(oracle.HashAt(uint64(size))); got != want {
			t.Fatalf("root of %d entries: %s, want %s", size, got, want)
		}
		if size > 0 && (size < 40 || size%7 == 0 || size&(size-1) <= 1 || size == largest) {
			step := 1 // all places of a small tree, of a large one some that differ from size to size
			if size >= 40 {
				step = 1 + size/5
			}
			for i := size % step; i < size; i += step {
				p, err := tlog.ProveRecord(int64(size), int64(i), ledger.HashReader(t.Context(), s))
				if err != nil {
					t.Fatal(err)
				}
				if err := proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(i), uint64(size), rfc6962.DefaultHasher.HashLeaf(ledgertest.Leaf(i)), plain(p), head.Root[:]); err != nil {
					t.Fatalf("entry %d of %d: %v", i, size, err)
				}
				old := uint64(i + 1)
				c, err := ledger.Consistency(t.Context(), s, old, uint64(size))
				if err != nil {
					t.Fatal(err)
				}
				if err := proof.VerifyConsistency(rfc6962.DefaultHasher, old, uint64(size), plain(c), oracle.HashAt(old), head.Root[:]); err != nil {
					t.Fatalf("%d to %d: %v", old, size, err)
				}
			}
		}
		oracle.AppendData(ledgertest.Leaf(size))
	}
}

func plain[P ~[]tlog.Hash](p P) [][]byte {
	var out [][]byte
	for _, h := range p {
		out = append(out, h[:])
	}
	return out
}

// The other way round: what the other implementation proves is what tlog and so we accept, and it is the same path.
func TestProofsOfAnotherImplementationAreAccepted(t *testing.T) {
	oracle := testonly.New(rfc6962.DefaultHasher)
	s := new(ledgertest.Memory)
	for size := uint64(1); size <= 130; size++ {
		head := grow(t, s, int(size))
		oracle.AppendData(ledgertest.Leaf(int(size - 1)))
		for i := range size {
			theirs, err := oracle.InclusionProof(i, size)
			if err != nil {
				t.Fatal(err)
			}
			if err := tlog.CheckRecord(hashes(theirs), int64(size), tlog.Hash(head.Root), int64(i), tlog.RecordHash(ledgertest.Leaf(int(i)))); err != nil {
				t.Fatalf("entry %d of %d: %v", i, size, err)
			}
			if theirs, err = oracle.ConsistencyProof(i+1, size); err != nil {
				t.Fatal(err)
			}
			ours, err := ledger.Consistency(t.Context(), s, i+1, size)
			if err != nil || !slices.Equal(ours, hashes(theirs)) {
				t.Fatalf("%d to %d: %v, %v and %v", i+1, size, err, ours, theirs)
			}
			if err := tlog.CheckTree(hashes(theirs), int64(size), tlog.Hash(head.Root), int64(i+1), tlog.Hash(oracle.HashAt(i+1))); err != nil {
				t.Fatalf("%d to %d: %v", i+1, size, err)
			}
		}
	}
}

func hashes(proof [][]byte) []tlog.Hash {
	out := []tlog.Hash{}
	for _, h := range proof {
		out = append(out, tlog.Hash(h))
	}
	return out
}

func TestATreeThatWasNotCommittedIsForgotten(t *testing.T) {
	tree, _ := ledger.Tree{}.Append(ledgertest.Leaf(0), ledgertest.Leaf(1), ledgertest.Leaf(2))
	root := tree.Root()
	one, _ := tree.Append(ledgertest.Leaf(3))
	tree.Append(ledgertest.Leaf(9), ledgertest.Leaf(8))
	again, _ := tree.Append(ledgertest.Leaf(3))
	if tree.Root() != root || one.Root() != again.Root() {
		t.Fatal("appending changed the tree it started from")
	}
}

func key(t testing.TB) (*ledger.FileKey, string) {
	t.Helper()
	k, err := ledger.GenerateKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	v, err := ledger.VerifierKey("log.example/acme", k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k, v
}

func sign(t testing.TB, k ledger.Signer, h ledger.Head) []byte {
	t.Helper()
	c, err := ledger.SignCheckpoint("log.example/acme", h, k)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReceiptsProveTheirEntryOnly(t *testing.T) {
	s := new(ledgertest.Memory)
	k, verifier := key(t)
	_, other := key(t)
	checkpoint := sign(t, k, grow(t, s, 21))
	grow(t, s, 30)
	for i := range 21 {
		receipt, err := ledger.Receipt(t.Context(), s, remit.EntryIndex(i), checkpoint, verifier)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ledger.VerifyReceipt(receipt, ledgertest.Leaf(i), verifier); err != nil || int(got) != i {
			t.Fatalf("receipt of entry %d: %d, %v", i, got, err)
		}
		if _, err := ledger.VerifyReceipt(receipt, ledgertest.Leaf(i+1), verifier); err == nil {
			t.Fatalf("the receipt of entry %d proves another one", i)
		}
		if _, err := ledger.VerifyReceipt(receipt, ledgertest.Leaf(i), other); err == nil {
			t.Fatal("a receipt is accepted under another key")
		}
	}
	if _, err := ledger.Receipt(t.Context(), s, 21, checkpoint, verifier); err == nil {
		t.Fatal("a receipt for an entry after the checkpoint")
	}
}

func TestEveryChangedByteOfACheckpointIsFound(t *testing.T) {
	k, verifier := key(t)
	signed := sign(t, k, ledger.Head{Size: 7, Root: remit.Digest{1}})
	if c, err := ledger.OpenCheckpoint(signed, verifier); err != nil || c.Size != 7 || c.Root != (remit.Digest{1}) || c.Origin != "log.example/acme" {
		t.Fatal(c, err)
	}
	for i := range signed {
		for bit := range 8 {
			bad := bytes.Clone(signed)
			bad[i] ^= 1 << bit
			if _, err := ledger.OpenCheckpoint(bad, verifier); err == nil {
				t.Fatalf("bit %d of byte %d changed, accepted:\n%s", bit, i, bad)
			}
		}
		if _, err := ledger.OpenCheckpoint(signed[:i], verifier); err == nil {
			t.Fatalf("cut to %d bytes, accepted", i)
		}
	}
	for _, tail := range []string{"\n", "x", "— other a2V5c2ln\n"} {
		if _, err := ledger.OpenCheckpoint(append(bytes.Clone(signed), tail...), verifier); err == nil {
			t.Errorf("with %q after it, accepted", tail)
		}
	}
}

func TestKeysOthersMayReadAreRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	k, err := ledger.GenerateKey(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.GenerateKey(path); err == nil {
		t.Fatal("a key was replaced")
	}
	back, err := ledger.LoadKey(path)
	if err != nil || !back.Public().Equal(k.Public()) {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o610} {
		os.Chmod(path, mode)
		if _, err := ledger.LoadKey(path); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %v: %v", mode, err)
		}
	}
	os.Chmod(path, 0o600)
	os.WriteFile(path, []byte("not a key"), 0o600)
	if _, err := ledger.LoadKey(path); err == nil {
		t.Error("a text is taken for a key")
	}
	if _, err := ledger.VerifierKey("two words", k.Public()); err == nil {
		t.Error("an origin with a space")
	}
}

func TestTheSecondHeadFindsAnOldCopyAndAFork(t *testing.T) {
	k, verifier := key(t)
	second := ledger.SecondHead{Path: filepath.Join(t.TempDir(), "head")}
	s := new(ledgertest.Memory)
	if err := ledger.CheckHead(t.Context(), s, second, verifier); err != nil {
		t.Fatalf("a new log without a second head: %v", err)
	}
	if err := second.Write(sign(t, k, grow(t, s, 10))); err != nil {
		t.Fatal(err)
	}
	for size := 10; size < 20; size++ {
		grow(t, s, size)
		if err := ledger.CheckHead(t.Context(), s, second, verifier); err != nil {
			t.Fatalf("%d entries, 10 signed: %v", size, err)
		}
	}
	old := new(ledgertest.Memory)
	grow(t, old, 9)
	fork := func(size int) ledger.Store {
		f := new(ledgertest.Memory)
		tree, hashes := ledger.Tree{}.Append(ledgertest.Leaf(77))
		if err := f.Append(t.Context(), ledger.Empty(), ledger.Batch{Entries: [][]byte{ledgertest.Leaf(77)}, Hashes: hashes, Next: tree.Head(0)}); err != nil {
			t.Fatal(err)
		}
		grow(t, f, size)
		return f
	}
	for name, test := range map[string]struct {
		store ledger.Store
		want  string
	}{"an old copy": {old, "old copy"}, "a fork of the same size": {fork(10), "forked"}, "a longer fork": {fork(15), "did not grow out of"}} {
		err := ledger.CheckHead(t.Context(), test.store, second, verifier)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), "log.db") {
			t.Errorf("%s: %v, want a sentence with %q", name, err, test.want)
		}
	}
	if _, other := key(t); ledger.CheckHead(t.Context(), s, second, other) == nil {
		t.Error("a second head of another key is accepted")
	}
	os.Remove(second.Path)
	if err := ledger.CheckHead(t.Context(), s, second, verifier); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the second head is gone: %v", err)
	}
}

func TestReplayStopsAtWhatDoesNotFit(t *testing.T) {
	s := new(ledgertest.Memory)
	grow(t, s, 1500)
	boom := errors.New("boom")
	n := 0
	if _, _, err := ledger.Replay(t.Context(), s, ledger.Tree{}, func(i remit.EntryIndex, _ ledger.Leaf) error {
		if int(i) != n {
			t.Fatalf("entry %d after %d", i, n)
		}
		if n++; i == 700 {
			return boom
		}
		return nil
	}); !errors.Is(err, boom) || !strings.Contains(err.Error(), "entry 700") {
		t.Fatal(err)
	}
	var half ledger.Tree
	for i := range 1000 {
		half, _ = half.Append(ledgertest.Leaf(i))
	}
	if tree, _, err := ledger.Replay(t.Context(), s, half, func(i remit.EntryIndex, _ ledger.Leaf) error {
		if i < 1000 {
			t.Fatalf("entry %d is before the snapshot", i)
		}
		return nil
	}); err != nil || tree.Size() != 1500 {
		t.Fatal(tree.Size(), err)
	}
	wrong, _ := half.Append(ledgertest.Leaf(5))
	if _, _, err := ledger.Replay(t.Context(), s, wrong, func(remit.EntryIndex, ledger.Leaf) error { return nil }); err == nil {
		t.Fatal("a snapshot of another log is extended")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := ledger.Replay(ctx, s, ledger.Tree{}, func(remit.EntryIndex, ledger.Leaf) error { return nil }); err == nil {
		t.Fatal("an ended context folds")
	}
}

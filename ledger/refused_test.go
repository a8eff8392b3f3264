package ledger_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

var errDisk = errors.New("input/output error")

// sick is a store on a disk that fails: what is set in it is what reading gives instead.
type sick struct {
	ledger.Store
	head    func(ledger.Head) (ledger.Head, error)
	read    func(iter.Seq2[ledger.Entry, error]) iter.Seq2[ledger.Entry, error]
	payload func(remit.Digest) error
	hashes  error
}

func (s sick) Head(ctx context.Context) (ledger.Head, error) {
	h, err := s.Store.Head(ctx)
	if s.head != nil && err == nil {
		return s.head(h)
	}
	return h, err
}

func (s sick) Read(ctx context.Context, from remit.EntryIndex) iter.Seq2[ledger.Entry, error] {
	if s.read != nil {
		return s.read(s.Store.Read(ctx, from))
	}
	return s.Store.Read(ctx, from)
}

func (s sick) Payload(ctx context.Context, c remit.Digest) (remit.Payload, error) {
	if s.payload != nil {
		if err := s.payload(c); err != nil {
			return remit.Payload{}, err
		}
	}
	return s.Store.Payload(ctx, c)
}

func (s sick) Hashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error) {
	if s.hashes != nil {
		return nil, s.hashes
	}
	return s.Store.Hashes(ctx, indexes)
}

// failsAt reads up to an entry and then gives err.
func failsAt(at remit.EntryIndex, err error) func(iter.Seq2[ledger.Entry, error]) iter.Seq2[ledger.Entry, error] {
	return func(entries iter.Seq2[ledger.Entry, error]) iter.Seq2[ledger.Entry, error] {
		return func(yield func(ledger.Entry, error) bool) {
			for e, rerr := range entries {
				if e.Index == at {
					if err != nil {
						yield(ledger.Entry{}, err)
					}
					return
				}
				if !yield(e, rerr) {
					return
				}
			}
		}
	}
}

// TestAStoreThatFailsIsNeverFolded: whatever a disk does to a log, folding it ends with an error and not with a shorter
// or another log.
func TestAStoreThatFailsIsNeverFolded(t *testing.T) {
	s := new(ledgertest.Memory)
	grow(t, s, 1200)
	var half ledger.Tree
	for i := range 600 {
		half, _ = half.Append(ledgertest.Leaf(i))
	}
	for name, test := range map[string]struct {
		sick  sick
		start ledger.Tree
		want  string
	}{
		"no head":                     {sick{head: func(ledger.Head) (ledger.Head, error) { return ledger.Head{}, errDisk }}, ledger.Tree{}, "input/output"},
		"an error at the first":       {sick{read: failsAt(0, errDisk)}, ledger.Tree{}, "entry 0: input/output"},
		"an error in a batch":         {sick{read: failsAt(700, errDisk)}, ledger.Tree{}, "entry 700: input/output"},
		"an error between batches":    {sick{read: failsAt(512, errDisk)}, ledger.Tree{}, "entry 512: input/output"},
		"an early end":                {sick{read: failsAt(700, nil)}, ledger.Tree{}, "it ends after 700 of 1200 entries"},
		"nothing behind a snapshot":   {sick{read: failsAt(600, nil)}, half, "it ends after 600 of 1200 entries"},
		"fewer than a snapshot":       {sick{head: func(h ledger.Head) (ledger.Head, error) { h.Size = 599; return h, nil }}, half, "it has 599 entries where a snapshot has 600"},
		"a head with another root":    {sick{head: func(h ledger.Head) (ledger.Head, error) { h.Root[0] ^= 1; return h, nil }}, ledger.Tree{}, "do not give the root"},
		"a head that says too little": {sick{head: func(h ledger.Head) (ledger.Head, error) { h.Size--; return h, nil }}, ledger.Tree{}, "do not give the root"},
		"an entry that is missing": {sick{read: func(entries iter.Seq2[ledger.Entry, error]) iter.Seq2[ledger.Entry, error] {
			return func(yield func(ledger.Entry, error) bool) {
				for e, err := range entries {
					if e.Index != 5 && !yield(e, err) {
						return
					}
				}
			}
		}}, ledger.Tree{}, "entry 6 stands where entry 5 belongs"},
		"a leaf that is none": {sick{read: func(entries iter.Seq2[ledger.Entry, error]) iter.Seq2[ledger.Entry, error] {
			return func(yield func(ledger.Entry, error) bool) {
				for e, err := range entries {
					if e.Index == 900 {
						e.Leaf = []byte("x")
					}
					if !yield(e, err) {
						return
					}
				}
			}
		}}, ledger.Tree{}, "entry 900: malformed leaf"},
	} {
		test.sick.Store = s
		tree, head, err := ledger.Replay(t.Context(), test.sick, test.start, func(remit.EntryIndex, ledger.Leaf) error { return nil })
		if err == nil || !strings.Contains(err.Error(), test.want) || tree.Size() != 0 || head != (ledger.Head{}) {
			t.Errorf("%s: %v, %d entries; want %q", name, err, tree.Size(), test.want)
		}
	}
	// The tree at the end is not believed either.
	for name, bad := range map[string]sick{
		"no head":      {head: func(ledger.Head) (ledger.Head, error) { return ledger.Head{}, errDisk }},
		"no hashes":    {hashes: errDisk},
		"another root": {head: func(h ledger.Head) (ledger.Head, error) { h.Root[0] ^= 1; return h, nil }},
	} {
		bad.Store = s
		if tree, _, err := ledger.OpenTree(t.Context(), bad); err == nil || tree.Size() != 0 {
			t.Errorf("%s: a tree of %d entries is opened", name, tree.Size())
		}
	}
}

// TestAFoldThatStopsEarlyLeavesNothingBehind: the bubble of synctest ends only when every goroutine in it has.
func TestAFoldThatStopsEarlyLeavesNothingBehind(t *testing.T) {
	s := new(ledgertest.Memory)
	grow(t, s, 12_000)
	for name, end := range map[string]func(context.Context, sick) (sick, context.Context, func(remit.EntryIndex) error){
		"its context ends": func(ctx context.Context, s sick) (sick, context.Context, func(remit.EntryIndex) error) {
			ctx, cancel := context.WithCancelCause(ctx)
			return s, ctx, func(i remit.EntryIndex) error {
				if i == 700 {
					cancel(errDisk)
				}
				return nil
			}
		},
		"an entry cannot be applied": func(ctx context.Context, s sick) (sick, context.Context, func(remit.EntryIndex) error) {
			return s, ctx, func(i remit.EntryIndex) error {
				if i == 700 {
					return errDisk
				}
				return nil
			}
		},
		"the store fails, and an entry before": func(ctx context.Context, s sick) (sick, context.Context, func(remit.EntryIndex) error) {
			s.read = failsAt(3000, errDisk)
			return s, ctx, func(i remit.EntryIndex) error {
				if i == 10 {
					return errDisk
				}
				return nil
			}
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			store, ctx, apply := end(context.WithoutCancel(t.Context()), sick{Store: s})
			if _, _, err := ledger.Replay(ctx, store, ledger.Tree{}, func(i remit.EntryIndex, _ ledger.Leaf) error { return apply(i) }); err == nil {
				t.Errorf("%s: it was folded", name)
			}
		})
	}
}

func TestABatchThatDoesNotFollowIsRefusedWithItsReason(t *testing.T) {
	tree, _ := ledger.Tree{}.Append(ledgertest.Leaf(0), ledgertest.Leaf(1))
	expect := tree.Head(3)
	for want, spoil := range map[string]func(*ledger.Batch){
		"65537 entries; at most 65536":         func(b *ledger.Batch) { b.Entries = make([][]byte, ledger.MaxBatch+1) },
		"1 entries after 2 do not make 4":      func(b *ledger.Batch) { b.Next.Size++ },
		"1 entries after 2 do not make 2":      func(b *ledger.Batch) { b.Next.Size-- },
		"the epoch falls from 3 to 2":          func(b *ledger.Batch) { b.Next.Epoch-- },
		"the root changes without an entry":    func(b *ledger.Batch) { b.Entries, b.Hashes, b.Next.Size = nil, nil, 2 },
		"0 hashes where 1 entries after 2":     func(b *ledger.Batch) { b.Hashes = nil },
		"entry 2 has 0 bytes":                  func(b *ledger.Batch) { b.Entries[0] = nil },
		"entry 2 has 8193 bytes":               func(b *ledger.Batch) { b.Entries[0] = make([]byte, ledger.MaxLeaf+1) },
		"a payload has 65537 bytes; it has at": func(b *ledger.Batch) { b.Payloads = []remit.Payload{{}, {Body: make([]byte, remit.MaxPayload+1)}} },
	} {
		next, hashes := tree.Append(ledgertest.Leaf(2))
		b := ledger.Batch{Entries: [][]byte{ledgertest.Leaf(2)}, Hashes: hashes, Next: next.Head(3)}
		if err := b.Check(expect); err != nil {
			t.Fatal(err)
		}
		spoil(&b)
		err := b.Check(expect)
		if !errors.Is(err, ledger.ErrConflict) || code(err) != remit.Internal || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want a refusal with %q", err, want)
		}
	}
	// A refusal keeps its cause, and stays one that wrote nothing.
	err := ledger.Refused(remit.NoSpace, "the disk is full: %w", errDisk)
	if !errors.Is(err, ledger.ErrConflict) || !errors.Is(err, errDisk) || code(err) != remit.NoSpace {
		t.Error(err)
	}
}

func TestFilesThatHoldNoKeyOfALogAreRefused(t *testing.T) {
	dir := t.TempDir()
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.GenerateKey(filepath.Join(dir, "good")); err != nil {
		t.Fatal(err)
	}
	good, err := os.ReadFile(filepath.Join(dir, "good"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		content []byte
		want    string
	}{
		"empty":         {nil, "holds no Ed25519 key"},
		"a curve":       {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: other}), "holds no Ed25519 key"},
		"a certificate": {bytes.ReplaceAll(good, []byte("PRIVATE KEY"), []byte("CERTIFICATE")), "holds no Ed25519 key"},
		"not DER":       {pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "holds no Ed25519 key"},
		"two keys":      {append(bytes.Clone(good), good...), "holds no Ed25519 key"},
		"too long":      {append(bytes.Repeat([]byte("\n"), 8<<10), good...), "holds no Ed25519 key"},
	} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, test.content, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.LoadKey(path); code(err) != remit.LedgerDown || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		} else if bytes.Contains([]byte(err.Error()), good[40:60]) {
			t.Errorf("%s: the error shows the key", name)
		}
	}
	if _, err := ledger.LoadKey(dir); code(err) != remit.LedgerDown {
		t.Errorf("a directory: %v", err)
	}
	if _, err := ledger.LoadKey(filepath.Join(dir, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := ledger.GenerateKey(filepath.Join(dir, "gone", "key")); code(err) != remit.LedgerDown {
		t.Errorf("a key in no directory: %v", err)
	}
}

// signer is a Signer outside of this process.
type signer struct {
	public ed25519.PublicKey
	sign   func([]byte) ([]byte, error)
}

func (s signer) Public() ed25519.PublicKey       { return s.public }
func (s signer) Sign(msg []byte) ([]byte, error) { return s.sign(msg) }

// TestACheckpointIsNotGivenOutUnverified: a device that signs something else, or nothing, makes no checkpoint.
func TestACheckpointIsNotGivenOutUnverified(t *testing.T) {
	k, verifier := key(t)
	head := ledger.Head{Size: 7, Root: remit.Digest{1}}
	for name, s := range map[string]signer{
		"a device that is gone":      {k.Public(), func([]byte) ([]byte, error) { return nil, errDisk }},
		"a device that signs a hash": {k.Public(), func(msg []byte) ([]byte, error) { d := remit.Hash(msg); return k.Sign(d[:]) }},
		"another device's signature": {k.Public(), func(msg []byte) ([]byte, error) { o, _ := key(t); return o.Sign(msg) }},
		"a key of another length":    {k.Public()[:31], k.Sign},
	} {
		if c, err := ledger.SignCheckpoint("log.example/acme", head, s); err == nil || c != nil {
			t.Errorf("%s: %s", name, c)
		}
	}
	if _, err := ledger.SignCheckpoint("log example", head, k); code(err) != remit.BadRequest {
		t.Errorf("an origin of two words: %v", err)
	}
	for _, wrong := range []string{"", "log.example/acme", verifier + "x", strings.Replace(verifier, "+", "++", 1)} {
		if _, err := ledger.OpenCheckpoint(sign(t, k, head), wrong); code(err) != remit.BadRequest || !strings.Contains(err.Error(), "not a verifier key") {
			t.Errorf("%q: %v", wrong, err)
		}
		if _, err := ledger.ParseTrust([]byte(wrong + "\n")); err == nil {
			t.Errorf("%q is trusted", wrong)
		}
	}
}

func TestASecondHeadThatCannotBeReadIsNotTakenForNone(t *testing.T) {
	k, verifier := key(t)
	dir := t.TempDir()
	second := ledger.SecondHead{Path: filepath.Join(dir, "head")}
	s := new(ledgertest.Memory)
	grow(t, s, 3)
	if err := second.Write(sign(t, k, ledger.Empty())); err != nil {
		t.Fatal(err)
	}
	if err := ledger.CheckHead(t.Context(), s, second, verifier); err != nil {
		t.Fatalf("a log that was signed when it was empty: %v", err)
	}
	if err := ledger.CheckHead(t.Context(), sick{Store: s, head: func(ledger.Head) (ledger.Head, error) { return ledger.Head{}, errDisk }}, second, verifier); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	if err := os.WriteFile(second.Path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ledger.CheckHead(t.Context(), s, second, verifier); err == nil || !strings.Contains(err.Error(), "damaged or of another log") {
		t.Error(err)
	}
	// Its place is a directory now: it cannot be read, and cannot be replaced, and nothing half-written stays.
	if err := errors.Join(os.Remove(second.Path), os.MkdirAll(filepath.Join(second.Path, "x"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := ledger.CheckHead(t.Context(), new(ledgertest.Memory), second, verifier); code(err) != remit.LedgerDown || errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty log with a second head that cannot be read: %v", err)
	}
	if err := second.Write([]byte("y")); code(err) != remit.LedgerDown {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".head-*")); len(left) > 0 {
		t.Error(left)
	}
	if err := (ledger.SecondHead{Path: filepath.Join(dir, "gone", "head")}).Write([]byte("y")); code(err) != remit.LedgerDown {
		t.Error(err)
	}
}

func TestProofsAndTilesSayWhatIsNotThere(t *testing.T) {
	s := new(ledgertest.Memory)
	k, verifier := key(t)
	checkpoint := sign(t, k, grow(t, s, 300))
	_, other := key(t)
	if _, err := ledger.Receipt(t.Context(), s, 1, checkpoint, other); code(err) != remit.BadRequest {
		t.Errorf("a checkpoint of another key: %v", err)
	}
	for name, bad := range map[string]sick{"hashes": {hashes: errDisk}, "entries": {read: failsAt(5, errDisk)}} {
		bad.Store = s
		if _, err := ledger.Receipt(t.Context(), bad, 5, checkpoint, verifier); !errors.Is(err, errDisk) {
			t.Errorf("%s that cannot be read: %v", name, err)
		}
	}
	if _, err := ledger.Receipt(t.Context(), sick{Store: s, read: failsAt(5, nil)}, 5, checkpoint, verifier); code(err) != remit.LedgerDown {
		t.Errorf("a log without the entry that it signed for: %v", err)
	}
	if _, err := ledger.WithoutLeaf([]byte("x")); code(err) != remit.BadRequest {
		t.Error(err)
	}
	receipt, err := ledger.Receipt(t.Context(), s, 5, checkpoint, verifier)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.ReadReceipt(receipt, nil, ledger.Trust{Verifier: verifier, Checkpoint: []byte("x")}); code(err) != remit.BadRequest || !strings.Contains(err.Error(), "the trusted checkpoint") {
		t.Errorf("a trusted checkpoint that is none: %v", err)
	}
	for _, sizes := range [][2]uint64{{0, 5}, {6, 5}, {1, 1<<62 + 1}} {
		if _, err := ledger.Consistency(t.Context(), s, sizes[0], sizes[1]); code(err) != remit.BadRequest {
			t.Errorf("from %d to %d: %v", sizes[0], sizes[1], err)
		}
	}
	bundle := ledger.Tile{H: 8, L: -1, N: 0, W: 256}
	if _, err := ledger.ReadTile(t.Context(), sick{Store: s, read: failsAt(40, errDisk)}, 300, bundle); !errors.Is(err, errDisk) {
		t.Error(err)
	}
	if b, err := ledger.ReadTile(t.Context(), sick{Store: s, read: failsAt(40, nil)}, 300, bundle); b != nil || code(err) != remit.LedgerDown {
		t.Errorf("an entry bundle of %d bytes, %v", len(b), err)
	}
	part := ledger.Tile{H: 8, L: -1, N: 1, W: 300 - 256}
	if !ledger.FullTile(bundle) || ledger.FullTile(part) || !ledger.EntryTile(part) {
		t.Error("a tile of 44 is taken for one that has all that it ever will")
	}
	// A mirror that cannot write says so, at whatever it was writing, and never has the signed head.
	for _, stuck := range []string{"tile/entries/000", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1"} {
		err := ledger.WriteTiles(checkpoint, verifier, ledger.Checkpoint{}, bundles(t, s, 300), func(path string, _ []byte) error {
			if path == ledger.CheckpointPath {
				t.Error("the signed head was written over what is not there")
			}
			if path == stuck {
				return errDisk
			}
			return nil
		})
		if !errors.Is(err, errDisk) {
			t.Errorf("%s: %v", stuck, err)
		}
	}
	// A key that signs for another root than its entries have is found by who mirrors it.
	lie := sign(t, k, ledger.Head{Size: 300, Root: remit.Digest{9}})
	if err := ledger.WriteTiles(lie, verifier, ledger.Checkpoint{}, bundles(t, s, 300), func(path string, _ []byte) error {
		if path == ledger.CheckpointPath {
			t.Error("the lie was published")
		}
		return nil
	}); err == nil || !strings.Contains(err.Error(), "the log was changed") {
		t.Error(err)
	}
}

// TestAnEventThatIsNoneIsNotEncoded: what cannot be read again must not get into a log.
func TestAnEventThatIsNoneIsNotEncoded(t *testing.T) {
	at := time.Unix(1_790_000_000, 0)
	for name, l := range map[string]ledger.Leaf{
		"a text that is not UTF-8":         {At: at, Event: &remit.TaskEnded{Task: "\xff"}},
		"one that is deeper inside":        {At: at, Event: &remit.GroupDeclared{Name: "g", Members: []remit.ID{"p", "\xff"}}},
		"a time before there was one":      {At: time.Unix(-1, 0), Event: &remit.TaskEnded{Task: "T-1"}},
		"a set that no entry has room for": {At: at, Event: &remit.GroupDeclared{Name: "g", Members: make([]remit.ID, ledger.MaxLeaf)}},
	} {
		if b, err := ledger.Encode(l); err == nil {
			t.Errorf("%s: %x", name, b)
		}
	}
}

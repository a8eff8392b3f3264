// Package ledgertest says what every ledger.Store does, as one suite, and has two stores for the tests of others: one in
// memory and one that fails as told.
package ledgertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// Open opens the store in dir; called again for the same dir, after the first was closed, it gives the same log.
type Open func(t *testing.T, dir string) ledger.Store

// Run runs the suite against a kind of store. A store that is an io.Closer is also opened again.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, *log)
	}{
		{"a new store is empty", testEmpty},
		{"entries stand in a dense sequence and are read from any index", testSequence},
		{"a conflict leaves nothing", testConflict},
		{"of two writers with one head one wins", testTwoWriters},
		{"a malformed batch is refused", testMalformed},
		{"payloads come and go with their batch", testPayloads},
		{"stored hashes prove every entry", testHashes},
		{"the epoch alone can be raised", testEpoch},
		{"an ended context writes nothing", testContext},
		{"opened again it is the same", testReopened},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			l := &log{t: t, open: open, dir: dir, Store: open(t, dir), head: ledger.Empty()}
			t.Cleanup(l.close)
			test.run(t, l)
		})
	}
}

// log is a store with the tree that its writer keeps.
type log struct {
	ledger.Store
	t    *testing.T
	open Open
	dir  string
	tree ledger.Tree
	head ledger.Head
	n    int
}

func (l *log) close() {
	if c, ok := l.Store.(io.Closer); ok {
		if err := c.Close(); err != nil {
			l.t.Errorf("closing: %v", err)
		}
	}
}

// Leaf makes a leaf that differs for each i.
func Leaf(i int) []byte {
	leaf, err := ledger.Encode(ledger.Leaf{At: time.Unix(1_790_000_000, int64(i)), Command: remit.Hash(fmt.Append(nil, i)),
		Event: &remit.DenialRepeated{Entry: remit.EntryIndex(i), Count: i}})
	if err != nil {
		panic(err) // the event is valid
	}
	return leaf
}

func payload(i int) remit.Payload {
	return remit.Payload{Salt: remit.Hash(fmt.Append(nil, i)), Body: fmt.Appendf(nil, "payload %d", i)}
}

// batch makes the next batch of n entries, without writing it.
func (l *log) batch(n int) (ledger.Batch, ledger.Tree) {
	var leaves [][]byte
	for i := range n {
		leaves = append(leaves, Leaf(l.n+i))
	}
	next, hashes := l.tree.Append(leaves...)
	return ledger.Batch{Entries: leaves, Hashes: hashes, Next: next.Head(l.head.Epoch)}, next
}

func (l *log) append(n int, payloads ...remit.Payload) {
	l.t.Helper()
	b, next := l.batch(n)
	b.Payloads = payloads
	if err := l.Append(context.Background(), l.head, b); err != nil {
		l.t.Fatalf("appending %d entries after %d: %v", n, l.head.Size, err)
	}
	l.tree, l.head, l.n = next, b.Next, l.n+n
}

// check reads everything and compares it with what was written.
func (l *log) check() {
	l.t.Helper()
	tree, head, err := ledger.Replay(context.Background(), l.Store, ledger.Tree{}, func(i remit.EntryIndex, leaf ledger.Leaf) error {
		if e := leaf.Event.(*remit.DenialRepeated); e.Entry != i {
			return fmt.Errorf("it is entry %d", e.Entry)
		}
		return nil
	})
	if err != nil {
		l.t.Fatalf("folding: %v", err)
	}
	if head != l.head || tree.Root() != l.tree.Root() {
		l.t.Fatalf("the head is %v, want %v", head, l.head)
	}
}

func testEmpty(t *testing.T, l *log) {
	l.check()
	for e, err := range l.Read(t.Context(), 0) {
		t.Fatalf("an empty log gives %v, %v", e, err)
	}
	if _, err := l.Payload(t.Context(), remit.Digest{1}); !errors.Is(err, ledger.ErrNotFound) {
		t.Fatalf("a payload that never was: %v, want ErrNotFound", err)
	}
	if _, err := l.Hashes(t.Context(), []int64{0}); err == nil {
		t.Fatal("an empty log has a hash")
	}
}

func testSequence(t *testing.T, l *log) {
	for _, n := range []int{1, 2, 300, 1, 1, 1200, 7} {
		l.append(n)
		l.check()
	}
	for _, from := range []int{0, 1, 2, 3, 255, 256, 257, 303, 304, 305, 1503, 1504, 1511, 1512, 9999} {
		i := from
		for e, err := range l.Read(t.Context(), remit.EntryIndex(from)) {
			if err != nil || e.Index != remit.EntryIndex(i) || !bytes.Equal(e.Leaf, Leaf(i)) {
				t.Fatalf("read from %d: entry %d, %v; want entry %d", from, e.Index, err, i)
			}
			i++
		}
		if i != max(l.n, from) {
			t.Fatalf("read from %d ends before %d, want %d", from, i, l.n)
		}
	}
	for e, err := range l.Read(t.Context(), 5) {
		if err != nil || e.Index != 5 {
			t.Fatal(e, err)
		}
		break // a reader may stop early
	}
}

func testConflict(t *testing.T, l *log) {
	l.append(3)
	good := l.head
	for _, wrong := range []ledger.Head{{Size: 2, Root: good.Root, Epoch: good.Epoch}, {Size: 3, Root: remit.Digest{1}, Epoch: good.Epoch}, {Size: 3, Root: good.Root, Epoch: good.Epoch + 1}} {
		b, _ := l.batch(1)
		b.Payloads = []remit.Payload{payload(1)}
		b.Next.Epoch = wrong.Epoch
		if wrong.Size == 2 {
			tree, _ := ledger.Tree{}.Append(Leaf(0), Leaf(1))
			next, hashes := tree.Append(Leaf(9))
			b.Entries, b.Hashes, b.Next = [][]byte{Leaf(9)}, hashes, next.Head(wrong.Epoch)
		}
		err := l.Append(t.Context(), wrong, b)
		var refused *remit.Error
		if !errors.Is(err, ledger.ErrConflict) || errors.As(err, &refused) {
			t.Fatalf("expecting %v: %v, want the bare ErrConflict", wrong, err)
		}
		if _, err := l.Payload(t.Context(), payload(1).Commitment()); !errors.Is(err, ledger.ErrNotFound) {
			t.Fatalf("the payload of a conflict: %v, want ErrNotFound", err)
		}
		l.check()
	}
	l.append(1)
	l.check()
}

func testTwoWriters(t *testing.T, l *log) {
	for range 20 {
		var group sync.WaitGroup
		results := make([]error, 2)
		batches := make([]ledger.Batch, 2)
		trees := make([]ledger.Tree, 2)
		for i := range results {
			batches[i], trees[i] = l.batch(1 + i)
			group.Go(func() { results[i] = l.Append(context.Background(), l.head, batches[i]) })
		}
		group.Wait()
		won := 0
		if results[0] != nil {
			won = 1
		}
		if results[won] != nil || !errors.Is(results[1-won], ledger.ErrConflict) {
			t.Fatalf("two writers: %v and %v, want nil and ErrConflict", results[0], results[1])
		}
		l.tree, l.head, l.n = trees[won], batches[won].Next, l.n+1+won
		l.check()
	}
}

func testMalformed(t *testing.T, l *log) {
	l.append(2)
	for name, spoil := range map[string]func(*ledger.Batch){
		"a hash too few":        func(b *ledger.Batch) { b.Hashes = b.Hashes[1:] },
		"an empty leaf":         func(b *ledger.Batch) { b.Entries[0] = nil },
		"a leaf too large":      func(b *ledger.Batch) { b.Entries[0] = make([]byte, ledger.MaxLeaf+1) },
		"a size that jumps":     func(b *ledger.Batch) { b.Next.Size++ },
		"a payload too large":   func(b *ledger.Batch) { b.Payloads = []remit.Payload{{Body: make([]byte, remit.MaxPayload+1)}} },
		"an erasure of nothing": func(b *ledger.Batch) { b.Erase = []remit.Digest{{1}} },
	} {
		b, _ := l.batch(2)
		spoil(&b)
		var refused *remit.Error
		if err := l.Append(t.Context(), l.head, b); !errors.Is(err, ledger.ErrConflict) || !errors.As(err, &refused) {
			t.Errorf("%s: %v, want ErrConflict with a code", name, err)
		}
		l.check()
	}
}

func testPayloads(t *testing.T, l *log) {
	l.append(1, payload(1), payload(2), payload(1), remit.Payload{})
	for i := 1; i <= 2; i++ {
		if p, err := l.Payload(t.Context(), payload(i).Commitment()); err != nil || !bytes.Equal(p.Body, payload(i).Body) || p.Salt != payload(i).Salt {
			t.Fatalf("payload %d: %v, %v", i, p, err)
		}
	}
	if p, err := l.Payload(t.Context(), remit.Payload{}.Commitment()); err != nil || len(p.Body) != 0 {
		t.Fatalf("the empty payload: %v, %v", p, err)
	}
	b, next := l.batch(1)
	b.Erase = []remit.Digest{payload(1).Commitment()}
	if err := l.Append(t.Context(), l.head, b); err != nil {
		t.Fatal(err)
	}
	l.tree, l.head, l.n = next, b.Next, l.n+1
	if _, err := l.Payload(t.Context(), payload(1).Commitment()); !errors.Is(err, ledger.ErrErased) {
		t.Fatalf("an erased payload: %v, want ErrErased", err)
	}
	l.append(1, payload(1))
	if _, err := l.Payload(t.Context(), payload(1).Commitment()); !errors.Is(err, ledger.ErrErased) {
		t.Fatalf("an erased payload written again: %v, want ErrErased", err)
	}
	if _, err := l.Payload(t.Context(), payload(2).Commitment()); err != nil {
		t.Fatalf("the payload beside an erased one: %v", err)
	}
	l.check()
}

func testHashes(t *testing.T, l *log) {
	for n := range 40 {
		l.append(1 + n%3)
	}
	l.append(300)
	reader := ledger.HashReader(t.Context(), l.Store)
	size := int64(l.head.Size)
	root, err := tlog.TreeHash(size, reader)
	if err != nil || remit.Digest(root) != l.head.Root {
		t.Fatalf("the stored hashes give root %v, %v", root, err)
	}
	for i := range size {
		proof, err := tlog.ProveRecord(size, i, reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := tlog.CheckRecord(proof, size, root, i, tlog.RecordHash(Leaf(int(i)))); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
	}
	for _, beyond := range []int64{-1, tlog.StoredHashCount(size), 1 << 40} {
		if _, err := l.Hashes(t.Context(), []int64{beyond}); err == nil {
			t.Fatalf("there is a hash %d", beyond)
		}
	}
	if tree, head, err := ledger.OpenTree(t.Context(), l.Store); err != nil || head != l.head || tree.Root() != l.tree.Root() {
		t.Fatalf("the tree opens at %v, %v", head, err)
	}
}

func testEpoch(t *testing.T, l *log) {
	l.append(2)
	next := l.head
	next.Epoch++
	if err := l.Append(t.Context(), l.head, ledger.Batch{Next: next}); err != nil {
		t.Fatalf("raising the epoch: %v", err)
	}
	b, _ := l.batch(1)
	if err := l.Append(t.Context(), l.head, b); !errors.Is(err, ledger.ErrConflict) {
		t.Fatalf("a writer of the old epoch: %v, want ErrConflict", err)
	}
	l.head = next
	l.append(1)
	l.check()
}

func testContext(t *testing.T, l *log) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b, _ := l.batch(1)
	if err := l.Append(ctx, l.head, b); !errors.Is(err, ledger.ErrConflict) {
		t.Fatalf("with an ended context: %v, want ErrConflict", err)
	}
	l.check()
}

func testReopened(t *testing.T, l *log) {
	if _, ok := l.Store.(io.Closer); !ok {
		t.Skip("this store lives no longer than the process")
	}
	l.append(5, payload(1))
	l.append(700)
	l.close()
	l.Store = l.open(t, l.dir)
	l.check()
	if _, err := l.Payload(t.Context(), payload(1).Commitment()); err != nil {
		t.Fatal(err)
	}
	l.append(3)
	l.check()
}

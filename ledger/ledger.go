// Package ledger is the verifiable log: how an event becomes a leaf, the Merkle tree over the leaves (RFC 6962 §2),
// signed checkpoints (C2SP tlog-checkpoint), proofs, the bundle that an auditor verifies offline, and the small
// interfaces behind which entries and blobs are kept.
//
// A leaf carries ids, declared names, codes and digests. What is personal or large is a payload: the leaf carries its
// commitment, the payload is kept beside the log and can be erased without changing any hash.
package ledger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
)

const (
	// MaxLeaf is the largest leaf, in bytes.
	MaxLeaf = 8 << 10
	// MaxBatch is the largest number of entries in one Append. One command is never split, and killing what has
	// thousands of tasks and instances is one.
	MaxBatch = 1 << 16
)

// Head is where a log ends.
type Head struct {
	Size  uint64
	Root  remit.Digest // RFC 6962 §2.1 tree hash over the first Size leaves
	Epoch uint64       // fences writers: who takes over raises it
}

// Empty is the head of a log without entries.
func Empty() Head { return Head{Root: emptyRoot} }

// emptyRoot is the hash of the empty tree, RFC 6962 §2.1: SHA-256 of nothing.
var emptyRoot = remit.Hash()

// Entry is a leaf at its place. Leaf is shared: callers do not change it.
type Entry struct {
	Index remit.EntryIndex
	Leaf  []byte
}

// Batch is what one Append makes durable, whole or not at all.
type Batch struct {
	Entries  [][]byte        // leaves, from expect.Size on
	Hashes   []tlog.Hash     // what Tree.Append returned for them, in the order of tlog.StoredHashIndex
	Payloads []remit.Payload // kept under their commitments; one that is already there is kept once
	Erase    []remit.Digest  // commitments whose payloads go with this batch (its entries say so)
	Next     Head
}

var (
	// ErrConflict: nothing was written. Bare, the head is not the expected one: fold on, decide again. When a
	// *remit.Error is in its chain as well, trying again at once is of no use (NO_SPACE: the disk is full; INTERNAL:
	// the batch is malformed): callers are denied with that code.
	ErrConflict = errors.New("the log's head is not the expected one, nothing was written")
	// ErrUnknown: nobody can tell whether the batch was written. The store refuses every further Append; the process
	// stops and folds the log anew.
	ErrUnknown = errors.New("the log cannot tell whether it was written")
	// ErrNotFound: there is no such payload or blob.
	ErrNotFound = errors.New("there is no such payload")
	// ErrErased: the payload was there and was erased.
	ErrErased = errors.New("the payload was erased")
)

// Store keeps one log. ledgertest says what every implementation does.
type Store interface {
	// Head gives the committed head; Empty for a new store.
	Head(ctx context.Context) (Head, error)
	// Append moves the head from expect to b.Next and writes b with it, durably. It returns nil, or an error that is
	// ErrConflict or ErrUnknown. A context that ends before the writing begins is a conflict; later it is not looked at.
	Append(ctx context.Context, expect Head, b Batch) error
	// Read gives the committed entries from an index on, in order and without gaps, up to the head at the time of
	// reading; an error ends it.
	Read(ctx context.Context, from remit.EntryIndex) iter.Seq2[Entry, error]
	// Payload gives the payload of a commitment, or ErrNotFound, or ErrErased.
	Payload(ctx context.Context, commitment remit.Digest) (remit.Payload, error)
	// Hashes gives stored hashes by tlog.StoredHashIndex, in the order asked.
	Hashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error)
}

// HashReader reads the hashes of s for the functions of tlog.
func HashReader(ctx context.Context, s Store) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) { return s.Hashes(ctx, indexes) })
}

// Blobs keeps what is too large for a payload: packs, policy bundles. A blob is put before the entry that names it.
type Blobs interface {
	// Put reads r to its end and keeps what it read, durably. NO_SPACE when it would exceed the quota or touch the
	// reserve that only the log may use.
	Put(ctx context.Context, r io.Reader) (remit.Digest, int64, error)
	// PutFile moves a finished file in; the caller does not write to it any more.
	PutFile(ctx context.Context, path string) (remit.Digest, int64, error)
	// Open gives a blob after checking its content against its digest, and its size; ErrNotFound if there is none.
	Open(ctx context.Context, d remit.Digest) (io.ReadSeekCloser, int64, error)
	// Erase removes a blob for good; ErrNotFound if there is none.
	Erase(ctx context.Context, d remit.Digest) error
	// List gives every blob, to find those that no entry names.
	List(ctx context.Context) iter.Seq2[Blob, error]
}

// Blob describes a blob that is there.
type Blob struct {
	Digest remit.Digest
	Size   int64
	Put    time.Time
}

// Refused is an ErrConflict that trying again does not mend: nothing was written, and callers are denied with code c.
func Refused(c remit.Code, format string, args ...any) error {
	e := remit.Errorf(c, format, args...)
	if e.Err != nil {
		e.Err = fmt.Errorf("%w: %w", ErrConflict, e.Err)
	} else {
		e.Err = ErrConflict
	}
	return e
}

// Check tells whether b is well-formed as the successor of expect; every Store refuses what it refuses.
func (b Batch) Check(expect Head) error {
	bad := func(format string, args ...any) error {
		return Refused(remit.Internal, "the batch is malformed, nothing was written: "+format, args...)
	}
	n, next := expect.Size, b.Next.Size
	switch {
	case len(b.Entries) > MaxBatch:
		return bad("it has %d entries; at most %d go into one", len(b.Entries), MaxBatch)
	case next != n+uint64(len(b.Entries)) || next > 1<<62:
		return bad("%d entries after %d do not make %d", len(b.Entries), n, next)
	case b.Next.Epoch < expect.Epoch:
		return bad("the epoch falls from %d to %d", expect.Epoch, b.Next.Epoch)
	case len(b.Entries) == 0 && b.Next.Root != expect.Root:
		return bad("the root changes without an entry")
	}
	if want := tlog.StoredHashCount(int64(next)) - tlog.StoredHashCount(int64(n)); int64(len(b.Hashes)) != want {
		return bad("it has %d hashes where %d entries after %d make %d", len(b.Hashes), len(b.Entries), n, want)
	}
	if len(b.Entries) == 0 && len(b.Payloads) > 0 {
		return bad("it has payloads, and no entry that could name them")
	}
	for i, leaf := range b.Entries {
		if len(leaf) == 0 || len(leaf) > MaxLeaf {
			return bad("entry %d has %d bytes; a leaf has 1 to %d", n+uint64(i), len(leaf), MaxLeaf)
		}
	}
	for _, p := range b.Payloads {
		if len(p.Body) > remit.MaxPayload {
			return bad("a payload has %d bytes; it has at most %d, a larger one is a blob", len(p.Body), remit.MaxPayload)
		}
	}
	return nil
}

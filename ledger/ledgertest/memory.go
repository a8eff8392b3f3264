package ledgertest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// Memory is a Store without a disk, for tests of what stands on a Store. The zero value is an empty log.
type Memory struct {
	mu       sync.RWMutex
	head     ledger.Head
	leaves   [][]byte
	hashes   []tlog.Hash
	payloads map[remit.Digest]*remit.Payload // nil: erased
}

// Head: see ledger.Store.
func (m *Memory) Head(context.Context) (ledger.Head, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.at(), nil
}

func (m *Memory) at() ledger.Head {
	if m.head == (ledger.Head{}) {
		return ledger.Empty()
	}
	return m.head
}

// Append: see ledger.Store.
func (m *Memory) Append(ctx context.Context, expect ledger.Head, b ledger.Batch) error {
	if err := b.Check(expect); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return ledger.Refused(remit.LedgerDown, "the log was not written: %w", ctx.Err())
	case m.at() != expect:
		return ledger.ErrConflict
	}
	for _, c := range b.Erase {
		if _, ok := m.payloads[c]; !ok && !slices.ContainsFunc(b.Payloads, func(p remit.Payload) bool { return p.Commitment() == c }) {
			return ledger.Refused(remit.NotFound, "there is no payload %s to erase", c)
		}
	}
	if m.payloads == nil {
		m.payloads = map[remit.Digest]*remit.Payload{}
	}
	for _, l := range b.Entries {
		m.leaves = append(m.leaves, slices.Clone(l))
	}
	m.hashes = append(m.hashes, b.Hashes...)
	for _, p := range b.Payloads {
		if c := p.Commitment(); m.payloads[c] == nil {
			if _, erased := m.payloads[c]; !erased {
				m.payloads[c] = &remit.Payload{Salt: p.Salt, Body: slices.Clone(p.Body)}
			}
		}
	}
	for _, c := range b.Erase {
		m.payloads[c] = nil
	}
	m.head = b.Next
	return nil
}

// Read: see ledger.Store.
func (m *Memory) Read(ctx context.Context, from remit.EntryIndex) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		m.mu.RLock()
		leaves := m.leaves
		m.mu.RUnlock()
		for i := uint64(from); i < uint64(len(leaves)); i++ {
			if err := ctx.Err(); err != nil {
				yield(ledger.Entry{}, err)
				return
			}
			if !yield(ledger.Entry{Index: remit.EntryIndex(i), Leaf: leaves[i]}, nil) {
				return
			}
		}
	}
}

// Payload: see ledger.Store.
func (m *Memory) Payload(_ context.Context, c remit.Digest) (remit.Payload, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, ok := m.payloads[c]
	switch {
	case !ok:
		return remit.Payload{}, fmt.Errorf("payload %s: %w", c, ledger.ErrNotFound)
	case p == nil:
		return remit.Payload{}, fmt.Errorf("payload %s: %w", c, ledger.ErrErased)
	}
	return *p, nil
}

// Hashes: see ledger.Store.
func (m *Memory) Hashes(_ context.Context, indexes []int64) ([]tlog.Hash, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		if index < 0 || index >= int64(len(m.hashes)) {
			return nil, remit.Errorf(remit.NotFound, "the log has no hash %d", index)
		}
		out[i] = m.hashes[index]
	}
	return out, nil
}

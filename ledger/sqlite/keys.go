package sqlite

import (
	"context"
	"encoding/binary"
	"sync"

	"filippo.io/torchwood"

	"github.com/remit-dev/remit"
)

// keySize is how many bytes of a commitment are its key.
const keySize = 8

// keys says in which row of the table of payloads a commitment is: the rows have the numbers 0, 1, 2 in the order of
// writing, and each batch has the keys of its own. An index in the database would do the same, but commitments are random,
// so that almost every payload would rewrite a page of it. About 20 bytes a payload are in memory.
type keys struct {
	mu   sync.RWMutex
	size uint64           // entries of the log whose payloads are known
	n    int64            // payloads that are known
	at   map[uint64]int64 // key: the row that came first
	more map[uint64][]int64
}

func keyOf(b []byte) uint64 { return binary.BigEndian.Uint64(b[:keySize]) }

// add notes the keys of the payloads that came with the entries from size on.
func (k *keys) add(from, to uint64, added []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.size != from {
		return // somebody else has noted them
	}
	if k.at == nil {
		k.at, k.more = map[uint64]int64{}, map[uint64][]int64{}
	}
	k.size = to
	for ; len(added) >= keySize; added = added[keySize:] {
		key := keyOf(added)
		if _, ok := k.at[key]; ok {
			k.more[key] = append(k.more[key], k.n)
		} else {
			k.at[key] = k.n
		}
		k.n++
	}
}

// next is the number of the row after those that are known and those that are being added.
func (k *keys) next(added []byte) int64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.n + int64(len(added)/keySize)
}

// rows are those that a commitment may be in.
func (k *keys) rows(c remit.Digest) []int64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	key := keyOf(c[:])
	id, ok := k.at[key]
	if !ok {
		return nil
	}
	return append([]int64{id}, k.more[key]...)
}

func (k *keys) known() uint64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.size
}

// find gives the row of a payload.
func (s *Store) find(ctx context.Context, q querier, c remit.Digest) (id int64, ok bool, err error) {
	for _, id := range s.keys.rows(c) {
		var has []byte
		if err := q.QueryRowContext(ctx, `SELECT commitment FROM payload WHERE id = ?`, id).Scan(&has); err != nil {
			return 0, false, err
		}
		if string(has) == string(c[:]) {
			return id, true, nil
		}
	}
	return 0, false, nil
}

// learnKeys reads what the log has grown by since it was read last: by another process, or before this one began.
func (s *Store) learnKeys(ctx context.Context) error {
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	for s.keys.known() < head.Size {
		from := s.keys.known()
		first, leaves, added, err := s.readLeaves(ctx, from)
		if err != nil {
			return err
		}
		if first != from {
			return damaged(s.path, "entry %d is missing", from)
		}
		to := from
		for ; len(leaves) > 0; to++ {
			if _, leaves, err = torchwood.ReadTileEntry(leaves); err != nil {
				return damaged(s.path, "entry %d is cut", to)
			}
		}
		s.keys.add(from, to, added)
	}
	return nil
}

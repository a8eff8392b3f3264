// Package sqlite keeps a log in one SQLite file (pure Go driver), in WAL mode with synchronous=FULL: what Append
// acknowledged survives a crash of the machine.
//
// One row holds what one batch added: its leaves as a C2SP tlog-tiles entry bundle (each after its length in two bytes),
// the tree hashes that it stores, which in the order of tlog.StoredHashIndex are one dense run, and the keys of its
// payloads, whose rows are numbered in the order of writing. One commit thus writes at the ends of two tables and moves
// the head, whatever the number of entries. Triggers abort every UPDATE and DELETE of what is in the log.
package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"
	driver "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// Options of Open; the zero value opens a log for writing and makes it if there is none.
type Options struct {
	// Existing refuses to make a new log.
	Existing bool
	// ReadOnly opens an existing log beside another process that writes it; Append is refused.
	ReadOnly bool
}

// Store is a ledger.Store in a file.
type Store struct {
	path    string
	lock    *os.File // nil when read-only
	reading *sql.DB
	payload *sql.Stmt // of reading

	mu      sync.Mutex // guards writing and what follows
	writing *sql.DB
	conn    *sql.Conn
	stmt    statements
	unknown error // set once a commit's outcome could not be told; never cleared

	keys keys
}

type statements struct{ begin, head, batch, payload, erase, commit, rollback *sql.Stmt }

// rowEntries and rowBytes bound a row, so that reading one entry reads little else.
const (
	rowEntries = 256
	rowBytes   = 256 << 10
)

// Open opens the log in the file at path, in a directory that exists. Only one process at a time writes a log: a second
// one is refused with the pid of the first. Files of another program, of a newer release, truncated or damaged ones are
// refused with a sentence that says so; whether the entries are whole is checked by ledger.Replay.
func Open(path string, o Options) (_ *Store, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	s := &Store{path: path}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if !o.ReadOnly {
		if s.lock, err = lockFile(path + ".lock"); err != nil {
			return nil, err
		}
	}
	if err := prepareFile(path, o); err != nil {
		return nil, err
	}
	if !o.ReadOnly {
		if err := s.openWriter(); err != nil {
			return nil, err
		}
	}
	mode := "rw"
	if o.ReadOnly {
		mode = "ro"
	}
	if s.reading, err = sql.Open("sqlite", dsn(path, mode, "query_only(1)", "cache_size(-8000)")); err != nil {
		return nil, err
	}
	s.reading.SetMaxOpenConns(4)
	if o.ReadOnly {
		if _, err := checkSchema(context.Background(), s.reading, path); err != nil {
			return nil, err
		}
	}
	if s.payload, err = s.reading.PrepareContext(context.Background(), `SELECT commitment, salt, body FROM payload WHERE id = ?`); err != nil {
		return nil, explain(path, err)
	}
	if _, err := s.Head(context.Background()); err != nil {
		return nil, err
	}
	return s, nil
}

// dsn names the file as a URI: '?' and '%' in a path are no options.
func dsn(path, mode string, pragmas ...string) string {
	q := url.Values{"mode": {mode}, "_pragma": append([]string{"busy_timeout(5000)"}, pragmas...)}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

func (s *Store) openWriter() error {
	ctx := context.Background()
	var err error
	s.writing, err = sql.Open("sqlite", dsn(s.path, "rw", "page_size(8192)", "secure_delete(1)", "journal_mode(WAL)", "synchronous(FULL)",
		"cache_size(-16000)", "wal_autocheckpoint(4000)"))
	if err != nil {
		return err
	}
	s.writing.SetMaxOpenConns(1)
	if s.conn, err = s.writing.Conn(ctx); err != nil {
		return explain(s.path, err)
	}
	empty, err := checkSchema(ctx, s.conn, s.path)
	if err != nil {
		return err
	}
	if empty {
		if err := createSchema(ctx, s.conn); err != nil {
			return explain(s.path, err)
		}
	}
	for _, p := range []struct {
		stmt **sql.Stmt
		text string
	}{
		{&s.stmt.begin, `BEGIN IMMEDIATE`},
		{&s.stmt.head, `UPDATE head SET size = ?, root = ?, epoch = ? WHERE size = ? AND root = ? AND epoch = ?`},
		{&s.stmt.batch, `INSERT INTO batch (first, leaves, hashes, payloads) VALUES (?, ?, ?, ?)`},
		{&s.stmt.payload, `INSERT INTO payload (id, commitment, salt, body) VALUES (?, ?, ?, ?)`},
		{&s.stmt.erase, `UPDATE payload SET salt = NULL, body = NULL WHERE id = ?`},
		{&s.stmt.commit, `COMMIT`},
		{&s.stmt.rollback, `ROLLBACK`},
	} {
		if *p.stmt, err = s.conn.PrepareContext(ctx, p.text); err != nil {
			return explain(s.path, err)
		}
	}
	return nil
}

// Close releases the file. It does not wait for readers that are in the middle of it.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	if s.payload != nil {
		errs = append(errs, s.payload.Close())
	}
	if s.reading != nil {
		errs = append(errs, s.reading.Close())
	}
	for _, st := range []*sql.Stmt{s.stmt.begin, s.stmt.head, s.stmt.batch, s.stmt.payload, s.stmt.erase, s.stmt.commit, s.stmt.rollback} {
		if st != nil {
			errs = append(errs, st.Close())
		}
	}
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
	}
	if s.writing != nil {
		errs = append(errs, s.writing.Close())
	}
	if s.lock != nil {
		errs = append(errs, unlock(s.lock))
	}
	s.conn, s.writing, s.lock, s.stmt = nil, nil, nil, statements{} // who still reads is told by reading that it is closed
	return errors.Join(errs...)
}

var _ ledger.Store = (*Store)(nil)

// Head gives the committed head.
func (s *Store) Head(ctx context.Context) (ledger.Head, error) {
	h, err := readHead(ctx, s.reading)
	if err != nil {
		return ledger.Head{}, explain(s.path, err)
	}
	return h, nil
}

// querier is what *sql.DB and *sql.Conn have in common.
type querier interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func readHead(ctx context.Context, q querier) (h ledger.Head, err error) {
	var root []byte
	if err := q.QueryRowContext(ctx, `SELECT size, root, epoch FROM head`).Scan(&h.Size, &root, &h.Epoch); err != nil {
		return h, err
	}
	if len(root) != len(h.Root) {
		return h, fmt.Errorf("the head's root has %d bytes", len(root))
	}
	h.Root = remit.Digest(root)
	return h, nil
}

// Append: see ledger.Store.
func (s *Store) Append(ctx context.Context, expect ledger.Head, b ledger.Batch) error {
	if err := b.Check(expect); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.unknown != nil:
		return s.unknown
	case s.conn == nil:
		return ledger.Refused(remit.LedgerDown, "the log %s is closed or was opened for reading only", s.path)
	case ctx.Err() != nil:
		return ledger.Refused(remit.LedgerDown, "the log was not written: %w", ctx.Err())
	}
	ctx = context.WithoutCancel(ctx) // from here on the outcome must be known
	if s.keys.known() < expect.Size {
		if err := s.learnKeys(ctx); err != nil {
			return ledger.Refused(remit.LedgerDown, "the log %s cannot be read: %w", s.path, err)
		}
	}
	if _, err := s.stmt.begin.ExecContext(ctx); err != nil {
		return s.failed(ctx, expect, err, false)
	}
	added, err := s.write(ctx, expect, b)
	if err != nil {
		return s.failed(ctx, expect, err, false)
	}
	if _, err := s.stmt.commit.ExecContext(ctx); err != nil {
		return s.failed(ctx, expect, err, true)
	}
	s.keys.add(expect.Size, b.Next.Size, added)
	if len(b.Erase) > 0 {
		// What was erased is overwritten in the file (secure_delete), but earlier pages stand in the WAL until it is
		// written back. If a reader is in the way, the next erasure or the next start empties it.
		var busy, log, done int
		s.conn.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &log, &done)
	}
	return nil
}

// write gives the keys of the payloads that it added.
func (s *Store) write(ctx context.Context, expect ledger.Head, b ledger.Batch) (added []byte, err error) {
	n := b.Next
	res, err := s.stmt.head.ExecContext(ctx, int64(n.Size), n.Root[:], int64(n.Epoch), int64(expect.Size), expect.Root[:], int64(expect.Epoch))
	if err != nil {
		return nil, err
	}
	if changed, err := res.RowsAffected(); err != nil {
		return nil, err
	} else if changed != 1 {
		return nil, ledger.ErrConflict
	}
	if added, err = s.writePayloads(ctx, b.Payloads); err != nil {
		return nil, err
	}
	first, hashes, keys := int64(expect.Size), b.Hashes, added
	for rest := b.Entries; len(rest) > 0; {
		var leaves []byte
		var k int
		for k < len(rest) && k < rowEntries && (k == 0 || len(leaves)+len(rest[k]) < rowBytes) {
			if leaves, err = torchwood.AppendTileEntry(leaves, rest[k]); err != nil {
				return nil, err
			}
			k++
		}
		stored := tlog.StoredHashCount(first+int64(k)) - tlog.StoredHashCount(first)
		if _, err := s.stmt.batch.ExecContext(ctx, first, leaves, hashBytes(hashes[:stored]), keys); err != nil {
			return nil, err
		}
		first, hashes, rest, keys = first+int64(k), hashes[stored:], rest[k:], []byte{}
	}
	for _, c := range b.Erase {
		id, ok, err := s.find(ctx, s.conn, c)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, ledger.Refused(remit.NotFound, "there is no payload %s to erase", c)
		}
		if _, err := s.stmt.erase.ExecContext(ctx, id); err != nil {
			return nil, err
		}
	}
	return added, nil
}

// writePayloads keeps each payload once.
func (s *Store) writePayloads(ctx context.Context, payloads []remit.Payload) (added []byte, err error) {
	added = []byte{}
	for i, p := range payloads {
		c := p.Commitment()
		if slices.ContainsFunc(payloads[:i], func(o remit.Payload) bool { return o.Salt == p.Salt && bytes.Equal(o.Body, p.Body) }) {
			continue
		}
		if _, ok, err := s.find(ctx, s.conn, c); err != nil {
			return nil, err
		} else if ok {
			continue
		}
		body := p.Body
		if body == nil {
			body = []byte{} // NULL is what erasure leaves
		}
		if _, err := s.stmt.payload.ExecContext(ctx, s.keys.next(added), c[:], p.Salt[:], body); err != nil {
			return nil, err
		}
		added = append(added, c[:keySize]...)
	}
	return added, nil
}

// failed decides what a failure means. Before COMMIT, rolling back leaves nothing. A COMMIT that failed for want of space
// has not written its last frame, so no recovery finds it; the head says so. Any other failed COMMIT (a failed flush
// above all: the frames may or may not be on the disk) is unknown.
func (s *Store) failed(ctx context.Context, expect ledger.Head, cause error, committing bool) error {
	s.stmt.rollback.ExecContext(ctx) // fails where SQLite rolled back by itself
	code := errorCode(cause)
	if committing {
		head, err := readHead(ctx, s.conn)
		if err != nil || head != expect || code != sqlite3.SQLITE_FULL && code != sqlite3.SQLITE_BUSY {
			s.unknown = fmt.Errorf("%w: %s: %w", ledger.ErrUnknown, s.path, cause)
			return s.unknown
		}
	}
	switch {
	case errors.Is(cause, ledger.ErrConflict):
		return cause
	case code == sqlite3.SQLITE_FULL:
		return ledger.Refused(remit.NoSpace, "the disk with the log %s is full, nothing was written: %w", s.path, cause)
	}
	return ledger.Refused(remit.LedgerDown, "the log %s cannot be written, nothing was written: %w", s.path, cause)
}

func errorCode(err error) int {
	var e *driver.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code() & 0xff // the low byte is the primary result code
}

// readSpan is how many entries one query reads. Concatenating rows inside SQLite costs a fraction of what handing them
// out one by one does.
const readSpan = 1024

// Read: see ledger.Store.
func (s *Store) Read(ctx context.Context, from remit.EntryIndex) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		head, err := s.Head(ctx)
		if err != nil {
			yield(ledger.Entry{}, err)
			return
		}
		for next := uint64(from); next < head.Size; {
			index, leaves, added, err := s.readLeaves(ctx, next)
			if err != nil {
				yield(ledger.Entry{}, explain(s.path, err))
				return
			}
			wanted, first := next, index
			for ; index < head.Size && len(leaves) > 0; index++ {
				var leaf []byte
				if leaf, leaves, err = torchwood.ReadTileEntry(leaves); err != nil {
					yield(ledger.Entry{}, damaged(s.path, "entry %d is cut", index))
					return
				}
				if index < next {
					continue
				}
				if !yield(ledger.Entry{Index: remit.EntryIndex(index), Leaf: leaf}, nil) {
					return
				}
				next++
			}
			if next == wanted || index != next {
				yield(ledger.Entry{}, damaged(s.path, "entry %d is missing", wanted))
				return
			}
			if len(leaves) == 0 {
				s.keys.add(first, next, added) // a start reads everything anyway
			}
		}
	}
}

// readLeaves gives the leaves from the row that holds an entry on, the index of the first of them, and the keys of the
// payloads that were added with them.
func (s *Store) readLeaves(ctx context.Context, index uint64) (uint64, []byte, []byte, error) {
	var first sql.NullInt64
	var leaves, keys []byte
	err := s.reading.QueryRowContext(ctx, `SELECT min(first), CAST(group_concat(leaves, '') AS BLOB), CAST(group_concat(payloads, '') AS BLOB) FROM (
		SELECT first, leaves, payloads FROM batch WHERE first >= (SELECT max(first) FROM batch WHERE first <= ?1) AND first < ?1 + ?2 ORDER BY first)`,
		int64(index), readSpan).Scan(&first, &leaves, &keys)
	return uint64(first.Int64), leaves, keys, err
}

// Payload: see ledger.Store.
func (s *Store) Payload(ctx context.Context, c remit.Digest) (remit.Payload, error) {
	p, ok, err := s.readPayload(ctx, c)
	if err == nil && !ok {
		if err = s.learnKeys(ctx); err == nil {
			p, ok, err = s.readPayload(ctx, c)
		}
	}
	switch {
	case errors.Is(err, ledger.ErrErased):
		return remit.Payload{}, fmt.Errorf("payload %s: %w", c, err)
	case err != nil:
		return remit.Payload{}, explain(s.path, err)
	case !ok:
		return remit.Payload{}, fmt.Errorf("payload %s: %w", c, ledger.ErrNotFound)
	}
	return p, nil
}

// readPayload reads the rows in which a payload may be; ok: it is in one of them.
func (s *Store) readPayload(ctx context.Context, c remit.Digest) (p remit.Payload, ok bool, err error) {
	for _, id := range s.keys.rows(c) {
		var has, salt, body []byte
		switch err := s.payload.QueryRowContext(ctx, id).Scan(&has, &salt, &body); {
		case err != nil:
			return p, false, err
		case string(has) != string(c[:]):
			continue
		case salt == nil:
			return p, false, ledger.ErrErased
		case len(salt) != 32:
			return p, false, damaged(s.path, "the salt of payload %s has %d bytes", c, len(salt))
		}
		if p = (remit.Payload{Salt: [32]byte(salt), Body: body}); p.Commitment() != c {
			return p, false, damaged(s.path, "payload %s has other content", c)
		}
		return p, true, nil
	}
	return p, false, nil
}

// Hashes: see ledger.Store. Hash i was stored with the entry that completed its subtree, in the row of that entry.
func (s *Store) Hashes(ctx context.Context, indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	var first int64
	var run []byte // of the row that was read last: neighbours, as of a tile, often stand in it
	for i, index := range indexes {
		if index < 0 {
			return nil, remit.Errorf(remit.BadRequest, "there is no hash %d", index)
		}
		level, n := tlog.SplitStoredHashIndex(index)
		entry := (n+1)<<level - 1
		at := (index - tlog.StoredHashCount(first)) * tlog.HashSize
		if at >= 0 && at+tlog.HashSize <= int64(len(run)) {
			out[i] = tlog.Hash(run[at:])
			continue
		}
		err := s.reading.QueryRowContext(ctx, `SELECT first, hashes FROM batch WHERE first <= ? ORDER BY first DESC LIMIT 1`, entry).Scan(&first, &run)
		if err != nil && !errors.Is(err, sql.ErrNoRows) {
			return nil, explain(s.path, err)
		}
		at = (index - tlog.StoredHashCount(first)) * tlog.HashSize
		if err != nil || at < 0 || at+tlog.HashSize > int64(len(run)) {
			return nil, remit.Errorf(remit.NotFound, "the log %s has no entry %d yet, whose hash was asked for", s.path, entry)
		}
		out[i] = tlog.Hash(run[at:])
	}
	return out, nil
}

func hashBytes(hashes []tlog.Hash) []byte {
	b := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}

package sqlite

import (
	"context"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	sqlite3 "modernc.org/sqlite/lib"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

const (
	// applicationID marks our files: "Rmit".
	applicationID = 0x526d6974
	// schemaVersion is that of the tables.
	//
	//	1  first release
	schemaVersion = 1
)

const schema = `
CREATE TABLE batch (first INTEGER PRIMARY KEY, leaves BLOB NOT NULL, hashes BLOB NOT NULL, payloads BLOB NOT NULL) STRICT;
CREATE TABLE payload (id INTEGER PRIMARY KEY, commitment BLOB NOT NULL, salt BLOB, body BLOB) STRICT;
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root BLOB NOT NULL, epoch INTEGER NOT NULL) STRICT;
CREATE TRIGGER batch_keeps BEFORE UPDATE ON batch BEGIN SELECT RAISE(ABORT, 'entries of the log never change'); END;
CREATE TRIGGER batch_stays BEFORE DELETE ON batch BEGIN SELECT RAISE(ABORT, 'entries of the log are never deleted'); END;
CREATE TRIGGER payload_stays BEFORE DELETE ON payload BEGIN SELECT RAISE(ABORT, 'a payload is erased, not deleted'); END;
CREATE TRIGGER payload_keeps BEFORE UPDATE ON payload WHEN NEW.id IS NOT OLD.id OR NEW.commitment IS NOT OLD.commitment OR NEW.salt IS NOT NULL OR NEW.body IS NOT NULL
	BEGIN SELECT RAISE(ABORT, 'a payload never changes'); END;
CREATE TRIGGER head_stays BEFORE DELETE ON head BEGIN SELECT RAISE(ABORT, 'the head of the log stays'); END;
CREATE TRIGGER head_grows BEFORE UPDATE ON head WHEN NEW.size < OLD.size OR NEW.epoch < OLD.epoch
	BEGIN SELECT RAISE(ABORT, 'the log never shrinks'); END;
`

// createSchema makes the tables of an empty file, all or none.
func createSchema(ctx context.Context, conn *sql.Conn) error {
	tx, err := conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	h := ledger.Empty()
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `INSERT INTO head VALUES (1, ?, ?, ?)`, int64(h.Size), h.Root[:], int64(h.Epoch)); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, schemaVersion)); err != nil {
		return err
	}
	return tx.Commit()
}

// checkSchema tells whose database it is; empty means that it has nothing in it yet.
func checkSchema(ctx context.Context, q querier, path string) (empty bool, err error) {
	var app, version, tables int64
	for _, p := range []struct {
		query string
		into  *int64
	}{{`SELECT count(*) FROM sqlite_schema`, &tables}, {`PRAGMA application_id`, &app}, {`PRAGMA user_version`, &version}} {
		if err := q.QueryRowContext(ctx, p.query).Scan(p.into); err != nil {
			return false, explain(path, err)
		}
	}
	switch {
	case tables == 0 && app == 0 && version == 0:
		return true, nil
	case app != applicationID:
		return false, foreign(path)
	case version > schemaVersion:
		return false, remit.Errorf(remit.LedgerDown, "the log %s was written by a newer release (its tables have version %d, this release knows %d): run that release", path, version, schemaVersion)
	case version != schemaVersion:
		return false, damaged(path, "its tables have version %d, which no release wrote", version)
	}
	return false, nil
}

func foreign(path string) error {
	return remit.Errorf(remit.LedgerDown, "%s is no log of Remit's but a file of another program: name another file, or move it away", path)
}

func damaged(path, format string, args ...any) error {
	return remit.Errorf(remit.LedgerDown, "the log %s is damaged: "+format+"; put back the newest undamaged copy of it", append([]any{path}, args...)...)
}

// explain turns an error of SQLite into a sentence.
func explain(path string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	switch errorCode(err) {
	case sqlite3.SQLITE_NOTADB:
		return foreign(path)
	case sqlite3.SQLITE_CORRUPT:
		return damaged(path, "%w", err)
	case sqlite3.SQLITE_FULL:
		return remit.Errorf(remit.NoSpace, "the disk with the log %s is full: %w", path, err)
	}
	if known := (*remit.Error)(nil); errors.As(err, &known) {
		return err
	}
	return remit.Errorf(remit.LedgerDown, "the log %s cannot be used: %w", path, err)
}

// prepareFile looks at the file before SQLite does, which would take a truncated one for an empty one, and makes it with
// the right mode: SQLite gives its other files the same.
func prepareFile(path string, o Options) error {
	create := !o.Existing && !o.ReadOnly
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		if !create {
			return remit.Errorf(remit.NotFound, "there is no log at %s; remit init makes one", path)
		}
		if _, err := os.Stat(path + "-wal"); err == nil {
			return damaged(path, "its main file is missing while %s-wal is there", path)
		}
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			err = errors.Join(f.Sync(), f.Close(), syncDir(filepath.Dir(path)))
		}
		if err != nil {
			return remit.Errorf(remit.LedgerDown, "the log cannot be made: %w", err)
		}
		return nil
	}
	if err != nil {
		return remit.Errorf(remit.LedgerDown, "the log cannot be opened: %w", err)
	}
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return foreign(path)
	case mode.Perm()&0o077 != 0:
		return remit.Errorf(remit.LedgerDown, "others may read the log %s (mode %#o): chmod 600 %s", path, mode.Perm(), path)
	case info.Size() == 0 && !create:
		return damaged(path, "its file is empty")
	case info.Size() == 0 || o.ReadOnly:
		// Closing a descriptor of the file would drop the locks that SQLite has on it in this process (POSIX record
		// locks); the lock file makes sure that it has none when a writer opens.
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return remit.Errorf(remit.LedgerDown, "the log cannot be opened: %w", err)
	}
	defer f.Close()
	// Database header, https://www.sqlite.org/fileformat2.html §1.3: magic, page size at 16, number of pages at 28.
	var h [100]byte
	if _, err := f.ReadAt(h[:], 0); err != nil || string(h[:16]) != "SQLite format 3\x00" {
		return foreign(path)
	}
	pageSize := int64(binary.BigEndian.Uint16(h[16:]))
	if pageSize == 1 {
		pageSize = 1 << 16
	}
	if wal, err := os.Stat(path + "-wal"); err == nil && wal.Size() > 0 {
		return nil // pages may still stand there
	}
	if want := pageSize * int64(binary.BigEndian.Uint32(h[28:])); info.Size() < want {
		return damaged(path, "its file was cut, it has %d of %d bytes", info.Size(), want)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

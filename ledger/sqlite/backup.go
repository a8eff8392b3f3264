package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"

	"github.com/remit-dev/remit"
)

// Backup writes a copy of the log in the file at from to a new file at to: the log as it is at one moment, also while
// another process writes it (https://sqlite.org/lang_vacuum.html#vacuuminto). Copying the file itself would miss what
// stands in the write-ahead log, or tear a page.
func Backup(ctx context.Context, from, to string) (err error) {
	if from, err = filepath.Abs(from); err != nil {
		return err
	}
	if err := prepareFile(from, Options{Existing: true, ReadOnly: true}); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) // VACUUM INTO takes an empty file, and keeps its mode
	if err != nil {
		return remit.Errorf(remit.Conflict, "the copy cannot be made: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(to) // half of a copy looks like one
		}
	}()
	if err := f.Close(); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(from, "ro"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := checkSchema(ctx, db, from); err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, to); err != nil {
		return explain(from, err)
	}
	return syncFile(to)
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

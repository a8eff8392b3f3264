package sqlite

import (
	"context"
	"fmt"

	driver "modernc.org/sqlite"
)

// LimitPages makes the database full at n pages.
func LimitPages(s *Store, n int) error {
	_, err := s.conn.ExecContext(context.Background(), fmt.Sprintf("PRAGMA max_page_count = %d", n))
	return err
}

// Impatient does not wait for a lock that another process holds.
func Impatient(s *Store) error {
	_, err := s.conn.ExecContext(context.Background(), "PRAGMA busy_timeout = 0")
	return err
}

// FailCommits makes every COMMIT fail for a reason that tells nothing.
func FailCommits(s *Store) error {
	return s.conn.Raw(func(c any) error {
		c.(driver.HookRegisterer).RegisterCommitHook(func() int32 { return 1 })
		return nil
	})
}

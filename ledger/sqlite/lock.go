//go:build linux || darwin

package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"github.com/remit-dev/remit"
)

// lockFile takes the lock that keeps a second process off the log; it ends with the process. It is a file of its own:
// closing a descriptor of the database would drop SQLite's own locks (POSIX record locks).
func lockFile(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, remit.Errorf(remit.LedgerDown, "the log cannot be locked: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if err != syscall.EWOULDBLOCK {
			return nil, remit.Errorf(remit.LedgerDown, "the log cannot be locked: %s: %w", path, err)
		}
		b, _ := io.ReadAll(io.LimitReader(f, 32))
		return nil, remit.Errorf(remit.LedgerDown, "process %s has the log %s open; only one writes it: stop that process, or use another data directory",
			strings.TrimSpace(string(b)), strings.TrimSuffix(path, ".lock"))
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}

// unlock ends it at once: a program that is being started at this moment has the file too until it runs, and closing alone
// would leave the log locked until then (flock(2): the lock is of the open file).
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

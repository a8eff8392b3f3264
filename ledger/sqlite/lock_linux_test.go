package sqlite_test

import (
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/remit-dev/remit/ledger/sqlite"
)

// A program that is being started while the log is closed has its files until it runs. That does not keep the log locked.
func TestAClosedLogIsNotLocked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	held := -1
	for _, e := range fds {
		if at, err := os.Readlink("/proc/self/fd/" + e.Name()); err != nil || at != path+".lock" {
			continue
		}
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if held, err = syscall.Dup(fd); err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(held)
	}
	if held < 0 {
		t.Fatal("no file is locked")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

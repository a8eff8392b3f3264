package git

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// pushing is a lock that says whether any process is at work on a push to a directory of repositories: each push hands it
// to git, whose helpers inherit it (flock(2): it is of the open file, not of a process). So it outlives this server as
// long as they do, and no longer.
type pushing struct{ path string }

func newPushing(dir, root string) pushing {
	sum := sha256.Sum256([]byte(root))
	return pushing{filepath.Join(dir, fmt.Sprintf("pushing-%x", sum[:12]))}
}

func (p pushing) lock(how int) (*os.File, error) {
	f, err := os.OpenFile(p.path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", p.path, err), f.Close())
	}
	return f, nil
}

// begin gives what git is to inherit; it is closed here once git has started.
func (p pushing) begin() (*os.File, error) { return p.lock(syscall.LOCK_SH) }

// quiet tells that nothing is at work on a push, of this server or of one before it.
func (p pushing) quiet() bool {
	f, err := p.lock(syscall.LOCK_EX | syscall.LOCK_NB)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

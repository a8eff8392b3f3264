// Package secret is the sealed local store of named secrets. A value lies in a file of its own, sealed for its name and
// version; which version is in force, the log says. Nothing here logs, and no error repeats a value.
package secret

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/seal"
)

// MaxValue is the longest value, in bytes.
const MaxValue = 32 << 10

// Store keeps values.
type Store struct {
	dir string
	box *seal.Box
}

// Open opens the store in dir, which it makes, 0700.
func Open(dir string, box *seal.Box) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the store of secrets: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, fmt.Errorf("the store of secrets: %w", err)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, remit.Errorf(remit.Forbidden, "%s can be entered by others; say: chmod 700 %s", dir, dir)
	}
	return &Store{dir, box}, nil
}

// stem is the beginning of the names of a secret's files: of its name, which may have any segments, only the digest.
func stem(name string) string {
	d := remit.Hash([]byte("remit secret\n" + name))
	return hex.EncodeToString(d[:]) + "."
}

func (s *Store) path(name string, version int) string {
	return filepath.Join(s.dir, stem(name)+strconv.Itoa(version))
}

func label(name string, version int) string {
	return fmt.Sprintf("secret %s version %d", name, version)
}

// Put keeps a value under a version that the log does not name yet. It is durable when Put returns. A value of the same
// version that was never named, because of a crash, is replaced.
func (s *Store) Put(name string, version int, value []byte) (err error) {
	if len(value) == 0 || len(value) > MaxValue {
		return remit.Errorf(remit.BadRequest, "a secret has between 1 and %d bytes", MaxValue)
	}
	sealed, err := s.box.SealFor(label(name, version), value)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(s.dir, "new-")
	if err != nil {
		return remit.Errorf(remit.NoSpace, "keeping the secret %s: %w", name, err)
	}
	defer func() {
		if err != nil {
			err = remit.Errorf(remit.NoSpace, "keeping the secret %s: %w", name, errors.Join(err, os.Remove(f.Name())))
		}
	}()
	_, err = f.Write(sealed)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	if err = os.Rename(f.Name(), s.path(name, version)); err != nil {
		return err
	}
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Value gives the value of a version.
func (s *Store) Value(name string, version int) ([]byte, error) {
	sealed, err := os.ReadFile(s.path(name, version))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, remit.Errorf(remit.NotFound, "the secret %s has no value here; put one with: remit secret put %s", name, name)
	}
	if err != nil {
		return nil, remit.Errorf(remit.Internal, "reading the secret %s: %w", name, err)
	}
	return s.box.OpenFor(label(name, version), sealed)
}

// Keep removes every version of a secret but one; 0 removes all.
func (s *Store) Keep(name string, version int) error {
	all, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("the store of secrets: %w", err)
	}
	var failed []error
	for _, e := range all {
		if n, mine := strings.CutPrefix(e.Name(), stem(name)); mine && n != strconv.Itoa(version) {
			if err := os.Remove(filepath.Join(s.dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				failed = append(failed, err)
			}
		}
	}
	return errors.Join(failed...)
}

package identity

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// maxSecret bounds the files that readPrivate reads, in bytes.
const maxSecret = 64 << 10

// checkDir refuses a directory that anyone but this user can look into.
func checkDir(dir string) error {
	fi, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("looking at %s: %w", dir, err)
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s is not a directory", dir)
	}
	return private(dir, fi, "700")
}

func private(path string, fi fs.FileInfo, mode string) error {
	if !OwnedByUs(fi) {
		return fmt.Errorf("%s belongs to another user than the one that Remit runs as; mend it with: chown %d %s", path, os.Geteuid(), path)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s is open to other users (mode %04o); mend it with: chmod %s %s", path, fi.Mode().Perm(), mode, path)
	}
	return nil
}

// readPrivate reads a file that only this user may read, from a directory that only this user may enter. It judges the
// file that it opened, so a swap between look and read changes nothing.
func readPrivate(path string) ([]byte, error) {
	if err := checkDir(filepath.Dir(path)); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|openFlags, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a key: %w", err)
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("looking at %s: %w", path, err)
	}
	if !fi.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	if err := private(path, fi, "600"); err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(io.LimitReader(f, maxSecret+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(raw) > maxSecret {
		return nil, fmt.Errorf("%s is larger than any key (%d bytes)", path, maxSecret)
	}
	return raw, nil
}

// createPrivate writes a new file of mode 0600 whole or not at all, and never over an old one.
func createPrivate(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making %s: %w", dir, err)
	}
	if err := checkDir(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".new-*") // mode 0600
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	// link(2), unlike rename(2), fails where a file of that name exists.
	if err := os.Link(f.Name(), path); err != nil {
		return fmt.Errorf("%s is not written: %w", path, err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("opening %s: %w", dir, err)
	}
	return errors.Join(d.Sync(), d.Close())
}

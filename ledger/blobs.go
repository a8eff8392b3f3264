package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/remit-dev/remit"
)

// BlobOptions limit a BlobDir.
type BlobOptions struct {
	Quota   int64  // bytes of all blobs together; 0: none
	Reserve uint64 // free bytes on the volume that blobs do not touch: only the log may use them
	// Free tells how many bytes are free on the volume of a directory; nil: ask the system.
	Free func(dir string) (uint64, error)
}

// BlobDir is Blobs in a directory of mode 0700: a file of mode 0600 for each, named by its digest.
type BlobDir struct {
	dir string
	o   BlobOptions

	mu   sync.Mutex
	used int64 // bytes of blobs and of those being put
}

var _ Blobs = (*BlobDir)(nil)

// OpenBlobDir opens a directory, or makes it. Leftovers of interrupted Puts are removed.
func OpenBlobDir(dir string, o BlobOptions) (*BlobDir, error) {
	if o.Free == nil {
		o.Free = freeBytes
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, remit.Errorf(remit.LedgerDown, "the directory of blobs cannot be made: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, remit.Errorf(remit.LedgerDown, "the directory of blobs cannot be read: %w", err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, remit.Errorf(remit.LedgerDown, "others may use the directory of blobs %s (mode %#o): chmod 700 %s", dir, mode, dir)
	}
	d := &BlobDir{dir: dir, o: o}
	leftovers, err := filepath.Glob(filepath.Join(dir, "put-*"))
	for _, path := range leftovers {
		err = errors.Join(err, os.Remove(path))
	}
	if err != nil {
		return nil, remit.Errorf(remit.LedgerDown, "the directory of blobs cannot be cleaned: %w", err)
	}
	for blob, err := range d.List(context.Background()) {
		if err != nil {
			return nil, err
		}
		d.used += blob.Size
	}
	return d, nil
}

func (d *BlobDir) path(digest remit.Digest) string { return filepath.Join(d.dir, digest.String()) }

// reserve books n more bytes, or refuses them.
func (d *BlobDir) reserve(n int64) error {
	free, err := d.o.Free(d.dir)
	if err != nil {
		return remit.Errorf(remit.NoSpace, "nobody can tell how much space is left for blobs in %s: %w", d.dir, err)
	}
	if free < d.o.Reserve || free-d.o.Reserve < uint64(n) {
		return remit.Errorf(remit.NoSpace, "%d bytes are free for %s, and %d of them are kept for the log: free some space", free, d.dir, d.o.Reserve)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.o.Quota > 0 && d.used+n > d.o.Quota {
		return remit.Errorf(remit.NoSpace, "blobs in %s would take more than their quota of %d bytes", d.dir, d.o.Quota)
	}
	d.used += n
	return nil
}

func (d *BlobDir) release(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.used -= n
}

// Put: see Blobs.
func (d *BlobDir) Put(ctx context.Context, r io.Reader) (_ remit.Digest, size int64, err error) {
	f, err := os.CreateTemp(d.dir, "put-*") // mode 0600
	if err != nil {
		return remit.Digest{}, 0, noSpace(err)
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(f.Name())
			d.release(size)
		}
	}()
	h, buf := sha256.New(), make([]byte, 64<<10)
	for {
		if err := ctx.Err(); err != nil {
			return remit.Digest{}, size, err
		}
		n, readErr := io.ReadFull(r, buf)
		if n > 0 {
			if err := d.reserve(int64(n)); err != nil {
				return remit.Digest{}, size, err
			}
			size += int64(n)
			h.Write(buf[:n])
			if _, err := f.Write(buf[:n]); err != nil {
				return remit.Digest{}, size, noSpace(err)
			}
		}
		if readErr == io.EOF || readErr == io.ErrUnexpectedEOF {
			break
		}
		if readErr != nil {
			return remit.Digest{}, size, fmt.Errorf("reading what is to be kept as a blob: %w", readErr)
		}
	}
	digest := remit.Digest(h.Sum(nil))
	return digest, size, d.keep(f, digest, size)
}

// keep moves a finished file to its name, durably.
func (d *BlobDir) keep(f *os.File, digest remit.Digest, size int64) error {
	if err := errors.Join(f.Chmod(0o600), f.Sync()); err != nil {
		return noSpace(err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	old, there := os.Stat(d.path(digest))
	if err := os.Rename(f.Name(), d.path(digest)); err != nil {
		return noSpace(err)
	}
	if there == nil {
		d.used -= old.Size() // the same blob again: what was damaged is mended
	}
	if err := syncDir(d.dir); err != nil {
		return noSpace(err)
	}
	return nil
}

// PutFile: see Blobs. A file on another volume is copied.
func (d *BlobDir) PutFile(ctx context.Context, path string) (remit.Digest, int64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return remit.Digest{}, 0, fmt.Errorf("the file to be kept as a blob: %w", err)
	}
	if !info.Mode().IsRegular() { // of a link, only the link would be moved in
		return remit.Digest{}, 0, remit.Errorf(remit.BadRequest, "%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return remit.Digest{}, 0, fmt.Errorf("the file to be kept as a blob: %w", err)
	}
	defer f.Close()
	if !sameVolume(d.dir, path) {
		digest, size, err := d.Put(ctx, f)
		if err == nil {
			err = os.Remove(path)
		}
		return digest, size, err
	}
	digest, size, err := digestOf(ctx, f)
	if err != nil {
		return remit.Digest{}, 0, err
	}
	if err := d.reserve(size); err != nil {
		return remit.Digest{}, 0, err
	}
	if err := d.keep(f, digest, size); err != nil {
		d.release(size)
		return remit.Digest{}, 0, err
	}
	return digest, size, nil
}

// Open: see Blobs.
func (d *BlobDir) Open(ctx context.Context, digest remit.Digest) (io.ReadSeekCloser, int64, error) {
	f, err := os.Open(d.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, fmt.Errorf("blob %s: %w", digest, ErrNotFound)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("blob %s: %w", digest, err)
	}
	got, size, err := digestOf(ctx, f)
	if err == nil && got != digest {
		err = remit.Errorf(remit.LedgerDown, "the blob %s was damaged: its content has digest %s", f.Name(), got)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close())
	}
	return f, size, nil
}

// Erase: see Blobs.
func (d *BlobDir) Erase(_ context.Context, digest remit.Digest) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	info, err := os.Stat(d.path(digest))
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("blob %s: %w", digest, ErrNotFound)
	}
	if err == nil {
		err = errors.Join(os.Remove(d.path(digest)), syncDir(d.dir))
	}
	if err != nil {
		return fmt.Errorf("blob %s cannot be erased: %w", digest, err)
	}
	d.used -= info.Size()
	return nil
}

// List: see Blobs.
func (d *BlobDir) List(ctx context.Context) iter.Seq2[Blob, error] {
	return func(yield func(Blob, error) bool) {
		files, err := os.ReadDir(d.dir)
		if err != nil {
			yield(Blob{}, fmt.Errorf("the directory of blobs cannot be read: %w", err))
			return
		}
		for _, file := range files {
			raw, err := hex.DecodeString(file.Name())
			if err != nil || len(raw) != sha256.Size || strings.ToLower(file.Name()) != file.Name() {
				continue // not a blob
			}
			info, err := file.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				yield(Blob{}, err)
				return
			}
			if !yield(Blob{remit.Digest(raw), info.Size(), info.ModTime()}, nil) {
				return
			}
		}
	}
}

func digestOf(ctx context.Context, r io.Reader) (remit.Digest, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, readerFunc(func(p []byte) (int, error) {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		return r.Read(p)
	}))
	return remit.Digest(h.Sum(nil)), n, err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func noSpace(err error) error {
	return remit.Errorf(remit.NoSpace, "the blob cannot be written: %w", err)
}

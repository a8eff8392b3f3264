package ledger_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

func openBlobs(t *testing.T, o ledger.BlobOptions) (*ledger.BlobDir, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "blobs")
	b, err := ledger.OpenBlobDir(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	return b, dir
}

func used(t *testing.T, b *ledger.BlobDir) int64 {
	t.Helper()
	u, err := b.Usage()
	if err != nil {
		t.Fatal(err)
	}
	return u.Used
}

func spooled(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "spooled")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAFileIsTakenInWholeOrStaysWhereItIs(t *testing.T) {
	blobs, dir := openBlobs(t, ledger.BlobOptions{Quota: 10})
	if _, _, err := blobs.PutFile(t.Context(), filepath.Join(dir, "gone")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, _, err := blobs.PutFile(t.Context(), dir); code(err) != remit.BadRequest {
		t.Errorf("a directory: %v", err)
	}
	large := spooled(t, t.TempDir(), "eleven bytes")
	if _, _, err := blobs.PutFile(t.Context(), large); code(err) != remit.NoSpace {
		t.Errorf("past the quota: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	small := spooled(t, t.TempDir(), "ten  bytes")
	if _, _, err := blobs.PutFile(ended, small); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if _, _, err := blobs.Put(ended, strings.NewReader("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	for _, path := range []string{large, small} {
		if _, err := os.Stat(path); err != nil {
			t.Errorf("what was refused is gone: %v", err)
		}
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(small, link); err != nil {
		t.Fatal(err)
	}
	if _, _, err := blobs.PutFile(t.Context(), link); code(err) != remit.BadRequest {
		t.Errorf("a link, of which the content stays elsewhere: %v", err)
	}
	if n := used(t, blobs); n != 0 {
		t.Fatalf("what was refused takes %d bytes of the quota", n)
	}
	if _, _, err := blobs.PutFile(t.Context(), small); err != nil {
		t.Fatal(err)
	}
	if n := used(t, blobs); n != 10 {
		t.Fatalf("10 bytes take %d of the quota", n)
	}
	// The same again takes no more of it.
	if err := blobs.Erase(t.Context(), remit.Hash([]byte("ten  bytes"))); err != nil || used(t, blobs) != 0 {
		t.Fatal(err, used(t, blobs))
	}
}

// TestAFileOfAnotherVolumeIsCopiedAndThenRemoved: it cannot be renamed.
func TestAFileOfAnotherVolumeIsCopiedAndThenRemoved(t *testing.T) {
	blobs, dir := openBlobs(t, ledger.BlobOptions{Quota: 100})
	there, err := os.MkdirTemp("/dev/shm", "remit-")
	if err != nil {
		t.Skipf("there is no other volume: %v", err)
	}
	defer os.RemoveAll(there)
	var a, b syscall.Stat_t
	if err := errors.Join(syscall.Stat(dir, &a), syscall.Stat(there, &b)); err != nil || a.Dev == b.Dev {
		t.Skipf("there is no other volume: %v", err)
	}
	path := spooled(t, there, strings.Repeat("x", 101))
	if _, _, err := blobs.PutFile(t.Context(), path); code(err) != remit.NoSpace || used(t, blobs) != 0 {
		t.Errorf("past the quota: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("what was refused is gone: %v", err)
	}
	path = spooled(t, there, "from afar")
	d, size, err := blobs.PutFile(t.Context(), path)
	if err != nil || d != remit.Hash([]byte("from afar")) || size != 9 {
		t.Fatal(d, size, err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	r, _, err := blobs.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || string(got) != "from afar" {
		t.Fatalf("%q %v", got, err)
	}
}

// TestAFailureOfTheDiskKeepsTheBooks: what could not be written takes nothing of the quota, and what stays keeps its part.
func TestAFailureOfTheDiskKeepsTheBooks(t *testing.T) {
	blobs, dir := openBlobs(t, ledger.BlobOptions{Quota: 1000})
	if _, _, err := blobs.Put(t.Context(), strings.NewReader("kept")); err != nil {
		t.Fatal(err)
	}
	// In the place of the blob stands what cannot be replaced by a file.
	stuck := remit.Hash([]byte("stuck"))
	if err := os.MkdirAll(filepath.Join(dir, stuck.String(), "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, put := range map[string]func() error{
		"a reader": func() error { _, _, err := blobs.Put(t.Context(), strings.NewReader("stuck")); return err },
		"a file":   func() error { _, _, err := blobs.PutFile(t.Context(), spooled(t, t.TempDir(), "stuck")); return err },
	} {
		if err := put(); code(err) != remit.NoSpace {
			t.Errorf("%s: %v", name, err)
		}
		if n := used(t, blobs); n != 4 {
			t.Errorf("%s: %d bytes are used, want 4", name, n)
		}
	}
	if _, _, err := blobs.Open(t.Context(), stuck); err == nil || errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("what is no file: %v", err)
	}
	if err := blobs.Erase(t.Context(), stuck); err == nil || errors.Is(err, ledger.ErrNotFound) || used(t, blobs) != 4 {
		t.Errorf("what cannot be erased: %v, %d bytes", err, used(t, blobs))
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "put-*")); len(left) > 0 {
		t.Errorf("leftovers: %v", left)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, _, err := blobs.Put(t.Context(), strings.NewReader("x")); code(err) != remit.NoSpace {
		t.Errorf("the directory is gone: %v", err)
	}
	for _, err := range blobs.List(t.Context()) {
		if err == nil {
			t.Error("there is a blob in no directory")
		}
	}
}

func TestNobodyPutsABlobWhenTheSpaceIsUnknown(t *testing.T) {
	blobs, _ := openBlobs(t, ledger.BlobOptions{Reserve: 5, Quota: 7, Free: func(string) (uint64, error) { return 9, errDisk }})
	if _, _, err := blobs.Put(t.Context(), strings.NewReader("x")); code(err) != remit.NoSpace || !errors.Is(err, errDisk) {
		t.Error(err)
	}
	if u, err := blobs.Usage(); !errors.Is(err, errDisk) || u.Quota != 7 || u.Reserve != 5 || u.Used != 0 {
		t.Errorf("%+v %v", u, err)
	}
	system, dir := openBlobs(t, ledger.BlobOptions{})
	if u, err := system.Usage(); err != nil || u.Free == 0 {
		t.Errorf("%+v %v", u, err)
	}
	os.RemoveAll(dir)
	if u, err := system.Usage(); err == nil {
		t.Errorf("%d bytes are free in no directory", u.Free)
	}
}

// TestABlobDirIsCleanedOfWhatACrashLeft: and of nothing else; and what it has counts against the quota from the start.
func TestABlobDirIsCleanedOfWhatACrashLeft(t *testing.T) {
	blobs, dir := openBlobs(t, ledger.BlobOptions{})
	kept, _, err := blobs.Put(t.Context(), strings.NewReader("four"))
	if err != nil {
		t.Fatal(err)
	}
	strange := []string{"notes", strings.ToUpper(kept.String()), kept.String()[:62]}
	for _, name := range append(strange, "put-123") {
		if err := os.WriteFile(filepath.Join(dir, name), bytes.Repeat([]byte("z"), 50), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if blobs, err = ledger.OpenBlobDir(dir, ledger.BlobOptions{Quota: 6}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "put-123")); err == nil {
		t.Error("a put that a crash interrupted stays")
	}
	for _, name := range strange {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
	if n := used(t, blobs); n != 4 {
		t.Errorf("%d bytes are used, want 4", n)
	}
	if _, _, err := blobs.Put(t.Context(), strings.NewReader("xyz")); code(err) != remit.NoSpace {
		t.Errorf("past the quota: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for b, err := range blobs.List(ended) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("an ended context: %v %v", b, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "put-9", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.OpenBlobDir(dir, ledger.BlobOptions{}); code(err) != remit.LedgerDown || !strings.Contains(err.Error(), "cannot be cleaned") {
		t.Errorf("what cannot be cleaned: %v", err)
	}
	file := spooled(t, t.TempDir(), "")
	if _, err := ledger.OpenBlobDir(file, ledger.BlobOptions{}); code(err) != remit.LedgerDown {
		t.Errorf("a file for a directory: %v", err)
	}
}

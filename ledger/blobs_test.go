package ledger_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

func code(err error) remit.Code {
	var e *remit.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestBlobsAreKeptByDigestAndErased(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "blobs")
	blobs, err := ledger.OpenBlobDir(dir, ledger.BlobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Repeat([]byte("pack"), 50_000)
	d, size, err := blobs.Put(t.Context(), bytes.NewReader(content))
	if err != nil || d != remit.Hash(content) || size != int64(len(content)) {
		t.Fatal(d, size, err)
	}
	file := filepath.Join(t.TempDir(), "spooled")
	os.WriteFile(file, []byte("spooled"), 0o644)
	d2, size, err := blobs.PutFile(t.Context(), file)
	if err != nil || d2 != remit.Hash([]byte("spooled")) || size != 7 {
		t.Fatal(d2, size, err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file is still in its old place")
	}
	if info, err := os.Stat(filepath.Join(dir, d2.String())); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info, err)
	}
	blobs, err = ledger.OpenBlobDir(dir, ledger.BlobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for b, err := range blobs.List(t.Context()) {
		if err != nil || b.Digest != d && b.Digest != d2 {
			t.Fatal(b, err)
		}
		n++
	}
	if n != 2 {
		t.Fatalf("%d blobs, want 2", n)
	}
	r, size, err := blobs.Open(t.Context(), d)
	if err != nil || size != int64(len(content)) {
		t.Fatal(size, err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content) {
		t.Fatal(len(got), err)
	}
	r.Close()
	os.WriteFile(filepath.Join(dir, d.String()), []byte("other"), 0o600)
	if _, _, err := blobs.Open(t.Context(), d); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("a damaged blob: %v", err)
	}
	if _, _, err := blobs.Put(t.Context(), bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if r, _, err = blobs.Open(t.Context(), d); err != nil {
		t.Fatalf("put again, it is mended: %v", err)
	}
	r.Close()
	if err := blobs.Erase(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if _, _, err := blobs.Open(t.Context(), d); !errors.Is(err, ledger.ErrNotFound) {
		t.Fatal(err)
	}
	if err := blobs.Erase(t.Context(), d); !errors.Is(err, ledger.ErrNotFound) {
		t.Fatal(err)
	}
}

func TestBlobsStopAtTheirQuotaAndAboveTheReserve(t *testing.T) {
	free := uint64(1 << 30)
	dir := filepath.Join(t.TempDir(), "blobs")
	blobs, err := ledger.OpenBlobDir(dir, ledger.BlobOptions{Quota: 100_000, Reserve: 1 << 20, Free: func(string) (uint64, error) { return free, nil }})
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int) error {
		_, _, err := blobs.Put(t.Context(), bytes.NewReader(bytes.Repeat([]byte{byte(n), byte(n >> 8)}, n/2)))
		return err
	}
	if err := put(90_000); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := put(80_000); code(err) != remit.NoSpace {
			t.Fatalf("past the quota: %v", err)
		}
	}
	if err := put(8_000); err != nil {
		t.Fatalf("what was refused takes no quota: %v", err)
	}
	free = 1<<20 + 100
	if err := put(200); code(err) != remit.NoSpace {
		t.Fatalf("into the reserve: %v", err)
	}
	free = 5
	if err := put(2); code(err) != remit.NoSpace {
		t.Fatalf("below the reserve: %v", err)
	}
	free = 1 << 30
	_, _, err = blobs.Put(t.Context(), io.MultiReader(strings.NewReader("x"), failing{}))
	if err == nil {
		t.Fatal("a reader that fails makes a blob")
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*"))
	if len(files) != 2 {
		t.Errorf("%v, want two blobs and no leftovers", files)
	}
	os.Chmod(dir, 0o755)
	if _, err := ledger.OpenBlobDir(dir, ledger.BlobOptions{}); err == nil || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("a directory open to others: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

package ledger_test

import (
	"context"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// erasing lists a blob that is erased before it is read.
type erasing struct {
	ledger.Blobs
	gone remit.Digest
}

func (e erasing) List(ctx context.Context) iter.Seq2[ledger.Blob, error] {
	return func(yield func(ledger.Blob, error) bool) {
		if !yield(ledger.Blob{Digest: e.gone}, nil) {
			return
		}
		e.Blobs.List(ctx)(yield)
	}
}

func TestACopyHasEveryBlobAndNothingDamaged(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "from")
	from, err := ledger.OpenBlobDir(dir, ledger.BlobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var kept []remit.Digest
	for _, text := range []string{"", "one", strings.Repeat("two", 100_000)} {
		d, _, err := from.Put(t.Context(), strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, d)
	}
	// What another process is writing stands beside them, and is its own.
	half := filepath.Join(dir, "half-written.tmp")
	if err := os.WriteFile(half, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	to, err := ledger.OpenBlobDir(filepath.Join(t.TempDir(), "to"), ledger.BlobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.CopyBlobs(t.Context(), to, erasing{ledger.ReadBlobDir(dir), remit.Hash([]byte("gone"))}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); err != nil {
		t.Fatalf("a copy changes what it reads: %v", err)
	}
	n := 0
	for b, err := range to.List(t.Context()) {
		if err != nil || b.Size == 0 && b.Digest != kept[0] {
			t.Fatal(b, err)
		}
		n++
	}
	if n != len(kept) {
		t.Fatalf("%d blobs of %d", n, len(kept))
	}
	for _, d := range kept {
		r, _, err := to.Open(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
		r.Close()
	}
	if err := os.WriteFile(filepath.Join(dir, kept[1].String()), []byte("0ne"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := ledger.CopyBlobs(t.Context(), to, ledger.ReadBlobDir(dir)); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Fatalf("a damaged blob is copied: %v", err)
	}
}

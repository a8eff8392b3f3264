//go:build interop && unix

package ledger_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/remit-dev/remit/internal/real"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// Tessera's fsck reads logs of sizes around the edges of tiles, and finds each file that is not what it was.
func TestInteropTesseraFindsTheTilesWhole(t *testing.T) {
	s := new(ledgertest.Memory)
	k, verifier := key(t)
	_, other := key(t)
	grow(t, s, 1<<16+300)
	for _, size := range []uint64{1, 255, 256, 257, 1000, 1<<16 + 300} {
		dir := t.TempDir()
		files := published(t, s, k, verifier, size)
		for path, f := range files {
			at := filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(at), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(at, f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := real.Judge(t, dir, verifier); err != nil {
			t.Fatalf("%d entries: %v", size, err)
		}
		if size != 1000 {
			continue
		}
		if real.Judge(t, dir, other) == nil {
			t.Error("accepted under another key")
		}
		for path, f := range files {
			at := filepath.Join(dir, path)
			bad := append([]byte(nil), f.Data...)
			bad[len(bad)/2] ^= 1
			if err := os.WriteFile(at, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			if real.Judge(t, dir, verifier) == nil {
				t.Errorf("%s was changed, accepted", path)
			}
			if err := os.WriteFile(at, f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}

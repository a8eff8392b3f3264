package sqlite_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// TestABackupIsTheLogAtOneMomentWhileItIsWritten: most of the log stands in the write-ahead log, where a copy of the file
// alone would miss it.
func TestABackupIsTheLogAtOneMomentWhileItIsWritten(t *testing.T) {
	dir := t.TempDir()
	path, to := filepath.Join(dir, "log ?%41.db"), filepath.Join(dir, "copy ?%41'.db")
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	payload := remit.Payload{Body: []byte("words")}
	want := extend(t, s, 20, payload)
	if err := sqlite.Backup(t.Context(), path, to); err != nil {
		t.Fatal(err)
	}
	extend(t, s, 5) // the writer was not stopped
	if info, err := os.Stat(to); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatal(info, err)
	}
	for _, beside := range []string{"-wal", "-shm", "-journal"} {
		if _, err := os.Stat(to + beside); err == nil {
			t.Errorf("a part of the copy stands in %s", beside)
		}
	}
	if err := sqlite.Backup(t.Context(), path, to); err == nil {
		t.Fatal("an older copy is overwritten")
	}
	c, err := sqlite.Open(to, sqlite.Options{Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := fold(t, c); err != nil || got != want {
		t.Fatalf("%+v %v, want %+v", got, err, want)
	}
	if p, err := c.Payload(t.Context(), payload.Commitment()); err != nil || string(p.Body) != "words" {
		t.Fatal(p, err)
	}
	if head := extend(t, c, 1); head.Size != want.Size+1 { // it is a log, and goes on
		t.Fatal(head)
	}
}

func TestABackupOfNoLogLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte("shopping list"), 0o600); err != nil {
		t.Fatal(err)
	}
	for from, words := range map[string]string{filepath.Join(dir, "none"): "no log at", text: "file of another program"} {
		to := filepath.Join(dir, "copy")
		if err := sqlite.Backup(t.Context(), from, to); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want a sentence with %q", from, err, words)
		}
		if _, err := os.Stat(to); err == nil {
			t.Errorf("%s: there is something at %s", from, to)
			os.Remove(to)
		}
	}
}

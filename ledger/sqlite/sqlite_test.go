package sqlite_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
	"github.com/remit-dev/remit/ledger/sqlite"
)

func open(t *testing.T, dir string) ledger.Store {
	t.Helper()
	s, err := sqlite.Open(filepath.Join(dir, "log ?%41.db"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) { ledgertest.Run(t, open) }

// write makes a log of n entries, one commit each, and closes it.
func write(t *testing.T, path string, n int, payloads ...remit.Payload) ledger.Head {
	t.Helper()
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	head := extend(t, s, n, payloads...)
	return head
}

func extend(t *testing.T, s ledger.Store, n int, payloads ...remit.Payload) ledger.Head {
	t.Helper()
	tree, head, err := ledger.OpenTree(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		next, hashes := tree.Append(ledgertest.Leaf(int(tree.Size())))
		b := ledger.Batch{Entries: [][]byte{ledgertest.Leaf(int(tree.Size()))}, Hashes: hashes, Payloads: payloads, Next: next.Head(head.Epoch)}
		if err := s.Append(t.Context(), head, b); err != nil {
			t.Fatal(err)
		}
		tree, head = next, b.Next
	}
	return head
}

func fold(t *testing.T, s ledger.Store) (ledger.Head, error) {
	t.Helper()
	_, head, err := ledger.Replay(t.Context(), s, ledger.Tree{}, func(remit.EntryIndex, ledger.Leaf) error { return nil })
	return head, err
}

func TestASecondProcessIsRefusedWithThePidOfTheFirst(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	extend(t, s, 3)
	_, err = sqlite.Open(path, sqlite.Options{})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d has the log", os.Getpid())) {
		t.Fatalf("the second one: %v", err)
	}
	reader, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
	if err != nil {
		t.Fatalf("a reader beside the writer: %v", err)
	}
	if head, err := fold(t, reader); err != nil || head.Size != 3 {
		t.Fatal(head, err)
	}
	if err := reader.Append(t.Context(), ledger.Empty(), ledger.Batch{Next: ledger.Empty()}); !errors.Is(err, ledger.ErrConflict) {
		t.Fatalf("appending read-only: %v", err)
	}
	if err := errors.Join(reader.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	if reader, err = sqlite.Open(path, sqlite.Options{ReadOnly: true}); err != nil {
		t.Fatalf("a reader after the writer: %v", err)
	}
	if head, err := fold(t, reader); err != nil || head.Size != 3 {
		t.Fatal(head, err)
	}
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, path, 1)
}

func TestFilesThatAreNoLogAreRefusedWithASentence(t *testing.T) {
	exec := func(query string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			if _, err := db.Exec(query); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name  string
		spoil func(*testing.T, string)
		want  string
	}{
		{"a text", func(t *testing.T, path string) { os.WriteFile(path, []byte("shopping list"), 0o600) }, "file of another program"},
		{"a long text", func(t *testing.T, path string) { os.WriteFile(path, bytes.Repeat([]byte("x"), 5000), 0o600) }, "file of another program"},
		{"another program's database", exec(`PRAGMA application_id = 7`), "file of another program"},
		{"a newer release's", exec(`PRAGMA user_version = 2`), "newer release"},
		{"cut in the middle", func(t *testing.T, path string) { os.Truncate(path, 16384) }, "was cut"},
		{"cut inside a page", func(t *testing.T, path string) { os.Truncate(path, 9000) }, "was cut"},
		{"emptied, with -existing", func(t *testing.T, path string) { os.Truncate(path, 0) }, "empty"},
		{"readable by others", func(t *testing.T, path string) { os.Chmod(path, 0o644) }, "chmod 600"},
		{"gone", func(t *testing.T, path string) { os.Remove(path) }, "no log at"},
		{"a directory", func(t *testing.T, path string) { os.Remove(path); os.Mkdir(path, 0o700) }, "file of another program"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log.db")
			write(t, path, 3, remit.Payload{Body: make([]byte, 20_000)})
			test.spoil(t, path)
			s, err := sqlite.Open(path, sqlite.Options{Existing: true})
			if err == nil {
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("%v, want a sentence with %q", err, test.want)
			}
		})
	}
}

func TestNoDamagedByteIsFoldedSilently(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.db")
	want := write(t, path, 40)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at < len(good); at += 97 {
		bad := bytes.Clone(good)
		bad[at] ^= 0x10
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := sqlite.Open(path, sqlite.Options{})
		if err != nil {
			continue
		}
		i := 0
		_, head, err := ledger.Replay(t.Context(), s, ledger.Tree{}, func(_ remit.EntryIndex, l ledger.Leaf) error { i++; return nil })
		if err == nil && head != want {
			t.Fatalf("byte %d changed: %v is folded without an error, want %v", at, head, want)
		}
		s.Close()
	}
}

func TestTheDatabaseItselfKeepsEntriesAsTheyAre(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	p := remit.Payload{Body: []byte("private words")}
	write(t, path, 3, p)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, attack := range []string{
		`UPDATE batch SET leaves = x'00'`, `DELETE FROM batch`, `DELETE FROM batch WHERE first = 2`, `UPDATE batch SET first = first + 1 WHERE first = 2`,
		`DELETE FROM payload`, `UPDATE payload SET body = x'01'`, `UPDATE head SET size = 2`, `DELETE FROM head`,
		`INSERT INTO head VALUES (2, 0, x'00', 0)`, `INSERT INTO batch VALUES (1, x'00', x'00')`,
	} {
		if _, err := db.Exec(attack); err == nil {
			t.Errorf("%s: done, want it refused", attack)
		}
	}
}

func TestErasedBytesAreGoneFromTheFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.db")
	secret := []byte("ERASE-ME-" + strings.Repeat("x", 3000))
	p := remit.Payload{Salt: [32]byte{7}, Body: secret}
	write(t, path, 1, p)
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	tree, head, err := ledger.OpenTree(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	next, hashes := tree.Append(ledgertest.Leaf(1))
	if err := s.Append(t.Context(), head, ledger.Batch{Entries: [][]byte{ledgertest.Leaf(1)}, Hashes: hashes, Erase: []remit.Digest{p.Commitment()}, Next: next.Head(0)}); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, _ := f.Info()
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want 0600", f.Name(), info.Mode())
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(b, secret[:9]) || bytes.Contains(b, secret[1000:1100]) {
			t.Errorf("%s still has the erased bytes", f.Name())
		}
	}
}

func TestAFullDiskWritesNothingAndEnds(t *testing.T) {
	// max_page_count makes SQLite answer SQLITE_FULL as a full disk does.
	path := filepath.Join(t.TempDir(), "log.db")
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before := extend(t, s, 5)
	if err := sqlite.LimitPages(s, 9); err != nil {
		t.Fatal(err)
	}
	tree, head, err := ledger.OpenTree(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	next, hashes := tree.Append(ledgertest.Leaf(5))
	b := ledger.Batch{Entries: [][]byte{ledgertest.Leaf(5)}, Hashes: hashes, Payloads: []remit.Payload{{Body: make([]byte, 60_000)}}, Next: next.Head(0)}
	err = s.Append(t.Context(), head, b)
	var refused *remit.Error
	if !errors.Is(err, ledger.ErrConflict) || !errors.As(err, &refused) || refused.Code != remit.NoSpace {
		t.Fatalf("on a full disk: %v, want NO_SPACE with nothing written", err)
	}
	if head, err := fold(t, s); err != nil || head != before {
		t.Fatalf("after a full disk: %v, %v, want %v", head, err, before)
	}
	if err := sqlite.LimitPages(s, 1<<30); err != nil {
		t.Fatal(err)
	}
	if err := s.Append(t.Context(), head, b); err != nil {
		t.Fatalf("once there is space again: %v", err)
	}
}

func TestACommitOfUnknownOutcomeStopsTheStore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	before := extend(t, s, 2)
	if err := sqlite.FailCommits(s); err != nil {
		t.Fatal(err)
	}
	tree, head, err := ledger.OpenTree(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	next, hashes := tree.Append(ledgertest.Leaf(2))
	b := ledger.Batch{Entries: [][]byte{ledgertest.Leaf(2)}, Hashes: hashes, Next: next.Head(0)}
	for range 2 {
		if err := s.Append(t.Context(), head, b); !errors.Is(err, ledger.ErrUnknown) || errors.Is(err, ledger.ErrConflict) {
			t.Fatalf("a COMMIT that fails: %v, want ErrUnknown, and then for good", err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = sqlite.Open(path, sqlite.Options{}); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if head, err := fold(t, s); err != nil || head != before {
		t.Fatalf("opened again: %v, %v", head, err)
	}
	if err := s.Append(t.Context(), head, b); err != nil {
		t.Fatal(err)
	}
}

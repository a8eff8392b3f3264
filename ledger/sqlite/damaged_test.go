package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// forge runs statements on a file as who may write it would, past what the database itself refuses.
func forge(t *testing.T, path string, statements ...string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, trigger := range []string{"batch_keeps", "batch_stays", "payload_stays", "payload_keeps", "head_stays", "head_grows"} {
		statements = append([]string{"DROP TRIGGER IF EXISTS " + trigger}, statements...)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func refused(t *testing.T, err error, code remit.Code, words string) {
	t.Helper()
	var e *remit.Error
	if !errors.As(err, &e) || e.Code != code || !strings.Contains(err.Error(), words) {
		t.Errorf("%v; want %s with %q", err, code, words)
	}
}

// use does with a log what a server does: opens it, folds it, reads a payload and the hashes at its end.
func use(t *testing.T, path string, payload remit.Digest) error {
	s, err := sqlite.Open(path, sqlite.Options{Existing: true})
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := fold(t, s); err != nil {
		return err
	}
	if _, _, err := ledger.OpenTree(t.Context(), s); err != nil {
		return err
	}
	_, err = s.Payload(t.Context(), payload)
	return err
}

// TestAForgedDatabaseIsRefusedWithASentence: whoever may write the file gets past its triggers, and not past this.
func TestAForgedDatabaseIsRefusedWithASentence(t *testing.T) {
	p := remit.Payload{Salt: [32]byte{1}, Body: []byte("private-words")}
	for name, test := range map[string]struct {
		forged string
		code   remit.Code
		want   string
	}{
		"a root that is too short":        {`UPDATE head SET root = x'010203'`, remit.LedgerDown, "the head's root has 3 bytes"},
		"another root":                    {`UPDATE head SET root = zeroblob(32)`, remit.LedgerDown, "do not give the root of its head"},
		"no head":                         {`DELETE FROM head`, remit.LedgerDown, "cannot be used"},
		"a head that says more":           {`UPDATE head SET size = 4`, remit.LedgerDown, "entry 3 is missing"},
		"no table":                        {`DROP TABLE batch`, remit.LedgerDown, "no such table"},
		"an entry that is missing":        {`DELETE FROM batch WHERE first = 1`, remit.LedgerDown, "do not give the root"},
		"the first entry missing":         {`DELETE FROM batch WHERE first = 0`, remit.LedgerDown, "entry 0 is missing"},
		"an entry that is cut":            {`UPDATE batch SET leaves = substr(leaves, 1, 9) WHERE first = 2`, remit.LedgerDown, "entry 2 is cut"},
		"a length without its entry":      {`UPDATE batch SET leaves = x'00' WHERE first = 2`, remit.LedgerDown, "entry 2 is cut"},
		"two entries in one another":      {`UPDATE batch SET leaves = CAST(leaves || leaves AS BLOB) WHERE first = 1`, remit.LedgerDown, "give the root"},
		"an entry in another one's place": {`UPDATE batch SET leaves = (SELECT leaves FROM batch WHERE first = 1) WHERE first = 2`, remit.LedgerDown, "give the root"},
		"hashes that are cut":             {`UPDATE batch SET hashes = x''`, remit.NotFound, "whose hash was asked for"},
		"other hashes":                    {`UPDATE batch SET hashes = zeroblob(length(hashes))`, remit.LedgerDown, "its hashes do not give the root"},
		"a salt that is too short":        {`UPDATE payload SET salt = x'01'`, remit.LedgerDown, "the salt of payload " + p.Commitment().String() + " has 1 bytes"},
		"another salt":                    {`UPDATE payload SET salt = zeroblob(32)`, remit.LedgerDown, "has other content"},
		"other words":                     {`UPDATE payload SET body = x'77'`, remit.LedgerDown, "has other content"},
		"no table of payloads":            {`DROP TABLE payload`, remit.LedgerDown, "no such table"},
		"a version that never was":        {`PRAGMA user_version = 0`, remit.LedgerDown, "version 0, which no release wrote"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log.db")
			write(t, path, 3, p)
			if err := use(t, path, p.Commitment()); err != nil {
				t.Fatal(err)
			}
			forge(t, path, test.forged)
			err := use(t, path, p.Commitment())
			refused(t, err, test.code, test.want)
			if err != nil && strings.Contains(err.Error(), string(p.Body)) {
				t.Error("the error shows the payload")
			}
		})
	}
	// What is gone is gone: no forged row brings it back under its own name.
	path := filepath.Join(t.TempDir(), "log.db")
	write(t, path, 3, p)
	forge(t, path, `UPDATE payload SET salt = NULL, body = NULL`)
	if err := use(t, path, p.Commitment()); !errors.Is(err, ledger.ErrErased) {
		t.Error(err)
	}
}

// TestAReaderRefusesWhatAWriterDoes: an auditor beside a server sees no other program's file as an empty log.
func TestAReaderRefusesWhatAWriterDoes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.db")
	write(t, path, 3)
	read := func(path string) error {
		s, err := sqlite.Open(path, sqlite.Options{ReadOnly: true})
		if err == nil {
			s.Close()
		}
		return err
	}
	if err := read(path); err != nil {
		t.Fatal(err)
	}
	forge(t, path, `PRAGMA user_version = 9`)
	refused(t, read(path), remit.LedgerDown, "newer release")
	other := filepath.Join(dir, "other.db")
	forge(t, other, `CREATE TABLE t (a)`, `DROP TABLE t`)
	if err := os.Chmod(other, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := read(other); err == nil {
		t.Error("an empty database is read as a log")
	}
	refused(t, read(filepath.Join(dir, "gone.db")), remit.NotFound, "remit init makes one")
	if _, err := os.Stat(filepath.Join(dir, "gone.db")); err == nil {
		t.Error("a reader made a log")
	}
	if _, err := os.Stat(other + ".lock"); err == nil {
		t.Error("a reader made a lock")
	}
}

func TestALogIsNotMadeWhereItsRestIs(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.db")
	write(t, path, 3)
	// The main file is lost, and the write-ahead log has what was acknowledged last.
	if err := errors.Join(os.Remove(path), os.WriteFile(path+"-wal", []byte("frames"), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err := sqlite.Open(path, sqlite.Options{})
	refused(t, err, remit.LedgerDown, "its main file is missing")
	if _, err := os.Stat(path); err == nil {
		t.Error("an empty log was put in its place")
	}
	_, err = sqlite.Open(filepath.Join(dir, "gone", "log.db"), sqlite.Options{})
	refused(t, err, remit.LedgerDown, "cannot be locked")
	if err := os.Mkdir(filepath.Join(dir, "b.db.lock"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = sqlite.Open(filepath.Join(dir, "b.db"), sqlite.Options{})
	refused(t, err, remit.LedgerDown, "cannot be locked")
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = sqlite.Open(filepath.Join(dir, "file", "log.db"), sqlite.Options{ReadOnly: true})
	refused(t, err, remit.LedgerDown, "cannot be opened")
}

// TestWhatFailsBeforeItsCommitWroteNothing, and says so: the engine denies and goes on.
func TestWhatFailsBeforeItsCommitWroteNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	before := extend(t, s, 3)
	if err := sqlite.Impatient(s); err != nil {
		t.Fatal(err)
	}
	tree, head, err := ledger.OpenTree(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	next, hashes := tree.Append(ledgertest.Leaf(3))
	p := remit.Payload{Body: []byte("words")}
	b := ledger.Batch{Entries: [][]byte{ledgertest.Leaf(3)}, Hashes: hashes, Payloads: []remit.Payload{p}, Next: next.Head(0)}
	nothing := func(when string, b ledger.Batch, code remit.Code) {
		t.Helper()
		err := s.Append(t.Context(), head, b)
		if !errors.Is(err, ledger.ErrConflict) || errors.Is(err, ledger.ErrUnknown) {
			t.Fatalf("%s: %v; want a refusal", when, err)
		}
		refused(t, err, code, "")
		if _, err := s.Payload(t.Context(), p.Commitment()); !errors.Is(err, ledger.ErrNotFound) {
			t.Fatalf("%s: its payload is there: %v", when, err)
		}
		if head, err := fold(t, s); err != nil || head != before {
			t.Fatalf("%s: %v %v", when, head, err)
		}
	}
	other, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	other.SetMaxOpenConns(1)
	for _, step := range []struct{ when, begin, end string }{
		{"another program holds the file", `BEGIN IMMEDIATE`, `ROLLBACK`},
		{"the row is there already", `INSERT INTO batch VALUES (3, x'00', x'00', x'')`, `DROP TRIGGER batch_stays; DELETE FROM batch WHERE first = 3`},
		{"the head cannot be moved", `CREATE TRIGGER stuck BEFORE UPDATE ON head BEGIN SELECT RAISE(ABORT, 'no'); END`, `DROP TRIGGER stuck`},
		{"a payload cannot be kept", `CREATE TRIGGER stuck BEFORE INSERT ON payload BEGIN SELECT RAISE(ABORT, 'no'); END`, `DROP TRIGGER stuck`},
	} {
		if _, err := other.Exec(step.begin); err != nil {
			t.Fatal(step.when, err)
		}
		nothing(step.when, b, remit.LedgerDown)
		if _, err := other.Exec(step.end); err != nil {
			t.Fatal(step.when, err)
		}
	}
	gone := b
	gone.Erase = []remit.Digest{remit.Hash([]byte("never"))}
	nothing("an erasure of nothing", gone, remit.NotFound)
	if err := s.Append(t.Context(), head, b); err != nil {
		t.Fatalf("once nothing is in the way: %v", err)
	}
}

// TestAStoreThatWasClosedAnswersWithErrors: a server that stops does not wait for who reads, and must not fall over them.
func TestAStoreThatWasClosedAnswersWithErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	head := extend(t, s, 3)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Head(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if _, err := s.Payload(ended, remit.Digest{1}); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = s.Head(t.Context())
	refused(t, err, remit.LedgerDown, "")
	_, err = s.Payload(t.Context(), remit.Digest{1})
	refused(t, err, remit.LedgerDown, "")
	_, err = s.Hashes(t.Context(), []int64{0})
	refused(t, err, remit.LedgerDown, "")
	n := 0
	for _, err := range s.Read(t.Context(), 0) {
		n++
		refused(t, err, remit.LedgerDown, "")
	}
	if n != 1 {
		t.Errorf("reading ends without an error")
	}
	next := ledger.Head{Size: head.Size, Root: head.Root, Epoch: head.Epoch + 1}
	err = s.Append(t.Context(), head, ledger.Batch{Next: next})
	if !errors.Is(err, ledger.ErrConflict) {
		t.Error(err)
	}
	refused(t, err, remit.LedgerDown, "is closed")
}

// TestACrashAnywhereInTheFilesIsFoundOrHealed cuts the write-ahead log of a living log at every frame and between: what is
// opened is the log as it was at some commit, whole.
func TestACrashAnywhereInTheFilesIsFoundOrHealed(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "log.db")
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	extend(t, s, 6, remit.Payload{Body: bytes.Repeat([]byte("w"), 9000)})
	main, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wal, err := os.ReadFile(path + "-wal")
	if err != nil || len(wal) < 10*8192 {
		t.Fatal(len(wal), err)
	}
	sizes := map[uint64]bool{}
	for at := len(wal); at >= 0; at -= 2731 {
		crashed := filepath.Join(t.TempDir(), "log.db")
		if err := errors.Join(os.WriteFile(crashed, main, 0o600), os.WriteFile(crashed+"-wal", wal[:at], 0o600)); err != nil {
			t.Fatal(err)
		}
		c, err := sqlite.Open(crashed, sqlite.Options{})
		if err != nil {
			continue // found
		}
		head, err := fold(t, c)
		if err != nil {
			t.Fatalf("cut at %d: %v", at, err)
		}
		if _, _, err := ledger.OpenTree(t.Context(), c); err != nil {
			t.Fatalf("cut at %d: %v", at, err)
		}
		sizes[head.Size] = true
		c.Close()
	}
	if len(sizes) < 6 {
		t.Errorf("the cuts gave only %v", sizes)
	}
}

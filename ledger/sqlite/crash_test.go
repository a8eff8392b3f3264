package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// crashLog is set in the process that is killed: the log that it writes without end.
const crashLog = "REMIT_TEST_CRASH_LOG"

func TestMain(m *testing.M) {
	if path := os.Getenv(crashLog); path != "" {
		fmt.Fprintln(os.Stderr, appendForever(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func crashPayload(entry int) remit.Payload {
	return remit.Payload{Salt: remit.Hash(fmt.Append(nil, entry)), Body: make([]byte, entry%5000)}
}

// appendForever says each size on standard output once it was acknowledged.
func appendForever(path string) error {
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		return err
	}
	ctx := context.Background()
	tree, head, err := ledger.OpenTree(ctx, s)
	if err != nil {
		return err
	}
	for {
		first := int(tree.Size())
		var leaves [][]byte
		for i := range 1 + first%7*first%40 {
			leaves = append(leaves, ledgertest.Leaf(first+i))
		}
		next, hashes := tree.Append(leaves...)
		b := ledger.Batch{Entries: leaves, Hashes: hashes, Payloads: []remit.Payload{crashPayload(first)}, Next: next.Head(0)}
		if err := s.Append(ctx, head, b); err != nil {
			return err
		}
		fmt.Printf("%d %d\n", first, b.Next.Size)
		tree, head = next, b.Next
	}
}

func TestWhatWasAcknowledgedSurvivesKill9(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	path := filepath.Join(t.TempDir(), "log.db")
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashLog+"="+path)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Kill it in the middle of whatever follows its n-th acknowledgement, then read what it still said.
		lines := bufio.NewScanner(out)
		var first, size int
		for n := 0; lines.Scan(); n++ {
			if _, err := fmt.Sscan(lines.Text(), &first, &size); err != nil {
				t.Fatal(lines.Text(), err)
			}
			if n == round*round {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd.Wait() // killed
		checkAfterCrash(t, path, first, size)
	}
}

func checkAfterCrash(t *testing.T, path string, first, size int) {
	t.Helper()
	s, err := sqlite.Open(path, sqlite.Options{Existing: true})
	if err != nil {
		t.Fatalf("after %d acknowledged entries: %v", size, err)
	}
	defer s.Close()
	n := 0
	tree, head, err := ledger.Replay(t.Context(), s, ledger.Tree{}, func(i remit.EntryIndex, l ledger.Leaf) error {
		if l.Event.(*remit.DenialRepeated).Entry != i {
			return fmt.Errorf("it is another entry: %+v", l.Event)
		}
		n++
		return nil
	})
	if err != nil || n < size {
		t.Fatalf("%d entries were acknowledged, %d are there: %v", size, n, err)
	}
	if size == 0 {
		t.Fatal("nothing was acknowledged")
	}
	if _, err := s.Payload(t.Context(), crashPayload(first).Commitment()); err != nil {
		t.Fatalf("the payload of entry %d: %v", first, err)
	}
	for _, i := range []int64{0, int64(first), int64(size) - 1} {
		proof, err := tlog.ProveRecord(int64(head.Size), i, ledger.HashReader(t.Context(), s))
		if err == nil {
			err = tlog.CheckRecord(proof, int64(head.Size), tlog.Hash(tree.Root()), i, tlog.RecordHash(ledgertest.Leaf(int(i))))
		}
		if err != nil {
			t.Fatalf("entry %d of %d has no proof: %v", i, head.Size, err)
		}
	}
}

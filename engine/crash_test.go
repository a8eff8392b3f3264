package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// crashDir is set in the process that is killed: where it keeps its log.
const crashDir = "REMIT_TEST_CRASH_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDir); dir != "" {
		fmt.Fprintln(os.Stderr, workUntilKilled(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// workUntilKilled runs an engine under concurrent load, and says on standard output what was acknowledged: entries,
// redemptions and outcomes.
func workUntilKilled(dir string) error {
	ctx := context.Background()
	store, err := sqlite.Open(filepath.Join(dir, "log.db"), sqlite.Options{})
	if err != nil {
		return err
	}
	c, err := world.OpenCore(ctx, world.CoreOptions{Store: store, Dir: dir})
	if err != nil {
		return err
	}
	var open []remit.ID
	c.Engine.View(func(s *authority.State) {
		for id := range s.Attempts {
			open = append(open, id)
		}
	})
	for _, id := range open { // as an executor does at start
		if err := c.Engine.Record(ctx, remit.Attempt{ID: id}, remit.Ambiguous, "", nil, ""); err != nil {
			return err
		}
	}
	var mu sync.Mutex
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Printf(format+"\n", args...)
	}
	failed := make(chan error, 16)
	for range cap(failed) {
		go func() {
			caller, err := c.Task(ctx, "canary", "mia")
			for n := 0; err == nil; n++ {
				if n%20 == 19 {
					if err = c.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: caller.Task}); err == nil {
						say("killed %s", caller.Task)
						caller, err = c.Task(ctx, "canary", "mia")
					}
					continue
				}
				var d remit.Decision
				if d, err = c.Engine.Authorize(ctx, world.Ask(caller, "probe.write")); err != nil {
					break
				}
				say("decided %d", d.Entry)
				var a remit.Attempt
				if a, err = c.Engine.Redeem(ctx, d.Permit); err != nil {
					break
				}
				say("redeemed %s %s", d.Permit.ID, a.ID)
				if err = c.Engine.Record(ctx, a, remit.Done, "", []byte("receipt"), ""); err == nil {
					say("recorded %s", a.ID)
				}
			}
			failed <- err
		}()
	}
	return <-failed
}

// TestWhatWasAcknowledgedSurvivesKill9 kills the process at points that its own speed makes random.
func TestWhatWasAcknowledgedSurvivesKill9(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	for round := range rounds {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), crashDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var said []string
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if said = append(said, lines.Text()); len(said) == 1+round*round*20 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd.Wait() // killed
		if len(said) == 0 {
			t.Fatal("nothing was acknowledged")
		}
		checkCrashed(t, dir, said)
	}
}

func checkCrashed(t *testing.T, dir string, said []string) {
	t.Helper()
	store, err := sqlite.Open(filepath.Join(dir, "log.db"), sqlite.Options{Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	c, err := world.OpenCore(t.Context(), world.CoreOptions{Store: store, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Engine.Close()
	check(t, c)
	checkpoint, verifier := signedHead(t, store)
	var leaves []ledger.Leaf
	var raw [][]byte
	redeemed, recorded, killed := map[string]string{}, map[string]bool{}, map[string]bool{}
	for e, err := range store.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		leaves, raw = append(leaves, l), append(raw, e.Leaf)
		switch ev := l.Event.(type) {
		case *remit.Redeemed:
			if redeemed[string(ev.Permit)] != "" {
				t.Fatalf("permit %s was redeemed twice", ev.Permit)
			}
			redeemed[string(ev.Permit)] = string(ev.ID)
		case *remit.Recorded:
			recorded[string(ev.Attempt)] = true
		case *remit.TaskEnded:
			killed[string(ev.Task)] = ev.Status == remit.TaskKilled
		}
	}
	for _, line := range said {
		w := strings.Fields(line)
		ok := false
		switch w[0] {
		case "decided":
			var i int
			fmt.Sscan(w[1], &i)
			if ok = i < len(leaves) && leaves[i].Event.Kind() == "decision"; ok {
				receipt, err := ledger.Receipt(t.Context(), store, remit.EntryIndex(i), checkpoint, verifier)
				if err != nil {
					t.Fatalf("entry %d has no proof: %v", i, err)
				}
				if at, err := ledger.VerifyReceipt(receipt, raw[i], verifier); err != nil || int(at) != i {
					t.Fatalf("the proof of entry %d: %d %v", i, at, err)
				}
			}
		case "redeemed":
			ok = redeemed[w[1]] == w[2]
		case "recorded":
			ok = recorded[w[1]]
		case "killed":
			ok = killed[w[1]]
		}
		if !ok {
			t.Fatalf("%q was acknowledged and is not in the log of %d entries", line, len(leaves))
		}
	}
}

// signedHead gives a checkpoint over all of a log, and the key that verifies it.
func signedHead(t *testing.T, s ledger.Store) (checkpoint []byte, verifier string) {
	t.Helper()
	key, err := ledger.GenerateKey(filepath.Join(t.TempDir(), "key"))
	if err != nil {
		t.Fatal(err)
	}
	head, err := s.Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if checkpoint, err = ledger.SignCheckpoint("acme.example/log", head, key); err != nil {
		t.Fatal(err)
	}
	if verifier, err = ledger.VerifierKey("acme.example/log", key.Public()); err != nil {
		t.Fatal(err)
	}
	return checkpoint, verifier
}

package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
)

// stubborn are blobs that are not erased while down is set.
type stubborn struct {
	ledger.Blobs
	down error
}

func (s *stubborn) Erase(ctx context.Context, d remit.Digest) error {
	if s.down != nil {
		return s.down
	}
	return s.Blobs.Erase(ctx, d)
}

// TestWhatIsErasedGoesWithItsBlob: a command that is too large for a payload lies in a blob, and is not erased while that
// is there. A crash in between is made good at the next start.
func TestWhatIsErasedGoesWithItsBlob(t *testing.T) {
	c := open(t, world.CoreOptions{})
	do(t, c, &authority.Kill{By: "p-bob", What: "person", ID: "p-bob"}) // ada decides alone
	caller := launch(t, c, "coder")
	large := ask(t, c, world.Push(caller, "big", "1", strings.Fields(strings.Repeat("p ", 2000))...))
	small := ask(t, c, world.Push(caller, "small", "2", "p"))
	if large.Verdict != remit.Allow || small.Verdict != remit.Allow {
		t.Fatal(large, small)
	}
	do(t, c, &authority.EndTask{By: "p-mia", Task: caller.Task, Status: remit.TaskCancelled})
	c.Clock.Advance(authority.PermitLife)
	c.Engine.Close()

	blobs := &stubborn{Blobs: c.Config.Blobs, down: errors.New("the disk is gone")}
	cfg := c.Config
	cfg.Blobs = blobs
	start := func() *engine.Engine {
		t.Helper()
		e, err := engine.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Close)
		return e
	}
	kept := func() (all []remit.Digest) {
		t.Helper()
		for b, err := range blobs.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b.Digest)
		}
		return all
	}
	e := start()
	reason, err := e.NewPayload([]byte("ticket 81"))
	if err != nil {
		t.Fatal(err)
	}
	x := e.NewErasure(authority.ErasePayloads{By: "p-ada", What: "task", ID: caller.Task, Tasks: []remit.ID{caller.Task}, Reason: reason.Commitment()})
	if err := x.Entry(t.Context(), large.Entry, false); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x.Command.Blobs, kept()) || len(x.Command.Blobs) != 1 || len(x.Requests) != 1 || !slices.Equal(x.Command.Entries, []remit.EntryIndex{large.Entry}) {
		t.Fatalf("%+v, and %v is kept", x.Command, kept())
	}
	if res, err := e.Erase(t.Context(), engine.Once{}, &x.Command, reason); !errors.Is(err, blobs.down) || res.Decision.Verdict != remit.Allow {
		t.Fatal(res, err)
	}
	if _, cmd, err := e.Entry(t.Context(), large.Entry); err != nil || cmd != nil {
		t.Fatal("the log still leads to it", err)
	}
	e.Close()

	e = start() // after the crash
	if err := e.FinishErasures(t.Context()); !errors.Is(err, blobs.down) || len(kept()) != 1 {
		t.Fatal(err, kept())
	}
	blobs.down = nil
	for range 2 { // and where nothing is left to do
		if err := e.FinishErasures(t.Context()); err != nil || len(kept()) != 0 {
			t.Fatal(err, kept())
		}
	}
	if _, cmd, err := e.Entry(t.Context(), small.Entry); err != nil || cmd == nil {
		t.Fatal("another one went with it", err)
	}
	// What was erased is not there to be erased again, and nothing that never was.
	again := e.NewErasure(authority.ErasePayloads{})
	if err := again.Entry(t.Context(), large.Entry, true); err != nil || len(again.Command.Payloads)+len(again.Command.Entries) != 0 {
		t.Fatalf("%+v %v", again.Command, err)
	}
	none := &authority.ErasePayloads{By: "p-ada", What: "entry", Entries: []remit.EntryIndex{small.Entry}, Payloads: []remit.Digest{remit.Hash([]byte("never"))}, Reason: reason.Commitment()}
	_, err = e.Erase(t.Context(), engine.Once{}, none)
	coded(t, err, remit.NotFound)
}

// TestAnErasureNamesWhatAnEntryLeadsTo: with its command go the words of whoever asked, the pushed commits stay known,
// and a command of ids alone stays where the erasure is not about its very entry.
func TestAnErasureNamesWhatAnEntryLeadsTo(t *testing.T) {
	c := open(t, world.CoreOptions{})
	words, err := c.Engine.NewPayload([]byte("refund Kowalczyk"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Engine.Do(t.Context(), &authority.CreateTask{By: "p-mia", Agent: "coder", Intent: words.Commitment()}, words)
	if err != nil {
		t.Fatal(err)
	}
	var created, ended remit.EntryIndex
	c.Engine.View(func(s *authority.State) { created, ended = s.Tasks[res.ID].Entry, s.Next })
	caller, err := c.Launch(t.Context(), res.ID, "coder", "mia")
	if err != nil {
		t.Fatal(err)
	}
	r := world.Push(caller, "x", "1", "p")
	r.Refs[0].Brought = []string{"0b", "0a", "0b"}
	pushed := allow(t, c, r)
	c.Engine.View(func(s *authority.State) { ended = s.Next })
	do(t, c, &authority.EndTask{By: "p-mia", Task: res.ID, Status: remit.TaskCancelled})
	at := func(i remit.EntryIndex, all bool) authority.ErasePayloads {
		t.Helper()
		x := c.Engine.NewErasure(authority.ErasePayloads{})
		if err := x.Entry(t.Context(), i, all); err != nil {
			t.Fatal(err)
		}
		return x.Command
	}
	if got := at(created, false); !slices.Contains(got.Payloads, words.Commitment()) || len(got.Payloads) != 2 || !slices.Equal(got.Tasks, []remit.ID{res.ID}) {
		t.Fatalf("a task's words and its command: %+v", got)
	}
	var d remit.EntryIndex
	c.Engine.View(func(s *authority.State) { d = s.Permits[pushed.ID].Decision })
	if got := at(d, false); len(got.Brought) != 1 || !slices.Equal(got.Brought[0].Commits, []string{"0a", "0b"}) || got.Brought[0].Entry != d || got.Brought[0].Repo != world.App {
		t.Fatalf("what a push brought: %+v", got)
	}
	if got := at(ended, false); len(got.Payloads) != 0 || len(got.Entries) != 0 {
		t.Fatalf("a command of ids alone: %+v", got)
	}
	if got := at(ended, true); len(got.Payloads) != 1 {
		t.Fatalf("asked for itself: %+v", got)
	}
}

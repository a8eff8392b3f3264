package engine_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// history drives an engine at random. What it does is refused as often as not: that is part of it.
type history struct {
	t       *testing.T
	c       *world.Core
	r       *rand.Rand
	callers []remit.Caller
	held    map[remit.ID]remit.Request
	permits []remit.Permit
	open    []remit.Attempt
	denied  int // denials that callers were told
	widened bool
}

func one[T any](r *rand.Rand, of []T) (v T) {
	if len(of) == 0 {
		return v
	}
	return of[r.IntN(len(of))]
}

func (h *history) accesses() []remit.ID {
	var ids []remit.ID
	for id := range h.held {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

func (h *history) ask(r remit.Request) {
	d, err := h.c.Engine.Authorize(h.t.Context(), r)
	if err != nil {
		return
	}
	switch d.Verdict {
	case remit.Allow:
		if d.Permit.ID != "" {
			h.permits = append(h.permits, d.Permit)
		}
	case remit.Hold:
		h.held[d.Access] = r
	default:
		h.denied++
	}
}

func (h *history) step() {
	ctx, e, r := h.t.Context(), h.c.Engine, h.r
	caller := one(r, h.callers)
	person := one(r, []string{"ada", "bob", "mia", "noa", "rio"})
	id := remit.ID("p-" + person)
	switch r.IntN(22) {
	case 0, 1:
		if c, err := h.c.Task(ctx, one(r, []string{"coder", "canary"}), one(r, []string{"mia", "noa"})); err == nil {
			h.callers = append(h.callers, c)
		}
	case 2, 3, 4:
		h.ask(world.Ask(caller, one(r, []remit.Action{"probe.read", "probe.write", "probe.privileged", "probe.none"})))
	case 5, 6, 7:
		h.ask(world.Push(caller, one(r, []string{"a", "b"}), fmt.Sprint(r.IntN(5)), one(r, []string{"main.go", "deploy/prod.yaml", "go.mod"})))
	case 8:
		req := world.Push(caller, "a", "1", "x")
		req.Preview = true
		h.ask(req)
	case 9, 10:
		if a, err := e.Redeem(ctx, one(r, h.permits)); err == nil {
			h.open = append(h.open, a)
		}
	case 11, 12:
		_ = e.Record(ctx, one(r, h.open), one(r, []remit.Outcome{remit.Done, remit.NotApplied, remit.Ambiguous}), "", []byte("said"), "")
	case 13, 14, 15:
		_ = h.c.Vote(ctx, one(r, h.accesses()), person, r.IntN(4) > 0)
	case 16:
		if a := one(r, h.accesses()); a != "" {
			h.ask(world.Claim(a, h.held[a]))
		}
	case 17:
		_, _ = e.Do(ctx, &authority.EndInstance{Instance: caller.Instance, Lost: r.IntN(2) == 0})
	case 18:
		_, _ = e.Do(ctx, &authority.EndTask{By: id, Task: caller.Task, Status: remit.TaskCompleted, DropHolds: r.IntN(2) == 0})
	case 19:
		switch r.IntN(6) {
		case 0:
			_ = e.Kill(authority.Kill{By: id, What: "task", ID: caller.Task})
		case 1:
			_ = e.Kill(authority.Kill{By: id, What: "agent", ID: "coder"})
		case 2:
			_ = e.Kill(authority.Kill{By: id, What: "person", ID: "p-noa"})
		default:
			_, _ = e.Do(ctx, &authority.ChangeAgent{By: id, Agent: one(r, []string{"coder", "canary"}), To: one(r, []remit.AgentStatus{remit.AgentActive, remit.AgentSuspended})})
		}
	case 20:
		set := h.c.Set
		set.Repositories = slices.Clone(set.Repositories)
		if h.widened = !h.widened; h.widened {
			set.Repositories[0].Protected = append(slices.Clone(set.Repositories[0].Protected), "go.mod")
		}
		_, _ = e.Do(ctx, &authority.ApplySet{By: "p-ada", Set: set})
	case 21:
		h.c.Clock.Advance(one(r, []time.Duration{time.Second, 20 * time.Second, 30 * time.Minute, 5 * time.Hour}))
		_ = e.Tick(ctx)
	}
}

func run(t *testing.T, c *world.Core, seed uint64, steps int) *history {
	h := &history{t: t, c: c, r: rand.New(rand.NewPCG(seed, 1)), held: map[remit.ID]remit.Request{}}
	h.callers = append(h.callers, launch(t, c, "coder"), launch(t, c, "canary"))
	for range steps {
		h.step()
	}
	return h
}

// denials counts the denials in a log: entries and counted repeats.
func denials(t *testing.T, s ledger.Store) (n int) {
	t.Helper()
	for entry, err := range s.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Decode(entry.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		switch e := l.Event.(type) {
		case *remit.Decided:
			if e.Verdict == remit.Deny {
				n++
			}
		case *remit.DenialRepeated:
			n += e.Count
		}
	}
	return n
}

func TestReplayGivesTheLiveStateByteForByte(t *testing.T) {
	kinds := map[string]bool{}
	for seed := range uint64(40) {
		store := ledger.Store(&ledgertest.Memory{})
		if seed%4 == 0 {
			s, err := sqlite.Open(filepath.Join(t.TempDir(), "log.db"), sqlite.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			store = s
		}
		c := open(t, world.CoreOptions{Store: store})
		h := run(t, c, seed, 150)
		m := check(t, c)
		if m.Bound > 0 || m.Derived == 0 {
			t.Fatalf("seed %d: %+v", seed, m)
		}
		c.Engine.Close() // writes the counts that are left
		if got := denials(t, store); got != h.denied {
			t.Fatalf("seed %d: callers were told %d denials, the log counts %d", seed, h.denied, got)
		}
		again := open(t, world.CoreOptions{Store: store, Clock: c.Clock, Rules: c.Rules})
		var a, b authority.State
		again.Engine.View(func(s *authority.State) { a = *s })
		c.Engine.View(func(s *authority.State) { b = *s })
		if !bytes.Equal(a.Encode(), b.Encode()) {
			t.Fatalf("seed %d: a restart changed the state", seed)
		}
		for entry, err := range store.Read(t.Context(), 0) {
			if err != nil {
				t.Fatal(err)
			}
			l, _ := ledger.Decode(entry.Leaf)
			kinds[l.Event.Kind()] = true
		}
	}
	// The histories are worth something only if they come everywhere.
	for _, k := range []string{"decision", "permit.redeemed", "attempt.recorded", "access.opened", "access.moved", "vote.cast", "task.ended",
		"instance.ended", "agent.changed", "person.killed", "control.applied", "denial.repeated"} {
		if !kinds[k] {
			t.Errorf("no history has an entry of kind %s", k)
		}
	}
}

func TestACopyOfAStateSharesNothingThatApplyChanges(t *testing.T) {
	for seed := range uint64(5) {
		c := open(t, world.CoreOptions{})
		run(t, c, 100+seed, 100)
		before := encoded(c.Engine)
		var s, two *authority.State
		c.Engine.View(func(live *authority.State) {
			s = engine.CopyState(live)
			two = engine.CopyState(live)
		})
		if !bytes.Equal(before, s.Encode()) {
			t.Fatal("the copy differs")
		}
		// Take the copy through every event that the log of another history would bring.
		now := time.Unix(0, s.Now).Add(time.Hour)
		for _, cmd := range []authority.Command{&authority.Tick{}, &authority.Kill{By: "p-ada", What: "person", ID: "p-mia"},
			&authority.ApplySet{By: "p-bob", Set: authority.Set{People: []remit.PersonDeclared{world.CorePerson("ada"), world.CorePerson("bob")},
				Groups: []remit.GroupDeclared{{Name: remit.Administrators, Members: []remit.ID{"p-ada", "p-bob"}}}}}} {
			events, _, err := authority.Decide(s, now, cmd)
			if err != nil {
				t.Logf("%T: %v", cmd, err)
			}
			for _, ev := range events {
				if err := authority.Apply(s, now.UnixNano(), ev); err != nil {
					t.Fatal(err)
				}
			}
		}
		if bytes.Equal(before, s.Encode()) {
			t.Fatal("nothing was applied")
		}
		if !bytes.Equal(before, encoded(c.Engine)) || !bytes.Equal(before, two.Encode()) {
			t.Fatal("what was applied to the copy shows in the original")
		}
	}
}

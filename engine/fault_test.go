package engine_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// queued returns when n commands wait for the writer.
func queued(t testing.TB, c *world.Core, n int) {
	t.Helper()
	for c.Engine.Waiting() < n {
		if t.Context().Err() != nil {
			t.Fatal("nothing came")
		}
		runtime.Gosched()
	}
}

func TestAnUnknownOutcomeStopsTheEngineAndARestartFindsOut(t *testing.T) {
	for _, fault := range []ledgertest.Fault{ledgertest.NotApplied, ledgertest.Applied} {
		t.Run(fmt.Sprint(fault), func(t *testing.T) {
			memory := &ledgertest.Memory{}
			var next atomic.Int64
			store := ledgertest.NewFaulty(memory, func() ledgertest.Fault { return ledgertest.Fault(next.Load()) })
			c := open(t, world.CoreOptions{Store: store})
			caller := launch(t, c, "canary")
			attempt := redeem(t, c, allow(t, c, world.Ask(caller, "probe.read")))
			before := encoded(c.Engine)
			waited := make(chan error, 1)
			go func() {
				waited <- c.Engine.Wait(context.Background(), func(*authority.State) bool { return false })
			}()

			next.Store(int64(fault))
			_, err := c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.write"))
			coded(t, err, remit.LedgerDown)
			coded(t, <-waited, remit.LedgerDown)
			coded(t, c.Engine.Failed(), remit.LedgerDown)
			next.Store(int64(ledgertest.Works))
			_, err = c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.read"))
			coded(t, err, remit.LedgerDown)
			if string(before) != string(encoded(c.Engine)) {
				t.Fatal("readers see what nobody knows to be durable")
			}
			// Taking away works all the same.
			coded(t, c.Engine.Kill(authority.Kill{By: "p-ada", What: "agent", ID: "canary"}), remit.LedgerDown)
			if !isClosed(c.Engine.Revoked(attempt.ID)) {
				t.Fatal("the killed agent's stream goes on")
			}

			c.Engine.Close()
			again := open(t, world.CoreOptions{Store: memory, Clock: c.Clock, Rules: c.Rules})
			head, err := memory.Head(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			again.Engine.View(func(s *authority.State) {
				if _, there := s.Permits[remit.ID(fmt.Sprintf("P-%d", head.Size-1))]; there != (fault == ledgertest.Applied) {
					t.Errorf("the permit is there: %v", there)
				}
			})
			check(t, again)
		})
	}
}

// TestConflictsAreNotNoticed has other writers be faster at random, under load.
func TestConflictsAreNotNoticed(t *testing.T) {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(7, 7))
	moved := 0
	record := &recorder{Store: &ledgertest.Memory{}}
	store := ledgertest.NewFaulty(record, func() ledgertest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if r.IntN(3) == 0 {
			moved++
			return ledgertest.Moved
		}
		return ledgertest.Works
	})
	c := open(t, world.CoreOptions{Store: store})
	caller := launch(t, c, "canary")
	together(16, func(int) {
		for range 20 {
			d, err := c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.write"))
			if err != nil || d.Verdict != remit.Allow {
				t.Errorf("%+v %v", d, err)
				return
			}
			a, err := c.Engine.Redeem(t.Context(), d.Permit)
			if err == nil {
				_, err = c.Engine.Take(t.Context(), a)
			}
			if err == nil {
				err = c.Engine.Record(t.Context(), a, remit.Done, "", []byte("receipt"), "")
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	if moved == 0 {
		t.Fatal("no conflict was made")
	}
	check(t, c)
	record.check(t)
}

// recorder looks at what is appended: nothing stands in it twice.
type recorder struct {
	ledger.Store
	mu   sync.Mutex
	seen map[remit.Digest]bool
	bad  []string
}

func (r *recorder) Append(ctx context.Context, expect ledger.Head, b ledger.Batch) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[remit.Digest]bool{}
	}
	commands := 0
	for _, e := range b.Entries {
		if l, err := ledger.Decode(e); err == nil && !l.Command.IsZero() {
			commands++
			if !slices.ContainsFunc(b.Payloads, func(p remit.Payload) bool { return p.Commitment() == l.Command }) {
				r.bad = append(r.bad, "a command is not kept")
			}
		}
	}
	for _, p := range b.Payloads {
		if r.seen[p.Commitment()] {
			r.bad = append(r.bad, "a payload is kept twice")
		}
		r.seen[p.Commitment()] = true
	}
	if len(b.Payloads) < commands {
		r.bad = append(r.bad, "payloads are missing")
	}
	return r.Store.Append(ctx, expect, b)
}

func (r *recorder) check(t *testing.T) {
	t.Helper()
	if len(r.bad) > 0 {
		t.Fatal(r.bad[0])
	}
}

func TestTwoEnginesOnOneStoreAgree(t *testing.T) {
	store := &ledgertest.Memory{}
	a := open(t, world.CoreOptions{Store: store})
	b := open(t, world.CoreOptions{Store: store, Clock: a.Clock, Rules: a.Rules})
	both := []*world.Core{a, b}
	callers := []remit.Caller{launch(t, a, "canary"), launch(t, b, "canary")}
	attempt := redeem(t, a, allow(t, a, world.Ask(callers[0], "probe.read")))
	together(8, func(i int) {
		c := both[i%2]
		for range 20 {
			d, err := c.Engine.Authorize(t.Context(), world.Ask(callers[i%2], "probe.write"))
			if err == nil && d.Verdict == remit.Allow {
				_, err = c.Engine.Redeem(t.Context(), d.Permit)
			}
			if err != nil {
				t.Error(err)
			}
		}
	})
	// What the other one writes wakes who waits here, and cuts what it ends.
	changed := a.Engine.Changed()
	do(t, b, &authority.Kill{By: "p-ada", What: "task", ID: callers[0].Task})
	do(t, a, &authority.CreateTask{By: "p-mia", Agent: "canary"})
	if !isClosed(changed) || !isClosed(a.Engine.Revoked(attempt.ID)) {
		t.Fatal("the entries of the other writer did not take effect here")
	}
	do(t, b, &authority.CreateTask{By: "p-mia", Agent: "canary"})
	do(t, a, &authority.CreateTask{By: "p-mia", Agent: "canary"})
	check(t, a)
}

func TestTheSecondEngineOnADatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	s, err := sqlite.Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	open(t, world.CoreOptions{Store: s})
	if _, err := sqlite.Open(path, sqlite.Options{}); err == nil {
		t.Fatal("two processes may write one log")
	}
}

func TestAFullDiskDeniesNewWorkAndNothingElse(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	dir := t.TempDir()
	c := open(t, world.CoreOptions{Store: store, Dir: dir})
	caller, other := launch(t, c, "canary"), launch(t, c, "canary")
	attempt := redeem(t, c, allow(t, c, world.Ask(caller, "probe.read")))
	permit := allow(t, c, world.Ask(caller, "probe.read"))
	late := redeem(t, c, allow(t, c, world.Ask(other, "probe.read")))

	store.Fail(ledger.Refused(remit.NoSpace, "the disk is full"))
	_, err := c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.write"))
	coded(t, err, remit.NoSpace)
	if c.Engine.Failed() != nil {
		t.Fatal("the engine stopped")
	}
	stream := c.Engine.Revoked(attempt.ID)
	if isClosed(stream) {
		t.Fatal("cut too early")
	}
	kill := authority.Kill{By: "p-mia", What: "task", ID: caller.Task}
	coded(t, c.Engine.Kill(kill), remit.LedgerDown)
	if !isClosed(stream) {
		t.Fatal("the stream goes on")
	}
	d := ask(t, c, world.Ask(caller, "probe.read"))
	if d.Verdict != remit.Deny || d.Code != remit.NotLive {
		t.Fatalf("%+v", d)
	}
	_, err = c.Engine.Redeem(t.Context(), permit)
	coded(t, err, remit.NotLive)
	_, err = c.Engine.Take(t.Context(), attempt)
	coded(t, err, remit.NotLive)
	// An outcome that cannot be recorded now is recorded later.
	coded(t, c.Engine.Record(t.Context(), late, remit.Done, "", []byte("x"), ""), remit.LedgerDown)

	store.Fail(nil)
	allow(t, c, world.Ask(other, "probe.read"))
	if d := ask(t, c, world.Ask(caller, "probe.read")); d.Code != remit.NotLive {
		t.Fatalf("the kill is forgotten: %+v", d)
	}
	c.Engine.DrainKills()
	if err := c.Engine.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Engine.View(func(s *authority.State) {
		if s.Tasks[caller.Task].Status != remit.TaskKilled || s.Attempts[late.ID] != nil {
			t.Error("what could not be recorded is not in the log")
		}
	})
	check(t, c)
}

// TestAPayloadThatIsTooLargeHurtsNobodyElse: the store refuses a whole batch for it.
func TestAPayloadThatIsTooLargeHurtsNobodyElse(t *testing.T) {
	c := open(t, world.CoreOptions{})
	_, err := c.Engine.Do(t.Context(), &authority.Tick{}, remit.Payload{Body: make([]byte, remit.MaxPayload+1)})
	coded(t, err, remit.TooLarge)
	launch(t, c, "canary")
}

// TestEventsThatDoNotFollowEachOtherAreRefusedAlone has a rule contradict itself in the middle of a group.
func TestEventsThatDoNotFollowEachOtherAreRefusedAlone(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	bad := launch(t, c, "canary")
	good := launch(t, c, "canary")
	c.Engine.Close()
	c = open(t, world.CoreOptions{Store: store, Clock: c.Clock, Rules: c.Rules})
	c.Engine.Faulty(func(e remit.Event) error {
		if end, ok := e.(*remit.TaskEnded); ok && end.Task == bad.Task {
			return errors.New("injected") // its instance has ended already, on the working state
		}
		return nil
	})
	store.Shut()
	var all sync.WaitGroup
	all.Go(func() { ask(t, c, world.Ask(good, "probe.read")) })
	<-store.waiting
	all.Go(func() { allow(t, c, world.Ask(good, "probe.write")) })
	queued(t, c, 1)
	all.Go(func() {
		_, err := c.Engine.Do(t.Context(), &authority.EndTask{By: "p-mia", Task: bad.Task, Status: remit.TaskCancelled})
		coded(t, err, remit.Internal)
	})
	queued(t, c, 2)
	all.Go(func() { allow(t, c, world.Ask(bad, "probe.write")) }) // its instance runs: nothing was done
	queued(t, c, 3)
	store.Open()
	all.Wait()
	check(t, c)
}

func TestCloseAnswersEverybodyWhoWaits(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	caller := launch(t, c, "canary")
	store.Shut()
	first := make(chan error, 1)
	go func() {
		_, err := c.Engine.Authorize(context.Background(), world.Ask(caller, "probe.write"))
		first <- err
	}()
	<-store.waiting
	rest := make(chan error, 10)
	for range cap(rest) {
		go func() {
			_, err := c.Engine.Authorize(context.Background(), world.Ask(caller, "probe.write"))
			rest <- err
		}()
	}
	queued(t, c, cap(rest))
	closed := make(chan struct{})
	go func() { c.Engine.Close(); close(closed) }()
	store.Open()
	if err := <-first; err != nil {
		t.Fatalf("what was committed was not answered: %v", err)
	}
	for range cap(rest) {
		if err := <-rest; err != nil {
			coded(t, err, remit.LedgerDown)
		}
	}
	<-closed
	_, err := c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.write"))
	coded(t, err, remit.LedgerDown)
	check(t, c)
}

// TestCloseDoesNotUnsayWhatWasCommitted: whoever's permit is in the log has it, however the end of the writer and the
// answer race.
func TestCloseDoesNotUnsayWhatWasCommitted(t *testing.T) {
	for range 40 {
		store := newGate(&ledgertest.Memory{})
		c := open(t, world.CoreOptions{Store: store})
		caller := launch(t, c, "canary")
		store.Shut()
		var all sync.WaitGroup
		var allowed atomic.Int64
		for range 32 {
			all.Go(func() {
				if d, err := c.Engine.Authorize(context.Background(), world.Ask(caller, "probe.write")); err == nil && d.Verdict == remit.Allow {
					allowed.Add(1)
				}
			})
		}
		<-store.waiting
		all.Go(c.Engine.Close)
		store.Open()
		all.Wait()
		c.Engine.View(func(s *authority.State) {
			if int64(len(s.Permits)) != allowed.Load() {
				t.Fatalf("the log has %d permits, %d callers were told", len(s.Permits), allowed.Load())
			}
		})
	}
}

func TestTooManyWhoWaitAreDeniedAndAKillIsNot(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	caller, victim := launch(t, c, "canary"), launch(t, c, "canary")
	attempt := redeem(t, c, allow(t, c, world.Ask(victim, "probe.read")))
	store.Shut()
	var all sync.WaitGroup
	all.Go(func() { ask(t, c, world.Ask(caller, "probe.read")) })
	<-store.waiting
	for range 4096 {
		all.Go(func() {
			if _, err := c.Engine.Do(t.Context(), &authority.Tick{}); err != nil {
				t.Error(err)
			}
		})
	}
	queued(t, c, 4096)
	_, err := c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.write"))
	coded(t, err, remit.Overload)
	coded(t, c.Engine.Kill(authority.Kill{By: "p-ada", What: "person", ID: "p-mia"}), remit.LedgerDown)
	if !isClosed(c.Engine.Revoked(attempt.ID)) {
		t.Fatal("the kill waits for the log")
	}
	store.Open()
	all.Wait()
	c.Engine.DrainKills()
	check(t, c)
	c.Engine.View(func(s *authority.State) {
		if !s.People["p-mia"].Killed {
			t.Error("the kill was not recorded")
		}
	})
}

// TestAKillOfThousandsIsOneCommit: what has many instances must not be what cannot be killed.
func TestAKillOfThousandsIsOneCommit(t *testing.T) {
	c := open(t, world.CoreOptions{})
	caller := launch(t, c, "canary")
	together(64, func(int) {
		for range 80 {
			if _, err := c.Launch(t.Context(), caller.Task, "canary", "mia"); err != nil {
				t.Error(err)
			}
		}
	})
	attempt := redeem(t, c, allow(t, c, world.Ask(caller, "probe.read")))
	var next, after remit.EntryIndex
	c.Engine.View(func(s *authority.State) { next = s.Next })
	if err := c.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: caller.Task}); err != nil {
		t.Fatal(err)
	}
	c.Engine.View(func(s *authority.State) {
		after = s.Next
		for id := range s.Instances {
			if s.InstanceLive(id, s.Now) {
				t.Fatalf("%s goes on", id)
			}
		}
	})
	if after-next > 300 || !isClosed(c.Engine.Revoked(attempt.ID)) {
		t.Fatalf("the kill makes %d entries, and its attempt goes on: %v", after-next, !isClosed(c.Engine.Revoked(attempt.ID)))
	}
	for left := 1; left > 0; {
		if err := c.Engine.Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		was := left
		if c.Engine.View(func(s *authority.State) { left = len(s.Instances) }); left == was {
			t.Fatalf("%d instances are never swept", left)
		}
	}
}

// TestAKillOfAPersonCutsEverythingAtOnce: the entry that says so ends what is under way of all their tasks, whether or not
// a command has room to write each end down.
func TestAKillOfAPersonCutsEverythingAtOnce(t *testing.T) {
	c := open(t, world.CoreOptions{})
	var mu sync.Mutex
	var attempts []remit.Attempt
	together(20, func(int) {
		for range 20 {
			a := redeem(t, c, allow(t, c, world.Ask(launch(t, c, "canary"), "probe.read")))
			mu.Lock()
			attempts = append(attempts, a)
			mu.Unlock()
		}
	})
	do(t, c, &authority.Kill{By: "p-ada", What: "person", ID: "p-mia"}) // not Engine.Kill, which cuts by its own list
	left := 0
	c.Engine.View(func(s *authority.State) { left = len(s.LiveTasks) })
	if left == 0 {
		t.Fatal("nothing is left to sweep, and nothing was tested")
	}
	for _, a := range attempts {
		if !isClosed(c.Engine.Revoked(a.ID)) {
			t.Fatalf("%s goes on", a.ID)
		}
	}
	if err := c.Engine.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.Engine.View(func(s *authority.State) {
		if len(s.LiveTasks)+len(s.Instances) > 0 {
			t.Errorf("%d tasks and %d instances are not swept", len(s.LiveTasks), len(s.Instances))
		}
	})
	check(t, c)
}

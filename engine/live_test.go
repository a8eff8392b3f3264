package engine_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

func TestAPermitIsRedeemedOnceHoweverManyTry(t *testing.T) {
	c := open(t, world.CoreOptions{})
	caller := launch(t, c, "canary")
	var won, taken atomic.Int64
	together(64, func(int) {
		for range 5 {
			p := allow(t, c, world.Ask(caller, "probe.write"))
			together(4, func(int) {
				a, err := c.Engine.Redeem(t.Context(), p)
				if err != nil {
					coded(t, err, remit.AlreadyUsed)
					return
				}
				won.Add(1)
				together(3, func(int) {
					r, err := c.Engine.Take(t.Context(), a)
					if err != nil {
						coded(t, err, remit.AlreadyUsed)
						return
					}
					if !r.Valid() || r.Attempt() != a.ID {
						t.Errorf("%+v", r)
					}
					taken.Add(1)
				})
			})
		}
	})
	if won.Load() != 320 || taken.Load() != 320 {
		t.Fatalf("320 permits were redeemed %d times and taken %d times", won.Load(), taken.Load())
	}
	check(t, c)
}

func TestAWrongSecretRedeemsAndTakesNothing(t *testing.T) {
	c := open(t, world.CoreOptions{})
	p := allow(t, c, world.Ask(launch(t, c, "canary"), "probe.read"))
	forged := p
	forged.Secret[0] ^= 1
	_, err := c.Engine.Redeem(t.Context(), forged)
	coded(t, err, remit.AlreadyUsed)
	a := redeem(t, c, p)
	stolen := a
	stolen.Secret[31] ^= 1
	_, err = c.Engine.Take(t.Context(), stolen)
	coded(t, err, remit.AlreadyUsed)
	c.Clock.Advance(authority.AttemptLife)
	_, err = c.Engine.Take(t.Context(), a)
	coded(t, err, remit.Expired)
	stream := c.Engine.Revoked(a.ID)
	if err := c.Engine.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !isClosed(stream) {
		t.Fatal("an attempt outlives its time")
	}
}

func TestOfTwoClaimsOfAnApprovalOneWins(t *testing.T) {
	c := open(t, world.CoreOptions{})
	caller := launch(t, c, "coder")
	req := world.Push(caller, "fix", "1", "deploy/prod.yaml")
	d := ask(t, c, req)
	if d.Verdict != remit.Hold {
		t.Fatalf("%+v", d)
	}
	if err := c.Vote(t.Context(), d.Access, "rio", true); err != nil {
		t.Fatal(err)
	}
	var won atomic.Int64
	together(8, func(int) {
		d, err := c.Engine.Authorize(t.Context(), world.Claim(d.Access, req))
		if err != nil {
			t.Error(err)
			return
		}
		if d.Verdict != remit.Allow { // another one had redeemed it already
			return
		}
		if _, err := c.Engine.Redeem(t.Context(), d.Permit); err == nil {
			won.Add(1)
		}
	})
	if won.Load() != 1 {
		t.Fatalf("the approval was used %d times", won.Load())
	}
	check(t, c)
}

// TestEveryEndCutsStreamsBeforeItIsAcknowledged: when whoever ended it has their answer, the stream is cut.
func TestEveryEndCutsStreamsBeforeItIsAcknowledged(t *testing.T) {
	expired := world.CoreSet()
	expired.Agents[0].Expires = 1
	for name, end := range map[string]func(c *world.Core, a remit.Caller) error{
		"kill of the task": func(c *world.Core, a remit.Caller) error {
			return c.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: a.Task})
		},
		"kill of the agent": func(c *world.Core, a remit.Caller) error {
			return c.Engine.Kill(authority.Kill{By: "p-mia", What: "agent", ID: "canary"})
		},
		"kill of the person": func(c *world.Core, a remit.Caller) error {
			return c.Engine.Kill(authority.Kill{By: "p-ada", What: "person", ID: "p-mia"})
		},
		"end of the task": func(c *world.Core, a remit.Caller) error {
			_, err := c.Engine.Do(t.Context(), &authority.EndTask{By: "p-mia", Task: a.Task, Status: remit.TaskCompleted})
			return err
		},
		"end of the instance": func(c *world.Core, a remit.Caller) error {
			_, err := c.Engine.Do(t.Context(), &authority.EndInstance{Instance: a.Instance, Lost: true})
			return err
		},
		"suspension": func(c *world.Core, a remit.Caller) error {
			_, err := c.Engine.Do(t.Context(), &authority.ChangeAgent{By: "p-mia", Agent: "canary", To: remit.AgentSuspended})
			return err
		},
		"a declaration that lets the agent expire": func(c *world.Core, a remit.Caller) error {
			_, err := c.Engine.Do(t.Context(), &authority.ApplySet{By: "p-ada", Set: expired})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, world.CoreOptions{})
			caller, other := launch(t, c, "canary"), launch(t, c, "coder")
			a := redeem(t, c, allow(t, c, world.Ask(caller, "probe.read")))
			b := redeem(t, c, allow(t, c, world.Push(other, "a", "1", "x")))
			stream := c.Engine.Revoked(a.ID)
			if isClosed(stream) {
				t.Fatal("cut too early")
			}
			if err := end(c, caller); err != nil {
				t.Fatal(err)
			}
			if !isClosed(stream) {
				t.Fatal("the stream goes on")
			}
			_, err := c.Engine.Take(t.Context(), a)
			coded(t, err, remit.NotLive)
			if isClosed(c.Engine.Revoked(b.ID)) && !strings.Contains(name, "person") {
				t.Fatal("another task's stream was cut")
			}
			// What was done all the same is recorded as what it is.
			if err := c.Engine.Record(t.Context(), a, remit.Done, "", nil, ""); err != nil {
				t.Fatal(err)
			}
			check(t, c)
		})
	}
}

func TestARedemptionInTheCommitOfItsRevocationIsCut(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	caller, other := launch(t, c, "canary"), launch(t, c, "canary")
	p := allow(t, c, world.Ask(caller, "probe.read"))
	store.Shut()
	var all sync.WaitGroup
	all.Go(func() { ask(t, c, world.Ask(other, "probe.read")) })
	<-store.waiting
	all.Go(func() {
		a := redeem(t, c, p)
		if !isClosed(c.Engine.Revoked(a.ID)) {
			t.Error("it has authority that was taken away in the same commit")
		}
		_, err := c.Engine.Take(t.Context(), a)
		coded(t, err, remit.NotLive)
	})
	queued(t, c, 1)
	all.Go(func() { do(t, c, &authority.Kill{By: "p-mia", What: "task", ID: caller.Task}) })
	queued(t, c, 2)
	store.Open()
	all.Wait()
	check(t, c)
}

// TestWhatWaitsWhenItIsKilledIsNotDecided: the request and the redemption were asked before the kill and stand before it
// in the queue.
func TestWhatWaitsWhenItIsKilledIsNotDecided(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	caller, other := launch(t, c, "canary"), launch(t, c, "canary")
	p := allow(t, c, world.Ask(caller, "probe.read"))
	store.Shut()
	var all sync.WaitGroup
	all.Go(func() { ask(t, c, world.Ask(other, "probe.read")) })
	<-store.waiting
	all.Go(func() {
		if d := ask(t, c, world.Ask(caller, "probe.write")); d.Verdict != remit.Deny || d.Code != remit.NotLive {
			t.Errorf("%+v", d)
		}
	})
	all.Go(func() {
		_, err := c.Engine.Redeem(t.Context(), p)
		coded(t, err, remit.NotLive)
	})
	queued(t, c, 2)
	all.Go(func() {
		if err := c.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: caller.Task}); err != nil {
			t.Error(err)
		}
	})
	queued(t, c, 3)
	store.Open()
	all.Wait()
	check(t, c)
}

func TestARestartForgetsRedemptionsAndFindsOpenAttempts(t *testing.T) {
	store := &ledgertest.Memory{}
	c := open(t, world.CoreOptions{Store: store})
	caller := launch(t, c, "canary")
	a := redeem(t, c, allow(t, c, world.Ask(caller, "probe.read")))
	p := allow(t, c, world.Ask(caller, "probe.write"))
	c.Engine.Close()
	c = open(t, world.CoreOptions{Store: store, Clock: c.Clock, Rules: c.Rules})
	_, err := c.Engine.Take(t.Context(), a)
	coded(t, err, remit.AlreadyUsed)
	if !isClosed(c.Engine.Revoked(a.ID)) {
		t.Fatal("a stream of an earlier run goes on")
	}
	redeem(t, c, p) // whoever still has its secret may, within its minute
	_, err = c.Engine.Redeem(t.Context(), p)
	coded(t, err, remit.AlreadyUsed)
	c.Engine.View(func(s *authority.State) {
		if s.Attempts[a.ID] == nil {
			t.Error("the open attempt was forgotten")
		}
	})
	if err := c.Engine.Record(t.Context(), remit.Attempt{ID: a.ID}, remit.Ambiguous, "", nil, ""); err != nil {
		t.Fatal(err)
	}
	check(t, c)
}

func TestALongReceiptIsCutAndTheOutcomeIsKept(t *testing.T) {
	c := open(t, world.CoreOptions{})
	a := redeem(t, c, allow(t, c, world.Ask(launch(t, c, "canary"), "probe.read")))
	if err := c.Engine.Record(t.Context(), a, remit.Done, "", make([]byte, remit.MaxPayload+1), ""); err != nil {
		t.Fatal(err)
	}
	if err := c.Engine.Record(t.Context(), a, remit.Done, "", nil, ""); err == nil {
		t.Fatal("an attempt has two outcomes")
	}
	check(t, c)
}

func TestPendingKillsSurviveARestartAndAFullFileSaysSo(t *testing.T) {
	memory := &ledgertest.Memory{}
	store, dir := newGate(memory), t.TempDir()
	c := open(t, world.CoreOptions{Store: store, Dir: dir})
	path := filepath.Join(dir, "pending-kills")
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Fatalf("mode %o", info.Mode().Perm())
		}
		return info.Size()
	}
	allocated := size()
	if allocated == 0 {
		t.Fatal("the file is not preallocated")
	}
	var callers []remit.Caller
	for range engine.KillSlots + 1 {
		callers = append(callers, launch(t, c, "canary"))
	}
	safe := launch(t, c, "canary")
	store.Fail(ledger.Refused(remit.LedgerDown, "no"))
	for i, caller := range callers {
		err := c.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: caller.Task})
		coded(t, err, remit.LedgerDown)
		if full := strings.Contains(err.Error(), "a restart would forget it"); full != (i == engine.KillSlots) {
			t.Fatalf("kill %d: %v", i, err)
		}
	}
	last := callers[len(callers)-1]
	if d := ask(t, c, world.Ask(last, "probe.read")); d.Code != remit.NotLive {
		t.Fatalf("what the file did not take is not killed: %+v", d)
	}
	if size() != allocated {
		t.Fatal("the file grew")
	}
	c.Engine.Close()

	store.Fail(nil)
	c = open(t, world.CoreOptions{Store: store, Dir: dir, Clock: c.Clock, Rules: c.Rules})
	if d := ask(t, c, world.Ask(callers[0], "probe.read")); d.Code != remit.NotLive || d.Entry != 0 {
		t.Fatalf("decided before the pending kills were read: %+v", d)
	}
	allow(t, c, world.Ask(safe, "probe.read"))
	c.Engine.DrainKills()
	c.Engine.View(func(s *authority.State) {
		for i, caller := range callers {
			if dead := s.Tasks[caller.Task].Status == remit.TaskKilled; dead != (i < engine.KillSlots) {
				t.Fatalf("task %d is killed: %v", i, dead)
			}
		}
	})
	body, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(body)) != "" {
		t.Fatalf("the file still has %q, %v", strings.TrimSpace(string(body)), err)
	}
	check(t, c)

	// A slot that is no kill is for a person to look at.
	c.Engine.Close()
	if err := os.WriteFile(path, []byte(`{"What":"task"`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = world.OpenCore(t.Context(), world.CoreOptions{Store: store, Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "line 1 is not a pending kill") {
		t.Fatalf("got %v", err)
	}
}

func TestAKillWithoutAFileSaysThatARestartForgetsIt(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c, err := world.OpenCore(t.Context(), world.CoreOptions{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Engine.Close()
	caller := launch(t, c, "canary")
	err = c.Engine.Kill(authority.Kill{By: "p-noa", What: "task", ID: caller.Task})
	coded(t, err, remit.Forbidden)
	allow(t, c, world.Ask(caller, "probe.read"))
	store.Fail(ledger.Refused(remit.LedgerDown, "no"))
	err = c.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: caller.Task})
	if err == nil || !strings.Contains(err.Error(), "a restart would forget it") {
		t.Fatalf("got %v", err)
	}
}

func TestTheClockGuard(t *testing.T) {
	memory := &ledgertest.Memory{}
	c := open(t, world.CoreOptions{Store: memory})
	caller := launch(t, c, "canary")
	start := c.Clock.Now()
	c.Clock.SetWall(start.Add(59 * time.Second))
	c.Clock.Advance(time.Hour) // time that passes is no jump
	a := redeem(t, c, allow(t, c, world.Ask(caller, "probe.read")))

	future := c.Clock.Now().Add(10 * 365 * 24 * time.Hour)
	c.Clock.SetWall(future)
	_, err := c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.read"))
	coded(t, err, remit.ClockInDoubt)
	coded(t, c.Engine.Tick(t.Context()), remit.ClockInDoubt)
	_, err = c.Engine.Do(t.Context(), &authority.ChangeAgent{By: "p-mia", Agent: "coder", To: remit.AgentActive})
	coded(t, err, remit.ClockInDoubt)
	// Taking away works, and what is recorded does not carry the wrong time into the log.
	do(t, c, &authority.ChangeAgent{By: "p-mia", Agent: "coder", To: remit.AgentSuspended})
	if err := c.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: caller.Task}); err != nil {
		t.Fatal(err)
	}
	if err := c.Engine.Record(t.Context(), a, remit.Done, "", nil, ""); err != nil {
		t.Fatal(err)
	}
	c.Engine.View(func(s *authority.State) {
		if s.Now >= future.Add(-time.Hour).UnixNano() {
			t.Error("the log has a time that the guard doubts")
		}
	})
	coded(t, c.Engine.ConfirmClock("p-mia"), remit.Forbidden)
	_, err = c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.read"))
	coded(t, err, remit.ClockInDoubt)
	if err := c.Engine.ConfirmClock("p-ada"); err != nil {
		t.Fatal(err)
	}
	again := launch(t, c, "canary")
	allow(t, c, world.Ask(again, "probe.read"))
	if c.Engine.Now().Before(future) {
		t.Fatal("the confirmed clock is not believed")
	}
	check(t, c)

	// At start, a clock behind the log is in doubt too; an entry never lies before the one before it.
	c.Engine.Close()
	c.Clock.SetWall(start)
	c = open(t, world.CoreOptions{Store: memory, Clock: c.Clock, Rules: c.Rules})
	_, err = c.Engine.Authorize(t.Context(), world.Ask(again, "probe.read"))
	coded(t, err, remit.ClockInDoubt)
	if err := c.Engine.ConfirmClock("p-ada"); err != nil {
		t.Fatal(err)
	}
	allow(t, c, world.Ask(again, "probe.read"))
	check(t, c)
}

// sleeper is the clock of a machine that sleeps: the wall clock and the time since boot go on, Go's monotonic clock does
// not.
type sleeper struct{ slept atomic.Int64 }

func (c *sleeper) Boot() time.Duration { return time.Duration(c.slept.Load()) }

func (c *sleeper) Now() time.Time {
	t := time.Now().Add(time.Duration(c.slept.Load())) // moves both readings
	*(*int64)(unsafe.Add(unsafe.Pointer(&t), 8)) -= c.slept.Load()
	return t
}

// TestTheClockGuardLooksAtTheWall: two times with a monotonic reading are compared by that, which neither sees that the
// wall clock was set nor goes on while the machine sleeps.
func TestTheClockGuardLooksAtTheWall(t *testing.T) {
	clock := &sleeper{}
	before := clock.Now()
	clock.slept.Store(int64(time.Hour))
	if d := clock.Now(); d.Sub(before) > time.Minute || d.Round(0).Sub(before.Round(0)) < time.Hour {
		t.Skip("times are laid out otherwise in this version of Go")
	}
	clock.slept.Store(0)
	store := &ledgertest.Memory{}
	c := open(t, world.CoreOptions{Store: store})
	caller := launch(t, c, "canary")
	c.Engine.Close()
	cfg := c.Config
	cfg.Clock = clock
	e, err := engine.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.ConfirmClock("p-ada"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := e.Authorize(t.Context(), world.Ask(caller, "probe.read")); err != nil {
			t.Fatalf("a sleep is no jump: %v", err)
		}
		clock.slept.Store(int64(time.Hour))
	}
}

func TestRepeatsOfADenialAreAnsweredWithItsEntryAndCounted(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	caller := launch(t, c, "canary")
	wrong := world.Ask(caller, "source.read")
	first := ask(t, c, wrong)
	size := func() remit.EntryIndex {
		head, err := store.Head(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return remit.EntryIndex(head.Size)
	}
	before := size()
	together(10, func(int) {
		if d := ask(t, c, wrong); fmt.Sprint(d) != fmt.Sprint(first) {
			t.Errorf("%+v is not the first answer", d)
		}
	})
	if size() != before {
		t.Fatal("repeats made entries")
	}
	other := wrong
	other.Steps = []remit.Step{{Action: "source.push", Resource: world.App}}
	if d := ask(t, c, other); d.Entry == first.Entry {
		t.Fatal("another request was taken for a repeat")
	}
	c.Clock.Advance(time.Minute)
	if d := ask(t, c, wrong); d.Entry == first.Entry {
		t.Fatal("a minute later it is decided again")
	}
	ask(t, c, wrong)
	// A count that the log does not take is not lost.
	store.Fail(ledger.Refused(remit.NoSpace, "full"))
	if err := c.Engine.Tick(t.Context()); err == nil {
		t.Fatal("the log took it")
	}
	store.Fail(nil)
	if err := c.Engine.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := denials(t, store); got != 10+3 {
		t.Fatalf("the log counts %d of 13 denials so far", got)
	}
	c.Engine.Close()
	if got := denials(t, store); got != 10+4 {
		t.Fatalf("the log counts %d of 14 denials at the end", got)
	}
}

func TestAPolicyThatCannotBeReadDeniesOnlyAsLongAsItCannot(t *testing.T) {
	store := &ledgertest.Memory{}
	c := open(t, world.CoreOptions{Store: store})
	caller := launch(t, c, "canary")
	strict := c.Rules.Add(world.Rule{Name: "strict", Says: func(authority.Facts) authority.Finding {
		return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Sentence: "no"}
	}})
	c.Rules.Break(errors.New("the disk is gone"))
	c.Set.Policy = strict
	do(t, c, &authority.ApplySet{By: "p-ada", Set: c.Set})
	if d := ask(t, c, world.Ask(caller, "probe.read")); d.Code != remit.NoPolicy {
		t.Fatalf("%+v", d)
	}
	c.Rules.Break(nil)
	if d := ask(t, c, world.Ask(caller, "probe.read")); d.Code != remit.PolicyDenied {
		t.Fatalf("%+v", d)
	}
	if m := check(t, c); m.Limits != 1 {
		t.Fatalf("%+v", m)
	}
}

// TestAFindingIsOfThePolicyThatItNames swaps policies under load: the Deriver finds a finding of another policy.
func TestAFindingIsOfThePolicyThatItNames(t *testing.T) {
	c := open(t, world.CoreOptions{})
	caller := launch(t, c, "canary")
	both := []remit.Digest{world.Nothing.Digest(), c.Rules.Add(world.Rule{Name: "strict", Says: func(authority.Facts) authority.Finding {
		return authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Sentence: "wait"}
	}})}
	together(9, func(i int) {
		for n := range 40 {
			if i == 0 {
				set := c.Set
				set.Policy = both[n%2]
				if _, err := c.Engine.Do(t.Context(), &authority.ApplySet{By: "p-ada", Set: set}); err != nil {
					t.Error(err)
				}
				continue
			}
			if _, err := c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.write")); err != nil {
				t.Error(err)
			}
		}
	})
	check(t, c)
}

func TestAPreviewWritesNothingUnlessItDenies(t *testing.T) {
	store := &ledgertest.Memory{}
	c := open(t, world.CoreOptions{Store: store})
	caller := launch(t, c, "coder")
	before, _ := store.Head(t.Context())
	r := world.Push(caller, "fix", "1", "deploy/prod.yaml")
	r.Preview = true
	if d := ask(t, c, r); d.Verdict != remit.Allow || d.Permit != (remit.Permit{}) {
		t.Fatalf("%+v", d)
	}
	if after, _ := store.Head(t.Context()); after != before {
		t.Fatal("an entry was written")
	}
	r.Refs[0].Ref = "refs/heads/main"
	if d := ask(t, c, r); d.Verdict != remit.Deny || d.Code != remit.RefOutOfScope {
		t.Fatalf("%+v", d)
	}
	if after, _ := store.Head(t.Context()); after.Size != before.Size+1 {
		t.Fatal("a denial is an entry")
	}
	check(t, c)
}

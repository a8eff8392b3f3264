package executor_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/executor"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// upstream is a protocol whose upstream answers as a test says.
type upstream struct {
	gateway.Probe
	sent   int
	answer func(n int) gateway.Result
	state  remit.Outcome // what Reconcile finds
	yet    bool          // and that it may change
	looked int
}

func (u *upstream) Forward(context.Context, remit.Order, gateway.Credential, http.ResponseWriter) gateway.Result {
	u.sent++
	if u.answer == nil {
		return gateway.Result{Outcome: remit.Done}
	}
	return u.answer(u.sent)
}

func (u *upstream) Reconcile(context.Context, remit.Order) gateway.Result {
	u.looked++
	return gateway.Result{Outcome: u.state, Yet: u.yet}
}

type house struct {
	t      *testing.T
	core   *world.Core
	orders *world.Orders
	up     *upstream
	exec   *executor.Executor
	caller remit.Caller
}

func newHouse(t *testing.T, store ledger.Store) *house {
	t.Helper()
	c, err := world.OpenCore(t.Context(), world.CoreOptions{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	h := &house{t: t, core: c}
	h.restart(nil)
	if h.caller, err = c.Task(t.Context(), "canary", "mia"); err != nil {
		t.Fatal(err)
	}
	return h
}

// restart opens the engine again; what only memory knew is gone. A nil store leaves the engine as it is.
func (h *house) restart(store ledger.Store) {
	h.t.Helper()
	if store != nil {
		h.core.Engine.Close()
		c, err := world.OpenCore(h.t.Context(), world.CoreOptions{Store: store, Clock: h.core.Clock, Rules: h.core.Rules})
		if err != nil {
			h.t.Fatal(err)
		}
		h.core = c
	}
	old := h.orders
	h.orders, h.up = &world.Orders{Engine: h.core.Engine}, &upstream{}
	if old != nil {
		h.core.Engine.View(func(s *authority.State) {
			for id := range s.Accesses {
				h.orders.Held(id, h.request())
			}
		})
	}
	h.exec = &executor.Executor{Orders: h.orders, Log: slog.New(slog.DiscardHandler), Protocols: map[string]gateway.Protocol{"probe": h.up},
		Pipeline: &gateway.Pipeline{Authz: world.Authorizer{Engine: h.core.Engine}, Log: slog.New(slog.DiscardHandler),
			Creds: world.Credentials{Engine: h.core.Engine, Broker: broker.New(nil)}}}
}

func (h *house) request() remit.Request { return world.Ask(h.caller, "probe.privileged") }

// held asks for what needs a person.
func (h *house) held() remit.ID {
	h.t.Helper()
	d, err := h.core.Engine.Authorize(h.t.Context(), h.request())
	if err != nil || d.Verdict != remit.Hold {
		h.t.Fatalf("%+v %v", d, err)
	}
	h.orders.Held(d.Access, h.request())
	return d.Access
}

func (h *house) vote(id remit.ID, by string) {
	h.t.Helper()
	if err := h.core.Vote(h.t.Context(), id, by, true); err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) access(id remit.ID) (a authority.Access) {
	h.core.Engine.View(func(s *authority.State) { a = *s.Accesses[id] })
	return a
}

func (h *house) attempts() (n int) {
	h.core.Engine.View(func(s *authority.State) { n = len(s.Attempts) })
	return n
}

// run lets the executor work for a time of the bubble's clock.
func (h *house) run(d time.Duration) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), d)
	defer cancel()
	if err := h.exec.Run(ctx); !errors.Is(err, context.DeadlineExceeded) {
		h.t.Fatal(err)
	}
}

// story runs f in a bubble whose time is the executor's own; the clock of the authority stands still.
func story(t *testing.T, f func(t *testing.T, h *house)) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse(t, &ledgertest.Memory{})
		f(t, h)
		h.core.Engine.Close()
	})
}

func TestAnApprovedOrderIsCarriedOutOnce(t *testing.T) {
	story(t, func(t *testing.T, h *house) {
		id := h.held()
		h.run(time.Minute) // nobody agreed yet
		if h.up.sent != 0 {
			t.Fatal("it was sent without a vote")
		}
		h.vote(id, "ada")
		h.run(time.Hour)
		if a := h.access(id); h.up.sent != 1 || a.Status != remit.AccessUsed || a.Outcome != remit.Done {
			t.Fatalf("sent %d times, %s %s", h.up.sent, a.Status, a.Outcome)
		}
	})
}

func TestWhatIsProvenNotAppliedIsTriedAgain(t *testing.T) {
	story(t, func(t *testing.T, h *house) {
		h.up.answer = func(n int) gateway.Result {
			if n < 3 {
				return gateway.Result{Outcome: remit.NotApplied, Code: remit.UpstreamDown, Receipt: []byte("503")}
			}
			return gateway.Result{Outcome: remit.Done}
		}
		id := h.held()
		h.vote(id, "ada")
		h.run(time.Minute)
		if a := h.access(id); h.up.sent != 3 || a.Status != remit.AccessUsed {
			t.Fatalf("sent %d times, %s", h.up.sent, a.Status)
		}
	})
}

func TestAnUpstreamThatStaysDownIsLeftAloneForAWhile(t *testing.T) {
	story(t, func(t *testing.T, h *house) {
		h.up.answer = func(int) gateway.Result { return gateway.Result{Outcome: remit.NotApplied, Code: remit.UpstreamDown} }
		id := h.held()
		h.vote(id, "ada")
		h.run(4 * time.Minute)
		if a := h.access(id); h.up.sent != 5 || a.Status != remit.AccessMet {
			t.Fatalf("sent %d times, %s", h.up.sent, a.Status)
		}
		h.up.answer = nil
		h.run(time.Minute)
		if h.up.sent != 6 { // a new run begins afresh
			t.Fatalf("sent %d times", h.up.sent)
		}
	})
	story(t, func(t *testing.T, h *house) {
		h.up.answer = func(n int) gateway.Result {
			if n > 5 {
				return gateway.Result{Outcome: remit.Done}
			}
			return gateway.Result{Outcome: remit.NotApplied, Code: remit.UpstreamDown}
		}
		id := h.held()
		h.vote(id, "ada")
		h.run(10 * time.Minute)
		if a := h.access(id); h.up.sent != 6 || a.Status != remit.AccessUsed {
			t.Fatalf("the same run did not try again: sent %d times, %s", h.up.sent, a.Status)
		}
	})
}

func TestAStaleOrderEnds(t *testing.T) {
	story(t, func(t *testing.T, h *house) {
		h.up.answer = func(int) gateway.Result { return gateway.Result{Outcome: remit.NotApplied, Code: remit.Stale} }
		id := h.held()
		h.vote(id, "ada")
		h.run(time.Hour)
		if a := h.access(id); h.up.sent != 1 || a.Status != remit.AccessVoid || a.Why != remit.Stale {
			t.Fatalf("sent %d times, %s %s", h.up.sent, a.Status, a.Why)
		}
	})
}

func TestAnAmbiguousOutcomeIsNotTriedAgain(t *testing.T) {
	for name, answer := range map[string]func(int) gateway.Result{
		"as the protocol says": func(int) gateway.Result { return gateway.Result{Outcome: remit.Ambiguous, Code: remit.UpstreamDown} },
		"after a panic":        func(int) gateway.Result { panic("oops") },
	} {
		t.Run(name, func(t *testing.T) {
			story(t, func(t *testing.T, h *house) {
				h.up.answer = answer
				id := h.held()
				h.vote(id, "ada")
				h.run(time.Hour)
				if a := h.access(id); h.up.sent != 1 || a.Status != remit.AccessUsed || a.Outcome != remit.Ambiguous {
					t.Fatalf("sent %d times, %s %s", h.up.sent, a.Status, a.Outcome)
				}
			})
		})
	}
}

// TestAClaimThatNeedsMoreVotesIsTakenUpAgain: the policy in force asks for another person; when that one agrees, the
// same executor goes on.
func TestAClaimThatNeedsMoreVotesIsTakenUpAgain(t *testing.T) {
	story(t, func(t *testing.T, h *house) {
		id := h.held()
		h.vote(id, "ada")
		two := h.core.Set
		two.Policy = h.core.Rules.Add(world.Rule{Name: "two", Says: func(authority.Facts) authority.Finding {
			return authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Sentence: "a reviewer looks", Votes: []remit.Need{{Group: "reviewers", N: 1}}}
		}})
		if _, err := h.core.Engine.Do(t.Context(), &authority.ApplySet{By: "p-bob", Set: two}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- h.exec.Run(ctx) }()
		synctest.Wait()
		if a := h.access(id); h.up.sent != 0 || a.Status != remit.AccessOpen {
			t.Fatalf("sent %d times, %s", h.up.sent, a.Status)
		}
		h.vote(id, "rio")
		synctest.Wait()
		if a := h.access(id); h.up.sent != 1 || a.Status != remit.AccessUsed {
			t.Fatalf("sent %d times, %s", h.up.sent, a.Status)
		}
		cancel()
		if err := <-stopped; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

func TestADeniedClaimIsNotCarriedOut(t *testing.T) {
	story(t, func(t *testing.T, h *house) {
		id := h.held()
		h.vote(id, "ada")
		no := h.core.Set
		no.Policy = h.core.Rules.Add(world.Rule{Name: "no", Says: func(authority.Facts) authority.Finding {
			return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Sentence: "no longer"}
		}})
		if _, err := h.core.Engine.Do(t.Context(), &authority.ApplySet{By: "p-bob", Set: no}); err != nil {
			t.Fatal(err)
		}
		h.run(time.Hour)
		if a := h.access(id); h.up.sent != 0 || a.Status != remit.AccessVoid {
			t.Fatalf("sent %d times, %s", h.up.sent, a.Status)
		}
	})
}

func TestAnOrderOfNoProtocolIsLeft(t *testing.T) {
	story(t, func(t *testing.T, h *house) {
		id := h.held()
		h.vote(id, "ada")
		clear(h.exec.Protocols)
		h.run(time.Minute)
		if a := h.access(id); a.Status != remit.AccessMet || h.attempts() != 0 {
			t.Fatalf("%s, %d attempts", a.Status, h.attempts())
		}
	})
}

// TestACrashAtEachEdge stops after one more step of claim, redeem, forward, record each time, and starts again.
func TestACrashAtEachEdge(t *testing.T) {
	for _, c := range []struct {
		name   string
		until  func(h *house, id remit.ID)
		found  remit.Outcome // what Reconcile finds at the upstream
		after  remit.AccessStatus
		sent   int // by the run after the crash
		at     remit.Outcome
		unsure bool
	}{
		{"after the vote", func(*house, remit.ID) {}, "", remit.AccessUsed, 1, remit.Done, false},
		{"after the claim", func(h *house, id remit.ID) { h.claim(id) }, "", remit.AccessUsed, 1, remit.Done, false},
		{"after the redemption", func(h *house, id remit.ID) { h.redeem(h.claim(id)) }, remit.NotApplied, remit.AccessUsed, 1, remit.Done, true},
		{"after it was sent", func(h *house, id remit.ID) { h.redeem(h.claim(id)) }, remit.Done, remit.AccessUsed, 0, remit.Done, true},
		{"where nobody can tell", func(h *house, id remit.ID) { h.redeem(h.claim(id)) }, remit.Ambiguous, remit.AccessUsed, 0, remit.Ambiguous, true},
		{"where the protocol gives no outcome", func(h *house, id remit.ID) { h.redeem(h.claim(id)) }, "", remit.AccessUsed, 0, remit.Ambiguous, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &ledgertest.Memory{}
				h := newHouse(t, store)
				id := h.held()
				h.vote(id, "ada")
				c.until(h, id)
				h.restart(store)
				if got := h.attempts() == 1; got != c.unsure {
					t.Fatalf("an attempt is open: %v", got)
				}
				h.up.state = c.found
				if err := h.exec.Reconcile(t.Context()); err != nil {
					t.Fatal(err)
				}
				if h.attempts() != 0 {
					t.Fatal("an attempt is left open")
				}
				h.run(time.Minute)
				if a := h.access(id); a.Status != c.after || h.up.sent != c.sent || a.Outcome != c.at {
					t.Fatalf("%s, sent %d times, %s", a.Status, h.up.sent, a.Outcome)
				}
				h.core.Engine.Close()
			})
		})
	}
}

func (h *house) claim(id remit.ID) remit.Permit {
	h.t.Helper()
	c, d, err := h.orders.Claim(h.t.Context(), id)
	if err != nil || d.Verdict != remit.Allow {
		h.t.Fatalf("%+v %v", d, err)
	}
	return c.Permit
}

func (h *house) redeem(p remit.Permit) {
	h.t.Helper()
	if _, err := h.core.Engine.Redeem(h.t.Context(), p); err != nil {
		h.t.Fatal(err)
	}
}

// TestWhatMayStillBeAtWorkStaysOpen: after a crash the upstream shows nothing, and may yet do what it was told.
func TestWhatMayStillBeAtWorkStaysOpen(t *testing.T) {
	crash := func(t *testing.T, f func(h *house, id remit.ID)) {
		synctest.Test(t, func(t *testing.T) {
			store := &ledgertest.Memory{}
			h := newHouse(t, store)
			id := h.held()
			h.vote(id, "ada")
			h.redeem(h.claim(id))
			h.restart(store)
			h.up.state, h.up.yet = remit.NotApplied, true
			if err := h.exec.Reconcile(t.Context()); err != nil {
				t.Fatal(err)
			}
			f(h, id)
			h.core.Engine.Close()
		})
	}
	want := func(h *house, id remit.ID, status remit.AccessStatus, outcome remit.Outcome, open, sent int) {
		h.t.Helper()
		if a := h.access(id); a.Status != status || a.Outcome != outcome || h.attempts() != open || h.up.sent != sent {
			h.t.Fatalf("%s %s, %d open, sent %d times", a.Status, a.Outcome, h.attempts(), h.up.sent)
		}
	}
	t.Run("and it comes", func(t *testing.T) {
		crash(t, func(h *house, id remit.ID) {
			h.run(9 * time.Minute)
			want(h, id, remit.AccessReserved, "", 1, 0)
			if h.up.looked < 10 || h.up.looked > 60 {
				h.t.Fatalf("looked %d times", h.up.looked)
			}
			h.up.state, h.up.yet = remit.Done, false
			h.run(time.Minute)
			want(h, id, remit.AccessUsed, remit.Done, 0, 0)
		})
	})
	t.Run("and it never comes", func(t *testing.T) {
		crash(t, func(h *house, id remit.ID) {
			h.run(executor.Settle - time.Second)
			want(h, id, remit.AccessReserved, "", 1, 0)
			h.run(time.Minute) // settled: the use is given back, and the order is carried out
			want(h, id, remit.AccessUsed, remit.Done, 0, 1)
		})
	})
	t.Run("and nobody can tell", func(t *testing.T) {
		crash(t, func(h *house, id remit.ID) {
			h.up.state = remit.Ambiguous
			h.run(executor.Settle + time.Minute)
			want(h, id, remit.AccessUsed, remit.Ambiguous, 0, 0)
		})
	})
	t.Run("and a look is broken off", func(t *testing.T) {
		crash(t, func(h *house, id remit.ID) {
			ctx, cancel := context.WithCancel(h.t.Context())
			cancel()
			h.up.yet = false
			if err := h.exec.Reconcile(ctx); !errors.Is(err, context.Canceled) {
				h.t.Fatal(err)
			}
			want(h, id, remit.AccessReserved, "", 1, 0)
			h.run(time.Minute)
			want(h, id, remit.AccessUsed, remit.Done, 0, 1)
		})
	})
	t.Run("and its time was over long ago", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			d, up := &deaf{}, &upstream{state: remit.NotApplied, yet: true}
			old := func(id remit.ID, ago time.Duration) executor.Open {
				return executor.Open{Attempt: remit.Attempt{ID: id, NotAfter: time.Now().Add(-ago)}, Protocol: "probe"}
			}
			e := &executor.Executor{Orders: listed{open: []executor.Open{old("X-1", time.Hour), old("X-2", time.Minute), old("X-3", -time.Minute)}},
				Pipeline: &gateway.Pipeline{Authz: d}, Log: slog.New(slog.DiscardHandler), Protocols: map[string]gateway.Protocol{"probe": up}}
			if err := e.Reconcile(t.Context()); err != nil || len(d.got) != 1 || d.got[0] != "X-1" {
				t.Fatalf("%v %v", err, d.got)
			}
		})
	})
}

// deaf is an authority that does not take some outcomes.
type deaf struct {
	gateway.Authorizer
	to  remit.ID
	got []remit.ID
}

func (d *deaf) Record(_ context.Context, a remit.Attempt, _ gateway.Result) error {
	d.got = append(d.got, a.ID)
	if a.ID == d.to {
		return errors.New("full")
	}
	return nil
}

type listed struct {
	executor.Orders
	open []executor.Open
}

func (l listed) Unfinished(context.Context) ([]executor.Open, error) { return l.open, nil }

func TestOneOutcomeThatIsNotTakenDoesNotKeepTheOthersBack(t *testing.T) {
	d := &deaf{to: "X-1"}
	e := &executor.Executor{Orders: listed{open: []executor.Open{{Attempt: remit.Attempt{ID: "X-1"}}, {Attempt: remit.Attempt{ID: "X-2"}}}},
		Pipeline: &gateway.Pipeline{Authz: d}, Log: slog.New(slog.DiscardHandler)}
	if err := e.Reconcile(t.Context()); err == nil || len(d.got) != 2 {
		t.Fatalf("%v %v", err, d.got)
	}
}

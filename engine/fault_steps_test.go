package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/executor"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// refuses is a fault of a log that goes on: it wrote nothing, and says so. The others are ledgertest's, after which an
// engine stops, as after a kill: at NotApplied the process died before the commit, at Applied after it.
const refuses ledgertest.Fault = 100

// failing is a store whose nth commit goes wrong.
type failing struct {
	*ledgertest.Faulty
	fault ledgertest.Fault
	nth   int // 0: not yet
	hit   bool
}

func newFailing(s ledger.Store, fault ledgertest.Fault) *failing {
	f := &failing{fault: fault}
	f.Faulty = ledgertest.NewFaulty(s, func() ledgertest.Fault {
		if f.fault != refuses && f.due() {
			return f.fault
		}
		return ledgertest.Works
	})
	return f
}

func (f *failing) due() bool {
	if f.nth > 0 {
		f.nth--
		f.hit = f.hit || f.nth == 0
		return f.nth == 0
	}
	return false
}

func (f *failing) Append(ctx context.Context, expect ledger.Head, b ledger.Batch) error {
	if f.fault == refuses && f.due() {
		return ledger.Refused(remit.NoSpace, "injected")
	}
	return f.Faulty.Append(ctx, expect, b)
}

// target is an upstream that counts what was done to it, by attempt.
type target struct {
	gateway.Probe
	mode    string
	applied map[remit.ID]int
	sent    int
}

func (u *target) Forward(_ context.Context, o remit.Order, _ gateway.Credential, _ http.ResponseWriter) gateway.Result {
	u.sent++
	if u.sent == 1 && u.mode == "fails, not applied" {
		return gateway.Result{Outcome: remit.NotApplied, Code: remit.UpstreamDown}
	}
	u.applied[o.Attempt]++
	switch {
	case u.sent > 1:
	case u.mode == "applied, reported failed":
		return gateway.Result{Outcome: remit.Ambiguous, Code: remit.UpstreamDown}
	case u.mode == "panics after it":
		panic("injected")
	case u.mode == "says nothing":
		return gateway.Result{}
	}
	return gateway.Result{Outcome: remit.Done}
}

func (u *target) Reconcile(_ context.Context, o remit.Order) gateway.Result {
	if u.applied[o.Attempt] > 0 {
		return gateway.Result{Outcome: remit.Done}
	}
	return gateway.Result{Outcome: remit.NotApplied}
}

// lasting are orders that find every open attempt again, as the server's do.
type lasting struct {
	*world.Orders
	engine *engine.Engine
}

func (l lasting) Unfinished(context.Context) (open []executor.Open, _ error) {
	l.engine.View(func(s *authority.State) {
		for id := range s.Attempts {
			open = append(open, executor.Open{Attempt: remit.Attempt{ID: id}, Protocol: "probe", Order: remit.Order{Attempt: id}})
		}
	})
	return open, nil
}

// stepHouse is an engine with an executor and the pipeline that both ways lead through.
type stepHouse struct {
	core *world.Core
	up   *target
	pipe *gateway.Pipeline
	exec *executor.Executor
	held *world.Orders
}

func newStepHouse(c *world.Core, up *target) *stepHouse {
	log := slog.New(slog.DiscardHandler)
	h := &stepHouse{core: c, up: up, held: &world.Orders{Engine: c.Engine}, pipe: &gateway.Pipeline{Authz: world.Authorizer{Engine: c.Engine}, Log: log,
		Creds: world.Credentials{Engine: c.Engine, Broker: broker.New(nil)}}}
	h.exec = &executor.Executor{Orders: lasting{h.held, c.Engine}, Pipeline: h.pipe, Protocols: map[string]gateway.Protocol{"probe": up}, Log: log}
	return h
}

// work lets the executor go on until nothing happens any more.
func (h *stepHouse) work(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if err := h.exec.Run(ctx); err == nil {
		t.Error("the executor stopped")
	}
}

// ways are the two ways to act: at once, and by an approved order. Each may fail at any step; told is what somebody was
// told was done.
var ways = map[string]func(t *testing.T, h *stepHouse, c remit.Caller) (told bool){
	"allowed": func(t *testing.T, h *stepHouse, c remit.Caller) bool {
		d, err := h.core.Engine.Authorize(t.Context(), world.Ask(c, "probe.write"))
		if err != nil {
			return false
		}
		res, err := h.pipe.Complete(t.Context(), h.up, d.Permit, remit.Order{Caller: c}, nil)
		return err == nil && res.Outcome == remit.Done
	},
	"approved": func(t *testing.T, h *stepHouse, c remit.Caller) bool {
		r := world.Ask(c, "probe.privileged")
		d, err := h.core.Engine.Authorize(t.Context(), r)
		if err != nil {
			return false
		}
		h.held.Held(d.Access, r)
		if err := h.core.Vote(t.Context(), d.Access, "ada", true); err != nil {
			return false
		}
		h.work(t)
		return false // the log tells
	},
}

// TestEveryStepFailsInEveryWay goes through every commit of both ways: not applied, applied but reported failed (both end
// the process), refused; and through the ways in which an upstream fails. After a restart all that was done was decided
// and is recorded once, nothing is done twice, and no approval is lost.
func TestEveryStepFailsInEveryWay(t *testing.T) {
	steps := map[string]int{"allowed": 3, "approved": 5} // commits: decision (and vote, claim), redemption, outcome
	for way, act := range ways {
		for _, fault := range []ledgertest.Fault{ledgertest.NotApplied, ledgertest.Applied, refuses} {
			for nth := 1; nth <= steps[way]+1; nth++ {
				t.Run(fmt.Sprintf("%s/fault %d of commit %d", way, fault, nth), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						if hit := failAt(t, way, act, fault, nth, ""); hit != (nth <= steps[way]) {
							t.Errorf("commit %d was made: %v", nth, hit)
						}
					})
				})
			}
		}
		for _, mode := range []string{"fails, not applied", "applied, reported failed", "panics after it", "says nothing"} {
			for nth := 0; nth <= steps[way]; nth++ { // with the log failing too, and with nothing else
				t.Run(fmt.Sprintf("%s/%s, commit %d", way, mode, nth), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { failAt(t, way, act, ledgertest.NotApplied, nth, mode) })
				})
			}
		}
	}
}

func failAt(t *testing.T, way string, act func(*testing.T, *stepHouse, remit.Caller) bool, fault ledgertest.Fault, nth int, mode string) (hit bool) {
	memory := &ledgertest.Memory{}
	store := newFailing(memory, fault)
	c, err := world.OpenCore(t.Context(), world.CoreOptions{Store: store})
	if err != nil {
		t.Fatal(err)
	}
	caller, err := c.Task(t.Context(), "canary", "mia")
	if err != nil {
		t.Fatal(err)
	}
	up := &target{mode: mode, applied: map[remit.ID]int{}}
	store.nth = nth
	told := act(t, newStepHouse(c, up), caller)
	c.Engine.Close()

	again, err := world.OpenCore(t.Context(), world.CoreOptions{Store: memory, Clock: c.Clock, Rules: c.Rules})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Engine.Close()
	h := newStepHouse(again, up)
	if err := h.exec.Reconcile(t.Context()); err != nil {
		t.Fatal(err)
	}
	again.Engine.View(func(s *authority.State) {
		for id := range s.Accesses {
			h.held.Held(id, world.Ask(caller, "probe.privileged"))
		}
	})
	h.work(t)
	check(t, again)
	afterwards(t, memory, up, told, way == "approved")
	return store.hit
}

// afterwards compares the log with what was done upstream.
func afterwards(t *testing.T, s ledger.Store, up *target, told, approved bool) {
	t.Helper()
	decided, attempts, outcomes := map[remit.ID]bool{}, []remit.ID{}, map[remit.ID]remit.Outcome{}
	voted := false
	if _, _, err := ledger.Replay(t.Context(), s, ledger.Tree{}, func(_ remit.EntryIndex, l ledger.Leaf) error {
		switch e := l.Event.(type) {
		case *remit.Decided:
			decided[e.Permit] = e.Verdict == remit.Allow
		case *remit.VoteCast:
			voted = true
		case *remit.Redeemed:
			if !decided[e.Permit] {
				return errors.New("a permit was redeemed that no decision gave, or twice")
			}
			delete(decided, e.Permit)
			attempts = append(attempts, e.ID)
		case *remit.Recorded:
			if outcomes[e.Attempt] != "" {
				return fmt.Errorf("%s has two outcomes", e.Attempt)
			}
			outcomes[e.Attempt] = e.Outcome
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	total := 0
	for id, n := range up.applied {
		total += n
		if !slices.Contains(attempts, id) {
			t.Errorf("%s was forwarded, and is not in the log", id)
		}
	}
	for _, id := range attempts {
		switch out := outcomes[id]; {
		case out == "":
			t.Errorf("%s has no outcome", id)
		case out == remit.Done && up.applied[id] != 1, out == remit.NotApplied && up.applied[id] != 0:
			t.Errorf("%s is recorded as %s, and was done %d times", id, out, up.applied[id])
		case out == remit.Ambiguous && up.mode == "":
			t.Errorf("%s is recorded as ambiguous, and the upstream knows", id)
		}
	}
	if total > 1 || told && total != 1 || approved && voted && total != 1 {
		t.Errorf("it was done %d times; told done: %v, approved: %v", total, told, voted)
	}
}

// TestABlobThatCannotBePutDeniesItsCommandAlone: a command too large for a payload rests on its blob, which is there
// before the entry that names it.
func TestABlobThatCannotBePutDeniesItsCommandAlone(t *testing.T) {
	c := open(t, world.CoreOptions{})
	caller := launch(t, c, "coder")
	var paths []string
	for i := range 1000 {
		paths = append(paths, fmt.Sprintf("docs/%0100d", i))
	}
	large := world.Push(caller, "a", "tip", paths...)
	before := encoded(c.Engine)
	blobs := c.Config.Blobs
	c.Engine.Close()
	cfg := c.Config
	broken := &noBlobs{Blobs: blobs, err: remit.Errorf(remit.NoSpace, "injected")}
	cfg.Blobs = broken
	e, err := engine.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	_, err = e.Authorize(t.Context(), large)
	coded(t, err, remit.NoSpace)
	if e.Failed() != nil || string(before) != string(encoded(e)) {
		t.Fatal("the engine stopped, or something is left of it")
	}
	if d, err := e.Authorize(t.Context(), world.Push(caller, "b", "tip")); err != nil || d.Verdict != remit.Allow {
		t.Fatalf("a small one: %+v %v", d, err)
	}
	broken.err = nil
	if d, err := e.Authorize(t.Context(), large); err != nil || d.Verdict != remit.Allow {
		t.Fatalf("the same once there is space: %+v %v", d, err)
	}
}

// noBlobs takes no blob while err is set.
type noBlobs struct {
	ledger.Blobs
	err error
}

func (n *noBlobs) Put(ctx context.Context, r io.Reader) (remit.Digest, int64, error) {
	if n.err != nil {
		return remit.Digest{}, 0, n.err
	}
	return n.Blobs.Put(ctx, r)
}

package engine_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

func TestADrainBeginsNothingAndLetsAllElseEnd(t *testing.T) {
	c := open(t, world.CoreOptions{})
	canary, coder := launch(t, c, "canary"), launch(t, c, "coder")
	req := world.Push(coder, "fix", "1", "deploy/prod.yaml")
	held := ask(t, c, req)
	permit := allow(t, c, world.Ask(canary, "probe.read"))
	b, a := redeem(t, c, allow(t, c, world.Ask(canary, "probe.read"))), redeem(t, c, allow(t, c, world.Ask(canary, "probe.read")))
	left, err := c.Engine.Drain(t.Context(), true)
	if err != nil || !c.Engine.Draining() || len(left) != 2 || !slices.IsSorted(left) || !slices.Contains(left, a.ID) || !slices.Contains(left, b.ID) {
		t.Fatalf("%v is under way, %v", left, err)
	}
	before := next(c)
	begins := func(cmd authority.Command) error { _, err := c.Engine.Do(t.Context(), cmd); return err }
	for name, err := range map[string]error{
		"a request":       func() error { _, err := c.Engine.Authorize(t.Context(), world.Ask(canary, "probe.read")); return err }(),
		"a permit":        func() error { _, err := c.Engine.Redeem(t.Context(), permit); return err }(),
		"a task":          begins(&authority.CreateTask{By: "p-mia", Agent: "canary"}),
		"an instance":     begins(&authority.StartInstance{By: "p-mia", Task: canary.Task}),
		"a CI job":        begins(&authority.StartJob{}),
		"a declaration":   begins(&authority.ApplySet{By: "p-ada", Set: c.Set}),
		"an erasure":      begins(&authority.ErasePayloads{By: "p-ada"}),
		"giving up":       begins(&authority.AbandonLease{By: "p-ada"}),
		"a stored secret": begins(&authority.StoreSecret{By: "p-ada"}),
		"an erasure, made": func() error {
			_, err := c.Engine.Erase(t.Context(), engine.Once{}, &authority.ErasePayloads{By: "p-ada"})
			return err
		}(),
	} {
		var e *remit.Error
		if !errors.As(err, &e) || e.Code != remit.Draining {
			t.Errorf("%s: %v", name, err)
		}
	}
	if next(c) != before {
		t.Fatal("something was written")
	}
	if _, err := c.Engine.Take(t.Context(), a); err != nil || isClosed(c.Engine.Revoked(b.ID)) {
		t.Fatalf("what is under way was cut: %v", err)
	}
	if err := errors.Join(c.Vote(t.Context(), held.Access, "rio", true), c.Engine.Record(t.Context(), a, remit.Done, "", nil, ""),
		c.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: coder.Task})); err != nil {
		t.Fatal(err)
	}
	if left, err = c.Engine.Drain(t.Context(), true); err != nil || !slices.Equal(left, []remit.ID{b.ID}) {
		t.Fatalf("%v is under way, %v", left, err)
	}
	if err := c.Engine.Record(t.Context(), b, remit.NotApplied, "", nil, ""); err != nil {
		t.Fatal(err)
	}
	if left, err = c.Engine.Drain(t.Context(), false); err != nil || c.Engine.Draining() || len(left) > 0 {
		t.Fatalf("%v is under way, %v", left, err)
	}
	redeem(t, c, permit)
	check(t, c)
}

// TestWhatWaitsWhenADrainBeginsIsNotBegun, and the answer to the drain comes after all that was.
func TestWhatWaitsWhenADrainBeginsIsNotBegun(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	caller := launch(t, c, "canary")
	p := allow(t, c, world.Ask(caller, "probe.read"))
	store.Shut()
	first := make(chan error, 1)
	go func() { _, err := c.Engine.Redeem(context.Background(), p); first <- err }()
	<-store.waiting
	late := make(chan error, 1)
	go func() {
		_, err := c.Engine.Authorize(context.Background(), world.Ask(caller, "probe.write"))
		late <- err
	}()
	queued(t, c, 1)
	drained := make(chan []remit.ID, 1)
	go func() {
		left, err := c.Engine.Drain(context.Background(), true)
		if err != nil {
			t.Error(err)
		}
		drained <- left
	}()
	queued(t, c, 2)
	if c.Engine.Queued() != 2 {
		t.Errorf("%d wait", c.Engine.Queued())
	}
	store.Open()
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	coded(t, <-late, remit.Draining)
	if left := <-drained; len(left) != 1 {
		t.Fatalf("%v is under way: the one that was being committed is not told", left)
	}
}

func TestADrainOfAnEngineThatFailedSaysSo(t *testing.T) {
	down := ledgertest.Works
	c := open(t, world.CoreOptions{Store: ledgertest.NewFaulty(&ledgertest.Memory{}, func() ledgertest.Fault { return down })})
	down = ledgertest.NotApplied
	_, err := c.Engine.Do(t.Context(), &authority.CreateTask{By: "p-mia", Agent: "canary"})
	coded(t, err, remit.LedgerDown)
	_, err = c.Engine.Drain(t.Context(), true)
	coded(t, err, remit.LedgerDown)
}

// TestAFindingIsRecordedOnceAndSuspends: those who follow the log find a thing at least once.
func TestAFindingIsRecordedOnceAndSuspends(t *testing.T) {
	c := open(t, world.CoreOptions{})
	c.Set.Detections = []remit.DetectionDeclared{{Name: "burst", Suspend: true}}
	do(t, c, &authority.ApplySet{By: "p-ada", Set: c.Set})
	caller := launch(t, c, "canary")
	a := redeem(t, c, allow(t, c, world.Ask(caller, "probe.read")))
	stream := c.Engine.Revoked(a.ID)
	f := authority.RecordFinding{Detection: "burst", Agent: "canary", Entries: []remit.EntryIndex{3, 5}, Count: 7}
	c.Clock.SetWall(c.Clock.Now().Add(time.Hour)) // it takes away: a clock in doubt is no reason to wait
	coded(t, c.Engine.Doubt(), remit.ClockInDoubt)
	entry, recorded, err := c.Engine.RecordFinding(t.Context(), f)
	if err != nil || !recorded {
		t.Fatal(recorded, err)
	}
	if l, _, err := c.Engine.Entry(t.Context(), entry); err != nil || l.Event.(*remit.Found).Count != 7 {
		t.Fatal(l.Event, err)
	}
	if !isClosed(stream) {
		t.Error("the stream of the suspended agent goes on")
	}
	n := next(c)
	again, recorded, err := c.Engine.RecordFinding(t.Context(), f)
	if err != nil || recorded || again != entry || next(c) != n {
		t.Errorf("found again: entry %d, %v %v", again, recorded, err)
	}
	f.Agent = "nobody"
	if _, recorded, err := c.Engine.RecordFinding(t.Context(), f); err == nil || recorded {
		t.Error("a finding of nobody")
	}
	if err := c.Engine.ConfirmClock("p-ada"); err != nil || c.Engine.Doubt() != nil {
		t.Fatal(err, c.Engine.Doubt())
	}
	if d := ask(t, c, world.Ask(caller, "probe.read")); d.Verdict != remit.Deny {
		t.Errorf("%+v", d)
	}
	check(t, c)
}

// TestWhatWasToldThenIsToldAgain: the sentences stand in no leaf.
func TestWhatWasToldThenIsToldAgain(t *testing.T) {
	c := open(t, world.CoreOptions{})
	canary, coder := launch(t, c, "canary"), launch(t, c, "coder")
	then := map[remit.EntryIndex]remit.Decision{}
	for _, r := range []remit.Request{world.Ask(canary, "probe.read"), world.Ask(canary, "source.read"), world.Push(coder, "fix", "1", "deploy/prod.yaml")} {
		d := ask(t, c, r)
		then[d.Entry] = d
	}
	d := deriver(t, c)
	told := 0
	d.Decided = func(s *authority.State, at time.Time, i remit.EntryIndex, a *authority.Authorize, _ *remit.Decided) {
		told++
		before := string(s.Encode())
		res, err := engine.Told(t.Context(), s, at, a, c.Rules)
		want := then[i]
		if err != nil || res.Decision.Verdict != want.Verdict || res.Decision.Sentence != want.Sentence || res.Decision.Access != want.Access {
			t.Errorf("entry %d: %+v, %v; want %+v", i, res.Decision, err, want)
		}
		if before != string(s.Encode()) {
			t.Error("telling changes the state")
		}
	}
	for i, err := range c.Engine.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Decode(i.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Entry(t.Context(), i.Index, l); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := d.Finish(t.Context()); err != nil || len(m.Wrong) > 0 || told != 3 {
		t.Fatalf("%+v %v, %d were told", m, err, told)
	}
	if string(d.State().Encode()) != string(encoded(c.Engine)) {
		t.Error("the state at the end is another one")
	}
}

// TestWhoWaitsForAnEndIsNotWokenByEveryDecision, but by every end.
func TestWhoWaitsForAnEndIsNotWokenByEveryDecision(t *testing.T) {
	c := open(t, world.CoreOptions{})
	ended := c.Engine.Ended()
	caller := launch(t, c, "canary")
	a := redeem(t, c, allow(t, c, world.Ask(caller, "probe.read")))
	ask(t, c, world.Ask(caller, "source.read"))
	if err := c.Engine.Record(t.Context(), a, remit.Done, "", nil, ""); err != nil {
		t.Fatal(err)
	}
	if isClosed(ended) {
		t.Error("nothing has ended")
	}
	do(t, c, &authority.EndInstance{Instance: caller.Instance})
	if !isClosed(ended) || isClosed(c.Engine.Ended()) {
		t.Error("an instance has ended")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Engine.Wait(ctx, func(*authority.State) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- c.Engine.Wait(context.Background(), func(*authority.State) bool { return false }) }()
	c.Engine.Close()
	coded(t, <-waited, remit.LedgerDown)
}

package engine_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// dry is a source of randomness that ends.
type dry struct{ left int }

func (d *dry) Read(p []byte) (int, error) {
	if d.left -= len(p); d.left < 0 {
		return 0, errSick
	}
	for i := range p {
		p[i] = byte(d.left + i)
	}
	return len(p), nil
}

// TestWithoutRandomnessNothingIsSecretSoNothingIsDone: neither permits nor commitments are made of zeros.
func TestWithoutRandomnessNothingIsSecretSoNothingIsDone(t *testing.T) {
	random := &dry{1 << 20}
	c := open(t, world.CoreOptions{Random: random})
	caller, coder := launch(t, c, "canary"), launch(t, c, "coder")
	p := allow(t, c, world.Ask(caller, "probe.read"))
	a := redeem(t, c, allow(t, c, world.Ask(caller, "probe.read")))
	before := next(c)
	large := world.Push(coder, "big", "1", strings.Fields(strings.Repeat("p ", 2000))...)
	for name, test := range map[string]struct {
		left int
		do   func() error
	}{
		"the secret of a permit":       {0, func() error { _, err := c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.write")); return err }},
		"the salt of a command":        {32, func() error { _, err := c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.write")); return err }},
		"the salt of a command's blob": {64, func() error { _, err := c.Engine.Authorize(t.Context(), large); return err }},
		"the secret of an attempt":     {0, func() error { _, err := c.Engine.Redeem(t.Context(), p); return err }},
		"the salt of a text":           {0, func() error { _, err := c.Engine.NewPayload([]byte("x")); return err }},
		"the salt of a receipt":        {0, func() error { return c.Engine.Record(t.Context(), a, remit.Done, "", []byte("x"), "") }},
		"the salt of somebody's command": {31, func() error {
			_, err := c.Engine.Do(t.Context(), &authority.CreateTask{By: "p-mia", Agent: "canary"})
			return err
		}},
	} {
		random.left = test.left
		if err := test.do(); !errors.Is(err, errSick) {
			t.Errorf("%s: %v", name, err)
		} else {
			coded(t, err, remit.Internal)
		}
	}
	if next(c) != before {
		t.Fatal("something was written")
	}
	random.left = 1 << 20
	redeem(t, c, p)
	if err := c.Engine.Record(t.Context(), a, remit.Done, "", []byte("x"), ""); err != nil {
		t.Errorf("the outcome was lost with the randomness: %v", err)
	}
	_, err := c.Engine.NewPayload(make([]byte, remit.MaxPayload+1))
	coded(t, err, remit.TooLarge)
}

// TestAnEngineDoesNotOpenOverWhatItCannotRead.
func TestAnEngineDoesNotOpenOverWhatItCannotRead(t *testing.T) {
	store, dir := &ledgertest.Memory{}, t.TempDir()
	c := open(t, world.CoreOptions{Store: store, Dir: dir})
	launch(t, c, "canary")
	c.Engine.Close()
	path := filepath.Join(dir, "pending-kills")
	for name, test := range map[string]struct {
		change func(*engine.Config)
		want   string
	}{
		"no head":        {func(cfg *engine.Config) { cfg.Store = headless{store, errSick} }, "reading the log: input/output"},
		"an entry":       {func(cfg *engine.Config) { cfg.Store = breaks{store, 4} }, "reading the log: entry 4: input/output"},
		"the policy":     {func(cfg *engine.Config) { cfg.Policies = world.NewRules(); cfg.Policies.(*world.Rules).Break(errSick) }, "the policy in force, "},
		"no kills":       {func(cfg *engine.Config) { cfg.Kills = filepath.Join(dir, "gone", "kills") }, "opening the pending kills"},
		"kills in a dir": {func(cfg *engine.Config) { cfg.Kills = dir }, "the pending kills"},
		"a long file": {func(*engine.Config) {
			if err := os.Truncate(path, engine.KillSlots<<10+1); err != nil {
				t.Fatal(err)
			}
		}, "larger than a file of pending kills"},
	} {
		cfg := c.Config
		test.change(&cfg)
		e, err := engine.Open(t.Context(), cfg)
		if err == nil {
			e.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v; want %q", name, err, test.want)
		}
	}
}

// breaks is a store that cannot read one entry.
type breaks struct {
	ledger.Store
	at remit.EntryIndex
}

func (b breaks) Read(ctx context.Context, from remit.EntryIndex) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		for e, err := range b.Store.Read(ctx, from) {
			if e.Index == b.at {
				yield(ledger.Entry{}, errSick)
				return
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// TestWhatIsDerivedOfADiskThatFailsIsAnError, never less than the log has.
func TestWhatIsDerivedOfADiskThatFailsIsAnError(t *testing.T) {
	memory := &ledgertest.Memory{}
	c := open(t, world.CoreOptions{Store: memory})
	caller := launch(t, c, "canary")
	d := ask(t, c, world.Ask(caller, "probe.read"))
	c.Engine.Close()
	swap := &swapped{Store: memory}
	cfg := c.Config
	cfg.Store = swap
	e, err := engine.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	swap.Store = breaks{memory, d.Entry}
	if _, err := e.Explain(t.Context(), d.Entry); !errors.Is(err, errSick) {
		t.Errorf("explain: %v", err)
	}
	if _, err := e.Try(t.Context(), engine.Trial{Policy: world.Nothing}); !errors.Is(err, errSick) {
		t.Errorf("try: %v", err)
	}
	if _, _, err := e.Entry(t.Context(), d.Entry); !errors.Is(err, errSick) {
		t.Errorf("entry: %v", err)
	}
	for _, err := range e.Read(t.Context(), d.Entry) { // from before it was opened: not in memory
		if !errors.Is(err, errSick) {
			t.Errorf("read: %v", err)
		}
	}
	swap.Store = memory
	if _, _, err := e.Entry(t.Context(), d.Entry+1); err == nil {
		t.Error("an entry that is not there")
	}
	c.Rules.Break(errSick)
	x, err := e.Explain(t.Context(), d.Entry)
	if err != nil || x[d.Entry].Derived {
		t.Errorf("without its policy it is derived: %+v %v", x[d.Entry], err)
	}
}

type swapped struct{ ledger.Store }

// TestExplainTellsWhatTheCommandDoesNotMake: an entry that somebody put into the log beside its command.
func TestExplainTellsWhatTheCommandDoesNotMake(t *testing.T) {
	memory := &ledgertest.Memory{}
	c := open(t, world.CoreOptions{Store: memory})
	a, b := launch(t, c, "canary"), launch(t, c, "canary")
	before := next(c)
	do(t, c, &authority.EndInstance{Instance: a.Instance})
	honest, _, err := c.Engine.Entry(t.Context(), before)
	if err != nil {
		t.Fatal(err)
	}
	c.Engine.Close()
	for name, forged := range map[string][]remit.Event{
		"another instance": {&remit.InstanceEnded{Instance: b.Instance}},
		"one entry more":   {honest.Event, &remit.InstanceEnded{Instance: b.Instance}},
	} {
		store := cut(t, memory, before)
		l := honest
		var entries [][]byte
		for _, ev := range forged {
			l.Event = ev
			leaf, err := ledger.Encode(l)
			if err != nil {
				t.Fatal(err)
			}
			entries, l.Command = append(entries, leaf), remit.Digest{}
		}
		p, err := memory.Payload(t.Context(), honest.Command)
		if err != nil {
			t.Fatal(err)
		}
		tree, head, err := ledger.OpenTree(t.Context(), store)
		if err != nil {
			t.Fatal(err)
		}
		grown, hashes := tree.Append(entries...)
		if err := store.Append(t.Context(), head, ledger.Batch{Entries: entries, Hashes: hashes, Payloads: []remit.Payload{p}, Next: grown.Head(head.Epoch)}); err != nil {
			t.Fatal(err)
		}
		e := open(t, world.CoreOptions{Store: store, Clock: c.Clock, Rules: c.Rules})
		x, err := e.Engine.Explain(t.Context(), before)
		if err != nil || x[before].Derived || x[before].Command == nil {
			t.Errorf("%s: %+v %v", name, x[before], err)
		}
	}
}

// cut is a copy of a log without what stands from an entry on.
func cut(t *testing.T, from ledger.Store, size remit.EntryIndex) *ledgertest.Memory {
	t.Helper()
	return copied(t, upTo{from, size})
}

type upTo struct {
	ledger.Store
	size remit.EntryIndex
}

func (u upTo) Read(ctx context.Context, from remit.EntryIndex) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		for e, err := range u.Store.Read(ctx, from) {
			if e.Index >= u.size || !yield(e, err) {
				return
			}
		}
	}
}

// TestAKillHoldsForAllThatRestsOnIt while the log cannot be written: claims of its approvals, launches, its launchers.
func TestAKillHoldsForAllThatRestsOnIt(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	coder := launch(t, c, "coder")
	req := world.Push(coder, "fix", "1", "deploy/prod.yaml")
	held := ask(t, c, req)
	if err := c.Vote(t.Context(), held.Access, "rio", true); err != nil {
		t.Fatal(err)
	}
	canary := launch(t, c, "canary")
	store.Fail(ledger.Refused(remit.NoSpace, "full"))
	kill := authority.Kill{By: "p-mia", What: "task", ID: coder.Task}
	coded(t, c.Engine.Kill(kill), remit.LedgerDown)
	coded(t, c.Engine.Kill(kill), remit.LedgerDown) // again: it takes one place in the file
	store.Fail(nil)
	if d := ask(t, c, world.Claim(held.Access, req)); d.Verdict != remit.Deny || d.Code != remit.NotLive {
		t.Errorf("a claim: %+v", d)
	}
	_, err := c.Launch(t.Context(), coder.Task, "coder", "mia")
	coded(t, err, remit.NotLive)
	allow(t, c, world.Ask(canary, "probe.read"))
	body, err := os.ReadFile(c.Config.Kills)
	if err != nil || strings.Count(string(body), string(coder.Task)) != 1 {
		t.Errorf("the file has it %d times, %v", strings.Count(string(body), string(coder.Task)), err)
	}
	// Draining stops at what the log does not take, and goes on when it does.
	store.Fail(ledger.Refused(remit.NoSpace, "full"))
	c.Engine.DrainKills()
	store.Fail(nil)
	if d := ask(t, c, world.Claim(held.Access, req)); d.Verdict != remit.Deny {
		t.Errorf("the kill is forgotten: %+v", d)
	}
	c.Engine.DrainKills()
	c.Engine.View(func(s *authority.State) {
		if s.Tasks[coder.Task].Status != remit.TaskKilled {
			t.Error("the kill was not recorded")
		}
	})
	check(t, c)
}

// TestAPendingKillOfWhoMayNoMoreIsTakenOffTheList: the rules have the last word on it, and what it held goes on.
func TestAPendingKillOfWhoMayNoMoreIsTakenOffTheList(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	caller := launch(t, c, "canary")
	store.Fail(ledger.Refused(remit.NoSpace, "full"))
	coded(t, c.Engine.Kill(authority.Kill{By: "p-bob", What: "agent", ID: "canary"}), remit.LedgerDown)
	store.Fail(nil)
	do(t, c, &authority.Kill{By: "p-ada", What: "person", ID: "p-bob"})
	c.Engine.DrainKills()
	allow(t, c, world.Ask(caller, "probe.read"))
	if body, err := os.ReadFile(c.Config.Kills); err != nil || strings.TrimSpace(string(body)) != "" {
		t.Errorf("the file has %q, %v", strings.TrimSpace(string(body)), err)
	}
}

// TestAPendingKillThatCannotBeDecidedHoldsUpNoOther: a rule that contradicts itself is no reason to keep what others did out
// of the log.
func TestAPendingKillThatCannotBeDecidedHoldsUpNoOther(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	bad, good := launch(t, c, "canary"), launch(t, c, "canary")
	c.Engine.Close()
	c = open(t, world.CoreOptions{Store: store, Clock: c.Clock, Rules: c.Rules})
	c.Engine.Faulty(func(e remit.Event) error {
		if end, ok := e.(*remit.TaskEnded); ok && end.Task == bad.Task {
			return errors.New("injected")
		}
		return nil
	})
	store.Fail(ledger.Refused(remit.NoSpace, "full"))
	for _, caller := range []remit.Caller{bad, good} {
		if err := c.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: caller.Task}); err == nil {
			t.Fatal("the log took it")
		}
	}
	store.Fail(nil)
	c.Engine.DrainKills()
	c.Engine.View(func(s *authority.State) {
		if s.Tasks[good.Task].Status != remit.TaskKilled {
			t.Error("a kill waits behind one that is never recorded")
		}
	})
	for _, caller := range []remit.Caller{bad, good} {
		if d := ask(t, c, world.Ask(caller, "probe.read")); d.Verdict != remit.Deny {
			t.Errorf("%+v", d)
		}
	}
}

// TestAKillIsToldToBeForgottenWhereItsFileCannotBeWritten.
func TestAKillIsToldToBeForgottenWhereItsFileCannotBeWritten(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	caller := launch(t, c, "canary")
	if err := os.Remove(c.Config.Kills); err != nil {
		t.Fatal(err)
	}
	store.Fail(ledger.Refused(remit.NoSpace, "full"))
	err := c.Engine.Kill(authority.Kill{By: "p-mia", What: "task", ID: caller.Task})
	coded(t, err, remit.LedgerDown)
	if !strings.Contains(err.Error(), "a restart would forget it") {
		t.Error(err)
	}
	if d := ask(t, c, world.Ask(caller, "probe.read")); d.Code != remit.NotLive {
		t.Errorf("it is not killed now: %+v", d)
	}
}

// TestAnOutcomeThatTheLogRefusesForGoodHoldsUpNoOther.
func TestAnOutcomeThatTheLogRefusesForGoodHoldsUpNoOther(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	caller := launch(t, c, "canary")
	a, b := redeem(t, c, allow(t, c, world.Ask(caller, "probe.read"))), redeem(t, c, allow(t, c, world.Ask(caller, "probe.read")))
	store.Fail(ledger.Refused(remit.NoSpace, "full"))
	for _, id := range []remit.Attempt{a, a, b} { // a second outcome of one attempt is refused
		coded(t, c.Engine.Record(t.Context(), id, remit.Done, "", []byte("made"), ""), remit.LedgerDown)
	}
	for range 2 {
		coded(t, c.Engine.Tick(t.Context()), remit.NoSpace) // kept, in order
	}
	store.Fail(nil)
	if err := c.Engine.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
	outcomes := map[remit.ID]int{}
	for _, i := range entries(t, c, 0) {
		if l, _, err := c.Engine.Entry(t.Context(), i); err != nil {
			t.Fatal(err)
		} else if r, ok := l.Event.(*remit.Recorded); ok {
			outcomes[r.Attempt]++
			if text, ok := c.Engine.Text(t.Context(), r.Receipt); !ok || string(text) != "made" {
				t.Errorf("the receipt of %s is %q", r.Attempt, text)
			}
		}
	}
	if fmt.Sprint(outcomes) != fmt.Sprint(map[remit.ID]int{a.ID: 1, b.ID: 1}) {
		t.Errorf("%v", outcomes)
	}
	check(t, c)
}

// TestWhoLaunchedAndIsKilledTakesTheStreamAlong, also where neither the task nor the agent is theirs any more, in the log
// and before it.
func TestWhoLaunchedAndIsKilledTakesTheStreamAlong(t *testing.T) {
	for _, logged := range []bool{true, false} {
		store := newGate(&ledgertest.Memory{})
		c := open(t, world.CoreOptions{Store: store})
		res := do(t, c, &authority.CreateTask{By: "p-noa", Agent: "canary"})
		streams := map[string]<-chan struct{}{}
		for _, by := range []string{"mia", "noa"} {
			caller, err := c.Launch(t.Context(), res.ID, "canary", by)
			if err != nil {
				t.Fatal(err)
			}
			streams[by] = c.Engine.Revoked(redeem(t, c, allow(t, c, world.Ask(caller, "probe.read"))).ID)
		}
		set := c.Set
		set.Agents = slices.Clone(set.Agents)
		set.Agents[0].Owner = "p-rio"
		if res := do(t, c, &authority.ApplySet{By: "p-ada", Set: set}); res.Decision.Verdict == remit.Hold {
			if err := c.Vote(t.Context(), res.Decision.Access, "bob", true); err != nil {
				t.Fatal(err)
			}
			do(t, c, &authority.ApplySet{By: "p-ada", Set: set, Access: res.Decision.Access})
		}
		if isClosed(streams["mia"]) || isClosed(streams["noa"]) {
			t.Fatal("cut too early")
		}
		if !logged {
			store.Fail(ledger.Refused(remit.NoSpace, "full"))
		}
		if err := c.Engine.Kill(authority.Kill{By: "p-ada", What: "person", ID: "p-mia"}); (err == nil) != logged {
			t.Fatal(err)
		}
		if !isClosed(streams["mia"]) {
			t.Errorf("logged %t: the stream of what the dead launched goes on", logged)
		}
		if isClosed(streams["noa"]) {
			t.Errorf("logged %t: another one's stream was cut", logged)
		}
	}
}

// TestWhileTheClockIsInDoubtOnlyTakingAwayWorks, of every command that there is.
func TestWhileTheClockIsInDoubtOnlyTakingAwayWorks(t *testing.T) {
	c := open(t, world.CoreOptions{})
	c.Clock.SetWall(c.Clock.Now().Add(time.Hour))
	for cmd, works := range map[authority.Command]bool{
		&authority.Kill{}: true, &authority.EndInstance{}: true, &authority.EndTask{}: true, &authority.Record{}: true, &authority.CountDenials{}: true,
		&authority.ConfirmClock{}: true, &authority.RecordFinding{}: true, &authority.Init{}: true,
		&authority.ChangeAgent{To: remit.AgentSuspended}: true, &authority.ChangeAgent{To: remit.AgentRetired}: true, &authority.ChangeAgent{To: remit.AgentActive}: false,
		&authority.ContainUpstream{}: true, &authority.ContainUpstream{Lift: true}: false, &authority.RecordScan{}: false,
		&authority.MoveLease{To: remit.LeaseRevoking}: true, &authority.MoveLease{To: remit.LeaseRevoked}: true, &authority.MoveLease{To: remit.LeaseExpired}: true,
		&authority.MoveLease{To: remit.LeaseQuarantined}: true, &authority.MoveLease{To: remit.LeaseActive}: false, &authority.MoveLease{To: remit.LeaseMinted}: false,
		&authority.MoveLease{To: remit.LeaseAnchored}: false,
		&authority.Authorize{}:                        false, &authority.Redeem{}: false, &authority.CreateTask{}: false, &authority.CreateChild{}: false, &authority.StartInstance{}: false,
		&authority.StartJob{}: false, &authority.ApplySet{}: false, &authority.OpenLease{}: false, &authority.AbandonLease{}: false, &authority.CastVote{}: false,
		&authority.Tick{}: false, &authority.ErasePayloads{}: false, &authority.StoreSecret{}: false, &authority.Restore{}: false, &authority.FillLost{}: false,
	} {
		_, err := c.Engine.Do(t.Context(), cmd)
		var e *remit.Error
		if doubted := errors.As(err, &e) && e.Code == remit.ClockInDoubt; doubted == works {
			t.Errorf("%T %+v: %v", cmd, cmd, err)
		}
	}
}

// TestARuleThatPanicsDeniesTheOneCommandThatMetIt: the writer goes on.
func TestARuleThatPanicsDeniesTheOneCommandThatMetIt(t *testing.T) {
	c := open(t, world.CoreOptions{})
	caller := launch(t, c, "canary")
	c.Set.Policy = c.Rules.Add(world.Rule{Name: "faulty", Says: func(f authority.Facts) authority.Finding {
		if f.Steps[0].Action == "probe.write" {
			panic("no such member")
		}
		return authority.Finding{Verdict: remit.Allow}
	}})
	do(t, c, &authority.ApplySet{By: "p-ada", Set: c.Set})
	before := next(c)
	_, err := c.Engine.Do(t.Context(), &authority.Authorize{Request: world.Ask(caller, "probe.write"), Hash: remit.Hash(nil)})
	coded(t, err, remit.Internal)
	if strings.Contains(err.Error(), "no such member") || next(c) != before {
		t.Errorf("%v, and %d entries", err, next(c)-before)
	}
	allow(t, c, world.Ask(caller, "probe.read"))
	check(t, c)
}

// TestAnotherWriterThatNeverRestsIsAnOverload, and what it wrote and cannot be read stops the engine.
func TestAnotherWriterThatNeverRestsIsAnOverload(t *testing.T) {
	memory := &ledgertest.Memory{}
	swap := &swapped{memory}
	fault := ledgertest.Works
	c := open(t, world.CoreOptions{Store: ledgertest.NewFaulty(swap, func() ledgertest.Fault { return fault })})
	caller := launch(t, c, "canary")
	fault = ledgertest.Moved
	_, err := c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.read"))
	coded(t, err, remit.Overload)
	fault = ledgertest.Works
	allow(t, c, world.Ask(caller, "probe.read"))
	fault, swap.Store = ledgertest.Moved, headless{memory, errSick}
	_, err = c.Engine.Authorize(t.Context(), world.Ask(caller, "probe.read"))
	coded(t, err, remit.LedgerDown)
	if !errors.Is(err, errSick) || c.Engine.Failed() == nil {
		t.Errorf("%v; it goes on over a log that it cannot read", err)
	}
}

// TestADeriverTakesOnlyWholeCommands.
func TestADeriverTakesOnlyWholeCommands(t *testing.T) {
	l := story(t)
	d := &engine.Deriver{Policies: l.rules}
	if err := d.Entry(t.Context(), 0, ledger.Leaf{At: l.leaves[0].At, Event: l.leaves[0].Event}); err == nil {
		t.Error("an entry without a command begins a log")
	}
	at := find(t, l, func(*remit.VoteCast) bool { return true })
	sick := l.leaves[at].Command
	d = &engine.Deriver{Policies: l.rules, Blob: func(remit.Digest) ([]byte, error) { return nil, nil }, Payload: func(c remit.Digest) ([]byte, error) {
		if c == sick {
			return nil, errSick
		}
		return l.payloads[c], nil
	}}
	var err error
	for i, leaf := range l.leaves {
		if err = d.Entry(t.Context(), remit.EntryIndex(i), leaf); err != nil {
			break
		}
	}
	if err == nil {
		_, err = d.Finish(t.Context())
	}
	if !errors.Is(err, errSick) {
		t.Errorf("a payload that cannot be read is a verdict: %v", err)
	}
	// A blob that is shorter than its salt is no command.
	l.payloads[l.leaves[at].Command] = fmt.Appendf(nil, `{"blob":%q}`, remit.Hash([]byte("x")))
	sick = remit.Digest{}
	*d = engine.Deriver{Policies: d.Policies, Payload: d.Payload, Blob: func(remit.Digest) ([]byte, error) { return []byte("x"), nil }}
	for i, leaf := range l.leaves[:at+1] {
		if err := d.Entry(t.Context(), remit.EntryIndex(i), leaf); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := d.Finish(t.Context()); err != nil || len(m.Wrong) != 1 || !strings.Contains(m.Wrong[0], "has 1 bytes") {
		t.Errorf("%+v %v", m, err)
	}
}

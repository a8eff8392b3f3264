package engine_test

import (
	"context"
	"errors"
	"fmt"
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

// words makes a payload of a text.
func words(t *testing.T, c *world.Core, text string) remit.Payload {
	t.Helper()
	p, err := c.Engine.NewPayload([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func there(t *testing.T, c *world.Core, d remit.Digest) bool {
	t.Helper()
	_, ok := c.Engine.Text(t.Context(), d)
	return ok
}

func entries(t *testing.T, c *world.Core, from remit.EntryIndex) (all []remit.EntryIndex) {
	t.Helper()
	for e, err := range c.Engine.Read(t.Context(), from) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e.Index)
	}
	return all
}

func next(c *world.Core) (n remit.EntryIndex) {
	c.Engine.View(func(s *authority.State) { n = s.Next })
	return n
}

func gather(t *testing.T, c *world.Core, all bool, at ...remit.EntryIndex) (*engine.Erasure, remit.Payload) {
	t.Helper()
	why := words(t, c, "asked for by the data subject")
	x := c.Engine.NewErasure(authority.ErasePayloads{By: "p-ada", What: "task", Reason: why.Commitment()})
	for _, i := range at {
		if err := x.Entry(t.Context(), i, all); err != nil {
			t.Fatal(err)
		}
	}
	return x, why
}

func blobs(t *testing.T, c *world.Core) (n int) {
	t.Helper()
	for _, err := range c.Config.Blobs.List(t.Context()) {
		if n++; err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// worked is a task that has ended, with words in everything that it did: a large push that was allowed, one that was
// held and refused, a receipt.
type worked struct {
	caller                remit.Caller
	from                  remit.EntryIndex
	intent, card, another remit.Payload
	pushed, held          remit.Decision
	brought               string
}

func work(t *testing.T, c *world.Core) (w worked) {
	t.Helper()
	w.from = next(c)
	w.intent, w.card, w.another = words(t, c, "fix what Jo Bloggs reported"), words(t, c, "+ jo@example.com"), words(t, c, "another task")
	task := func(intent remit.Payload) remit.Caller {
		res, err := c.Engine.Do(t.Context(), &authority.CreateTask{By: "p-mia", Agent: "coder", Intent: intent.Commitment()}, intent)
		if err != nil {
			t.Fatal(err)
		}
		caller, err := c.Launch(t.Context(), res.ID, "coder", "mia")
		if err != nil {
			t.Fatal(err)
		}
		return caller
	}
	w.caller = task(w.intent)
	var paths []string
	for i := range 2000 {
		paths = append(paths, fmt.Sprintf("people/jo-bloggs/file-%d.go", i))
	}
	push := world.Push(w.caller, "big", "1", paths...)
	w.brought = push.Refs[0].New
	push.Refs[0].Brought = []string{w.brought, w.brought}
	w.pushed = ask(t, c, push)
	attempt := redeem(t, c, w.pushed.Permit)
	if err := c.Engine.Record(t.Context(), attempt, remit.Done, "", []byte("remote: thanks, Jo"), ""); err != nil {
		t.Fatal(err)
	}
	held := world.Push(w.caller, "fix", "2", "deploy/prod.yaml")
	held.Card = w.card.Commitment()
	var err error
	if w.held, err = c.Engine.Authorize(t.Context(), held, w.card); err != nil || w.held.Verdict != remit.Hold {
		t.Fatalf("%+v %v", w.held, err)
	}
	if err := c.Vote(t.Context(), w.held.Access, "rio", false); err != nil {
		t.Fatal(err)
	}
	do(t, c, &authority.EndTask{By: "p-mia", Task: w.caller.Task, Status: remit.TaskCompleted})
	task(w.another)
	c.Clock.Advance(2 * time.Minute)
	return w
}

// own are the entries of the task that has ended.
func (w worked) own(t *testing.T, c *world.Core) (all []remit.EntryIndex) {
	t.Helper()
	for _, i := range entries(t, c, w.from) {
		l, _, err := c.Engine.Entry(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		if _, ended := l.Event.(*remit.TaskEnded); ended {
			return append(all, i)
		}
		all = append(all, i)
	}
	t.Fatal("the task has not ended")
	return nil
}

func alone(t *testing.T, c *world.Core) {
	t.Helper()
	do(t, c, &authority.Kill{By: "p-bob", What: "person", ID: "p-bob"})
}

func TestAnErasureTakesAllThatATaskSaidAndNothingElse(t *testing.T) {
	c := open(t, world.CoreOptions{})
	alone(t, c)
	w := work(t, c)
	at := w.own(t, c)
	x, why := gather(t, c, false, at...)
	if n := blobs(t, c); n != 1 || len(x.Command.Blobs) != 1 {
		t.Fatalf("%d blobs, of which %d go", n, len(x.Command.Blobs))
	}
	if !slices.Equal(x.Command.Tasks, []remit.ID{w.caller.Task}) {
		t.Errorf("it is of tasks %v", x.Command.Tasks)
	}
	if len(x.Requests) != 2 || x.Requests[0].Refs[0].New != w.brought {
		t.Errorf("%d requests go", len(x.Requests))
	}
	if b := x.Command.Brought; len(b) != 1 || b[0].Entry != w.pushed.Entry || b[0].Repo != world.App || !slices.Equal(b[0].Commits, []string{w.brought}) {
		t.Errorf("who brought the commits is forgotten: %+v", b)
	}
	for name, p := range map[string]remit.Payload{"intent": w.intent, "card": w.card} {
		if !slices.Contains(x.Command.Payloads, p.Commitment()) {
			t.Errorf("the %s stays", name)
		}
	}
	again := len(x.Command.Payloads)
	for _, i := range at {
		if err := x.Entry(t.Context(), i, false); err != nil || len(x.Command.Payloads) != again {
			t.Fatalf("entry %d is gathered twice: %v", i, err)
		}
	}
	state := encoded(c.Engine)
	if _, err := c.Engine.Erase(t.Context(), engine.Once{}, &x.Command, why); err != nil {
		t.Fatal(err)
	}
	if blobs(t, c) != 0 {
		t.Error("the blob stays")
	}
	for _, p := range x.Command.Payloads {
		if there(t, c, p) {
			t.Errorf("%s stays", p)
		}
	}
	if !there(t, c, w.another.Commitment()) || !there(t, c, why.Commitment()) {
		t.Error("the words of others are gone")
	}
	if bytesEqual := string(state) == string(encoded(c.Engine)); bytesEqual {
		t.Error("the state does not say what was erased")
	}
	// Nothing in the log tells of Jo any more, and every decision still stands.
	for _, i := range at {
		l, cmd, err := c.Engine.Entry(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		if _, a := cmd.(*authority.Authorize); a {
			t.Errorf("entry %d (%s) has its command", i, l.Event.Kind())
		}
	}
	m := check(t, c)
	if m.Bound == 0 || m.Bound != len(m.Erased[next(c)-1]) {
		t.Errorf("%d are bound: %v", m.Bound, m.Erased)
	}
	explained, err := c.Engine.Explain(t.Context(), w.pushed.Entry)
	if err != nil || explained[w.pushed.Entry].Derived || explained[w.pushed.Entry].Command != nil {
		t.Errorf("what is gone is explained: %+v %v", explained[w.pushed.Entry], err)
	}
	tried, err := c.Engine.Try(t.Context(), engine.Trial{Policy: world.Nothing})
	if err != nil || tried.Judged != 0 {
		t.Errorf("what is gone is judged again: %+v %v", tried, err)
	}
	// It is gone once.
	_, err = c.Engine.Erase(t.Context(), engine.Once{}, &x.Command, why)
	coded(t, err, remit.Conflict)
	if y, _ := gather(t, c, true, w.pushed.Entry); len(y.Command.Payloads) != 0 || len(y.Command.Entries) != 0 {
		t.Errorf("%+v", y.Command)
	}
}

// TestTheWholeOfAnEntryIsErasedOnRequest: also commands of ids and codes, which a task's erasure leaves.
func TestTheWholeOfAnEntryIsErasedOnRequest(t *testing.T) {
	c := open(t, world.CoreOptions{})
	w := work(t, c)
	ended := remit.EntryIndex(0)
	for _, i := range w.own(t, c) {
		if _, cmd, err := c.Engine.Entry(t.Context(), i); err != nil {
			t.Fatal(err)
		} else if _, is := cmd.(*authority.EndTask); is {
			ended = i
		}
	}
	l, _, err := c.Engine.Entry(t.Context(), ended)
	if err != nil || ended == 0 {
		t.Fatal(ended, err)
	}
	if x, _ := gather(t, c, false, ended); len(x.Command.Payloads) != 0 || len(x.Command.Entries) != 0 {
		t.Errorf("%+v", x.Command)
	}
	x, _ := gather(t, c, true, ended)
	if !slices.Equal(x.Command.Payloads, []remit.Digest{l.Command}) || !slices.Equal(x.Command.Entries, []remit.EntryIndex{ended}) {
		t.Errorf("%+v", x.Command)
	}
	if err := x.Entry(t.Context(), next(c), true); err == nil {
		t.Error("an entry that is not there")
	}
}

// TestAnErasureThatIsHeldTakesNothing: what waits for a second administrator is all there, blobs above all.
func TestAnErasureThatIsHeldTakesNothing(t *testing.T) {
	c := open(t, world.CoreOptions{})
	w := work(t, c)
	x, why := gather(t, c, false, w.own(t, c)...)
	res, err := c.Engine.Erase(t.Context(), engine.Once{}, &x.Command, why)
	if err != nil || res.Decision.Verdict != remit.Hold {
		t.Fatalf("%+v %v", res, err)
	}
	if blobs(t, c) != 1 || !there(t, c, w.intent.Commitment()) {
		t.Fatal("it did not wait")
	}
	x.Command.Access = res.Decision.Access
	if _, err := c.Engine.Erase(t.Context(), engine.Once{}, &x.Command); err == nil || blobs(t, c) != 1 {
		t.Fatalf("it did not wait: %v", err)
	}
	if err := c.Vote(t.Context(), res.Decision.Access, "bob", true); err != nil {
		t.Fatal(err)
	}
	if res, err := c.Engine.Erase(t.Context(), engine.Once{}, &x.Command); err != nil || res.Decision.Verdict != remit.Allow {
		t.Fatalf("%+v %v", res, err)
	}
	if blobs(t, c) != 0 || there(t, c, w.intent.Commitment()) {
		t.Error("what was approved was not done")
	}
	check(t, c)
}

// TestAnErasureOfWhatNeverWasHurtsNobodyElse: the store would refuse the whole group that it is in.
func TestAnErasureOfWhatNeverWasHurtsNobodyElse(t *testing.T) {
	store := newGate(&ledgertest.Memory{})
	c := open(t, world.CoreOptions{Store: store})
	alone(t, c)
	caller := launch(t, c, "canary")
	store.Shut()
	first := make(chan remit.Decision, 2)
	go func() { first <- ask(t, c, world.Ask(caller, "probe.read")) }()
	<-store.waiting
	go func() { first <- ask(t, c, world.Ask(caller, "probe.write")) }()
	queued(t, c, 1)
	_, err := c.Engine.Erase(t.Context(), engine.Once{}, &authority.ErasePayloads{By: "p-ada", What: "entry", Entries: []remit.EntryIndex{1},
		Payloads: []remit.Digest{remit.Hash([]byte("never"))}, Reason: remit.Hash([]byte("why"))})
	coded(t, err, remit.NotFound)
	store.Open()
	for range 2 {
		if d := <-first; d.Verdict != remit.Allow {
			t.Errorf("%+v", d)
		}
	}
}

// TestWhatCannotBeReadIsNotTakenForErased: an erasure of a log on a failing disk would leave out what it cannot see, and
// say that all is gone.
func TestWhatCannotBeReadIsNotTakenForErased(t *testing.T) {
	memory := &ledgertest.Memory{}
	c := open(t, world.CoreOptions{Store: memory})
	alone(t, c)
	w := work(t, c)
	at := w.own(t, c)
	c.Engine.Close()
	for name, sick := range map[string]remit.Digest{"the intent": w.intent.Commitment(), "the card": w.card.Commitment()} {
		cfg := c.Config
		cfg.Store = hides{memory, sick}
		e, err := engine.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		x := e.NewErasure(authority.ErasePayloads{By: "p-ada", What: "task"})
		for _, i := range at {
			if err = x.Entry(t.Context(), i, true); err != nil {
				break
			}
		}
		if !errors.Is(err, errSick) {
			t.Errorf("%s cannot be read: %v, and %d payloads would go", name, err, len(x.Command.Payloads))
		}
		e.Close()
	}
	// Nor where it is the command that cannot be read.
	l, _, err := c.Engine.Entry(t.Context(), w.pushed.Entry)
	if err != nil {
		t.Fatal(err)
	}
	cfg := c.Config
	cfg.Store = hides{memory, l.Command}
	e, err := engine.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if err := e.NewErasure(authority.ErasePayloads{}).Entry(t.Context(), w.pushed.Entry, true); !errors.Is(err, errSick) {
		t.Errorf("a command cannot be read, and the erasure leaves it out: %v", err)
	}
	if _, err := e.Explain(t.Context(), w.pushed.Entry); !errors.Is(err, errSick) {
		t.Errorf("a command cannot be read, and is explained as erased: %v", err)
	}
	if _, err := e.Try(t.Context(), engine.Trial{Policy: world.Nothing}); !errors.Is(err, errSick) {
		t.Errorf("a command cannot be read, and is left out: %v", err)
	}
}

var errSick = errors.New("input/output error")

// hides is a store that cannot read one payload.
type hides struct {
	ledger.Store
	payload remit.Digest
}

func (h hides) Payload(ctx context.Context, c remit.Digest) (remit.Payload, error) {
	if c == h.payload {
		return remit.Payload{}, errSick
	}
	return h.Store.Payload(ctx, c)
}

// TestEveryTextThatAnEntryCommitsToIsFound, whatever kind of entry it is.
func TestEveryTextThatAnEntryCommitsToIsFound(t *testing.T) {
	c := open(t, world.CoreOptions{})
	from := next(c)
	set := c.Set
	set.People, set.Agents, set.Upstreams, set.Environments = slices.Clone(set.People), slices.Clone(set.Agents), slices.Clone(set.Upstreams), slices.Clone(set.Environments)
	texts := map[string]remit.Payload{}
	text := func(name string) remit.Digest {
		texts[name] = words(t, c, name)
		return texts[name].Commitment()
	}
	tom := world.CorePerson("tom")
	tom.Name = text("a person's name")
	set.People = append(set.People, tom)
	set.Agents = append(set.Agents, remit.AgentDeclared{Name: "helper", Function: remit.FuncPlan, Owner: "p-mia", Requesters: []string{"devs"}, Text: text("an agent's purpose")})
	set.Upstreams = append(set.Upstreams, remit.UpstreamDeclared{Name: "k", Type: remit.KindCommand, Spec: text("an upstream")})
	set.Secrets = append(set.Secrets, remit.SecretDeclared{Name: "own/x", Zone: remit.ZoneBuild, Spec: text("a secret")})
	all := []remit.Payload{}
	for _, p := range texts {
		all = append(all, p)
	}
	res, err := c.Engine.Do(t.Context(), &authority.ApplySet{By: "p-ada", Set: set}, all...)
	if err == nil && res.Decision.Verdict == remit.Hold {
		if err = c.Vote(t.Context(), res.Decision.Access, "bob", true); err == nil {
			res, err = c.Engine.Do(t.Context(), &authority.ApplySet{By: "p-ada", Set: set, Access: res.Decision.Access}, all...)
		}
	}
	if err != nil || res.Decision.Verdict != remit.Allow {
		t.Fatalf("%+v %v", res.Decision, err)
	}
	w := work(t, c)
	texts["an intent"], texts["a card"] = w.intent, w.card
	x, _ := gather(t, c, false, entries(t, c, from)...)
	for name, p := range texts {
		if !slices.Contains(x.Command.Payloads, p.Commitment()) {
			t.Errorf("%s is not found", name)
		}
	}
	receipts := 0
	for _, i := range entries(t, c, from) {
		l, _, err := c.Engine.Entry(t.Context(), i)
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := l.Event.(*remit.Recorded); ok && !r.Receipt.IsZero() {
			if receipts++; !slices.Contains(x.Command.Payloads, r.Receipt) {
				t.Error("a receipt is not found")
			}
		}
	}
	if receipts == 0 {
		t.Error("there is no receipt")
	}
}

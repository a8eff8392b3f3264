package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
)

// moody is a policy that says something of some facts, by what they are: what it can see is the action, the ref and the
// paths.
func moody(seed uint64) world.Rule {
	return world.Rule{Name: fmt.Sprint("moody ", seed), Says: func(f authority.Facts) authority.Finding {
		h := fnv.New64a()
		fmt.Fprint(h, seed, f.Steps[0].Action, len(f.Steps[0].Paths))
		for _, p := range f.Steps[0].Paths {
			fmt.Fprint(h, p.Path)
		}
		out := authority.Finding{Verdict: remit.Allow}
		switch h.Sum64() % 5 {
		case 0:
			out = authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"mood"}, Sentence: "no"}
		case 1:
			out = authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Rules: []string{"mood"}, Sentence: "look", Votes: []remit.Need{{Group: "reviewers", N: 1}}}
		case 2:
			out.Observed = []remit.Observation{{Rule: "mood", Verdict: remit.Deny, Text: "t"}}
		}
		return out
	}}
}

// decisions are the verdicts of a log, by entry, of what a trial judges.
func decisions(t *testing.T, c *world.Core) (at []remit.EntryIndex, all map[remit.EntryIndex]remit.Verdict) {
	t.Helper()
	all = map[remit.EntryIndex]remit.Verdict{}
	for entry, err := range c.Config.Store.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Decode(entry.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		d, ok := l.Event.(*remit.Decided)
		if !ok {
			continue
		}
		_, cmd, err := c.Engine.Entry(t.Context(), entry.Index)
		if err != nil {
			t.Fatal(err)
		}
		if a, ok := cmd.(*authority.Authorize); ok && a.Request.Access == "" && !a.Request.Preview {
			at = append(at, entry.Index)
			all[entry.Index] = d.Verdict
		}
	}
	return at, all
}

// under is a core in which a policy is in force from the beginning.
func under(t *testing.T, rule world.Rule) *world.Core {
	t.Helper()
	c := open(t, world.CoreOptions{})
	c.Rules.Add(rule)
	set := c.Set
	set.Policy = rule.Digest()
	do(t, c, &authority.ApplySet{By: "p-ada", Set: set})
	c.Set.Policy = rule.Digest()
	return c
}

// TestATrialIsAsIfThePolicyHadBeenInForce: the same commands under policy A and under policy B, from the same beginning. Up
// to the first decision in which the two logs differ, a trial of B on the log of A says exactly what B's log says, that
// decision included; and a trial of what was in force says that nothing would have been otherwise.
func TestATrialIsAsIfThePolicyHadBeenInForce(t *testing.T) {
	diverged := 0
	for seed := range uint64(60) {
		a, b := moody(2*seed), moody(2*seed+1)
		ran, other := under(t, a), under(t, b)
		script(t, ran, seed)
		script(t, other, seed)
		own, err := ran.Engine.Try(t.Context(), engine.Trial{Policy: a})
		if err != nil || own.Different != 0 || own.Unjudged != 0 || own.Asked != own.WouldAsk {
			t.Fatalf("seed %d: a policy differs from itself: %+v %v", seed, own, err)
		}
		tried, err := ran.Engine.Try(t.Context(), engine.Trial{Policy: b, Samples: 5000})
		if err != nil {
			t.Fatal(err)
		}
		would := map[remit.EntryIndex]remit.Verdict{}
		at, was := decisions(t, ran)
		_, is := decisions(t, other)
		for _, i := range at {
			would[i] = was[i]
		}
		for _, d := range tried.Differences {
			if d.Was != was[d.Entry] {
				t.Fatalf("seed %d: entry %d was %s, not %s", seed, d.Entry, was[d.Entry], d.Was)
			}
			would[d.Entry] = d.Would
		}
		if tried.Judged != len(at) || len(tried.Differences) != tried.Different {
			t.Fatalf("seed %d: %d of %d judged, %d of %d differences", seed, tried.Judged, len(at), len(tried.Differences), tried.Different)
		}
		for _, i := range at {
			got, ok := is[i]
			if !ok || got != would[i] {
				t.Fatalf("seed %d: at entry %d a trial says %s, and under that policy it was %s (%v)", seed, i, would[i], got, ok)
			}
			if would[i] != was[i] {
				diverged++
				break // from here on the logs are of different histories
			}
		}
	}
	if diverged < 20 {
		t.Fatalf("only %d histories come to a difference", diverged)
	}
}

// script asks by a seed alone: what comes back does not change what is asked next.
func script(t *testing.T, c *world.Core, seed uint64) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 7))
	callers := []remit.Caller{launch(t, c, "coder"), launch(t, c, "canary")}
	for n := range 40 {
		caller := one(r, callers)
		paths := []string{"main.go", "deploy/prod.yaml", "go.mod", "README"}
		switch r.IntN(4) {
		case 0:
			ask(t, c, world.Ask(caller, one(r, []remit.Action{"probe.read", "probe.write", "probe.privileged", "probe.none"})))
		case 1, 2:
			ask(t, c, world.Push(caller, fmt.Sprint("b", n), fmt.Sprint(n), paths[:1+r.IntN(4)]...))
		case 3:
			c.Clock.Advance(time.Duration(r.IntN(3600)) * time.Second)
		}
	}
}

// TestATrialOfRandomHistoriesDecidesEachOnItsState: over histories in which everything happens, a trial says of each
// decision what deciding it anew on the state before it says, one after the other and without any shortcut.
func TestATrialOfRandomHistoriesDecidesEachOnItsState(t *testing.T) {
	different := 0
	for seed := range uint64(25) {
		c := open(t, world.CoreOptions{})
		run(t, c, 500+seed, 120)
		rule := moody(seed)
		tried, err := c.Engine.Try(t.Context(), engine.Trial{Policy: rule, Samples: 5000})
		if err != nil {
			t.Fatal(err)
		}
		want := slowly(t, c, rule)
		got := map[remit.EntryIndex]remit.Verdict{}
		for _, d := range tried.Differences {
			if d.Was != d.Would {
				got[d.Entry] = d.Would
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("seed %d: a trial says %v, one after the other it is %v", seed, got, want)
		}
		different += len(got)
		again, err := c.Engine.Try(t.Context(), engine.Trial{Set: &c.Set})
		if err != nil || again.Judged == 0 {
			t.Fatalf("seed %d: %+v %v", seed, again, err)
		}
	}
	if different < 50 {
		t.Fatalf("only %d decisions would be others", different)
	}
}

// slowly folds the log and decides each request again.
func slowly(t *testing.T, c *world.Core, rule world.Rule) map[remit.EntryIndex]remit.Verdict {
	t.Helper()
	out, s := map[remit.EntryIndex]remit.Verdict{}, authority.New()
	for entry, err := range c.Config.Store.Read(t.Context(), 0) {
		if err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Decode(entry.Leaf)
		if err != nil {
			t.Fatal(err)
		}
		if was, ok := l.Event.(*remit.Decided); ok {
			_, cmd, err := c.Engine.Entry(t.Context(), entry.Index)
			if err != nil {
				t.Fatal(err)
			}
			if a, ok := cmd.(*authority.Authorize); ok && a.Request.Access == "" && !a.Request.Preview {
				f := authority.FactsOf(s, a.Request, l.At.UnixNano())
				a.Judged = authority.NewJudged(f, s.Policy, rule.Judge(f))
				_, res, err := authority.Decide(s, l.At, a)
				if err != nil {
					t.Fatal(err)
				}
				if res.Decision.Verdict != was.Verdict {
					out[entry.Index] = res.Decision.Verdict
				}
			}
		}
		if err := authority.Apply(s, l.At.UnixNano(), l.Event); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// TestDeclarationsOnTrialAreAsIfTheyHadBeenInForce: as for a policy, with declarations that protect other paths, ask other
// people, and entitle to less.
func TestDeclarationsOnTrialAreAsIfTheyHadBeenInForce(t *testing.T) {
	diverged := 0
	for seed := range uint64(40) {
		ran, other := under(t, world.Nothing), under(t, world.Nothing)
		set := ran.Set
		set.Repositories, set.Agents = slices.Clone(set.Repositories), slices.Clone(set.Agents)
		switch seed % 4 {
		case 0:
			set.Repositories[0].Protected = []remit.Pattern{"deploy/**", "go.mod"}
		case 1:
			set.Repositories[0].Protected = nil
		case 2:
			set.Agents[0].Entitlements = []remit.Scope{{Actions: []remit.Action{"probe.read"}, Resources: []remit.Pattern{remit.Pattern(world.Canary)}}}
		case 3: // the task was begun, so it was not sealed then
			set.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 2}}
		}
		apply := func(c *world.Core, set authority.Set) {
			res := do(t, c, &authority.ApplySet{By: "p-ada", Set: set})
			if res.Decision.Verdict == remit.Hold {
				if err := c.Vote(t.Context(), res.Decision.Access, "bob", true); err != nil {
					t.Fatal(err)
				}
				do(t, c, &authority.ApplySet{By: "p-ada", Set: set, Access: res.Decision.Access})
			}
		}
		apply(other, set)
		script(t, ran, seed)
		script(t, other, seed)
		tried, err := ran.Engine.Try(t.Context(), engine.Trial{Set: &set, Samples: 5000})
		if err != nil {
			t.Fatal(err)
		}
		at, was := decisions(t, ran)
		last, is := decisions(t, other)
		would := map[remit.EntryIndex]remit.Verdict{}
		for _, d := range tried.Differences {
			would[d.Entry] = d.Would
		}
		for k, i := range at {
			w, otherwise := would[i]
			if !otherwise {
				w = was[i]
			}
			if k == len(last) || is[last[k]] != w {
				got := is[last[min(k, len(last)-1)]]
				t.Fatalf("seed %d: decision %d (entry %d) was %s, a trial says %s, and with those declarations it was %s", seed, k, i, was[i], w, got)
			}
			if w != was[i] {
				diverged++
				break
			}
		}
	}
	if diverged < 10 {
		t.Fatalf("only %d histories come to a difference", diverged)
	}
}

func TestATrialCountsQuestionsByGroupAndDay(t *testing.T) {
	c := open(t, world.CoreOptions{})
	caller := launch(t, c, "coder")
	day := c.Clock.Now().UTC().Format(time.DateOnly)
	ask(t, c, world.Push(caller, "a", "1", "deploy/x")) // asks the reviewers
	plain := world.Push(caller, "b", "2", "main.go")
	ask(t, c, plain)
	ask(t, c, plain) // the same once more: it would be the same question
	rule := world.Rule{Name: "look", Says: func(f authority.Facts) authority.Finding {
		if f.Steps[0].Action != "source.push" || len(f.Steps[0].Protected) > 0 {
			return authority.Finding{Verdict: remit.Allow}
		}
		return authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Rules: []string{"look"}, Sentence: "look", Votes: []remit.Need{{Group: "administrators", N: 1}, {Group: "reviewers", N: 1}}}
	}}
	got, err := c.Engine.Try(t.Context(), engine.Trial{Policy: rule, Samples: 1})
	want := []remit.TryQuestion{{Group: "administrators", Day: day, Would: 1}, {Group: "reviewers", Day: day, Was: 1, Would: 2}}
	if err != nil || !slices.Equal(got.Questions, want) || got.Asked != 1 || got.WouldAsk != 3 {
		t.Fatalf("%+v %v", got.Questions, err)
	}
	if got.Different != 2 || len(got.Differences) != 1 || !slices.Equal(got.Changes, []remit.TryChange{{Was: remit.Allow, Would: remit.Hold, Requests: 2}}) {
		t.Fatalf("%+v", got)
	}
	if by := (remit.TryShare{What: "rule", Name: "look", Was: remit.Allow, Would: remit.Hold, Requests: 2, Entry: got.Differences[0].Entry}); !slices.Contains(got.By, by) {
		t.Fatalf("%+v", got.By)
	}
	// Others are asked, with the same verdict.
	more := world.Rule{Name: "more", Says: func(f authority.Facts) authority.Finding {
		if len(f.Steps[0].Protected) == 0 {
			return authority.Finding{Verdict: remit.Allow}
		}
		return authority.Finding{Verdict: remit.Hold, Code: remit.PolicyHeld, Rules: []string{"more"}, Sentence: "look", Votes: []remit.Need{{Group: "administrators", N: 1}}}
	}}
	got, err = c.Engine.Try(t.Context(), engine.Trial{Policy: more})
	if err != nil || got.Different != 1 || len(got.Differences[0].Needs) != 2 || got.WouldAsk-got.Asked != 1 {
		t.Fatalf("%+v %v", got, err)
	}
}

func TestWhatIsErasedIsNeverCountedAsTheSame(t *testing.T) {
	c := open(t, world.CoreOptions{})
	w := work(t, c)
	before, err := c.Engine.Try(t.Context(), engine.Trial{Policy: world.Nothing})
	if err != nil || before.Unjudged != 0 {
		t.Fatalf("%+v %v", before, err)
	}
	hidden := c.Config
	l, _, err := c.Engine.Entry(t.Context(), w.pushed.Entry)
	if err != nil {
		t.Fatal(err)
	}
	hidden.Store = gone{hidden.Store, l.Command}
	e, err := engine.Open(t.Context(), hidden)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	after, err := e.Try(t.Context(), engine.Trial{Policy: world.Nothing})
	want := []remit.TryUnjudged{{Why: "erased", Requests: 1, Entry: w.pushed.Entry}}
	if err != nil || after.Judged != before.Judged-1 || after.Unjudged != 1 || !slices.Equal(after.NotJudged, want) {
		t.Fatalf("%+v %v", after, err)
	}
}

func TestAPolicyThatDoesNotAnswerIsGivenUp(t *testing.T) {
	c := open(t, world.CoreOptions{})
	caller := launch(t, c, "canary")
	for range 12 {
		c.Clock.Advance(time.Hour / 4)
		ask(t, c, world.Ask(caller, "probe.read"))
	}
	slow := world.Rule{Name: "slow", Says: func(authority.Facts) authority.Finding {
		return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyTimeout, Sentence: "too slow", Limit: true}
	}}
	_, err := c.Engine.Try(t.Context(), engine.Trial{Policy: slow})
	coded(t, err, remit.PolicyTimeout)
	once := world.Rule{Name: "once", Says: func(f authority.Facts) authority.Finding {
		if f.Minute%120 == 0 {
			return slow.Judge(f)
		}
		return authority.Finding{Verdict: remit.Allow}
	}}
	got, err := c.Engine.Try(t.Context(), engine.Trial{Policy: once})
	if err != nil || got.Different != 0 || got.Judged+got.Unjudged != 12 {
		t.Fatalf("what nobody answered is a verdict: %+v %v", got, err)
	}
}

func TestATrialIsTheSameEachTime(t *testing.T) {
	c := open(t, world.CoreOptions{})
	run(t, c, 900, 200)
	var first []byte
	for range 3 {
		got, err := c.Engine.Try(t.Context(), engine.Trial{Policy: moody(3)})
		if err != nil {
			t.Fatal(err)
		}
		b := fmt.Appendf(nil, "%+v", got)
		if first == nil {
			first = b
		}
		if !bytes.Equal(first, b) {
			t.Fatalf("%s\n%s", first, b)
		}
	}
	if _, err := c.Engine.Try(t.Context(), engine.Trial{Set: &authority.Set{}}); err == nil {
		t.Fatal("declarations without an administrator are tried")
	} else if e := new(remit.DeclarationError); !errors.As(err, &e) {
		t.Fatal(err)
	}
}

// gone is a store that has erased a payload.
type gone struct {
	ledger.Store
	payload remit.Digest
}

func (g gone) Payload(ctx context.Context, c remit.Digest) (remit.Payload, error) {
	if c == g.payload {
		return remit.Payload{}, ledger.ErrErased
	}
	return g.Store.Payload(ctx, c)
}

// choosy is a policy that says by itself of what it judges, and what of it.
type choosy struct{ world.Rule }

func (choosy) Judges(actions ...remit.Action) bool { return slices.Contains(actions, "source.push") }

func (choosy) Narrow(f authority.Facts) authority.Facts { return authority.Facts{Steps: f.Steps} }

func TestWhatATrialNeedNotReadChangesNothing(t *testing.T) {
	for seed := range uint64(12) {
		c := open(t, world.CoreOptions{})
		run(t, c, 700+seed, 150)
		mood := moody(seed)
		plain := world.Rule{Name: "pushes", Says: func(f authority.Facts) authority.Finding {
			if !slices.ContainsFunc(f.Steps, func(s authority.StepView) bool { return s.Action == "source.push" }) {
				return authority.Finding{Verdict: remit.Allow}
			}
			return mood.Judge(f)
		}}
		slow, err := c.Engine.Try(t.Context(), engine.Trial{Policy: plain})
		if err != nil {
			t.Fatal(err)
		}
		fast, err := c.Engine.Try(t.Context(), engine.Trial{Policy: choosy{plain}})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(slow, fast) {
			t.Fatalf("seed %d: all read %+v, what is needed read %+v", seed, slow, fast)
		}
	}
}

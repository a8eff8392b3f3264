package follow_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/follow"
)

// stock is what is known of a thing.
func stock(t *testing.T, f *follow.Follower, key string) (s follow.Seen) {
	t.Helper()
	if err := f.Inventory(t.Context(), func(v follow.Inventory) { s = v.Of(key) }); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestTheInventoryKnowsWhatCameAndWasUsed(t *testing.T) {
	l := newLog()
	first, second := remit.Scope{Actions: []remit.Action{"source.read"}, Resources: []remit.Pattern{"repo:forge/**"}}, remit.Scope{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/**"}}
	agent := l.add(t, &remit.AgentDeclared{Name: "coder", Owner: "p-ana", Entitlements: []remit.Scope{first}}, nil)
	repo := l.add(t, &remit.RepositoryDeclared{Name: "forge/shop", Effects: []remit.Effect{{Refs: "refs/heads/main", Causes: "build.trigger", On: "pipeline:shop/ci"}}}, nil)
	task := l.add(t, &remit.TaskCreated{ID: "T-2", Agent: "coder", Requester: "p-ana"}, nil)
	l.add(t, &remit.TaskCreated{ID: "T-3", Agent: "helper", Requester: "p-ana", Parent: "T-2", By: "I-9", Delegated: true}, nil)
	run := l.add(t, &remit.InstanceStarted{ID: "I-4", Task: "T-2", Agent: "coder", Launcher: "p-ben"}, nil)
	steps := []remit.StepFacts{{Step: remit.Step{Action: "source.push", Resource: "repo:forge/shop"}, Ref: "refs/heads/remit/T-2/fix"},
		{Step: remit.Step{Action: "build.trigger", Resource: "pipeline:shop/ci", Effect: true}, Ref: "refs/heads/remit/T-2/fix"}}
	l.now = l.now.Add(time.Hour)
	pushed := l.add(t, &remit.Decided{Verdict: remit.Allow, Agent: "coder", Task: "T-2", Instance: "I-4", Steps: steps}, nil)
	l.now = l.now.Add(time.Hour)
	denied := l.add(t, &remit.Decided{Verdict: remit.Deny, Agent: "coder", Task: "T-2", Instance: "I-4", Steps: steps}, nil)
	// What is delegated is done on the branches of who delegates, and carried out by an executor that names no agent.
	carried := l.add(t, &remit.Decided{Verdict: remit.Allow, Executor: "executor/source", Task: "T-3", Steps: steps[:1]}, nil)
	f := follow.New(l, nil)
	for key, want := range map[string]follow.Seen{
		"agent/coder":      {Created: agent, Last: denied},
		"agent/helper":     {Last: carried},
		"repo:forge/shop":  {Created: repo, Last: carried},
		"pipeline:shop/ci": {Created: repo, Last: pushed},
		"grant/T-2":        {Created: task, Last: denied},
		"instance/I-4":     {Created: run, Last: denied},
		"person/p-ben":     {Last: run},
		"person/p-ana":     {Last: task}, // T-3 was asked for by an instance
		"agent/nobody":     {},
	} {
		if got := stock(t, f, key); got.Created != want.Created || got.Last != want.Last || (got.Last != 0) != !got.LastAt.IsZero() {
			t.Errorf("%s: %+v, want %+v", key, got, want)
		}
	}
	ways := map[follow.Way]follow.Times{}
	if err := f.Inventory(t.Context(), func(v follow.Inventory) { v.Ways(func(w follow.Way, n follow.Times) { ways[w] = n }) }); err != nil {
		t.Fatal(err)
	}
	for agent, entry := range map[string]remit.EntryIndex{"coder": pushed, "helper": carried} {
		w := follow.Way{Agent: agent, Action: "source.push", Resource: "repo:forge/shop", Ref: "refs/heads/remit/{task}/fix"}
		if n := ways[w]; n.Count != 1 || n.First != entry || n.Last != entry || len(ways) != 2 {
			t.Errorf("%s: %+v of %+v", agent, n, ways)
		}
	}

	// What ends leaves; what is declared again under the same name is another thing; an entitlement that stays is as old as it was.
	since := func(sc remit.Scope) (s follow.Seen) {
		if err := f.Inventory(t.Context(), func(v follow.Inventory) { s = v.Entitlement("coder", sc) }); err != nil {
			t.Fatal(err)
		}
		return s
	}
	l.add(t, &remit.InstanceEnded{Instance: "I-4"}, nil)
	l.add(t, &remit.TaskEnded{Task: "T-2", Status: remit.TaskCompleted}, nil)
	l.add(t, &remit.Decided{Verdict: remit.Deny, Agent: "coder", Task: "T-2", Instance: "I-4", Steps: steps}, nil)
	l.add(t, &remit.Removed{What: "repository", Name: "forge/shop"}, nil)
	again := l.add(t, &remit.RepositoryDeclared{Name: "forge/shop"}, nil)
	widened := l.add(t, &remit.AgentDeclared{Name: "coder", Owner: "p-ana", Entitlements: []remit.Scope{second, first}}, nil)
	if got := stock(t, f, "instance/I-4"); got != (follow.Seen{}) {
		t.Errorf("an instance that ended: %+v", got)
	}
	if got := stock(t, f, "grant/T-2"); got != (follow.Seen{}) {
		t.Errorf("a grant that ended: %+v", got)
	}
	if got := stock(t, f, "repo:forge/shop"); got.Created != again || got.Last != 0 {
		t.Errorf("another repository: %+v", got)
	}
	if a, b := since(first), since(second); a.Created != agent || a.CreatedAt.IsZero() || b.Created != widened {
		t.Errorf("%+v %+v", a, b)
	}
	l.add(t, &remit.AgentDeclared{Name: "coder", Owner: "p-ana", Entitlements: []remit.Scope{second}}, nil)
	if a := since(first); a != (follow.Seen{}) {
		t.Errorf("an entitlement that went: %+v", a)
	}
}

// Where to begin to read is at most a day before the time that is asked about, and never after it.
func TestSinceIsAtMostADayBefore(t *testing.T) {
	l := newLog()
	begin := l.now
	var at []time.Time
	for i := range 200 {
		l.add(t, &remit.ClockConfirmed{}, nil)
		at = append(at, l.now)
		l.now = l.now.Add(time.Duration(1+i%9) * time.Hour)
	}
	f := follow.New(l, nil)
	for d := -time.Hour; d < 1100*time.Hour; d += 7 * time.Hour {
		want := begin.Add(d)
		from, err := f.Since(t.Context(), want)
		if err != nil {
			t.Fatal(err)
		}
		if from > 0 && at[from].After(want) {
			t.Fatalf("%s: entry %d is after it", d, from)
		}
		if int(from)+1 < len(at) && from > 0 && want.Sub(at[from]) > 48*time.Hour && at[len(at)-1].After(want) {
			t.Fatalf("%s: entry %d is %s before it", d, from, want.Sub(at[from]))
		}
	}
}

package server

import (
	"context"
	"fmt"
	"iter"
	"os"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/follow"
	"github.com/remit-dev/remit/ledger"
)

// decade is a log that is made while it is read: ten years in which many agents work on many repositories.
type decade struct {
	agents, entries int
}

var decadeBegan = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

func (d decade) scopes(agent int) (out []remit.Scope) {
	for _, a := range []remit.Action{"source.read", "source.push", "issue.read"} {
		out = append(out, remit.Scope{Actions: []remit.Action{a}, Resources: []remit.Pattern{remit.Pattern(fmt.Sprintf("repo:forge/team-%d/**", agent%100))}})
	}
	return out
}

func (d decade) event(i int) remit.Event {
	if i < d.agents {
		return &remit.AgentDeclared{Name: fmt.Sprint("agent-", i), Function: remit.FuncCode, Owner: "p-1", Entitlements: d.scopes(i)}
	}
	agent := i / 8 % d.agents
	task := remit.ID(fmt.Sprintf("T-%d", i-i%8))
	switch i % 8 {
	case 0:
		return &remit.TaskCreated{ID: task, Requester: "p-1", Agent: fmt.Sprint("agent-", agent)}
	case 7:
		return &remit.TaskEnded{Task: task, Status: remit.TaskCompleted}
	}
	step := remit.StepFacts{Step: remit.Step{Action: []remit.Action{"source.read", "source.push", "issue.read"}[i%3], Resource: remit.Resource(fmt.Sprintf("repo:forge/team-%d/r%d", agent%100, i/8/d.agents%40))}}
	if step.Step.Action == "source.push" {
		step.Ref = "refs/heads/remit/" + string(task) + "/x"
	}
	return &remit.Decided{Verdict: remit.Allow, Agent: fmt.Sprint("agent-", agent), Task: task, Steps: []remit.StepFacts{step}}
}

func (d decade) Read(_ context.Context, from remit.EntryIndex) iter.Seq2[ledger.Entry, error] {
	return func(yield func(ledger.Entry, error) bool) {
		step := 10 * 365 * 24 * time.Hour / time.Duration(d.entries)
		for i := int(from); i < d.entries; i++ {
			leaf, err := ledger.Encode(ledger.Leaf{At: decadeBegan.Add(time.Duration(i) * step), Event: d.event(i)})
			if !yield(ledger.Entry{Index: remit.EntryIndex(i), Leaf: leaf}, err) {
				return
			}
		}
	}
}

func (decade) Changed() <-chan struct{} { return nil }

func (decade) Command(context.Context, remit.Digest) (authority.Command, error) {
	return nil, ledger.ErrErased
}

func (decade) Text(context.Context, remit.Digest) ([]byte, bool) { return nil, false }

// BenchmarkInventoryOfTenYears folds ten years of the log of 5,000 agents, 1,000,000 entries (a part of it without
// REMIT_BENCH=full), and looks up when each of their 15,000 entitlements was used last. It reports the ratio of folding to
// reading, and the time of a look-up, during which nothing is folded.
func BenchmarkInventoryOfTenYears(b *testing.B) {
	d := decade{200, 20_000}
	if os.Getenv("REMIT_BENCH") == "full" {
		d = decade{5_000, 1_000_000}
	}
	for b.Loop() {
		start := time.Now()
		for e, err := range d.Read(b.Context(), 0) {
			if err != nil {
				b.Fatal(err)
			}
			if _, err := ledger.Decode(e.Leaf); err != nil {
				b.Fatal(err)
			}
		}
		read := time.Since(start)
		f := follow.New(d, nil)
		start = time.Now()
		if err := f.CatchUp(b.Context()); err != nil {
			b.Fatal(err)
		}
		folded := time.Since(start)
		t := &stock{used: map[remit.Resource]follow.Seen{}}
		for n := range d.agents {
			for k, sc := range d.scopes(n) {
				t.given = append(t.given, given{fmt.Sprint("agent-", n), sc, authority.Entitled([]remit.Scope{sc}), len(t.assets)})
				t.add("", remit.Asset{Kind: "entitlement", Name: fmt.Sprintf("agent-%d/%d", n, k+1)})
			}
		}
		ways := 0
		start = time.Now()
		if err := f.Inventory(b.Context(), func(v follow.Inventory) {
			t.look(v)
			v.Ways(func(follow.Way, follow.Times) { ways++ })
		}); err != nil {
			b.Fatal(err)
		}
		looked := time.Since(start)
		used := 0
		for _, x := range t.assets {
			if x.Last > 0 {
				used++
			}
		}
		if used < len(t.assets)/2 {
			b.Fatalf("%d of %d entitlements were used", used, len(t.assets))
		}
		b.ReportMetric(float64(folded)/float64(read), "ratio-fold")
		b.ReportMetric(float64(looked.Milliseconds()), "ms-look")
		b.ReportMetric(float64(ways), "ways")
	}
}

package authority_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// advice is r, asked by an enforcement point that is not Remit's.
func advice(r remit.Request) remit.Request { r.Advice = true; return r }

func TestAdvice(t *testing.T) {
	each(t, remit.Team, []row{
		{"an allow opens nothing, and is recorded", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			d := w.ask(advice(push(c, branch(c, "work"), "1", "src/a.go")))
			e := w.log[d.Entry].event.(*remit.Decided)
			if d.Verdict != remit.Allow || d.Permit.ID != "" || !e.Advice || e.Permit != "" || len(w.s.Permits) != 0 {
				t.Fatalf("%+v, %+v", d, e)
			}
			if e.Effect.IsZero() || w.s.Tasks[c.Task].Used.Decisions != 1 || w.s.Tasks[c.Task].Used.Bytes != 0 || len(w.s.Pushes) != 0 {
				t.Fatalf("it says what was asked, counts as a decision, and nothing was pushed: %+v", w.s.Tasks[c.Task].Used)
			}
		}},
		{"a hold asks nobody and lets nobody into a closure", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			before := len(w.s.Tasks[c.Task].Closure)
			d := w.ask(advice(push(c, branch(c, "work"), "1", ".github/workflows/ci.yml")))
			e := w.log[d.Entry].event.(*remit.Decided)
			if d.Verdict != remit.Hold || d.Access != "" || e.Access != "" || len(w.s.Accesses) != 0 || len(e.Closure) != 0 || len(w.s.Tasks[c.Task].Closure) != before {
				t.Fatalf("%+v, %+v", d, e)
			}
		}},
		{"what is denied is denied", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			w.deny(advice(push(c, "refs/heads/main", "1", "src/a.go")), remit.RefOutOfScope, "refs/heads/main")
		}},
		{"it does not take the place of what waits", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id := w.hold(push(c, branch(c, "work"), "1", ".github/workflows/ci.yml"), remit.PathProtected)
			w.ask(advice(push(c, branch(c, "work"), "2", "src/a.go")))
			w.status(id, remit.AccessOpen, "")
		}},
		{"an approval is not claimed by it", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "work"), "1", ".github/workflows/ci.yml")
			id := w.hold(r, remit.PathProtected)
			w.vote(id, "noa", soft("noa"), true)
			d := w.ask(advice(w.claim(id, r)))
			if d.Verdict != remit.Deny || d.Permit.ID != "" {
				t.Fatalf("%+v", d)
			}
		}},
	})
}

// TestSizesAreThoseOfTheLedger measures each kind of event against the encoding that the log writes.
func TestSizesAreThoseOfTheLedger(t *testing.T) {
	long := make([]remit.EntryIndex, 300)
	for i := range long {
		long[i] = remit.EntryIndex(i * i * i * i)
	}
	for _, e := range []remit.Event{
		&remit.Decided{},
		&remit.Decided{Verdict: remit.Deny, Gateway: "git", Advice: true, Bytes: -70000, Rules: []string{"R1", "a longer name"}, Closure: []remit.ID{"p-1"},
			Steps: []remit.StepFacts{{Ref: "refs/heads/x", Old: make([]byte, 20), Pushers: long, Step: remit.Step{Action: "source.push", Resource: "repo:a/b"}}}},
		&remit.Genesis{Org: "acme", Admins: []remit.ID{"p-1", "p-2"}},
		&remit.RepositoryDeclared{Name: "forge/payments", Effects: []remit.Effect{{Secrets: "none"}}},
		&remit.InstanceStarted{Ungoverned: []string{"AWS_SECRET_ACCESS_KEY"}},
	} {
		leaf, err := ledger.Encode(ledger.Leaf{At: time.Unix(1, 0), Event: e})
		if err != nil {
			t.Fatal(err)
		}
		empty, _ := remit.NewEvent(e.Kind())
		least, err := ledger.Encode(ledger.Leaf{At: time.Unix(1, 0), Event: empty})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := authority.SizeOf(e)-authority.SizeOf(empty), len(leaf)-len(least); got < want || got > want+8 {
			t.Errorf("%s: %d bytes more than the empty one, and the log takes %d", e.Kind(), got, want)
		}
	}
}

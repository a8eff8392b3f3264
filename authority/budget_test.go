package authority_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestPeopleAreNotAskedAllDay(t *testing.T) {
	limited := func(most, hours int) func(*authority.Set) {
		return func(s *authority.Set) { s.Groups[2].Asks = remit.Asks{Most: most, Hours: hours} } // reviewers
	}
	asks := func(w *world) remit.Request {
		w.t.Helper()
		c := w.task("coder", "p-mia")
		return push(c, branch(c, "x"), "1", workflow)
	}
	each(t, remit.Team, []row{
		{"so often in so many hours, whichever task asks", func(t *testing.T, w *world) {
			w.apply(limited(2, 1))
			w.hold(asks(w), remit.PathProtected)
			w.later(30 * time.Minute)
			w.hold(asks(w), remit.PathProtected)
			w.deny(asks(w), remit.HoldBudget, "reviewers was asked 2 times within 1 hours")
			w.later(30*time.Minute - time.Second)
			w.deny(asks(w), remit.HoldBudget, "one plan")
			w.later(time.Second)
			w.hold(asks(w), remit.PathProtected)
			w.deny(asks(w), remit.HoldBudget, "")
		}},
		{"the same request again is answered as before", func(t *testing.T, w *world) {
			w.apply(limited(1, 1))
			r := asks(w)
			id := w.hold(r, remit.PathProtected)
			if again := w.hold(r, remit.PathProtected); again != id {
				t.Error("it is another request")
			}
		}},
		{"votes that come with it ask nobody again", func(t *testing.T, w *world) {
			w.apply(limited(1, 1))
			r := asks(w)
			r.Refs[0].Op = remit.RefUpdate
			id := w.hold(r, remit.PathProtected)
			r.Refs[0].New, r.Refs[0].Op = oid("2"), remit.RefForce // the same change on another base
			if again := w.hold(r, remit.PathProtected); again == id || !w.s.Accesses[again].Carried {
				t.Error("it is the same request, or its votes did not come with it")
			}
			w.deny(asks(w), remit.HoldBudget, "was asked 1 times")
		}},
		{"where no limit is declared there is none", func(t *testing.T, w *world) {
			for range 5 {
				w.hold(asks(w), remit.PathProtected)
			}
			w.apply(limited(5, 1))
			w.hold(asks(w), remit.PathProtected)
			w.apply(limited(0, 0))
			for range 5 {
				w.hold(asks(w), remit.PathProtected)
			}
		}},
		{"administrators decide on Remit itself however often", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.Groups[0].Asks = remit.Asks{Most: 1, Hours: 24} })
			for i := range 3 {
				w.apply(func(s *authority.Set) { s.Environments[1].Approvers = []remit.Need{{Group: "release", N: 1 + i%2}} })
			}
			// A task has not asked them yet: docs names nobody who decides on it.
			w.hold(mergeOf(w.task("merger", "p-mia"), docs, "1", "src/a"), remit.ImpactHeld, remit.Need{Group: remit.Administrators, N: 1})
			w.deny(mergeOf(w.task("merger", "p-mia"), docs, "2", "src/a"), remit.HoldBudget, "")
		}},
		{"a limit is one", func(t *testing.T, w *world) {
			for _, a := range []remit.Asks{{Most: 1}, {Hours: 1}, {Most: 1001, Hours: 1}, {Most: 1, Hours: 169}, {Most: -1, Hours: 1}} {
				s := clone(w.set)
				s.Groups[2].Asks = a
				if _, err := authority.Diff(w.s, &s); err == nil {
					t.Errorf("%+v is a limit", a)
				}
			}
		}},
	})
}

// TestWhoWasAskedHowOften: each person for themselves, whichever group and task asks.
func TestWhoWasAskedHowOften(t *testing.T) {
	w := newWorld(t, remit.Team)
	asks := func(by remit.ID) remit.ID {
		c := w.task("coder", by)
		return w.hold(push(c, branch(c, "x"), "1", workflow), remit.PathProtected)
	}
	count := func(of remit.ID) authority.Asked {
		return w.s.AskedSince(w.now.Add(-24*time.Hour).UnixNano(), w.now.UnixNano())[of]
	}
	asks("p-mia")
	id := asks("p-noa") // who has a part in it is not asked
	w.vote(id, "tom", touch("tom"), false)
	for p, want := range map[remit.ID]authority.Asked{"p-tom": {Asked: 2, Voted: 1, Waits: 1}, "p-rio": {Asked: 2, Waits: 1}, "p-noa": {Asked: 1, Waits: 1}, "p-mia": {}, "p-ada": {}} {
		if got := count(p); got != want {
			t.Errorf("%s: %+v; want %+v", p, got, want)
		}
	}
	w.later(24*time.Hour + time.Second)
	asks("p-mia")
	if got := count("p-tom"); got != (authority.Asked{Asked: 1, Waits: 1}) {
		t.Errorf("a day later: %+v", got)
	}
	w.apply(func(s *authority.Set) { s.Environments[1].Approvers = []remit.Need{{Group: "release", N: 1}} }) // of no task
	c := w.task("coder", "p-mia")
	r := push(c, branch(c, "y"), "1", workflow)
	r.Refs[0].Op = remit.RefUpdate
	w.hold(r, remit.PathProtected)
	r.Refs[0].New, r.Refs[0].Op = oid("2"), remit.RefForce // its votes come with it
	w.hold(r, remit.PathProtected)
	if got := count("p-tom"); got.Asked != 2 {
		t.Errorf("what asks nobody again is counted: %+v", got)
	}
	w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-tom"})
	if got := count("p-tom"); got.Asked != 0 {
		t.Errorf("who has left was asked: %+v", got)
	}
}

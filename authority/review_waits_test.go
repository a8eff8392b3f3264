package authority_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Who may keep items is pointed to them, and to what ends first; nobody else is, and nobody for what was answered or is over.
func TestWhoIsPointedToReviews(t *testing.T) {
	w := reviewed(t, settings(func(r *remit.ReviewsDeclared) { r.Micro = []string{remit.CauseWide} }))
	wide := remit.Scope{Actions: []remit.Action{"source.read"}, Resources: []remit.Pattern{"repo:forge/acme/docs/**"}}
	w.apply(func(s *authority.Set) { s.Agents[0].Entitlements = append(s.Agents[0].Entitlements, wide) })
	w.later(time.Hour).steps() // it has a week, and the campaign two
	mine := 0
	var ends int64
	for _, x := range w.open() {
		if w.s.MayAnswer(x.ID, "p-mia", remit.Keep, w.now.UnixNano()) == "" {
			if mine++; ends == 0 || x.Deadline < ends {
				ends = x.Deadline
			}
		}
	}
	n, first := w.s.ReviewsFor("p-mia", w.now.UnixNano())
	if mine < 2 || n != mine || first != ends || first != w.now.Add(7*day).UnixNano() {
		t.Errorf("mia is pointed to %d, the first at %s; %d are hers, the first at %s", n, time.Unix(0, first).UTC(), mine, time.Unix(0, ends).UTC())
	}
	for _, p := range []remit.ID{"p-sam", "p-nobody", "coder"} {
		if n, _ := w.s.ReviewsFor(p, w.now.UnixNano()); n != 0 {
			t.Errorf("%s is pointed to %d", p, n)
		}
	}
	x := w.about("coder", "source.push")
	w.must(w.answer("mia", soft("mia"), remit.Keep, x))
	if n, _ := w.s.ReviewsFor("p-mia", w.now.UnixNano()); n != mine-1 {
		t.Errorf("after one answer of %d mia is pointed to %d", mine, n)
	}
	w.until(w.now.Add(20*day), 12*time.Hour)
	if n, _ := w.s.ReviewsFor("p-mia", w.now.UnixNano()); n != 0 {
		t.Errorf("when all is over, mia is pointed to %d", n)
	}
}

// The server goes down while a run is opening, and comes back after the run's deadline: what it asks about then, people have the
// whole time for.
func TestWhoIsAskedLateHasTheWholeTime(t *testing.T) {
	w := agreed(t, remit.Team, quarterly())
	w.must(&authority.OpenRun{By: "p-ada", Campaign: "quarterly"})
	w.later(15 * day).steps()
	if n := len(w.open()); n == 0 || w.kinds("review.removed") != 0 {
		t.Fatalf("%d items are open, and %d are removed", n, w.kinds("review.removed"))
	}
	for _, x := range w.open() {
		if x.Deadline != w.now.Add(14*day).UnixNano() {
			t.Errorf("item %s ends %s", x.ID, time.Unix(0, x.Deadline).UTC())
		}
	}
	w.replay()
}

// A run is opening as long as there is somebody of whom it has still to ask something, and no longer.
func TestARunIsOpeningUntilAllAreAsked(t *testing.T) {
	w := agreed(t, remit.Team, quarterly())
	run := w.must(&authority.OpenRun{By: "p-ada", Campaign: "quarterly"}).ID
	r := w.s.Runs[run]
	if !w.s.Opening(run) || len(r.Pending) == 0 {
		t.Fatalf("a run that was just opened asks %v, and is not opening", r.Pending)
	}
	last := r.Pending[len(r.Pending)-1]
	w.must(&authority.ChangeAgent{By: "p-ada", Agent: last, To: remit.AgentRetired})
	w.steps()
	if len(r.Pending) != 1 || r.Open == 0 || w.s.Opening(run) || w.s.Opening("C-none") {
		t.Fatalf("%v wait to be asked, %d items are open, and the run is opening: %t", r.Pending, r.Open, w.s.Opening(run))
	}
}

package authority_test

import (
	"slices"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestGoodReleases(t *testing.T) {
	run := func(name string, f func(w *world)) {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			f(w)
			w.replay()
		})
	}
	to := func(w *world, name string) remit.Request {
		return back(w.deployment(w.task("pilot", "p-mia"), staging, built(name)))
	}
	good := func(w *world, want ...remit.EntryIndex) {
		w.t.Helper()
		var got []remit.EntryIndex
		for _, r := range w.s.GoodReleases("payments/staging") {
			got = append(got, r.Entry)
		}
		if !slices.Equal(got, want) {
			w.t.Fatalf("the releases in entries %v are good, not %v", got, want)
		}
	}
	for _, o := range []remit.Outcome{remit.Ambiguous, remit.AfterRevocation} {
		run("a rollback that is "+string(o)+" takes nothing away: what was there is a way back", func(w *world) {
			a, b := w.ship(staging, remit.Done, built("a")), w.ship(staging, remit.Done, built("b"))
			w.released(to(w, "a"), o, "rio")
			good(w, a, b)
			w.hold(to(w, "b"), remit.ImpactHeld)
		})
	}
	run("a rollback takes away what it takes the place of, and not what lies between", func(w *world) {
		a, b := w.ship(staging, remit.Done, built("a")), w.ship(staging, remit.Done, built("b"))
		w.ship(staging, remit.Done, built("c"))
		again := w.released(to(w, "a"), remit.Done, "rio")
		good(w, a, b, again)
		w.hold(to(w, "b"), remit.ImpactHeld)
		w.deny(to(w, "c"), remit.RollbackUnknown, "")
	})
	run("what was released twice is taken away twice, and is good again when it is released again", func(w *world) {
		z := w.ship(staging, remit.Done, built("z"))
		w.ship(staging, remit.Done, built("a"))
		w.ship(staging, remit.Done, built("a"))
		again := w.released(to(w, "z"), remit.Done, "rio")
		good(w, z, again)
		w.deny(to(w, "a"), remit.RollbackUnknown, "")
		a := w.ship(staging, remit.Done, built("a"))
		good(w, z, again, a)
	})
	run("a rollback to the same artifacts, out of the unclear, says nothing against them", func(w *world) {
		a := w.ship(staging, remit.Done, built("a"))
		w.ship(staging, remit.Ambiguous, built("b"))
		again := w.released(to(w, "a"), remit.Done, "rio")
		good(w, a, again)
	})
}

// A declaration of anything but artifacts is refused where it is applied; a log that has one all the same opens nothing.
func TestForeseenIsPublishing(t *testing.T) {
	w := supplied(t)
	repo := w.s.Repositories["forge/acme/payments"].RepositoryDeclared
	repo.Artifacts = []remit.Pattern{"artifact:oci/acme/*", "environment:payments/*"}
	w.happen(&repo)
	task := func(agent string) caller {
		e := &remit.TaskCreated{ID: remit.ID("T-" + agent), Requester: "p-mia", Agent: agent, Grant: w.s.Agents[agent].Entitlements,
			Deadline: w.now.Add(authority.TaskDefault).UnixNano(), Inputs: []remit.Input{{Resource: payments, ID: oid("1")}}}
		w.happen(e)
		return w.launch(e.ID, agent, "p-mia")
	}
	w.allow(publish(task("builder"), built("a")))
	w.hold(w.deployment(task("pilot"), staging, built("a")), remit.ImpactHeld)
}

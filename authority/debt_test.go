package authority_test

import (
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestLeasesToEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		path []remit.LeaseStatus
		then func(w *world, l remit.ID, c caller)
		want bool
	}{
		{"one that works does not", []remit.LeaseStatus{remit.LeaseMinted, remit.LeaseActive}, func(w *world, l remit.ID, _ caller) {
			w.must(&authority.Record{Attempt: w.s.Leases[l].Attempt, Outcome: remit.Done}) // later attempts of the task share it
		}, false},
		{"one that is being made does not", nil, func(*world, remit.ID, caller) {}, false},
		{"one that was being made for an attempt that is gone", []remit.LeaseStatus{remit.LeaseMinted}, func(w *world, l remit.ID, _ caller) {
			w.must(&authority.Record{Attempt: w.s.Leases[l].Attempt, Outcome: remit.NotApplied})
		}, true},
		{"one whose task was killed", []remit.LeaseStatus{remit.LeaseMinted, remit.LeaseActive}, func(w *world, _ remit.ID, c caller) {
			w.must(&authority.Kill{By: "p-ada", What: "task", ID: c.Task})
		}, true},
		{"one whose agent expires, before a tick says so", []remit.LeaseStatus{remit.LeaseMinted, remit.LeaseActive}, func(w *world, _ remit.ID, _ caller) {
			w.apply(func(s *authority.Set) { s.Agents[4].Expires = w.now.Unix() + 60 })
			w.later(2 * time.Minute)
		}, true},
		{"one whose time is over", []remit.LeaseStatus{remit.LeaseMinted, remit.LeaseActive}, func(w *world, _ remit.ID, _ caller) { w.later(time.Hour) }, true},
		{"one whose time is nearly over does not", []remit.LeaseStatus{remit.LeaseMinted, remit.LeaseActive}, func(w *world, _ remit.ID, _ caller) { w.later(time.Hour - 1) }, false},
		{"one that ends earlier, says its upstream", nil, func(w *world, l remit.ID, _ caller) {
			w.must(&authority.MoveLease{Lease: l, To: remit.LeaseMinted, NotAfter: w.now.Add(time.Minute).UnixNano()})
			w.move(l, remit.LeaseActive)
			w.later(time.Minute)
		}, true},
		{"one that is quarantined", []remit.LeaseStatus{remit.LeaseMinted, remit.LeaseQuarantined}, func(*world, remit.ID, caller) {}, true},
		{"one that is being revoked", []remit.LeaseStatus{remit.LeaseRevoking}, func(*world, remit.ID, caller) {}, true},
		{"one whose upstream is no longer declared", []remit.LeaseStatus{remit.LeaseMinted, remit.LeaseActive}, func(w *world, _ remit.ID, _ caller) {
			w.apply(func(s *authority.Set) { s.Upstreams = append(slicesOf(s.Upstreams[:1]), s.Upstreams[2:]...) })
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := supplied(t)
			l, by := w.lease(nil, c.path...)
			c.then(w, l, by)
			if got := slices.Contains(w.s.LeasesToEnd(w.now.UnixNano()), l); got != c.want {
				t.Fatal(got)
			}
			w.replay()
		})
	}
}

func TestDebt(t *testing.T) {
	bounded := func(o *authority.OpenLease) { o.Revocation, o.Bound = remit.RevokeBounded, int64(time.Minute) }
	expiring := func(o *authority.OpenLease) { o.Revocation = remit.RevokeExpiry }
	at := func(w *world) int64 { return w.now.UnixNano() }
	none := func(w *world) {
		w.t.Helper()
		if got := w.s.Debt(at(w)); len(got) > 0 {
			w.t.Fatalf("%+v", got)
		}
	}
	owes := func(w *world, l remit.ID, since, until int64) {
		w.t.Helper()
		got := w.s.Debt(at(w))
		if len(got) != 1 || got[0].Lease != l || got[0].Since != since || got[0].Until != until || got[0].Upstream != "oci" || got[0].Target != image || got[0].Task != w.s.Leases[l].Task || got[0].Tries != w.s.Leases[l].Tries {
			w.t.Fatalf("%+v; want since %d until %d", got, since, until)
		}
	}
	run := func(name string, f func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) { f(t, supplied(t)) })
	}
	run("what ends at once is due at once", func(t *testing.T, w *world) {
		l, _ := w.lease(nil, remit.LeaseMinted, remit.LeaseActive)
		w.later(time.Hour - 1)
		none(w)
		w.later(-time.Minute)
		w.must(&authority.MoveLease{Lease: l, To: remit.LeaseRevoking, Tries: 2})
		owes(w, l, at(w), 0)
		since := at(w)
		w.later(2 * time.Hour)
		owes(w, l, since, 0)
		w.move(l, remit.LeaseRevoked)
		none(w)
	})
	run("a bound counts from when its end began, with its task's at the latest", func(t *testing.T, w *world) {
		l, c := w.lease(bounded, remit.LeaseMinted, remit.LeaseActive)
		w.later(time.Minute)
		w.must(&authority.Kill{By: "p-ada", What: "task", ID: c.Task})
		began := at(w)
		w.later(time.Minute - 1)
		none(w)
		w.later(1)
		owes(w, l, began+int64(time.Minute), 0)
		w.must(&authority.MoveLease{Lease: l, To: remit.LeaseRevoking})
		owes(w, l, began+int64(time.Minute), 0)
	})
	run("the end of a task is that of its own leases", func(t *testing.T, w *world) {
		l, c := w.lease(bounded, remit.LeaseMinted, remit.LeaseActive)
		other, _ := w.lease(bounded, remit.LeaseMinted, remit.LeaseActive)
		w.must(&authority.Kill{By: "p-ada", What: "task", ID: c.Task})
		if w.s.Leases[l].Ending == 0 || w.s.Leases[other].Ending != 0 {
			t.Fatalf("%+v %+v", w.s.Leases[l], w.s.Leases[other])
		}
	})
	run("one whose time is over is due although nobody began its end", func(t *testing.T, w *world) {
		l, _ := w.lease(bounded, remit.LeaseMinted, remit.LeaseActive)
		end := w.s.Leases[l].NotAfter
		w.later(time.Hour + time.Minute - 1)
		none(w)
		w.later(1)
		owes(w, l, end+int64(time.Minute), 0)
		w.move(l, remit.LeaseRevoking)
		owes(w, l, end+int64(time.Minute), 0) // beginning late makes it no smaller
	})
	run("what only its end ends is an exposure until then", func(t *testing.T, w *world) {
		l, c := w.lease(expiring, remit.LeaseMinted, remit.LeaseActive)
		none(w)
		w.must(&authority.Kill{By: "p-ada", What: "task", ID: c.Task})
		end := w.s.Leases[l].NotAfter
		owes(w, l, 0, end)
		w.later(time.Hour + time.Minute - 1)
		owes(w, l, 0, end)
		w.later(1)
		owes(w, l, end+int64(time.Minute), 0)
	})
	run("and if its upstream gave longer, until that", func(t *testing.T, w *world) {
		l, _ := w.lease(expiring, remit.LeaseMinted)
		long := at(w) + int64(3*time.Hour)
		w.must(&authority.MoveLease{Lease: l, To: remit.LeaseQuarantined, NotAfter: long})
		owes(w, l, 0, long)
		w.later(3*time.Hour + time.Minute)
		owes(w, l, long+int64(time.Minute), 0)
	})
	run("policy sees an upstream in debt, after ten minutes", func(t *testing.T, w *world) {
		l, _ := w.lease(nil, remit.LeaseRevoking)
		c := w.build("1")
		coder := w.task("coder", "p-mia")
		reads := step(coder, "source.read", payments)
		pilot := w.task("pilot", "p-mia")
		seen := func(r remit.Request) bool { return authority.FactsOf(w.s, r, at(w)).Steps[0].Debt }
		began := w.s.Leases[l].Ending
		w.now = time.Unix(0, began).Add(11 * time.Minute)
		if !seen(publish(c, built("a"))) || seen(reads) || seen(w.deployment(pilot, staging, built("a"))) || seen(step(coder, "probe.write", "probe:canary")) {
			t.Fatal("the upstream of the artifact is in debt, and no other")
		}
		w.now = time.Unix(0, began).Add(10 * time.Minute)
		if seen(publish(c, built("a"))) {
			t.Fatal("ten minutes are not over ten minutes")
		}
		w.policy = func(f authority.Facts) authority.Finding {
			if f.Steps[0].Debt {
				return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Sentence: "in debt"}
			}
			return authority.Finding{Verdict: remit.Allow}
		}
		w.later(time.Minute)
		w.deny(publish(c, built("a")), remit.PolicyDenied, "in debt")
		w.move(l, remit.LeaseRevoked)
		w.allow(publish(c, built("a")))
	})
	run("an environment is in the debt of its cluster", func(t *testing.T, w *world) {
		dep := w.deployment(w.task("pilot", "p-mia"), staging, built("a"))
		x := w.redeem(w.allow(w.order(w.agreed(dep, "rio"), dep)).Permit.ID).Attempt.ID
		l := w.must(&authority.OpenLease{Attempt: x, Upstream: "cluster", Target: staging, Revocation: remit.RevokeImmediate}).ID
		w.move(l, remit.LeaseRevoking)
		w.later(12 * time.Minute)
		r := w.deployment(w.task("pilot", "p-noa"), staging, built("a"))
		if !authority.FactsOf(w.s, r, at(w)).Steps[0].Debt || authority.FactsOf(w.s, publish(w.build("1"), built("a")), at(w)).Steps[0].Debt {
			t.Fatal("debt")
		}
	})
}

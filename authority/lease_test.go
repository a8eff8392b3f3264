package authority_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// working gives an attempt of the builder that publishes, in zone B.
func (w *world) working() (x remit.ID, c caller) {
	w.t.Helper()
	c = w.build("1")
	return w.redeem(w.allow(publish(c, built("a"))).Permit.ID).Attempt.ID, c
}

func opened(x remit.ID) *authority.OpenLease {
	return &authority.OpenLease{Attempt: x, Upstream: "oci", Target: image, Write: true, For: int64(time.Hour), Revocation: remit.RevokeImmediate}
}

// lease opens a lease of a builder and moves it on.
func (w *world) lease(change func(*authority.OpenLease), to ...remit.LeaseStatus) (l remit.ID, c caller) {
	w.t.Helper()
	x, c := w.working()
	o := opened(x)
	if change != nil {
		change(o)
	}
	l = w.must(o).ID
	for _, s := range to {
		w.move(l, s)
	}
	return l, c
}

// retype declares an upstream anew, as one of another kind.
func retype(s *authority.Set, i int, kind string) {
	s.Upstreams[i].Type, s.Upstreams[i].Spec = kind, remit.Hash([]byte(kind))
}

func (w *world) move(l remit.ID, to remit.LeaseStatus) {
	w.t.Helper()
	w.must(&authority.MoveLease{Lease: l, To: to})
}

func (w *world) stays(l remit.ID, to remit.LeaseStatus, code remit.Code, words string) {
	w.t.Helper()
	w.refuse(&authority.MoveLease{Lease: l, To: to}, code, words)
}

func TestOpenLease(t *testing.T) {
	run := func(name string, f func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			f(t, w)
			w.replay()
		})
	}
	run("it is written down before anything exists", func(t *testing.T, w *world) {
		x, c := w.working()
		res := w.must(opened(x))
		l := w.s.Leases[res.ID]
		if l == nil || res.ID != remit.ID(fmt.Sprintf("L-%d", w.s.Next-1)) || l.Status != remit.LeaseIntended || l.Zone != remit.ZoneBuild || l.Task != c.Task || l.Attempt != x ||
			l.NotAfter != w.now.Add(time.Hour).UnixNano() || l.At != w.now.UnixNano() || l.Entry != w.s.Next-1 || !l.Write || l.Upstream != "oci" || l.Target != image || l.Ending != 0 || l.Stated != 0 {
			t.Fatalf("%s %+v", res.ID, l)
		}
	})
	run("it rests on an attempt that lives", func(t *testing.T, w *world) {
		w.refuse(opened("X-0"), remit.NotLive, "does not exist")
		x, _ := w.working()
		w.later(authority.AttemptLife)
		w.refuse(opened(x), remit.NotLive, "has ended")
		x, c := w.working()
		w.must(&authority.Kill{By: "p-ada", What: "task", ID: c.Task})
		w.refuse(opened(x), remit.NotLive, "has ended")
	})
	run("it is of the zone of its upstream", func(t *testing.T, w *world) {
		x, _ := w.working()
		o := opened(x)
		o.Upstream = "none"
		w.refuse(o, remit.UnknownResource, "no upstream")
		for _, up := range []string{"forge", "cluster"} {
			o.Upstream = up
			w.refuse(o, remit.CrossesBoundary, "lies in zone \"B\"")
		}
		w.apply(func(s *authority.Set) { retype(s, 1, remit.KindOIDC) })
		o.Upstream = "oci"
		w.refuse(o, remit.CrossesBoundary, "serves zone \"\"")
		none := w.redeem(w.allow(step(w.task("coder", "p-mia"), "probe.write", "probe:canary")).Permit.ID).Attempt.ID
		w.refuse(&authority.OpenLease{Attempt: none, Upstream: "oci", Target: "probe:canary", Revocation: remit.RevokeImmediate}, remit.CrossesBoundary, "lies in zone \"\"")
	})
	run("a comment lies in no zone, and is made with its forge's", func(t *testing.T, w *world) {
		comments := remit.Scope{Actions: []remit.Action{"issue.comment"}, Resources: []remit.Pattern{"repo:forge/acme/*"}}
		w.apply(func(s *authority.Set) { s.Agents[0].Entitlements = append(s.Agents[0].Entitlements, comments) })
		x := w.redeem(w.allow(step(w.task("coder", "p-mia"), "issue.comment", payments)).Permit.ID).Attempt.ID
		o := &authority.OpenLease{Attempt: x, Upstream: "forge", Target: payments, Write: true, Revocation: remit.RevokeImmediate}
		if l := w.s.Leases[w.must(o).ID]; l.Zone != remit.ZoneSource {
			t.Fatalf("%+v", l)
		}
		none := w.redeem(w.allow(step(w.task("coder", "p-mia"), "probe.write", "probe:canary")).Permit.ID).Attempt.ID
		w.refuse(&authority.OpenLease{Attempt: none, Upstream: "forge", Target: "probe:canary", Revocation: remit.RevokeImmediate}, remit.CrossesBoundary, "lies in zone \"\"")
	})
	run("each kind of upstream serves one zone", func(t *testing.T, w *world) {
		r := step(w.task("coder", "p-mia"), "source.read", payments)
		for _, kind := range []string{remit.KindLocal, remit.KindHTTP, remit.KindGitea, remit.KindRegistry, remit.KindKubernetes, remit.KindCommand, remit.KindOIDC, "other"} {
			w.apply(func(s *authority.Set) { retype(s, 0, remit.KindHTTP) })
			x := w.redeem(w.allow(r).Permit.ID).Attempt.ID
			w.apply(func(s *authority.Set) { retype(s, 0, kind) }) // before, it would not be allowed
			o := &authority.OpenLease{Attempt: x, Upstream: "forge", Target: payments, Revocation: remit.RevokeImmediate}
			if slices.Contains([]string{remit.KindLocal, remit.KindHTTP, remit.KindGitea}, kind) {
				w.must(o)
				continue
			}
			w.refuse(o, remit.CrossesBoundary, "serves zone")
		}
		dep := w.deployment(w.task("pilot", "p-mia"), staging, built("a"))
		x := w.redeem(w.allow(w.order(w.agreed(dep, "rio"), dep)).Permit.ID).Attempt.ID
		o := &authority.OpenLease{Attempt: x, Upstream: "cluster", Target: staging, Write: true, Revocation: remit.RevokeBounded, Bound: int64(10 * time.Second)}
		w.must(o)
		w.apply(func(s *authority.Set) { retype(s, 2, remit.KindCommand) })
		w.must(o)
	})
	run("an upstream serves one zone at a time, whatever is declared of it meanwhile", func(t *testing.T, w *world) {
		l, _ := w.lease(nil)
		w.apply(func(s *authority.Set) { retype(s, 1, remit.KindGitea) })
		r := step(w.task("coder", "p-mia"), "source.read", payments)
		o := &authority.OpenLease{Attempt: w.redeem(w.allow(r).Permit.ID).Attempt.ID, Upstream: "oci", Target: payments, Revocation: remit.RevokeImmediate}
		w.refuse(o, remit.CrossesBoundary, string(l)+" of upstream oci serves zone B")
		w.move(l, remit.LeaseRevoking)
		w.move(l, remit.LeaseRevoked)
		w.must(o)
	})
	run("it is for what the attempt does", func(t *testing.T, w *world) {
		x, c := w.working()
		o := opened(x)
		o.Target = "artifact:oci/acme/tools"
		w.refuse(o, remit.OutOfScope, "does nothing on artifact:oci/acme/tools")
		r := publish(c, built("a"))
		r.Steps = append(r.Steps, remit.Step{Action: "artifact.read", Resource: o.Target})
		o.Attempt = w.redeem(w.allow(r).Permit.ID).Attempt.ID
		w.refuse(o, remit.OutOfScope, "only reads artifact:oci/acme/tools")
		o.Write = false
		w.must(o)
	})
	run("it says how it ends", func(t *testing.T, w *world) {
		x, c := w.working()
		for _, change := range []func(*authority.OpenLease){
			func(o *authority.OpenLease) { o.For = -1 }, func(o *authority.OpenLease) { o.Revocation = "" }, func(o *authority.OpenLease) { o.Bound = 1 },
			func(o *authority.OpenLease) { o.Revocation = remit.RevokeBounded }, func(o *authority.OpenLease) { o.Revocation, o.Bound = remit.RevokeBounded, -1 },
			func(o *authority.OpenLease) {
				o.Revocation, o.Bound = remit.RevokeBounded, int64(authority.TaskLongest)+1
			},
			func(o *authority.OpenLease) { o.Revocation, o.Bound = remit.RevokeExpiry, 1 }} {
			o := opened(x)
			change(o)
			w.refuse(o, remit.BadRequest, "how it is revoked")
		}
		end := w.s.Tasks[c.Task].Deadline
		for _, d := range []int64{0, int64(9 * time.Hour), 1 << 62} {
			o := opened(x)
			o.For, o.Revocation, o.Survive = d, remit.RevokeExpiry, true
			if l := w.s.Leases[w.must(o).ID]; l.NotAfter != end || !l.Survive {
				t.Fatalf("%+v", l)
			}
		}
	})
	run("a task has so many", func(t *testing.T, w *world) {
		w.lease(nil)
		x, _ := w.working()
		w.quick = true
		var last remit.ID
		for range authority.MaxLeases {
			last = w.must(opened(x)).ID
		}
		w.refuse(opened(x), remit.OverBudget, "has 64 leases")
		w.move(last, remit.LeaseRevoking)
		w.refuse(opened(x), remit.OverBudget, "")
		w.move(last, remit.LeaseRevoked)
		w.must(opened(x))
	})
}

func TestMoveLease(t *testing.T) {
	all := []remit.LeaseStatus{remit.LeaseIntended, remit.LeaseAnchored, remit.LeaseMinted, remit.LeaseActive, remit.LeaseRevoking, remit.LeaseRevoked, remit.LeaseExpired,
		remit.LeaseQuarantined, remit.LeaseAbandoned, "", "lost"}
	paths := map[remit.LeaseStatus][]remit.LeaseStatus{
		remit.LeaseIntended: {}, remit.LeaseAnchored: {remit.LeaseAnchored}, remit.LeaseMinted: {remit.LeaseMinted}, remit.LeaseActive: {remit.LeaseMinted, remit.LeaseActive},
		remit.LeaseQuarantined: {remit.LeaseMinted, remit.LeaseQuarantined}, remit.LeaseRevoking: {remit.LeaseRevoking},
	}
	may := map[remit.LeaseStatus]string{
		remit.LeaseIntended: "anchored minted revoking", remit.LeaseAnchored: "minted revoking", remit.LeaseMinted: "active quarantined revoking",
		remit.LeaseActive: "revoking quarantined", remit.LeaseQuarantined: "revoking", remit.LeaseRevoking: "revoking revoked",
	}
	for from, path := range paths {
		for _, to := range all {
			t.Run(fmt.Sprintf("%s to %s", from, to), func(t *testing.T) {
				w := supplied(t)
				l, _ := w.lease(nil, path...)
				ok := to != "" && slices.Contains(strings.Fields(may[from]), string(to))
				if !ok {
					w.stays(l, to, remit.Conflict, "")
					return
				}
				w.must(&authority.MoveLease{Lease: l, To: to, Tries: 1})
				got := w.s.Leases[l]
				if to.Ended() != (got == nil) || got != nil && (got.Status != to || got.Tries != 1) {
					t.Fatalf("%+v", got)
				}
				if to.Ended() {
					w.stays(l, remit.LeaseRevoking, remit.NotFound, "has ended")
				}
				w.replay()
			})
		}
	}
	run := func(name string, f func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			f(t, w)
			w.replay()
		})
	}
	expiring := func(o *authority.OpenLease) { o.Revocation = remit.RevokeExpiry }
	run("of a task that ended it only moves towards its end", func(t *testing.T, w *world) {
		for _, path := range [][]remit.LeaseStatus{{}, {remit.LeaseAnchored}, {remit.LeaseMinted}} {
			l, c := w.lease(nil, path...)
			w.must(&authority.Kill{By: "p-ada", What: "task", ID: c.Task})
			if got := w.s.Leases[l]; got.Ending != w.now.UnixNano() {
				t.Fatalf("%+v", got)
			}
			for _, to := range map[int][]remit.LeaseStatus{0: {remit.LeaseAnchored, remit.LeaseMinted}, 1: {remit.LeaseMinted, remit.LeaseActive}}[len(path)] {
				if slices.Contains(strings.Fields(may[append([]remit.LeaseStatus{remit.LeaseIntended}, path...)[len(path)]]), string(to)) {
					w.stays(l, to, remit.NotLive, "only moves towards its end")
				}
			}
			if len(path) == 1 && path[0] == remit.LeaseMinted {
				w.must(&authority.MoveLease{Lease: l, To: remit.LeaseQuarantined, NotAfter: 1 << 62})
			}
			at := w.s.Leases[l].Ending
			w.later(time.Second).move(l, remit.LeaseRevoking)
			if got := w.s.Leases[l]; got.Ending != at {
				t.Fatal("its end began earlier")
			}
		}
	})
	run("after its time it does not begin to live", func(t *testing.T, w *world) {
		l, _ := w.lease(nil, remit.LeaseMinted)
		w.later(time.Hour)
		w.stays(l, remit.LeaseActive, remit.NotLive, "its time")
		l, _ = w.lease(nil)
		w.must(&authority.MoveLease{Lease: l, To: remit.LeaseMinted, NotAfter: w.now.Add(time.Minute).UnixNano()})
		w.later(time.Minute)
		w.stays(l, remit.LeaseActive, remit.NotLive, "its time")
		w.move(l, remit.LeaseRevoking)
	})
	run("what was given for longer than asked is quarantined", func(t *testing.T, w *world) {
		l, _ := w.lease(nil)
		asked := w.s.Leases[l].NotAfter
		minute := int64(time.Minute)
		w.refuse(&authority.MoveLease{Lease: l, To: remit.LeaseMinted, NotAfter: asked + minute + 1}, remit.Conflict, "it is quarantined")
		w.must(&authority.MoveLease{Lease: l, To: remit.LeaseMinted, NotAfter: asked + minute})
		w.refuse(&authority.MoveLease{Lease: l, To: remit.LeaseActive, NotAfter: asked + minute + 1}, remit.Conflict, "it is quarantined")
		w.must(&authority.MoveLease{Lease: l, To: remit.LeaseQuarantined, NotAfter: asked + 60*minute, Code: remit.UpstreamDown, Receipt: proof})
		if got := w.s.Leases[l]; got.Stated != asked+60*minute || got.Ending != w.now.UnixNano() {
			t.Fatalf("%+v", got)
		}
		if e := w.log[len(w.log)-1].event.(*remit.LeaseMoved); e.Code != remit.UpstreamDown || e.Receipt != proof {
			t.Fatalf("%+v", e)
		}
		w.later(65 * time.Minute)
		w.must(&authority.MoveLease{Lease: l, To: remit.LeaseRevoking, NotAfter: 1})
		w.stays(l, remit.LeaseExpired, remit.Conflict, "upstream's own clock") // an earlier end that is said later does not shorten it
		w.later(time.Hour).move(l, remit.LeaseExpired)
	})
	run("it has expired when its upstream's own end and the skew have passed", func(t *testing.T, w *world) {
		l, _ := w.lease(expiring)
		w.must(&authority.MoveLease{Lease: l, To: remit.LeaseMinted, NotAfter: w.now.Add(10 * time.Minute).UnixNano()})
		w.move(l, remit.LeaseActive)
		w.later(10*time.Minute).stays(l, remit.LeaseExpired, remit.Conflict, "does not become")
		w.move(l, remit.LeaseRevoking)
		w.later(time.Minute-1).stays(l, remit.LeaseExpired, remit.Conflict, "upstream's own clock")
		w.later(1).refuse(&authority.MoveLease{Lease: l, To: remit.LeaseExpired, NotAfter: w.now.UnixNano()}, remit.Conflict, "upstream's own clock") // it ends now, it says
		w.move(l, remit.LeaseExpired)
	})
	run("without a stated end only what nothing else ends expires as it was asked for", func(t *testing.T, w *world) {
		immediate, _ := w.lease(nil, remit.LeaseRevoking)
		expiry, _ := w.lease(expiring, remit.LeaseRevoking)
		w.later(time.Hour).stays(expiry, remit.LeaseExpired, remit.Conflict, "upstream's own clock")
		w.later(time.Minute).move(expiry, remit.LeaseExpired)
		w.stays(immediate, remit.LeaseExpired, remit.Conflict, "upstream's own clock")
	})
	run("each try counts", func(t *testing.T, w *world) {
		l, _ := w.lease(nil, remit.LeaseRevoking)
		w.stays(l, remit.LeaseRevoking, remit.Conflict, "more than 0")
		w.must(&authority.MoveLease{Lease: l, To: remit.LeaseRevoking, Tries: 3})
		w.refuse(&authority.MoveLease{Lease: l, To: remit.LeaseRevoking, Tries: 3}, remit.Conflict, "more than 3")
		for _, bad := range []authority.MoveLease{{Lease: l, To: remit.LeaseRevoked, Tries: -1}, {Lease: l, To: remit.LeaseRevoked, NotAfter: -1}, {Lease: l, To: remit.LeaseRevoked, Code: "ODD"}} {
			w.refuse(&bad, remit.BadRequest, "counts from 0")
		}
		w.move(l, remit.LeaseRevoked)
		if e := w.log[len(w.log)-1].event.(*remit.LeaseMoved); e.Tries != 3 {
			t.Fatalf("%+v", e)
		}
	})
	run("a log in which one comes back is none", func(t *testing.T, w *world) {
		l, _ := w.lease(nil)
		open := w.s.Leases[l].LeaseOpened
		for _, e := range []remit.Event{&remit.LeaseMoved{Lease: l, To: remit.LeaseActive}, &remit.LeaseMoved{Lease: "L-0", To: remit.LeaseRevoking}, &open, &remit.LeaseOpened{ID: "L-0", Task: "T-0"}} {
			if err := authority.Apply(w.s, w.now.UnixNano(), e); err == nil {
				t.Fatalf("%+v", e)
			}
		}
	})
}

func TestAbandonLease(t *testing.T) {
	reason := remit.Hash([]byte("the cluster burned down"))
	run := func(name string, f func(t *testing.T, w *world, c *authority.AbandonLease)) {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			l, _ := w.lease(nil, remit.LeaseRevoking)
			f(t, w, &authority.AbandonLease{By: "p-ada", Lease: l, Reason: reason})
			w.replay()
		})
	}
	run("it takes two people, and says which", func(t *testing.T, w *world, c *authority.AbandonLease) {
		res := w.must(c).Decision
		if res.Verdict != remit.Hold || res.Code != remit.ImpactHeld || w.s.Leases[c.Lease] == nil {
			t.Fatalf("%+v", res)
		}
		a := w.s.Accesses[res.Access]
		if a.Shown != reason || a.Zone != remit.ZoneControl || a.By != "p-ada" {
			t.Fatalf("%+v", a)
		}
		if again := w.must(c).Decision; again.Access != res.Access {
			t.Fatal("the same question is asked twice")
		}
		c.Access = res.Access
		w.refuse(c, remit.AlreadyUsed, "not an approval")
		w.refuse(w.ballot(res.Access, "ada", touch("ada"), true), remit.NotEligible, "caused or steered")
		w.vote(res.Access, "bob", touch("bob"), true)
		other := *c
		other.By = "p-bob"
		w.refuse(&other, remit.AlreadyUsed, "not an approval")
		if d := w.must(c).Decision; d.Verdict != remit.Allow || w.s.Leases[c.Lease] != nil {
			t.Fatalf("%+v", d)
		}
		w.status(res.Access, remit.AccessUsed, "")
		e := w.log[len(w.log)-2].event.(*remit.LeaseMoved)
		if e.To != remit.LeaseAbandoned || !slices.Equal(e.By, []remit.ID{"p-ada", "p-bob"}) || e.Receipt != reason {
			t.Fatalf("%+v", e)
		}
		w.refuse(c, remit.NotFound, "has ended")
	})
	run("administrators do, for a lease that is being revoked in vain, with a reason", func(t *testing.T, w *world, c *authority.AbandonLease) {
		by := *c
		by.By = "p-mia"
		w.refuse(&by, remit.Forbidden, "by administrators")
		by = *c
		by.Reason = remit.Digest{}
		w.refuse(&by, remit.BadRequest, "needs a reason")
		by = *c
		by.Lease, _ = w.lease(nil, remit.LeaseMinted, remit.LeaseActive)
		w.refuse(&by, remit.Conflict, "is active")
		by.Lease = "L-0"
		w.refuse(&by, remit.NotFound, "does not exist")
	})
	run("an approval is of one lease and one reason", func(t *testing.T, w *world, c *authority.AbandonLease) {
		for _, change := range []func(*authority.AbandonLease){
			func(o *authority.AbandonLease) { o.Lease, _ = w.lease(nil, remit.LeaseRevoking) },
			func(o *authority.AbandonLease) { o.Reason = proof }} {
			o := *c
			o.Access = w.must(c).Decision.Access
			w.vote(o.Access, "bob", touch("bob"), true)
			change(&o)
			if d := w.must(&o).Decision; d.Verdict != remit.Deny || d.Code != remit.Stale || w.s.Leases[o.Lease] == nil {
				t.Fatalf("%+v", d)
			}
			w.status(o.Access, remit.AccessVoid, remit.Stale)
		}
	})
	run("whoever agreed still is who may", func(t *testing.T, w *world, c *authority.AbandonLease) {
		w.apply(func(s *authority.Set) { s.Groups[0].Members = []remit.ID{"p-ada", "p-bob", "p-sam"} })
		c.Access = w.must(c).Decision.Access
		w.vote(c.Access, "bob", touch("bob"), true)
		w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-bob"})
		if d := w.must(c).Decision; d.Verdict != remit.Hold || d.Code != remit.ImpactHeld || w.s.Leases[c.Lease] == nil {
			t.Fatalf("%+v", d)
		}
		w.status(c.Access, remit.AccessOpen, "")
	})
	run("one administrator alone never does", func(t *testing.T, w *world, c *authority.AbandonLease) {
		w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-bob"})
		w.refuse(c, remit.NoApprover, "needs two people")
	})
}

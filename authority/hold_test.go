package authority_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

const workflow = ".github/workflows/ci.yml"

// held is a push of the coder that waits for one reviewer.
func held(w *world, c caller) (remit.ID, remit.Request) {
	w.t.Helper()
	r := push(c, branch(c, "x"), "1", workflow)
	return w.hold(r, remit.PathProtected, remit.Need{Group: "reviewers", N: 1}), r
}

// merging is a merge that deploys: it waits for two releasers and a reviewer, with a touch.
func merging(w *world) (remit.ID, remit.Request) {
	w.t.Helper()
	r := push(w.task("merger", "p-mia"), "refs/heads/main", "1", "src/a")
	r.Steps[0].Action = "source.merge"
	return w.hold(r, remit.ImpactHeld), r
}

func TestApproval(t *testing.T) {
	each(t, remit.Team, []row{
		{"a vote meets the quorum, the executor claims, redeems and records, and it was good once", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id, r := held(w, c)
			w.deny(w.claim(id, r), remit.AlreadyUsed, "is open")
			w.status(id, remit.AccessOpen, "")
			w.vote(id, "noa", soft("noa"), true)
			w.status(id, remit.AccessMet, "")
			d := w.allow(w.claim(id, r))
			d2 := w.allow(w.claim(id, r))
			if p := w.s.Pushes[d.Entry]; p.Agent != "coder" || p.Launcher != "p-mia" {
				t.Fatalf("the push is the coder's: %+v", p)
			}
			w.refuse(&authority.Redeem{Permit: d.Permit.ID, Proof: proof, Hash: proof}, remit.AlreadyUsed, "does not exist")
			w.refuse(&authority.Redeem{Permit: d.Permit.ID, Hash: proof}, remit.AlreadyUsed, "does not exist")
			red := w.redeem(d.Permit.ID).Redemption
			if !red.Valid() || red.Zone() != remit.ZoneSource || red.Task() != c.Task || len(red.Steps()) != 1 || red.Attempt() == "" || red.NotAfter() != w.now.Add(15*time.Minute).UnixNano() {
				t.Fatalf("%+v", red)
			}
			if (*authority.Redemption)(nil).Valid() || new(authority.Redemption).Valid() {
				t.Fatal("anybody can make a redemption")
			}
			w.status(id, remit.AccessReserved, "")
			w.refuse(&authority.Redeem{Permit: d.Permit.ID, Proof: remit.Hash(secret[:]), Hash: proof}, remit.AlreadyUsed, "was redeemed")
			w.refuse(&authority.Redeem{Permit: d2.Permit.ID, Proof: remit.Hash(secret[:]), Hash: proof}, remit.AlreadyUsed, "good once")
			w.deny(w.claim(id, r), remit.AlreadyUsed, "is reserved")
			w.refuse(&authority.Record{Attempt: red.Attempt(), Outcome: "maybe"}, remit.BadRequest, "outcome")
			w.must(&authority.Record{Attempt: red.Attempt(), Outcome: remit.Done})
			w.refuse(&authority.Record{Attempt: red.Attempt(), Outcome: remit.Done}, remit.NotFound, "has its outcome")
			w.status(id, remit.AccessUsed, "")
			w.deny(w.claim(id, r), remit.AlreadyUsed, "is used")
		}},
		{"a use is given back on a proven not_applied only, and drift makes it stale", func(t *testing.T, w *world) {
			for _, o := range []struct {
				out  remit.Outcome
				code remit.Code
				to   remit.AccessStatus
			}{{remit.NotApplied, "", remit.AccessMet}, {remit.NotApplied, remit.Stale, remit.AccessVoid}, {remit.Ambiguous, "", remit.AccessUsed}, {remit.AfterRevocation, "", remit.AccessUsed}} {
				id, r := held(w, w.task("coder", "p-mia"))
				w.vote(id, "noa", soft("noa"), true)
				a := w.redeem(w.allow(w.claim(id, r)).Permit.ID).Redemption.Attempt()
				w.must(&authority.Record{Attempt: a, Outcome: o.out, Code: o.code})
				w.status(id, o.to, remit.Stale)
			}
		}},
		{"what is done after its task, or a person behind it, ended is recorded so", func(t *testing.T, w *world) {
			for i, end := range []authority.Command{&authority.Kill{By: "p-mia", What: "person", ID: "p-mia"}, &authority.Kill{By: "p-ada", What: "agent", ID: "coder"}} {
				w := newWorld(t, remit.Team)
				c := w.task("coder", []remit.ID{"p-mia", "p-mia"}[i])
				if i == 0 { // noa requests, mia launches as its owner; the task outlives mia
					id := w.must(&authority.CreateTask{By: "p-noa", Agent: "coder"}).ID
					c = w.launch(id, "coder", "p-mia")
					w.apply(func(s *authority.Set) { s.Agents[0].Owner = "p-tom" })
				}
				a := w.redeem(w.allow(push(c, branch(c, "x"), "1")).Permit.ID).Redemption.Attempt()
				w.must(end)
				w.must(&authority.Record{Attempt: a, Outcome: remit.Done})
				if r := w.log[len(w.log)-1].event.(*remit.Recorded); r.Outcome != remit.AfterRevocation {
					t.Fatal(r.Outcome)
				}
			}
			c := caller{}
			w.refuse(&authority.StartInstance{By: "p-mia", Task: c.Task}, remit.NotFound, "no task")
		}},
		{"only the executor of that task claims, and a false claim costs the approval nothing", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id, r := held(w, c)
			w.vote(id, "noa", soft("noa"), true)
			other := w.task("coder", "p-mia")
			for _, false := range []caller{c, other, {Executor: "x", Task: other.Task}, {Task: c.Task}, {Executor: "x", Task: c.Task, Instance: c.Instance}, {Executor: "x", Task: c.Task, Agent: "coder"}} {
				q := w.claim(id, r)
				q.Caller = false
				w.deny(q, remit.UnknownPrincipal, "only an executor")
			}
			q := w.claim("A-999", r)
			w.deny(q, remit.UnknownPrincipal, "only one that exists")
			w.status(id, remit.AccessMet, "")
		}},
		{"another tree, ref, value or step than was approved is stale", func(t *testing.T, w *world) {
			for _, drift := range []func(*remit.Request){
				func(r *remit.Request) { r.Refs[0].Tree = oid("other") },
				func(r *remit.Request) { r.Refs[0].New = oid("other") },
				func(r *remit.Request) { r.Refs[0].Old = oid("other") },
				func(r *remit.Request) { r.Refs[0].Op = remit.RefForce },
				func(r *remit.Request) { r.Refs[0].Ref += "y" },
				func(r *remit.Request) { r.Steps[0].Args = oidDigest("args") },
			} {
				id, r := held(w, w.task("coder", "p-mia"))
				w.vote(id, "noa", soft("noa"), true)
				q := w.claim(id, r)
				q.Refs, q.Steps = slices.Clone(q.Refs), slices.Clone(q.Steps)
				drift(&q)
				w.deny(q, remit.Stale, "not what was approved")
				w.status(id, remit.AccessVoid, remit.Stale)
			}
		}},
		{"an effect that is declared after the vote makes it stale", func(t *testing.T, w *world) {
			id, r := held(w, w.task("coder", "p-mia"))
			w.vote(id, "noa", soft("noa"), true)
			w.apply(func(s *authority.Set) {
				s.Repositories[0].Effects = append(slicesOf(s.Repositories[0].Effects), remit.Effect{Refs: "refs/heads/**", Causes: "deploy.promote", On: staging})
			})
			w.deny(w.claim(id, r), remit.Stale, "not what was approved")
		}},
		{"the policy in force at redemption may deny, ask for others or ask for nobody", func(t *testing.T, w *world) {
			say := func(f authority.Finding) { w.policy = func(authority.Facts) authority.Finding { return f } }
			id, r := held(w, w.task("coder", "p-mia"))
			w.vote(id, "noa", soft("noa"), true)
			say(authority.Finding{Verdict: remit.Deny, Code: remit.PolicyTimeout, Limit: true})
			w.deny(w.claim(id, r), remit.PolicyTimeout, "")
			w.status(id, remit.AccessMet, "")
			say(authority.Finding{Verdict: remit.Hold, Votes: []remit.Need{{Group: "release", N: 1}}})
			w.deny(w.claim(id, r), remit.PolicyHeld, "waits for the missing votes")
			w.status(id, remit.AccessOpen, "")
			w.vote(id, "sam", touch("sam"), true)
			w.status(id, remit.AccessMet, "")
			d := w.allow(w.claim(id, r))
			w.redeem(d.Permit.ID)

			w.policy = nil
			id2, r2 := held(w, w.task("coder", "p-mia"))
			w.vote(id2, "noa", soft("noa"), true)
			say(authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied})
			w.deny(w.claim(id2, r2), remit.PolicyDenied, "")
			w.status(id2, remit.AccessVoid, remit.PolicyDenied)

			w.policy = nil
			id2, r2 = held(w, w.task("coder", "p-mia"))
			w.vote(id2, "noa", soft("noa"), true)
			say(authority.Finding{Verdict: remit.Hold, Votes: []remit.Need{{Group: "nobody", N: 1}}})
			w.deny(w.claim(id2, r2), remit.NoApprover, "nobody who may is left")
			w.status(id2, remit.AccessVoid, remit.NoApprover)
		}},
		{"a claim is judged as the act of the agent that asked", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id, r := held(w, c)
			w.vote(id, "noa", soft("noa"), true)
			f := authority.FactsOf(w.s, w.claim(id, r), w.now.UnixNano())
			if f.Agent.Name != "coder" || f.Instance.ID != c.Instance || f.Instance.Confinement != remit.ConfineUID || f.Instance.Launcher != "p-mia" {
				t.Fatalf("%+v", f)
			}
		}},
		{"an approver who leaves, or joins the closure, no longer counts at redemption", func(t *testing.T, w *world) {
			for _, leave := range []func(*authority.Set){
				func(s *authority.Set) { s.Groups[2].Members = []remit.ID{"p-rio", "p-tom"} },
				func(s *authority.Set) { s.People[3].Keys = []remit.Key{key(touch("noa 2"))} },
				func(s *authority.Set) { s.Agents[0].Owner = "p-noa" },
			} {
				w := newWorld(t, remit.Team)
				id, r := held(w, w.task("coder", "p-mia"))
				w.vote(id, "noa", soft("noa"), true)
				permit := w.allow(w.claim(id, r)).Permit.ID
				w.apply(leave)
				w.refuse(&authority.Redeem{Permit: permit, Proof: remit.Hash(secret[:]), Hash: proof}, remit.NotEligible, "no longer stand")
				w.deny(w.claim(id, r), remit.PolicyHeld, "missing votes")
				w.status(id, remit.AccessOpen, "")
			}
		}},
		{"an approval ends in its time, and its permit with it", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia", func(c *authority.CreateTask) { c.For = int64(time.Hour) })
			id, r := held(w, c)
			w.vote(id, "noa", soft("noa"), true)
			w.later(time.Hour - 30*time.Second)
			d := w.allow(w.claim(id, r))
			if w.s.Permits[d.Permit.ID].NotAfter != w.s.Accesses[id].NotAfter {
				t.Fatal("the permit outlives the approval")
			}
			w.later(30 * time.Second)
			w.deny(w.claim(id, r), remit.AlreadyUsed, "is void")
			w = newWorld(t, remit.Team)
			id, r = held(w, w.task("coder", "p-mia"))
			w.vote(id, "noa", soft("noa"), true)
			w.shorter(id)
			if d := w.allow(w.claim(id, r)); w.s.Permits[d.Permit.ID].NotAfter != w.now.UnixNano()+1 {
				t.Fatal("the permit outlives the approval")
			}
		}},
		{"a permit without a secret is good for nothing", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			d := w.must(&authority.Authorize{Request: push(c, branch(c, "x"), "1")}).Decision
			w.refuse(&authority.Redeem{Permit: d.Permit.ID, Hash: proof}, remit.AlreadyUsed, "does not exist")
		}},
		{"a vote by a key that was taken away does not stand, though its voter has another", func(t *testing.T, w *world) {
			id, r := held(w, w.task("coder", "p-mia"))
			w.vote(id, "rio", soft("rio"), true)
			w.apply(func(s *authority.Set) { s.People[4].Keys = s.People[4].Keys[1:] })
			w.deny(w.claim(id, r), remit.PolicyHeld, "missing votes")
			w.vote(id, "rio", touch("rio"), true)
			w.allow(w.claim(id, r))
		}},
		{"other votes that are there already are enough, and they must stand at redemption", func(t *testing.T, w *world) {
			id, r := held(w, w.task("coder", "p-mia"))
			w.vote(id, "rio", touch("rio"), true)
			w.apply(func(s *authority.Set) { s.Repositories[0].Approvers = []remit.Need{{Group: "release", N: 1}} })
			permit := w.allow(w.claim(id, r)).Permit.ID
			w.apply(func(s *authority.Set) { s.Groups[3].Members = []remit.ID{"p-sam"} })
			w.refuse(&authority.Redeem{Permit: permit, Proof: remit.Hash(secret[:]), Hash: proof}, remit.NotEligible, "no longer stand")
		}},
		{"whoever changed a group that the policy in force reads no longer counts", func(t *testing.T, w *world) {
			ask := "devs"
			w.policy = func(authority.Facts) authority.Finding {
				return authority.Finding{Verdict: remit.Hold, Votes: []remit.Need{{Group: remit.Administrators, N: 1}, {Group: ask, N: 1}}}
			}
			r := step(w.task("coder", "p-mia"), "probe.write", "probe:canary")
			id := w.hold(r, remit.PolicyHeld)
			w.set = clone(w.set)
			w.set.Groups[2].Members = []remit.ID{"p-noa", "p-rio"}
			w.must(&authority.ApplySet{By: "p-bob", Set: w.set})
			w.vote(id, "bob", touch("bob"), true)
			w.vote(id, "noa", soft("noa"), true)
			w.status(id, remit.AccessMet, "")
			ask = "reviewers"
			w.deny(w.claim(id, r), remit.PolicyHeld, "missing votes")
		}},
		{"a permit lives a minute", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			a, b := w.allow(push(c, branch(c, "x"), "1")).Permit.ID, w.allow(push(c, branch(c, "y"), "1")).Permit.ID
			w.later(time.Minute - 1)
			w.redeem(a)
			w.later(1)
			w.refuse(&authority.Redeem{Permit: b, Proof: remit.Hash(secret[:]), Hash: proof}, remit.Expired, "has expired")
			w.tick()
			w.allow(push(c, branch(c, "z"), "1"))
			if w.s.Permits[b] != nil {
				t.Fatal("it is kept for ever")
			}
		}},
	})
}

func oidDigest(s string) remit.Digest { return remit.Hash([]byte(s)) }

func TestHolds(t *testing.T) {
	each(t, remit.Team, []row{
		{"the same request is answered by the same access request", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id, r := held(w, c)
			r.Card, r.Bytes = oidDigest("another card"), 101 // git made another pack
			if again := w.hold(r, remit.PathProtected); again != id {
				t.Fatal(again)
			}
			w.vote(id, "noa", soft("noa"), true)
			if again := w.hold(r, remit.PathProtected); again != id {
				t.Fatal("a met one answers as well")
			}
		}},
		{"three open holds are enough, or fewer by its budget", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			for i, ref := range []string{"a", "b", "c", "d"} {
				r := push(c, branch(c, ref), "1", workflow)
				if i == 3 {
					w.deny(r, remit.TooManyHolds, "3 open holds")
				} else {
					w.hold(r, remit.PathProtected)
				}
			}
			w.hold(push(c, branch(c, "c"), "2", workflow), remit.PathProtected) // it takes the place of one
			c = w.task("coder", "p-mia", func(c *authority.CreateTask) { c.Budget.Holds = 1 })
			held(w, c)
			w.deny(push(c, branch(c, "y"), "1", workflow), remit.TooManyHolds, "1 open holds")
		}},
		{"a new push to the same ref takes the place of the one before", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id, _ := held(w, c)
			w.vote(id, "noa", soft("noa"), true)
			other := w.hold(push(c, branch(c, "y"), "1", workflow), remit.PathProtected)
			r := push(c, branch(c, "x"), "1", "docs/CODEOWNERS")
			r.Steps[0].Resource = docs
			third := w.hold(r, remit.PathProtected)
			next := w.hold(push(c, branch(c, "x"), "2", workflow, "more"), remit.PathProtected)
			w.status(id, remit.AccessVoid, remit.Superseded)
			w.status(other, remit.AccessOpen, "")
			w.status(third, remit.AccessOpen, "") // the same name in another repository
			if a := w.s.Accesses[next]; a.Replaces != id || a.Carried || a.Status != remit.AccessOpen {
				t.Fatalf("%+v", a)
			}
			w.allow(push(c, branch(c, "x"), "3", "src/a"))
			w.status(next, remit.AccessVoid, remit.Superseded) // an allowed one as well
		}},
		{"votes count for the same change on another base", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id, r := held(w, c)
			w.vote(id, "noa", soft("noa"), true)
			r.Refs = slices.Clone(r.Refs)
			r.Refs[0].New, r.Refs[0].Tree = oid("rebased"), oid("rebased tree")
			next := w.hold(r, remit.PathProtected)
			if a := w.s.Accesses[next]; !a.Carried || a.Status != remit.AccessMet || len(a.Votes) != 1 {
				t.Fatalf("%+v", a)
			}
			w.redeem(w.allow(w.claim(next, r)).Permit.ID)
		}},
		{"a push of two refs takes the place of two, and binds them in any order", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "x"), "1", workflow)
			r.Refs = append(r.Refs, push(c, branch(c, "y"), "1", workflow).Refs...)
			both := w.hold(r, remit.PathProtected)
			w.vote(both, "noa", soft("noa"), true)
			slices.Reverse(r.Refs)
			if again := w.hold(r, remit.PathProtected); again != both {
				t.Fatal("the order of refs makes another request")
			}
			r.Refs[0].New = oid("rebased")
			next := w.hold(r, remit.PathProtected)
			w.status(next, remit.AccessMet, "")
			one := w.hold(push(c, branch(c, "x"), "2", workflow), remit.PathProtected)
			two := w.hold(push(c, branch(c, "y"), "2", workflow), remit.PathProtected)
			w.status(next, remit.AccessVoid, remit.Superseded)
			r.Refs = slices.Clone(r.Refs)
			r.Refs[0].New = oid("3")
			if a := w.s.Accesses[w.hold(r, remit.PathProtected)]; a.Carried || a.Replaces != max(one, two) {
				t.Fatalf("%+v", a)
			}
			w.status(one, remit.AccessVoid, remit.Superseded)
			w.status(two, remit.AccessVoid, remit.Superseded)
		}},
		{"nothing is carried from one that is not the same, has expired, or concerns production", func(t *testing.T, w *world) {
			id, r := merging(w)
			w.vote(id, "rio", touch("rio"), true)
			r.Refs = slices.Clone(r.Refs)
			r.Refs[0].New = oid("rebased")
			next := w.hold(r, remit.ImpactHeld)
			if a := w.s.Accesses[next]; a.Carried || len(a.Votes) != 0 {
				t.Fatalf("%+v", a)
			}
			c := w.task("coder", "p-mia")
			del := push(c, branch(c, "x"), "1")
			del.Refs[0].Op, del.Refs[0].New, del.Refs[0].Old, del.Refs[0].Commits = remit.RefDelete, "", oid("a"), 0
			w.policy = func(authority.Facts) authority.Finding {
				return authority.Finding{Verdict: remit.Hold, Votes: []remit.Need{{Group: "reviewers", N: 1}}}
			}
			id = w.hold(del, remit.PolicyHeld)
			w.vote(id, "noa", soft("noa"), true)
			del.Refs = slices.Clone(del.Refs)
			del.Refs[0].Old = oid("b")
			if a := w.s.Accesses[w.hold(del, remit.PolicyHeld)]; a.Carried {
				t.Fatal("a vote to delete one thing deletes another")
			}
			s := step(c, "probe.write", "probe:canary")
			id = w.hold(s, remit.PolicyHeld)
			if a := w.s.Accesses[id]; !a.Change.IsZero() || a.Carried {
				t.Fatal("what has no files has no change")
			}
		}},
		{"a carried vote of somebody who is now in the closure does not count", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id, r := held(w, c)
			w.vote(id, "noa", soft("noa"), true)
			r.Refs = slices.Clone(r.Refs)
			r.Refs[0].New, r.Refs[0].Signers = oid("rebased"), []remit.ID{"p-noa"}
			next := w.hold(r, remit.PathProtected)
			w.status(next, remit.AccessOpen, "")
		}},
		{"a hold that nobody can meet is not made, and says why for each person", func(t *testing.T, w *world) {
			c := w.task("coder", "p-noa")
			r := push(c, branch(c, "x"), "1", workflow)
			r.Refs[0].Signers = []remit.ID{"p-rio"}
			w.apply(func(s *authority.Set) {
				s.Groups[2].Members = []remit.ID{"p-noa", "p-rio"}
			})
			d := w.deny(r, remit.NoApprover, "1 of reviewers")
			if !strings.Contains(d.Sentence, "p-noa caused") || !strings.Contains(d.Sentence, "p-rio caused") || len(w.s.HoldsOf(c.Task)) != 0 {
				t.Fatal(d.Sentence)
			}
		}},
		{"production needs as many people with hardware keys as it has seats", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.Groups[3].Members = []remit.ID{"p-noa", "p-sam"} })
			r := push(w.task("merger", "p-mia"), "refs/heads/main", "1")
			r.Steps[0].Action = "source.merge"
			w.deny(r, remit.NoApprover, "p-noa has no hardware-backed key")
		}},
		{"one person takes one seat", func(t *testing.T, w *world) {
			id, _ := merging(w) // release 2 of rio, sam; reviewers 1 of rio, tom
			w.vote(id, "rio", touch("rio"), true)
			w.vote(id, "sam", touch("sam"), true)
			w.status(id, remit.AccessOpen, "")
			w.vote(id, "tom", touch("tom"), true)
			w.status(id, remit.AccessMet, "")
		}},
		{"a seat is given up for somebody who can sit nowhere else", func(t *testing.T, w *world) {
			id, _ := merging(w)
			w.vote(id, "tom", touch("tom"), true)
			w.vote(id, "rio", touch("rio"), true)
			w.vote(id, "sam", touch("sam"), true)
			w.status(id, remit.AccessMet, "")
		}},
		{"holds expire on the tick, and the task that only waited for them ends", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia", func(c *authority.CreateTask) { c.For = int64(24 * time.Hour) })
			a, _ := held(w, c)
			b := w.hold(push(c, branch(c, "y"), "1", workflow), remit.PathProtected)
			w.must(&authority.EndInstance{Instance: c.Instance})
			if w.s.Tasks[c.Task].Status != remit.TaskWaiting {
				t.Fatal("it does not wait")
			}
			w.refuse(&authority.EndTask{By: "p-mia", Task: c.Task, Status: remit.TaskCompleted}, remit.Conflict, "open holds")
			w.later(24 * time.Hour)
			w.tick()
			w.status(a, remit.AccessVoid, remit.Dropped)
			w.status(b, remit.AccessVoid, remit.Dropped)
			if w.s.Tasks[c.Task].Status != remit.TaskExpired {
				t.Fatal(w.s.Tasks[c.Task].Status)
			}
		}},
		{"a waiting task ends with its last hold, not before", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			a, _ := held(w, c)
			b := w.hold(push(c, branch(c, "y"), "1", workflow), remit.PathProtected)
			w.must(&authority.EndInstance{Instance: c.Instance})
			w.refuse(&authority.StartInstance{By: "p-noa", Task: c.Task, Confinement: remit.ConfineUID, Secret: secret}, remit.Forbidden, "requester or its agent's owner")
			w.vote(a, "noa", soft("noa"), false)
			w.status(a, remit.AccessVoid, remit.Vetoed)
			if !w.s.LiveTasks[c.Task] {
				t.Fatal("it ended too early")
			}
			w.vote(b, "noa", soft("noa"), true)
			at := w.redeem(w.allow(w.claim(b, push(c, branch(c, "y"), "1", workflow))).Permit.ID).Redemption.Attempt()
			w.must(&authority.Record{Attempt: at, Outcome: remit.Done})
			if w.s.Tasks[c.Task].Status != remit.TaskCompleted {
				t.Fatal(w.s.Tasks[c.Task].Status)
			}
		}},
		{"a waiting task is taken up again by its requester only", func(t *testing.T, w *world) {
			id := w.must(&authority.CreateTask{By: "p-noa", Agent: "coder"}).ID
			c := w.launch(id, "coder", "p-noa")
			h := w.hold(push(c, branch(c, "x"), "1", workflow), remit.PathProtected)
			w.must(&authority.EndInstance{Instance: c.Instance})
			w.refuse(&authority.StartInstance{By: "p-mia", Task: id, Confinement: remit.ConfineUID, Secret: secret}, remit.Forbidden, "only its requester")
			c = w.launch(id, "coder", "p-noa")
			w.vote(h, "rio", touch("rio"), false)
			if w.s.Tasks[id].Status != remit.TaskOpen {
				t.Fatal("it runs")
			}
		}},
		{"completing drops holds when that is said", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			id, _ := held(w, c)
			w.refuse(&authority.EndTask{Instance: c.Instance, Task: c.Task, Status: remit.TaskCompleted}, remit.Conflict, "--drop-holds")
			w.must(&authority.EndTask{Instance: c.Instance, Task: c.Task, Status: remit.TaskCompleted, DropHolds: true})
			w.status(id, remit.AccessVoid, remit.Dropped)
		}},
		{"a retry of a hold whose time is over makes a new one", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia", func(c *authority.CreateTask) { c.For = int64(24 * time.Hour) })
			id, r := held(w, c)
			w.shorter(id)
			w.later(1)
			d := w.ask(r)
			if d.Verdict != remit.Hold || d.Access == id {
				t.Fatal(d)
			}
			w.log, w.s = nil, authority.New()
		}},
		{"a hold whose time is over ends a task that waits for it alone", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia", func(c *authority.CreateTask) { c.For = int64(24 * time.Hour) })
			a, _ := held(w, c)
			b := w.hold(push(c, branch(c, "y"), "1", workflow), remit.PathProtected)
			w.must(&authority.EndInstance{Instance: c.Instance})
			for _, id := range []remit.ID{a, b} {
				w.shorter(id)
			}
			w.later(1)
			w.tick()
			w.status(a, remit.AccessVoid, remit.Expired)
			w.status(b, remit.AccessVoid, remit.Expired)
			if w.s.Tasks[c.Task].Status != remit.TaskCompleted {
				t.Fatal(w.s.Tasks[c.Task].Status)
			}
			w.log, w.s = nil, authority.New()
		}},
	})
}
